/**
 * The run queue of the node as a mean over time. An instant count is noise: it is what happened to be awake in one microsecond, the agent
 * among it. So every beat's count stands for the time since the beat before, and the mean is taken over the window that stalls are
 * averaged over; a late beat weighs as much as the time that it was late.
 */
import { RateWindow } from './rates.ts'

const SAMPLES = 80

export class RunQueue {
  #windowMs: number
  /** Runnable tasks times milliseconds: its growth over time is the mean. */
  #taskMs = 0
  #lastMs: number | undefined
  #window: RateWindow

  constructor(windowMs: number) {
    this.#windowMs = windowMs
    this.#window = new RateWindow(windowMs, SAMPLES)
  }

  get newestMs(): number | undefined {
    return this.#lastMs
  }

  set windowMs(windowMs: number) {
    if (windowMs === this.#windowMs) return
    this.#windowMs = windowMs
    this.#window = new RateWindow(windowMs, SAMPLES)
  }

  add(nowMs: number, runnable: number): void {
    // In a running sum what is no number would stay for ever.
    if (!Number.isFinite(runnable)) return
    this.#taskMs += this.#lastMs === undefined ? 0 : runnable * (nowMs - this.#lastMs)
    this.#lastMs = nowMs
    this.#window.add(nowMs, this.#taskMs)
  }

  /** Tasks ready to run, on average; undefined until there are samples of a whole window. */
  get mean(): number | undefined {
    const perSecond = this.#window.fullRatePerSecond(this.#windowMs)
    return perSecond === undefined ? undefined : perSecond / 1000
  }
}
