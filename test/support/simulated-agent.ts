/**
 * The whole loop on a simulated node in virtual time: the real sensor, rules, plan, actuator and journal, beaten every guardMs as loop.ts
 * does, with nobody else's clock. A trace of every tick is kept.
 */
import { Actuator, RestoreJournal } from '../../src/actuate/index.ts'
import { Agent, type Publisher, type Tape, type TickSink } from '../../src/agent/index.ts'
import type { Config } from '../../src/config/index.ts'
import type { Dialect, Evictor, KernelPort, KnobKind, PodList, TickRecord } from '../../src/model/index.ts'
import { isQuota, quotaMilliCpu } from '../../src/model/index.ts'
import { Sensor } from '../../src/sense/index.ts'
import { ModelKernel, SimNode } from '../../src/sim/index.ts'
import { OFFLINE_ROOT, topologyOf, type TopologyName } from './snapshots.ts'

export interface SimulatedAgentOptions {
  readonly dialect: Dialect
  readonly directory: string
  readonly config: Config
  readonly topology?: TopologyName
  readonly missing?: readonly KnobKind[]
  readonly publisher?: Publisher
  readonly evictor?: Evictor
  /** What the agent is told instead of the node's own list; may throw. */
  readonly told?: (list: PodList) => PodList
  /** What the agent takes for the kernel, where that is not the model itself. */
  readonly port?: (kernel: ModelKernel) => KernelPort
  /** journal.maxBytes. @default 64 KiB */
  readonly journalBytes?: number
  /** How many of the newest ticks are kept at least. @default all */
  readonly keep?: number
  /** Stands between the agent and who is told of its ticks. */
  readonly watch?: (sink: TickSink) => TickSink
  readonly tape?: Tape
  /** Ms that a tick takes by the clock, with each look at it. @default 0 */
  readonly clockMs?: number
  /** Ms of CPU time that it takes. @default 0 */
  readonly cpuMs?: number
}

export class SimulatedAgent {
  readonly node: SimNode
  readonly kernel: ModelKernel
  readonly records: TickRecord[] = []
  readonly failures: unknown[] = []
  /** How many guard beats there were; those that ticked are in `records`. */
  beats = 0
  /** How far the wall clock is from the monotonic one. */
  wallOffsetMs = 0
  readonly #options: SimulatedAgentOptions
  readonly #port: KernelPort
  #journal: RestoreJournal
  #agent: Agent
  #nextBeatMs = -Infinity
  #clockMs = 0
  #cpuMs = 0

  constructor(options: SimulatedAgentOptions) {
    const { dialect, topology = 'desktop', missing = [] } = options
    this.#options = options
    this.kernel = new ModelKernel({ dialect, topology: topologyOf(topology), missing })
    this.node = new SimNode(this.kernel)
    this.#port = options.port?.(this.kernel) ?? this.kernel
    this.#journal = this.#openJournal()
    this.#agent = this.#start()
    // As the loop does for a pod that comes: the next beat is the next guard beat.
    this.node.onChange(() => {
      this.#agent.wantTick()
      this.#nextBeatMs = 0
    })
  }

  /** Moves on by `ms`, in guard beats. `onBeat` may change the load; it is called before time passes. */
  run(ms: number, onBeat: (nowMs: number) => void = () => undefined): void {
    const { guardMs } = this.#options.config.loop
    for (const endMs = this.node.nowMs + ms; this.node.nowMs < endMs;) {
      onBeat(this.node.nowMs)
      this.#beat(guardMs)
    }
  }

  /** The same, and between beats whatever was promised gets its turn: slow writes end, and the next ones begin. */
  async runAsync(ms: number, onBeat: (nowMs: number) => void = () => undefined): Promise<void> {
    const { guardMs } = this.#options.config.loop
    for (const endMs = this.node.nowMs + ms; this.node.nowMs < endMs;) {
      onBeat(this.node.nowMs)
      await new Promise((resolve) => setImmediate(resolve))
      this.#beat(guardMs)
    }
  }

  /** As the loop does: time passes in guard beats, and the agent says how many of them to leave out. */
  #beat(guardMs: number): void {
    this.node.advance(guardMs)
    const { nowMs } = this.node
    if (nowMs < this.#nextBeatMs) return
    this.beats += 1
    this.#nextBeatMs = nowMs + this.#agent.beat({ nowMs, wallMs: nowMs + this.wallOffsetMs }, 0)
  }

  get isHot(): boolean {
    return this.#agent.isHot(this.node.nowMs)
  }

  /** The process is gone in an instant and comes back with nothing but what is on disk. */
  restart(): void {
    this.#journal.end()
    this.#journal = this.#openJournal()
    this.#agent = this.#start()
  }

  reconfigure(config: Config): void {
    this.#agent.reconfigure(config)
  }

  release(): ReturnType<Agent['release']> {
    return this.#agent.release(this.node.nowMs)
  }

  end(): void {
    this.#journal.end()
  }

  /** What the offline root may use by its quota. */
  get rootMilli(): number {
    const quota = this.kernel.readKnob(OFFLINE_ROOT, 'quota')
    return isQuota(quota) ? quotaMilliCpu(quota) : Number.NaN
  }

  get allowanceMilli(): number {
    return this.records.at(-1)?.decision.suppression?.allowanceMilli ?? Number.NaN
  }

  #keep(record: TickRecord): void {
    this.records.push(record)
    const { keep = Infinity } = this.#options
    if (this.records.length > keep * 2) this.records.splice(0, this.records.length - keep)
  }

  #openJournal(): RestoreJournal {
    const { directory, journalBytes = 65_536 } = this.#options
    return new RestoreJournal({
      stateDirectory: directory,
      bootId: 'boot',
      maxBytes: journalBytes,
      groupId: (group) => this.#port.groupId(group),
    })
  }

  #start(): Agent {
    this.#nextBeatMs = -Infinity
    const { config, publisher, evictor, told = (list: PodList) => list, watch = (sink: TickSink) => sink } = this.#options
    const { clockMs = 0, cpuMs = 0 } = this.#options
    const { node } = this
    const kernel = this.#port
    const pods = {
      list: () => told(node.list()),
      onChange: (listener: () => void) => node.onChange(listener),
      close: () => node.close(),
    }
    return new Agent({
      kernel,
      sensor: new Sensor({ kernel, pods, layout: node.layout, windowMs: config.suppressCpu.windowMs }),
      config,
      mode: 'enforce',
      ...(publisher === undefined ? {} : { publisher }),
      ...(evictor === undefined ? {} : { evictor }),
      ...(this.#options.tape === undefined ? {} : { tape: this.#options.tape }),
      writing: { journal: this.#journal, actuator: new Actuator(kernel, this.#journal) },
      sink: watch({
        tick: (record) => this.#keep(record),
        tickFailed: (thrown) => this.failures.push(thrown),
        guardBeat: () => undefined,
      }),
      stopwatch: () => (this.#clockMs += clockMs),
      cpuMs: () => (this.#cpuMs += cpuMs),
    })
  }
}
