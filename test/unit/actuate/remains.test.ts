/** A write of device limits that fails half-way: what it left goes back on a release, and the limits of other devices stay their owner's. */
import { describe, expect, it } from 'vitest'
import { merge } from '../../../src/decide/merge.ts'
import { type DeviceLimits, IoLimits, type KernelPort, type KnobSetting, NO_DEVICE_LIMITS } from '../../../src/model/index.ts'
import { ModelKernel } from '../../../src/sim/index.ts'
import { JournaledNode, withDirectory } from '../../support/journaled-node.ts'
import { topologyOf } from '../../support/snapshots.ts'
import { wish } from '../plan/bed.ts'

const GROUP = '/kubepods/besteffort'
const [DISK, SECOND, THEIRS] = ['8:0', '8:16', '8:32']

const limit = (device: string, readBps: number): readonly [string, DeviceLimits] => [device, { ...NO_DEVICE_LIMITS, readBps }]
const ioMax = (...devices: (readonly [string, DeviceLimits])[]): KnobSetting => ({ kind: 'ioMax', value: IoLimits.of(devices) })

interface Bed {
  readonly kernel: ModelKernel
  readonly node: JournaledNode
  /** Writes the limit of both disks; answers what became of it. */
  readonly write: (readBps: number) => string | undefined
  readonly reads: () => string
}

/** A node whose next write is `broken` once, ending in EIO, and after which somebody else has limited a device of his own. */
function bed(dialect: 'v1' | 'v2', broken: (kernel: ModelKernel) => void, body: (bed: Bed) => void): void {
  withDirectory((directory) => {
    const kernel = new ModelKernel({ dialect, topology: topologyOf('desktop') })
    for (const disk of [DISK, SECOND, THEIRS]) kernel.devices.set(disk, disk)
    for (const group of ['/kubepods', GROUP]) kernel.makeGroup(group)
    let breaks = false
    const port: KernelPort = new Proxy(kernel, {
      get: (target, key) => {
        if (key === 'writeKnob' && breaks) {
          breaks = false
          return () => {
            broken(kernel)
            return { is: 'failed', errno: 'EIO' }
          }
        }
        const value: unknown = Reflect.get(target, key, target)
        return typeof value === 'function' ? (value as (...args: unknown[]) => unknown).bind(target) : value
      },
    })
    const node = new JournaledNode(kernel, { directory, port })
    const write = (readBps: number): string | undefined =>
      node.reach(merge([wish(GROUP, ioMax(limit(DISK, readBps), limit(SECOND, readBps)))]))[0]?.outcome.is
    expect(write(1000)).toBe('applied')
    kernel.writeKnob(GROUP, ioMax(limit(THEIRS, 55)))
    breaks = true
    expect(write(2000)).toBe('failed')
    const reads = (): string => (kernel.readKnob(GROUP, 'ioMax') as IoLimits).toString()
    body({ kernel, node, write, reads })
  })
}

const theirs = IoLimits.of([limit(THEIRS, 55)]).toString()

describe.each(['v1', 'v2'] as const)('limits of devices of which a write failed half-way, under %s,', (dialect) => {
  const half = (kernel: ModelKernel): void => void kernel.writeKnob(GROUP, ioMax(limit(DISK, 12)))

  it('go back on a release, and those of a device that the agent never wrote stay', () => {
    bed(dialect, half, ({ node, reads }) => {
      expect(node.release().failed).toEqual([])
      expect(reads()).toBe(theirs)
    })
  })

  it('are written again, and those of a device that the agent never wrote stay', () => {
    bed(dialect, half, ({ node, write, reads }) => {
      expect(write(2000)).toBe('applied')
      expect(reads()).toBe(IoLimits.of([limit(DISK, 2000), limit(SECOND, 2000), limit(THEIRS, 55)]).toString())
      node.release()
      expect(reads()).toBe(theirs)
    })
  })
})
