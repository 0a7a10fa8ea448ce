/** What the agent is made of, and whom it talks to: the loop body knows these by their shape alone. */
import type { Actuator, RestoreJournal } from '../actuate/index.ts'
import type { Config } from '../config/index.ts'
import type { Memory } from '../decide/index.ts'
import type { Evictor, Instant, KernelPort, Mode, NodeSnapshot, OfflineResource, TickRecord } from '../model/index.ts'
import type { Sensor } from '../sense/index.ts'

/** Where capacity is advertised. */
export interface Publisher {
  publish(units: Readonly<Record<OfflineResource, number>>): void
  /** Units handed out, whether or not their pod is listed yet. */
  allocatedUnits(): Readonly<Record<OfflineResource, number>>
  /** `readAtMs` is when the list of those pods was read. */
  retainAllocations(units: Readonly<Record<OfflineResource, number>>, readAtMs: number): void
}

/** Who is told of finished ticks. */
export interface TickSink {
  tick(record: TickRecord): void
  tickFailed(thrown: unknown, at: Instant): void
  guardBeat(lateMs: number, late: boolean): void
}

/** Who is told what a tick is about to decide on. Only then: what a snapshot says of the knobs is another as soon as one is written. */
export interface Tape {
  /** Must not throw or wait. */
  sensed(snapshot: NodeSnapshot, memory: Memory, config: Config): void
}

/** What is needed to write; absent outside of the mode enforce. */
export interface Writing {
  readonly journal: RestoreJournal
  readonly actuator: Actuator
}

export interface AgentOptions {
  readonly kernel: KernelPort
  readonly sensor: Sensor
  readonly config: Config
  readonly mode: Mode
  readonly writing?: Writing
  readonly publisher?: Publisher
  /** @default pods can't be evicted from here */
  readonly evictor?: Evictor
  readonly sink: TickSink
  readonly tape?: Tape
  /** Monotonic milliseconds, to tell how long a tick took. */
  readonly stopwatch: () => number
  /**
   * CPU time that this process has used, in ms.
   * @default the stopwatch, as if nothing else ran
   */
  readonly cpuMs?: () => number
}
