/**
 * A simulated node with a virtual clock: pods with a demand for CPU, run by a model of the scheduler on top of the model kernel. Online
 * work is served first, as the least weight of the best-effort root makes it; what is left goes to offline pods, within their quotas and
 * CPU sets, to those without idle first and by weight among them.
 */
import type { GroupLayout, GroupPath, KubeletQos, PodList, PodSource, PodSpec } from '../model/index.ts'
import { childGroup, podGroup, podsRoot, qosRoot, quotaMilliCpu } from '../model/index.ts'
import type { ModelKernel } from './model-kernel.ts'
import type { ModelGroup } from './refusals.ts'

/** Kernel: the default CFS period, the grain at which quotas bite. */
const PERIOD_MS = 100

interface SimPod {
  readonly spec: PodSpec
  readonly group: GroupPath
  demandMilli: number
  servedMilli: number
}

export class SimNode implements PodSource {
  readonly kernel: ModelKernel
  readonly layout: GroupLayout
  /** What runs outside of any pod. */
  systemMilli = 0
  nowMs = 0
  readonly #pods = new Map<string, SimPod>()
  readonly #listeners: (() => void)[] = []
  #revision = 0

  /** Makes the kubelet's groups under `root`, as the kubelet does at its start. */
  constructor(kernel: ModelKernel, root: GroupPath = '/') {
    this.kernel = kernel
    this.layout = { root, driver: 'cgroupfs' }
    if (root !== '/') kernel.makeGroup(root)
    for (const group of [podsRoot(this.layout), qosRoot(this.layout, 'Burstable'), qosRoot(this.layout, 'BestEffort')])
      kernel.makeGroup(group)
    this.#group(qosRoot(this.layout, 'BestEffort')).knobs.weight = kernel.capabilities.dialect === 'v1' ? 2 : 1
  }

  addPod(spec: PodSpec): void {
    const group = podGroup(this.layout, spec.kubeletQos, spec.uid)
    this.kernel.makeGroup(group).knobs.weight = this.#startWeight(spec.kubeletQos)
    for (const { name } of spec.containers) this.kernel.makeGroup(childGroup(group, name)).populated = true
    this.#pods.set(spec.uid, { spec, group, demandMilli: 0, servedMilli: 0 })
    this.#changed()
  }

  /** A pod that was resized in place: its groups stay as they are. */
  resizePod(spec: PodSpec): void {
    const pod = this.#pods.get(spec.uid)
    if (pod === undefined) return
    this.#pods.set(spec.uid, { ...pod, spec })
    this.#changed()
  }

  removePod(uid: string): void {
    const pod = this.#pods.get(uid)
    if (pod === undefined) return
    this.kernel.removeGroup(pod.group)
    this.#pods.delete(uid)
    this.#changed()
  }

  /** What a pod would use if it were let, in milli-CPU, and what it holds in memory. */
  setDemand(uid: string, demandMilli: number, memoryBytes?: number): void {
    const pod = this.#pods.get(uid)
    if (pod === undefined) return
    pod.demandMilli = demandMilli
    if (memoryBytes !== undefined) this.#group(pod.group).usageBytes = memoryBytes
  }

  /** What a pod got on the last step, in milli-CPU. */
  servedMilli(uid: string): number {
    return this.#pods.get(uid)?.servedMilli ?? 0
  }

  /** Moves virtual time on by `ms` and books what everybody used. */
  advance(ms: number): void {
    this.nowMs += ms
    const capacityMilli = this.kernel.readTopology().online.size * 1000
    const pods = [...this.#pods.values()]
    const online = pods.filter((pod) => pod.spec.kubeletQos !== 'BestEffort')
    const offline = pods.filter((pod) => pod.spec.kubeletQos === 'BestEffort')
    const wanted = this.systemMilli + online.reduce((sum, pod) => sum + pod.demandMilli, 0)
    const squeeze = Math.min(1, capacityMilli / Math.max(1, wanted))
    for (const pod of online) pod.servedMilli = pod.demandMilli * squeeze
    const left = Math.max(0, capacityMilli - wanted)
    this.#serveOffline(offline, left)
    for (const pod of pods) this.#book(pod, ms)
    this.kernel.nodeCpuUs += this.systemMilli * squeeze * ms
    for (const pod of pods) this.kernel.nodeCpuUs += pod.servedMilli * ms
    const stalledMilli = wanted - wanted * squeeze + offline.reduce((sum, pod) => sum + pod.demandMilli - pod.servedMilli, 0)
    this.kernel.pressureUs.cpu += Math.min(1, stalledMilli / Math.max(1, capacityMilli)) * ms * 1000
  }

  list(): PodList {
    return {
      pods: [...this.#pods.values()].map((pod) => pod.spec),
      everRead: true,
      revision: this.#revision,
      atMs: this.nowMs,
      source: 'simulated node',
      problems: [],
    }
  }

  onChange(listener: () => void): void {
    this.#listeners.push(listener)
  }

  close(): void {
    this.#listeners.length = 0
  }

  #changed(): void {
    this.#revision += 1
    for (const listener of this.#listeners) listener()
  }

  #group(path: GroupPath): ModelGroup {
    return this.kernel.groups.get(path) ?? this.kernel.makeGroup(path)
  }

  #startWeight(qos: KubeletQos): number {
    if (this.kernel.capabilities.dialect === 'v2') return qos === 'BestEffort' ? 1 : 39
    return qos === 'BestEffort' ? 2 : 1024
  }

  /** Water-filling by weight, those that are idle last, until the root's quota or the CPUs left are used up. */
  #serveOffline(pods: readonly SimPod[], leftMilli: number): void {
    const root = this.#group(qosRoot(this.layout, 'BestEffort'))
    let budget = Math.min(leftMilli, quotaMilliCpu(root.knobs.quota))
    for (const idle of [0, 1]) {
      const waiting = pods.filter((pod) => this.#group(pod.group).knobs.idle === idle)
      for (const pod of waiting) pod.servedMilli = 0
      let hungry = waiting.filter((pod) => this.#ceiling(pod) > 0)
      while (hungry.length > 0 && budget > 0.001) {
        const weights = hungry.reduce((sum, pod) => sum + Math.max(1, this.#group(pod.group).knobs.weight), 0)
        let given = 0
        for (const pod of hungry) {
          const fair = (budget * Math.max(1, this.#group(pod.group).knobs.weight)) / weights
          const extra = Math.min(fair, this.#ceiling(pod) - pod.servedMilli)
          pod.servedMilli += extra
          given += extra
        }
        budget -= given
        hungry = hungry.filter((pod) => this.#ceiling(pod) - pod.servedMilli > 0.001)
        if (given <= 0.001) break
      }
    }
  }

  /** The most a pod can use: its demand, its quota, its CPUs, nothing while frozen. */
  #ceiling(pod: SimPod): number {
    const { quota, cpuset, freeze } = this.#group(pod.group).knobs
    if (freeze === 1) return 0
    const cpus = cpuset.isEmpty ? this.kernel.readTopology().online.size : cpuset.size
    return Math.min(pod.demandMilli, quotaMilliCpu(quota), cpus * 1000)
  }

  #book(pod: SimPod, ms: number): void {
    const usedUs = pod.servedMilli * ms
    for (let path = pod.group; ; path = path.slice(0, path.lastIndexOf('/'))) {
      const group = this.#group(path === '' ? '/' : path)
      group.cpuUsageUs += usedUs
      if (path === '' || path === '/') break
    }
    const group = this.#group(pod.group)
    if (group.knobs.quota.quotaUs === null) return
    group.periods += ms / PERIOD_MS
    if (pod.demandMilli > pod.servedMilli + 1) group.throttledPeriods += ms / PERIOD_MS
  }
}
