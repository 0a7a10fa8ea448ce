/**
 * How the agent and its node stand, as plain data: what `status`, `/statusz` and the landing page show. Put together when
 * somebody asks, from the last finished tick and the counts the recorder keeps; nothing is read from the node for it.
 */
import type {
  AllocationSource,
  Capabilities,
  ClusterState,
  KnobKind,
  Mode,
  ObservableRule,
  OfflineResource,
  ReadonlyKnobTable,
  ResourceState,
  RunKind,
  RunState,
  TickRecord,
  Trouble,
} from '../../model/index.ts'
import { findingText, KNOB_KINDS, OFFLINE_RESOURCES, podKey } from '../../model/index.ts'
import type { LastWrite } from '../changes.ts'
import type { CpuMapPart } from './cpu-map.ts'
import { cpuParts, type PlacementStatus } from './cpus.ts'
import { toldOf } from '../observed.ts'
import { renderSignals } from '../render.ts'
import { renderSuppression } from '../render-squeeze.ts'
import { type LadderStatus, ladderStatus } from './ladders.ts'
import { type AllowanceStatus, allowanceStatus, classStatuses, type ClassStatus, podStatuses, type PodStatus } from './pods.ts'
import { problemsOf, type StatusProblem } from './problems.ts'
import { type RunStatus, runStatuses } from './runs.ts'
import { renderIdentity } from '../render-identity.ts'
import { renderAmount, renderOfferBecause } from '../render-offer.ts'

export interface LoopStatus {
  readonly ticks: number
  /** Ticks that failed since the last good one. */
  readonly failingTicks: number
  readonly failedTicks: number
  readonly lastError?: string
  readonly guardBeats: number
  readonly lateGuardBeats: number
  /** Of the last minute or so. */
  readonly lastBeats: { readonly beats: number; readonly late: number }
}

export interface ResourceStatus {
  readonly resource: OfflineResource
  /** What the last decision offers; undefined while nothing was decided. */
  readonly offeredUnits?: number
  /** One unit, as in `100m` or `512 MiB`. */
  readonly unit?: string
  readonly because?: string
  /** The following are undefined where no kubelet is expected. */
  readonly advertisedUnits?: number
  readonly allocatedUnits?: number
  readonly registered?: boolean
  readonly streams?: number
}

export interface NodeStatus {
  readonly dialect: Capabilities['dialect']
  readonly driver: Capabilities['driver']
  readonly kernel: string
  readonly cpus: number
  readonly cores: number
  readonly numaNodes: number
  readonly usedMilli?: number
  readonly memoryAvailableBytes?: number
  readonly memoryTotalBytes?: number
  readonly capabilities: readonly { readonly knob: KnobKind; readonly usable: boolean; readonly detail: string }[]
}

export interface TickStatus {
  readonly seq: number
  readonly ageMs: number
  readonly tookMs: number
  readonly lateMs: number
  readonly pace: 'calm' | 'hot'
}

export interface Status {
  readonly version: string
  readonly nodeName: string
  /** Operating system and processor, once they are known. */
  readonly host?: string
  readonly pid: number
  readonly startedWallMs: number
  readonly uptimeMs: number
  readonly loop: LoopStatus
  /** Level of the log; undefined where it can't be changed. */
  readonly log?: { readonly level: string; readonly configured: string }
  readonly resources: readonly ResourceStatus[]
  /** Undefined where no API server is told of the node. */
  readonly cluster?: ClusterStatus
  readonly problems: readonly StatusProblem[]
  /** How each source, rule and sink goes. */
  readonly parts: readonly RunStatus[]
  /** What has kept the agent from its work for a minute and more, worst first, as the condition ColocationDegraded tells it. */
  readonly degraded: readonly Trouble[]
  /** Undefined until a tick has finished, like all that follows from one. */
  readonly mode?: Mode
  /** Rules that decide and have no say; left out while there are none. */
  readonly observedRules?: readonly ObservableRule[]
  /** When `kube-agent release` had the node put back, and the agent began to write nothing; undefined while it has not. */
  readonly releasedWallMs?: number
  readonly lastTick?: TickStatus
  readonly node?: NodeStatus
  readonly suppression?: string
  /** Pressure, rungs, memory, IO and evictions. */
  readonly ladders?: LadderStatus
  readonly placement?: PlacementStatus
  readonly cpuMap?: readonly CpuMapPart[]
  /** What has to be said beside the map: that offline pods have less than placement gives them. */
  readonly cpuMapNote?: string
  /** What the letters of the map mean. */
  readonly cpuLegend?: Readonly<Record<string, string>>
  readonly classes?: readonly ClassStatus[]
  /** Undefined while suppression of CPU is off or has no reading. */
  readonly allowance?: AllowanceStatus
  /** By class and name; undefined where nobody asked for them. */
  readonly pods?: readonly PodStatus[]
  readonly podSource?: { readonly source: string; readonly ageMs: number; readonly pods: number }
  readonly knobs?: { readonly journaled: number; readonly toChange: number }
  /** Which backend tells the classes apart. */
  readonly identity?: string
  /** How the node fares, as the cluster is told; undefined while nothing is told. */
  readonly signals?: string
  /** Odd things that pods ask for: all of them by number, the first by name. */
  readonly findings?: { readonly count: number; readonly first: readonly FindingStatus[] }
}

export interface ClusterStatus {
  readonly server: string
  readonly calls: number
  readonly failedCalls: number
  readonly lastOkWallMs?: number
}

interface FindingStatus {
  readonly pod: string
  readonly reason: string
  readonly message: string
}

/** More than a screen holds; `explain pod` tells those of one pod, the journal all that came up. */
const MAX_FINDINGS = 20

export interface StatusView {
  readonly identity: Pick<Status, 'version' | 'nodeName' | 'host' | 'pid' | 'startedWallMs' | 'log'>
  readonly startedMs: number
  readonly loop: LoopStatus
  readonly writes: ReadonlyKnobTable<LastWrite>
  readonly resources: readonly ResourceState[]
  readonly cluster?: ClusterState | undefined
  readonly allocations?: AllocationSource | undefined
  readonly record: TickRecord | undefined
  readonly runs: readonly (readonly [RunKind, RunState])[]
  readonly troubles: readonly Trouble[]
  /** Why the configuration on disk is not the one in force; undefined while it is. */
  readonly rejected?: string | undefined
}

/** What is left out of a status unless it is asked for, since it costs some µs for each pod. */
export interface StatusDetail {
  readonly pods?: boolean
}

/** The status at `nowMs`. */
export function statusOf(view: StatusView, nowMs: number, { pods = false }: StatusDetail = {}): Status {
  const { record } = view
  return {
    ...view.identity,
    uptimeMs: nowMs - view.startedMs,
    loop: view.loop,
    ...(record === undefined ? {} : tickParts(record, nowMs)),
    ...(record === undefined || !pods ? {} : { pods: podStatuses(record, nowMs) }),
    resources: OFFLINE_RESOURCES.map((resource) => resourceStatus(resource, view)),
    ...(view.cluster === undefined ? {} : { cluster: clusterStatus(view.cluster) }),
    problems: problemsOf(view, nowMs),
    parts: runStatuses(view.runs, nowMs),
    degraded: view.troubles,
  }
}

function tickParts(record: TickRecord, nowMs: number) {
  const { snapshot, decision, mode } = record
  const allowance = allowanceStatus(record, nowMs)
  return {
    mode,
    ...(decision.observed === undefined ? {} : { observedRules: decision.observed.rules }),
    ...(record.releasedWallMs === undefined ? {} : { releasedWallMs: record.releasedWallMs }),
    lastTick: {
      seq: snapshot.seq,
      ageMs: nowMs - snapshot.nowMs,
      tookMs: record.tookMs,
      lateMs: record.lateMs,
      pace: snapshot.pace,
    },
    node: nodeStatus(record),
    ...(decision.suppression === undefined
      ? {}
      : { suppression: toldOf('suppressCpu', renderSuppression(decision.suppression), decision) }),
    ladders: ladderStatus(record, nowMs),
    ...(decision.signals === undefined ? {} : { signals: renderSignals(decision.signals) }),
    ...(decision.identity === undefined ? {} : { identity: renderIdentity(decision.identity) }),
    findings: {
      count: decision.findings.length,
      first: decision.findings.slice(0, MAX_FINDINGS).map((finding) => ({ pod: podKey(finding), ...findingText(finding) })),
    },
    ...cpuParts(record),
    classes: classStatuses(record),
    ...(allowance === undefined ? {} : { allowance }),
    podSource: { source: snapshot.pods.source, ageMs: nowMs - snapshot.pods.atMs, pods: snapshot.pods.pods.length },
    knobs: { journaled: record.journaled.size, toChange: record.plan.length },
  }
}

function nodeStatus({ snapshot }: TickRecord): NodeStatus {
  const { capabilities, topology, node } = snapshot
  const memory = node.memory?.value
  return {
    dialect: capabilities.dialect,
    driver: capabilities.driver,
    kernel: capabilities.kernelRelease,
    cpus: topology.online.size,
    cores: topology.cores.length,
    numaNodes: topology.nodes.length,
    ...(node.cpu === undefined ? {} : { usedMilli: Math.round(node.cpu.value.usedMilli) }),
    ...(memory === undefined ? {} : { memoryAvailableBytes: memory.availableBytes, memoryTotalBytes: memory.totalBytes }),
    capabilities: KNOB_KINDS.map((knob) => {
      const capability = capabilities.knobs[knob]
      return { knob, usable: capability.usable, detail: capability.usable ? capability.file : capability.reason }
    }),
  }
}

function resourceStatus(resource: OfflineResource, { record, resources }: StatusView): ResourceStatus {
  const offer = record?.decision.offers.find((candidate) => candidate.resource === resource)
  const state = resources.find((candidate) => candidate.resource === resource)
  return {
    resource,
    ...(offer === undefined
      ? {}
      : {
          offeredUnits: offer.units,
          unit: renderAmount(resource, offer.because.unitSize),
          because: renderOfferBecause(resource, offer.because),
        }),
    ...(state === undefined
      ? {}
      : {
          advertisedUnits: state.advertisedUnits,
          allocatedUnits: state.allocatedUnits,
          registered: state.registered,
          streams: state.openStreams,
        }),
  }
}

function clusterStatus({ server, writes, lastOkWallMs }: ClusterState): ClusterStatus {
  const sums = { calls: 0, failedCalls: 0 }
  for (const { ok, failed } of Object.values(writes)) {
    sums.calls += ok + failed
    sums.failedCalls += failed
  }
  return { server, ...sums, ...(lastOkWallMs === undefined ? {} : { lastOkWallMs }) }
}
