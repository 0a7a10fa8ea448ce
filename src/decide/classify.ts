/**
 * The class of a pod: its label, else the offline resource it asks for, else a rule for its namespace, else its kubelet QoS. The first
 * that answers wins, and says so.
 * An offline class needs the pod's group to lie under the best-effort root, where alone it can be suppressed with the others; a label
 * on a pod with CPU or memory requests can't move it there and is ignored, visibly.
 */
import type { Config } from '../config/types.ts'
import type { ClassBecause, ClassifiedPod, PodReading, PodSpec, QosClass } from '../model/index.ts'
import { isOffline, QOS_CLASSES } from '../model/index.ts'

type Classification = readonly [QosClass, ClassBecause]

/** Classifies one pod and works out what it asked for in offline resources, in milli-CPU and bytes. */
export function classify(reading: PodReading, config: Config): ClassifiedPod {
  const [qosClass, because] = classOf(reading.spec, config)
  if (!isOffline(qosClass)) return { reading, qosClass, because, askedMilli: 0, askedBytes: 0 }
  const prefix = `${config.resources.domain}/${qosClass.toLowerCase()}`
  return {
    reading,
    qosClass,
    because,
    askedMilli: (reading.spec.extended[`${prefix}-cpu`] ?? 0) * config.resources.cpuUnitMilli,
    askedBytes: (reading.spec.extended[`${prefix}-memory`] ?? 0) * config.resources.memoryUnitBytes,
  }
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

function labelClass(spec: PodSpec, config: Config): Classification | undefined {
  const key = config.classes.label
  const value = spec.labels[key]
  const labelled = QOS_CLASSES.find((known) => known === value)
  if (value === undefined || labelled === undefined) return undefined
  if (canBe(labelled, spec)) return [labelled, { by: 'label', key, value }]
  return ['LS', { by: 'labelIgnored', key, value, kubeletQos: spec.kubeletQos }]
}

function resourceClass(spec: PodSpec, config: Config): Classification | undefined {
  if (!canBe('BE', spec)) return undefined
  // A pod that asks for both kinds is taken for the one that yields more.
  for (const [suffixes, qosClass] of [
    [['ot-cpu', 'ot-memory'], 'OT'],
    [['be-cpu', 'be-memory'], 'BE'],
  ] as const) {
    for (const suffix of suffixes) {
      const resource = `${config.resources.domain}/${suffix}`
      if ((spec.extended[resource] ?? 0) > 0) return [qosClass, { by: 'resources', resource }]
    }
  }
  return undefined
}

function canBe(qosClass: QosClass, spec: PodSpec): boolean {
  return !isOffline(qosClass) || spec.kubeletQos === 'BestEffort'
}
