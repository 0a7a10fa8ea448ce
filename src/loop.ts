/**
 * The real-time driver of an agent: one timer, due every guard beat, that samples, and ticks when a tick is due or the beat asks for
 * one. A beat that comes late is counted, and missed beats are not made up for.
 */
import type { Agent, TickSink } from './agent.ts'
import type { Instant } from './model/index.ts'

export interface LoopOptions {
  readonly agent: Agent
  readonly sink: TickSink
  readonly guardMs: number
  readonly now: () => Instant
}

export class Loop {
  readonly #options: LoopOptions
  #timer: NodeJS.Timeout | undefined
  #dueMs = 0
  #wanted = true
  #running = false

  constructor(options: LoopOptions) {
    this.#options = options
  }

  start(): void {
    this.#running = true
    this.#dueMs = this.#options.now().nowMs
    this.#arm(0)
  }

  /** Asks for a tick on the next beat: a pod came, or a trigger fired. */
  wantTick(): void {
    this.#wanted = true
  }

  stop(): void {
    this.#running = false
    clearTimeout(this.#timer)
  }

  #arm(delayMs: number): void {
    this.#timer = setTimeout(() => this.#beat(), delayMs)
  }

  #beat(): void {
    const { agent, sink, guardMs, now } = this.#options
    const at = now()
    const lateMs = Math.max(0, at.nowMs - this.#dueMs)
    const wanted = agent.guard(at.nowMs) || this.#wanted
    sink.guardBeat(lateMs, lateMs > guardMs)
    if (wanted || at.nowMs >= agent.nextTickMs(at.nowMs)) {
      this.#wanted = false
      agent.tick(at, lateMs)
    }
    if (!this.#running) return
    const after = now().nowMs
    this.#dueMs = Math.max(this.#dueMs + guardMs, after)
    this.#arm(this.#dueMs - after)
  }
}
