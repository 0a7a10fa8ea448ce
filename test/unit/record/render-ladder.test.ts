/** The words for where the ladders stand, one for each state there is: the tables are total, so a new state without a case does not compile. */
import { describe, expect, it } from 'vitest'
import type { CpuPressureState, EvictionOutcome, IoState, LadderState, Rung } from '../../../src/model/index.ts'
import { CPU_RUNGS, MEMORY_RUNGS, NO_EVICTIONS } from '../../../src/model/index.ts'
import {
  renderEviction,
  renderEvictions,
  renderIo,
  renderLadder,
  renderMemory,
  renderPressure,
  renderSteadiness,
  renderWish,
} from '../../../src/record/render-ladder.ts'
import { renderSalesStop } from '../../../src/record/sales.ts'
import { BLOCKED, IO, MEMORY, WISH } from './fixtures.ts'

const WAITING = 'some online task waits for CPU 31 % of the time (cut above 20 %)'

const PRESSURE: Readonly<Record<CpuPressureState['is'], string>> = {
  quiet: WAITING,
  cut: `${WAITING}: the allowance is cut`,
  hold: `${WAITING}: the allowance does not grow`,
  futile: `${WAITING}: cutting did not help, so the guard stands aside until they wait less`,
}

const SOURCES: Readonly<Record<CpuPressureState['source'], string>> = {
  'online groups': WAITING,
  node: 'some task of the node waits for CPU 31 % of the time (cut above 20 %)',
  'run queue': '0.3 tasks for each CPU wait in the run queue, offline ones not counted (cut above 0.2)',
  none: 'this kernel tells neither how groups wait nor the run queue: use of the CPU alone decides',
}

const SHARE = 'offline pods have 25 % of their configured limits'
const IO_WAITS = '; some task waits for IO 31.2 % of the time'

const IO_STATES: Readonly<Record<IoState['is'], string>> = {
  quiet: `${SHARE}${IO_WAITS}`,
  cut: `${SHARE}: cut, since online work waits for IO${IO_WAITS}`,
  hold: `${SHARE}: not growing while online work still waits for IO${IO_WAITS}`,
  futile: `${SHARE}: cutting did not help, so they grow back all the same${IO_WAITS}`,
  unknown: `${SHARE}: not growing, since it is not known how online work waits for IO${IO_WAITS}`,
}

const REASON = 'rung memoryEvictOt, class OT, priority -5, it used 700m CPU and 1.2 GiB'

const EVICTIONS: Readonly<Record<EvictionOutcome, string>> = {
  asked: `eviction of default/train is asked for, the API server has not answered yet; ${REASON}`,
  evicted: `default/train was evicted (x); ${REASON}`,
  forced: `default/train was deleted past its disruption budget (evict.force) (x); ${REASON}`,
  blocked: `a disruption budget keeps default/train for now (x); ${REASON}`,
  gone: 'default/train had gone before it could be evicted (x)',
  failed: `eviction of default/train failed (x); ${REASON}`,
  dryRun: `default/train would be evicted (dry run) (x); ${REASON}`,
}

describe('pressure', () => {
  const state: CpuPressureState = { source: 'online groups', permyriad: 3100, boundPermyriad: 2000, is: 'quiet' }

  it.each(Object.entries(PRESSURE))('says what the guard does: %s', (is, expected) => {
    expect(renderPressure({ ...state, is: is as CpuPressureState['is'] })).toBe(expected)
  })

  it.each(Object.entries(SOURCES))('says whose reading it is: %s', (source, expected) => {
    expect(renderPressure({ ...state, source: source as CpuPressureState['source'] })).toBe(expected)
  })
})

describe('ladders', () => {
  it('say that no rung is in force, and since when', () => {
    expect(renderLadder({ inForce: [] }, 20_000)).toBe('no rung in force')
    expect(renderLadder({ inForce: [], changedMs: 8000 }, 20_000)).toBe('no rung in force (last step 12.0 s ago)')
  })

  it.each([...CPU_RUNGS, ...MEMORY_RUNGS])('say what the rung %s does', (rung) => {
    expect(renderLadder({ inForce: [rung], changedMs: 8000 }, 20_000)).toMatch(
      new RegExp(`^${rung}: [a-zA-Z ]{10,} \\(last step 12\\.0 s ago\\)$`),
    )
  })

  it('say what the next rung waits for', () => {
    const at = (waiting: NonNullable<LadderState<Rung>['waiting']>): string =>
      renderLadder({ inForce: ['cpuNarrow'], changedMs: 8000, waiting }, 20_000)
    const stands = 'cpuNarrow: offline pods keep to few CPUs (last step 12.0 s ago); '
    expect(at({ rung: 'cpuFreeze', for: 'dwell' })).toBe(
      `${stands}cpuFreeze is next, once its threshold has been passed for its enterMs`,
    )
    expect(at({ rung: 'cpuFreeze', for: 'coolDown' })).toBe(`${stands}cpuFreeze is next, after the cool-down of cpuNarrow`)
    expect(at({ rung: 'cpuEvict', for: 'impossible', detail: 'there is no API server to ask' })).toBe(
      `${stands}cpuEvict should be climbed and can't be: there is no API server to ask`,
    )
  })

  it('bear a clock that runs backwards', () => {
    expect(renderLadder({ inForce: [], changedMs: 8000 }, 7000)).toBe('no rung in force (last step 0 ms ago)')
  })
})

describe('memory, IO and steadiness', () => {
  it('tell the amounts of memory', () => {
    expect(renderMemory(MEMORY)).toBe(
      '1.5 GiB of 16 GiB available (9.37 %), some task waits for it 3.5 % of the time; working sets: BE 3 GiB, OT 1.2 GiB',
    )
    const { pressurePermyriad: _none, ...silent } = MEMORY
    expect(renderMemory({ ...MEMORY, stallsFutile: true })).toMatch(
      /of the time \(which offline work is not the reason for: .* counts no more until it has ended once\); working sets/,
    )
    expect(renderMemory(silent)).toContain(', this kernel does not tell how tasks wait for it;')
  })

  it.each(Object.entries(IO_STATES))('tell what is done about IO: %s', (is, expected) => {
    expect(renderIo({ ...IO, is: is as IoState['is'] })).toBe(expected)
  })

  it('tell which devices are missing', () => {
    expect(renderIo({ sharePermyriad: 10_000, is: 'quiet', missingDevices: ['sdb', 'sdc'] })).toBe(
      'offline pods have 100 % of their configured limits; not on this node, so not limited: sdb, sdc',
    )
  })

  it('tell when the allowance swings', () => {
    expect(renderSteadiness({ turns: 7, dwellMs: 8000, swings: true })).toBe(
      'the allowance swings: dwell time widened to 8.0 s; 7 changes of direction within steady.windowMs',
    )
    expect(renderSteadiness({ turns: 1, dwellMs: 1000, swings: false })).toBe(
      'steady: 1 change of direction within steady.windowMs, dwell time 1.0 s',
    )
  })

  it('tell why nothing more is sold', () => {
    expect(renderSalesStop({ rungs: ['memoryHold', 'memoryHighOt'] })).toBe(
      'sales are stopped: memory is short (memoryHold, memoryHighOt in force)',
    )
    expect(renderSalesStop({ rungs: [] })).toBe('sales are stopped: capacity shrinks before a pod is evicted')
  })
})

describe('evictions', () => {
  it.each(Object.entries(EVICTIONS))('say what became of one: %s', (is, expected) => {
    const outcome = is as EvictionOutcome
    const told = { ...BLOCKED, is: outcome, ...(outcome === 'asked' ? {} : { detail: 'x' }) }
    expect(renderEviction(told)).toBe(expected)
    const { detail: _detail, ...wordless } = told
    expect(renderEviction(wordless)).toBe(expected.replace(' (x)', ''))
  })

  it('say that a pod is chosen', () => {
    expect(renderWish(WISH)).toBe(`default/train is chosen to be evicted; ${REASON}`)
    expect(renderWish({ ...WISH, dryRun: true })).toContain('chosen to be evicted (dry run);')
  })

  it('count, and say when there can be none', () => {
    expect(renderEvictions(NO_EVICTIONS)).toBe(`not possible: ${NO_EVICTIONS.impossible}; none since the start`)
    const counts = { ...NO_EVICTIONS.counts, evicted: 2, dryRun: 1 }
    expect(renderEvictions({ counts })).toBe('possible; since the start 2 evicted, 1 dry run')
  })
})
