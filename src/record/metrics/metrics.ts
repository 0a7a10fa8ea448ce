/**
 * Metrics as projections of a finished tick. All work is done here, in the tick; a scrape prints numbers that are already there
 * and calls nothing back. On a hot tick only the values of node and class level move: pods are not read on those.
 */
import { Registry } from 'prom-client'
import type {
  Abstention,
  AllocationSource,
  ClusterState,
  Decision,
  DriftView,
  FindingCode,
  Mode,
  NodeSignals,
  OfflineResource,
  OutcomeKind,
  ResourceState,
  TickRecord,
} from '../../model/index.ts'
import { FINDING_REASONS, KNOB_KINDS, MODES, OFFLINE_RESOURCES, QOS_CLASSES, RULES } from '../../model/index.ts'
import type { Change } from '../changes.ts'
import type { RecordingState } from '../recording/index.ts'
import { sumClasses } from '../classes.ts'
import { DecisionMetrics, OFFER_BOUNDS } from './decisions.ts'
import { createFamilies, type Families } from './families.ts'
import { GuardBeatMetrics } from './guard-beats.ts'
import { LadderMetrics } from './ladders.ts'
import { NodeMetrics } from './node.ts'
import { PodMetrics } from './pods.ts'
import { ProcessMetrics } from './process.ts'
import { RunMetrics } from './runs.ts'
import { oneHot, setOrRemove, toCores } from './set.ts'

/** The Content-Type of Metrics.text(). */
export const METRICS_CONTENT_TYPE = Registry.PROMETHEUS_CONTENT_TYPE

/** What became of a configuration that was read again; unchanged: it is what is in force. */
export type ReloadOutcome = 'applied' | 'unchanged' | 'rejected'

// Written as total records, so that a new member of the union without a series does not compile.
const OUTCOMES: Readonly<Record<OutcomeKind, true>> = {
  applied: true,
  unchanged: true,
  vanished: true,
  refused: true,
  forbidden: true,
  begun: true,
  busy: true,
  mismatch: true,
  failed: true,
}

const ABSTENTION_REASONS = Object.keys({ starting: true, silent: true, wouldKill: true } satisfies Record<
  Abstention['code'],
  true
>) as Abstention['code'][]

export interface MetricsOptions {
  readonly version: string
  /** When the process started, in milliseconds since the epoch. */
  readonly startedWallMs: number
  /** How many pods get series of their own; 0 is none. */
  readonly maxPodSeries: number
}

export class Metrics {
  readonly #families: Families = createFamilies()
  readonly #ladders = new LadderMetrics(this.#families)
  readonly #decisions = new DecisionMetrics(this.#families)
  readonly #node = new NodeMetrics(this.#families)
  readonly #process = new ProcessMetrics(this.#families)
  readonly #beats = new GuardBeatMetrics(this.#families)
  /** How each source, rule and sink goes. */
  readonly runs = new RunMetrics(this.#families)
  readonly #pods: PodMetrics
  #mode: Mode | undefined
  #cluster: ClusterState | undefined
  #recording: Pick<RecordingState, 'ticks' | 'missedTicks'> | undefined
  #journalFailures = 0
  /** Times that rules abstained in the tick before; none told yet. */
  #abstained: number | undefined
  readonly #resources = new Map<string, ResourceState>()
  /** Of the last calm tick: most of them show the very objects of the one before. */
  #calmShown: Partial<Pick<Decision, 'findings' | 'identity'>> = {}
  readonly #bounds = new Map<OfflineResource, string>()

  constructor({ version, startedWallMs, maxPodSeries }: MetricsOptions) {
    const { agent, workload } = this.#families
    this.#pods = new PodMetrics(this.#families, maxPodSeries)
    agent.buildInfo.set({ version, node_version: process.versions.node }, 1)
    agent.startTime.set(startedWallMs / 1000)
    // A series that first appears with its first event hides that event from rate() and increase().
    for (const pace of ['calm', 'hot']) agent.ticks.inc({ pace }, 0)
    for (const outcome of ['applied', 'unchanged', 'rejected']) agent.configReloads.inc({ outcome }, 0)
    agent.configValid.set(1)
    for (const knob of KNOB_KINDS) for (const outcome of Object.keys(OUTCOMES)) workload.writes.inc({ knob, outcome }, 0)
    for (const knob of KNOB_KINDS) workload.drift.inc({ knob }, 0)
  }

  /** Takes a finished tick, and what it changed of what was decided before. */
  tick(record: TickRecord, changes: readonly Change[]): void {
    const { agent, workload } = this.#families
    const { mode, snapshot, decision } = record
    if (mode !== this.#mode) oneHot(agent.mode, 'mode', MODES, mode)
    this.#mode = mode
    agent.ticks.inc({ pace: snapshot.pace })
    agent.lastTick.set(snapshot.wallMs / 1000)
    agent.tickDuration.observe(Math.max(0, record.tookMs) / 1000)
    agent.tickLateness.observe(Math.max(0, record.lateMs) / 1000)
    for (const { step, outcome } of record.results) workload.writes.inc({ knob: step.kind, outcome: outcome.is })
    this.#drift(record.drift)
    const journalFailures = record.journalHealth?.failures ?? 0
    workload.journalFailures.inc(Math.max(0, journalFailures - this.#journalFailures))
    this.#journalFailures = journalFailures
    workload.journalDamaged.set(record.journalHealth?.damage === undefined ? 0 : 1)
    workload.knobsToChange.set(record.plan.length)
    this.#node.tick(snapshot)
    this.#ladders.tick(record)
    this.#decisions.changed(changes)
    this.#signals(decision.signals)
    this.#abstentions(decision)
    if (snapshot.pace === 'calm') this.#calm(record)
  }

  #drift(drift: DriftView | undefined): void {
    if (drift === undefined) return
    const { workload } = this.#families
    for (const [knob, times] of Object.entries(drift.found)) workload.drift.inc({ knob }, times)
    let [conceded, contested] = [0, 0]
    drift.knobs.forEach((_group, _kind, known) => {
      if (known.concededUntilMs !== undefined) conceded += 1
      if (known.contested === true) contested += 1
    })
    workload.knobsConceded.set(conceded)
    workload.knobsContested.set(contested)
  }

  tickFailed(): void {
    this.#families.agent.tickFailures.inc()
  }

  guardBeat(lateMs: number, late: boolean): void {
    this.#process.guardBeat(lateMs)
    this.#beats.take(lateMs, late)
  }

  resources(states: readonly ResourceState[]): void {
    const { resource } = this.#families
    for (const state of states) {
      const labels = { resource: state.resource }
      resource.advertised.set(labels, state.advertisedUnits)
      resource.allocated.set(labels, state.allocatedUnits)
      resource.registered.set(labels, state.registered ? 1 : 0)
      resource.streams.set(labels, state.openStreams)
      const before = this.#resources.get(state.resource)
      resource.registrations.inc(labels, state.registrations - (before?.registrations ?? 0))
      resource.pushes.inc(labels, state.pushes - (before?.pushes ?? 0))
      resource.ended.inc(labels, state.endedUnits - (before?.endedUnits ?? 0))
      this.#resources.set(state.resource, state)
    }
  }

  allocations({ exact }: AllocationSource): void {
    this.#families.resource.podResources.set(exact ? 1 : 0)
  }

  /** Counts are taken as they stand; what they grew by since the last call is added. */
  cluster(state: ClusterState): void {
    const { calls, lastSuccess, droppedEvents } = this.#families.cluster
    const before = this.#cluster
    for (const [operation, { ok, failed }] of Object.entries(state.writes)) {
      const known = before?.writes[operation]
      calls.inc({ operation, outcome: 'ok' }, ok - (known?.ok ?? 0))
      calls.inc({ operation, outcome: 'failed' }, failed - (known?.failed ?? 0))
    }
    droppedEvents.inc(state.droppedEvents - (before?.droppedEvents ?? 0))
    setOrRemove(lastSuccess, state.lastOkWallMs === undefined ? undefined : state.lastOkWallMs / 1000)
    this.#cluster = { ...state, writes: structuredClone(state.writes) }
  }

  /** Counts are taken as they stand; what they grew by since the last call is added. */
  recording({ bytes, pausedBy, ticks, missedTicks }: RecordingState): void {
    const { recordingBytes, recordingPaused, recordedTicks, unrecordedTicks } = this.#families.agent
    recordingBytes.set(bytes)
    recordingPaused.set(pausedBy === undefined ? 0 : 1)
    recordedTicks.inc(ticks - (this.#recording?.ticks ?? 0))
    unrecordedTicks.inc(missedTicks - (this.#recording?.missedTicks ?? 0))
    this.#recording = { ticks, missedTicks }
  }

  configReload(outcome: ReloadOutcome): void {
    const { configReloads, configValid } = this.#families.agent
    configReloads.inc({ outcome })
    configValid.set(outcome === 'rejected' ? 0 : 1)
  }

  /** The scrape, in the Prometheus text format. */
  text(): Promise<string> {
    this.#beats.tell()
    return this.#families.registry.metrics()
  }

  #signals(signals: NodeSignals | undefined): void {
    const families = this.#families.signals
    setOrRemove(families.hot, signals === undefined ? undefined : Number(signals.hot))
    setOrRemove(families.score, signals?.score)
    setOrRemove(families.headroomCpu, toCores(signals?.headroomMilli))
    setOrRemove(families.headroomMemory, signals?.headroomBytes)
  }

  #abstentions({ abstentions }: Decision): void {
    if (abstentions.length === 0 && this.#abstained === 0) return
    this.#abstained = abstentions.length
    for (const rule of RULES)
      for (const reason of ABSTENTION_REASONS) {
        const times = abstentions.filter((abstention) => abstention.rule === rule && abstention.code === reason).length
        this.#families.workload.abstentions.set({ rule, reason }, times)
      }
  }

  #calm({ snapshot, decision, journaled }: TickRecord): void {
    const { workload } = this.#families
    workload.podSourceProblems.set(snapshot.pods.problems.length)
    workload.knobsJournaled.set(journaled.size)
    this.#node.calmTick(snapshot)
    this.#classes(decision)
    if (decision.findings !== this.#calmShown.findings) this.#findings(decision)
    if (decision.identity !== this.#calmShown.identity) this.#identity(decision)
    this.#calmShown = decision
    this.#offers(decision)
    this.#decisions.held(decision)
    this.#pods.tick(decision.pods, snapshot.actual)
    this.#process.calmTick()
  }

  #classes(decision: Decision): void {
    const { workload } = this.#families
    const sums = sumClasses(decision.pods)
    for (const qosClass of QOS_CLASSES) {
      const sum = sums[qosClass]
      workload.pods.set({ class: qosClass }, sum.pods)
      workload.classCpuUsed.set({ class: qosClass }, sum.usedMilli / 1000)
    }
    for (const offline of ['BE', 'OT'] as const) {
      workload.classMemory.set({ class: offline }, sums[offline].workingSetBytes)
      workload.classCpuRequested.set({ class: offline }, sums[offline].askedMilli / 1000)
      workload.classMemoryRequested.set({ class: offline }, sums[offline].askedBytes)
    }
  }

  #identity({ identity }: Decision): void {
    const { identityBackend } = this.#families.workload
    identityBackend.reset()
    if (identity === undefined) return
    for (const qosClass of QOS_CLASSES) identityBackend.set({ class: qosClass, backend: identity.backends[qosClass] }, 1)
  }

  #findings({ findings }: Decision): void {
    const sums = Object.fromEntries(Object.keys(FINDING_REASONS).map((code) => [code, 0])) as Record<FindingCode, number>
    for (const { code } of findings) sums[code] += 1
    for (const [code, sum] of Object.entries(sums))
      this.#families.workload.podFindings.set({ reason: FINDING_REASONS[code as FindingCode] }, sum)
  }

  #offers({ offers }: Decision): void {
    const families = this.#families.resource
    for (const resource of OFFLINE_RESOURCES) {
      const offer = offers.find((candidate) => candidate.resource === resource)
      const was = this.#bounds.get(resource)
      if (offer === undefined) {
        if (was === undefined) continue
        this.#bounds.delete(resource)
        families.offered.remove({ resource })
        for (const bound of OFFER_BOUNDS) families.offerBound.remove({ resource, bound })
        continue
      }
      const { unitSize, bound: binding, terms } = offer.because
      families.offered.set({ resource }, offer.units)
      families.unitSize.set({ resource }, resource.endsWith('cpu') ? unitSize / 1000 : unitSize)
      if (binding !== was)
        for (const bound of OFFER_BOUNDS) families.offerBound.set({ resource, bound }, bound === binding ? 1 : 0)
      this.#bounds.set(resource, binding)
      this.#terms(terms)
    }
  }

  /** The unit stands at the end of a term's name; a ratio is a setting, and no reading. */
  #terms(terms: Readonly<Record<string, number>>): void {
    const { capacityCores, capacityBytes } = this.#families.resource
    for (const [name, amount] of Object.entries(terms)) {
      if (name.endsWith('Milli')) capacityCores.set({ input: name.slice(0, -'Milli'.length) }, amount / 1000)
      else if (name.endsWith('Bytes')) capacityBytes.set({ input: name.slice(0, -'Bytes'.length) }, amount)
    }
  }
}
