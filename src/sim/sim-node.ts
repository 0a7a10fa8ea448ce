/**
 * A simulated node with a virtual clock: pods that want CPU, memory and disks, on top of the model kernel. Who gets the CPUs is in sim-cpu.ts;
 * memory (sim-memory.ts) and disks (sim-io.ts) are there once a test has given the node some. What its work waits for is counted the way the
 * kernel counts it: by group under v2, as the length of the run queue under both.
 */
import type { GroupLayout, GroupPath, KubeletQos, PodList, PodSource, PodSpec, PressureResource } from '../model/index.ts'
import { childGroup, podGroup, podsRoot, qosRoot } from '../model/index.ts'
import type { ModelKernel } from './model-kernel.ts'
import { SimCpu } from './sim-cpu.ts'
import { type Disk, SimIo } from './sim-io.ts'
import { type Ram, SimMemory } from './sim-memory.ts'
import { type DiskUse, type MemoryWish, newPod, type SimPod } from './sim-pod.ts'

export class SimNode implements PodSource {
  readonly kernel: ModelKernel
  readonly layout: GroupLayout
  /** What runs outside of any pod. */
  systemMilli = 0
  /** Share of online demand that waits where offline work keeps a CPU busy all the time, 0 to 1. */
  interference = 0
  nowMs = 0
  readonly #pods = new Map<string, SimPod>()
  readonly #listeners: (() => void)[] = []
  readonly #cpu: SimCpu
  #memory: SimMemory | undefined
  #io: SimIo | undefined
  #revision = 0

  /** Makes the kubelet's groups under `root`, as the kubelet does at its start. */
  constructor(kernel: ModelKernel, root: GroupPath = '/') {
    this.kernel = kernel
    this.layout = { root, driver: 'cgroupfs' }
    if (root !== '/') kernel.makeGroup(root)
    for (const group of [podsRoot(this.layout), qosRoot(this.layout, 'Burstable'), qosRoot(this.layout, 'BestEffort')])
      kernel.makeGroup(group)
    const offlineRoot = qosRoot(this.layout, 'BestEffort')
    const found = kernel.groups.get(offlineRoot)
    if (found !== undefined) found.knobs.weight = kernel.capabilities.dialect === 'v1' ? 2 : 1
    if (kernel.capabilities.dialect === 'v2') kernel.groupPressureUs ??= new Map()
    this.#cpu = new SimCpu(kernel, offlineRoot)
  }

  /** Gives the node memory that its pods share; before that the kernel's reading is whatever it was set to. */
  fitMemory(ram: Ram): void {
    this.#memory = new SimMemory(this.kernel, ram)
    this.#memory.advance([...this.#pods.values()], 0)
  }

  /** Gives the node disks, by the names that the kernel knows them by. */
  fitDisks(disks: Readonly<Record<string, Disk>>): void {
    for (const [name, { device }] of Object.entries(disks)) this.kernel.devices.set(name, device)
    this.#io = new SimIo(this.kernel, qosRoot(this.layout, 'BestEffort'), Object.values(disks))
  }

  addPod(spec: PodSpec): void {
    const group = podGroup(this.layout, spec.kubeletQos, spec.uid)
    this.kernel.makeGroup(group).knobs.weight = this.#startWeight(spec.kubeletQos)
    for (const { name } of spec.containers) this.kernel.makeGroup(childGroup(group, name)).populated = true
    this.#pods.set(spec.uid, newPod(spec, group))
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

  /** A pod that is to go: it runs on until its grace period is over. Answers whether there is such a pod. */
  endPod(uid: string, graceMs: number): boolean {
    const pod = this.#pods.get(uid)
    if (pod === undefined) return false
    pod.endsMs = Math.min(pod.endsMs ?? Infinity, this.nowMs + graceMs)
    return true
  }

  has(uid: string): boolean {
    return this.#pods.has(uid)
  }

  /** What a pod would use if it were let, in milli-CPU, and what it holds in memory. */
  setDemand(uid: string, demandMilli: number, memoryBytes?: number): void {
    const pod = this.#pods.get(uid)
    if (pod === undefined) return
    pod.demandMilli = demandMilli
    if (memoryBytes === undefined) return
    pod.wantsBytes = memoryBytes
    const group = this.kernel.groups.get(pod.group)
    if (this.#memory === undefined && group !== undefined) group.usageBytes = memoryBytes
  }

  /** Among how many threads a pod spreads its demand. */
  setThreads(uid: string, threads: number): void {
    const pod = this.#pods.get(uid)
    if (pod !== undefined) pod.threads = threads
  }

  /** What a pod would hold of memory if it were let. Needs fitMemory(). */
  setMemory(uid: string, { bytes, cacheBytes = 0, leakBytesPerSecond = 0 }: MemoryWish): void {
    const pod = this.#pods.get(uid)
    if (pod === undefined) return
    pod.wantsBytes = bytes
    pod.wantsCacheBytes = cacheBytes
    pod.leakBytesPerSecond = leakBytesPerSecond
  }

  /** What a pod would read and write on a device, by its number, if it were let. Needs fitDisks(). */
  setDiskUse(uid: string, device: string, use: DiskUse): void {
    this.#pods.get(uid)?.disks.set(device, use)
  }

  /** What a pod got on the last step, in milli-CPU. */
  servedMilli(uid: string): number {
    return this.#pods.get(uid)?.servedMilli ?? 0
  }

  /** What of a pod's demand had to wait on the last step, in milli-CPU; online pods only. */
  waitedMilli(uid: string): number {
    return this.#pods.get(uid)?.waitedMilli ?? 0
  }

  /** What a pod did on a device on the last step. */
  servedDiskUse(uid: string, device: string): DiskUse {
    return this.#pods.get(uid)?.servedDisks.get(device) ?? { readBps: 0, writeBps: 0 }
  }

  /** What a pod holds of memory, without page cache. */
  heldBytes(uid: string): number {
    return this.#pods.get(uid)?.heldBytes ?? 0
  }

  /** Whom the kernel killed: UIDs, in order. */
  get killed(): { readonly atLimit: readonly string[]; readonly byNode: readonly string[] } {
    return this.#memory?.killed ?? { atLimit: [], byNode: [] }
  }

  /** What online pods, offline pods and the system used on the last step, in milli-CPU. */
  usedMilli(): { readonly onlineMilli: number; readonly offlineMilli: number } {
    let onlineMilli = this.systemMilli
    let offlineMilli = 0
    for (const pod of this.#pods.values()) {
      if (pod.isOnline) onlineMilli += pod.servedMilli
      else offlineMilli += pod.servedMilli
    }
    return { onlineMilli, offlineMilli }
  }

  /** Moves virtual time on by `ms` and books what everybody used. */
  advance(ms: number): void {
    this.nowMs += ms
    for (const [uid, { endsMs }] of this.#pods) if (endsMs !== undefined && endsMs <= this.nowMs) this.removePod(uid)
    const pods = [...this.#pods.values()]
    this.#cpu.advance(pods, ms, this)
    this.#memory?.advance(pods, ms)
    const io = this.#io?.advance(pods)
    if (io !== undefined) this.kernel.pressureUs.io += io.node * ms * 1000
    this.#countStalls(pods, io?.waits, ms)
  }

  /**
   * Kernel: `some` of a group is the time in which at least one of its tasks waits: with a task or more waiting at any time, all of it. Tasks
   * of a group's pods wait each for itself, so their shares add up.
   */
  #countStalls(pods: readonly SimPod[], io: ReadonlyMap<SimPod, number> | undefined, ms: number): void {
    const counts = this.kernel.groupPressureUs
    if (counts === undefined) return
    const root = qosRoot(this.layout, 'Burstable')
    let cpuShare = 0
    let ioShare = 0
    for (const pod of pods) {
      if (!pod.isOnline) continue
      const [cpu, disks] = [Math.min(1, pod.waitedMilli / 1000 + pod.throttledShare), io?.get(pod) ?? 0]
      this.#stall(pod.group, { cpu, io: disks }, ms)
      if (pod.spec.kubeletQos !== 'Burstable') continue
      cpuShare = Math.min(1, cpuShare + cpu)
      ioShare = Math.max(ioShare, disks)
    }
    this.#stall(root, { cpu: cpuShare, io: ioShare }, ms)
  }

  #stall(group: GroupPath, shares: Readonly<Record<'cpu' | 'io', number>>, ms: number): void {
    const counts = this.kernel.groupPressureUs
    if (counts === undefined) return
    let count: Record<PressureResource, number> | undefined = counts.get(group)
    if (count === undefined) counts.set(group, (count = { cpu: 0, memory: 0, io: 0 }))
    count.cpu += shares.cpu * ms * 1000
    count.io += shares.io * ms * 1000
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

  #startWeight(qos: KubeletQos): number {
    if (this.kernel.capabilities.dialect === 'v2') return qos === 'BestEffort' ? 1 : 39
    return qos === 'BestEffort' ? 2 : 1024
  }
}
