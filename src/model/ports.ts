/**
 * The ports of the effectful rooms, declared here so that the real node (kernel/), the simulated node (sim/) and the tests stand
 * behind one interface. Everything is synchronous: a kernfs read takes about a microsecond, a promise fifty times that.
 */
import type { CpuTopology } from '../cpu/index.ts'
import type { GroupPath } from './groups.ts'
import type { KnobKind, KnobSetting, KnobValue } from './knob.ts'
import type { Outcome } from './outcome.ts'
import type { PodSpec } from './pod.ts'
import type { Capabilities, MemoryUse } from './snapshot.ts'

/** Cumulative bandwidth counters of one group; filled in place, so that a sweep allocates nothing. */
export interface GroupThrottling {
  periods: number
  throttledPeriods: number
}

export interface GroupMemory {
  usageBytes: number
  inactiveFileBytes: number
}

/** Where a write may reclaim memory, and so take seconds; see KernelPort.writeKnobSlowly. */
export const SLOW_KINDS: readonly KnobKind[] = ['memoryHigh', 'memoryMax']

export type PressureResource = 'cpu' | 'memory' | 'io'

export interface KernelPort {
  readonly capabilities: Capabilities
  /** Reads the topology anew; at start and after a hot-plug, not on a tick. */
  readTopology(): CpuTopology
  /** CPUs online now, as the kernel's own text; a change means a hot-plug. */
  readOnlineText(): string
  /** CPU time used by everything on the node since boot, in µs, or undefined when it can't be read. */
  readNodeCpuUs(): number | undefined
  readonly nodeCpuSource: string
  readNodeMemory(): MemoryUse | undefined
  /** The `some` total in µs since boot, or undefined without PSI. */
  readNodePressureUs(resource: PressureResource): number | undefined
  /** The `some` total of a group in µs since it was made; undefined where groups count no stalls. */
  readGroupPressureUs(group: GroupPath, resource: PressureResource): number | undefined
  /** Tasks ready to run on the node, running ones included; undefined when it can't be read. */
  readRunnable(): number | undefined
  /** Device number (`259:0`) of a block device by its name below /dev, or of `259:0` itself; undefined when there is none. */
  findDevice(name: string): string | undefined
  /** The groups that this process runs in, outermost first, below the kubelet's root or not; empty where that can't be told. */
  findOwnGroups(): readonly GroupPath[]
  /** CPU time used by the group since it was made, in µs; undefined when it is not there. */
  readCpuUsageUs(group: GroupPath): number | undefined
  /** Fills `into` from the group's files; false, and `into` as it was, when the group or a number is not there. */
  readThrottling(group: GroupPath, into: GroupThrottling): boolean
  /** How long the group's own quota has kept its tasks from running, in µs, summed over the CPUs; undefined when it can't be read. */
  readThrottledUs(group: GroupPath): number | undefined
  /** Tasks of the group and of all groups below it, threads counted one by one, awake or not; undefined when they can't be counted. */
  readTasks(group: GroupPath): number | undefined
  readGroupMemory(group: GroupPath, into: GroupMemory): boolean
  /** The knob's value now; undefined when the group or the file is not there. */
  readKnob(group: GroupPath, kind: KnobKind): KnobValue | undefined
  /** Writes the knob. Never throws for an answer of the kernel. */
  writeKnob(group: GroupPath, setting: KnobSetting): Outcome
  /** The same for SLOW_KINDS beside the loop: at most one such write runs at a time. Never rejects for an answer of the kernel. */
  writeKnobSlowly(group: GroupPath, setting: KnobSetting): Promise<Outcome>
  /** Names of the child groups, unsorted, of very many only the first `most`; empty when the group is not there. @default all */
  listChildren(group: GroupPath, most?: number): readonly string[]
  /** How many child groups there are, for a fraction of what a list costs; undefined where that can't be told. */
  countChildren(group: GroupPath): number | undefined
  exists(group: GroupPath): boolean
  /** Identity of the group as it is now: the same path made anew gets another. Undefined when it is not there. */
  groupId(group: GroupPath): number | undefined
  /** Lets go of everything held for a group and the groups below it. */
  forget(group: GroupPath): void
}

/** The extended attribute of a group's directory that tells who holds some of its files, and which. */
export const MARK_NAME = 'user.kube-agent'

/** Which of a group's directories bears the mark of a knob, and the names of the knob's files there, with spaces between them. */
export interface MarkPlace {
  readonly tree: string
  readonly files: string
}

/** Marks on groups, for people who look at them. Nothing here throws for an answer of the kernel. */
export interface MarkPort {
  /** The same answer for as long as the process lives; undefined for a knob that this node lacks. */
  placeOf(kind: KnobKind): MarkPlace | undefined
  /** The text of the mark; undefined where there is none, and an outcome that is no success where it can't be told. */
  read(group: GroupPath, tree: string): string | Outcome | undefined
  write(group: GroupPath, tree: string, text: string): Outcome
  remove(group: GroupPath, tree: string): Outcome
}

export type OpenedMarks = { readonly usable: true; readonly port: MarkPort } | { readonly usable: false; readonly reason: string }

export interface PodList {
  readonly pods: readonly PodSpec[]
  /** Whether the source has answered at least once. */
  readonly everRead: boolean
  /** Changes whenever the list does: equal revisions mean an equal list. */
  readonly revision: number
  /** Monotonic time of the last successful look at the source. */
  readonly atMs: number
  readonly source: string
  readonly problems: readonly string[]
  /** Why the source as a whole can't be read at the moment; undefined while it can, however many of its pods are odd. */
  readonly lost?: string
}

/** Where pods come from. The list is kept by the source and read from memory. */
export interface PodSource {
  list(): PodList
  /** Calls back soon after the list has changed. */
  onChange(listener: () => void): void
  close(): void
}
