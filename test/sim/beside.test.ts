/**
 * Online pods that live where offline ones do, below the best-effort root (untagged, a daemon without requests), in a closed loop: they get what
 * they want as soon as they want it, BE and OT have no more than their allowance meanwhile, little of that is lost, and all of it goes back.
 */
import { describe, expect, it, vi } from 'vitest'
import type { KnobKind, PodList } from '../../src/model/index.ts'
import { isQuota, quotaMilliCpu } from '../../src/model/index.ts'
import { configOf } from '../support/config.ts'
import { BE, CAPACITY_MILLI, DIALECTS, FLOOR_MILLI, LS, onNode, OT, SETTLE_MS } from '../support/closed-loop.ts'
import type { SimulatedAgent } from '../support/simulated-agent.ts'
import { OFFLINE_ROOT, type PodLiteral, specOf } from '../support/snapshots.ts'

// Whole lives: some seconds each, and many times that on a machine that is busy.
vi.setConfig({ testTimeout: 120_000 })

const LOG: PodLiteral = { uid: 'log', qos: 'BestEffort' }
const groupOf = (uid: string): string => `${OFFLINE_ROOT}/pod${uid}`

const servedMilli = (sim: SimulatedAgent, uids: readonly string[]): number =>
  uids.reduce((sum, uid) => sum + sim.node.servedMilli(uid), 0)

function quotaMilli(sim: SimulatedAgent, uid: string): number {
  const quota = sim.kernel.readKnob(groupOf(uid), 'quota')
  return isQuota(quota) ? quotaMilliCpu(quota) : Number.NaN
}

/** Runs on; on every step BE and OT used no more than what was decided before it allowed them. */
function within(sim: SimulatedAgent, ms: number, onBeat: () => void = () => undefined): void {
  let allowedMilli = Infinity
  sim.run(ms, () => {
    expect(servedMilli(sim, ['be', 'ot', 'be2'])).toBeLessThanOrEqual(allowedMilli + 1)
    if (!Number.isNaN(sim.allowanceMilli)) allowedMilli = sim.allowanceMilli
    onBeat()
  })
}

describe.each(DIALECTS)('an online pod beside offline ones, under %s,', (dialect) => {
  it.each([
    { lsMilli: 4000, wantsMilli: 500, offline: [BE] },
    { lsMilli: 4000, wantsMilli: 5, offline: [BE, OT] },
    { lsMilli: 2000, wantsMilli: 2500, offline: [BE, OT] },
    { lsMilli: 6000, wantsMilli: 1500, offline: [BE, OT] },
    { lsMilli: 6000, wantsMilli: 2000, offline: [BE, OT] },
  ])(
    'gets the $wantsMilli m that it wants within 200 ms beside LS of $lsMilli m, and BE and OT stay within their allowance',
    ({ lsMilli, wantsMilli, offline }) => {
      onNode({ dialect, lsMilli, pods: [...offline, LS, LOG], keep: 50 }, (sim) => {
        sim.node.setDemand('log', 0)
        within(sim, 3000)
        sim.node.setDemand('log', wantsMilli)
        within(sim, SETTLE_MS)
        // On a node that is full to the last CPU, BE still has its part by weight of what is left to the root.
        const leastMilli = lsMilli + wantsMilli < CAPACITY_MILLI ? wantsMilli - 1 : wantsMilli * 0.96
        const getsIt = (): void => expect(sim.node.servedMilli('log')).toBeGreaterThan(leastMilli)
        getsIt()
        within(sim, 20_000, getsIt)
        // Two calm ticks after it began, its use is known, and offline work has made way for it up to the watermark.
        const leftMilli = Math.max(FLOOR_MILLI, 5000 - lsMilli - wantsMilli)
        expect(sim.allowanceMilli).toBeLessThanOrEqual(leftMilli + 1)
        if (lsMilli + wantsMilli < CAPACITY_MILLI) expect(servedMilli(sim, ['be', 'ot'])).toBeGreaterThanOrEqual(leftMilli - 81)
      })
    },
  )

  it('is not held back, nor lets BE have more, where identity is switched off', () => {
    const config = configOf({ identity: { enabled: false } })
    onNode({ dialect, config, lsMilli: 4000, pods: [BE, LS, LOG], keep: 50 }, (sim) => {
      sim.node.setDemand('log', 700)
      within(sim, 10_000)
      expect(sim.node.servedMilli('log')).toBeGreaterThan(699)
      expect(sim.kernel.readKnob(groupOf('log'), 'weight')).toBe(dialect === 'v1' ? 2 : 1)
    })
  })

  it('leaves BE and OT what the allowance is, and they what each of them wants: little of it is lost', () => {
    const be2: PodLiteral = { uid: 'be2', asks: { 'be-cpu': 80 } }
    onNode({ dialect, lsMilli: 2000, pods: [BE, be2, OT, LS, LOG], keep: 50 }, (sim) => {
      sim.node.setDemand('log', 100)
      sim.node.setDemand('be', 300)
      within(sim, 10_000)
      expect(sim.node.servedMilli('be')).toBe(300)
      // What the lazy one is left with beyond its use, and the floor of OT.
      expect(servedMilli(sim, ['be', 'be2', 'ot'])).toBeGreaterThan(sim.allowanceMilli * 0.95)
      sim.node.setDemand('be', CAPACITY_MILLI)
      within(sim, 3000)
      expect(Math.abs(sim.node.servedMilli('be') - sim.node.servedMilli('be2'))).toBeLessThanOrEqual(1)
      sim.node.setDemand('be', 0)
      sim.node.setDemand('be2', 0)
      within(sim, 15_000)
      expect(sim.node.servedMilli('ot')).toBeGreaterThan(sim.allowanceMilli - 400 - 81)
    })
  })

  it('costs no writes while nothing changes', () => {
    onNode({ dialect, lsMilli: 2000, pods: [BE, OT, LS, LOG] }, (sim) => {
      sim.node.setDemand('log', 300)
      within(sim, 15_000)
      const ticks = sim.records.length
      within(sim, 10_000)
      expect(sim.records.slice(ticks).flatMap(({ plan }) => plan)).toEqual([])
    })
  })

  it('is first there when it comes, the root is narrow again when it has gone, and no kernel refuses a write on the way', () => {
    onNode({ dialect, lsMilli: 4000, pods: [BE, OT, LS] }, (sim) => {
      expect(sim.rootMilli).toBeLessThanOrEqual(1001)
      for (let round = 0; round < 3; round += 1) {
        const uid = `cron${round}`
        sim.node.addPod(specOf({ ...LOG, uid }))
        sim.node.setDemand(uid, 1500)
        within(sim, SETTLE_MS)
        expect(sim.node.servedMilli(uid)).toBeGreaterThan(1499)
        expect(sim.rootMilli).toBeGreaterThan(CAPACITY_MILLI)
        within(sim, 3000)
        sim.node.removePod(uid)
        within(sim, 1500)
        expect(sim.rootMilli).toBe(sim.allowanceMilli)
        expect(quotaMilli(sim, 'be')).toBe(dialect === 'v1' ? sim.rootMilli : CAPACITY_MILLI)
      }
    })
  })

  it('keeps what it has over a restart, the pods unread or not, and the allowance stands as it was', () => {
    let blind = false
    const told = (list: PodList): PodList => (blind ? { ...list, pods: [], everRead: false, revision: -1 } : list)
    onNode({ dialect, lsMilli: 4000, pods: [BE, OT, LS, LOG], told }, (sim) => {
      sim.node.setDemand('log', 400)
      within(sim, 10_000)
      const before = sim.allowanceMilli
      for (const unread of [false, true]) {
        blind = unread
        sim.restart()
        sim.run(8000, () => {
          expect(sim.node.servedMilli('log')).toBeGreaterThan(399)
          expect(servedMilli(sim, ['be', 'ot'])).toBeLessThanOrEqual(before + 1)
        })
        if (unread) continue
        expect(Math.abs(sim.allowanceMilli - before)).toBeLessThanOrEqual(81)
      }
      blind = false
      sim.run(3000)
    })
  })

  it('has its own weight and every quota back after the release, and while it runs nothing of its own but the weight is touched', () => {
    onNode({ dialect, lsMilli: 4000, pods: [BE, OT, LS, LOG] }, (sim) => {
      sim.node.setDemand('log', 400)
      within(sim, 5000)
      const kinds = new Set<KnobKind>()
      for (const { results } of sim.records)
        for (const { step } of results) if (step.group === groupOf('log')) kinds.add(step.kind)
      expect([...kinds].filter((kind) => kind !== 'cpuset')).toEqual(['weight'])
      expect(sim.kernel.readKnob(groupOf('log'), 'weight')).toBe(dialect === 'v1' ? 262_144 : 10_000)
      expect(quotaMilli(sim, 'log')).toBe(Infinity)
    })
  })
})
