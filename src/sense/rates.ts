/**
 * Rates out of cumulative counters. A ring of the last samples answers "how much a second, over at least so long", so that the guard
 * beat, the hot tick and the calm tick can share one counter without each keeping its own past.
 */
const DEFAULT_SAMPLES = 128
/** Of three samples in a row, the outer two are a window apart divided by this: so the ring holds more than the window. */
const PER_WINDOW = 32

export class RateWindow {
  readonly #atMs: Float64Array
  readonly #total: Float64Array
  readonly #leastMs: number
  #newest = -1
  /** Of the last rate. */
  #spanMs = 0
  #count = 0

  /** `windowMs` is the longest window that will be asked for; `samples` how many are kept, at least 2. */
  constructor(windowMs = 0, samples = DEFAULT_SAMPLES) {
    this.#atMs = new Float64Array(samples)
    this.#total = new Float64Array(samples)
    this.#leastMs = windowMs / PER_WINDOW
  }

  /** Adds a sample. A counter that went down starts the window anew: the group was made again. */
  add(atMs: number, total: number): void {
    if (this.#count > 0 && total < (this.#total[this.#newest] ?? 0)) this.#count = 0
    const before = (this.#newest - 1 + this.#size) % this.#size
    if (this.#count > 1 && atMs - (this.#atMs[before] ?? 0) < this.#leastMs) {
      // Too close to keep both: the newest gives way, or a fast beat would push a long window's past out of the ring.
      this.#atMs[this.#newest] = atMs
      this.#total[this.#newest] = total
      return
    }
    this.#newest = (this.#newest + 1) % this.#size
    this.#atMs[this.#newest] = atMs
    this.#total[this.#newest] = total
    this.#count = Math.min(this.#size, this.#count + 1)
  }

  get #size(): number {
    return this.#atMs.length
  }

  get newestMs(): number | undefined {
    return this.#count === 0 ? undefined : this.#atMs[this.#newest]
  }

  /**
   * Growth per second over the shortest span of samples that is at least `windowMs` long, or over all there is. Undefined with fewer
   * than two samples. `spanMs` says how long the span was.
   */
  perSecond(windowMs: number): { readonly rate: number; readonly spanMs: number } | undefined {
    const rate = this.ratePerSecond(windowMs)
    return rate === undefined ? undefined : { rate, spanMs: this.#spanMs }
  }

  /** The same, undefined also while the samples do not span the window: a wait of some ms is a lot of the first beat, and nothing of a second. */
  fullRatePerSecond(windowMs: number): number | undefined {
    const rate = this.ratePerSecond(windowMs)
    return this.#spanMs < windowMs ? undefined : rate
  }

  /** The rate alone, without an object for it: for what is asked on every beat. */
  ratePerSecond(windowMs: number): number | undefined {
    if (this.#count < 2) return undefined
    const newestMs = this.#atMs[this.#newest] ?? 0
    let index = this.#newest
    let spanMs = 0
    for (let steps = 1; steps < this.#count && spanMs < windowMs; steps += 1) {
      index = (this.#newest - steps + this.#size) % this.#size
      spanMs = newestMs - (this.#atMs[index] ?? 0)
    }
    this.#spanMs = spanMs
    if (spanMs <= 0) return undefined
    return (((this.#total[this.#newest] ?? 0) - (this.#total[index] ?? 0)) * 1000) / spanMs
  }
}

/** µs in a second: all of the time. */
const WHOLE_US = 1_000_000

/**
 * Growth of a stall total in µs a second, over a whole window. No more than all of the time: where more was counted, the agent was put off
 * between looking at the clock and reading the file.
 */
export function stallRate(window: RateWindow, windowMs: number): number | undefined {
  const rate = window.fullRatePerSecond(windowMs)
  return rate === undefined ? undefined : Math.min(WHOLE_US, rate)
}
