/**
 * The record of the agent: takes each finished tick once and keeps what metrics, journal, log, status and explain need of it.
 * The write side is called from the loop, up to twenty times a second, and does no IO but the log; the read side is called from
 * HTTP and computes from memory.
 */
import type {
  AllocationSource,
  ClusterState,
  Instant,
  ResourceState,
  RunKind,
  RunState,
  TickRecord,
  Trouble,
} from '../model/index.ts'
import { messageOf, redactByLook } from '../model/index.ts'
import { BeatWindow } from './beats.ts'
import { type Change, ChangeTracker } from './changes.ts'
import { explain, type Explanation } from './explain/explain.ts'
import { History, type HistoryPage } from './history.ts'
import { Journal, type JournalPage, type JournalQuery } from './journal.ts'
import { ChangeLog, type Logger } from './log.ts'
import type { LogLevels } from './log-level.ts'
import { Metrics, type ReloadOutcome } from './metrics/metrics.ts'

import { type LoopStatus, type Status, type StatusDetail, statusOf } from './status/status.ts'
import type { RecordingState } from './recording/index.ts'
import { type Liveness, livenessOf, type Readiness, readinessOf } from './readiness.ts'
import { Parts } from './parts.ts'
import type { TroubleView } from './trouble.ts'

export interface RecorderOptions {
  readonly version: string
  readonly nodeName: string
  readonly logger: Logger
  /** Entries that the journal keeps, at least 1. */
  readonly maxDecisions: number
  /** When the process started, on both clocks. */
  readonly startedWallMs: number
  readonly startedMs: number
  /** How many pods get metrics of their own. @default 0 */
  readonly maxPodSeries?: number
  /** Levels of the log, where they can be changed. */
  readonly levels?: Pick<LogLevels, 'inForce' | 'configured'>
}

export class Recorder {
  readonly #options: RecorderOptions
  readonly #metrics: Metrics
  readonly #journal: Journal
  readonly #tracker = new ChangeTracker()
  readonly #log: ChangeLog
  #record: TickRecord | undefined
  #host: string | undefined
  #resources: readonly ResourceState[] = []
  #cluster: ClusterState | undefined
  #allocations: AllocationSource | undefined
  readonly #parts: Parts
  /** Why the configuration on disk is not in force: the first mistake, and how many more. */
  #rejected: string | undefined
  readonly #beats = new BeatWindow()
  readonly #history = new History()
  #loop: { -readonly [Key in keyof Omit<LoopStatus, 'lastBeats'>]: LoopStatus[Key] } = {
    ticks: 0,
    failingTicks: 0,
    failedTicks: 0,
    guardBeats: 0,
    lateGuardBeats: 0,
  }
  /** When a tick was last finished or failed: the loop turns. */
  #at: Instant

  constructor(options: RecorderOptions) {
    this.#options = options
    const { version, startedWallMs, maxPodSeries = 0 } = options
    this.#metrics = new Metrics({ version, startedWallMs, maxPodSeries })
    this.#journal = new Journal(options.maxDecisions)
    this.#log = new ChangeLog(options.logger)
    this.#at = { nowMs: options.startedMs, wallMs: options.startedWallMs }
    this.#parts = new Parts(options.startedMs)
  }

  /** Shows from now on how parts of the agent's work go; `runs` is called about once a second, and when somebody looks. */
  watch(kind: RunKind, runs: () => Iterable<RunState>): void {
    this.#parts.watch(kind, runs)
  }

  /** What has kept the agent from its work for a minute and more, worst first; undefined while it is too early to tell. */
  troubles(nowMs: number): readonly Trouble[] | undefined {
    return this.#parts.troubles(this.#troubleView(nowMs), nowMs)
  }

  #troubleView(nowMs: number): Omit<TroubleView, 'runs'> {
    const idleMs = nowMs - this.#at.nowMs
    const [record, resources, rejected] = [this.#record, this.#resources, this.#rejected]
    return { idleMs, loop: this.#loop, record, writes: this.#tracker.writes, resources, rejected }
  }

  /** Takes a finished tick. */
  tick(record: TickRecord): void {
    this.#record = record
    this.#loop.ticks += 1
    this.#loop.failingTicks = 0
    this.#at = { nowMs: record.snapshot.nowMs, wallMs: record.snapshot.wallMs }
    const changes = this.#tracker.next(record)
    this.#enter(changes, record.snapshot)
    this.#metrics.tick(record, changes)
    this.#history.take(record)
    if (record.snapshot.pace === 'calm') this.#tellParts(this.#at)
  }

  /** Takes a tick that threw. The journal and the log tell it when the message is another than that of the tick before. */
  tickFailed(thrown: unknown, at: Instant): void {
    const text = messageOf(thrown)
    const isNews = this.#loop.failingTicks === 0 || this.#loop.lastError !== text
    this.#loop.failingTicks += 1
    this.#loop.failedTicks += 1
    this.#loop.lastError = text
    this.#at = at
    this.#metrics.tickFailed()
    this.#tellParts(at)
    if (!isNews) return
    this.#journal.enter({ kind: 'error', text: `tick failed: ${text}` }, at)
    this.#options.logger.error({ err: thrown }, 'tick failed')
  }

  /** Takes a guard beat that came `lateMs` after it was due; `late` when that is more than the loop tolerates. */
  guardBeat(lateMs: number, late: boolean): void {
    this.#loop.guardBeats += 1
    this.#beats.take(late)
    if (late) this.#loop.lateGuardBeats += 1
    this.#metrics.guardBeat(lateMs, late)
  }

  /** Takes in what the machine is, in one line for people. */
  host(facts: string): void {
    if (facts !== '') this.#host = facts
  }

  /**
   * Takes how the resources stand with the kubelet. From the first call with any on, a kubelet is expected, and the agent is not
   * ready before all of them are registered: call it once before the HTTP server starts.
   */
  resources(states: readonly ResourceState[]): void {
    this.#resources = states
    this.#metrics.resources(states)
  }

  /** Takes how it is known which allocations are over. */
  allocations(source: AllocationSource): void {
    this.#allocations = source
    this.#metrics.allocations(source)
  }

  /** Takes how the agent stands with the API server. */
  cluster(state: ClusterState): void {
    this.#cluster = state
    this.#metrics.cluster(state)
  }

  /** Takes how the recording stands. */
  recording(state: RecordingState): void {
    this.#metrics.recording(state)
  }

  /**
   * Takes what became of a changed configuration; `text` says what has changed, or what is wrong with a rejected one. The journal dates
   * it by the tick before it. What looks like a secret goes no further: anybody may read logs and pages.
   */
  configReload(outcome: ReloadOutcome, given?: string): void {
    const text = given === undefined ? undefined : redactByLook(given).text
    this.#metrics.configReload(outcome)
    this.#rejected = outcome === 'rejected' ? firstLine(text ?? 'it is not valid') : undefined
    // A file that was broken and is what it was again: nobody else has to know.
    if (outcome === 'unchanged') return
    if (outcome === 'applied') {
      this.#options.logger.info({ text }, 'configuration reloaded')
      return
    }
    this.#journal.enter({ kind: 'error', text: `configuration rejected: ${text ?? 'it is not valid'}` }, this.#at)
    this.#options.logger.error({ text }, 'configuration rejected, the last good one stays')
  }

  /** The scrape in the Prometheus text format, to be sent as METRICS_CONTENT_TYPE. */
  metricsText(): Promise<string> {
    return this.#metrics.text()
  }

  status(nowMs: number, detail: StatusDetail = {}): Status {
    const { version, nodeName, startedWallMs, startedMs, levels } = this.#options
    return statusOf(
      {
        identity: {
          version,
          nodeName,
          ...(this.#host === undefined ? {} : { host: this.#host }),
          startedWallMs,
          pid: process.pid,
          ...(levels === undefined ? {} : { log: { level: levels.inForce, configured: levels.configured } }),
        },
        startedMs,
        loop: { ...this.#loop, lastBeats: this.#beats.counts },
        writes: this.#tracker.writes,
        resources: this.#resources,
        cluster: this.#cluster,
        allocations: this.#allocations,
        record: this.#record,
        runs: this.#parts.all,
        troubles: this.troubles(nowMs) ?? [],
        rejected: this.#rejected,
      },
      nowMs,
      detail,
    )
  }

  journal(query: JournalQuery): JournalPage {
    return this.#journal.query(query)
  }

  /** The last minutes, from the sample after `since` on. */
  history(since?: number): HistoryPage {
    return this.#history.query(since)
  }

  /** Throws AgentError E_NO_SUBJECT for a subject that is not there. */
  explain(subject: string, nowMs: number): Explanation {
    return explain(subject, {
      record: this.#record,
      writes: this.#tracker.writes,
      resources: this.#resources,
      allocations: this.#allocations,
      nowMs,
    })
  }

  lastTick(): TickRecord | undefined {
    return this.#record
  }

  /**
   * Whether the loop turns: a tick finished or failed within the last `maxAgeMs`. The time before the first counts from the
   * start.
   */
  live(nowMs: number, maxAgeMs: number): Liveness {
    return livenessOf(this.#loop, nowMs - this.#at.nowMs, maxAgeMs)
  }

  /**
   * Whether the agent does its work: it has sensed the node, read the pods, and where a kubelet is expected is registered
   * with it.
   */
  ready(): Readiness {
    return readinessOf({ loop: this.#loop, record: this.#record, resources: this.#resources })
  }

  #tellParts(at: Instant): void {
    this.#parts.tell(this.#metrics.runs, this.#troubleView(at.nowMs), at)
  }

  #enter(changes: readonly Change[], at: Instant & { readonly seq: number }): void {
    if (changes.length === 0) return
    for (const change of changes) this.#journal.enter(change, at)
    this.#log.logTick(changes, at.seq)
  }
}

/** Of a message with a line for each mistake; the log has them all. */
function firstLine(message: string): string {
  const [first = '', ...more] = message.split('\n')
  return more.length === 0 ? first : `${first} (and ${more.length} more, see the log)`
}
