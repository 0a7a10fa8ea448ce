/**
 * The daemon from the outside, on real cgroups: what it serves, that it holds over restarts and kills, that a second one is refused, and
 * that `release` puts everything back after a SIGKILL.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { stringify } from 'yaml'
import { afterEach, beforeEach, describe, expect, it, type TestContext } from 'vitest'
import { manifestOf, podSpec } from '../../src/cli/demo/pods.ts'
import { GroupSandbox, KubeletGroups } from '../../src/kernel/index.ts'
import type { GroupPath } from '../../src/model/index.ts'
import { KubeletStandIn } from '../../src/sim/index.ts'
import { IS_ROOT, kubeAgent, startKubeAgent } from './program.ts'

const PORT = 19_466
/** Quota and weight at once, the memory limit when the pod's working set is known. */
const ENFORCED = 3
const BE = podSpec({
  uid: 'dddddddd-0000-4000-8000-000000000001',
  name: 'batch',
  namespace: 'jobs',
  kubeletQos: 'BestEffort',
  extended: { 'kube-agent.io/be-cpu': 3, 'kube-agent.io/be-memory': 1 },
})

let directory: string
let sandbox: GroupSandbox | undefined
let kubelet: KubeletStandIn | undefined
let config: string
let sleeper: ChildProcess | undefined
let agent: ChildProcess | undefined
let groups: readonly GroupPath[] = []
let before = new Map<string, string>()
let podGroup = ''

beforeEach(async () => {
  if (!IS_ROOT) return
  directory = mkdtempSync(join(tmpdir(), 'kube-agent-run-'))
  sandbox = new GroupSandbox('/sys/fs/cgroup', `kube-agent-test-${process.pid}`)
  const kubeletGroups = new KubeletGroups(sandbox)
  const made = kubeletGroups.startPod(BE)
  podGroup = made.group
  sleeper = spawn('sleep', ['1000'])
  sandbox.attach(made.containers[0] ?? '', sleeper.pid ?? 0)
  groups = [...kubeletGroups.roots, made.group, ...made.containers]
  before = photograph()
  mkdirSync(join(directory, 'pods'))
  writeFileSync(join(directory, 'pods/batch.yaml'), manifestOf(BE))
  kubelet = new KubeletStandIn({ directory: join(directory, 'dp'), random: Math.random })
  await kubelet.start()
  config = join(directory, 'config.yaml')
  const settings = {
    mode: 'enforce',
    node: { name: 'test-node', cgroupRoot: sandbox.root },
    paths: { state: join(directory, 'state'), devicePlugins: join(directory, 'dp') },
    pods: { directory: join(directory, 'pods') },
    http: { port: PORT },
    log: { level: 'warn' },
    // What else runs on this machine must not decide these tests: suppression is tested where the load is known.
    suppressCpu: { enabled: false },
  }
  writeFileSync(config, stringify(settings))
})

afterEach(async () => {
  if (!IS_ROOT) return
  await stop('SIGKILL')
  if (sleeper !== undefined) {
    const ended = once(sleeper, 'exit')
    sleeper.kill('SIGKILL')
    await ended
  }
  await kubelet?.stop()
  await sandbox?.remove()
  rmSync(directory, { recursive: true, force: true })
})

async function stop(signal: NodeJS.Signals): Promise<number | null> {
  if (agent === undefined || agent.exitCode !== null || agent.signalCode !== null) return null
  const ended = once(agent, 'exit')
  agent.kill(signal)
  const [code] = (await ended) as [number | null]
  agent = undefined
  return code
}

async function get(path: string): Promise<{ status: number; body: string } | undefined> {
  try {
    const answer = await fetch(`http://127.0.0.1:${PORT}${path}`)
    return { status: answer.status, body: await answer.text() }
  } catch {
    return undefined
  }
}

async function startReady(): Promise<void> {
  agent = startKubeAgent(['run', '--config', config])
  agent.stdout?.resume()
  agent.stderr?.resume()
  for (let tries = 0; tries < 100; tries += 1) {
    if ((await get('/readyz'))?.status === 200 && differences().length >= ENFORCED) return
    await sleep(100)
  }
  throw new Error(`the agent did not become ready: ${JSON.stringify(await get('/readyz?verbose'))}`)
}

function photograph(): Map<string, string> {
  return new Map(groups.flatMap((group) => [...(sandbox?.photograph(group) ?? [])]))
}

function differences(): string[] {
  const now = photograph()
  return [...before].filter(([path, text]) => now.get(path) !== text).map(([path]) => path)
}

/** The text of the pod's quota file. */
function quota(): string {
  const files = [...(sandbox?.photograph(podGroup) ?? [])]
  return files.find(([path]) => /cfs_quota_us$|cpu\.max$/.test(path))?.[1] ?? ''
}

function rootOnly(context: TestContext): void {
  if (!IS_ROOT) context.skip('needs root: real cgroups can only be made by root')
}

describe('run --mode enforce', () => {
  it('registers, limits the pod, and answers on every page', { timeout: 60_000 }, async (context) => {
    rootOnly(context)
    await startReady()
    expect(quota()).toMatch(/^30000/)
    expect((await get('/livez'))?.status).toBe(200)
    expect((await get('/metrics'))?.body).toMatch(/^kube_agent_kubelet_registered\{resource="be-cpu"\} 1$/m)
    expect((await get('/statusz'))?.body).toContain('test-node')
    expect(kubeAgent(['status', '--config', config, '--brief'])).toMatchObject({ code: 0 })
    const explained = kubeAgent(['explain', 'pod', 'jobs/batch', '--config', config])
    expect(explained.code).toBe(0)
    expect(explained.stdout).toContain('it asks for kube-agent.io/be-cpu')
    expect(explained.stdout).toContain('asked for 3 units of 100m')
    expect(kubelet?.violations).toEqual([])
  })

  it('refuses a second agent', { timeout: 60_000 }, async (context) => {
    rootOnly(context)
    await startReady()
    const second = kubeAgent(['run', '--config', config])
    expect(second.code).toBe(4)
    expect(second.stderr).toContain(`another agent runs on this node: pid ${agent?.pid}`)
    expect((await get('/livez'))?.status).toBe(200)
  })

  it('holds what it wrote over SIGTERM and a restart, and says so with exit code 0', { timeout: 60_000 }, async (context) => {
    rootOnly(context)
    await startReady()
    const held = quota()
    expect(await stop('SIGTERM')).toBe(0)
    expect(quota()).toBe(held)
    agent = startKubeAgent(['run', '--config', config])
    for (let look = 0; look < 30; look += 1) {
      expect(quota()).toBe(held)
      await sleep(100)
    }
  })

  it('carries on where an agent has written before, though the kubelet is down', { timeout: 60_000 }, async (context) => {
    rootOnly(context)
    await startReady()
    const held = quota()
    expect(await stop('SIGTERM')).toBe(0)
    await kubelet?.stop()
    rmSync(join(directory, 'dp'), { recursive: true, force: true })
    agent = startKubeAgent(['run', '--config', config])
    agent.stdout?.resume()
    agent.stderr?.resume()
    for (let tries = 0; tries < 100 && (await get('/livez'))?.status !== 200; tries += 1) await sleep(100)
    expect((await get('/livez'))?.status).toBe(200)
    expect((await get('/readyz'))?.status).toBe(503)
    expect(quota()).toBe(held)
    expect((await get('/readyz?verbose'))?.body).toContain('kubelet')
  })

  it('is undone by release after SIGKILL, every file as before', { timeout: 60_000 }, async (context) => {
    rootOnly(context)
    await startReady()
    await stop('SIGKILL')
    expect(differences()).not.toEqual([])
    const released = kubeAgent(['release', '--config', config])
    expect(released.code).toBe(0)
    expect(released.stdout).toMatch(/^[1-9]\d* restored/m)
    expect(differences()).toEqual([])
    expect(kubeAgent(['release', '--config', config]).stdout).toMatch(/^0 restored/)
  })

  it(
    'reloads its file on SIGHUP, and keeps the last good configuration over a broken one',
    { timeout: 60_000 },
    async (context) => {
      rootOnly(context)
      await startReady()
      const text = readFileSync(config, 'utf8')
      writeFileSync(config, `${text}limits:\n  enabled: false\n`)
      agent?.kill('SIGHUP')
      // Nobody wants the limits any more: quota and memory limit go back, the rest stays.
      for (let tries = 0; tries < 50 && differences().length !== ENFORCED - 2; tries += 1) await sleep(100)
      expect(differences()).toHaveLength(ENFORCED - 2)
      writeFileSync(config, `${text}limits: [broken\n`)
      agent?.kill('SIGHUP')
      const rejected = /^kube_agent_config_reloads_total\{outcome="rejected"\} 1$/m
      for (let tries = 0; tries < 50 && !rejected.test((await get('/metrics'))?.body ?? ''); tries += 1) await sleep(100)
      expect((await get('/metrics'))?.body).toMatch(rejected)
      expect((await get('/livez'))?.status).toBe(200)
      expect(differences()).toHaveLength(ENFORCED - 2)
    },
  )

  it('releases on SIGTERM when onExit says so', { timeout: 60_000 }, async (context) => {
    rootOnly(context)
    writeFileSync(config, 'onExit: release\n', { flag: 'a' })
    await startReady()
    expect(await stop('SIGTERM')).toBe(0)
    expect(differences()).toEqual([])
  })
})

describe('run that fails after it has begun to start', () => {
  it('ends with one clear line, registers nothing and gives the lock back', { timeout: 60_000 }, (context) => {
    rootOnly(context)
    const ran = kubeAgent(['run', '--config', config, '--set', `paths.sys=${directory}`])
    expect(ran.code).toBe(4)
    expect(ran.stderr).toContain(`cannot read ${directory}/devices/system/cpu/online`)
    expect(kubelet?.registrations).toBe(0)
    expect(kubeAgent(['release', '--config', config]).code).toBe(0)
  })

  it('stops at once when it is told to while it waits for the kubelet', { timeout: 60_000 }, async (context) => {
    rootOnly(context)
    agent = startKubeAgent(['run', '--config', config, '--set', `kubelet.waitMs=60000,paths.devicePlugins=${directory}/none`])
    agent.stderr?.resume()
    agent.stdout?.resume()
    await sleep(1000)
    expect(await stop('SIGTERM')).toBe(0)
  })
})

describe('run in observe, the default mode,', () => {
  it('serves its pages and writes nothing', { timeout: 60_000 }, async (context) => {
    rootOnly(context)
    agent = startKubeAgent(['run', '--config', config, '--mode', 'observe'])
    for (let tries = 0; tries < 50 && (await get('/readyz'))?.status !== 200; tries += 1) await sleep(100)
    await sleep(2500)
    expect((await get('/statusz'))?.body).toContain('observe')
    expect(differences()).toEqual([])
    expect(kubelet?.registrations).toBe(0)
  })
})
