/**
 * The allowance as quotas: one on the root of all offline pods, and one on each OT pod; and the way back from quotas that stand to levels,
 * for an agent that has just started.
 */
import type { Config } from '../../config/types.ts'
import type { AllowanceBound, Claim, ClassifiedPod, NodeSnapshot, SuppressionState } from '../../model/index.ts'
import { isQuota, quotaMilliCpu, quotaOf } from '../../model/index.ts'
import type { ClassUse } from './cpu-inputs.ts'
import type { Level } from './regulator.ts'

/**
 * After a restart growth goes on from where the kernel stands, less what rootClaim() puts on top; a node without a quota starts at the
 * target.
 */
export function firstLevel(snapshot: NodeSnapshot, { untaggedMilli }: ClassUse, config: Config): Level | undefined {
  const quota = snapshot.actual.get(snapshot.bestEffort.group, 'quota')?.value
  if (!isQuota(quota) || quota.quotaUs === null) return undefined
  const extraMilli = untaggedExtra(untaggedMilli, snapshot.topology.online.size * 1000, config)
  return { milli: Math.max(0, Math.floor(quotaMilliCpu(quota) - extraMilli)), changedMs: snapshot.nowMs }
}

/** What OT pods may use by the quotas that stand; undefined when none of them has one. */
export function firstOtLevel(snapshot: NodeSnapshot, pods: readonly ClassifiedPod[]): Level | undefined {
  let milli = 0
  for (const { qosClass, reading } of pods) {
    const quota = qosClass === 'OT' ? snapshot.actual.get(reading.group, 'quota')?.value : undefined
    // Whole numbers, as in sumUse().
    if (isQuota(quota) && quota.quotaUs !== null) milli += Math.round(quotaMilliCpu(quota))
  }
  return milli === 0 ? undefined : { milli, changedMs: snapshot.nowMs }
}

function untaggedExtra(untaggedMilli: number, capacityMilli: number, config: Config): number {
  return untaggedMilli === 0 ? 0 : growthRoom(untaggedMilli, capacityMilli, config)
}

function growthRoom(untaggedMilli: number, capacityMilli: number, config: Config): number {
  return Math.round(untaggedMilli + (capacityMilli * config.suppressCpu.growthPermyriad) / 10_000)
}

/** Untagged pods live under the same root but count as online: their use comes on top, with room for one growth step. */
export function rootClaim(snapshot: NodeSnapshot, state: SuppressionState, { untaggedMilli }: ClassUse, config: Config): Claim {
  const extraMilli = untaggedExtra(untaggedMilli, state.inputs.capacityMilli, config)
  return claimOnRoot(snapshot, state, state.allowanceMilli + extraMilli, untaggedMilli)
}

/**
 * The claim of an agent that has never had a reading. Untagged pods that were not measured either get the growth step too: they must not
 * starve with the offline ones. But nothing is widened blindly.
 */
export function blindRootClaim(snapshot: NodeSnapshot, state: SuppressionState, use: ClassUse, config: Config): Claim {
  const { untaggedMilli, untaggedKnown } = use
  const { capacityMilli } = state.inputs
  const extraMilli = (untaggedKnown ? untaggedExtra : growthRoom)(untaggedMilli, capacityMilli, config)
  const standing = snapshot.actual.get(snapshot.bestEffort.group, 'quota')?.value
  const mostMilli = Math.max(state.allowanceMilli, isQuota(standing) ? quotaMilliCpu(standing) : Infinity)
  return claimOnRoot(snapshot, state, Math.min(mostMilli, state.allowanceMilli + extraMilli), untaggedMilli)
}

function claimOnRoot(snapshot: NodeSnapshot, state: SuppressionState, milli: number, untaggedMilli: number): Claim {
  const { bound, inputs } = state
  const because = { code: 'suppress.root', bound, inputs, untaggedMilli: Math.round(untaggedMilli) } as const
  return { group: snapshot.bestEffort.group, kind: 'quota', value: quotaOf(milli), rule: 'suppressCpu', because }
}

/** OT has no group of its own: its allowance is split over its pods in proportion to what they asked for. */
export function otClaims(pods: readonly ClassifiedPod[], state: SuppressionState, bound: AllowanceBound): Claim[] {
  const present = pods.filter((pod) => pod.qosClass === 'OT' && pod.reading.present)
  const part = (pod: ClassifiedPod): number => Math.max(1, pod.askedMilli)
  const whole = present.reduce((sum, pod) => sum + part(pod), 0)
  return present.map((pod) => ({
    group: pod.reading.group,
    kind: 'quota',
    value: quotaOf((state.otAllowanceMilli * part(pod)) / whole),
    rule: 'suppressCpu',
    because: {
      code: 'suppress.ot',
      bound,
      allowanceMilli: state.allowanceMilli,
      beDemandMilli: state.beDemandMilli,
      otAllowanceMilli: state.otAllowanceMilli,
    },
  }))
}
