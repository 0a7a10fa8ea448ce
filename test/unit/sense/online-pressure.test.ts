/**
 * Stalls of online groups, the run queue, memory on the guard beat, devices and the agent's own groups: what the sensor makes of them over a
 * model kernel whose counters the test moves.
 */
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { GroupPath, NodeSnapshot, PodSource, PodSpec, PressureResource } from '../../../src/model/index.ts'
import { NO_EVICTIONS, podGroup } from '../../../src/model/index.ts'
import { type GuardReading, Sensor } from '../../../src/sense/index.ts'
import { ModelKernel } from '../../../src/sim/index.ts'
import { LAYOUT, OFFLINE_ROOT, specOf, topologyOf } from '../../support/snapshots.ts'

const ONLINE_ROOT = '/kubepods/burstable'
const WINDOW_MS = 200

class Bed {
  readonly model: ModelKernel
  readonly sensor: Sensor
  /** Groups whose stalls were read, since the last beat or tick began. */
  reads: GroupPath[] = []
  nowMs = 1000
  /** Share of the time that each group stalls, from here on. */
  readonly stalls = new Map<GroupPath, number>()
  #pods: readonly PodSpec[] = []
  #revision = 0

  constructor(dialect: 'v1' | 'v2' = 'v2') {
    this.model = new ModelKernel({ dialect, topology: topologyOf('desktop') })
    for (const group of ['/kubepods', ONLINE_ROOT, OFFLINE_ROOT]) this.model.makeGroup(group)
    if (dialect === 'v2') this.model.groupPressureUs = new Map([[ONLINE_ROOT, { cpu: 0, memory: 0, io: 0 }]])
    const read = (group: GroupPath, resource: PressureResource): number | undefined => {
      if (resource === 'cpu') this.reads.push(group)
      return this.model.readGroupPressureUs(group, resource)
    }
    const kernel = new Proxy(this.model, {
      get: (target, key) => {
        if (key === 'readGroupPressureUs') return read
        const value: unknown = Reflect.get(target, key, target)
        return typeof value === 'function' ? (value as (...args: unknown[]) => unknown).bind(target) : value
      },
    })
    const pods: PodSource = { list: () => this.#list(), onChange: () => undefined, close: () => undefined }
    this.sensor = new Sensor({ kernel, pods, layout: LAYOUT, windowMs: 100, pressureMs: WINDOW_MS })
  }

  #list(): ReturnType<PodSource['list']> {
    return { pods: this.#pods, everRead: true, revision: this.#revision, atMs: 0, source: 'test', problems: [] }
  }

  /** Puts pods in place of those that were there, with their groups. */
  setPods(...pods: readonly PodSpec[]): GroupPath[] {
    const groups = pods.map((pod) => podGroup(LAYOUT, pod.kubeletQos, pod.uid))
    for (const old of this.#pods) {
      const group = podGroup(LAYOUT, old.kubeletQos, old.uid)
      if (groups.includes(group)) continue
      this.model.removeGroup(group)
      this.model.groupPressureUs?.delete(group)
    }
    for (const group of groups) {
      if (!this.model.exists(group)) this.model.makeGroup(group)
      if (this.model.groupPressureUs?.has(group) === false) this.model.groupPressureUs.set(group, { cpu: 0, memory: 0, io: 0 })
    }
    this.#pods = pods
    this.#revision += 1
    return groups
  }

  /** Time goes by, and groups stall as `stalls` says, for CPU and half as much for IO. */
  pass(ms: number): void {
    this.nowMs += ms
    for (const [group, share] of this.stalls) {
      const totals = this.model.groupPressureUs?.get(group)
      if (totals === undefined) continue
      totals.cpu += ms * 1000 * share
      totals.io += ms * 500 * share
    }
    this.reads = []
  }

  beat(ms = 25): GuardReading {
    this.pass(ms)
    return { ...this.sensor.guard(this.nowMs) }
  }

  tick(pace: 'calm' | 'hot' = 'calm', ms = 25): NodeSnapshot {
    this.pass(ms)
    return this.sensor.sense({ nowMs: this.nowMs, wallMs: 0 }, pace, { inFlightUnits: {}, evictions: NO_EVICTIONS })
  }
}

const guaranteed = (uid: string): PodSpec => specOf({ uid, qos: 'Guaranteed', requestsMilli: 1000 })

describe('stalls of online work', () => {
  it('are those of the Burstable root, averaged over the window: what is shorter counts for its part', () => {
    const bed = new Bed()
    bed.tick()
    for (let beat = 0; beat < 20; beat += 1) bed.beat()
    bed.stalls.set(ONLINE_ROOT, 0.5)
    expect(bed.beat().onlinePressurePermyriad).toBeCloseTo((5000 * 25) / WINDOW_MS)
    for (let beat = 0; beat < 8; beat += 1) bed.beat()
    expect(bed.beat().onlinePressurePermyriad).toBeCloseTo(5000)
    const snapshot = bed.tick('hot')
    expect(snapshot.online.cpuPressure?.value.someUsPerSecond).toBeCloseTo(500_000)
    expect(snapshot.online.cpuPressure).toMatchObject({ atMs: bed.nowMs, source: `cpu.pressure of ${ONLINE_ROOT}` })
    bed.stalls.clear()
    for (let beat = 0; beat < 9; beat += 1) bed.beat()
    expect(bed.beat().onlinePressurePermyriad).toBe(0)
  })

  it('are the worst of it and the groups of Guaranteed pods, and of no offline or Burstable pod', () => {
    const bed = new Bed()
    const [db, web, flink] = bed.setPods(guaranteed('db'), specOf({ uid: 'web', qos: 'Burstable' }), specOf({ uid: 'flink' }))
    bed.stalls
      .set(db ?? '', 0.3)
      .set(web ?? '', 0.9)
      .set(flink ?? '', 1)
      .set(ONLINE_ROOT, 0.1)
    bed.tick()
    for (let beat = 0; beat < 10; beat += 1) bed.beat()
    expect(bed.beat().onlinePressurePermyriad).toBeCloseTo(3000)
    const { online } = bed.tick()
    expect(online.cpuPressure?.source).toBe(`cpu.pressure of ${db}`)
    expect(online.cpuPressure?.value.someUsPerSecond).toBeCloseTo(300_000)
    expect(online.ioPressure?.value.someUsPerSecond).toBeCloseTo(150_000)
    expect(new Set(bed.reads)).toEqual(new Set([ONLINE_ROOT, db]))
  })

  it('are read of eight files on a beat at most, of 33 on a hot tick, and of a stalled pod among many within a round', () => {
    const bed = new Bed()
    const groups = bed.setPods(...Array.from({ length: 100 }, (_, index) => guaranteed(`p${String(index).padStart(3, '0')}`)))
    for (let tick = 0; tick < 5; tick += 1) bed.tick('calm', 100)
    expect(new Set(bed.reads).size).toBe(101)
    bed.tick('hot')
    expect(new Set(bed.reads).size).toBe(33)
    bed.stalls.set(groups[70] ?? '', 1)
    let most = 0
    for (let beat = 0; beat < 15; beat += 1) {
      most = Math.max(most, bed.beat().onlinePressurePermyriad ?? 0)
      expect(bed.reads.length).toBe(8)
    }
    expect(most).toBeGreaterThan(5000)
    // Four hot ticks are a round, whatever order the pods have their turns in.
    const seen = Array.from({ length: 8 }, () => bed.tick('hot', 50).online.cpuPressure)
    expect(seen.map((reading) => reading?.source)).toEqual(Array.from({ length: 8 }, () => `cpu.pressure of ${groups[70]}`))
    expect(seen.at(-1)?.value.someUsPerSecond).toBeCloseTo(1_000_000)
    expect(bed.nowMs - (seen.at(-1)?.atMs ?? 0)).toBeLessThanOrEqual(200)
    bed.stalls.clear()
    for (let tick = 0; tick < 8; tick += 1) bed.tick('hot', 50)
    expect(bed.tick('hot', 50).online.cpuPressure?.value.someUsPerSecond).toBe(0)
  })

  it('are those of every Guaranteed pod that there is, and of none that has gone', () => {
    const bed = new Bed()
    const watched = (): string[] => {
      bed.tick()
      return [...new Set(bed.reads)].filter((group) => group !== ONLINE_ROOT).sort()
    }
    const all = Array.from({ length: 60 }, (_, index) => guaranteed(`p${String(index).padStart(2, '0')}`))
    const groups = bed.setPods(...all)
    expect(watched()).toEqual(groups)
    const after = bed.setPods(guaranteed('a-newcomer'), ...all.filter(({ uid }) => uid !== 'p05').toReversed())
    expect(watched()).toEqual(after.toSorted())
    bed.setPods()
    expect(watched()).toEqual([])
  })

  it('of a pod that has just come are none until they span the window: what it waited in its first 25 ms is no pressure', () => {
    const bed = new Bed()
    bed.tick()
    for (let beat = 0; beat < 10; beat += 1) bed.beat()
    const [db = ''] = bed.setPods(guaranteed('db'))
    bed.tick()
    bed.stalls.set(db, 1)
    expect(bed.beat().onlinePressurePermyriad).toBe(0)
    bed.stalls.clear()
    const seen = Array.from({ length: 8 }, () => bed.beat().onlinePressurePermyriad ?? NaN)
    // Once there is a window, the 25 ms count for their part of it.
    expect(Math.max(...seen)).toBeCloseTo((10_000 * 25) / WINDOW_MS)
  })

  it('are no more than all of the time when the agent was put off between the clock and the file', () => {
    const bed = new Bed()
    bed.stalls.set(ONLINE_ROOT, 1.2)
    for (let tick = 0; tick < 60; tick += 1) {
      bed.model.pressureUs.cpu += 25_000 * 1.2
      bed.tick()
    }
    const { online, node } = bed.tick()
    expect(online.cpuPressure?.value.someUsPerSecond).toBe(1_000_000)
    expect(node.cpuPressure?.value.someUsPerSecond).toBe(1_000_000)
    expect(bed.beat().onlinePressurePermyriad).toBe(10_000)
  })

  it('have no reading of a group made anew that goes below that of the one before', () => {
    const bed = new Bed()
    bed.stalls.set(ONLINE_ROOT, 1)
    for (let tick = 0; tick < 12; tick += 1) bed.tick()
    bed.model.groupPressureUs?.set(ONLINE_ROOT, { cpu: 0, memory: 0, io: 0 })
    bed.stalls.clear()
    expect(bed.beat().onlinePressurePermyriad).toBeUndefined()
    const seen = Array.from({ length: 8 }, () => bed.beat().onlinePressurePermyriad)
    expect(seen.at(-1)).toBe(0)
    expect(seen.slice(0, -1)).toEqual(Array.from({ length: 7 }, () => undefined))
  })

  it('grow old when no group answers, and never become zero', () => {
    const bed = new Bed()
    bed.stalls.set(ONLINE_ROOT, 0.4)
    for (let tick = 0; tick < 12; tick += 1) bed.tick()
    const { online } = bed.tick()
    const kept = bed.model.groupPressureUs
    bed.model.groupPressureUs = undefined
    const later = bed.tick('calm', 5000)
    expect(later.online.cpuPressure).toEqual(online.cpuPressure)
    expect(later.online.ioPressure).toEqual(online.ioPressure)
    expect(bed.beat().onlinePressurePermyriad).toBeUndefined()
    expect(later.node.runQueue).toBeUndefined()
    bed.model.groupPressureUs = kept
    expect(bed.tick().online.cpuPressure?.atMs).toBe(bed.nowMs)
  })

  it('take another window from now on when it is changed', () => {
    const bed = new Bed()
    bed.tick()
    for (let beat = 0; beat < 10; beat += 1) bed.beat()
    bed.sensor.pressureMs = 1000
    expect(bed.sensor.pressureMs).toBe(1000)
    expect(bed.beat().onlinePressurePermyriad).toBeUndefined()
    bed.stalls.set(ONLINE_ROOT, 1)
    for (let beat = 0; beat < 39; beat += 1) bed.beat()
    bed.stalls.clear()
    for (let beat = 0; beat < 20; beat += 1) bed.beat()
    expect(bed.beat().onlinePressurePermyriad).toBeCloseTo(4750, -2)
  })

  it('are a share of the time whatever the beats and their delays are', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.integer({ min: 1, max: 500 }), fc.double({ min: 0, max: 1, noNaN: true })), { minLength: 2 }),
        (beats) => {
          const bed = new Bed()
          bed.tick()
          for (const [ms, share] of beats) {
            bed.stalls.set(ONLINE_ROOT, share)
            const permyriad = bed.beat(ms).onlinePressurePermyriad
            if (permyriad === undefined) continue
            expect(permyriad).toBeGreaterThanOrEqual(0)
            expect(permyriad).toBeLessThanOrEqual(10_000.001)
          }
        },
      ),
      { numRuns: 100 },
    )
  })
})

describe('where groups count no stalls', () => {
  it('an instant count is no run queue: there is none before a window of them', () => {
    const bed = new Bed('v1')
    bed.model.runnable = 50
    bed.tick()
    bed.beat()
    expect(bed.tick('hot').node.runQueue).toBeUndefined()
    for (let beat = 0; beat < 8; beat += 1) bed.beat()
    expect(bed.tick('hot').node.runQueue?.value.runnable).toBeCloseTo(50)
  })

  it('the run queue is a mean over the window: a burst of one beat does not pass for a queue', () => {
    const bed = new Bed('v1')
    bed.model.runnable = 2
    bed.tick()
    for (let beat = 0; beat < 20; beat += 1) bed.beat()
    bed.model.runnable = 50
    bed.beat()
    bed.model.runnable = 2
    const { node, online } = bed.tick('hot')
    expect(node.runQueue?.value.runnable).toBeCloseTo(2 + (48 * 25) / WINDOW_MS)
    expect(node.runQueue).toMatchObject({ atMs: bed.nowMs, source: '/proc/loadavg' })
    expect([online.cpuPressure, online.ioPressure]).toEqual([undefined, undefined])
    for (let beat = 0; beat < 10; beat += 1) bed.beat()
    expect(bed.tick('hot').node.runQueue?.value.runnable).toBeCloseTo(2)
  })

  it('no file of stalls is asked for on a beat, and one of them on a calm tick', () => {
    const bed = new Bed('v1')
    bed.setPods(guaranteed('db'))
    bed.tick()
    expect(bed.reads).toContain(ONLINE_ROOT)
    bed.beat()
    bed.tick('hot', 0)
    expect(bed.reads).toEqual([])
  })

  it('it grows old when it can not be read, and is not read where groups count stalls', () => {
    const bed = new Bed('v1')
    bed.tick()
    const { node } = bed.tick()
    bed.model.runnable = undefined
    expect(bed.tick('calm', 5000).node.runQueue).toEqual(node.runQueue)
    const v2 = new Bed()
    v2.tick()
    expect(v2.tick().node.runQueue).toBeUndefined()
  })
})

describe('memory', () => {
  it('is read on every tick, and on a guard beat when the last reading is 100 ms old', () => {
    const bed = new Bed()
    bed.model.memory = { totalBytes: 1000, availableBytes: 500 }
    bed.tick()
    bed.model.memory = { totalBytes: 1000, availableBytes: 100 }
    const seen = Array.from({ length: 4 }, () => bed.beat().availablePermyriad)
    expect(seen).toEqual([5000, 5000, 5000, 1000])
    bed.model.memory = { totalBytes: 1000, availableBytes: 50 }
    expect(bed.tick('hot').node.memory).toEqual({
      value: { totalBytes: 1000, availableBytes: 50 },
      atMs: bed.nowMs,
      source: '/proc/meminfo',
    })
  })

  it('has stalls read on every tick, averaged over a second at least, from the start', () => {
    const bed = new Bed()
    bed.tick('hot')
    bed.model.pressureUs.memory += 25_000
    expect(bed.tick('hot').node.memoryPressure).toBeUndefined()
    for (let tick = 0; tick < 60; tick += 1) bed.tick('hot', 50)
    bed.model.pressureUs.memory += 100_000
    const { node } = bed.tick('hot', 50)
    expect(node.memoryPressure?.value.someUsPerSecond).toBeCloseTo(100_000)
    expect(node.memoryPressure?.atMs).toBe(bed.nowMs)
  })
})

describe('what is looked up', () => {
  it('is devices by their configured names, once a second on calm ticks, and the same object until something changes', () => {
    const bed = new Bed()
    bed.sensor.deviceNames = ['sda', 'nvme0n1', '8:0']
    bed.model.devices.set('8:0', '8:0')
    const { devices } = bed.tick()
    expect([...devices]).toEqual([
      ['sda', '8:0'],
      ['8:0', '8:0'],
    ])
    bed.model.devices.set('nvme0n1', '259:0')
    expect(bed.tick('calm', 999).devices).toBe(devices)
    expect(bed.tick('hot', 5000).devices).toBe(devices)
    expect(bed.tick().devices.get('nvme0n1')).toBe('259:0')
    const now = bed.tick().devices
    expect(bed.tick('calm', 5000).devices).toBe(now)
    bed.sensor.deviceNames = []
    expect(bed.tick().devices.size).toBe(0)
  })

  it("is the agent's own groups, at the start and again after a minute", () => {
    const bed = new Bed()
    bed.model.ownGroups = ['/kubepods', '/kubepods/podagent']
    expect(bed.tick().ownGroups).toEqual([])
    expect(bed.tick('calm', 59_000).ownGroups).toEqual([])
    expect(bed.tick('calm', 1000).ownGroups).toEqual(['/kubepods', '/kubepods/podagent'])
  })

  it('goes with the evictions that were handed in', () => {
    const bed = new Bed()
    const evictions = { ...NO_EVICTIONS, impossible: 'because' }
    const snapshot = bed.sensor.sense({ nowMs: 1, wallMs: 0 }, 'calm', { inFlightUnits: { 'be-cpu': 3 }, evictions })
    expect(snapshot.evictions).toBe(evictions)
    expect(snapshot.inFlightUnits).toEqual({ 'be-cpu': 3 })
  })
})
