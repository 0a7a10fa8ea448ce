/** The pod-resources API and the status of a pod: what a kubelet shows of devices, to whom, and how much of it. */
import { existsSync, lstatSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { status, type Client } from '@grpc/grpc-js'
import { describe, expect, it } from 'vitest'
import { callUnary, dial, POD_RESOURCES, UNLIMITED } from '../../../src/kubelet/wire.ts'
import type { KubeletStandInOptions } from '../../../src/sim/kubelet/index.ts'
import {
  admitted,
  container,
  eventually,
  gate,
  GPU,
  list,
  nodeWith,
  onCleanup,
  pod,
  podOf,
  rejection,
  temporaryDirectory,
} from './stand-in-fixture.ts'

async function nodeWithApi(devices: readonly string[], options: Partial<KubeletStandInOptions> = {}) {
  const podResourcesDirectory = join(temporaryDirectory(), 'pods')
  let nowMs = 0
  const node = await nodeWith(devices, { podResourcesDirectory, now: () => nowMs, ...options })
  const client = dial(join(podResourcesDirectory, 'kubelet.sock'), UNLIMITED)
  onCleanup(() => client.close())
  return { ...node, ...calls(client), socket: join(podResourcesDirectory, 'kubelet.sock'), pass: (ms: number) => (nowMs += ms) }
}

function calls(client: Client) {
  return {
    pods: async () => (await callUnary(client, POD_RESOURCES.List, {})).podResources,
    get: async (podName: string, podNamespace = 'n') =>
      (await callUnary(client, POD_RESOURCES.Get, { podName, podNamespace })).podResources,
    allocatable: async () => (await callUnary(client, POD_RESOURCES.GetAllocatableResources, {})).devices,
  }
}

const entry = (id: string) => ({ resourceName: GPU, deviceIds: [id] })

describe('List', () => {
  it('has one entry for each single device, no UID, sidecars, and no plain init containers', async () => {
    const { kubelet, pods } = await nodeWithApi(['a', 'b', 'c'])
    const wanted = podOf('p', container('m', 2), container('i', 2, 'init'), container('s', 1, 'sidecar'))
    const held = await admitted(kubelet, wanted)
    const [shown, ...others] = await pods()
    expect(others).toEqual([])
    expect(Object.keys(shown ?? {})).not.toContain('uid')
    expect(shown).toMatchObject({ name: 'p', namespace: 'n' })
    expect(shown?.containers?.map(({ name, devices }) => ({ name, devices }))).toEqual([
      { name: 's', devices: held.s?.map(entry) },
      { name: 'm', devices: held.m?.map(entry) },
    ])
    expect(held.m).toHaveLength(2)
  })

  it('names the NUMA nodes of devices that have some', async () => {
    const { kubelet, gpu, pods } = await nodeWithApi([])
    gpu.send([{ ID: 'a', health: 'Healthy', topology: { nodes: [{ ID: 1 }] } }])
    await eventually(() => expect(kubelet.devices(GPU).size).toBe(1))
    await admitted(kubelet, pod('p', { [GPU]: 1 }))
    const [device] = (await pods())[0]?.containers?.[0]?.devices ?? []
    expect(device?.topology?.nodes?.map(({ ID }) => Number(ID))).toEqual([1])
  })

  it('shows active pods without devices, and pods that are being admitted', async () => {
    const { kubelet, gpu, pods } = await nodeWithApi(['a'])
    await admitted(kubelet, pod('none', {}))
    const { opened, open } = gate()
    gpu.allocate = async () => {
      await opened
      return { containerResponses: [{}] }
    }
    const verdict = kubelet.admit(pod('coming', { [GPU]: 1 }))
    await eventually(() => expect(gpu.allocated).toHaveLength(1))
    const devicesByPod = (await pods()).map(({ name, containers }) => [name, containers?.[0]?.devices?.length])
    expect(devicesByPod).toEqual([['none', 0], ['coming', 0]]) // prettier-ignore
    open()
    expect(await verdict).toMatchObject({ admitted: true })
  })

  it.each([
    { options: {}, names: ['runs'] },
    { options: { minor: 33 }, names: ['failed', 'done', 'runs'] },
    { options: { podResourcesShowsTerminated: true }, names: ['failed', 'done', 'runs'] },
  ])('shows terminated pods up to 1.33 only, and never removed ones: $options', async ({ options, names }) => {
    const { kubelet, pods } = await nodeWithApi(['a', 'b', 'c'], options)
    await rejection(kubelet, pod('failed', { [GPU]: 4 }))
    for (const uid of ['done', 'gone', 'runs']) await admitted(kubelet, pod(uid, { [GPU]: 1 }))
    kubelet.finish('done')
    kubelet.remove('gone')
    const shown = await pods()
    expect(shown.map(({ name }) => name)).toEqual(names)
    expect(shown.flatMap(({ containers }) => containers?.[0]?.devices ?? [])).toHaveLength(1)
  })

  it('has no pod in it until a new kubelet process is told of them, and what they hold stays theirs', async () => {
    const { kubelet, socket } = await nodeWithApi(['a'])
    await admitted(kubelet, pod('p', { [GPU]: 1 }))
    const look = async () => {
      const client = dial(socket, UNLIMITED)
      onCleanup(() => client.close())
      return (await calls(client).pods()).map(({ containers }) => containers?.[0]?.devices)
    }
    let early: unknown
    await kubelet.restart({
      beforeReadmission: async () => {
        early = await look()
      },
    })
    expect([early, await look()]).toEqual([[], [[entry('a')]]])
  })

  it('frees what pods that are gone held, and with it what has leaked', async () => {
    const { kubelet, gpu, pods } = await nodeWithApi(['a', 'b'])
    await admitted(kubelet, pod('p', { [GPU]: 1 }))
    gpu.allocate = () => ({ containerResponses: [] })
    await rejection(kubelet, pod('q', { [GPU]: 1 }))
    await pods()
    expect(kubelet.leakedDevices(GPU)).toHaveLength(1)
    kubelet.remove('p')
    await pods()
    expect(kubelet.leakedDevices(GPU)).toEqual([])
  })
})

describe('Get', () => {
  it('shows one active pod, and knows no other', async () => {
    const { kubelet, get } = await nodeWithApi(['a'])
    await admitted(kubelet, pod('p', { [GPU]: 1 }))
    expect(await get('p')).toMatchObject({ name: 'p', containers: [{ name: 'c', devices: [entry('a')] }] })
    const unknown = { code: status.UNKNOWN, details: expect.stringMatching(/^pod p in namespace \w+ not found$/) as string }
    await expect(get('p', 'other')).rejects.toMatchObject(unknown)
    kubelet.finish('p')
    await expect(get('p')).rejects.toMatchObject(unknown)
  })

  it.each([{ minor: 33 }, { podResourcesGet: false }])('is switched off with %j', async (options) => {
    const { kubelet, get, pods } = await nodeWithApi(['a'], options)
    await admitted(kubelet, pod('p', { [GPU]: 1 }))
    await expect(get('p')).rejects.toMatchObject({
      code: status.UNKNOWN,
      details: expect.stringContaining('disabled') as string,
    })
    expect(await pods()).toHaveLength(1)
  })
})

describe('GetAllocatableResources', () => {
  it('shows healthy devices, allocated or not', async () => {
    const { kubelet, gpu, allocatable } = await nodeWithApi(['a', 'b', '-c'])
    await admitted(kubelet, pod('p', { [GPU]: 1 }))
    expect(await allocatable()).toEqual([entry('a'), entry('b')])
    await list(kubelet, gpu, ['-a', '-b', '-c'])
    expect(await allocatable()).toEqual([])
  })
})

describe('the rate limit', () => {
  it('lets 10 calls through at once and 100 a second, over all methods and callers', async () => {
    const { pods, allocatable, get, pass, socket } = await nodeWithApi(['a'])
    const other = dial(socket, UNLIMITED)
    onCleanup(() => other.close())
    const all = [pods, allocatable, () => get('p'), calls(other).pods]
    const codes = async (count: number): Promise<status[]> => {
      const answers = Array.from({ length: count }, async (_, at): Promise<status> => {
        const call = all[at % all.length] ?? pods
        return call().then(
          () => status.OK,
          (error: { code: status; details: string }) => {
            if (error.code === status.RESOURCE_EXHAUSTED) expect(error.details).toBe('rejected by rate limit')
            return error.code
          },
        )
      })
      return Promise.all(answers)
    }
    const passed = async (count: number): Promise<number> =>
      (await codes(count)).filter((code) => code !== status.RESOURCE_EXHAUSTED).length
    expect(await passed(24)).toBe(10)
    expect(await passed(4)).toBe(0)
    pass(9)
    expect(await passed(4)).toBe(0)
    pass(1)
    expect(await passed(4)).toBe(1)
    pass(50)
    expect(await passed(12)).toBe(5)
    pass(60_000)
    expect(await passed(24)).toBe(10)
  })
})

describe('the socket', () => {
  it('is there with the kubelet, dead after a crash, replaced at a start, and gone after a stop', async () => {
    const { kubelet, socket, pods } = await nodeWithApi([])
    await kubelet.crash()
    expect(lstatSync(socket).isSocket()).toBe(true)
    await expect(pods()).rejects.toMatchObject({ code: status.UNAVAILABLE })
    await kubelet.start()
    const client = dial(socket, UNLIMITED)
    onCleanup(() => client.close())
    expect(await calls(client).pods()).toEqual([])
    await kubelet.stop()
    expect(existsSync(socket)).toBe(false)
    writeFileSync(socket, '')
    await kubelet.start()
    expect(lstatSync(socket).isSocket()).toBe(true)
  })
})

describe('the status of a pod', () => {
  const NAMES = Array.from({ length: 12 }, (_, at) => `bc-${`${at}`.padStart(4, '0')}`)

  it('names every device from 1.36 on, in an order that changes when nothing has', async () => {
    const { kubelet, gpu } = await nodeWith(NAMES)
    await admitted(kubelet, podOf('p', container('m', 12), { name: 'n', limits: {} }))
    const [held, ...more] = NAMES
    const statuses = Array.from({ length: 8 }, () => JSON.stringify(kubelet.podStatus('p')))
    expect(new Set(statuses).size).toBeGreaterThan(1)
    await list(kubelet, gpu, [`-${held}`, ...more])
    const [m, n] = kubelet.podStatus('p')?.containerStatuses ?? []
    expect(n).toEqual({ name: 'n' })
    expect(m?.allocatedResourcesStatus).toMatchObject([{ name: GPU }])
    const resources = m?.allocatedResourcesStatus?.[0]?.resources ?? []
    expect(resources.toSorted((a, b) => (a.resourceID < b.resourceID ? -1 : 1))).toEqual(
      NAMES.map((resourceID) => ({ resourceID, health: resourceID === held ? 'Unhealthy' : 'Healthy' })),
    )
  })

  it('grows by some 44 bytes for each device, and not at all up to 1.35', async () => {
    const bytes = async (options: Partial<KubeletStandInOptions>) => {
      const { kubelet } = await nodeWith(NAMES, options)
      await admitted(kubelet, pod('p', { [GPU]: 2 }))
      await admitted(kubelet, pod('q', { [GPU]: 10 }))
      return kubelet.statusBytes('q') - kubelet.statusBytes('p')
    }
    expect(await bytes({})).toBe(8 * '{"resourceID":"bc-0001","health":"Healthy"},'.length)
    expect(await bytes({ minor: 35 })).toBe(0)
    expect(await bytes({ statusNamesDevices: false })).toBe(0)
  })

  it('is nothing for a pod that is not there', async () => {
    const { kubelet } = await nodeWith([])
    expect([kubelet.podStatus('x'), kubelet.statusBytes('x')]).toEqual([undefined, 0])
  })
})
