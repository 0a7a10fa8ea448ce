/** The model kernel by itself, under v2: it answers what a real one has been seen to answer. The two are compared in scripts/vm. */
import { describe, expect, it } from 'vitest'
import { buildTopology } from '../../../src/cpu/index.ts'
import {
  type DeviceLimits,
  type GroupPath,
  IoLimits,
  type KnobSetting,
  NO_DEVICE_LIMITS,
  outcomeOfErrno,
} from '../../../src/model/index.ts'
import { ModelKernel } from '../../../src/sim/index.ts'
import { KNOWN_V2, knownOn } from '../../support/known-answers.ts'
import { C, D, E, PLACES } from '../../support/places.ts'
import { knob, MIB, quotaUs } from '../../support/settings.ts'
import { rawTopology } from '../../support/topologies.ts'

const EIGHT_CPUS = buildTopology(rawTopology({ sockets: 2, nodesPerSocket: 1, cachesPerNode: 1, coresPerCache: 2, threads: 2 }))
const groupOf = (place: number): GroupPath => ['', 'run', ...(PLACES[place] ?? [])].join('/')

function tree(): ModelKernel {
  const kernel = new ModelKernel({ dialect: 'v2', topology: EIGHT_CPUS })
  for (const place of PLACES.keys()) kernel.makeGroup(groupOf(place)).populated = place === C
  return kernel
}

describe('the model kernel under v2', () => {
  it('answers every known write as the real one does', () => {
    const kernel = tree()
    const known = [...KNOWN_V2, ...knownOn('8:0')]
    const answers = known.map(([place, setting]) => [place, setting, kernel.writeKnob(groupOf(place), setting).is])
    expect(answers).toEqual(known)
  })

  it('looks at the range of a weight before it looks at idle, and has ERANGE for a state that is none', () => {
    const kernel = tree()
    kernel.writeKnob(groupOf(D), knob('idle', 1))
    expect(kernel.writeKnob(groupOf(D), knob('weight', 10_001))).toEqual(outcomeOfErrno('ERANGE'))
    expect(kernel.writeKnob(groupOf(D), knob('weight', 100))).toEqual(outcomeOfErrno('EINVAL'))
    expect(kernel.writeKnob(groupOf(E), knob('freeze', 2))).toEqual(outcomeOfErrno('ERANGE'))
    expect(kernel.writeKnob(groupOf(E), quotaUs(null, 999))).toEqual(outcomeOfErrno('EINVAL'))
  })

  it('takes a limit beyond all memory for none', () => {
    const kernel = tree()
    kernel.writeKnob(groupOf(E), knob('memoryMax', 2 ** 63))
    expect(kernel.readKnob(groupOf(E), 'memoryMax')).toBeNull()
  })
})

describe('what reclaims', () => {
  const GROUP = groupOf(D)
  function holding(dialect: 'v1' | 'v2', usageBytes: number, inactiveFileBytes: number) {
    const kernel = new ModelKernel({ dialect, topology: EIGHT_CPUS })
    const group = kernel.makeGroup(GROUP)
    Object.assign(group, { usageBytes, inactiveFileBytes })
    return { kernel, group }
  }

  it('takes page cache down to memory.high, and nothing of what is in use', () => {
    const { kernel, group } = holding('v2', 100 * MIB, 30 * MIB)
    expect(kernel.writeKnob(GROUP, knob('memoryHigh', 80 * MIB)).is).toBe('applied')
    expect([group.usageBytes, group.inactiveFileBytes]).toEqual([80 * MIB, 10 * MIB])
    expect(kernel.writeKnob(GROUP, knob('memoryHigh', MIB)).is).toBe('applied')
    expect([group.usageBytes, group.inactiveFileBytes, kernel.oomKills]).toEqual([70 * MIB, 0, []])
  })

  it('does so under a limit too, where v2 kills for the rest and v1 gives up', () => {
    const v1 = holding('v1', 100 * MIB, 30 * MIB)
    expect(v1.kernel.writeKnob(GROUP, knob('memoryMax', 60 * MIB)).is).toBe('busy')
    expect(v1.kernel.writeKnob(GROUP, knob('memoryMax', 70 * MIB)).is).toBe('applied')
    expect([v1.group.usageBytes, v1.group.inactiveFileBytes]).toEqual([70 * MIB, 0])
    const v2 = holding('v2', 100 * MIB, 30 * MIB)
    expect(v2.kernel.writeKnob(GROUP, knob('memoryMax', 60 * MIB)).is).toBe('applied')
    expect(v2.kernel.oomKills).toEqual([GROUP])
  })

  it('ends at once as a slow write too, unless the test holds it; a quick knob is never held', async () => {
    const { kernel } = holding('v2', 0, 0)
    expect(await kernel.writeKnobSlowly(GROUP, knob('memoryHigh', MIB))).toEqual({ is: 'applied' })
    kernel.slow.hold = true
    expect(await kernel.writeKnobSlowly(GROUP, knob('weight', 5))).toEqual({ is: 'applied' })
    expect(kernel.slow.finish()).toBe(false)
  })

  it.each(['v1', 'v2'] as const)(
    '%s: has its value in place when the real kernel does, and answers when the test says so',
    async (dialect) => {
      const { kernel } = holding(dialect, 0, 0)
      kernel.slow.hold = true
      let outcome: string | undefined
      const [first, second] = [2 * MIB, 3 * MIB].map((bytes) => kernel.writeKnobSlowly(GROUP, knob('memoryMax', bytes)))
      void first?.then(({ is }) => (outcome = is))
      await Promise.resolve()
      expect([outcome, kernel.slow.waiting.length]).toEqual([undefined, 2])
      expect(kernel.readKnob(GROUP, 'memoryMax')).toBe(dialect === 'v2' ? 3 * MIB : null)
      expect(kernel.slow.finish()).toBe(true)
      expect(await first).toEqual({ is: 'applied' })
      expect(kernel.readKnob(GROUP, 'memoryMax')).toBe(dialect === 'v2' ? 3 * MIB : 2 * MIB)
      kernel.removeGroup(GROUP)
      expect(kernel.slow.finish()).toBe(true)
      expect((await second)?.is).toBe(dialect === 'v2' ? 'applied' : 'vanished')
      expect(kernel.slow.finish()).toBe(false)
    },
  )
})

describe('limits of IO', () => {
  const ioMax = (...devices: readonly (readonly [string, Partial<DeviceLimits>])[]): KnobSetting => ({
    kind: 'ioMax',
    value: IoLimits.of(devices.map(([device, some]) => [device, { ...NO_DEVICE_LIMITS, ...some }])),
  })

  it.each(['v1', 'v2'] as const)('%s: are kept by device, and a device that is not there refuses only its own', (dialect) => {
    const kernel = new ModelKernel({ dialect, topology: EIGHT_CPUS })
    const group = kernel.makeGroup(groupOf(D)).path
    kernel.devices.set('nvme0n1', '259:0')
    expect(
      kernel.writeKnob(group, ioMax(['8:0', { readBps: 500 }], ['8:99', { readBps: 5 }], ['259:0', { writeIops: 9 }])),
    ).toEqual(outcomeOfErrno('ENODEV'))
    expect(kernel.readKnob(group, 'ioMax')).toEqual(ioMax(['8:0', { readBps: 500 }], ['259:0', { writeIops: 9 }]).value)
    expect(kernel.writeKnob(group, ioMax(['8:0', {}], ['8:99', {}]))).toEqual({ is: 'applied' })
    expect(kernel.readKnob(group, 'ioMax')).toEqual(ioMax(['259:0', { writeIops: 9 }]).value)
    expect(kernel.writeKnob(group, ioMax(['259:0', { readBps: 0 }]))).toEqual(outcomeOfErrno('ERANGE'))
    expect(kernel.writeKnob(group, ioMax(['259:0', { readBps: 1 }])).is).toBe(dialect === 'v1' ? 'applied' : 'refused')
  })
})
