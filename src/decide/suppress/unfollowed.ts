/**
 * Pods with so many quotas of their own inside that they can't all be moved out of the way, while the kernel refuses quotas on account of them
 * (sense/nested-quotas.ts): that of all offline pods, or where those are held one by one, their own. The other offline pods are held to the allowance
 * one by one then (cpu-claims.ts); these stand still, which no group inside can keep the kernel from, until the quota is taken again. A pod of
 * which only its own limit is refused, or that is online, is told of and left alone.
 */
import type { Claim, ClassifiedPod, Desired, NodeSnapshot, PodFinding, PodReading } from '../../model/index.ts'
import { hasEnded, isOffline } from '../../model/index.ts'
import type { Sharing } from './cpu-inputs.ts'
import { mayStandStill } from './cpu-rungs.ts'

/**
 * Whether no quota can hold the pod to the allowance. It is claimed no part of it either: the kernel would refuse that as well, and so the pod would
 * be in the way for as long as it stands still, though the root's quota had long been taken again.
 */
export function isBeyondQuotas({ group }: PodReading, { unfollowed }: NodeSnapshot, sharing: Sharing): boolean {
  return unfollowed?.groups.includes(group) === true && sharing === 'alone' && unfollowed.barsRoot
}

/** Freezes those of the offline pods that can't be held otherwise; none where the kernel can't freeze. */
export function unfollowedClaims(snapshot: NodeSnapshot, pods: readonly ClassifiedPod[], sharing: Sharing): readonly Claim[] {
  const { unfollowed, capabilities } = snapshot
  if (unfollowed === undefined || !capabilities.knobs.freeze.usable || (sharing === 'alone' && !unfollowed.barsRoot)) return []
  return unfollowedOf(snapshot, pods).flatMap(({ qosClass, reading }): Claim[] =>
    isOffline(qosClass) && mayStandStill(snapshot, reading)
      ? [{ group: reading.group, kind: 'freeze', value: 1, rule: 'suppressCpu', because: { code: 'suppress.unfollowed' } }]
      : [],
  )
}

/** What the owners of such pods should know. */
export function unfollowedFindings(
  snapshot: NodeSnapshot,
  pods: readonly ClassifiedPod[],
  desired: Desired,
): readonly PodFinding[] {
  return unfollowedOf(snapshot, pods).map(({ reading: { spec, group } }) => ({
    namespace: spec.namespace,
    name: spec.name,
    uid: spec.uid,
    code: 'unfollowed',
    standsStill: desired.get(group, 'freeze')?.setting.value === 1,
  }))
}

function unfollowedOf({ unfollowed }: NodeSnapshot, pods: readonly ClassifiedPod[]): readonly ClassifiedPod[] {
  if (unfollowed === undefined) return []
  return pods.filter(({ reading }) => reading.present && !hasEnded(reading.spec) && unfollowed.groups.includes(reading.group))
}
