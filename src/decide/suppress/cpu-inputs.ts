/**
 * What rule suppressCpu calculates with: the use of the node and of the classes, and what stands in for it while sensors are silent.
 */
import type { Config } from '../../config/types.ts'
import type { ClassifiedPod, NodeSnapshot, SuppressionInputs } from '../../model/index.ts'
import { ageMs, isQuota, parentGroup, quotaMilliCpu } from '../../model/index.ts'
import { isOnlineBelowOfflineRoot, runsBesideOffline } from '../classify.ts'
import { addPeak, peakOf, type PeakWindow, reasonable } from '../peak.ts'

/** What pods use, in whole milli-CPU, so that sums do not depend on their order. */
export interface ClassUse {
  readonly beMilli: number
  readonly beAskedMilli: number
  /** When the oldest reading behind `beMilli` began. */
  readonly beSinceMs: number
  /** Of online pods that live below the offline root. */
  readonly untaggedMilli: number
}

/**
 * Who shares the offline root with BE and OT pods.
 *   alone    nobody: the root's quota is their allowance
 *   online   online pods, and every group below the root belongs to a listed pod
 *   unsure   online pods live there, or did when the pods were last known; but no listed pod owns some group there, which may be anybody's
 */
export type Sharing = 'alone' | 'online' | 'unsure'

/** Tells who shares the root; `before` is what was told on the tick before. After a restart the root's quota says what it was (rootMilli). */
export function sharingOf(snapshot: NodeSnapshot, pods: readonly ClassifiedPod[], before: Sharing | undefined): Sharing {
  const { pods: list, unlistedGroups, bestEffort, topology, actual } = snapshot
  const hasStrangers = !list.everRead || unlistedGroups.some((group) => parentGroup(group) === bestEffort.group)
  if (pods.some(runsBesideOffline)) return hasStrangers ? 'unsure' : 'online'
  if (!hasStrangers) return 'alone'
  if (before !== undefined) return before === 'alone' ? 'alone' : 'unsure'
  const quota = actual.get(bestEffort.group, 'quota')?.value
  const wasNoLimit = isQuota(quota) && quota.quotaUs !== null && quotaMilliCpu(quota) > topology.online.size * 1000
  return wasNoLimit ? 'unsure' : 'alone'
}

/** Sums the use of BE pods, and of online pods below the offline root. */
export function sumUse(pods: readonly ClassifiedPod[], calmMs: number): ClassUse {
  let beMilli = 0
  let beAskedMilli = 0
  let beSinceMs = Infinity
  let untaggedMilli = 0
  for (const pod of pods) {
    const used = Math.round(reasonable(pod.reading.use?.value.cpuMilli) ?? 0)
    if (isOnlineBelowOfflineRoot(pod)) untaggedMilli += used
    if (pod.qosClass !== 'BE' || !pod.reading.present) continue
    beMilli += used
    beSinceMs = Math.min(beSinceMs, (pod.reading.use?.atMs ?? 0) - calmMs)
    // A BE pod without an amount may take all it gets: OT yields to it as to any other.
    beAskedMilli += pod.askedMilli > 0 ? pod.askedMilli : Infinity
  }
  return { beMilli, beAskedMilli, beSinceMs, untaggedMilli }
}

/** What the measuring of the node's use carries from tick to tick. */
export interface MeasureMemory {
  readonly online?: PeakWindow
  /** The last inputs that were good, for the ticks on which a sensor is silent. */
  readonly inputs?: SuppressionInputs
  /** When the agent first waited for a reading. */
  readonly waitingSinceMs?: number
  /** When the first good reading came. */
  readonly sinceMs?: number
}

/**
 * A counter of the whole node that stands still while offline work alone uses more than this tells nothing: taken for an idle node, it would let
 * offline work have what online work uses. Kernel: where /proc/stat is kept by clock ticks, so much shows in it within any window.
 */
const STANDING_MILLI = 500

/** Kernel: where /proc/stat is kept by clock ticks, a whole tick is charged to whoever runs then; the longest is 10 ms (HZ 100). */
const TICK_MS = 10

/**
 * Whether offline work seems to use more than the whole node does, or has: by more than what a tick on each CPU may hide from the node's
 * counter. One of the two counters lies then, and as neither says which, nothing is known of online work.
 */
export function countersContradict({ node: { cpu: nodeCpu }, bestEffort: { cpu: offlineCpu }, topology }: NodeSnapshot): boolean {
  if (nodeCpu === undefined || offlineCpu === undefined) return false
  const [node, offline] = [nodeCpu.value, offlineCpu.value]
  const capacityMilli = topology.online.size * 1000
  const windowMs = Math.max(TICK_MS, Math.min(node.windowMs, offline.windowMs))
  const noiseMilli = Math.max(STANDING_MILLI, (capacityMilli * TICK_MS) / windowMs)
  return offline.usedMilli > Math.min(node.usedMilli, capacityMilli) + noiseMilli
}

/** The use of the node on this tick. */
export interface Measured {
  /** Undefined before the first reading. */
  readonly inputs?: SuppressionInputs
  readonly stale: boolean
  /** There has never been a reading: the inputs are a guess at the worst. */
  readonly blind: boolean
  readonly memory: MeasureMemory
}

/**
 * The inputs of this tick, or the last good ones. A node that has never been read counts as full once staleMs have passed (I9): what it could
 * spare is not known, and a quota from a former life must not stand for ever.
 * @param context.dwellMs the dwell time in force, over which the peak of online use is taken
 */
export function measure(
  snapshot: NodeSnapshot,
  memory: MeasureMemory | undefined,
  { untaggedMilli, dwellMs }: { readonly untaggedMilli: number; readonly dwellMs: number },
  config: Config,
): Measured {
  const node = snapshot.node.cpu
  const offline = snapshot.bestEffort.cpu
  const nodeMilli = reasonable(node?.value.usedMilli)
  const rootMilli = reasonable(offline?.value.usedMilli)
  const oldestMs =
    node === undefined || offline === undefined ? Infinity : Math.max(ageMs(node, snapshot.nowMs), ageMs(offline, snapshot.nowMs))
  const isOld = !(oldestMs <= config.loop.calmMs * 2)
  // Once it is held for standing still, what little its floor leaves offline work is no proof of the contrary.
  const isStanding = nodeMilli === 0 && (rootMilli ?? 0) > (memory?.waitingSinceMs === undefined ? STANDING_MILLI : 0)
  if (nodeMilli === undefined || rootMilli === undefined || isStanding || countersContradict(snapshot) || isOld) {
    const held = { ...memory, waitingSinceMs: memory?.waitingSinceMs ?? snapshot.nowMs }
    const inputs = memory?.inputs ?? blindInputs(snapshot, silentMs(held, snapshot.nowMs), config)
    return { ...(inputs === undefined ? {} : { inputs }), stale: true, blind: memory?.inputs === undefined, memory: held }
  }
  const offlineMilli = Math.max(0, rootMilli - untaggedMilli)
  const onlineMilli = Math.max(0, nodeMilli - offlineMilli) + jumpMilli(snapshot, config)
  const online = addPeak(memory?.online, onlineMilli, snapshot.nowMs, dwellMs)
  const inputs = inputsOf(snapshot, { nodeMilli, offlineMilli, onlineMilli: peakOf(online), ageMs: oldestMs }, config)
  return { inputs, stale: false, blind: false, memory: { online, inputs, sinceMs: memory?.sinceMs ?? snapshot.nowMs } }
}

/** One task that runs in bursts takes a whole CPU for a moment, however little it uses on average: on a small node that is no spike. */
const ONE_TASK_MILLI = 1100

/** From where on a rise of online use counts at once, in milli-CPU; Infinity where none does (suppressCpu.jumpPermyriad 10000). */
export function leastJumpMilli(capacityMilli: number, jumpPermyriad: number): number {
  return jumpPermyriad >= 10_000 ? Infinity : Math.max(ONE_TASK_MILLI, (capacityMilli * jumpPermyriad) / 10_000)
}

/**
 * How far the latest use is above the average, in milli-CPU: what a spike has come to before the average shows it. 0 below the bound, where it
 * would be noise. No more than all CPUs: what seems more was read late.
 */
export function jumpAboveMilli(
  { usedMilli, latestMilli }: { readonly usedMilli: number; readonly latestMilli: number },
  capacityMilli: number,
  jumpPermyriad: number,
): number {
  const above = Math.min(capacityMilli, latestMilli) - usedMilli
  return above >= leastJumpMilli(capacityMilli, jumpPermyriad) ? above : 0
}

/**
 * The jump of online pods over the last guard beat; 0 without a reading of this tick. It knows nothing of untagged pods, which live below the
 * best-effort root.
 */
function jumpMilli({ online, topology, nowMs }: NodeSnapshot, { suppressCpu: { jumpPermyriad }, loop }: Config): number {
  if (online.cpu === undefined || !(ageMs(online.cpu, nowMs) <= loop.hotMs)) return 0
  const latestMilli = reasonable(online.cpu.value.latestMilli)
  const usedMilli = reasonable(online.cpu.value.usedMilli)
  if (latestMilli === undefined || usedMilli === undefined) return 0
  return jumpAboveMilli({ usedMilli, latestMilli }, topology.online.size * 1000, jumpPermyriad)
}

function blindInputs(snapshot: NodeSnapshot, silentForMs: number, config: Config): SuppressionInputs | undefined {
  if (silentForMs <= config.suppressCpu.staleMs) return undefined
  const fullMilli = snapshot.topology.online.size * 1000
  return inputsOf(snapshot, { nodeMilli: fullMilli, offlineMilli: 0, onlineMilli: fullMilli, ageMs: silentForMs }, config)
}

function inputsOf(
  snapshot: NodeSnapshot,
  use: Pick<SuppressionInputs, 'nodeMilli' | 'offlineMilli' | 'onlineMilli' | 'ageMs'>,
  { suppressCpu: settings }: Config,
): SuppressionInputs {
  const capacityMilli = snapshot.topology.online.size * 1000
  return {
    capacityMilli,
    watermarkPermyriad: settings.watermarkPermyriad,
    watermarkMilli: (capacityMilli * settings.watermarkPermyriad) / 10_000,
    nodeMilli: Math.round(use.nodeMilli),
    offlineMilli: Math.round(use.offlineMilli),
    onlineMilli: Math.round(use.onlineMilli),
    marginMilli: (capacityMilli * settings.marginPermyriad) / 10_000,
    floorMilli: Math.max(1, Math.floor((capacityMilli * settings.floorPermyriad) / 10_000)),
    ageMs: Math.round(use.ageMs),
  }
}

/** For how long no good reading has come; 0 while they come. */
export function silentMs({ waitingSinceMs }: MeasureMemory, nowMs: number): number {
  return nowMs - (waitingSinceMs ?? nowMs)
}
