/**
 * What the kubelet costs and waits for, over real unix sockets: a pushed list, and an Allocate. Both ends are in this process, so
 * each number is the work of the agent, of the transport and of the receiver together; the floors share the latter two.
 */
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pause } from './stop.ts'
import { Server, ServerCredentials, type ClientReadableStream, type ServerWritableStream } from '@grpc/grpc-js'
import { DevicePlugins } from '../../src/kubelet/index.ts'
import { v1beta1 } from '../../src/kubelet/gen/deviceplugin.js'
import { PluginServer } from '../../src/kubelet/plugin-server.ts'
import { ResourceDevices } from '../../src/kubelet/resource-devices.ts'
import { callStream, callUnary, DEVICE_PLUGIN, dial, serveRegistration, UNLIMITED } from '../../src/kubelet/wire.ts'
import { noUnits } from '../../src/model/index.ts'
import type { Result } from './result.ts'
import { percentile, takeTurns } from './turns.ts'

const WARM_PUSHES = 200
const CALLS = 5_000
const WARM_CALLS = 1_000
const REGISTERED = 2_000
const ASKED = 16
const now = (): number => performance.now()

/** A list of `count` devices, from the decision to its arrival in decoded form; floor: the same bytes as they are, same kind of stream. */
export async function pushBench(name: string, count: number): Promise<Result> {
  const directory = mkdtempSync(join(tmpdir(), 'kab-'))
  const registration = await listening(join(directory, 'kubelet.sock'), (server) =>
    serveRegistration(server, { Register: (_call, reply) => reply(null, {}) }),
  )
  const plugins = new DevicePlugins({
    directory,
    resources: [{ resource: 'be-cpu', fullName: 'kube-agent.io/be-cpu', qosClass: 'BE' }],
    maxUnits: count,
    pushMs: 0,
    now,
    random: Math.random,
  })
  await plugins.start()
  while (plugins.states()[0]?.registered !== true) await pause(5)
  const client = dial(join(directory, plugins.states()[0]?.socket ?? ''), UNLIMITED)
  let bytes: Buffer = Buffer.alloc(0)
  const responseDeserialize = (received: Buffer): v1beta1.ListAndWatchResponse => readList((bytes = received))
  const lists = callStream(client, { ...DEVICE_PLUGIN.ListAndWatch, responseDeserialize }, {})
  await once(lists, 'data')
  let wanted = count
  // All of the devices are in each list; a tenth of them changes its health.
  const push = async (): Promise<number> => {
    const started = now()
    const arrival = once(lists, 'data')
    wanted = wanted === count ? Math.floor(count * 0.9) : count
    plugins.publish({ ...noUnits(), 'be-cpu': wanted })
    await arrival
    return now() - started
  }
  plugins.publish({ ...noUnits(), 'be-cpu': count })
  await once(lists, 'data')
  const raw = await RawStream.open(join(directory, 'raw.sock'))
  const floor = (): Promise<number> => raw.send(bytes)
  try {
    for (let warm = 0; warm < WARM_PUSHES; warm += 1) {
      await push()
      await floor()
    }
    const { ours, floors } = await takeTurns(push, floor)
    const ratio = ours / floors
    return { name, value: ours, unit: 'ms', floor: floors, ratio, goal: 3, ok: ratio <= 3 }
  } finally {
    raw.close()
    lists.on('error', () => {})
    lists.cancel()
    client.close()
    await plugins.stop()
    registration.forceShutdown()
    rmSync(directory, { recursive: true, force: true })
  }
}

/** p99 of an Allocate for one container among 2,000 devices; floor: p99 of an RPC that does nothing, on the same connection. */
export async function allocateBench(name: string): Promise<Result> {
  const directory = mkdtempSync(join(tmpdir(), 'kab-'))
  const handlerMs: number[] = []
  const devices = new TimedDevices({ resource: 'be-cpu', maxUnits: REGISTERED, now })
  devices.publish(REGISTERED)
  const server = await PluginServer.listen({
    devices,
    qosClass: 'BE',
    socketPath: join(directory, 'plugin.sock'),
    pushMs: 0,
    now,
    nonce: () => {
      // The last thing that the handler asks for before it hands its answer to the transport.
      handlerMs.push(now() - devices.startedMs)
      return '0123456789abcdef'
    },
    onStreams: () => {},
    onPush: () => {},
  })
  const client = dial(server.socketPath, UNLIMITED)
  const calls: number[] = []
  const empty: number[] = []
  try {
    for (let call = 0; call < CALLS + WARM_CALLS; call += 1) {
      const request = { containerRequests: [{ devicesIds: someIds(devices) }] }
      calls.push(await timed(() => callUnary(client, DEVICE_PLUGIN.Allocate, request)))
      empty.push(await timed(() => callUnary(client, DEVICE_PLUGIN.PreStartContainer, { devicesIds: [] })))
    }
    const [value, floor, handler] = [calls, empty, handlerMs].map((all) => percentile(all.slice(WARM_CALLS), 0.99))
    if (value === undefined || floor === undefined || handler === undefined) throw new Error('nothing was measured')
    return { name, value, unit: 'ms', floor, ratio: value / floor, goal: 1, ok: handler < 1, handlerMs: handler }
  } finally {
    client.close()
    await server.close()
    rmSync(directory, { recursive: true, force: true })
  }
}

class TimedDevices extends ResourceDevices {
  startedMs = 0

  override allocate(containers: readonly (readonly string[])[]): ReturnType<ResourceDevices['allocate']> {
    this.startedMs = now()
    return super.allocate(containers)
  }
}

function someIds({ list }: ResourceDevices): string[] {
  const ids = new Set<string>()
  while (ids.size < ASKED) ids.add(list[Math.floor(Math.random() * list.length)]?.id ?? '')
  return [...ids]
}

async function timed(call: () => Promise<unknown>): Promise<number> {
  const started = now()
  await call()
  return now() - started
}

/**
 * A ListAndWatchResponse as a kubelet needs it. The generated decoder would be measured instead of the push: protobufjs takes 1.5 ms for
 * 10,000 devices, three times what the bytes are under way, and no kubelet decodes in JavaScript.
 */
function readList(bytes: Buffer): v1beta1.ListAndWatchResponse {
  const text = bytes.toString('latin1')
  const devices: { ID: string; health: string }[] = []
  for (let at = 0; at < bytes.length;) {
    // Tag and length of the device, then of its ID, then of its health; lengths below 128 take one byte.
    const end = at + 2 + (bytes[at + 1] ?? 0)
    const idEnd = at + 4 + (bytes[at + 3] ?? 0)
    devices.push({ ID: text.slice(at + 4, idEnd), health: text.slice(idEnd + 2, end) })
    at = end
  }
  return v1beta1.ListAndWatchResponse.create({ devices })
}

async function listening(socket: string, serve: (server: Server) => void): Promise<Server> {
  const server = new Server(UNLIMITED)
  serve(server)
  await new Promise<void>((resolve, reject) => {
    server.bindAsync(`unix:${socket}`, ServerCredentials.createInsecure(), (error) =>
      error === null ? resolve() : reject(error),
    )
  })
  return server
}

/** A stream of the same kind whose messages are bytes at both ends. */
class RawStream {
  readonly #server: Server
  readonly #received: ClientReadableStream<Buffer>
  readonly #sending: ServerWritableStream<v1beta1.Empty, Buffer>
  readonly #close: () => void

  private constructor(
    server: Server,
    streams: { received: ClientReadableStream<Buffer>; sending: ServerWritableStream<v1beta1.Empty, Buffer> },
    close: () => void,
  ) {
    this.#server = server
    this.#received = streams.received
    this.#sending = streams.sending
    this.#close = close
  }

  static async open(socket: string): Promise<RawStream> {
    const asTheyAre = (bytes: Buffer): Buffer => bytes
    const Raw = { ...DEVICE_PLUGIN.ListAndWatch, responseSerialize: asTheyAre, responseDeserialize: asTheyAre }
    const opened: { stream?: ServerWritableStream<v1beta1.Empty, Buffer> } = {}
    const server = await listening(socket, (each) => {
      each.addService({ Raw }, { Raw: (stream: ServerWritableStream<v1beta1.Empty, Buffer>) => (opened.stream = stream) })
    })
    const client = dial(socket, UNLIMITED)
    const received = callStream(client, Raw, {})
    while (opened.stream === undefined) await pause(5)
    return new RawStream(server, { received, sending: opened.stream }, () => client.close())
  }

  async send(bytes: Buffer): Promise<number> {
    const started = now()
    const arrival = once(this.#received, 'data')
    this.#sending.write(bytes)
    await arrival
    return now() - started
  }

  close(): void {
    this.#received.on('error', () => {})
    this.#received.cancel()
    this.#close()
    this.#server.forceShutdown()
  }
}
