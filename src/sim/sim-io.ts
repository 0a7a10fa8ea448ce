/**
 * Disks of the simulated node. A pod reads and writes what it wants within its limits; what a disk can't do is shared out evenly. Online
 * work that shares a disk waits as soon as that comes near to what it can do.
 * Kernel: v2 counts a pod's IO against the limits of the best-effort root too; v1 throttles the containers' groups each for itself, and a pod's
 * work is taken to be spread evenly over its containers. Of the node's stalls, those of tasks that a limit holds back are a part (psi.rst).
 */
import type { DeviceLimits, GroupPath } from '../model/index.ts'
import { childGroup, NO_DEVICE_LIMITS } from '../model/index.ts'
import type { ModelKernel } from './model-kernel.ts'
import type { DiskUse, SimPod } from './sim-pod.ts'

export interface Disk {
  /** Device number, as in `8:0`. */
  readonly device: string
  /** Reading and writing together. */
  readonly bytesPerSecond: number
}

/** Requests begin to queue at so much of what a disk can do, and some always waits at so much of it. */
const QUEUES_FROM = 0.7
const QUEUES_ALWAYS = 1.2

export class SimIo {
  readonly #kernel: ModelKernel
  readonly #offlineRoot: GroupPath
  readonly #disks: readonly Disk[]

  constructor(kernel: ModelKernel, offlineRoot: GroupPath, disks: readonly Disk[]) {
    this.#kernel = kernel
    this.#offlineRoot = offlineRoot
    this.#disks = disks
  }

  /** Serves all disks for one step. Answers the share of time in which each online pod waited, and some task of the node did. */
  advance(pods: readonly SimPod[]): { readonly waits: ReadonlyMap<SimPod, number>; readonly node: number } {
    const waits = new Map<SimPod, number>()
    let node = 0
    for (const { device, bytesPerSecond } of this.#disks) {
      const users = pods.filter((pod) => pod.disks.has(device) && this.#kernel.groups.get(pod.group)?.knobs.freeze !== 1)
      const limited = this.#limited(users, device)
      const wanted = [...limited.values()].reduce((sum, use) => sum + use.readBps + use.writeBps, 0)
      const load = wanted / bytesPerSecond
      const queues = Math.min(1, Math.max(0, (load - QUEUES_FROM) / (QUEUES_ALWAYS - QUEUES_FROM)))
      const part = Math.min(1, 1 / Math.max(load, Number.MIN_VALUE))
      for (const [pod, use] of limited) {
        const asked = pod.disks.get(device) ?? NOTHING
        if (use.readBps < asked.readBps || use.writeBps < asked.writeBps) node = 1
        pod.servedDisks.set(device, { readBps: use.readBps * part, writeBps: use.writeBps * part })
        if (pod.isOnline) waits.set(pod, Math.max(queues, waits.get(pod) ?? 0))
      }
      if (users.length > 0) node = Math.max(node, queues)
    }
    return { waits, node }
  }

  /** What each pod may do of what it wants. */
  #limited(users: readonly SimPod[], device: string): Map<SimPod, DiskUse> {
    const isNested = this.#kernel.capabilities.nestedIo
    const limited = new Map<SimPod, DiskUse>()
    for (const pod of users) limited.set(pod, this.#ownPart(pod, device, isNested))
    if (!isNested) return limited
    const most = this.#limits(this.#offlineRoot, device)
    const offline = users.filter((pod) => !pod.isOnline)
    for (const [field, limit] of [
      ['readBps', most.readBps],
      ['writeBps', most.writeBps],
    ] as const) {
      const sum = offline.reduce((all, pod) => all + (limited.get(pod)?.[field] ?? 0), 0)
      if (limit === null || sum <= limit) continue
      for (const pod of offline) {
        const use = limited.get(pod) ?? NOTHING
        limited.set(pod, { ...use, [field]: (use[field] * limit) / sum })
      }
    }
    return limited
  }

  #ownPart(pod: SimPod, device: string, isNested: boolean): DiskUse {
    const use = pod.disks.get(device) ?? NOTHING
    const groups = isNested ? [pod.group] : pod.spec.containers.map(({ name }) => childGroup(pod.group, name))
    let readBps = 0
    let writeBps = 0
    for (const group of groups) {
      const limits = this.#limits(group, device)
      readBps += Math.min(use.readBps / groups.length, limits.readBps ?? Infinity)
      writeBps += Math.min(use.writeBps / groups.length, limits.writeBps ?? Infinity)
    }
    return { readBps, writeBps }
  }

  #limits(group: GroupPath, device: string): DeviceLimits {
    return this.#kernel.groups.get(group)?.knobs.ioMax.of(device) ?? NO_DEVICE_LIMITS
  }
}

const NOTHING: DiskUse = { readBps: 0, writeBps: 0 }
