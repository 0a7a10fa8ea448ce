/**
 * What the resources in a Pod object come to: the amounts that the scheduler counts, and the kubelet's class. Resources of the pod as a
 * whole (spec.resources, KEP-2837) stand for those of its containers wherever they say something.
 * Source: kubernetes component-helpers/resource PodRequests, pkg/apis/core/v1/helper/qos ComputePodQOS, pkg/apis/core/v1/defaults.go
 * (defaultPodRequests), 1.36; resource quantities as in quantity.ts.
 */
import { messageOf } from './errors.ts'
import type { KubeletQos } from './qos.ts'
import { parseCpuQuantity, parseMemoryQuantity } from './quantity.ts'

export type Json = Readonly<Record<string, unknown>>

export interface PodResources {
  readonly containers: readonly Json[]
  readonly initContainers: readonly Json[]
  /** The pod as if it were one container; undefined without resources of its own. */
  readonly podLevel: Json | undefined
}

/** Amounts by resource: cpu in milli-CPU, memory in bytes, everything with a slash in its name in whole units. */
type Amounts = Record<string, number>

/** The resources by which a pod as a whole can be sized, and which make its class. */
const COMPUTE = ['cpu', 'memory'] as const

/** Of an amount as it was written: a number can have any number of zeros. */
const MAX_SHOWN = 40

/** A sidecar is an init container that stays. */
export function isSidecar(container: Json): boolean {
  return container['restartPolicy'] === 'Always'
}

/** What the scheduler counts for a pod. */
export function podRequests(pod: PodResources): Amounts {
  const requests = containerRequests(pod)
  for (const resource of COMPUTE) {
    const amount = podLevelRequest(pod, resource, requests[resource])
    if (amount !== undefined) requests[resource] = amount
  }
  return requests
}

/** Kubernetes: an absent request of the pod is what its containers request together, else the pod's limit. */
function podLevelRequest({ podLevel }: PodResources, resource: string, ofContainers: number | undefined): number | undefined {
  if (podLevel === undefined) return undefined
  return resources(podLevel, 'requests')[resource] ?? ofContainers ?? resources(podLevel, 'limits')[resource]
}

/**
 * Containers together with the sidecars among the init containers, or the neediest moment of the start, when one init container runs
 * beside the sidecars before it.
 */
function containerRequests({ containers, initContainers }: PodResources): Amounts {
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
export function requestsOf(container: Json): Amounts {
  return { ...resources(container, 'limits'), ...resources(container, 'requests') }
}

/** What a container may use at most. */
export function limitsOf(container: Json): Amounts {
  return resources(container, 'limits')
}

/**
 * Kubernetes: Guaranteed when every container, init containers included, limits cpu and memory and the pod requests no less; BestEffort
 * when none asks for either. Amounts of zero are as good as none. With resources of its own the pod is looked at as one container.
 */
export function podQos(pod: PodResources): KubeletQos {
  const { podLevel } = pod
  if (podLevel !== undefined) {
    const limits = resources(podLevel, 'limits')
    return qosOf(limits, hasCompute(limits) ? podRequests(pod) : resources(podLevel, 'requests'), limitsBoth(limits))
  }
  const limits: Amounts = {}
  const requests: Amounts = {}
  let guaranteed = true
  for (const container of [...pod.containers, ...pod.initContainers]) {
    const own = resources(container, 'limits')
    addTo(limits, own)
    addTo(requests, requestsOf(container))
    guaranteed &&= limitsBoth(own)
  }
  return qosOf(limits, requests, guaranteed)
}

function qosOf(limits: Amounts, requests: Amounts, everyLimit: boolean): KubeletQos {
  if (!hasCompute(limits) && !hasCompute(requests)) return 'BestEffort'
  const equal = COMPUTE.every((resource) => limits[resource] === requests[resource])
  return everyLimit && equal ? 'Guaranteed' : 'Burstable'
}

function hasCompute(amounts: Amounts): boolean {
  return COMPUTE.some((resource) => (amounts[resource] ?? 0) > 0)
}

function limitsBoth(limits: Amounts): boolean {
  return COMPUTE.every((resource) => (limits[resource] ?? 0) > 0)
}

function resources(container: Json, which: 'limits' | 'requests'): Amounts {
  const given = optional(optional(container['resources'], 'resources')[which], `resources.${which}`)
  const amounts: Amounts = {}
  for (const [name, amount] of Object.entries(given)) {
    try {
      const parsed = parseAmount(name, amount)
      if (parsed !== undefined) amounts[name] = parsed
    } catch (thrown) {
      throw new Error(`resources.${which}.${name.slice(0, 80)}: ${messageOf(thrown)}`, { cause: thrown })
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

/**
 * Kubernetes: an extended resource is a quantity (`2k`, `3000m`) that has to come out whole. The API server refuses a fraction, and whoever takes
 * one all the same rounds it up (Quantity.Value), so that no more is ever held than was counted.
 */
function wholeUnits(amount: string | number): number {
  return Math.ceil(parseCpuQuantity(amount) / 1000)
}

/** The first amount of each extended resource that is not a whole number, as it was written, by the resource's name. */
export function fractionsOf({ containers, initContainers }: PodResources): Readonly<Record<string, string>> {
  const fractions: Record<string, string> = {}
  for (const container of [...containers, ...initContainers]) {
    for (const which of ['requests', 'limits']) {
      for (const [name, amount] of Object.entries(optional(optional(container['resources'], 'resources')[which], which))) {
        if (!name.includes('/') || (typeof amount !== 'string' && typeof amount !== 'number')) continue
        if (parseCpuQuantity(amount) % 1000 !== 0) fractions[name] ??= String(amount).slice(0, MAX_SHOWN)
      }
    }
  }
  return fractions
}

/** A mapping, or an Error that names the field. */
export function object(value: unknown, path: string): Json {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new Error(`${path}: expected a mapping`)
  return value as Json
}

/** Kubernetes takes null for absent. */
export function optional(value: unknown, path: string): Json {
  return value === undefined || value === null ? {} : object(value, path)
}
