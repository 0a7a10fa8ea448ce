/**
 * A kernel in memory that refuses what the real one refuses: the port for the simulated node and for the property tests of plan/, where
 * "no illegal state in between" means that this kernel never answers EINVAL, EACCES, EBUSY, ENOSPC or ERANGE.
 * What is refused, and why, stands in refusals.ts. Kernel: sched_group_set_idle() in kernel/sched/fair.c.
 */
import { CpuSet, type CpuTopology } from '../cpu/index.ts'
import type {
  Capabilities,
  Dialect,
  GroupMemory,
  GroupPath,
  GroupThrottling,
  KernelPort,
  KnobKind,
  KnobSetting,
  KnobValue,
  MemoryUse,
  Outcome,
  PressureResource,
} from '../model/index.ts'
import { APPLIED, IoLimits, micros, MIN_QUOTA_US, outcomeOfErrno, parentGroup, SLOW_KINDS } from '../model/index.ts'
import { capabilitiesOf, DEFAULT_WEIGHT, type KernelShape, newGroup, reclaim, withinOperations } from './model-group.ts'
import { childrenOf, type ModelGroup, overLimit, refusalOf, refuseDevice, WEIGHT_RANGE } from './refusals.ts'
import { SlowWrites } from './slow-writes.ts'

/** Kernel: WEIGHT_IDLEPRIO, what cpu.shares reads while cpu.idle is 1. */
const IDLE_WEIGHT: Readonly<Record<Dialect, number>> = { v1: 3, v2: 0 }
const MEMORY_KINDS: readonly KnobKind[] = ['memoryMin', 'memoryLow', 'memoryHigh', 'memoryMax', 'memorySoft']
const PAGE_BYTES = 4096
/** Kernel: PAGE_COUNTER_MAX pages, to the precision of a number here; what is more is no limit. */
const MEMORY_NO_LIMIT_BYTES = 2 ** 63
export interface ModelKernelOptions extends KernelShape {
  readonly topology: CpuTopology
}

export class ModelKernel implements KernelPort {
  readonly capabilities: Capabilities
  readonly nodeCpuSource = 'simulated'
  readonly groups = new Map<GroupPath, ModelGroup>()
  memory: MemoryUse = { totalBytes: 64 * 2 ** 30, availableBytes: 48 * 2 ** 30 }
  nodeCpuUs = 0
  readonly pressureUs: Record<PressureResource, number> = { cpu: 0, memory: 0, io: 0 }
  /** Stalls of groups, by group and resource; undefined means that groups count none. */
  groupPressureUs: Map<GroupPath, Record<PressureResource, number>> | undefined
  runnable: number | undefined = 0
  /** Disks by name; their numbers are what limits are set by. */
  readonly devices = new Map([['sda', '8:0']])
  /** Writes that take their time, for tests that hold them. */
  readonly slow = new SlowWrites()
  ownGroups: readonly GroupPath[] = []
  /** Every write, for tests that look at the order. */
  readonly writes: { readonly group: GroupPath; readonly setting: KnobSetting; readonly outcome: Outcome }[] = []
  /** What a limit below a group's working set would have killed. */
  readonly oomKills: GroupPath[] = []
  #topology: CpuTopology
  /** CPUs that were online at any time: Kernel: v2 takes a set of these, v1 only of what is online now. */
  #possible: CpuSet
  #nextId = 1

  constructor(options: ModelKernelOptions) {
    this.#topology = options.topology
    this.#possible = options.topology.online
    this.capabilities = capabilitiesOf(options)
    this.makeGroup('/')
  }

  /** Makes a group the way the kubelet does under v1, with its parent's CPUs; under v2 a new group has no set of its own. */
  makeGroup(path: GroupPath): ModelGroup {
    const { dialect } = this.capabilities
    const parent = this.groups.get(parentGroup(path))
    const inherited = path === '/' ? this.#topology.online : (parent?.knobs.cpuset ?? CpuSet.EMPTY)
    const group = newGroup(path, this.#nextId, dialect)
    if (dialect === 'v1' || path === '/') group.knobs.cpuset = inherited
    this.#nextId += 1
    this.groups.set(path, group)
    return group
  }

  removeGroup(path: GroupPath): void {
    for (const known of this.groups.keys()) if (known === path || known.startsWith(`${path}/`)) this.groups.delete(known)
  }

  /**
   * CPUs go or come. Kernel: v1 takes those that went out of every set and does not give them back, and a set left empty sends its
   * processes to the parent (cpuset_hotplug_update_tasks); v2 keeps what was written.
   */
  hotplug(topology: CpuTopology): void {
    this.#topology = topology
    this.#possible = this.#possible.union(topology.online)
    const root = this.groups.get('/')
    if (root !== undefined) root.knobs.cpuset = topology.online
    if (this.capabilities.dialect === 'v2') return
    for (const group of this.groups.values()) {
      group.knobs.cpuset = group.knobs.cpuset.intersect(topology.online)
      if (group.knobs.cpuset.isEmpty) group.populated = false
    }
  }

  readTopology(): CpuTopology {
    return this.#topology
  }

  readOnlineText(): string {
    return this.#topology.online.toString()
  }

  readNodeCpuUs(): number {
    return this.nodeCpuUs
  }

  readNodeMemory(): MemoryUse {
    return this.memory
  }

  readNodePressureUs(resource: PressureResource): number {
    return this.pressureUs[resource]
  }

  readGroupPressureUs(group: GroupPath, resource: PressureResource): number | undefined {
    return this.groups.has(group) ? this.groupPressureUs?.get(group)?.[resource] : undefined
  }

  readRunnable(): number | undefined {
    return this.runnable
  }

  findDevice(name: string): string | undefined {
    return this.devices.get(name)
  }

  findOwnGroups(): readonly GroupPath[] {
    return this.ownGroups
  }

  readCpuUsageUs(group: GroupPath): number | undefined {
    return this.groups.get(group)?.cpuUsageUs
  }

  readThrottling(group: GroupPath, into: GroupThrottling): boolean {
    const found = this.groups.get(group)
    if (found === undefined) return false
    into.periods = found.periods
    into.throttledPeriods = found.throttledPeriods
    return true
  }

  readThrottledUs(group: GroupPath): number | undefined {
    return this.groups.get(group)?.throttledUs
  }

  readTasks(group: GroupPath): number | undefined {
    return this.groups.get(group)?.tasks
  }

  readGroupMemory(group: GroupPath, into: GroupMemory): boolean {
    const found = this.groups.get(group)
    if (found === undefined) return false
    into.usageBytes = found.usageBytes
    into.inactiveFileBytes = found.inactiveFileBytes
    return true
  }

  readKnob(group: GroupPath, kind: KnobKind): KnobValue | undefined {
    return this.capabilities.knobs[kind].usable ? this.groups.get(group)?.knobs[kind] : undefined
  }

  writeKnob(group: GroupPath, wanted: KnobSetting): Outcome {
    const found = this.groups.get(group)
    const setting = found === undefined ? wanted : this.#asWritten(found, wanted)
    const errno =
      found === undefined || !this.capabilities.knobs[setting.kind].usable ? 'ENOENT' : this.#refusalOf(found, setting)
    const outcome = errno === undefined ? APPLIED : outcomeOfErrno(errno)
    // Of what is not legal nothing is written; what a device refuses does not stop the others.
    const isPartly = setting.kind === 'ioMax' && errno !== 'ENOENT' && errno !== 'ERANGE'
    if (found !== undefined && isPartly) this.#storeIoLimits(found, setting.value)
    else if (errno === undefined && found !== undefined) this.#store(found, setting)
    this.writes.push({ group, setting: { kind: setting.kind, value: setting.value } as KnobSetting, outcome })
    return outcome
  }

  /** Kernel: v2 puts the limit in place and then reclaims; v1 reclaims first, and has the limit when it is done. */
  writeKnobSlowly(group: GroupPath, setting: KnobSetting): Promise<Outcome> {
    if (!this.slow.hold || !SLOW_KINDS.includes(setting.kind)) return Promise.resolve(this.writeKnob(group, setting))
    if (this.capabilities.dialect === 'v1') return this.slow.take(group, setting, () => this.writeKnob(group, setting))
    const outcome = this.writeKnob(group, setting)
    return this.slow.take(group, setting, () => outcome)
  }

  listChildren(group: GroupPath, most = Infinity): readonly string[] {
    const children = childrenOf(this.groups, group).slice(0, most)
    return children.map((child) => child.path.slice(child.path.lastIndexOf('/') + 1))
  }

  countChildren(group: GroupPath): number | undefined {
    return this.groups.has(group) ? childrenOf(this.groups, group).length : undefined
  }

  exists(group: GroupPath): boolean {
    return this.groups.has(group)
  }

  groupId(group: GroupPath): number | undefined {
    return this.groups.get(group)?.id
  }

  forget(): void {
    // Nothing is held: the port's other side holds descriptors.
  }

  /**
   * What the kernel makes of a value. Limits lose a part of a page (page_counter_memparse), v1 weights are bent into their range; and under
   * v1 the group's own period stays and the quota is scaled to it, as LinuxKernel does: the period is a file of its own.
   */
  #asWritten(group: ModelGroup, setting: KnobSetting): KnobSetting {
    if (MEMORY_KINDS.includes(setting.kind) && typeof setting.value === 'number') {
      const inPages = setting.value - (setting.value % PAGE_BYTES)
      return { kind: setting.kind, value: inPages < MEMORY_NO_LIMIT_BYTES ? inPages : null } as KnobSetting
    }
    if (setting.kind === 'ioMax') return { kind: 'ioMax', value: withinOperations(setting.value) }
    if (this.capabilities.dialect === 'v2') return setting
    if (setting.kind === 'weight' && group.knobs.idle !== 1) {
      const [least, most] = WEIGHT_RANGE.v1
      return { kind: 'weight', value: Math.min(most, Math.max(least, setting.value)) }
    }
    if (setting.kind !== 'quota') return setting
    const { periodUs } = group.knobs.quota
    const { quotaUs } = setting.value
    if (quotaUs === null) return { kind: 'quota', value: { quotaUs: null, periodUs } }
    const scaled = Math.max(MIN_QUOTA_US, Math.floor((quotaUs * periodUs) / setting.value.periodUs))
    return { kind: 'quota', value: { quotaUs: micros(scaled), periodUs } }
  }

  #refusalOf(group: ModelGroup, setting: KnobSetting): string | undefined {
    const { capabilities, groups } = this
    const disks = new Set(this.devices.values())
    return refusalOf({ capabilities, groups, online: this.#topology.online, possible: this.#possible, disks }, group, setting)
  }

  #store(group: ModelGroup, setting: KnobSetting): void {
    if (setting.kind === 'memoryMax' && overLimit(group, setting.value)) this.oomKills.push(group.path)
    const knobs: Record<KnobKind, KnobValue> = group.knobs
    const { dialect } = this.capabilities
    const before = knobs[setting.kind]
    knobs[setting.kind] = setting.value
    if (setting.kind === 'memoryMax' || setting.kind === 'memoryHigh') reclaim(group, setting.value)
    // Kernel: sched_group_set_idle() does nothing for the value that is there.
    if (setting.kind === 'idle' && before !== setting.value)
      knobs.weight = setting.value === 1 ? IDLE_WEIGHT[dialect] : DEFAULT_WEIGHT[dialect]
  }

  /** Each device is a write of its own: a refused one does not stop the others. A device without limits is not listed any more. */
  #storeIoLimits({ knobs }: ModelGroup, wanted: IoLimits): void {
    const ground = { capabilities: this.capabilities, disks: new Set(this.devices.values()) }
    const taken = [...wanted.devices].filter(
      ([device, limits]) => refuseDevice(ground, device, { held: knobs.ioMax.of(device), wanted: limits }) === undefined,
    )
    const now = [...IoLimits.of(taken).over(knobs.ioMax).devices]
    knobs.ioMax = IoLimits.of(now.filter(([, limits]) => Object.values(limits).some((amount) => amount !== null)))
  }
}
