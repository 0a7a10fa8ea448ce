/**
 * Asks the kubelet which devices its pods hold (pod-resources API, List). One call at a time and one connection, made anew after an
 * error: the kubelet serves everyone on the node from one limiter of 100 calls a second. The answer is shared with every other
 * device plugin's devices and so may be larger than the 4 MiB that clients take by default. It names no pod UID, and it leaves out
 * plain init containers. Source: kubernetes pkg/kubelet/apis/podresources (server_v1.go, grpc/ratelimit.go, constants.go), 1.36.
 */
import { join } from 'node:path'
import { type Client, status } from '@grpc/grpc-js'
import { messageOf } from '../model/index.ts'
import type { v1 } from './gen/podresources.js'
import { fileIdentity } from './socket-watch.ts'
import { callUnary, dial, KUBELET_SOCKET, POD_RESOURCES, MESSAGE_LIMITS } from './wire.ts'

/** What one container holds; containers without devices are left out. */
export interface ContainerHoldings {
  readonly namespace: string
  readonly pod: string
  readonly container: string
  /** Device IDs by full resource name. */
  readonly idsByResource: ReadonlyMap<string, ReadonlySet<string>>
}

export interface Listing {
  /** Identity of the kubelet process that answered: another one is there after a restart. */
  readonly kubelet: string
  /** When it was asked; monotonic milliseconds. */
  readonly askedAtMs: number
  /** Device IDs held by containers, by full resource name. */
  readonly idsByResource: ReadonlyMap<string, ReadonlySet<string>>
  readonly containers: readonly ContainerHoldings[]
}

export class PodResourcesClient {
  readonly #socket: string
  readonly #now: () => number
  #client: Client | undefined
  #inFlight: Promise<Listing> | undefined
  readonly #abort = new AbortController()

  /** `now` gives monotonic milliseconds. */
  constructor(directory: string, now: () => number) {
    this.#socket = join(directory, KUBELET_SOCKET)
    this.#now = now
  }

  /**
   * What containers hold at this moment; a call made while another is under way gets the other's answer. Rejects if there is none
   * within the time, and after `close`.
   */
  list(timeoutMs: number): Promise<Listing> {
    this.#inFlight ??= this.#list(timeoutMs).finally(() => {
      this.#inFlight = undefined
    })
    return this.#inFlight
  }

  /** Ends the call under way and the connection. */
  close(): void {
    this.#abort.abort()
    this.#hangUp()
  }

  async #list(timeoutMs: number): Promise<Listing> {
    const askedAtMs = this.#now()
    const kubelet = fileIdentity(this.#socket)
    if (kubelet === undefined) throw new Error(`${this.#socket} is not there`)
    try {
      this.#client ??= dial(this.#socket, MESSAGE_LIMITS)
      const call = { deadline: Date.now() + timeoutMs, signal: this.#abort.signal }
      const { podResources } = await callUnary(this.#client, POD_RESOURCES.List, {}, call)
      // Whose answer this is can't be told, so it must not count for either of the two.
      if (fileIdentity(this.#socket) !== kubelet) throw new Error('the kubelet restarted while it was asked')
      return { kubelet, askedAtMs, ...holdingsOf(podResources) }
    } catch (error) {
      if (!isRateLimit(error)) this.#hangUp()
      throw error
    }
  }

  #hangUp(): void {
    this.#client?.close()
    this.#client = undefined
  }
}

/** Kubernetes: "rejected by rate limit". There is a kubelet and it works: no reason for another connection. */
function isRateLimit(error: unknown): boolean {
  const code: unknown = error instanceof Error && 'code' in error ? error.code : undefined
  return code === status.RESOURCE_EXHAUSTED && messageOf(error).includes('rate limit')
}

function holdingsOf(pods: readonly v1.PodResources.$Properties[]): Pick<Listing, 'idsByResource' | 'containers'> {
  const idsByResource = new Map<string, Set<string>>()
  const containers: ContainerHoldings[] = []
  for (const pod of pods) {
    for (const container of pod.containers ?? []) {
      const own = new Map<string, Set<string>>()
      for (const { resourceName, deviceIds } of container.devices ?? []) {
        addAll(own, resourceName ?? '', deviceIds ?? [])
        addAll(idsByResource, resourceName ?? '', deviceIds ?? [])
      }
      if (own.size === 0) continue
      const name = { namespace: pod.namespace ?? '', pod: pod.name ?? '', container: container.name ?? '' }
      containers.push({ ...name, idsByResource: own })
    }
  }
  return { idsByResource, containers }
}

function addAll(idsByResource: Map<string, Set<string>>, resource: string, ids: readonly string[]): void {
  const known = idsByResource.get(resource)
  if (known === undefined) idsByResource.set(resource, new Set(ids))
  else for (const id of ids) known.add(id)
}
