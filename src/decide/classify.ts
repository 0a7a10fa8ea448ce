/**
 * The class of a pod: its label, else the offline resource it asks for, else a rule for its namespace, else its kubelet QoS. The first
 * that answers wins, and says so.
 * An offline class needs the pod's group to lie under the best-effort root, where alone it can be suppressed with the others; a label
 * on a pod with CPU or memory requests can't move it there and is ignored, visibly.
 * A pod that was sold offline capacity yields as such, whatever its label says: otherwise a label would turn what online services lend
 * out into something they don't get back. What is odd about a pod is told in findings.ts.
 */
import type { Config } from '../config/types.ts'
import type { ClassBecause, ClassifiedPod, OfflineClass, OfflineResource, PodReading, PodSpec, QosClass } from '../model/index.ts'
import { isOffline, QOS_CLASSES } from '../model/index.ts'

type Classification = readonly [QosClass, ClassBecause]

const RESOURCES_OF = {
  BE: ['be-cpu', 'be-memory'],
  OT: ['ot-cpu', 'ot-memory'],
} as const satisfies Record<OfflineClass, readonly OfflineResource[]>

/** Classifies one pod and works out what it asked for in offline resources, in milli-CPU and bytes. */
export function classify(reading: PodReading, config: Config): ClassifiedPod {
  const { spec } = reading
  const [qosClass, because] = classOf(spec, config)
  if (!isOffline(qosClass)) return { reading, qosClass, because, askedMilli: 0, askedBytes: 0 }
  const { cpuUnitMilli, memoryUnitBytes } = config.resources
  return {
    reading,
    qosClass,
    because,
    askedMilli: (unitsOf(spec, 'be-cpu', config) + unitsOf(spec, 'ot-cpu', config)) * cpuUnitMilli,
    askedBytes: (unitsOf(spec, 'be-memory', config) + unitsOf(spec, 'ot-memory', config)) * memoryUnitBytes,
  }
}

/** The full name of an offline resource: what pods ask for. */
export function fullNameOf(resource: OfflineResource, config: Config): string {
  return `${config.resources.domain}/${resource}`
}

function unitsOf(spec: PodSpec, resource: OfflineResource, config: Config): number {
  return spec.extended[fullNameOf(resource, config)] ?? 0
}

/** Full name of the first resource of an offline class that the pod asks for. */
export function firstAsked(spec: PodSpec, qosClass: OfflineClass, config: Config): string | undefined {
  const asked = RESOURCES_OF[qosClass].find((resource) => unitsOf(spec, resource, config) > 0)
  return asked === undefined ? undefined : fullNameOf(asked, config)
}

/** Whether an online pod lives where offline pods do: its use is part of the offline root's, but not for offline pods to answer for. */
export function isOnlineBelowOfflineRoot({ reading, qosClass }: ClassifiedPod): boolean {
  return !isOffline(qosClass) && reading.spec.kubeletQos === 'BestEffort'
}

function classOf(spec: PodSpec, config: Config): Classification {
  const byLabel = labelClass(spec, config)
  if (byLabel !== undefined) return byLabel
  const byResource = resourceClass(spec, config)
  if (byResource !== undefined) return byResource
  const { namespaces } = config.classes
  // `constructor` is a good name for a namespace, and a property of every plain object.
  const byNamespace = Object.hasOwn(namespaces, spec.namespace) ? namespaces[spec.namespace] : undefined
  if (byNamespace !== undefined && canBe(byNamespace, spec)) return [byNamespace, { by: 'namespace', namespace: spec.namespace }]
  const fallback: QosClass = spec.kubeletQos === 'BestEffort' ? config.classes.besteffort : 'LS'
  return [fallback, { by: 'kubeletQos', kubeletQos: spec.kubeletQos }]
}

/** A label that names no class is as good as none. */
function labelClass(spec: PodSpec, config: Config): Classification | undefined {
  const key = config.classes.label
  const value = spec.labels[key]
  const labelled = QOS_CLASSES.find((known) => known === value)
  if (value === undefined || labelled === undefined) return undefined
  if (!canBe(labelled, spec)) return ['LS', { by: 'labelIgnored', key, value, kubeletQos: spec.kubeletQos }]
  const [sold, because] = resourceClass(spec, config) ?? []
  if (because?.by !== 'resources' || sold === undefined || sold === labelled || labelled === 'OT')
    return [labelled, { by: 'label', key, value }]
  return [sold, { by: 'labelContradicted', key, value, resource: because.resource }]
}

function resourceClass(spec: PodSpec, config: Config): Classification | undefined {
  if (!canBe('BE', spec)) return undefined
  // A pod that asks for both kinds is taken for the one that yields more.
  for (const qosClass of ['OT', 'BE'] as const) {
    const resource = firstAsked(spec, qosClass, config)
    if (resource !== undefined) return [qosClass, { by: 'resources', resource }]
  }
  return undefined
}

function canBe(qosClass: QosClass, spec: PodSpec): boolean {
  return !isOffline(qosClass) || spec.kubeletQos === 'BestEffort'
}
