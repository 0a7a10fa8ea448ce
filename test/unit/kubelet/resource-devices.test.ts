import { describe, expect, it } from 'vitest'
import { ResourceDevices } from '../../../src/kubelet/resource-devices.ts'

function makeDevices(units: number) {
  const clock = { nowMs: 0 }
  const devices = new ResourceDevices({ resource: 'be-cpu', maxUnits: 100, now: () => clock.nowMs })
  devices.publish(units)
  const healthy = (): string[] => devices.list.filter((device) => device.healthy).map((device) => device.id)
  return { clock, devices, healthy }
}

describe('ResourceDevices', () => {
  it('records all containers of a request or none', () => {
    const { devices } = makeDevices(4)
    expect(devices.allocate([['bc-0001'], ['bc-0009']])).toEqual({ is: 'unknown', id: 'bc-0009' })
    expect(devices.allocate([['bc-0001'], []])).toMatchObject({ is: 'malformed' })
    expect(devices.allocate([])).toMatchObject({ is: 'malformed' })
    expect(devices.allocate([['bc-0002', 'bc-0002']])).toMatchObject({ is: 'malformed' })
    expect(devices.allocatedUnits).toBe(0)
    expect(devices.allocate([['bc-0001'], ['bc-0003']])).toEqual({ is: 'allocated' })
    expect(devices.allocatedUnits).toBe(2)
  })

  it('grants a device whose shrinking the kubelet has not seen, and gives up another for it', () => {
    const { devices, healthy } = makeDevices(4)
    devices.publish(2)
    expect(devices.allocate([['bc-0004']])).toEqual({ is: 'allocated' })
    expect(healthy()).toEqual(['bc-0001', 'bc-0004'])
  })

  it('lets go of the oldest surplus, but of nothing in its first 60 s', () => {
    const { clock, devices, healthy } = makeDevices(4)
    devices.allocate([['bc-0003']])
    clock.nowMs = 30_000
    devices.allocate([['bc-0004']])
    devices.publish(0)
    clock.nowMs = 59_999
    devices.retain(0)
    expect(healthy()).toEqual(['bc-0003', 'bc-0004'])
    clock.nowMs = 60_000
    devices.retain(0)
    expect(healthy()).toEqual(['bc-0004'])
    clock.nowMs = 90_000
    devices.retain(1)
    expect(devices.allocatedUnits).toBe(1)
    devices.retain(0)
    expect(devices.allocatedUnits).toBe(0)
  })

  it('takes a device that is handed out again for newly allocated', () => {
    const { clock, devices } = makeDevices(4)
    devices.allocate([['bc-0001']])
    devices.allocate([['bc-0002']])
    clock.nowMs = 60_000
    devices.allocate([['bc-0001']])
    devices.retain(1)
    devices.publish(0)
    expect(devices.list.filter((device) => device.healthy).map((device) => device.id)).toEqual(['bc-0001'])
  })

  it('adopts what was held before it was made, and only its own', () => {
    const { devices, healthy } = makeDevices(0)
    devices.adopt(['bc-0005', 'bm-0001', 'gpu0'])
    expect(devices.allocatedUnits).toBe(1)
    expect(healthy()).toEqual(['bc-0005'])
  })

  it('tells listeners of each change, and of the first capacity even if it changes nothing', () => {
    const devices = new ResourceDevices({ resource: 'be-cpu', maxUnits: 100, now: () => 0 })
    let calls = 0
    const unsubscribe = devices.onChange(() => (calls += 1))
    devices.publish(0)
    devices.publish(0)
    expect(calls).toBe(1)
    devices.publish(3)
    expect(calls).toBe(2)
    unsubscribe()
    devices.publish(1)
    expect(calls).toBe(2)
  })
})
