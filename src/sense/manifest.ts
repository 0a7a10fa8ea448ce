/**
 * A Kubernetes Pod manifest as text → PodSpec. Strict about what the agent acts on, silent about the rest of the Pod schema.
 * Source: kubernetes pkg/apis/core/v1/helper/qos (QoS class), resource quantities as in model/quantity.ts.
 */
import type { ContainerSpec, KubeletQos, PodSpec } from '../model/index.ts'
import { bytes, isPodUid, messageOf, milliCpu, parseCpuQuantity, parseMemoryQuantity } from '../model/index.ts'
import { readDocuments } from './yaml-documents.ts'

/** The annotation that names a static pod's cgroup; the mirror pod's UID does not. */
const CONFIG_HASH = 'kubernetes.io/config.hash'
/** More than a person reads of one file. */
const MAX_PROBLEMS = 20
const MAX_MESSAGE = 300
const PHASES = ['Pending', 'Running', 'Succeeded', 'Failed', 'Unknown'] as const

export interface ParsedManifest {
  readonly pods: readonly PodSpec[]
  /** One line each: file, line, what is wrong. */
  readonly problems: readonly string[]
}

/** Reads every Pod in a YAML or JSON text. A document that can't be used is a problem and takes no other down with it. Never throws. */
export function parseManifest(text: string, origin: string): ParsedManifest {
  const pods: PodSpec[] = []
  const problems: string[] = []
  for (const document of readDocuments(text)) {
    if (problems.length === MAX_PROBLEMS) {
      problems.push(`${origin}: more problems than these; the rest of the file is left out`)
      break
    }
    if (document.problem !== undefined) {
      problems.push(`${origin}:${document.problem.line}: ${document.problem.message}`)
      continue
    }
    try {
      const pod = podOf(document.toJS(), origin)
      if (pod !== undefined) pods.push(pod)
    } catch (thrown) {
      problems.push(`${origin}:${document.line}: ${oneLine(messageOf(thrown))}`)
    }
  }
  return { pods, problems }
}

function oneLine(message: string): string {
  return message.replaceAll(/\s+/g, ' ').slice(0, MAX_MESSAGE)
}

type Json = Readonly<Record<string, unknown>>

function podOf(root: unknown, origin: string): PodSpec | undefined {
  if (root === null || root === undefined) return undefined
  const pod = object(root, 'document')
  if (pod['kind'] !== 'Pod') throw new Error(`expected kind: Pod, got ${JSON.stringify(pod['kind'])}`)
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
  return {
    uid,
    namespace: text(metadata['namespace'] ?? 'default', 'metadata.namespace'),
    name,
    labels: labels(metadata['labels']),
    kubeletQos: kubeletQos([...containers, ...initContainers]),
    requests: { cpuMilli: milliCpu(cpu), memoryBytes: bytes(memory) },
    extended,
    phase: PHASES.find((known) => known === status['phase']) ?? 'Running',
    containers: containers.map((container, index) => containerSpec(container, index, status)),
    origin,
  }
}

function containerSpec(container: Json, index: number, status: Json): ContainerSpec {
  const name = text(container['name'], `spec.containers[${index}].name`)
  const statuses = Array.isArray(status['containerStatuses']) ? (status['containerStatuses'] as unknown[]) : []
  const id = statuses
    .map((entry) => (typeof entry === 'object' && entry !== null ? (entry as Json) : {}))
    .find((entry) => entry['name'] === name)?.['containerID']
  return typeof id === 'string' ? { name, id } : { name }
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
    if (container['restartPolicy'] === 'Always') {
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
