/**
 * Memory of the simulated node. A pod holds anonymous memory up to what it wants, and page cache as far as there is room:
 *   memory.high    drops the pod's cache at once, swaps the rest out slowly, and keeps the pod from growing; the pod stalls meanwhile
 *   soft limit     (v1) does the same for cache and rest, but only while the node is short of memory, and holds nobody back
 *   limit          kills what runs in the pod, which then begins anew with nothing
 *   no memory      takes all cache first, and then kills: kubelet-BestEffort before others, the largest first
 * Kernel: admin-guide/cgroup-v2.rst (memory.high throttles and never kills), cgroup-v1/memory.rst §7, mm/oom_kill.c with the kubelet's
 * oom_score_adj of 1000 for BestEffort.
 */
import type { Dialect, MemoryUse } from '../model/index.ts'
import type { ModelKernel } from './model-kernel.ts'
import type { SimPod } from './sim-pod.ts'

export interface Ram {
  readonly totalBytes: number
  /** What runs outside of any pod holds so much. */
  readonly systemBytes: number
  /** How fast the kernel swaps out; 0 for a node without swap, where only page cache can be reclaimed. */
  readonly swapBytesPerSecond: number
}

/** Kernel: kswapd is at work, and tasks begin to wait, when about so much of all memory is left. */
const SHORT_OF = 0.03
/** Share of time in which some task of a pod at its memory.high waits. */
const HELD_BACK = 0.5

export class SimMemory {
  readonly #kernel: ModelKernel
  readonly #ram: Ram
  readonly #dialect: Dialect
  /** UIDs, in the order in which the kernel killed: at a limit of their own, and because the node had no memory left. */
  readonly killed = { atLimit: [] as string[], byNode: [] as string[] }

  constructor(kernel: ModelKernel, ram: Ram) {
    this.#kernel = kernel
    this.#ram = ram
    this.#dialect = kernel.capabilities.dialect
  }

  /** Moves on by `ms` and tells the kernel's counters. */
  advance(pods: readonly SimPod[], ms: number): void {
    const isShort = this.#availableBytes(pods) < this.#ram.totalBytes * SHORT_OF
    let heldBack = false
    for (const pod of pods) heldBack = this.#settle(pod, ms, isShort) || heldBack
    this.#fit(pods)
    this.#book(pods, heldBack, ms)
  }

  /** Moves a pod towards what it wants, within its limits. Answers whether it is held back. */
  #settle(pod: SimPod, ms: number, isShort: boolean): boolean {
    const knobs = this.#kernel.groups.get(pod.group)?.knobs
    if (knobs === undefined) return false
    // What stands still asks for nothing.
    if (knobs.freeze !== 1) pod.wantsBytes += (pod.leakBytesPerSecond * ms) / 1000
    const high = this.#dialect === 'v2' ? (knobs.memoryHigh ?? Infinity) : Infinity
    const soft = this.#dialect === 'v1' && isShort ? (knobs.memorySoft ?? Infinity) : Infinity
    const aim = Math.min(high, soft)
    const swapBytes = (this.#ram.swapBytesPerSecond * ms) / 1000
    const present = pod.wantsBytes - pod.swappedBytes
    // Held back at its memory.high a pod can't grow; what it wants beyond is taken for swapped out.
    const grown = present > high ? Math.min(present, Math.max(high, pod.heldBytes)) : present
    if (grown > aim) pod.heldBytes = Math.max(aim, grown - swapBytes)
    else pod.heldBytes = Math.min(aim, pod.wantsBytes, grown + (swapBytes === 0 ? Infinity : swapBytes))
    pod.swappedBytes = pod.wantsBytes - pod.heldBytes
    const limit = knobs.memoryMax ?? Infinity
    if (pod.heldBytes > limit) this.#kill(pod, this.killed.atLimit)
    pod.cacheBytes = Math.max(0, Math.min(pod.wantsCacheBytes, Math.min(aim, limit) - pod.heldBytes))
    return pod.wantsBytes > high
  }

  #kill(pod: SimPod, told: string[]): void {
    pod.heldBytes = 0
    pod.wantsBytes = 0
    pod.swappedBytes = 0
    told.push(pod.spec.uid)
  }

  #availableBytes(pods: readonly SimPod[]): number {
    return this.#ram.totalBytes - this.#ram.systemBytes - pods.reduce((sum, pod) => sum + pod.heldBytes, 0)
  }

  /** What does not fit goes: cache, then whom the kernel likes least. */
  #fit(pods: readonly SimPod[]): void {
    const rank = (pod: SimPod): number => (pod.isOnline ? 0 : this.#ram.totalBytes) + pod.heldBytes
    while (this.#availableBytes(pods) < 0) {
      const [victim] = pods.filter(({ heldBytes }) => heldBytes > 0).sort((a, b) => rank(b) - rank(a))
      if (victim === undefined) break
      this.#kill(victim, this.killed.byNode)
    }
    const roomBytes = Math.max(0, this.#availableBytes(pods))
    const cacheBytes = pods.reduce((sum, pod) => sum + pod.cacheBytes, 0)
    if (cacheBytes <= roomBytes) return
    for (const pod of pods) pod.cacheBytes *= roomBytes / cacheBytes
  }

  #book(pods: readonly SimPod[], heldBack: boolean, ms: number): void {
    const { totalBytes } = this.#ram
    const availableBytes = Math.max(0, this.#availableBytes(pods))
    const memory: MemoryUse = { totalBytes, availableBytes }
    this.#kernel.memory = memory
    for (const pod of pods) {
      const group = this.#kernel.groups.get(pod.group)
      if (group === undefined) continue
      group.usageBytes = Math.round(pod.heldBytes + pod.cacheBytes)
      group.inactiveFileBytes = Math.round(pod.cacheBytes)
    }
    const shortage = Math.max(0, 1 - availableBytes / (totalBytes * SHORT_OF))
    this.#kernel.pressureUs.memory += Math.min(1, shortage + (heldBack ? HELD_BACK : 0)) * ms * 1000
  }
}
