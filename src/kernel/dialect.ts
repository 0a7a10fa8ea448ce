/**
 * The two dialects of cgroups as data: for each knob and reading the controller, the file and the text form, under v1 and v2.
 * Everything that differs between the versions stands in the two tables below and nowhere else.
 * Kernel: Documentation/admin-guide/cgroup-v1/{cpusets,memory,freezer-subsystem,blkio-controller}.rst,
 * admin-guide/cgroup-v2.rst.
 */
import { CpuListError, CpuSet } from '../cpu/index.ts'
import type { Dialect, KnobKind, KnobValue, KnobValues } from '../model/index.ts'
import { IoLimits, micros, type Micros } from '../model/index.ts'

/** blkio is v1's, io is v2's. */
export type Controller = 'cpu' | 'cpuacct' | 'cpuset' | 'memory' | 'freezer' | 'blkio' | 'io' | 'pids'
export const CONTROLLERS: readonly Controller[] = ['cpu', 'cpuacct', 'cpuset', 'memory', 'freezer', 'blkio', 'io', 'pids']

export interface KernelFile {
  readonly controller: Controller
  readonly name: string
}

/** A knob's file with its text form. `decode` gets the trimmed text and answers undefined for what it does not know. */
export interface KnobFile<Value> extends KernelFile {
  readonly decode: (text: string) => Value | undefined
  readonly encode: (value: Value) => string
  /** Another file that does instead where this one is not there. */
  readonly instead?: KnobFile<Value>
}

type KnobFiles = { readonly [Kind in KnobKind]?: KnobFile<KnobValues[Kind]> }

/** Readings, in slot order. The knobs' slots follow them. */
export const READING_SLOTS = [
  'cpuUsage',
  'cpuStat',
  'memoryUsage',
  'memoryStat',
  'cpuPeriod',
  'cpuPressure',
  'memoryPressure',
  'ioPressure',
  'readBps',
  'writeBps',
  'readIops',
  'writeIops',
  'tasks',
] as const
export type ReadingSlot = (typeof READING_SLOTS)[number]
/** The files of the knob ioMax under v1, where each limit has one. */
export const IO_SLOTS = ['readBps', 'writeBps', 'readIops', 'writeIops'] as const satisfies readonly ReadingSlot[]

export interface DialectTable {
  readonly readings: Readonly<Partial<Record<ReadingSlot, KernelFile>>>
  readonly knobs: KnobFiles
}

/** Kernel: the widest number in a file is one of 64 bits. A text beyond it is no number, and never an infinite one. */
const MOST = 2 ** 64

function natural(text: string): number | undefined {
  return /^\d{1,20}$/.test(text) && Number(text) <= MOST ? Number(text) : undefined
}

/** A period of 0 would make an infinite share of every quota. */
function period(text: string): Micros | undefined {
  const periodUs = natural(text)
  return periodUs === undefined || periodUs === 0 ? undefined : micros(periodUs)
}

function integer(text: string): number | undefined {
  const amount = natural(text.startsWith('-') ? text.slice(1) : text)
  return amount === undefined || amount === 0 || !text.startsWith('-') ? amount : -amount
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

/** Kernel: tasks are charged to the group they are in and to all above it, so that the count holds those below (cgroup-v1/pids.rst). */
const PIDS: KernelFile = { controller: 'pids', name: 'pids.current' }

function plain(name: string, controller: Controller = 'cpu'): KnobFile<number> {
  return { controller, name, decode: natural, encode: String }
}

/** The few of the CPU's whose scale goes below 0. */
function signed(name: string): KnobFile<number> {
  return { controller: 'cpu', name, decode: integer, encode: String }
}

function limit(name: string): KnobFile<number | null> {
  return {
    controller: 'memory',
    name,
    decode: (text) => (text === 'max' ? null : natural(text)),
    encode: (value) => (value === null ? 'max' : String(value)),
  }
}

/** Kernel: PAGE_COUNTER_MAX pages; v1 prints it, less the rounding to pages, for "no limit". */
const V1_NO_LIMIT_BYTES = 0x7fff_ffff_ffff_0000

/** v1 prints PAGE_COUNTER_MAX pages for no limit, and takes −1 for it. */
function v1Limit(name: string): KnobFile<number | null> {
  return {
    controller: 'memory',
    name,
    decode: (text) => {
      const value = integer(text)
      if (value === undefined) return undefined
      return value < 0 || value >= V1_NO_LIMIT_BYTES - 2 ** 20 ? null : value
    },
    encode: (value) => String(value ?? -1),
  }
}

/**
 * Kernel: a line for the group, and one for each device that has a weight of its own, which stays as it is. `default` may be left out in a
 * write and is left out by bfq under v1 (bfq_io_show_weight_legacy, ioc_weight_show).
 */
function ioWeight(name: string, controller: Controller): KnobFile<number> {
  return {
    controller,
    name,
    decode: (text) => natural(/^(?:default )?(\d+)(?:\n|$)/.exec(text)?.[1] ?? ''),
    encode: (value) => (controller === 'io' ? `default ${value}` : String(value)),
  }
}

/** What vendors' kernels add, under the same names in both dialects. Where there is no such file, the probe says so. */
const CLASS_FLAGS = {
  bvt: signed('cpu.bvt_warp_ns'),
  qosLevel: signed('cpu.qos_level'),
  offline: plain('cpu.offline'),
  btShares: plain('cpu.bt_shares'),
} as const satisfies KnobFiles

const V1: DialectTable = {
  readings: {
    cpuUsage: { controller: 'cpuacct', name: 'cpuacct.usage' },
    cpuStat: { controller: 'cpu', name: 'cpu.stat' },
    memoryUsage: { controller: 'memory', name: 'memory.usage_in_bytes' },
    memoryStat: { controller: 'memory', name: 'memory.stat' },
    cpuPeriod: { controller: 'cpu', name: 'cpu.cfs_period_us' },
    readBps: { controller: 'blkio', name: 'blkio.throttle.read_bps_device' },
    writeBps: { controller: 'blkio', name: 'blkio.throttle.write_bps_device' },
    readIops: { controller: 'blkio', name: 'blkio.throttle.read_iops_device' },
    writeIops: { controller: 'blkio', name: 'blkio.throttle.write_iops_device' },
    tasks: PIDS,
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
    memoryMax: v1Limit('memory.limit_in_bytes'),
    memorySoft: v1Limit('memory.soft_limit_in_bytes'),
    ioWeight: ioWeight('blkio.bfq.weight', 'blkio'),
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
    cpuPressure: { controller: 'cpu', name: 'cpu.pressure' },
    memoryPressure: { controller: 'memory', name: 'memory.pressure' },
    ioPressure: { controller: 'io', name: 'io.pressure' },
    tasks: PIDS,
  },
  knobs: {
    cpuset: CPUSET,
    quota: {
      controller: 'cpu',
      name: 'cpu.max',
      decode: (text) => {
        const [, quotaText = '', periodText = ''] = /^(max|\d+) (\d+)$/.exec(text) ?? []
        const quotaUs = quotaText === 'max' ? null : natural(quotaText)
        const periodUs = period(periodText)
        if (quotaUs === undefined || periodUs === undefined) return undefined
        return { quotaUs: quotaUs === null ? null : micros(quotaUs), periodUs }
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
    ioWeight: { ...ioWeight('io.weight', 'io'), instead: ioWeight('io.bfq.weight', 'io') },
    ioMax: { controller: 'io', name: 'io.max', decode: (text) => IoLimits.parse(text), encode: String },
    freeze: plain('cgroup.freeze', 'freezer'),
  },
}

export const DIALECTS: Readonly<Record<Dialect, DialectTable>> = { v1: V1, v2: V2 }

/** The files that a knob may be, the best one first. Those of ioMax under v1 are readings: io-limits.ts puts the four together. */
export function filesOf(dialect: Dialect, kind: KnobKind): readonly KernelFile[] {
  if (kind === 'ioMax' && dialect === 'v1') return IO_SLOTS.flatMap((slot) => V1.readings[slot] ?? [])
  const file = DIALECTS[dialect].knobs[kind]
  if (file === undefined) return []
  return file.instead === undefined ? [file] : [file, file.instead]
}

/** The file of a knob, with its text form; `name` says which one where it may be one of two. */
export function knobFile(dialect: Dialect, kind: KnobKind, name?: string): KnobFile<KnobValue> | undefined {
  const file = DIALECTS[dialect].knobs[kind] as KnobFile<KnobValue> | undefined
  return file?.instead !== undefined && file.instead.name === name ? file.instead : file
}

/** Why a knob is missing from a dialect; undefined when the dialect has it. */
export function missingReason(dialect: Dialect, kind: KnobKind): string | undefined {
  return filesOf(dialect, kind).length === 0 ? `cgroup ${dialect} has no such file` : undefined
}
