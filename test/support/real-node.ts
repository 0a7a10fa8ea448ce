/**
 * A kubelet's cgroups on this machine's kernel, below a group of the test's own, with real processes in them and the real agent over
 * them. Everything it makes, it removes: groups, processes (by pid), and its one temporary directory.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { RestoreJournal } from '../../src/actuate/index.ts'
import type { Agent } from '../../src/agent/index.ts'
import { composeAgent, openNode, openWriting, realNow } from '../../src/compose.ts'
import { type Config, loadConfig } from '../../src/config/index.ts'
import { GroupSandbox, KubeletGroups, openKernel, removeStaleSandboxes, type OpenedKernel } from '../../src/kernel/index.ts'
import { detectMounts } from '../../src/kernel/mounts.ts'
import type { Dialect, GroupLayout, GroupPath, KubeletQos, OfflineResource, TickRecord } from '../../src/model/index.ts'
import { childGroup, isQuota, messageOf, podGroup, qosRoot, quotaMilliCpu, type PodSource } from '../../src/model/index.ts'

const CGROUP_PATH = '/sys/fs/cgroup'
const PREFIX = 'kube-agent-test'

/** Why the real kernel can't be tested here, or undefined when it can. */
export function whyNotHere(dialect?: Dialect): string | undefined {
  if (process.getuid?.() !== 0) return 'needs root'
  try {
    const mounts = detectMounts(CGROUP_PATH)
    if (dialect !== undefined && mounts.dialect !== dialect) return `needs cgroup ${dialect}, this machine has ${mounts.dialect}`
    const probe = join(mounts.controllers.cpu ?? '', `${PREFIX}-probe-${process.pid}`)
    mkdirSync(probe)
    rmdirSync(probe)
  } catch (thrown) {
    return `needs writable cgroups: ${messageOf(thrown)}`
  }
  return undefined
}

type GroupController = 'cpu' | 'cpuset' | 'memory' | 'freezer' | 'blkio' | 'io'

/** Groups of one's own on the real kernel. */
export class RealGroups {
  readonly sandbox: GroupSandbox
  readonly #children = new Set<ChildProcess>()

  static async open(): Promise<RealGroups> {
    await removeStaleSandboxes(CGROUP_PATH, PREFIX)
    return new RealGroups()
  }

  private constructor() {
    this.sandbox = new GroupSandbox(CGROUP_PATH, `${PREFIX}-${process.pid}`)
  }

  get root(): GroupPath {
    return this.sandbox.root
  }

  make(...names: readonly string[]): GroupPath {
    let group = this.root
    for (const name of names) {
      const parent = group
      group = childGroup(parent, name)
      if (existsSync(this.fileOf(group, 'cpu', ''))) continue
      this.sandbox.delegate(parent)
      this.sandbox.make(group)
    }
    return group
  }

  /** Path of a file of a group in a controller's tree. */
  fileOf(group: GroupPath, controller: GroupController, name: string): string {
    return join(this.sandbox.mounts.controllers[controller] ?? '', group, name)
  }

  /** A process that does nothing, in `group`. */
  park(group: GroupPath): number {
    return this.#spawn(group, 'exec sleep 600')
  }

  /** A process that uses all the CPU it gets. */
  burn(group: GroupPath): number {
    return this.#spawn(group, 'while :; do :; done')
  }

  /** A process that starts another one all the time. */
  forking(group: GroupPath): number {
    return this.#spawn(group, 'while :; do sleep 0.3; done')
  }

  /** A process that starts another three times a second, which ends by itself. */
  fork(group: GroupPath): number {
    return this.#spawn(group, 'while :; do sleep 0.3; done')
  }

  /** A process that runs a shell script, and waits with it until it is in `group`: what it allocates and opens is counted there. */
  shell(group: GroupPath, script: string): number {
    const child = spawn('/bin/sh', ['-c', `read -r go\n${script}`], { stdio: ['pipe', 'ignore', 'ignore'] })
    const pid = this.#keep(group, child)
    child.stdin?.on('error', () => undefined)
    child.stdin?.end('go\n')
    return pid
  }

  /** A process that runs JavaScript, in `group`. */
  node(group: GroupPath, script: string): number {
    return this.#spawn(group, `exec '${process.execPath}' -e '${script}'`)
  }

  #spawn(group: GroupPath, script: string): number {
    return this.#keep(group, spawn('/bin/sh', ['-c', script], { stdio: 'ignore' }))
  }

  #keep(group: GroupPath, child: ChildProcess): number {
    if (child.pid === undefined) throw new Error('cannot start /bin/sh')
    this.#children.add(child)
    this.sandbox.attach(group, child.pid)
    return child.pid
  }

  async end(pid: number): Promise<void> {
    for (const child of this.#children) {
      if (child.pid !== pid) continue
      this.#children.delete(child)
      if (child.exitCode !== null || child.signalCode !== null) return
      const ended = new Promise((resolve) => child.once('exit', resolve))
      child.kill('SIGKILL')
      await ended
    }
  }

  async close(): Promise<void> {
    for (const child of this.#children) if (child.pid !== undefined) await this.end(child.pid)
    await this.sandbox.remove()
  }

  /** The kernel port over this machine; `group` stands for the best-effort root when it is probed. */
  openKernel(settings: { readonly coreScheduling?: boolean } = {}): OpenedKernel {
    this.make('kubepods', 'besteffort')
    return openKernel({
      cgroupPath: CGROUP_PATH,
      procPath: '/proc',
      sysPath: '/sys',
      cgroupRoot: this.root,
      driver: 'cgroupfs',
      ...settings,
    })
  }
}

export interface RealPod {
  readonly uid: string
  readonly qos: KubeletQos
  readonly asks?: Readonly<Partial<Record<OfflineResource, number>>>
  readonly requestsMilli?: number
}

export interface RunningAgent {
  readonly agent: Agent
  readonly node: OpenedKernel
  readonly journal: RestoreJournal
  readonly pods: PodSource
  readonly records: TickRecord[]
  readonly failures: unknown[]
}

/** A node with the agent on it. */
export class RealNode {
  readonly groups: RealGroups
  readonly layout: GroupLayout
  readonly #kubelet: KubeletGroups
  readonly config: Config
  readonly #directory: string
  readonly #photographed = new Set<GroupPath>()
  readonly #agents: RunningAgent[] = []
  readonly #processes = new Map<string, number[]>()

  static async open(settings: Readonly<Record<string, unknown>> = {}): Promise<RealNode> {
    return new RealNode(await RealGroups.open(), settings)
  }

  private constructor(groups: RealGroups, settings: Readonly<Record<string, unknown>>) {
    this.groups = groups
    this.#kubelet = new KubeletGroups(groups.sandbox)
    this.layout = this.#kubelet.layout
    this.#directory = mkdtempSync(join(tmpdir(), `${PREFIX}-`))
    mkdirSync(join(this.#directory, 'pods'))
    for (const root of this.#kubelet.roots) this.#photographed.add(root)
    const overrides = Object.entries({
      'node.cgroupRoot': groups.root,
      'node.cgroupDriver': 'cgroupfs',
      'paths.state': join(this.#directory, 'state'),
      'pods.directory': join(this.#directory, 'pods'),
      'kubelet.enabled': false,
      'loop.calmMs': 200,
      'placement.lsSharePermyriad': 5000,
      'suppressCpu.dwellMs': 500,
      ...settings,
    })
    this.config = loadConfig({
      overrides: overrides.map(([key, value]) => ({ path: key.split('.'), value, origin: 'test' })),
    }).config
  }

  get offlineRoot(): GroupPath {
    return qosRoot(this.layout, 'BestEffort')
  }

  groupOf(pod: RealPod): GroupPath {
    return podGroup(this.layout, pod.qos, pod.uid)
  }

  /** Makes the pod's groups and its manifest. Returns the pod's container group. */
  startPod(pod: RealPod): GroupPath {
    const { group } = this.#kubelet.startPod({ uid: pod.uid, kubeletQos: pod.qos, containers: [{ name: 'main' }] })
    const container = childGroup(group, 'main')
    this.#processes.set(pod.uid, [this.groups.park(container)])
    this.#photographed.add(group)
    this.#photographed.add(container)
    const extended = Object.fromEntries(Object.entries(pod.asks ?? {}).map(([name, units]) => [`kube-agent.io/${name}`, units]))
    const requests = pod.requestsMilli === undefined ? extended : { cpu: `${pod.requestsMilli}m`, ...extended }
    const manifest = {
      kind: 'Pod',
      metadata: { name: pod.uid, uid: pod.uid },
      spec: { containers: [{ name: 'main', resources: { requests, limits: extended } }] },
    }
    writeFileSync(this.manifestPath(pod), JSON.stringify(manifest))
    return container
  }

  get podsDirectory(): string {
    return join(this.#directory, 'pods')
  }

  async stopProcesses(pod: RealPod): Promise<void> {
    for (const pid of this.#processes.get(pod.uid) ?? []) await this.groups.end(pid)
  }

  manifestPath(pod: RealPod): string {
    return join(this.#directory, 'pods', `${pod.uid}.yaml`)
  }

  /** Every knob's text of every group that was made, by path. */
  photograph(): ReadonlyMap<string, string> {
    return new Map([...this.#photographed].flatMap((group) => [...this.groups.sandbox.photograph(group)]))
  }

  /** Text of one file of a group. */
  read(group: GroupPath, controller: GroupController, name: string): string {
    return readFileSync(this.groups.fileOf(group, controller, name), 'latin1').trim()
  }

  /** An agent over the journal on disk, as a new process would make it. */
  startAgent(): RunningAgent {
    const node = openNode(this.config)
    const writing = openWriting(this.config, node)
    const records: TickRecord[] = []
    const failures: unknown[] = []
    const sink = {
      tick: (record: TickRecord) => void records.push(record),
      tickFailed: (thrown: unknown) => void failures.push(thrown),
      guardBeat: () => undefined,
    }
    const composed = composeAgent({ config: this.config, mode: 'enforce', node, sink, writing })
    const running = { agent: composed.agent, pods: composed.pods, node, journal: writing.journal, records, failures }
    this.#agents.push(running)
    return running
  }

  /** Ticks at the agent's pace until `done`. Throws after `seconds`, with what was last decided. */
  async tickUntil(running: RunningAgent, done: (record: TickRecord) => boolean, seconds = 15): Promise<TickRecord> {
    const { agent, records, failures } = running
    for (let tries = 0; tries < seconds * 20; tries += 1) {
      const record = agent.tick(realNow(), 0)
      if (record !== undefined && done(record)) return record
      await sleep(50)
    }
    const last = records.at(-1)
    throw new Error(
      `not reached: ${JSON.stringify({ suppression: last?.decision.suppression, abstentions: last?.decision.abstentions, failed: last?.results.filter(({ outcome }) => outcome.is !== 'applied'), failures: failures.slice(-3).map(messageOf) })}`,
    )
  }

  async close(): Promise<void> {
    for (const { pods } of this.#agents) pods.close()
    await this.groups.close()
    for (const { journal } of this.#agents) journal.end()
    rmSync(this.#directory, { recursive: true, force: true })
  }
}

/** Whether the agent has decided everything, and has nothing left to write, on a calm node. */
export const settled = (record: TickRecord): boolean =>
  record.decision.complete &&
  record.decision.suppression !== undefined &&
  record.plan.length === 0 &&
  record.snapshot.pace === 'calm'

/** What the quota of the offline root lets offline work use; NaN where it has none. */
export function rootMilli(running: RunningAgent, node: RealNode): number {
  const quota = running.node.kernel.readKnob(node.offlineRoot, 'quota')
  return isQuota(quota) ? quotaMilliCpu(quota) : Number.NaN
}
