/**
 * Rule placement: which CPUs each class may use.
 *   LSX       whole physical cores of their own, siblings included; nobody else runs there
 *   LSR       CPUs of their own, a part of which offline pods may use too
 *   LS, …     the pool: all that is not reserved, dedicated, or an LSX or LSR pod's; SYSTEM the reserved CPUs as well
 *   BE, OT    the best-effort set; BE pods may be pinned to CPUs within it that no other BE pod uses
 * A class that may use every CPU is not claimed at all, so that a node that needs no pinning sees no cpuset write.
 * Who gets which CPUs is in placement/: wants.ts who wants some, assign.ts who gets them, sets.ts what that leaves to the others.
 */
import { CpuSet } from '../cpu/index.ts'
import type { Config } from '../config/types.ts'
import type { Because, Claim, ClassifiedPod, GroupPath, NodeSnapshot, PlacementState, PodFinding } from '../model/index.ts'
import { hasEnded, isExclusive, isOffline } from '../model/index.ts'
import { isObserved } from './observed.ts'
import { type Past, spareFor } from './placement/assign.ts'
import { type Assigned, setsOf, usableCpus } from './placement/sets.ts'
import { cpusFor, sameWants, type Wants, wantsOf } from './placement/wants.ts'

/** What pods were given, and what that was worked out from: choosing CPUs is dear on a large node, and the grounds rarely change. */
export interface PlacementMemory {
  readonly topology: NodeSnapshot['topology']
  readonly settings: Config['placement']
  /** What pods may use. */
  readonly usable: CpuSet
  readonly wants: Wants
  readonly assigned: Assigned
}

/** With the rule switched off, or one that only observes, nobody has CPUs of their own. */
const NO_WANTS: Wants = { exclusive: [], pinned: [] }

/** The CPU sets of a tick. */
export interface Placements {
  /** As they stand. */
  readonly placed: PlacementMemory
  /** What is claimed goes by these: another set while placement only observes. */
  readonly wanted: PlacementMemory
}

/** The CPU sets of this tick; those of the last one while nothing has changed that they depend on. */
export function rememberPlacements(
  snapshot: NodeSnapshot,
  pods: readonly ClassifiedPod[],
  memory: Partial<Placements>,
  config: Config,
): Placements {
  const wanted = rememberPlacement(snapshot, wantsOf(pods, config), { memory: memory.wanted, pods }, config)
  if (!isObserved('placement', config)) return { placed: wanted, wanted }
  return { placed: rememberPlacement(snapshot, NO_WANTS, { memory: memory.placed, pods }, config), wanted }
}

function rememberPlacement(
  snapshot: NodeSnapshot,
  wants: Wants,
  { memory, pods }: { readonly memory: PlacementMemory | undefined; readonly pods: readonly ClassifiedPod[] },
  config: Config,
): PlacementMemory {
  const { topology } = snapshot
  const settings = config.placement
  const usable = usableCpus(snapshot)
  const sameGround = memory?.topology === topology && memory.settings === settings && memory.usable.equals(usable)
  const same = sameWants(wants.exclusive, memory?.wants.exclusive ?? []) && sameWants(wants.pinned, memory?.wants.pinned ?? [])
  if (memory !== undefined && sameGround && same) return memory
  const before = { assigned: memory?.assigned, sameGround, actual: actualSets(snapshot, pods) }
  return { topology, settings, usable, wants, assigned: setsOf(snapshot, wants, before, config) }
}

/**
 * What the groups of pods hold, as a restarted agent finds it. A set that two online pods hold is the pool; one that pods of other classes
 * run on as well is more likely to be than one that they keep off.
 */
function actualSets({ actual }: NodeSnapshot, pods: readonly ClassifiedPod[]): Past['actual'] {
  let known: { readonly holders: Map<string, number>; readonly others: readonly CpuSet[] } | undefined
  const look = (): NonNullable<typeof known> => {
    const holders = new Map<string, number>()
    const others: CpuSet[] = []
    for (const { qosClass, reading } of pods) {
      const set = isOffline(qosClass) ? undefined : actual.get(reading.group, 'cpuset')?.value
      if (!(set instanceof CpuSet)) continue
      holders.set(set.toString(), (holders.get(set.toString()) ?? 0) + 1)
      if (!isExclusive(qosClass)) others.push(set)
    }
    return { holders, others }
  }
  return ({ group, qosClass }) => {
    const set = actual.get(group, 'cpuset')?.value
    if (!(set instanceof CpuSet) || set.isEmpty) return undefined
    if (qosClass === 'BE') return { set, rivals: 0 }
    known ??= look()
    if ((known.holders.get(set.toString()) ?? 0) > 1) return undefined
    return { set, rivals: known.others.filter((other) => other.overlaps(set)).length }
  }
}

/** Pods of LSX and LSR that have no CPUs of their own, and why; in the order of the pods. */
export function placementFindings(pods: readonly ClassifiedPod[], { assigned }: PlacementMemory, config: Config): PodFinding[] {
  if (!config.placement.enabled || isObserved('placement', config)) return []
  const findings: PodFinding[] = []
  const spare = new Map<string, number>()
  for (const { reading, qosClass } of pods) {
    const { spec } = reading
    if (!isExclusive(qosClass) || hasEnded(spec)) continue
    const about = { namespace: spec.namespace, name: spec.name, uid: spec.uid }
    const wantedCpus = cpusFor(spec.requests.cpuMilli)
    if (wantedCpus <= 0) findings.push({ ...about, code: 'noCpuRequest', qosClass })
    else if (assigned.exclusive.get(spec.uid)?.cpus === undefined) {
      const left = spare.get(qosClass) ?? spareFor(qosClass, assigned.ground, assigned.exclusive)
      spare.set(qosClass, left)
      findings.push({ ...about, code: 'noExclusiveCpus', qosClass, wantedCpus, freeCpus: Math.min(left, wantedCpus - 1) })
    }
  }
  return findings
}

/** Claims on the cpuset of every pod whose class may not use all CPUs, and of its containers. */
export function placementClaims(
  snapshot: NodeSnapshot,
  pods: readonly ClassifiedPod[],
  { assigned, usable }: PlacementMemory,
  config: Config,
): Claim[] {
  if (!config.placement.enabled) return []
  const claims: Claim[] = []
  const ofClass = new Map<string, Placed>()
  const bestEffort = assigned.state.pinned.length === 0 ? '' : assigned.state.bestEffort.toString()
  for (const pod of pods) {
    if (!pod.reading.present) continue
    let placed = ownCpus(pod, assigned, bestEffort)
    if (placed === undefined) {
      placed = ofClass.get(pod.qosClass) ?? classCpus(pod, assigned.state)
      ofClass.set(pod.qosClass, placed)
    }
    const { value, because } = placed
    if (value.equals(usable)) continue
    for (const group of cpusetGroups(snapshot, pod)) claims.push({ group, kind: 'cpuset', value, rule: 'placement', because })
  }
  return claims
}

interface Placed {
  readonly value: CpuSet
  readonly because: Because
}

function ownCpus(pod: ClassifiedPod, { exclusive, pinned }: Assigned, bestEffort: string): Placed | undefined {
  const { qosClass, reading, askedMilli } = pod
  const { uid, requests } = reading.spec
  if (qosClass === 'BE') {
    const value = pinned.get(uid)?.cpus
    return value === undefined ? undefined : { value, because: { code: 'placement.beExclusive', askedMilli, bestEffort } }
  }
  if (!isExclusive(qosClass)) return undefined
  const own = exclusive.get(uid)?.cpus
  if (own === undefined) return undefined
  const requestedMilli = requests.cpuMilli
  return { value: own, because: { code: 'placement.exclusive', qosClass, requestedMilli } }
}

/** The set that all pods of the class share which have none of their own. */
function classCpus({ qosClass }: ClassifiedPod, state: PlacementState): Placed {
  const { reserved, dedicated, bestEffort, pool, exclusive } = state
  if (isOffline(qosClass)) {
    const value = qosClass === 'BE' ? state.unpinned : bestEffort
    const shared = value.minus(dedicated).toString()
    return {
      value,
      because: { code: 'placement.besteffort', qosClass, dedicated: value.intersect(dedicated).toString(), shared },
    }
  }
  return {
    value: qosClass === 'SYSTEM' ? pool.union(reserved) : pool,
    because: {
      code: 'placement.pool',
      qosClass,
      reserved: reserved.toString(),
      dedicated: dedicated.toString(),
      exclusive: exclusive.reduce((all, { cpus }) => all.union(cpus), CpuSet.EMPTY).toString(),
    },
  }
}

/**
 * The pod's group, and under v1 its containers' too: there a container's set is its own copy and does not follow the pod's when that
 * grows again. Under v2 a container without a set follows its pod.
 */
export function cpusetGroups(snapshot: NodeSnapshot, pod: ClassifiedPod): readonly GroupPath[] {
  const { group, childGroups } = pod.reading
  return snapshot.capabilities.nestedCpuset ? [group, ...childGroups] : [group]
}
