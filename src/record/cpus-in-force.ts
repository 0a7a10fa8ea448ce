/**
 * The CPUs that pods may run on as decided now: what placement gives to each class, less what the rung cpuNarrow takes from offline pods.
 * Whatever tells of CPUs (status, its map, top, the page, explain, replay) goes by this, so that all of them say the same.
 */
import { CpuSet } from '../cpu/index.ts'
import type { Decision, PodReading, QosClass } from '../model/index.ts'
import { isExclusive, isOffline } from '../model/index.ts'
import { spread } from './layout.ts'

/** What offline pods may use. */
export interface CpusInForce {
  readonly bestEffort: CpuSet
  /** What placement gives them, while cpuNarrow leaves them less than that. */
  readonly narrowedFrom?: CpuSet
}

/** The set of offline pods in force: by the claims on their cpusets, since only those know what the rung has left to them. */
export function cpusInForce({ desired, pods, placement }: Pick<Decision, 'desired' | 'pods' | 'placement'>): CpusInForce {
  let left: CpuSet | undefined
  for (const { qosClass, reading } of pods) {
    const claim = isOffline(qosClass) ? desired.get(reading.group, 'cpuset')?.winner : undefined
    if (claim?.kind !== 'cpuset' || claim.because.code !== 'suppress.narrow') continue
    left = left?.union(claim.value) ?? claim.value
  }
  const { bestEffort } = placement
  return left === undefined || bestEffort.isSubsetOf(left) ? { bestEffort } : { bestEffort: left, narrowedFrom: bestEffort }
}

/** `narrowed to 1 by cpuNarrow`; undefined while offline pods have all that placement gives them. */
export function narrowedText({ bestEffort, narrowedFrom }: CpusInForce): string | undefined {
  return narrowedFrom === undefined ? undefined : narrowedTo(bestEffort.toString())
}

function narrowedTo(cpus: string): string {
  return `narrowed to ${spread(cpus)} by cpuNarrow`
}

/** A set as `explain` and `status` show it: `0-1, narrowed to 1 by cpuNarrow` where it is less than it was. */
export function narrowedSpread(set: { readonly cpus: string; readonly narrowedFrom?: string }): string {
  const { cpus, narrowedFrom } = set
  return narrowedFrom === undefined ? spread(cpus) : `${spread(narrowedFrom)}, ${narrowedTo(cpus)}`
}

/** The CPUs that the pods of a class may use together. */
export function classCpus(qosClass: QosClass, { placement }: Pick<Decision, 'placement'>, { bestEffort }: CpusInForce): CpuSet {
  if (isOffline(qosClass)) return bestEffort
  if (qosClass === 'SYSTEM') return placement.pool.union(placement.reserved)
  if (!isExclusive(qosClass)) return placement.pool
  const own = placement.exclusive.filter((one) => one.qosClass === qosClass)
  return own.reduce((all, { cpus }) => all.union(cpus), CpuSet.EMPTY)
}

/** The CPUs that a pod is bound to; undefined for one that no rule binds, which may run on all CPUs of the group of all pods. */
export function boundCpus({ desired }: Pick<Decision, 'desired'>, { group }: PodReading): CpuSet | undefined {
  const value = desired.get(group, 'cpuset')?.setting.value
  return value instanceof CpuSet ? value : undefined
}
