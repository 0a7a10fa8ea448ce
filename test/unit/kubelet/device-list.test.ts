import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { deviceId, deviceIndex } from '../../../src/kubelet/device-ids.ts'
import { countHealthy, findDevice, nextDeviceList, type DeviceList } from '../../../src/kubelet/device-list.ts'
import { OFFLINE_RESOURCES } from '../../../src/model/index.ts'

const MAX_UNITS = 40
const NONE: ReadonlySet<string> = new Set()

const next = (previous: DeviceList, wantedUnits: number, allocated = NONE, maxUnits = MAX_UNITS): DeviceList =>
  nextDeviceList(previous, { resource: 'be-cpu', wantedUnits, allocated, maxUnits })

const healthyIds = (list: DeviceList): string[] => list.filter((device) => device.healthy).map((device) => device.id)

describe('device ids', () => {
  it('are short, stable and unique across resources', () => {
    expect(OFFLINE_RESOURCES.map((resource) => deviceId(resource, 1))).toEqual(['bc-0001', 'bm-0001', 'oc-0001', 'om-0001'])
    expect(deviceId('be-cpu', 12_345)).toBe('bc-12345')
  })

  it('are read back only for the resource and in the form they were made', () => {
    fc.assert(
      fc.property(fc.constantFrom(...OFFLINE_RESOURCES), fc.integer({ min: 1, max: 100_000 }), (resource, index) => {
        const id = deviceId(resource, index)
        for (const other of OFFLINE_RESOURCES) expect(deviceIndex(other, id)).toBe(other === resource ? index : undefined)
      }),
    )
    for (const id of ['', 'bc-', 'bc-1', 'bc-0000', 'bc-00001', 'bc--001', 'bc-1e03', 'bc-0x01', 'bc-0001 ', 'xx-0001']) {
      expect(deviceIndex('be-cpu', id)).toBeUndefined()
    }
  })
})

describe('nextDeviceList', () => {
  it('mints, shrinks the highest free ones, and revives the lowest before minting', () => {
    const three = next([], 3)
    expect(healthyIds(three)).toEqual(['bc-0001', 'bc-0002', 'bc-0003'])
    const one = next(three, 1)
    expect(one).toHaveLength(3)
    expect(healthyIds(one)).toEqual(['bc-0001'])
    expect(healthyIds(next(one, 2))).toEqual(['bc-0001', 'bc-0002'])
    expect(next(one, 4)).toHaveLength(4)
  })

  it('passes over allocated devices when it shrinks', () => {
    expect(healthyIds(next(next([], 4), 2, new Set(['bc-0004'])))).toEqual(['bc-0001', 'bc-0004'])
    expect(healthyIds(next(next([], 4), 0, new Set(['bc-0003', 'bc-0004'])))).toEqual(['bc-0003', 'bc-0004'])
  })

  it('lists allocated devices it has not seen before, and fills the gaps', () => {
    const adopted = next([], 0, new Set(['bc-0007', 'bm-0001', 'junk']))
    expect(adopted.map((device) => device.id)).toEqual(['bc-0007'])
    expect(next(adopted, 3, new Set(['bc-0007'])).map((device) => device.id)).toEqual(['bc-0001', 'bc-0002', 'bc-0007'])
  })

  it('finds devices beside gaps, and nothing else', () => {
    const gaps = next([], 0, new Set(['bc-0003', 'bc-0007', 'bc-0040']))
    for (const device of gaps) expect(findDevice(gaps, device.id)).toBe(device)
    for (const id of ['', 'bc-', 'bc-0001', 'bc-0004', 'bc-0041', 'bm-0003', 'bc-3', 'bc-3e0', 'bc--003', 'junk', '0003']) {
      expect(findDevice(gaps, id)).toBeUndefined()
    }
    expect(findDevice([], 'bc-0001')).toBeUndefined()
  })

  it.each([Number.NaN, -5, 0.9])('takes %s for nothing', (wanted) => {
    expect(healthyIds(next(next([], 2), wanted))).toEqual([])
  })

  /** Any history: capacities interleaved with which of the listed devices are held. */
  const histories = fc.array(
    fc.record({
      wanted: fc.integer({ min: -2, max: MAX_UNITS + 10 }),
      held: fc.array(fc.nat({ max: MAX_UNITS - 1 }), { maxLength: 12 }),
    }),
    { maxLength: 30 },
  )

  it('keeps its promises over any history', () => {
    fc.assert(
      fc.property(histories, (history) => {
        let list: DeviceList = []
        for (const { wanted, held } of history) {
          const allocated = new Set(held.flatMap((at) => list[at]?.id ?? []))
          const after = next(list, wanted, allocated)
          const ids = after.map((device) => device.id)
          expect(new Set(ids).size).toBe(ids.length)
          expect(ids.length).toBeLessThanOrEqual(MAX_UNITS)
          expect(after.map((device) => device.index)).toEqual(after.map((device) => device.index).toSorted((a, b) => a - b))
          for (const device of list) expect(ids).toContain(device.id)
          for (const id of allocated) expect(healthyIds(after)).toContain(id)
          expect(countHealthy(after)).toBe(Math.max(Math.min(Math.max(wanted, 0), MAX_UNITS), allocated.size))
          expect(next(after, wanted, allocated)).toBe(after)
          for (const device of after) expect(findDevice(after, device.id)).toBe(device)
          list = after
        }
      }),
    )
  })

  it('flips no more devices than it must', () => {
    fc.assert(
      fc.property(fc.nat({ max: MAX_UNITS }), fc.nat({ max: MAX_UNITS }), fc.nat({ max: MAX_UNITS }), (first, second, third) => {
        const before = next(next([], first), second)
        const after = next(before, third)
        const flipped = after.filter((device, at) => device.healthy !== (before[at]?.healthy ?? false)).length
        expect(flipped).toBe(Math.abs(countHealthy(after) - countHealthy(before)))
      }),
    )
  })
})
