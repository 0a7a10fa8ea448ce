/** Settings of knobs for tests: short ways to write them, pairs that differ, and random ones at the kernel's limits. */
import * as fc from 'fast-check'
import { CpuSet } from '../../src/cpu/index.ts'
import {
  type DeviceLimits,
  type Dialect,
  IoLimits,
  type KnobKind,
  type KnobSetting,
  micros,
  NO_DEVICE_LIMITS,
  type Quota,
} from '../../src/model/index.ts'

export const MIB = 2 ** 20

export const quota = (quotaUs: number | null, periodUs = 100_000): Quota => ({
  quotaUs: quotaUs === null ? null : micros(quotaUs),
  periodUs: micros(periodUs),
})

export const cpus = (text: string): KnobSetting => ({ kind: 'cpuset', value: CpuSet.parse(text) })
export const quotaUs = (us: number | null, periodUs?: number): KnobSetting => ({ kind: 'quota', value: quota(us, periodUs) })
/** Limits of one device; without `some`, a claim that it has none. */
export const ioMax = (device: string, some: Partial<DeviceLimits> = {}): KnobSetting => ({
  kind: 'ioMax',
  value: IoLimits.of([[device, { ...NO_DEVICE_LIMITS, ...some }]]),
})
export const knob = (kind: Exclude<KnobKind, 'cpuset' | 'quota' | 'ioMax'>, value: number): KnobSetting => ({ kind, value })

/** Two values of each knob that differ from each other. */
export const PAIRS: { readonly [Kind in KnobKind]: readonly KnobSetting[] } = {
  cpuset: [cpus('0'), cpus('1')],
  quota: [quotaUs(50_000), quotaUs(null)],
  burst: [knob('burst', 5000), knob('burst', 0)],
  weight: [knob('weight', 512), knob('weight', 2)],
  idle: [knob('idle', 1), knob('idle', 0)],
  bvt: [knob('bvt', -1), knob('bvt', 2)],
  coreCookie: [knob('coreCookie', 1), knob('coreCookie', 0)],
  qosLevel: [knob('qosLevel', -1)],
  offline: [knob('offline', 1), knob('offline', 0)],
  btShares: [knob('btShares', 512), knob('btShares', 2)],
  memoryMax: [knob('memoryMax', 64 * MIB), { kind: 'memoryMax', value: null }],
  memoryHigh: [knob('memoryHigh', 64 * MIB), { kind: 'memoryHigh', value: null }],
  memoryLow: [knob('memoryLow', MIB)],
  memoryMin: [knob('memoryMin', MIB)],
  memorySoft: [knob('memorySoft', 64 * MIB), { kind: 'memorySoft', value: null }],
  ioWeight: [knob('ioWeight', 20), knob('ioWeight', 100)],
  ioMax: [ioMax('8:0', { writeBps: MIB, readIops: 120 }), ioMax('8:0')],
  freeze: [knob('freeze', 1), knob('freeze', 0)],
}

/** The pair of a knob, for a machine whose disk is `disk`. */
export function pairOn(kind: KnobKind, disk: string | undefined): readonly KnobSetting[] {
  if (kind !== 'ioMax' || disk === undefined) return PAIRS[kind]
  return [ioMax(disk, { writeBps: MIB, readIops: 120 }), ioMax(disk)]
}

/** Settings that are legal, at a limit and beyond it, for one dialect, with these disks beside one that no machine has. */
export function anySetting(dialect: Dialect, disks: readonly string[] = []): fc.Arbitrary<KnobSetting> {
  const anyQuota = fc.tuple(
    fc.constantFrom(null, 1, 999, 1000, 5000, 33_333, 50_000, 100_000, 200_000),
    fc.constantFrom(100_000, 100_000, 50_000, 1_000_000),
  )
  const both: fc.Arbitrary<KnobSetting>[] = [
    fc.constantFrom('', '0', '1', '0-1', '1,3', '8000').map(cpus),
    anyQuota.map(([us, periodUs]) => quotaUs(us, periodUs)),
    fc.constantFrom(0, 1000, 20_000, 50_000, 150_000).map((value) => knob('burst', value)),
    fc.constantFrom(0, 1, 2, -1).map((value) => knob('idle', value)),
    fc.constantFrom(64 * MIB, 100_000_001, 2 ** 45, 2 ** 62).map((value) => knob('memoryMax', value)),
    fc.constantFrom(0, 1, 100, 1000, 1001, 10_000, 10_001).map((value) => knob('ioWeight', value)),
    anyIoMax(disks),
  ]
  const weights =
    dialect === 'v1' ? [0, 1, 2, 3, 700, 1024, 262_144, 262_145, 10 ** 9] : [0, 1, 2, 39, 100, 10_000, 10_001, 10 ** 9]
  const weight = fc.constantFrom(...weights).map((value) => knob('weight', value))
  const soft = fc
    .constantFrom<(number | null)[]>(null, 0, 64 * MIB, 100_000_001, 2 ** 62)
    .map((value): KnobSetting => ({ kind: 'memorySoft', value }))
  if (dialect === 'v1') return fc.oneof(...both, weight, soft)
  const limits = fc.constantFrom<KnobKind[]>('memoryMin', 'memoryLow', 'memoryHigh', 'memoryMax')
  const bytes = fc.constantFrom<(number | null)[]>(null, 64 * MIB, 100_000_001, 2 ** 62, 2 ** 63)
  return fc.oneof(
    ...both,
    weight,
    fc.constantFrom(999, 1000, 1_000_000, 1_000_001).map((periodUs) => quotaUs(null, periodUs)),
    fc.constantFrom(999, 1000, 1_000_001).map((periodUs) => quotaUs(50_000, periodUs)),
    fc.tuple(limits, bytes).map(([kind, value]) => ({ kind, value }) as KnobSetting),
    fc.constantFrom(0, 1, 2).map((value) => knob('freeze', value)),
  )
}

function anyIoMax(disks: readonly string[]): fc.Arbitrary<KnobSetting> {
  const amount = fc.constantFrom<(number | null)[]>(null, null, 0, 1, 2, 100, 4096, 50_000_000, 2 ** 32)
  const limits = fc.record({ readBps: amount, writeBps: amount, readIops: amount, writeIops: amount })
  const device = fc.constantFrom(...disks, ...disks, NO_DISK)
  return fc.array(fc.tuple(device, limits), { maxLength: 2 }).map((devices) => ({ kind: 'ioMax', value: IoLimits.of(devices) }))
}

/** A number that is no disk's. Kernel: 42 is for demonstrations (admin-guide/devices.txt). */
export const NO_DISK = '42:9'
