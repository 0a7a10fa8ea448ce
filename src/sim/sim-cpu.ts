/**
 * Who runs on the simulated node's CPUs, and who waits. Online work is served first, as the least weight of the best-effort root makes it; what
 * is left goes to offline pods within their quotas and CPU sets, to those without idle first and by weight among them.
 * Weights settle who gets the time, not when: a wake-up that finds offline work on its CPU waits a moment all the same. So a share of online
 * demand (`interference`) waits in proportion to how busy offline work keeps the CPUs of that pod. Online pods
 * have quotas too, and what one holds back waits, as the kernel counts it.
 */
import type { CpuSet } from '../cpu/index.ts'
import type { GroupPath } from '../model/index.ts'
import { quotaMilliCpu } from '../model/index.ts'
import type { ModelKernel } from './model-kernel.ts'
import type { ModelGroup } from './refusals.ts'
import type { SimPod } from './sim-pod.ts'

/** Kernel: the default CFS period, the grain at which quotas bite. */
const PERIOD_MS = 100
/** Less than this is nothing. */
const TRIFLE_MILLI = 0.001

export interface CpuStep {
  readonly systemMilli: number
  /** Share of online demand that waits where offline work keeps a CPU busy all the time, 0 to 1. */
  readonly interference: number
}

export class SimCpu {
  readonly #kernel: ModelKernel
  readonly #offlineRoot: GroupPath

  constructor(kernel: ModelKernel, offlineRoot: GroupPath) {
    this.#kernel = kernel
    this.#offlineRoot = offlineRoot
  }

  /** Moves on by `ms` and books what everybody used. */
  advance(pods: readonly SimPod[], ms: number, { systemMilli, interference }: CpuStep): void {
    const capacityMilli = this.#kernel.readTopology().online.size * 1000
    const online = pods.filter((pod) => pod.isOnline)
    const offline = pods.filter((pod) => !pod.isOnline)
    const wantedMilli = systemMilli + online.reduce((sum, pod) => sum + this.#within(pod), 0)
    const squeeze = Math.min(1, capacityMilli / Math.max(1, wantedMilli))
    for (const pod of online) {
      pod.servedMilli = this.#within(pod) * squeeze
      pod.throttledShare = pod.demandMilli > 0 ? 1 - this.#within(pod) / pod.demandMilli : 0
    }
    const leftMilli = Math.max(0, capacityMilli - wantedMilli)
    this.#serveOffline(offline, leftMilli)
    for (const pod of online) pod.waitedMilli = this.#within(pod) - pod.servedMilli
    if (interference > 0) this.#interfere(online, offline, interference)
    for (const pod of pods) this.#book(pod, ms)
    this.#kernel.nodeCpuUs += systemMilli * squeeze * ms
    for (const pod of pods) this.#kernel.nodeCpuUs += pod.servedMilli * ms
    this.#kernel.runnable = systemMilli / 1000 + this.#awakeOnline(online) + this.#awakeOffline(offline, leftMilli)
    this.#groupOf(this.#offlineRoot).tasks = offline.reduce((sum, pod) => sum + threadsOf(pod), 0)
    // Kernel: what a quota holds back counts as stalled on the node (psi.rst).
    const stalledMilli =
      wantedMilli - wantedMilli * squeeze + offline.reduce((sum, pod) => sum + this.#awakeMilli(pod) - pod.servedMilli, 0)
    this.#kernel.pressureUs.cpu += Math.min(1, stalledMilli / Math.max(1, capacityMilli)) * ms * 1000
  }

  /** Water-filling by weight, those that are idle last, until the root's quota or the CPUs left are used up. */
  #serveOffline(pods: readonly SimPod[], leftMilli: number): void {
    let budget = Math.min(leftMilli, quotaMilliCpu(this.#groupOf(this.#offlineRoot).knobs.quota))
    for (const idle of [0, 1]) {
      const waiting = pods.filter((pod) => this.#groupOf(pod.group).knobs.idle === idle)
      const ceilings = new Map(waiting.map((pod) => [pod, this.#ceiling(pod)]))
      for (const pod of waiting) pod.servedMilli = 0
      let hungry = waiting.filter((pod) => (ceilings.get(pod) ?? 0) > 0)
      while (hungry.length > 0 && budget > TRIFLE_MILLI) {
        const weights = hungry.reduce((sum, pod) => sum + this.#weight(pod), 0)
        let given = 0
        for (const pod of hungry) {
          const fair = (budget * this.#weight(pod)) / weights
          const extra = Math.min(fair, (ceilings.get(pod) ?? 0) - pod.servedMilli)
          pod.servedMilli += extra
          given += extra
        }
        budget -= given
        hungry = hungry.filter((pod) => (ceilings.get(pod) ?? 0) - pod.servedMilli > TRIFLE_MILLI)
        if (given <= TRIFLE_MILLI) break
      }
    }
  }

  /** Tasks of online pods that are ready to run. Kernel: throttle_cfs_rq() takes tasks without quota off the run queues. */
  #awakeOnline(pods: readonly SimPod[]): number {
    return pods.reduce((sum, pod) => sum + threadsOf(pod) * (1 - pod.throttledShare), 0)
  }

  /**
   * Tasks of offline pods that are ready to run, on average. All of a pod's threads are, until the quota of the period is used up: soon where
   * there are CPUs for them, and never where online work leaves none, however small the quota is.
   */
  #awakeOffline(pods: readonly SimPod[], leftMilli: number): number {
    let tasks = 0
    for (const pod of pods) {
      const threads = this.#awakeMilli(pod) > 0 ? threadsOf(pod) : 0
      const fastestMilli = Math.min(threads * 1000, this.#cpus(pod).size * 1000, leftMilli)
      tasks += threads * (fastestMilli <= TRIFLE_MILLI ? 1 : Math.min(1, pod.servedMilli / fastestMilli))
    }
    return tasks
  }

  /** What an online pod's own quota lets it use. */
  #within(pod: SimPod): number {
    return Math.min(pod.demandMilli, quotaMilliCpu(this.#groupOf(pod.group).knobs.quota))
  }

  /** Spreads what offline pods use evenly over their CPUs, and lets online pods wait for it where they may run too. */
  #interfere(online: readonly SimPod[], offline: readonly SimPod[], interference: number): void {
    const busyMilli = new Map<number, number>()
    for (const pod of offline) {
      const cpus = this.#cpus(pod)
      for (const cpu of cpus) busyMilli.set(cpu, (busyMilli.get(cpu) ?? 0) + pod.servedMilli / cpus.size)
    }
    for (const pod of online) {
      const cpus = this.#cpus(pod)
      let exposure = 0
      for (const cpu of cpus) exposure += Math.min(1, (busyMilli.get(cpu) ?? 0) / 1000) / cpus.size
      pod.waitedMilli = Math.min(pod.demandMilli, pod.waitedMilli + pod.demandMilli * interference * exposure)
    }
  }

  #cpus(pod: SimPod): CpuSet {
    const { cpuset } = this.#groupOf(pod.group).knobs
    return cpuset.isEmpty ? this.#kernel.readTopology().online : cpuset
  }

  #weight(pod: SimPod): number {
    return Math.max(1, this.#groupOf(pod.group).knobs.weight)
  }

  /** What it would use with all the CPUs there are: nothing while frozen. */
  #awakeMilli(pod: SimPod): number {
    return this.#groupOf(pod.group).knobs.freeze === 1 ? 0 : pod.demandMilli
  }

  /** The most a pod can use: its demand, its quota, its CPUs. */
  #ceiling(pod: SimPod): number {
    return Math.min(this.#awakeMilli(pod), quotaMilliCpu(this.#groupOf(pod.group).knobs.quota), this.#cpus(pod).size * 1000)
  }

  #book(pod: SimPod, ms: number): void {
    const usedUs = pod.servedMilli * ms
    for (let path = pod.group; ; path = path.slice(0, path.lastIndexOf('/'))) {
      const group = this.#groupOf(path === '' ? '/' : path)
      group.cpuUsageUs += usedUs
      if (path === '' || path === '/') break
    }
    const group = this.#groupOf(pod.group)
    if (group.knobs.quota.quotaUs === null) return
    group.periods += ms / PERIOD_MS
    const quotaMilli = quotaMilliCpu(group.knobs.quota)
    if (this.#awakeMilli(pod) <= pod.servedMilli + 1 || pod.servedMilli < quotaMilli - 1) return
    group.throttledPeriods += ms / PERIOD_MS
    group.throttledUs += ms * 1000 * (pod.isOnline ? pod.throttledShare : 1 - quotaMilli / pod.demandMilli)
  }

  #groupOf(path: GroupPath): ModelGroup {
    return this.#kernel.groups.get(path) ?? this.#kernel.makeGroup(path)
  }
}

function threadsOf({ threads, demandMilli, isOnline }: SimPod): number {
  if (threads !== undefined) return threads
  return isOnline ? demandMilli / 1000 : Math.ceil(demandMilli / 1000)
}
