/**
 * The kernel port over a real (or, in tests, a copied) procfs, sysfs and cgroupfs. One object serves both dialects: the tables in
 * dialect.ts say which file a knob is. Synchronous throughout; see held-files.ts for why.
 */
import { closeSync, existsSync, openSync, readdirSync, statSync, writeSync } from 'node:fs'
import { join } from 'node:path'
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
  Quota,
} from '../model/index.ts'
import { APPLIED, errnoOf, KNOB_KINDS, micros, MIN_QUOTA_US, outcomeOfErrno } from '../model/index.ts'
import type { CpuTopology } from '../cpu/index.ts'
import { fieldNumber, keyBytes, numberAt, sameBytes } from './bytes.ts'
import { DIALECTS, READING_SLOTS, type DialectTable, type KernelFile, type ReadingSlot } from './dialect.ts'
import { type CoreCookies, openCookies } from './core-cookies.ts'
import { FileSlots, HeldFiles } from './held-files.ts'
import { InheritedSets } from './inherited-sets.ts'
import type { CgroupMounts } from './mounts.ts'
import { NodeReader } from './node-readings.ts'
import { readTopology } from './sysfs-topology.ts'

const USAGE_USEC = keyBytes('usage_usec ')
const NR_PERIODS = keyBytes('nr_periods ')
const NR_THROTTLED = keyBytes('nr_throttled ')
/** v1 memory.stat counts the group alone and, with the prefix total_, the group and all below it. */
const INACTIVE_FILE: Readonly<Record<Dialect, Uint8Array>> = {
  v1: keyBytes('total_inactive_file '),
  v2: keyBytes('inactive_file '),
}

const READING_SLOT = Object.fromEntries(READING_SLOTS.map((name, slot) => [name, slot])) as Record<ReadingSlot, number>
const KNOB_SLOT = Object.fromEntries(KNOB_KINDS.map((kind, index) => [kind, READING_SLOTS.length + index])) as Record<
  KnobKind,
  number
>

/** The longest text of a knob is a cpuset of 1024 CPUs with every second one set, below 5 KiB; longer ones are just not cached. */
const CACHED_BYTES = 128
/** A value is decoded anew after so many equal reads: under v1 somebody may have changed the period and left the quota as it was. */
const CACHED_READS = 15

interface CachedKnob {
  readonly raw: Uint8Array
  readonly value: KnobValue | undefined
  /** FileSlots.generation at the read. */
  readonly generation: number
  /** How many more equal reads this may answer. */
  left: number
}

interface HeldGroup {
  readonly slots: FileSlots
  readonly cache: (CachedKnob | undefined)[]
}

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
  readonly #table: DialectTable
  readonly #files: HeldFiles
  readonly #node: NodeReader
  readonly #sysPath: string
  readonly #groups = new Map<GroupPath, HeldGroup>()
  readonly #inherited: InheritedSets
  readonly #cookies: CoreCookies
  /** The file of each slot, in slot order. */
  readonly #slotFiles: readonly (KernelFile | undefined)[]

  constructor(options: LinuxKernelOptions) {
    this.capabilities = options.capabilities
    this.#mounts = options.mounts
    this.#table = DIALECTS[options.mounts.dialect]
    this.#slotFiles = [
      ...READING_SLOTS.map((slot) => this.#table.readings[slot]),
      ...KNOB_KINDS.map((kind) => this.#table.knobs[kind]),
    ]
    this.#files = new HeldFiles(options.maxHeldFiles)
    this.#node = new NodeReader(this.#files, options.paths)
    this.#sysPath = options.paths.sys
    this.#inherited = new InheritedSets(options.paths.sys)
    this.#cookies = openCookies(options.mounts.controllers.cpu, options.offlineRoot, (open) => this.#files.opening(open))
    this.nodeCpuSource = this.#precise ? 'cpuacct.usage of the root' : '/proc/stat'
  }

  /** v1 counts the whole node in the root group to the nanosecond; /proc/stat counts ticks of 10 ms per CPU. */
  get #precise(): boolean {
    return this.#mounts.dialect === 'v1'
  }

  readTopology(): CpuTopology {
    return readTopology(this.#sysPath)
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

  readGroupPressureUs(_group: GroupPath, _resource: PressureResource): number | undefined {
    return undefined
  }

  readRunnable(): number | undefined {
    return undefined
  }

  findDevice(_name: string): string | undefined {
    return undefined
  }

  findOwnGroups(): readonly GroupPath[] {
    return []
  }

  readCpuUsageUs(group: GroupPath): number | undefined {
    const length = this.#read(group, READING_SLOT.cpuUsage)
    if (length < 0) return undefined
    if (this.#mounts.dialect === 'v2') return fieldNumber(this.#files.buffer, length, USAGE_USEC)
    const usageNs = numberAt(this.#files.buffer, 0, length)
    return usageNs === undefined ? undefined : usageNs / 1000
  }

  readThrottling(group: GroupPath, into: GroupThrottling): boolean {
    const length = this.#read(group, READING_SLOT.cpuStat)
    if (length < 0) return false
    into.periods = fieldNumber(this.#files.buffer, length, NR_PERIODS) ?? 0
    into.throttledPeriods = fieldNumber(this.#files.buffer, length, NR_THROTTLED) ?? 0
    return true
  }

  readGroupMemory(group: GroupPath, into: GroupMemory): boolean {
    let length = this.#read(group, READING_SLOT.memoryUsage)
    if (length < 0) return false
    into.usageBytes = numberAt(this.#files.buffer, 0, length) ?? 0
    length = this.#read(group, READING_SLOT.memoryStat)
    if (length < 0) return false
    into.inactiveFileBytes = fieldNumber(this.#files.buffer, length, INACTIVE_FILE[this.#mounts.dialect]) ?? 0
    return true
  }

  readKnob(group: GroupPath, kind: KnobKind): KnobValue | undefined {
    if (kind === 'coreCookie') return this.#cookies.read(group)
    const slot = KNOB_SLOT[kind]
    const length = this.#read(group, slot)
    if (length < 0) return undefined
    const held = this.#group(group)
    const { generation } = held.slots
    const cached = held.cache[slot]
    if (
      cached !== undefined &&
      cached.generation === generation &&
      cached.raw.length === length &&
      sameBytes(cached.raw, this.#files.buffer, length) &&
      cached.left > 0
    ) {
      cached.left -= 1
      return cached.value
    }
    const raw = Uint8Array.prototype.slice.call(this.#files.buffer, 0, length)
    const decoded = this.#table.knobs[kind]?.decode(this.#files.buffer.toString('latin1', 0, length).trim())
    const value = kind === 'quota' ? this.#withPeriod(held, decoded) : this.#inherited.asRead(group, decoded)
    if (length <= CACHED_BYTES) held.cache[slot] = { raw, value, generation, left: CACHED_READS }
    return value
  }

  /** Under v1 the period is a file of its own. */
  #withPeriod(held: HeldGroup, value: KnobValue | undefined): KnobValue | undefined {
    if (this.#mounts.dialect === 'v2' || typeof value !== 'object' || value === null || !('periodUs' in value)) return value
    const length = this.#files.read(held.slots, READING_SLOT.cpuPeriod)
    const periodUs = length < 0 ? undefined : numberAt(this.#files.buffer, 0, length)
    return periodUs === undefined || periodUs === value.periodUs ? value : { quotaUs: value.quotaUs, periodUs: micros(periodUs) }
  }

  writeKnob(group: GroupPath, setting: KnobSetting): Outcome {
    if (setting.kind === 'coreCookie') return this.#cookies.write(group, setting.value)
    const outcome = this.#writeText(group, setting.kind, this.#encode(group, setting))
    if (setting.kind !== 'cpuset' || this.#mounts.dialect === 'v1') return outcome
    const instead = this.#inherited.instead(setting, outcome)
    const second = instead === undefined ? outcome : this.#writeText(group, 'cpuset', this.#encode(group, instead))
    if (instead !== undefined && second.is === 'applied') this.#inherited.note(group, instead.value)
    else if (second.is === 'applied') this.#inherited.forget(group)
    // The same bytes may mean another value now.
    const held = this.#groups.get(group)
    if (held !== undefined) held.cache[KNOB_SLOT.cpuset] = undefined
    return second
  }

  #writeText(group: GroupPath, kind: KnobKind, text: string): Outcome {
    const path = this.#path(group, this.#table.knobs[kind])
    if (path === undefined) return outcomeOfErrno('ENOENT')
    let fd = -1
    try {
      fd = this.#files.opening(() => openSync(path, 'r+'))
      writeSync(fd, text)
      return APPLIED
    } catch (thrown) {
      return outcomeOfErrno(errnoOf(thrown) ?? 'EIO')
    } finally {
      if (fd >= 0) closeSync(fd)
    }
  }

  #encode(group: GroupPath, setting: KnobSetting): string {
    if (setting.kind === 'quota' && this.#mounts.dialect === 'v1') return this.#encodeV1Quota(group, setting.value)
    const file = this.#table.knobs[setting.kind] as { encode: (value: KnobValue) => string } | undefined
    return file?.encode(setting.value) ?? ''
  }

  /**
   * Under v1 quota and period can't change in one write, and either order may be illegal or briefly unlimited. So the group's own
   * period stays, and the quota is scaled to it, rounded down so that it can't exceed the parent's share.
   */
  #encodeV1Quota(group: GroupPath, value: Quota): string {
    if (value.quotaUs === null) return '-1'
    const length = this.#read(group, READING_SLOT.cpuPeriod)
    const periodUs = (length < 0 ? undefined : numberAt(this.#files.buffer, 0, length)) ?? value.periodUs
    return String(Math.max(MIN_QUOTA_US, Math.floor((value.quotaUs * periodUs) / value.periodUs)))
  }

  async writeKnobSlowly(group: GroupPath, setting: KnobSetting): Promise<Outcome> {
    return this.writeKnob(group, setting)
  }

  listChildren(group: GroupPath): readonly string[] {
    const tree = this.#mounts.controllers.cpu
    if (tree === undefined) return []
    try {
      return this.#files
        .opening(() => readdirSync(join(tree, group), { withFileTypes: true }))
        .filter((entry) => entry.isDirectory())
        .map((entry) => entry.name)
    } catch {
      return []
    }
  }

  exists(group: GroupPath): boolean {
    const tree = this.#mounts.controllers.cpu
    return tree !== undefined && existsSync(join(tree, group))
  }

  groupId(group: GroupPath): number | undefined {
    const tree = this.#mounts.controllers.cpu
    if (tree === undefined) return undefined
    return statSync(join(tree, group), { throwIfNoEntry: false })?.ino
  }

  forget(group: GroupPath): void {
    this.#inherited.forgetTree(group)
    for (const [path, held] of this.#groups) {
      if (path !== group && !path.startsWith(`${group}/`)) continue
      this.#files.release(held.slots)
      this.#groups.delete(path)
    }
  }

  /**
   * Reads one file of a group into the shared buffer; −1 when it is not there. A group of which nothing is held is not remembered: pods
   * come and go for months, and the groups that are gone are asked for a few times more.
   */
  #read(group: GroupPath, slot: number): number {
    const { slots } = this.#group(group)
    const length = this.#files.read(slots, slot)
    if (length < 0 && slots.holdsNothing) {
      this.#groups.delete(group)
      this.#inherited.forget(group)
    }
    return length
  }

  #group(group: GroupPath): HeldGroup {
    const known = this.#groups.get(group)
    if (known !== undefined) return known
    const slots = new FileSlots(this.#slotFiles.length, (slot) => this.#path(group, this.#slotFiles[slot]))
    const held: HeldGroup = { slots, cache: [] }
    this.#groups.set(group, held)
    return held
  }

  #path(group: GroupPath, file: KernelFile | undefined): string | undefined {
    const tree = file === undefined ? undefined : this.#mounts.controllers[file.controller]
    return file === undefined || tree === undefined ? undefined : join(tree, group, file.name)
  }
}
