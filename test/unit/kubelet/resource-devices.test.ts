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
    devices.retain({ units: 0, readAtMs: clock.nowMs }, undefined)
    expect(healthy()).toEqual(['bc-0003', 'bc-0004'])
    clock.nowMs = 60_000
    devices.retain({ units: 0, readAtMs: clock.nowMs }, undefined)
    expect(healthy()).toEqual(['bc-0004'])
    clock.nowMs = 90_000
    devices.retain({ units: 1, readAtMs: clock.nowMs }, undefined)
    expect(devices.allocatedUnits).toBe(1)
    devices.retain({ units: 0, readAtMs: clock.nowMs }, undefined)
    expect(devices.allocatedUnits).toBe(0)
  })

  it('lets go of nothing that may be younger than the list of pods, however old that is', () => {
    const { clock, devices } = makeDevices(4)
    devices.allocate([['bc-0003']])
    clock.nowMs = 500_000
    devices.retain({ units: 0, readAtMs: 59_999 }, undefined)
    expect(devices.allocatedUnits).toBe(1)
    devices.retain({ units: 0, readAtMs: 60_000 }, undefined)
    expect(devices.allocatedUnits).toBe(0)
  })

  it('takes a device that is handed out again for newly allocated', () => {
    const { clock, devices } = makeDevices(4)
    devices.allocate([['bc-0001']])
    devices.allocate([['bc-0002']])
    clock.nowMs = 60_000
    devices.allocate([['bc-0001']])
    devices.retain({ units: 1, readAtMs: clock.nowMs }, undefined)
    devices.publish(0)
    expect(devices.list.filter((device) => device.healthy).map((device) => device.id)).toEqual(['bc-0001'])
  })

  it('adopts what was held before it was made, and only its own', () => {
    const { devices, healthy } = makeDevices(0)
    devices.adopt(['bc-0005', 'bm-0001', 'gpu0'])
    expect(devices.allocatedUnits).toBe(1)
    expect(healthy()).toEqual(['bc-0005'])
  })

  it('knows what a kubelet must be told at once', () => {
    const { devices } = makeDevices(4)
    const four = devices.list
    devices.publish(6)
    expect(devices.contradicts(four)).toBe(false)
    const six = devices.list
    devices.publish(2)
    expect(devices.contradicts(six)).toBe(true)
    const two = devices.list
    // As many healthy ones as before, but not the same.
    devices.allocate([['bc-0006']])
    expect(devices.advertisedUnits).toBe(2)
    expect(devices.contradicts(two)).toBe(true)
    devices.allocate([['bc-0001']])
    expect(devices.contradicts(devices.list)).toBe(false)
    // Nothing is taken back, but a held device would look unhealthy.
    const both = devices.list
    devices.allocate([['bc-0005']])
    expect(devices.advertisedUnits).toBe(3)
    expect(devices.contradicts(both)).toBe(true)
    devices.adopt(['bc-0020'])
    expect(devices.contradicts(both)).toBe(true)
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

describe('settling with what the kubelet lists', () => {
  /** Two devices held from time 0 on, and nothing wanted: what is healthy is held. */
  function holding() {
    const made = makeDevices(4)
    made.devices.allocate([['bc-0001'], ['bc-0002']])
    made.devices.publish(0)
    const settle = (ids: readonly string[], askedAtMs: number, checkpointed?: readonly string[], kubelet = 'first'): void => {
      const held = { ids: new Set(ids), kubelet, askedAtMs }
      made.devices.settle(held, checkpointed === undefined ? undefined : new Set(checkpointed))
    }
    return { ...made, settle }
  }

  it('ends what the same kubelet listed before and lists no more, and drops nothing from the list', () => {
    const { devices, healthy, settle } = holding()
    settle(['bc-0001', 'bc-0002'], 20_000)
    settle(['bc-0002'], 50_000)
    expect(healthy()).toEqual(['bc-0002'])
    expect(devices.list).toHaveLength(4)
    expect(devices.allocationsEnded).toBe(1)
  })

  it('ends nothing that a kubelet has never listed, unless its checkpoint does not name it either', () => {
    const { healthy, settle } = holding()
    settle([], 20_000)
    settle([], 50_000, ['bc-0001', 'bc-0002'])
    expect(healthy()).toEqual(['bc-0001', 'bc-0002'])
    settle([], 80_000, ['bc-0002'])
    expect(healthy()).toEqual(['bc-0002'])
  })

  it('takes the empty list of a kubelet that has just started for no news', () => {
    const { healthy, settle } = holding()
    settle(['bc-0001', 'bc-0002'], 20_000)
    settle([], 50_000, ['bc-0001', 'bc-0002'], 'second')
    expect(healthy()).toEqual(['bc-0001', 'bc-0002'])
  })

  it('leaves alone what was handed out shortly before the kubelet was asked, or since', () => {
    const { clock, devices, healthy, settle } = holding()
    settle([], 9_999, [])
    expect(devices.allocatedUnits).toBe(2)
    settle(['bc-0001', 'bc-0002'], 9_999)
    clock.nowMs = 12_000
    devices.allocate([['bc-0001']])
    settle([], 20_000, [])
    expect(healthy()).toEqual(['bc-0001'])
    settle([], 22_000, [])
    expect(healthy()).toEqual([])
  })

  it('does not hold an earlier listing against a device that was handed out again', () => {
    const { clock, devices, settle } = holding()
    settle(['bc-0001', 'bc-0002'], 20_000)
    clock.nowMs = 30_000
    devices.allocate([['bc-0001']])
    settle(['bc-0002'], 60_000, ['bc-0001', 'bc-0002'])
    expect(devices.allocatedUnits).toBe(2)
  })

  it('takes over what it did not know of, and only its own', () => {
    const { devices, healthy, settle } = holding()
    settle(['bc-0001', 'bc-0002', 'bc-0003', 'bc-0009', 'gpu0', 'bm-0001'], 1)
    expect(healthy()).toEqual(['bc-0001', 'bc-0002', 'bc-0003', 'bc-0009'])
    expect(devices.allocatedUnits).toBe(4)
  })

  it('wants the checkpoint only when it could decide something', () => {
    const { devices, settle } = holding()
    const asks = (ids: readonly string[], askedAtMs: number, kubelet = 'first'): boolean =>
      devices.wouldAskCheckpoint({ ids: new Set(ids), kubelet, askedAtMs })
    expect(asks([], 9_999)).toBe(false)
    expect(asks([], 10_000)).toBe(true)
    settle(['bc-0001', 'bc-0002'], 10_000)
    expect(asks([], 50_000)).toBe(false)
    expect(asks([], 50_000, 'second')).toBe(true)
    expect(asks(['bc-0001', 'bc-0002'], 50_000, 'second')).toBe(false)
  })

  it('guesses only among devices that the kubelet was asked about and did not list', () => {
    const { clock, devices, healthy } = holding()
    const held = (ids: readonly string[], askedAtMs: number) => ({ ids: new Set(ids), kubelet: 'first', askedAtMs })
    clock.nowMs = 60_000
    expect(devices.retain({ units: 0, readAtMs: clock.nowMs }, held([], 9_999))).toBe(2)
    expect(devices.retain({ units: 0, readAtMs: clock.nowMs }, held(['bc-0001'], 10_000))).toBe(1)
    expect(healthy()).toEqual(['bc-0001'])
    expect(devices.retain({ units: 1, readAtMs: clock.nowMs }, held([], 10_000))).toBe(0)
    expect(devices.retain({ units: 0, readAtMs: clock.nowMs }, held([], 10_000))).toBe(0)
    expect(healthy()).toEqual([])
  })
})
