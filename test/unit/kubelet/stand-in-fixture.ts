/** A kubelet stand-in on a temporary directory, and plugins that do as they are told, right or wrong. All is stopped and removed. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Server, ServerCredentials, type ServerUnaryCall, type ServerWritableStream } from '@grpc/grpc-js'
import { expect, onTestFinished, vi } from 'vitest'
import type { v1beta1 } from '../../../src/kubelet/gen/deviceplugin.js'
import { callUnary, DEVICE_PLUGIN, dial, REGISTRATION, UNLIMITED } from '../../../src/kubelet/wire.ts'
import {
  KubeletStandIn,
  type ContainerKind,
  type KubeletStandInOptions,
  type StandInContainer,
  type StandInPod,
} from '../../../src/sim/kubelet/index.ts'

export const GPU = 'example.com/gpu'
export const CPU = 'example.com/cpu'

/** When the test has finished, the last one first. */
export function onCleanup(cleanup: () => Promise<void> | void): void {
  onTestFinished(cleanup)
}

/** Waits until the assertions hold. */
export function eventually(assert: () => void): Promise<void> {
  return vi.waitFor(assert, { timeout: 15_000, interval: 5 })
}

export function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'ka-'))
  onCleanup(() => rmSync(directory, { recursive: true, force: true }))
  return directory
}

export function makeKubelet(options: Partial<KubeletStandInOptions> = {}): { kubelet: KubeletStandIn; directory: string } {
  const directory = options.directory ?? temporaryDirectory()
  const kubelet = new KubeletStandIn({ random: Math.random, ...options, directory })
  onCleanup(() => kubelet.stop())
  return { kubelet, directory }
}

/** A promise to be settled from outside. */
export function gate(): { readonly opened: Promise<void>; readonly open: () => void } {
  let open = (): void => {}
  const opened = new Promise<void>((resolve) => (open = resolve))
  return { opened, open: () => open() }
}

type ListStream = ServerWritableStream<v1beta1.Empty, v1beta1.ListAndWatchResponse>
type Answer<Request, Response> = (request: Request) => Promise<Response> | Response

export class ObedientPlugin {
  readonly streams = new Set<ListStream>()
  streamsOpened = 0
  options: Answer<v1beta1.Empty, v1beta1.DevicePluginOptions.$Properties> = () => ({})
  allocate: Answer<v1beta1.AllocateRequest, v1beta1.AllocateResponse.$Properties> = ({ containerRequests }) => ({
    containerResponses: containerRequests.map(() => ({})),
  })
  prefer: Answer<v1beta1.PreferredAllocationRequest, v1beta1.PreferredAllocationResponse.$Properties> = () => ({})
  preStart: Answer<v1beta1.PreStartContainerRequest, v1beta1.PreStartContainerResponse> = () => ({})
  /** IDs of each Allocate, in the order in which they came. */
  readonly allocated: (readonly string[])[] = []
  readonly preferenceRequests: v1beta1.ContainerPreferredAllocationRequest.$Properties[] = []
  readonly preStarted: (readonly string[])[] = []
  /** Milliseconds left at each call, by method; infinite without a deadline. */
  readonly leftMs: Record<string, number[]> = {}
  readonly authorities = new Set<string>()
  /** Calls that the kubelet has given up. */
  cancelled = 0
  readonly #server = new Server(UNLIMITED)

  async listen(directory: string, name: string): Promise<this> {
    onCleanup(() => this.close())
    this.#server.addService(DEVICE_PLUGIN, {
      GetDevicePluginOptions: this.#unary('options', (request: v1beta1.Empty) => this.options(request)),
      ListAndWatch: (stream: ListStream) => {
        this.streamsOpened += 1
        this.streams.add(stream)
        stream.on('cancelled', () => this.streams.delete(stream))
      },
      Allocate: this.#unary('allocate', (request: v1beta1.AllocateRequest) => {
        this.allocated.push(...request.containerRequests.map(({ devicesIds }) => devicesIds ?? []))
        return this.allocate(request)
      }),
      GetPreferredAllocation: this.#unary('prefer', (request: v1beta1.PreferredAllocationRequest) => {
        this.preferenceRequests.push(...request.containerRequests)
        return this.prefer(request)
      }),
      PreStartContainer: this.#unary('preStart', (request: v1beta1.PreStartContainerRequest) => {
        this.preStarted.push(request.devicesIds)
        return this.preStart(request)
      }),
    })
    await new Promise<void>((resolve) => {
      this.#server.bindAsync(`unix:${join(directory, name)}`, ServerCredentials.createInsecure(), () => resolve())
    })
    return this
  }

  close(): void {
    this.#server.forceShutdown()
  }

  endStreams(): void {
    for (const stream of this.streams) stream.end()
  }

  /** Lists these as healthy; a leading `-` makes one unhealthy. */
  list(...devices: string[]): void {
    this.send(
      devices.map((id) => (id.startsWith('-') ? { ID: id.slice(1), health: 'Unhealthy' } : { ID: id, health: 'Healthy' })),
    )
  }

  send(devices: v1beta1.Device.$Properties[]): void {
    for (const stream of this.streams) stream.write({ devices })
  }

  #unary<Request, Response>(method: string, answer: Answer<Request, Response>) {
    return (call: ServerUnaryCall<Request, Response>, reply: (error: Error | null, response?: Response) => void): void => {
      const deadline = call.getDeadline()
      ;(this.leftMs[method] ??= []).push(deadline === Infinity ? Infinity : Number(deadline) - Date.now())
      this.authorities.add(call.getHost())
      call.on('cancelled', () => (this.cancelled += 1))
      void (async () => answer(call.request))().then((response) => reply(null, response), reply)
    }
  }
}

interface RegisterFields {
  readonly resourceName?: string
  readonly version?: string
  readonly options?: v1beta1.DevicePluginOptions.$Properties
  readonly deadlineMs?: number
  readonly signal?: AbortSignal
}

export async function register(directory: string, endpoint: string, fields: RegisterFields = {}): Promise<void> {
  const { resourceName = GPU, version = 'v1beta1', options, deadlineMs = 15_000, signal } = fields
  const client = dial(join(directory, 'kubelet.sock'), UNLIMITED)
  const request = { version, endpoint, resourceName, ...(options === undefined ? {} : { options }) }
  try {
    const call = { deadline: Date.now() + deadlineMs, ...(signal === undefined ? {} : { signal }) }
    await callUnary(client, REGISTRATION.Register, request as v1beta1.RegisterRequest, call)
  } finally {
    client.close()
  }
}

interface Registered {
  readonly directory: string
  readonly endpoint?: string
  readonly resource?: string
  readonly plugin?: ObedientPlugin
}

/** A plugin that is registered and whose list the kubelet is waiting for. */
export async function registered({
  directory,
  endpoint = 'a.sock',
  resource = GPU,
  plugin,
}: Registered): Promise<ObedientPlugin> {
  const listening = await (plugin ?? new ObedientPlugin()).listen(directory, endpoint)
  await register(directory, endpoint, { resourceName: resource })
  await eventually(() => expect(listening.streams.size).toBe(1))
  return listening
}

interface Listed extends Registered {
  readonly kubelet: KubeletStandIn
  /** As in `ObedientPlugin.list`. */
  readonly devices: readonly string[]
}

/** A plugin whose devices the kubelet has. */
export async function listed({ kubelet, devices, ...rest }: Listed): Promise<ObedientPlugin> {
  const plugin = await registered(rest)
  await list(kubelet, plugin, devices, rest.resource)
  return plugin
}

/** Sends a list and waits until the kubelet has it. */
export async function list(
  kubelet: KubeletStandIn,
  plugin: ObedientPlugin,
  devices: readonly string[],
  resource = GPU,
): Promise<void> {
  plugin.list(...devices)
  const expected = new Map(devices.map((id) => (id.startsWith('-') ? [id.slice(1), false] : [id, true])))
  await eventually(() => expect(kubelet.devices(resource)).toEqual(expected))
}

/** A started kubelet and one plugin that has listed these devices. */
export async function nodeWith(
  devices: readonly string[],
  options: Partial<KubeletStandInOptions> = {},
  plugin?: ObedientPlugin,
) {
  const { kubelet, directory } = makeKubelet(options)
  await kubelet.start()
  const gpu = await listed({ kubelet, directory, devices, ...(plugin === undefined ? {} : { plugin }) })
  return { kubelet, directory, gpu }
}

export function container(name: string, gpus: number, kind: ContainerKind = 'main'): StandInContainer {
  return { name, kind, limits: { [GPU]: gpus } }
}

export function pod(uid: string, limits: Record<string, number>): StandInPod {
  return podOf(uid, { name: 'c', limits })
}

export function podOf(uid: string, ...containers: StandInContainer[]): StandInPod {
  return { uid, namespace: 'n', name: uid, containers }
}

/** What each container of an admitted pod holds of GPU, by container name. */
export async function admitted(kubelet: KubeletStandIn, wanted: StandInPod): Promise<Record<string, readonly string[]>> {
  const result = await kubelet.admit(wanted)
  if (!result.admitted) return expect.fail(result.message)
  return Object.fromEntries(result.containers.map(({ name, devices }) => [name, devices[GPU] ?? []]))
}

/** The message with which the pod is turned away. */
export async function rejection(kubelet: KubeletStandIn, wanted: StandInPod): Promise<string> {
  const result = await kubelet.admit(wanted)
  return result.admitted ? expect.fail('admitted') : result.message
}
