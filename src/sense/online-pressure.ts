/**
 * How online work waits: stalls of the kubelet's Burstable root, which holds most of it, and of the groups of Guaranteed pods, which stand
 * beside that root. The worst of them counts. Kernel: `some` of a group is the time in which at least one of its tasks waited
 * (accounting/psi.rst); totals are read, since the kernel's own averages lag by seconds. Groups of cgroup v1 count no stalls.
 * For CPU, pods with whose CPUs offline work shares none are left out, and what online pods wait for themselves is taken off: own-waiting.ts.
 */
import type { GroupPath, KernelPort, OnlineReadings, PodReading, PressureUse, Reading } from '../model/index.ts'
import { OwnWaiting } from './own-waiting.ts'
import { RateWindow, stallRate } from './rates.ts'

const RESOURCES = ['cpu', 'io'] as const
type OnlineResource = (typeof RESOURCES)[number]

/** Guaranteed pods beyond so many are not looked at: more than a kubelet runs. */
const PODS_MAX = 512
/** A hot tick reads the root and so many of the pods, in turn; each is two files. A calm one reads all. */
const PODS_PER_TICK = 32
/** A guard beat reads the root and so many: within five beats as many as a hot tick does. */
const PODS_PER_BEAT = 7
/** Where there are more than a hot tick reads, each counts for so long: all have had their turn by then. */
const ROUND_MS = 1000
/** RateWindow keeps at least the window in 64 samples, however long it is and however fast the beat. */
const SAMPLES = 80
/** µs in a second. */
const WHOLE_US = 1_000_000

interface Watched {
  readonly group: GroupPath
  readonly windows: Readonly<Record<OnlineResource, RateWindow>>
  readonly sources: Readonly<Record<OnlineResource, string>>
  /** The source for CPU once own waiting is taken off. */
  readonly lessOwn: string
}

export class OnlinePressure {
  readonly #kernel: KernelPort
  #windowMs: number
  readonly #own: OwnWaiting
  #root: Watched
  /** Guaranteed pods, those watched longest first: what is watched stays so while it is there. */
  #pods: Watched[] = []
  #turn = 0
  #countsStalls = false
  #readings: OnlineReadings = {}

  /** `root` is the kubelet's Burstable root; stalls are averaged over `windowMs`. */
  constructor(kernel: KernelPort, root: GroupPath, windowMs: number) {
    this.#kernel = kernel
    this.#windowMs = windowMs
    this.#root = watch(root, windowMs)
    this.#own = new OwnWaiting(kernel, () => this.#windowMs)
  }

  /** Groups of pods with whose CPUs offline work shares none: however long they wait for CPU, it is not the reason. */
  set unshared(groups: ReadonlySet<GroupPath>) {
    this.#own.unshared = groups
  }

  /** Whether groups have been seen to count stalls. */
  get countsStalls(): boolean {
    return this.#countsStalls
  }

  get readings(): OnlineReadings {
    return this.#readings
  }

  get windowMs(): number {
    return this.#windowMs
  }

  /** Another window starts with what comes from now on. */
  set windowMs(windowMs: number) {
    if (windowMs === this.#windowMs) return
    this.#windowMs = windowMs
    this.#root = watch(this.#root.group, windowMs)
    this.#pods = this.#pods.map(({ group }) => watch(group, windowMs))
  }

  /** Follows the pods that a sweep has seen. */
  follow(pods: readonly PodReading[]): void {
    this.#own.follow(pods)
    const present = new Set<GroupPath>()
    for (const { spec, group, present: isPresent } of pods) if (isPresent && spec.kubeletQos === 'Guaranteed') present.add(group)
    if (this.#pods.some(({ group }) => !present.has(group))) this.#pods = this.#pods.filter(({ group }) => present.has(group))
    if (this.#pods.length >= Math.min(PODS_MAX, present.size)) return
    const known = new Set(this.#pods.map(({ group }) => group))
    const fresh = [...present].filter((group) => !known.has(group)).sort()
    for (const group of fresh.slice(0, PODS_MAX - known.size)) this.#pods.push(watch(group, this.#windowMs))
  }

  /** Whether any group has told of its stalls for CPU at `nowMs`. */
  sampledAt(nowMs: number): boolean {
    return this.#root.windows.cpu.newestMs === nowMs || this.#pods.some(({ windows }) => windows.cpu.newestMs === nowMs)
  }

  /** Samples stalls for CPU of the root and of the next few pods. Answers the worst there is now, in permyriad of the time. */
  beat(nowMs: number): number | undefined {
    if (!this.#countsStalls) return undefined
    this.#sample(this.#root, 'cpu', nowMs)
    this.#takeTurns(PODS_PER_BEAT, nowMs, 'cpu')
    const worst = this.#worst('cpu', nowMs - Math.max(this.#windowMs, this.#roundMs))
    // 10000 µs a second are a hundredth of the time.
    return worst === undefined ? undefined : this.#rateOf(worst, 'cpu') / 100
  }

  /** Samples the next few pods; for CPU alone, or for everything. */
  #takeTurns(most: number, nowMs: number, only?: OnlineResource): void {
    const turns = Math.min(most, this.#pods.length)
    for (let count = 0; count < turns; count += 1) {
      this.#turn = (this.#turn + 1) % this.#pods.length
      const pod = this.#pods[this.#turn]
      if (pod === undefined) continue
      this.#sample(pod, 'cpu', nowMs)
      if (only === undefined) this.#sample(pod, 'io', nowMs)
    }
  }

  /** How long ago a pod may have had its turn, in ms: 0 while every tick reads all. */
  get #roundMs(): number {
    return this.#pods.length <= PODS_PER_TICK ? 0 : ROUND_MS
  }

  /** Samples the root and, on a calm tick, all pods. Where groups count no stalls, a calm tick looks whether they do by now. */
  tick(nowMs: number, isCalm: boolean): void {
    if (!this.#countsStalls && !isCalm) return
    for (const resource of RESOURCES) this.#sample(this.#root, resource, nowMs)
    this.#takeTurns(isCalm ? PODS_MAX : PODS_PER_TICK, nowMs)
    this.#lookInto(nowMs)
    const cpu = this.#reading('cpu', nowMs) ?? this.#readings.cpuPressure
    const io = this.#reading('io', nowMs) ?? this.#readings.ioPressure
    this.#readings = { ...(cpu === undefined ? {} : { cpuPressure: cpu }), ...(io === undefined ? {} : { ioPressure: io }) }
  }

  /** Whether those that wait for CPU wait for themselves: on ticks alone, and by what the beats have told. */
  #lookInto(nowMs: number): void {
    this.#own.rootWaits(waitedShare(this.#root, this.#windowMs), nowMs)
    for (const pod of this.#pods) {
      if (!this.#own.unshared.has(pod.group)) this.#own.waits(pod.group, waitedShare(pod, this.#windowMs), nowMs)
    }
    this.#own.tick(nowMs)
  }

  #sample({ group, windows }: Watched, resource: OnlineResource, nowMs: number): void {
    const window = windows[resource]
    if (window.newestMs === nowMs) return
    const totalUs = this.#kernel.readGroupPressureUs(group, resource)
    if (totalUs === undefined) return
    this.#countsStalls = true
    window.add(nowMs, totalUs)
  }

  /** A group that has not answered when it had its turn is left out; when none has, the older reading stays and grows old. */
  #reading(resource: OnlineResource, nowMs: number): Reading<PressureUse> | undefined {
    const worst = this.#worst(resource, nowMs - this.#roundMs)
    if (worst === undefined) return undefined
    const someUsPerSecond = this.#rateOf(worst, resource)
    const isLess = resource === 'cpu' && this.#ownShare(worst) > 0
    const source = isLess ? worst.lessOwn : worst.sources[resource]
    return { value: { someUsPerSecond }, atMs: worst.windows[resource].newestMs ?? nowMs, source }
  }

  /** Of those that were sampled since `sinceMs`; the first of equals, the root before the pods. */
  #worst(resource: OnlineResource, sinceMs: number): Watched | undefined {
    let worst: Watched | undefined
    let most = -1
    for (let index = -1; index < this.#pods.length; index += 1) {
      const watched = index < 0 ? this.#root : this.#pods[index]
      if (watched === undefined || (watched.windows[resource].newestMs ?? -Infinity) < sinceMs) continue
      if (resource === 'cpu' && this.#own.unshared.has(watched.group)) continue
      const rate = this.#rateOf(watched, resource)
      if (rate > most) {
        most = rate
        worst = watched
      }
    }
    return worst
  }

  #ownShare(watched: Watched): number {
    return watched === this.#root ? this.#own.rootShare : this.#own.shareOf(watched.group)
  }

  /** In µs a second; −1 while there is no rate yet. For CPU what is left of it when own waiting is taken off. */
  #rateOf(watched: Watched, resource: OnlineResource): number {
    const rate = stallRate(watched.windows[resource], this.#windowMs) ?? -1
    return resource === 'io' || rate <= 0 ? rate : Math.max(0, rate - this.#ownShare(watched) * WHOLE_US)
  }
}

function watch(group: GroupPath, windowMs: number): Watched {
  return {
    group,
    windows: { cpu: new RateWindow(windowMs, SAMPLES), io: new RateWindow(windowMs, SAMPLES) },
    sources: { cpu: `cpu.pressure of ${group}`, io: `io.pressure of ${group}` },
    lessOwn: `cpu.pressure of ${group}, less what its pods wait for themselves`,
  }
}

/** Share of the time in which it waited for CPU, whatever for. */
function waitedShare({ windows }: Watched, windowMs: number): number {
  return (stallRate(windows.cpu, windowMs) ?? 0) / WHOLE_US
}
