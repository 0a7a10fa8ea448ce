/**
 * Reasons as sentences: every code of the closed unions (Because, StepBecause, ClassBecause, OfferBecause, Outcome) becomes one
 * line of plain English with its numbers and units, for somebody who was woken up by it. Rules only gather the data; the text is
 * made here, and only when it is asked for or when something has changed.
 */
import type {
  Abstention,
  Because,
  ClassBecause,
  ExclusiveClass,
  KnobKind,
  KnobSetting,
  KnobValue,
  NodeSignals,
  Outcome,
  PodProblem,
  Step,
  StepBecause,
} from '../model/index.ts'
import { findingText, formatBytes, formatKnobValue, formatMilliCpu, formatPermyriad } from '../model/index.ts'
import { count } from './layout.ts'
import { renderSqueezeBecause } from './render-squeeze.ts'

/** A value of a knob in the words of its kernel file; `unknown` for one that was never read. */
export function renderValue(kind: KnobKind, value: KnobValue | undefined): string {
  return value === undefined ? 'unknown' : formatKnobValue({ kind, value } as KnobSetting)
}

/** Why a rule wants a value. */
export function renderBecause(because: Because): string {
  switch (because.code) {
    case 'limits.quota':
      return `the ${because.qosClass} pod asked for ${count(because.units, 'unit')} of ${formatMilliCpu(because.unitMilli)}`
    case 'limits.memory':
      return `the ${because.qosClass} pod asked for ${count(because.units, 'unit')} of ${formatBytes(because.unitBytes)}`
    case 'identity.weight':
      return `${because.qosClass} pods share CPU in proportion to what they asked for: ${formatMilliCpu(because.askedMilli)}`
    case 'identity.unasked':
      return `the ${because.qosClass} pod asked for no CPU: it gets the least weight there is, and what other pods leave`
    case 'identity.idle':
      return `${because.qosClass} yields to everything beside it: the group is scheduled as idle`
    case 'identity.least':
      return because.missing === undefined
        ? `${because.qosClass} gets the least weight there is beside other offline pods`
        : `${because.qosClass} gets the least weight there is, as cpu.idle can't be used: ${because.missing}`
    case 'identity.raise':
      return `the ${because.qosClass} pod is online, but lives beside offline pods: it goes before them by the highest weight there is`
    case 'identity.class':
      return `what ${because.qosClass} pods are to this kernel (backend ${because.backend})`
    case 'identity.cookie':
      return `${because.qosClass} pods are tagged with the cookie of offline work, so that they never share a core at the same time with online work`
    case 'identity.root':
      return because.holds === 'offline'
        ? `all offline pods lie below, and the kernel compares siblings: so their root yields too (backend ${because.backend})`
        : `online pods lie below, and the kernel compares siblings: so their root goes first too (backend ${because.backend})`
    case 'burst':
      return burstReason(because)
    case 'placement.besteffort':
      return `${because.qosClass} may run on ${bestEffortCpus(because.dedicated, because.shared)}`
    case 'placement.pool':
      return poolReason(because)
    case 'placement.exclusive':
      return exclusiveReason(because.qosClass, because.requestedMilli)
    case 'placement.beExclusive':
      return (
        `the BE pod asked for ${formatMilliCpu(because.askedMilli)} and has CPUs of its own among the best-effort CPUs ` +
        `${because.bestEffort}: no other BE pod runs there, OT does`
      )
    case 'own.weight':
      return 'the agent itself: it must get its turn in time on a full node, so its group goes before others beside it'
    case 'suppress.root':
    case 'suppress.beside':
    case 'suppress.be':
    case 'suppress.ot':
    case 'suppress.narrow':
    case 'suppress.freeze':
    case 'suppress.unfollowed':
    case 'memory.high':
    case 'memory.protect':
    case 'io.weight':
    case 'io.limits':
      return renderSqueezeBecause(because)
  }
}

function burstReason({ qosClass, sharePermyriad, quotaUs, throttledPermyriad }: Because & { code: 'burst' }): string {
  const throttled =
    throttledPermyriad === 0
      ? 'it has been throttled before'
      : `it is throttled in ${formatPermyriad(throttledPermyriad)} of periods`
  return `the ${qosClass} pod may save up ${formatPermyriad(sharePermyriad)} of a quota of ${quotaUs} us in quiet periods: ${throttled}`
}

function bestEffortCpus(dedicated: string, shared: string): string {
  const parts = [
    ...(dedicated === '' ? [] : [`CPUs ${dedicated}, dedicated to offline pods`]),
    ...(shared === '' ? [] : [`CPUs ${shared}, shared with online pods`]),
  ]
  return parts.length === 0 ? 'all online CPUs' : parts.join(', and ')
}

function poolReason({ qosClass, reserved, dedicated, exclusive }: Because & { code: 'placement.pool' }): string {
  const kept = [
    ...(reserved === '' || qosClass === 'SYSTEM' ? [] : [`CPUs ${reserved}, reserved for the system`]),
    ...(dedicated === '' ? [] : [`CPUs ${dedicated}, dedicated to offline pods`]),
    ...(exclusive === '' ? [] : [`CPUs ${exclusive}, which LSX and LSR pods have for themselves`]),
  ]
  const own = qosClass === 'LSX' || qosClass === 'LSR' ? ' has no CPUs of its own and' : ''
  return kept.length === 0 ? `${qosClass}${own} runs on the online pool` : `${qosClass}${own} keeps off ${kept.join(', and ')}`
}

function exclusiveReason(qosClass: ExclusiveClass, requestedMilli: number): string {
  const asked = `the ${qosClass} pod requests ${formatMilliCpu(requestedMilli)}`
  return qosClass === 'LSX'
    ? `${asked} and has whole cores for itself: nobody else runs on them`
    : `${asked} and has as many CPUs for itself: no other online pod runs on them`
}

/** Why a step is in the plan. */
export function renderStepBecause(because: StepBecause): string {
  switch (because.code) {
    case 'claim':
      return `${renderBecause(because.because)} (rule ${because.rule})`
    case 'clipped': {
      const limited = `the parent ${because.parent} allows no more`
      return because.wanted === undefined
        ? `${limited}; nobody claims this group, and it follows when the parent grows again`
        : `${limited}; wanted more: ${renderStepBecause(because.wanted)}`
    }
    case 'restore':
      return 'no rule wants it any more: back to what it was before the agent'
  }
}

/** What a step changes: `quota of /kubepods/besteffort max → 180m (18000/100000 us)`. */
export function renderStep(step: Step): string {
  return `${step.kind} of ${step.group} ${renderValue(step.kind, step.from)} → ${formatKnobValue(step)}`
}

/** How the class of a pod was found. */
export function renderClassBecause(because: ClassBecause): string {
  switch (because.by) {
    case 'label':
      return `label ${because.key}=${because.value}`
    case 'resources':
      return `it asks for ${because.resource}`
    case 'labelContradicted':
      return `it asks for ${because.resource}, which counts for more than its label ${because.key}=${because.value}`
    case 'level':
      return `level ${because.key}=${because.value}`
    case 'priorityClass':
      return `the configured rule for priority class ${because.name}`
    case 'namespace':
      return `the configured rule for namespace ${because.namespace}`
    case 'labelIgnored':
      return (
        `label ${because.key}=${because.value} is ignored: the pod is ${because.kubeletQos} to the kubelet (it has CPU or memory ` +
        'requests), so its group is not under the offline root'
      )
    case 'kubeletQos':
      return `kubelet QoS ${because.kubeletQos}; no label, offline resource, level, priority class or namespace says otherwise`
  }
}

/** How the node fares, as the cluster is told. */
export function renderSignals(signals: NodeSignals): string {
  return (
    `${signals.hot ? `HOT (${signals.reason})` : 'not hot'}, score ${signals.score}, CPU ${formatPermyriad(signals.cpuUsedPermyriad)} and ` +
    `memory ${formatPermyriad(signals.memoryUsedPermyriad)} used; offline pods could use ${formatMilliCpu(signals.headroomMilli)} CPU and ` +
    `${formatBytes(signals.headroomBytes)} more`
  )
}

/** What is odd about a pod, what becomes of it and what to do: `ClassLabelUnknown: …`. */
export function renderFinding(problem: PodProblem): string {
  const { reason, message } = findingText(problem)
  return `${reason}: ${message}`
}

/** Why a rule did not act. */
export function renderAbstention(abstention: Abstention): string {
  switch (abstention.code) {
    case 'starting':
      return 'too few readings yet to decide on; what is in force stays'
    case 'silent':
      return 'readings are missing or old: nothing grows until they are back'
    case 'wouldKill':
      return (
        `${abstention.pod} uses ${formatBytes(abstention.usesBytes)}, more than the ${formatBytes(abstention.limitBytes)} it asked for: ` +
        'a limit set now would kill it'
      )
  }
}

/** What became of a write. */
export function renderOutcome(outcome: Outcome): string {
  switch (outcome.is) {
    case 'applied':
      return 'written'
    case 'unchanged':
      return 'the file already held it'
    case 'vanished':
      return `the group is gone (${outcome.errno}), as when a pod ends`
    case 'refused':
      return `the kernel refuses this value (${outcome.errno})`
    case 'forbidden':
      return `this process may not write there (${outcome.errno}): check its privileges and how the cgroup tree is mounted`
    case 'begun':
      return 'begun: it may have to reclaim memory first, so it runs beside the loop'
    case 'busy':
      return `the kernel is busy (${outcome.errno}): tried again on the next tick`
    case 'mismatch':
      return `written, but the file reads ${outcome.reads}`
    case 'failed':
      return `the write failed (${outcome.errno})`
  }
}

/** Why an agent that is to enforce does not. */
export function renderReleased(atWallMs: number): string {
  return `released by kube-agent release at ${new Date(atWallMs).toISOString()}: restart the agent to enforce again`
}
