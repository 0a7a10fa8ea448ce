/**
 * How good an exclusive set of CPUs is, as four numbers to be kept small: sockets, NUMA nodes, last-level caches and partly used
 * cores. In this order they are also how two sets are compared; see place.ts.
 */
import { takeFromEnd } from '../choose.ts'
import { CpuSet } from '../cpuset.ts'
import type { CpuTopology } from '../topology.ts'
import { machineOf } from './machine.ts'

export interface PlaceCounts {
  readonly sockets: number
  readonly nodes: number
  readonly caches: number
  /** Cores of which some but not all online threads are in the set. */
  readonly partCores: number
}

/** CPUs that are not online count nowhere. */
export function countsOf(topology: CpuTopology, set: CpuSet): PlaceCounts {
  const { coreOf, threads } = machineOf(topology)
  const taken = new Map<number, number>()
  set.forEach((cpu) => {
    const core = coreOf[cpu] ?? -1
    if (core >= 0) taken.set(core, (taken.get(core) ?? 0) + 1)
  })
  let partCores = 0
  for (const [core, count] of taken) if (count < (threads[core]?.length ?? 0)) partCores += 1
  const touched = (domains: CpuTopology['sockets']): number => domains.filter((domain) => domain.cpus.overlaps(set)).length
  return {
    sockets: touched(topology.sockets),
    nodes: touched(topology.nodes),
    caches: touched(topology.caches),
    partCores,
  }
}

/** Negative if `a` is better: by sockets, then nodes, then caches, then partly used cores. A total order. */
export function compareCounts(a: PlaceCounts, b: PlaceCounts): number {
  return a.sockets - b.sockets || a.nodes - b.nodes || a.caches - b.caches || a.partCores - b.partCores
}

/** Whether none of the four counts is above the limit's. */
export function countsWithin(counts: PlaceCounts, limit: PlaceCounts): boolean {
  return (
    counts.sockets <= limit.sockets &&
    counts.nodes <= limit.nodes &&
    counts.caches <= limit.caches &&
    counts.partCores <= limit.partCores
  )
}

/** All online threads of every core that has a thread in the set. */
export function siblingsClosure(topology: CpuTopology, set: CpuSet): CpuSet {
  const { coreOf, threads } = machineOf(topology)
  const cores = new Set<number>()
  set.forEach((cpu) => cores.add(coreOf[cpu] ?? -1))
  return CpuSet.from([...cores].flatMap((core) => threads[core] ?? []))
}

/**
 * The part of a bound pod's own CPUs that best-effort work may use too: `permyriad` of them, rounded down, whole cores first. CPUs
 * that are not online count nowhere.
 */
export function sharedPart(topology: CpuTopology, set: CpuSet, permyriad: number): CpuSet {
  const usable = set.intersect(topology.online)
  return takeFromEnd(topology, usable, Math.floor((usable.size * permyriad) / 10_000))
}
