/**
 * Any bytes as messages of the kubelet: a message that is the same after another trip, or an error that grpc-js answers with. Then some
 * hundred over real sockets, both ways: a plugin that is sent garbage, and a client of pod-resources that is answered with it.
 */
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { type Client, Server, ServerCredentials, type ServiceError, status } from '@grpc/grpc-js'
import * as fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { PluginServer } from '../../src/kubelet/plugin-server.ts'
import { PodResourcesClient } from '../../src/kubelet/pod-resources.ts'
import { ResourceDevices } from '../../src/kubelet/resource-devices.ts'
import { callUnary, DEVICE_PLUGIN, dial, POD_RESOURCES, REGISTRATION, UNLIMITED } from '../../src/kubelet/wire.ts'
import { announce, byteStrings, fuzz, fuzzAsync, RUNS, scratchDirectory } from './support.ts'

announce('protobuf')

const directory = scratchDirectory()

interface AnyMethod {
  readonly path: string
  readonly requestSerialize: (message: object) => Buffer
  readonly requestDeserialize: (bytes: Buffer) => object
  readonly responseSerialize: (message: object) => Buffer
  readonly responseDeserialize: (bytes: Buffer) => object
}

const METHODS = [
  ...Object.values(REGISTRATION),
  ...Object.values(DEVICE_PLUGIN),
  ...Object.values(POD_RESOURCES),
] as unknown as AnyMethod[]

const REQUESTS: readonly object[] = [
  { version: 'v1beta1', endpoint: 'a.sock', resourceName: 'x.y/z', options: { preStartRequired: true } },
  { containerRequests: [{ devicesIds: ['bc-0001', 'bc-0002'] }, { devicesIds: ['bc-0003'] }] },
  { devicesIds: ['bc-0001'] },
  { podName: 'p', podNamespace: 'n' },
]
const RESPONSES: readonly object[] = [
  { devices: [{ ID: 'bc-0001', health: 'Healthy', topology: { nodes: [{ ID: 0 }] } }] },
  { containerResponses: [{ envs: { A: 'b' }, annotations: { c: 'd' }, mounts: [{ containerPath: '/a', hostPath: '/b' }] }] },
  {
    podResources: [
      { name: 'p', namespace: 'n', containers: [{ name: 'c', devices: [{ resourceName: 'x/y', deviceIds: ['1'] }] }] },
    ],
  },
]

/** What the wire holds when all goes well, and what breaks decoders: groups within groups, lengths beyond the end, endless numbers. */
const SAMPLES: readonly Buffer[] = [
  ...METHODS.flatMap((method) => [
    ...REQUESTS.map((message) => method.requestSerialize({ ...emptyOf(method.requestDeserialize), ...message })),
    ...RESPONSES.map((message) => method.responseSerialize({ ...emptyOf(method.responseDeserialize), ...message })),
  ]).filter((bytes) => bytes.length > 0),
  Buffer.alloc(3000, 0x0b),
  Buffer.from([0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f]),
  Buffer.alloc(64, 0xff),
]

function emptyOf(decode: (bytes: Buffer) => object): object {
  return { ...decode(Buffer.alloc(0)) }
}

/** As data: what the codecs may share in memory, or give as a Long, is not looked at. */
const asText = (message: object): string => JSON.stringify(message)

describe('messages of the kubelet', () => {
  const inputs = fc.tuple(fc.constantFrom(...METHODS), fc.boolean(), byteStrings(...SAMPLES))
  fuzz('are decoded, and the same after another trip, or refused', inputs, ([method, isRequest, bytes]) => {
    const decode = isRequest ? method.requestDeserialize : method.responseDeserialize
    const encode = isRequest ? method.requestSerialize : method.responseSerialize
    let message: object
    try {
      message = decode(bytes)
    } catch (thrown) {
      expect(thrown).toBeInstanceOf(Error)
      return 'refused'
    }
    expect(asText(decode(encode(message)))).toBe(asText(message))
    if (Object.prototype.hasOwnProperty.call(Object.prototype, 'polluted'))
      throw new Error('the prototype of all objects was changed')
    return 'taken'
  })

  const ids = fc.array(
    fc.array(
      fc.oneof(
        fc.constantFrom('bc-0001', 'bc-0002', 'bc-0003', 'bc-1', '__proto__', 'constructor', 'bc-1e3', 'bc--1', 'bc-'),
        fc.string({ unit: 'binary' }),
      ),
    ),
  )
  fuzz('of Allocate: devices are handed out all or none, and none is made up', ids, (containers) => {
    const devices = new ResourceDevices({ resource: 'be-cpu', maxUnits: 10, now: () => 0 })
    devices.publish(3)
    const result = devices.allocate(containers)
    expect(devices.list.map(({ id }) => id)).toEqual(['bc-0001', 'bc-0002', 'bc-0003'])
    const wanted = new Set(containers.flat())
    expect(devices.allocatedUnits).toBe(result.is === 'allocated' ? wanted.size : 0)
    return result.is === 'allocated' ? 'taken' : 'refused'
  })
})

/** Cases over a socket, where a trip costs a millisecond. */
const TRIPS = Math.ceil(RUNS / 25)

describe('a plugin on its socket', () => {
  let plugin: PluginServer
  let client: Client

  beforeAll(async () => {
    const devices = new ResourceDevices({ resource: 'be-cpu', maxUnits: 10, now: () => 0 })
    devices.publish(5)
    const socketPath = join(directory, 'plugin.sock')
    const nothing = (): void => {}
    const options = {
      devices,
      qosClass: 'BE',
      socketPath,
      pushMs: 10,
      now: () => 0,
      nonce: () => 'n',
      onStreams: nothing,
      onPush: nothing,
    } as const
    plugin = await PluginServer.listen(options)
    client = dial(socketPath, UNLIMITED)
  })

  afterAll(async () => {
    client.close()
    await plugin.close()
  })

  const call = (path: string, bytes: Buffer): Promise<Buffer> => {
    const method = {
      ...DEVICE_PLUGIN.Allocate,
      path,
      requestSerialize: (raw: Buffer) => raw,
      responseDeserialize: (raw: Buffer) => raw,
    }
    return callUnary(client, method as never, bytes as never, { deadline: Date.now() + 10_000 })
  }

  const REFUSALS: readonly status[] = [status.INVALID_ARGUMENT, status.NOT_FOUND, status.INTERNAL, status.UNIMPLEMENTED]
  const paths = fc.constantFrom(
    DEVICE_PLUGIN.Allocate.path,
    DEVICE_PLUGIN.PreStartContainer.path,
    DEVICE_PLUGIN.GetDevicePluginOptions.path,
    '/v1beta1.DevicePlugin/GetPreferredAllocation',
    '/no/such',
  )

  fuzzAsync(
    'answers every call, and goes on answering',
    fc.tuple(paths, byteStrings(...SAMPLES)),
    async ([path, bytes]) => {
      try {
        await call(path, bytes)
        return 'taken'
      } catch (thrown) {
        const { code } = thrown as ServiceError
        if (!REFUSALS.includes(code)) throw thrown
        return 'refused'
      }
    },
    { runs: TRIPS },
  )

  it('still hands out devices', async () => {
    const good = DEVICE_PLUGIN.Allocate.requestSerialize({ containerRequests: [{ devicesIds: ['bc-0004'] }] })
    const answer = DEVICE_PLUGIN.Allocate.responseDeserialize(await call(DEVICE_PLUGIN.Allocate.path, good))
    expect(answer.containerResponses).toHaveLength(1)
  })
})

describe('pod-resources on its socket', () => {
  let server: Server
  let answer: Buffer = Buffer.alloc(0)
  const folder = directory

  beforeAll(async () => {
    server = new Server(UNLIMITED)
    const List = { ...POD_RESOURCES.List, responseSerialize: (bytes: Buffer) => bytes }
    server.addService(
      { List },
      {
        List: (_call: unknown, reply: (error: null, bytes: Buffer) => void) => reply(null, answer),
      },
    )
    await new Promise<void>((resolve, reject) => {
      const address = `unix:${join(folder, 'kubelet.sock')}`
      server.bindAsync(address, ServerCredentials.createInsecure(), (error) => (error === null ? resolve() : reject(error)))
    })
  })

  afterAll(() => {
    server.forceShutdown()
    rmSync(join(folder, 'kubelet.sock'), { force: true })
  })

  fuzzAsync(
    'may say what it likes: what pods hold, or a refusal',
    byteStrings(...SAMPLES),
    async (bytes) => {
      answer = bytes
      const client = new PodResourcesClient(folder, () => 0)
      try {
        const { containers, idsByResource } = await client.list(10_000)
        for (const ids of idsByResource.values()) for (const id of ids) expect(typeof id).toBe('string')
        for (const container of containers) expect(typeof container.pod).toBe('string')
        return 'taken'
      } catch (thrown) {
        expect(thrown).toBeInstanceOf(Error)
        expect((thrown as ServiceError).code).toBe(status.INTERNAL)
        return 'refused'
      } finally {
        client.close()
      }
    },
    { runs: TRIPS },
  )
})
