/**
 * The registration service, and the plugins that have registered: the checks in the kubelet's order, the call back to the plugin
 * before Register is answered, and what the end of a stream does to the newest registration of its resource. Source: kubernetes
 * pkg/kubelet/cm/devicemanager (plugin/v1beta1/server.go: Register; handler.go; manager.go: PluginConnected, PluginDisconnected),
 * 1.36; kubernetes#135437 for what 1.37 changes.
 */
import { join } from 'node:path'
import { Server, status, type ServerUnaryCall } from '@grpc/grpc-js'
import type { v1beta1 } from '../../kubelet/gen/deviceplugin.js'
import { API_VERSION, serveRegistration, UNLIMITED } from '../../kubelet/wire.ts'
import { messageOf } from '../../model/index.ts'
import type { ListedDevice, PluginOptions } from './device-books.ts'
import { Endpoint } from './endpoint.ts'
import type { Settings } from './options.ts'
import { isExtendedResourceName } from './resource-name.ts'

/** RST_STREAM code 1 in the words of those who have to find out. */
const RAW_PATH_HINT = ' (this kubelet sends the raw socket path as :authority, to which HTTP/2 servers answer PROTOCOL_ERROR)'

export interface RegistryEvents {
  readonly onConnected: (resource: string, options: PluginOptions) => void
  readonly onList: (resource: string, devices: readonly ListedDevice[]) => void
  readonly onDisconnected: (resource: string) => void
}

export class PluginRegistry {
  readonly #settings: Settings
  readonly #events: RegistryEvents
  /** The newest registration of each resource. */
  readonly #current = new Map<string, Endpoint>()
  readonly #endpoints = new Set<Endpoint>()
  /** Aborted when the process ends. */
  #life = new AbortController()
  #registrations = 0

  constructor(settings: Settings, events: RegistryEvents) {
    this.#settings = settings
    this.#events = events
  }

  /** Registrations accepted so far. */
  get registrations(): number {
    return this.#registrations
  }

  endpointOf(resource: string): Endpoint | undefined {
    return this.#current.get(resource)
  }

  /** The service of a new kubelet process. */
  serve(): Server {
    this.#life = new AbortController()
    const server = new Server(UNLIMITED)
    serveRegistration(server, {
      Register: (call, reply) => {
        this.#register(call).then(
          () => reply(null, {}),
          (error: unknown) => reply({ code: status.UNKNOWN, details: messageOf(error) }),
        )
      },
    })
    return server
  }

  /** The process ends, and with it every connection. */
  close(): void {
    this.#life.abort()
    const endpoints = [...this.#endpoints]
    this.#endpoints.clear()
    this.#current.clear()
    for (const endpoint of endpoints) endpoint.close()
  }

  /** The order of the checks is the kubelet's; the request's own options are not looked at. */
  async #register(call: ServerUnaryCall<v1beta1.RegisterRequest, v1beta1.Empty>): Promise<void> {
    const { version, resourceName, endpoint: name } = call.request
    if (version !== API_VERSION)
      throw new Error(`API version ${JSON.stringify(version)} is not supported, only ${API_VERSION} is`)
    if (!isExtendedResourceName(resourceName)) throw new Error(`the resource name ${JSON.stringify(resourceName)} is invalid`)
    const { signal } = this.#life
    const socketPath = join(this.#settings.directory, name)
    const { dialTimeoutMs: timeoutMs, authority } = this.#settings
    const endpoint = await Endpoint.connect(resourceName, { socketPath, authority, timeoutMs, signal }).catch(
      (error: unknown) => {
        throw new Error(`dialling the device plugin at ${socketPath} failed: ${messageOf(error)}`)
      },
    )
    const options = await this.#optionsOf(endpoint, call).catch((error: unknown) => {
      endpoint.close()
      const hint = authority === 'raw-path' ? RAW_PATH_HINT : ''
      throw new Error(`the device plugin at ${socketPath} did not tell its options: ${messageOf(error)}${hint}`)
    })
    this.#connected(endpoint, options)
  }

  /** The plugin's own deadline for Register holds for the call back to it, too. */
  async #optionsOf(endpoint: Endpoint, call: ServerUnaryCall<v1beta1.RegisterRequest, v1beta1.Empty>): Promise<PluginOptions> {
    const { signal } = this.#life
    const giveUp = (): void => endpoint.close()
    call.on('cancelled', giveUp)
    signal.addEventListener('abort', giveUp, { once: true })
    try {
      const { preStartRequired, getPreferredAllocationAvailable } = await endpoint.options(call.getDeadline())
      if (signal.aborted) throw new Error('the kubelet is stopping')
      return { preStart: preStartRequired, preferredAllocation: getPreferredAllocationAvailable }
    } finally {
      call.off('cancelled', giveUp)
      signal.removeEventListener('abort', giveUp)
    }
  }

  #connected(endpoint: Endpoint, options: PluginOptions): void {
    this.#registrations += 1
    this.#endpoints.add(endpoint)
    this.#current.set(endpoint.resource, endpoint)
    this.#events.onConnected(endpoint.resource, options)
    endpoint.watch({ onList: (devices) => this.#listed(endpoint, devices), onEnd: () => this.#ended(endpoint) })
  }

  /** An older registration still has its say, since the kubelet tells plugins apart by resource name alone. */
  #listed(endpoint: Endpoint, devices: readonly v1beta1.Device.$Properties[]): void {
    const { resource } = endpoint
    if (!this.#endpoints.has(endpoint)) return
    if (this.#current.get(resource) !== endpoint && !this.#settings.oldStreamEndsNew) return
    const listed = devices.map(({ ID, health, topology }) => ({
      ID: ID ?? '',
      health: health ?? '',
      numaNodes: (topology?.nodes ?? []).map((node) => fromInt64(node.ID)),
    }))
    this.#events.onList(resource, listed)
  }

  #ended(endpoint: Endpoint): void {
    const { resource } = endpoint
    if (!this.#endpoints.delete(endpoint)) return
    const current = this.#current.get(resource)
    if (current !== endpoint && !this.#settings.oldStreamEndsNew) return
    this.#current.delete(resource)
    if (current !== undefined) this.#endpoints.delete(current)
    current?.close()
    if (current !== undefined) this.#events.onDisconnected(resource)
  }
}

/** The codec gives a 64-bit integer as an object, whatever its types say. */
function fromInt64(value: unknown): number {
  return Number(value ?? 0)
}
