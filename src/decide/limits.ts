/**
 * Rule limits: a pod that asks only for extended resources is BestEffort to the kubelet and gets neither quota nor memory limit. What
 * it asked for is enforced here, on the pod's group, so that it holds for all containers and survives their restarts.
 * Of a pod that asked for one of CPU and memory, that one is limited. Without a CPU amount it has no quota of its own and shares what the
 * root of all offline pods may use, with the least weight (identity.ts); without a memory amount its memory is not limited.
 */
import type { Config } from '../config/types.ts'
import type { Abstention, Claim, ClassifiedPod, GroupPath, NodeSnapshot } from '../model/index.ts'
import { isOffline, podKey, quotaOf } from '../model/index.ts'

/** Kernel: a memory limit is rounded to pages; the largest page size in use is 64 KiB (arm64). */
const PAGE_BYTES = 65_536

/** Claims on the quota of every offline pod that asked for an amount of CPU. */
export function quotaLimits(pods: readonly ClassifiedPod[], config: Config): Claim[] {
  if (!config.limits.enabled) return []
  const claims: Claim[] = []
  const { cpuUnitMilli: unitMilli } = config.resources
  for (const { reading, qosClass, askedMilli } of pods) {
    if (!isOffline(qosClass) || !reading.present || askedMilli <= 0) continue
    const because = { code: 'limits.quota', qosClass, units: askedMilli / unitMilli, unitMilli } as const
    claims.push({ group: reading.group, kind: 'quota', value: quotaOf(askedMilli), rule: 'limits', because })
  }
  return claims
}

/** Claims on memory limits, and whether every pod that asked for memory has one. */
export interface MemoryLimits {
  readonly claims: readonly Claim[]
  readonly complete: boolean
}

/** Claims on the memory limit of every offline pod that asked for memory and can be given it without harm. */
export function memoryLimits(
  snapshot: NodeSnapshot,
  pods: readonly ClassifiedPod[],
  config: Config,
  abstentions: Abstention[],
): MemoryLimits {
  if (!config.limits.enabled || !snapshot.capabilities.knobs.memoryMax.usable) return { claims: [], complete: true }
  const claims: Claim[] = []
  let complete = true
  const { memoryUnitBytes: unitBytes } = config.resources
  for (const pod of pods) {
    const { reading, qosClass, askedBytes } = pod
    if (!isOffline(qosClass) || !reading.present || askedBytes <= 0) continue
    const { group } = reading
    const value = Math.max(1, Math.floor(askedBytes / PAGE_BYTES)) * PAGE_BYTES
    // How much a pod uses is known some time after it, or the agent, has started: until then no new limit is set.
    if (!isFresh(snapshot, pod, config) && !isInForce(snapshot, group, value)) {
      complete = false
      continue
    }
    if (wouldKill(snapshot, pod, value)) {
      const usesBytes = reading.use?.value.workingSetBytes ?? 0
      abstentions.push({ code: 'wouldKill', rule: 'limits', pod: podKey(reading.spec), usesBytes, limitBytes: value })
      complete = false
      continue
    }
    const because = { code: 'limits.memory', qosClass, units: askedBytes / unitBytes, unitBytes } as const
    claims.push({ group, kind: 'memoryMax', value, rule: 'limits', because })
  }
  return { claims, complete }
}

/** Whether all these limits are in force: then neither time nor use has a say in them. */
export function memoryLimitsStand(snapshot: NodeSnapshot, claims: readonly Claim[]): boolean {
  return claims.every(({ group, value }) => typeof value === 'number' && isInForce(snapshot, group, value))
}

/**
 * Kernel: lowering memory.max below what can't be reclaimed invokes the OOM killer, and lowering the v1 limit stalls the writer. A limit
 * that is in force already is kept, whatever the pod uses.
 */
function wouldKill(snapshot: NodeSnapshot, pod: ClassifiedPod, limitBytes: number): boolean {
  if (isInForce(snapshot, pod.reading.group, limitBytes)) return false
  return (pod.reading.use?.value.workingSetBytes ?? 0) > limitBytes
}

/** Whether the working set was read within the last calm tick; what is older says little of a pod that grows. */
function isFresh(snapshot: NodeSnapshot, { reading }: ClassifiedPod, config: Config): boolean {
  return reading.use !== undefined && snapshot.nowMs - reading.use.value.workingSetAtMs < config.loop.calmMs
}

function isInForce({ actual }: NodeSnapshot, group: GroupPath, limitBytes: number): boolean {
  const now = actual.get(group, 'memoryMax')?.value
  return typeof now === 'number' && now <= limitBytes
}
