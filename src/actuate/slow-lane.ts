/**
 * Writes that may reclaim memory, beside the loop: a narrower memory.high or limit can take seconds, and a tick must not. One runs at a time,
 * the others wait in a bounded queue; what became of each is fetched by a later tick. A knob is in the lane at most once running and once
 * waiting, and a newer value takes the place of a waiting one.
 *
 *   offer ──▶ waiting ──begin──▶ running ──▶ ended ──takeEnded──▶ results of a tick
 *                │ nobody wants it any more, or its knob was widened: dropped
 */
import type { GroupPath, KnobKind, KnobSetting, Outcome, Plan, Step, StepResult } from '../model/index.ts'
import { errnoOf, sameValue } from '../model/index.ts'

/** A node runs some hundred pods. What finds no room is offered again on the next tick. */
const MOST_WAITING = 512
/** A write that takes longer is told of, once, while the others go on waiting. */
const LONG_MS = 30_000

export interface SlowLaneOptions {
  /** The write itself: KernelPort.writeKnobSlowly. */
  readonly write: (group: GroupPath, setting: KnobSetting) => Promise<Outcome>
  /** Called right before a write; an outcome instead of undefined says that there is nothing to write to any more. */
  readonly begin: (step: Step) => Outcome | undefined
  /**
   * Called right after a write, before the next one begins: what the tick is to be told. `overtakenBy` is what was written to the same knob
   * beside it, while it ran.
   */
  readonly end: (step: Step, outcome: Outcome, overtakenBy: Step | undefined) => StepResult | undefined
}

interface Running {
  readonly step: Step
  /** When a tick saw it first. */
  seenMs: number | undefined
  isToldOf: boolean
  overtakenBy: Step | undefined
}

export class SlowLane {
  readonly #options: SlowLaneOptions
  /** In the order of arrival: a Map keeps the place of a key whose value is replaced. */
  readonly #waiting = new Map<string, Step>()
  #running: Running | undefined
  #ended: StepResult[] = []
  #idle: Promise<void> = Promise.resolve()
  #stopped = false

  constructor(options: SlowLaneOptions) {
    this.#options = options
  }

  /** Whether a write of this knob is running now. */
  isRunning(group: GroupPath, kind: KnobKind): boolean {
    const step = this.#running?.step
    return step?.group === group && step.kind === kind
  }

  /** Whether a write of this knob is running or waiting. */
  holds(group: GroupPath, kind: KnobKind): boolean {
    return this.isRunning(group, kind) || this.#waiting.has(keyOf({ group, kind }))
  }

  /** How many writes are running or waiting. */
  get size(): number {
    return this.#waiting.size + (this.#running === undefined ? 0 : 1)
  }

  /** Takes a step in; false when it is there already, or when there is no room for it now. */
  offer(step: Step): boolean {
    const key = keyOf(step)
    const waiting = this.#waiting.get(key)
    const isThere = waiting === undefined ? this.#isWriting(step) : sameValue(waiting.value, step.value)
    if (isThere || this.#stopped || (waiting === undefined && this.#waiting.size >= MOST_WAITING)) return false
    this.#waiting.set(key, step)
    this.#next()
    return true
  }

  #isWriting(step: Step): boolean {
    const running = this.#running
    if (running === undefined || !this.isRunning(step.group, step.kind)) return false
    // Once its knob was widened beside it, the same value is a new wish.
    return running.overtakenBy === undefined && sameValue(running.step.value, step.value)
  }

  /** The knob of `step` is written beside the lane: what waits for it is void, and what runs no longer has the last word. */
  overtake(step: Step): void {
    this.#waiting.delete(keyOf(step))
    if (this.#running !== undefined && this.isRunning(step.group, step.kind)) this.#running.overtakenBy = step
  }

  /** Drops what waits and is not in the plan any more: a ladder that was left wants nothing reclaimed. */
  retain(plan: Plan): void {
    if (this.#waiting.size === 0) return
    const wanted = new Set(plan.map(keyOf))
    for (const key of this.#waiting.keys()) if (!wanted.has(key)) this.#waiting.delete(key)
  }

  /** What has ended since the last call, and the running write once it has run for too long; `nowMs` is monotonic. */
  takeEnded(nowMs: number): readonly StepResult[] {
    const running = this.#running
    if (running !== undefined) {
      running.seenMs ??= nowMs
      if (!running.isToldOf && nowMs - running.seenMs > LONG_MS) {
        running.isToldOf = true
        this.#ended.push({ step: running.step, outcome: { is: 'busy', errno: 'EINPROGRESS' } })
      }
    }
    if (this.#ended.length === 0) return this.#ended
    const ended = this.#ended
    this.#ended = []
    return ended
  }

  /** Begins nothing any more. Resolves once the running write has ended; that may take as long as the kernel likes. */
  stop(): Promise<void> {
    this.#stopped = true
    this.#waiting.clear()
    return this.#idle
  }

  #next(): void {
    while (this.#running === undefined && !this.#stopped) {
      const [first] = this.#waiting
      if (first === undefined) return
      const [key, step] = first
      this.#waiting.delete(key)
      this.#start(step)
    }
  }

  #start(step: Step): void {
    try {
      const outcome = this.#options.begin(step)
      if (outcome !== undefined) {
        this.#ended.push({ step, outcome })
        return
      }
      this.#running = { step, seenMs: undefined, isToldOf: false, overtakenBy: undefined }
      this.#idle = this.#options.write(step.group, step).then(
        (written) => this.#end(step, written),
        (thrown: unknown) => this.#end(step, failureOf(thrown)),
      )
    } catch (thrown) {
      this.#running = undefined
      this.#ended.push({ step, outcome: failureOf(thrown) })
    }
  }

  #end(step: Step, outcome: Outcome): void {
    const overtakenBy = this.#running?.overtakenBy
    this.#running = undefined
    try {
      const told = this.#options.end(step, outcome, overtakenBy)
      if (told !== undefined) this.#ended.push(told)
    } catch (thrown) {
      this.#ended.push({ step, outcome: failureOf(thrown) })
    }
    this.#next()
  }
}

function keyOf({ group, kind }: { readonly group: GroupPath; readonly kind: KnobKind }): string {
  return `${kind} ${group}`
}

function failureOf(thrown: unknown): Outcome {
  return { is: 'failed', errno: errnoOf(thrown) ?? 'EIO' }
}
