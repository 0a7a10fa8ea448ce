/**
 * Where the kernel wants a child inside its parent (quota and cpuset under v1), targets are clipped from the root down, and groups that
 * nobody claims but whose present value would stand in the way of a parent's new one get a target of their own. When the parent grows
 * again they follow, since the journal knows what they had. What nobody claims is lifted rather than lowered: it inherits the parent's new quota,
 * which comes to the same, and has to be written no more when that changes again.
 * Kernel: tg_cfs_schedulable_down() for quota, validate_change() for cpuset.
 */
import { CpuSet } from '../cpu/index.ts'
import type { GroupPath, KnobKind, KnobSetting, KnobValue } from '../model/index.ts'
import { groupDepth, isQuota, type KnobTable, parentGroup, sameValue } from '../model/index.ts'
import { isLookedAt, type PlanInput, type Target } from './targets.ts'
import { compareWidth, inPeriodOf, isUnlimited } from './width.ts'

/** Clips `targets` in place, and adds targets for groups that have to give way. */
export function clipToParents(targets: KnobTable<Target>, input: PlanInput): void {
  const quota = input.capabilities.nestedQuota && isLookedAt('quota', input)
  const cpuset = input.capabilities.nestedCpuset && isLookedAt('cpuset', input)
  if (!quota && !cpuset) return
  const groups = rootFirst(targets, input)
  if (quota) clipKind('quota', { targets, groups, input, fit: fitQuota })
  if (cpuset) clipKind('cpuset', { targets, groups, input, fit: fitCpuset })
}

/** Every group with a target or a reading, parents before children. The depth is worked out once per group, not per comparison. */
function rootFirst(targets: KnobTable<Target>, input: PlanInput): GroupPath[] {
  const byDepth: GroupPath[][] = []
  for (const group of targets.groups()) (byDepth[groupDepth(group)] ??= []).push(group)
  for (const group of input.actual.groups())
    if (targets.ofGroup(group) === undefined) (byDepth[groupDepth(group)] ??= []).push(group)
  return byDepth.flat()
}

/** The value nearest to `wanted` that fits into the parent's, for a group that holds `now`; `claimed` when a rule wants it. */
type Fit = (
  wanted: KnobValue,
  parent: KnobValue,
  held: { readonly now: KnobValue | undefined; readonly claimed: boolean },
) => KnobValue

interface Clipping {
  readonly targets: KnobTable<Target>
  readonly groups: readonly GroupPath[]
  readonly input: PlanInput
  readonly fit: Fit
}

function clipKind(kind: KnobKind, { targets, groups, input, fit }: Clipping): void {
  const final = new Map<GroupPath, KnobValue>()
  for (const group of groups) {
    const target = targets.get(group, kind)
    const now = input.actual.get(group, kind)?.value
    const wanted = target?.setting.value ?? now
    if (wanted === undefined) continue
    const parent = nearestAncestor(group, final)
    const fitted = parent === undefined ? wanted : fit(wanted, parent.value, { now, claimed: target?.because.code === 'claim' })
    final.set(group, fitted)
    if (parent === undefined || sameValue(fitted, wanted)) continue
    const because = {
      code: 'clipped',
      parent: parent.group,
      ...(target === undefined ? {} : { wanted: target.because }),
    } as const
    targets.set(group, kind, { setting: { kind, value: fitted } as KnobSetting, because })
  }
}

function nearestAncestor(
  group: GroupPath,
  values: ReadonlyMap<GroupPath, KnobValue>,
): { group: GroupPath; value: KnobValue } | undefined {
  for (let at = parentGroup(group); at !== '/'; at = parentGroup(at)) {
    const value = values.get(at)
    if (value !== undefined && !isUnlimited(value)) return { group: at, value }
  }
  return undefined
}

/**
 * Kernel: a child without a quota inherits, which is always legal. Its own period stays under v1, and in a short one the smallest quota
 * may be more than the parent has: then only inheriting is left.
 */
function fitQuota(wanted: KnobValue, parent: KnobValue, { now, claimed }: Parameters<Fit>[2]): KnobValue {
  if (isUnlimited(wanted) || !isQuota(parent)) return wanted
  if (compareWidth({ kind: 'quota', value: wanted } as KnobSetting, parent) <= 0) return wanted
  if (!claimed && isQuota(wanted)) return { quotaUs: null, periodUs: wanted.periodUs }
  const fitted = inPeriodOf({ kind: 'quota', value: parent }, now)
  return compareWidth(fitted, parent) > 0 ? { quotaUs: null, periodUs: fitted.value.periodUs } : fitted.value
}

function fitCpuset(wanted: KnobValue, parent: KnobValue): KnobValue {
  if (!(wanted instanceof CpuSet) || !(parent instanceof CpuSet)) return wanted
  // Kernel: under v1 an empty set is a group that was never set up, and holds no process.
  if (wanted.isEmpty || parent.isEmpty) return wanted
  const inside = wanted.intersect(parent)
  return inside.isEmpty ? parent : inside
}
