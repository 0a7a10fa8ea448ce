/**
 * The kernel port over a real (or, in tests, a copied) procfs, sysfs and cgroupfs. One object serves both dialects: the tables in
 * dialect.ts say which file is what. Synchronous throughout but for writeKnobSlowly; see held-files.ts for why.
 */
import { accessSync, opendirSync, readdirSync, statfsSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { CpuTopology } from '../cpu/index.ts'
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
  OpenedMarks,
  Outcome,
  PressureResource,
} from '../model/index.ts'
import { errnoOf, outcomeOfErrno } from '../model/index.ts'
import { fieldNumber, keyBytes, numberAt } from './bytes.ts'
import { openCookies } from './core-cookies.ts'
import { findDevice } from './devices.ts'
import type { ReadingSlot } from './dialect.ts'
import { GroupFiles, READING_SLOT } from './group-files.ts'
import { openMarks } from './group-marks.ts'
import { HeldFiles } from './held-files.ts'
import { InheritedSets } from './inherited-sets.ts'
import { KnobFiles } from './knob-files.ts'
import type { CgroupMounts } from './mounts.ts'
import { NodeReader, someTotalUs } from './node-readings.ts'
import { ownGroups } from './own-groups.ts'
import { readTopology } from './sysfs-topology.ts'

const USAGE_USEC = keyBytes('usage_usec ')
const NR_PERIODS = keyBytes('nr_periods ')
const NR_THROTTLED = keyBytes('nr_throttled ')
const THROTTLED_USEC = keyBytes('throttled_usec ')
const THROTTLED_TIME = keyBytes('throttled_time ')
/** v1 memory.stat counts the group alone and, with the prefix total_, the group and all below it. */
const INACTIVE_FILE: Readonly<Record<Dialect, Uint8Array>> = {
  v1: keyBytes('total_inactive_file '),
  v2: keyBytes('inactive_file '),
}
/** CGROUP_SUPER_MAGIC and CGROUP2_SUPER_MAGIC of linux/magic.h. */
const CGROUP_FILE_SYSTEMS: ReadonlySet<number> = new Set([0x27_e0_eb, 0x63_67_72_70])
const PRESSURE_SLOT = { cpu: 'cpuPressure', memory: 'memoryPressure', io: 'ioPressure' } as const satisfies Record<
  PressureResource,
  ReadingSlot
>

export interface LinuxKernelOptions {
  readonly mounts: CgroupMounts
  readonly capabilities: Capabilities
  readonly paths: { readonly proc: string; readonly sys: string }
  /** How many descriptors may be held; the rest is opened for each read. */
  readonly maxHeldFiles: number
  /** The group below which all offline pods are. */
  readonly offlineRoot: GroupPath
}

export class LinuxKernel implements KernelPort {
  readonly capabilities: Capabilities
  readonly nodeCpuSource: string
  readonly #mounts: CgroupMounts
  readonly #paths: LinuxKernelOptions['paths']
  readonly #held: HeldFiles
  readonly #node: NodeReader
  readonly #files: GroupFiles
  readonly #inherited: InheritedSets
  readonly #knobs: KnobFiles
  readonly #countsLinks: boolean

  constructor({ mounts, capabilities, paths, maxHeldFiles, offlineRoot }: LinuxKernelOptions) {
    this.capabilities = capabilities
    this.#mounts = mounts
    this.#paths = paths
    this.#held = new HeldFiles(maxHeldFiles)
    this.#node = new NodeReader(this.#held, paths)
    this.#inherited = new InheritedSets(paths.sys)
    this.#files = new GroupFiles(mounts, capabilities, this.#held, (group) => this.#inherited.forget(group))
    const cookies = openCookies(mounts.controllers.cpu, offlineRoot, (open) => this.#held.opening(open))
    this.#knobs = new KnobFiles(this.#files, this.#inherited, cookies)
    this.#countsLinks = isCgroupFileSystem(mounts.controllers.cpu)
    this.nodeCpuSource = this.#precise ? 'cpuacct.usage of the root' : '/proc/stat'
  }

  /** v1 counts the whole node in the root group to the nanosecond; /proc/stat counts ticks of 10 ms per CPU. */
  get #precise(): boolean {
    return this.#mounts.dialect === 'v1'
  }

  readTopology(): CpuTopology {
    return readTopology(this.#paths.sys)
  }

  readOnlineText(): string {
    return this.#node.onlineText()
  }

  readNodeCpuUs(): number | undefined {
    return this.#precise ? this.readCpuUsageUs('/') : this.#node.busyUs()
  }

  readNodeMemory(): MemoryUse | undefined {
    return this.#node.memory()
  }

  readNodePressureUs(resource: PressureResource): number | undefined {
    return this.#node.pressureUs(resource)
  }

  readGroupPressureUs(group: GroupPath, resource: PressureResource): number | undefined {
    const length = this.#files.read(group, READING_SLOT[PRESSURE_SLOT[resource]])
    return length < 0 ? undefined : someTotalUs(this.#held.buffer, length)
  }

  readRunnable(): number | undefined {
    return this.#node.runnable()
  }

  findDevice(name: string): string | undefined {
    return findDevice(this.#paths.sys, name)
  }

  findOwnGroups(): readonly GroupPath[] {
    return ownGroups(this.#paths.proc, this.#mounts.dialect).filter((group) => this.exists(group))
  }

  readCpuUsageUs(group: GroupPath): number | undefined {
    const length = this.#files.read(group, READING_SLOT.cpuUsage)
    if (length < 0) return undefined
    if (this.#mounts.dialect === 'v2') return fieldNumber(this.#held.buffer, length, USAGE_USEC)
    const usageNs = numberAt(this.#held.buffer, 0, length)
    return usageNs === undefined ? undefined : usageNs / 1000
  }

  readThrottling(group: GroupPath, into: GroupThrottling): boolean {
    const length = this.#files.read(group, READING_SLOT.cpuStat)
    if (length < 0) return false
    const periods = fieldNumber(this.#held.buffer, length, NR_PERIODS)
    const throttledPeriods = fieldNumber(this.#held.buffer, length, NR_THROTTLED)
    // Kernel: not there without CFS bandwidth control. Counters that seem to begin anew would look like throttling all the time.
    if (periods === undefined || throttledPeriods === undefined) return false
    into.periods = periods
    into.throttledPeriods = throttledPeriods
    return true
  }

  /** Kernel: throttled_usec under v2, throttled_time in ns under v1; booked when a throttled run queue is let go on (unthrottle_cfs_rq). */
  readThrottledUs(group: GroupPath): number | undefined {
    const length = this.#files.read(group, READING_SLOT.cpuStat)
    if (length < 0) return undefined
    if (this.#mounts.dialect === 'v2') return fieldNumber(this.#held.buffer, length, THROTTLED_USEC)
    const throttledNs = fieldNumber(this.#held.buffer, length, THROTTLED_TIME)
    return throttledNs === undefined ? undefined : throttledNs / 1000
  }

  readTasks(group: GroupPath): number | undefined {
    const length = this.#files.read(group, READING_SLOT.tasks)
    const count = length < 0 ? undefined : numberAt(this.#held.buffer, 0, length)
    return count === undefined || count < 0 ? undefined : count
  }

  readGroupMemory(group: GroupPath, into: GroupMemory): boolean {
    let length = this.#files.read(group, READING_SLOT.memoryUsage)
    if (length < 0) return false
    const usageBytes = numberAt(this.#held.buffer, 0, length)
    // What can't be told must not pass for a group that uses nothing.
    if (usageBytes === undefined) return false
    length = this.#files.read(group, READING_SLOT.memoryStat)
    const inactiveFileBytes = length < 0 ? undefined : fieldNumber(this.#held.buffer, length, INACTIVE_FILE[this.#mounts.dialect])
    if (inactiveFileBytes === undefined) return false
    into.usageBytes = usageBytes
    into.inactiveFileBytes = inactiveFileBytes
    return true
  }

  readKnob(group: GroupPath, kind: KnobKind): KnobValue | undefined {
    return this.#knobs.read(group, kind)
  }

  writeKnob(group: GroupPath, setting: KnobSetting): Outcome {
    return this.#knobs.write(group, setting)
  }

  writeKnobSlowly(group: GroupPath, setting: KnobSetting): Promise<Outcome> {
    return this.#knobs.writeSlowly(group, setting)
  }

  listChildren(group: GroupPath, most = Infinity): readonly string[] {
    const tree = this.#mounts.controllers.cpu
    if (tree === undefined) return []
    try {
      if (most !== Infinity) return this.#held.opening(() => firstDirectories(join(tree, group), most))
      return this.#held
        .opening(() => readdirSync(join(tree, group), { withFileTypes: true }))
        .filter((entry) => entry.isDirectory())
        .map((entry) => entry.name)
    } catch {
      return []
    }
  }

  /** Kernel: kernfs counts a directory's own two links and one for each child group, whose own entry is `..` (kernfs_refresh_inode); files count none. */
  countChildren(group: GroupPath): number | undefined {
    const tree = this.#mounts.controllers.cpu
    if (tree === undefined || !this.#countsLinks) return undefined
    try {
      return statSync(tree + group).nlink - 2
    } catch {
      return undefined
    }
  }

  exists(group: GroupPath): boolean {
    const tree = this.#mounts.controllers.cpu
    if (tree === undefined) return false
    try {
      accessSync(tree + group)
      return true
    } catch (thrown) {
      // A group that can't be looked at now may well be there: taken for gone, its limits would be lifted.
      return outcomeOfErrno(errnoOf(thrown) ?? 'EIO').is !== 'vanished' && errnoOf(thrown) !== 'ENOTDIR'
    }
  }

  groupId(group: GroupPath): number | undefined {
    const tree = this.#mounts.controllers.cpu
    if (tree === undefined) return undefined
    return statSync(join(tree, group), { throwIfNoEntry: false })?.ino
  }

  /** What marks groups here, or why that can't be done. Loads koffi. */
  openMarks(): OpenedMarks {
    return openMarks(this.#mounts, this.capabilities)
  }

  forget(group: GroupPath): void {
    this.#inherited.forgetTree(group)
    this.#files.forget(group)
  }
}

/** Other file systems, which a copied tree is on, count links as they please. */
function isCgroupFileSystem(path: string | undefined): boolean {
  try {
    return path !== undefined && CGROUP_FILE_SYSTEMS.has(statfsSync(path).type)
  } catch {
    return false
  }
}

/** Reads no further than it has to: a directory may hold a hundred thousand. Throws what opening and reading one throws. */
function firstDirectories(path: string, most: number): string[] {
  const names: string[] = []
  const directory = opendirSync(path, { bufferSize: 64 })
  try {
    for (let entry = directory.readSync(); entry !== null && names.length < most; entry = directory.readSync())
      if (entry.isDirectory()) names.push(entry.name)
    return names
  } finally {
    directory.closeSync()
  }
}
