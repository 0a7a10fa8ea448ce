/**
 * Online work that waits for CPU, whatever the use of the node is: because offline work gets in its way in spite of all weights, or because
 * there is more of it than CPUs. Under v2 the groups count it; under v1 the length of the run queue has to do.
 */
import * as fc from 'fast-check'
import { describe, expect, it, vi } from 'vitest'
import { configOf, DEFAULTS } from '../support/config.ts'
import { BE, CAPACITY_MILLI, FLOOR_MILLI, LS, onNode } from '../support/closed-loop.ts'
import type { SimulatedAgent } from '../support/simulated-agent.ts'

// Whole lives: some seconds each, and many times that on a machine that is busy.
vi.setConfig({ testTimeout: 120_000 })

const pressure = (sim: SimulatedAgent) => sim.records.at(-1)?.decision.suppression?.pressure
const waitsPermyriad = (sim: SimulatedAgent, uid = 'ls'): number => sim.node.waitedMilli(uid) * 10
const inForce = (sim: SimulatedAgent) => sim.records.at(-1)?.decision.suppression?.ladder.inForce

describe('online work that offline work gets in the way of, under v2,', () => {
  it('waits for less than the bound within 1.5 s, at any load and interference, though the node is far below its watermark', () => {
    fc.assert(
      fc.property(fc.integer({ min: 500, max: 3500 }), fc.double({ min: 0.1, max: 1, noNaN: true }), (lsMilli, interference) =>
        onNode({ dialect: 'v2', lsMilli: 200, quietMs: 8000, keep: 50 }, (sim, watch) => {
          sim.node.interference = interference
          sim.node.setDemand('ls', lsMilli)
          sim.run(1500)
          watch.reset()
          let over = 0
          watch.run(20_000, () => {
            if (waitsPermyriad(sim) > DEFAULTS.pressure.boundPermyriad) over += 1
          })
          expect(over).toBe(0)
          expect(watch.leastRootMilli).toBeGreaterThanOrEqual(FLOOR_MILLI - 1)
          // It settles: no cut and no growth takes turns with another.
          expect(watch.turns).toBeLessThanOrEqual(2)
          expect(sim.node.servedMilli('ls')).toBe(lsMilli)
        }),
      ),
      { numRuns: 15 },
    )
  })

  it('waits for longer than the bound in hardly any of three minutes of it', () => {
    onNode({ dialect: 'v2', lsMilli: 3000, keep: 50 }, (sim, watch) => {
      sim.node.interference = 0.5
      sim.run(1500)
      watch.reset()
      let over = 0
      watch.run(180_000, () => {
        if (waitsPermyriad(sim) > DEFAULTS.pressure.boundPermyriad) over += 1
      })
      expect(over / watch.beats).toBeLessThan(0.02)
      expect(watch.turns).toBeLessThanOrEqual(14)
    })
  })

  it('gives offline work its room back once it waits no more', () => {
    onNode({ dialect: 'v2', lsMilli: 3000 }, (sim) => {
      const before = sim.rootMilli
      sim.node.interference = 0.9
      sim.run(3000)
      expect(sim.rootMilli).toBeLessThan(before * 0.6)
      sim.node.interference = 0
      sim.run(10_000)
      expect(sim.rootMilli).toBeGreaterThan(before - 81)
      expect(pressure(sim)?.is).toBe('quiet')
    })
  })

  it('is also seen where it waits in the group of a Guaranteed pod', () => {
    const pods = [BE, LS, { uid: 'gu', qos: 'Guaranteed', requestsMilli: 2000 }] as const
    onNode({ dialect: 'v2', pods, lsMilli: 0 }, (sim) => {
      sim.node.setDemand('gu', 2000)
      sim.run(3000)
      const before = sim.rootMilli
      sim.node.interference = 0.8
      sim.run(2000)
      expect(sim.rootMilli).toBeLessThan(before * 0.6)
      expect(waitsPermyriad(sim, 'gu')).toBeLessThanOrEqual(DEFAULTS.pressure.boundPermyriad)
    })
  })

  it('has caches and siblings to itself once that alone is left, and they are taken back when it is calm', () => {
    const config = configOf({ cpuNarrow: { enterMs: 1000, exitMs: 3000 } })
    onNode({ dialect: 'v2', config, lsMilli: 1000 }, (sim) => {
      const cpus = (): string | undefined => sim.kernel.groups.get('/kubepods/besteffort/podbe')?.knobs.cpuset.toString()
      // Under v2 a group without a set of its own has its parent's.
      expect(cpus()).toBe('')
      sim.node.setDemand('ls', 7500)
      sim.run(4000)
      expect(inForce(sim)).toEqual(['cpuNarrow'])
      expect(cpus()).toBe('3,7')
      sim.node.setDemand('ls', 1000)
      sim.run(6000)
      expect(inForce(sim)).toEqual([])
      expect(cpus()).toBe('')
    })
  })
})

describe('online work that waits for itself alone', () => {
  it.each(['v1', 'v2'] as const)(
    'keeps offline work at its floor, and after a while the guard stands aside, under %s',
    (dialect) => {
      onNode({ dialect, lsMilli: 2000 }, (sim) => {
        // Five times what there is: under v1 only so much shows in the run queue.
        sim.node.setDemand('ls', CAPACITY_MILLI * 5)
        sim.run(5000)
        expect(sim.rootMilli).toBe(FLOOR_MILLI)
        expect(pressure(sim)).toMatchObject({ source: dialect === 'v1' ? 'run queue' : 'online groups' })
        sim.run(DEFAULTS.pressure.futileMs)
        expect(pressure(sim)?.is).toBe('futile')
        expect(sim.rootMilli).toBe(FLOOR_MILLI)
        sim.node.setDemand('ls', 2000)
        sim.run(20_000)
        expect(pressure(sim)?.is).toBe('quiet')
        expect(sim.rootMilli).toBeGreaterThan(3000 - 81)
      })
    },
  )
})

describe('the run queue under v1', () => {
  it('is not filled by offline work that its quotas hold back', () => {
    const crowd = Array.from({ length: 8 }, (_, index) => ({ uid: `be${index}`, asks: { 'be-cpu': 80 } }))
    onNode({ dialect: 'v1', pods: [...crowd, LS], lsMilli: 1000 }, (sim, watch) => {
      watch.run(10_000)
      expect(pressure(sim)).toMatchObject({ is: 'quiet', source: 'run queue' })
      expect(sim.rootMilli).toBeGreaterThan(4000 - 81)
    })
  })

  it('cuts the allowance when more online tasks wait than three for each CPU', () => {
    const config = configOf({ suppressCpu: { watermarkPermyriad: 10_000, lowWatermarkPermyriad: 9000 } })
    onNode({ dialect: 'v1', config, lsMilli: 1000 }, (sim) => {
      sim.kernel.readRunnable = () => 80
      sim.run(1500)
      expect(pressure(sim)?.is).toBe('cut')
      expect(sim.rootMilli).toBeLessThan(1000)
    })
  })
})
