/**
 * Quota, burst and throttling of the groups of online pods, for the rule burst. Nothing of this is part of the "actual" that plans are
 * made against: no rule writes those quotas, so the plan has no business with them. Read when a pod has its turn, never on a hot tick.
 */
import type { GroupBandwidth, GroupPath, GroupThrottling, KernelPort } from '../model/index.ts'
import { isQuota } from '../model/index.ts'

export class BandwidthReadings {
  readonly #kernel: KernelPort
  readonly #before = new Map<GroupPath, GroupThrottling>()
  readonly #now: GroupThrottling = { periods: 0, throttledPeriods: 0 }

  constructor(kernel: KernelPort) {
    this.#kernel = kernel
  }

  /** Those of the groups that have a quota. */
  read(groups: readonly GroupPath[]): readonly GroupBandwidth[] {
    return groups.flatMap((group) => {
      const quota = this.#kernel.readKnob(group, 'quota')
      if (!isQuota(quota) || quota.quotaUs === null) {
        this.#before.delete(group)
        return []
      }
      const burst = this.#kernel.readKnob(group, 'burst')
      return [
        {
          group,
          quotaUs: quota.quotaUs,
          periodUs: quota.periodUs,
          burstUs: typeof burst === 'number' ? burst : 0,
          throttledPermyriad: this.#throttled(group),
        },
      ]
    })
  }

  forget(group: GroupPath): void {
    this.#before.delete(group)
  }

  /** Of the first reading nothing can be said: what it counts may be long ago. */
  #throttled(group: GroupPath): number {
    if (!this.#kernel.readThrottling(group, this.#now)) return 0
    const before = this.#before.get(group)
    this.#before.set(group, { ...this.#now })
    const periods = this.#now.periods - (before?.periods ?? this.#now.periods)
    const throttled = this.#now.throttledPeriods - (before?.throttledPeriods ?? this.#now.throttledPeriods)
    return periods <= 0 ? 0 : Math.min(10_000, Math.max(0, Math.round((throttled * 10_000) / periods)))
  }
}
