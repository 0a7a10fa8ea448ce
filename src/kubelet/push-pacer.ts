/**
 * When to push a list. Each one makes the kubelet rewrite its checkpoint and, from 1.36 on, walk all allocations, so growth waits
 * until `pushMs` after the last push; pods can use new capacity only after the next node status anyway. A shrink goes out at
 * once: until the kubelet knows, it admits pods to capacity that is gone. Source: kubernetes
 * pkg/kubelet/cm/devicemanager/manager.go (genericDeviceUpdateCallback), 1.36.
 */

export interface PushPacerOptions {
  /** Least time between two pushes that do not shrink, in milliseconds. */
  readonly pushMs: number
  /** Monotonic milliseconds. */
  readonly now: () => number
  readonly push: () => void
}

export class PushPacer {
  readonly #options: PushPacerOptions
  #lastPushMs = Number.NEGATIVE_INFINITY
  #lastHealthy = 0
  #timer: NodeJS.Timeout | undefined

  constructor(options: PushPacerOptions) {
    this.#options = options
  }

  /** Says that the list has changed and now holds this many healthy devices; pushes now or later. */
  changed(healthy: number): void {
    if (healthy < this.#lastHealthy) return this.#push()
    if (this.#timer !== undefined) return
    const waitMs = this.#lastPushMs + this.#options.pushMs - this.#options.now()
    if (waitMs <= 0) return this.#push()
    this.#timer = setTimeout(() => this.#push(), waitMs)
  }

  /** Says that a list with this many healthy devices has just reached the kubelet, by `push` or by other means. */
  sent(healthy: number): void {
    this.#lastPushMs = this.#options.now()
    this.#lastHealthy = healthy
  }

  stop(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  #push(): void {
    this.stop()
    this.#options.push()
  }
}
