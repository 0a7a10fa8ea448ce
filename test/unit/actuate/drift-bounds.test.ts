/**
 * How much is remembered of knobs that do not keep what is written, on a node where none does: a thousand of them, and no more however long it goes
 * on, while all else is written as ever.
 */
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { Actuator, DriftWatch, RestoreJournal } from '../../../src/actuate/index.ts'
import { CpuSet } from '../../../src/cpu/index.ts'
import { KnobTable, type KnobValue, type Outcome, type Reading, type Step } from '../../../src/model/index.ts'
import { ModelKernel } from '../../../src/sim/index.ts'
import { DEFAULTS } from '../../support/config.ts'
import { withDirectory } from '../../support/journaled-node.ts'
import { OFFLINE_ROOT, topologyOf } from '../../support/snapshots.ts'

const BOUND = 1000
const PODS = Array.from({ length: 1300 }, (_, index) => `${OFFLINE_ROOT}/pod${index}`)
const { maxPerMinute, concedeMs } = DEFAULTS.drift

const weightStep = (group: string): Step => ({
  group,
  kind: 'weight',
  value: 50,
  from: undefined,
  phase: 'narrow',
  because: { code: 'claim', rule: 'identity', because: { code: 'identity.idle', qosClass: 'BE' } },
})

/** A kernel that takes every weight, and makes 77 of it. */
function forgetful(kernel: ModelKernel): ModelKernel {
  const write = kernel.writeKnob.bind(kernel)
  kernel.writeKnob = (group, setting): Outcome => {
    const outcome = write(group, setting)
    if (setting.kind === 'weight') write(group, { kind: 'weight', value: 77 })
    return outcome
  }
  return kernel
}

describe('knobs that do not keep what is written', () => {
  it('are watched up to a thousand: these are left alone past the bound, the others are tried on, and then take their places', () => {
    withDirectory((root) => {
      const kernel = forgetful(new ModelKernel({ dialect: 'v2', topology: topologyOf('desktop') }))
      for (const group of ['/kubepods', OFFLINE_ROOT, ...PODS]) kernel.makeGroup(group)
      const options = { stateDirectory: join(root, 'state'), bootId: 'boot', maxBytes: 1 << 24 }
      const journal = new RestoreJournal({ ...options, groupId: (group) => kernel.groupId(group) })
      const actuator = new Actuator(kernel, journal)
      const watch = new DriftWatch({ journal, actuator, kernel })
      const context = (nowMs: number) => {
        const actual = new KnobTable<Reading<KnobValue>>()
        for (const group of PODS) actual.set(group, 'weight', { value: 77, atMs: nowMs, source: 'weight' })
        return { nowMs, online: CpuSet.parse('0-7'), bestEffort: OFFLINE_ROOT, actual, settings: DEFAULTS.drift }
      }
      const left = (): string[] => PODS.filter((group) => watch.isLeft(group, 'weight'))
      /** One tick: what is not left alone is written, and does not keep it. */
      const tick = (nowMs: number): number => {
        const view = watch.notice([], context(nowMs))
        const results = actuator.apply(PODS.filter((group) => !watch.isLeft(group, 'weight')).map(weightStep), { limited: false })
        expect(results.every(({ outcome }) => outcome.is === 'mismatch')).toBe(true)
        watch.wrote(results, nowMs)
        return view.knobs.size
      }
      let second = 0
      for (; second <= maxPerMinute; second += 1) {
        expect(tick(second * 1000)).toBe(0)
        expect(left()).toEqual([])
      }
      expect(tick(second * 1000)).toBe(BOUND)
      expect(left()).toEqual(PODS.slice(0, BOUND))
      // The other 300 were not known before there was room for them.
      for (let until = second + maxPerMinute + 1; second < until;) {
        second += 1
        expect(tick(second * 1000)).toBeLessThanOrEqual(BOUND)
        if (second < until) expect(left()).toEqual(PODS.slice(0, BOUND))
      }
      expect(left()).toHaveLength(BOUND)
      expect(left()).toEqual(expect.arrayContaining(PODS.slice(BOUND)))
      expect(second * 1000).toBeLessThan(concedeMs)
      // No original is forgotten with them.
      expect(PODS.filter((group) => !journal.has(group, 'weight'))).toEqual([])
      journal.end()
    })
  })
})
