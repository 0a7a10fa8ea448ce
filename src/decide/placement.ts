/**
 * Rule placement: which CPUs each class may use.
 *   pool       = online − reserved − dedicated
 *   besteffort = dedicated ∪ the shared part of the pool (lsSharePermyriad of it, whole cores first, from the far end)
 * BE and OT pods are bound to `besteffort`. Online pods are bound to `pool` only when that leaves something out. A class that may use
 * every CPU is not claimed at all, so that a node that needs no pinning sees no cpuset write.
 * LSX and LSR pods are treated as LS until they get sets of their own.
 */
import { CpuSet, takeFromEnd } from '../cpu/index.ts'
import type { Config } from '../config/types.ts'
import type { Because, Claim, ClassifiedPod, NodeSnapshot, PlacementState } from '../model/index.ts'
import { isOffline } from '../model/index.ts'

/** The sets of the last tick and what they were worked out from: choosing CPUs is dear on a large node, and they rarely change. */
export interface PlacementMemory {
  readonly topology: NodeSnapshot['topology']
  readonly settings: Config['placement']
  readonly state: PlacementState
}

/** The CPU sets of this tick, taken from the last one while topology and settings are the same objects. */
export function rememberPlacement(snapshot: NodeSnapshot, memory: PlacementMemory | undefined, config: Config): PlacementMemory {
  if (memory !== undefined && memory.topology === snapshot.topology && memory.settings === config.placement) return memory
  return { topology: snapshot.topology, settings: config.placement, state: placementState(snapshot, config) }
}

/** The CPU sets of this node. None is ever empty: a configuration that leaves a class without CPUs falls back to all online ones. */
function placementState(snapshot: NodeSnapshot, config: Config): PlacementState {
  const { online } = snapshot.topology
  const { placement } = config
  const reserved = placement.reservedCpus.intersect(online)
  const dedicated = placement.dedicatedCpus.intersect(online).minus(reserved)
  const pool = orElse(online.minus(reserved).minus(dedicated), online.minus(reserved), online)
  const shareCount = Math.max(1, Math.floor((pool.size * placement.lsSharePermyriad) / 10_000))
  const shared = takeFromEnd(snapshot.topology, pool, shareCount)
  return { reserved, pool, dedicated, bestEffort: orElse(dedicated.union(shared), online) }
}

function orElse(...sets: readonly [CpuSet, ...CpuSet[]]): CpuSet {
  return sets.find((set) => !set.isEmpty) ?? CpuSet.EMPTY
}

/** Claims on the cpuset of every pod whose class may not use all CPUs, and of its containers. */
export function placementClaims(
  snapshot: NodeSnapshot,
  pods: readonly ClassifiedPod[],
  state: PlacementState,
  config: Config,
): Claim[] {
  if (!config.placement.enabled) return []
  const { online } = snapshot.topology
  const claims: Claim[] = []
  for (const pod of pods) {
    if (!pod.reading.present) continue
    const offline = isOffline(pod.qosClass)
    const value = offline ? state.bestEffort : pod.qosClass === 'SYSTEM' ? state.pool.union(state.reserved) : state.pool
    if (value.equals(online)) continue
    const because: Because = offline
      ? {
          code: 'placement.besteffort',
          qosClass: pod.qosClass,
          dedicated: state.dedicated.toString(),
          shared: state.bestEffort.minus(state.dedicated).toString(),
        }
      : {
          code: 'placement.pool',
          qosClass: pod.qosClass,
          reserved: state.reserved.toString(),
          dedicated: state.dedicated.toString(),
        }
    for (const group of cpusetGroups(snapshot, pod)) claims.push({ group, kind: 'cpuset', value, rule: 'placement', because })
  }
  return claims
}

/**
 * The pod's group, and under v1 its containers' too: there a container's set is its own copy and does not follow the pod's when that
 * grows again. Under v2 a container without a set follows its pod.
 */
function cpusetGroups(snapshot: NodeSnapshot, pod: ClassifiedPod): readonly string[] {
  const { group, childGroups } = pod.reading
  return snapshot.capabilities.nestedCpuset ? [group, ...childGroups] : [group]
}
