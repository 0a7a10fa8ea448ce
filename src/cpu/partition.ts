/**
 * Splits CPUs into groups from what each CPU says of its own neighbours. Two CPUs are in one group as soon as either of them says
 * so, and so on along the chain: during a hot-plug half of the lists in sysfs are from before it, and a relation read that way
 * must still come out symmetric.
 */
import type { CpuSet } from './cpuset.ts'

/** Each group under its lowest CPU, members ascending; groups ascending by that CPU. */
export type Partition = ReadonlyMap<number, readonly number[]>

/** The CPUs it shares the group with (itself or not), or a key that all members have in common. */
export type Bond = { readonly with: CpuSet } | { readonly key: string }

/** Groups of `cpus` only: CPUs outside are ignored in bonds. */
export function groupsOf(cpus: CpuSet, bondOf: (cpu: number) => Bond): Partition {
  const parents = new Map<number, number>()
  const byKey = new Map<string, number>()
  for (const cpu of cpus) {
    const bond = bondOf(cpu)
    if ('with' in bond) {
      for (const neighbour of bond.with.intersect(cpus)) join(parents, cpu, neighbour)
    } else {
      join(parents, cpu, byKey.get(bond.key) ?? cpu)
      byKey.set(bond.key, cpu)
    }
  }
  const groups = new Map<number, number[]>()
  for (const cpu of cpus) {
    const root = rootOf(parents, cpu)
    const group = groups.get(root)
    if (group === undefined) groups.set(root, [cpu])
    else group.push(cpu)
  }
  return groups
}

function rootOf(parents: Map<number, number>, cpu: number): number {
  let root = cpu
  for (let parent = parents.get(root); parent !== undefined; parent = parents.get(root)) root = parent
  // Every later look-up takes one hop: without it, 1024 CPUs of one cache cost 1024 hops each.
  if (root !== cpu) parents.set(cpu, root)
  return root
}

/** The lower root stays root, so that a group is known by its lowest CPU. */
function join(parents: Map<number, number>, a: number, b: number): void {
  const rootA = rootOf(parents, a)
  const rootB = rootOf(parents, b)
  if (rootA !== rootB) parents.set(Math.max(rootA, rootB), Math.min(rootA, rootB))
}
