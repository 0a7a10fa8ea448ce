/** What journal and log tell of the ladders: each change once, with its reason and its level, and never so much that it is a flood. */
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { CpuPressureState, EvictionRecord, SuppressionState } from '../../../src/model/index.ts'
import { CPU_RUNGS, EVICTION_OUTCOMES, MEMORY_RUNGS } from '../../../src/model/index.ts'
import { EVICTIONS_PER_MINUTE, LADDER_TOPICS, TOPIC_PER_MINUTE } from '../../../src/record/ladder-changes.ts'
import { BLOCKED, capturedLogger, IO, MEMORY, OFFER, recorder, SUPPRESSION, tick, type TickParts, WISH } from './fixtures.ts'

const QUIET: TickParts = { pods: [], offers: [] }
const LADDER_KINDS = new Set(['rung', 'blockedRung', 'pressure', 'swing', 'sales', 'io', 'eviction'])

/** Ladder entries of each tick, a second apart unless a tick says otherwise. */
function entriesOf(...ticks: readonly TickParts[]): readonly (readonly string[])[] {
  const record = recorder(undefined, 1000)
  let seen = 0
  return ticks.map((parts, index) => {
    record.tick(tick({ ...QUIET, seq: index + 1, nowMs: 11_000 + index * 1000, ...parts }))
    const page = record.journal({ since: seen, limit: 1000 })
    seen = page.next
    return page.entries.filter(({ kind }) => LADDER_KINDS.has(kind)).map(({ kind, text }) => `${kind}: ${text}`)
  })
}

const suppressed = (over: Partial<SuppressionState>): TickParts => ({ suppression: { ...SUPPRESSION, ...over } })
const pressed = (is: CpuPressureState['is'], permyriad = 3100): TickParts =>
  suppressed({ pressure: { source: 'online groups', permyriad, boundPermyriad: 2000, is } })
const failed = (name: string, uid: string): EvictionRecord => ({ ...BLOCKED, wish: { ...WISH, name, uid }, is: 'failed' })

describe('rungs', () => {
  it('are told when they are climbed and when they are left, with the readings behind it', () => {
    const entered = entriesOf(
      {},
      suppressed({ ladder: { inForce: ['cpuNarrow'], changedMs: 12_000 } }),
      suppressed({ ladder: { inForce: ['cpuNarrow'], changedMs: 12_000, waiting: { rung: 'cpuFreeze', for: 'coolDown' } } }),
      suppressed({ ladder: { inForce: ['cpuNarrow', 'cpuFreeze'] } }),
      suppressed({ ladder: { inForce: [] } }),
    )
    expect(entered).toEqual([
      [],
      ['rung: rung cpuNarrow climbed: offline pods keep to few CPUs; the node uses 73.75 % of its CPU'],
      [],
      ['rung: rung cpuFreeze climbed: OT pods stand still; the node uses 73.75 % of its CPU'],
      ['rung: rung cpuNarrow left; rung cpuFreeze left; the node uses 73.75 % of its CPU'],
    ])
  })

  it('of memory are told with the amounts, and that sales stop and go on', () => {
    const calm = { ...MEMORY, ladder: { inForce: [] }, availablePermyriad: 5000 }
    const entered = entriesOf({ memory: calm }, { memory: MEMORY }, { memory: MEMORY }, { memory: calm })
    expect(entered[1]?.[0]).toMatch(
      /^rung: rung memoryHold climbed: nothing more is sold; rung memoryHighOt climbed: .*1\.5 GiB of 16 GiB available/,
    )
    expect(entered[1]?.[1]).toBe('sales: sales are stopped: memory is short (memoryHold, memoryHighOt in force)')
    expect(entered[2]).toEqual([])
    expect(entered[3]?.map((text) => text.slice(0, 22))).toEqual(['rung: rung memoryHold ', 'sales: sales go on'])
  })

  it('that are out of reach are told once, with the reason', () => {
    const blocked = suppressed({
      ladder: {
        inForce: ['cpuNarrow'],
        waiting: { rung: 'cpuEvict', for: 'impossible', detail: 'there is no API server to ask' },
      },
    })
    const reachable = suppressed({ ladder: { inForce: ['cpuNarrow'] } })
    const [first = [], ...rest] = entriesOf(blocked, blocked, ...Array.from({ length: 10 }, () => reachable))
    expect(first[1]).toBe("blockedRung: cpuEvict should be climbed and can't be: there is no API server to ask")
    expect(rest.flat()).toEqual(['blockedRung: no rung of the cpu ladder is out of reach any more'])
  })

  it('that are out of reach on every other tick are told once: a threshold that is passed again and again is one story', () => {
    const waiting = { rung: 'cpuEvict', for: 'impossible', detail: 'evict.enabled is false' } as const
    const ticks = Array.from({ length: 100 }, (_, index) =>
      suppressed({ ladder: { inForce: ['cpuNarrow'], ...(index % 2 === 0 ? { waiting } : {}) } }),
    )
    const told = entriesOf(...ticks).flat()
    expect(told.filter((text) => text.startsWith('blockedRung'))).toEqual([
      "blockedRung: cpuEvict should be climbed and can't be: evict.enabled is false",
    ])
  })

  it('are told with no more than all of the CPU in use, whatever a late reading adds', () => {
    const inputs = { ...SUPPRESSION.inputs, nodeMilli: SUPPRESSION.inputs.capacityMilli * 1.2 }
    const [, told = []] = entriesOf({}, suppressed({ inputs, ladder: { inForce: ['cpuNarrow'] } }))
    expect(told).toEqual(['rung: rung cpuNarrow climbed: offline pods keep to few CPUs; the node uses 100 % of its CPU'])
  })
})

describe('guards', () => {
  it('tell the first cut of a series and its end, not each cut', () => {
    const series = Array.from({ length: 20 }, (_, index) => pressed(index % 2 === 0 ? 'cut' : 'hold'))
    const entered = entriesOf(...series, ...Array.from({ length: 11 }, () => pressed('quiet', 400)))
    expect(entered.flat()).toEqual([
      'pressure: some online task waits for CPU 31 % of the time (cut above 20 %): the allowance is cut',
      'pressure: the pressure guard is quiet again: some online task waits for CPU 4 % of the time (cut above 20 %)',
    ])
  })

  it('tell that cutting was futile', () => {
    expect(entriesOf(pressed('cut'), pressed('futile'), pressed('futile')).map((texts) => texts.length)).toEqual([1, 1, 0])
  })

  it('of IO tell cuts and devices that are missing', () => {
    const entered = entriesOf({ io: { ...IO, missingDevices: ['sdb'] } }, { io: { ...IO, missingDevices: ['sdb'] } }, { io: IO })
    expect(entered).toEqual([
      [
        'io: offline pods have 25 % of their configured limits: cut, since online work waits for IO; some task waits for IO 31.2 % of the time',
        'io: IO devices not on this node, so not limited: sdb',
      ],
      [],
      ['io: no IO device is missing any more'],
    ])
  })

  it('tell that the allowance swings, and that it no longer does', () => {
    const swing = (swings: boolean, dwellMs: number): TickParts => suppressed({ steadiness: { turns: 6, dwellMs, swings } })
    const entered = entriesOf(swing(false, 1000), swing(true, 2000), swing(true, 2000), swing(true, 4000), swing(false, 1000))
    expect(entered.map((texts) => texts.map((text) => text.slice(0, 61)))).toEqual([
      [],
      ['swing: the allowance swings: dwell time widened to 2.0 s; 6 c'],
      [],
      ['swing: the allowance swings: dwell time widened to 4.0 s; 6 c'],
      ['swing: the allowance no longer swings; steady: 6 changes of d'],
    ])
  })

  it('tell of sales that stop before an eviction', () => {
    const hold = { ...OFFER, because: { ...OFFER.because, bound: 'hold' } } as const
    expect(entriesOf({ offers: [OFFER] }, { offers: [hold] })[1]).toEqual([
      'sales: sales are stopped: capacity shrinks before a pod is evicted',
    ])
  })
})

describe('evictions', () => {
  it('are told from the wish to what became of it, and filed under their pod', () => {
    const record = recorder(undefined, 1000)
    const steps: readonly TickParts[] = [
      { wishes: [WISH] },
      { wishes: [WISH], evictions: { recent: [{ ...BLOCKED, is: 'asked' }] } },
      { evictions: { recent: [BLOCKED] } },
      { evictions: { recent: [BLOCKED] } },
      { evictions: { recent: [{ ...BLOCKED, is: 'asked' }] } },
      { evictions: { recent: [BLOCKED] } },
      { evictions: { recent: [{ ...BLOCKED, is: 'evicted' }] } },
    ]
    for (const [index, parts] of steps.entries())
      record.tick(tick({ ...QUIET, seq: index + 1, nowMs: 11_000 + index * 1000, ...parts }))
    const { entries } = record.journal({ pod: 'default/train' })
    expect(entries.map(({ kind, outcome, nowMs }) => `${kind} ${outcome} ${nowMs}`)).toEqual([
      'eviction wished 11000',
      'eviction blocked 13000',
      'eviction evicted 17000',
    ])
    expect(entries[1]?.text).toContain('(the disruption budget train needs 3 healthy pods and has 3 currently)')
  })

  it('of a dry run are told by their record alone', () => {
    const wish = { ...WISH, dryRun: true }
    const entered = entriesOf({ wishes: [wish] }, { evictions: { recent: [{ wish, is: 'dryRun', atMs: 11_000 }] } })
    expect(entered.map((texts) => texts.length)).toEqual([0, 1])
  })

  it('that there is no room for are told when there is', () => {
    const recent = Array.from({ length: EVICTIONS_PER_MINUTE + 4 }, (_, index) => failed(`p${index}`, `u${index}`))
    // The very same view on every tick, as an evictor without news gives it.
    const evictions = { recent, counts: { ...tick().snapshot.evictions.counts, failed: recent.length } }
    const [first = [], later = [], last = []] = entriesOf({ evictions }, { evictions }, { evictions, nowMs: 80_000 })
    expect([first.length, later.length, last.length]).toEqual([EVICTIONS_PER_MINUTE, 0, 4])
  })
})

describe('the log', () => {
  it('warns of what somebody should look at, and not of its end', () => {
    const { logger, lines } = capturedLogger()
    const record = recorder(logger)
    const steps: readonly TickParts[] = [
      { ...suppressed({ ladder: { inForce: ['cpuNarrow'] } }), memory: MEMORY },
      { ...pressed('cut'), wishes: [WISH] },
      { ...pressed('futile'), evictions: { recent: [BLOCKED] }, io: { ...IO, missingDevices: ['sdb'] } },
    ]
    for (const [index, parts] of steps.entries())
      record.tick(tick({ ...QUIET, seq: index + 1, nowMs: 11_000 + index * 1000, ...parts }))
    expect(
      lines.filter(({ kind }) => LADDER_KINDS.has(String(kind))).map(({ level, msg }) => `${String(level)} ${String(msg)}`),
    ).toEqual([
      'warn rung changed',
      'warn rung changed',
      'warn sales changed',
      'info rung changed',
      'info pressure guard changed',
      'info sales changed',
      'info eviction',
      'warn pressure guard changed',
      'info io changed',
      'warn io changed',
      'warn eviction',
    ])
  })

  it('tells nothing of a slow write that has begun, and what became of it', () => {
    const { logger, lines } = capturedLogger()
    const record = recorder(logger)
    const step = {
      group: '/kubepods/besteffort/poduid-train',
      kind: 'memoryHigh',
      value: 2 ** 30,
      from: null,
      phase: 'narrow',
      because: { code: 'restore' },
    } as const
    record.tick(tick({ ...QUIET, plan: [step], outcomes: [{ is: 'begun' }] }))
    expect(record.status(11_000).problems).toEqual([])
    record.tick(tick({ ...QUIET, seq: 2, nowMs: 12_000, plan: [step], outcomes: [{ is: 'applied' }] }))
    expect(
      lines.filter(({ kind }) => kind === 'write' || kind === 'refused').map(({ tick: seq, outcome }) => [seq, outcome]),
    ).toEqual([[2, 'applied']])
  })
})

describe('whatever happens', () => {
  const prefix = <T>(names: readonly T[]): fc.Arbitrary<readonly T[]> =>
    fc.integer({ min: 0, max: names.length }).map((length) => names.slice(0, length))
  const aRecord = fc
    .tuple(fc.integer({ min: 0, max: 40 }), fc.constantFrom(...EVICTION_OUTCOMES))
    .map(([id, is]): EvictionRecord => ({ ...BLOCKED, is, wish: { ...WISH, uid: `u${id}`, name: `p${id}` } }))
  const aTick: fc.Arbitrary<TickParts> = fc
    .record({
      cpu: prefix(CPU_RUNGS),
      memory: prefix(MEMORY_RUNGS),
      is: fc.constantFrom('quiet', 'cut', 'hold', 'futile'),
      detail: fc.option(fc.constantFrom('a', 'b'), { nil: undefined }),
      swings: fc.boolean(),
      recent: fc.uniqueArray(aRecord, { maxLength: 40, selector: ({ wish }) => wish.uid }),
      wishes: fc.array(
        aRecord.map(({ wish }) => wish),
        { maxLength: 2 },
      ),
      missing: fc.subarray(['sda', 'sdb']),
      hold: fc.boolean(),
    })
    .map(({ cpu, memory, is, detail, swings, recent, wishes, missing, hold }) => ({
      offers: hold ? [{ ...OFFER, because: { ...OFFER.because, bound: 'hold' } }] : [],
      suppression: {
        ...SUPPRESSION,
        pressure: { source: 'online groups', permyriad: 3000, boundPermyriad: 2000, is },
        steadiness: { turns: 3, dwellMs: swings ? 2000 : 1000, swings },
        ladder: { inForce: cpu, ...(detail === undefined ? {} : { waiting: { rung: 'cpuEvict', for: 'impossible', detail } }) },
      },
      memory: { ...MEMORY, ladder: { inForce: memory } },
      io: { ...IO, is, missingDevices: missing },
      wishes,
      evictions: { recent },
    }))

  it('the entries of a minute stay bounded, and journal and log tell the same', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(aTick, fc.integer({ min: 10, max: 5000 })), { maxLength: 120 }), (history) => {
        const { logger, lines } = capturedLogger()
        const record = recorder(logger, 10_000)
        let nowMs = 11_000
        for (const [index, [parts, afterMs]] of history.entries()) {
          nowMs += afterMs
          record.tick(tick({ ...QUIET, ...parts, seq: index + 1, nowMs, pace: 'hot' }))
        }
        const atMs = record
          .journal({ limit: 10_000 })
          .entries.filter(({ kind }) => LADDER_KINDS.has(kind))
          .map((entry) => entry.nowMs)
        const most = LADDER_TOPICS * TOPIC_PER_MINUTE + EVICTIONS_PER_MINUTE
        for (const from of new Set(atMs))
          expect(atMs.filter((other) => other >= from && other < from + 60_000).length).toBeLessThanOrEqual(most)
        expect(lines.filter(({ kind }) => LADDER_KINDS.has(String(kind)))).toHaveLength(atMs.length)
      }),
      { numRuns: 30 },
    )
  })
})

describe('a journal', () => {
  it('keeps what matters while the allowance moves many times a second', () => {
    const record = recorder(undefined, 16)
    record.tick(tick({ ...QUIET, memory: MEMORY }))
    for (let seq = 2; seq < 500; seq++) {
      const suppression = { ...SUPPRESSION, allowanceMilli: 600 + seq }
      record.tick(tick({ ...QUIET, memory: MEMORY, suppression, seq, nowMs: 11_000 + seq * 50, pace: 'hot' }))
    }
    const kinds = record.journal({ limit: 1000 }).entries.map(({ kind }) => kind)
    expect(kinds.slice(0, 2)).toEqual(['rung', 'sales'])
    expect(kinds.slice(2)).toEqual(Array.from({ length: 16 }, () => 'allowance'))
  })
})
