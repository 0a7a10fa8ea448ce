/**
 * One knob that somebody names: by its kernel file as they see it on the node (`/sys/fs/cgroup/cpu/kubepods/besteffort/cpu.cfs_quota_us`),
 * by a group and a kind (`/kubepods/besteffort quota`), or by a pod and either.
 */
import type { Capabilities, ClassifiedPod, GroupPath, KnobKind, TickRecord } from '../../model/index.ts'
import { hasEnded, KNOB_KINDS, podKey } from '../../model/index.ts'
import { explainContainers } from './containers.ts'
import { explainInputs, type InputExplanation, needsOf } from './inputs.ts'
import { explainKnob, type KnobExplanation, type KnobView } from './knob.ts'
import { noSubject } from './subject.ts'

export interface KnobSubjectExplanation {
  readonly is: 'knob'
  /** The kernel file; undefined where this node has none, and `unusable` says why. */
  readonly file?: string
  readonly unusable?: string
  /** The pod that owns the group. */
  readonly pod?: string
  /** The container of that pod that owns it. */
  readonly container?: string
  readonly knob: KnobExplanation
  readonly inputs: readonly InputExplanation[]
}

/** Throws AgentError E_NO_SUBJECT, naming near matches, for a kind or a place that is not there. */
export function explainKnobSubject(
  { place, name }: { readonly place: string; readonly name: string },
  view: KnobView,
): KnobSubjectExplanation {
  const { record, nowMs } = view
  const kind = kindNamed(name, record.snapshot.capabilities)
  const group = groupAt(place, record)
  const capability = record.snapshot.capabilities.knobs[kind]
  const { desired, observed } = record.decision
  // What would be desired has every claim of the knob.
  const resolved = observed?.desired.get(group, kind) ?? desired.get(group, kind)
  const claims = resolved === undefined ? [] : [resolved.winner, ...resolved.losers]
  return {
    is: 'knob',
    ...(capability.usable ? { file: capability.file } : { unusable: capability.reason }),
    ...ownerParts(group, record),
    knob: explainKnob(group, kind, view),
    inputs: explainInputs(needsOf(claims), record.snapshot, nowMs),
  }
}

/** Whose a group is; nothing for one that is no pod's. */
export function ownerParts(group: GroupPath, { decision }: TickRecord): { readonly pod?: string; readonly container?: string } {
  const owner = decision.pods.find(({ reading }) => reading.group === group || reading.childGroups.includes(group))
  if (owner === undefined) return {}
  const container = explainContainers(owner.reading).containers.find((candidate) => candidate.group === group)?.name
  return { pod: podKey(owner.reading.spec), ...(container === undefined ? {} : { container }) }
}

/** Kernel files that belong to a knob which is named after another file. */
const FURTHER_FILES: Readonly<Partial<Record<string, KnobKind>>> = { 'cpu.cfs_period_us': 'quota' }

function kindNamed(name: string, { knobs }: Capabilities): KnobKind {
  const wanted = name.toLowerCase()
  const kind = KNOB_KINDS.find((candidate) => {
    const capability = knobs[candidate]
    return candidate.toLowerCase() === wanted || (capability.usable && capability.file === wanted)
  })
  const found = kind ?? FURTHER_FILES[wanted]
  if (found !== undefined) return found
  const files = KNOB_KINDS.flatMap((candidate) => {
    const capability = knobs[candidate]
    return capability.usable ? [capability.file] : []
  })
  throw noSubject('knob', name, [...KNOB_KINDS, ...files])
}

/** The longest known group that the path ends in: what stands before it is a mount point. */
function groupAt(place: string, record: TickRecord): GroupPath {
  const groups = knownGroups(record)
  if (groups.has(place)) return place
  const pod = podNamed(place.replace(/^pod\//, ''), record.decision.pods)
  if (pod !== undefined) return pod.reading.group
  const inside = [...groups].filter((group) => place.endsWith(group)).sort((a, b) => b.length - a.length)
  if (inside[0] !== undefined) return inside[0]
  throw noSubject('group', place, [...groups])
}

/** Every group that a knob is read or wanted of, or that is a pod's. */
export function knownGroups({ snapshot, decision }: TickRecord): ReadonlySet<GroupPath> {
  return new Set([
    ...snapshot.actual.groups(),
    ...decision.desired.groups(),
    ...(decision.observed?.desired.groups() ?? []),
    ...decision.pods.flatMap(({ reading }) => [reading.group, ...reading.childGroups]),
  ])
}

/** Of a pod and its successor of the same name, which a directory of manifests may both hold, the one that runs. */
export function podNamed(key: string, pods: readonly ClassifiedPod[]): ClassifiedPod | undefined {
  const named = pods.filter(({ reading }) => podKey(reading.spec) === key)
  const alive = named.filter(({ reading }) => !hasEnded(reading.spec))
  return alive.find(({ reading }) => reading.present) ?? alive[0] ?? named[0]
}
