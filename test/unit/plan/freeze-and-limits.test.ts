/** Freezing, protection of memory, and limits of devices: where in the plan they stand, and what goes back where. */
import { describe, expect, it } from 'vitest'
import { merge } from '../../../src/decide/merge.ts'
import type { Claim, GroupPath, KnobSetting } from '../../../src/model/index.ts'
import { IoLimits } from '../../../src/model/index.ts'
import { diff } from '../../../src/plan/index.ts'
import type { ModelKernel } from '../../../src/sim/index.ts'
import { NOTHING } from '../../support/journaled-node.ts'
import { readAll } from '../../support/trees.ts'
import { type Bed, bed, cpus, MAIN, POD, quota, wish } from './bed.ts'

const one = (kind: 'freeze' | 'memoryLow' | 'memoryMin' | 'memoryHigh' | 'memorySoft', value: number): KnobSetting => ({
  kind,
  value,
})
const limits = (text: string): KnobSetting => ({ kind: 'ioMax', value: IoLimits.parse(text) ?? IoLimits.NONE })
const limitsOf = (kernel: ModelKernel, group: GroupPath): string => kernel.groups.get(group)?.knobs.ioMax.toString() ?? ''
const MIB = 2 ** 20

describe.each(['v1', 'v2'] as const)('freezing under %s', (dialect) => {
  it('comes after everything else, and thawing before everything else', () => {
    bed(dialect, ({ reach }) => {
      const rest = [wish(POD, quota(500)), wish(POD, cpus('0-1')), wish(POD, one('memoryHigh', 64 * MIB)), wish(MAIN, cpus('0'))]
      const first = reach(wish(POD, one('freeze', 1)), ...rest)
      expect(first.at(-1)).toBe('/poda freeze 1')
      const second = reach(wish(POD, quota(700)), wish(POD, cpus('0-3')), wish(MAIN, cpus('1')))
      expect(second[0]).toBe('/poda freeze 0')
      expect(second.length).toBeGreaterThan(3)
    })
  })

  it('ends also for a pod that no source lists any more: what is frozen can not end', () => {
    bed(dialect, ({ kernel, node, reach }) => {
      reach(wish(POD, one('freeze', 1)), wish(POD, { kind: 'ioWeight', value: 20 }))
      const { capabilities } = kernel
      const steps = diff({
        desired: NOTHING,
        actual: readAll(kernel),
        journaled: node.journal.entries,
        capabilities,
        unlisted: [POD],
      })
      expect(steps.map(({ kind, value }) => [kind, value])).toEqual([['freeze', 0]])
    })
  })
})

describe.each(['v1', 'v2'] as const)('what is frozen under %s', (dialect) => {
  it('is thawed also while rules can not decide yet, and nothing else is put back: an agent that comes back may never see a pod', () => {
    bed(dialect, ({ kernel, node, reach }) => {
      reach(wish(POD, one('freeze', 1)), wish(POD, { kind: 'ioWeight', value: 20 }), wish(POD, quota(500)))
      const { capabilities } = kernel
      const known = { actual: readAll(kernel), journaled: node.journal.entries, capabilities, settled: false }
      const steps = diff({ desired: NOTHING, ...known })
      expect(steps.map(({ kind, value }) => [kind, value])).toEqual([['freeze', 0]])
      expect(diff({ desired: merge([wish(POD, one('freeze', 1))]), ...known })).toEqual([])
    })
  })
})

describe('protection of memory', () => {
  it.each(['memoryLow', 'memoryMin'] as const)('by %s is widened from the root down and narrowed from the leaf up', (kind) => {
    bed('v2', ({ reach }) => {
      const all = (mib: number): Claim[] => [wish(MAIN, one(kind, mib * MIB)), wish(POD, one(kind, mib * MIB))]
      expect(reach(...all(64))).toEqual([`/poda ${kind} 64 MiB`, `/poda/main ${kind} 64 MiB`])
      expect(reach(...all(32))).toEqual([`/poda/main ${kind} 32 MiB`, `/poda ${kind} 32 MiB`])
      expect(reach()).toEqual([`/poda/main ${kind} 0 B`, `/poda ${kind} 0 B`])
    })
  })
})

describe('limits of devices', () => {
  const A = '8:0 rbps=4096 wbps=max riops=max wiops=max'
  const B = '8:16 rbps=8192 wbps=max riops=max wiops=max'
  const C = '8:16 rbps=12288 wbps=max riops=max wiops=max'

  function disks(body: (bed: Bed) => void): void {
    bed('v2', (all) => {
      all.kernel.devices.set('sda', '8:0').set('sdb', '8:16')
      body(all)
    })
  }

  it('that nobody claims stay as somebody else has set them, and are not written', () => {
    disks(({ kernel, node, reach }) => {
      kernel.writeKnob(POD, limits(B))
      reach(wish(POD, limits(A)))
      expect(limitsOf(kernel, POD)).toBe(`${A}\n${B}`)
      expect(kernel.writes.at(-1)?.setting.value).toEqual(limits(A).value)
      expect(node.plan(merge([wish(POD, limits(A))]))).toEqual([])
    })
  })

  it('go back to what they were, to none where there were none', () => {
    disks(({ kernel, node, reach }) => {
      kernel.writeKnob(POD, limits(B))
      reach(wish(POD, limits(`${A}\n${C}`)))
      expect(limitsOf(kernel, POD)).toBe(`${A}\n${C}`)
      reach()
      expect(limitsOf(kernel, POD)).toBe(B)
      expect(node.journal.entries.size).toBe(0)
    })
  })

  it('of a device that is claimed no more go back while those of another are still claimed', () => {
    disks(({ kernel, reach }) => {
      reach(wish(POD, limits(A)))
      reach(wish(POD, limits(C)))
      expect(limitsOf(kernel, POD)).toBe(C)
      reach()
      expect(limitsOf(kernel, POD)).toBe('')
    })
  })

  it('of one device are put back, and those that somebody else set on another meanwhile are left alone', () => {
    disks(({ kernel, node, reach }) => {
      reach(wish(POD, limits(`${A}\n${B}`)))
      kernel.writeKnob(POD, limits(C))
      const report = node.release()
      expect(report.failed).toEqual([])
      expect(limitsOf(kernel, POD)).toBe(C)
      expect(report.foreign.map(({ group, kind }) => [group, kind])).toEqual([[POD, 'ioMax']])
    })
  })

  it('that are listed as none are the same as not listed', () => {
    disks(({ kernel, node, reach }) => {
      const none = limits('8:0 rbps=max wbps=max riops=max wiops=max')
      expect(node.plan(merge([wish(POD, none)]))).toEqual([])
      reach(wish(POD, limits(A)))
      reach(wish(POD, none))
      expect(limitsOf(kernel, POD)).toBe('')
    })
  })
})
