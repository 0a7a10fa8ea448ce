/** How writing the restore journal goes: for the metrics, the log, the status, and for trying again. */
import { messageOf, Run } from '../model/index.ts'

/** Pauses between tries to catch up: twice as long after each, from the first to the last, in ms. */
const FIRST_PAUSE_MS = 1000
const MOST_PAUSE_MS = 10_000

const UNTOLD = "if the agent is killed now, what it has written since stays for somebody else's"

export class JournalTrouble {
  /** Appending and rewriting, each with its sync. */
  readonly run = new Run('restore_journal')
  readonly #path: string
  readonly #now: () => number
  #failures = 0
  #problem: string | undefined
  #isUntold = false
  #pauseMs = FIRST_PAUSE_MS
  #dueMs = -Infinity

  /** `now` is monotonic, in ms. */
  constructor(path: string, now: () => number) {
    this.#path = path
    this.#now = now
  }

  /** Times that something failed. */
  get failures(): number {
    return this.#failures
  }

  /** What failed first, until it is over: what comes of it is no news. */
  get problem(): string | undefined {
    return this.#problem === undefined || !this.#isUntold ? this.#problem : `${this.#problem}; ${UNTOLD}`
  }

  failed(what: 'appended to' | 'rewritten', thrown: unknown): void {
    this.#failures += 1
    this.run.failed(`can't be ${what}: ${messageOf(thrown)}`, this.#now())
    this.#problem ??= `${this.#path} can't be ${what}: ${messageOf(thrown)}`
  }

  /** Values are not in the file, which says that some are missing; or says nothing, where it can't be changed at all. */
  hasGap(isTold: boolean): void {
    this.#isUntold = !isTold
  }

  over(begunMs: number): void {
    this.#problem = undefined
    this.#isUntold = false
    const nowMs = this.#now()
    this.run.ok(nowMs, nowMs - begunMs)
  }

  /** Whether it is time to try again; if so, the next time is later by a longer pause. */
  isDue(nowMs: number): boolean {
    if (nowMs < this.#dueMs) return false
    this.#dueMs = nowMs + this.#pauseMs
    this.#pauseMs = Math.min(this.#pauseMs * 2, MOST_PAUSE_MS)
    return true
  }

  /** All has been well for a while: the next trouble is a new one. */
  calm(): void {
    this.#pauseMs = FIRST_PAUSE_MS
  }
}
