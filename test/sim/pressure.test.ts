/**
 * Online work that waits for CPU, whatever the use of the node is: because offline work gets in its way in spite of all weights, or because
 * there is more of it than CPUs. Under v2 the groups count it; under v1 the length of the run queue has to do.
 */
import * as fc from 'fast-check'
import { describe, expect, it, vi } from 'vitest'
import { configOf, DEFAULTS } from '../support/config.ts'
import { BE, CAPACITY_MILLI, FLOOR_MILLI, LS, onNode } from '../support/closed-loop.ts'
import { micros } from '../../src/model/index.ts'
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

describe('a pod that waits, but not for offline work,', () => {
  /** From now on the group waits for 40 % of each `onMs`, and not at all in the `offMs` after it, whatever else happens. */
  function waitsOnItsOwn({ kernel, node }: SimulatedAgent, uid: string, [onMs, offMs]: readonly [number, number]): void {
    const read = kernel.readGroupPressureUs.bind(kernel)
    let [totalUs, lastMs] = [0, node.nowMs]
    kernel.readGroupPressureUs = (group, resource) => {
      if (!group.endsWith(`pod${uid}`) || resource !== 'cpu') return read(group, resource)
      if (node.nowMs % (onMs + offMs) < onMs) totalUs += (node.nowMs - lastMs) * 400
      lastMs = node.nowMs
      return totalUs
    }
  }

  const guaranteed = { uid: 'gu', qos: 'Guaranteed', requestsMilli: 2000 } as const
  /** Of the node, in permyriad: what the watermark leaves beside 1500m of online work, less the margin. */
  const LEFT = 6500 - (1500 / CAPACITY_MILLI) * 10_000 - 250

  function offlineShare(
    pod: typeof guaranteed & { readonly labels?: Readonly<Record<string, string>> },
    beat: readonly [number, number],
  ) {
    const got: number[] = []
    onNode({ dialect: 'v2', lsMilli: 500, pods: [BE, LS, pod], keep: 50 }, (sim, watch) => {
      sim.node.setDemand('gu', 1000)
      waitsOnItsOwn(sim, 'gu', beat)
      sim.run(3000)
      for (let part = 0; part < 2; part += 1) {
        watch.reset()
        watch.run(180_000)
        got.push(watch.use.withOffline - watch.use.online)
      }
    })
    return got
  }

  it.each([
    [25_000, 5000],
    [10_000, 10_000],
  ] as const)('because it is on CPUs of its own, for %d ms and then not for %d ms, costs offline work nothing', (onMs, offMs) => {
    const alone = { ...guaranteed, labels: { 'kube-agent.io/qos-class': 'LSX' } }
    for (const share of offlineShare(alone, [onMs, offMs])) expect(share).toBeGreaterThan(LEFT - 50)
  })

  it('and that nothing tells of, costs it a sixth at most once that has shown, though the waiting stops every 30 s', () => {
    const [, later = 0] = offlineShare(guaranteed, [25_000, 5000])
    expect(later).toBeGreaterThan((LEFT * 5) / 6)
  })

  it.each(['Guaranteed', 'Burstable'] as const)(
    'because its own limit holds it back, costs offline work nothing: a %s one',
    (qos) => {
      onNode({ dialect: 'v2', lsMilli: 500, pods: [BE, { uid: 'ls', qos, requestsMilli: 1000 }], keep: 50 }, (sim, watch) => {
        const group = sim.kernel.groups.get(qos === 'Guaranteed' ? '/kubepods/podls' : '/kubepods/burstable/podls')
        if (group === undefined) throw new Error('no group')
        const { quota } = group.knobs
        group.knobs.quota = { quotaUs: micros(60_000), periodUs: micros(100_000) }
        sim.node.setDemand('ls', 1500)
        sim.run(3000)
        watch.reset()
        watch.run(60_000)
        expect(sim.node.servedMilli('ls')).toBe(600)
        expect(watch.use.withOffline - watch.use.online).toBeGreaterThan(6500 - 750 - 250 - 50)
        // And all the same it is not out of sight: offline work that gets in its way has to yield.
        group.knobs.quota = { quotaUs: micros(140_000), periodUs: micros(100_000) }
        const before = sim.rootMilli
        sim.node.interference = 0.9
        sim.run(3000)
        expect(sim.rootMilli).toBeLessThan(before * 0.6)
        group.knobs.quota = quota
      })
    },
  )
})

describe('online work that offline work keeps getting in the way of', () => {
  it('is never taken for work that waits for itself, however long that goes on', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1000, max: 3500 }), fc.double({ min: 0.3, max: 1, noNaN: true }), (lsMilli, interference) =>
        onNode({ dialect: 'v2', lsMilli, keep: 50 }, (sim, watch) => {
          sim.node.interference = interference
          sim.run(1500)
          let over = 0
          watch.run(180_000, () => {
            expect(pressure(sim)?.is).not.toBe('futile')
            if (waitsPermyriad(sim) > DEFAULTS.pressure.boundPermyriad) over += 1
          })
          expect(over / watch.beats).toBeLessThan(0.03)
        }),
      ),
      { numRuns: 3 },
    )
  })
})

describe('the run queue under v1', () => {
  it.each([12, 60, 300])('is not what %d threads of offline work fill: it gets all that the watermark leaves', (threads) => {
    onNode({ dialect: 'v1', lsMilli: 1000, pods: [BE, LS], keep: 50 }, (sim, watch) => {
      sim.node.setThreads('be', threads)
      watch.reset()
      watch.run(60_000)
      // Far above the bound of 24 waiting tasks for the larger crowds, were they counted.
      expect(sim.kernel.runnable).toBeGreaterThan(threads / 2)
      expect(watch.use.withOffline - watch.use.online).toBeGreaterThan(6500 - 1250 - 250 - 50)
      expect(pressure(sim)).toMatchObject({ is: 'quiet', source: 'run queue', permyriad: 0 })
      expect(inForce(sim)).toEqual([])
    })
  })

  it.each([12, 60, 300])(
    'still cuts beside %d threads of offline work when more online tasks wait than three for each CPU',
    (threads) => {
      const config = configOf({ suppressCpu: { watermarkPermyriad: 10_000, lowWatermarkPermyriad: 9000 } })
      onNode({ dialect: 'v1', config, lsMilli: 1000, pods: [BE, LS] }, (sim) => {
        sim.node.setThreads('be', threads)
        sim.run(1000)
        // 40 online tasks that are ready, of pods that may use few CPUs: use alone says nothing of them.
        sim.kernel.readRunnable = () => threads + 40
        sim.run(1500)
        expect(pressure(sim)?.is).toBe('cut')
        expect(sim.rootMilli).toBeLessThan(1000)
      })
    },
  )

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
