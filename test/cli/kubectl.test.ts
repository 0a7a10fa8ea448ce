/**
 * `kubectl kube-agent` as a person types it: a real kubectl, the plugin from deploy/kubectl, an API server that lists and proxies, and a real
 * agent behind it.
 */
import { spawnSync, type ChildProcess } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { ApiObject } from '../support/api-server/index.ts'
import { ProxyApiServer } from '../support/proxy-api-server.ts'
import { plantPlainNode } from '../support/trees-on-disk.ts'
import { endNow, kubeAgent, type Ran, runAsync, startServing } from './program.ts'

const PLUGINS = resolve(import.meta.dirname, '../../deploy/kubectl')
const PLUGIN = join(PLUGINS, 'kubectl-kube_agent')
const HAS_KUBECTL = spawnSync('kubectl', ['version', '--client']).status === 0
const WHY = 'kubectl is not installed (Debian: kubernetes-client)'
/** A kubectl takes most of a second to start, and a command of the plugin starts it up to four times. */
const MS = 60_000

let directory: string
let server: ProxyApiServer
let agent: ChildProcess | undefined
let port = 0

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'kube-agent-kubectl-'))
  const config = join(directory, 'c.yaml')
  mkdirSync(join(directory, 'pods'))
  writeFileSync(
    config,
    `node: {name: node-a}\npaths: {cgroup: ${plantPlainNode(directory)}, state: ${join(directory, 'state')}}\npods: {source: directory, directory: ${join(directory, 'pods')}}\nhttp: {port: 0}\n`,
  )
  server = await ProxyApiServer.start()
  ;({ agent, port } = await startServing(config))
  writeFileSync(
    join(directory, 'kubeconfig'),
    JSON.stringify({
      apiVersion: 'v1',
      kind: 'Config',
      clusters: [{ name: 'c', cluster: { server: server.url } }],
      users: [{ name: 'u', user: {} }],
      contexts: [{ name: 'test', context: { cluster: 'c', user: 'u', namespace: 'elsewhere' } }],
      'current-context': 'test',
    }),
  )
  for (let tries = 0; tries < 200 && (await brief()) === ''; tries += 1) await sleep(100)
}, MS)

afterAll(async () => {
  await server.stop()
  await endNow(agent)
  rmSync(directory, { recursive: true, force: true })
})

/** The agent's own line, once it has the readings that it decides on, so that it stays as it is; empty before. */
async function brief(): Promise<string> {
  try {
    const page = async (path: string): Promise<string> => (await fetch(`http://127.0.0.1:${port}${path}`)).text()
    return (await page('/statusz')).includes('too few readings') ? '' : (await page('/statusz?brief')).trim()
  } catch {
    return ''
  }
}

beforeEach(() => {
  server.clear()
  server.put(agentPod('agent-a', {}))
})

/** The tests around it type a command to kubectl itself. */
function needKubectl(): void {
  beforeEach((context) => {
    if (!HAS_KUBECTL) context.skip(WHY)
  })
}

interface PodOptions {
  readonly node?: string
  readonly phase?: string
  readonly port?: number
  readonly labels?: Readonly<Record<string, string>>
  readonly hostNetwork?: boolean
  readonly going?: boolean
  readonly portName?: string
}

/** A way in which no agent is found. */
interface Case {
  readonly when: string
  readonly pods?: readonly (readonly [name: string, options: PodOptions])[]
  readonly words?: readonly string[]
  /** A right that is missing. */
  readonly lacks?: string
  readonly says: string
}

/** A pod as the chart makes it. */
function agentPod(name: string, options: PodOptions): ApiObject {
  const { node = 'node-a', phase = 'Running', labels = {}, hostNetwork = false, going = false, portName = 'http' } = options
  return {
    kind: 'Pod',
    apiVersion: 'v1',
    metadata: {
      name,
      namespace: 'kube-agent',
      labels: { 'app.kubernetes.io/name': 'kube-agent', ...labels },
      ...(going ? { deletionTimestamp: '2026-11-21T00:00:00Z' } : {}),
    },
    spec: {
      nodeName: node,
      hostNetwork,
      containers: [
        { name: 'sidecar', ports: [{ name: 'http', containerPort: 1 }] },
        { name: 'agent', ports: [{ name: portName, containerPort: options.port ?? port }] },
      ],
    },
    status: { phase, podIP: '127.0.0.1' },
  }
}

/** Types `kubectl kube-agent …` with an empty configuration but for the server. */
function plugin(...words: readonly string[]): Promise<Ran> {
  const environment = {
    PATH: `${PLUGINS}:${process.env['PATH'] ?? ''}`,
    KUBECONFIG: join(directory, 'kubeconfig'),
    HOME: directory,
  }
  return runAsync('kubectl', ['kube-agent', ...words], environment, { timeoutMs: MS })
}

/** What the agent was last asked to explain. */
const lastSubject = (): string | null => new URL(server.proxied.at(-1) ?? '', 'http://agent').searchParams.get('subject')

describe('kubectl kube-agent', () => {
  needKubectl()

  it(
    'shows what the agent of the node says, for people, with its verdict as the exit code, and asks for two rights',
    { timeout: MS },
    async () => {
      const ran = await plugin('status', 'node-a')
      expect(ran.stdout).toMatch(/^kube-agent +[\d.]+, mode observe/)
      expect(ran.code).toBe((await brief()).startsWith('OK') ? 0 : 1)
      expect(ran.stderr).toBe('')
      expect([...server.used].sort()).toEqual(['get pods/proxy', 'list pods'])
    },
  )

  it('says in one line what kube-agent status --brief says on the node, with the same exit code', { timeout: MS }, async () => {
    const steady = (text: string): string => text.replaceAll(/\d[\d.]* ?(?:ms|s|min|m|CPUs?|GiB)\b/g, 'N').trim()
    const onNode = (): Pick<Ran, 'code' | 'stdout'> => {
      const ran = kubeAgent(['status', '--brief', '--address', `127.0.0.1:${port}`])
      return { code: ran.code, stdout: steady(ran.stdout) }
    }
    // A warning comes and goes while the machine is busy (a late tick): only between two equal answers does a third have to be the same.
    await expect
      .poll(
        async () => {
          const before = onNode()
          const here = await plugin('status', 'node-a', '--brief')
          const after = onNode()
          if (!isDeepStrictEqual(before, after)) return 'what the agent says changes'
          expect({ code: here.code, stdout: steady(here.stdout) }).toEqual(after)
          return 'the same'
        },
        { timeout: MS / 2 },
      )
      .toBe('the same')
  })

  it('gives data with --json', { timeout: MS }, async () => {
    const [status, journal, config] = await Promise.all([
      plugin('status', 'node-a', '--json'),
      plugin('journal', '--json', '--limit=2', 'node-a'),
      plugin('config', 'node-a', '--json'),
    ])
    expect(JSON.parse(status.stdout)).toMatchObject({ nodeName: 'node-a' })
    expect(JSON.parse(journal.stdout)).toHaveProperty('entries')
    expect(JSON.parse(config.stdout)).toHaveProperty('origins')
  })

  it('has the other pages too', { timeout: MS }, async () => {
    const [metrics, config, journal, ready, cpu, resource] = await Promise.all([
      plugin('metrics', 'node-a'),
      plugin('config', 'node-a'),
      plugin('journal', 'node-a'),
      plugin('ready', 'node-a'),
      plugin('explain', 'node-a', 'cpu', '0'),
      plugin('explain', 'node-a', 'resource', 'be-cpu'),
    ])
    expect(metrics.stdout).toMatch(/^# HELP kube_agent_/m)
    expect(config.stdout).toMatch(/^KEY +VALUE +ORIGIN$/m)
    expect(journal.stdout).toMatch(/^Read on with: kube-agent journal --since \d+$/m)
    expect(ready.stdout).toMatch(/^\[[+-]\] /)
    expect(ready.code).toBe(ready.stdout.trim().endsWith('\nready') ? 0 : 1)
    expect(cpu).toMatchObject({ code: 0, stdout: expect.stringMatching(/^whose +the online pool/m) as string })
    expect(resource).toMatchObject({ code: 0, stdout: expect.stringContaining('be-cpu') as string })
  })

  it(
    'shows the words of the agent when there is no such thing to explain, which kubectl alone does not',
    { timeout: MS },
    async () => {
      const ran = await plugin('explain', 'node-a', 'pod', 'shop/none')
      expect(ran).toMatchObject({ code: 2, stdout: '' })
      expect(ran.stderr).toContain('no pod "shop/none"')
    },
  )

  it('takes a knob by a path with what systemd writes in it', { timeout: MS }, async () => {
    const ran = await plugin('explain', 'node-a', 'knob', String.raw`/kubepods.slice/kubepods-pod1\x2d2.slice/cpu.max`)
    expect(ran.code).toBe(2)
    expect(lastSubject()).toBe(String.raw`knob /kubepods.slice/kubepods-pod1\x2d2.slice/cpu.max`)
    expect(ran.stderr).toContain('kubepods')
  })

  it('finds the node of a pod that is to be explained by itself', { timeout: MS }, async () => {
    server.put({
      kind: 'Pod',
      apiVersion: 'v1',
      metadata: { name: 'web', namespace: 'shop' },
      spec: { nodeName: 'node-a', containers: [] },
    })
    const ran = await plugin('explain', 'pod', 'shop/web')
    expect(ran.stderr).toContain('no pod "shop/web"')
    expect(lastSubject()).toBe('pod shop/web')
    expect(await plugin('explain', 'pod', 'shop/gone')).toMatchObject({ code: 1, stdout: '' })
  })
})

describe('kubectl kube-agent finds the agent', () => {
  needKubectl()

  it('among others: not that of another node, and not one that is going', { timeout: MS }, async () => {
    server.put(agentPod('agent-b', { node: 'node-b', port: 1 }))
    server.put(agentPod('agent-old', { going: true, port: 1 }))
    expect((await plugin('config', 'node-a')).code).toBe(0)
  })

  it.each<Case>([
    { when: 'none is on the node', pods: [], says: 'no agent on node node-a in namespace kube-agent' },
    { when: 'it is in another namespace', words: ['-n', 'other'], says: 'no agent on node node-a in namespace other' },
    {
      when: 'it does not run yet',
      pods: [['agent-a', { phase: 'Pending' }]],
      says: 'no agent runs on node-a: agent-a is Pending',
    },
    {
      when: 'there are two',
      pods: [
        ['agent-a', {}],
        ['agent-x', {}],
      ],
      says: 'several agents run on node-a: agent-a, agent-x',
    },
    { when: 'its port has no name', pods: [['agent-a', { portName: 'web' }]], says: 'no port called http' },
    { when: 'the pods can not be listed', lacks: 'list pods', says: 'list on pods in the namespace kube-agent' },
    { when: 'the proxy is forbidden', lacks: 'get pods/proxy', says: 'get on pods/proxy in the namespace kube-agent' },
    {
      when: 'it listens on loopback',
      pods: [['agent-a', { port: 1, hostNetwork: true }]],
      says: 'with http.host=0.0.0.0 the API server reaches it',
    },
    { when: 'a policy keeps the API server out', pods: [['agent-a', { port: 1 }]], says: 'networkPolicy.from' },
  ])(
    'or says why not and exits 1 where $when',
    { timeout: MS },
    async ({ pods = [['agent-a', {}]], words = [], lacks, says }) => {
      server.clear()
      for (const [name, options] of pods) server.put(agentPod(name, options))
      if (lacks !== undefined) server.granted.delete(lacks)
      try {
        const ran = await plugin('status', 'node-a', ...words)
        expect(ran.stderr).toContain(says)
        expect(ran).toMatchObject({ code: 1, stdout: '' })
      } finally {
        if (lacks !== undefined) server.granted.add(lacks)
      }
    },
  )

  it('of two by the labels that are given', { timeout: MS }, async () => {
    server.put(agentPod('agent-x', { port: 1, labels: { 'app.kubernetes.io/instance': 'canary' } }))
    server.put(agentPod('agent-y', { labels: { 'app.kubernetes.io/instance': 'main' } }))
    expect((await plugin('config', 'node-a', '-l', 'app.kubernetes.io/instance=main')).code).toBe(0)
  })
})

describe('kubectl kube-agent refuses, before anything is asked,', () => {
  it.each([
    [['status', 'node a'], "not the name of a node: 'node a'"],
    [['status', '../../nodes'], 'not the name of a node'],
    [['status', 'node-a/../b'], 'not the name of a node'],
    [['status', 'node-a?x=1'], 'not the name of a node'],
    [['status', 'node-a\nb'], 'not the name of a node'],
    [['status', 'Node-A'], 'not the name of a node'],
    [['status', '-n', 'a/b', 'node-a'], 'not the name of a namespace'],
    [['explain', 'node-a', 'pod', 'shop/web&format=json'], 'pod wants NAMESPACE/NAME'],
    [['explain', 'node-a', 'pod', 'shop/$(touch x)'], 'pod wants NAMESPACE/NAME'],
    [['explain', 'node-a', 'pod', 'shop/we%2fb'], 'pod wants NAMESPACE/NAME'],
    [['explain', 'pod', 'web'], 'pod wants NAMESPACE/NAME'],
    [['explain', 'node-a', 'cpu', '-1'], 'unknown option -1'],
    [['explain', 'node-a', 'cpu', 'x'], 'cpu wants a number'],
    [['explain', 'node-a', 'knob', '/a b'], 'not the name of a knob'],
    [['explain', 'node-a', 'knob', '/a', '`id`'], 'unexpected word'],
    [['explain', 'node-a', 'weather', 'x'], 'explain wants pod, cpu, resource, knob or group'],
    [['explain', 'node-a'], 'explain wants a subject'],
    [['journal', 'node-a', '--pod', 'web'], '--pod wants NAMESPACE/NAME'],
    [['journal', 'node-a', '--since', '1&x'], '--since wants a number'],
    [['journal', 'node-a', '--limit'], '--limit wants a value'],
    [['metrics', 'node-a', '--json'], '--json is not for metrics'],
    [['config', 'node-a', '--brief'], '--brief is for status'],
    [['status', 'node-a', 'node-b'], "unexpected word 'node-b'"],
    [['status'], 'status wants a NODE'],
    [['restart', 'node-a'], "unknown command 'restart'"],
    [['status', 'node-a', '--force'], 'unknown option --force'],
  ])('%j', async (words, message) => {
    // The script itself: kubectl would add nothing but its time.
    const ran = await runAsync('sh', [PLUGIN, ...words], { PATH: '/usr/bin:/bin', KUBECONFIG: '/nonexistent' })
    expect(ran).toMatchObject({ code: 2, stdout: '' })
    expect(ran.stderr).toContain(message)
    expect(server.used.size).toBe(0)
  })
})

describe('the plugin', () => {
  it('is a script for any POSIX shell, and helps', () => {
    expect(readFileSync(PLUGIN, 'utf8')).toMatch(/^#!\/bin\/sh\n/)
    for (const shell of ['dash', 'bash', 'zsh']) {
      const { error, status, stderr } = spawnSync(shell, ['-n', PLUGIN], { encoding: 'utf8' })
      if (error === undefined) expect({ shell, status, stderr }).toEqual({ shell, status: 0, stderr: '' })
    }
    const { status, stdout } = spawnSync('sh', [PLUGIN, '--help'], { encoding: 'utf8' })
    expect(status).toBe(0)
    expect(stdout).toContain('Usage: kubectl kube-agent status NODE')
  })

  it('looks for what the chart makes', () => {
    const chart = (name: string): string =>
      readFileSync(resolve(import.meta.dirname, `../../deploy/chart/kube-agent/templates/${name}`), 'utf8')
    expect(chart('_helpers.tpl')).toMatch(/selectorLabels" -}}\napp\.kubernetes\.io\/name: kube-agent$/m)
    expect(chart('daemonset.yaml')).toMatch(/- name: agent\n[^]*ports:\n +- name: http\n/)
  })
})
