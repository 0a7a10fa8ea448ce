/** The search for quotas below containers: when it is made, what it finds, how far it goes, and what it forgets. */
import { describe, expect, it } from 'vitest'
import type { Dialect, GroupPath, KernelPort, Outcome, StepResult } from '../../../src/model/index.ts'
import { childGroup, quotaOf } from '../../../src/model/index.ts'
import { KnobReadings } from '../../../src/sense/knob-readings.ts'
import { NestedQuotas } from '../../../src/sense/nested-quotas.ts'
import { ModelKernel } from '../../../src/sim/index.ts'
import { OFFLINE_ROOT, topologyOf } from '../../support/snapshots.ts'

const REFUSED: Outcome = { is: 'refused', errno: 'EINVAL' }
const POD = childGroup(OFFLINE_ROOT, 'podp')
const CONTAINER = childGroup(POD, 'main')

class Bed {
  readonly kernel: ModelKernel
  readonly knobs: KnobReadings
  readonly nested: NestedQuotas
  readonly forgotten: GroupPath[] = []
  /** Groups that were listed since this was set to 0. */
  looks = 0

  constructor(dialect: Dialect = 'v1') {
    this.kernel = new ModelKernel({ dialect, topology: topologyOf('desktop') })
    this.make(CONTAINER)
    const port: KernelPort = new Proxy<ModelKernel>(this.kernel, {
      get: (target, key) => {
        const value: unknown = Reflect.get(target, key, target)
        if (typeof value !== 'function') return value
        const call = (value as (...args: unknown[]) => unknown).bind(target)
        return (...args: unknown[]): unknown => {
          if (key === 'listChildren' && args[0] !== OFFLINE_ROOT) this.looks += 1
          if (key === 'forget') this.forgotten.push(String(args[0]))
          return call(...args)
        }
      },
    })
    this.knobs = new KnobReadings(port)
    this.nested = new NestedQuotas(port, this.knobs, OFFLINE_ROOT)
  }

  /** Makes a group and those above it. */
  make(group: GroupPath, milli?: number): GroupPath {
    const names = group.slice(1).split('/')
    for (let depth = 1; depth <= names.length; depth += 1) {
      const at = `/${names.slice(0, depth).join('/')}`
      if (!this.kernel.exists(at)) this.kernel.makeGroup(at)
    }
    if (milli !== undefined) this.kernel.writeKnob(group, { kind: 'quota', value: quotaOf(milli) })
    return group
  }

  /** Tells of a write of a quota on each tick until there is nothing more to be done at once; answers how many ticks that took. */
  hear(outcome: Outcome, nowMs: number, group: GroupPath = OFFLINE_ROOT): number {
    const result: StepResult = {
      step: { group, kind: 'quota', value: quotaOf(100), from: undefined, phase: 'narrow', because: { code: 'restore' } },
      outcome,
    }
    let ticks = 1
    while (this.nested.heard([result], nowMs)) {
      ticks += 1
      if (ticks > 100) throw new Error('there is no end to it')
    }
    return ticks
  }

  quotaRead(group: GroupPath): unknown {
    return this.knobs.table.get(group, 'quota')?.value
  }
}

describe('a refused quota', () => {
  it.each(['a', 'a/b', 'a/b/c/d/e/f'])('of the root leads to the quota in a container’s %s', (path) => {
    const bed = new Bed()
    const inner = bed.make(`${CONTAINER}/${path}`, 500)
    const plain = bed.make(`${CONTAINER}/plain`)
    bed.hear(REFUSED, 0)
    expect(bed.quotaRead(inner)).toEqual(quotaOf(500))
    expect(bed.quotaRead(plain)).toBeUndefined()
    expect(bed.nested.kept).toBe(1)
    expect(bed.nested.unfollowed).toEqual({})
  })

  it('of a pod leads to what is inside of that pod only', () => {
    const bed = new Bed()
    const inner = bed.make(`${CONTAINER}/a`, 500)
    const other = bed.make(`${OFFLINE_ROOT}/podother/main/a`, 500)
    bed.hear(REFUSED, 0, POD)
    expect([bed.quotaRead(inner), bed.quotaRead(other)]).toEqual([quotaOf(500), undefined])
  })

  it('leads nowhere under v2, where the kernel refuses none for what is below', () => {
    const bed = new Bed('v2')
    bed.make(`${CONTAINER}/a`, 500)
    bed.hear(REFUSED, 0)
    expect([bed.looks, bed.nested.kept]).toEqual([0, 0])
  })

  it('of an online pod, which is above no group of ours, leads nowhere', () => {
    const bed = new Bed()
    bed.hear(REFUSED, 0, '/kubepods/burstable/podx')
    expect(bed.looks).toBe(0)
  })

  it.each<Outcome>([{ is: 'applied' }, { is: 'vanished', errno: 'ENOENT' }, { is: 'forbidden', errno: 'EACCES' }])(
    'is none when the outcome is %j',
    (outcome) => {
      const bed = new Bed()
      bed.hear(outcome, 0)
      expect(bed.looks).toBe(0)
    },
  )

  it('is looked into again after 1 s, 2 s, 4 s … and 30 s at most while that changes nothing, and at once after it was taken', () => {
    const bed = new Bed()
    bed.make(`${CONTAINER}/a`, 500)
    const looked: number[] = []
    for (let nowMs = 0; nowMs <= 100_000; nowMs += 100) {
      bed.looks = 0
      bed.hear(REFUSED, nowMs)
      if (bed.looks > 0) looked.push(nowMs)
    }
    expect(looked).toEqual([0, 1000, 3000, 7000, 15_000, 31_000, 61_000, 91_000])
    bed.hear({ is: 'applied' }, 100_100)
    bed.looks = 0
    bed.hear(REFUSED, 100_200)
    expect(bed.looks).toBeGreaterThan(0)
  })

  it('lets go of what is held open of groups without a quota', () => {
    const bed = new Bed()
    bed.make(`${CONTAINER}/a/b`)
    bed.make(`${POD}/second/c`)
    bed.make(`${POD}/third`)
    bed.hear(REFUSED, 0)
    expect(bed.forgotten.toSorted()).toEqual([CONTAINER, `${POD}/second`])
  })
})

describe('many groups in one pod', () => {
  it('are looked at 128 a tick and 1024 in all, while those of other pods get their turn', () => {
    const bed = new Bed()
    for (let index = 0; index < 3000; index += 1) bed.make(`${CONTAINER}/h${index}`)
    const honest = bed.make(`${OFFLINE_ROOT}/podz/main/docker/c1`, 500)
    let looks = 0
    let ticks = 0
    const refused: StepResult = {
      step: {
        group: OFFLINE_ROOT,
        kind: 'quota',
        value: quotaOf(9),
        from: undefined,
        phase: 'narrow',
        because: { code: 'restore' },
      },
      outcome: REFUSED,
    }
    for (let more = true; more; ticks += 1) {
      bed.looks = 0
      more = bed.nested.heard([refused], 0)
      expect(bed.looks).toBeLessThanOrEqual(128)
      if (ticks === 0) expect(bed.quotaRead(honest)).toEqual(quotaOf(500))
      looks += bed.looks
      if (bed.nested.unfollowed.unfollowed !== undefined) break
    }
    // The search after the one that found the honest pod's quota finds nothing new, and is the last.
    expect(looks).toBeLessThanOrEqual(2 * (1024 + 4))
    expect(bed.nested.unfollowed).toEqual({ unfollowed: { groups: [POD], barsRoot: true } })
  })

  it('with a quota each are kept to 256 a pod and 1024 in all', () => {
    const bed = new Bed()
    for (let pod = 0; pod < 6; pod += 1)
      for (let index = 0; index < 300; index += 1) bed.make(`${OFFLINE_ROOT}/podn${pod}/main/h${index}`, 500)
    bed.hear(REFUSED, 0)
    expect(bed.nested.kept).toBe(1024)
    expect(bed.nested.unfollowed.unfollowed?.groups).toHaveLength(6)
  })

  it('that go make room, and pods are blamed no longer than quotas are refused', () => {
    const bed = new Bed()
    for (let index = 0; index < 300; index += 1) bed.make(`${CONTAINER}/h${index}`, 500)
    bed.hear(REFUSED, 0)
    expect(bed.nested.kept).toBe(256)
    for (let index = 0; index < 200; index += 1) bed.kernel.removeGroup(`${CONTAINER}/h${index}`)
    for (let nowMs = 100; nowMs <= 400; nowMs += 100) bed.nested.follow(nowMs)
    expect(bed.nested.kept).toBeLessThanOrEqual(100)
    expect(bed.nested.unfollowed).not.toEqual({})
    bed.nested.follow(6000)
    expect(bed.nested.unfollowed).toEqual({})
  })

  it('are forgotten with their container, and with their pod', () => {
    const bed = new Bed()
    bed.make(`${CONTAINER}/a/b`, 500)
    bed.make(`${POD}/second/c`, 500)
    bed.hear(REFUSED, 0)
    expect(bed.nested.kept).toBe(2)
    bed.nested.forget(CONTAINER)
    expect(bed.nested.kept).toBe(1)
    bed.nested.forget(POD)
    expect(bed.nested.kept).toBe(0)
  })

  it('nested more deeply than is looked are told of', () => {
    const bed = new Bed()
    bed.make(`${CONTAINER}/${Array.from({ length: 20 }, (_, depth) => `d${depth}`).join('/')}`, 500)
    bed.hear(REFUSED, 0)
    expect(bed.nested.unfollowed.unfollowed?.groups).toEqual([POD])
  })
})
