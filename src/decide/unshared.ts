/**
 * Which pods offline work can't keep from a CPU: they have CPUs of their own, and it may run on none of them. What these wait for is no
 * reason to take from it (own-waiting.ts of the sensors).
 */
import type { Decision, GroupPath } from '../model/index.ts'

/** Groups of the pods with whose CPUs offline work shares none, by what was decided. */
export function unsharedGroups({ pods, placement: { exclusive, bestEffort } }: Decision): ReadonlySet<GroupPath> {
  const alone = new Set(exclusive.filter(({ cpus }) => cpus.intersect(bestEffort).isEmpty).map(({ uid }) => uid))
  if (alone.size === 0) return alone
  return new Set(pods.filter(({ reading }) => alone.has(reading.spec.uid)).map(({ reading }) => reading.group))
}
