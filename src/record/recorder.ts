/**
 * The record of the agent: takes each finished tick once and keeps what metrics, journal, log, status and explain need of it.
 * The write side is called from the loop, up to twenty times a second, and does no IO but the log; the read side is called from
 * HTTP and computes from memory.
 */
import type { AllocationSource, ClusterState, Instant, ResourceState, TickRecord } from '../model/index.ts'
import { messageOf } from '../model/index.ts'
import { BeatWindow } from './beats.ts'
import { type Change, ChangeTracker } from './changes.ts'
import { explain, type Explanation } from './explain/explain.ts'
import { History, type HistoryPage } from './history.ts'
import { Journal, type JournalPage, type JournalQuery } from './journal.ts'
import { ChangeLog, type Logger } from './log.ts'
import { Metrics, type ReloadOutcome } from './metrics/metrics.ts'

import { type LoopStatus, type Status, type StatusDetail, statusOf } from './status/status.ts'
import type { RecordingState } from './recording/index.ts'
import { count, formatDuration } from './layout.ts'

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
}

export interface Liveness {
  readonly ok: boolean
  readonly detail: string
}

export interface ReadinessCheck {
  readonly name: string
  readonly ok: boolean
  readonly detail: string
}

export interface Readiness {
  readonly ok: boolean
  readonly checks: readonly ReadinessCheck[]
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
   * it by the tick before it.
   */
  configReload(outcome: ReloadOutcome, text?: string): void {
    this.#metrics.configReload(outcome)
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
    const { version, nodeName, startedWallMs, startedMs } = this.#options
    return statusOf(
      {
        identity: {
          version,
          nodeName,
          ...(this.#host === undefined ? {} : { host: this.#host }),
          startedWallMs,
          pid: process.pid,
        },
        startedMs,
        loop: { ...this.#loop, lastBeats: this.#beats.counts },
        writes: this.#tracker.writes,
        resources: this.#resources,
        cluster: this.#cluster,
        allocations: this.#allocations,
        record: this.#record,
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
    const age = Math.max(0, nowMs - this.#at.nowMs)
    const what = this.#loop.ticks + this.#loop.failedTicks === 0 ? 'the agent started' : 'the last tick was'
    const detail = `${what} ${formatDuration(age)} ago`
    return age <= maxAgeMs ? { ok: true, detail } : { ok: false, detail: `${detail}, more than ${formatDuration(maxAgeMs)}` }
  }

  /**
   * Whether the agent does its work: it has sensed the node, read the pods, and where a kubelet is expected is registered
   * with it.
   */
  ready(): Readiness {
    const checks = [this.#tickCheck(), this.#podsCheck(), ...this.#kubeletChecks()]
    return { ok: checks.every(({ ok }) => ok), checks }
  }

  #enter(changes: readonly Change[], at: Instant & { readonly seq: number }): void {
    if (changes.length === 0) return
    for (const change of changes) this.#journal.enter(change, at)
    this.#log.logTick(changes, at.seq)
  }

  #tickCheck(): ReadinessCheck {
    const { lastError, failingTicks } = this.#loop
    if (failingTicks > 0)
      return { name: 'tick', ok: false, detail: `failing for ${count(failingTicks, 'tick')}: ${lastError ?? ''}` }
    if (this.#record !== undefined) return { name: 'tick', ok: true, detail: 'the node has been sensed' }
    return {
      name: 'tick',
      ok: false,
      detail: lastError === undefined ? 'no tick has finished yet' : `no tick has finished: ${lastError}`,
    }
  }

  #podsCheck(): ReadinessCheck {
    const pods = this.#record?.snapshot.pods
    if (pods === undefined) return { name: 'pods', ok: false, detail: 'the pod source has not been read yet' }
    const [problem] = pods.problems
    // A source that works has no pods or no problems; one that has never been read has only problems.
    const ok = pods.pods.length > 0 || problem === undefined
    return { name: 'pods', ok, detail: ok ? `${pods.pods.length} pods from ${pods.source}` : `no pods: ${problem ?? ''}` }
  }

  #kubeletChecks(): readonly ReadinessCheck[] {
    return this.#resources.map(({ fullName, registered, lastError }) => ({
      name: `kubelet ${fullName}`,
      ok: registered,
      detail: registered ? 'registered' : (lastError ?? 'not registered yet'),
    }))
  }
}
