/**
 * The bytes on the wire, written out by hand from the field numbers in kubernetes
 * staging/src/k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1/api.proto: the codecs can't vouch for themselves.
 */
import { describe, expect, it } from 'vitest'
import { DEVICE_PLUGIN, REGISTRATION } from '../../../src/kubelet/wire.ts'

const text = (field: number, value: string): number[] => [(field << 3) | 2, value.length, ...Buffer.from(value)]
const nested = (field: number, ...parts: number[][]): number[] => [(field << 3) | 2, parts.flat().length, ...parts.flat()]

describe('wire', () => {
  it('uses the method paths of the kubelet', () => {
    expect([REGISTRATION.Register, ...Object.values(DEVICE_PLUGIN)].map((method) => method.path)).toEqual([
      '/v1beta1.Registration/Register',
      '/v1beta1.DevicePlugin/GetDevicePluginOptions',
      '/v1beta1.DevicePlugin/ListAndWatch',
      '/v1beta1.DevicePlugin/GetPreferredAllocation',
      '/v1beta1.DevicePlugin/Allocate',
      '/v1beta1.DevicePlugin/PreStartContainer',
    ])
    expect(Object.values(DEVICE_PLUGIN).filter((method) => method.responseStream)).toEqual([DEVICE_PLUGIN.ListAndWatch])
  })

  it('encodes a registration, a list and an allocation by field number', () => {
    const register = REGISTRATION.Register.requestSerialize({ version: 'v1beta1', endpoint: 'a.sock', resourceName: 'x.y/z' })
    expect([...register]).toEqual([...text(1, 'v1beta1'), ...text(2, 'a.sock'), ...text(3, 'x.y/z')])

    const list = DEVICE_PLUGIN.ListAndWatch.responseSerialize({ devices: [{ ID: 'bc-0001', health: 'Healthy' }] })
    expect([...list]).toEqual(nested(1, text(1, 'bc-0001'), text(2, 'Healthy')))

    const response = DEVICE_PLUGIN.Allocate.responseSerialize({
      containerResponses: [{ envs: { A: 'b' }, annotations: { c: 'd' } }],
    })
    expect([...response]).toEqual(nested(1, nested(1, text(1, 'A'), text(2, 'b')), nested(4, text(1, 'c'), text(2, 'd'))))

    const options = DEVICE_PLUGIN.GetDevicePluginOptions.responseSerialize({
      preStartRequired: true,
      getPreferredAllocationAvailable: true,
    })
    expect([...options]).toEqual([0x08, 1, 0x10, 1])
  })

  it('decodes what the kubelet sends, fields from a later version included', () => {
    const request = [...nested(1, text(1, 'bc-0001'), text(1, 'bc-0002')), ...text(15, 'later')]
    const { containerRequests } = DEVICE_PLUGIN.Allocate.requestDeserialize(Buffer.from(request))
    expect(containerRequests.map((container) => container.devicesIds)).toEqual([['bc-0001', 'bc-0002']])
    const [device] = DEVICE_PLUGIN.ListAndWatch.responseDeserialize(
      Buffer.from(nested(1, text(1, 'a'), text(2, 'Unhealthy'), nested(3, nested(1, [0x08, 3])))),
    ).devices
    expect(device).toMatchObject({ ID: 'a', health: 'Unhealthy' })
    // protobufjs reads an int64 as a Long wherever `long` can be found, whatever the generated types say.
    expect(String(device?.topology?.nodes?.[0]?.ID)).toBe('3')
  })

  it('spends on a device what the facts say: its ID and 13 bytes, 15 when unhealthy', () => {
    const bytesOf = (health: string): number =>
      DEVICE_PLUGIN.ListAndWatch.responseSerialize({ devices: [{ ID: 'bc-0001', health }] }).length
    expect([bytesOf('Healthy'), bytesOf('Unhealthy')]).toEqual([7 + 13, 7 + 15])
  })
})
