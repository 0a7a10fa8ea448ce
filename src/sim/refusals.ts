/**
 * What the kernel refuses, as functions of the groups there are: the rules that the model kernel is strict by, compared write by write with
 * the real one in test/cgroup/kernel.test.ts.
 * Kernel: validate_change() in kernel/cgroup/cpuset.c; tg_cfs_schedulable_down() and sched_group_set_shares() in kernel/sched/;
 * mem_cgroup_resize_max() and memory_max_write() in mm/.
 */
import type { CpuSet } from '../cpu/index.ts'
import type { Capabilities, DeviceLimits, Dialect, GroupPath, IoLimits, KnobSetting, KnobValues, Quota } from '../model/index.ts'
import { DEFAULT_PERIOD_US, MIN_QUOTA_US, parentGroup, quotaMilliCpu } from '../model/index.ts'

export const WEIGHT_RANGE: Readonly<Record<Dialect, readonly [number, number]>> = { v1: [2, 262_144], v2: [1, 10_000] }

/** Kernel: bfq_io_set_weight_legacy() and ioc_weight_write() in block/. */
const IO_WEIGHT: Readonly<Record<Dialect, { readonly most: number; readonly errno: string }>> = {
  v1: { most: 1000, errno: 'ERANGE' },
  v2: { most: 10_000, errno: 'EINVAL' },
}

export interface ModelGroup {
  readonly path: GroupPath
  readonly id: number
  readonly knobs: KnobValues
  /** Whether a process is in the group itself. */
  populated: boolean
  cpuUsageUs: number
  periods: number
  throttledPeriods: number
  throttledUs: number
  /** Of the group and of all below it. */
  tasks: number
  usageBytes: number
  inactiveFileBytes: number
}

type Groups = ReadonlyMap<GroupPath, ModelGroup>

export interface Ground {
  readonly capabilities: Capabilities
  readonly groups: Groups
  readonly online: CpuSet
  /** CPUs that were online at any time. Kernel: v2 takes a set of these, v1 only of what is online now. */
  readonly possible: CpuSet
  /** Numbers of the disks that there are. */
  readonly disks: ReadonlySet<string>
}

/** The errno of a write that the kernel would refuse; undefined when it would take it. */
export function refusalOf(ground: Ground, group: ModelGroup, setting: KnobSetting): string | undefined {
  switch (setting.kind) {
    case 'cpuset':
      return refuseCpuset(ground, group, setting.value)
    case 'quota':
      return refuseQuota(ground, group, setting.value)
    case 'burst':
      return setting.value > (group.knobs.quota.quotaUs ?? Infinity) ? 'EINVAL' : undefined
    case 'weight':
      return refuseWeight(ground, group, setting.value)
    case 'bvt':
      return Math.abs(setting.value) <= 2 ? undefined : 'EINVAL'
    case 'qosLevel':
      // Kernel: openEuler takes a group offline and not back.
      return setting.value === -1 || (setting.value === 0 && group.knobs.qosLevel === 0) ? undefined : 'EINVAL'
    case 'btShares':
      return undefined
    case 'idle':
    case 'offline':
    case 'coreCookie':
      return isFlag(setting.value) ? undefined : 'EINVAL'
    case 'freeze':
      if (isFlag(setting.value)) return undefined
      return ground.capabilities.dialect === 'v1' ? 'EINVAL' : 'ERANGE'
    case 'memoryMax':
      // v2 takes any limit, and kills (overLimit) where v1 gives up.
      return ground.capabilities.dialect === 'v1' && overLimit(group, setting.value) ? 'EBUSY' : undefined
    case 'memorySoft':
      return undefined
    case 'ioWeight':
      return refuseIoWeight(ground, setting.value)
    case 'ioMax':
      return refuseIoLimits(ground, group.knobs.ioMax, setting.value)
    case 'memoryMin':
    case 'memoryLow':
    case 'memoryHigh':
      return undefined
  }
}

const isFlag = (value: number): boolean => value === 0 || value === 1

/** Whether a limit is below what the group can't give back. */
export function overLimit(group: ModelGroup, limitBytes: number | null): boolean {
  return limitBytes !== null && group.usageBytes - group.inactiveFileBytes > limitBytes
}

/** The groups directly below one. */
export function childrenOf(groups: Groups, path: GroupPath): ModelGroup[] {
  return [...groups.values()].filter((other) => other.path !== '/' && parentGroup(other.path) === path)
}

function refuseCpuset({ capabilities, groups, online, possible }: Ground, group: ModelGroup, wanted: CpuSet): string | undefined {
  if (group.path === '/') return 'EACCES'
  if (!wanted.isSubsetOf(possible)) return 'ERANGE'
  if (!capabilities.nestedCpuset) return undefined
  if (!wanted.isSubsetOf(online)) return 'EINVAL'
  if (childrenOf(groups, group.path).some((child) => !child.knobs.cpuset.isSubsetOf(wanted))) return 'EBUSY'
  const parent = groups.get(parentGroup(group.path))
  if (parent !== undefined && !wanted.isSubsetOf(parent.knobs.cpuset)) return 'EACCES'
  return wanted.isEmpty && group.populated ? 'ENOSPC' : undefined
}

function refuseQuota({ capabilities, groups }: Ground, group: ModelGroup, wanted: Quota): string | undefined {
  const { quotaUs, periodUs } = wanted
  if ((quotaUs ?? Infinity) < MIN_QUOTA_US || periodUs < 1000 || periodUs > 1_000_000) return 'EINVAL'
  if ((quotaUs ?? Infinity) < group.knobs.burst) return 'EINVAL'
  if (!capabilities.nestedQuota || quotaUs === null) return undefined
  const milli = quotaMilliCpu(wanted)
  if (group.path !== '/' && milli > inheritedMilli(groups, parentGroup(group.path))) return 'EINVAL'
  for (const { path, knobs } of groups.values()) {
    const isBelow = path.startsWith(`${group.path}/`)
    if (isBelow && knobs.quota.quotaUs !== null && quotaMilliCpu(knobs.quota) > milli) return 'EINVAL'
  }
  return undefined
}

/** The nearest quota at or above `path`. */
function inheritedMilli(groups: Groups, path: GroupPath): number {
  const milli = quotaMilliCpu(groups.get(path)?.knobs.quota ?? { quotaUs: null, periodUs: DEFAULT_PERIOD_US })
  return milli !== Infinity || path === '/' ? milli : inheritedMilli(groups, parentGroup(path))
}

function refuseWeight({ capabilities }: Ground, group: ModelGroup, wanted: number): string | undefined {
  // v1 bends a weight into the range; v2 looks at the range first (cpu_weight_write_u64).
  const [least, most] = WEIGHT_RANGE[capabilities.dialect]
  if (capabilities.dialect === 'v2' && (wanted < least || wanted > most)) return 'ERANGE'
  return group.knobs.idle === 1 ? 'EINVAL' : undefined
}

function refuseIoWeight({ capabilities }: Ground, wanted: number): string | undefined {
  const { most, errno } = IO_WEIGHT[capabilities.dialect]
  return wanted >= 1 && wanted <= most ? undefined : errno
}

/** The first refusal; limits of other devices are taken all the same, since each is a write of its own. */
function refuseIoLimits(ground: Ground, held: IoLimits, wanted: IoLimits): string | undefined {
  if ([...wanted.devices.values()].some((limits) => amountsOf(limits).some((amount) => amount < 1))) return 'ERANGE'
  for (const [device, limits] of wanted.devices) {
    const errno = refuseDevice(ground, device, { held: held.of(device), wanted: limits })
    if (errno !== undefined) return errno
  }
  return undefined
}

/** Why the limits of one device are not taken. What they are already is not written, so that nothing is refused then. */
export function refuseDevice(
  { capabilities, disks }: Pick<Ground, 'capabilities' | 'disks'>,
  device: string,
  { held, wanted }: { readonly held: DeviceLimits; readonly wanted: DeviceLimits },
): string | undefined {
  if (sameLimits(held, wanted)) return undefined
  if (!disks.has(device)) return 'ENODEV'
  // Kernel: tg_set_limit() wants more than 1; v1 takes 1.
  return capabilities.dialect === 'v2' && amountsOf(wanted).includes(1) ? 'EINVAL' : undefined
}

const amountsOf = (limits: DeviceLimits): number[] => Object.values(limits).filter((amount) => amount !== null)

const sameLimits = (a: DeviceLimits, b: DeviceLimits): boolean =>
  a.readBps === b.readBps && a.writeBps === b.writeBps && a.readIops === b.readIops && a.writeIops === b.writeIops
