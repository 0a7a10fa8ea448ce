/**
 * What keeps the journal from being flooded by something that changes many times a second: a topic tells its state when that is another
 * than the one told last, and only so often a minute. What was passed over is counted, and the state that it came to is told as soon as
 * there is room, so a reader always learns in the end how things stand.
 */

/** Time over which the entries of a topic are counted. */
const MINUTE_MS = 60_000

export class Topic {
  readonly #perMinute: number
  readonly #toldAtMs: number[] = []
  #told: string
  #seen: string
  #changes = 0

  /** `initial` names the state that needs no telling; at most `perMinute` (from 1) tellings in any minute. */
  constructor(initial: string, perMinute: number) {
    this.#told = initial
    this.#seen = initial
    this.#perMinute = perMinute
  }

  /** Takes the state by its name. Undefined when there is nothing to tell now, else the number of changes before it that nobody was told of. */
  news(state: string, nowMs: number): number | undefined {
    if (state !== this.#seen) this.#changes += 1
    this.#seen = state
    if (state === this.#told || !this.#hasRoom(nowMs)) return undefined
    const passedOver = this.#changes - 1
    this.#changes = 0
    this.#told = state
    this.#toldAtMs.push(nowMs)
    return Math.max(0, passedOver)
  }

  #hasRoom(nowMs: number): boolean {
    while (this.#toldAtMs[0] !== undefined && nowMs - this.#toldAtMs[0] >= MINUTE_MS) this.#toldAtMs.shift()
    return this.#toldAtMs.length < this.#perMinute
  }
}

/**
 * Makes a series out of something that comes and goes many times a second: it begins with the first occurrence, and is over only after
 * `quietMs` without any.
 */
export class Series<State extends string> {
  readonly #quietMs: number
  #state: State | undefined
  #lastMs = 0

  constructor(quietMs: number) {
    this.#quietMs = quietMs
  }

  /**
   * Takes what is now: an occurrence, `goesOn` for what begins no series and lets none end, or undefined for nothing. Gives what the series
   * is, undefined when there is none.
   */
  next(occurs: State | 'goesOn' | undefined, nowMs: number): State | undefined {
    if (occurs !== undefined) {
      if (occurs !== 'goesOn') this.#state = occurs
      this.#lastMs = nowMs
    } else if (nowMs - this.#lastMs >= this.#quietMs) this.#state = undefined
    return this.#state
  }
}
