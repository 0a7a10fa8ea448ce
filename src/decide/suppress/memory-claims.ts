/**
 * What the memory ladder writes. Offline pods get memory.high (under cgroup v1 the soft limit) at a share of their working set, which makes
 * the kernel reclaim from them. The value is fixed when the rung is climbed: one that followed the working set down would squeeze a pod to
 * nothing. Beside it, and independent of any rung, online pods may have a share of their memory request kept from reclaim.
 * Kernel: memory.high throttles and reclaims and never kills; memory.soft_limit_in_bytes only says who is reclaimed from first
 * (admin-guide/cgroup-v2.rst, cgroup-v1/memory.rst).
 */
import type { Config } from '../../config/types.ts'
import type {
  Because,
  Claim,
  ClassifiedPod,
  GroupPath,
  KubeletQos,
  MemoryRung,
  NodeSnapshot,
  OfflineClass,
  QosClass,
} from '../../model/index.ts'
import { hasEnded, isOffline, parentGroup, qosRoot } from '../../model/index.ts'
import { reasonable } from '../peak.ts'

/** Kernel: limits are rounded to pages; the largest page size in use is 64 KiB (arm64). */
const PAGE_BYTES = 65_536
/** Less than this no process can work with: a tiny pod is left what it has. */
const LEAST_HIGH_BYTES = 16 * 2 ** 20
/** A pod younger than this is still growing: its working set says nothing of what it needs. */
const YOUNG_MS = 60_000

/** The rungs that reclaim, and from whom. */
export const HIGH_RUNGS = [
  { rung: 'memoryHighOt', qosClass: 'OT' },
  { rung: 'memoryHighBe', qosClass: 'BE' },
] as const satisfies readonly { readonly rung: MemoryRung; readonly qosClass: OfflineClass }[]
type HighRung = (typeof HIGH_RUNGS)[number]['rung']

/** What a pod is held to, and how things were when that was fixed. */
export interface HeldHigh {
  readonly rung: HighRung
  readonly bytes: number
  readonly workingSetBytes: number
  readonly availablePermyriad: number
}

/** The rung that reclaims from pods of a class; undefined for one that none reclaims from. */
function rungOf(qosClass: QosClass): HighRung | undefined {
  return HIGH_RUNGS.find((high) => high.qosClass === qosClass)?.rung
}

/** memory.high of the offline pods of one tick. */
export class HighClaims {
  /** The knob that this kernel has; undefined for none. */
  readonly kind: 'memoryHigh' | 'memorySoft' | undefined
  /** Why there is none. */
  readonly impossible: string | undefined
  readonly #snapshot: NodeSnapshot
  readonly #config: Config
  readonly #pods: readonly ClassifiedPod[]

  constructor(snapshot: NodeSnapshot, pods: readonly ClassifiedPod[], config: Config) {
    const { dialect, knobs } = snapshot.capabilities
    const own = knobs[dialect === 'v2' ? 'memoryHigh' : 'memorySoft']
    this.kind = knobs.memoryHigh.usable ? 'memoryHigh' : knobs.memorySoft.usable ? 'memorySoft' : undefined
    this.impossible = this.kind === undefined && !own.usable ? own.reason : undefined
    this.#snapshot = snapshot
    this.#config = config
    this.#pods = pods.filter(({ qosClass, reading }) => isOffline(qosClass) && reading.present)
  }

  hasPods(qosClass: OfflineClass): boolean {
    return this.#pods.some((pod) => pod.qosClass === qosClass)
  }

  /** Whether some pod of the class is held to what it should be, as last read from the kernel. */
  isInForce(highs: ReadonlyMap<string, HeldHigh>, qosClass: OfflineClass): boolean {
    return this.#pods.some((pod) => {
      const bytes = pod.qosClass === qosClass ? highs.get(pod.reading.spec.uid)?.bytes : undefined
      const now = this.#actual(pod)
      return bytes !== undefined && now !== undefined && now <= bytes
    })
  }

  /** Limits that stand in the kernel, as an agent before this one has left them. */
  found(availablePermyriad: number): ReadonlyMap<string, HeldHigh> {
    const found = new Map<string, HeldHigh>()
    for (const pod of this.#pods) {
      const rung = rungOf(pod.qosClass)
      const bytes = this.#actual(pod)
      const workingSetBytes = Math.round(reasonable(pod.reading.use?.value.workingSetBytes) ?? 0)
      if (bytes !== undefined && rung !== undefined)
        found.set(pod.reading.spec.uid, { rung, bytes, workingSetBytes, availablePermyriad })
    }
    return found
  }

  /**
   * What each present pod is held to, once its rung is in force. Fixed on the tick on which the rung is climbed; when it is climbed again before
   * the ladder was empty, a value may only grow, so that no sequence of rungs left and climbed squeezes a pod step by step. Pods that come
   * later, or are young, are held to their share of what they asked for instead, and left alone if they asked for nothing.
   */
  hold(
    known: ReadonlyMap<string, HeldHigh>,
    ladder: {
      readonly inForce: readonly MemoryRung[]
      readonly before: readonly MemoryRung[]
      readonly availablePermyriad: number
    },
  ): ReadonlyMap<string, HeldHigh> {
    const held = new Map<string, HeldHigh>()
    if (ladder.inForce.length === 0 || this.kind === undefined) return held
    for (const pod of this.#pods) {
      const { uid } = pod.reading.spec
      const rung = rungOf(pod.qosClass)
      if (rung === undefined) continue
      const was = known.get(uid)
      const isOn = ladder.inForce.includes(rung)
      const isEntered = isOn && !ladder.before.includes(rung)
      const isNew = isOn && was?.rung !== rung
      const next = isEntered || isNew ? this.#fix(pod, rung, { isEntered, ...ladder }) : undefined
      const high = next === undefined || next.bytes < (was?.bytes ?? 0) ? was : next
      if (high !== undefined) held.set(uid, high.rung === rung ? high : { ...high, rung })
    }
    return held
  }

  #fix(
    pod: ClassifiedPod,
    rung: HighRung,
    at: { readonly isEntered: boolean; readonly availablePermyriad: number },
  ): HeldHigh | undefined {
    const { highPermyriad } = this.#config.suppressMemory
    const workingSetBytes = this.#workingSet(pod)
    const isGrown = at.isEntered && workingSetBytes !== undefined && !this.#isYoung(pod)
    const ofBytes = isGrown ? workingSetBytes : pod.askedBytes
    if (ofBytes <= 0) return undefined
    const bytes = Math.max(LEAST_HIGH_BYTES, wholePages((ofBytes * highPermyriad) / 10_000))
    return { rung, bytes, workingSetBytes: workingSetBytes ?? 0, availablePermyriad: at.availablePermyriad }
  }

  /** Undefined before it was read, and when that is too long ago: it is dear to read, and pods take turns. */
  #workingSet({ reading }: ClassifiedPod): number | undefined {
    const { workingSetBytes, workingSetAtMs } = reading.use?.value ?? {}
    const readMsAgo = this.#snapshot.nowMs - (workingSetAtMs ?? -Infinity)
    const amount = reasonable(workingSetBytes)
    return amount !== undefined && readMsAgo <= this.#config.suppressMemory.staleMs ? Math.round(amount) : undefined
  }

  #isYoung({ reading }: ClassifiedPod): boolean {
    return this.#snapshot.wallMs - (reading.spec.createdWallMs ?? -Infinity) < YOUNG_MS
  }

  #actual({ reading }: ClassifiedPod): number | undefined {
    const now = this.kind === undefined ? undefined : this.#snapshot.actual.get(reading.group, this.kind)?.value
    return typeof now === 'number' ? now : undefined
  }

  /** The claims of the rungs in force. */
  claims(held: ReadonlyMap<string, HeldHigh>, inForce: readonly MemoryRung[]): Claim[] {
    const { kind } = this
    if (kind === undefined) return []
    // On most nodes at most times, and on every tick.
    if (inForce.length === 0) return []
    return this.#pods.flatMap((pod): Claim[] => {
      const high = held.get(pod.reading.spec.uid)
      const rung = rungOf(pod.qosClass)
      if (high === undefined || rung === undefined || !inForce.includes(rung) || !isOffline(pod.qosClass)) return []
      const { bytes, workingSetBytes, availablePermyriad } = high
      const { enterPermyriad } = this.#config[rung]
      const { qosClass } = pod
      const because = { code: 'memory.high', rung, qosClass, availablePermyriad, enterPermyriad, workingSetBytes } as const
      return [{ group: pod.reading.group, kind, value: bytes, rule: 'suppressMemory', because }]
    })
  }
}

function wholePages(bytes: number): number {
  return Math.floor(bytes / PAGE_BYTES) * PAGE_BYTES
}

/**
 * memory.low and memory.min of online pods, and of every group above them.
 * Kernel: a group's protection counts only as far as its parent's reaches, and where children claim more than that, it is shared by what each
 * uses of its claim (mm/page_counter.c, effective_protection). So each root has the sum of the pods below it; and each group in a pod, whose own
 * claim would otherwise be 0 where the tree is not mounted with memory_recursiveprot, claims all that the pod has.
 */
export function protectionClaims(snapshot: NodeSnapshot, pods: readonly ClassifiedPod[], config: Config): Claim[] {
  const { protectLowPermyriad, protectMinPermyriad } = config.suppressMemory
  const { knobs } = snapshot.capabilities
  return [
    ...(knobs.memoryLow.usable ? protect('memoryLow', protectLowPermyriad, snapshot, pods) : []),
    ...(knobs.memoryMin.usable ? protect('memoryMin', protectMinPermyriad, snapshot, pods) : []),
  ]
}

function protect(
  kind: 'memoryLow' | 'memoryMin',
  sharePermyriad: number,
  snapshot: NodeSnapshot,
  pods: readonly ClassifiedPod[],
): Claim[] {
  if (sharePermyriad === 0) return []
  const claims: Claim[] = []
  const sums = new Map<GroupPath, { bytes: number; ofBytes: number }>()
  const claim = (group: GroupPath, value: number, ofBytes: number): void => {
    const because: Because = { code: 'memory.protect', sharePermyriad, ofBytes }
    claims.push({ group, kind, value, rule: 'suppressMemory', because })
  }
  for (const { reading, qosClass } of pods) {
    if (isOffline(qosClass) || !reading.present || hasEnded(reading.spec)) continue
    const ofBytes = Math.floor(reasonable(reading.spec.requests.memoryBytes) ?? 0)
    const bytes = wholePages((ofBytes * sharePermyriad) / 10_000)
    if (bytes === 0) continue
    for (const group of [reading.group, ...reading.childGroups]) claim(group, bytes, ofBytes)
    for (const root of rootsAbove(snapshot, reading.spec.kubeletQos)) {
      const sum = sums.get(root) ?? { bytes: 0, ofBytes: 0 }
      sums.set(root, { bytes: sum.bytes + bytes, ofBytes: sum.ofBytes + ofBytes })
    }
  }
  for (const [root, { bytes, ofBytes }] of sums) claim(root, bytes, ofBytes)
  return claims
}

/** The groups above a pod, without the root of the hierarchy, which has no such knob. */
function rootsAbove({ layout }: NodeSnapshot, qos: KubeletQos): GroupPath[] {
  const roots: GroupPath[] = []
  for (let group = qosRoot(layout, qos); group !== '/'; group = parentGroup(group)) roots.push(group)
  return roots
}
