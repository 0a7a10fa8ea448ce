/**
 * Under v1 a container that comes when its pod has been narrowed begins with a copy of the narrow set. That is no original to go back to:
 * the process would be left on CPUs that the agent once chose for its pod. What it would have had is the pod's own original.
 * Source: opencontainers/cgroups fs/cpuset.go, cpusetCopyIfNeeded().
 */
import { CpuSet } from '../cpu/index.ts'
import type { GroupPath, KernelPort, KnobValue, Plan } from '../model/index.ts'
import { childGroup, parentGroup, sameValue } from '../model/index.ts'
import type { RestoreJournal } from './restore-journal.ts'

export interface CopiedSet {
  readonly group: GroupPath
  readonly kind: 'cpuset'
  /** What the parent had before the agent. */
  readonly value: CpuSet
  /** What was copied. */
  readonly holds: CpuSet
}

/** The set of a group, if it is a copy of one that the agent gave to its parent. */
export function copiedSet(group: GroupPath, holds: KnobValue | undefined, journal: RestoreJournal): CopiedSet | undefined {
  const parent = journal.entries.get(parentGroup(group), 'cpuset')
  if (!(holds instanceof CpuSet) || !(parent?.original instanceof CpuSet)) return undefined
  const isCopy = !sameValue(parent.original, holds) && parent.ours.some((ours) => sameValue(ours, holds))
  return isCopy ? { group, kind: 'cpuset', value: parent.original, holds } : undefined
}

/**
 * The sets below groups that are about to be placed for the first time. With these on record, a group that has none came later, and what it
 * holds is not its own.
 */
export function setsBelow(steps: Plan, kernel: KernelPort, journal: RestoreJournal): Omit<CopiedSet, 'holds'>[] {
  if (!kernel.capabilities.nestedCpuset) return []
  const placed = new Set<GroupPath>()
  for (const { group, kind } of steps) if (kind === 'cpuset') placed.add(group)
  const sets: Omit<CopiedSet, 'holds'>[] = []
  for (const group of placed) {
    if ((journal.entries.get(group, 'cpuset')?.ours.length ?? 0) > 0) continue
    for (const name of kernel.listChildren(group)) {
      const child = childGroup(group, name)
      const value = placed.has(child) || journal.has(child, 'cpuset') ? undefined : kernel.readKnob(child, 'cpuset')
      if (value instanceof CpuSet) sets.push({ group: child, kind: 'cpuset', value })
    }
  }
  return sets
}

/** Copies below groups that are about to be widened for good, in containers that came after all that the agent wrote: no later look would know them. */
export function copiesBelow(steps: Plan, kernel: KernelPort, journal: RestoreJournal): CopiedSet[] {
  if (!kernel.capabilities.nestedCpuset) return []
  const copies: CopiedSet[] = []
  for (const { group, kind, because } of steps) {
    if (kind !== 'cpuset' || because.code !== 'restore') continue
    for (const name of kernel.listChildren(group)) {
      const child = childGroup(group, name)
      if (journal.has(child, 'cpuset')) continue
      const copy = copiedSet(child, kernel.readKnob(child, 'cpuset'), journal)
      if (copy !== undefined) copies.push(copy)
    }
  }
  return copies
}
