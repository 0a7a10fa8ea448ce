/** Limits of block devices as values: what the kernel's text says of them, and that the tighter of two is a meet. */
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type DeviceLimits, formatDevice, IoLimits, NO_DEVICE_LIMITS } from '../../../src/model/index.ts'

const limit = fc.option(fc.oneof(fc.integer({ min: 1, max: 50 }), fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER })))
const device = fc.tuple(fc.nat(3), fc.nat(3)).map(([major, minor]) => `${major}:${minor}`)
const deviceLimits: fc.Arbitrary<DeviceLimits> = fc.record({
  readBps: limit,
  writeBps: limit,
  readIops: limit,
  writeIops: limit,
})
const anyLimits = fc.array(fc.tuple(device, deviceLimits), { maxLength: 5 }).map((devices) => IoLimits.of(devices))
const of = (over: Partial<DeviceLimits>): DeviceLimits => ({ ...NO_DEVICE_LIMITS, ...over })

describe('the text of io.max', () => {
  it('is read and written as the kernel does', () => {
    const text = '8:0 rbps=2097152 wbps=max riops=max wiops=120\n8:16 rbps=max wbps=1 riops=7 wiops=max'
    const limits = IoLimits.parse(`${text}\n`)
    expect(limits?.of('8:0')).toEqual(of({ readBps: 2_097_152, writeIops: 120 }))
    expect(limits?.of('8:16')).toEqual(of({ writeBps: 1, readIops: 7 }))
    expect(String(limits)).toBe(text)
  })

  it('of no device is empty, and a device that is not in it has no limits', () => {
    expect(IoLimits.parse('')?.equals(IoLimits.NONE)).toBe(true)
    expect(String(IoLimits.NONE)).toBe('')
    expect(IoLimits.NONE.of('8:0')).toEqual(NO_DEVICE_LIMITS)
  })

  it.each(['sda rbps=1', '8 rbps=1', '8:0 rbps', '8:0 rbps=', '8:0 rbps=-1', '8:0 rbps=1.5', '8:0 bps=1', 'rbps=1 8:0'])(
    'is not %j',
    (text) => {
      expect(IoLimits.parse(text)).toBeUndefined()
      expect(IoLimits.parse(`8:16 rbps=1\n${text}`)).toBeUndefined()
    },
  )

  it('has no limit that a number can not hold: none could be put back as it was', () => {
    expect(IoLimits.parse('8:0 rbps=18446744073709551614 wbps=9007199254740991')?.of('8:0')).toEqual(
      of({ writeBps: Number.MAX_SAFE_INTEGER }),
    )
  })

  it('survives the round trip, devices without limits too', () => {
    fc.assert(
      fc.property(anyLimits, (limits) => {
        const again = IoLimits.parse(String(limits))
        expect([...(again?.devices ?? [])]).toEqual([...limits.devices])
        for (const [number, one] of limits.devices) expect(IoLimits.parse(formatDevice(number, one))?.of(number)).toEqual(one)
      }),
    )
  })
})

describe('limits', () => {
  it('are equal whether a device without limits is listed or not, and whatever the order', () => {
    const a: [string, DeviceLimits] = ['8:0', of({ readBps: 5 })]
    const b: [string, DeviceLimits] = ['8:16', of({ writeIops: 6 })]
    expect(IoLimits.of([a, b]).equals(IoLimits.of([b, ['9:9', NO_DEVICE_LIMITS], a]))).toBe(true)
    expect(IoLimits.of([a]).equals(IoLimits.of([a, b]))).toBe(false)
    expect(String(IoLimits.of([a, b]))).toBe(String(IoLimits.of([b, a])))
  })

  it('over others speak for the devices that they list, also for one without limits', () => {
    const theirs = IoLimits.of([
      ['8:0', of({ readBps: 5, writeBps: 5 })],
      ['8:16', of({ readBps: 7 })],
      ['8:32', of({ readBps: 9 })],
    ])
    const ours = IoLimits.of([
      ['8:0', of({ writeBps: 1 })],
      ['8:16', NO_DEVICE_LIMITS],
    ])
    expect(String(ours.over(theirs))).toBe(
      '8:0 rbps=max wbps=1 riops=max wiops=max\n8:16 rbps=max wbps=max riops=max wiops=max\n8:32 rbps=9 wbps=max riops=max wiops=max',
    )
  })

  it('meet in the tightest: the order and the number of times do not matter', () => {
    fc.assert(
      fc.property(anyLimits, anyLimits, anyLimits, (a, b, c) => {
        expect(a.tightest(b).equals(b.tightest(a))).toBe(true)
        expect(
          a
            .tightest(b)
            .tightest(c)
            .equals(a.tightest(b.tightest(c))),
        ).toBe(true)
        expect(a.tightest(a).equals(a)).toBe(true)
        expect(a.tightest(IoLimits.NONE).equals(a)).toBe(true)
      }),
    )
  })

  it('meet in limits that are nowhere looser than either, and each is one of the two', () => {
    fc.assert(
      fc.property(anyLimits, anyLimits, (a, b) => {
        const both = a.tightest(b)
        for (const number of new Set([...a.devices.keys(), ...b.devices.keys()])) {
          for (const field of ['readBps', 'writeBps', 'readIops', 'writeIops'] as const) {
            const pair = [a.of(number)[field] ?? Infinity, b.of(number)[field] ?? Infinity]
            expect(both.of(number)[field] ?? Infinity).toBe(Math.min(...pair))
          }
        }
      }),
    )
  })

  it('are not changed by what is done with them', () => {
    fc.assert(
      fc.property(anyLimits, anyLimits, (a, b) => {
        const [before, other] = [String(a), String(b)]
        a.tightest(b)
        a.over(b)
        expect([String(a), String(b)]).toEqual([before, other])
      }),
    )
  })
})
