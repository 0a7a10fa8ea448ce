/** What is recorded comes back as it was, whatever it is, and what can't be recorded is refused rather than changed. */
import { isDeepStrictEqual } from 'node:util'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { CpuSet } from '../../../../src/cpu/index.ts'
import { IoLimits, KnobTable, type KnobValue, micros, type NodeSnapshot, type Reading } from '../../../../src/model/index.ts'
import { ByteReader } from '../../../../src/record/recording/bytes.ts'
import { ValueDecoder } from '../../../../src/record/recording/decode.ts'
import { ValueEncoder } from '../../../../src/record/recording/encode.ts'
import { type Entry, EntryDecoder, EntryEncoder } from '../../../../src/record/recording/entries.ts'
import { forAllHistories } from '../../../support/histories.ts'
import { anySetting } from '../../../support/settings.ts'
import { deepFreeze, snapshotOf, topologyOf, type TopologyName } from '../../../support/snapshots.ts'
import { TOPOLOGIES } from '../../../support/topologies.ts'

function roundTrip(...values: readonly unknown[]): unknown[] {
  const encoder = new ValueEncoder()
  for (const value of values) encoder.value(value)
  const decoder = new ValueDecoder(new Map())
  const bytes = new ByteReader(encoder.bytes.take())
  decoder.feed(bytes)
  const back = values.map(() => decoder.value())
  expect(bytes.atEnd).toBe(true)
  return back
}

const leaf = fc.oneof(
  fc.double(),
  fc.integer(),
  fc.maxSafeInteger(),
  fc.constantFrom(
    0,
    -0,
    127,
    128,
    223,
    224,
    2 ** 31,
    2 ** 32,
    2 ** 53 - 1,
    2 ** 53,
    -1,
    -(2 ** 53),
    Number.NaN,
    Infinity,
    -Infinity,
  ),
  fc.bigInt(),
  fc.string({ unit: 'binary' }),
  fc.constantFrom('\ud800', 'ÿ', 'Ā', '', 'x'.repeat(200), `${'x'.repeat(200)}€`),
  fc.constantFrom(null, undefined, true, false),
)
const cpuSet = fc.array(fc.nat(700), { maxLength: 8 }).map((ids) => CpuSet.from(ids))
const ioLimits = anySetting('v2', ['8:0']).map((setting) => (setting.kind === 'ioMax' ? setting.value : IoLimits.NONE))

const anything = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small' },
    leaf,
    cpuSet,
    ioLimits,
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(fc.oneof(fc.string(), fc.constantFrom('__proto__', 'constructor', '7', 'a')), tie('value'), { maxKeys: 4 }),
    fc.array(fc.tuple(tie('value'), tie('value')), { maxLength: 3 }).map((pairs) => new Map(pairs)),
    fc.array(tie('value'), { maxLength: 3 }).map((entries) => new Set(entries)),
  ),
})).value

describe('the codec', () => {
  it('gives back every value exactly', () => {
    fc.assert(
      fc.property(fc.array(anything, { maxLength: 4 }), (values) => {
        // Not toStrictEqual(): it compares what stands under the key `constructor` by ===, and so NaN with itself.
        expect(isDeepStrictEqual(roundTrip(...values), values)).toBe(true)
      }),
      { numRuns: 500 },
    )
  })

  it('gives back one object for what was one object, and two for two that are alike', () => {
    const shared = { a: [1] }
    const [first, second, third] = roundTrip({ x: shared, y: shared }, shared, { a: [1] }) as [
      Record<string, unknown>,
      unknown,
      unknown,
    ]
    expect(first['x']).toBe(first['y'])
    expect(second).toBe(first['x'])
    expect(third).toStrictEqual(shared)
    expect(third).not.toBe(second)
  })

  it('keeps a cycle, and the keys of objects in their order', () => {
    const cycle: Record<string, unknown> = { z: 1, a: undefined }
    cycle['self'] = cycle
    const [back] = roundTrip(cycle) as [Record<string, unknown>]
    expect(back['self']).toBe(back)
    expect(Object.keys(back)).toEqual(['z', 'a', 'self'])
  })

  it.each(Object.keys(TOPOLOGIES) as TopologyName[])('gives back the machine %s', (name) => {
    const topology = topologyOf(name)
    const [back] = roundTrip(topology)
    expect(back).toStrictEqual(topology)
  })

  it.each([
    ['a function', () => 1],
    ['a symbol', Symbol('x')],
    ['a Date', new Date(0)],
    ['an array with holes', [1, , 2]], // oxlint-disable-line no-sparse-arrays
    ['bytes', new Uint8Array(2)],
  ])('refuses %s', (_what, value) => {
    expect(() => roundTrip({ value })).toThrow(/can't be recorded/)
  })

  it('refuses what is nested without end instead of running out of stack', () => {
    let deep: unknown = 1
    for (let depth = 0; depth < 1000; depth += 1) deep = [deep]
    expect(() => roundTrip(deep)).toThrow(/nested too deeply/)
  })

  it('answers spoilt bytes with a RangeError, whatever they are', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
        const decoder = new EntryDecoder({ configOf: () => ({}), topologies: new Map() })
        try {
          for (const entry of decoder.read(Buffer.from(bytes))) expect(entry.is).toBeTypeOf('string')
        } catch (thrown) {
          expect(['RangeError', 'CpuListError', 'SyntaxError', 'TypeError']).toContain((thrown as Error).name)
        }
      }),
      { numRuns: 2000 },
    )
  })
})

/** A snapshot with the knobs as a list, in their order. */
function plain({ actual, ...rest }: NodeSnapshot): object {
  return { ...rest, actual: [...actual.entries()] }
}

function entriesOf(decoder: EntryDecoder, encoder: EntryEncoder): Entry[] {
  return [...decoder.read(encoder.take())]
}

describe('snapshots', () => {
  it('come back exactly, tick after tick, with the odd readings that sensors give', () => {
    forAllHistories((lived) => {
      const [encoder, decoder] = [new EntryEncoder(), new EntryDecoder({ configOf: () => ({}), topologies: new Map() })]
      for (const { snapshot } of lived) {
        encoder.tick(snapshot)
        const [entry] = entriesOf(decoder, encoder)
        if (entry?.is !== 'tick') throw new Error('no tick')
        expect(plain(entry.snapshot)).toStrictEqual(plain(snapshot))
      }
    }, 60)
  })

  const knob = fc.tuple(fc.constantFrom('/a', '/a/1', '/b', '/c'), anySetting('v2', ['8:0']))
  const change = fc.record({
    puts: fc.array(fc.tuple(knob, fc.constantFrom(0, 0, 7)), { maxLength: 6 }),
    drops: fc.array(fc.constantFrom('/a', '/a/1', '/b', '/c'), { maxLength: 2 }),
    renews: fc.boolean(),
  })

  it('keep the knobs and their order, however they come, go and move', () => {
    fc.assert(
      fc.property(fc.array(change, { maxLength: 12 }), (changes) => {
        const [encoder, decoder] = [new EntryEncoder(), new EntryDecoder({ configOf: () => ({}), topologies: new Map() })]
        const table = new KnobTable<Reading<KnobValue>>()
        for (const [index, { puts, drops, renews }] of changes.entries()) {
          const nowMs = 1000 + index
          for (const group of drops) table.delete(group)
          for (const [[group, { kind, value }], age] of puts) table.set(group, kind, { value, atMs: nowMs - age, source: kind })
          // As a calm sweep does: every knob read again, the value another object that says the same.
          if (renews) {
            for (const [group, kind, { value, source }] of table.entries()) {
              const again =
                value instanceof CpuSet
                  ? CpuSet.from([...value])
                  : typeof value === 'object' && value !== null && 'periodUs' in value
                    ? { ...value }
                    : value
              table.set(group, kind, { value: again, atMs: nowMs, source })
            }
          }
          encoder.tick({ ...snapshotOf({ nowMs, pace: index % 3 === 0 ? 'calm' : 'hot' }), actual: table })
          const [entry] = entriesOf(decoder, encoder)
          if (entry?.is !== 'tick') throw new Error('no tick')
          expect([...entry.snapshot.actual.entries()]).toStrictEqual([...table.entries()])
        }
      }),
      { numRuns: 300 },
    )
  })

  it('take what a hot tick hands on for the very object that it is', () => {
    const calm = deepFreeze(snapshotOf({ pods: [{ uid: 'a', usesMilli: 3 }], pace: 'calm' }))
    const [encoder, decoder] = [new EntryEncoder(), new EntryDecoder({ configOf: () => ({}), topologies: new Map() })]
    encoder.tick(calm)
    for (let index = 1; index < 5; index += 1)
      encoder.tick({ ...calm, nowMs: calm.nowMs + index, pace: 'hot', pods: { ...calm.pods } })
    encoder.tick({ ...calm, nowMs: calm.nowMs + 9, pods: { ...calm.pods, pods: [...calm.pods.pods] } })
    const seen = entriesOf(decoder, encoder).flatMap((entry) => (entry.is === 'tick' ? [entry.snapshot] : []))
    const [first, ...rest] = seen
    for (const { topology, capabilities, layout } of rest) {
      expect(topology).toBe(first?.topology)
      expect(capabilities).toBe(first?.capabilities)
      expect(layout).toBe(first?.layout)
    }
    expect(new Set(seen.slice(0, 5).map(({ pods }) => pods.pods)).size).toBe(1)
    expect(seen[5]?.pods.pods).not.toBe(first?.pods.pods)
    expect(seen[5]?.pods.pods[0]).toBe(first?.pods.pods[0])
  })

  it('of quotas with another period and the same share stay apart', () => {
    const [encoder, decoder] = [new EntryEncoder(), new EntryDecoder({ configOf: () => ({}), topologies: new Map() })]
    for (const [index, periodUs] of [100_000, 200_000].entries()) {
      const table = new KnobTable<Reading<KnobValue>>()
      const nowMs = 5 + index
      table.set('/a', 'quota', {
        value: { quotaUs: micros(periodUs / 2), periodUs: micros(periodUs) },
        atMs: nowMs,
        source: 'quota',
      })
      encoder.tick({ ...snapshotOf({ nowMs }), actual: table })
      const [entry] = entriesOf(decoder, encoder)
      expect(entry?.is === 'tick' && entry.snapshot.actual.get('/a', 'quota')?.value).toEqual({ quotaUs: periodUs / 2, periodUs })
    }
  })
})
