/**
 * The kubelet's device-plugin and pod-resources APIs as typed grpc-js services, built from the generated codecs. The plugin and the
 * kubelet stand-in share these definitions, so they can't disagree about a path or a codec; the codecs themselves are held to the
 * kubelet's field numbers by test/unit/kubelet/wire.test.ts. Source: kubernetes
 * staging/src/k8s.io/kubelet/pkg/apis (deviceplugin/v1beta1/api.proto, podresources/v1/api.proto).
 */
import {
  Client,
  credentials,
  type ChannelOptions,
  type ClientReadableStream,
  type handleServerStreamingCall,
  type handleUnaryCall,
  type MethodDefinition,
  type Server,
  type ServerWritableStream,
  type ServiceError,
} from '@grpc/grpc-js'
import type { Reader, Writer } from 'protobufjs/minimal.js'
import { v1beta1 } from './gen/deviceplugin.js'
import { v1 } from './gen/podresources.js'

export const API_VERSION = 'v1beta1'
export const HEALTHY = 'Healthy'
/** The kubelet takes any text but "Healthy" for unhealthy; this is the one it documents. */
export const UNHEALTHY = 'Unhealthy'
export const KUBELET_SOCKET = 'kubelet.sock'

/**
 * Bounds of a message either way. grpc-js receives at most 4 MiB by default, which a list of what all pods of the node hold may pass; the
 * kubelet's own clients take 16 MiB of it. The longest list that is sent, 10,000 devices, is below 1 MiB.
 * Source: kubernetes pkg/kubelet/apis/podresources/client.go.
 */
export const MESSAGE_LIMITS: ChannelOptions = {
  'grpc.max_receive_message_length': 32 * 1024 * 1024,
  'grpc.max_send_message_length': 16 * 1024 * 1024,
}

/** For the stand-in of the kubelet, which leaves the limits to its peer. */
export const UNLIMITED: ChannelOptions = { 'grpc.max_receive_message_length': -1, 'grpc.max_send_message_length': -1 }

interface Codec<Message> {
  encode(message: Message): Writer
  decode(bytes: Reader | Uint8Array): Message
}

function serializer<Message>(codec: Codec<Message>): (message: Message) => Buffer {
  return (message) => {
    const bytes = codec.encode(message).finish()
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }
}

function method<Request, Response>(
  path: string,
  request: Codec<Request>,
  response: Codec<Response>,
  responseStream = false,
): MethodDefinition<Request, Response> {
  return {
    path,
    requestStream: false,
    responseStream,
    requestSerialize: serializer(request),
    requestDeserialize: (bytes) => request.decode(bytes),
    responseSerialize: serializer(response),
    responseDeserialize: (bytes) => response.decode(bytes),
  }
}

const { Empty, DevicePluginOptions, RegisterRequest, ListAndWatchResponse, AllocateRequest, AllocateResponse } = v1beta1
const { PreferredAllocationRequest, PreferredAllocationResponse, PreStartContainerRequest, PreStartContainerResponse } = v1beta1

export const REGISTRATION = {
  Register: method<v1beta1.RegisterRequest, v1beta1.Empty>('/v1beta1.Registration/Register', RegisterRequest, Empty),
} as const

export const DEVICE_PLUGIN = {
  GetDevicePluginOptions: method<v1beta1.Empty, v1beta1.DevicePluginOptions>(
    '/v1beta1.DevicePlugin/GetDevicePluginOptions',
    Empty,
    DevicePluginOptions,
  ),
  ListAndWatch: method<v1beta1.Empty, v1beta1.ListAndWatchResponse>(
    '/v1beta1.DevicePlugin/ListAndWatch',
    Empty,
    ListAndWatchResponse,
    true,
  ),
  GetPreferredAllocation: method<v1beta1.PreferredAllocationRequest, v1beta1.PreferredAllocationResponse>(
    '/v1beta1.DevicePlugin/GetPreferredAllocation',
    PreferredAllocationRequest,
    PreferredAllocationResponse,
  ),
  Allocate: method<v1beta1.AllocateRequest, v1beta1.AllocateResponse>(
    '/v1beta1.DevicePlugin/Allocate',
    AllocateRequest,
    AllocateResponse,
  ),
  PreStartContainer: method<v1beta1.PreStartContainerRequest, v1beta1.PreStartContainerResponse>(
    '/v1beta1.DevicePlugin/PreStartContainer',
    PreStartContainerRequest,
    PreStartContainerResponse,
  ),
} as const

/** A ListAndWatch stream that takes ListAndWatchResponses in their encoded form. */
export type EncodedListStream = ServerWritableStream<v1beta1.Empty, Buffer>

const { ListPodResourcesRequest, ListPodResourcesResponse, GetPodResourcesRequest, GetPodResourcesResponse } = v1
const { AllocatableResourcesRequest, AllocatableResourcesResponse } = v1

export const POD_RESOURCES = {
  List: method<v1.ListPodResourcesRequest, v1.ListPodResourcesResponse>(
    '/v1.PodResourcesLister/List',
    ListPodResourcesRequest,
    ListPodResourcesResponse,
  ),
  GetAllocatableResources: method<v1.AllocatableResourcesRequest, v1.AllocatableResourcesResponse>(
    '/v1.PodResourcesLister/GetAllocatableResources',
    AllocatableResourcesRequest,
    AllocatableResourcesResponse,
  ),
  Get: method<v1.GetPodResourcesRequest, v1.GetPodResourcesResponse>(
    '/v1.PodResourcesLister/Get',
    GetPodResourcesRequest,
    GetPodResourcesResponse,
  ),
} as const

export interface RegistrationHandlers {
  readonly Register: handleUnaryCall<v1beta1.RegisterRequest, v1beta1.Empty>
}

/** What a plugin must answer; without a handler for GetPreferredAllocation grpc-js answers UNIMPLEMENTED. */
export interface DevicePluginHandlers {
  readonly GetDevicePluginOptions: handleUnaryCall<v1beta1.Empty, v1beta1.DevicePluginOptions>
  /** Writes ListAndWatchResponses in their encoded form. */
  readonly ListAndWatch: handleServerStreamingCall<v1beta1.Empty, Buffer>
  readonly Allocate: handleUnaryCall<v1beta1.AllocateRequest, v1beta1.AllocateResponse>
  readonly PreStartContainer: handleUnaryCall<v1beta1.PreStartContainerRequest, v1beta1.PreStartContainerResponse>
}

export interface PodResourcesHandlers {
  readonly List: handleUnaryCall<v1.ListPodResourcesRequest, v1.ListPodResourcesResponse>
  readonly GetAllocatableResources: handleUnaryCall<v1.AllocatableResourcesRequest, v1.AllocatableResourcesResponse>
  readonly Get: handleUnaryCall<v1.GetPodResourcesRequest, v1.GetPodResourcesResponse>
}

export function servePodResources(server: Server, handlers: PodResourcesHandlers): void {
  server.addService(POD_RESOURCES, { ...handlers })
}

export function serveRegistration(server: Server, handlers: RegistrationHandlers): void {
  server.addService(REGISTRATION, { ...handlers })
}

/** Lists are written as bytes (list-bytes.ts). */
export function serveDevicePlugin(server: Server, handlers: DevicePluginHandlers): void {
  const ListAndWatch = { ...DEVICE_PLUGIN.ListAndWatch, responseSerialize: (bytes: Buffer) => bytes }
  server.addService({ ...DEVICE_PLUGIN, ListAndWatch }, { ...handlers })
}

/**
 * A client for the unix socket at an absolute path. It connects on the first call; the caller closes it. Its connection is its
 * own: grpc-js would otherwise share one per path, together with the back-off left behind by a server that is gone.
 * `authority` is the request's :authority. Kubelets from 1.26 send `localhost`; Node's HTTP/2 server resets streams whose authority
 * is a raw path, which older ones send (kubernetes#112597).
 */
export function dial(socketPath: string, limits: ChannelOptions, authority = 'localhost'): Client {
  return new Client(`unix:${socketPath}`, credentials.createInsecure(), {
    ...limits,
    'grpc.default_authority': authority,
    'grpc.use_local_subchannel_pool': 1,
    'grpc.enable_http_proxy': 0,
  })
}

export interface CallOptions {
  /** On the wall clock; without it the call waits for as long as the server likes. */
  readonly deadline?: Date | number
  readonly signal?: AbortSignal
}

/** One request, one response. Rejects with grpc-js's ServiceError; an aborted signal cancels the call (code CANCELLED). */
export function callUnary<Request, Response>(
  client: Client,
  definition: MethodDefinition<Request, Response>,
  request: Request,
  { deadline, signal }: CallOptions = {},
): Promise<Response> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => call.cancel()
    const call = client.makeUnaryRequest(
      definition.path,
      definition.requestSerialize,
      definition.responseDeserialize,
      request,
      deadline === undefined ? {} : { deadline },
      (error: ServiceError | null, response?: Response) => {
        signal?.removeEventListener('abort', onAbort)
        if (error === null && response !== undefined) resolve(response)
        else reject(error ?? new Error(`${definition.path} answered nothing`))
      },
    )
    signal?.addEventListener('abort', onAbort, { once: true })
    if (signal?.aborted === true) call.cancel()
  })
}

/** One request, many responses. The caller handles 'data', 'error' and 'end' of the stream and cancels it when done. */
export function callStream<Request, Response>(
  client: Client,
  definition: MethodDefinition<Request, Response>,
  request: Request,
): ClientReadableStream<Response> {
  return client.makeServerStreamRequest(definition.path, definition.requestSerialize, definition.responseDeserialize, request)
}
