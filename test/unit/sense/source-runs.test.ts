/** How the sensor says that its sources are doing, on a node whose kernel answers, falls silent, or never had what is asked for. */
import { describe, expect, it } from 'vitest'
import { type KernelPort, NO_EVICTIONS, type PodList, type SourceName } from '../../../src/model/index.ts'
import { isFailing } from '../../../src/model/index.ts'
import { Sensor } from '../../../src/sense/index.ts'
import { ModelKernel } from '../../../src/sim/index.ts'
import { LAYOUT, OFFLINE_ROOT, topologyOf } from '../../support/snapshots.ts'

class Bed {
  /** Methods of the kernel port that give no answer at the moment. */
  readonly silent = new Set<string | symbol>()
  readonly sensor: Sensor
  list: PodList = { pods: [], everRead: true, revision: 0, atMs: 5, source: 'test', problems: ['pod x is odd'] }
  clockReads = 0
  nowMs = 1000

  constructor() {
    const model = new ModelKernel({ dialect: 'v1', topology: topologyOf('desktop') })
    for (const group of ['/kubepods', '/kubepods/burstable', OFFLINE_ROOT]) model.makeGroup(group)
    const kernel = new Proxy<KernelPort>(model, {
      get: (target, key) => {
        const value: unknown = Reflect.get(target, key, target)
        if (typeof value !== 'function') return value
        const call = (value as (...args: unknown[]) => unknown).bind(target)
        return (...args: unknown[]) => (this.silent.has(key) ? (key === 'readOnlineText' ? '' : undefined) : call(...args))
      },
    })
    const pods = { list: () => this.list, onChange: () => undefined, close: () => undefined }
    const stopwatch = (): number => (this.clockReads += 1)
    this.sensor = new Sensor({ kernel, pods, layout: LAYOUT, windowMs: 100, stopwatch })
  }

  sense(pace: 'calm' | 'hot' = 'calm'): void {
    this.nowMs += 1000
    this.sensor.sense({ nowMs: this.nowMs, wallMs: 0 }, pace, { inFlightUnits: {}, evictions: NO_EVICTIONS })
  }

  get failing(): readonly string[] {
    return [...this.sensor.runs.runs].filter(isFailing).map(({ name }) => name)
  }

  of(name: SourceName) {
    return this.sensor.runs.of(name)
  }
}

describe('sources', () => {
  it('that answer are well, with the time that each took on a calm tick', () => {
    const bed = new Bed()
    bed.sense()
    expect(bed.failing).toEqual([])
    for (const name of ['node_cpu', 'offline_cpu', 'memory', 'topology', 'pod_groups'] as const)
      expect(bed.of(name), name).toMatchObject({ lastOkMs: bed.nowMs, tookMs: 1 })
  })

  it('cost a hot tick and a guard beat not one look at the clock', () => {
    const bed = new Bed()
    bed.sense()
    bed.clockReads = 0
    bed.sense('hot')
    bed.sensor.guard((bed.nowMs += 25))
    expect(bed.clockReads).toBe(0)
    expect(bed.of('node_cpu').lastOkMs).toBe(bed.nowMs)
  })

  it('that fall silent fail, are counted, say which file, and are well again when they answer', () => {
    const bed = new Bed()
    bed.sense()
    const okMs = bed.nowMs
    bed.silent.add('readNodeMemory').add('readOnlineText').add('readCpuUsageUs')
    bed.sense()
    bed.sense('hot')
    expect(bed.failing).toEqual(expect.arrayContaining(['offline_cpu', 'online_cpu', 'topology', 'memory']))
    expect(bed.of('memory')).toMatchObject({
      lastOkMs: okMs,
      failures: 2,
      lastError: expect.stringContaining('/proc/meminfo') as string,
    })
    // Read on calm ticks only.
    expect(bed.of('topology').failures).toBe(1)
    bed.silent.clear()
    bed.sense()
    expect(bed.failing).toEqual([])
    expect(bed.of('memory')).toMatchObject({ failures: 2, failuresInARow: 0 })
  })

  it('that a kernel never had are not missed; but for those that every kernel has', () => {
    const bed = new Bed()
    for (const method of ['readNodePressureUs', 'readRunnable', 'readCpuUsageUs', 'readNodeMemory', 'readNodeCpuUs'])
      bed.silent.add(method)
    bed.sense()
    expect(bed.failing).toEqual(['node_cpu', 'offline_cpu', 'memory'])
    expect(bed.of('cpu_pressure')).toMatchObject({ lastOkMs: undefined, failures: 0 })
  })

  it('of pods fail when they are lost as a whole, not for odd pods in them, and were well when they last answered', () => {
    const bed = new Bed()
    bed.sense()
    expect(bed.of('pods')).toMatchObject({ lastOkMs: 5, failures: 0 })
    bed.list = { ...bed.list, lost: 'https://api: ECONNREFUSED' }
    bed.sense()
    expect(bed.of('pods')).toMatchObject({ lastOkMs: 5, failuresInARow: 1, lastError: 'https://api: ECONNREFUSED' })
  })

  it('of devices fail for those that are not there, and are off where none is asked for', () => {
    const bed = new Bed()
    bed.sensor.deviceNames = ['nvme9n9']
    bed.sense()
    expect(bed.of('devices')).toMatchObject({ failuresInARow: 1, lastError: 'no block device nvme9n9' })
    bed.sensor.deviceNames = []
    bed.sense()
    expect(bed.failing).toEqual([])
  })
})
