/**
 * The two dialects of cgroups as data: for each knob and reading the controller, the file and the text form, under v1 and v2.
 * Everything that differs between the versions stands in the two tables below and nowhere else.
 * Kernel: Documentation/admin-guide/cgroup-v1/{cpusets,memory,freezer-subsystem}.rst, admin-guide/cgroup-v2.rst.
 */
import { CpuListError, CpuSet } from '../cpu/index.ts'
import type { Dialect, KnobKind, KnobValues } from '../model/index.ts'
import { micros } from '../model/index.ts'

export type Controller = 'cpu' | 'cpuacct' | 'cpuset' | 'memory' | 'freezer'
export const CONTROLLERS: readonly Controller[] = ['cpu', 'cpuacct', 'cpuset', 'memory', 'freezer']

export interface KernelFile {
  readonly controller: Controller
  readonly name: string
}

/** A knob's file with its text form. `decode` gets the trimmed text and answers undefined for what it does not know. */
export interface KnobFile<Value> extends KernelFile {
  readonly decode: (text: string) => Value | undefined
  readonly encode: (value: Value) => string
}

type KnobFiles = { readonly [Kind in KnobKind]?: KnobFile<KnobValues[Kind]> }

/** Readings, in slot order. The knobs' slots follow them. */
export const READING_SLOTS = ['cpuUsage', 'cpuStat', 'memoryUsage', 'memoryStat', 'cpuPeriod'] as const
export type ReadingSlot = (typeof READING_SLOTS)[number]

export interface DialectTable {
  readonly readings: Readonly<Partial<Record<ReadingSlot, KernelFile>>>
  readonly knobs: KnobFiles
}

function integer(text: string): number | undefined {
  return /^-?\d+$/.test(text) ? Number(text) : undefined
}

function cpuset(text: string): CpuSet | undefined {
  try {
    return CpuSet.parse(text)
  } catch (thrown) {
    if (thrown instanceof CpuListError) return undefined
    throw thrown
  }
}

const CPUSET: KnobFile<CpuSet> = {
  controller: 'cpuset',
  name: 'cpuset.cpus',
  decode: cpuset,
  // A write of zero bytes never reaches the kernel: an empty set is written as a bare newline.
  encode: (value) => (value.isEmpty ? '\n' : value.toString()),
}

function plain(name: string, controller: Controller = 'cpu'): KnobFile<number> {
  return { controller, name, decode: integer, encode: String }
}

function limit(name: string): KnobFile<number | null> {
  return {
    controller: 'memory',
    name,
    decode: (text) => (text === 'max' ? null : integer(text)),
    encode: (value) => (value === null ? 'max' : String(value)),
  }
}

/** What vendors' kernels add, under the same names in both dialects. Where there is no such file, the probe says so. */
const CLASS_FLAGS = {
  bvt: plain('cpu.bvt_warp_ns'),
  qosLevel: plain('cpu.qos_level'),
  offline: plain('cpu.offline'),
  btShares: plain('cpu.bt_shares'),
} as const satisfies KnobFiles

/** Kernel: PAGE_COUNTER_MAX pages; v1 prints it, less the rounding to pages, for "no limit". */
const V1_NO_LIMIT_BYTES = 0x7fff_ffff_ffff_0000

const V1: DialectTable = {
  readings: {
    cpuUsage: { controller: 'cpuacct', name: 'cpuacct.usage' },
    cpuStat: { controller: 'cpu', name: 'cpu.stat' },
    memoryUsage: { controller: 'memory', name: 'memory.usage_in_bytes' },
    memoryStat: { controller: 'memory', name: 'memory.stat' },
    cpuPeriod: { controller: 'cpu', name: 'cpu.cfs_period_us' },
  },
  knobs: {
    cpuset: CPUSET,
    quota: {
      controller: 'cpu',
      name: 'cpu.cfs_quota_us',
      // The period is a file of its own (slot cpuPeriod); the reader puts the two together.
      decode: (text) => {
        const quotaUs = integer(text)
        if (quotaUs === undefined) return undefined
        return { quotaUs: quotaUs < 0 ? null : micros(quotaUs), periodUs: micros(100_000) }
      },
      encode: (value) => String(value.quotaUs ?? -1),
    },
    burst: plain('cpu.cfs_burst_us'),
    ...CLASS_FLAGS,
    weight: plain('cpu.shares'),
    idle: plain('cpu.idle'),
    memoryMax: {
      controller: 'memory',
      name: 'memory.limit_in_bytes',
      decode: (text) => {
        const value = integer(text)
        if (value === undefined) return undefined
        return value < 0 || value >= V1_NO_LIMIT_BYTES - 2 ** 20 ? null : value
      },
      encode: (value) => String(value ?? -1),
    },
    freeze: {
      controller: 'freezer',
      name: 'freezer.state',
      // FREEZING is on its way to FROZEN and counts as such: the state was asked for.
      decode: (text) => (text === 'THAWED' ? 0 : text === 'FROZEN' || text === 'FREEZING' ? 1 : undefined),
      encode: (value) => (value === 1 ? 'FROZEN' : 'THAWED'),
    },
  },
}

const V2: DialectTable = {
  readings: {
    // cpu.stat holds use and throttling; one slot each keeps the reader the same for both dialects.
    cpuUsage: { controller: 'cpu', name: 'cpu.stat' },
    cpuStat: { controller: 'cpu', name: 'cpu.stat' },
    memoryUsage: { controller: 'memory', name: 'memory.current' },
    memoryStat: { controller: 'memory', name: 'memory.stat' },
  },
  knobs: {
    cpuset: CPUSET,
    quota: {
      controller: 'cpu',
      name: 'cpu.max',
      decode: (text) => {
        const parts = /^(max|\d+) (\d+)$/.exec(text)
        if (parts === null) return undefined
        return { quotaUs: parts[1] === 'max' ? null : micros(Number(parts[1])), periodUs: micros(Number(parts[2])) }
      },
      encode: (value) => `${value.quotaUs ?? 'max'} ${value.periodUs}`,
    },
    burst: plain('cpu.max.burst'),
    ...CLASS_FLAGS,
    weight: plain('cpu.weight'),
    idle: plain('cpu.idle'),
    memoryMin: limit('memory.min'),
    memoryLow: limit('memory.low'),
    memoryHigh: limit('memory.high'),
    memoryMax: limit('memory.max'),
    freeze: plain('cgroup.freeze', 'freezer'),
  },
}

export const DIALECTS: Readonly<Record<Dialect, DialectTable>> = { v1: V1, v2: V2 }

/** Why a knob is missing from a dialect; undefined when the dialect has it. */
export function missingReason(dialect: Dialect, kind: KnobKind): string | undefined {
  return DIALECTS[dialect].knobs[kind] === undefined ? `cgroup ${dialect} has no such file` : undefined
}
