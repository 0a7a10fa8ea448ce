/**
 * The token bucket in front of the pod-resources API: one for all callers and all methods, so that a consumer that polls too often
 * starves the others. It starts full, refills steadily and never makes a caller wait: a call without a token is turned away.
 * Source: kubernetes pkg/kubelet/apis/podresources (constants.go, grpc/ratelimit.go), 1.36; golang.org/x/time/rate.
 */
export class RateLimiter {
  readonly #perSecond: number
  readonly #burst: number
  /** Milliseconds on any clock; one that goes back refills nothing. */
  readonly #now: () => number
  #tokens: number
  #atMs: number

  constructor(perSecond: number, burst: number, now: () => number) {
    this.#perSecond = perSecond
    this.#burst = burst
    this.#now = now
    this.#tokens = burst
    this.#atMs = now()
  }

  /** Takes a token if there is one. */
  allow(): boolean {
    const nowMs = this.#now()
    const gained = (Math.max(nowMs - this.#atMs, 0) * this.#perSecond) / 1_000
    this.#tokens = Math.min(this.#tokens + gained, this.#burst)
    this.#atMs = nowMs
    if (this.#tokens < 1) return false
    this.#tokens -= 1
    return true
  }
}
