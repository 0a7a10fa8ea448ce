/**
 * Limits of IO on planted files: four files put together under v1, one line a device under v2, and what is written where. Regular files show
 * what reaches them; what the kernel makes of it is tested in test/cgroup.
 */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { openKernel } from '../../../src/kernel/index.ts'
import { type DeviceLimits, IoLimits, NO_DEVICE_LIMITS } from '../../../src/model/index.ts'
import { planted, PROC, sysfsOf, V1_GROUP, v1Tree, V2_GROUP, v2Tree } from '../../support/trees-on-disk.ts'
import { TOPOLOGIES } from '../../support/topologies.ts'

const GROUP = '/kubepods/besteffort'

function limits(...devices: readonly (readonly [string, Partial<DeviceLimits>])[]): IoLimits {
  return IoLimits.of(devices.map(([device, some]) => [device, { ...NO_DEVICE_LIMITS, ...some }]))
}

function bed(dialect: 'v1' | 'v2', files: Readonly<Record<string, string>> = {}) {
  const v1 = { ...V1_GROUP, blkio: { ...V1_GROUP.blkio, ...files } }
  const cgroup = dialect === 'v1' ? v1Tree(GROUP, v1) : v2Tree(GROUP, { ...V2_GROUP, ...files })
  const root = planted({ cgroup, proc: PROC, sys: sysfsOf(TOPOLOGIES.twoCpuVm) })
  const settings = { cgroupPath: join(root, 'cgroup'), procPath: join(root, 'proc'), sysPath: join(root, 'sys') }
  const { kernel } = openKernel({ ...settings, cgroupRoot: '/', driver: 'auto' })
  const pathOf = (name: string): string => join(root, 'cgroup', dialect === 'v1' ? 'blkio' : '', GROUP, name)
  return {
    kernel,
    pathOf,
    text: (name: string): string => readFileSync(pathOf(name), 'latin1'),
    throttle: (name: string): string => readFileSync(pathOf(`blkio.throttle.${name}_device`), 'latin1'),
  }
}

describe('under v1', () => {
  it('puts the four files together', () => {
    const { kernel } = bed('v1', {
      'blkio.throttle.read_bps_device': '8:0 1048576\n259:0 7\n',
      'blkio.throttle.write_iops_device': '8:0 120\n',
    })
    const expected = limits(['8:0', { readBps: 1_048_576, writeIops: 120 }], ['259:0', { readBps: 7 }])
    expect(kernel.readKnob(GROUP, 'ioMax')).toEqual(expected)
  })

  it.each(['8:0\n', '8:0 x\n', 'Total 5\n'])('says nothing when one of them holds %j', (text) => {
    expect(bed('v1', { 'blkio.throttle.write_bps_device': text }).kernel.readKnob(GROUP, 'ioMax')).toBeUndefined()
  })

  it('writes each limit into its file, 0 for none, and nothing where the limit is there already', () => {
    const { kernel, throttle } = bed('v1', {
      'blkio.throttle.read_bps_device': '8:0 500\n',
      'blkio.throttle.write_bps_device': '8:0 600\n',
    })
    const setting = { kind: 'ioMax', value: limits(['8:0', { readBps: 500, readIops: 40 }]) } as const
    expect(kernel.writeKnob(GROUP, setting)).toEqual({ is: 'applied' })
    // A regular file keeps what is behind the text; a kernel file does not.
    expect([throttle('read_bps'), throttle('write_bps')]).toEqual(['8:0 500\n', '8:0 000\n'])
    expect([throttle('read_iops'), throttle('write_iops')]).toEqual(['8:0 40', ''])
  })

  it('never writes operations that the kernel would cut down to 0', () => {
    const { kernel, throttle } = bed('v1', { 'blkio.throttle.read_iops_device': '8:0 5\n' })
    expect(
      kernel.writeKnob(GROUP, { kind: 'ioMax', value: limits(['8:0', { readIops: 2 ** 32, writeIops: 2 ** 32 - 1 }]) }).is,
    ).toBe('applied')
    expect([throttle('read_iops').slice(0, 5), throttle('write_iops')]).toEqual(['8:0 0', ''])
  })
})

describe('under v2', () => {
  it('reads io.max, and writes the line of a device that differs, and of no other', () => {
    const { kernel, text } = bed('v2', { 'io.max': '8:0 rbps=5 wbps=max riops=max wiops=max\n' })
    expect(kernel.readKnob(GROUP, 'ioMax')).toEqual(limits(['8:0', { readBps: 5 }]))
    const value = limits(['8:0', { readBps: 5 }], ['259:0', { writeBps: 1_000_000, writeIops: 2 ** 40 }])
    expect(kernel.writeKnob(GROUP, { kind: 'ioMax', value })).toEqual({ is: 'applied' })
    expect(text('io.max')).toBe('259:0 rbps=max wbps=1000000 riops=max wiops=max')
  })

  it('takes limits away by a line of max', () => {
    const { kernel, text } = bed('v2', { 'io.max': '8:0 rbps=5 wbps=max riops=max wiops=max\n' })
    kernel.writeKnob(GROUP, { kind: 'ioMax', value: limits(['8:0', {}]) })
    expect(text('io.max')).toMatch(/^8:0 rbps=max wbps=max riops=max wiops=max/)
  })

  it('writes a weight for the group and leaves those of devices alone', () => {
    const { kernel, text } = bed('v2', { 'io.weight': 'default 100\n8:16 200\n' })
    expect(kernel.readKnob(GROUP, 'ioWeight')).toBe(100)
    kernel.writeKnob(GROUP, { kind: 'ioWeight', value: 20 })
    expect(text('io.weight')).toMatch(/^default 20/)
  })

  it("writes bfq's weight where there is no other", () => {
    const { 'io.weight': _weight, ...bare } = V2_GROUP
    const root = planted({
      cgroup: v2Tree(GROUP, { ...bare, 'io.bfq.weight': 'default 100\n' }),
      proc: PROC,
      sys: sysfsOf(TOPOLOGIES.twoCpuVm),
    })
    const settings = { cgroupPath: join(root, 'cgroup'), procPath: join(root, 'proc'), sysPath: join(root, 'sys') }
    const { kernel } = openKernel({ ...settings, cgroupRoot: '/', driver: 'auto' })
    expect(kernel.readKnob(GROUP, 'ioWeight')).toBe(100)
    expect(kernel.writeKnob(GROUP, { kind: 'ioWeight', value: 777 })).toEqual({ is: 'applied' })
    expect(kernel.readKnob(GROUP, 'ioWeight')).toBe(777)
  })
})

describe.each(['v1', 'v2'] as const)('%s', (dialect) => {
  it.each([0, -1, 1.5, Number.NaN, Infinity])('refuses a limit of %d before anything is written', (amount) => {
    const { kernel } = bed(dialect)
    const value = limits(['8:0', { readBps: 5 }], ['259:0', { writeBps: amount }])
    expect(kernel.writeKnob(GROUP, { kind: 'ioMax', value })).toEqual({ is: 'refused', errno: 'ERANGE' })
    expect(kernel.readKnob(GROUP, 'ioMax')).toEqual(IoLimits.NONE)
  })

  it('answers as vanished for a group that is not there, and has nothing to do for a value without devices', () => {
    const { kernel } = bed(dialect)
    expect(kernel.readKnob('/kubepods/none', 'ioMax')).toBeUndefined()
    expect(kernel.writeKnob('/kubepods/none', { kind: 'ioMax', value: limits(['8:0', { readBps: 5 }]) })).toEqual({
      is: 'vanished',
      errno: 'ENOENT',
    })
    expect(kernel.writeKnob(GROUP, { kind: 'ioMax', value: IoLimits.NONE })).toEqual({ is: 'applied' })
  })
})

describe('a slow write', () => {
  it('writes the same text as a quick one', async () => {
    const { kernel, pathOf } = bed('v2')
    writeFileSync(pathOf('memory.high'), '')
    expect(await kernel.writeKnobSlowly(GROUP, { kind: 'memoryHigh', value: 4096 })).toEqual({ is: 'applied' })
    expect(readFileSync(pathOf('memory.high'), 'latin1')).toBe('4096')
    expect(await kernel.writeKnobSlowly(GROUP, { kind: 'weight', value: 77 })).toEqual({ is: 'applied' })
    expect(readFileSync(pathOf('cpu.weight'), 'latin1')).toMatch(/^77/)
  })

  it('answers for what is not there, and for what can not be written, and never rejects', async () => {
    const { kernel, pathOf } = bed('v2')
    const high = { kind: 'memoryHigh', value: 4096 } as const
    expect(await kernel.writeKnobSlowly('/kubepods/none', high)).toEqual({ is: 'vanished', errno: 'ENOENT' })
    expect(await bed('v1').kernel.writeKnobSlowly(GROUP, high)).toEqual({ is: 'vanished', errno: 'ENOENT' })
    rmSync(pathOf('memory.high'))
    mkdirSync(pathOf('memory.high'))
    expect(await kernel.writeKnobSlowly(GROUP, high)).toEqual({ is: 'failed', errno: 'EISDIR' })
  })
})
