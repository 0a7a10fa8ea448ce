/**
 * The share of the agent's one thread that answers may have. A request costs milliseconds; clients without number or patience would add
 * them up, and the loop that suppresses offline work would be late for all of them.
 */

/** Share of the time that passes, and how much of it may be spent in one go. */
const SHARE = 0.2
const MOST_MS = 100

export class AnswerBudget {
  #spentMs = 0
  #atMs = -Infinity

  /** Whether there is time for another answer at `nowMs` (monotonic). */
  allows(nowMs: number): boolean {
    this.#spentMs = Math.max(0, this.#spentMs - Math.max(0, nowMs - this.#atMs) * SHARE)
    this.#atMs = nowMs
    return this.#spentMs < MOST_MS
  }

  /** Takes what an answer has cost. */
  spend(ms: number): void {
    this.#spentMs += Math.max(0, ms)
  }
}
