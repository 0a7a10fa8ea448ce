/**
 * A Kubernetes Pod object as the API server, a kubelet or a manifest gives it → PodSpec. Strict about what the agent acts on, silent
 * about the rest of the Pod schema.
 * Source: kubernetes pkg/apis/core/v1/helper/qos (QoS class), resource quantities as in quantity.ts.
 */
import { messageOf } from './errors.ts'
import { isPodUid } from './groups.ts'
import type { ContainerKind, ContainerSpec, PodSpec } from './pod.ts'
import type { KubeletQos } from './qos.ts'
import { parseCpuQuantity, parseMemoryQuantity } from './quantity.ts'
import { bytes, milliCpu } from './units.ts'

/** The annotation that names a static pod's cgroup; the mirror pod's UID does not. */
const CONFIG_HASH = 'kubernetes.io/config.hash'
const PHASES = ['Pending', 'Running', 'Succeeded', 'Failed', 'Unknown'] as const

type Json = Readonly<Record<string, unknown>>

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
  const uid = text(annotations[CONFIG_HASH] ?? metadata['uid'], 'metadata.uid')
  if (!isPodUid(uid)) throw new Error(`metadata.uid: not a pod UID: ${JSON.stringify(uid.slice(0, 80))}`)
  const containers = containersOf(spec, 'containers')
  if (containers.length === 0) throw new Error('spec.containers: expected a list with at least one entry')
  const initContainers = containersOf(spec, 'initContainers')
  const status = optional(pod['status'], 'status')
  const { cpu = 0, memory = 0, ...extended } = podRequests(containers, initContainers)
  const objectUid = metadata['uid']
  return {
    uid,
    ...(typeof objectUid === 'string' && objectUid !== uid ? { objectUid } : {}),
    namespace: text(metadata['namespace'] ?? 'default', 'metadata.namespace'),
    name,
    labels: labels(metadata['labels']),
    kubeletQos: kubeletQos([...containers, ...initContainers]),
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

const isSidecar = (container: Json): boolean => container['restartPolicy'] === 'Always'

function containerSpec(container: Json, path: string, kind: ContainerKind, status: Json): ContainerSpec {
  const name = text(container['name'], `${path}.name`)
  const statuses = status[kind === 'main' ? 'containerStatuses' : 'initContainerStatuses']
  const id = (Array.isArray(statuses) ? (statuses as unknown[]) : [])
    .map((entry) => (typeof entry === 'object' && entry !== null ? (entry as Json) : {}))
    .find((entry) => entry['name'] === name)?.['containerID']
  const { cpu: _cpu, memory: _memory, ...extended } = requestsOf(container)
  return { name, kind, extended, ...(typeof id === 'string' && id !== '' ? { id } : {}) }
}

/** Amounts by resource: cpu in milli-CPU, memory in bytes, everything with a slash in its name in whole units. */
type Amounts = Record<string, number>

/**
 * What the scheduler counts for a pod: containers together with the sidecars among the init containers, or the neediest moment of the
 * start, when one init container runs beside the sidecars before it.
 * Source: kubernetes pkg/api/v1/resource PodRequests, 1.36.
 */
function podRequests(containers: readonly Json[], initContainers: readonly Json[]): Amounts {
  const running: Amounts = {}
  const sidecars: Amounts = {}
  const starting: Amounts = {}
  for (const container of containers) addTo(running, requestsOf(container))
  for (const container of initContainers) {
    const amounts = requestsOf(container)
    if (isSidecar(container)) {
      addTo(running, amounts)
      addTo(sidecars, amounts)
      raiseTo(starting, sidecars)
    } else {
      const both = { ...sidecars }
      addTo(both, amounts)
      raiseTo(starting, both)
    }
  }
  raiseTo(running, starting)
  return running
}

function addTo(sum: Amounts, amounts: Amounts): void {
  for (const [resource, amount] of Object.entries(amounts)) sum[resource] = (sum[resource] ?? 0) + amount
}

function raiseTo(most: Amounts, amounts: Amounts): void {
  for (const [resource, amount] of Object.entries(amounts)) most[resource] = Math.max(most[resource] ?? 0, amount)
}

/** A resource's amount counts from `requests`, else from `limits`, as the API server defaults it. */
function requestsOf(container: Json): Amounts {
  return { ...resources(container, 'limits'), ...resources(container, 'requests') }
}

/** Kubernetes: an extended resource is a quantity (`2k`, `1000m`) that must come out whole. */
function wholeUnits(amount: string | number): number {
  const milli = parseCpuQuantity(amount)
  if (milli % 1000 !== 0) throw new Error(`expected a whole number of units, got ${JSON.stringify(amount)}`)
  return milli / 1000
}

/**
 * Kubernetes: Guaranteed when every container, init containers included, limits cpu and memory and the pod requests no less; BestEffort
 * when none asks for either. Amounts of zero are as good as none.
 */
function kubeletQos(containers: readonly Json[]): KubeletQos {
  const limits: Amounts = {}
  const requests: Amounts = {}
  let guaranteed = true
  for (const container of containers) {
    const own = resources(container, 'limits')
    addTo(limits, own)
    addTo(requests, requestsOf(container))
    if (!((own['cpu'] ?? 0) > 0 && (own['memory'] ?? 0) > 0)) guaranteed = false
  }
  const asks = ['cpu', 'memory'].some((resource) => (requests[resource] ?? 0) > 0 || (limits[resource] ?? 0) > 0)
  if (!asks) return 'BestEffort'
  return guaranteed && limits['cpu'] === requests['cpu'] && limits['memory'] === requests['memory'] ? 'Guaranteed' : 'Burstable'
}

function resources(container: Json, which: 'limits' | 'requests'): Amounts {
  const given = optional(optional(container['resources'], 'resources')[which], `resources.${which}`)
  const amounts: Amounts = {}
  for (const [name, amount] of Object.entries(given)) {
    try {
      const parsed = parseAmount(name, amount)
      if (parsed !== undefined) amounts[name] = parsed
    } catch (thrown) {
      throw new Error(`resources.${which}.${name}: ${messageOf(thrown)}`, { cause: thrown })
    }
  }
  return amounts
}

/** Undefined for a resource that nothing here acts on. */
function parseAmount(resource: string, amount: unknown): number | undefined {
  if (typeof amount !== 'string' && typeof amount !== 'number') throw new Error('expected a quantity')
  if (resource === 'cpu') return parseCpuQuantity(amount)
  if (resource === 'memory') return parseMemoryQuantity(amount)
  return resource.includes('/') ? wholeUnits(amount) : undefined
}

function labels(value: unknown): Record<string, string> {
  return Object.fromEntries(Object.entries(optional(value, 'metadata.labels')).map(([key, label]) => [key, String(label)]))
}

function object(value: unknown, path: string): Json {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new Error(`${path}: expected a mapping`)
  return value as Json
}

/** Kubernetes takes null for absent. */
function optional(value: unknown, path: string): Json {
  return value === undefined || value === null ? {} : object(value, path)
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
