/**
 * The class of a pod. The first of these that answers wins, and says so: its label (its own key, then Koordinator's where that is
 * switched on), the offline resource it asks for, its level, its priority class, a rule for its namespace, its kubelet QoS.
 * An offline class needs the pod's group to lie under the best-effort root, where alone it can be suppressed with the others; what names
 * one for a pod with CPU or memory requests can't move it there and is ignored, visibly where it is a label.
 * A pod that was sold offline capacity yields as such, whatever its label says: otherwise a label would turn what online services lend
 * out into something they don't get back. What is odd about a pod is told in findings.ts.
 */
import type { Config } from '../config/types.ts'
import type { ClassBecause, ClassifiedPod, OfflineClass, OfflineResource, PodReading, PodSpec, QosClass } from '../model/index.ts'
import { hasEnded, isOffline, QOS_CLASSES } from '../model/index.ts'

type Classification = readonly [QosClass, ClassBecause]

const RESOURCES_OF = {
  BE: ['be-cpu', 'be-memory'],
  OT: ['ot-cpu', 'ot-memory'],
} as const satisfies Record<OfflineClass, readonly OfflineResource[]>

const KOORDINATOR_LABEL = 'koordinator.sh/qosClass'
/** What Koordinator's classes are here. LSE is its class with CPUs that nobody shares. */
const KOORDINATOR_CLASSES: Readonly<Record<string, QosClass>> = { LSE: 'LSX', LSR: 'LSR', LS: 'LS', BE: 'BE', SYSTEM: 'SYSTEM' }

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
  return config.resources.fullNames[resource]
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

/** Whether an online pod runs there now: it has a group, and has not ended for good. */
export function runsBesideOffline(pod: ClassifiedPod): boolean {
  return isOnlineBelowOfflineRoot(pod) && pod.reading.present && !hasEnded(pod.reading.spec)
}

/** A label of the pod that is there to name its class, and the class it names, if it names one. */
export interface ClassLabel {
  readonly key: string
  readonly value: string
  readonly names: QosClass | undefined
}

/** The label that counts: the first that names a class, else the first there is. */
export function classLabelOf(spec: PodSpec, config: Config): ClassLabel | undefined {
  const own = spec.labels[config.classes.label]
  const named = QOS_CLASSES.find((known) => known === own)
  if (own !== undefined && named !== undefined) return { key: config.classes.label, value: own, names: named }
  const theirs = config.classes.koordinatorLabel ? spec.labels[KOORDINATOR_LABEL] : undefined
  const meant = entryOf(KOORDINATOR_CLASSES, theirs)
  if (theirs !== undefined && (meant !== undefined || own === undefined))
    return { key: KOORDINATOR_LABEL, value: theirs, names: meant }
  return own === undefined ? undefined : { key: config.classes.label, value: own, names: undefined }
}

function classOf(spec: PodSpec, config: Config): Classification {
  return (
    labelClass(spec, config) ??
    resourceClass(spec, config) ??
    levelClass(spec, config) ??
    priorityClass(spec, config) ??
    namespaceClass(spec, config) ?? [
      spec.kubeletQos === 'BestEffort' ? config.classes.besteffort : 'LS',
      { by: 'kubeletQos', kubeletQos: spec.kubeletQos },
    ]
  )
}

/** A label that names no class is as good as none. */
function labelClass(spec: PodSpec, config: Config): Classification | undefined {
  const label = classLabelOf(spec, config)
  if (label?.names === undefined) return undefined
  const { key, value, names } = label
  if (!canBe(names, spec)) return ['LS', { by: 'labelIgnored', key, value, kubeletQos: spec.kubeletQos }]
  const [sold, because] = resourceClass(spec, config) ?? []
  if (because?.by !== 'resources' || sold === undefined || sold === names || names === 'OT')
    return [names, { by: 'label', key, value }]
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

function levelClass(spec: PodSpec, { classes }: Config): Classification | undefined {
  const key = classes.levelLabel
  const value = spec.labels[key]
  const named = entryOf(classes.levels, value)
  return value === undefined || named === undefined || !canBe(named, spec) ? undefined : [named, { by: 'level', key, value }]
}

function priorityClass(spec: PodSpec, { classes }: Config): Classification | undefined {
  const name = spec.priorityClassName
  const named = entryOf(classes.priorityClasses, name)
  return name === undefined || named === undefined || !canBe(named, spec) ? undefined : [named, { by: 'priorityClass', name }]
}

function namespaceClass(spec: PodSpec, { classes }: Config): Classification | undefined {
  const { namespace } = spec
  const named = entryOf(classes.namespaces, namespace)
  return named === undefined || !canBe(named, spec) ? undefined : [named, { by: 'namespace', namespace }]
}

/** `constructor` is a good name for a namespace, and a property of every plain object. */
function entryOf(classes: Readonly<Record<string, QosClass>>, name: string | undefined): QosClass | undefined {
  return name !== undefined && Object.hasOwn(classes, name) ? classes[name] : undefined
}

function canBe(qosClass: QosClass, spec: PodSpec): boolean {
  return !isOffline(qosClass) || spec.kubeletQos === 'BestEffort'
}
