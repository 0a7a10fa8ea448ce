/**
 * When the agent ticks: once every calm pause, more often for as long as the node is hot, and at once when the guard beat hears of trouble.
 * It keeps the agent from being its own trouble too: where a tick is dear, hot ones come less often.
 */
import type { Config } from '../config/index.ts'

/**
 * Of one CPU, the most that hot ticks may take. On a small or slow machine their own use would else be what keeps the node hot: it counts as use
 * of the system, offline work is cut for it, presses against its allowance, and is cause for the next hot tick. CPU time, not time on the clock: an
 * agent that others keep from running has all the more reason to be quick.
 */
const MOST_SHARE = 0.25
/** The CPU time of one in so many hot ticks is taken: to ask for it is dear itself, a twentieth of such a tick. */
const TAKEN = 4
/** Of the newest one taken in the mean time that a tick takes: some ten of them are remembered. */
const NEWEST = 0.1
/**
 * While nothing has happened that calls for less, the next hot tick comes after so many hot pauses. What online work gains on the last decision
 * is heard by the next guard beat; what it gives back is handed out slowly anyway.
 */
const STILL = 8
/** Guard beats come so many times less often while there is no offline work to hold back: it rests, or there is none. */
const REST = 10

export class Pace {
  #loop: Config['loop']
  #dwellMs: number
  #lastTickMs = -Infinity
  #lastCalmMs = -Infinity
  #hotUntilMs = -Infinity
  #hotTookMs = 0
  #hasNews = false
  #hotTicks = 0

  constructor(config: Config) {
    this.#loop = config.loop
    this.#dwellMs = config.suppressCpu.dwellMs
  }

  configure(config: Config): void {
    this.#loop = config.loop
    this.#dwellMs = config.suppressCpu.dwellMs
  }

  isHot(nowMs: number): boolean {
    return nowMs < this.#hotUntilMs
  }

  /** Whether the pause since the last tick is over. */
  isDue(nowMs: number): boolean {
    return this.#hasCome(this.#dueMs(nowMs), nowMs)
  }

  #dueMs(nowMs: number): number {
    return this.#lastTickMs + (this.isHot(nowMs) ? this.#hotPauseMs : this.#loop.calmMs)
  }

  /** Pause between hot ticks, in ms: never longer than that between calm ones. */
  get #hotPauseMs(): number {
    const { hotMs, calmMs } = this.#loop
    return Math.min(calmMs, Math.max(this.#hasNews ? hotMs : STILL * hotMs, this.#hotTookMs / MOST_SHARE))
  }

  /** Pause until the next guard beat, in ms: where offline work `rests` and the node is calm a longer one, though none beyond the next tick. */
  beatMs(nowMs: number, rests: boolean): number {
    const { guardMs } = this.#loop
    if (!rests || this.isHot(nowMs)) return guardMs
    return Math.max(guardMs, Math.min(REST * guardMs, this.#dueMs(nowMs) - nowMs))
  }

  /** A beat is late by a fraction of a millisecond now and then: what is due before the middle of the next pause is due now, not a beat later. */
  #hasCome(dueMs: number, nowMs: number): boolean {
    return nowMs >= dueMs - this.#loop.guardMs / 2
  }

  /** A tick begins. */
  begin(nowMs: number): void {
    this.#lastTickMs = nowMs
    this.#hasNews = false
  }

  /** Something calls for the next decision: while the node is hot it is made after one hot pause. */
  hasNews(): void {
    this.#hasNews = true
  }

  /** Whether the tick of `nowMs` looks at everything. A new pod is limited at once: its start is when it is most likely to burst. */
  isCalm(nowMs: number, podsChanged: boolean): boolean {
    const calm = podsChanged || this.#hasCome(this.#lastCalmMs + this.#loop.calmMs, nowMs)
    if (calm) this.#lastCalmMs = nowMs
    return calm
  }

  /** Whether a tick that begins, and is not calm, is one of those whose CPU time is taken. */
  takesTime(): boolean {
    this.#hotTicks += 1
    return this.#hotTicks % TAKEN === 1
  }

  /** A tick that was not calm took so much CPU time, in ms. One beyond all measure counts as the dearest that makes a difference. */
  hotTook(cpuMs: number): void {
    const counts = Math.min(cpuMs, this.#loop.calmMs * MOST_SHARE)
    this.#hotTookMs += (counts - this.#hotTookMs) * NEWEST
  }

  /** From an alarm on the hot pace lasts for a calm pause at least, whatever the tick makes of it: one that goes on must not force a tick on every beat. */
  alarmed(nowMs: number): void {
    this.#hotUntilMs = Math.max(this.#hotUntilMs, nowMs + this.#loop.calmMs)
  }

  /** The decision found reason to be quick about the next one. */
  stayHot(nowMs: number): void {
    this.#hotUntilMs = Math.max(this.#hotUntilMs, nowMs + this.#dwellMs)
  }
}
