/**
 * An explanation for a terminal: what it is, what it is called, and for every knob the values and the reasons under each other,
 * at most 100 columns wide. The order answers the questions in the order in which they are asked: what is it now, why, what
 * else.
 */
import { formatBytes, formatMilliCpu, formatPermyriad, groupName } from '../../model/index.ts'
import type { CpuClassExplanation, CpuExplanation } from './cpu.ts'
import type { Explanation, GroupExplanation, PodExplanation, ResourceExplanation } from './explain.ts'
import type { InputExplanation } from './inputs.ts'
import type { KnobExplanation } from './knob.ts'
import type { KnobSubjectExplanation } from './knob-subject.ts'

import { narrowedSpread } from '../cpus-in-force.ts'
import { count, formatDuration, labelled, spread, table } from '../layout.ts'

const COLUMN = 14

/** The whole text, ending in a newline. */
export function renderExplanation(explanation: Explanation): string {
  return `${linesOf(explanation).join('\n')}\n`
}

function linesOf(explanation: Explanation): readonly string[] {
  switch (explanation.is) {
    case 'pod':
      return podLines(explanation)
    case 'knob':
      return knobSubjectLines(explanation)
    case 'group':
      return groupLines(explanation)
    case 'cpu':
      return cpuLines(explanation)
    case 'resource':
      return resourceLines(explanation)
  }
}

const row = (label: string, text: string): readonly string[] => labelled(label, text, COLUMN)
const inner = (label: string, text: string): readonly string[] => labelled(`  ${label}`, text, COLUMN)

function podLines(pod: PodExplanation): readonly string[] {
  const { use, asked } = pod
  return [
    ...row('pod', pod.pod),
    ...row('class', `${pod.qosClass}: ${pod.because}`),
    ...(pod.identity === undefined ? [] : row('identity', pod.identity)),
    ...row('kubelet', `QoS ${pod.kubeletQos}, phase ${pod.phase}, UID ${pod.uid}, read from ${pod.origin}`),
    ...row('group', `${pod.group}${pod.present ? '' : ' (not made yet)'}`),
    ...(asked === undefined ? [] : row('asked', `CPU: ${asked.cpu}, memory: ${asked.memory}`)),
    ...(pod.held === undefined ? [] : row('holds', pod.held)),
    ...(use === undefined
      ? []
      : row(
          'uses',
          `${formatMilliCpu(use.cpuMilli)} CPU, working set ${formatBytes(use.workingSetBytes)}, ` +
            `throttled in ${formatPermyriad(use.throttledPermyriad)} of periods (read ${formatDuration(use.ageMs)} ago)`,
        )),
    ...(pod.ownCpus === undefined ? [] : row('own CPUs', pod.ownCpus)),
    ...pod.suppressed.flatMap((text) => row('suppressed', text)),
    ...pod.findings.flatMap((finding) => row('finding', finding)),
    ...containerLines(pod),
    ...knobLines(pod.knobs),
    ...inputLines(pod.inputs),
  ]
}

function containerLines({ containers, otherGroups }: PodExplanation): readonly string[] {
  return [
    '',
    "containers, each with its group below the pod's",
    ...containers.flatMap(({ name, kind, id, group }) =>
      inner(kind, `${name}: ${group === undefined ? missing(id) : groupName(group)}`),
    ),
    ...otherGroups.flatMap((group) => inner('other', `${groupName(group)} of the sandbox, or of a container that is not listed`)),
  ]
}

/** A container that waits, or has ended, has no group; without an id, as in a manifest on disk, its group can't be told from others. */
function missing(id: string | undefined): string {
  return id === undefined ? 'no id is known' : 'no group now'
}

function groupLines(group: GroupExplanation): readonly string[] {
  const { pod, container } = group
  return [
    ...row('group', group.group),
    ...(pod === undefined ? [] : row('pod', pod)),
    ...(container === undefined ? [] : row('container', container)),
    ...knobLines(group.knobs),
    ...inputLines(group.inputs),
  ]
}

function knobSubjectLines({ knob, file, unusable, pod, container, inputs }: KnobSubjectExplanation): readonly string[] {
  return [
    ...row('knob', `${knob.knob} of ${knob.group}`),
    ...row('file', file ?? `none on this node: ${unusable ?? 'no reason is known'}`),
    ...(pod === undefined ? [] : row('pod', pod)),
    ...(container === undefined ? [] : row('container', container)),
    ...knobFacts(knob).flatMap(([label, text]) => row(label, text)),
    ...inputLines(inputs),
  ]
}

/** What the rules went by, with the age that decides whether it still counts. */
function inputLines(inputs: readonly InputExplanation[]): readonly string[] {
  if (inputs.length === 0) return []
  const lines = inputs.flatMap(({ name, value, ageMs, source }) =>
    inner(name, `${value}, read ${formatDuration(ageMs)} ago from ${source}`),
  )
  return ['', 'what the rules went by', ...lines]
}

function knobLines(knobs: readonly KnobExplanation[]): readonly string[] {
  return knobs.length === 0 ? ['', 'no knob of it is read or wanted'] : knobs.flatMap((knob) => ['', ...knobBlock(knob)])
}

function knobBlock(knob: KnobExplanation): readonly string[] {
  return [`${knob.knob} of ${knob.group}`, ...knobFacts(knob).flatMap(([label, text]) => inner(label, text))]
}

/** Labels and texts, in the order of the questions. */
function knobFacts(knob: KnobExplanation): readonly (readonly [label: string, text: string])[] {
  const { now, winner, lastWrite } = knob
  const told = (label: string, text: string | undefined): readonly (readonly [string, string])[] =>
    text === undefined ? [] : [[label, text]]
  return [
    ['now', now === undefined ? 'not read' : `${now.value} (read ${formatDuration(now.ageMs)} ago from ${now.source})`],
    ['wanted', knob.desired ?? 'nothing: no rule claims it'],
    ...told('because', winner === undefined ? undefined : `${winner.because} (rule ${winner.rule})`),
    ...knob.losers.map((loser) => ['lost', `${loser.value}: ${loser.because} (rule ${loser.rule})`] as const),
    ...(knob.observed ?? []).map(
      ({ wins, value, because }) => [wins ? 'would be' : 'would lose', `${value}: ${because}`] as const,
    ),
    ...told('planned', knob.planned),
    ...told('note', knob.note),
    ...told('others', knob.drift),
    ['before', knob.original ?? 'never written by the agent'],
    ...told(
      'last write',
      lastWrite === undefined
        ? undefined
        : `${formatDuration(lastWrite.agoMs)} ago: ${lastWrite.text}: ${lastWrite.outcome}; ${lastWrite.because}`,
    ),
  ]
}

function cpuLines(cpu: CpuExplanation): readonly string[] {
  return [
    ...row('cpu', String(cpu.cpu)),
    ...row('place', `core ${cpu.core}, socket ${cpu.socket}, NUMA node ${cpu.node}, last-level cache ${cpu.cache}`),
    ...row('whose', cpu.owner),
    ...row(
      'siblings',
      cpu.siblingOwners.length === 0
        ? 'none: it is the only thread of its core'
        : `CPUs ${spread(cpu.siblings)} are threads of this core`,
    ),
    ...cpu.siblingOwners.flatMap((sibling) => row(`CPU ${sibling.cpu}`, sibling.owner)),
    ...row('cache', `CPUs ${spread(cpu.cacheCpus)} share its last-level cache`),
    '',
    'sets',
    ...cpu.sets.flatMap((set) => labelled(`  ${set.contains ? 'in' : 'not in'} ${set.name}`, narrowedSpread(set), COLUMN + 8)),
    '',
    ...table([['class', 'may use it', 'pods that may'], ...cpu.classes.map(classRow)], ['left', 'left', 'left']),
  ]
}

function classRow({ qosClass, may, pods, here, bound }: CpuClassExplanation): readonly string[] {
  const unbound = pods - bound
  const note = unbound > 0 ? ` (${unbound} not bound to any CPUs)` : ''
  return [qosClass, may ? 'yes' : 'no', pods === 0 ? '0' : `${here} of ${pods}${note}`]
}

function resourceLines(resource: ResourceExplanation): readonly string[] {
  const { offeredUnits, unit, amount, kubelet } = resource
  return [
    ...row('resource', kubelet?.fullName ?? resource.resource),
    ...row(
      'offered',
      offeredUnits === undefined ? 'nothing was decided' : `${count(offeredUnits, 'unit')} of ${unit} (${amount})`,
    ),
    ...(resource.because === undefined ? [] : row('because', resource.because)),
    ...(resource.observed === undefined ? [] : row('would be', resource.observed)),
    ...(resource.bound === undefined ? [] : row('bound by', resource.bound)),
    ...(resource.hold === undefined ? [] : row('hold', resource.hold)),
    ...(resource.allocatedUnits === undefined ? [] : row('allocated', count(resource.allocatedUnits, 'unit'))),
    ...row('kubelet', kubelet === undefined ? 'not told: no kubelet is expected' : kubeletText(kubelet)),
    ...inputLines(resource.inputs),
  ]
}

function kubeletText(kubelet: NonNullable<ResourceExplanation['kubelet']>): string {
  const standing = kubelet.registered ? 'registered' : `NOT registered: ${kubelet.lastError ?? 'waiting for it'}`
  return `${standing}, ${count(kubelet.openStreams, 'open stream')}, ${kubelet.advertisedUnits} advertised, ${kubelet.allocatedUnits} allocated`
}
