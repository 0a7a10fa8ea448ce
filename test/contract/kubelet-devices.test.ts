/**
 * The devices that the plugin advertises, as the kubelet stand-in sees them over real unix sockets: capacity that moves, and calls out
 * of the ordinary (kubernetes pkg/kubelet/cm/devicemanager, 1.36).
 */
import { join } from 'node:path'
import { status } from '@grpc/grpc-js'
import { describe, expect, it } from 'vitest'
import { callUnary, DEVICE_PLUGIN, dial, UNLIMITED } from '../../src/kubelet/wire.ts'
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
  running,
  temporaryDirectory,
  units,
} from './kubelet-fixture.ts'

describe('capacity', () => {
  it('shrinks free devices at once and keeps allocated ones healthy', async () => {
    const { kubelet, plugins } = await running(20)
    const held = granted(await kubelet.admit(pod('a', { [BE_CPU]: 5 }))).devices[BE_CPU] ?? []
    plugins.publish(units({ 'be-cpu': 2 }))
    await eventually(() => healthyIds(kubelet, BE_CPU).length === 5)
    expect(healthyIds(kubelet, BE_CPU).sort()).toEqual([...held].sort())
    kubelet.tick(0)
    expect(kubelet.nodeStatus()[BE_CPU]).toEqual({ capacity: 20, allocatable: 5 })
    expect(await kubelet.admit(pod('b', { [BE_CPU]: 1 }))).toMatchObject({
      admitted: false,
      message: expect.stringContaining('Requested: 1, Available: 0') as string,
    })
    expect(kubelet.violations).toEqual([])
  })

  it('holds growth back for pushMs, but never a shrink', async () => {
    const directory = temporaryDirectory()
    const kubelet = makeKubelet(directory)
    const plugins = makePlugins(directory, { pushMs: 60_000 })
    await kubelet.start()
    await plugins.start()
    await allRegistered(plugins)
    plugins.publish(units({ 'be-cpu': 10 }))
    await eventually(() => healthyIds(kubelet, BE_CPU).length === 10)
    plugins.publish(units({ 'be-cpu': 15 }))
    await new Promise((resolve) => setTimeout(resolve, 200))
    expect(healthyIds(kubelet, BE_CPU)).toHaveLength(10)
    plugins.publish(units({ 'be-cpu': 9 }))
    await eventually(() => healthyIds(kubelet, BE_CPU).length === 9)
    expect(kubelet.violations).toEqual([])
  })
})

describe('a device that the kubelet chose before it saw it shrink', () => {
  it('is healthy again at once, and another one is given up for it', async () => {
    const directory = temporaryDirectory()
    const kubelet = makeKubelet(directory)
    const plugins = makePlugins(directory, { pushMs: 60_000 })
    await kubelet.start()
    await plugins.start()
    await allRegistered(plugins)
    plugins.publish(units({ 'be-cpu': 10 }))
    await eventually(() => healthyIds(kubelet, BE_CPU).length === 10)
    plugins.publish(units({ 'be-cpu': 5 }))
    await eventually(() => healthyIds(kubelet, BE_CPU).length === 5)
    const client = dial(join(directory, plugins.states()[0]?.socket ?? ''), UNLIMITED)
    onCleanup(() => client.close())
    await callUnary(client, DEVICE_PLUGIN.Allocate, { containerRequests: [{ devicesIds: ['bc-0010'] }] })
    await eventually(() => healthyIds(kubelet, BE_CPU).includes('bc-0010'))
    expect(healthyIds(kubelet, BE_CPU)).toHaveLength(5)
    expect(kubelet.violations).toEqual([])
  })
})

describe('calls that a kubelet would not make', () => {
  it('answers garbage with an error and changes nothing', async () => {
    const { directory, kubelet, plugins } = await running(4)
    const client = dial(join(directory, plugins.states()[0]?.socket ?? ''), UNLIMITED)
    onCleanup(() => client.close())
    const allocate = (...containers: string[][]) =>
      callUnary(client, DEVICE_PLUGIN.Allocate, { containerRequests: containers.map((devicesIds) => ({ devicesIds })) })
    await expect(allocate()).rejects.toMatchObject({ code: status.INVALID_ARGUMENT })
    await expect(allocate(['bc-0001'], [])).rejects.toMatchObject({ code: status.INVALID_ARGUMENT })
    await expect(allocate(['bc-0001', 'bc-0001'])).rejects.toMatchObject({ code: status.INVALID_ARGUMENT })
    await expect(allocate(['bc-0001', 'bc-0005'])).rejects.toMatchObject({ code: status.NOT_FOUND })
    await expect(allocate(['bm-0001'])).rejects.toMatchObject({ code: status.NOT_FOUND })
    await expect(allocate(['x'.repeat(5_000_000)])).rejects.toMatchObject({ code: status.NOT_FOUND })
    const bytes = { ...DEVICE_PLUGIN.Allocate, requestSerialize: () => Buffer.from([0x0a, 0xff, 0xff]) }
    await expect(callUnary(client, bytes, { containerRequests: [] })).rejects.toMatchObject({ code: status.INTERNAL })
    const preferred = callUnary(client, DEVICE_PLUGIN.GetPreferredAllocation, { containerRequests: [] })
    await expect(preferred).rejects.toMatchObject({ code: status.UNIMPLEMENTED })
    expect(plugins.allocatedUnits()).toEqual(units({}))
    expect(healthyIds(kubelet, BE_CPU)).toHaveLength(4)

    const several = await allocate(['bc-0001'], ['bc-0002', 'bc-0003'])
    expect(several.containerResponses).toHaveLength(2)
    expect(plugins.allocatedUnits()).toEqual(units({ 'be-cpu': 3 }))
    await expect(callUnary(client, DEVICE_PLUGIN.PreStartContainer, { devicesIds: ['bc-0001'] })).resolves.toEqual({})
  })
})
