/** The room's front door: what cli/run makes of its settings. All values come as arguments; nothing here reads a configuration. */
import { ApiClient } from './api-client.ts'
import { ApiPods } from './api-pods.ts'
import { Credentials, type KubeLogger } from './credentials.ts'
import { KubeletPods } from './kubelet-pods.ts'

export interface ClusterOptions {
  /** The API server, as from `cluster.server` or inClusterServer. Not needed for the pods of a kubelet. */
  readonly server: string
  readonly tokenFile: string
  readonly caFile: string
  readonly requestMs: number
  readonly nodeName: string
  /** Of the agent, for the User-Agent header. */
  readonly version: string
  /** Monotonic milliseconds. */
  readonly now: () => number
  /** From 0 to 1, 1 excluded. @default Math.random */
  readonly random?: () => number
  readonly logger?: KubeLogger
}

export interface KubeletOptions {
  readonly kubelet: string
  readonly verify: boolean
  readonly rescanMs: number
  readonly maxPods: number
}

/** The API server and, through it, the pods of this node. Nothing is asked before the first use. */
export class Cluster {
  readonly api: ApiClient
  readonly #options: ClusterOptions

  constructor(options: ClusterOptions) {
    this.#options = options
    this.api = new ApiClient({ ...options, credentials: new Credentials(options) })
  }

  /** Begins to list and watch. The source is closed by its own close. */
  pods(maxPods: number): ApiPods {
    return new ApiPods({ ...this.#options, api: this.api, maxPods })
  }

  /** Ends all requests to the API server. */
  close(): void {
    this.api.close()
  }
}

/** Begins to poll the kubelet. Throws E_CONFIG where its certificate would go unchecked on an address that is not this machine's. */
export function openKubeletPods(cluster: Omit<ClusterOptions, 'server'>, kubelet: KubeletOptions): KubeletPods {
  return new KubeletPods({ ...cluster, ...kubelet, credentials: new Credentials(cluster) })
}
