/** Admission: who gets which devices, what a plugin is asked, and for what a pod is turned away for good. */
import { status } from '@grpc/grpc-js'
import { describe, expect, it } from 'vitest'
import {
  admitted,
  container,
  CPU,
  eventually,
  gate,
  GPU,
  list,
  listed,
  makeKubelet,
  nodeWith,
  ObedientPlugin,
  pod,
  podOf,
  registered,
  rejection,
} from './stand-in-fixture.ts'

const NAMES = Array.from({ length: 20 }, (_, at) => `g${`${at}`.padStart(2, '0')}`)

describe('Allocate', () => {
  it('asks for one container and one resource a time, without a deadline, for IDs in random order', async () => {
    const { kubelet, directory, gpu } = await nodeWith(NAMES)
    const cpu = await listed({ kubelet, directory, endpoint: 'b.sock', resource: CPU, devices: ['c1', 'c2'] })
    const sizes: number[] = []
    gpu.allocate = ({ containerRequests }) => {
      sizes.push(containerRequests.length)
      return { containerResponses: [{}] }
    }
    const both = podOf('p', { name: 'x', limits: { [GPU]: 9, [CPU]: 1 } }, { name: 'y', limits: { [GPU]: 9 } })
    const held = await admitted(kubelet, both)
    expect(gpu.allocated.map((ids) => [...ids].sort())).toEqual([[...(held.x ?? [])].sort(), [...(held.y ?? [])].sort()])
    expect([sizes, cpu.allocated.length]).toEqual([[1, 1], 1])
    expect(gpu.allocated.some((ids) => ids.join() !== [...ids].sort().join())).toBe(true)
    expect(new Set(gpu.allocated.flat()).size).toBe(18)
    expect(gpu.allocated[0]?.toSorted()).not.toEqual(NAMES.slice(0, 9))
    expect(gpu.leftMs.allocate).toEqual([Infinity, Infinity])
  })

  it('is never asked for two pods at once', async () => {
    const { kubelet, gpu } = await nodeWith(['a', 'b'])
    const { opened, open } = gate()
    gpu.allocate = async () => {
      await opened
      return { containerResponses: [{}] }
    }
    const verdicts = ['p', 'q'].map((uid) => kubelet.admit(pod(uid, { [GPU]: 1 })))
    await eventually(() => expect(gpu.allocated).toHaveLength(1))
    expect([kubelet.podStatus('p')?.phase, kubelet.podStatus('q')?.phase]).toEqual(['Pending', 'Pending'])
    open()
    expect(await Promise.all(verdicts)).toMatchObject([{ admitted: true }, { admitted: true }])
    expect(gpu.allocated).toHaveLength(2)
  })

  it('gives the container what the plugins answer; in a conflict the first wins', async () => {
    const { kubelet, directory, gpu } = await nodeWith(['a'])
    const cpu = await listed({ kubelet, directory, endpoint: 'b.sock', resource: CPU, devices: ['c'] })
    gpu.allocate = () => ({ containerResponses: [{ envs: { X: 'gpu', G: '1' }, annotations: { g: '1' } }] })
    cpu.allocate = () => ({ containerResponses: [{ envs: { X: 'cpu', C: '1' }, annotations: { c: '1' } }] })
    expect(await kubelet.admit(pod('p', { [GPU]: 1, [CPU]: 1 }))).toMatchObject({
      containers: [{ envs: { X: expect.stringMatching(/^[cg]pu$/) as string, G: '1', C: '1' }, annotations: { g: '1', c: '1' } }],
    })
  })
})

describe('a pod', () => {
  it('is rejected for good when devices are short, and what it took is free for the next', async () => {
    const { kubelet, directory } = await nodeWith(['g1', 'g2'])
    const cpu = await listed({ kubelet, directory, endpoint: 'b.sock', resource: CPU, devices: ['c1'] })
    const wanted = pod('p', { [GPU]: 2, [CPU]: 2 })
    const message =
      'Allocate failed due to requested number of devices unavailable for example.com/cpu. Requested: 2, Available: 1, which is unexpected'
    const verdict = { admitted: false, reason: 'UnexpectedAdmissionError', message }
    expect(await kubelet.admit(wanted)).toEqual(verdict)
    await list(kubelet, cpu, ['c1', 'c2'], CPU)
    expect(await kubelet.admit(wanted)).toEqual(verdict)
    expect(kubelet.podStatus('p')).toMatchObject({ phase: 'Failed', reason: 'UnexpectedAdmissionError', message })
    expect(await kubelet.admit(pod('q', { [GPU]: 2, [CPU]: 2, 'example.com/never-listed': 1 }))).toMatchObject({ admitted: true })
    expect(kubelet.violations).toEqual([])
  })

  it('is rejected with the words of a plugin that fails, and nothing leaks', async () => {
    const { kubelet, gpu } = await nodeWith(['a', 'b'])
    gpu.allocate = () => Promise.reject(Object.assign(new Error(), { code: status.INTERNAL, details: 'no' }))
    expect(await rejection(kubelet, pod('p', { [GPU]: 2 }))).toContain('13 INTERNAL: no')
    expect([kubelet.leakedDevices(GPU), kubelet.violations]).toEqual([[], []])
    gpu.allocate = () => ({ containerResponses: [{}] })
    expect(await kubelet.admit(pod('q', { [GPU]: 2 }))).toMatchObject({ admitted: true })
  })

  it('is rejected when the plugin answers with nothing, and its devices leak until devices of another pod are freed', async () => {
    const { kubelet, gpu } = await nodeWith(['a', 'b', 'c'])
    await admitted(kubelet, pod('first', { [GPU]: 1 }))
    gpu.allocate = () => ({ containerResponses: [] })
    expect(await rejection(kubelet, pod('p', { [GPU]: 1 }))).toContain('no answer for the container')
    expect(kubelet.violations).toEqual([expect.stringContaining('answered 0 containers')])
    expect(kubelet.leakedDevices(GPU)).toEqual(gpu.allocated[1])
    gpu.allocate = () => ({ containerResponses: [{}] })
    kubelet.remove('p')
    expect(await rejection(kubelet, pod('q', { [GPU]: 2 }))).toContain('Requested: 2, Available: 1')
    kubelet.remove('first')
    expect(await kubelet.admit(pod('r', { [GPU]: 3 }))).toMatchObject({ admitted: true })
    expect(kubelet.leakedDevices(GPU)).toEqual([])
  })

  it('takes the first of several answers, which is a violation', async () => {
    const { kubelet, gpu } = await nodeWith(['a'])
    gpu.allocate = () => ({ containerResponses: [{ envs: { N: '1' } }, { envs: { N: '2' } }] })
    expect(await kubelet.admit(pod('p', { [GPU]: 1 }))).toMatchObject({ containers: [{ envs: { N: '1' } }] })
    expect(kubelet.violations).toEqual([expect.stringContaining('answered 2 containers')])
  })

  it('that asks for 0 devices is rejected while none is healthy, and needs none otherwise', async () => {
    const { kubelet, gpu } = await nodeWith(['-a'])
    expect(await rejection(kubelet, pod('p', { [GPU]: 0 }))).toContain('no healthy devices present')
    await list(kubelet, gpu, ['a'])
    expect(await admitted(kubelet, pod('q', { [GPU]: 0 }))).toEqual({ c: [] })
    expect(gpu.allocated).toEqual([])
  })

  it('gets by without devices before the first list, and is given them at a later start of its container', async () => {
    const { kubelet, directory } = makeKubelet()
    await kubelet.start()
    const plugin = await registered({ directory })
    expect(await admitted(kubelet, pod('p', { [GPU]: 1 }))).toEqual({ c: [] })
    await list(kubelet, plugin, ['a'])
    expect((await kubelet.startContainer('p', 'c')).devices).toEqual({ [GPU]: ['a'] })
  })

  it('is given them after a restart of the kubelet as well, though its container ran at the time', async () => {
    const { kubelet, directory } = makeKubelet()
    await kubelet.start()
    await admitted(kubelet, pod('p', { [GPU]: 1 }))
    await kubelet.restart()
    await listed({ kubelet, directory, devices: ['a'] })
    expect((await kubelet.startContainer('p', 'c')).devices).toEqual({ [GPU]: ['a'] })
  })

  it('is rejected for a resource whose capacity has gone for good', async () => {
    const { kubelet, gpu } = await nodeWith(['a'], { statusPeriodMs: 0 })
    kubelet.tick(0)
    gpu.endStreams()
    await eventually(() => expect(kubelet.devices(GPU).get('a')).toBe(false))
    expect(await rejection(kubelet, pod('p', { [GPU]: 1 }))).toContain('no healthy devices present')
    kubelet.tick(300_001)
    const numbers = expect.stringContaining('requested: 1, used: 0, capacity: 0') as string
    expect(await kubelet.admit(pod('q', { [GPU]: 1 }))).toEqual({ admitted: false, reason: `OutOf${GPU}`, message: numbers })
  })

  it('is not stopped by what other pods lost when the node shrank below what is held', async () => {
    const { kubelet, gpu } = await nodeWith(['a', 'b', 'c', 'd'], { statusPeriodMs: 0 })
    const [held = ''] = (await admitted(kubelet, pod('old', { [GPU]: 1 }))).c ?? []
    const [free = '', ...rest] = ['a', 'b', 'c', 'd'].filter((id) => id !== held)
    await list(kubelet, gpu, [`-${held}`, free, ...rest.map((id) => `-${id}`)])
    kubelet.tick(0)
    expect(kubelet.nodeStatus()[GPU]).toEqual({ capacity: 4, allocatable: 1 })
    // The node status has room for one of the two; what is reserved counts as room.
    expect(await admitted(kubelet, pod('new', { [GPU]: 1 }))).toEqual({ c: [free] })
  })
})

describe('init containers', () => {
  it('come first, and hand their devices on to the containers after them', async () => {
    const { kubelet, gpu } = await nodeWith(['a', 'b', 'c'])
    const held = await admitted(kubelet, podOf('p', container('m', 2), container('i', 1, 'init'), container('j', 2, 'init')))
    expect(gpu.allocated.map((ids) => [...ids].sort())).toEqual([held.i, held.j, held.m].map((ids) => [...(ids ?? [])].sort()))
    expect(held.j).toEqual(expect.arrayContaining([...(held.i ?? [])]))
    expect([...(held.m ?? [])].sort()).toEqual([...(held.j ?? [])].sort())
    expect(await admitted(kubelet, pod('q', { [GPU]: 1 }))).toEqual({ c: ['a', 'b', 'c'].filter((id) => !held.m?.includes(id)) })
  })

  it('hand them on once only: two main containers do not share', async () => {
    const { kubelet } = await nodeWith(['a', 'b'])
    const held = await admitted(kubelet, podOf('p', container('i', 2, 'init'), container('m', 1), container('n', 1)))
    expect([...(held.m ?? []), ...(held.n ?? [])].sort()).toEqual(['a', 'b'])
  })

  it('that restart (sidecars) keep theirs, also those that they were handed', async () => {
    const { kubelet } = await nodeWith(['a', 'b', 'c', 'd'])
    const wanted = podOf('p', container('i', 2, 'init'), container('s', 2, 'sidecar'), container('m', 2))
    const held = await admitted(kubelet, wanted)
    expect([...(held.s ?? [])].sort()).toEqual([...(held.i ?? [])].sort())
    expect([...(held.s ?? []), ...(held.m ?? [])].sort()).toEqual(['a', 'b', 'c', 'd'])
    const small = await nodeWith(['a', 'b', 'c'])
    expect(await rejection(small.kubelet, wanted)).toContain('Requested: 2, Available: 1')
  })
})

describe('GetPreferredAllocation', () => {
  const choosy = (prefer: ObedientPlugin['prefer']): ObedientPlugin =>
    Object.assign(new ObedientPlugin(), { options: () => ({ getPreferredAllocationAvailable: true }), prefer })

  it('is not called unless the options say so', async () => {
    const { kubelet, gpu } = await nodeWith(['a', 'b'])
    await admitted(kubelet, pod('p', { [GPU]: 1 }))
    expect(gpu.preferenceRequests).toEqual([])
  })

  it('gets every free healthy ID and those that must be among the answer, and its answer is followed', async () => {
    const plugin = choosy(() => ({ containerResponses: [{ deviceIDs: ['e', 'd', 'x', 'f'] }] }))
    const { kubelet } = await nodeWith(['a', 'b', 'c', 'd', 'e', '-f'], {}, plugin)
    const held = await admitted(kubelet, podOf('p', container('i', 1, 'init'), container('m', 3)))
    const [first, second] = plugin.preferenceRequests.map(({ availableDeviceIDs, ...rest }) => ({
      ...rest,
      available: [...(availableDeviceIDs ?? [])].sort().join(''),
    }))
    expect(first).toMatchObject({ available: 'abcde', mustIncludeDeviceIDs: [], allocationSize: 1 })
    expect(second).toMatchObject({ available: 'abcde', mustIncludeDeviceIDs: held.i, allocationSize: 3 })
    expect(held.m).toEqual(expect.arrayContaining(['d', 'e']))
    expect(held.m).toHaveLength(3)
    expect(held.m).not.toContain('f')
    expect(plugin.leftMs.prefer).toEqual([Infinity, Infinity])
  })

  it('turns the pod away when it fails', async () => {
    const { kubelet } = await nodeWith(['a'], {}, choosy(() => Promise.reject(new Error('undecided')))) // prettier-ignore
    expect(await rejection(kubelet, pod('p', { [GPU]: 1 }))).toContain('undecided')
    expect(kubelet.leakedDevices(GPU)).toEqual([])
  })
})

describe('PreStartContainer', () => {
  const preparing = (preStart: ObedientPlugin['preStart']): ObedientPlugin =>
    Object.assign(new ObedientPlugin(), { options: () => ({ preStartRequired: true }), preStart })

  it('comes before every start of a container, with its devices and 30 s', async () => {
    const { kubelet, gpu } = await nodeWith(['a', 'b', 'c'], {}, preparing(() => ({}))) // prettier-ignore
    const { c: held = [] } = await admitted(kubelet, pod('p', { [GPU]: 2 }))
    await kubelet.startContainer('p', 'c')
    await kubelet.startContainer('p', 'c')
    expect(gpu.preStarted.map((ids) => [...ids].sort())).toEqual([[...held].sort(), [...held].sort()])
    for (const leftMs of gpu.leftMs.preStart ?? []) {
      expect(leftMs).toBeLessThanOrEqual(30_000)
      expect(leftMs).toBeGreaterThan(15_000)
    }
  })

  it('is not called unless the options say so', async () => {
    const { kubelet, gpu } = await nodeWith(['a'])
    await admitted(kubelet, pod('p', { [GPU]: 1 }))
    await kubelet.startContainer('p', 'c')
    expect(gpu.preStarted).toEqual([])
  })

  it('fails the start when it fails or takes too long, and the pod stays', async () => {
    let preStart = (): Promise<object> => Promise.reject(new Error('not ready'))
    const { kubelet } = await nodeWith(['a'], { preStartTimeoutMs: 100 }, preparing(() => preStart())) // prettier-ignore
    await admitted(kubelet, pod('p', { [GPU]: 1 }))
    await expect(kubelet.startContainer('p', 'c')).rejects.toThrow('not ready')
    preStart = () => new Promise(() => {})
    await expect(kubelet.startContainer('p', 'c')).rejects.toMatchObject({ code: status.DEADLINE_EXCEEDED })
    expect(kubelet.podStatus('p')?.phase).toBe('Running')
  })

  it('is wanted of an unknown plugin, so that no container of a holder starts again once the capacity has gone', async () => {
    const { kubelet, gpu } = await nodeWith(['a'], { statusPeriodMs: 0 })
    await admitted(kubelet, pod('p', { [GPU]: 1 }))
    gpu.endStreams()
    await eventually(() => expect(kubelet.devices(GPU).get('a')).toBe(false))
    expect(await kubelet.startContainer('p', 'c')).toMatchObject({ devices: { [GPU]: ['a'] } })
    kubelet.tick(300_001)
    await expect(kubelet.startContainer('p', 'c')).rejects.toThrow('its device plugin is unknown')
  })
})
