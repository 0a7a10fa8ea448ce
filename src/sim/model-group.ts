/**
 * What a group of the model kernel is when it is new, and what a kernel of a given shape can do.
 * Kernel: defaults as in cgroup-v2.rst and cgroup-v1/; reclaim in mm/vmscan.c.
 */
import { CpuSet } from '../cpu/index.ts'
import type { Capabilities, Capability, Dialect, GroupPath, KnobKind } from '../model/index.ts'
import { DEFAULT_PERIOD_US, IoLimits, KNOB_KINDS } from '../model/index.ts'
import type { ModelGroup } from './refusals.ts'

export const DEFAULT_WEIGHT: Readonly<Record<Dialect, number>> = { v1: 1024, v2: 100 }
const LACKS: Readonly<Record<Dialect, readonly KnobKind[]>> = {
  v1: ['memoryMin', 'memoryLow', 'memoryHigh'],
  v2: ['memorySoft'],
}
/** What mainline kernels lack, and what is used only where the configuration asks for it. */
const EXTRA_KINDS: readonly KnobKind[] = ['bvt', 'coreCookie', 'qosLevel', 'offline', 'btShares']

export interface KernelShape {
  readonly dialect: Dialect
  /** Knobs that this kernel does not have, on top of what the dialect lacks. */
  readonly missing?: readonly KnobKind[]
  /** Knobs that not every kernel has, and this one does. */
  readonly vendor?: readonly KnobKind[]
}

export function capabilitiesOf({ dialect, missing = [], vendor = [] }: KernelShape): Capabilities {
  const lacks = [...LACKS[dialect], ...EXTRA_KINDS.filter((kind) => !vendor.includes(kind)), ...missing]
  const knobs = Object.fromEntries(
    KNOB_KINDS.map((kind): [KnobKind, Capability] => [
      kind,
      lacks.includes(kind) ? { usable: false, reason: `the simulated kernel has no ${kind}` } : { usable: true, file: kind },
    ]),
  )
  return {
    dialect,
    driver: 'cgroupfs',
    knobs: knobs as Record<KnobKind, Capability>,
    nestedQuota: dialect === 'v1',
    nestedCpuset: dialect === 'v1',
    nestedIo: dialect === 'v2',
    kernelRelease: 'simulated',
  }
}

/** A group with the kernel's defaults, and no CPUs of its own. */
export function newGroup(path: GroupPath, id: number, dialect: Dialect): ModelGroup {
  return {
    path,
    id,
    knobs: {
      cpuset: CpuSet.EMPTY,
      quota: { quotaUs: null, periodUs: DEFAULT_PERIOD_US },
      burst: 0,
      weight: DEFAULT_WEIGHT[dialect],
      idle: 0,
      bvt: 0,
      coreCookie: 0,
      qosLevel: 0,
      offline: 0,
      btShares: 1024,
      memoryMax: null,
      memoryHigh: null,
      memoryLow: 0,
      memoryMin: 0,
      memorySoft: null,
      ioWeight: 100,
      ioMax: IoLimits.NONE,
      freeze: 0,
    },
    populated: false,
    cpuUsageUs: 0,
    periods: 0,
    throttledPeriods: 0,
    throttledUs: 0,
    tasks: 0,
    usageBytes: 0,
    inactiveFileBytes: 0,
  }
}

/** Page cache that is not in use goes first, down to the limit; the rest takes swap, which nodes have none of. */
export function reclaim(group: ModelGroup, limitBytes: number | null): void {
  const freed = Math.min(group.inactiveFileBytes, Math.max(0, group.usageBytes - (limitBytes ?? Infinity)))
  group.usageBytes -= freed
  group.inactiveFileBytes -= freed
}

/** Kernel: UINT_MAX operations a second are no limit (tg_set_limit); the port sees to it that v1 does not cut more than that down. */
export function withinOperations(limits: IoLimits): IoLimits {
  const within = (iops: number | null): number | null => (iops !== null && iops >= 2 ** 32 - 1 ? null : iops)
  return IoLimits.of(
    [...limits.devices].map(([device, some]) => [
      device,
      { ...some, readIops: within(some.readIops), writeIops: within(some.writeIops) },
    ]),
  )
}
