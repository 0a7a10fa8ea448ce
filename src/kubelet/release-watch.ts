/**
 * When to ask the kubelet what its pods hold: every 30 s while anything is recorded as held, sooner when somebody suspects that
 * something was released, less often while there is no answer. The first answer is asked for in any case: a pod may hold what
 * neither the checkpoint nor a hurried first look has shown. Source: kubernetes pkg/kubelet/apis/podresources, 1.36 (one limiter
 * for the whole node, and a lock that pod admission needs too).
 */
import { messageOf, Run } from '../model/index.ts'
import type { Listing } from './pod-resources.ts'

const PERIOD_MS = 30_000
/** Least time between two looks, doubled by each one that was asked for and ended nothing. */
const SOON_MS = 5_000
const TIMEOUT_MS = 5_000
/** A kubelet that restarts, or that limits us, is no reason to fall back to guessing. */
const FAILURES_BORNE = 3

export interface PodResourcesState {
  /** Whether releases are known rather than guessed. */
  readonly available: boolean
  /** When the kubelet was last asked with success; monotonic milliseconds. */
  readonly lastAtMs?: number
  /** Why the last look failed; absent after one that did not. */
  readonly lastError?: string
}

export interface ReleaseWatchOptions {
  readonly list: (timeoutMs: number) => Promise<Listing>
  /** Takes an answer; resolves with the number of allocations that it ended. */
  readonly onListing: (listing: Listing) => Promise<number>
  /** Whether anything is recorded as held. */
  readonly needed: () => boolean
  /** Monotonic milliseconds. */
  readonly now: () => number
  /** In [0, 1). */
  readonly random: () => number
}

export class ReleaseWatch {
  /** How asking goes. */
  readonly run = new Run('pod_resources')
  readonly #options: ReleaseWatchOptions
  #timer: NodeJS.Timeout | undefined
  #running = false
  #looking = false
  #wanted = false
  #lastLookMs: number
  #soonMs = SOON_MS
  #failures = 0
  #lastAtMs: number | undefined
  #lastError: string | undefined

  constructor(options: ReleaseWatchOptions) {
    this.#options = options
    this.#lastLookMs = options.now()
  }

  state(): PodResourcesState {
    return {
      available: this.#lastAtMs !== undefined && this.#failures < FAILURES_BORNE,
      ...(this.#lastAtMs === undefined ? {} : { lastAtMs: this.#lastAtMs }),
      ...(this.#lastError === undefined ? {} : { lastError: this.#lastError }),
    }
  }

  /** One look now, before `start`; resolves with the answer, or undefined if there is none within the time. */
  async first(timeoutMs: number): Promise<Listing | undefined> {
    return this.#ask(timeoutMs)
  }

  start(): void {
    this.#running = true
    this.#schedule()
  }

  /** Says that something may have been released. */
  soon(): void {
    if (this.#wanted) return
    this.#wanted = true
    this.#schedule()
  }

  stop(): void {
    this.#running = false
    clearTimeout(this.#timer)
  }

  #schedule(): void {
    clearTimeout(this.#timer)
    if (!this.#running || this.#looking) return
    const waitMs = this.#lastLookMs + this.#pauseMs() - this.#options.now()
    this.#timer = setTimeout(() => void this.#look(), Math.max(0, waitMs))
  }

  #pauseMs(): number {
    if (this.#failures === 0) return this.#wanted ? this.#soonMs : PERIOD_MS
    // Every agent of a cluster may have lost its kubelet at the same moment, to the same upgrade.
    return Math.min(SOON_MS * 2 ** (this.#failures - 1), PERIOD_MS) * (0.5 + this.#options.random() / 2)
  }

  async #look(): Promise<void> {
    if (this.#lastAtMs !== undefined && !this.#options.needed()) {
      this.#lastLookMs = this.#options.now()
      return this.#schedule()
    }
    this.#looking = true
    const wanted = this.#wanted
    this.#wanted = false
    const listing = await this.#ask(TIMEOUT_MS)
    const ended = listing === undefined || !this.#running ? 0 : await this.#options.onListing(listing)
    this.#soonMs = wanted && ended === 0 ? Math.min(this.#soonMs * 2, PERIOD_MS) : SOON_MS
    this.#looking = false
    this.#schedule()
  }

  async #ask(timeoutMs: number): Promise<Listing | undefined> {
    const { list, now } = this.#options
    const begunMs = now()
    this.#lastLookMs = begunMs
    try {
      const listing = await list(timeoutMs)
      this.#lastAtMs = listing.askedAtMs
      this.#lastError = undefined
      this.#failures = 0
      this.run.ok(now(), now() - begunMs)
      return listing
    } catch (error) {
      this.#lastError = messageOf(error)
      this.run.failed(this.#lastError, now(), now() - begunMs)
      this.#failures += 1
      return undefined
    }
  }
}
