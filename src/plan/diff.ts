/**
 * Desired against actual becomes an ordered list of steps of which every prefix leaves the node in a state that the kernel accepts.
 *   quota     narrow children before parents, then widen parents before children: suppression comes first
 *   cpuset    widen parents before children, then narrow children before parents; a set that moves is widened to the union first
 *   burst     lowered before the quotas, raised after them: it may never exceed the quota
 *   idle      cleared before a weight is written, set after
 *   cookies   cleared before bvt is set, given after it was cleared: kernels have locked up with both
 * A knob that nobody wants any more and that still holds what the agent wrote goes back to its original, so `release` is this function
 * with nothing desired.
 */
import { CpuSet } from '../cpu/index.ts'
import type {
  Capabilities,
  Desired,
  GroupPath,
  Journaled,
  JournaledKnob,
  KnobKind,
  KnobSetting,
  KnobValue,
  Phase,
  Plan,
  Reading,
  ReadonlyKnobTable,
  Step,
  StepBecause,
} from '../model/index.ts'
import {
  groupDepth,
  identicalValue,
  isOneWay,
  isOursByNature,
  isQuota,
  KNOB_KINDS,
  KnobTable,
  parentGroup,
  sameValue,
} from '../model/index.ts'
import { clipToParents } from './clip.ts'
import { compareWidth, inPeriodOf, isUnlimited, union } from './width.ts'

export interface PlanInput {
  readonly desired: Desired
  readonly actual: ReadonlyKnobTable<Reading<KnobValue>>
  readonly journaled: Journaled
  readonly capabilities: Capabilities
  /** CPUs that can be used now; an original that names others is restored without them. @default all */
  readonly online?: CpuSet
  /**
   * False while a rule can't decide yet. Then nothing is put back and no quota is widened: a restarted agent would otherwise lift every
   * limit for its first seconds.
   * @default true
   */
  readonly settled?: boolean
  /**
   * Groups whose quota may be widened even so: a regulator that went on from what stands in the kernel is behind it, and would otherwise only
   * ever narrow while the pods can't be read.
   * @default none
   */
  readonly regulated?: readonly GroupPath[]
  /**
   * Groups of pods that no source lists. What the agent set for such a pod stays, since it may be on its way out; only a quota that
   * somebody else had set, and that gave way to a smaller parent, follows the parent up again.
   * @default none
   */
  readonly unlisted?: readonly GroupPath[]
}

/** A value a knob should come to hold, and why. */
export interface Target {
  readonly setting: KnobSetting
  readonly because: StepBecause
}

/** Quota first, since it is what suppression acts through; the dear cpuset writes last. */
const ORDER: readonly KnobKind[] = KNOB_KINDS

/** The steps from `actual` to `desired`. A knob without a reading is left alone: what can't be read can't be restored. */
export function diff(input: PlanInput): Plan {
  const targets = targetsOf(input)
  clipToParents(targets, input)
  const steps: Step[] = []
  for (const kind of ORDER) {
    if (kind === 'idle' || kind === 'weight') continue
    if (kind === 'cpuset') steps.push(...cpusetSteps(targets, input))
    else steps.push(...(kind === 'quota' ? quotaSteps(targets, input) : narrowFirst(plainSteps(kind, targets, input))))
  }
  const quotas = steps.filter(
    (step) =>
      step.kind === 'quota' && (input.settled !== false || step.phase === 'narrow' || input.regulated?.includes(step.group)),
  )
  const lowered = steps.filter((step) => step.kind === 'burst' && step.phase === 'narrow')
  const cleared = steps.filter((step) => step.kind === 'coreCookie' && step.value === 0)
  const first = new Set([...lowered, ...cleared])
  const rest = steps.filter((step) => step.kind !== 'quota' && !first.has(step))
  return [...lowered, ...quotas, ...cleared, ...identitySteps(targets, input), ...rest]
}

function targetsOf(input: PlanInput): KnobTable<Target> {
  const { desired, actual, journaled, capabilities } = input
  const targets = new KnobTable<Target>()
  for (const [group, kind, { setting: wanted, winner }] of desired.entries()) {
    const now = actual.get(group, kind)?.value
    const setting = wanted.kind === 'quota' && capabilities.dialect === 'v1' ? inPeriodOf(wanted, now) : wanted
    targets.set(group, kind, { setting, because: { code: 'claim', rule: winner.rule, because: winner.because } })
  }
  if (input.settled === false) return targets
  for (const [group, kind, entry] of journaled.entries()) {
    if (desired.get(group, kind) !== undefined || staysAsItIs(group, entry, input)) continue
    const reading = actual.get(group, kind)
    if (reading === undefined || !isOurs(kind, reading.value, entry) || isReadingOfIdle(group, kind, journaled)) continue
    if (isOneWay(kind, reading.value)) continue
    targets.set(group, kind, restoreTarget(kind, entry, input.online))
  }
  return targets
}

function staysAsItIs(group: GroupPath, { original }: JournaledKnob, { unlisted = [] }: PlanInput): boolean {
  if (!unlisted.some((known) => group === known || group.startsWith(`${known}/`))) return false
  return !(isQuota(original) && original.quotaUs !== null)
}

/** Kernel: under v1 a set that names an offline CPU is refused; the rest of the original follows when the CPU is back. */
function restoreTarget(kind: KnobKind, { original }: JournaledKnob, online?: CpuSet): Target {
  const usable = original instanceof CpuSet && online !== undefined ? original.intersect(online) : undefined
  const value = usable === undefined || usable.isEmpty ? original : usable
  return { setting: { kind, value } as KnobSetting, because: { code: 'restore' } }
}

/** Kernel: what an idle group's weight reads is no weight that could be written; it comes back with idle itself. */
function isReadingOfIdle(group: GroupPath, kind: KnobKind, journaled: Journaled): boolean {
  return kind === 'weight' && journaled.get(group, 'idle')?.original === 1
}

/** Whether a value is one the agent wrote, or the original itself: anything else belongs to somebody else now. */
export function isOurs(kind: KnobKind, value: KnobValue, entry: JournaledKnob): boolean {
  if (isOursByNature(kind, value)) return true
  return entry.ours.some((ours) => sameValue(ours, value)) || sameValue(entry.original, value)
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
    const same = target.because.code === 'restore' ? identicalValue : sameValue
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
