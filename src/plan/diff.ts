/**
 * Desired against actual becomes an ordered list of steps of which every prefix leaves the node in a state that the kernel accepts.
 *   quota     narrow children before parents, then widen parents before children: suppression comes first
 *   cpuset    widen parents before children, then narrow children before parents; a set that moves is widened to the union first
 *   burst     lowered before the quotas, raised after them: it may never exceed the quota
 *   idle      cleared before a weight is written, set after
 *   cookies   cleared before bvt is set, given after it was cleared: kernels have locked up with both
 *   freeze    thawed before anything else, frozen after everything else: nothing else helps a group that stands still
 *   ioMax     a wish speaks for the devices that it lists; those of others stay as they are
 * A knob that nobody wants any more and that still holds what the agent wrote goes back to its original, so `release` is this function
 * with nothing desired.
 */
import type { GroupPath, KnobKind, KnobTable, KnobValue, Phase, Plan, Step } from '../model/index.ts'
import { groupDepth, identicalValue, IoLimits, isHeld, KNOB_KINDS, parentGroup, sameValue } from '../model/index.ts'
import { clipToParents } from './clip.ts'
import { isLookedAt, isReadingOfIdle, type PlanInput, restoreTarget, type Target, targetsOf } from './targets.ts'
import { compareWidth, isUnlimited, union } from './width.ts'

/** Quota first, since it is what suppression acts through; the dear cpuset writes last. */
const ORDER: readonly KnobKind[] = KNOB_KINDS

/** The steps from `actual` to `desired`. A knob without a reading is left alone: what can't be read can't be restored. */
export function diff(input: PlanInput): Plan {
  const targets = targetsOf(input)
  clipToParents(targets, input)
  const steps: Step[] = []
  for (const kind of ORDER) {
    if (kind === 'idle' || kind === 'weight' || !isLookedAt(kind, input)) continue
    if (kind === 'cpuset') steps.push(...cpusetSteps(targets, input))
    else steps.push(...(kind === 'quota' ? quotaSteps(targets, input) : narrowFirst(plainSteps(kind, targets, input))))
  }
  const quotas = steps.filter((step) => step.kind === 'quota' && (input.settled !== false || mayComeEarly(step, input)))
  const lowered = steps.filter((step) => step.kind === 'burst' && step.phase === 'narrow')
  const cleared = steps.filter((step) => step.kind === 'coreCookie' && step.value === 0)
  const thawed = steps.filter((step) => step.kind === 'freeze' && step.phase === 'widen')
  const first = new Set([...thawed, ...lowered, ...cleared])
  const rest = steps.filter((step) => step.kind !== 'quota' && !first.has(step))
  return [...thawed, ...lowered, ...quotas, ...cleared, ...identitySteps(targets, input), ...rest]
}

/** Of quotas, while a rule can't decide yet: what narrows, what makes way for that, and what a regulator is behind. */
function mayComeEarly({ group, phase, value, because }: Step, { regulated }: PlanInput): boolean {
  return phase === 'narrow' || (because.code === 'clipped' && isUnlimited(value)) || regulated?.includes(group) === true
}

function step(group: GroupPath, target: Target, from: KnobValue | undefined, phase: Phase): Step {
  return { ...target.setting, group, from, phase, because: target.because }
}

interface Change {
  readonly group: GroupPath
  readonly target: Target
  readonly from: KnobValue
}

function changesOf(kind: KnobKind, targets: KnobTable<Target>, { actual }: PlanInput): Change[] {
  const changes: Change[] = []
  for (const group of targets.groups()) {
    const target = targets.get(group, kind)
    const from = actual.get(group, kind)?.value
    if (target === undefined || from === undefined) continue
    const same = target.because.code === 'restore' && !(from instanceof IoLimits) ? identicalValue : isHeld
    if (!same(from, target.setting.value)) changes.push({ group, target, from })
  }
  return changes
}

function plainSteps(kind: KnobKind, targets: KnobTable<Target>, input: PlanInput): Step[] {
  return changesOf(kind, targets, input).map(({ group, target, from }) =>
    step(group, target, from, compareWidth(target.setting, from) < 0 ? 'narrow' : 'widen'),
  )
}

const rootFirst = (a: { group: GroupPath }, b: { group: GroupPath }): number => groupDepth(a.group) - groupDepth(b.group)
const leafFirst = (a: { group: GroupPath }, b: { group: GroupPath }): number => groupDepth(b.group) - groupDepth(a.group)

function narrowFirst(steps: readonly Step[]): Step[] {
  return [
    ...steps.filter((s) => s.phase === 'narrow').sort(leafFirst),
    ...steps.filter((s) => s.phase === 'widen').sort(rootFirst),
  ]
}

/**
 * Kernel: tg_cfs_schedulable_down() takes a group without a quota for one with its parent's. So lifting a quota is always legal, and
 * comes first, since what is lifted must not keep a parent from narrowing; a first quota counts as wider than what was inherited.
 */
function quotaSteps(targets: KnobTable<Target>, input: PlanInput): Step[] {
  if (!input.capabilities.nestedQuota) return narrowFirst(plainSteps('quota', targets, input))
  const lifts: Step[] = []
  const others: Step[] = []
  for (const { group, target, from } of changesOf('quota', targets, input)) {
    if (isUnlimited(target.setting.value)) {
      lifts.push(step(group, target, from, 'widen'))
      continue
    }
    const inForce = isUnlimited(from) ? (inheritedQuota(group, input) ?? from) : from
    others.push(step(group, target, from, compareWidth(target.setting, inForce) <= 0 ? 'narrow' : 'widen'))
  }
  return [...lifts, ...narrowFirst(others)]
}

function inheritedQuota(group: GroupPath, { actual }: PlanInput): KnobValue | undefined {
  for (let at = parentGroup(group); at !== '/'; at = parentGroup(at)) {
    const value = actual.get(at, 'quota')?.value
    if (value !== undefined && !isUnlimited(value)) return value
  }
  return undefined
}

/** Kernel: validate_change() checks a set against its parent and its children at every write, so a move goes over the union. */
function cpusetSteps(targets: KnobTable<Target>, input: PlanInput): Step[] {
  const widen: Step[] = []
  const narrow: Step[] = []
  for (const { group, target, from } of changesOf('cpuset', targets, input)) {
    const width = compareWidth(target.setting, from)
    if (width > 0) {
      widen.push(step(group, target, from, 'widen'))
      continue
    }
    const both = input.capabilities.nestedCpuset && Number.isNaN(width) ? union(target.setting, from) : undefined
    if (both !== undefined && hasChildren(group, input)) {
      widen.push(step(group, { setting: both, because: target.because }, from, 'widen'))
      narrow.push(step(group, target, both.value, 'narrow'))
    } else {
      narrow.push(step(group, target, from, 'narrow'))
    }
  }
  return [...widen.sort(rootFirst), ...narrow.sort(leafFirst)]
}

function hasChildren(group: GroupPath, { actual }: PlanInput): boolean {
  for (const other of actual.groups()) {
    if (other.startsWith(`${group}/`) && actual.get(other, 'cpuset') !== undefined) return true
  }
  return false
}

/**
 * Kernel: a weight can't be written while idle is 1, and clearing idle resets the weight. So idle 1 → 0 comes first and is always
 * followed by the weight that is wanted, or the original one; idle 0 → 1 comes last and makes a weight pointless.
 */
function identitySteps(targets: KnobTable<Target>, input: PlanInput): Step[] {
  const steps: Step[] = []
  for (const group of new Set(targets.groups())) {
    const idleNow = input.actual.get(group, 'idle')?.value
    const idleTarget = targets.get(group, 'idle')
    const idleWanted = idleTarget?.setting.value ?? idleNow
    if (idleTarget !== undefined && idleNow === 1 && idleWanted === 0) {
      steps.push(step(group, idleTarget, idleNow, 'widen'))
      const journaled = isReadingOfIdle(group, 'weight', input.journaled) ? undefined : input.journaled.get(group, 'weight')
      const weight = claimedWeight(targets, group) ?? (journaled === undefined ? undefined : restoreTarget('weight', journaled))
      if (weight !== undefined) steps.push(step(group, weight, undefined, 'widen'))
      continue
    }
    const weight = targets.get(group, 'weight')
    const weightNow = input.actual.get(group, 'weight')?.value
    if (
      weight !== undefined &&
      idleNow !== 1 &&
      idleWanted !== 1 &&
      weightNow !== undefined &&
      !sameValue(weightNow, weight.setting.value)
    ) {
      steps.push(step(group, weight, weightNow, compareWidth(weight.setting, weightNow) < 0 ? 'narrow' : 'widen'))
    }
    if (idleTarget !== undefined && idleNow === 0 && idleWanted === 1) steps.push(step(group, idleTarget, idleNow, 'narrow'))
  }
  return steps
}

function claimedWeight(targets: KnobTable<Target>, group: GroupPath): Target | undefined {
  const target = targets.get(group, 'weight')
  return target?.because.code === 'claim' ? target : undefined
}
