/** The judgement of `npm run soak`: that noise passes and a leak does not. */
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { growthOf, judge, type Sample, SERIES, SERIES_NAMES, type SeriesName, windowsOf } from '../../scripts/soak/flat.ts'

const SECONDS = 540
const BASE: Readonly<Record<SeriesName, number>> = {
  rssMiB: 80,
  anonMiB: 44,
  heapMiB: 18,
  descriptors: 375,
  handles: 18,
  journalKiB: 100,
  series: 420,
  tickP99Ms: 10,
}

/** A run of nine minutes with `extra` on top of the usual values. */
function run(extra: (name: SeriesName, second: number) => number): Sample[] {
  return Array.from({ length: SECONDS }, (_, second) => ({
    atMs: second * 1000,
    values: Object.fromEntries(SERIES_NAMES.map((name) => [name, BASE[name] + extra(name, second)])) as Record<
      SeriesName,
      number
    >,
  }))
}

const problemsOf = (samples: readonly Sample[]): SeriesName[] =>
  judge(windowsOf(samples, 60_000)).flatMap(({ name, problem }) => (problem === undefined ? [] : [name]))

describe('the judgement of the soak', () => {
  it('takes what goes up and down for flat', () => {
    expect(problemsOf(run(() => 0))).toEqual([])
    const isSteady = (name: SeriesName): boolean => name === 'series'
    expect(problemsOf(run((name, second) => (isSteady(name) ? 0 : (SERIES[name].noise / 2) * Math.sin(second / 20))))).toEqual([])
  })

  it('takes a single spike for no leak', () => {
    expect(problemsOf(run((name, second) => (name === 'tickP99Ms' && second === 400 ? 5000 : 0)))).toEqual([])
  })

  it.each(SERIES_NAMES)('finds a slow leak of %s, and names no other', (leaking) => {
    const perSecond = (SERIES[leaking].noise * 1.3 + 1) / (SECONDS - 60)
    expect(problemsOf(run((name, second) => (name === leaking ? Math.floor(second * perSecond * 10) / 10 : 0)))).toEqual([
      leaking,
    ])
  })

  it('does not call flat what was never measured, or above its bound all the time', () => {
    expect(problemsOf(run((name) => (name === 'handles' ? Number.NaN : 0)))).toEqual(['handles'])
    expect(problemsOf(run((name) => (name === 'rssMiB' ? 500 : 0)))).toEqual(['rssMiB'])
    expect(problemsOf([])).toEqual(SERIES_NAMES)
  })

  it('measures the rise of a line exactly, whatever one value of it says', () => {
    fc.assert(
      fc.property(fc.integer({ min: -50, max: 50 }), fc.integer({ min: 5, max: 30 }), fc.nat(), (slope, length, at) => {
        const line = Array.from({ length }, (_, index) => index * slope)
        expect(growthOf(line)).toBe(slope * (length - 1))
        line[at % length] = 1e6
        expect(Math.abs(growthOf(line) - slope * (length - 1))).toBeLessThanOrEqual(1e-6)
      }),
    )
  })
})
