/**
 * Ticks made by hand for the tests of record/ and serve/: a small v1 node with an online, a BE and an OT pod, hot enough that the
 * allowance is below what the pods ask for. Every part can be replaced, so that a test shows just what it is about.
 */
import { buildTopology, CpuSet } from '../../../src/cpu/index.ts'
import type {
  Abstention,
  Capabilities,
  Claim,
  ClassifiedPod,
  Decision,
  EvictionRecord,
  EvictionsView,
  EvictionWish,
  IdentityState,
  IoState,
  JournaledKnob,
  KnobKind,
  KnobValue,
  MemoryState,
  NodeSignals,
  NodeSnapshot,
  Observed,
  Offer,
  Outcome,
  PlacementState,
  Plan,
  PodFinding,
  PodSpec,
  QosClass,
  Reading,
  Resolved,
  ResourceState,
  Step,
  SuppressionInputs,
  SuppressionState,
  TickRecord,
} from '../../../src/model/index.ts'
import { APPLIED, bytes, KNOB_KINDS, KnobTable, micros, milliCpu, NO_EVICTIONS, quotaOf } from '../../../src/model/index.ts'
import { createLogger, type Logger, Recorder } from '../../../src/record/index.ts'
import { TOPOLOGIES } from '../../support/topologies.ts'

export const ROOT = '/kubepods/besteffort'
export const GIB = 1024 ** 3
const STARTED_WALL_MS = Date.UTC(2026, 10, 21, 3, 0, 0)
export const STARTED_MS = 1000

export const INPUTS: SuppressionInputs = {
  capacityMilli: 8000,
  watermarkPermyriad: 6500,
  watermarkMilli: 5200,
  nodeMilli: 5900,
  offlineMilli: 1500,
  onlineMilli: 4400,
  marginMilli: 200,
  floorMilli: 160,
  ageMs: 40,
}

export const SUPPRESSION: SuppressionState = {
  inputs: INPUTS,
  bound: 'watermark',
  allowanceMilli: 600,
  otAllowanceMilli: 80,
  beDemandMilli: 1200,
  hot: true,
  steadiness: { turns: 0, dwellMs: 1000, swings: false },
  ladder: { inForce: [] },
}

/** Memory is short: two rungs up, and the third waits. */
export const MEMORY: MemoryState = {
  totalBytes: 16 * GIB,
  availableBytes: 1.5 * GIB,
  availablePermyriad: 937,
  pressurePermyriad: 350,
  workingSetBytes: { BE: 3 * GIB, OT: 1.2 * GIB },
  ladder: {
    inForce: ['memoryHold', 'memoryHighOt'],
    changedMs: 8000,
    waiting: { rung: 'memoryHighBe', for: 'coolDown' },
  },
  ageMs: 400,
}

export const IO: IoState = { sharePermyriad: 2500, is: 'cut', pressurePermyriad: 3120, missingDevices: [] }

export const WISH: EvictionWish = {
  uid: 'uid-train',
  namespace: 'default',
  name: 'train',
  qosClass: 'OT',
  rung: 'memoryEvictOt',
  dryRun: false,
  usesMilli: 700,
  usesBytes: 1.2 * GIB,
  priority: -5,
}

export const BLOCKED: EvictionRecord = {
  wish: WISH,
  is: 'blocked',
  atMs: 9000,
  detail: 'the disruption budget train needs 3 healthy pods and has 3 currently',
}

export const SIGNALS: NodeSignals = {
  hot: true,
  reason: 'CpuAboveWatermark',
  cpuUsedPermyriad: 7375,
  memoryUsedPermyriad: 6250,
  headroomMilli: 0,
  headroomBytes: 4.4 * GIB,
  score: 0,
}

export const FINDING: PodFinding = {
  namespace: 'default',
  name: 'flink',
  uid: 'uid-flink',
  code: 'halfAsked',
  has: 'kube-agent.io/be-cpu',
  lacks: 'kube-agent.io/be-memory',
}

const LACKING: Readonly<Partial<Record<KnobKind, string>>> = {
  bvt: 'no cpu.bvt_warp_ns here: kernels of Anolis and Alibaba have it',
  coreCookie: 'not asked for at the start (identity.coreScheduling)',
  qosLevel: 'no cpu.qos_level here: kernels of openEuler have it',
  offline: 'no cpu.offline here: kernels of TencentOS have it',
  btShares: 'no cpu.bt_shares here: kernels of TencentOS have it',
  memoryMin: 'cgroup v1 has no memory.min',
}

export const IDENTITY: IdentityState = {
  backends: { LSX: 'none', LSR: 'none', LS: 'none', BE: 'weight', OT: 'idle', SYSTEM: 'none', UNTAGGED: 'none' },
  passedOver: (['bvt', 'qosLevel', 'offline'] as const).map((backend) => ({
    backend,
    reason: LACKING[backend] ?? '',
    lacking: true,
  })),
  rootIdle: false,
  raisesOnline: true,
}

const CAPABILITIES: Capabilities = {
  dialect: 'v1',
  driver: 'cgroupfs',
  knobs: Object.fromEntries(
    KNOB_KINDS.map((kind) => [
      kind,
      LACKING[kind] === undefined ? { usable: true, file: `cpu.${kind}` } : { usable: false, reason: LACKING[kind] },
    ]),
  ) as Capabilities['knobs'],
  nestedIo: false,
  nestedQuota: true,
  nestedCpuset: true,
  kernelRelease: '5.10.134',
}

export function reading<T>(value: T, atMs: number, source = '/sys/fs/cgroup/x'): Reading<T> {
  return { value, atMs, source }
}

function spec(name: string, over: Partial<PodSpec> = {}): PodSpec {
  return {
    uid: `uid-${name}`,
    namespace: 'default',
    name,
    labels: {},
    kubeletQos: 'BestEffort',
    requests: { cpuMilli: milliCpu(0), memoryBytes: bytes(0) },
    extended: {},
    phase: 'Running',
    containers: [{ name: 'main', kind: 'main', extended: {}, id: 'containerd://c1' }],
    origin: `/pods/${name}.yaml`,
    ...over,
  }
}

export function pod(name: string, qosClass: QosClass, over: Partial<ClassifiedPod> = {}): ClassifiedPod {
  const offline = qosClass === 'BE' || qosClass === 'OT'
  const group = offline ? `${ROOT}/poduid-${name}` : `/kubepods/burstable/poduid-${name}`
  return {
    reading: {
      spec: spec(name, offline ? {} : { kubeletQos: 'Burstable' }),
      group,
      childGroups: [`${group}/c1`],
      present: true,
      use: reading(
        { cpuMilli: milliCpu(700), workingSetBytes: bytes(GIB), workingSetAtMs: 9_000, throttledPermyriad: 250 },
        9_000,
        group,
      ),
    },
    qosClass,
    because: offline
      ? { by: 'label', key: 'kube-agent.io/qos-class', value: qosClass }
      : { by: 'kubeletQos', kubeletQos: 'Burstable' },
    askedMilli: offline ? 2000 : 0,
    askedBytes: offline ? 2 * GIB : 0,
    ...over,
  }
}

export const WEB = pod('web', 'LS')
export const FLINK = pod('flink', 'BE')
export const TRAIN = pod('train', 'OT')

export const OFFER: Offer = {
  resource: 'be-cpu',
  units: 12,
  because: {
    amount: 1250,
    unitSize: 100,
    allocatedUnits: 4,
    terms: { reclaimMilli: 5200, onlinePeakMilli: 3950, bestEffortMilli: 8000 },
    bound: 'formula',
  },
}

export const MEMORY_OFFER: Offer = {
  resource: 'be-memory',
  units: 8,
  because: {
    amount: 4.2 * GIB,
    unitSize: GIB / 2,
    allocatedUnits: 4,
    terms: { reclaimBytes: 10 * GIB, onlinePeakBytes: 5.8 * GIB },
    bound: 'formula',
  },
}

export const REGISTERED: ResourceState = {
  resource: 'be-cpu',
  fullName: 'kube-agent.io/be-cpu',
  registered: true,
  openStreams: 1,
  registrations: 1,
  pushes: 2,
  endedUnits: 0,
  advertisedUnits: 12,
  allocatedUnits: 4,
}

const ROOT_CLAIM: Claim = {
  group: ROOT,
  kind: 'quota',
  value: quotaOf(600),
  rule: 'suppressCpu',
  because: { code: 'suppress.root', bound: 'watermark', inputs: INPUTS, untaggedMilli: 0 },
}
const OT_CLAIM: Claim = {
  group: TRAIN.reading.group,
  kind: 'quota',
  value: quotaOf(80),
  rule: 'suppressCpu',
  because: { code: 'suppress.ot', bound: 'watermark', allowanceMilli: 600, beDemandMilli: 1200, otAllowanceMilli: 80 },
}
const OT_LIMIT: Claim = {
  group: TRAIN.reading.group,
  kind: 'quota',
  value: quotaOf(2000),
  rule: 'limits',
  because: { code: 'limits.quota', qosClass: 'OT', units: 20, unitMilli: 100 },
}
export const BE_LIMIT: Claim = {
  group: FLINK.reading.group,
  kind: 'quota',
  value: quotaOf(2000),
  rule: 'limits',
  because: { code: 'limits.quota', qosClass: 'BE', units: 20, unitMilli: 100 },
}
const BE_CPUS: Claim = {
  group: FLINK.reading.group,
  kind: 'cpuset',
  value: CpuSet.parse('2-3,6-7'),
  rule: 'placement',
  because: { code: 'placement.besteffort', qosClass: 'BE', dedicated: '3,7', shared: '2,6' },
}

export function tableOf<T>(...entries: readonly (readonly [string, KnobKind, T])[]): KnobTable<T> {
  const table = new KnobTable<T>()
  for (const [group, kind, entry] of entries) table.set(group, kind, entry)
  return table
}

const resolved = (winner: Claim, losers: readonly Claim[] = []): Resolved => ({ setting: winner, winner, losers })

export const ROOT_STEP: Step = {
  group: ROOT,
  kind: 'quota',
  value: quotaOf(600),
  from: { quotaUs: null, periodUs: micros(100_000) },
  phase: 'narrow',
  because: { code: 'claim', rule: 'suppressCpu', because: ROOT_CLAIM.because },
}

export const CPUS_STEP: Step = {
  group: FLINK.reading.group,
  kind: 'cpuset',
  value: CpuSet.parse('2-3,6-7'),
  from: CpuSet.parse('0-7'),
  phase: 'narrow',
  because: { code: 'claim', rule: 'placement', because: BE_CPUS.because },
}

export interface TickParts {
  readonly seq?: number
  readonly nowMs?: number
  readonly pace?: 'calm' | 'hot'
  readonly mode?: TickRecord['mode']
  readonly pods?: readonly ClassifiedPod[]
  readonly problems?: readonly string[]
  readonly offers?: readonly Offer[]
  readonly observed?: Observed
  readonly abstentions?: readonly Abstention[]
  /** Null for none. */
  readonly suppression?: SuppressionState | null
  /** None unless said otherwise. */
  readonly signals?: NodeSignals
  readonly findings?: readonly PodFinding[]
  readonly node?: NodeSnapshot['node']
  readonly plan?: Plan
  /** One for each step of the plan, in its order. */
  readonly outcomes?: readonly Outcome[]
  readonly tookMs?: number
  readonly placement?: Partial<PlacementState>
  readonly memory?: MemoryState
  readonly io?: IoState
  readonly wishes?: readonly EvictionWish[]
  readonly evictions?: Partial<EvictionsView>
  readonly online?: NodeSnapshot['online']
  readonly aboveSinceMs?: number
  /** Beside those of every tick. */
  readonly claims?: readonly (readonly [winner: Claim, ...losers: Claim[]])[]
  /** What kernel files hold, beside those of every tick. */
  readonly actual?: readonly (readonly [group: string, kind: KnobKind, value: KnobValue])[]
}

const DEFAULT_PODS = [WEB, FLINK, TRAIN]

/** A finished tick, 10 s after the start unless said otherwise. */
export function tick(parts: TickParts = {}): TickRecord {
  const { seq = 1, nowMs = 11_000, plan = [], outcomes = [] } = parts
  return {
    mode: parts.mode ?? 'enforce',
    snapshot: snapshotOf(parts, seq, nowMs),
    decision: decisionOf(parts),
    plan,
    results: plan.flatMap((step, index) => {
      const outcome = outcomes[index]
      return outcome === undefined ? [] : [{ step, outcome }]
    }),
    journaled: tableOf<JournaledKnob>([
      ROOT,
      'quota',
      { original: { quotaUs: null, periodUs: micros(100_000) }, ours: [quotaOf(600)] },
    ]),
    tookMs: parts.tookMs ?? 1.5,
    lateMs: 0.4,
    ...(parts.aboveSinceMs === undefined ? {} : { aboveSinceMs: parts.aboveSinceMs }),
  }
}

function snapshotOf(parts: TickParts, seq: number, nowMs: number): NodeSnapshot {
  return {
    seq,
    nowMs,
    wallMs: STARTED_WALL_MS + nowMs - STARTED_MS,
    pace: parts.pace ?? 'calm',
    layout: { root: '/', driver: 'cgroupfs' },
    topology: buildTopology(TOPOLOGIES.desktop),
    capabilities: CAPABILITIES,
    node: parts.node ?? {
      cpu: reading({ usedMilli: 5900, windowMs: 100 }, nowMs - 40, '/proc/stat'),
      memory: reading({ totalBytes: 16 * GIB, availableBytes: 6 * GIB }, nowMs, '/proc/meminfo'),
      cpuPressure: reading({ someUsPerSecond: 20_000 }, nowMs, '/proc/pressure/cpu'),
    },
    bestEffort: { group: ROOT, cpu: reading({ usedMilli: 1500, windowMs: 100 }, nowMs - 40, ROOT) },
    pods: {
      pods: (parts.pods ?? DEFAULT_PODS).map((each) => each.reading),
      atMs: nowMs - 500,
      everRead: true,
      source: '/pods',
      problems: parts.problems ?? [],
    },
    unlistedGroups: [],
    actual: tableOf<Reading<KnobValue>>(
      [ROOT, 'quota', reading(quotaOf(600), nowMs - 20, `${ROOT}/cpu.cfs_quota_us`)],
      [FLINK.reading.group, 'quota', reading(quotaOf(600), nowMs - 900)],
      [FLINK.reading.group, 'cpuset', reading(CpuSet.parse('0-7'), nowMs - 900)],
      [TRAIN.reading.group, 'quota', reading(quotaOf(80), nowMs - 900)],
      ...(parts.actual ?? []).map(([group, kind, value]) => [group, kind, reading(value, nowMs - 900)] as const),
    ),
    inFlightUnits: {},
    online: parts.online ?? {},
    devices: new Map(),
    evictions: evictionsOf(parts),
    ownGroups: [],
  }
}

/** Possible, unless nothing is said of evictions or they are said to be impossible. */
function evictionsOf({ evictions }: TickParts): EvictionsView {
  if (evictions === undefined) return NO_EVICTIONS
  return { recent: [], ...evictions, counts: { ...NO_EVICTIONS.counts, ...evictions.counts } }
}

function decisionOf(parts: TickParts): Decision {
  const { suppression = SUPPRESSION } = parts
  return {
    desired: tableOf<Resolved>(
      [ROOT, 'quota', resolved(ROOT_CLAIM)],
      [FLINK.reading.group, 'quota', resolved(BE_LIMIT)],
      [FLINK.reading.group, 'cpuset', resolved(BE_CPUS)],
      [TRAIN.reading.group, 'quota', resolved(OT_CLAIM, [OT_LIMIT])],
      ...(parts.claims ?? []).map(([winner, ...losers]) => [winner.group, winner.kind, resolved(winner, losers)] as const),
    ),
    pods: parts.pods ?? DEFAULT_PODS,
    offers: parts.offers ?? [OFFER, MEMORY_OFFER],
    ...(parts.observed === undefined ? {} : { observed: parts.observed }),
    evictions: parts.wishes ?? [],
    ...(parts.memory === undefined ? {} : { memory: parts.memory }),
    ...(parts.io === undefined ? {} : { io: parts.io }),
    placement: {
      reserved: CpuSet.parse('0,4'),
      pool: CpuSet.parse('1-2,5-6'),
      dedicated: CpuSet.parse('3,7'),
      bestEffort: CpuSet.parse('2-3,6-7'),
      exclusive: [],
      pinned: [],
      unpinned: CpuSet.parse('2-3,6-7'),
      ...parts.placement,
    },
    ...(suppression === null ? {} : { suppression }),
    ...(parts.signals === undefined ? {} : { signals: parts.signals }),
    identity: IDENTITY,
    findings: parts.findings ?? [],
    abstentions: parts.abstentions ?? [],
    complete: true,
  }
}

/** A tick whose two steps were written. */
export function writingTick(parts: TickParts = {}): TickRecord {
  return tick({ plan: [ROOT_STEP, CPUS_STEP], outcomes: [APPLIED, APPLIED], ...parts })
}

export type LogLine = Readonly<Record<string, unknown>>

/** A logger and the lines it has written, parsed. */
export function capturedLogger(level: Parameters<typeof createLogger>[0] = 'info'): { logger: Logger; lines: LogLine[] } {
  const lines: LogLine[] = []
  const logger = createLogger(level, { write: (line) => void lines.push(JSON.parse(line) as LogLine) })
  return { logger, lines }
}

export function recorder(logger: Logger = capturedLogger().logger, maxDecisions = 64): Recorder {
  return new Recorder({
    version: '0.1.0',
    nodeName: 'node-a',
    logger,
    maxDecisions,
    startedWallMs: STARTED_WALL_MS,
    startedMs: STARTED_MS,
  })
}
