/**
 * What is odd about a pod, what the agent does with it all the same, and what its owner should do: the one place where that is put in
 * words. Events, `explain` and the journal all print these texts. The first part of a text is what is odd, the second what happens,
 * the third what to do.
 */
import type { PodProblem } from './signals.ts'

export type FindingCode = PodProblem['code']

/** How events and metrics name a problem; a closed list. */
export const FINDING_REASONS: Readonly<Record<FindingCode, string>> = {
  halfAsked: 'OfflineResourcesIncomplete',
  initContainer: 'OfflineResourcesOnInitContainer',
  labelContradicts: 'ClassLabelContradictsResources',
  labelIgnored: 'ClassLabelIgnored',
  labelUnknown: 'ClassLabelUnknown',
  twoKinds: 'OfflineResourcesOfTwoKinds',
  requestsToo: 'OfflineResourcesBesideRequests',
  fraction: 'OfflineResourcesInFractions',
  noExclusiveCpus: 'NoExclusiveCpus',
  noCpuRequest: 'ExclusiveClassWithoutCpuRequest',
  unfollowed: 'NestedQuotasNotFollowed',
}

/** Kubernetes allows 63 characters in a label's value and in a container's name, but a manifest on disk was held to nothing. */
const MAX_NAME = 63
/** Keys and resource names are those of the configuration. */
const MAX_KEY = 120

/** The reason of a problem (CamelCase, from FINDING_REASONS) and a message of at most 1000 bytes. */
export function findingText(problem: PodProblem): { readonly reason: string; readonly message: string } {
  return { reason: FINDING_REASONS[problem.code], message: messageFor(problem) }
}

function messageFor(problem: PodProblem): string {
  switch (problem.code) {
    case 'halfAsked':
      return halfAsked(problem.has, problem.lacks)
    case 'initContainer':
      return (
        `Init container ${clip(problem.container, MAX_NAME)} asks for ${short(problem.resource)}. It is counted as Kubernetes counts it and limited ` +
        'with the pod, but a kubelet that restarts before the plugin is back may reject the pod. Ask for it on the main containers only.'
      )
    case 'labelContradicts':
      return (
        `The label ${pair(problem)} contradicts the pod's resources: it asks for ${short(problem.resource)}. The pod runs as ` +
        `${problem.taken}, ${problem.value === problem.taken ? 'the class that yields more' : 'as its resources say'}. ` +
        'Correct the label, or ask for other resources.'
      )
    case 'labelIgnored':
      return (
        `The label ${pair(problem)} has no effect: with its CPU or memory requests or limits the pod is ${problem.kubeletQos} to the ` +
        'kubelet, lies outside of the root of offline pods and runs as LS. Ask for offline resources in place of them, or drop the label.'
      )
    case 'labelUnknown':
      return (
        `The label ${pair(problem)} names no class, so it is ignored and the pod runs as ${problem.taken}. ` +
        'Write LSX, LSR, LS, BE, OT or SYSTEM, or drop the label.'
      )
    case 'twoKinds':
      return (
        `The pod asks for ${short(problem.first)} and for ${short(problem.second)}. Both count towards its limits, and it runs as ` +
        `${problem.taken}, the class that yields more. Ask for be-* or for ot-* only.`
      )
    case 'requestsToo':
      return (
        `The pod asks for ${short(problem.resource)} beside CPU or memory requests or limits. That makes it ${problem.kubeletQos} to the ` +
        'kubelet: it runs online, is neither limited nor suppressed by the agent, and holds its offline units for nothing. Drop either the ' +
        'requests and limits, or the offline resources.'
      )
    case 'fraction':
      return (
        `The pod asks for ${clip(problem.asked, MAX_NAME)} of ${short(problem.resource)}, and a unit can't be divided. It is counted and limited as ` +
        `if it had asked for the next whole number, ${problem.taken} in all. Write whole numbers.`
      )
    case 'unfollowed':
      return (
        'The pod has more CPU quotas in groups of its own than the agent can follow, and on this node (cgroup v1) each of them keeps the kernel from ' +
        `lowering the quotas above it. ${problem.standsStill ? 'It stands still until the kernel takes those again' : 'Its own CPU limit may not be in force'}. ` +
        'Run fewer containers with CPU limits inside it, or run them without limits.'
      )
    case 'noExclusiveCpus':
      return (
        `The ${problem.qosClass} pod needs ${cpus(problem.wantedCpus)}${problem.qosClass === 'LSX' ? ' in whole cores' : ''} for itself, and ` +
        `${problem.freeCpus === 0 ? 'none' : `only ${problem.freeCpus}`} can be given away. It runs on the online pool, and gets its own ` +
        'when enough are free. Move it or another pod with CPUs of its own to another node, or ask for fewer.'
      )
    case 'noCpuRequest':
      return (
        `The pod is ${problem.qosClass} and requests no CPU, so the number of CPUs it should have for itself is not known. It runs on the ` +
        'online pool. Request CPUs, or drop the class.'
      )
  }
}

function halfAsked(has: string, lacks: string): string {
  const odd = `The pod asks for ${short(has)} without ${short(lacks)}.`
  const todo = `Ask for ${short(lacks)} as well.`
  if (lacks.endsWith('-memory'))
    return `${odd} Its CPU is limited; its memory is not, so it is among the first to be evicted when memory runs short. ${todo}`
  const share = lacks.endsWith('ot-cpu')
    ? 'it shares the CPU of OT as if it had asked for a thousandth of a CPU'
    : 'it has no CPU limit of its own and the least weight among BE pods, so it gets what they leave of the offline allowance'
  return `${odd} Its memory is limited; ${share}. ${todo}`
}

function cpus(count: number): string {
  return `${count} CPU${count === 1 ? '' : 's'}`
}

function pair({ key, value }: { readonly key: string; readonly value: string }): string {
  return `${short(key)}=${clip(value, MAX_NAME)}`
}

function short(name: string): string {
  return clip(name, MAX_KEY)
}

function clip(text: string, length: number): string {
  return text.length <= length ? text : `${text.slice(0, length - 1)}…`
}
