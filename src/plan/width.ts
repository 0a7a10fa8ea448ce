/** Which of two values of a knob gives its group more. Widening is done from the root down, narrowing from the leaves up. */
import { CpuSet } from '../cpu/index.ts'
import type { KnobSetting, KnobValue } from '../model/index.ts'
import { IoLimits, isQuota, micros, MIN_QUOTA_US, quotaMilliCpu } from '../model/index.ts'

/** Positive when `to` gives more than `from`, negative when it gives less, NaN when neither contains the other. */
export function compareWidth(to: KnobSetting, from: KnobValue): number {
  switch (to.kind) {
    case 'cpuset':
      return compareSets(to.value, from)
    case 'quota':
      return widthOfQuota(to.value) - widthOfQuota(from)
    case 'idle':
    case 'coreCookie':
    case 'offline':
    case 'freeze':
      return amount(from) - to.value
    case 'ioMax':
      return from instanceof IoLimits ? widthOfLimits(to.value.over(from), from) : -1
    case 'weight':
    case 'bvt':
    case 'qosLevel':
    case 'btShares':
    case 'burst':
    case 'memoryMin':
    case 'memoryLow':
    case 'memoryHigh':
    case 'memoryMax':
    case 'memorySoft':
    case 'ioWeight':
      return clamp(amount(to.value) - amount(from))
  }
}

/** The set that holds both the target and what is there now. */
export function union(to: KnobSetting, from: KnobValue): (KnobSetting & { kind: 'cpuset' }) | undefined {
  if (to.kind !== 'cpuset' || !(from instanceof CpuSet)) return undefined
  return { kind: 'cpuset', value: to.value.union(from) }
}

/** Kernel: a group without a quota passes on its parent's. */
export function isUnlimited(value: KnobValue): boolean {
  return isQuota(value) && value.quotaUs === null
}

/** The quota in the period that the group has now, which under v1 stays what it is; rounded down, as the kernel port does. */
export function inPeriodOf(wanted: KnobSetting & { kind: 'quota' }, now: KnobValue | undefined): KnobSetting & { kind: 'quota' } {
  const { quotaUs, periodUs } = wanted.value
  if (!isQuota(now) || now.periodUs === periodUs) return wanted
  const scaledUs = quotaUs === null ? null : micros(Math.max(MIN_QUOTA_US, Math.floor((quotaUs * now.periodUs) / periodUs)))
  return { kind: 'quota', value: { quotaUs: scaledUs, periodUs: now.periodUs } }
}

function compareSets(to: CpuSet, from: KnobValue): number {
  if (!(from instanceof CpuSet)) return 1
  if (to.equals(from)) return 0
  // Under v2 an empty set means the parent's, the widest there is.
  if (to.isEmpty || from.isSubsetOf(to)) return from.isEmpty ? -1 : 1
  if (from.isEmpty || to.isSubsetOf(from)) return -1
  return Number.NaN
}

function widthOfLimits(to: IoLimits, from: IoLimits): number {
  if (to.equals(from)) return 0
  return to.tightest(from).equals(to) ? -1 : 1
}

function widthOfQuota(value: KnobValue): number {
  const milli = isQuota(value) ? quotaMilliCpu(value) : 0
  return Math.min(milli, Number.MAX_SAFE_INTEGER)
}

function amount(value: KnobValue): number {
  return typeof value === 'number' ? value : Number.MAX_SAFE_INTEGER
}

function clamp(difference: number): number {
  return Math.max(-1, Math.min(1, difference))
}
