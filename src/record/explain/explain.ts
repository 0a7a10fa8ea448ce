/**
 * The answer to "why": for a pod its class and every knob of its groups, for a CPU what it shares and who may use it, for a
 * resource the formula behind its units. Plain data made from the last tick, with texts for values and reasons; text.ts prints
 * it.
 */
import type {
  AllocationSource,
  ClassifiedPod,
  Decision,
  GroupPath,
  KubeletQos,
  Offer,
  OfflineResource,
  QosClass,
  ResourceState,
  TickRecord,
} from '../../model/index.ts'
import { AgentError, isOffline, isQuota, podKey, quotaMilliCpu, regulatesCpu } from '../../model/index.ts'
import { type ContainerExplanation, explainContainers } from './containers.ts'
import { type CpuExplanation, explainCpu, ownCpusText } from './cpu.ts'
import { explainInputs, type InputExplanation, type Need, needsOf } from './inputs.ts'
import { explainKnobs, type KnobExplanation, type KnobView } from './knob.ts'
import { explainKnobSubject, knownGroups, type KnobSubjectExplanation, ownerParts, podNamed } from './knob-subject.ts'
import { count, formatDuration } from '../layout.ts'
import { renderClassBecause, renderFinding } from '../render.ts'
import { renderEviction, renderMemory, renderWish } from '../render-ladder.ts'
import { renderClassIdentity } from '../render-identity.ts'
import { observedOffer } from '../observed.ts'
import { renderAmount, renderOfferBecause, renderTerm } from '../render-offer.ts'
import { renderSuppression } from '../render-squeeze.ts'
import { renderSalesStop, salesStop } from '../sales.ts'
import { noSubject, parseSubject, unknownWord } from './subject.ts'

export interface PodExplanation {
  readonly is: 'pod'
  readonly pod: string
  readonly uid: string
  readonly qosClass: QosClass
  readonly because: string
  /** What tells it from pods of other classes. */
  readonly identity?: string
  readonly kubeletQos: KubeletQos
  readonly phase: string
  /** Where the pod source read it. */
  readonly origin: string
  readonly group: GroupPath
  /** Whether the kubelet has made the pod's group. */
  readonly present: boolean
  readonly asked?: { readonly cpu: string; readonly memory: string }
  /** What the kubelet says that it holds; undefined where it was not asked. */
  readonly held?: string
  readonly use?: {
    readonly cpuMilli: number
    readonly workingSetBytes: number
    readonly throttledPermyriad: number
    readonly ageMs: number
  }
  /** The CPUs that it has for itself, and why. */
  readonly ownCpus?: string
  /** That it has less CPU than it asked for, stands still, is chosen to be evicted, or was asked to go. */
  readonly suppressed: readonly string[]
  /** What is odd about what it asks for, and what to do. */
  readonly findings: readonly string[]
  readonly containers: readonly ContainerExplanation[]
  /** Groups below the pod's that are of no container above: the sandbox, and what the runtime puts beside it. */
  readonly otherGroups: readonly GroupPath[]
  readonly knobs: readonly KnobExplanation[]
  /** What the rules behind the knobs went by. */
  readonly inputs: readonly InputExplanation[]
}

export interface GroupExplanation {
  readonly is: 'group'
  readonly group: GroupPath
  /** The pod that owns the group. */
  readonly pod?: string
  /** The container of that pod that owns it. */
  readonly container?: string
  readonly knobs: readonly KnobExplanation[]
  /** What the rules behind the knobs went by. */
  readonly inputs: readonly InputExplanation[]
}

export interface ResourceExplanation {
  readonly is: 'resource'
  readonly resource: OfflineResource
  /** The following are undefined while nothing was decided for the resource. */
  readonly offeredUnits?: number
  readonly unit?: string
  readonly amount?: string
  readonly bound?: string
  readonly terms: readonly { readonly name: string; readonly value: number; readonly text: string }[]
  readonly because?: string
  /** What would be offered, while the rule only observes. */
  readonly observed?: string
  /** Why no more than what is allocated is offered; undefined while sales go on. */
  readonly hold?: string
  readonly allocatedUnits?: number
  /** How it stands with the kubelet; undefined where none is expected. */
  readonly kubelet?: Omit<ResourceState, 'resource'>
  readonly inputs: readonly InputExplanation[]
}

export type Explanation = PodExplanation | KnobSubjectExplanation | GroupExplanation | CpuExplanation | ResourceExplanation

export interface ExplainView extends Omit<KnobView, 'record'> {
  /** The last finished tick. */
  readonly record: TickRecord | undefined
  readonly resources: readonly ResourceState[]
  readonly allocations?: AllocationSource | undefined
}

/**
 * Explains `pod NAMESPACE/NAME`, `cpu N`, `resource NAME`, `knob /PATH/FILE` or `group /PATH` (see parseSubject for the spellings).
 * Throws AgentError E_NO_SUBJECT, naming near matches, for what is not there, and before the first tick.
 */
export function explain(text: string, view: ExplainView): Explanation {
  const subject = parseSubject(text)
  const { record } = view
  if (record === undefined) {
    throw new AgentError('E_NO_SUBJECT', 'no tick has finished yet', { hint: 'Try again in a second, or look at /statusz.' })
  }
  const knobs: KnobView = { record, writes: view.writes, nowMs: view.nowMs }
  switch (subject.is) {
    case 'pod':
      return explainPod(subject.key, knobs, view.allocations)
    case 'group':
      return explainGroup(subject.group, knobs)
    case 'cpu':
      return explainCpu(subject.id, record)
    case 'resource':
      return explainResource(subject.resource, knobs, view.resources)
    case 'knob':
      return explainKnobSubject(subject, knobs)
    case 'word':
      throw unknownWord(
        subject.word,
        record.decision.pods.map(({ reading }) => podKey(reading.spec)),
      )
  }
}

function explainPod(key: string, view: KnobView, allocations?: AllocationSource): PodExplanation {
  const { decision } = view.record
  const pod = podNamed(key, decision.pods)
  if (pod === undefined) {
    const keys = decision.pods.map(({ reading }) => podKey(reading.spec))
    throw noSubject('pod', key, keys)
  }
  const { spec, group, childGroups, present, use } = pod.reading
  const ownCpus = ownCpusText(spec.uid, view.record)
  const held = isOffline(pod.qosClass) ? heldText(key, pod, allocations) : undefined
  return {
    is: 'pod',
    pod: key,
    uid: spec.uid,
    qosClass: pod.qosClass,
    because: renderClassBecause(pod.because),
    ...(decision.identity === undefined
      ? {}
      : { identity: renderClassIdentity(decision.identity, pod.qosClass, { isBeside: isBeside(pod) }) }),
    kubeletQos: spec.kubeletQos,
    phase: spec.phase,
    origin: spec.origin,
    group,
    present,
    ...(isOffline(pod.qosClass) ? { asked: askedOf(pod) } : {}),
    ...(held === undefined ? {} : { held }),
    ...(use === undefined ? {} : { use: { ...use.value, ageMs: view.nowMs - use.atMs } }),
    ...(ownCpus === undefined ? {} : { ownCpus }),
    suppressed: suppressedText(pod, view),
    findings: findingsOf(pod, decision),
    ...explainContainers(pod.reading),
    ...knobParts([group, ...childGroups], view),
  }
}

/** An online pod that the kubelet put below the root of all offline ones. */
function isBeside({ qosClass, reading }: ClassifiedPod): boolean {
  return !isOffline(qosClass) && reading.spec.kubeletQos === 'BestEffort'
}

/** The knobs of some groups, and what their rules went by. */
function knobParts(groups: readonly GroupPath[], view: KnobView) {
  const { desired, observed } = view.record.decision
  const tables = observed === undefined ? [desired] : [desired, observed.desired]
  const claims = groups.flatMap((group) =>
    tables.flatMap((table) => [...(table.ofGroup(group)?.values() ?? [])].map(({ winner }) => winner)),
  )
  return {
    knobs: groups.flatMap((group) => explainKnobs(group, view)),
    inputs: explainInputs(needsOf(claims), view.record.snapshot, view.nowMs),
  }
}

function suppressedText(pod: ClassifiedPod, { record: { snapshot, decision }, nowMs }: KnobView): readonly string[] {
  const { spec, group } = pod.reading
  const wishes = decision.evictions.filter(({ uid }) => uid === spec.uid)
  const evictions = snapshot.evictions.recent.filter(({ wish }) => wish.uid === spec.uid)
  return [
    ...squeezeText(pod, snapshot, decision),
    ...(snapshot.actual.get(group, 'freeze')?.value === 1
      ? ['it is frozen: its tasks stand still, and its probes may fail']
      : []),
    ...wishes.map(renderWish),
    ...evictions.map((eviction) => `${formatDuration(Math.max(0, nowMs - eviction.atMs))} ago: ${renderEviction(eviction)}`),
  ]
}

/** Why a pod has less CPU than it asked for: its own quota says no more than that the root allows no more. */
function squeezeText(
  { qosClass, askedMilli, reading: { group } }: ClassifiedPod,
  { actual }: TickRecord['snapshot'],
  decision: Decision,
): readonly string[] {
  const { suppression } = decision
  const quota = actual.get(group, 'quota')?.value
  if (
    suppression === undefined ||
    !regulatesCpu(decision) ||
    !isOffline(qosClass) ||
    !isQuota(quota) ||
    quotaMilliCpu(quota) >= askedMilli
  )
    return []
  return [`it has less CPU than it asked for: ${renderSuppression(suppression)}`]
}

function findingsOf({ reading: { spec } }: ClassifiedPod, { findings }: Decision): readonly string[] {
  return findings.filter((finding) => finding.uid === spec.uid).map(renderFinding)
}

function heldText(key: string, pod: ClassifiedPod, allocations: AllocationSource | undefined): string | undefined {
  if (allocations?.held === undefined || (pod.askedMilli === 0 && pod.askedBytes === 0)) return undefined
  const units = Object.entries(allocations.held.get(key) ?? {})
  if (units.length === 0) return 'nothing yet, by the last list of the kubelet'
  return units.map(([resource, amount]) => `${count(amount, 'unit')} of ${resource}`).join(', ')
}

function askedOf({ askedMilli, askedBytes }: ClassifiedPod) {
  return {
    cpu: askedMilli === 0 ? 'no amount' : renderAmount('be-cpu', askedMilli),
    memory: askedBytes === 0 ? 'no amount' : renderAmount('be-memory', askedBytes),
  }
}

function explainGroup(group: GroupPath, view: KnobView): GroupExplanation {
  const owner = ownerParts(group, view.record)
  const { knobs, inputs } = knobParts([group], view)
  if (knobs.length === 0 && owner.pod === undefined) throw noSubject('group', group, [...knownGroups(view.record)])
  return { is: 'group', group, ...owner, knobs, inputs }
}

function explainResource(
  resource: OfflineResource,
  { record: { decision, snapshot }, nowMs }: KnobView,
  resources: readonly ResourceState[],
): ResourceExplanation {
  const offer = decision.offers.find((candidate) => candidate.resource === resource)
  const state = resources.find((candidate) => candidate.resource === resource)
  const { resource: _resource, ...kubelet } = state ?? {}
  const observed = observedOffer(resource, decision)
  return {
    is: 'resource',
    resource,
    ...(offer === undefined ? { terms: [] } : offerParts(resource, offer)),
    ...(observed === undefined ? {} : { observed }),
    ...holdParts(decision),
    ...('fullName' in kubelet ? { kubelet } : {}),
    inputs: offer === undefined ? [] : explainInputs(OFFER_NEEDS[resource], snapshot, nowMs),
  }
}

const CPU_NEEDS: ReadonlySet<Need> = new Set(['cpu', 'pods'])
const MEMORY_NEEDS: ReadonlySet<Need> = new Set(['memory', 'pods'])
const OFFER_NEEDS: Readonly<Record<OfflineResource, ReadonlySet<Need>>> = {
  'be-cpu': CPU_NEEDS,
  'be-memory': MEMORY_NEEDS,
  'ot-cpu': CPU_NEEDS,
  'ot-memory': MEMORY_NEEDS,
}

function holdParts(decision: Decision) {
  const stop = salesStop(decision)
  if (stop === undefined) return {}
  const { memory } = decision
  const readings = stop.rungs.length === 0 || memory === undefined ? '' : `; ${renderMemory(memory)}`
  return { hold: `${renderSalesStop(stop)}${readings}` }
}

function offerParts(resource: OfflineResource, { units, because }: Offer) {
  return {
    offeredUnits: units,
    unit: renderAmount(resource, because.unitSize),
    amount: renderAmount(resource, units * because.unitSize),
    bound: because.bound,
    terms: Object.entries(because.terms).map(([name, value]) => ({ name, value, text: renderTerm(name, value) })),
    because: renderOfferBecause(resource, because),
    allocatedUnits: because.allocatedUnits,
  }
}
