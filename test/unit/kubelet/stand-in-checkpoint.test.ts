/** kubelet_internal_checkpoint: its format, when it is written, and how it is read. */
import { readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { v1beta1 } from '../../../src/kubelet/gen/deviceplugin.js'
import { admitted, eventually, GPU, list, listed, makeKubelet, nodeWith, pod, rejection } from './stand-in-fixture.ts'

const FILE = 'kubelet_internal_checkpoint'

interface File {
  readonly Data: {
    readonly PodDeviceEntries: Readonly<Record<string, unknown>>[] | null
    readonly RegisteredDevices: Readonly<Record<string, readonly string[]>>
  }
  readonly Checksum: number
}

const read = (directory: string): File => JSON.parse(readFileSync(join(directory, FILE), 'utf8')) as File

describe('the checkpoint', () => {
  it("has the kubelet's layout, with the plugin's answer in it", async () => {
    const { kubelet, directory, gpu } = await nodeWith(['a', '-b'])
    expect(read(directory)).toEqual({
      Data: { PodDeviceEntries: null, RegisteredDevices: { [GPU]: ['a'] } },
      Checksum: expect.any(Number) as number,
    })
    const answer = { envs: { X: 'é' }, annotations: { y: 'z' }, cdiDevices: [{ name: 'v/c=d' }] }
    gpu.allocate = () => ({ containerResponses: [answer] })
    await admitted(kubelet, pod('p', { [GPU]: 1 }))
    const { Data, Checksum } = read(directory)
    const AllocResp = expect.any(String) as string
    const entry = { PodUID: 'p', ContainerName: 'c', ResourceName: GPU, DeviceIDs: { '-1': ['a'] }, AllocResp }
    expect(Data).toEqual({ PodDeviceEntries: [entry], RegisteredDevices: { [GPU]: ['a'] } })
    const bytes = Buffer.from(String(Data.PodDeviceEntries?.[0]?.AllocResp), 'base64')
    expect(v1beta1.ContainerAllocateResponse.decode(bytes)).toMatchObject(answer)
    expect(Number.isInteger(Checksum) && Checksum >= 0 && Checksum < 2 ** 32).toBe(true)
  })

  it('keeps devices by NUMA node', async () => {
    const { kubelet, directory, gpu } = await nodeWith([])
    const nodes = (...ids: number[]) => ({ nodes: ids.map((ID) => ({ ID })) })
    gpu.send([
      { ID: 'a', health: 'Healthy', topology: nodes(0) },
      { ID: 'b', health: 'Healthy', topology: nodes(0, 1) },
      { ID: 'c', health: 'Healthy' },
    ])
    await eventually(() => expect(kubelet.devices(GPU).size).toBe(3))
    await admitted(kubelet, pod('p', { [GPU]: 3 }))
    const ids = read(directory).Data.PodDeviceEntries?.[0]?.DeviceIDs as Record<string, string[]>
    const sorted = Object.entries(ids).map(([node, each]) => [node, each.toSorted().join()] as const)
    expect(Object.fromEntries(sorted)).toEqual({ '-1': 'c', '0': 'a,b', '1': 'b' })
  })

  it('is replaced as a whole on every list and every Allocate, and leaves no scratch file', async () => {
    const { kubelet, directory, gpu } = await nodeWith(['a', 'b'])
    const inode = (): number => statSync(join(directory, FILE)).ino
    const first = inode()
    await list(kubelet, gpu, ['a', 'b', 'c'])
    const second = inode()
    await admitted(kubelet, pod('p', { [GPU]: 1 }))
    expect([first !== second, second !== inode()]).toEqual([true, true])
    expect(readdirSync(directory).sort()).toEqual(['a.sock', 'kubelet.sock', FILE])
  })

  it('is not there before the first list, whatever else is admitted', async () => {
    const { kubelet, directory } = makeKubelet()
    await kubelet.start()
    await admitted(kubelet, pod('p', { [GPU]: 1 }))
    expect(readdirSync(directory)).toEqual(['kubelet.sock'])
  })

  it('still names a pod that has gone, until something is allocated or listed', async () => {
    const { kubelet, directory } = await nodeWith(['a', 'b'])
    await admitted(kubelet, pod('p', { [GPU]: 1 }))
    kubelet.remove('p')
    expect(read(directory).Data.PodDeviceEntries).toMatchObject([{ PodUID: 'p' }])
    await admitted(kubelet, pod('q', { [GPU]: 1 }))
    expect(read(directory).Data.PodDeviceEntries).toMatchObject([{ PodUID: 'q' }])
  })

  it('loses a resource together with its capacity', async () => {
    const { kubelet, directory, gpu } = await nodeWith(['a'], { statusPeriodMs: 0 })
    gpu.endStreams()
    await eventually(() => expect(kubelet.devices(GPU).get('a')).toBe(false))
    kubelet.tick(300_001)
    expect(read(directory).Data.RegisteredDevices).toEqual({})
  })

  it.each([
    { title: 'damaged', spoil: (path: string) => writeFileSync(path, readFileSync(path, 'utf8').replace('"a"', '"b"')) },
    { title: 'not JSON', spoil: (path: string) => writeFileSync(path, '{') },
    { title: 'lost', spoil: (path: string) => rmSync(path) },
  ])('counts for nothing when it is $title: what pods hold is handed out again', async ({ spoil }) => {
    const { kubelet, directory } = await nodeWith(['a', 'b'])
    await admitted(kubelet, pod('p', { [GPU]: 2 }))
    await kubelet.crash()
    spoil(join(directory, FILE))
    await kubelet.start()
    const plugin = await listed({ kubelet, directory, endpoint: 'b.sock', devices: ['a', 'b'] })
    // The plugin is asked, and only then is the pod too many for the node.
    expect(await kubelet.admit(pod('q', { [GPU]: 2 }))).toMatchObject({ admitted: false, reason: `OutOf${GPU}` })
    expect(plugin.allocated.map((ids) => ids.toSorted())).toEqual([['a', 'b']])
  })

  it('that cannot be written turns the pod away', async () => {
    const { kubelet, directory } = await nodeWith(['a'])
    rmSync(directory, { recursive: true })
    expect(await rejection(kubelet, pod('p', { [GPU]: 1 }))).toContain('ENOENT')
  })
})
