/**
 * Rule identity: who yields to whom inside the best-effort root. BE pods share it in proportion to what they asked for; OT pods yield
 * to them entirely, by cpu.idle where the kernel has it and by the least weight where it does not. Between that root and everything
 * else the weight that the kubelet gives it (the least) decides already.
 * Kernel: the scheduler compares siblings only (find_matching_se); cpu.idle needs 5.15, and refuses weight writes while it is 1.
 */
import type { Config } from '../config/types.ts'
import type { Because, Claim, ClassifiedPod, Dialect, NodeSnapshot } from '../model/index.ts'

const LEAST_WEIGHT: Readonly<Record<Dialect, number>> = { v1: 2, v2: 1 }
/** Kernel: cpu.shares lies in 2…262144. */
const MAX_SHARES = 262_144

/**
 * The weight for an amount of CPU in the dialect's own scale: 1024 shares a CPU under v1, and under v2 the kubelet's linear
 * conversion `1 + (shares − 2) × 9999 / 262142` (pkg/kubelet/cm, 1.36).
 */
export function weightFor(askedMilli: number, dialect: Dialect): number {
  const shares = Math.min(MAX_SHARES, Math.max(LEAST_WEIGHT.v1, Math.floor((askedMilli * 1024) / 1000)))
  return dialect === 'v1' ? shares : Math.floor(1 + ((shares - 2) * 9999) / 262_142)
}

/** Claims on weight and idle of every offline pod. A BE pod that asked for no CPU gets the least weight: what other BE pods leave. */
export function identityClaims(snapshot: NodeSnapshot, pods: readonly ClassifiedPod[], config: Config): Claim[] {
  if (!config.identity.enabled) return []
  const claims: Claim[] = []
  const { dialect, knobs } = snapshot.capabilities
  for (const { reading, qosClass, askedMilli } of pods) {
    if (!reading.present) continue
    const { group } = reading
    if (qosClass === 'BE') {
      const value = weightFor(askedMilli, dialect)
      const because: Because =
        askedMilli > 0 ? { code: 'identity.weight', qosClass, askedMilli } : { code: 'identity.unasked', qosClass }
      claims.push({ group, kind: 'weight', value, rule: 'identity', because })
    } else if (qosClass === 'OT' && knobs.idle.usable) {
      claims.push({ group, kind: 'idle', value: 1, rule: 'identity', because: { code: 'identity.idle', qosClass } })
    } else if (qosClass === 'OT') {
      const missing = knobs.idle.usable ? '' : knobs.idle.reason
      claims.push({
        group,
        kind: 'weight',
        value: LEAST_WEIGHT[dialect],
        rule: 'identity',
        because: { code: 'identity.least', qosClass, missing },
      })
    }
  }
  return claims
}
