/**
 * Rule own: the agent's own group gets the highest weight there is, so that the loop runs in time on a full node. It costs others nothing
 * while the agent sleeps, and its CPU limit holds as before.
 * Kernel: siblings are compared. Within the kubelet's tree the pod is weighed against other pods and its container against the sandbox;
 * the QoS root above them is shared with other people's pods and is the kubelet's to weigh. The kubelet writes the weights of a pod and its
 * containers when it makes them, and again only when they are resized.
 */
import type { Config } from '../config/types.ts'
import type { Claim, Dialect, GroupPath, NodeSnapshot } from '../model/index.ts'
import { groupName, isOffline, isPodGroupName, parentGroup, podsRoot } from '../model/index.ts'
import { classify } from './classify.ts'

/** Kernel: MAX_SHARES of kernel/sched/core.c, CGROUP_WEIGHT_MAX. */
export const HIGHEST_WEIGHT: Readonly<Record<Dialect, number>> = { v1: 262_144, v2: 10_000 }

/**
 * Groups that hold more than one service although they are no slices: a login session with the shell that somebody started the agent from,
 * and systemd itself.
 */
const SHARED_SCOPE = /^(?:session-.+|init)\.scope$/

/** Claims on the weight of the groups that are the agent's alone; none where that is not certain (I68). */
export function ownClaims(snapshot: NodeSnapshot, config: Config): readonly Claim[] {
  const { knobs, dialect } = snapshot.capabilities
  if (!config.own.weight || !knobs.weight.usable) return []
  return ownGroups(snapshot, config).map((group) => ({
    group,
    kind: 'weight',
    value: HIGHEST_WEIGHT[dialect],
    rule: 'own',
    because: { code: 'own.weight' },
  }))
}

function ownGroups(snapshot: NodeSnapshot, config: Config): readonly GroupPath[] {
  const { layout, bestEffort } = snapshot
  const root = podsRoot(layout)
  const innermost = snapshot.ownGroups.at(-1)
  if (innermost === undefined) return []
  if (!isBelow(innermost, root)) return isShared(innermost, root) ? [] : [innermost]
  const groups = withParents(innermost)
  const pod = groups.find((group) => isBelow(group, root) && isPodGroupName(groupName(group)))
  // A process in the QoS root itself, or in a group below it that no kubelet makes, is in nobody's pod.
  if (pod === undefined) return []
  if (isBelow(pod, bestEffort.group) && !isKnownOnline(pod, snapshot, config)) return []
  // What the container makes of groups inside itself has no siblings of other people.
  return [pod, ...groups.filter((group) => parentGroup(group) === pod)]
}

/** Whether the agent runs in this group or in one below it. */
export function runsAgent({ ownGroups }: NodeSnapshot, group: GroupPath): boolean {
  return ownGroups.some((own) => own === group || isBelow(own, group))
}

/** A group and those around it without `/`, outermost first. */
function withParents(group: GroupPath): GroupPath[] {
  return group === '/' ? [] : [...withParents(parentGroup(group)), group]
}

function isBelow(group: GroupPath, above: GroupPath): boolean {
  return group.startsWith(`${above}/`)
}

/** Whether a group outside of the pods' tree holds others than the agent. A group around the pods' root holds every pod of the node. */
function isShared(group: GroupPath, root: GroupPath): boolean {
  const name = groupName(group)
  return group === '/' || group === root || isBelow(root, group) || name.endsWith('.slice') || SHARED_SCOPE.test(name)
}

/** An agent below the best-effort root that is sold offline capacity, or that no source lists, must not go before the pods beside it. */
function isKnownOnline(pod: GroupPath, { pods }: NodeSnapshot, config: Config): boolean {
  const reading = pods.pods.find(({ group }) => group === pod)
  return reading !== undefined && !isOffline(classify(reading, config).qosClass)
}
