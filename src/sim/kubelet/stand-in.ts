/**
 * A stand-in for the kubelet, for `kube-agent demo` and the contract tests: the device-plugin API over real gRPC and real unix
 * sockets, as strict as a kubelet and talkative where a kubelet would crash (`violations`). Sockets live in real time; the node
 * status lives in the virtual time that its owner hands to `tick`. Source: kubernetes pkg/kubelet/cm/devicemanager
 * (manager.go, plugin/v1beta1/server.go) and pkg/kubelet/nodestatus/setters.go, 1.36.
 */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Server, ServerCredentials, status, type ServerUnaryCall } from '@grpc/grpc-js'
import type { v1beta1 } from '../../kubelet/gen/deviceplugin.js'
import { API_VERSION, KUBELET_SOCKET, serveRegistration, UNLIMITED } from '../../kubelet/wire.ts'
import { messageOf } from '../../model/index.ts'
import { Admission, type AdmissionResult, type StandInPod } from './admission.ts'
import { writeCheckpoint } from './checkpoint.ts'
import { DeviceManager, type ResourceStatus } from './device-manager.ts'
import { Endpoint } from './endpoint.ts'
import { isExtendedResourceName } from './resource-name.ts'
import { leavingSocket, wipe, type Wipe } from './socket-directory.ts'

export interface KubeletStandInOptions {
  /** Made if it is not there. Its path leaves room for socket names within 107 bytes. */
  readonly directory: string
  /** In [0, 1). */
  readonly random: () => number
  /** @default 10000 */
  readonly statusPeriodMs?: number
  /** How long Register dials the plugin back. @default 10000 */
  readonly dialTimeoutMs?: number
  /** What a start removes: `files` is what kubelets up to 1.32 do. @default 'sockets' */
  readonly wipe?: Wipe
  /** Kubelets up to 1.36 drop the registered plugin when the stream of its predecessor ends. @default true */
  readonly oldStreamEndsNew?: boolean
}

export class KubeletStandIn {
  readonly #options: Required<KubeletStandInOptions>
  readonly #manager: DeviceManager
  readonly #admission: Admission
  /** The newest registration of each resource. */
  readonly #current = new Map<string, Endpoint>()
  readonly #endpoints = new Set<Endpoint>()
  #server: Server | undefined
  #registrations = 0
  #nowMs = 0
  #nextStatusMs = Number.NEGATIVE_INFINITY
  #status: Record<string, ResourceStatus> = {}

  constructor(options: KubeletStandInOptions) {
    this.#options = { statusPeriodMs: 10_000, dialTimeoutMs: 10_000, wipe: 'sockets', oldStreamEndsNew: true, ...options }
    this.#manager = new DeviceManager(options.random)
    this.#admission = new Admission(
      this.#manager,
      (resource) => this.#current.get(resource),
      () => this.#save(),
    )
  }

  /** What a plugin did that would crash or confuse a kubelet, in words. */
  get violations(): readonly string[] {
    return this.#manager.violations
  }

  /** Registrations accepted so far. */
  get registrations(): number {
    return this.#registrations
  }

  /** Rejects if the directory or the socket can't be made. */
  async start(): Promise<void> {
    mkdirSync(this.#options.directory, { recursive: true, mode: 0o750 })
    wipe(this.#options.directory, this.#options.wipe)
    await this.#listen()
  }

  /**
   * A new kubelet process. The old one's socket stays for `downMs` with nobody behind it; then everything is wiped, and after
   * `gapMs` kubelet.sock is there again. Pods keep their devices.
   */
  async restart({ downMs = 0, gapMs = 0 }: { readonly downMs?: number; readonly gapMs?: number } = {}): Promise<void> {
    await leavingSocket(this.#options.directory, () => this.#close())
    this.#manager.restarted(this.#nowMs)
    await sleep(downMs)
    wipe(this.#options.directory, this.#options.wipe)
    await sleep(gapMs)
    await this.#listen()
  }

  async stop(): Promise<void> {
    await this.#close()
  }

  /** Moves virtual time to `nowMs` (never back), and recomputes the node status if its period has passed. */
  tick(nowMs: number): void {
    this.#nowMs = nowMs
    if (nowMs < this.#nextStatusMs) return
    this.#status = this.#manager.status(nowMs)
    this.#nextStatusMs = nowMs + this.#options.statusPeriodMs * (1 + 0.04 * this.#options.random())
  }

  /** Capacity and allocatable of each resource ever registered, as of the last status. */
  nodeStatus(): Readonly<Record<string, ResourceStatus>> {
    return this.#status
  }

  /** Health by device ID of the last list; empty before one. */
  devices(resource: string): ReadonlyMap<string, boolean> {
    return this.#manager.devices(resource)
  }

  /** Admits or rejects a pod, one at a time. A rejection is for good: the same uid gets it again. */
  admit(pod: StandInPod): Promise<AdmissionResult> {
    return this.#admission.admit(pod)
  }

  /** The pod is gone: its devices are free. The plugin is not told. */
  remove(uid: string): void {
    this.#admission.remove(uid)
  }

  async #listen(): Promise<void> {
    const server = new Server(UNLIMITED)
    serveRegistration(server, {
      Register: (call, reply) => {
        this.#register(call).then(
          () => reply(null, {}),
          (error: unknown) => reply({ code: status.UNKNOWN, details: messageOf(error) }),
        )
      },
    })
    const address = `unix:${join(this.#options.directory, KUBELET_SOCKET)}`
    await new Promise<void>((resolve, reject) => {
      server.bindAsync(address, ServerCredentials.createInsecure(), (error) => (error === null ? resolve() : reject(error)))
    })
    this.#server = server
    this.#save()
  }

  /** The order of the checks is the kubelet's; the request's own options are not looked at. */
  async #register(call: ServerUnaryCall<v1beta1.RegisterRequest, v1beta1.Empty>): Promise<void> {
    const { version, resourceName, endpoint: name } = call.request
    const server = this.#server
    if (version !== API_VERSION)
      throw new Error(`API version ${JSON.stringify(version)} is not supported, only ${API_VERSION} is`)
    if (!isExtendedResourceName(resourceName)) throw new Error(`the resource name ${JSON.stringify(resourceName)} is invalid`)
    const socketPath = join(this.#options.directory, name)
    const endpoint = await Endpoint.connect(resourceName, socketPath, this.#options.dialTimeoutMs).catch((error: unknown) => {
      throw new Error(`dialling the device plugin at ${socketPath} failed: ${messageOf(error)}`)
    })
    try {
      await endpoint.options(call.getDeadline())
      if (server !== this.#server) throw new Error('the kubelet is stopping')
    } catch (error) {
      endpoint.close()
      throw error
    }
    this.#registrations += 1
    this.#endpoints.add(endpoint)
    this.#current.set(resourceName, endpoint)
    this.#manager.endpointStarted(resourceName)
    endpoint.watch({ onList: (devices) => this.#listed(endpoint, devices), onEnd: () => this.#ended(endpoint) })
  }

  #listed(endpoint: Endpoint, devices: readonly v1beta1.Device.$Properties[]): void {
    const { resource } = endpoint
    if (!this.#endpoints.has(endpoint)) return
    if (this.#current.get(resource) !== endpoint && !this.#options.oldStreamEndsNew) return
    this.#manager.listed(
      resource,
      devices.map(({ ID, health }) => ({ ID: ID ?? '', health: health ?? '' })),
    )
    this.#save()
  }

  #ended(endpoint: Endpoint): void {
    const { resource } = endpoint
    if (!this.#endpoints.delete(endpoint)) return
    const current = this.#current.get(resource)
    if (current !== endpoint && !this.#options.oldStreamEndsNew) return
    this.#manager.endpointStopped(resource, this.#nowMs)
    this.#current.delete(resource)
    if (current !== undefined) this.#endpoints.delete(current)
    current?.close()
    this.#save()
  }

  #save(): void {
    if (this.#server !== undefined) writeCheckpoint(this.#options.directory, this.#manager)
  }

  async #close(): Promise<void> {
    const server = this.#server
    this.#server = undefined
    for (const endpoint of this.#endpoints) {
      this.#endpoints.delete(endpoint)
      this.#manager.endpointStopped(endpoint.resource, this.#nowMs)
      endpoint.close()
    }
    this.#current.clear()
    if (server === undefined) return
    await new Promise<void>((resolve) => {
      server.tryShutdown(() => resolve())
      server.forceShutdown()
    })
  }
}
