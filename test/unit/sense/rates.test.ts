/**
 * Rates out of counters: over at least the window that was asked for, however many samples came, and never from a counter that was
 * started again.
 */
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { RateWindow } from '../../../src/sense/rates.ts'

function windowOf(samples: readonly (readonly [atMs: number, total: number])[], windowMs?: number): RateWindow {
  const window = new RateWindow(windowMs)
  for (const [atMs, total] of samples) window.add(atMs, total)
  return window
}

describe('RateWindow', () => {
  it('knows nothing before two samples', () => {
    expect(windowOf([]).perSecond(100)).toBeUndefined()
    expect(windowOf([]).newestMs).toBeUndefined()
    expect(windowOf([[1000, 5]]).perSecond(100)).toBeUndefined()
    expect(windowOf([[1000, 5]]).newestMs).toBe(1000)
  })

  it('takes the shortest span that is at least the window', () => {
    const window = windowOf([
      [0, 0],
      [1000, 1000],
      [1050, 1100],
      [1100, 1100],
    ])
    expect(window.perSecond(50)).toEqual({ rate: 0, spanMs: 50 })
    expect(window.perSecond(51)).toEqual({ rate: 1000, spanMs: 100 })
    expect(window.perSecond(1000)).toEqual({ rate: 1000, spanMs: 1100 })
  })

  it('takes all there is while that is shorter than the window', () => {
    expect(
      windowOf([
        [0, 0],
        [10, 40],
      ]).perSecond(1000),
    ).toEqual({ rate: 4000, spanMs: 10 })
  })

  it('starts anew when the counter went down', () => {
    const window = windowOf([
      [0, 0],
      [100, 5000],
      [200, 10],
    ])
    expect(window.perSecond(1)).toBeUndefined()
    window.add(300, 110)
    expect(window.perSecond(1000)).toEqual({ rate: 1000, spanMs: 100 })
  })

  it('says nothing for two samples at one time, or for a clock that stepped back', () => {
    expect(
      windowOf([
        [100, 0],
        [100, 50],
      ]).perSecond(1),
    ).toBeUndefined()
    expect(
      windowOf([
        [100, 0],
        [50, 50],
      ]).perSecond(1),
    ).toBeUndefined()
  })

  it('goes on when the ring has wrapped round', () => {
    const window = new RateWindow(100)
    for (let beat = 0; beat <= 1000; beat += 1) window.add(beat * 25, beat * 50)
    expect(window.perSecond(100)).toEqual({ rate: 2000, spanMs: 100 })
  })

  it('spans the longest window there is at the fastest beat there is', () => {
    // loop.guardMs may be 5, suppressCpu.windowMs 10,000: 2000 beats, many more than the ring holds.
    const window = new RateWindow(10_000)
    for (let beat = 0; beat <= 10_000; beat += 1) window.add(beat * 5, beat * 10)
    expect(window.perSecond(10_000)?.spanMs).toBeGreaterThanOrEqual(10_000)
    expect(window.perSecond(10_000)?.spanMs).toBeLessThan(12_000)
    expect(window.newestMs).toBe(50_000)
  })

  it('is the true mean over its span, and the span is the window or more, for any pace of samples', () => {
    const step = fc.tuple(fc.integer({ min: 1, max: 300 }), fc.nat(1000))
    fc.assert(
      fc.property(fc.array(step, { minLength: 2, maxLength: 400 }), fc.integer({ min: 1, max: 10_000 }), (steps, windowMs) => {
        const window = new RateWindow(windowMs)
        const truth = new Map<number, number>()
        let [atMs, total] = [0, 0]
        for (const [waitMs, grown] of steps) {
          atMs += waitMs
          total += grown
          truth.set(atMs, total)
          window.add(atMs, total)
        }
        const { rate, spanMs } = window.perSecond(windowMs) ?? { rate: NaN, spanMs: NaN }
        const [first = 0] = truth.keys()
        expect(spanMs).toBeGreaterThanOrEqual(Math.min(windowMs, atMs - first))
        expect(rate).toBeCloseTo(((total - (truth.get(atMs - spanMs) ?? NaN)) * 1000) / spanMs, 6)
      }),
    )
  })
})
