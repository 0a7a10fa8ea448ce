/** The stand-in is as strict as a kubelet: it turns away what a kubelet would, and catches what would crash one. */
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Server, ServerCredentials, status, type ServerWritableStream } from '@grpc/grpc-js'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { v1beta1 } from '../../../src/kubelet/gen/deviceplugin.js'
import { callUnary, dial, REGISTRATION, serveDevicePlugin, UNLIMITED } from '../../../src/kubelet/wire.ts'
import { KubeletStandIn } from '../../../src/sim/kubelet/index.ts'

const GPU = 'example.com/gpu'
const CPU = 'example.com/cpu'

let directory = ''
let kubelet: KubeletStandIn
const servers: Server[] = []

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'ka-'))
  kubelet = new KubeletStandIn({ directory, random: Math.random, dialTimeoutMs: 300 })
  await kubelet.start()
})

afterEach(async () => {
  for (const server of servers.splice(0)) server.forceShutdown()
  await kubelet.stop()
  rmSync(directory, { recursive: true, force: true })
})

/** A plugin that does as it is told, right or wrong. */
class ObedientPlugin {
  readonly streams = new Set<ServerWritableStream<v1beta1.Empty, v1beta1.ListAndWatchResponse>>()
  allocate: (request: v1beta1.AllocateRequest) => Promise<v1beta1.AllocateResponse> = ({ containerRequests }) =>
    Promise.resolve({ containerResponses: containerRequests.map(() => ({})) })

  async listen(name: string): Promise<this> {
    const server = new Server(UNLIMITED)
    servers.push(server)
    serveDevicePlugin(server, {
      GetDevicePluginOptions: (_call, reply) => reply(null, { preStartRequired: false, getPreferredAllocationAvailable: false }),
      ListAndWatch: (stream) => {
        this.streams.add(stream)
        stream.on('cancelled', () => this.streams.delete(stream))
      },
      Allocate: ({ request }, reply) => {
        this.allocate(request).then(
          (response) => reply(null, response),
          (error: Error) => reply({ code: status.INTERNAL, details: error.message }),
        )
      },
      PreStartContainer: (_call, reply) => reply(null, {}),
    })
    await new Promise<void>((resolve) => {
      server.bindAsync(`unix:${join(directory, name)}`, ServerCredentials.createInsecure(), () => resolve())
    })
    return this
  }

  list(...devices: string[]): void {
    this.send(devices.map((ID) => ({ ID, health: 'Healthy' })))
  }

  send(devices: { ID: string; health: string }[]): void {
    for (const stream of this.streams) stream.write({ devices })
  }
}

async function register(endpoint: string, resourceName = GPU, version = 'v1beta1'): Promise<void> {
  const client = dial(join(directory, 'kubelet.sock'), UNLIMITED)
  try {
    await callUnary(client, REGISTRATION.Register, { version, endpoint, resourceName }, { deadline: Date.now() + 5_000 })
  } finally {
    client.close()
  }
}

async function registered(endpoint: string, resourceName = GPU): Promise<ObedientPlugin> {
  const plugin = await new ObedientPlugin().listen(endpoint)
  await register(endpoint, resourceName)
  await vi.waitFor(() => expect(plugin.streams.size).toBe(1))
  return plugin
}

const listed = (resource: string): string[] => [...kubelet.devices(resource).keys()]
const pod = (uid: string, limits: Record<string, number>) => ({
  uid,
  namespace: 'n',
  name: uid,
  containers: [{ name: 'c', limits }],
})

describe('Register', () => {
  it.each(['v1', 'v1alpha', '', 'V1BETA1'])('refuses version %j', async (version) => {
    await new ObedientPlugin().listen('a.sock')
    await expect(register('a.sock', GPU, version)).rejects.toMatchObject({
      code: status.UNKNOWN,
      details: expect.stringContaining('not supported') as string,
    })
    expect(kubelet.registrations).toBe(0)
  })

  it.each([
    'gpu',
    'kubernetes.io/gpu',
    'x.kubernetes.io/gpu',
    'requests.example.com/gpu',
    'Example.com/gpu',
    'example.com/',
    '/gpu',
    'example.com/gpu/a',
    'example.com/-gpu',
    'example.com/gpu_',
    `example.com/${'g'.repeat(64)}`,
    'exa_mple.com/gpu',
    '',
  ])('refuses the name %j', async (name) => {
    await new ObedientPlugin().listen('a.sock')
    await expect(register('a.sock', name)).rejects.toMatchObject({
      code: status.UNKNOWN,
      details: expect.stringContaining('invalid') as string,
    })
  })

  it.each(['kube-agent.io/be-cpu', 'example.com/GPU_1.x', `example.com/${'g'.repeat(63)}`])('takes the name %j', async (name) => {
    await new ObedientPlugin().listen('a.sock')
    await expect(register('a.sock', name)).resolves.toBeUndefined()
  })

  it('refuses a plugin that does not listen', async () => {
    await expect(register('none.sock')).rejects.toMatchObject({
      code: status.UNKNOWN,
      details: expect.stringContaining('dialling') as string,
    })
  })
})

describe('lists', () => {
  it('replace each other whole; anything but Healthy is unhealthy; none means no devices', async () => {
    const plugin = await registered('a.sock')
    kubelet.tick(0)
    expect(kubelet.nodeStatus()).toEqual({ [GPU]: { capacity: 0, allocatable: 0 } })
    plugin.send([
      { ID: 'a', health: 'Healthy' },
      { ID: 'b', health: 'healthy' },
      { ID: 'c', health: '' },
    ])
    await vi.waitFor(() => expect(listed(GPU)).toEqual(['a', 'b', 'c']))
    kubelet.tick(9_999)
    expect(kubelet.nodeStatus()).toEqual({ [GPU]: { capacity: 0, allocatable: 0 } })
    kubelet.tick(10_400)
    expect(kubelet.nodeStatus()).toEqual({ [GPU]: { capacity: 3, allocatable: 1 } })
    plugin.list('d')
    await vi.waitFor(() => expect(listed(GPU)).toEqual(['d']))
    expect(kubelet.violations).toEqual([])
  })

  it('over 4 MiB end the stream', async () => {
    const plugin = await registered('a.sock')
    plugin.list('a')
    await vi.waitFor(() => expect(kubelet.devices(GPU).get('a')).toBe(true))
    plugin.send(Array.from({ length: 41 }, (_, at) => ({ ID: `${at}`.padStart(100_000, 'x'), health: 'Healthy' })))
    await vi.waitFor(() => expect(kubelet.devices(GPU).size).toBe(41))
    plugin.send(Array.from({ length: 42 }, (_, at) => ({ ID: `${at}`.padStart(100_000, 'x'), health: 'Healthy' })))
    await vi.waitFor(() => expect(plugin.streams.size).toBe(0))
    expect([...kubelet.devices(GPU).values()]).not.toContain(true)
    expect(kubelet.devices(GPU).size).toBe(41)
  })

  it('may not name one device twice, nor one of another resource', async () => {
    const gpu = await registered('a.sock')
    const cpu = await registered('b.sock', CPU)
    gpu.list('a', 'a')
    await vi.waitFor(() => expect(kubelet.violations).toEqual([expect.stringContaining('twice')]))
    cpu.list('a')
    await vi.waitFor(() => expect(kubelet.violations).toEqual([expect.anything(), expect.stringContaining('both')]))
  })
})

describe('a device that leaves the list', () => {
  it('is a violation while a pod holds it, and none afterwards', async () => {
    const plugin = await registered('a.sock')
    plugin.list('a', 'b')
    await vi.waitFor(() => expect(listed(GPU)).toHaveLength(2))
    expect(await kubelet.admit(pod('p', { [GPU]: 1 }))).toMatchObject({ admitted: true })
    plugin.list('z')
    await vi.waitFor(() => expect(kubelet.violations).toEqual([expect.stringMatching(/[ab] left the list while held by p/)]))
    kubelet.remove('p')
    plugin.list('y')
    await vi.waitFor(() => expect(listed(GPU)).toEqual(['y']))
    expect(kubelet.violations).toHaveLength(1)
  })

  it('is a violation while its Allocate is in flight', async () => {
    const plugin = await registered('a.sock')
    plugin.list('a')
    await vi.waitFor(() => expect(listed(GPU)).toHaveLength(1))
    let answer = (): void => {}
    plugin.allocate = () => new Promise((resolve) => (answer = () => resolve({ containerResponses: [{}] })))
    const admission = kubelet.admit(pod('p', { [GPU]: 1 }))
    await new Promise((resolve) => setTimeout(resolve, 50))
    plugin.list('b')
    await vi.waitFor(() => expect(kubelet.violations).toEqual([expect.stringContaining('a left the list')]))
    answer()
    expect(await admission).toMatchObject({ admitted: true })
  })
})

describe('admission', () => {
  it('rejects for good when devices are short or the plugin fails, and frees what it took', async () => {
    const gpu = await registered('a.sock')
    const cpu = await registered('b.sock', CPU)
    gpu.list('g1', 'g2')
    cpu.list('c1')
    await vi.waitFor(() => expect([listed(GPU).length, listed(CPU).length]).toEqual([2, 1]))
    const rejection = {
      admitted: false,
      reason: 'UnexpectedAdmissionError',
      message:
        'Allocate failed due to requested number of devices unavailable for example.com/cpu. Requested: 2, Available: 1, which is unexpected',
    }
    expect(await kubelet.admit(pod('p', { [GPU]: 2, [CPU]: 2 }))).toEqual(rejection)
    cpu.list('c1', 'c2')
    await vi.waitFor(() => expect(listed(CPU)).toHaveLength(2))
    expect(await kubelet.admit(pod('p', { [GPU]: 2, [CPU]: 2 }))).toEqual(rejection)
    cpu.allocate = () => Promise.reject(new Error('no'))
    expect(await kubelet.admit(pod('q', { [GPU]: 2, [CPU]: 2 }))).toMatchObject({
      message: expect.stringContaining('13 INTERNAL: no') as string,
    })
    expect(kubelet.violations).toEqual([])
    cpu.allocate = () => Promise.resolve({ containerResponses: [] })
    expect(await kubelet.admit(pod('r', { [CPU]: 2 }))).toMatchObject({ admitted: false })
    expect(kubelet.violations).toEqual([expect.stringContaining('answered 0 containers')])
    expect(await kubelet.admit(pod('s', { [GPU]: 2, 'example.com/never-registered': 1 }))).toMatchObject({ admitted: true })
  })
})

describe('the end of a stream', () => {
  it('of an old registration takes the new one with it, as in kubelets up to 1.36, or not', async () => {
    const old = await registered('a.sock')
    const fresh = await registered('b.sock')
    fresh.list('n')
    await vi.waitFor(() => expect(kubelet.devices(GPU).get('n')).toBe(true))
    for (const stream of old.streams) stream.end()
    await vi.waitFor(() => expect(fresh.streams.size).toBe(0))
    expect(kubelet.devices(GPU).get('n')).toBe(false)

    await kubelet.stop()
    kubelet = new KubeletStandIn({ directory, random: Math.random, oldStreamEndsNew: false })
    await kubelet.start()
    const third = await registered('c.sock')
    const fourth = await registered('d.sock')
    fourth.list('n')
    await vi.waitFor(() => expect(kubelet.devices(GPU).get('n')).toBe(true))
    third.list('o')
    for (const stream of third.streams) stream.end()
    await new Promise((resolve) => setTimeout(resolve, 100))
    expect([fourth.streams.size, kubelet.devices(GPU).get('n')]).toEqual([1, true])
  })
})

describe('restart', () => {
  it('wipes other sockets, forgets devices and keeps what pods hold', async () => {
    const plugin = await registered('a.sock')
    plugin.list('a', 'b')
    await vi.waitFor(() => expect(listed(GPU)).toHaveLength(2))
    await kubelet.admit(pod('p', { [GPU]: 1 }))
    writeFileSync(join(directory, 'notes'), '')
    await kubelet.restart({ downMs: 20, gapMs: 20 })
    expect(readdirSync(directory).sort()).toEqual(['kubelet.sock', 'kubelet_internal_checkpoint', 'notes'])
    kubelet.tick(0)
    expect(kubelet.nodeStatus()).toEqual({ [GPU]: { capacity: 0, allocatable: 0 } })
    expect(await kubelet.admit(pod('q', { [GPU]: 1 }))).toMatchObject({
      message: expect.stringContaining('Available: 0') as string,
    })
    const again = await registered('b.sock')
    again.list('a', 'b')
    await vi.waitFor(() => expect(listed(GPU)).toHaveLength(2))
    expect(await kubelet.admit(pod('r', { [GPU]: 2 }))).toMatchObject({
      message: expect.stringContaining('Requested: 2, Available: 1') as string,
    })
    expect(kubelet.violations).toEqual([])
  })
})
