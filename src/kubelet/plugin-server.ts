/**
 * One incarnation of the plugin for one resource: a gRPC server on a unix socket of its own. ListAndWatch carries no resource
 * name, hence one server each. Every answer comes from memory: the kubelet calls Allocate without a deadline and holds up every
 * pod of the node until it returns. Source: kubernetes pkg/kubelet/cm/devicemanager (manager.go,
 * endpoint.go), 1.36; kubernetes#129249.
 *
 * IDs have no NUMA meaning, with `placement.bePinning: exclusive` neither: a unit is a share of what BE may use, and which CPUs a pinned pod gets is
 * worked out from its whole request once it is there, on the fewest NUMA nodes. So IDs carry no topology, and no allocation is preferred. Topology
 * that the CPUs do not follow would make a kubelet with a Topology Manager policy reject pods that fit; and the kubelet would hand over every free ID with every
 * container, and leak what it has reserved when the answer fails (kubernetes#130145).
 */
import { rmSync } from 'node:fs'
import { Server, ServerCredentials, status } from '@grpc/grpc-js'
import { AgentError, messageOf, type OfflineClass } from '../model/index.ts'
import type { DeviceList } from './device-list.ts'
import type { v1beta1 } from './gen/deviceplugin.js'
import { PushPacer } from './push-pacer.ts'
import type { ResourceDevices } from './resource-devices.ts'
import { serveDevicePlugin, MESSAGE_LIMITS, type DevicePluginHandlers, type EncodedListStream } from './wire.ts'

/** How long a closing server waits for the kubelet to let go of its connection. */
const CLOSE_GRACE_MS = 500

const ENV_QOS_CLASS = 'KUBE_AGENT_QOS_CLASS'

export interface PluginServerOptions {
  readonly devices: ResourceDevices
  readonly qosClass: OfflineClass
  /** Absolute, unused so far, at most 107 bytes. */
  readonly socketPath: string
  readonly pushMs: number
  /** Monotonic milliseconds. */
  readonly now: () => number
  /** Text that no other allocation on this node has. */
  readonly nonce: () => string
  /** Called when a ListAndWatch stream opens or ends. */
  readonly onStreams: () => void
  /** Called with each list that is sent. */
  readonly onPush: () => void
}

interface Watcher {
  /** The last list has not left yet; a slow reader gets the newest one afterwards instead of a queue of old ones. */
  busy: boolean
  stale: boolean
  /** What the kubelet has got. */
  sent: Buffer | undefined
}

export class PluginServer {
  readonly socketPath: string
  readonly #options: PluginServerOptions
  readonly #server = new Server(MESSAGE_LIMITS)
  readonly #watchers = new Map<EncodedListStream, Watcher>()
  readonly #pacer: PushPacer
  readonly #unsubscribe: () => void
  /** The last list that went to the kubelet; undefined before the first. */
  #sent: DeviceList | undefined

  private constructor(options: PluginServerOptions) {
    this.socketPath = options.socketPath
    this.#options = options
    this.#pacer = new PushPacer({ pushMs: options.pushMs, now: options.now, push: () => this.#push() })
    this.#unsubscribe = options.devices.onChange(() => this.#pacer.changed(this.#isUrgent()))
    serveDevicePlugin(this.#server, this.#handlers())
  }

  /** Resolves once the server answers on its socket; rejects with AgentError E_NO_KUBELET if it can't bind it. */
  static async listen(options: PluginServerOptions): Promise<PluginServer> {
    const server = new PluginServer(options)
    try {
      await server.#bind()
      return server
    } catch (cause) {
      await server.close()
      throw new AgentError('E_NO_KUBELET', `cannot listen on ${options.socketPath}: ${messageOf(cause)}`, { cause })
    }
  }

  /** Open ListAndWatch streams. */
  get streams(): number {
    return this.#watchers.size
  }

  /** Ends the streams, waits until the kubelet has let go (500 ms at most) and removes the socket. May be called twice. */
  async close(): Promise<void> {
    this.#unsubscribe()
    this.#pacer.stop()
    for (const stream of this.#watchers.keys()) stream.end()
    await new Promise<void>((resolve) => {
      const timer = setTimeout(() => {
        this.#server.forceShutdown()
        resolve()
      }, CLOSE_GRACE_MS)
      this.#server.tryShutdown(() => {
        clearTimeout(timer)
        resolve()
      })
    })
    this.#watchers.clear()
    rmSync(this.socketPath, { force: true })
  }

  #bind(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.bindAsync(`unix:${this.socketPath}`, ServerCredentials.createInsecure(), (error) => {
        if (error === null) resolve()
        else reject(error)
      })
    })
  }

  #handlers(): DevicePluginHandlers {
    return {
      GetDevicePluginOptions: (_call, reply) => reply(null, { preStartRequired: false, getPreferredAllocationAvailable: false }),
      ListAndWatch: (stream) => this.#watch(stream),
      Allocate: ({ request }, reply) => this.#allocate(request, reply),
      PreStartContainer: (_call, reply) => reply(null, {}),
    }
  }

  #watch(stream: EncodedListStream): void {
    const forget = (): void => {
      if (this.#watchers.delete(stream)) this.#options.onStreams()
    }
    for (const event of ['cancelled', 'error', 'close', 'finish']) stream.on(event, forget)
    const watcher: Watcher = { busy: false, stale: false, sent: undefined }
    this.#watchers.set(stream, watcher)
    this.#send(stream, watcher)
    this.#options.onStreams()
  }

  #isUrgent(): boolean {
    return this.#sent !== undefined && this.#options.devices.contradicts(this.#sent)
  }

  #push(): void {
    for (const [stream, watcher] of this.#watchers) this.#send(stream, watcher)
  }

  #send(stream: EncodedListStream, watcher: Watcher): void {
    if (watcher.busy) {
      watcher.stale = true
      return
    }
    const { list, listBytes, published } = this.#options.devices
    // Capacity that went up and came back before its turn: the kubelet has this list already.
    if (watcher.sent?.equals(listBytes) === true) return
    watcher.busy = true
    watcher.sent = listBytes
    stream.write(listBytes, () => {
      watcher.busy = false
      if (!watcher.stale || !this.#watchers.has(stream)) return
      watcher.stale = false
      this.#send(stream, watcher)
    })
    this.#options.onPush()
    // Before the first decision the list is only a placeholder; the capacity that follows must not wait for its turn.
    if (published) this.#pacer.sent()
    this.#sent = list
  }

  #allocate(
    { containerRequests }: v1beta1.AllocateRequest,
    reply: (error: { code: status; details: string } | null, response?: v1beta1.AllocateResponse) => void,
  ): void {
    const { devices, qosClass, nonce } = this.#options
    const result = devices.allocate(containerRequests.map((container) => container.devicesIds ?? []))
    switch (result.is) {
      case 'malformed':
        return reply({ code: status.INVALID_ARGUMENT, details: result.problem })
      case 'unknown':
        return reply({
          code: status.NOT_FOUND,
          details: `no device ${JSON.stringify(result.id.slice(0, 63))} of ${devices.resource}`,
        })
      case 'allocated':
        return reply(null, {
          containerResponses: containerRequests.map(() => ({
            envs: { [ENV_QOS_CLASS]: qosClass },
            annotations: { [`kube-agent.io/allocation-${devices.resource}`]: nonce() },
          })),
        })
    }
  }
}
