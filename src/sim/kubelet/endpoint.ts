/**
 * The kubelet's end of one registration: a connection to the plugin's socket, one ListAndWatch stream, and Allocate without a
 * deadline. It receives at most 4 MiB a message, as the kubelet's own client does; a longer list ends the stream.
 * Source: kubernetes pkg/kubelet/cm/devicemanager (endpoint.go; plugin/v1beta1/client.go), 1.36; grpc-go clientconn.go for the 4 MiB.
 */
import type { Client, ClientReadableStream } from '@grpc/grpc-js'
import type { v1beta1 } from '../../kubelet/gen/deviceplugin.js'
import { callStream, callUnary, DEVICE_PLUGIN, dial } from '../../kubelet/wire.ts'

const MAX_RECEIVE_BYTES = 4_194_304

export interface EndpointEvents {
  readonly onList: (devices: readonly v1beta1.Device.$Properties[]) => void
  /** Called once, when the stream has ended for whatever reason, `close` included. */
  readonly onEnd: () => void
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
  static connect(resource: string, socketPath: string, timeoutMs: number): Promise<Endpoint> {
    const client = dial(socketPath, { 'grpc.max_receive_message_length': MAX_RECEIVE_BYTES, 'grpc.max_send_message_length': -1 })
    return new Promise((resolve, reject) => {
      client.waitForReady(Date.now() + timeoutMs, (error) => {
        if (error === undefined) return resolve(new Endpoint(resource, client))
        client.close()
        reject(error)
      })
    })
  }

  options(deadline: Date | number): Promise<v1beta1.DevicePluginOptions> {
    return callUnary(this.#client, DEVICE_PLUGIN.GetDevicePluginOptions, {}, { deadline, signal: this.#abort.signal })
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
    const request = { containerRequests: [{ devicesIds: [...ids] }] }
    return callUnary(this.#client, DEVICE_PLUGIN.Allocate, request, { signal: this.#abort.signal })
  }

  close(): void {
    this.#abort.abort()
    this.#stream?.cancel()
    this.#client.close()
  }
}
