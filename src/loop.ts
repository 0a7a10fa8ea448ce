/** The real-time driver of an agent: one timer, due every guard beat. A beat that comes late is counted, and missed beats are not made up for. */
import type { Agent } from './agent.ts'
import type { Instant } from './model/index.ts'

export interface LoopOptions {
  readonly agent: Agent
  readonly guardMs: number
  readonly now: () => Instant
}

export class Loop {
  readonly #options: LoopOptions
  #timer: NodeJS.Timeout | undefined
  #dueMs = 0
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
    clearTimeout(this.#timer)
  }

  #arm(delayMs: number): void {
    this.#timer = setTimeout(() => this.#beat(), delayMs)
  }

  #beat(): void {
    const { agent, guardMs, now } = this.#options
    const at = now()
    agent.beat(at, Math.max(0, at.nowMs - this.#dueMs))
    if (!this.#running) return
    const after = now().nowMs
    this.#dueMs = Math.max(this.#dueMs + guardMs, after)
    this.#arm(this.#dueMs - after)
  }
}
