/**
 * Quotas further down than containers. What runs containers or services of its own inside a pod (docker, systemd, a node in a pod) gives
 * them quotas, and where a child's may not exceed its parent's, a single one of them makes the kernel refuse a smaller quota of every
 * group above it: that of the pod, and that of all offline pods. Such groups are looked for when a quota was refused, since on most nodes there are
 * none; those that have a quota are kept among the readings, so that the plan moves them out of the way and the journal brings them back.
 * A pod may make thousands of groups: every look is bounded, on one tick, in one pod and in all.
 * Kernel: tg_cfs_schedulable_down().
 */
import type { GroupPath, KernelPort, NodeSnapshot, StepResult } from '../model/index.ts'
import { childGroup, isPodGroupName, isQuota, isSuccess, parentGroup, sameValue } from '../model/index.ts'
import type { KnobReadings } from './knob-readings.ts'

/** A look lists one group and reads its quota: some 40 µs. */
const LOOKS_PER_TICK = 128
/** A node inside a pod, with a hundred pods of its own, has some 400 groups. */
const LOOKS_PER_POD = 1024
/** pod / container / docker / ID / kubelet / kubepods / burstable / pod / container, and some more. */
const MOST_DEPTH = 12
/** Groups with a quota that are kept of one pod, and of all. The plan looks at each of them whenever a quota changes. */
const KEPT_PER_POD = 256
const MOST_KEPT = 1024
/** Of these so many are read again on a calm tick. */
const READ_AGAIN = 128
const MOST_PODS = 1024
/** Searches in a row that may each have found something new, while the kernel refuses all the same. */
const MOST_SEARCHES = 4
/** Between searches that changed nothing, in ms; doubled each time. */
const FIRST_PAUSE_MS = 1000
const MOST_PAUSE_MS = 30_000
/** A refusal is over when there was none for so long, in ms: nothing more may have been wanted since. */
const REFUSAL_MS = 5000

interface Walk {
  readonly pod: GroupPath
  /** Breadth first; those before `next` have been looked at. */
  readonly groups: { readonly group: GroupPath; readonly depth: number }[]
  next: number
  /** A bound was met: there may be more. */
  over: boolean
  /** Something was found that the last plan did not know of. */
  found: boolean
  /** Children of the pod below which groups were read that are not kept. */
  readonly readBelow: Set<GroupPath>
}

export class NestedQuotas {
  readonly #kernel: KernelPort
  readonly #knobs: KnobReadings
  readonly #offlineRoot: GroupPath
  /** Groups below containers that have, or had, a quota, with their pods. */
  readonly #kept = new Map<GroupPath, GroupPath>()
  #readAgainFrom = 0
  /** Pods that are still to be walked in this search, and what came of those that have been. */
  #walks: Walk[] = []
  #done: Walk[] = []
  #searches = 0
  #pauseMs = 0
  #resumeMs = -Infinity
  /** Groups whose quota was refused, with when it was last. */
  readonly #refused = new Map<GroupPath, number>()
  /** Pods that the last search that was of no avail could not follow. */
  #blamed: readonly GroupPath[] = []

  constructor(kernel: KernelPort, knobs: KnobReadings, offlineRoot: GroupPath) {
    this.#kernel = kernel
    this.#knobs = knobs
    this.#offlineRoot = offlineRoot
  }

  /**
   * Pods with more quotas inside than are kept, or that change faster than they can be followed, while the kernel refuses the quota of all offline
   * pods, or one of theirs.
   */
  get unfollowed(): Pick<NodeSnapshot, 'unfollowed'> {
    if (this.#blamed.length === 0 || this.#refused.size === 0) return {}
    const barsRoot = this.#refused.has(this.#offlineRoot)
    const refused = new Set([...this.#refused.keys()].map((group) => this.#podOf(group)))
    const groups = barsRoot ? this.#blamed : this.#blamed.filter((pod) => refused.has(pod))
    return groups.length === 0 ? {} : { unfollowed: { groups, barsRoot } }
  }

  /** How many groups below containers are read for their quota. */
  get kept(): number {
    return this.#kept.size
  }

  /**
   * Takes in what became of the writes of a tick, and looks on where a quota was refused. Answers whether the next tick should come soon: it may
   * do what this one could not.
   */
  heard(results: readonly StepResult[], nowMs: number): boolean {
    if (!this.#kernel.capabilities.nestedQuota) return false
    const refused: GroupPath[] = []
    for (const { step, outcome } of results) {
      if (step.kind !== 'quota') continue
      if (outcome.is === 'refused') refused.push(step.group)
      else if (isSuccess(outcome) || outcome.is === 'vanished') this.#refused.delete(step.group)
    }
    for (const group of refused) this.#refused.set(group, nowMs)
    if (this.#refused.size === 0) this.#ease()
    if (refused.length === 0) return false
    if (this.#walks.length === 0) {
      if (nowMs < this.#resumeMs) return false
      this.#begin(refused)
    }
    this.#walkOn(nowMs)
    return this.#walks.length > 0 || this.#conclude(nowMs)
  }

  /** Once per calm tick: reads some of the groups that are kept again, and lets go of those that are gone. */
  follow(nowMs: number): void {
    for (const [group, atMs] of this.#refused) if (nowMs - atMs > REFUSAL_MS) this.#refused.delete(group)
    if (this.#kept.size === 0) return
    const groups = [...this.#kept.keys()]
    if (this.#readAgainFrom >= groups.length) this.#readAgainFrom = 0
    for (const group of groups.slice(this.#readAgainFrom, this.#readAgainFrom + READ_AGAIN)) {
      this.#knobs.read(group, 'quota', nowMs)
      if (this.#knobs.table.get(group, 'quota') === undefined) this.#kept.delete(group)
    }
    this.#readAgainFrom += READ_AGAIN
  }

  /** A group is gone, with all below it. */
  forget(group: GroupPath): void {
    this.#blamed = this.#blamed.filter((pod) => pod !== group)
    for (const kept of this.#kept.keys()) if (kept === group || kept.startsWith(`${group}/`)) this.#kept.delete(kept)
  }

  /** Nothing is refused any more. */
  #ease(): void {
    this.#blamed = []
    this.#walks = []
    this.#done = []
    this.#searches = 0
    this.#pauseMs = 0
    this.#resumeMs = -Infinity
  }

  /** What stands in a group's way is below it: in one pod, or in any. */
  #begin(refused: readonly GroupPath[]): void {
    const root = this.#offlineRoot
    const pods = refused.includes(root)
      ? this.#kernel
          .listChildren(root, MOST_PODS)
          .filter(isPodGroupName)
          .map((name) => childGroup(root, name))
      : new Set(refused.flatMap((group) => this.#podOf(group) ?? []))
    this.#done = []
    this.#walks = [...pods].map((pod) => ({
      pod,
      groups: [{ group: pod, depth: 0 }],
      next: 0,
      over: false,
      found: false,
      readBelow: new Set(),
    }))
  }

  #podOf(group: GroupPath): GroupPath | undefined {
    for (let at = group; at !== '/'; at = parentGroup(at)) if (parentGroup(at) === this.#offlineRoot) return at
    return undefined
  }

  /** One group of each pod in turn, so that a pod with very many only holds up itself. */
  #walkOn(nowMs: number): void {
    for (let looks = 0; looks < LOOKS_PER_TICK && this.#walks.length > 0;) {
      for (const walk of this.#walks) {
        if (looks === LOOKS_PER_TICK) break
        looks += 1
        this.#look(walk, nowMs)
      }
      const isDone = (walk: Walk): boolean => walk.next === walk.groups.length
      for (const walk of this.#walks) if (isDone(walk)) this.#end(walk)
      this.#walks = this.#walks.filter((walk) => !isDone(walk))
    }
  }

  #look(walk: Walk, nowMs: number): void {
    const at = walk.groups[walk.next]
    if (at === undefined) return
    walk.next += 1
    this.#readQuota(walk, at, nowMs)
    const room = at.depth < MOST_DEPTH ? LOOKS_PER_POD - walk.groups.length : 0
    const names = this.#kernel.listChildren(at.group, room + 1)
    if (names.length > room) walk.over = true
    for (const name of names.slice(0, room)) walk.groups.push({ group: childGroup(at.group, name), depth: at.depth + 1 })
  }

  #readQuota(walk: Walk, { group, depth }: { readonly group: GroupPath; readonly depth: number }, nowMs: number): void {
    const before = this.#knobs.table.get(group, 'quota')?.value
    if (depth > 1 && before === undefined) {
      walk.readBelow.add(group.slice(0, group.indexOf('/', walk.pod.length + 1)))
      const value = this.#kernel.readKnob(group, 'quota')
      if (!isQuota(value) || value.quotaUs === null) return
      if (!this.#hasRoom(walk.pod)) {
        walk.over = true
        return
      }
    }
    this.#knobs.read(group, 'quota', nowMs)
    const value = this.#knobs.table.get(group, 'quota')?.value
    if (!isQuota(value)) return
    if (depth > 1 && this.#hasRoom(walk.pod)) this.#kept.set(group, walk.pod)
    if (value.quotaUs !== null && (before === undefined || !sameValue(before, value))) walk.found = true
  }

  #hasRoom(pod: GroupPath): boolean {
    if (this.#kept.size >= MOST_KEPT) return false
    let ofPod = 0
    for (const owner of this.#kept.values()) if (owner === pod) ofPod += 1
    return ofPod < KEPT_PER_POD
  }

  /** Nothing is held open of groups that are of no more interest: they may be many. */
  #end(walk: Walk): void {
    for (const group of walk.readBelow) this.#kernel.forget(group)
    this.#done.push(walk)
  }

  /** A search is over. Answers whether the next plan knows something that the last one did not. */
  #conclude(nowMs: number): boolean {
    this.#searches += 1
    const found = this.#done.filter((walk) => walk.found)
    if (found.length > 0 && this.#searches < MOST_SEARCHES) return true
    const over = this.#done.filter((walk) => walk.over)
    this.#blamed = (over.length > 0 ? over : found).map(({ pod }) => pod)
    this.#pauseMs = Math.min(MOST_PAUSE_MS, Math.max(FIRST_PAUSE_MS, this.#pauseMs * 2))
    this.#resumeMs = nowMs + this.#pauseMs
    return found.length > 0
  }
}
