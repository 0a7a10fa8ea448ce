/**
 * How BE pods share an amount of CPU by quotas of their own: by what they asked for, what one leaves unused to the others, and back when it
 * wants it back. What holds of any pods is shown by properties; a closed loop shows that it comes to rest.
 */
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { classify } from '../../../src/decide/classify.ts'
import { type BeSplit, LEAST_POD_MILLI, splitBe } from '../../../src/decide/suppress/cpu-split.ts'
import { configOf, DEFAULTS } from '../../support/config.ts'
import { type PodLiteral, snapshotOf } from '../../support/snapshots.ts'

const UNLIMITED = configOf({ limits: { enabled: false } })

interface Asked {
  readonly pods: readonly PodLiteral[]
  readonly totalMilli: number
  readonly nowMs?: number
  readonly pace?: 'calm' | 'hot'
  readonly before?: BeSplit | undefined
  readonly config?: typeof DEFAULTS
}

function split({ pods, totalMilli, before, config = DEFAULTS, nowMs = 0, pace = 'calm' }: Asked): BeSplit {
  const snapshot = snapshotOf({ nowMs, pace, pods })
  return splitBe(
    snapshot,
    snapshot.pods.pods.map((reading) => classify(reading, config)),
    { totalMilli, before },
    config,
  )
}

const amounts = ({ parts }: BeSplit): Record<string, number> =>
  Object.fromEntries([...parts].map(([uid, { milli }]) => [uid, milli]))
const pod = (uid: string, units: number, usesMilli?: number): PodLiteral => ({
  uid,
  asks: units === 0 ? { 'be-memory': 1 } : { 'be-cpu': units },
  ...(usesMilli === undefined ? {} : { usesMilli }),
})

describe('an amount that BE pods share', () => {
  it('is split by what they asked for, beyond the least that each of them has', () => {
    expect(amounts(split({ pods: [pod('a', 30), pod('b', 10)], totalMilli: 820 }))).toEqual({ a: 610, b: 210 })
  })

  it('gives nobody more than his own limit, and what that leaves to the others', () => {
    expect(amounts(split({ pods: [pod('a', 3), pod('b', 30)], totalMilli: 3290 }))).toEqual({ a: 300, b: 2990 })
    expect(amounts(split({ pods: [pod('a', 3), pod('b', 5)], totalMilli: 4000 }))).toEqual({ a: 300, b: 500 })
    const free = amounts(split({ pods: [pod('a', 3), pod('b', 5)], totalMilli: 4000, config: UNLIMITED }))
    expect(free).toEqual({ a: 1502, b: 2497 })
  })

  it('leaves to a pod that asked for no CPU what the others do not want', () => {
    const pods = [pod('a', 10, 100), pod('m', 0, 5)]
    const first = split({ pods, totalMilli: 800 })
    expect(amounts(first)).toEqual({ a: 789, m: 10 })
    const later = split({ pods: [pod('a', 10, 100), pod('m', 0, 10)], totalMilli: 800, nowMs: 1000, before: first })
    expect(amounts(later)).toEqual({ a: 143, m: 657 })
  })

  it('goes to those that use up theirs, and comes back at once to one that uses up what it was left with', () => {
    const at = (nowMs: number, a: number, b: number, before?: BeSplit): BeSplit =>
      split({ pods: [pod('a', 20, a), pod('b', 20, b)], totalMilli: 2000, nowMs, before })
    const first = at(0, 300, 1000)
    expect(amounts(first)).toEqual({ a: 1000, b: 1000 })
    const second = at(1000, 300, 1000, first)
    expect(amounts(second)).toEqual({ a: 429, b: 1571 })
    // Use that wavers moves nothing.
    const third = at(3000, 230, 1571, at(2000, 350, 1571, second))
    expect(amounts(third)).toEqual({ a: 429, b: 1571 })
    expect(amounts(at(4000, 429, 1571, third))).toEqual({ a: 1000, b: 1000 })
  })

  it('follows the amount on hot ticks, and judges nobody there: what pods use was not read again', () => {
    const pods = [pod('a', 20, 300), pod('b', 20, 1000)]
    const first = split({ pods, totalMilli: 2000 })
    const second = split({ pods, totalMilli: 2000, nowMs: 1000, before: first })
    const hot = split({ pods, totalMilli: 1000, nowMs: 1050, pace: 'hot', before: second })
    expect(amounts(hot)).toEqual({ a: 429, b: 571 })
    const soon = split({ pods: [pod('a', 20, 5), pod('b', 20, 5)], totalMilli: 1000, nowMs: 1400, before: hot })
    expect(amounts(soon)).toEqual(amounts(hot))
  })

  it('takes no pod for sated by what it used under a smaller quota than it has now', () => {
    const pods = [pod('a', 20, 240), pod('b', 20, 240)]
    const first = split({ pods, totalMilli: 500 })
    const grown = split({ pods, totalMilli: 2000, nowMs: 600, pace: 'hot', before: first })
    expect(
      [...split({ pods, totalMilli: 2000, nowMs: 1000, before: grown }).parts.values()].map(({ wantsMilli }) => wantsMilli),
    ).toEqual([undefined, undefined])
  })

  it('comes to rest beside steady pods: after three looks nothing is written any more, and a hog has all that the others leave', () => {
    let before: BeSplit | undefined
    const wants = { a: 120, b: 700, hog: 9000 }
    let used: Record<string, number> = { a: 0, b: 0, hog: 0 }
    const seen: Record<string, number>[] = []
    for (let second = 0; second < 12; second += 1) {
      const pods = Object.keys(wants).map((uid) => pod(uid, 20, used[uid]))
      before = split({ pods, totalMilli: 3000, nowMs: second * 1000, before, config: UNLIMITED })
      const has = amounts(before)
      used = Object.fromEntries(Object.entries(wants).map(([uid, milli]) => [uid, Math.min(milli, has[uid] ?? 0)]))
      seen.push(has)
    }
    expect(new Set(seen.slice(3).map((has) => JSON.stringify(has))).size).toBe(1)
    expect(used['a']).toBe(120)
    expect(used['b']).toBe(700)
    expect(used['hog']).toBeGreaterThan(3000 - (120 + 700) / 0.7 - 5)
  })
})

describe('whatever pods there are', () => {
  const wild = fc.record({
    units: fc.nat(60),
    usesMilli: fc.option(fc.oneof(fc.nat(3000), fc.constantFrom(Number.NaN, -5, 1e9)), { nil: undefined }),
  })
  const moments = fc.array(
    fc.record({
      pods: fc.array(wild, { maxLength: 6 }),
      totalMilli: fc.nat(8000),
      hot: fc.boolean(),
      ms: fc.constantFrom(50, 500, 1000),
    }),
    { minLength: 1, maxLength: 8 },
  )

  it('they have no more than the amount together but for the least of each, nearly all of it that their limits let them have, and each whole milli-CPU', () => {
    fc.assert(
      fc.property(moments, fc.boolean(), (lived, limited) => {
        let before: BeSplit | undefined
        let nowMs = 0
        for (const { pods: given, totalMilli, hot, ms } of lived) {
          nowMs += ms
          const pods = given.map(({ units, usesMilli }, index) => pod(`p${index}`, units, usesMilli))
          const asked = { totalMilli, nowMs, pace: hot ? 'hot' : 'calm', before, config: limited ? DEFAULTS : UNLIMITED } as const
          const now = split({ ...asked, pods })
          expect(split({ ...asked, pods: [...pods].reverse() })).toEqual(now)
          const has = Object.values(amounts(now))
          const sum = has.reduce((all, milli) => all + milli, 0)
          const leastMilli = LEAST_POD_MILLI * pods.length
          expect(sum).toBeLessThanOrEqual(Math.max(totalMilli, leastMilli))
          for (const milli of has) expect([Number.isSafeInteger(milli), milli >= LEAST_POD_MILLI]).toEqual([true, true])
          const most = given.reduce((all, { units }) => all + (limited && units > 0 ? units * 100 : Infinity), 0)
          // Rounding takes less than 1m of each.
          expect(sum).toBeGreaterThanOrEqual(Math.max(leastMilli, Math.min(totalMilli, most)) - pods.length)
          before = now
        }
      }),
      { numRuns: 300 },
    )
  })
})
