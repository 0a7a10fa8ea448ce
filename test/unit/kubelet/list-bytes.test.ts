import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { deviceId } from '../../../src/kubelet/device-ids.ts'
import type { DeviceList } from '../../../src/kubelet/device-list.ts'
import { encodeDeviceList } from '../../../src/kubelet/list-bytes.ts'
import { DEVICE_PLUGIN, HEALTHY, UNHEALTHY } from '../../../src/kubelet/wire.ts'
import { OFFLINE_RESOURCES } from '../../../src/model/index.ts'

const arbitraryDevices = fc.array(
  fc
    .record({
      resource: fc.constantFrom(...OFFLINE_RESOURCES),
      index: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
      healthy: fc.boolean(),
    })
    .map(({ resource, index, healthy }) => ({ id: deviceId(resource, index), index, healthy })),
)

const generated = (devices: DeviceList): Buffer =>
  DEVICE_PLUGIN.ListAndWatch.responseSerialize({
    devices: devices.map(({ id, healthy }) => ({ ID: id, health: healthy ? HEALTHY : UNHEALTHY })),
  })

describe('encodeDeviceList', () => {
  it('writes what the generated encoder writes, byte for byte', () => {
    fc.assert(
      fc.property(arbitraryDevices, (devices) => {
        expect(encodeDeviceList(devices).bytes).toEqual(generated(devices))
      }),
    )
  })

  it('copies nothing from the list before that is not in this one', () => {
    fc.assert(
      fc.property(arbitraryDevices, arbitraryDevices, arbitraryDevices, (common, one, other) => {
        const before = encodeDeviceList([...common, ...one])
        const devices = [...common, ...other]
        expect(encodeDeviceList(devices, before).bytes).toEqual(generated(devices))
      }),
    )
  })
})
