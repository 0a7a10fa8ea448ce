/**
 * The last rung of the CPU ladder as a closed loop: who goes when online work takes the node and offline work stands at its floor. Sales stop
 * first, OT goes before BE, one pod at a time; budgets, failures, a dry run and a node that nobody can evict from are all lived through.
 */
import * as fc from 'fast-check'
import { describe, expect, it, vi } from 'vitest'
import type { Config } from '../../src/config/index.ts'
import type { Dialect } from '../../src/model/index.ts'
import { configOf } from '../support/config.ts'
import { DIALECTS, LS, onNode, salesStoppedMs } from '../support/closed-loop.ts'
import { SimEvictor, type SimEvictorOptions } from '../support/sim-evictor.ts'
import type { SimulatedAgent } from '../support/simulated-agent.ts'
import type { PodLiteral } from '../support/snapshots.ts'

// Whole lives: some seconds each, and many times that on a machine that is busy.
vi.setConfig({ testTimeout: 120_000 })

const SETTINGS = {
  cpuNarrow: { enterMs: 500, exitMs: 2000, coolDownMs: 500 },
  cpuFreeze: { enabled: true, enterMs: 1000, exitMs: 2000, coolDownMs: 1000 },
  cpuEvict: { enabled: true, enterMs: 2000, exitMs: 2000, coolDownMs: 1000 },
}
const EVICT = { enabled: true, intervalMs: 3000, perHour: 4, holdMs: 5000, gracePeriodSeconds: 1 }
const PODS: readonly PodLiteral[] = [
  { uid: 'be0', asks: { 'be-cpu': 20 } },
  { uid: 'be1', asks: { 'be-cpu': 20 } },
  { uid: 'ot0', asks: { 'ot-cpu': 20 } },
  { uid: 'ot1', asks: { 'ot-cpu': 20 } },
  LS,
]

const config = (evict: Readonly<Record<string, unknown>> = {}): Config => configOf({ ...SETTINGS, evict: { ...EVICT, ...evict } })

interface Setting {
  readonly dialect: Dialect
  readonly config?: Config
  readonly evictor?: SimEvictorOptions
  readonly missing?: readonly 'freeze'[]
}

/** A node that online work has taken over. */
function takenOver(setting: Setting, body: (sim: SimulatedAgent, evictor: SimEvictor) => void): void {
  const evictor = new SimEvictor(setting.evictor)
  const { dialect, missing = [] } = setting
  onNode({ dialect, missing, config: setting.config ?? config(), evictor, pods: PODS, quietMs: 6000 }, (sim) => {
    evictor.serve(sim.node)
    sim.node.setDemand('ls', 7900)
    body(sim, evictor)
    expect(evictor.violations).toEqual([])
    expect(evictor.requests.every(({ wish }) => wish.uid !== 'ls')).toBe(true)
    expect(salesStoppedMs(sim, evictor)).toBeGreaterThanOrEqual(EVICT.holdMs)
  })
}

const ladder = (sim: SimulatedAgent) => sim.records.at(-1)?.decision.suppression?.ladder
const frozen = (sim: SimulatedAgent, uid: string): unknown =>
  sim.kernel.groups.get(`/kubepods/besteffort/pod${uid}`)?.knobs.freeze

describe.each(DIALECTS)('when online work takes the node, under %s,', (dialect) => {
  it('OT freezes, and then pods go one by one, OT first, at their pace and to their number', () => {
    takenOver({ dialect, evictor: { answerMs: 300, graceMs: 1000 } }, (sim, evictor) => {
      sim.run(6000)
      expect([frozen(sim, 'ot0'), frozen(sim, 'ot1'), frozen(sim, 'be0')]).toEqual([1, 1, 0])
      expect(sim.node.servedMilli('ot0')).toBe(0)
      expect(evictor.requests).toEqual([])
      sim.run(40_000)
      expect(evictor.answers.map(({ wish }) => wish.qosClass)).toEqual(['OT', 'OT', 'BE', 'BE'])
      const times = evictor.requests.map(({ atMs }) => atMs)
      expect(Math.min(...times.slice(1).map((at, index) => at - (times[index] ?? 0)))).toBeGreaterThanOrEqual(EVICT.intervalMs)
      expect(['be0', 'be1', 'ot0', 'ot1', 'ls'].filter((uid) => sim.node.has(uid))).toEqual(['ls'])
    })
  })

  it('what is frozen or would go stays when online work calms down in time, and runs again', () => {
    takenOver({ dialect }, (sim, evictor) => {
      sim.run(6000)
      expect(frozen(sim, 'ot0')).toBe(1)
      sim.node.setDemand('ls', 1000)
      sim.run(12_000)
      expect(ladder(sim)?.inForce).toEqual([])
      expect([frozen(sim, 'ot0'), frozen(sim, 'ot1')]).toEqual([0, 0])
      expect(evictor.requests).toEqual([])
      expect(sim.records.at(-1)?.decision.offers.some(({ because }) => because.bound === 'hold')).toBe(false)
    })
  })

  it('a dry run stops no sales, tells of each pod once, and lets all of them run', () => {
    takenOver({ dialect, config: config({ dryRunCpu: true }) }, (sim, evictor) => {
      sim.run(60_000)
      expect(evictor.requests).toEqual([])
      const told = evictor.dryRuns.map(({ wish }) => wish.uid)
      expect(new Set(told).size).toBe(told.length)
      expect(told.length).toBe(4)
      expect(sim.records.every(({ decision }) => decision.offers.every(({ because }) => because.bound !== 'hold'))).toBe(true)
      expect(PODS.every(({ uid }) => sim.node.has(uid))).toBe(true)
    })
  })

  it('without an API server it ends at freezing, and says so', () => {
    takenOver({ dialect, evictor: { impossible: 'there is no API server to ask' } }, (sim, evictor) => {
      sim.run(60_000)
      expect(evictor.requests).toEqual([])
      expect(ladder(sim)?.inForce).toEqual(['cpuNarrow', 'cpuFreeze'])
      expect(ladder(sim)?.waiting).toEqual({ rung: 'cpuEvict', for: 'impossible', detail: 'there is no API server to ask' })
      expect(PODS.every(({ uid }) => sim.node.has(uid))).toBe(true)
    })
  })

  it('a kernel that cannot freeze is no obstacle to what comes after', () => {
    takenOver({ dialect, missing: ['freeze'] }, (sim, evictor) => {
      sim.run(20_000)
      expect(ladder(sim)?.inForce).toEqual(['cpuNarrow', 'cpuEvict'])
      expect(evictor.answers.length).toBeGreaterThan(0)
    })
  })

  it('a pod that its budget keeps lets the others go first, and goes once the budget lets it', () => {
    const evictor = { answerMs: 200, graceMs: 500, blocks: (uid: string, nowMs: number) => uid === 'ot0' && nowMs < 70_000 }
    takenOver({ dialect, evictor, config: config({ perHour: 10 }) }, (sim, api) => {
      sim.run(50_000)
      expect(sim.node.has('ot0')).toBe(true)
      expect(sim.node.has('ot1')).toBe(false)
      const asked = api.requests.filter(({ wish }) => wish.uid === 'ot0').map(({ atMs }) => atMs)
      expect(asked.length).toBeGreaterThan(1)
      expect((asked[1] ?? 0) - (asked[0] ?? 0)).toBeGreaterThanOrEqual(30_000)
      sim.run(60_000)
      expect(sim.node.has('ot0')).toBe(false)
    })
  })

  it('a pod that was deleted past its budget counts as evicted: the next one waits its turn', () => {
    const evictor = { blocks: () => true, forceAfterMs: 20_000, graceMs: 2000 }
    takenOver({ dialect, evictor }, (sim, api) => {
      sim.run(120_000)
      const forced = api.answers.filter(({ is }) => is === 'forced')
      expect(forced.length).toBeGreaterThan(1)
      expect(forced[0]?.wish.qosClass).toBe('OT')
      const times = forced.map(({ atMs }) => atMs)
      expect(times.slice(1).every((at, index) => at - (times[index] ?? 0) >= EVICT.intervalMs)).toBe(true)
    })
  })

  it('pods whose budgets never let them go stay, and are not asked for more often than every 30 s each', () => {
    takenOver({ dialect, evictor: { blocks: () => true } }, (sim, api) => {
      sim.run(100_000)
      expect(PODS.every(({ uid }) => sim.node.has(uid))).toBe(true)
      expect(api.requests.length).toBeGreaterThan(4)
      for (const { uid } of PODS) {
        const times = api.requests.filter(({ wish }) => wish.uid === uid).map(({ atMs }) => atMs)
        expect(times.slice(1).every((at, index) => at - (times[index] ?? 0) >= 30_000)).toBe(true)
      }
    })
  })

  it('no server, however slow, failing or forbidding, and no restart breaks the order or the pace', () => {
    const trouble = fc.record({
      answerMs: fc.constantFrom(0, 500, 8000),
      graceMs: fc.constantFrom(0, 2000, 15_000),
      kept: fc.subarray(['be0', 'be1', 'ot0', 'ot1']),
      keptUntilMs: fc.constantFrom(20_000, 60_000),
      failing: fc.subarray([0, 1, 2, 3, 5]),
      restartMs: fc.option(fc.integer({ min: 500, max: 30_000 })),
    })
    fc.assert(
      fc.property(trouble, ({ answerMs, graceMs, kept, keptUntilMs, failing, restartMs }) => {
        const evictor: SimEvictorOptions = {
          answerMs,
          graceMs,
          blocks: (uid, nowMs) => kept.includes(uid) && nowMs < keptUntilMs,
          fails: (index) => failing.includes(index),
        }
        takenOver({ dialect, evictor }, (sim, api) => {
          if (restartMs !== null) {
            sim.run(restartMs)
            api.forget()
            sim.restart()
          }
          sim.run(60_000)
          const granted = api.answers.filter(({ is }) => is === 'evicted')
          if (restartMs === null) expect(granted.length).toBeLessThanOrEqual(EVICT.perHour)
          const times = granted.map(({ wish }) => api.requests.findLast((one) => one.wish === wish)?.atMs ?? Number.NaN)
          const gaps = times.slice(1).map((at, index) => at - (times[index] ?? 0))
          expect(gaps.every((gap) => gap >= EVICT.intervalMs)).toBe(true)
          expect(sim.node.servedMilli('ls')).toBe(7900)
        })
      }),
      { numRuns: 6 },
    )
  })
})
