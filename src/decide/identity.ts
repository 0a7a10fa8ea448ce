/**
 * Rule identity: who yields to whom. One backend for the node, the best that its kernel has and that nothing speaks against
 * (identity-hazards.ts), gives each class its value; weights share among BE pods what is theirs, in proportion to what they asked for.
 *   bvt, qosLevel, offline   all offline pods yield to all online ones
 *   idle                     OT yields to BE entirely; between their root and the rest the least weight that the kubelet gives it decides
 *   weight                   OT gets the least weight there is
 * An online pod may live below the best-effort root too (untagged, a daemon without requests). The kubelet gives it the least weight, so beside
 * what BE pods get it would starve: it gets the highest there is, for as long as an offline pod is there.
 * Kernel: siblings are compared (find_matching_se), so bvt stands on the QoS roots as well; cpu.idle refuses weight writes while it is 1.
 */
import type { Config } from '../config/types.ts'
import type { CpuTopology } from '../cpu/index.ts'
import type {
  Because,
  Capabilities,
  Claim,
  ClassifiedPod,
  Dialect,
  GroupPath,
  IdentityBackend,
  IdentityState,
  NodeSnapshot,
  OfflineClass,
  PassedOver,
  QosClass,
} from '../model/index.ts'
import { IDENTITY_BACKENDS, isOffline, QOS_CLASSES, qosRoot } from '../model/index.ts'
import { runsBesideOffline } from './classify.ts'
import { hazardOf } from './identity-hazards.ts'
import { HIGHEST_WEIGHT } from './own.ts'

type Flag = Exclude<IdentityBackend, 'weight'>

const LEAST_WEIGHT: Readonly<Record<Dialect, number>> = { v1: 2, v2: 1 }

/** What each class gets on each backend. 0 is what every group has, and is not claimed. */
const VALUES: Readonly<Record<Flag, Readonly<Record<QosClass, number>>>> = {
  bvt: { LSX: 2, LSR: 2, LS: 2, SYSTEM: 0, UNTAGGED: 0, BE: -1, OT: -1 },
  qosLevel: { LSX: 0, LSR: 0, LS: 0, SYSTEM: 0, UNTAGGED: 0, BE: -1, OT: -1 },
  offline: { LSX: 0, LSR: 0, LS: 0, SYSTEM: 0, UNTAGGED: 0, BE: 1, OT: 1 },
  // BE pods share by weight, which a group that is idle has not.
  idle: { LSX: 0, LSR: 0, LS: 0, SYSTEM: 0, UNTAGGED: 0, BE: 0, OT: 1 },
}

/**
 * The weight for an amount of CPU in the dialect's own scale: 1024 shares a CPU under v1, and under v2 the kubelet's linear
 * conversion `1 + (shares − 2) × 9999 / 262142` (pkg/kubelet/cm, 1.36).
 */
export function weightFor(askedMilli: number, dialect: Dialect): number {
  const shares = Math.min(HIGHEST_WEIGHT.v1, Math.max(LEAST_WEIGHT.v1, Math.floor((askedMilli * 1024) / 1000)))
  return dialect === 'v1' ? shares : Math.floor(1 + ((shares - 2) * 9999) / 262_142)
}

/** Which backend each class gets on this node, and what was passed over for it. */
export function identityState(capabilities: Capabilities, config: Config, { smt }: Pick<CpuTopology, 'smt'>): IdentityState {
  const { enabled, backend: wanted, coreScheduling, rootIdle } = config.identity
  const passedOver: PassedOver[] = []
  const chosen = enabled ? choose(wanted, capabilities, config, passedOver) : undefined
  const shares = chosen !== undefined && capabilities.knobs.weight.usable
  const backends = Object.fromEntries(
    QOS_CLASSES.map((qosClass) => {
      const isFlagged = chosen !== undefined && chosen !== 'weight' && VALUES[chosen][qosClass] !== 0
      return [qosClass, isFlagged ? chosen : shares && isOffline(qosClass) ? 'weight' : 'none']
    }),
  ) as IdentityState['backends']
  return {
    backends,
    passedOver,
    rootIdle: rootIdle && chosen === 'idle',
    raisesOnline: shares,
    ...(coreScheduling ? { coreScheduling: coreSchedulingText(capabilities, smt) } : {}),
  }
}

/** The first backend that can be used. One that was asked for by name and can't be used gives way to weights, and is told of. */
function choose(
  wanted: Config['identity']['backend'],
  { knobs }: Capabilities,
  config: Config,
  passedOver: PassedOver[],
): IdentityBackend | undefined {
  if (wanted === 'none') return undefined
  const candidates = wanted === 'auto' ? IDENTITY_BACKENDS : [...new Set([wanted, 'weight'] as const)]
  return candidates.find((backend) => {
    const knob = knobs[backend]
    const reason = knob.usable ? hazardOf({ backend, on: 'pod', named: backend === wanted }, config) : knob.reason
    if (reason !== undefined) passedOver.push({ backend, reason, lacking: !knob.usable })
    return reason === undefined
  })
}

function coreSchedulingText({ knobs: { coreCookie } }: Capabilities, smt: boolean): string {
  if (!coreCookie.usable) return coreCookie.reason
  return smt ? 'BE and OT pods carry one cookie' : 'no core has more than one thread online, so nothing is to be kept apart'
}

/** Claims on what tells the classes apart, of every pod. A node without offline pods gets none: there is nobody to yield. */
export function identityClaims(
  snapshot: NodeSnapshot,
  pods: readonly ClassifiedPod[],
  state: IdentityState,
  config: Config,
): Claim[] {
  if (!pods.some(({ qosClass, reading }) => isOffline(qosClass) && reading.present)) return []
  const claims = rootClaims(snapshot, state, config)
  const { enabled, coreScheduling } = config.identity
  const tags = enabled && coreScheduling && snapshot.capabilities.knobs.coreCookie.usable && snapshot.topology.smt
  for (const pod of pods) {
    if (tags && pod.reading.present) claims.push(...cookieClaims(pod))
    if (state.raisesOnline && runsBesideOffline(pod)) claims.push(raiseClaim(snapshot, pod))
    const backend = state.backends[pod.qosClass]
    if (!pod.reading.present || backend === 'none') continue
    if (backend !== 'weight') claims.push(...flagClaims(pod, backend))
    if (isOffline(pod.qosClass) && backend !== 'idle') claims.push(...shareClaims(snapshot, pod, pod.qosClass, state))
  }
  return claims
}

/** Kernel: between the root of all offline pods and what is beside it, that root's own value counts, not those of its pods. */
function rootClaims({ bestEffort, layout }: NodeSnapshot, state: IdentityState, config: Config): Claim[] {
  const claim = (group: GroupPath, backend: 'bvt' | 'idle', value: number, holds: 'offline' | 'online'): Claim[] => {
    if (hazardOf({ backend, on: 'qosRoot', named: true }, config) !== undefined) return []
    return [{ group, kind: backend, value, rule: 'identity', because: { code: 'identity.root', backend, holds } }]
  }
  if (state.backends.BE === 'bvt') {
    return [
      ...claim(bestEffort.group, 'bvt', VALUES.bvt.BE, 'offline'),
      ...claim(qosRoot(layout, 'Burstable'), 'bvt', VALUES.bvt.LS, 'online'),
    ]
  }
  return state.rootIdle ? claim(bestEffort.group, 'idle', 1, 'offline') : []
}

/** Containers take bvt and idle from their pod by being below it; the vendors' other two are set group by group. */
function flagClaims({ reading, qosClass }: ClassifiedPod, backend: Flag): Claim[] {
  const value = VALUES[backend][qosClass]
  if (value === 0) return []
  const nested = backend === 'qosLevel' || backend === 'offline'
  const groups = nested ? [reading.group, ...reading.childGroups] : [reading.group]
  const because: Because =
    backend === 'idle' && isOffline(qosClass)
      ? { code: 'identity.idle', qosClass }
      : { code: 'identity.class', qosClass, backend: backend as Exclude<Flag, 'idle'> }
  return groups.map((group): Claim => ({ group, kind: backend, value, rule: 'identity', because }))
}

/** Online pods carry no cookie, so that none of them shares a core at the same time with one that does. */
function cookieClaims({ reading: { group }, qosClass }: ClassifiedPod): Claim[] {
  if (!isOffline(qosClass)) return []
  return [{ group, kind: 'coreCookie', value: 1, rule: 'identity', because: { code: 'identity.cookie', qosClass } }]
}

/** Kernel: siblings are compared by weight, so what goes before BE pods is settled here, and their quotas bound what is left to them. */
function raiseClaim({ capabilities: { dialect } }: NodeSnapshot, { reading: { group }, qosClass }: ClassifiedPod): Claim {
  return {
    group,
    kind: 'weight',
    value: HIGHEST_WEIGHT[dialect],
    rule: 'identity',
    because: { code: 'identity.raise', qosClass },
  }
}

/** How offline pods share among themselves. A BE pod that asked for no CPU gets the least: what other BE pods leave. */
function shareClaims(snapshot: NodeSnapshot, pod: ClassifiedPod, qosClass: OfflineClass, state: IdentityState): Claim[] {
  const { dialect, knobs } = snapshot.capabilities
  const { reading, askedMilli } = pod
  const inShares = state.backends[qosClass] === 'offline' && knobs.btShares.usable
  if (!inShares && !knobs.weight.usable) return []
  const scale = inShares ? 'v1' : dialect
  const missing = state.passedOver.find(({ backend }) => backend === 'idle')?.reason
  const because: Because =
    qosClass === 'OT'
      ? { code: 'identity.least', qosClass, ...(missing === undefined ? {} : { missing }) }
      : askedMilli > 0
        ? { code: 'identity.weight', qosClass, askedMilli }
        : { code: 'identity.unasked', qosClass }
  const value = qosClass === 'OT' ? LEAST_WEIGHT[scale] : weightFor(askedMilli, scale)
  return [{ group: reading.group, kind: inShares ? 'btShares' : 'weight', value, rule: 'identity', because }]
}
