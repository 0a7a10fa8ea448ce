/**
 * A NodeSnapshot from a literal that reads like a description of the node. Groups and readings follow from it: what a test does not say is
 * a calm node of 8 CPUs with fresh readings and no pods.
 */
import { buildTopology, type CpuTopology } from '../../src/cpu/index.ts'
import type {
  Capabilities,
  ContainerKind,
  Dialect,
  EvictionsView,
  GroupPath,
  KnobKind,
  KnobSetting,
  KnobValue,
  KubeletQos,
  NodeSnapshot,
  OfflineResource,
  PodReading,
  PodSpec,
  Reading,
} from '../../src/model/index.ts'
import { bytes, childGroup, KnobTable, milliCpu, NO_EVICTIONS, podGroup, qosRoot } from '../../src/model/index.ts'
import { ModelKernel } from '../../src/sim/index.ts'
import { TOPOLOGIES } from './topologies.ts'

export type TopologyName = keyof typeof TOPOLOGIES

const built = new Map<TopologyName, CpuTopology>()

/** A named machine, built once. */
export function topologyOf(name: TopologyName): CpuTopology {
  const known = built.get(name) ?? buildTopology(TOPOLOGIES[name])
  built.set(name, known)
  return known
}

export const LAYOUT = { root: '/', driver: 'cgroupfs' } as const
export const OFFLINE_ROOT: GroupPath = qosRoot(LAYOUT, 'BestEffort')

export interface PodLiteral {
  readonly uid: string
  readonly namespace?: string
  readonly labels?: Readonly<Record<string, string>>
  readonly qos?: KubeletQos
  /** Units of extended resources: `{ 'be-cpu': 10 }`. */
  readonly asks?: Readonly<Partial<Record<OfflineResource, number>>>
  /** Amounts as they were written that are no whole numbers: `{ 'be-cpu': '1500m' }`. */
  readonly fractions?: Readonly<Partial<Record<OfflineResource, string>>>
  readonly requestsMilli?: number
  readonly priorityClassName?: string
  readonly phase?: PodSpec['phase']
  readonly containers?: readonly string[]
  /** One container of each kind, `c0`, `c1`, …, each of which asks for everything; in place of `containers`. */
  readonly kinds?: readonly ContainerKind[]
  readonly objectUid?: string
  readonly present?: boolean
  /** Undefined for a pod that was not measured yet. */
  readonly usesMilli?: number
  readonly workingSetBytes?: number
}

const fullNames = (amounts: Readonly<Record<string, string>>): Record<string, string> =>
  Object.fromEntries(Object.entries(amounts).map(([resource, amount]) => [`kube-agent.io/${resource}`, amount]))

/** A pod as a source would tell of it; kubelet-BestEffort with one container unless said otherwise. */
export function specOf(pod: PodLiteral): PodSpec {
  const asks = Object.entries(pod.asks ?? {})
  const extended = Object.fromEntries(asks.map(([resource, units]) => [`kube-agent.io/${resource}`, units]))
  return {
    uid: pod.uid,
    namespace: pod.namespace ?? 'default',
    name: pod.uid,
    labels: pod.labels ?? {},
    ...(pod.priorityClassName === undefined ? {} : { priorityClassName: pod.priorityClassName }),
    kubeletQos: pod.qos ?? 'BestEffort',
    requests: { cpuMilli: milliCpu(pod.requestsMilli ?? 0), memoryBytes: bytes(0) },
    extended,
    ...(pod.fractions === undefined ? {} : { fractions: fullNames(pod.fractions) }),
    phase: pod.phase ?? 'Running',
    ...(pod.objectUid === undefined ? {} : { objectUid: pod.objectUid }),
    containers:
      pod.kinds?.map((kind, index) => ({ name: `c${index}`, kind, extended })) ??
      (pod.containers ?? ['main']).map((name, index) => ({ name, kind: 'main', extended: index === 0 ? extended : {} })),
    origin: 'test',
  }
}

export function readingOf(pod: PodLiteral, nowMs: number): PodReading {
  const spec = specOf(pod)
  const group = podGroup(LAYOUT, spec.kubeletQos, spec.uid)
  const present = pod.present ?? true
  const base: PodReading = {
    spec,
    group,
    present,
    childGroups: present ? spec.containers.map(({ name }) => childGroup(group, name)) : [],
  }
  if (pod.usesMilli === undefined) return base
  const value = {
    cpuMilli: milliCpu(pod.usesMilli),
    workingSetBytes: bytes(pod.workingSetBytes ?? 0),
    workingSetAtMs: nowMs,
    throttledPermyriad: 0,
  }
  return { ...base, use: { value, atMs: nowMs, source: group } }
}

export interface SnapshotLiteral {
  readonly nowMs?: number
  readonly pace?: 'calm' | 'hot'
  readonly dialect?: Dialect
  readonly topology?: CpuTopology
  /** Knobs that this kernel does not have. */
  readonly missing?: readonly KnobKind[]
  /** Knobs of vendors' kernels that this one has. */
  readonly vendor?: readonly KnobKind[]
  /** CPU use of the whole node; null for a sensor that has not answered yet. */
  readonly nodeMilli?: number | null
  /** CPU use of the offline root. */
  readonly offlineMilli?: number | null
  /** Age of both CPU readings. */
  readonly ageMs?: number
  readonly memory?: { readonly totalBytes: number; readonly availableBytes: number } | null
  readonly pods?: readonly PodLiteral[]
  readonly unlisted?: readonly GroupPath[]
  readonly actual?: readonly (KnobSetting & { readonly group: GroupPath })[]
  readonly inFlight?: Readonly<Partial<Record<OfflineResource, number>>>
  /** How online groups wait for CPU, as a share of time. */
  readonly cpuPressurePermyriad?: number | null
  /** Tasks that are ready to run on the node, and how many tasks offline work has; null where those can't be counted. */
  readonly runnable?: number | null
  readonly offlineTasks?: number | null
  /** Age of the reading of either. */
  readonly pressureAgeMs?: number
  readonly evictions?: Partial<EvictionsView>
}

export const GIB = 2 ** 30

const kernels = new Map<string, Capabilities>()

/** What a kernel of the dialect can do. */
export function capabilitiesOf(
  dialect: Dialect,
  missing: readonly KnobKind[] = [],
  vendor: readonly KnobKind[] = [],
): Capabilities {
  const key = `${dialect} ${missing.join()} ${vendor.join()}`
  const known = kernels.get(key) ?? new ModelKernel({ dialect, topology: topologyOf('desktop'), missing, vendor }).capabilities
  kernels.set(key, known)
  return known
}

export function snapshotOf(literal: SnapshotLiteral = {}): NodeSnapshot {
  const {
    nowMs = 100_000,
    nodeMilli = 1000,
    offlineMilli = 0,
    ageMs = 0,
    cpuPressurePermyriad = null,
    runnable = null,
    offlineTasks = 0,
    pressureAgeMs = 0,
    memory = { totalBytes: 64 * GIB, availableBytes: 48 * GIB },
  } = literal
  const reading = <T>(value: T, source: string): Reading<T> => ({ value, atMs: nowMs - ageMs, source })
  const actual = new KnobTable<Reading<KnobValue>>()
  for (const { group, kind, value } of literal.actual ?? []) actual.set(group, kind, reading<KnobValue>(value, kind))
  const cpu = (usedMilli: number): Reading<{ usedMilli: number; windowMs: number }> =>
    reading({ usedMilli, windowMs: 100 }, 'test')
  return {
    seq: 1,
    nowMs,
    wallMs: 1_700_000_000_000 + nowMs,
    pace: literal.pace ?? 'calm',
    layout: LAYOUT,
    topology: literal.topology ?? topologyOf('desktop'),
    capabilities: capabilitiesOf(literal.dialect ?? 'v2', literal.missing, literal.vendor),
    node: {
      ...(nodeMilli === null ? {} : { cpu: cpu(nodeMilli) }),
      ...(memory === null ? {} : { memory: reading(memory, '/proc/meminfo') }),
      ...(runnable === null
        ? {}
        : {
            runQueue: {
              value: { runnable, ...(offlineTasks === null ? {} : { notOffline: Math.max(0, runnable - offlineTasks) }) },
              atMs: nowMs - pressureAgeMs,
              source: 'test',
            },
          }),
    },
    bestEffort: { group: OFFLINE_ROOT, ...(offlineMilli === null ? {} : { cpu: cpu(offlineMilli) }) },
    pods: {
      pods: (literal.pods ?? []).map((pod) => readingOf(pod, nowMs)),
      everRead: true,
      atMs: nowMs,
      source: 'test',
      problems: [],
    },
    unlistedGroups: literal.unlisted ?? [],
    actual,
    inFlightUnits: literal.inFlight ?? {},
    online:
      cpuPressurePermyriad === null
        ? {}
        : {
            cpuPressure: {
              value: { someUsPerSecond: cpuPressurePermyriad * 100 },
              atMs: nowMs - pressureAgeMs,
              source: 'test',
            },
          },
    devices: new Map(),
    evictions: { ...NO_EVICTIONS, ...literal.evictions },
    ownGroups: [],
  }
}

/** Freezes everything reachable from a snapshot, a memory or a configuration, so that a rule that writes to its input throws. */
export function deepFreeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value) || ArrayBuffer.isView(value)) return value
  Object.freeze(value)
  if (value instanceof Map) for (const entry of value.values()) deepFreeze(entry)
  for (const part of Object.values(value)) deepFreeze(part)
  return value
}
