/**
 * The highest value over a sliding window, as an immutable value: the memory of a pure rule. Time is cut into buckets, so that the
 * window is exact to one bucket and costs the same however often it is fed.
 */
export interface PeakWindow {
  /** Length of a bucket. */
  readonly bucketMs: number
  /** Number of the newest bucket: time divided by the bucket's length. */
  readonly newest: number
  /** Maximum per bucket, newest first. */
  readonly maxima: readonly number[]
}

const BUCKETS = 10

/**
 * The window with `value` at `nowMs` in it, which is the one that was given while nothing has changed; what is older than `windowMs` plus one
 * bucket is gone. When `windowMs` is another than before, the highest value so far counts as new: buckets of another length have other numbers.
 */
export function addPeak(window: PeakWindow | undefined, value: number, nowMs: number, windowMs: number): PeakWindow {
  const bucketMs = windowMs / BUCKETS
  const bucket = Math.floor(nowMs / bucketMs)
  if (window === undefined) return { bucketMs, newest: bucket, maxima: [value] }
  if (window.bucketMs !== bucketMs) return { bucketMs, newest: bucket, maxima: [Math.max(value, peakOf(window))] }
  const gone = Math.max(0, bucket - window.newest)
  if (gone === 0) {
    // Nearly always so, and for every pod on every calm tick: nothing is made.
    if (value <= (window.maxima[0] ?? -Infinity)) return window
    return { bucketMs, newest: window.newest, maxima: [value, ...window.maxima.slice(1)] }
  }
  if (gone > BUCKETS) return { bucketMs, newest: bucket, maxima: [value] }
  const blanks = Array.from({ length: gone - 1 }, () => -Infinity)
  return { bucketMs, newest: bucket, maxima: [value, ...blanks, ...window.maxima].slice(0, BUCKETS + 1) }
}

/** The highest value in the window; 0 for an empty one. */
export function peakOf(window: PeakWindow | undefined): number {
  if (window === undefined) return 0
  return window.maxima.reduce(higher, -Infinity)
}

function higher(a: number, b: number): number {
  return Math.max(a, b)
}

/** A reading that a rule may calculate with: undefined for what is no amount, 0 for a counter that ran backwards. */
export function reasonable(amount: number | undefined): number | undefined {
  return amount === undefined || !Number.isFinite(amount) ? undefined : Math.max(0, amount)
}
