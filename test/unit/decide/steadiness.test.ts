/** The detector of swinging: what counts as a change of direction, and what it makes of the dwell time. */
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { dwellInForce, type SteadinessMemory, watchSteadiness } from '../../../src/decide/suppress/steadiness.ts'
import type { SteadinessState } from '../../../src/model/index.ts'
import { configOf, DEFAULTS } from '../../support/config.ts'
import { deepFreeze } from '../../support/snapshots.ts'

const CAPACITY_MILLI = 8000

/** Allowances at the pace given: the state after each. */
function watch(allowances: readonly number[], { everyMs = 1000, config = DEFAULTS, from = 0 } = {}): SteadinessState[] {
  let memory: SteadinessMemory | undefined
  return allowances.map((allowanceMilli, index) => {
    const seen = { allowanceMilli, capacityMilli: CAPACITY_MILLI, nowMs: from + index * everyMs }
    const watched = watchSteadiness(memory, seen, config)
    memory = watched.memory
    return watched.state
  })
}

const swinging = (count: number): number[] => Array.from({ length: count }, (_, index) => (index % 2 === 0 ? 4000 : 2000))

describe('watchSteadiness', () => {
  it('counts nothing while the allowance stands, or goes one way', () => {
    expect(watch([4000, 4000, 4000]).map(({ turns }) => turns)).toEqual([0, 0, 0])
    expect(watch([4000, 3000, 2000, 1000, 160]).map(({ turns }) => turns)).toEqual([0, 0, 0, 0, 0])
  })

  it('counts a change of direction by the dead band, and none below it', () => {
    expect(watch([4000, 3000, 3079, 3000]).map(({ turns }) => turns)).toEqual([0, 0, 0, 0])
    expect(watch([4000, 3000, 3080, 3000]).map(({ turns }) => turns)).toEqual([0, 0, 1, 2])
  })

  it('adds up small steps back', () => {
    expect(watch([4000, 3000, 3030, 3060, 3090]).map(({ turns }) => turns)).toEqual([0, 0, 0, 0, 1])
  })

  it('asks for at least 1 milli-CPU where there is no dead band', () => {
    const config = configOf({ suppressCpu: { deadBandPermyriad: 0 } })
    expect(watch([4000, 3999, 3999, 4000], { config }).map(({ turns }) => turns)).toEqual([0, 0, 0, 1])
  })

  it('doubles the dwell time at steady.turns changes of direction, says so, and counts anew', () => {
    const states = watch(swinging(9))
    expect(states.map(({ turns }) => turns)).toEqual([0, 0, 1, 2, 3, 4, 5, 6, 1])
    expect(states.map(({ dwellMs }) => dwellMs)).toEqual([1000, 1000, 1000, 1000, 1000, 1000, 1000, 2000, 2000])
    expect(states.map(({ swings }) => swings)).toEqual([false, false, false, false, false, false, false, true, true])
  })

  it('goes on doubling up to mostDwellMs', () => {
    expect(watch(swinging(100)).at(-1)).toMatchObject({ dwellMs: DEFAULTS.steady.mostDwellMs, swings: true })
  })

  it('forgets changes of direction that are older than windowMs', () => {
    expect(Math.max(...watch(swinging(40), { everyMs: 10_000 }).map(({ turns }) => turns))).toBe(3)
  })

  it('halves the dwell time after each whole window without swinging, down to what is configured', () => {
    const states = watch([...swinging(20), ...Array.from({ length: 130 }, () => 2000)])
    const dwells = states.map(({ dwellMs }) => dwellMs)
    expect(dwells[19]).toBe(8000)
    const changes = dwells.flatMap((dwellMs, index) => (index > 19 && dwellMs !== dwells[index - 1] ? [[index, dwellMs]] : []))
    expect(changes).toEqual([
      [49, 4000],
      [79, 2000],
      [109, 1000],
    ])
    expect(states.at(-1)?.swings).toBe(false)
  })

  it('halves as often when no tick came in between', () => {
    let { memory } = watchSteadiness(undefined, { allowanceMilli: 1, capacityMilli: CAPACITY_MILLI, nowMs: 0 }, DEFAULTS)
    memory = { ...memory, dwellMs: 16_000 }
    const at = (nowMs: number): number =>
      watchSteadiness(memory, { allowanceMilli: 1, capacityMilli: CAPACITY_MILLI, nowMs }, DEFAULTS).state.dwellMs
    expect([29_999, 30_000, 60_000, 3_600_000].map(at)).toEqual([16_000, 8000, 4000, 1000])
  })

  it('takes a configured dwell time that has risen or fallen since', () => {
    const { memory } = watchSteadiness(undefined, { allowanceMilli: 1, capacityMilli: CAPACITY_MILLI, nowMs: 0 }, DEFAULTS)
    expect(dwellInForce(undefined, DEFAULTS)).toBe(1000)
    expect(dwellInForce(memory, configOf({ suppressCpu: { dwellMs: 3000 } }))).toBe(3000)
    expect(dwellInForce({ ...memory, dwellMs: 30_000 }, configOf({ steady: { mostDwellMs: 5000 } }))).toBe(5000)
  })

  it('keeps the dwell time within its bounds and its memory small, whatever the allowance does (I38)', () => {
    const steps = fc.array(fc.record({ milli: fc.nat(8000), dtMs: fc.constantFrom(0, 50, 1000, 40_000) }), { maxLength: 300 })
    fc.assert(
      fc.property(steps, fc.integer({ min: 2, max: 8 }), fc.constantFrom(100, 1000, 7000), (all, turns, dwellMs) => {
        const config = configOf({ steady: { turns, mostDwellMs: 9000 }, suppressCpu: { dwellMs } })
        let memory: SteadinessMemory | undefined
        let nowMs = 0
        for (const { milli, dtMs } of all) {
          nowMs += dtMs
          const before = dwellInForce(memory, config)
          const seen = { allowanceMilli: milli, capacityMilli: CAPACITY_MILLI, nowMs }
          const { memory: next, state } = watchSteadiness(deepFreeze(memory), seen, config)
          expect(state.dwellMs).toBeGreaterThanOrEqual(dwellMs)
          expect(state.dwellMs).toBeLessThanOrEqual(9000)
          expect(state.dwellMs).toBeLessThanOrEqual(before * 2)
          if (state.dwellMs > before) expect(state.turns).toBeGreaterThanOrEqual(turns)
          expect(state.swings).toBe(state.dwellMs > dwellMs)
          expect(next.turnedMs.length).toBeLessThan(turns)
          memory = next
        }
      }),
    )
  })
})
