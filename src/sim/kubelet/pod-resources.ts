/**
 * The kubelet's pod-resources API on a socket of its own: who holds which device, by pod name. It says less than one would like: no
 * UID, one entry for each single device, nothing about plain init containers, and no more than 100 calls a second for the whole
 * node. A List frees, as a side effect, what pods that are gone still held.
 * Source: kubernetes pkg/kubelet/apis/podresources (server_v1.go, grpc/ratelimit.go) and pkg/kubelet/cm/container_manager.go, 1.36.
 */
import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { Server, status, type sendUnaryData } from '@grpc/grpc-js'
import type { v1 } from '../../kubelet/gen/podresources.js'
import { KUBELET_SOCKET, servePodResources, UNLIMITED } from '../../kubelet/wire.ts'
import { listen, shutDown } from './grpc-server.ts'
import { RateLimiter } from './rate-limiter.ts'
import { leavingSocket } from './socket-directory.ts'
import type { StandInPod } from './pod.ts'

const CALLS_PER_SECOND = 100
const CALLS_BURST = 10

/** One device, and the NUMA nodes it is near to; none if its plugin did not say. */
export interface PlacedDevice {
  readonly resource: string
  readonly id: string
  readonly numaNodes: readonly number[]
}

/** What the server shows. */
export interface PodResourcesSource {
  /** Lets go of what pods that are no longer active held. */
  readonly freeStale: () => void
  /** Every pod the kubelet knows, terminated ones included. */
  readonly pods: () => readonly { readonly pod: StandInPod; readonly active: boolean }[]
  readonly devicesOf: (uid: string, container: string) => readonly PlacedDevice[]
  /** Every healthy device, allocated or not. */
  readonly healthyDevices: () => readonly PlacedDevice[]
}

export interface PodResourcesOptions {
  readonly directory: string
  readonly source: PodResourcesSource
  /** Whether List also shows terminated pods, and Get finds them: kubelets up to 1.33. */
  readonly showsTerminated: boolean
  /** Whether Get is switched on. */
  readonly get: boolean
  /** Milliseconds, for the rate limit. */
  readonly now: () => number
}

export class PodResourcesServer {
  readonly #options: PodResourcesOptions
  #server: Server | undefined

  constructor(options: PodResourcesOptions) {
    this.#options = options
  }

  /** Makes the directory and replaces a socket that is left there. Rejects if it can't be bound. */
  async start(): Promise<void> {
    const { directory } = this.#options
    mkdirSync(directory, { recursive: true, mode: 0o750 })
    rmSync(join(directory, KUBELET_SOCKET), { force: true })
    const server = new Server(UNLIMITED)
    this.#serve(server)
    await listen(server, directory)
    this.#server = server
  }

  /** A killed kubelet leaves the socket behind. */
  async close({ leaveSocket }: { readonly leaveSocket: boolean }): Promise<void> {
    const server = this.#server
    this.#server = undefined
    if (server === undefined) return
    if (leaveSocket) await leavingSocket(this.#options.directory, () => shutDown(server))
    else await shutDown(server)
  }

  #serve(server: Server): void {
    const limiter = new RateLimiter(CALLS_PER_SECOND, CALLS_BURST, this.#options.now)
    const answer = <Response>(reply: sendUnaryData<Response>, make: () => Response): void => {
      if (!limiter.allow()) return reply({ code: status.RESOURCE_EXHAUSTED, details: 'rejected by rate limit' })
      try {
        reply(null, make())
      } catch (error) {
        reply({ code: status.UNKNOWN, details: (error as Error).message })
      }
    }
    servePodResources(server, {
      List: (_call, reply) => answer(reply, () => this.#list()),
      Get: ({ request }, reply) => answer(reply, () => this.#get(request)),
      GetAllocatableResources: (_call, reply) =>
        answer(reply, () => ({ devices: this.#options.source.healthyDevices().map(toMessage), cpuIds: [], memory: [] })),
    })
  }

  #list(): v1.ListPodResourcesResponse {
    this.#options.source.freeStale()
    return { podResources: this.#visible().map((pod) => this.#podResources(pod)) }
  }

  #get({ podName, podNamespace }: v1.GetPodResourcesRequest): v1.GetPodResourcesResponse {
    if (!this.#options.get) throw new Error('the Get method of the pod-resources API is disabled')
    const pod = this.#visible().find(({ name, namespace }) => name === podName && namespace === podNamespace)
    if (pod === undefined) throw new Error(`pod ${podName} in namespace ${podNamespace} not found`)
    return { podResources: this.#podResources(pod) }
  }

  #visible(): readonly StandInPod[] {
    const { source, showsTerminated } = this.#options
    return source.pods().flatMap(({ pod, active }) => (active || showsTerminated ? [pod] : []))
  }

  #podResources({ uid, namespace, name, containers }: StandInPod): v1.PodResources {
    const { source } = this.#options
    const kindOf = ({ kind = 'main' }: StandInPod['containers'][number]): string => kind
    const ofKind = (wanted: string) => containers.filter((container) => kindOf(container) === wanted)
    return {
      name,
      namespace,
      containers: [...ofKind('sidecar'), ...ofKind('main')].map((container) => ({
        name: container.name,
        devices: source.devicesOf(uid, container.name).map(toMessage),
        cpuIds: [],
        memory: [],
        dynamicResources: [],
      })),
      cpuIds: [],
      memory: [],
    }
  }
}

function toMessage({ resource, id, numaNodes }: PlacedDevice): v1.ContainerDevices.$Properties {
  const device = { resourceName: resource, deviceIds: [id] }
  return numaNodes.length === 0 ? device : { ...device, topology: { nodes: numaNodes.map((ID) => ({ ID })) } }
}
