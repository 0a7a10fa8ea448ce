/**
 * What the parts of the reporter share: counting of calls, and when to try again after a failure. A failure of the server as a whole (away,
 * overloaded, not taking the token) holds everything up; one of a single call (not granted, no such node, refused by a webhook) holds up
 * that part alone, so that a missing right does not silence the rest. Source: Kubernetes API conventions, HTTP status codes.
 */
import { AgentError, messageOf } from '../model/index.ts'
import { type ApiCaller, ApiContentError, ApiError, type ApiRequest } from './api.ts'
import { OPERATIONS, type OperationName } from './operations.ts'

export interface WriteCount {
  ok: number
  failed: number
}

/** Monotonic time for pauses, wall time for what is written. */
export interface ReporterClock {
  readonly monotonicMs: () => number
  readonly wallMs: () => number
}

/** The server as a whole can't be reached, or takes nothing at the moment: no other call would fare better. */
export class ServerUnavailable extends Error {
  readonly retryAfterMs: number | undefined

  constructor(message: string, options: { readonly cause?: unknown; readonly retryAfterMs?: number | undefined } = {}) {
    super(message, { cause: options.cause })
    this.name = 'ServerUnavailable'
    this.retryAfterMs = options.retryAfterMs
  }
}

const SERVER_WIDE = new Set([401, 408, 429, 502, 503, 504])

function isServerWide(thrown: unknown): boolean {
  if (thrown instanceof ApiError) return SERVER_WIDE.has(thrown.status)
  // The server did answer; or it was never asked, because the request was wrong.
  return !(thrown instanceof ApiContentError) && !(thrown instanceof AgentError && thrown.code === 'E_BUG')
}

export const isStatus = (thrown: unknown, status: number): boolean => thrown instanceof ApiError && thrown.status === status

/** Passes calls on, counts them, tells apart how they fail, and refuses them once it is closed. */
export class CountingCaller implements ApiCaller {
  readonly counts: Record<OperationName, WriteCount>
  /** Calls begun so far. */
  begun = 0
  lastError: string | undefined
  lastOkWallMs: number | undefined
  closed = false
  readonly #api: ApiCaller
  readonly #wallMs: () => number

  constructor(api: ApiCaller, wallMs: () => number) {
    this.#api = api
    this.#wallMs = wallMs
    const none = Object.keys(OPERATIONS).map((name) => [name, { ok: 0, failed: 0 }])
    this.counts = Object.fromEntries(none) as Record<OperationName, WriteCount>
  }

  async call(operation: OperationName, request: ApiRequest): Promise<unknown> {
    if (this.closed) throw new ServerUnavailable('the reporter is closed')
    this.begun += 1
    try {
      const answer = await this.#api.call(operation, request)
      this.counts[operation].ok += 1
      this.lastOkWallMs = this.#wallMs()
      return answer
    } catch (thrown) {
      this.counts[operation].failed += 1
      this.lastError = `${operation}: ${messageOf(thrown)}`
      if (!isServerWide(thrown)) throw thrown
      throw new ServerUnavailable(this.lastError, {
        cause: thrown,
        retryAfterMs: thrown instanceof ApiError ? thrown.retryAfterMs : undefined,
      })
    }
  }
}

/** A server that asks for more is taken to be mistaken. */
const MAX_RETRY_AFTER_MS = 10 * 60_000

export interface RetryGateOptions {
  readonly baseMs: number
  readonly maxMs: number
  /** From 0 to 1. */
  readonly random: () => number
}

/** Pauses that double from failure to failure, each spread over its upper half so that nodes don't come back together. */
export class RetryGate {
  #failures = 0
  #notBeforeMs = -Infinity
  readonly #options: RetryGateOptions

  constructor(options: RetryGateOptions) {
    this.#options = options
  }

  get failing(): boolean {
    return this.#failures > 0
  }

  ready(nowMs: number): boolean {
    return nowMs >= this.#notBeforeMs
  }

  succeeded(): void {
    this.#failures = 0
    this.#notBeforeMs = -Infinity
  }

  failed(nowMs: number, thrown: unknown): void {
    const { baseMs, maxMs, random } = this.#options
    const fullMs = Math.min(maxMs, baseMs * 2 ** Math.min(this.#failures, 20))
    this.#failures += 1
    const askedMs = Math.min((thrown instanceof ServerUnavailable ? thrown.retryAfterMs : undefined) ?? 0, MAX_RETRY_AFTER_MS)
    this.#notBeforeMs = nowMs + Math.max(fullMs * (0.5 + random() / 2), askedMs * (1 + random() / 4))
  }
}
