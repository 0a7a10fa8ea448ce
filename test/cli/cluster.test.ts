/**
 * The daemon in a cluster, from the outside: real cgroups, a kubelet, and an API server over real TLS that grants what deploy/rbac.yaml
 * grants and nothing more. Pods come from the API server alone.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it, onTestFinished, type TestContext } from 'vitest'
import { parse, parseAllDocuments, stringify } from 'yaml'
import { podSpec } from '../../src/cli/demo/pods.ts'
import { GroupSandbox, KubeletGroups } from '../../src/kernel/index.ts'
import { KubeletStandIn } from '../../src/sim/index.ts'
import { ApiServerDouble, type RbacRule } from '../support/api-server/index.ts'
import { haveOpenssl } from '../unit/kube/support.ts'
import { IS_ROOT, kubeAgent, startKubeAgent } from './program.ts'

const PORT = 19_467
const NODE = 'test-node'
const BE = podSpec({
  uid: 'eeeeeeee-0000-4000-8000-000000000001',
  name: 'half',
  namespace: 'jobs',
  kubeletQos: 'BestEffort',
  extended: { 'kube-agent.io/be-cpu': 3 },
})

const runs = IS_ROOT && haveOpenssl()
let directory: string
let sandbox: GroupSandbox | undefined
let kubelet: KubeletStandIn | undefined
let api: ApiServerDouble | undefined
let agent: ChildProcess | undefined
let sleeper: ChildProcess | undefined
let config = ''
let podGroup = ''

function rbacRules(): RbacRule[] {
  const text = readFileSync(new URL('../../deploy/rbac.yaml', import.meta.url), 'utf8')
  return parseAllDocuments(text).flatMap((document) => (document.toJS() as { rules?: RbacRule[] }).rules ?? [])
}

beforeEach(async () => {
  if (!runs) return
  directory = mkdtempSync(join(tmpdir(), 'kube-agent-cluster-'))
  mkdirSync(join(directory, 'api'))
  sandbox = new GroupSandbox('/sys/fs/cgroup', `kube-agent-cluster-${process.pid}`)
  const made = new KubeletGroups(sandbox).startPod(BE)
  podGroup = made.group
  sleeper = spawn('sleep', ['1000'])
  sandbox.attach(made.containers[0] ?? '', sleeper.pid ?? 0)
  kubelet = new KubeletStandIn({ directory: join(directory, 'dp'), random: Math.random })
  await kubelet.start()
  api = await ApiServerDouble.start({ directory: join(directory, 'api'), rules: rbacRules() })
  api.put('nodes', { metadata: { name: NODE }, spec: {}, status: { conditions: [] } })
  api.put('pods', {
    metadata: { name: BE.name, namespace: BE.namespace, uid: BE.uid },
    spec: { nodeName: NODE, containers: [{ name: 'main', resources: { limits: { 'kube-agent.io/be-cpu': '3' } } }] },
    status: { phase: 'Running', qosClass: 'BestEffort' },
  })
  config = join(directory, 'config.yaml')
  writeFileSync(
    config,
    stringify({
      mode: 'enforce',
      onExit: 'release',
      node: { name: NODE, cgroupRoot: sandbox.root },
      paths: { state: join(directory, 'state'), devicePlugins: join(directory, 'dp'), podResources: join(directory, 'pr') },
      cluster: { server: api.url, tokenFile: api.tokenFile, caFile: api.caFile, writeMs: 200, hotLabel: true, hotTaint: true },
      nodeSignals: { enterMs: 500 },
      http: { port: PORT },
      log: { level: 'warn' },
      // What else runs on this machine must not decide these tests.
      suppressCpu: { enabled: false },
    }),
  )
})

afterEach(async () => {
  if (!runs) return
  for (const child of [agent, sleeper]) await end(child, 'SIGKILL')
  await api?.stop()
  await kubelet?.stop()
  await sandbox?.remove()
  rmSync(directory, { recursive: true, force: true })
})

/** Starts the agent; nobody reads what it says. */
function startQuietly(...words: readonly string[]): ChildProcess {
  const child = startKubeAgent(['run', '--config', config, ...words])
  child.stdout?.resume()
  child.stderr?.resume()
  return child
}

async function end(child: ChildProcess | undefined, signal: NodeJS.Signals): Promise<number | null> {
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return child?.exitCode ?? null
  const ended = once(child, 'exit')
  child.kill(signal)
  const [code] = (await ended) as [number | null]
  return code
}

async function until<Value>(look: () => Value | Promise<Value>, good: (value: Value) => boolean): Promise<Value> {
  let value = await look()
  for (let tries = 0; tries < 250 && !good(value); tries += 1) {
    await sleep(100)
    value = await look()
  }
  if (!good(value)) throw new Error(`not reached: ${JSON.stringify(value)}\n${await get('/statusz')}`)
  return value
}

async function get(path: string, accept = 'text/plain'): Promise<string> {
  try {
    return await (await fetch(`http://127.0.0.1:${PORT}${path}`, { headers: { accept } })).text()
  } catch {
    return ''
  }
}

const quota = (): string => {
  const files = [...(sandbox?.photograph(podGroup) ?? [])]
  return files.find(([path]) => /cfs_quota_us$|cpu\.max$/.test(path))?.[1]?.trim() ?? ''
}

type NodeObject = {
  readonly metadata: { readonly annotations?: Readonly<Record<string, string>> }
  readonly status?: { readonly conditions?: readonly { readonly type: string; readonly status: string }[] }
}
const node = (): NodeObject => api?.get('nodes', '', NODE) as unknown as NodeObject
const condition = (): string | undefined => node().status?.conditions?.find(({ type }) => type === 'ColocationHot')?.status

function needs(context: TestContext): void {
  if (!IS_ROOT) context.skip('needs root: real cgroups can only be made by root')
  if (!haveOpenssl()) context.skip('needs openssl, to make certificates')
}

describe('run in a cluster', () => {
  it('takes pods from the API server, tells it of the node, and is refused nothing', { timeout: 90_000 }, async (context) => {
    needs(context)
    agent = startQuietly()
    await until(quota, (text) => text.startsWith('30000'))
    await until(condition, (status) => status !== undefined)
    await until(node, ({ metadata }) => metadata.annotations?.['kube-agent.io/score'] !== undefined)
    const events = (): string[] =>
      (api?.requests ?? []).filter(({ resource, verb }) => resource === 'events' && verb === 'create').map(({ body }) => body)
    const about = (body: string): boolean => body.includes('OfflineResourcesIncomplete')
    const event = (await until(events, (bodies) => bodies.some(about))).find(about)
    expect(event).toContain('"uid":"eeeeeeee-0000-4000-8000-000000000001"')
    await until(
      () => get('/statusz'),
      (text) => /cluster +https:\/\/127\.0\.0\.1:\d+, [1-9]\d* calls, 0 failed/.test(text),
    )
    const told = /^kube_agent_cluster_calls_total\{operation="patchNodeStatus",outcome="ok"\} [1-9]/m
    await until(
      () => get('/metrics'),
      (text) => told.test(text),
    )
    const explained = kubeAgent(['explain', 'pod', 'jobs/half', '--config', config])
    expect(explained.stdout).toContain('OfflineResourcesIncomplete')
    expect(api?.requests.filter(({ status }) => status === 403)).toEqual([])
  })

  it(
    'changes nothing on the node while the API server is away, and takes back what it said when it ends',
    { timeout: 90_000 },
    async (context) => {
      needs(context)
      agent = startQuietly()
      await until(quota, (text) => text.startsWith('30000'))
      await until(condition, (status) => status !== undefined)
      api?.hang()
      api?.dropWatches()
      for (let look = 0; look < 30; look += 1) {
        expect(quota()).toMatch(/^30000/)
        await sleep(100)
      }
      expect(await get('/livez')).toContain('ok')
      api?.resume()
      api?.remove('pods', BE.namespace, BE.name)
      // The pod's group is still there, but no longer a pod of this node: the limit goes with the pod.
      await until(
        () => get('/statusz'),
        (text) => /pods +0 from https/.test(text),
      )
      expect(await end(agent, 'SIGTERM')).toBe(0)
      expect(condition()).toBe('Unknown')
      expect(node().metadata.annotations?.['kube-agent.io/score']).toBeUndefined()
      expect(quota()).toMatch(/^(-1|max 100000)$/)
    },
  )

  it(
    'ends and releases the node though the API server hangs, and lifts nothing when it starts while that is away',
    { timeout: 90_000 },
    async (context) => {
      needs(context)
      const hold = (): ChildProcess => startQuietly('--set', 'onExit=hold')
      agent = hold()
      await until(quota, (text) => text.startsWith('30000'))
      expect(await end(agent, 'SIGTERM')).toBe(0)
      api?.hang()
      agent = hold()
      await until(
        () => get('/statusz'),
        (text) => text.includes('last tick'),
      )
      for (let look = 0; look < 30; look += 1) {
        expect(quota()).toMatch(/^30000/)
        await sleep(100)
      }
      expect(await get('/metrics')).toMatch(/^kube_agent_resource_advertised_units\{resource="be-cpu"\} 0$/m)
      expect(await end(agent, 'SIGTERM')).toBe(0)
      agent = startQuietly()
      await until(
        () => get('/statusz'),
        (text) => text.includes('last tick'),
      )
      expect(await end(agent, 'SIGTERM')).toBe(0)
      expect(quota()).toMatch(/^(-1|max 100000)$/)
    },
  )

  it.for(['was killed', 'runs'])(
    'release puts back the node of an agent that %s, takes back what it said, and fails where it can not',
    { timeout: 90_000 },
    async (how, context) => {
      needs(context)
      agent = startQuietly()
      await until(quota, (text) => text.startsWith('30000'))
      await until(condition, (status) => status !== undefined && status !== 'Unknown')
      const running = agent
      if (how === 'was killed') await end(agent, 'SIGKILL')
      else onTestFinished(async () => void (await end(running, 'SIGKILL')))
      // Not synchronously: the API server runs in this process.
      const release = async (): Promise<{ readonly code: number | null; readonly text: string }> => {
        agent = startKubeAgent(['release', '--config', config])
        let text = ''
        agent.stdout?.on('data', (data: Buffer) => (text += data.toString()))
        agent.stderr?.resume()
        const [code] = (await once(agent, 'close')) as [number | null]
        return { code, text }
      }
      api?.hang()
      const failed = await release()
      expect(failed.text).toMatch(/^[1-9]\d* restored[^]*not taken back in the cluster: /)
      expect(failed.code).toBe(1)
      expect(quota()).toMatch(/^(-1|max 100000)$/)
      expect(condition()).not.toBe('Unknown')
      api?.resume()
      const again = await release()
      expect(again).toMatchObject({ code: 0, text: expect.stringMatching(/^0 restored/) as string })
      // One that runs on tells nothing more.
      if (how === 'runs') await sleep(3000)
      expect(condition()).toBe('Unknown')
      expect(node().metadata.annotations?.['kube-agent.io/score']).toBeUndefined()
    },
  )

  it('evicts when memory is short, tells of it once, and is refused nothing', { timeout: 90_000 }, async (context) => {
    needs(context)
    const always = { enterPermyriad: 9998, exitPermyriad: 10_000, enterMs: 0, coolDownMs: 0 }
    const off = { enabled: false }
    const evicting = {
      ...(parse(readFileSync(config, 'utf8')) as Record<string, unknown>),
      evict: { enabled: true, holdMs: 2000, gracePeriodSeconds: 7 },
      memoryHold: always,
      memoryHighOt: off,
      memoryHighBe: off,
      memoryEvictOt: always,
      memoryEvictBe: always,
    }
    writeFileSync(config, stringify(evicting))
    if (api !== undefined) api.graceSecondMs = 100
    agent = startQuietly()
    const bodiesOf = (resource: string): readonly string[] =>
      (api?.requests ?? [])
        .filter((request) => request.resource === resource && request.verb === 'create')
        .map(({ body }) => body)
    const [eviction = ''] = await until(
      () => bodiesOf('pods/eviction'),
      (bodies) => bodies.length > 0,
    )
    expect(JSON.parse(eviction)).toMatchObject({
      metadata: { namespace: BE.namespace, name: BE.name },
      deleteOptions: { preconditions: { uid: BE.uid }, gracePeriodSeconds: 7 },
    })
    await until(
      () => bodiesOf('events').some((body) => body.includes('OfflinePodEvicted') && body.includes('memoryEvictBe')),
      (told) => told,
    )
    await until(
      () => api?.get('pods', BE.namespace, BE.name),
      (pod) => pod === undefined,
    )
    await until(
      () => get('/statusz'),
      (text) => /pods +0 from https/.test(text),
    )
    expect(await get('/metrics')).toMatch(/operation="createEviction",outcome="ok"\} 1$/m)
    expect(bodiesOf('pods/eviction').length).toBe(1)
    expect(bodiesOf('events').filter((body) => body.includes('OfflinePodEvicted')).length).toBe(1)
    expect(api?.requests.filter(({ status }) => status === 403)).toEqual([])
    expect(await end(agent, 'SIGTERM')).toBe(0)
  })

  it('says what is missing when pods should come from an API server and there is none', () => {
    const ran = kubeAgent(['run', '--set', 'pods.source=api,paths.state=/nonexistent'])
    expect(ran.stderr).toContain('pods.source: api needs an API server')
    expect(ran.code).toBe(3)
  })
})
