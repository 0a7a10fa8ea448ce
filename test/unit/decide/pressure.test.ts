/**
 * The pressure guard tick by tick: cuts, holds, futility, silence, and kernels whose groups count no stalls. The node has 8 CPUs and uses
 * little, so that the watermark alone would leave offline work 4000m.
 */
import { describe, expect, it } from 'vitest'
import { decide, EMPTY_MEMORY, type Memory } from '../../../src/decide/index.ts'
import { guardPressure, type PressureMemory } from '../../../src/decide/suppress/pressure.ts'
import type { Decision } from '../../../src/model/index.ts'
import { configOf, DEFAULTS } from '../../support/config.ts'
import { type PodLiteral, snapshotOf, type SnapshotLiteral } from '../../support/snapshots.ts'

const QUIET = { nodeMilli: 3000, offlineMilli: 2000, cpuPressurePermyriad: 0 } as const
const waiting = (nowMs: number, cpuPressurePermyriad: number | null, more: SnapshotLiteral = {}): SnapshotLiteral => ({
  ...QUIET,
  nowMs,
  cpuPressurePermyriad,
  ...more,
})

/** Ticks after the agent has gathered readings of a quiet node for long enough to allow 4000m at time 0. */
function ticks(literals: readonly SnapshotLiteral[], config = DEFAULTS): Decision[] {
  let memory: Memory = EMPTY_MEMORY
  for (const nowMs of [-5000, 0]) ({ memory } = decide(snapshotOf({ ...QUIET, nowMs }), memory, config))
  return literals.map((literal) => {
    const { decision, memory: after } = decide(snapshotOf(literal), memory, config)
    memory = after
    return decision
  })
}

const allowances = (all: readonly Decision[]): unknown[] => all.map(({ suppression }) => suppression?.allowanceMilli)
const states = (all: readonly Decision[]): unknown[] => all.map(({ suppression }) => suppression?.pressure?.is)
const bounds = (all: readonly Decision[]): unknown[] => all.map(({ suppression }) => suppression?.bound)
/** Every `everyMs` from `fromMs` on. */
const every = (everyMs: number, count: number, at: (nowMs: number) => SnapshotLiteral, fromMs = 0): SnapshotLiteral[] =>
  Array.from({ length: count }, (_, index) => at(fromMs + index * everyMs))

describe('the pressure guard', () => {
  it('cuts the allowance while online work waits, though the node uses little, once in cutMs', () => {
    const all = ticks(every(50, 9, (nowMs) => waiting(nowMs, 2500), 50))
    expect(allowances(all)).toEqual([2800, 2800, 2800, 2800, 1960, 1960, 1960, 1960, 1372])
    expect(new Set(states(all))).toEqual(new Set(['cut']))
    expect(new Set(bounds(all))).toEqual(new Set(['pressure']))
  })

  it('cuts above the bound, not at it', () => {
    expect(allowances(ticks([waiting(50, 2000)]))).toEqual([4000])
    expect(allowances(ticks([waiting(50, 2001)]))).toEqual([2800])
  })

  it('cuts down to the floor and no further', () => {
    const all = ticks(every(200, 30, (nowMs) => waiting(nowMs, 10_000), 50))
    expect(allowances(all).at(-1)).toBe(160)
    expect(Math.min(...(allowances(all) as number[]))).toBe(160)
  })

  it('stops growth between exit and bound, and lets it go on in steps below', () => {
    const all = ticks([waiting(50, 2500), waiting(2000, 1500), waiting(9000, 1000), waiting(9050, 999), waiting(10_050, 999)])
    expect(allowances(all)).toEqual([2800, 2800, 2800, 3600, 4000])
    expect(states(all)).toEqual(['cut', 'hold', 'hold', 'quiet', 'quiet'])
    expect(bounds(all)).toEqual(['pressure', 'pressureHold', 'pressureHold', 'growth', 'watermark'])
  })

  it('leaves a shrink to the watermark alone: it may go below a cut', () => {
    const all = ticks([waiting(50, 2500, { nodeMilli: 6000 }), waiting(100, 1500, { nodeMilli: 6500 })])
    expect(allowances(all)).toEqual([1000, 500])
    expect(bounds(all)).toEqual(['watermark', 'watermark'])
  })

  it('does not cut while offline work uses next to nothing, but stops growth', () => {
    const idle = { nodeMilli: 1160, offlineMilli: 160 }
    const all = ticks([waiting(50, 9000, idle), waiting(1000, 9000, idle), waiting(2000, 9000, { ...idle, offlineMilli: 161 })])
    expect(allowances(all)).toEqual([4000, 4000, 2800])
    expect(states(all)).toEqual(['hold', 'hold', 'cut'])
  })

  it('squeezes OT before BE', () => {
    const pods = [
      { uid: 'be', asks: { 'be-cpu': 20 }, usesMilli: 600 },
      { uid: 'ot', asks: { 'ot-cpu': 20 }, usesMilli: 400 },
    ]
    const [before, after] = ticks([waiting(50, 0, { pods }), waiting(100, 2500, { pods })])
    expect(before?.suppression).toMatchObject({ allowanceMilli: 4000, beDemandMilli: 1000, otAllowanceMilli: 4000 - 1000 })
    expect(after?.suppression).toMatchObject({ allowanceMilli: 2800, beDemandMilli: 1000, otAllowanceMilli: 1800 })
  })

  it('lets OT grow into nothing that BE gives up while online work waits', () => {
    const pods = (usesMilli: number): readonly PodLiteral[] => [
      { uid: 'be', asks: { 'be-cpu': 20 }, usesMilli },
      { uid: 'ot', asks: { 'ot-cpu': 20 }, usesMilli: 400 },
    ]
    const all = ticks([
      waiting(50, 0, { pods: pods(1000) }),
      waiting(5000, 1500, { pods: pods(0) }),
      waiting(6000, 0, { pods: pods(0) }),
    ])
    expect(all.map(({ suppression }) => suppression?.otAllowanceMilli)).toEqual([2600, 2600, 3400])
  })

  it('calls the node hot above the exit, so that it is looked at often', () => {
    expect(ticks([waiting(50, 999), waiting(100, 1000)]).map(({ suppression }) => suppression?.hot)).toEqual([false, true])
  })

  it('takes no notice of the pressure of the whole node, which counts throttled offline tasks (I36)', () => {
    const [all] = ticks([waiting(50, null)])
    const snapshot = snapshotOf(waiting(50, null))
    const stalled = {
      ...snapshot,
      node: { ...snapshot.node, cpuPressure: { value: { someUsPerSecond: 1e6 }, atMs: 50, source: 'test' } },
    }
    const { memory } = decide(snapshotOf({ ...QUIET, nowMs: -5000 }), EMPTY_MEMORY, DEFAULTS)
    expect(decide(stalled, memory, DEFAULTS).decision.suppression?.allowanceMilli).toBe(all?.suppression?.allowanceMilli)
  })

  it('says nothing when it is switched off, or nothing can be read', () => {
    const off = configOf({ pressure: { enabled: false } })
    expect(states(ticks([waiting(50, 9000)], off))).toEqual([undefined])
    expect(allowances(ticks([waiting(50, 9000)], off))).toEqual([4000])
    const { decision } = decide(snapshotOf({ nowMs: 0, nodeMilli: 2000 }), EMPTY_MEMORY, DEFAULTS)
    expect(decision.suppression?.pressure).toBeUndefined()
  })
})

describe('the pressure guard without readings', () => {
  it('neither cuts nor lets the allowance grow, keeps its source, and says so', () => {
    const all = ticks([waiting(50, 2500), waiting(2100, 9000, { pressureAgeMs: 2001 }), waiting(9000, null), waiting(9050, 0)])
    expect(allowances(all)).toEqual([2800, 2800, 2800, 3600])
    expect(states(all)).toEqual(['cut', 'hold', 'hold', 'quiet'])
    expect(all[1]?.suppression?.pressure).toMatchObject({ source: 'online groups', permyriad: 2500 })
    const silent = all.map(({ abstentions }) => abstentions.some(({ code, rule }) => code === 'silent' && rule === 'suppressCpu'))
    expect(silent).toEqual([false, true, true, false])
  })

  it.each([Number.NaN, Infinity])('takes a reading of %d for none', (permyriad) => {
    const all = ticks([waiting(50, 2500), waiting(5000, permyriad)])
    expect([allowances(all), states(all)]).toEqual([
      [2800, 2800],
      ['cut', 'hold'],
    ])
  })

  it('takes a counter that ran backwards for no waiting', () => {
    expect(states(ticks([waiting(50, -100)]))).toEqual(['quiet'])
  })

  it('cuts also while the use of the node can not be read', () => {
    const blind = { nodeMilli: null, offlineMilli: null }
    const all = ticks([waiting(50, 2500, blind), waiting(100, 0, blind), waiting(250, 2500, blind)])
    expect(allowances(all)).toEqual([2800, 2800, 1960])
    expect(bounds(all)).toEqual(['pressure', 'stale', 'pressure'])
  })
})

describe('futility', () => {
  const config = configOf({ pressure: { futileMs: 5000 }, cpuNarrow: { enabled: false } })
  /** At the floor from 200 ms × 10 on. */
  const pressed = every(200, 60, (nowMs) => waiting(nowMs, 2500), 50)

  it('stands aside once offline work has been at its floor for futileMs without relief, and lets it grow', () => {
    const all = ticks(pressed, config)
    const first = states(all).indexOf('futile')
    const floored = allowances(all).indexOf(160)
    const at = (index: number): number => pressed[index]?.nowMs ?? Number.NaN
    // The tick after the one that reached the floor is the first that finds it there.
    expect(at(first) - at(floored + 1)).toBe(5000)
    expect(allowances(all)[first]).toBe(960)
    expect(new Set(states(all).slice(first))).toEqual(new Set(['futile']))
    expect(allowances(all).at(-1)).toBe(4000)
    expect(all.at(-1)?.suppression?.hot).toBe(false)
  })

  it('outlasts a dip: what waits no longer than at the floor is tolerated, and relief takes that back in four times its time', () => {
    // 5000 ms of proof are gone after 20,000 ms of relief: then it cuts as ever.
    const dip = (nowMs: number): SnapshotLiteral => waiting(nowMs, 999)
    const all = ticks([...pressed, waiting(12_000, 2500), dip(12_050), waiting(12_100, 2500)], config)
    expect(states(all).slice(-3)).toEqual(['futile', 'quiet', 'futile'])
    expect(allowances(all).slice(-1)).toEqual([4000])
    const later = ticks([...pressed, ...every(1000, 20, dip, 12_000), waiting(32_000, 2500)], config)
    expect(states(later).slice(-2)).toEqual(['quiet', 'cut'])
  })

  it('is no leave to get in the way: what waits for longer than at the floor by more than the bound has the allowance cut', () => {
    const all = ticks([...pressed, waiting(12_000, 4500), waiting(12_050, 4501)], config)
    expect(states(all).slice(-2)).toEqual(['futile', 'cut'])
    expect(allowances(all).slice(-2)).toEqual([4000, 2800])
    // Half of the proof tolerates half of the waiting: 1250 and the bound.
    const half = [...every(1000, 11, (nowMs) => waiting(nowMs, 0), 12_000), waiting(22_050, 3200), waiting(22_100, 3300)]
    expect(states(ticks([...pressed, ...half], config)).slice(-2)).toEqual(['futile', 'cut'])
  })

  it('is not proved by what one source waited for another, which counts in other units', () => {
    const queue = waiting(12_000, null, { runnable: 100 })
    expect(states(ticks([...pressed, queue], config)).slice(-2)).toEqual(['futile', 'cut'])
  })

  describe('at the floor', () => {
    const guarded = { previousMilli: 160, leastMilli: 160, floorMilli: 160, offlineMilli: 500 }
    const seen = (...readings: readonly (readonly [number, number | null])[]): unknown[] => {
      let memory: PressureMemory | undefined
      return readings.map(([nowMs, permyriad]) => {
        const guard = guardPressure(snapshotOf(waiting(nowMs, permyriad)), memory, guarded, config)
        ;({ memory } = guard)
        return guard.state?.is
      })
    }

    it('is proved by waiting of futileMs without a break', () => {
      expect(seen([0, 1500], [4999, 1500], [5000, 1500])).toEqual(['hold', 'hold', 'futile'])
    })

    it('adds up over relief, of which it loses a quarter: 3 s of waiting and 2 s without, and it is proved with the second', () => {
      const phases = [0, 1, 2].flatMap((phase) => [
        ...every(100, 31, (nowMs) => ({ nowMs, cpuPressurePermyriad: 1500 }), phase * 5000),
        ...every(100, 19, (nowMs) => ({ nowMs, cpuPressurePermyriad: 0 }), phase * 5000 + 3100),
      ])
      const all = seen(...phases.map(({ nowMs = 0, cpuPressurePermyriad = 0 }) => [nowMs, cpuPressurePermyriad] as const))
      const first = all.indexOf('futile')
      // 3000 − 500 + 2500.
      expect(phases[first]?.nowMs).toBe(7500)
    })

    it('is not proved by waits that relief ends at once: it was the floor that helped', () => {
      const phases = Array.from({ length: 60 }, (_, phase) => phase * 1000).flatMap((atMs) => [
        ...every(100, 9, (nowMs) => ({ nowMs, cpuPressurePermyriad: 3000 }), atMs),
        { nowMs: atMs + 900, cpuPressurePermyriad: 0 },
      ])
      const all = seen(...phases.map(({ nowMs = 0, cpuPressurePermyriad = 0 }) => [nowMs, cpuPressurePermyriad] as const))
      expect(all).not.toContain('futile')
      expect(new Set(all)).toEqual(new Set(['hold', 'quiet']))
    })

    it('is not proved by silence, nor does silence take the proof back', () => {
      expect(seen([0, 1500], [4999, null], [5000, 1500], [10_000, 1500])).toEqual(['hold', 'hold', 'hold', 'futile'])
      expect(seen([0, 1500], [4000, 1500], [4050, null], [60_000, 0], [60_100, 1500], [61_150, 1500]).at(-1)).toBe('futile')
    })
  })
})

describe('holding between exit and bound', () => {
  const config = configOf({ pressure: { futileMs: 5000 } })
  const grown = (all: readonly Decision[], index: number): number => Number(allowances(all)[index])

  it('ends after futileMs without relief: what waits so little is not kept waiting by an allowance that stands still', () => {
    const all = ticks([waiting(50, 2500), ...every(500, 13, (nowMs) => waiting(nowMs, 1500), 500)], config)
    expect(states(all).slice(0, 11)).toEqual(['cut', ...Array.from({ length: 10 }, () => 'hold')])
    expect(allowances(all).slice(0, 11)).toEqual(Array.from({ length: 11 }, () => 2800))
    expect(states(all).slice(11)).toEqual(['quiet', 'quiet', 'quiet'])
    expect([grown(all, 11), grown(all, 13)]).toEqual([3600, 4000])
    expect(all.at(-1)?.suppression?.hot).toBe(false)
  })

  it('begins anew once online work has waited for longer than the bound, which cuts as ever', () => {
    const held = every(500, 12, (nowMs) => waiting(nowMs, 1500), 500)
    const all = ticks([waiting(50, 2500), ...held, waiting(6500, 2001), waiting(7000, 1500), waiting(11_999, 1500)], config)
    expect(states(all).slice(-4)).toEqual(['quiet', 'cut', 'hold', 'hold'])
    expect(allowances(all).slice(-3)).toEqual([2520, 2520, 2520])
  })

  it('begins anew after silence and after relief', () => {
    const all = ticks(
      [waiting(50, 1500), waiting(4000, null), waiting(5050, 1500), waiting(10_049, 1500), waiting(10_050, 1500)],
      config,
    )
    expect(states(all)).toEqual(['hold', 'hold', 'hold', 'hold', 'quiet'])
    const relieved = ticks([waiting(50, 1500), waiting(4000, 500), waiting(5050, 1500), waiting(10_049, 1500)], config)
    expect(states(relieved)).toEqual(['hold', 'quiet', 'hold', 'hold'])
  })

  it('does not last for ever where groups count no stalls', () => {
    // Two tasks for every CPU wait: two thirds of the bound, and more than the exit.
    const queue = (nowMs: number): SnapshotLiteral => waiting(nowMs, null, { runnable: 24 })
    const all = ticks(every(1000, 60, queue, 1000).map((one, index) => (index === 0 ? { ...one, nodeMilli: 5000 } : one)))
    expect([allowances(all)[0], allowances(all).at(-1)]).toEqual([2000, 4000])
  })
})

describe('the run queue, where groups count no stalls', () => {
  const queue = (nowMs: number, runnable: number): SnapshotLiteral => waiting(nowMs, null, { runnable })

  it('counts tasks that wait, per CPU: those beyond one for each', () => {
    const told = ticks([queue(50, 3), queue(100, 8), queue(150, 20), queue(200, 33)]).map(
      ({ suppression }) => suppression?.pressure,
    )
    expect(told.map((state) => state?.permyriad)).toEqual([0, 0, 15_000, 31_250])
    expect(told.map((state) => state?.is)).toEqual(['quiet', 'quiet', 'hold', 'cut'])
    expect(told[0]).toMatchObject({ source: 'run queue', boundPermyriad: 30_000 })
  })

  it('takes every task of offline work for one of them: only what is left can be online work that waits', () => {
    const beside = (offlineTasks: number | null): unknown =>
      ticks([waiting(50, null, { runnable: 300, offlineTasks })])[0]?.suppression?.pressure
    expect(beside(300)).toMatchObject({ permyriad: 0, is: 'quiet' })
    expect(beside(268)).toMatchObject({ permyriad: 30_000, is: 'hold' })
    expect(beside(267)).toMatchObject({ permyriad: 31_250, is: 'cut' })
    // 1000 tasks, most of them asleep: the queue is anybody's.
    expect(beside(1000)).toMatchObject({ permyriad: 0, is: 'quiet' })
  })

  it('says nothing where those can not be counted, and then it is silent if it spoke before', () => {
    const uncounted = (nowMs: number): SnapshotLiteral => waiting(nowMs, null, { runnable: 300, offlineTasks: null })
    const { decision } = decide(snapshotOf(uncounted(50)), EMPTY_MEMORY, DEFAULTS)
    expect(decision.suppression?.pressure).toBeUndefined()
    const all = ticks([waiting(50, null, { runnable: 41 }), uncounted(300)])
    expect([states(all), allowances(all)]).toEqual([
      ['cut', 'hold'],
      [2800, 2800],
    ])
  })

  it('gives way to the stalls of groups where there are any', () => {
    const [only] = ticks([waiting(50, 100, { runnable: 500 })])
    expect(only?.suppression?.pressure).toMatchObject({ source: 'online groups', permyriad: 100, is: 'quiet' })
  })
})
