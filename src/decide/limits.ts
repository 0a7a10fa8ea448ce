/**
 * Rule limits: a pod that asks only for extended resources is BestEffort to the kubelet and gets neither quota nor memory limit. What
 * it asked for is enforced here, on the pod's group, so that it holds for all containers and survives their restarts.
 * Of a pod that asked for one of CPU and memory, that one is limited. Without a CPU amount it has no quota of its own and shares what the
 * root of all offline pods may use, with the least weight (identity.ts); without a memory amount its memory is not limited.
 */
import type { Config } from '../config/types.ts'
import type { Abstention, Claim, ClassifiedPod, NodeSnapshot } from '../model/index.ts'
import { isOffline, podKey, quotaOf } from '../model/index.ts'

/** Kernel: a memory limit is rounded to pages; the largest page size in use is 64 KiB (arm64). */
const PAGE_BYTES = 65_536

/** Claims on quota and memory limit of every offline pod that asked for an amount. */
export function limitsClaims(
  snapshot: NodeSnapshot,
  pods: readonly ClassifiedPod[],
  config: Config,
  abstentions: Abstention[],
): Claim[] {
  if (!config.limits.enabled) return []
  const claims: Claim[] = []
  const { cpuUnitMilli: unitMilli, memoryUnitBytes: unitBytes } = config.resources
  for (const pod of pods) {
    const { reading, qosClass, askedMilli, askedBytes } = pod
    if (!isOffline(qosClass) || !reading.present) continue
    const { group } = reading
    if (askedMilli > 0) {
      const because = { code: 'limits.quota', qosClass, units: askedMilli / unitMilli, unitMilli } as const
      claims.push({ group, kind: 'quota', value: quotaOf(askedMilli), rule: 'limits', because })
    }
    if (askedBytes <= 0 || !snapshot.capabilities.knobs.memoryMax.usable) continue
    const value = Math.max(1, Math.floor(askedBytes / PAGE_BYTES)) * PAGE_BYTES
    // How much a pod uses is known some time after it, or the agent, has started: until then no new limit is set.
    if (!isFresh(snapshot, pod, config) && !isInForce(snapshot, pod, value)) continue
    if (wouldKill(snapshot, pod, value)) {
      const usesBytes = reading.use?.value.workingSetBytes ?? 0
      abstentions.push({ code: 'wouldKill', rule: 'limits', pod: podKey(reading.spec), usesBytes, limitBytes: value })
      continue
    }
    const because = { code: 'limits.memory', qosClass, units: askedBytes / unitBytes, unitBytes } as const
    claims.push({ group, kind: 'memoryMax', value, rule: 'limits', because })
  }
  return claims
}

/**
 * Kernel: lowering memory.max below what can't be reclaimed invokes the OOM killer, and lowering the v1 limit stalls the writer. A limit
 * that is in force already is kept, whatever the pod uses.
 */
function wouldKill(snapshot: NodeSnapshot, pod: ClassifiedPod, limitBytes: number): boolean {
  if (isInForce(snapshot, pod, limitBytes)) return false
  return (pod.reading.use?.value.workingSetBytes ?? 0) > limitBytes
}

/** Whether the working set was read within the last calm tick; what is older says little of a pod that grows. */
function isFresh(snapshot: NodeSnapshot, { reading }: ClassifiedPod, config: Config): boolean {
  return reading.use !== undefined && snapshot.nowMs - reading.use.value.workingSetAtMs < config.loop.calmMs
}

function isInForce(snapshot: NodeSnapshot, pod: ClassifiedPod, limitBytes: number): boolean {
  const now = snapshot.actual.get(pod.reading.group, 'memoryMax')?.value
  return typeof now === 'number' && now <= limitBytes
}
