/**
 * A Kubernetes Pod object as the API server, a kubelet or a manifest gives it → PodSpec. Strict about what the agent acts on, silent
 * about the rest of the Pod schema. What its resources come to is worked out in pod-resources.ts.
 * Source: kubernetes pkg/kubelet/pod/mirror_client.go (mirror pods), pkg/apis/core/v1/helper/qos GetPodQOS, 1.36.
 */
import { isPodUid } from './groups.ts'
import type { ContainerKind, ContainerSpec, PodSpec } from './pod.ts'
import {
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
const PHASES = ['Pending', 'Running', 'Succeeded', 'Failed', 'Unknown'] as const

/**
 * Reads one Pod; undefined for nothing at all (an empty document). `kind` must be Pod unless `impliedKind` is given: items of a PodList carry
 * none. Throws an Error that names the field and says what was expected.
 */
export function podFromObject(root: unknown, origin: string, impliedKind?: 'Pod'): PodSpec | undefined {
  if (root === null || root === undefined) return undefined
  const pod = object(root, 'document')
  if ((pod['kind'] ?? impliedKind) !== 'Pod') throw new Error(`expected kind: Pod, got ${JSON.stringify(pod['kind'])}`)
  const metadata = object(pod['metadata'], 'metadata')
  const spec = object(pod['spec'], 'spec')
  const name = text(metadata['name'], 'metadata.name')
  const annotations = optional(metadata['annotations'], 'metadata.annotations')
  const uid = text(groupUid(metadata, annotations), 'metadata.uid')
  if (!isPodUid(uid)) throw new Error(`metadata.uid: not a pod UID: ${JSON.stringify(uid.slice(0, 80))}`)
  const containers = containersOf(spec, 'containers')
  if (containers.length === 0) throw new Error('spec.containers: expected a list with at least one entry')
  const initContainers = containersOf(spec, 'initContainers')
  const status = optional(pod['status'], 'status')
  const asked: PodResources = { containers, initContainers, podLevel: podLevelOf(spec) }
  const { cpu = 0, memory = 0, ...extended } = podRequests(asked)
  const objectUid = metadata['uid']
  return {
    uid,
    ...(typeof objectUid === 'string' && objectUid !== uid ? { objectUid } : {}),
    namespace: text(metadata['namespace'] ?? 'default', 'metadata.namespace'),
    name,
    labels: labels(metadata['labels']),
    ...(typeof spec['priorityClassName'] === 'string' ? { priorityClassName: spec['priorityClassName'] } : {}),
    // The kubelet goes by the status where it has one, and that is what the pod's group is named by.
    kubeletQos: KUBELET_QOS.find((known) => known === status['qosClass']) ?? podQos(asked),
    requests: { cpuMilli: milliCpu(cpu), memoryBytes: bytes(memory) },
    extended,
    phase: PHASES.find((known) => known === status['phase']) ?? 'Running',
    containers: [
      ...containers.map((container, index) => containerSpec(container, `spec.containers[${index}]`, 'main', status)),
      ...initContainers.map((container, index) =>
        containerSpec(container, `spec.initContainers[${index}]`, isSidecar(container) ? 'sidecar' : 'init', status),
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

function podLevelOf(spec: Json): Json | undefined {
  const resources = spec['resources']
  return resources === undefined || resources === null ? undefined : { resources: object(resources, 'spec.resources') }
}

function containerSpec(container: Json, path: string, kind: ContainerKind, status: Json): ContainerSpec {
  const name = text(container['name'], `${path}.name`)
  const statuses = status[kind === 'main' ? 'containerStatuses' : 'initContainerStatuses']
  const id = (Array.isArray(statuses) ? (statuses as unknown[]) : [])
    .map((entry) => (typeof entry === 'object' && entry !== null ? (entry as Json) : {}))
    .find((entry) => entry['name'] === name)?.['containerID']
  const { cpu: _cpu, memory: _memory, ...extended } = requestsOf(container)
  const cpuLimit = limitsOf(container)['cpu']
  return {
    name,
    kind,
    extended,
    ...(cpuLimit === undefined || cpuLimit === 0 ? {} : { cpuLimitMilli: milliCpu(cpuLimit) }),
    ...(typeof id === 'string' && id !== '' ? { id } : {}),
  }
}

function labels(value: unknown): Record<string, string> {
  return Object.fromEntries(Object.entries(optional(value, 'metadata.labels')).map(([key, label]) => [key, String(label)]))
}

function containersOf(spec: Json, which: 'containers' | 'initContainers'): readonly Json[] {
  const value = spec[which] ?? []
  if (!Array.isArray(value)) throw new Error(`spec.${which}: expected a list`)
  return (value as unknown[]).map((entry, index) => object(entry, `spec.${which}[${index}]`))
}

function text(value: unknown, path: string): string {
  if (typeof value !== 'string' || value === '')
    throw new Error(`${path}: expected a text, got ${JSON.stringify(value) ?? 'nothing'}`)
  return value
}
