/**
 * The allowance as quotas: one on the root of all offline pods, and one on each OT pod; and the way back from quotas that stand to levels,
 * for an agent that has just started. An online pod below that root (untagged, a daemon without requests) would be held by its quota with the
 * offline ones, and could push them beyond the allowance by using less than it was given room for: while there is one, the allowance is
 * split between the BE and OT pods themselves. So it is while a pod keeps the kernel from taking the root's quota (unfollowed.ts).
 */
import type { Config } from '../../config/types.ts'
import type { AllowanceBound, Because, Claim, ClassifiedPod, NodeSnapshot, SuppressionState } from '../../model/index.ts'
import { isQuota, quotaMilliCpu, quotaOf } from '../../model/index.ts'
import type { ClassUse, Sharing } from './cpu-inputs.ts'
import { type BeSplit, LEAST_POD_MILLI, splitBe } from './cpu-split.ts'
import type { Level } from './regulator.ts'
import { isBeyondQuotas } from './unfollowed.ts'

/**
 * After a restart growth goes on from where the kernel stands, less what rootMilli() puts on top; a node without a quota starts at the
 * target. A quota of more than all CPUs is one that holds nobody; below it, what online pods may have had of it is not known.
 */
export function firstLevel(snapshot: NodeSnapshot, { untaggedMilli }: ClassUse, config: Config): Level | undefined {
  const quota = snapshot.actual.get(snapshot.bestEffort.group, 'quota')?.value
  if (!isQuota(quota) || quota.quotaUs === null) return undefined
  const capacityMilli = snapshot.topology.online.size * 1000
  const standingMilli = quotaMilliCpu(quota)
  const extraMilli =
    standingMilli > capacityMilli ? capacityMilli : untaggedMilli === 0 ? 0 : growthRoom(untaggedMilli, capacityMilli, config)
  return { milli: Math.max(0, Math.floor(standingMilli - extraMilli)), changedMs: snapshot.nowMs }
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

function growthRoom(untaggedMilli: number, capacityMilli: number, config: Config): number {
  return Math.round(untaggedMilli + (capacityMilli * config.suppressCpu.growthPermyriad) / 10_000)
}

/** What the claims of a tick are made from. */
export interface AllowanceView {
  readonly snapshot: NodeSnapshot
  readonly pods: readonly ClassifiedPod[]
  readonly state: SuppressionState
  readonly use: ClassUse
  readonly sharing: Sharing
  /** The CPU of the node has never been read. */
  readonly blind: boolean
  /** What keeps OT from more. */
  readonly otBound: AllowanceBound
  /** What the quotas of OT pods came to on the tick before. */
  readonly otQuotasMilli: number | undefined
  /** The parts of BE pods on the tick before. */
  readonly split: BeSplit | undefined
}

/** What holds offline work to its allowance: the quota of its root, or where online pods live below that, quotas on all offline pods. */
export function allowanceClaims(
  view: AllowanceView,
  config: Config,
): { readonly claims: readonly Claim[]; readonly otQuotasMilli: number; readonly split?: BeSplit } {
  const { snapshot, pods, state, sharing, otBound } = view
  const root = rootClaim(view, config)
  if (sharing === 'alone' && snapshot.unfollowed?.barsRoot !== true) {
    const otQuotasMilli = lazily(state, otBound, view.otQuotasMilli)
    return { claims: [root, ...otClaims(pods, { ...state, otAllowanceMilli: otQuotasMilli }, otBound)], otQuotasMilli }
  }
  const { allowanceMilli } = state
  const be = pods.filter(
    ({ qosClass, reading }) => qosClass === 'BE' && reading.present && !isBeyondQuotas(reading, snapshot, sharing),
  )
  const hasOt = pods.some(({ qosClass, reading }) => qosClass === 'OT' && reading.present)
  // Both floors may be one: BE pods keep the least that the kernel knows.
  const otAllowanceMilli = Math.min(state.otAllowanceMilli, Math.max(0, allowanceMilli - be.length * LEAST_POD_MILLI))
  const totalMilli = hasOt ? allowanceMilli - otAllowanceMilli : allowanceMilli
  const split = splitBe(snapshot, be, { totalMilli, before: view.split }, config)
  return {
    claims: [root, ...otClaims(pods, { ...state, otAllowanceMilli }, otBound), ...beClaims(be, state, { totalMilli, split })],
    otQuotasMilli: otAllowanceMilli,
    split,
  }
}

/**
 * The claim on the root. Where online pods live below it too, it carries the allowance on top of all CPUs: nobody is held by that, and
 * the next agent can tell the allowance from it. Where it is not certain who lives there, online pods get their use and room for one growth
 * step, and whoever else is there no more than that.
 */
function rootClaim(view: AllowanceView, config: Config): Claim {
  const { snapshot, state, use, sharing, blind } = view
  const { allowanceMilli, bound, inputs } = state
  const { capacityMilli } = inputs
  const untaggedMilli = Math.round(use.untaggedMilli)
  const claim = (milli: number, because: Because): Claim => ({
    group: snapshot.bestEffort.group,
    kind: 'quota',
    value: quotaOf(milli),
    rule: 'suppressCpu',
    because,
  })
  if (sharing === 'online')
    return claim(allowanceMilli + capacityMilli, { code: 'suppress.beside', allowanceMilli, capacityMilli, untaggedMilli })
  const unsure = sharing === 'unsure' || (blind && !snapshot.pods.everRead)
  const wantedMilli = unsure
    ? Math.min(capacityMilli, allowanceMilli + growthRoom(untaggedMilli, capacityMilli, config))
    : allowanceMilli
  // Without a reading ever nothing is widened: not for anybody who might be offline.
  const standing = snapshot.actual.get(snapshot.bestEffort.group, 'quota')?.value
  const mostMilli = Math.max(allowanceMilli, blind && isQuota(standing) ? quotaMilliCpu(standing) : Infinity)
  return claim(Math.min(mostMilli, wantedMilli), {
    code: 'suppress.root',
    bound,
    inputs,
    untaggedMilli,
    ...(unsure ? { unsure } : {}),
  })
}

function beClaims(
  pods: readonly ClassifiedPod[],
  { bound, allowanceMilli }: SuppressionState,
  { totalMilli, split }: { readonly totalMilli: number; readonly split: BeSplit },
): Claim[] {
  return pods.flatMap(({ reading }): Claim[] => {
    const part = split.parts.get(reading.spec.uid)
    if (part === undefined) return []
    const { milli, wantsMilli } = part
    const because: Because = {
      code: 'suppress.be',
      bound,
      allowanceMilli,
      beMilli: totalMilli,
      ...(wantsMilli === undefined ? {} : { wantsMilli }),
    }
    return [{ group: reading.group, kind: 'quota', value: quotaOf(milli), rule: 'suppressCpu', because }]
  })
}

/**
 * What the quotas of OT pods come to while the root's holds all of them. That one follows the allowance down at once; theirs, which may be a hundred
 * files, only when OT's part has fallen by more than the margin, or to its floor. So the jitter of a quiet node is one write and not a hundred.
 */
function lazily({ otAllowanceMilli, inputs }: SuppressionState, bound: AllowanceBound, before: number | undefined): number {
  if (before === undefined || bound === 'floor' || before < otAllowanceMilli) return otAllowanceMilli
  return before - otAllowanceMilli <= inputs.marginMilli ? before : otAllowanceMilli
}

/** OT has no group of its own: its allowance is split over its pods, beyond the least for each, in proportion to what they asked for. */
function otClaims(pods: readonly ClassifiedPod[], state: SuppressionState, bound: AllowanceBound): Claim[] {
  const { otAllowanceMilli, allowanceMilli, beDemandMilli } = state
  const present = pods.filter((pod) => pod.qosClass === 'OT' && pod.reading.present)
  const part = (pod: ClassifiedPod): number => Math.max(1, pod.askedMilli)
  const whole = present.reduce((sum, pod) => sum + part(pod), 0)
  const spareMilli = Math.max(0, otAllowanceMilli - LEAST_POD_MILLI * present.length)
  return present.map((pod) => ({
    group: pod.reading.group,
    kind: 'quota',
    value: quotaOf(LEAST_POD_MILLI + (spareMilli * part(pod)) / whole),
    rule: 'suppressCpu',
    because: { code: 'suppress.ot', bound, allowanceMilli, beDemandMilli, otAllowanceMilli },
  }))
}
