/**
 * What online pods wait for themselves, over a model kernel whose counters the test moves: their own CPU limits, and CPUs that offline work may not
 * use. Also what finding out costs.
 */
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { GroupPath, KubeletQos, NodeSnapshot, OnlineReadings, PodSpec } from '../../../src/model/index.ts'
import { NO_EVICTIONS, podGroup } from '../../../src/model/index.ts'
import { Sensor } from '../../../src/sense/index.ts'
import { ModelKernel } from '../../../src/sim/index.ts'
import { LAYOUT, OFFLINE_ROOT, specOf, topologyOf } from '../../support/snapshots.ts'

const ROOT = '/kubepods/burstable'
const WINDOW_MS = 200
const PERIOD_MS = 100

/** How a group goes on from here: shares of the time. */
interface Course {
  readonly stalls?: number
  /** By its own quota; booked as every period ends, as the kernel does. */
  readonly throttled?: number
  /** In one period of so many. @default 1 */
  readonly of?: number
  /** Over how many CPUs that is summed. */
  readonly cpus?: number
}

class Bed {
  readonly model = new ModelKernel({ dialect: 'v2', topology: topologyOf('desktop') })
  readonly sensor: Sensor
  readonly courses = new Map<GroupPath, Course>()
  /** Groups whose throttling was read since the last tick or beat began. */
  reads: GroupPath[] = []
  nowMs = 1000
  readonly #owed = new Map<GroupPath, number>()

  constructor(...pods: readonly PodSpec[]) {
    const { model } = this
    for (const group of ['/kubepods', ROOT, OFFLINE_ROOT]) model.makeGroup(group)
    model.groupPressureUs = new Map([[ROOT, { cpu: 0, memory: 0, io: 0 }]])
    for (const pod of pods) {
      const group = podGroup(LAYOUT, pod.kubeletQos, pod.uid)
      for (const path of [group, `${group}/main`]) {
        model.makeGroup(path)
        model.groupPressureUs.set(path, { cpu: 0, memory: 0, io: 0 })
      }
    }
    const readThrottledUs = (group: GroupPath): number | undefined => {
      this.reads.push(group)
      return model.readThrottledUs(group)
    }
    const kernel = new Proxy(model, {
      get: (target, key) => {
        if (key === 'readThrottledUs') return readThrottledUs
        const value: unknown = Reflect.get(target, key, target)
        return typeof value === 'function' ? (value as (...args: unknown[]) => unknown).bind(target) : value
      },
    })
    const list = { pods, everRead: true, revision: 0, atMs: 0, source: 'test', problems: [] }
    this.sensor = new Sensor({
      kernel,
      pods: { list: () => list, onChange: () => undefined, close: () => undefined },
      layout: LAYOUT,
      windowMs: 100,
      pressureMs: WINDOW_MS,
    })
  }

  pass(ms: number): void {
    for (let step = 0; step < ms; step += 1) {
      this.nowMs += 1
      for (const [group, { stalls = 0, throttled = 0, of = 1, cpus = 1 }] of this.courses) {
        const totals = this.model.groupPressureUs?.get(group)
        if (totals !== undefined) totals.cpu += 1000 * stalls
        const found = this.model.groups.get(group)
        if (found === undefined || throttled === 0) continue
        const isHeld = Math.ceil(this.nowMs / PERIOD_MS) % of === 0
        this.#owed.set(group, (this.#owed.get(group) ?? 0) + (isHeld ? 1000 * throttled * cpus : 0))
        if (this.nowMs % PERIOD_MS !== 0) continue
        found.periods += 1
        if (!isHeld) continue
        found.throttledPeriods += 1
        found.throttledUs += this.#owed.get(group) ?? 0
        this.#owed.set(group, 0)
      }
    }
    this.reads = []
  }

  beat(ms = 25): number | undefined {
    this.pass(ms)
    return this.sensor.guard(this.nowMs).onlinePressurePermyriad
  }

  tick(pace: 'calm' | 'hot' = 'hot', ms = 50): NodeSnapshot {
    this.pass(ms)
    return this.sensor.sense({ nowMs: this.nowMs, wallMs: 0 }, pace, { inFlightUnits: {}, evictions: NO_EVICTIONS })
  }

  /** Ticks as the loop makes them, for so long; what stalls for CPU come to then, in permyriad. */
  live(ms: number): { readonly permyriad: number; readonly source: string | undefined } {
    let online: OnlineReadings = {}
    for (let passed = 0; passed < ms; passed += 50) ({ online } = this.tick(passed % 1000 === 0 ? 'calm' : 'hot'))
    const { cpuPressure } = online
    return { permyriad: Math.round((cpuPressure?.value.someUsPerSecond ?? Number.NaN) / 100), source: cpuPressure?.source }
  }
}

const pod = (uid: string, qos: KubeletQos = 'Guaranteed'): PodSpec => specOf({ uid, qos, requestsMilli: 1000 })
const groupOf = (uid: string, qos: KubeletQos = 'Guaranteed'): GroupPath => podGroup(LAYOUT, qos, uid)

describe('a pod that its own limit holds back', () => {
  it.each(['', '/main'])('does not count for as long as that has held it: the quota of the group%s', (below) => {
    const bed = new Bed(pod('db'))
    bed.courses.set(groupOf('db'), { stalls: 0.6 })
    bed.courses.set(`${groupOf('db')}${below}`, { ...(below === '' ? { stalls: 0.6 } : {}), throttled: 0.6 })
    const { permyriad } = bed.live(3000)
    expect(permyriad).toBeLessThan(500)
    expect(bed.beat()).toBeLessThan(500)
  })

  it('counts for what it waits beyond that, and says so', () => {
    const bed = new Bed(pod('db'))
    bed.courses.set(groupOf('db'), { stalls: 0.7, throttled: 0.2 })
    const { permyriad, source } = bed.live(3000)
    expect(permyriad).toBeGreaterThan(4000)
    expect(permyriad).toBeLessThanOrEqual(5000)
    expect(source).toBe(`cpu.pressure of ${groupOf('db')}, less what its pods wait for themselves`)
  })

  it('counts in full within a second of its limit letting go', () => {
    const bed = new Bed(pod('db'))
    bed.courses.set(groupOf('db'), { stalls: 0.6, throttled: 0.6 })
    bed.live(3000)
    bed.courses.set(groupOf('db'), { stalls: 0.6 })
    // The newest counters stand still: no period passes without a quota.
    expect(bed.live(1200).permyriad).toBe(6000)
  })

  it('is held back in no more than the periods that it was, over however many CPUs the time is summed', () => {
    const bed = new Bed(pod('db'))
    // 800 ms of 16 CPUs in every second, all in one period of ten.
    bed.courses.set(groupOf('db'), { stalls: 0.7, throttled: 0.5, of: 10, cpus: 16 })
    bed.live(3000)
    const seen = Array.from({ length: 40 }, () => bed.live(50).permyriad)
    // In the window that has that period in it, it may be all of the waiting.
    expect(seen.filter((permyriad) => permyriad >= 5900).length).toBeGreaterThan(24)
  })

  it('is remembered for a minute: when it waits again there is no first second in which it counts', () => {
    const bed = new Bed(pod('db'))
    const held: Course = { stalls: 0.6, throttled: 0.6 }
    bed.courses.set(groupOf('db'), held)
    bed.live(3000)
    bed.courses.clear()
    bed.live(20_000)
    bed.courses.set(groupOf('db'), held)
    const seen = Array.from({ length: 20 }, () => bed.live(50).permyriad)
    expect(Math.max(...seen.slice(6))).toBeLessThan(2000)
  })
})

describe('Burstable pods', () => {
  it('are taken off the root as if each were held back independently of the others', () => {
    const bed = new Bed(pod('a', 'Burstable'), pod('b', 'Burstable'), pod('c', 'Burstable'))
    bed.courses.set(ROOT, { stalls: 0.9 })
    bed.courses.set(groupOf('a', 'Burstable'), { throttled: 0.5 })
    bed.courses.set(groupOf('b', 'Burstable'), { throttled: 0.2 })
    const { permyriad } = bed.live(4000)
    // 1 − 0.5 × 0.8 = 0.6; the short window may have a period too many or too few.
    expect(permyriad).toBeGreaterThan(2000)
    expect(permyriad).toBeLessThanOrEqual(3000)
  })

  it('are taken off by all that they wait where they have CPUs of their own', () => {
    const bed = new Bed(pod('alone', 'Burstable'), pod('web', 'Burstable'))
    bed.sensor.unsharedGroups = new Set([groupOf('alone', 'Burstable')])
    bed.courses.set(ROOT, { stalls: 0.55 })
    bed.courses.set(groupOf('alone', 'Burstable'), { stalls: 0.5 })
    expect(bed.live(2000).permyriad).toBe(500)
  })
})

describe('a Guaranteed pod on CPUs that offline work may not use', () => {
  it('is left out for CPU, not for IO, and is in again when it shares them', () => {
    const bed = new Bed(pod('alone'), pod('db'))
    bed.courses.set(groupOf('alone'), { stalls: 0.8 }).set(groupOf('db'), { stalls: 0.1 })
    expect(bed.live(1000).permyriad).toBe(8000)
    bed.sensor.unsharedGroups = new Set([groupOf('alone')])
    expect(bed.live(1000)).toEqual({ permyriad: 1000, source: `cpu.pressure of ${groupOf('db')}` })
    expect(bed.beat()).toBeCloseTo(1000)
    const totals = bed.model.groupPressureUs?.get(groupOf('alone'))
    if (totals !== undefined) totals.io += 1_000_000
    expect(bed.tick().online.ioPressure?.source).toBe(`io.pressure of ${groupOf('alone')}`)
    bed.sensor.unsharedGroups = new Set()
    expect(bed.live(1000).permyriad).toBe(8000)
  })
})

describe('finding out', () => {
  it('costs nothing on a beat, nothing while nobody waits, and 32 pods of two groups on a tick', () => {
    const bed = new Bed(...Array.from({ length: 100 }, (_, index) => pod(`p${index}`, 'Burstable')))
    bed.tick('calm')
    bed.live(1000)
    bed.tick('calm')
    expect(bed.reads).toEqual([])
    bed.courses.set(ROOT, { stalls: 0.5 })
    bed.live(500)
    bed.tick('hot')
    expect(bed.reads.length).toBe(64)
    bed.beat()
    expect(bed.reads).toEqual([])
    // A quarter of a minute after the waiting has ended it still looks, and after a whole one no more.
    bed.courses.clear()
    bed.live(15_000)
    bed.tick('hot')
    expect(bed.reads.length).toBeGreaterThan(0)
    bed.live(50_000)
    bed.tick('hot')
    expect(bed.reads).toEqual([])
  })

  it('never makes more of waiting than there was, nor less than nothing', () => {
    const share = fc.double({ min: 0, max: 1, noNaN: true })
    const course = fc.record({ stalls: share, throttled: share, cpus: fc.integer({ min: 1, max: 64 }) })
    fc.assert(
      fc.property(
        course,
        course,
        fc.array(fc.integer({ min: 10, max: 400 }), { minLength: 5, maxLength: 20 }),
        (db, root, pauses) => {
          const bed = new Bed(pod('db'), pod('web', 'Burstable'))
          bed.courses.set(groupOf('db'), db).set(ROOT, root).set(groupOf('web', 'Burstable'), root)
          bed.tick('calm')
          for (const ms of pauses) {
            const { online } = bed.tick('hot', ms)
            const someUs = online.cpuPressure?.value.someUsPerSecond ?? 0
            expect(someUs).toBeGreaterThanOrEqual(0)
            expect(someUs).toBeLessThanOrEqual(Math.max(db.stalls, root.stalls) * 1_000_000 + 1)
          }
        },
      ),
      { numRuns: 50 },
    )
  })
})
