/** Kernel: under v1 the limits of a device are four files. An agent that is killed between two of them leaves parts of two values. */
import { describe, expect, it } from 'vitest'
import { type DeviceLimits, IoLimits, isSuccess, NO_DEVICE_LIMITS } from '../../../src/model/index.ts'
import { ModelKernel } from '../../../src/sim/index.ts'
import { JournaledNode, withDirectory } from '../../support/journaled-node.ts'
import { topologyOf } from '../../support/snapshots.ts'

const GROUP = '/kubepods/besteffort'
const DISK = '8:0'
const OTHER = '8:16'

const limits = (some: Partial<DeviceLimits>, device = DISK): IoLimits => IoLimits.of([[device, { ...NO_DEVICE_LIMITS, ...some }]])
const both = (amount: number): IoLimits => limits({ readBps: amount, writeBps: amount })

interface Bed {
  readonly kernel: ModelKernel
  /** An agent that writes two limits. */
  readonly written: (wanted: number) => void
  /** One that is killed when it has written the first of them. */
  readonly killedIn: (wanted: number) => void
  readonly start: () => JournaledNode
}

function bed(original: IoLimits, body: (bed: Bed) => void): void {
  withDirectory((directory) => {
    const kernel = new ModelKernel({ dialect: 'v1', topology: topologyOf('desktop') })
    for (const disk of [DISK, OTHER]) kernel.devices.set(disk, disk)
    for (const group of ['/kubepods', GROUP]) kernel.makeGroup(group)
    const write = (value: IoLimits): void => expect(isSuccess(kernel.writeKnob(GROUP, { kind: 'ioMax', value }))).toBe(true)
    const reads = (): IoLimits => kernel.readKnob(GROUP, 'ioMax') as IoLimits
    write(original)
    const start = (): JournaledNode => new JournaledNode(kernel, { directory })
    const begun = (wanted: number, holds: IoLimits): JournaledNode => {
      const node = start()
      node.journal.saveOriginals(node.journal.has(GROUP, 'ioMax') ? [] : [{ group: GROUP, kind: 'ioMax', value: holds }])
      node.journal.willWrite(GROUP, 'ioMax', { value: both(wanted), holds })
      return node
    }
    const written = (wanted: number): void => {
      const node = begun(wanted, reads())
      write(both(wanted))
      node.end()
    }
    const killedIn = (wanted: number): void => {
      const holds = reads()
      const node = begun(wanted, holds)
      write(IoLimits.of([[DISK, { ...holds.of(DISK), readBps: wanted }]]))
      node.end()
    }
    body({ kernel, written, killedIn, start })
  })
}

describe.each([
  ['none', IoLimits.NONE],
  ['some of its own', limits({ writeBps: 7, readIops: 9 })],
])('half-written limits of a group that had %s', (_name, original) => {
  it.each([1, 2, 3, 6])('are known for our own after %i kills, each in the middle of a write', (kills) => {
    bed(original, ({ killedIn, start, kernel }) => {
      for (let kill = 1; kill <= kills; kill += 1) killedIn(kill * 1000)
      const report = start().release()
      expect(report).toMatchObject({ foreign: [], failed: [] })
      expect((kernel.readKnob(GROUP, 'ioMax') as IoLimits).equals(original)).toBe(true)
    })
  })

  it.each([1, 2, 3, 6])('are known after %i such kills, however old the part that was never reached', (kills) => {
    bed(original, ({ written, killedIn, start, kernel }) => {
      written(500)
      for (let kill = 1; kill <= kills; kill += 1) killedIn(kill * 1000)
      expect((kernel.readKnob(GROUP, 'ioMax') as IoLimits).of(DISK)).toMatchObject({ readBps: kills * 1000, writeBps: 500 })
      expect(start().release()).toMatchObject({ foreign: [], failed: [] })
      expect((kernel.readKnob(GROUP, 'ioMax') as IoLimits).equals(original)).toBe(true)
    })
  })

  it('are somebody else’s when one of them is none of ours', () => {
    bed(original, ({ killedIn, start, kernel }) => {
      killedIn(1000)
      killedIn(2000)
      const theirs = limits({ readBps: 2000, writeBps: 1234 })
      kernel.writeKnob(GROUP, { kind: 'ioMax', value: theirs })
      const report = start().release()
      expect(report.foreign).toMatchObject([{ group: GROUP, kind: 'ioMax' }])
      expect((kernel.readKnob(GROUP, 'ioMax') as IoLimits).of(DISK)).toEqual(theirs.of(DISK))
    })
  })

  it('of another device are left alone', () => {
    bed(original, ({ killedIn, start, kernel }) => {
      killedIn(1000)
      const theirs = limits({ readBps: 55 }, OTHER)
      kernel.writeKnob(GROUP, { kind: 'ioMax', value: theirs })
      start().release()
      const now = kernel.readKnob(GROUP, 'ioMax') as IoLimits
      expect(now.of(OTHER)).toEqual(theirs.of(OTHER))
      expect(now.of(DISK)).toEqual(original.of(DISK))
    })
  })
})
