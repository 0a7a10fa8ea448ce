/**
 * When to push a list. Each one makes the kubelet rewrite its checkpoint and, from 1.36 on, walk all allocations, so growth waits
 * until `pushMs` after the last push; pods can use new capacity only after the next node status anyway. What contradicts the last
 * list pushed is urgent and goes out at once: until the kubelet knows, it admits pods to capacity that is gone. But not twice
 * within a second, so capacity that falls unit by unit costs one push a second; and capacity that goes up and down costs two every
 * `pushMs`, since to take something back it must first have been promised again. Source: kubernetes
 * pkg/kubelet/cm/devicemanager/manager.go (genericDeviceUpdateCallback), 1.36.
 */

const URGENT_MS = 1_000

export interface PushPacerOptions {
  /** Least time between two pushes that are not urgent, in milliseconds. */
  readonly pushMs: number
  /** Monotonic milliseconds. */
  readonly now: () => number
  readonly push: () => void
}

export class PushPacer {
  readonly #options: PushPacerOptions
  #lastPushMs = Number.NEGATIVE_INFINITY
  #lastUrgentMs = Number.NEGATIVE_INFINITY
  /** Whether what waits to be pushed is urgent. */
  #urgent = false
  #timer: NodeJS.Timeout | undefined

  constructor(options: PushPacerOptions) {
    this.#options = options
  }

  /** Says that the list has changed, and whether urgently; pushes now or later. The last word before the push counts. */
  changed(urgent: boolean): void {
    const { pushMs, now, push } = this.#options
    this.#urgent = urgent
    const dueMs = urgent ? this.#lastUrgentMs + Math.min(URGENT_MS, pushMs) : this.#lastPushMs + pushMs
    const waitMs = dueMs - now()
    this.stop()
    if (waitMs <= 0) return push()
    this.#timer = setTimeout(push, waitMs)
  }

  /** Says that the newest list has just gone to the kubelet, by `push` or by other means. */
  sent(): void {
    this.stop()
    this.#lastPushMs = this.#options.now()
    if (this.#urgent) this.#lastUrgentMs = this.#lastPushMs
    this.#urgent = false
  }

  stop(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
  }
}
