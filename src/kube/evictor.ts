/**
 * Carries wishes for evictions to the API server. A wish waits in a short queue and is asked for beside the loop, one request at a time, each
 * with the client's deadline: a server that is slow, away or refuses costs the node nothing. A wish does not outlive the trouble that it was made for:
 * what could not be asked for in WISH_MS is given up, and the rules wish anew if they still want to.
 *
 *   wish ─▶ asked ─▶ evicted | gone
 *             │  └─▶ blocked ─(force, and forceAfterMs over)─▶ forced
 *             └─────▶ failed (after 3 more tries)
 *
 * Source: Kubernetes, "API-initiated Eviction"; what the answers mean is in eviction-answers.ts.
 */
import { type EvictionRecord, type EvictionsView, type EvictionWish, type Evictor, Run } from '../model/index.ts'
import type { ApiCaller, ApiRequest } from './api.ts'
import { Backoff, pause } from './backoff.ts'
import { deletionRequest, type EvictionRefusal, evictionRequest, graceSecondsFor, refusalOf } from './eviction-answers.ts'
import { evictionEvent, type RungThresholds } from './eviction-events.ts'
import { EvictionRecords } from './eviction-records.ts'
import type { ClusterEvent } from './events-object.ts'
import type { OperationName } from './operations.ts'
import { CountingCaller, type ReporterClock, type WriteCount } from './reporter-calls.ts'

/** Wishes that wait; the rules make one at a time. */
const MAX_QUEUE = 16
const MAX_TRIES = 4
/** After this no further request is made for a wish. */
const WISH_MS = 30_000
/** How often it is asked whether a missing right has been granted. */
const PROBE_MS = 60_000
const NOT_ASKED = 'not asked for: the requests before it took longer than a wish is worth'
const BACKOFF_MS = { firstMs: 500, maxMs: 8000 }

/** As in the block evict of the configuration. */
export interface EvictorSettings {
  readonly enabled: boolean
  readonly gracePeriodSeconds: number
  readonly force: boolean
  readonly forceAfterMs: number
}

export interface ApiEvictorOptions {
  readonly api: ApiCaller & { readonly problems: readonly string[] }
  readonly settings: EvictorSettings
  /** For messages. */
  readonly thresholds: RungThresholds
  /** The pod's own grace period in seconds; undefined where it is not known. */
  readonly graceSecondsOf: (uid: string) => number | undefined
  readonly clock: ReporterClock
  /** What an agent before this one was granted within the hour, oldest first. @default nothing */
  readonly earlier?: readonly EvictionRecord[]
  /** Is given all that was granted and is still known, oldest first, each time that something was. */
  readonly keep?: (granted: readonly EvictionRecord[]) => void
  /** Who writes events. */
  readonly tell?: (event: ClusterEvent) => void
  /** From 0 to 1, 1 excluded. @default Math.random */
  readonly random?: () => number
  /** @default 0.5 s to 8 s */
  readonly backoffMs?: { readonly firstMs: number; readonly maxMs: number }
  /** @default 60 s */
  readonly probeMs?: number
}

export interface EvictorStats {
  readonly writes: Readonly<Record<OperationName, Readonly<WriteCount>>>
  /** Why the last request failed; undefined once one was answered, be it with a no. */
  readonly lastError?: string
  readonly lastOkWallMs?: number
}

interface Job {
  readonly wish: EvictionWish
  readonly askedMs: number
  /** Only to learn whether evictions may be asked for again. */
  readonly probe?: true
}

/** What a request came to. */
type Answer = { readonly is: 'evicted' | 'forced' } | EvictionRefusal

type News = Answer | { readonly is: 'asked' | 'dryRun' }

/** The wish whose answer was that nothing may be asked for, and that answer. */
interface Denial {
  readonly wish: EvictionWish
  readonly text: string
  atMs: number
}

export class ApiEvictor implements Evictor {
  /** How asking goes: a no to a pod is an answer like a yes. */
  readonly run = new Run('evictions')
  readonly #options: ApiEvictorOptions
  readonly #calls: CountingCaller
  readonly #records = new EvictionRecords()
  /** Of all requests: a server in trouble is in trouble for each wish. */
  readonly #backoff: Backoff
  readonly #closing = new AbortController()
  readonly #queue: Job[] = []
  #working = false
  /** The last request failed for a passing reason: the next one waits. */
  #troubled = false
  #failing = false
  #denial: Denial | undefined
  #view: EvictionsView | undefined

  constructor(options: ApiEvictorOptions) {
    const { api, clock, random = Math.random, backoffMs = BACKOFF_MS, earlier = [] } = options
    this.#options = options
    this.#calls = new CountingCaller(api, clock.wallMs)
    this.#backoff = new Backoff({ ...backoffMs, random })
    this.#records.restore(earlier)
  }

  /** How the calls to the API server went. */
  stats(): EvictorStats {
    const { counts, lastError, lastOkWallMs } = this.#calls
    return {
      writes: counts,
      ...(this.#failing && lastError !== undefined ? { lastError } : {}),
      ...(lastOkWallMs === undefined ? {} : { lastOkWallMs }),
    }
  }

  evict(wishes: readonly EvictionWish[], nowMs: number): void {
    if (this.#closing.signal.aborted || !this.#options.settings.enabled) return
    for (const wish of wishes) this.#take(wish, nowMs)
    this.#probe(nowMs)
  }

  view(): EvictionsView {
    this.#view ??= this.#newView()
    return this.#view
  }

  /** Ends what is under way, and does nothing from now on; what the server has taken already may still happen. */
  close(): void {
    this.#closing.abort()
    this.#calls.closed = true
    this.#queue.length = 0
  }

  #newView(): EvictionsView {
    const { enabled } = this.#options.settings
    const impossible = enabled ? this.#denial?.text : 'evict.enabled was false when the agent started'
    const [recent, counts] = [this.#records.recent, this.#records.counts()]
    return { ...(impossible === undefined ? {} : { impossible }), recent, counts }
  }

  #take(wish: EvictionWish, nowMs: number): void {
    if (!this.#records.isOpen(wish, nowMs)) return
    const job = { wish, askedMs: nowMs }
    if (wish.dryRun) this.#note(job, { is: 'dryRun' }, nowMs)
    else if (this.#queue.length >= MAX_QUEUE)
      this.#note(job, { is: 'failed', detail: 'too many evictions wait already', passing: true }, nowMs)
    else {
      this.#note(job, { is: 'asked' }, nowMs)
      this.#queue.push(job)
      this.#work()
    }
  }

  /** Whether a right that was missing has been granted, a dry run tells: the server checks rights first, and for it as for the real thing. */
  #probe(nowMs: number): void {
    const { probeMs = PROBE_MS } = this.#options
    if (this.#denial === undefined || this.#working || nowMs - this.#denial.atMs < probeMs) return
    this.#denial.atMs = nowMs
    this.#queue.push({ wish: this.#denial.wish, askedMs: nowMs, probe: true })
    this.#work()
  }

  #work(): void {
    if (this.#working) return
    this.#working = true
    void this.#drain()
  }

  async #drain(): Promise<void> {
    for (let job = this.#queue.shift(); job !== undefined; job = this.#queue.shift()) await this.#carryOut(job)
    this.#working = false
  }

  /** Asks until there is an answer that counts. Never rejects. */
  async #carryOut(job: Job): Promise<void> {
    const { signal } = this.#closing
    let answer: Answer = { is: 'failed', detail: NOT_ASKED, passing: true }
    for (let tries = 0; tries < MAX_TRIES && !signal.aborted; tries += 1) {
      const waitMs = this.#troubled ? this.#backoff.nextMs(answer.is === 'failed' ? answer.retryAfterMs : 0) : 0
      if (this.#options.clock.monotonicMs() + waitMs - job.askedMs > WISH_MS) break
      if (waitMs > 0) await pause(waitMs, signal)
      if (signal.aborted) break
      answer = await this.#ask(job)
      this.#troubled = answer.is === 'failed' && answer.passing
      if (!this.#troubled) {
        this.#backoff.reset()
        break
      }
    }
    if (!signal.aborted) this.#conclude(job, answer)
  }

  async #ask(job: Job): Promise<Answer> {
    const { wish, askedMs, probe } = job
    const { settings, clock } = this.#options
    const asked = await this.#call('createEviction', () => evictionRequest(wish, this.#graceSeconds(wish), probe))
    if (asked?.is !== 'blocked' || !settings.force || probe === true) return asked ?? { is: 'evicted' }
    // The budget is asked each time, and overruled only where it has said no for all of this time.
    if (this.#records.blockedForMs(wish.uid, askedMs, clock.monotonicMs()) < settings.forceAfterMs) return asked
    const deleted = await this.#call('deletePod', () => deletionRequest(wish, this.#graceSeconds(wish)))
    if (deleted?.is !== 'failed') return deleted ?? { is: 'forced' }
    // Without the right to delete, evictions are as possible as before.
    const { lacksAccess: _, detail, ...rest } = deleted
    return { ...rest, detail: `${asked.detail}; evict.force: ${detail}` }
  }

  #graceSeconds({ uid }: EvictionWish): number | undefined {
    const { settings, graceSecondsOf } = this.#options
    return graceSecondsFor(settings.gracePeriodSeconds, graceSecondsOf(uid))
  }

  /** Undefined for a yes. Never rejects. */
  async #call(operation: OperationName, request: () => ApiRequest): Promise<EvictionRefusal | undefined> {
    const { monotonicMs } = this.#options.clock
    const begunMs = monotonicMs()
    try {
      await this.#calls.call(operation, request())
      this.#failing = false
      this.run.ok(monotonicMs(), monotonicMs() - begunMs)
      return undefined
    } catch (thrown) {
      const refusal = refusalOf(thrown, this.#options.api.problems)
      const nowMs = monotonicMs()
      this.#failing = refusal.is === 'failed'
      if (refusal.is === 'failed') this.run.failed(refusal.detail, nowMs, nowMs - begunMs)
      else this.run.ok(nowMs, nowMs - begunMs)
      return refusal
    }
  }

  #conclude(job: Job, answer: Answer): void {
    const nowMs = this.#options.clock.monotonicMs()
    if (answer.is === 'failed' && answer.lacksAccess === true) {
      this.#denial = { wish: job.wish, text: answer.detail, atMs: nowMs }
      this.#view = undefined
    } else if (this.#denial !== undefined && (answer.is !== 'failed' || (answer.status !== undefined && !answer.passing))) {
      // Whatever the server had against it: the request got past the check of rights.
      this.#denial = undefined
      this.#view = undefined
    }
    if (job.probe !== true) this.#note(job, answer, nowMs)
  }

  #note({ wish, askedMs }: Job, answer: News, atMs: number): void {
    const news = { wish, is: answer.is, ...('detail' in answer ? { detail: answer.detail } : {}) }
    this.#records.put({ ...news, atMs }, askedMs)
    this.#view = undefined
    if (answer.is === 'evicted' || answer.is === 'forced') this.#options.keep?.(this.#records.granted())
    const event = evictionEvent(news, this.#options.thresholds)
    if (event !== undefined) this.#options.tell?.(event)
  }
}
