/** The sliding peak: exact to one bucket, and carried over when its window becomes longer or shorter. */
import { describe, expect, it } from 'vitest'
import { addPeak, peakOf, type PeakWindow } from '../../../src/decide/peak.ts'

/** The peak after each of the values, given as [time, value]. */
function peaks(windowMs: number | ((index: number) => number), ...values: readonly (readonly [number, number])[]): number[] {
  let window: PeakWindow | undefined
  return values.map(([nowMs, value], index) => {
    window = addPeak(window, value, nowMs, typeof windowMs === 'number' ? windowMs : windowMs(index))
    return peakOf(window)
  })
}

describe('addPeak', () => {
  it('keeps the highest value for the window and at most a bucket more', () => {
    expect(peaks(1000, [0, 5], [500, 3], [1000, 2], [1099, 1], [1100, 1])).toEqual([5, 5, 5, 5, 3])
  })

  it('forgets all after a pause longer than the window', () => {
    expect(peaks(1000, [0, 5], [9000, 1])).toEqual([5, 1])
  })

  it.each([
    ['longer', 1000, 4000],
    ['shorter', 4000, 1000],
  ])('takes the peak along into a %s window, as if it were new', (_, before, after) => {
    const widthOf = (index: number): number => (index < 2 ? before : after)
    const values = [
      [1_000_000, 5],
      [1_000_100, 3],
      [1_000_200, 1],
      [1_000_200 + after - 1, 1],
      [1_000_200 + after * 1.2, 1],
    ] as const
    expect(peaks(widthOf, ...values)).toEqual([5, 5, 5, 5, 1])
  })
})
