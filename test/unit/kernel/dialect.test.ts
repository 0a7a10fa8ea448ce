/**
 * Every knob's text form in both dialects, over what real kernels print (6.18 v1, 6.1 v2), and back: decode(encode(x)) is x for every
 * value a knob can hold, and a text that is not the knob's is undefined, never a throw and never a wrong number.
 */
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { CpuSet } from '../../../src/cpu/index.ts'
import { DIALECTS, missingReason } from '../../../src/kernel/dialect.ts'
import {
  type DeviceLimits,
  identicalValue,
  IoLimits,
  KNOB_KINDS,
  micros,
  NO_DEVICE_LIMITS,
  type Dialect,
  type KnobKind,
  type KnobValue,
  type KnobValues,
  type Quota,
} from '../../../src/model/index.ts'

const ioLimits = (device: string, limits: Partial<DeviceLimits>): IoLimits =>
  IoLimits.of([[device, { ...NO_DEVICE_LIMITS, ...limits }]])

const BOTH = ['v1', 'v2'] as const

interface AnyFile {
  readonly decode: (text: string) => KnobValue | undefined
  readonly encode: (value: KnobValue) => string
}

function fileOf(dialect: Dialect, kind: KnobKind): AnyFile {
  const file = DIALECTS[dialect].knobs[kind]
  if (file === undefined) throw new Error(`${dialect} has no ${kind}`)
  return file as unknown as AnyFile
}

const quota = (quotaUs: number | null, periodUs = 100_000): Quota => ({
  quotaUs: quotaUs === null ? null : micros(quotaUs),
  periodUs: micros(periodUs),
})

describe('what kernels print', () => {
  it.each<[Dialect, KnobKind, string, KnobValue | undefined]>([
    ['v1', 'memoryMax', '9223372036854771712', null],
    // Pages of 64 KiB, as on some arm64 kernels.
    ['v1', 'memoryMax', '9223372036854710272', null],
    ['v1', 'memoryMax', '536870912', 536_870_912],
    ['v1', 'memoryMax', '-1', null],
    ['v1', 'quota', '-1', quota(null)],
    ['v1', 'quota', '50000', quota(50_000)],
    ['v1', 'quota', 'max 100000', undefined],
    ['v1', 'weight', '2', 2],
    ['v1', 'weight', '262144', 262_144],
    ['v1', 'idle', '1', 1],
    ['v1', 'burst', '0', 0],
    ['v1', 'freeze', 'THAWED', 0],
    ['v1', 'freeze', 'FREEZING', 1],
    ['v1', 'freeze', 'FROZEN', 1],
    ['v1', 'freeze', 'thawed', undefined],
    ['v1', 'memorySoft', '9223372036854771712', null],
    ['v1', 'memorySoft', '-1', null],
    ['v1', 'memorySoft', '99999744', 99_999_744],
    ['v1', 'memorySoft', '0', 0],
    ['v1', 'ioWeight', '100', 100],
    ['v2', 'ioWeight', 'default 50', 50],
    ['v2', 'ioWeight', 'default 50\n8:16 200\n8:0 default', 50],
    ['v2', 'ioWeight', '8:16 200', undefined],
    ['v2', 'ioMax', '', IoLimits.NONE],
    ['v2', 'ioMax', '8:16 rbps=2097152 wbps=max riops=max wiops=120', ioLimits('8:16', { readBps: 2_097_152, writeIops: 120 })],
    ['v2', 'ioMax', '8:16 rbps=2097152 wat=1', undefined],
    ['v2', 'quota', 'max 100000', quota(null)],
    ['v2', 'quota', '50000 100000', quota(50_000)],
    ['v2', 'quota', '1000 20000', quota(1000, 20_000)],
    ['v2', 'quota', 'max', undefined],
    ['v2', 'quota', '-1', undefined],
    ['v2', 'memoryMax', 'max', null],
    ['v2', 'memoryMax', '0', 0],
    ['v2', 'memoryHigh', '4096', 4096],
    ['v2', 'memoryMin', '0', 0],
    ['v2', 'memoryLow', 'max', null],
    ['v2', 'freeze', '1', 1],
    ['v2', 'weight', '10000', 10_000],
    ['v2', 'weight', '0', 0],
  ])('%s %s: %j', (dialect, kind, text, expected) => {
    const decoded = fileOf(dialect, kind).decode(text)
    expect(decoded).toEqual(expected)
  })

  it.each(BOTH)('%s cpuset: a list, one CPU, none', (dialect) => {
    const { decode } = fileOf(dialect, 'cpuset')
    expect(decode('0-3,8')).toEqual(CpuSet.parse('0-3,8'))
    expect(decode('5')).toEqual(CpuSet.from([5]))
    expect(decode('')).toEqual(CpuSet.EMPTY)
    expect(decode('0-')).toBeUndefined()
    expect(decode('3-1')).toBeUndefined()
  })

  it.each(BOTH)('%s: an empty text is no value of any knob but of those that can be empty', (dialect) => {
    for (const kind of KNOB_KINDS) {
      if (kind === 'cpuset' || kind === 'ioMax' || DIALECTS[dialect].knobs[kind] === undefined) continue
      expect(fileOf(dialect, kind).decode(''), kind).toBeUndefined()
    }
  })
})

describe('what is written', () => {
  it.each<[Dialect, KnobKind, KnobValue, string]>([
    ['v1', 'memoryMax', null, '-1'],
    ['v1', 'memorySoft', null, '-1'],
    ['v1', 'memorySoft', 4096, '4096'],
    ['v1', 'ioWeight', 20, '20'],
    ['v2', 'ioWeight', 20, 'default 20'],
    ['v1', 'quota', quota(null), '-1'],
    ['v1', 'freeze', 1, 'FROZEN'],
    ['v1', 'freeze', 0, 'THAWED'],
    ['v2', 'memoryMax', null, 'max'],
    ['v2', 'quota', quota(null, 50_000), 'max 50000'],
    ['v2', 'quota', quota(1000), '1000 100000'],
    ['v2', 'cpuset', CpuSet.parse('0,1,2,9'), '0-2,9'],
    // A write of no bytes at all would not reach the kernel.
    ['v1', 'cpuset', CpuSet.EMPTY, '\n'],
    ['v2', 'cpuset', CpuSet.EMPTY, '\n'],
  ])('%s %s', (dialect, kind, value, text) => {
    expect(fileOf(dialect, kind).encode(value)).toBe(text)
  })
})

const bytesLimit = fc.option(fc.nat(2 ** 40).map((pages) => pages * 4096))
const flag = fc.constantFrom(0, 1)
const limit = fc.option(fc.integer({ min: 1, max: 2 ** 40 }))
const VALUES: { readonly [Kind in KnobKind]: fc.Arbitrary<KnobValues[Kind]> } = {
  cpuset: fc.array(fc.nat(1023), { maxLength: 40 }).map((ids) => CpuSet.from(ids)),
  quota: fc
    .tuple(fc.option(fc.integer({ min: 1000, max: 10 ** 9 })), fc.integer({ min: 1000, max: 1_000_000 }))
    .map(([quotaUs, periodUs]) => quota(quotaUs, periodUs)),
  burst: fc.nat(10 ** 9),
  weight: fc.integer({ min: 1, max: 262_144 }),
  idle: flag,
  bvt: fc.integer({ min: -2, max: 2 }),
  coreCookie: flag,
  qosLevel: fc.constantFrom(-1, 0),
  offline: flag,
  btShares: fc.integer({ min: 2, max: 262_144 }),
  memoryMax: bytesLimit,
  memoryHigh: bytesLimit,
  memoryLow: bytesLimit,
  memoryMin: bytesLimit,
  memorySoft: bytesLimit,
  ioWeight: fc.integer({ min: 1, max: 10_000 }),
  ioMax: fc
    .array(
      fc.tuple(
        fc.constantFrom('8:0', '8:16', '259:3'),
        fc.record({ readBps: limit, writeBps: limit, readIops: limit, writeIops: limit }),
      ),
    )
    .map((devices) => IoLimits.of(devices)),
  freeze: flag,
}

describe.each(BOTH)('%s', (dialect) => {
  it.each(KNOB_KINDS.filter((kind) => DIALECTS[dialect].knobs[kind] !== undefined))('%s: reads what it writes', (kind) => {
    const { encode, decode } = fileOf(dialect, kind)
    fc.assert(
      fc.property(VALUES[kind] as fc.Arbitrary<KnobValue>, (value) => {
        // Under v1 the period is a file of its own, so only the quota goes through this text.
        const wanted = kind === 'quota' && dialect === 'v1' ? { ...(value as Quota), periodUs: micros(100_000) } : value
        expect(identicalValue(decode(encode(wanted).trim()), wanted)).toBe(true)
      }),
    )
  })

  it('decodes any text without throwing, and to nothing that is not finite', () => {
    const text = fc.oneof(fc.string(), fc.string({ unit: fc.constantFrom(...Array.from('0123456789-, maxFROZEN:/')) }))
    fc.assert(
      fc.property(text, fc.constantFrom(...KNOB_KINDS), (read, kind) => {
        if (DIALECTS[dialect].knobs[kind] === undefined) return
        const value = fileOf(dialect, kind).decode(read)
        if (typeof value === 'number') expect(Number.isFinite(value)).toBe(true)
      }),
      { numRuns: 2000 },
    )
  })

  it('names what it lacks', () => {
    const missing = KNOB_KINDS.filter((kind) => missingReason(dialect, kind) !== undefined)
    const own = dialect === 'v1' ? ['memoryMin', 'memoryLow', 'memoryHigh'] : ['memorySoft']
    expect(missing).toEqual(['coreCookie', ...own])
  })
})
