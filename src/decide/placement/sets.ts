/**
 * The CPU sets of the node from what pods have for themselves:
 *   pool       = online − reserved − dedicated − CPUs of LSX and LSR pods
 *   besteffort = dedicated ∪ the shared part of the pool ∪ the shared part of each LSR pod
 * The shared part of the pool is worked out from pool and topology alone, from the far end of the machine, while pods with CPUs of their
 * own are placed from the near end: so it keeps what it has when one comes or goes, over a restart as well.
 */
import { CpuSet, sharedPart, takeFromEnd } from '../../cpu/index.ts'
import type { Config } from '../../config/types.ts'
import type { ExclusiveCpus, NodeSnapshot, PlacementState } from '../../model/index.ts'
import { podsRoot } from '../../model/index.ts'
import { assign, type Ground, type Holdings, type Past } from './assign.ts'
import type { Wants } from './wants.ts'

/** The CPUs of the node by what settings make of them. None but `free` and the first two is ever empty. */
export interface Divided {
  readonly reserved: CpuSet
  readonly dedicated: CpuSet
  /** CPUs that pods can be given for themselves. */
  readonly free: CpuSet
  /** The pool while no pod has any. */
  readonly pool: CpuSet
  /** All that pods may use. */
  readonly usable: CpuSet
}

/**
 * The CPUs that pods may use: those online, less what the group of all pods lacks where that was read. Kernel: under v1 a CPU that was
 * unplugged and is back is in no group but the root.
 */
export function usableCpus({ topology, layout, actual }: NodeSnapshot): CpuSet {
  const root = actual.get(podsRoot(layout), 'cpuset')?.value
  if (!(root instanceof CpuSet) || topology.online.isSubsetOf(root)) return topology.online
  return orElse(topology.online.intersect(root), topology.online)
}

/** A configuration that leaves a class without CPUs falls back to all there are. */
export function divide(usable: CpuSet, { placement }: Config): Divided {
  const reserved = placement.reservedCpus.intersect(usable)
  const dedicated = placement.dedicatedCpus.intersect(usable).minus(reserved)
  const free = usable.minus(reserved).minus(dedicated)
  return { reserved, dedicated, free, pool: orElse(free, usable.minus(reserved), usable), usable }
}

function orElse(...sets: readonly [CpuSet, ...CpuSet[]]): CpuSet {
  return sets.find((set) => !set.isEmpty) ?? CpuSet.EMPTY
}

export interface Assigned {
  readonly exclusive: Holdings
  readonly pinned: Holdings
  readonly state: PlacementState
  readonly ground: Ground
}

export interface Before {
  readonly assigned: Assigned | undefined
  readonly sameGround: boolean
  readonly actual: Past['actual']
}

/** Assigns CPUs to all who want some, and works out what is left to the others. */
export function setsOf(snapshot: NodeSnapshot, wants: Wants, before: Before, config: Config): Assigned {
  const { topology } = snapshot
  const { strategy, poolMinCpus, lsSharePermyriad } = config.placement
  const { reserved, dedicated, free, pool: most, usable } = divide(usableCpus(snapshot), config)
  const ground: Ground = { topology, reachable: usable, usable: free, leastLeft: poolMinCpus, strategy }
  const past: Omit<Past, 'holdings'> = { sameGround: before.sameGround, actual: before.actual }
  const exclusive = assign(wants.exclusive, ground, { ...past, holdings: before.assigned?.exclusive })
  const owned = exclusiveCpus(exclusive, { topology, before }, config)
  const pool = owned.reduce((left, { cpus }) => left.minus(cpus), most)
  // Dedicated CPUs may all be offline: then offline pods share the pool's last CPU rather than have none, or all.
  const leastShared = lsSharePermyriad === 0 && !dedicated.isEmpty ? 0 : 1
  const shareCount = Math.max(leastShared, Math.floor((pool.size * lsSharePermyriad) / 10_000))
  const shared = owned.reduce((all, one) => all.union(one.shared), takeFromEnd(topology, pool, shareCount))
  const bestEffort = orElse(dedicated.union(shared), usable)
  const within: Ground = { topology, reachable: usable, usable: bestEffort, leastLeft: 0, strategy }
  const sameSet = before.sameGround && before.assigned?.state.bestEffort.equals(bestEffort) === true
  const pinned = assign(wants.pinned, within, { ...past, sameGround: sameSet, holdings: before.assigned?.pinned })
  const pins = [...pinned.values()].flatMap(({ want, cpus }) => (cpus === undefined ? [] : [{ uid: want.uid, cpus }]))
  const unpinned = orElse(
    pins.reduce((left, { cpus }) => left.minus(cpus), bestEffort),
    bestEffort,
  )
  const state = { reserved, pool, dedicated, bestEffort, exclusive: owned, pinned: pins, unpinned }
  return { exclusive, pinned, state, ground }
}

interface Known {
  readonly topology: NodeSnapshot['topology']
  readonly before: Before
}

/** With the part that each LSR pod shares, taken from the last time while its CPUs are the same. */
function exclusiveCpus(holdings: Holdings, { topology, before }: Known, { placement }: Config): ExclusiveCpus[] {
  const known = new Map(before.sameGround ? before.assigned?.state.exclusive.map((one) => [one.uid, one]) : [])
  const owned: ExclusiveCpus[] = []
  for (const { want, cpus } of holdings.values()) {
    const { uid, qosClass } = want
    if (cpus === undefined || qosClass === 'BE') continue
    const last = known.get(uid)
    if (last?.cpus === cpus && last.qosClass === qosClass) owned.push(last)
    else {
      const shared = qosClass === 'LSX' ? CpuSet.EMPTY : sharedPart(topology, cpus, placement.lsrSharePermyriad)
      owned.push({ uid, qosClass, cpus, shared })
    }
  }
  return owned
}
