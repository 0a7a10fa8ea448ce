/**
 * A knob is one writable kernel file kind of one group: what it holds, how two values compare, and which of two values gives
 * the group more. Values are kept in the kernel's own scale, so that an original can be put back exactly.
 * Kernel: Documentation/admin-guide/cgroup-v1/*, cgroup-v2.rst; scheduler/sched-bwc.rst for quota and burst.
 */
import { CpuSet } from '../cpu/index.ts'
import type { GroupPath } from './groups.ts'
import { IoLimits } from './io-limits.ts'
import { formatBytes, type Micros } from './units.ts'

/** CFS bandwidth: at most `quotaUs` of CPU time in each `periodUs`; null is no limit. */
export interface Quota {
  readonly quotaUs: Micros | null
  readonly periodUs: Micros
}

export interface KnobValues {
  cpuset: CpuSet
  quota: Quota
  /** Time that may be saved up from quiet periods, in µs; at most the quota. */
  burst: number
  /** cpu.shares (2…262144) under v1, cpu.weight (1…10000) under v2. */
  weight: number
  /** 1 makes the group SCHED_IDLE against its siblings. */
  idle: number
  /** Anolis, Alibaba: −1 (yields) to 2 (goes first) against its siblings; 0 is none. */
  bvt: number
  /**
   * 1 when every process of the group and of the groups below carries the one cookie of offline work, 0 when none carries any, and
   * PARTLY_TAGGED between the two, which is only ever read. No file: prctl(PR_SCHED_CORE).
   */
  coreCookie: number
  /** openEuler: −1 is offline, 0 online. Kernel: there is no way back from −1. */
  qosLevel: number
  /** TencentOS: 1 runs the group's tasks in a class below all others. */
  offline: number
  /** TencentOS: how offline groups share what is left to them; the scale of cpu.shares. */
  btShares: number
  /** Bytes; null is no limit. */
  memoryMax: number | null
  memoryHigh: number | null
  memoryLow: number | null
  memoryMin: number | null
  /** v1: what the group is shrunk to first when memory gets short; null is no such limit. */
  memorySoft: number | null
  /** io.weight (1…10000) under v2, blkio.bfq.weight (1…1000) under v1; 100 by default. */
  ioWeight: number
  /** Limits per block device. A claim speaks for the devices that it lists, and leaves the others as they are. */
  ioMax: IoLimits
  /** 1 is frozen. */
  freeze: number
}

export const KNOB_KINDS = [
  'quota',
  'burst',
  'bvt',
  'coreCookie',
  'qosLevel',
  'offline',
  'btShares',
  'idle',
  'weight',
  'memoryMin',
  'memoryLow',
  'memoryHigh',
  'memoryMax',
  'memorySoft',
  'ioWeight',
  'ioMax',
  'cpuset',
  'freeze',
] as const satisfies readonly (keyof KnobValues)[]
export type KnobKind = (typeof KNOB_KINDS)[number]
export type KnobValue = KnobValues[KnobKind]

/**
 * Some processes of the group carry no cookie, or another one: they came from outside, as those of a new container do. Or what they carry
 * can't be told, for lack of rights or of a view of them.
 */
export const PARTLY_TAGGED = 2
const COOKIES = ['none', 'of offline work', 'of offline work, not known of all processes']

/** One knob and a value for it, with the two kept together for the type checker. */
export type KnobSetting = { [Kind in KnobKind]: { readonly kind: Kind; readonly value: KnobValues[Kind] } }[KnobKind]

/** Kernel: the kubelet's and runc's default CFS period. */
export const DEFAULT_PERIOD_US = 100_000 as Micros
/** Kernel: min_cfs_quota_period; a smaller quota is refused with EINVAL. */
export const MIN_QUOTA_US = 1000 as Micros

/** A quota of so many milli-CPU over the default period, never below the kernel's minimum. */
export function quotaOf(milliCpu: number): Quota {
  return {
    quotaUs: Math.max(MIN_QUOTA_US, Math.round(milliCpu * (DEFAULT_PERIOD_US / 1000))) as Micros,
    periodUs: DEFAULT_PERIOD_US,
  }
}

/** The milli-CPU a quota stands for; Infinity for no limit. */
export function quotaMilliCpu(quota: Quota): number {
  return quota.quotaUs === null ? Infinity : (quota.quotaUs * 1000) / quota.periodUs
}

export function isQuota(value: KnobValue | undefined): value is Quota {
  return typeof value === 'object' && value !== null && 'periodUs' in value
}

/** Whether two values of one kind of knob are the same for the kernel. */
export function sameValue(a: KnobValue | undefined, b: KnobValue | undefined): boolean {
  if (a === b) return true
  if (a === undefined || b === undefined || a === null || b === null) return false
  if (a instanceof CpuSet) return b instanceof CpuSet && a.equals(b)
  if (a instanceof IoLimits) return b instanceof IoLimits && a.equals(b)
  return isQuota(a) && isQuota(b) && sameQuota(a, b)
}

/** The same to the last digit: what an original has to be again, where sameValue() lets quotas of equal share pass. */
export function identicalValue(a: KnobValue | undefined, b: KnobValue | undefined): boolean {
  if (isQuota(a) && isQuota(b)) return a.quotaUs === b.quotaUs && a.periodUs === b.periodUs
  return sameValue(a, b)
}

/**
 * Whether a knob that reads `reads` holds what was written to it. Limits of devices speak only for those that they list: the others are
 * somebody else's.
 */
export function isHeld(reads: KnobValue | undefined, written: KnobValue | undefined): boolean {
  return sameValue(reads, reads instanceof IoLimits && written instanceof IoLimits ? written.over(reads) : written)
}

/** Two quotas are the same when their share of a CPU is, to within the kernel's 1 µs: periods may differ between writers. */
function sameQuota(a: Quota, b: Quota): boolean {
  if (a.quotaUs === null || b.quotaUs === null) return a.quotaUs === b.quotaUs
  return Math.abs(a.quotaUs * b.periodUs - b.quotaUs * a.periodUs) < Math.max(a.periodUs, b.periodUs)
}

/** A value rendered for people, in the words of the kernel file. */
export function formatKnobValue(setting: KnobSetting): string {
  switch (setting.kind) {
    case 'cpuset':
      return setting.value.isEmpty ? '(inherit)' : setting.value.toString()
    case 'quota':
      return setting.value.quotaUs === null
        ? 'max'
        : `${Number(quotaMilliCpu(setting.value).toFixed(1))}m (${setting.value.quotaUs}/${setting.value.periodUs} us)`
    case 'memoryMin':
    case 'memoryLow':
    case 'memoryHigh':
    case 'memoryMax':
    case 'memorySoft':
      return setting.value === null ? 'max' : formatBytes(setting.value)
    case 'ioMax':
      return setting.value.devices.size === 0 ? 'max' : setting.value.toString().replaceAll('\n', '; ')
    case 'burst':
      return `${setting.value} us`
    case 'coreCookie':
      return COOKIES[setting.value] ?? String(setting.value)
    case 'bvt':
    case 'qosLevel':
    case 'offline':
    case 'btShares':
    case 'weight':
    case 'ioWeight':
    case 'idle':
    case 'freeze':
      return String(setting.value)
  }
}

/** A table from (group, kind) to something, walked in insertion order of the groups. */
export class KnobTable<T> {
  readonly #groups = new Map<GroupPath, Map<KnobKind, T>>()

  get(group: GroupPath, kind: KnobKind): T | undefined {
    return this.#groups.get(group)?.get(kind)
  }

  set(group: GroupPath, kind: KnobKind, entry: T): void {
    let kinds = this.#groups.get(group)
    if (kinds === undefined) {
      kinds = new Map()
      this.#groups.set(group, kinds)
    }
    kinds.set(kind, entry)
  }

  delete(group: GroupPath, kind?: KnobKind): void {
    if (kind === undefined) {
      this.#groups.delete(group)
      return
    }
    const kinds = this.#groups.get(group)
    kinds?.delete(kind)
    if (kinds?.size === 0) this.#groups.delete(group)
  }

  groups(): IterableIterator<GroupPath> {
    return this.#groups.keys()
  }

  ofGroup(group: GroupPath): ReadonlyMap<KnobKind, T> | undefined {
    return this.#groups.get(group)
  }

  *entries(): Generator<readonly [GroupPath, KnobKind, T]> {
    for (const [group, kinds] of this.#groups) for (const [kind, entry] of kinds) yield [group, kind, entry]
  }

  /** The same walk for every tick: it makes nothing for each group or entry, where entries() makes three objects. */
  forEach(visit: (group: GroupPath, kind: KnobKind, entry: T) => void): void {
    let at: GroupPath = '/'
    const visitKind = (entry: T, kind: KnobKind): void => visit(at, kind, entry)
    this.#groups.forEach((kinds, group) => {
      at = group
      kinds.forEach(visitKind)
    })
  }

  /** How many knobs the table holds. */
  get size(): number {
    let count = 0
    for (const kinds of this.#groups.values()) count += kinds.size
    return count
  }
}

export type ReadonlyKnobTable<T> = Pick<KnobTable<T>, 'get' | 'groups' | 'ofGroup' | 'entries' | 'forEach' | 'size'>
