/**
 * A Kubernetes Pod object as the API server, a kubelet or a manifest gives it → PodSpec. Strict about what the agent acts on, silent
 * about the rest of the Pod schema. What its resources come to is worked out in pod-resources.ts.
 * Source: kubernetes pkg/kubelet/pod/mirror_client.go (mirror pods), pkg/kubelet/types/pod_update.go (IsStaticPod),
 * pkg/apis/core/v1/helper/qos GetPodQOS, 1.36.
 */
import { isPodUid } from './groups.ts'
import type { ContainerKind, ContainerSpec, PodSpec } from './pod.ts'
import {
  fractionsOf,
  isSidecar,
  type Json,
  limitsOf,
  object,
  optional,
  podQos,
  podRequests,
  type PodResources,
  requestsOf,
} from './pod-resources.ts'
import { KUBELET_QOS } from './qos.ts'
import { bytes, milliCpu } from './units.ts'

const CONFIG_HASH = 'kubernetes.io/config.hash'
const CONFIG_MIRROR = 'kubernetes.io/config.mirror'
const CONFIG_SOURCE = 'kubernetes.io/config.source'
/** What Date.parse reads beyond this differs from engine to engine. */
const RFC3339 = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[+-]\d{2}:\d{2})$/
/** Kubernetes: names of objects and containers are DNS names; here what can neither lead elsewhere nor forge a line of a message. */
const NAME = /^[0-9A-Za-z][-0-9A-Za-z._]{0,252}$/
/** Kubernetes: 63 characters. */
const LABEL_VALUE = /^\P{Cc}{0,63}$/u
const PHASES = ['Pending', 'Running', 'Succeeded', 'Failed', 'Unknown'] as const

/**
 * Reads one Pod; undefined for nothing at all (an empty document). `kind` must be Pod unless `impliedKind` is given: items of a PodList carry
 * none. Throws an Error that names the field and says what was expected.
 */
export function podFromObject(root: unknown, origin: string, impliedKind?: 'Pod'): PodSpec | undefined {
  if (root === null || root === undefined) return undefined
  const pod = object(root, 'document')
  if ((pod['kind'] ?? impliedKind) !== 'Pod') throw new Error(`expected kind: Pod, got ${shown(pod['kind'])}`)
  const metadata = object(pod['metadata'], 'metadata')
  const spec = object(pod['spec'], 'spec')
  const name = nameOf(metadata['name'], 'metadata.name')
  const annotations = optional(metadata['annotations'], 'metadata.annotations')
  const uid = text(groupUid(metadata, annotations), 'metadata.uid')
  if (!isPodUid(uid)) throw new Error(`metadata.uid: not a pod UID: ${shown(uid)}`)
  const containers = containersOf(spec, 'containers')
  if (containers.length === 0) throw new Error('spec.containers: expected a list with at least one entry')
  const initContainers = containersOf(spec, 'initContainers')
  const status = optional(pod['status'], 'status')
  const asked: PodResources = { containers, initContainers, podLevel: podLevelOf(spec) }
  const { cpu = 0, memory = 0, ...extended } = podRequests(asked)
  const fractions = fractionsOf(asked)
  const objectUid = metadata['uid']
  if (typeof objectUid === 'string' && !isPodUid(objectUid)) throw new Error(`metadata.uid: not a pod UID: ${shown(objectUid)}`)
  const [ids, initIds] = [containerIds(status['containerStatuses']), containerIds(status['initContainerStatuses'])]
  return {
    uid,
    ...(typeof objectUid === 'string' && objectUid !== uid ? { objectUid } : {}),
    namespace: nameOf(metadata['namespace'] ?? 'default', 'metadata.namespace'),
    name,
    labels: labels(metadata['labels']),
    ...(isName(spec['priorityClassName']) ? { priorityClassName: spec['priorityClassName'] } : {}),
    ...lifeOf(metadata, annotations, spec),
    // The kubelet goes by the status where it has one, and that is what the pod's group is named by.
    kubeletQos: KUBELET_QOS.find((known) => known === status['qosClass']) ?? podQos(asked),
    requests: { cpuMilli: milliCpu(cpu), memoryBytes: bytes(memory) },
    extended,
    ...(Object.keys(fractions).length === 0 ? {} : { fractions }),
    phase: PHASES.find((known) => known === status['phase']) ?? 'Running',
    containers: [
      ...containers.map((container, index) => containerSpec(container, `spec.containers[${index}]`, 'main', ids)),
      ...initContainers.map((container, index) =>
        containerSpec(container, `spec.initContainers[${index}]`, isSidecar(container) ? 'sidecar' : 'init', initIds),
      ),
    ],
    origin,
  }
}

/**
 * The UID that names the pod's group. A static pod's is its hash, which the API server shows in annotations of the mirror pod only: the
 * mirror's own UID names nothing on the node. On any other pod these annotations are its owner's words, and to believe them would
 * let a pod pass for another one.
 */
function groupUid(metadata: Json, annotations: Json): unknown {
  const mirrored = annotations[CONFIG_MIRROR]
  if (mirrored !== undefined) return annotations[CONFIG_HASH] ?? mirrored
  return metadata['uid'] ?? annotations[CONFIG_HASH]
}

type PodLife = Pick<PodSpec, 'priority' | 'createdWallMs' | 'controllerKind' | 'isStatic' | 'isEnding' | 'graceSeconds'>

/** What decides who goes first when pods have to go, and who goes already. None of it is needed to look after a pod: nonsense is as good as nothing. */
function lifeOf(metadata: Json, annotations: Json, spec: Json): PodLife {
  const { priority, terminationGracePeriodSeconds: grace } = spec
  const created = metadata['creationTimestamp']
  const createdWallMs = typeof created === 'string' && RFC3339.test(created) ? Date.parse(created) : NaN
  const controllerKind = controllerKindOf(metadata['ownerReferences'])
  const source = annotations[CONFIG_SOURCE]
  // Kubernetes: a pod without a source has come from the API server; a mirror pod stands for one that has not.
  const isStatic = annotations[CONFIG_MIRROR] !== undefined || (source !== undefined && source !== 'api')
  return {
    ...(Number.isSafeInteger(priority) ? { priority: priority as number } : {}),
    ...(Number.isNaN(createdWallMs) ? {} : { createdWallMs }),
    ...(controllerKind === undefined ? {} : { controllerKind }),
    ...(isStatic ? { isStatic } : {}),
    ...(typeof metadata['deletionTimestamp'] === 'string' ? { isEnding: true } : {}),
    ...(Number.isSafeInteger(grace) && (grace as number) >= 0 ? { graceSeconds: grace as number } : {}),
  }
}

function controllerKindOf(owners: unknown): string | undefined {
  for (const owner of Array.isArray(owners) ? (owners as unknown[]) : []) {
    if (typeof owner !== 'object' || owner === null) continue
    const { controller, kind } = owner as Json
    if (controller === true && isName(kind)) return kind
  }
  return undefined
}

function podLevelOf(spec: Json): Json | undefined {
  const resources = spec['resources']
  return resources === undefined || resources === null ? undefined : { resources: object(resources, 'spec.resources') }
}

/** The runtime's ids by the names of containers. An object can hold tens of thousands of either: one walk for all of them. */
function containerIds(statuses: unknown): ReadonlyMap<string, string> {
  const ids = new Map<string, string>()
  for (const entry of Array.isArray(statuses) ? (statuses as unknown[]) : []) {
    const { name, containerID } = typeof entry === 'object' && entry !== null ? (entry as Json) : {}
    if (typeof name === 'string' && typeof containerID === 'string' && !ids.has(name)) ids.set(name, containerID)
  }
  return ids
}

function containerSpec(container: Json, path: string, kind: ContainerKind, ids: ReadonlyMap<string, string>): ContainerSpec {
  const name = nameOf(container['name'], `${path}.name`)
  const id = ids.get(name) ?? ''
  const { cpu: _cpu, memory: _memory, ...extended } = requestsOf(container)
  const cpuLimit = limitsOf(container)['cpu']
  return {
    name,
    kind,
    extended,
    ...(cpuLimit === undefined || cpuLimit === 0 ? {} : { cpuLimitMilli: milliCpu(cpuLimit) }),
    ...(id === '' ? {} : { id }),
  }
}

function labels(value: unknown): Record<string, string> {
  return Object.fromEntries(
    Object.entries(optional(value, 'metadata.labels')).map(([key, label]) => {
      // YAML makes numbers and truths of texts that nobody has put in quotes.
      const text = typeof label === 'object' && label !== null ? undefined : String(label)
      if (text !== undefined && LABEL_VALUE.test(text)) return [key, text]
      throw new Error(`metadata.labels[${shown(key)}]: expected a text of at most 63 characters, got ${shown(label)}`)
    }),
  )
}

function containersOf(spec: Json, which: 'containers' | 'initContainers'): readonly Json[] {
  const value = spec[which] ?? []
  if (!Array.isArray(value)) throw new Error(`spec.${which}: expected a list`)
  return (value as unknown[]).map((entry, index) => object(entry, `spec.${which}[${index}]`))
}

function text(value: unknown, path: string): string {
  if (typeof value !== 'string' || value === '') throw new Error(`${path}: expected a text, got ${shown(value)}`)
  return value
}

function isName(value: unknown): value is string {
  return typeof value === 'string' && NAME.test(value)
}

function nameOf(value: unknown, path: string): string {
  const name = text(value, path)
  if (!isName(name)) throw new Error(`${path}: expected a name such as web-0, got ${shown(name)}`)
  return name
}

const MAX_SHOWN = 80

/** A value of anybody's in a few words of one line: it may be megabytes, or nested too deeply to be printed. */
function shown(value: unknown): string {
  if (value === undefined) return 'nothing'
  if (typeof value === 'object' && value !== null) return Array.isArray(value) ? 'a list' : 'a mapping'
  return JSON.stringify(typeof value === 'string' ? value.slice(0, MAX_SHOWN) : value) ?? typeof value
}
