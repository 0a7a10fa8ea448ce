/**
 * The pods and classes of the last tick as rows: what `top` and the status page list. One line of reason for each pod, the one that matters
 * most now; `explain pod` has all of them. Made when somebody asks for it, since it costs some µs for each pod.
 */
import type {
  AllowanceBound,
  ClassifiedPod,
  GroupPath,
  IdentityBackend,
  KnobKind,
  KnobValue,
  PodSpec,
  QosClass,
  TickRecord,
} from '../../model/index.ts'
import { CpuSet } from '../../cpu/index.ts'
import {
  findingText,
  formatMilliCpu,
  formatPermyriad,
  hasEnded,
  isOffline,
  isQuota,
  milliCpuFormat,
  podKey,
  QOS_CLASSES,
  quotaMilliCpu,
  regulatesCpu,
} from '../../model/index.ts'
import { type ClassSum, sumClasses } from '../classes.ts'
import { classCpus, cpusInForce } from '../cpus-in-force.ts'
import { renderClassBecause } from '../render.ts'

export interface PodStatus {
  /** `namespace/name`. */
  readonly pod: string
  readonly uid: string
  readonly qosClass: QosClass
  readonly phase: PodSpec['phase']
  /** Whether the kubelet has made the pod's group. */
  readonly present: boolean
  /** The following four are undefined until the pod has been measured; `ageMs` is the age of the reading. */
  readonly usedMilli?: number
  readonly workingSetBytes?: number
  readonly throttledPermyriad?: number
  readonly ageMs?: number
  /** Asked for of BE and OT resources, or requested; 0 for nothing. */
  readonly askedMilli: number
  readonly askedBytes: number
  /** The quota of its group, or what its containers are limited to together; undefined without a limit. */
  readonly limitMilli?: number
  readonly memoryLimitBytes?: number
  /** A CPU list; undefined while it may run on all CPUs of its parent. */
  readonly cpus?: string
  /** Weight in the scale of the node's cgroup version: cpu.shares or cpu.weight. */
  readonly weight?: number
  readonly frozen: boolean
  /** What holds it back now, else what is odd about it, else why it is of its class. */
  readonly why: string
  /** How much `why` matters: `squeezed` for a pod that gets less than it asked for, stands still or is to go. */
  readonly state: 'squeezed' | 'odd' | 'fine'
}

export interface ClassStatus extends ClassSum {
  readonly qosClass: QosClass
  /** The CPUs that its pods together may use now. */
  readonly cpus: string
  /** What tells it apart from other classes. */
  readonly identity: IdentityBackend | 'none'
  /** What its pods together may use, or might if the agent wrote; undefined where nothing holds them. OT's is part of BE's. */
  readonly allowedMilli?: number
}

/** CPU of the node against its watermark, in numbers. */
export interface AllowanceStatus {
  readonly capacityMilli: number
  readonly watermarkMilli: number
  readonly nodeMilli: number
  /** Peak over the dwell time of what online services and the system use. */
  readonly onlineMilli: number
  readonly offlineMilli: number
  /** For BE and OT together, as decided. */
  readonly allowanceMilli: number
  readonly otAllowanceMilli: number
  readonly bound: AllowanceBound
  /** The quota of the group of all offline pods as the kernel holds it; undefined without one. */
  readonly quotaMilli?: number
  /** Age of the CPU readings. */
  readonly ageMs: number
}

/** Every pod, in the order of the classes and then by name. */
export function podStatuses(record: TickRecord, nowMs: number): readonly PodStatus[] {
  const rank = new Map(QOS_CLASSES.map((qosClass, index) => [qosClass, index]))
  return record.decision.pods
    .map((pod) => podStatus(pod, record, nowMs))
    .sort((a, b) => (rank.get(a.qosClass) ?? 0) - (rank.get(b.qosClass) ?? 0) || compareText(a.pod, b.pod))
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : Number(a > b)
}

function podStatus(pod: ClassifiedPod, record: TickRecord, nowMs: number): PodStatus {
  const { spec, group, present, use } = pod.reading
  const offline = isOffline(pod.qosClass)
  const held = (kind: KnobKind): KnobValue | undefined =>
    record.snapshot.actual.get(group, kind)?.value ?? wantedOf(record, group, kind)
  const quota = held('quota')
  const limitMilli = isQuota(quota) ? (quota.quotaUs === null ? undefined : quotaMilliCpu(quota)) : limitOf(spec)
  const memoryMax = held('memoryMax')
  const cpus = held('cpuset')
  const weight = held('weight')
  return {
    pod: podKey(spec),
    uid: spec.uid,
    qosClass: pod.qosClass,
    phase: spec.phase,
    present,
    ...(use === undefined
      ? {}
      : {
          usedMilli: Math.round(use.value.cpuMilli),
          workingSetBytes: use.value.workingSetBytes,
          throttledPermyriad: use.value.throttledPermyriad,
          ageMs: Math.max(0, nowMs - use.atMs),
        }),
    askedMilli: offline ? pod.askedMilli : spec.requests.cpuMilli,
    askedBytes: offline ? pod.askedBytes : spec.requests.memoryBytes,
    ...(limitMilli === undefined ? {} : { limitMilli: Math.round(limitMilli) }),
    ...(typeof memoryMax === 'number' ? { memoryLimitBytes: memoryMax } : {}),
    ...(cpus instanceof CpuSet && !cpus.isEmpty ? { cpus: cpus.toString() } : {}),
    ...(typeof weight === 'number' ? { weight } : {}),
    frozen: held('freeze') === 1,
    ...reasonOf(pod, record, { limitMilli, frozen: held('freeze') === 1 }),
  }
}

/** What is about to be written to a knob that has not been read yet; undefined where nothing is written, or this kernel has no such knob. */
function wantedOf({ mode, snapshot, decision }: TickRecord, group: GroupPath, kind: KnobKind): KnobValue | undefined {
  if (mode !== 'enforce' || !snapshot.capabilities.knobs[kind].usable) return undefined
  return decision.desired.get(group, kind)?.setting.value
}

/** What all containers that run beside each other are limited to; undefined as soon as one of them is not. */
function limitOf({ containers }: PodSpec): number | undefined {
  let sum = 0
  for (const { kind, cpuLimitMilli } of containers) {
    if (kind === 'init') continue
    if (cpuLimitMilli === undefined) return undefined
    sum += cpuLimitMilli
  }
  return containers.length === 0 ? undefined : sum
}

interface Held {
  readonly limitMilli: number | undefined
  readonly frozen: boolean
}

function reasonOf(pod: ClassifiedPod, record: TickRecord, held: Held): Pick<PodStatus, 'why' | 'state'> {
  const { decision } = record
  const { spec, use } = pod.reading
  const wish = decision.evictions.find(({ uid }) => uid === spec.uid)
  if (wish !== undefined)
    return { why: `${wish.dryRun ? 'would be' : 'chosen to be'} evicted (rung ${wish.rung})`, state: 'squeezed' }
  if (held.frozen) return { why: 'frozen: its tasks stand still', state: 'squeezed' }
  const squeeze = squeezeOf(pod, record, held)
  if (squeeze !== undefined) return { why: squeeze, state: 'squeezed' }
  const finding = decision.findings.find(({ uid }) => uid === spec.uid)
  if (finding !== undefined) return { why: findingText(finding).reason, state: 'odd' }
  if (hasEnded(spec)) return { why: 'it has ended', state: 'fine' }
  const throttled = use?.value.throttledPermyriad ?? 0
  if (throttled >= NOTABLE_THROTTLING_PERMYRIAD)
    return { why: `its own limit throttles it in ${formatPermyriad(throttled)} of periods`, state: 'odd' }
  return { why: renderClassBecause(pod.because), state: 'fine' }
}

/** Some throttling is the normal life of a pod with a limit. */
const NOTABLE_THROTTLING_PERMYRIAD = 1000

/** Why an offline pod may get less CPU than it asked for. */
function squeezeOf(pod: ClassifiedPod, record: TickRecord, { limitMilli }: Held): string | undefined {
  const suppression = regulatesCpu(record.decision) ? record.decision.suppression : undefined
  const { use, present, spec } = pod.reading
  if (suppression === undefined || !isOffline(pod.qosClass) || !present || hasEnded(spec)) return undefined
  const { allowanceMilli, bound, inputs } = suppression
  const because = BOUND_TEXTS[bound]
  const rootMilli = rootQuotaMilli(record)
  if (limitMilli !== undefined && limitMilli < pod.askedMilli) {
    const amount = milliCpuFormat([limitMilli, pod.askedMilli])
    const amounts = `${amount(limitMilli)} of ${amount(pod.askedMilli)} asked`
    return `${amounts}: ${isSuppressed(pod, record, { limitMilli, rootMilli }) ? because : 'not by suppression, explain tells more'}`
  }
  // Its own limit stands, and what all offline pods may use together does not suffice, unless it is one that has all it asked for.
  if (record.mode !== 'enforce' || rootMilli === undefined || inputs.offlineMilli < allowanceMilli * ALMOST) return undefined
  if (pod.askedMilli > 0 && (use?.value.cpuMilli ?? 0) >= pod.askedMilli * ALMOST) return undefined
  return `all offline pods share ${formatMilliCpu(allowanceMilli)}: ${because}`
}

/** Whether it is suppression that a pod's quota is from. Kernel: under v1 a quota is no larger than that of the group above it. */
function isSuppressed(
  { reading: { group } }: ClassifiedPod,
  { mode, decision }: TickRecord,
  { limitMilli, rootMilli = Infinity }: { readonly limitMilli: number; readonly rootMilli: number | undefined },
): boolean {
  if (mode !== 'enforce') return false
  return decision.desired.get(group, 'quota')?.winner.rule === 'suppressCpu' || limitMilli >= rootMilli
}

/** The quota of the group of all offline pods as the kernel holds it; undefined without one. */
function rootQuotaMilli({ snapshot: { actual, bestEffort } }: TickRecord): number | undefined {
  const quota = actual.get(bestEffort.group, 'quota')?.value
  return isQuota(quota) && quota.quotaUs !== null ? quotaMilliCpu(quota) : undefined
}

/** Use above this share of a quota is at the quota: a window of use and a period of the quota never begin together. */
const ALMOST = 0.9

/** What bounds the allowance, in a few words. */
const BOUND_TEXTS: Readonly<Record<AllowanceBound, string>> = {
  watermark: 'online work and the watermark leave no more',
  growth: 'growing back in steps',
  dwell: 'may grow once the dwell time is over',
  deadBand: 'kept, the change is too small to write',
  unused: 'kept, less than half of it is used',
  floor: 'at the floor, online work needs the rest',
  cpuset: 'all that the best-effort CPUs can give',
  stale: 'CPU readings are missing or old',
  pressure: 'cut, online work waits for CPU',
  pressureHold: 'does not grow while online work waits for CPU',
}

/** Every class, also those without pods. */
export function classStatuses({ decision }: TickRecord): readonly ClassStatus[] {
  const inForce = cpusInForce(decision)
  const sums = sumClasses(decision.pods)
  const { suppression, identity } = decision
  const allowed: Readonly<Partial<Record<QosClass, number>>> =
    suppression === undefined || !regulatesCpu(decision)
      ? {}
      : { BE: suppression.allowanceMilli, OT: suppression.otAllowanceMilli }
  return QOS_CLASSES.map((qosClass) => {
    const allowedMilli = allowed[qosClass]
    return {
      qosClass,
      ...sums[qosClass],
      cpus: classCpus(qosClass, decision, inForce).toString(),
      identity: identity?.backends[qosClass] ?? 'none',
      ...(allowedMilli === undefined ? {} : { allowedMilli }),
    }
  })
}

/** Undefined while suppression is off or has no reading. */
export function allowanceStatus(record: TickRecord, nowMs: number): AllowanceStatus | undefined {
  const { decision, snapshot } = record
  const { suppression } = decision
  if (suppression === undefined) return undefined
  const { capacityMilli, watermarkMilli, nodeMilli, onlineMilli, offlineMilli } = suppression.inputs
  const quotaMilli = rootQuotaMilli(record)
  const readAtMs = snapshot.node.cpu?.atMs
  return {
    capacityMilli,
    watermarkMilli,
    nodeMilli,
    onlineMilli,
    offlineMilli,
    allowanceMilli: suppression.allowanceMilli,
    otAllowanceMilli: suppression.otAllowanceMilli,
    bound: suppression.bound,
    ...(quotaMilli === undefined ? {} : { quotaMilli: Math.round(quotaMilli) }),
    ageMs: readAtMs === undefined ? suppression.inputs.ageMs : Math.max(0, nowMs - readAtMs),
  }
}
