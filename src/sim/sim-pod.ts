/** A pod of the simulated node: what it wants, what it has got, and where its groups are. */
import type { GroupPath, PodSpec } from '../model/index.ts'

/** What a pod reads and writes on one block device, in bytes a second. */
export interface DiskUse {
  readonly readBps: number
  readonly writeBps: number
}

/** What a pod wants of memory. */
export interface MemoryWish {
  /** What it would hold besides page cache. */
  readonly bytes: number
  /** Page cache that it fills while there is room. @default 0 */
  readonly cacheBytes?: number
  /** By how much `bytes` grows a second. @default 0 */
  readonly leakBytesPerSecond?: number
}

export interface SimPod {
  readonly spec: PodSpec
  readonly group: GroupPath
  readonly isOnline: boolean
  demandMilli: number
  /** Among how many threads its demand is spread, all of which want to run; undefined for one on each CPU's worth of it. */
  threads: number | undefined
  /** What it got on the last step. */
  servedMilli: number
  /** What of its demand had to wait on the last step, though it may have been served in the end; online pods only. */
  waitedMilli: number
  /** Share of the last step in which its own quota kept it from running, 0 to 1; online pods only. */
  throttledShare: number
  wantsBytes: number
  wantsCacheBytes: number
  leakBytesPerSecond: number
  /** Without page cache. */
  heldBytes: number
  /** What it wants and does not hold: swapped out, or not had yet. */
  swappedBytes: number
  cacheBytes: number
  /** By device number. */
  readonly disks: Map<string, DiskUse>
  /** What it did on them on the last step. */
  readonly servedDisks: Map<string, DiskUse>
  /** When its grace period is over; undefined while nobody wants it to go. */
  endsMs: number | undefined
}

export function newPod(spec: PodSpec, group: GroupPath): SimPod {
  return {
    spec,
    group,
    isOnline: spec.kubeletQos !== 'BestEffort',
    demandMilli: 0,
    threads: undefined,
    servedMilli: 0,
    waitedMilli: 0,
    throttledShare: 0,
    wantsBytes: 0,
    wantsCacheBytes: 0,
    leakBytesPerSecond: 0,
    heldBytes: 0,
    swappedBytes: 0,
    cacheBytes: 0,
    disks: new Map(),
    servedDisks: new Map(),
    endsMs: undefined,
  }
}
