/**
 * Missing and lying sensors under the whole loop. A reading that is missing stops growth at once; past its bound everything sinks to the safe
 * minimum, the decision says so, and nothing is climbed, left or evicted for it. A counter that lies can't be seen through, but it may do
 * no lasting harm: every write stays legal and within its bounds, and when it tells the truth again the node is as it would have been.
 */
import * as fc from 'fast-check'
import { describe, expect, it, vi } from 'vitest'
import type { RuleName } from '../../src/model/index.ts'
import { DEFAULTS } from '../support/config.ts'
import { CAPACITY_MILLI, DIALECTS, FLOOR_MILLI, type LoopLiteral, onNode, type Watch } from '../support/closed-loop.ts'
import { Lies, lyingKernel, SENSORS, type SensorName, WAYS } from '../support/lying-kernel.ts'
import type { SimulatedAgent } from '../support/simulated-agent.ts'

// Whole lives: some seconds each, and many times that on a machine that is busy.
vi.setConfig({ testTimeout: 120_000 })

interface Deceived {
  readonly sim: SimulatedAgent
  readonly watch: Watch
  /** Lies from now on, for `ms`. */
  readonly lie: (sensor: SensorName, how: (typeof WAYS)[number], ms: number) => void
}

function deceived(literal: LoopLiteral, body: (node: Deceived) => void): void {
  let sim: SimulatedAgent | undefined
  const lies = new Lies(() => sim?.node.nowMs ?? 0)
  onNode({ ...literal, port: (kernel) => lyingKernel(kernel, lies) }, (begun, watch) => {
    sim = begun
    const lie: Deceived['lie'] = (sensor, how, ms) => {
      lies.list = [...lies.list, { sensor, how, fromMs: begun.node.nowMs, untilMs: begun.node.nowMs + ms }]
    }
    body({ sim: begun, watch, lie })
  })
}

const silentRules = (sim: SimulatedAgent): RuleName[] =>
  (sim.records.at(-1)?.decision.abstentions ?? []).flatMap(({ code, rule }) => (code === 'silent' ? [rule] : []))
const offers = (sim: SimulatedAgent): readonly number[] => (sim.records.at(-1)?.decision.offers ?? []).map(({ units }) => units)

/** From the last good reading to the safe minimum: two calm ticks until it counts as old, then staleMs, then the tick. */
const SINKS_MS = DEFAULTS.loop.calmMs * 2 + DEFAULTS.suppressCpu.staleMs + DEFAULTS.loop.calmMs

describe.each(DIALECTS)('a counter of CPU time that is missing, under %s,', (dialect) => {
  it.each(['nodeCpu', 'offlineCpu'] as const)(
    'stops growth, then sinks the allowance to its floor, and is told of (%s)',
    (sensor) => {
      deceived({ dialect, lsMilli: 4000 }, ({ sim, watch, lie }) => {
        const offered = offers(sim)
        // Room to grow, just as the sensor goes.
        sim.node.setDemand('ls', 500)
        lie(sensor, 'missing', 30_000)
        const before = sim.rootMilli
        watch.reset()
        watch.run(SINKS_MS)
        expect(Math.max(...watch.levels)).toBeLessThanOrEqual(before)
        expect(sim.rootMilli).toBe(FLOOR_MILLI)
        expect(silentRules(sim)).toContain('suppressCpu')
        watch.run(30_000 - SINKS_MS)
        expect(Math.max(...watch.levels)).toBeLessThanOrEqual(before)
        expect(offers(sim).every((units, index) => units <= (offered[index] ?? 0))).toBe(true)
        // It is back: in steps, and all the way.
        watch.run(2000)
        expect(sim.rootMilli).toBeLessThanOrEqual(FLOOR_MILLI + 3 * 800)
        watch.run(15_000)
        expect(sim.rootMilli).toBeGreaterThan(4400)
        expect(silentRules(sim)).toEqual([])
      })
    },
  )

  it('never lets anything grow, whichever sensors are missing and whenever (I9)', () => {
    const gap = fc.record({
      sensor: fc.constantFrom('nodeCpu' as const, 'offlineCpu' as const),
      beats: fc.integer({ min: 1, max: 360 }),
      pauseMs: fc.integer({ min: 25, max: 4000 }),
      lsMilli: fc.nat(CAPACITY_MILLI),
    })
    fc.assert(
      fc.property(fc.array(gap, { minLength: 1, maxLength: 5 }), (gaps) =>
        deceived({ dialect, quietMs: 6000 }, ({ sim, watch, lie }) => {
          for (const { sensor, beats, pauseMs, lsMilli } of gaps) {
            const ms = beats * DEFAULTS.loop.guardMs
            watch.run(pauseMs)
            sim.node.setDemand('ls', lsMilli)
            lie(sensor, 'missing', ms)
            watch.run(75)
            watch.reset()
            watch.run(Math.max(0, ms - 75))
            expect([...watch.levels].sort((a, b) => b - a)).toEqual(watch.levels)
            expect(watch.leastRootMilli).toBeGreaterThanOrEqual(FLOOR_MILLI - 1)
          }
        }),
      ),
      { numRuns: 12 },
    )
  })
})

describe('the counter of how online work waits', () => {
  it('that goes missing stops growth, cuts nothing, and is told of', () => {
    deceived({ dialect: 'v2', lsMilli: 4000 }, ({ sim, watch, lie }) => {
      lie('groupPressure', 'missing', 20_000)
      sim.run(3000)
      sim.node.setDemand('ls', 500)
      const before = sim.rootMilli
      watch.reset()
      watch.run(15_000)
      expect(new Set(watch.levels)).toEqual(new Set([before]))
      expect(silentRules(sim)).toContain('suppressCpu')
      watch.run(20_000)
      expect(sim.rootMilli).toBeGreaterThan(4400)
      expect(silentRules(sim)).toEqual([])
    })
  })
})

describe.each(DIALECTS)('a reading of memory that is missing, under %s,', (dialect) => {
  it('keeps the ladder where it is, and is told of past its bound', () => {
    deceived({ dialect }, ({ sim, lie }) => {
      const { totalBytes } = sim.kernel.memory
      const inForce = () => sim.records.at(-1)?.decision.memory?.ladder.inForce
      sim.kernel.memory = { totalBytes, availableBytes: totalBytes * 0.14 }
      sim.run(4000)
      expect(inForce()).toEqual(['memoryHold'])
      lie('nodeMemory', 'missing', 60_000)
      sim.kernel.memory = { totalBytes, availableBytes: totalBytes * 0.01 }
      sim.run(30_000)
      expect(inForce()).toEqual(['memoryHold'])
      expect(silentRules(sim)).toContain('suppressMemory')
      sim.kernel.memory = { totalBytes, availableBytes: totalBytes * 0.9 }
      sim.run(30_000)
      expect(inForce()).toEqual(['memoryHold'])
      sim.run(40_000)
      expect(inForce()).toEqual([])
      expect(silentRules(sim)).toEqual([])
    })
  })
})

describe.each(DIALECTS)('whatever sensors say, under %s,', (dialect) => {
  const lie = fc.record({
    sensor: fc.constantFrom(...SENSORS),
    how: fc.constantFrom(...WAYS),
    ms: fc.constantFrom(25, 100, 600, 3000, 9000),
    afterMs: fc.nat(3000),
    lsMilli: fc.nat(CAPACITY_MILLI),
  })

  it('nothing fails, offline work keeps its floor and stays within its CPUs, and all is well again two minutes after the last lie', () => {
    fc.assert(
      fc.property(fc.array(lie, { minLength: 1, maxLength: 6 }), (told) =>
        deceived({ dialect, quietMs: 5000, keep: 50 }, ({ sim, watch, lie }) => {
          for (const { sensor, how, ms, afterMs, lsMilli } of told) {
            lie(sensor, how, ms)
            sim.node.setDemand('ls', lsMilli)
            watch.run(afterMs)
          }
          watch.run(9000)
          expect(watch.leastRootMilli).toBeGreaterThanOrEqual(FLOOR_MILLI - 1)
          expect(Math.max(...watch.levels)).toBeLessThanOrEqual(CAPACITY_MILLI)
          sim.node.setDemand('ls', 2000)
          // A swinging allowance has made the dwell time longer; the memory ladder takes half a minute to come down a rung.
          watch.run(120_000)
          expect(sim.rootMilli).toBeGreaterThan(3000 - 81)
          expect(sim.rootMilli).toBeLessThanOrEqual(3001)
          expect(sim.records.at(-1)?.decision.abstentions).toEqual([])
          expect(sim.records.at(-1)?.decision.memory?.ladder.inForce).toEqual([])
        }),
      ),
      { numRuns: 8 },
    )
  })

  it.each([
    ['offlineCpu', 'frozen'],
    ['offlineCpu', 'tenfold'],
    ['nodeCpu', 'tenfold'],
    ['nodeCpu', 'garbage'],
    ['offlineCpu', 'garbage'],
    ['offlineCpu', 'back'],
    ['nodeCpu', 'back'],
  ] as const)('a counter of CPU time of %s that is %s never costs online work more than it did before', (sensor, how) => {
    deceived({ dialect, lsMilli: 4000 }, ({ watch, lie }) => {
      lie(sensor, how, 20_000)
      watch.run(20_000)
      expect(watch.mostOverMilli).toBeLessThanOrEqual(1)
    })
  })

  it('a counter of the node that stands still while offline work runs is not taken for an idle node', () => {
    deceived({ dialect, lsMilli: 4000 }, ({ sim, watch, lie }) => {
      lie('nodeCpu', 'frozen', 20_000)
      watch.run(20_000)
      expect(watch.mostOverMilli).toBeLessThanOrEqual(1)
      expect(silentRules(sim)).toContain('suppressCpu')
    })
  })
})
