/**
 * Everything the agent knows about the node at one instant. Immutable once handed out; the parts that a hot tick does not read
 * again are the very objects of the tick before, with their age in their readings.
 */
import type { CpuTopology } from '../cpu/index.ts'
import type { EvictionsView } from './evict.ts'
import type { CgroupDriver, GroupLayout, GroupPath } from './groups.ts'
import type { KnobKind, KnobValue, ReadonlyKnobTable } from './knob.ts'
import type { PodReading } from './pod.ts'
import type { OfflineResource } from './qos.ts'
import type { Reading } from './reading.ts'

export type Dialect = 'v1' | 'v2'

/** Whether a knob can be used here, and if not, why not. */
export type Capability = { readonly usable: true; readonly file: string } | { readonly usable: false; readonly reason: string }

export interface Capabilities {
  readonly dialect: Dialect
  readonly driver: CgroupDriver
  readonly knobs: Readonly<Record<KnobKind, Capability>>
  /** Kernel: v1 refuses a quota ratio above the parent's (tg_cfs_schedulable_down); v2 takes it. */
  readonly nestedQuota: boolean
  /** Kernel: v1 refuses CPUs the parent lacks; v2 takes them and uses the intersection. */
  readonly nestedCpuset: boolean
  /** Kernel: v2 counts what a group reads and writes against the limits of the groups above it; v1 throttles each group for itself. */
  readonly nestedIo: boolean
  readonly kernelRelease: string
}

export interface CpuUse {
  readonly usedMilli: number
  /** The span the average was taken over. */
  readonly windowMs: number
}

/** CPU use of online pods, but for those below the best-effort root: of the pods' root less that root. */
export interface OnlineCpuUse extends CpuUse {
  /** The same over the shortest span that can be told apart: one guard beat, and 20 ms at least. */
  readonly latestMilli: number
}

export interface MemoryUse {
  readonly totalBytes: number
  readonly availableBytes: number
}

/** Growth of the PSI `some` total in µs per second; 10000 µs/s is a hundredth of the time. */
export interface PressureUse {
  readonly someUsPerSecond: number
}

/** Tasks that are ready to run, running ones included, on average. */
export interface RunQueueUse {
  readonly runnable: number
  /**
   * So many of them, at least, are no offline ones: what is left when every task of offline work is taken for one of them. Undefined where those can't
   * be counted.
   */
  readonly notOffline?: number
}

export interface NodeReadings {
  readonly cpu?: Reading<CpuUse>
  readonly memory?: Reading<MemoryUse>
  readonly cpuPressure?: Reading<PressureUse>
  readonly memoryPressure?: Reading<PressureUse>
  readonly ioPressure?: Reading<PressureUse>
  /** Read where the kernel counts no stalls. */
  readonly runQueue?: Reading<RunQueueUse>
}

/**
 * How online work waits: the worst of the kubelet's Burstable root and the groups of Guaranteed pods, where groups count stalls. Of stalls for CPU,
 * without what online pods wait for themselves.
 */
export interface OnlineReadings {
  /** Only of this very tick: what can't be told then is missing. */
  readonly cpu?: Reading<OnlineCpuUse>
  readonly cpuPressure?: Reading<PressureUse>
  readonly ioPressure?: Reading<PressureUse>
}

export interface PodsView {
  readonly pods: readonly PodReading[]
  /** Whether the source has answered at least once since the agent started. */
  readonly everRead: boolean
  /** When the source last confirmed its list. */
  readonly atMs: number
  readonly source: string
  /** What the source could not use, in words that name the file or object. */
  readonly problems: readonly string[]
}

/** Pods with more quotas inside than can be followed, or that change too fast, on account of which the kernel refuses quotas above them. */
export interface UnfollowedPods {
  readonly groups: readonly GroupPath[]
  /** Whether the quota of all offline pods is refused, rather than only those of the pods themselves. */
  readonly barsRoot: boolean
}

export interface NodeSnapshot {
  readonly seq: number
  readonly nowMs: number
  readonly wallMs: number
  /** `calm`: every pod was read; `hot`: class-level files only. */
  readonly pace: 'calm' | 'hot'
  readonly layout: GroupLayout
  readonly topology: CpuTopology
  readonly capabilities: Capabilities
  readonly node: NodeReadings
  readonly online: OnlineReadings
  /** The root that holds all offline pods, and its CPU use. */
  readonly bestEffort: { readonly group: GroupPath; readonly cpu?: Reading<CpuUse> }
  readonly pods: PodsView
  /** Pod groups that no listed pod owns. */
  readonly unlistedGroups: readonly GroupPath[]
  readonly actual: ReadonlyKnobTable<Reading<KnobValue>>
  /** Absent while there are none. */
  readonly unfollowed?: UnfollowedPods
  /** Units handed out by Allocate that no listed pod accounts for yet. */
  readonly inFlightUnits: Readonly<Partial<Record<OfflineResource, number>>>
  /** Device numbers by the names that the configuration gives them: `nvme0n1` to `259:0`. Devices that are not here are missing. */
  readonly devices: ReadonlyMap<string, string>
  readonly evictions: EvictionsView
  /** The groups that the agent itself runs in, outermost first: empty where that can't be told. */
  readonly ownGroups: readonly GroupPath[]
}
