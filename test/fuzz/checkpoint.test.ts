/** Any bytes as the kubelet's checkpoint: device IDs by resource, or the answer that it can't be understood. Never a throw, never a wait. */
import { spawnSync } from 'node:child_process'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as fc from 'fast-check'
import { beforeEach, describe, expect, it } from 'vitest'
import { readAllocatedIds } from '../../src/kubelet/checkpoint.ts'
import { ResourceDevices } from '../../src/kubelet/resource-devices.ts'
import { announce, byteStrings, expectAmount, fuzzAsync, spoiltObjects, scratchDirectory } from './support.ts'

announce('checkpoint')

const directory = scratchDirectory()
const path = join(directory, 'kubelet_internal_checkpoint')
beforeEach(() => rmSync(path, { recursive: true, force: true }))

const CHECKPOINT = {
  Data: {
    PodDeviceEntries: [
      {
        PodUID: 'p1',
        ContainerName: 'c',
        ResourceName: 'kube-agent.io/be-cpu',
        DeviceIDs: { '-1': ['bc-0001', 'bc-0002'], '0': ['bc-0007'] },
        AllocResp: 'EgA=',
      },
      { PodUID: 'p2', ContainerName: 'c', ResourceName: 'x.io/gpu', DeviceIDs: { '0': ['a'] }, AllocResp: '' },
    ],
    RegisteredDevices: { 'kube-agent.io/be-cpu': ['bc-0001', 'bc-0002', 'bc-0003'] },
  },
  Checksum: 1_634_123_345,
}
const TEXT = JSON.stringify(CHECKPOINT)

const files = fc.oneof(
  byteStrings(Buffer.from(TEXT)),
  spoiltObjects(CHECKPOINT).map((value) => Buffer.from(JSON.stringify(value) ?? '')),
)

describe("the kubelet's checkpoint", () => {
  fuzzAsync('is what pods hold, or nothing', files, async (bytes) => {
    writeFileSync(path, bytes)
    const held = await readAllocatedIds(directory)
    if (held === undefined) return 'refused'
    for (const [resource, ids] of held) {
      expect(typeof resource).toBe('string')
      for (const id of ids) if (typeof id !== 'string') throw new Error(`an ID of ${JSON.stringify(id)}`)
    }
    const devices = new ResourceDevices({ resource: 'be-cpu', maxUnits: 100, now: () => 0 })
    devices.adopt([...held.values()].flatMap((ids) => [...ids]))
    devices.publish(5)
    expectAmount(devices.advertisedUnits, 'advertised')
    for (const { id, index } of devices.list)
      if (!/^bc-\d{4,}$/.test(id) || !Number.isSafeInteger(index) || index < 1) throw new Error(`a device ${id}`)
    return 'taken'
  })

  it('that is read as it was written', async () => {
    writeFileSync(path, TEXT)
    expect([...((await readAllocatedIds(directory)) ?? [])]).toEqual([
      ['kube-agent.io/be-cpu', new Set(['bc-0001', 'bc-0002', 'bc-0007'])],
      ['x.io/gpu', new Set(['a'])],
    ])
  })

  it('that is a FIFO, a directory or not there is none', async () => {
    expect(await readAllocatedIds(directory)).toBeUndefined()
    mkdirSync(path)
    expect(await readAllocatedIds(directory)).toBeUndefined()
    rmSync(path, { recursive: true })
    expect(spawnSync('mkfifo', [path]).status).toBe(0)
    const answer = await Promise.race([readAllocatedIds(directory), new Promise((resolve) => setTimeout(resolve, 5000, 'hangs'))])
    expect(answer).toBeUndefined()
  })
})
