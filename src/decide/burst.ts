/**
 * Rule burst: an online container with a quota may save up time in its quiet periods and use it in a busy one, so that short peaks are not
 * throttled although it uses less than its limit on average. Off unless it is asked for: it changes how online pods are held.
 * Only pods that were throttled get it, on all their groups that have a quota, since the pod's group would throttle what its container
 * may do; and they keep it, since with it the throttling is gone.
 * Kernel: a quota below the burst is refused with EINVAL (tg_set_cfs_bandwidth), also to a kubelet that resizes the container. So the
 * burst is a part of the quota, and of the smaller quota as soon as the pod's spec asks for one.
 */
import type { Config } from '../config/types.ts'
import type { Claim, ClassifiedPod, ContainerSpec, GroupBandwidth, NodeSnapshot, PodReading, QosClass } from '../model/index.ts'
import { containerIdOf, groupName } from '../model/index.ts'

const BURSTING: readonly QosClass[] = ['LSX', 'LSR', 'LS']

/** Claims on the burst of every group with a quota of online pods that were throttled. */
export function burstClaims(snapshot: NodeSnapshot, pods: readonly ClassifiedPod[], config: Config): Claim[] {
  const { enabled, sharePermyriad } = config.burst
  if (!enabled || !snapshot.capabilities.knobs.burst.usable) return []
  const claims: Claim[] = []
  for (const { reading, qosClass } of pods) {
    const { bandwidth = [] } = reading
    if (!reading.present || !BURSTING.includes(qosClass)) continue
    const throttledPermyriad = Math.max(0, ...bandwidth.map((one) => one.throttledPermyriad))
    if (throttledPermyriad === 0 && !bandwidth.some(({ burstUs }) => burstUs > 0)) continue
    for (const one of bandwidth) {
      const quotaUs = Math.min(one.quotaUs, wantedQuotaUs(one, reading))
      const value = Math.floor((quotaUs * sharePermyriad) / 10_000)
      if (value === 0) continue
      const because = { code: 'burst', qosClass, sharePermyriad, quotaUs, throttledPermyriad } as const
      claims.push({ group: one.group, kind: 'burst', value, rule: 'burst', because })
    }
  }
  return claims
}

/** The quota that the pod's spec asks for, which is ahead of the kernel's while a resize is on its way; Infinity where it says nothing. */
function wantedQuotaUs({ group, periodUs }: GroupBandwidth, { spec, group: podGroup }: PodReading): number {
  const running = spec.containers.filter(({ kind }) => kind !== 'init')
  const limits = group === podGroup ? running.map(limitOf) : running.filter((one) => owns(one, group)).map(limitOf)
  if (limits.length === 0) return Infinity
  const limitMilli = limits.reduce((sum, limit) => sum + limit, 0)
  return (limitMilli * periodUs) / 1000
}

function limitOf({ cpuLimitMilli }: ContainerSpec): number {
  return cpuLimitMilli ?? Infinity
}

/** `containerd://4f…` owns the group that is named by the same id. */
function owns({ id }: ContainerSpec, group: string): boolean {
  const groupId = containerIdOf(groupName(group))
  return id !== undefined && groupId !== undefined && id.endsWith(groupId)
}
