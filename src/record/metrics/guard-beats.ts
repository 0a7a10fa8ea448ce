/**
 * Series of the guard beats. Beats come forty times a second, and one on which nothing happens is to cost next to nothing, so they are told
 * together: when somebody scrapes, or when there are many.
 */
import type { Families } from './families.ts'

/** Beats that are told together, at most. */
const MOST = 64

export class GuardBeatMetrics {
  readonly #agent: Families['agent']
  /** How late each beat was that no series has been told of yet, in ms. */
  readonly #untoldMs: number[] = []
  #late = 0

  constructor({ agent }: Families) {
    this.#agent = agent
  }

  /** Takes a beat; `late` when it came later than the loop tolerates. */
  take(lateMs: number, late: boolean): void {
    this.#untoldMs.push(Math.max(0, lateMs))
    if (late) this.#late += 1
    if (this.#untoldMs.length >= MOST) this.tell()
  }

  tell(): void {
    if (this.#untoldMs.length === 0) return
    const { guardBeats, guardBeatLateness, lateGuardBeats } = this.#agent
    guardBeats.inc(this.#untoldMs.length)
    for (const lateMs of this.#untoldMs) guardBeatLateness.observe(lateMs / 1000)
    if (this.#late > 0) lateGuardBeats.inc(this.#late)
    this.#untoldMs.length = 0
    this.#late = 0
  }
}
