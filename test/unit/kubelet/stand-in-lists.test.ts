/** ListAndWatch and the node status: what a list does, what the end of a stream does, and when the node status says so. */
import { describe, expect, it } from 'vitest'
import { CPU, eventually, GPU, list, listed, makeKubelet, nodeWith, ObedientPlugin, pod, registered } from './stand-in-fixture.ts'

/** Every tick recomputes the node status. */
const AT_ONCE = { statusPeriodMs: 0 }

describe('a list', () => {
  it('replaces the one before it whole; anything but Healthy is unhealthy; none means no devices', async () => {
    const { kubelet, directory } = makeKubelet(AT_ONCE)
    await kubelet.start()
    const plugin = await registered({ directory })
    kubelet.tick(0)
    expect(kubelet.nodeStatus()).toEqual({})
    plugin.send([
      { ID: 'a', health: 'Healthy' },
      { ID: 'b', health: 'healthy' },
      { ID: 'c', health: '' },
    ])
    await eventually(() => expect([...kubelet.devices(GPU)]).toEqual([['a', true], ['b', false], ['c', false]])) // prettier-ignore
    kubelet.tick(1)
    expect(kubelet.nodeStatus()).toEqual({ [GPU]: { capacity: 3, allocatable: 1 } })
    await list(kubelet, plugin, ['d'])
    kubelet.tick(2)
    expect(kubelet.nodeStatus()).toEqual({ [GPU]: { capacity: 1, allocatable: 1 } })
    await list(kubelet, plugin, [])
    kubelet.tick(3)
    expect(kubelet.nodeStatus()).toEqual({ [GPU]: { capacity: 0, allocatable: 0 } })
    expect(kubelet.violations).toEqual([])
  })

  it('of more than 4,194,304 bytes ends the stream, and one of exactly so many does not', async () => {
    const { kubelet, gpu } = await nodeWith(['a'])
    const listOf = (bytes: number) => {
      // A device of n < 2^21 bytes costs n + 17 here: two tags of one byte and three lengths, of which two take three, and "Healthy".
      const ids = [1_500_000, 1_500_000, bytes - 3_000_000 - 3 * 17]
      return ids.map((length, at) => ({ ID: `${at}`.padStart(length, 'x'), health: 'Healthy' }))
    }
    gpu.send(listOf(4_194_304))
    await eventually(() => expect(kubelet.devices(GPU).size).toBe(3))
    expect([...kubelet.devices(GPU).values()]).toEqual([true, true, true])
    gpu.send(listOf(4_194_305))
    await eventually(() => expect(gpu.streams.size).toBe(0))
    expect([...kubelet.devices(GPU).values()]).toEqual([false, false, false])
  })

  it('may not name one device twice, nor one of another resource', async () => {
    const { kubelet, directory, gpu } = await nodeWith([])
    const cpu = await registered({ directory, endpoint: 'b.sock', resource: CPU })
    gpu.list('a', 'a')
    await eventually(() => expect(kubelet.violations).toEqual([expect.stringContaining('twice')]))
    cpu.list('a')
    await eventually(() => expect(kubelet.violations).toEqual([expect.anything(), expect.stringContaining('both')]))
  })
})

describe('a device that leaves the list', () => {
  it('is a violation while a pod holds it, and none afterwards', async () => {
    const { kubelet, gpu } = await nodeWith(['a', 'b'])
    expect(await kubelet.admit(pod('p', { [GPU]: 1 }))).toMatchObject({ admitted: true })
    await list(kubelet, gpu, ['z'])
    expect(kubelet.violations).toEqual([expect.stringMatching(/[ab] left the list while held by p \(panic\)/)])
    kubelet.remove('p')
    await list(kubelet, gpu, ['y'])
    expect(kubelet.violations).toHaveLength(1)
  })

  it('is a violation while its Allocate is in flight', async () => {
    const { kubelet, gpu } = await nodeWith(['a'])
    let answer = (): void => {}
    gpu.allocate = () => new Promise((resolve) => (answer = () => resolve({ containerResponses: [{}] })))
    const admission = kubelet.admit(pod('p', { [GPU]: 1 }))
    await eventually(() => expect(gpu.allocated).toHaveLength(1))
    await list(kubelet, gpu, ['b'])
    expect(kubelet.violations).toEqual([expect.stringContaining('a left the list')])
    answer()
    expect(await admission).toMatchObject({ admitted: true })
  })

  it('is a violation while the plugin is asked for its preference', async () => {
    const { kubelet, directory } = makeKubelet()
    await kubelet.start()
    const plugin = new ObedientPlugin()
    plugin.options = () => ({ getPreferredAllocationAvailable: true })
    let answer = (): void => {}
    plugin.prefer = () => new Promise((resolve) => (answer = () => resolve({})))
    await listed({ kubelet, directory, devices: ['a'], plugin })
    const admission = kubelet.admit(pod('p', { [GPU]: 1 }))
    await eventually(() => expect(plugin.preferenceRequests).toHaveLength(1))
    await list(kubelet, plugin, ['b'])
    answer()
    await admission
    expect(kubelet.violations).toEqual([expect.stringContaining('a left the list')])
  })
})

describe('the node status', () => {
  it.each([
    { random: 0, beforeMs: 9_999, atMs: 10_000 },
    { random: 0.999, beforeMs: 10_399, atMs: 10_400 },
  ])('is recomputed after 10 s and up to 4 % (random $random)', async ({ random, beforeMs, atMs }) => {
    const { kubelet, gpu } = await nodeWith(['a'], { random: () => random })
    kubelet.tick(0)
    await list(kubelet, gpu, ['a', 'b'])
    kubelet.tick(beforeMs)
    expect(kubelet.nodeStatus()[GPU]).toEqual({ capacity: 1, allocatable: 1 })
    kubelet.tick(atMs)
    expect(kubelet.nodeStatus()[GPU]).toEqual({ capacity: 2, allocatable: 2 })
  })
})

describe('the end of a stream', () => {
  it('makes every device unhealthy at once, and takes the capacity strictly after five minutes, but never the key', async () => {
    const { kubelet, directory, gpu } = await nodeWith(['a', 'b', '-c'], AT_ONCE)
    kubelet.tick(1_000)
    gpu.endStreams()
    await eventually(() => expect([...kubelet.devices(GPU).values()]).toEqual([false, false, false]))
    expect(kubelet.nodeStatus()[GPU]).toEqual({ capacity: 3, allocatable: 2 })
    kubelet.tick(301_000)
    expect(kubelet.nodeStatus()).toEqual({ [GPU]: { capacity: 3, allocatable: 0 } })
    kubelet.tick(301_001)
    expect(kubelet.nodeStatus()).toEqual({ [GPU]: { capacity: 0, allocatable: 0 } })
    expect(kubelet.devices(GPU).size).toBe(0)
    kubelet.tick(9_000_000)
    expect(kubelet.nodeStatus()).toEqual({ [GPU]: { capacity: 0, allocatable: 0 } })
    await listed({ kubelet, directory, endpoint: 'b.sock', devices: ['a'] })
    kubelet.tick(9_000_001)
    expect(kubelet.nodeStatus()).toEqual({ [GPU]: { capacity: 1, allocatable: 1 } })
  })

  it('is forgiven when the plugin registers again within five minutes', async () => {
    const { kubelet, directory, gpu } = await nodeWith(['a'], AT_ONCE)
    gpu.endStreams()
    await eventually(() => expect(kubelet.devices(GPU).get('a')).toBe(false))
    await registered({ directory, endpoint: 'b.sock' })
    kubelet.tick(1_000_000)
    expect(kubelet.nodeStatus()).toEqual({ [GPU]: { capacity: 1, allocatable: 0 } })
  })

  it('takes the new registration of its resource with it, as in kubelets up to 1.36', async () => {
    const { kubelet, directory, gpu: old } = await nodeWith(['o'])
    const fresh = await listed({ kubelet, directory, endpoint: 'b.sock', devices: ['n'] })
    old.endStreams()
    await eventually(() => expect(fresh.streams.size).toBe(0))
    expect(kubelet.devices(GPU).get('n')).toBe(false)
  })

  it('leaves the new registration alone from 1.37 on, as do lists of the old one', async () => {
    const { kubelet, directory, gpu: old } = await nodeWith(['o'], { minor: 37 })
    const fresh = await listed({ kubelet, directory, endpoint: 'b.sock', devices: ['n'] })
    old.list('late')
    old.endStreams()
    await eventually(() => expect(old.streams.size).toBe(0))
    await list(kubelet, fresh, ['n', 'm'])
    expect(fresh.streams.size).toBe(1)
  })

  it('of the new registration leaves the lists of an old one in force, in kubelets up to 1.36', async () => {
    const { kubelet, directory, gpu: old } = await nodeWith(['o'])
    const fresh = await listed({ kubelet, directory, endpoint: 'b.sock', devices: ['n'] })
    fresh.endStreams()
    await eventually(() => expect(kubelet.devices(GPU).get('n')).toBe(false))
    await list(kubelet, old, ['o'])
    expect(await kubelet.admit(pod('p', { [GPU]: 1 }))).toMatchObject({ admitted: false })
  })
})
