/**
 * What pods ask for that their owners can't have meant. Every one of these pods runs, in the way that model/signals.ts lays down for each
 * code and model/findings.ts puts in words; nothing is refused here. One finding for one cause: a pod with requests beside its offline
 * resources is told that, and not as well that its label has no effect.
 */
import type { Config } from '../config/types.ts'
import type { ClassifiedPod, OfflineResource, PodFinding, PodProblem, PodSpec } from '../model/index.ts'
import { hasEnded, isOffline, OFFLINE_RESOURCES } from '../model/index.ts'
import { classLabelOf, firstAsked, fullNameOf } from './classify.ts'

/** The findings about pods that have not ended, in the order of the pods. */
export function findingsOf(pods: readonly ClassifiedPod[], config: Config): PodFinding[] {
  const findings: PodFinding[] = []
  for (const pod of pods) {
    const { spec } = pod.reading
    if (hasEnded(spec)) continue
    const { namespace, name } = spec
    for (const problem of problemsOf(pod, config)) findings.push({ namespace, name, uid: spec.uid, ...problem })
  }
  return findings
}

function problemsOf(pod: ClassifiedPod, config: Config): PodProblem[] {
  const { spec } = pod.reading
  const problems = labelProblems(pod, config)
  if (isOffline(pod.qosClass)) problems.push(...pairProblems(pod, config))
  const resource = spec.kubeletQos === 'BestEffort' ? undefined : firstOf(spec.extended, config)
  if (resource !== undefined) problems.push({ code: 'requestsToo', resource, kubeletQos: spec.kubeletQos })
  problems.push(...fractionProblems(spec, config), ...initProblems(spec, config))
  return problems
}

function labelProblems({ reading: { spec }, qosClass: taken, because }: ClassifiedPod, config: Config): PodProblem[] {
  const label = classLabelOf(spec, config)
  if (label === undefined) return []
  const { key, value } = label
  if (label.names === undefined) return [{ code: 'labelUnknown', key, value, taken }]
  if (because.by === 'labelIgnored') {
    const { kubeletQos } = because
    return firstOf(spec.extended, config) === undefined ? [{ code: 'labelIgnored', key, value, kubeletQos }] : []
  }
  const be = firstAsked(spec, 'BE', config)
  const ot = firstAsked(spec, 'OT', config)
  // Of a pod that asks for the resources of its label, and for others, the resources are the matter.
  if (!isOffline(taken) || (value === 'BE' && be !== undefined) || (value === 'OT' && ot !== undefined)) return []
  const resource = ot ?? be
  return resource === undefined ? [] : [{ code: 'labelContradicts', key, value, resource, taken }]
}

/** CPU and memory come in pairs, of one kind. */
function pairProblems({ reading: { spec }, qosClass, askedMilli, askedBytes }: ClassifiedPod, config: Config): PodProblem[] {
  const be = firstAsked(spec, 'BE', config)
  const ot = firstAsked(spec, 'OT', config)
  const problems: PodProblem[] = []
  if (be !== undefined && ot !== undefined) problems.push({ code: 'twoKinds', first: be, second: ot, taken: qosClass })
  const has = ot ?? be
  if (has === undefined || askedMilli > 0 === askedBytes > 0) return problems
  const lacks: OfflineResource = `${ot === undefined ? 'be' : 'ot'}-${askedMilli > 0 ? 'memory' : 'cpu'}`
  problems.push({ code: 'halfAsked', has, lacks: fullNameOf(lacks, config) })
  return problems
}

/** Of resources that others sell nothing is known here. */
function fractionProblems({ fractions = {}, extended }: PodSpec, config: Config): PodProblem[] {
  return OFFLINE_RESOURCES.flatMap((offline): PodProblem[] => {
    const resource = fullNameOf(offline, config)
    const asked = fractions[resource]
    return asked === undefined ? [] : [{ code: 'fraction', resource, asked, taken: extended[resource] ?? 0 }]
  })
}

/** A sidecar runs on when the kubelet restarts, as the main containers do: it is at no risk. */
function initProblems(spec: PodSpec, config: Config): PodProblem[] {
  const problems: PodProblem[] = []
  for (const { name: container, kind, extended } of spec.containers) {
    const resource = kind === 'init' ? firstOf(extended, config) : undefined
    if (resource !== undefined) problems.push({ code: 'initContainer', resource, container })
  }
  return problems
}

function firstOf(extended: PodSpec['extended'], config: Config): string | undefined {
  return OFFLINE_RESOURCES.map((resource) => fullNameOf(resource, config)).find((name) => (extended[name] ?? 0) > 0)
}
