/**
 * Suppression as a closed loop in virtual time, under both dialects: how fast offline work yields, how it comes back, that it does not
 * flap, and that the agent's own restarts and the death of pods do not disturb any of it.
 */
import * as fc from 'fast-check'
import { describe, expect, it, vi } from 'vitest'
import type { Dialect } from '../../src/model/index.ts'
import { isSuccess, quotaOf } from '../../src/model/index.ts'
import { configOf, DEFAULTS } from '../support/config.ts'
import { withDirectory } from '../support/journaled-node.ts'
import { type PodLiteral, specOf, topologyOf } from '../support/snapshots.ts'
import { SimulatedAgent } from '../support/simulated-agent.ts'
import { textOf } from '../support/trees.ts'

// Whole lives: some seconds each, and many times that on a machine that is busy.
vi.setConfig({ testTimeout: 120_000 })

const BE: PodLiteral = { uid: 'be', asks: { 'be-cpu': 60 } }
const OT: PodLiteral = { uid: 'ot', asks: { 'ot-cpu': 40 } }
const LS: PodLiteral = { uid: 'ls', qos: 'Burstable', requestsMilli: 4000 }
/** 8 CPUs: what offline work may fill the node up to, less the margin. */
const WATERMARK_MILLI = 5000

/** A node that has been quiet long enough for offline work to have all there is: LS uses 1000. */
function settled(dialect: Dialect, body: (sim: SimulatedAgent) => void, pods: readonly PodLiteral[] = [BE, LS]): void {
  withDirectory((directory) => {
    const sim = new SimulatedAgent({ dialect, directory, config: DEFAULTS })
    for (const pod of pods) sim.node.addPod(specOf(pod))
    sim.node.setDemand('be', 8000)
    sim.node.setDemand('ot', 8000)
    sim.node.setDemand('ls', 1000)
    sim.run(20_000)
    body(sim)
    expect(sim.failures).toEqual([])
    expect(sim.records.flatMap(({ results }) => results.filter(({ outcome }) => !isSuccess(outcome)))).toEqual([])
    sim.end()
  })
}

const usedMilli = (sim: SimulatedAgent): number => ['be', 'ot', 'ls'].reduce((sum, uid) => sum + sim.node.servedMilli(uid), 0)

describe.each(['v1', 'v2'] as const)('suppression under %s', (dialect) => {
  it('lets offline work fill the node up to the watermark', () => {
    settled(dialect, (sim) => {
      expect(sim.node.servedMilli('be')).toBeGreaterThan(3800)
      expect(usedMilli(sim)).toBeLessThanOrEqual(WATERMARK_MILLI + 1)
    })
  })

  it('shrinks the allowance within one hot tick of a spike, and is below the watermark again within 200 ms', () => {
    settled(dialect, (sim) => {
      const before = sim.rootMilli
      sim.node.setDemand('ls', 4000)
      sim.run(DEFAULTS.loop.hotMs)
      expect(sim.rootMilli).toBeLessThan(before)
      sim.run(200 - DEFAULTS.loop.hotMs)
      expect(sim.node.servedMilli('ls')).toBe(4000)
      expect(usedMilli(sim)).toBeLessThanOrEqual(WATERMARK_MILLI + 1)
      expect(sim.rootMilli).toBeCloseTo(1000, -1)
    })
  })

  it('keeps offline work at its floor, not at nothing, while online work takes the whole node', () => {
    settled(dialect, (sim) => {
      sim.node.setDemand('ls', 8000)
      sim.run(3000)
      expect(sim.rootMilli).toBe(160)
      expect(sim.node.servedMilli('ls')).toBe(8000)
    })
  })

  it('writes nothing for the jitter of online use while offline work rests, and has all back for it when it works again (I84)', () => {
    settled(
      dialect,
      (sim) => {
        sim.node.setDemand('be', 0)
        sim.node.setDemand('ot', 0)
        const jitter = (nowMs: number): void => sim.node.setDemand('ls', 1000 + ((Math.floor(nowMs / 400) * 7) % 11) * 30)
        sim.run(10_000, jitter)
        const ticks = sim.records.length
        sim.run(60_000, jitter)
        expect(sim.records.slice(ticks).flatMap(({ plan }) => plan)).toEqual([])
        sim.node.setDemand('ls', 1000)
        sim.node.setDemand('be', 8000)
        sim.run(5000)
        expect(usedMilli(sim)).toBeGreaterThan(WATERMARK_MILLI - 100)
      },
      [BE, OT, LS],
    )
  })

  it('gives the room back in steps, the last one included', () => {
    settled(dialect, (sim) => {
      sim.node.setDemand('ls', 4500)
      sim.run(2000)
      sim.node.setDemand('ls', 1000)
      const levels = new Set<number>()
      sim.run(12_000, () => levels.add(sim.allowanceMilli))
      const steps = [...levels]
      for (const [index, level] of steps.entries()) expect(level - (steps[index - 1] ?? level)).toBeLessThanOrEqual(800)
      expect(steps).toEqual([...steps].sort((a, b) => a - b))
      expect(steps.at(-1)).toBeGreaterThanOrEqual(4000 - 80)
    })
  })

  it('squeezes OT to its floor before BE loses anything (I8)', () => {
    settled(
      dialect,
      (sim) => {
        sim.node.setDemand('be', 2000)
        sim.run(20_000)
        expect(sim.node.servedMilli('ot')).toBeGreaterThan(1000)
        sim.node.setDemand('ls', 2500)
        sim.run(3000)
        expect(sim.node.servedMilli('be')).toBeGreaterThanOrEqual(1999)
        expect(sim.node.servedMilli('ot')).toBeLessThanOrEqual(510)
        sim.node.setDemand('ls', 4000)
        sim.run(3000)
        expect(sim.node.servedMilli('ot')).toBeLessThanOrEqual(80)
        expect(sim.node.servedMilli('be')).toBeGreaterThanOrEqual(900)
      },
      [BE, OT, LS],
    )
  })

  it('does not flap under noise: direction changes of the allowance are bounded by the dwell time', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1500, max: 2500 }), { minLength: 40, maxLength: 40 }), (noise) => {
        settled(dialect, (sim) => {
          const levels: number[] = []
          sim.run(20_000, (nowMs) => {
            sim.node.setDemand('ls', noise[Math.floor(nowMs / 75) % noise.length] ?? 2000)
            levels.push(sim.allowanceMilli)
          })
          const moves = levels.map((level, index) => Math.sign(level - (levels[index - 1] ?? level))).filter((move) => move !== 0)
          const turns = moves.filter((move, index) => index > 0 && move !== moves[index - 1]).length
          // It can turn up once a dwell time at most, and down after that once.
          expect(turns).toBeLessThanOrEqual(40)
          expect(Math.max(...levels.slice(200)) - Math.min(...levels.slice(200))).toBeLessThanOrEqual(1100)
        })
      }),
      { numRuns: 5 },
    )
  })

  it('leaves everything in force over a restart, in the calm and in the heat', () => {
    settled(
      dialect,
      (sim) => {
        for (const demand of [1000, 4000]) {
          sim.node.setDemand('ls', demand)
          sim.run(5000)
          const before = sim.rootMilli
          sim.restart()
          sim.run(3000, () => expect(sim.rootMilli).toBeLessThanOrEqual(before + 1))
          expect(sim.rootMilli).toBeGreaterThanOrEqual(before * 0.9)
        }
      },
      [BE, OT, LS],
    )
  })

  it('takes pods that come and go in its stride, and releases the node as it was (I14)', () => {
    withDirectory((directory) => {
      const placed = configOf({ placement: { reservedCpus: '0', lsSharePermyriad: 5000 } })
      const sim = new SimulatedAgent({ dialect, directory, config: placed })
      for (const pod of [BE, OT, LS]) sim.node.addPod(specOf(pod))
      const before = textOf(sim.kernel)
      for (let round = 0; round < 8; round += 1) {
        const uid = `extra${round}`
        sim.node.addPod(specOf({ uid, asks: { [round % 2 === 0 ? 'be-cpu' : 'ot-cpu']: 5 }, containers: ['a', 'b'] }))
        sim.node.setDemand(uid, 1000)
        sim.node.setDemand('ls', round * 700)
        sim.run(2500)
        sim.node.removePod(`extra${round - 1}`)
        sim.run(500)
        if (round === 4) sim.restart()
      }
      sim.node.removePod('extra7')
      const report = sim.release()
      expect(report?.failed).toEqual([])
      expect(report?.foreign).toEqual([])
      expect(textOf(sim.kernel)).toEqual(before)
      expect(sim.failures).toEqual([])
      expect(sim.records.flatMap(({ results }) => results.filter(({ outcome }) => !isSuccess(outcome)))).toEqual([])
      sim.end()
    })
  })
})

/** Half of the CPUs go, all of the dedicated ones among them. */
function unplug(dialect: Dialect): void {
  withDirectory((directory) => {
    const config = configOf({ placement: { dedicatedCpus: '4-7', lsSharePermyriad: 1 } })
    const sim = new SimulatedAgent({ dialect, directory, config })
    for (const pod of [BE, OT, LS]) sim.node.addPod(specOf(pod))
    sim.run(5000)
    const cpusOf = (uid: string): string | undefined =>
      sim.kernel.groups.get(`/kubepods/besteffort/pod${uid}`)?.knobs.cpuset.toString()
    expect(cpusOf('be')).toBe('3-7')
    sim.kernel.hotplug(topologyOf('smtOff'))
    sim.run(5000)
    expect(cpusOf('be')).toBe('3')
    expect(sim.allowanceMilli).toBeLessThanOrEqual(1000)
    expect(sim.failures).toEqual([])
    expect(sim.records.flatMap(({ results }) => results.filter(({ outcome }) => !isSuccess(outcome)))).toEqual([])
    sim.end()
  })
}

describe('CPUs that are unplugged', () => {
  it('are followed with no refused write under v2', () => unplug('v2'))

  it('are followed with no refused write under v1', () => unplug('v1'))
})

/** A pod group below the offline root that no source tells of, with a quota of its own on one of its groups. */
function addStranger(sim: SimulatedAgent, withQuota: 'pod' | 'container'): string {
  const group = '/kubepods/besteffort/podstranger'
  const pod = sim.kernel.makeGroup(group)
  const container = sim.kernel.makeGroup(`${group}/main`)
  const { knobs } = withQuota === 'pod' ? pod : container
  knobs.quota = quotaOf(3000)
  return group
}

describe('a pod that no source lists', () => {
  it.each(['v1', 'v2'] as const)('does not keep the root from being suppressed under %s', (dialect) => {
    settled(dialect, (sim) => {
      addStranger(sim, 'pod')
      sim.run(2000)
      sim.node.setDemand('ls', 4000)
      sim.run(3000)
      expect(sim.rootMilli).toBeLessThanOrEqual(1001)
    })
  })

  it('gets its own quota back when there is room again, under v1', () => {
    settled('v1', (sim) => {
      const group = addStranger(sim, 'pod')
      sim.run(2000)
      sim.node.setDemand('ls', 4000)
      sim.run(3000)
      sim.node.setDemand('ls', 0)
      sim.run(20_000)
      expect(sim.kernel.readKnob(group, 'quota')).toEqual(quotaOf(3000))
    })
  })

  it('does not keep the root from being suppressed by a quota of its container, under v1', () => {
    settled('v1', (sim) => {
      addStranger(sim, 'container')
      sim.run(2000)
      sim.node.setDemand('ls', 4000)
      sim.run(3000)
      expect(sim.rootMilli).toBeLessThanOrEqual(1001)
    })
  })
})
