/**
 * The real-time driver of an agent: one timer, due at the next guard beat. The agent says how long until that. A beat that comes late is counted,
 * and missed beats are not made up for.
 */
import type { Agent } from './agent.ts'
import type { Instant } from '../model/index.ts'

export interface LoopOptions {
  readonly agent: Agent
  readonly guardMs: number
  readonly now: () => Instant
}

export class Loop {
  readonly #options: LoopOptions
  #timer: NodeJS.Timeout | undefined
  /** What the timer was made for. */
  #timerMs = 0
  #dueMs = 0
  #lastMs = -Infinity
  #running = false

  constructor(options: LoopOptions) {
    this.#options = options
  }

  start(): void {
    this.#running = true
    this.#dueMs = this.#options.now().nowMs
    this.#arm(0)
  }

  stop(): void {
    this.#running = false
    this.#disarm()
  }

  /** Asks for a tick: a pod came, say. It is made a guard beat after the last one at the latest, also while beats come seldom. */
  wantTick(): void {
    const { agent, guardMs, now } = this.#options
    agent.wantTick()
    const { nowMs } = now()
    const soonMs = Math.max(this.#lastMs + guardMs, nowMs)
    if (!this.#running || soonMs >= this.#dueMs) return
    this.#disarm()
    this.#dueMs = soonMs
    this.#arm(soonMs - nowMs)
  }

  #disarm(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  /** To wind up the timer of before costs a fraction of making one, and that counts at forty beats a second. */
  #arm(delayMs: number): void {
    const wholeMs = Math.max(1, Math.trunc(delayMs))
    if (this.#timer !== undefined && wholeMs === this.#timerMs) {
      this.#timer.refresh()
      return
    }
    this.#timerMs = wholeMs
    this.#timer = setTimeout(() => this.#beat(), wholeMs)
  }

  #beat(): void {
    const { agent, now } = this.#options
    const at = now()
    this.#lastMs = at.nowMs
    const pauseMs = agent.beat(at, Math.max(0, at.nowMs - this.#dueMs))
    if (!this.#running) return
    const after = now().nowMs
    this.#dueMs = Math.max(this.#dueMs + pauseMs, after)
    this.#arm(this.#dueMs - after)
  }
}
