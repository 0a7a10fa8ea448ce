/**
 * What has to hold of a node under placement-churn.ts, after each tick and when it has come to rest. Everything is read from the kernel:
 * the files of the groups, and of each process the CPUs that it may run on.
 */
import assert from 'node:assert/strict'
import { CpuSet, siblingsClosure } from '../../src/cpu/index.ts'
import type { GroupPath, PlacementState, TickRecord } from '../../src/model/index.ts'
import { hasEnded, isExclusive, isSuccess } from '../../src/model/index.ts'
import { affinityOf, type ChurnNode, type ChurnPod } from './placement-churn-node.ts'

/**
 * What is allowed of a write: the group may be gone, and one that met an unknown container is tried again, as is a quota that a group
 * has stood in the way of that was removed a moment ago.
 */
export function checkOutcomes({ results }: TickRecord, isRemoving: boolean): void {
  for (const { step, outcome } of results) {
    const isRetried =
      (step.kind === 'cpuset' && outcome.is === 'busy') || (step.kind === 'quota' && outcome.is === 'refused' && isRemoving)
    const isFine = isSuccess(outcome) || outcome.is === 'vanished' || isRetried
    assert.ok(
      isFine,
      `${step.group} ${step.kind} ${JSON.stringify(step.from)} → ${JSON.stringify(step.value)}: ${JSON.stringify(outcome)}`,
    )
  }
}

/** The sets of a decision among themselves. */
export function checkSets({ decision, snapshot }: TickRecord): void {
  const { exclusive, pool, reserved, dedicated, bestEffort, pinned } = decision.placement
  let taken = CpuSet.EMPTY
  for (const { uid, qosClass, cpus, shared } of exclusive) {
    assert.ok(!cpus.isEmpty && cpus.isSubsetOf(snapshot.topology.online), `${uid} has ${cpus.toString()}`)
    for (const others of [taken, pool, reserved, dedicated])
      assert.ok(!cpus.overlaps(others), `${uid}: ${cpus.toString()} and ${others.toString()}`)
    if (qosClass === 'LSX') {
      assert.ok(siblingsClosure(snapshot.topology, cpus).equals(cpus), `${uid} has parts of cores: ${cpus.toString()}`)
      assert.ok(shared.isEmpty && !cpus.overlaps(bestEffort), `${uid}: ${cpus.toString()}, offline pods ${bestEffort.toString()}`)
    }
    taken = taken.union(cpus)
  }
  let pins = CpuSet.EMPTY
  for (const { uid, cpus } of pinned) {
    assert.ok(
      cpus.isSubsetOf(bestEffort) && !cpus.overlaps(pins),
      `${uid} is pinned to ${cpus.toString()} of ${bestEffort.toString()}`,
    )
    pins = pins.union(cpus)
  }
}

/** By UID, the CPUs of pods that have some of their own, with what they were given for. */
export type Homes = ReadonlyMap<string, { readonly wanted: string; readonly cpus: CpuSet }>

export function homesOf(record: TickRecord): Homes {
  const wanted = wantedOf(record)
  return new Map(
    record.decision.placement.exclusive.map(({ uid, cpus }) => [uid, { wanted: wanted.get(uid) ?? 'nothing', cpus }]),
  )
}

/** What pods want that have not ended, by UID: class and CPUs. */
export function wantedOf({ decision }: TickRecord): ReadonlyMap<string, string> {
  return new Map(
    decision.pods
      .filter(({ reading, qosClass }) => isExclusive(qosClass) && !hasEnded(reading.spec))
      .map(({ reading: { spec }, qosClass }) => [spec.uid, `${qosClass} ${Math.ceil(spec.requests.cpuMilli / 1000)}`]),
  )
}

/** Nobody who wants what he wanted has other CPUs than he had, or none. */
export function checkHomes(before: Homes, now: Homes, wanted: ReadonlyMap<string, string>): void {
  for (const [uid, home] of before) {
    if (wanted.get(uid) !== home.wanted) continue
    const cpus = now.get(uid)?.cpus
    assert.ok(
      cpus?.equals(home.cpus) === true,
      `${uid} (${home.wanted}) had ${home.cpus.toString()} and has ${String(cpus ?? 'none')} now`,
    )
  }
}

/** Every process runs within the set of its pod, as it is in force. Returns how many there were. */
export function checkAffinities(node: ChurnNode, expected: (pod: ChurnPod) => CpuSet | undefined): number {
  let count = 0
  for (const pod of node.pods) {
    const within = pod.made ? expected(pod) : undefined
    if (within === undefined) continue
    for (const group of node.groupsOf(pod)) {
      for (const pid of node.pidsOf(group)) {
        const affinity = affinityOf(pid)
        if (affinity === undefined) continue
        count += 1
        const isInside = !affinity.isEmpty && affinity.isSubsetOf(within)
        assert.ok(isInside, `process ${pid} of ${group} may run on ${affinity.toString()}, its pod on ${within.toString()}`)
      }
    }
  }
  return count
}

export interface Resting {
  readonly node: ChurnNode
  readonly record: TickRecord
  /** Groups that somebody else wrote at a time when the agent did not want anything of them: theirs. */
  readonly foreign: ReadonlySet<GroupPath>
}

/** The whole node at rest: files as decided, what is not decided as the kubelet left it, nobody on the cores of an LSX pod. */
export function checkResting({ node, record, foreign }: Resting): number {
  const { desired, placement } = record.decision
  const every = node.rootSet
  const nested = record.snapshot.capabilities.nestedCpuset
  for (const pod of node.pods) {
    if (!pod.listed || !pod.made || foreign.has(pod.group)) continue
    for (const group of nested ? node.groupsOf(pod) : [pod.group]) {
      const wanted = desired.get(group, 'cpuset')?.setting.value
      if (wanted instanceof CpuSet)
        assert.ok(node.setOf(group).equals(wanted), `${group}: ${node.setOf(group).toString()}, decided ${wanted.toString()}`)
      else if (!foreign.has(group))
        assert.ok(
          node.effectiveSetOf(group).equals(every),
          `${group}: ${node.effectiveSetOf(group).toString()}, nobody wants it narrow`,
        )
    }
  }
  const decided = (pod: ChurnPod): CpuSet | undefined => {
    if (!pod.listed) return undefined
    const wanted = desired.get(pod.group, 'cpuset')?.setting.value
    return withoutCores(wanted instanceof CpuSet ? wanted : every, pod, placement)
  }
  return checkAffinities(node, decided)
}

/** The CPUs that a pod may use, less those that can't be its own, whatever was decided for it. */
function withoutCores(set: CpuSet, pod: ChurnPod, { exclusive }: PlacementState): CpuSet {
  return exclusive.reduce(
    (left, { uid, qosClass, cpus }) => (qosClass === 'LSX' && uid !== pod.spec.uid ? left.minus(cpus) : left),
    set,
  )
}
