/**
 * The kubelet's end of one registration: a connection to the plugin's socket, one ListAndWatch stream, and the calls for pods, of
 * which only PreStartContainer has a deadline. It receives at most 4 MiB a message, as the kubelet's own client does; a longer list
 * ends the stream. Source: kubernetes pkg/kubelet/cm/devicemanager (endpoint.go; plugin/v1beta1/client.go), 1.36; grpc-go
 * clientconn.go for the 4 MiB.
 */
import type { Client, ClientReadableStream } from '@grpc/grpc-js'
import type { v1beta1 } from '../../kubelet/gen/deviceplugin.js'
import { callStream, callUnary, DEVICE_PLUGIN, dial, type CallOptions } from '../../kubelet/wire.ts'
import type { PreferenceRequest } from './device-manager.ts'
import type { Authority } from './options.ts'

const MAX_RECEIVE_BYTES = 4_194_304

export interface EndpointEvents {
  readonly onList: (devices: readonly v1beta1.Device.$Properties[]) => void
  /** Called once, when the stream has ended for whatever reason, `close` included. */
  readonly onEnd: () => void
}

export interface DialOptions {
  readonly socketPath: string
  readonly authority: Authority
  readonly timeoutMs: number
  /** Gives up at once. */
  readonly signal: AbortSignal
}

export class Endpoint {
  readonly resource: string
  readonly #client: Client
  readonly #abort = new AbortController()
  #stream: ClientReadableStream<v1beta1.ListAndWatchResponse> | undefined

  private constructor(resource: string, client: Client) {
    this.resource = resource
    this.#client = client
  }

  /** Dials until the plugin answers; rejects after `timeoutMs`. */
  static connect(resource: string, { socketPath, authority, timeoutMs, signal }: DialOptions): Promise<Endpoint> {
    const limits = { 'grpc.max_receive_message_length': MAX_RECEIVE_BYTES, 'grpc.max_send_message_length': -1 }
    const client = dial(socketPath, limits, AUTHORITIES[authority](socketPath))
    return new Promise((resolve, reject) => {
      const fail = (error: Error): void => {
        client.close()
        reject(error)
      }
      const onAbort = (): void => fail(new Error('the kubelet is stopping'))
      signal.addEventListener('abort', onAbort, { once: true })
      client.waitForReady(Date.now() + timeoutMs, (error) => {
        signal.removeEventListener('abort', onAbort)
        if (error === undefined) resolve(new Endpoint(resource, client))
        else fail(error)
      })
      if (signal.aborted) onAbort()
    })
  }

  options(deadline: Date | number): Promise<v1beta1.DevicePluginOptions> {
    return callUnary(this.#client, DEVICE_PLUGIN.GetDevicePluginOptions, {}, this.#call(deadline))
  }

  watch({ onList, onEnd }: EndpointEvents): void {
    let ended = false
    const end = (): void => {
      if (ended) return
      ended = true
      this.#client.close()
      onEnd()
    }
    this.#stream = callStream(this.#client, DEVICE_PLUGIN.ListAndWatch, {})
    this.#stream.on('data', (list: v1beta1.ListAndWatchResponse) => onList(list.devices))
    this.#stream.on('error', end)
    this.#stream.on('end', end)
  }

  /** One container, all its devices of this resource. */
  allocate(ids: readonly string[]): Promise<v1beta1.AllocateResponse> {
    return callUnary(this.#client, DEVICE_PLUGIN.Allocate, { containerRequests: [{ devicesIds: [...ids] }] }, this.#call())
  }

  /** The IDs that the plugin would rather give; empty if it does not mind. */
  async prefer({ available, mustInclude, size }: PreferenceRequest): Promise<readonly string[]> {
    const request = { availableDeviceIDs: [...available], mustIncludeDeviceIDs: [...mustInclude], allocationSize: size }
    const { containerResponses } = await callUnary(
      this.#client,
      DEVICE_PLUGIN.GetPreferredAllocation,
      { containerRequests: [request] },
      this.#call(),
    )
    return containerResponses[0]?.deviceIDs ?? []
  }

  async preStart(ids: readonly string[], timeoutMs: number): Promise<void> {
    await callUnary(this.#client, DEVICE_PLUGIN.PreStartContainer, { devicesIds: [...ids] }, this.#call(Date.now() + timeoutMs))
  }

  close(): void {
    this.#abort.abort()
    this.#stream?.cancel()
    this.#client.close()
  }

  #call(deadline?: Date | number): CallOptions {
    const { signal } = this.#abort
    return deadline === undefined ? { signal } : { signal, deadline }
  }
}

const AUTHORITIES: Readonly<Record<Authority, (socketPath: string) => string>> = {
  'raw-path': (socketPath) => socketPath,
  'percent-encoded': (socketPath) => encodeURIComponent(socketPath),
  localhost: () => 'localhost',
}
