/**
 * Any load of online work under the whole loop: noise, spikes from 50 ms to minutes, steps and saw-teeth, on a node that offline work would fill.
 * Offline work has to have made way within 200 ms, keeps its floor, gives way OT first, and must not swing; and the node has to be used.
 */
import * as fc from 'fast-check'
import { describe, expect, it, vi } from 'vitest'
import { isQuota, quotaMilliCpu } from '../../src/model/index.ts'
import { configOf, DEFAULTS } from '../support/config.ts'
import {
  CAPACITY_MILLI,
  DIALECTS,
  FLOOR_MILLI,
  onNode,
  OT_FLOOR_MILLI,
  turnsOf,
  WATERMARK_MILLI,
} from '../support/closed-loop.ts'
import { OFFLINE_ROOT } from '../support/snapshots.ts'

// Whole lives: some seconds each, and many times that on a machine that is busy.
vi.setConfig({ testTimeout: 120_000 })

/** A stretch of load, in milli-CPU over milliseconds. */
const stretch = fc.oneof(
  fc.record({ is: fc.constant('level' as const), milli: fc.nat(CAPACITY_MILLI), ms: fc.constantFrom(1000, 6000, 20_000) }),
  fc.record({ is: fc.constant('spike' as const), milli: fc.nat(CAPACITY_MILLI), ms: fc.constantFrom(50, 75, 200, 700, 3000) }),
  fc.record({
    is: fc.constant('noise' as const),
    milli: fc.integer({ min: 500, max: 5000 }),
    ms: fc.constantFrom(2000, 8000),
    jitter: fc.array(fc.integer({ min: -500, max: 500 }), { minLength: 7, maxLength: 7 }),
    every: fc.constantFrom(25, 75, 400),
  }),
)
type Stretch = typeof stretch extends fc.Arbitrary<infer T> ? T : never

function milliAt(one: Stretch, sinceMs: number): number {
  if (one.is !== 'noise') return one.milli
  return one.milli + (one.jitter[Math.floor(sinceMs / one.every) % one.jitter.length] ?? 0)
}

describe.each(DIALECTS)('whatever online work does, under %s,', (dialect) => {
  it('offline work leaves it within 200 ms what it uses, keeps its floor, and takes nothing that was asked for', () => {
    fc.assert(
      fc.property(fc.array(stretch, { minLength: 1, maxLength: 6 }), (stretches) =>
        onNode({ dialect, quietMs: 8000, keep: 50 }, (sim, watch) => {
          for (const one of stretches) {
            const fromMs = sim.node.nowMs
            const calmMilli = 1000
            watch.run(one.ms, (nowMs) => {
              sim.node.setDemand('ls', milliAt(one, nowMs - fromMs))
            })
            // Weights settle who gets the time: online work has all it asks for on every step.
            expect(sim.node.waitedMilli('ls')).toBeCloseTo(0)
            if (one.is === 'spike') watch.run(500, () => sim.node.setDemand('ls', calmMilli))
          }
          expect(watch.mostOverMilli).toBeLessThanOrEqual(1)
          expect(watch.leastRootMilli).toBeGreaterThanOrEqual(FLOOR_MILLI - 1)
          // At the very start a rule can't tell yet.
          const settled = sim.records.filter(({ snapshot }) => snapshot.nowMs > 2000)
          expect(settled.flatMap(({ decision }) => decision.abstentions)).toEqual([])
        }),
      ),
      { numRuns: 15 },
    )
  })

  it('OT is at its floor wherever BE lacks something after 5 s (I8)', () => {
    fc.assert(
      fc.property(fc.integer({ min: 500, max: 7000 }), fc.integer({ min: 100, max: 6000 }), (lsMilli, beMilli) =>
        onNode({ dialect, quietMs: 6000 }, (sim) => {
          sim.node.setDemand('be', beMilli)
          sim.run(4000)
          sim.node.setDemand('ls', lsMilli)
          sim.run(5000)
          const isLacking = sim.node.servedMilli('be') < beMilli - 1
          // The kernel serves BE first all the same, so it is the quota that tells.
          const quota = sim.kernel.readKnob(`${OFFLINE_ROOT}/podot`, 'quota')
          const otMilli = isQuota(quota) ? quotaMilliCpu(quota) : Infinity
          expect(isLacking ? otMilli : 0).toBeLessThanOrEqual(OT_FLOOR_MILLI + 1)
        }),
      ),
      { numRuns: 12 },
    )
  })

  it('a saw-tooth load makes the dwell time longer, the allowance steadier, and status says so; in the calm that passes', () => {
    onNode({ dialect }, (sim, watch) => {
      const saw = (nowMs: number): void => sim.node.setDemand('ls', nowMs % 3000 < 500 ? 3500 : 1500)
      watch.run(30_000, saw)
      const first = watch.turns
      expect(first).toBeGreaterThanOrEqual(DEFAULTS.steady.turns)
      const steadiness = () => sim.records.at(-1)?.decision.suppression?.steadiness
      expect(steadiness()).toMatchObject({ swings: true })
      expect(steadiness()?.dwellMs).toBeGreaterThanOrEqual(4000)
      watch.reset()
      watch.run(120_000, saw)
      // Each quiet window gives it another try, which ends after as many turns as count for swinging.
      expect(watch.turns).toBeLessThanOrEqual(DEFAULTS.steady.turns * 4)
      expect(watch.mostOverMilli).toBeLessThanOrEqual(1)
      watch.run(150_000, () => sim.node.setDemand('ls', 1500))
      expect(steadiness()).toMatchObject({ swings: false, dwellMs: DEFAULTS.suppressCpu.dwellMs })
      expect(sim.node.usedMilli().offlineMilli).toBeGreaterThan(WATERMARK_MILLI - 1500 - 200 - 81)
    })
  })

  it('without the detector the same saw-tooth turns the allowance round at each tooth', () => {
    const config = configOf({ steady: { mostDwellMs: DEFAULTS.suppressCpu.dwellMs } })
    onNode({ dialect, config }, (sim, watch) => {
      watch.run(120_000, (nowMs) => sim.node.setDemand('ls', nowMs % 3000 < 500 ? 3500 : 1500))
      expect(watch.turns).toBeGreaterThan(70)
    })
  })

  it('under noise for minutes the allowance turns round ever more seldom', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1000, max: 4000 }), { minLength: 60, maxLength: 60 }),
        fc.constantFrom(100, 700, 1500, 2500),
        (noise, everyMs) =>
          onNode({ dialect, keep: 50 }, (sim, watch) => {
            const load = (nowMs: number): void => sim.node.setDemand('ls', noise[Math.floor(nowMs / everyMs) % noise.length] ?? 0)
            watch.run(60_000, load)
            expect(watch.turns).toBeLessThanOrEqual(30)
            watch.reset()
            watch.run(60_000, load)
            expect(watch.turns).toBeLessThanOrEqual(20)
            expect(watch.mostOverMilli).toBeLessThanOrEqual(1)
          }),
      ),
      { numRuns: 3 },
    )
  })

  it('the node is used up to the watermark, less the margin and the dead band, and no further', () => {
    onNode({ dialect, keep: 50 }, (sim, watch) => {
      watch.run(30_000, (nowMs) => sim.node.setDemand('ls', 2000 + 150 * Math.sin(nowMs / 700)))
      const { withOffline, online } = watch.use
      expect(online).toBeGreaterThan(2400)
      expect(withOffline - online).toBeGreaterThan(3100)
      expect(withOffline).toBeLessThanOrEqual(DEFAULTS.suppressCpu.watermarkPermyriad)
    })
  })
})

describe('turns of a course', () => {
  it('are counted where it comes back by the band from the furthest it got', () => {
    expect(turnsOf([0, 5, 10, 4, 12, 2], 6)).toBe(3)
    expect(turnsOf([0, 5, 10, 8, 12, 9], 6)).toBe(0)
    expect(turnsOf([], 6)).toBe(0)
  })
})
