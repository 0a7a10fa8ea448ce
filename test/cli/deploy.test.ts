/**
 * The plain manifests brought to life as far as that goes without a cluster: the root file system of the image, with the mounts, environment,
 * arguments and capabilities of the DaemonSet and a read-only root, beside a stand-in kubelet on real cgroups. A container runtime's namespaces,
 * seccomp and AppArmor profiles are not part of it.
 */
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterEach, describe, expect, it, type TestContext } from 'vitest'
import { parse, parseAllDocuments, stringify } from 'yaml'
import { imageOf } from '../../scripts/image/dockerfile.ts'
import { rootFileSystem } from '../../scripts/image/main.ts'
import { renderChart, whyNoRenderer } from '../../scripts/chart/render.ts'
import { DaemonBed } from '../support/daemon-bed.ts'
import { whyNotHere } from '../support/real-node.ts'
import { BUNDLE, IS_ROOT } from './program.ts'

const PORT = 19_474
const MANIFESTS = resolve(import.meta.dirname, '../../deploy/manifests')
const QUOTA_OF_BEFORE = /^(-1|max 100000)$/

interface Container {
  readonly args: readonly string[]
  readonly env: readonly { readonly name: string; readonly value?: string }[]
  readonly securityContext: { readonly capabilities: { readonly add?: readonly string[] } }
  readonly volumeMounts: readonly { readonly name: string; readonly mountPath: string; readonly readOnly?: boolean }[]
}
interface PodSpec {
  readonly containers: readonly [Container]
  readonly initContainers?: readonly [Container]
  readonly volumes: readonly { readonly name: string; readonly hostPath?: { readonly path: string } }[]
}
interface Manifest {
  readonly kind: string
  readonly spec: { readonly template: { readonly spec: PodSpec } }
  readonly data: Readonly<Record<string, string>>
}

let bed: DaemonBed | undefined
afterEach(async () => {
  await bed?.close()
  bed = undefined
})

/** What is run: a file of deploy/manifests, or the chart with values of its own. */
type Source = string | Readonly<Record<string, unknown>>

function manifests(source: Source): { readonly pod: PodSpec; readonly config: Readonly<Record<string, string>> } {
  const file = typeof source === 'string' ? source : JSON.stringify(source)
  const texts =
    typeof source === 'string'
      ? [readFileSync(join(MANIFESTS, source), 'utf8')]
      : (renderChart([{ values: source }])[0]?.texts ?? [])
  const objects = texts.flatMap((text) => parseAllDocuments(text)).map((document) => document.toJS() as Manifest)
  const [daemonSet, map] = ['DaemonSet', 'ConfigMap'].map((kind) => objects.find((object) => object.kind === kind))
  if (daemonSet === undefined || map === undefined) throw new Error(`${file}: no DaemonSet or no ConfigMap`)
  return { pod: daemonSet.spec.template.spec, config: map.data }
}

/** A node with the image on it; the rest of the node is the bed's. */
class ImageNode {
  readonly #bed: DaemonBed
  readonly #root: string
  readonly #config: string
  /** What a recording is kept in. */
  readonly recordings: string

  constructor(opened: DaemonBed) {
    this.#bed = opened
    this.#root = join(opened.directory, 'image')
    this.#config = join(opened.directory, 'config')
    this.recordings = join(opened.directory, 'recordings')
    mkdirSync(this.#config)
    mkdirSync(this.recordings)
    mkdirSync(opened.stateDirectory, { recursive: true, mode: 0o755 })
    mkdirSync(join(opened.directory, 'pod-resources'))
    rootFileSystem(this.#root)
  }

  /** The directory of the node behind a volume. */
  #source(name: string, { volumes }: PodSpec): string {
    const path = volumes.find((volume) => volume.name === name)?.hostPath?.path ?? ''
    const own: Readonly<Record<string, string>> = {
      '/sys/fs/cgroup': '/sys/fs/cgroup',
      '/var/lib/kubelet/device-plugins': this.#bed.pluginDirectory,
      '/var/lib/kubelet/pod-resources': join(this.#bed.directory, 'pod-resources'),
      '/run/kube-agent': this.#bed.stateDirectory,
      '/var/lib/kube-agent': this.recordings,
    }
    const source = name === 'config' ? this.#config : own[path]
    if (source === undefined) throw new Error(`the manifest mounts ${name} (${path}), which this test knows nothing of`)
    return source
  }

  /** A command that runs a container of a manifest: `through` for its surroundings, `words` for the rest, its environment. */
  command(
    file: Source,
    which: 'containers' | 'initContainers',
  ): { readonly words: string[]; readonly environment: Record<string, string> } {
    const { pod, config } = manifests(file)
    const [container] = pod[which] ?? []
    if (container === undefined) throw new Error(`${JSON.stringify(file)}: no ${which}`)
    for (const [name, text] of Object.entries(config)) writeFileSync(join(this.#config, name), text)
    // What is of this test's node: its pods, its cgroups, its name. A layer of its own, as a pool has one.
    const { node, pods, suppressCpu } = parse(readFileSync(this.#bed.config, 'utf8')) as Record<string, unknown>
    const own = {
      node,
      suppressCpu,
      pods: { source: 'directory', directory: '/etc/kube-agent/pods' },
      http: { host: '127.0.0.1', port: PORT },
    }
    writeFileSync(join(this.#config, 'pool.yaml'), stringify(own))
    mkdirSync(join(this.#config, 'pods'), { recursive: true })
    const { directory } = pods as { readonly directory: string }
    writeFileSync(join(this.#config, 'pods/batch.yaml'), readFileSync(join(directory, 'batch.yaml'), 'utf8'))
    const root = this.#root
    const mounts = container.volumeMounts.flatMap(({ name, mountPath, readOnly }) => {
      mkdirSync(`${root}${mountPath}`, { recursive: true })
      const bind = `mount --rbind '${this.#source(name, pod)}' '${root}${mountPath}'`
      return readOnly === true ? [bind, `mount -o remount,bind,ro '${root}${mountPath}'`] : [bind]
    })
    const script = [
      `mount --bind '${root}' '${root}'`,
      ...['proc', 'sys', 'dev'].map((name) => `mount --rbind /${name} '${root}/${name}'`),
      // As a runtime has it: what is of the node's cgroups is seen where it is mounted, and nowhere else.
      `mount -t tmpfs -o ro none '${root}/sys/fs/cgroup'`,
      ...mounts,
      `mount -o remount,bind,ro '${root}'`,
      `exec ${this.#rights(container).join(' ')} chroot '${root}' "$@"`,
    ]
    const environment = Object.fromEntries(container.env.map(({ name, value = 'test-node' }) => [name, value]))
    const files = `${environment['KUBE_AGENT_CONFIG']}:/etc/kube-agent/pool.yaml`
    const through = ['unshare', '-m', 'sh', '-c', script.join(' && '), 'sh']
    return {
      words: [...through, ...imageOf().entrypoint, ...container.args],
      environment: { ...environment, KUBE_AGENT_CONFIG: files },
    }
  }

  /** The capabilities of the container, and the one that chroot itself needs. */
  #rights({ securityContext }: Container): string[] {
    const set = ['SYS_CHROOT', ...(securityContext.capabilities.add ?? [])].map((name) => `,+${name.toLowerCase()}`)
    return ['setpriv', `--bounding-set=-all${set.join('')}`, '--inh-caps=-all', '--no-new-privs']
  }

  /** Runs a container to its end. */
  run(file: string, which: 'containers' | 'initContainers'): { readonly status: number | null; readonly text: string } {
    const { words, environment } = this.command(file, which)
    const [program = '', ...rest] = words
    const ran = spawnSync(program, rest, {
      encoding: 'utf8',
      timeout: 30_000,
      env: { PATH: process.env['PATH'], ...environment },
    })
    return { status: ran.status, text: `${ran.stdout}${ran.stderr}` }
  }
}

async function open(context: TestContext): Promise<ImageNode> {
  const why = whyNotHere()
  if (why !== undefined) context.skip(why)
  if (spawnSync('ldd', ['--version']).status !== 0) context.skip('needs ldd, to find the libraries of Node')
  bed = await DaemonBed.open({ port: PORT })
  return new ImageNode(bed)
}

describe('the DaemonSet of deploy/manifests on the image', () => {
  it(
    'enforces with what it mounts and may; ends and leaves limits in force; is released by release.yaml, which then only looks, and released while it runs',
    { timeout: 180_000 },
    async (context) => {
      const node = await open(context)
      if (bed === undefined) throw new Error('no bed')
      const before = bed.photograph()
      const start = (file: string) => {
        const { words, environment } = node.command(file, 'containers')
        return bed?.startCommand(words, environment)
      }
      const agent = start('enforce.yaml')
      if (agent === undefined) throw new Error('not started')
      await bed.untilReady(agent)
      expect(bed.kubelet.registrations).toBe(4)
      for (const trouble of ['write refused', 'own priority not raised']) expect(agent.logged(trouble)).toEqual([])
      expect(await agent.stop()).toBe(0)
      expect(bed.podQuota()).toMatch(/^30000/)
      const released = node.run('release.yaml', 'initContainers')
      expect(released.text).toMatch(/^[1-9]\d* restored/m)
      expect(released.status).toBe(0)
      expect(bed.photograph()).toEqual(before)
      // As `kubectl exec` would: the agent is still there, and does it itself.
      const again = start('enforce.yaml')
      if (again === undefined) throw new Error('not started')
      await bed.untilReady(again)
      await expect.poll(() => bed?.podQuota(), { timeout: 30_000 }).toMatch(/^30000/)
      const asked = node.run('release.yaml', 'initContainers')
      expect(asked.text).toMatch(/^[1-9]\d* restored/m)
      expect(asked.status).toBe(0)
      expect((await bed.get('/statusz'))?.body).toMatch(/released by kube-agent release/)
      expect(await again.stop()).toBe(0)
      expect(bed.photograph()).toEqual(before)
      const looking = start('release.yaml')
      if (looking === undefined) throw new Error('not started')
      await expect.poll(async () => (await bed?.get('/readyz'))?.status, { timeout: 30_000 }).toBe(200)
      expect(looking.logged('write refused')).toEqual([])
      expect((await bed.get('/statusz'))?.body).toMatch(/\bobserve\b/)
      expect(bed.podQuota()).toMatch(QUOTA_OF_BEFORE)
      expect(await looking.stop()).toBe(0)
      expect(bed.photograph()).toEqual(before)
    },
  )

  it('observes with observe.yaml, and leaves the node as it is', { timeout: 120_000 }, async (context) => {
    const node = await open(context)
    const before = bed?.photograph()
    const { words, environment } = node.command('observe.yaml', 'containers')
    const agent = bed?.startCommand(words, environment)
    await expect.poll(async () => (await bed?.get('/readyz'))?.status, { timeout: 30_000 }).toBe(200)
    expect(agent?.logged('write refused')).toEqual([])
    expect(bed?.kubelet.registrations).toBe(0)
    expect(await agent?.stop()).toBe(0)
    expect(bed?.photograph()).toEqual(before)
  })
})

describe('the DaemonSet of the chart on the image', () => {
  it(
    'records while it only observes, into the one directory of the node that it may write',
    { timeout: 180_000 },
    async (context) => {
      const why = whyNoRenderer()
      if (why !== undefined) context.skip(why)
      const node = await open(context)
      if (bed === undefined) throw new Error('no bed')
      const before = bed.photograph()
      const { words, environment } = node.command({ config: { recording: { enabled: true } } }, 'containers')
      const agent = bed.startCommand(words, environment)
      await expect.poll(async () => (await bed?.get('/readyz'))?.status, { timeout: 30_000 }).toBe(200)
      expect(await agent.stop()).toBe(0)
      const recording = join(node.recordings, 'recording')
      const recorded = readdirSync(recording)
      expect(recorded.map((name) => statSync(join(recording, name)).size > 100)).toContain(true)
      expect(bed.photograph()).toEqual(before)
    },
  )
})

describe('the image', () => {
  it('has the command kube-agent, and koffi, which calls', { timeout: 60_000 }, (context) => {
    if (!IS_ROOT) context.skip('needs root, to change the root directory')
    const directory = mkdtempSync(join(tmpdir(), 'kube-agent-rootfs-'))
    try {
      rootFileSystem(directory)
      const run = (...words: string[]) =>
        spawnSync('chroot', [directory, ...words], { encoding: 'utf8', timeout: 30_000, env: { PATH: process.env['PATH'] } })
      expect(run('/usr/local/bin/kube-agent', 'version')).toMatchObject({
        status: 0,
        stdout: expect.stringMatching(/^kube-agent \d/) as string,
      })
      const call =
        "require('/usr/local/lib/kube-agent/node_modules/koffi').load('libc.so.6').func('int getpid()')() === process.pid"
      expect(run('/usr/local/bin/node', '-p', call)).toMatchObject({ status: 0, stdout: 'true\n' })
    } finally {
      rmSync(directory, { recursive: true })
    }
  })

  it('starts the bundle with the flags of its own first line', () => {
    const [line = ''] = readFileSync(BUNDLE, 'utf8').split('\n')
    const { entrypoint, environment } = imageOf()
    expect(environment).toContain('MALLOC_ARENA_MAX=1')
    expect(line).toBe(`#!/usr/bin/env -S MALLOC_ARENA_MAX=1 node ${entrypoint.slice(1, -1).join(' ')}`)
  })
})
