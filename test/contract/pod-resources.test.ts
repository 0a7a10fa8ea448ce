/**
 * The agent as a client of the kubelet's pod-resources API: over real sockets, against servers that answer, refuse, hang and restart
 * (kubernetes pkg/kubelet/apis/podresources, 1.36).
 */
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { Server, ServerCredentials, status } from '@grpc/grpc-js'
import { describe, expect, it } from 'vitest'
import type { v1 } from '../../src/kubelet/gen/podresources.js'
import { PodResourcesClient } from '../../src/kubelet/pod-resources.ts'
import { servePodResources, UNLIMITED, type PodResourcesHandlers } from '../../src/kubelet/wire.ts'
import {
  allRegistered,
  BE_CPU,
  eventually,
  granted,
  healthyIds,
  makeKubelet,
  makePlugins,
  onCleanup,
  pod,
  serveSilence,
  temporaryDirectory,
  units,
} from './kubelet-fixture.ts'

const TIMEOUT_MS = 2_000

const device = (resourceName: string, id: string) => ({ resourceName, deviceIds: [id] })

/** Two containers of one pod, and a pod that holds nothing. */
const PODS: v1.PodResources.$Properties[] = [
  {
    namespace: 'jobs',
    name: 'a',
    containers: [
      { name: 'main', devices: [device(BE_CPU, 'bc-0001'), device(BE_CPU, 'bc-0002'), device('nvidia.com/gpu', 'gpu0')] },
      { name: 'side', devices: [device(BE_CPU, 'bc-0003')] },
      { name: 'plain', devices: [] },
    ],
  },
  { namespace: 'kube-system', name: 'b', containers: [{ name: 'main' }] },
]

async function serve(directory: string, List: PodResourcesHandlers['List']): Promise<Server> {
  const server = new Server(UNLIMITED)
  const absent = { code: status.UNIMPLEMENTED, details: 'not served' }
  servePodResources(server, {
    List,
    Get: (_call, reply) => reply(absent),
    GetAllocatableResources: (_call, reply) => reply(absent),
  })
  await new Promise<void>((resolve) => {
    server.bindAsync(`unix:${join(directory, 'kubelet.sock')}`, ServerCredentials.createInsecure(), () => resolve())
  })
  onCleanup(() => server.forceShutdown())
  return server
}

function makeClient(directory: string): PodResourcesClient {
  const client = new PodResourcesClient(directory, () => performance.now())
  onCleanup(() => client.close())
  return client
}

describe('PodResourcesClient', () => {
  it('says who holds what, by resource and by container', async () => {
    const directory = temporaryDirectory()
    await serve(directory, (_call, reply) => reply(null, { podResources: PODS }))
    const listing = await makeClient(directory).list(TIMEOUT_MS)
    expect(listing.idsByResource).toEqual(
      new Map([
        [BE_CPU, new Set(['bc-0001', 'bc-0002', 'bc-0003'])],
        ['nvidia.com/gpu', new Set(['gpu0'])],
      ]),
    )
    expect(listing.containers.map(({ namespace, pod: name, container }) => `${namespace}/${name}/${container}`)).toEqual([
      'jobs/a/main',
      'jobs/a/side',
    ])
    expect(listing.containers[1]?.idsByResource).toEqual(new Map([[BE_CPU, new Set(['bc-0003'])]]))
  })

  it('takes an answer beyond 4 MiB', async () => {
    const directory = temporaryDirectory()
    const devices = Array.from({ length: 150_000 }, (_, at) => device(BE_CPU, `bc-${at + 1}`))
    const podResources = [{ namespace: 'jobs', name: 'a', containers: [{ name: 'main', devices }] }]
    await serve(directory, (_call, reply) => reply(null, { podResources }))
    const { idsByResource } = await makeClient(directory).list(TIMEOUT_MS * 3)
    expect(idsByResource.get(BE_CPU)?.size).toBe(150_000)
  })

  it('has one call under way, whoever asks', async () => {
    const directory = temporaryDirectory()
    let calls = 0
    await serve(directory, (_call, reply) => {
      calls += 1
      setTimeout(() => reply(null, { podResources: [] }), 50)
    })
    const client = makeClient(directory)
    const listings = await Promise.all([client.list(TIMEOUT_MS), client.list(TIMEOUT_MS), client.list(TIMEOUT_MS)])
    expect(calls).toBe(1)
    expect(new Set(listings).size).toBe(1)
    await client.list(TIMEOUT_MS)
    expect(calls).toBe(2)
  })

  it('keeps its connection when the kubelet limits it, and makes another after any other error', async () => {
    const directory = temporaryDirectory()
    const limited = { code: status.RESOURCE_EXHAUSTED, details: 'rejected by rate limit' }
    const answers = [limited, undefined, { code: status.INTERNAL, details: 'broken' }, undefined]
    let connections = 0
    const count = (): number => (connections += 1)
    subscribe('net.server.socket', count)
    onCleanup(() => void unsubscribe('net.server.socket', count))
    await serve(directory, (_call, reply) => {
      const error = answers.shift()
      if (error === undefined) reply(null, { podResources: [] })
      else reply(error)
    })
    const client = makeClient(directory)
    await expect(client.list(TIMEOUT_MS)).rejects.toMatchObject({ code: status.RESOURCE_EXHAUSTED })
    await expect(client.list(TIMEOUT_MS)).resolves.toBeDefined()
    expect(connections).toBe(1)
    await expect(client.list(TIMEOUT_MS)).rejects.toMatchObject({ code: status.INTERNAL })
    await expect(client.list(TIMEOUT_MS)).resolves.toBeDefined()
    expect(connections).toBe(2)
  })

  it('knows the kubelet that answers from the one before, and an answer that may be of either from both', async () => {
    const directory = temporaryDirectory()
    const first = await serve(directory, (_call, reply) => reply(null, { podResources: [] }))
    const client = makeClient(directory)
    const before = await client.list(TIMEOUT_MS)
    expect((await client.list(TIMEOUT_MS)).kubelet).toBe(before.kubelet)
    first.forceShutdown()
    rmSync(join(directory, 'kubelet.sock'), { force: true })
    await expect(client.list(TIMEOUT_MS)).rejects.toThrow('is not there')
    const second = await serve(directory, (_call, reply) => {
      rmSync(join(directory, 'kubelet.sock'))
      reply(null, { podResources: [] })
    })
    await expect(client.list(TIMEOUT_MS)).rejects.toThrow()
    second.forceShutdown()
    await serve(directory, (_call, reply) => reply(null, { podResources: [] }))
    const after = await client.list(TIMEOUT_MS)
    expect(after.kubelet).not.toBe(before.kubelet)
  })

  it('gives up on a socket that hangs, and at once when it is closed', async () => {
    const directory = temporaryDirectory()
    await serveSilence(directory)
    const client = makeClient(directory)
    await expect(client.list(100)).rejects.toMatchObject({ code: status.DEADLINE_EXCEEDED })
    const listing = client.list(60_000)
    client.close()
    await expect(listing).rejects.toThrow()
  })
})

describe('the plugin and pod-resources', () => {
  it('registers without it when its socket hangs', async () => {
    const directory = temporaryDirectory()
    const podResourcesDirectory = temporaryDirectory()
    await serveSilence(podResourcesDirectory)
    const kubelet = makeKubelet(directory)
    await kubelet.start()
    const plugins = makePlugins(directory, { podResourcesDirectory })
    await plugins.start()
    await allRegistered(plugins)
    expect(plugins.podResources()).toMatchObject({ available: false, lastError: expect.stringContaining('DEADLINE') as string })
  })

  it('starts with what either of checkpoint and pod-resources names', async () => {
    const directory = temporaryDirectory()
    const podResourcesDirectory = temporaryDirectory()
    await serve(podResourcesDirectory, (_call, reply) => reply(null, { podResources: PODS }))
    const kubelet = makeKubelet(directory)
    await kubelet.start()
    const first = makePlugins(directory)
    await first.start()
    first.publish(units({ 'be-cpu': 40 }))
    await allRegistered(first)
    await eventually(() => healthyIds(kubelet, BE_CPU).length === 40)
    const held = granted(await kubelet.admit(pod('a', { [BE_CPU]: 5 }))).devices[BE_CPU] ?? []
    await first.stop()
    const plugins = makePlugins(directory, { podResourcesDirectory })
    await plugins.start()
    await allRegistered(plugins)
    expect(healthyIds(kubelet, BE_CPU).sort()).toEqual([...new Set([...held, 'bc-0001', 'bc-0002', 'bc-0003'])].sort())
    expect(plugins.podResources()).toMatchObject({ available: true })
    expect(kubelet.violations).toEqual([])
  })

  it('frees what the kubelet no longer lists, and nothing else', async () => {
    const directory = temporaryDirectory()
    const podResourcesDirectory = temporaryDirectory()
    const kubelet = makeKubelet(directory, { podResourcesDirectory })
    await kubelet.start()
    let aheadMs = 0
    const plugins = makePlugins(directory, { podResourcesDirectory, now: () => performance.now() + aheadMs })
    await plugins.start()
    plugins.publish(units({ 'be-cpu': 10 }))
    await allRegistered(plugins)
    await eventually(() => healthyIds(kubelet, BE_CPU).length === 10)
    await kubelet.admit(pod('a', { [BE_CPU]: 3 }))
    const kept = granted(await kubelet.admit(pod('b', { [BE_CPU]: 2 }))).devices[BE_CPU] ?? []
    plugins.publish(units({}))
    await eventually(() => healthyIds(kubelet, BE_CPU).length === 5)
    // The allocations are old enough to be judged, and a surplus makes a look come soon.
    const look = async (unitsHeld: number): Promise<void> => {
      const { lastAtMs = 0 } = plugins.podResources()
      aheadMs += 20_000
      plugins.retainAllocations(units({ 'be-cpu': unitsHeld }), performance.now() + aheadMs)
      await eventually(() => (plugins.podResources().lastAtMs ?? 0) > lastAtMs)
    }
    await look(4)
    expect([...(plugins.held() ?? [])]).toEqual([
      ['jobs/pod-a', { [BE_CPU]: 3 }],
      ['jobs/pod-b', { [BE_CPU]: 2 }],
    ])
    expect(plugins.allocatedUnits()['be-cpu']).toBe(5)
    kubelet.remove('a')
    await look(2)
    await eventually(
      () => plugins.allocatedUnits()['be-cpu'] === 2,
      () => plugins.podResources(),
    )
    await eventually(() => healthyIds(kubelet, BE_CPU).length === 2)
    expect(healthyIds(kubelet, BE_CPU).sort()).toEqual([...kept].sort())
    expect(kubelet.devices(BE_CPU).size).toBe(10)
    expect(plugins.allocationsEnded()['be-cpu']).toBe(3)
    expect(kubelet.violations).toEqual([])
  })
})
