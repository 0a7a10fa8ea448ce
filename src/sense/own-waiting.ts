/**
 * What of the waiting of online pods is no offline work's doing: a pod's own CPU limit holds it back, or it runs on CPUs that offline work
 * may not use. Looked into only while a pod waits notably, and for a minute after.
 * Kernel: tasks of a throttled group count as stalled (psi.rst; a throttled entity stays runnable without running), and cpu.stat of the very
 * group whose quota it is says for how long it held them: of a container's limit the container's, not the pod's. That time is summed over the
 * CPUs, and `some` is a mean over them, so it bounds what the limit explains from above, as do the periods in which it held at all. What is left
 * is a least: of a pod that its limit holds back nearly always, waiting for offline work can't be told.
 */
import type { GroupPath, GroupThrottling, KernelPort, PodReading } from '../model/index.ts'
import { RateWindow, stallRate } from './rates.ts'

/** Share of the time from which on waiting is looked into: below the exit of any sensible bound. */
const NOTABLE = 0.05
/** A pod that has waited notably is looked at for so long: what comes and goes with its load is known when it comes again. */
const KEEP_MS = 60_000
/** Pods looked at on one tick, in turn, and the least time between two looks at one: a look is two or three reads of each of its groups. */
const PODS_PER_TICK = 32
const APART_MS = 100
/** Kernel: what a quota has held is booked when the next period begins, by default after 100 ms. Over so long that is no matter. */
const LONG_MS = 1000
const SAMPLES = 40
/** µs in a second. */
const WHOLE_US = 1_000_000

interface Counters {
  readonly group: GroupPath
  readonly throttledUs: RateWindow
  readonly periods: RateWindow
  readonly throttledPeriods: RateWindow
}

interface Suspect {
  readonly group: GroupPath
  readonly isBurstable: boolean
  counters: readonly Counters[]
  /** Stalls of the pod itself: only of those with whose CPUs offline work shares none. */
  readonly stalls: RateWindow
  lookedAtMs: number
  untilMs: number
  /** Share of the time in which it waited for itself, 0 to 1. */
  share: number
}

export class OwnWaiting {
  /** Groups of pods with whose CPUs offline work shares none. */
  unshared: ReadonlySet<GroupPath> = new Set()
  readonly #kernel: KernelPort
  readonly #windowMs: () => number
  readonly #throttling: GroupThrottling = { periods: 0, throttledPeriods: 0 }
  /** As the last sweep has seen them. */
  #readings: readonly PodReading[] = []
  /** The online ones that are there, once somebody asks for them. */
  #byGroup: ReadonlyMap<GroupPath, PodReading> | undefined
  #suspects = new Map<GroupPath, Suspect>()
  #turn = 0
  #rootShare = 0

  /** `windowMs` answers what stalls are averaged over. */
  constructor(kernel: KernelPort, windowMs: () => number) {
    this.#kernel = kernel
    this.#windowMs = windowMs
  }

  /** Share of the time in which Burstable pods together waited for themselves, as if each did so independently of the others; 0 to 1. */
  get rootShare(): number {
    return this.#rootShare
  }

  /** Share of the time in which this pod waited for itself, 0 to 1; 0 for one that nothing was found out about. */
  shareOf(group: GroupPath): number {
    return this.#suspects.get(group)?.share ?? 0
  }

  /** Takes in the pods that a sweep has seen. */
  follow(pods: readonly PodReading[]): void {
    this.#readings = pods
    this.#byGroup = undefined
    for (const [group, suspect] of this.#suspects) {
      const pod = this.#pods.get(group)
      if (pod === undefined) this.#suspects.delete(group)
      else this.#followContainers(suspect, pod)
    }
  }

  get #pods(): ReadonlyMap<GroupPath, PodReading> {
    const online = (): readonly PodReading[] =>
      this.#readings.filter(({ present, spec }) => present && spec.kubeletQos !== 'BestEffort')
    return (this.#byGroup ??= new Map(online().map((pod) => [pod.group, pod])))
  }

  /** A Guaranteed pod waited for so much of the time. */
  waits(group: GroupPath, share: number, nowMs: number): void {
    const pod = share >= NOTABLE ? this.#pods.get(group) : undefined
    if (pod !== undefined) this.#suspect(pod, nowMs)
  }

  /** Some Burstable pod waited for so much of the time: it is not known which. */
  rootWaits(share: number, nowMs: number): void {
    if (share < NOTABLE) return
    for (const pod of this.#pods.values()) if (pod.spec.kubeletQos === 'Burstable') this.#suspect(pod, nowMs)
  }

  /** Looks at the next few of those that have waited notably, and forgets those that have not for long. */
  tick(nowMs: number): void {
    for (const [group, { untilMs }] of this.#suspects) if (untilMs <= nowMs) this.#suspects.delete(group)
    const suspects = [...this.#suspects.values()]
    const turns = Math.min(PODS_PER_TICK, suspects.length)
    for (let count = 0; count < turns; count += 1) {
      this.#turn = (this.#turn + 1) % suspects.length
      const suspect = suspects[this.#turn]
      if (suspect !== undefined && nowMs - suspect.lookedAtMs >= APART_MS) this.#look(suspect, nowMs)
    }
    let free = 1
    for (const { isBurstable, share } of suspects) if (isBurstable) free *= 1 - share
    this.#rootShare = 1 - free
  }

  #suspect(pod: PodReading, nowMs: number): void {
    const { group, spec } = pod
    const untilMs = nowMs + KEEP_MS
    const known = this.#suspects.get(group)
    if (known !== undefined) {
      known.untilMs = untilMs
      return
    }
    const isBurstable = spec.kubeletQos === 'Burstable'
    const stalls = new RateWindow(LONG_MS, SAMPLES)
    const suspect: Suspect = { group, isBurstable, counters: [], stalls, lookedAtMs: -Infinity, untilMs, share: 0 }
    this.#followContainers(suspect, pod)
    this.#suspects.set(group, suspect)
  }

  #followContainers(suspect: Suspect, { group, childGroups }: PodReading): void {
    const groups = [group, ...childGroups]
    const { counters } = suspect
    if (counters.length === groups.length && counters.every((one, index) => one.group === groups[index])) return
    suspect.counters = groups.map((path) => counters.find((one) => one.group === path) ?? newCounters(path))
  }

  #look(suspect: Suspect, nowMs: number): void {
    suspect.lookedAtMs = nowMs
    if (this.unshared.has(suspect.group)) {
      const totalUs = suspect.isBurstable ? this.#kernel.readGroupPressureUs(suspect.group, 'cpu') : undefined
      if (totalUs !== undefined) suspect.stalls.add(nowMs, totalUs)
      suspect.share = (stallRate(suspect.stalls, this.#windowMs()) ?? 0) / WHOLE_US
      return
    }
    let share = 0
    for (const counters of suspect.counters) {
      const throttledUs = this.#kernel.readThrottledUs(counters.group)
      if (throttledUs === undefined || !this.#kernel.readThrottling(counters.group, this.#throttling)) continue
      counters.throttledUs.add(nowMs, throttledUs)
      counters.periods.add(nowMs, this.#throttling.periods)
      counters.throttledPeriods.add(nowMs, this.#throttling.throttledPeriods)
      share += Math.max(heldShare(counters, this.#windowMs()), heldShare(counters, LONG_MS))
    }
    suspect.share = Math.min(1, share)
  }
}

function newCounters(group: GroupPath): Counters {
  const window = (): RateWindow => new RateWindow(LONG_MS, SAMPLES)
  return { group, throttledUs: window(), periods: window(), throttledPeriods: window() }
}

/** The most that the quota of one group explains, as a share of the time; 0 until there are two samples. */
function heldShare({ throttledUs, periods, throttledPeriods }: Counters, windowMs: number): number {
  const ofTime = (throttledUs.ratePerSecond(windowMs) ?? 0) / WHOLE_US
  const perSecond = periods.ratePerSecond(windowMs) ?? 0
  const ofPeriods = perSecond <= 0 ? 0 : (throttledPeriods.ratePerSecond(windowMs) ?? 0) / perSecond
  return Math.max(0, Math.min(1, ofTime, ofPeriods))
}
