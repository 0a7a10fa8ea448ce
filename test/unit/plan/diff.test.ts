/**
 * The order of steps on the trees that are known to be hard: nested quotas and sets under v1, moves, lifts, idle with a weight. The kernel
 * refuses what would be wrong; random trees are in test/property/plan.test.ts.
 */
import { describe, expect, it } from 'vitest'
import { merge } from '../../../src/decide/merge.ts'
import type { Claim, GroupPath, KnobSetting } from '../../../src/model/index.ts'
import { formatKnobValue, isQuota, micros, PARTLY_TAGGED, quotaOf, type Quota } from '../../../src/model/index.ts'
import { diff } from '../../../src/plan/index.ts'
import { ModelKernel } from '../../../src/sim/index.ts'
import { JournaledNode, NOTHING, withDirectory } from '../../support/journaled-node.ts'
import { topologyOf } from '../../support/snapshots.ts'
import { readAll, textOf } from '../../support/trees.ts'
import { bed, cpus, MAIN, POD, quota, ROOT, wish } from './bed.ts'

const inPeriod = (quotaUs: number, periodUs: number): Quota => ({ quotaUs: micros(quotaUs), periodUs: micros(periodUs) })

const cpusOf = (kernel: ModelKernel, group: GroupPath): string | undefined => kernel.groups.get(group)?.knobs.cpuset.toString()

describe('diff under v1', () => {
  it('moves {0} to {1} with children over the union, and back', () => {
    bed('v1', ({ kernel, reach }) => {
      kernel.writeKnob(MAIN, cpus('0'))
      kernel.writeKnob(POD, cpus('0'))
      const before = textOf(kernel)
      expect(reach(wish(POD, cpus('1')), wish(MAIN, cpus('1')))).toEqual([
        '/poda cpuset 0-1',
        '/poda/main cpuset 1',
        '/poda cpuset 1',
      ])
      reach()
      expect(textOf(kernel)).toEqual(before)
    })
  })

  it('moves a container along that nobody claims', () => {
    bed('v1', ({ kernel, reach }) => {
      kernel.writeKnob(MAIN, cpus('0'))
      kernel.writeKnob(POD, cpus('0'))
      reach(wish(POD, cpus('1')))
      expect(cpusOf(kernel, MAIN)).toBe('1')
      reach()
      expect(cpusOf(kernel, MAIN)).toBe('0')
    })
  })

  it('gives a child that nobody claims its original when the parent has as much, and the parent’s while it has less', () => {
    bed('v1', ({ kernel, reach }) => {
      kernel.writeKnob(MAIN, quota(2000))
      for (const milli of [3000, 500, 700, 200, 4000, 1000, 2000]) {
        reach(wish(ROOT, quota(milli)))
        expect(kernel.readKnob(MAIN, 'quota')).toEqual(milli < 2000 ? { quotaUs: null, periodUs: 100_000 } : quotaOf(2000))
      }
    })
  })

  it('lifts what stands in the way of a root that shrinks also while a rule can not decide yet, and lifts nothing else', () => {
    bed('v1', ({ kernel, reach, node }) => {
      reach(wish(POD, quota(3000)))
      kernel.writeKnob(MAIN, quota(2000))
      const plan = diff({
        desired: merge([wish(ROOT, quota(1000))]),
        actual: readAll(kernel),
        journaled: node.journal.entries,
        capabilities: kernel.capabilities,
        settled: false,
      })
      const steps = plan.map(({ group, value }) => [group, isQuota(value) ? value.quotaUs : undefined])
      expect(steps).toEqual([
        [POD, null],
        [MAIN, null],
        [ROOT, 100_000],
      ])
      for (const step of plan) expect(kernel.writeKnob(step.group, step)).toEqual({ is: 'applied' })
      const raised = diff({
        desired: merge([wish(ROOT, quota(4000))]),
        actual: readAll(kernel),
        journaled: node.journal.entries,
        capabilities: kernel.capabilities,
        settled: false,
      })
      expect(raised).toEqual([])
    })
  })

  it('lifts the quota of a pod before the root shrinks below it', () => {
    bed('v1', ({ reach }) => {
      reach(wish(ROOT, quota(4000)), wish(POD, quota(3000)))
      expect(reach(wish(ROOT, quota(1000)))).toEqual(['/poda quota max', ' quota 1000m (100000/100000 us)'])
    })
  })

  it("gives a first quota above the root's present one after the root has grown", () => {
    bed('v1', ({ reach }) => {
      reach(wish(ROOT, quota(1000)))
      expect(reach(wish(ROOT, quota(4000)), wish(POD, quota(3000)))).toEqual([
        ' quota 4000m (400000/100000 us)',
        '/poda quota 3000m (300000/100000 us)',
      ])
    })
  })

  it("keeps a group's own period of 50 ms, and rounds so that the child still fits", () => {
    bed('v1', ({ kernel, reach }) => {
      const knobs = [ROOT, POD].map((group) => kernel.groups.get(group)?.knobs)
      for (const one of knobs) if (one !== undefined) one.quota = { quotaUs: null, periodUs: micros(50_000) }
      reach(wish(ROOT, quota(333.33)), wish(POD, quota(500)))
      expect(kernel.readKnob(ROOT, 'quota')).toEqual(inPeriod(16_666, 50_000))
      expect(kernel.readKnob(POD, 'quota')).toEqual(inPeriod(16_666, 50_000))
      reach(wish(POD, quota(500)), wish(ROOT, quota(333.33)), wish(MAIN, quota(400)))
      expect(kernel.readKnob(MAIN, 'quota')).toEqual(inPeriod(33_332, 100_000))
    })
  })

  it('lets a child inherit when the least quota of its short period is more than the parent has', () => {
    bed('v1', ({ kernel, reach }) => {
      const knobs = kernel.groups.get(POD)?.knobs
      if (knobs !== undefined) knobs.quota = inPeriod(5000, 20_000)
      reach(wish(ROOT, quota(10)))
      expect(kernel.readKnob(POD, 'quota')).toEqual({ quotaUs: null, periodUs: 20_000 })
      reach()
      expect(kernel.readKnob(POD, 'quota')).toEqual(inPeriod(5000, 20_000))
    })
  })

  it('takes what somebody else gave a clipped group for its original from then on', () => {
    bed('v1', ({ kernel, reach }) => {
      kernel.writeKnob(MAIN, quota(3000))
      reach(wish(ROOT, quota(2000)))
      kernel.writeKnob(MAIN, quota(1500))
      reach(wish(ROOT, quota(1000)))
      reach()
      expect(kernel.readKnob(MAIN, 'quota')).toEqual(quotaOf(1500))
    })
  })
})

describe.each(['v1', 'v2'] as const)('diff under %s', (dialect) => {
  const OT = wish(POD, { kind: 'idle', value: 1 })
  const BE = wish(POD, { kind: 'weight', value: 500 })

  it('clears idle before the weight, when an OT pod becomes BE, and gives the first weight back at the end', () => {
    bed(dialect, ({ kernel, reach }) => {
      kernel.writeKnob(POD, { kind: 'weight', value: 3 })
      const before = textOf(kernel)
      expect(reach(OT)).toEqual(['/poda idle 1'])
      expect(reach(BE)).toEqual(['/poda idle 0', '/poda weight 500'])
      expect(reach(OT, BE)).toEqual(['/poda idle 1'])
      expect(reach()).toEqual(['/poda idle 0', '/poda weight 3'])
      expect(textOf(kernel)).toEqual(before)
    })
  })

  it("releases a weight that reads as an idle group's does", () => {
    bed(dialect, ({ kernel, node, reach }) => {
      kernel.writeKnob(POD, { kind: 'weight', value: 3 })
      reach(OT)
      expect(node.release().foreign).toEqual([])
      expect(kernel.readKnob(POD, 'weight')).toBe(3)
    })
  })

  it('puts a whole group back when a rule is switched off at run time, and leaves the others', () => {
    bed(dialect, ({ kernel, reach }) => {
      reach(wish(POD, cpus('4-7')), wish(MAIN, cpus('4-7')), wish(POD, quota(500)), OT)
      reach(wish(POD, quota(500)), OT)
      expect(kernel.readKnob(POD, 'quota')).toEqual(quotaOf(500))
      expect(cpusOf(kernel, POD)).toBe(dialect === 'v1' ? '0-7' : '')
    })
  })
})

describe.each(['v1', 'v2'] as const)('diff of burst under %s', (dialect) => {
  const burst = (us: number): KnobSetting => ({ kind: 'burst', value: us })

  it('raises it after the quota and lowers it before: it may never exceed the quota', () => {
    bed(dialect, ({ kernel, reach }) => {
      kernel.writeKnob(POD, quota(200))
      kernel.writeKnob(POD, burst(20_000))
      const before = textOf(kernel)
      expect(reach(wish(POD, quota(500)), wish(POD, burst(50_000)))).toEqual([
        '/poda quota 500m (50000/100000 us)',
        '/poda burst 50000 us',
      ])
      expect(reach(wish(POD, quota(100)), wish(POD, burst(5000)))).toEqual([
        '/poda burst 5000 us',
        '/poda quota 100m (10000/100000 us)',
      ])
      expect(reach()).toEqual(['/poda quota 200m (20000/100000 us)', '/poda burst 20000 us'])
      expect(textOf(kernel)).toEqual(before)
    })
  })
})

describe('a knob without return', () => {
  const level: Claim = wish(POD, { kind: 'qosLevel', value: -1 })

  function oneWayBed(body: (node: JournaledNode, kernel: ModelKernel) => void): void {
    withDirectory((directory) => {
      const kernel = new ModelKernel({ dialect: 'v2', topology: topologyOf('desktop'), vendor: ['qosLevel'] })
      for (const group of ['/kubepods', ROOT, POD]) kernel.makeGroup(group)
      body(new JournaledNode(kernel, { directory }), kernel)
    })
  }

  it('is set once and not tried in vain on every tick after', () => {
    oneWayBed((node, kernel) => {
      expect(node.reach(merge([level])).map(({ outcome }) => outcome.is)).toEqual(['applied'])
      expect(kernel.readKnob(POD, 'qosLevel')).toBe(-1)
      expect([node.plan(merge([level])), node.plan(NOTHING)]).toEqual([[], []])
    })
  })

  it('is told of at the release as what it is: neither restored, nor failed, nor written by somebody else', () => {
    oneWayBed((node) => {
      node.reach(merge([level, wish(POD, { kind: 'weight', value: 5 })]))
      expect(node.release()).toMatchObject({
        restored: 1,
        foreign: [],
        failed: [],
        oneWay: [{ group: POD, kind: 'qosLevel', value: -1 }],
      })
    })
  })

  it('ends with its group', () => {
    oneWayBed((node, kernel) => {
      node.reach(merge([level]))
      kernel.removeGroup(POD)
      expect(node.release()).toMatchObject({ vanished: 1, oneWay: [], foreign: [] })
    })
  })
})

describe('idle on the root of all offline pods', () => {
  it.each(['v1', 'v2'] as const)('goes back together with the weight that the kubelet gave it, under %s', (dialect) => {
    bed(dialect, ({ kernel, node, reach }) => {
      kernel.writeKnob(ROOT, { kind: 'weight', value: dialect === 'v1' ? 2 : 1 })
      const before = textOf(kernel)
      reach(wish(ROOT, { kind: 'idle', value: 1 }), wish(POD, { kind: 'weight', value: 77 }))
      expect(kernel.readKnob(ROOT, 'idle')).toBe(1)
      // What the kubelet tries every minute meanwhile.
      expect(kernel.writeKnob(ROOT, { kind: 'weight', value: 2 })).toMatchObject({ is: 'refused' })
      expect(node.release()).toMatchObject({ foreign: [], failed: [] })
      expect(textOf(kernel)).toEqual(before)
    })
  })
})

describe('diff of cookies', () => {
  const cookie = (value: number): KnobSetting => ({ kind: 'coreCookie', value })
  const bvt = (value: number): KnobSetting => ({ kind: 'bvt', value })

  function tagged(body: (kernel: ModelKernel, node: JournaledNode) => void): void {
    withDirectory((directory) => {
      const kernel = new ModelKernel({ dialect: 'v2', topology: topologyOf('desktop'), vendor: ['bvt', 'coreCookie'] })
      for (const group of ['/kubepods', ROOT, POD, MAIN]) kernel.makeGroup(group)
      const node = new JournaledNode(kernel, { directory })
      node.reach(merge([wish(POD, cookie(1))]))
      body(kernel, node)
    })
  }

  const holds = (kernel: ModelKernel, value?: number): number | undefined => {
    const knobs = kernel.groups.get(POD)?.knobs
    if (knobs !== undefined && value !== undefined) knobs.coreCookie = value
    return knobs?.coreCookie
  }

  it('tags again what only a part of carries it, and releases that too', () => {
    tagged((kernel, node) => {
      holds(kernel, PARTLY_TAGGED)
      expect(node.reach(merge([wish(POD, cookie(1))])).map(({ step }) => step.value)).toEqual([1])
      holds(kernel, PARTLY_TAGGED)
      expect(node.release()).toMatchObject({ restored: 1, foreign: [], failed: [] })
      expect([holds(kernel), node.journal.entries.size]).toEqual([0, 0])
    })
  })

  it('goes back to none where the journal began with a part of the group tagged', () => {
    tagged((kernel, node) => {
      node.release()
      holds(kernel, PARTLY_TAGGED)
      node.reach(merge([wish(POD, cookie(1))]))
      expect(node.journal.entries.get(POD, 'coreCookie')?.original).toBe(0)
      node.release()
      expect(holds(kernel)).toBe(0)
    })
  })

  it('is never in force beside bvt, whichever takes the other over', () => {
    tagged((kernel, node) => {
      const order = (...claims: Claim[]): string[] =>
        node.reach(merge(claims)).map(({ step }) => `${step.kind} ${formatKnobValue(step)}`)
      expect(order(wish(POD, bvt(-1)))).toEqual(['coreCookie none', 'bvt -1'])
      expect(order(wish(POD, cookie(1)))).toEqual(['bvt 0', 'coreCookie of offline work'])
      expect(holds(kernel)).toBe(1)
    })
  })
})
