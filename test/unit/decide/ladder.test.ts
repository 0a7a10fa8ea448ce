/** The ladder tick by tick: what it waits for and says, and what settings do to rungs in force. What always holds is in test/property/ladder.test.ts. */
import { describe, expect, it } from 'vitest'
import { climb, type Climbed, type LadderMemory, type RungView } from '../../../src/decide/suppress/ladder.ts'
import type { CpuRung } from '../../../src/model/index.ts'

type View = RungView<CpuRung>

const TIMES = { enterMs: 1000, exitMs: 2000, coolDownMs: 3000 }
const rung = (name: CpuRung, with_: Partial<View> = {}): View => ({
  name,
  settings: TIMES,
  over: false,
  under: false,
  acted: false,
  ...with_,
})

/** Ticks at the times given, each with the rungs given, on one memory. */
function ticks(...moments: readonly (readonly [nowMs: number, ...rungs: View[]])[]): Climbed<CpuRung>[] {
  let memory: LadderMemory<CpuRung> | undefined
  return moments.map(([nowMs, ...rungs]) => {
    const climbed = climb(memory, rungs, nowMs)
    memory = climbed.memory
    return climbed
  })
}

const inForce = (all: readonly Climbed<CpuRung>[]): string[] => all.map(({ state }) => state.inForce.join(' '))
const waiting = (all: readonly Climbed<CpuRung>[]): (string | undefined)[] => all.map(({ state }) => state.waiting?.for)
const over = { over: true }
const under = { under: true }

describe('climb', () => {
  it('stands on the ground while nothing is over, and says nothing', () => {
    const [only] = ticks([0, rung('cpuNarrow')])
    expect(only).toEqual({ memory: { inForce: [] }, state: { inForce: [] } })
  })

  it('climbs once the threshold has been passed for enterMs, and not before', () => {
    const both = [rung('cpuNarrow', over), rung('cpuFreeze')] as const
    const all = ticks([0, ...both], [999, ...both], [1000, ...both])
    expect(inForce(all)).toEqual(['', '', 'cpuNarrow'])
    expect(waiting(all)).toEqual(['dwell', 'dwell', undefined])
    expect(all[2]?.state.changedMs).toBe(1000)
  })

  it('begins to wait anew after a single tick below the threshold', () => {
    const all = ticks(
      [0, rung('cpuNarrow', over)],
      [900, rung('cpuNarrow')],
      [1000, rung('cpuNarrow', over)],
      [2000, rung('cpuNarrow', over)],
    )
    expect(inForce(all)).toEqual(['', '', '', 'cpuNarrow'])
  })

  it('counts the dwell time of the next rung from when the one below came into force', () => {
    const both = [rung('cpuNarrow', over), rung('cpuFreeze', over)] as const
    const all = ticks([0, ...both], [1000, ...both], [1050, ...both], [2000, ...both], [2050, ...both])
    expect(inForce(all)).toEqual(['', 'cpuNarrow', 'cpuNarrow', 'cpuNarrow', 'cpuNarrow cpuFreeze'])
  })

  it('gives what a rung has done its cool-down, from the first deed on', () => {
    const next = rung('cpuFreeze', over)
    const all = ticks(
      [0, rung('cpuNarrow', over), next],
      [1000, rung('cpuNarrow', over), next],
      [1050, rung('cpuNarrow', { ...over, acted: true }), next],
      [2500, rung('cpuNarrow', { ...over, acted: true }), next],
      [4049, rung('cpuNarrow', { ...over, acted: true }), next],
      [4050, rung('cpuNarrow', { ...over, acted: true }), next],
    )
    expect(waiting(all)).toEqual(['dwell', undefined, 'dwell', 'coolDown', 'coolDown', undefined])
    expect(inForce(all).at(-1)).toBe('cpuNarrow cpuFreeze')
  })

  it('does not wait for a rung that has done nothing', () => {
    const both = [rung('cpuNarrow', over), rung('cpuFreeze', over)] as const
    expect(inForce(ticks([0, ...both], [1000, ...both], [1001, ...both], [2001, ...both])).at(-1)).toBe('cpuNarrow cpuFreeze')
  })

  it('leaves from the top, one rung for each exitMs below the threshold', () => {
    const up = [rung('cpuNarrow', over), rung('cpuFreeze', over)] as const
    const down = [rung('cpuNarrow', under), rung('cpuFreeze', under)] as const
    const all = ticks(
      [0, ...up],
      [1000, ...up],
      [1001, ...up],
      [2001, ...up],
      [3000, ...down],
      [4999, ...down],
      [5000, ...down],
      [5050, ...down],
      [7049, ...down],
      [7050, ...down],
    )
    expect(inForce(all).slice(3)).toEqual([
      'cpuNarrow cpuFreeze',
      'cpuNarrow cpuFreeze',
      'cpuNarrow cpuFreeze',
      'cpuNarrow',
      'cpuNarrow',
      'cpuNarrow',
      '',
    ])
  })

  it('stays where it is between exit and enter, however long', () => {
    const all = ticks([0, rung('cpuNarrow', over)], [1000, rung('cpuNarrow', over)], [9_000_000, rung('cpuNarrow')])
    expect(inForce(all)).toEqual(['', 'cpuNarrow', 'cpuNarrow'])
  })

  it('steps over a rung that is impossible here, and takes no time for it', () => {
    const rungs = [
      rung('cpuNarrow', over),
      rung('cpuFreeze', { ...over, impossible: 'no freezer' }),
      rung('cpuEvict', over),
    ] as const
    const all = ticks([0, ...rungs], [1000, ...rungs], [1001, ...rungs], [2001, ...rungs])
    expect(inForce(all).at(-1)).toBe('cpuNarrow cpuEvict')
  })

  it('tells of the impossible rung when there is nothing left to climb', () => {
    const rungs = [rung('cpuNarrow', over), rung('cpuEvict', { ...over, impossible: 'evict.enabled is false' })] as const
    const all = ticks([0, ...rungs], [1000, ...rungs], [1001, ...rungs])
    expect(all.at(-1)?.state).toEqual({
      inForce: ['cpuNarrow'],
      changedMs: 1000,
      waiting: { rung: 'cpuEvict', for: 'impossible', detail: 'evict.enabled is false' },
    })
  })

  it('keeps a rung in force that becomes impossible, until it is left', () => {
    const broken = { impossible: 'the API server is gone' }
    const all = ticks(
      [0, rung('cpuEvict', over)],
      [1000, rung('cpuEvict', over)],
      [1050, rung('cpuEvict', { ...over, ...broken })],
      [1100, rung('cpuEvict', { ...under, ...broken })],
      [3100, rung('cpuEvict', { ...under, ...broken })],
    )
    expect(inForce(all)).toEqual(['', 'cpuEvict', 'cpuEvict', 'cpuEvict', ''])
  })

  it('drops a rung at once that settings have switched off, and keeps the one above with its cool-down', () => {
    const both = [rung('cpuNarrow', over), rung('cpuFreeze', { ...over, acted: true })] as const
    const evict = rung('cpuEvict', over)
    const up = ticks(
      [0, ...both, evict],
      [1000, ...both, evict],
      [1001, ...both, evict],
      [2001, ...both, evict],
      [2002, ...both, evict],
    )
    const memory = up.at(-1)?.memory
    expect(memory).toMatchObject({ inForce: ['cpuNarrow', 'cpuFreeze'], actedMs: 2002 })
    const without = climb(memory, [rung('cpuFreeze', over), evict], 4000)
    expect(without.state).toEqual({ inForce: ['cpuFreeze'], changedMs: 4000, waiting: { rung: 'cpuEvict', for: 'coolDown' } })
  })

  it('climbs a rung that turns up below one in force next, in its place, and after a dwell time of its own', () => {
    const first = ticks([0, rung('cpuFreeze', over)], [1000, rung('cpuFreeze', over)])
    const all = [rung('cpuNarrow', over), rung('cpuFreeze', over), rung('cpuEvict', over)]
    const waits = climb(climb(first.at(-1)?.memory, [rung('cpuFreeze', over), rung('cpuEvict', over)], 1900).memory, all, 2000)
    expect(waits.state).toMatchObject({ inForce: ['cpuFreeze'], waiting: { rung: 'cpuNarrow', for: 'dwell' } })
    expect(climb(waits.memory, all, 2999).state.inForce).toEqual(['cpuFreeze'])
    expect(climb(waits.memory, all, 3000).state.inForce).toEqual(['cpuNarrow', 'cpuFreeze'])
  })

  it('forgets all rungs when none is switched on any more', () => {
    const all = ticks([0, rung('cpuNarrow', over)], [1000, rung('cpuNarrow', over)], [1050])
    expect(all.at(-1)?.state).toEqual({ inForce: [], changedMs: 1050 })
  })
})
