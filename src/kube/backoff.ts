/**
 * When to try again: exponential with full jitter, so that ten thousand agents that lost one server do not come back to it together.
 * Source: AWS Architecture Blog, "Exponential Backoff And Jitter".
 */

export interface BackoffOptions {
  /** Bound of the first wait; each later one is twice the one before. */
  readonly firstMs: number
  readonly maxMs: number
  /** From 0 to 1, 1 excluded. */
  readonly random: () => number
}

export const BACKOFF_MS = { firstMs: 1000, maxMs: 60_000 }

export class Backoff {
  readonly #options: BackoffOptions
  #boundMs: number

  constructor(options: BackoffOptions) {
    this.#options = options
    this.#boundMs = options.firstMs
  }

  /** Time to wait before the next attempt; not less than the server asked for. Spread over `leastBoundMs` at least. */
  nextMs(retryAfterMs = 0, leastBoundMs = 0): number {
    const { maxMs, random } = this.#options
    const waitMs = random() * Math.max(this.#boundMs, leastBoundMs)
    this.#boundMs = Math.min(this.#boundMs * 2, maxMs)
    // Everyone is told the same Retry-After: the jitter comes on top of it.
    return retryAfterMs + waitMs
  }

  reset(): void {
    this.#boundMs = this.#options.firstMs
  }
}

/** Ends early, and without an error, when the signal is given. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve()
    const end = (): void => {
      clearTimeout(timer)
      signal.removeEventListener('abort', end)
      resolve()
    }
    const timer = setTimeout(end, ms)
    signal.addEventListener('abort', end)
  })
}
