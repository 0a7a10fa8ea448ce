/**
 * The pods of the source joined with the cgroup tree: which groups exist, which containers are in them, what they use. Walked once per
 * calm tick. The dear and slow readings (memory, throttling, the list of containers) go round the pods in turn, so that the cost of a tick stays flat.
 */
import type {
  GroupBandwidth,
  GroupLayout,
  GroupPath,
  GroupMemory,
  GroupThrottling,
  KernelPort,
  PodReading,
  PodSpec,
  PodUse,
} from '../model/index.ts'
import {
  bytes,
  childGroup,
  isPodGroupName,
  KUBELET_QOS,
  milliCpu,
  parentGroup,
  podGroup,
  type PodList,
  qosRoot,
} from '../model/index.ts'
import { BandwidthReadings } from './bandwidth-readings.ts'
import type { KnobReadings } from './knob-readings.ts'
import { NestedQuotas } from './nested-quotas.ts'
import { RateWindow } from './rates.ts'

/** Memory, throttling and containers of a pod are read anew on every n-th calm tick, other pods on the ticks between. */
const ROUND = 10
/**
 * Use of CPU of online pods is read on every n-th calm tick, in turn: what decides is that of their roots, which is read on every beat. That of
 * pods below the best-effort root is part of what is decided, and read on each.
 */
const ONLINE_ROUND = 2
/** A pod's use is averaged over one calm tick; a sweep that an event asked for must not shorten that to a few milliseconds. */
const POD_SAMPLES = 8
const POD_WINDOW_MS = 500
/** Groups beside pods in one root that are looked at one by one; with more of them the root is listed each time. */
const MOST_OTHERS = 8

interface TrackedPod {
  readonly group: GroupPath
  /** What its group is a child of. */
  readonly root: GroupPath
  /** The sweep that saw it in the list last. */
  listedOn: number
  usage: RateWindow
  present: boolean
  children: readonly GroupPath[]
  workingSetBytes: number
  workingSetAtMs: number
  /** Times that it was read since its group was first seen. */
  sweeps: number
  throttling: GroupThrottling
  throttledPermyriad: number
  bandwidth: readonly GroupBandwidth[]
  reading: PodReading
  /** Set when the kernel said that the container list must be out of date. */
  relist: boolean
}

export class PodReadings {
  /** Quotas further down than containers, where they matter. */
  readonly nested: NestedQuotas
  readonly #kernel: KernelPort
  readonly #layout: GroupLayout
  readonly #knobs: KnobReadings
  readonly #bandwidth: BandwidthReadings
  /** Whether quota, burst and throttling of online pods are read. */
  readsBandwidth = false
  readonly #tracked = new Map<string, TrackedPod>()
  readonly #memory: GroupMemory = { usageBytes: 0, inactiveFileBytes: 0 }
  readonly #throttling: GroupThrottling = { periods: 0, throttledPeriods: 0 }
  #sweeps = 0
  #readings: readonly PodReading[] = []
  #unlisted: readonly GroupPath[] = []
  /** Per root of pods, the groups in it that are no pods': other roots of the kubelet's, mostly. */
  readonly #others = new Map<GroupPath, readonly GroupPath[]>()

  constructor(kernel: KernelPort, layout: GroupLayout, knobs: KnobReadings) {
    this.#kernel = kernel
    this.#layout = layout
    this.#knobs = knobs
    this.#bandwidth = new BandwidthReadings(kernel)
    this.nested = new NestedQuotas(kernel, knobs, qosRoot(layout, 'BestEffort'))
  }

  get readings(): readonly PodReading[] {
    return this.#readings
  }

  get unlisted(): readonly GroupPath[] {
    return this.#unlisted
  }

  /** One calm sweep. */
  sweep(list: PodList, nowMs: number): void {
    this.#sweeps += 1
    const turn = this.#sweeps % ROUND
    this.#readings = list.pods.map((spec, index) => {
      const pod = this.#trackedFor(spec)
      pod.listedOn = this.#sweeps
      return this.#isAtRest(pod, spec, index) ? pod.reading : this.#sweepPod(pod, spec, { nowMs, turn: index % ROUND === turn })
    })
    this.#tracked.forEach((pod, uid) => {
      if (pod.listedOn !== this.#sweeps) this.#drop(uid, pod)
    })
    this.#followUnlisted()
    this.nested.follow(nowMs)
  }

  /** Asks for the containers of the pod that owns `group` to be listed again on the next sweep. */
  relist(group: GroupPath): void {
    for (const pod of this.#tracked.values()) if (group === pod.group || group.startsWith(`${pod.group}/`)) pod.relist = true
  }

  /** Whether nothing is to be read of the pod on this sweep. */
  #isAtRest(pod: TrackedPod, spec: PodSpec, index: number): boolean {
    if (spec.kubeletQos === 'BestEffort' || !pod.present || pod.sweeps < ROUND || pod.relist) return false
    return pod.reading.spec === spec && index % ONLINE_ROUND !== this.#sweeps % ONLINE_ROUND
  }

  #sweepPod(pod: TrackedPod, spec: PodSpec, { nowMs, turn }: { readonly nowMs: number; readonly turn: boolean }): PodReading {
    const usageUs = this.#kernel.readCpuUsageUs(pod.group)
    const was = pod.present
    // A group that was there is gone when the kernel says so, not when one of its files can't be read: its limits would be lifted.
    if (usageUs === undefined && was && this.#kernel.exists(pod.group)) return pod.reading
    pod.present = usageUs !== undefined
    if (usageUs === undefined) {
      if (was) this.#letGo(pod)
      if (pod.reading.spec !== spec || was) pod.reading = { spec, group: pod.group, childGroups: [], present: false }
      return pod.reading
    }
    pod.usage.add(nowMs, usageUs)
    pod.sweeps = was ? pod.sweeps + 1 : 0
    // A young pod is read in full each time: it is still growing, and about to get its limits.
    if (pod.sweeps < ROUND || turn || pod.relist) this.#readDear(spec, pod, nowMs)
    pod.reading = this.#assemble(spec, pod, nowMs)
    return pod.reading
  }

  #assemble(spec: PodSpec, pod: TrackedPod, nowMs: number): PodReading {
    const { group, children: childGroups } = pod
    const rate = pod.usage.ratePerSecond(POD_WINDOW_MS)
    const bandwidth = this.readsBandwidth && pod.bandwidth.length > 0 ? { bandwidth: pod.bandwidth } : undefined
    if (rate === undefined) return { spec, group, childGroups, present: true, ...bandwidth }
    const value: PodUse = {
      cpuMilli: milliCpu(rate / 1000),
      workingSetBytes: bytes(pod.workingSetBytes),
      workingSetAtMs: pod.workingSetAtMs,
      throttledPermyriad: pod.throttledPermyriad,
    }
    const reading = { spec, group, childGroups, present: true, use: { value, atMs: nowMs, source: group } }
    // Written out: a spread costs ten times as much, and this is done for every pod.
    return bandwidth === undefined ? reading : { ...reading, ...bandwidth }
  }

  /** A manifest that was mended may name another kubelet class, and with it another group. */
  #trackedFor(spec: PodSpec): TrackedPod {
    const known = this.#tracked.get(spec.uid)
    if (known === undefined) return this.#track(spec)
    if (known.reading.spec === spec || known.group === podGroup(this.#layout, spec.kubeletQos, spec.uid)) return known
    this.#drop(spec.uid, known)
    return this.#track(spec)
  }

  #track(spec: PodSpec): TrackedPod {
    const group = podGroup(this.#layout, spec.kubeletQos, spec.uid)
    const pod: TrackedPod = {
      group,
      root: parentGroup(group),
      listedOn: this.#sweeps,
      usage: new RateWindow(0, POD_SAMPLES),
      present: false,
      children: [],
      workingSetBytes: 0,
      workingSetAtMs: -Infinity,
      sweeps: 0,
      throttling: { periods: 0, throttledPeriods: 0 },
      throttledPermyriad: 0,
      bandwidth: [],
      reading: { spec, group, childGroups: [], present: false },
      relist: false,
    }
    this.#tracked.set(spec.uid, pod)
    return pod
  }

  #readDear(spec: PodSpec, pod: TrackedPod, nowMs: number): void {
    const children = this.#containersOf(pod)
    pod.relist = false
    for (const old of pod.children) if (!children.includes(old)) this.#forget(old)
    pod.children = children
    if (spec.kubeletQos !== 'BestEffort') {
      pod.bandwidth = this.readsBandwidth ? this.#bandwidth.read([pod.group, ...children]) : []
      return
    }
    // Where a child's quota may not exceed its parent's, those of containers matter to the plan too.
    if (this.#kernel.capabilities.nestedQuota) for (const child of children) this.#knobs.read(child, 'quota', nowMs)
    this.#readThrottling(pod)
    if (!this.#kernel.readGroupMemory(pod.group, this.#memory)) return
    pod.workingSetBytes = Math.max(0, this.#memory.usageBytes - this.#memory.inactiveFileBytes)
    pod.workingSetAtMs = nowMs
  }

  /** The list of before, and the very same one, while it holds: all of these are there, and as many as there are. */
  #containersOf({ group, children, relist }: TrackedPod): readonly GroupPath[] {
    const isSame = !relist && this.#kernel.countChildren(group) === children.length
    if (isSame && children.every((child) => this.#kernel.exists(child))) return children
    const names = this.#kernel.listChildren(group)
    const listed = this.#stillThere(
      children,
      names.map((name) => childGroup(group, name)),
    )
    return listed.length === children.length && listed.every((child, index) => child === children[index]) ? children : listed
  }

  /** A list that could not be read is empty too: what was known stays until it is really gone. */
  #stillThere(known: readonly GroupPath[], listed: readonly GroupPath[]): readonly GroupPath[] {
    const missed = known.filter((group) => !listed.includes(group) && this.#kernel.exists(group))
    return missed.length === 0 ? listed : [...listed, ...missed]
  }

  #readThrottling(pod: TrackedPod): void {
    if (!this.#kernel.readThrottling(pod.group, this.#throttling)) return
    const periods = this.#throttling.periods - pod.throttling.periods
    const throttled = this.#throttling.throttledPeriods - pod.throttling.throttledPeriods
    pod.throttledPermyriad = periods <= 0 ? 0 : Math.min(10_000, Math.max(0, Math.round((throttled * 10_000) / periods)))
    pod.throttling = { ...this.#throttling }
  }

  #drop(uid: string, pod: TrackedPod): void {
    this.#letGo(pod)
    this.#tracked.delete(uid)
  }

  /** What comes next under this name is another group, with counters of its own. */
  #letGo(pod: TrackedPod): void {
    this.#forget(pod.group)
    pod.usage = new RateWindow(0, POD_SAMPLES)
    pod.throttling = { periods: 0, throttledPeriods: 0 }
    for (const child of pod.children) this.#bandwidth.forget(child)
    pod.bandwidth = []
    pod.children = []
  }

  #forget(group: GroupPath): void {
    this.#kernel.forget(group)
    this.#bandwidth.forget(group)
    this.#knobs.forget(group)
    this.nested.forget(group)
  }

  /** What was read of an unlisted group is let go of with the group: no pod will do it. */
  #followUnlisted(): void {
    const before = this.#unlisted
    if (before.length === 0 && KUBELET_QOS.every((qos) => this.#isAccountedFor(qosRoot(this.#layout, qos)))) return
    const owned = new Set([...this.#tracked.values()].map((pod) => pod.group))
    this.#unlisted = this.#stillThere(
      before.filter((group) => !owned.has(group)),
      this.#findUnlisted(owned),
    )
    for (const group of before) if (!this.#unlisted.includes(group) && !owned.has(group)) this.#forget(group)
  }

  /**
   * Whether a root holds the listed pods and what was there beside them when it was last listed, and nothing else. All of these were found to be
   * there on this sweep or, of some online pods, the one before: by their number there is no room for another, at least by the next sweep.
   */
  #isAccountedFor(root: GroupPath): boolean {
    const others = this.#others.get(root)
    if (others === undefined || others.length > MOST_OTHERS) return false
    let known = others.length
    this.#tracked.forEach((pod) => {
      if (pod.present && pod.root === root) known += 1
    })
    return this.#kernel.countChildren(root) === known && others.every((group) => this.#kernel.exists(group))
  }

  /** Pod groups that no listed pod owns: started a moment ago, left behind, or of a pod that a short list has missed. */
  #findUnlisted(owned: ReadonlySet<GroupPath>): readonly GroupPath[] {
    return KUBELET_QOS.flatMap((qos) => {
      const root = qosRoot(this.#layout, qos)
      const names = this.#kernel.listChildren(root)
      const groupsOf = (chosen: readonly string[]): GroupPath[] => chosen.map((name) => childGroup(root, name))
      this.#others.set(root, groupsOf(names.filter((name) => !isPodGroupName(name))))
      return groupsOf(names.filter(isPodGroupName)).filter((group) => !owned.has(group))
    })
  }
}
