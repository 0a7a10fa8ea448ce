/**
 * The demo's node on this machine: real processes in real cgroups below a group of its own, laid out as the kubelet lays them out, and
 * manifests in a directory that the agent reads. Everything it makes lies in one cgroup root and one temporary directory.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import type { RestoreJournal } from '../../actuate/index.ts'
import { type Agent, type Publisher, type TickSink, Loop } from '../../agent/index.ts'
import { composeAgent, openNode, openWriting, realNow } from '../../compose.ts'
import type { Config } from '../../config/index.ts'
import { GroupSandbox, KubeletGroups, removeStaleSandboxes } from '../../kernel/index.ts'
import { AgentError, messageOf, type Instant, type PodSource, type PodSpec } from '../../model/index.ts'
import type { Bed, DemoPod } from './bed.ts'
import { pause } from './pause.ts'
import { manifestOf } from './pods.ts'

const PREFIX = 'kube-agent-demo'
const CGROUP_PATH = '/sys/fs/cgroup'
/** Two for the online workload, one for each of the three offline pods. */
const PROCESSES = 5
const SETTLE_MS = 1000

interface RunningPod {
  readonly spec: PodSpec
  readonly processes: readonly ChildProcess[]
}

export class RealBed implements Bed {
  readonly kind = 'real'
  readonly cpus: number
  readonly settings: Readonly<Record<string, unknown>>
  readonly kubeletDirectory: string
  readonly #directory: string
  readonly #sandbox: GroupSandbox
  readonly #groups: KubeletGroups
  readonly #pods = new Map<string, RunningPod>()
  readonly #idle: ChildProcess[] = []
  readonly #photos: Map<string, string>[] = []
  #loop: Loop | undefined
  #source: PodSource | undefined
  #journal: RestoreJournal | undefined

  /**
   * Makes the kubelet's groups and starts the processes; when aborted it does not wait for them to settle. Throws AgentError
   * (E_NO_CGROUPS, E_CGROUP_ACCESS) where that can't be done; nothing is left then.
   */
  static async open(cpus: number, signal: AbortSignal): Promise<RealBed> {
    const undo: (() => void | Promise<void>)[] = []
    try {
      await removeStaleSandboxes(CGROUP_PATH, PREFIX)
      const sandbox = new GroupSandbox(CGROUP_PATH, `${PREFIX}-${process.pid}`)
      undo.push(() => sandbox.remove())
      const directory = mkdtempSync(join(tmpdir(), `${PREFIX}-`))
      undo.push(() => rmSync(directory, { recursive: true, force: true }))
      const bed = new RealBed(cpus, sandbox, directory)
      undo.push(() => bed.close())
      await bed.#startProcesses()
      await pause(SETTLE_MS, signal)
      return bed
    } catch (thrown) {
      for (const step of undo.reverse()) await step()
      if (thrown instanceof AgentError) throw thrown
      throw new AgentError('E_CGROUP_ACCESS', messageOf(thrown), { cause: thrown })
    }
  }

  private constructor(cpus: number, sandbox: GroupSandbox, directory: string) {
    this.cpus = cpus
    this.#sandbox = sandbox
    this.#directory = directory
    this.kubeletDirectory = join(this.#directory, 'device-plugins')
    mkdirSync(join(this.#directory, 'pods'))
    this.#groups = new KubeletGroups(this.#sandbox)
    for (const root of this.#groups.roots) this.#photos.push(this.#sandbox.photograph(root))
    this.settings = {
      'node.cgroupRoot': this.#sandbox.root,
      'node.cgroupDriver': 'cgroupfs',
      'paths.state': join(this.#directory, 'state'),
      'pods.directory': join(this.#directory, 'pods'),
    }
  }

  /** Starting a process costs half a CPU for a moment. All are started now, so that what the agent sees later is the play alone. */
  async #startProcesses(): Promise<void> {
    for (let index = 0; index < PROCESSES; index += 1) this.#idle.push(startLoad())
    await Promise.all(this.#idle.map((child) => once(child, 'spawn')))
  }

  get description(): string {
    return `this machine's own cgroups (${this.#sandbox.mounts.dialect}), below ${this.#sandbox.root}, with real processes`
  }

  now(): Instant {
    return realNow()
  }

  async runUntil(untilMs: number): Promise<void> {
    const waitMs = untilMs - performance.now()
    if (waitMs > 0) await sleep(waitMs)
  }

  makeAgent(config: Config, sink: TickSink, publisher: Publisher): Agent {
    const node = openNode(config)
    const writing = openWriting(config, node)
    const { agent, pods } = composeAgent({ config, mode: 'enforce', node, sink, writing, publisher })
    this.#source = pods
    this.#journal = writing.journal
    const loop = new Loop({ agent, guardMs: config.loop.guardMs, now: realNow })
    pods.onChange(() => loop.wantTick())
    this.#loop = loop
    loop.start()
    return agent
  }

  async startPod({ spec, processes }: DemoPod): Promise<void> {
    const { group, containers } = this.#groups.startPod(spec)
    const started = this.#idle.splice(0, processes)
    for (const [index, child] of started.entries()) {
      const container = containers[index % containers.length]
      if (container !== undefined && child.pid !== undefined) this.#sandbox.attach(container, child.pid)
    }
    this.#pods.set(spec.uid, { spec, processes: started })
    for (const made of [group, ...containers]) this.#photos.push(this.#sandbox.photograph(made))
    writeFileSync(join(this.#directory, 'pods', `${spec.name}.yaml`), manifestOf(spec))
    await Promise.resolve()
  }

  setDemand(uid: string, demandMilli: number): void {
    const pod = this.#pods.get(uid)
    if (pod === undefined) return
    for (const child of pod.processes) child.stdin?.write(`${demandMilli / pod.processes.length}\n`)
  }

  compare(): { same: number; different: readonly string[] } {
    let same = 0
    const different: string[] = []
    for (const [path, before] of this.#photos.flatMap((photo) => [...photo])) {
      if (this.#sandbox.isRestored(path, before)) same += 1
      else different.push(`${path}: was ${before}, is ${readFileSync(path, 'latin1').trim()}`)
    }
    return { same, different }
  }

  stopAgent(): void {
    this.#loop?.stop()
  }

  async close(): Promise<void> {
    this.stopAgent()
    this.#source?.close()
    const children = [...this.#idle.splice(0), ...[...this.#pods.values()].flatMap((pod) => pod.processes)]
    this.#pods.clear()
    await Promise.all(children.map((child) => endLoad(child)))
    await this.#sandbox.remove()
    this.#journal?.end()
    this.#journal = undefined
    rmSync(this.#directory, { recursive: true, force: true })
  }
}

/** The hidden verb `load` of this very program: the demo needs nothing but itself. */
function startLoad(): ChildProcess {
  const [, script = ''] = process.argv
  const child = spawn(process.execPath, [...process.execArgv, script, 'load'], { stdio: ['pipe', 'ignore', 'inherit'] })
  // Ctrl-C reaches the whole process group: a load may be gone a moment before the demo knows.
  child.stdin.on('error', () => undefined)
  // One that can't be started is told of where all are awaited.
  child.on('error', () => undefined)
  return child
}

async function endLoad(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return
  const ended = new Promise((resolve) => child.once('exit', resolve))
  child.kill('SIGKILL')
  await ended
}
