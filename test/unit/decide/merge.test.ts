/** What the table of merge rules leaves to the rules: cpusets of suppression against those of placement. The rest is in test/property/decide.test.ts. */
import { describe, expect, it } from 'vitest'
import { CpuSet } from '../../../src/cpu/index.ts'
import { merge } from '../../../src/decide/merge.ts'
import type { Claim, RuleName } from '../../../src/model/index.ts'

const cpuset = (rule: RuleName, cpus: string): Claim => ({
  group: '/g',
  kind: 'cpuset',
  value: CpuSet.parse(cpus),
  rule,
  because: { code: 'suppress.narrow', dedicated: '', nodePermyriad: 9500, enterPermyriad: 9000 },
})
function winnerOf(...claims: readonly Claim[]): string {
  const value = merge(claims).get('/g', 'cpuset')?.setting.value
  return value instanceof CpuSet ? value.toString() : 'none'
}

describe('merge of cpusets', () => {
  it('lets suppression move a pod off CPUs of its own, even to more CPUs elsewhere', () => {
    expect(winnerOf(cpuset('placement', '4'), cpuset('suppressCpu', '6-7'))).toBe('6-7')
    expect(winnerOf(cpuset('suppressCpu', '6-7'), cpuset('placement', '4'))).toBe('6-7')
  })

  it('prefers the narrower set otherwise', () => {
    expect(winnerOf(cpuset('placement', '4-7'), cpuset('limits', '4'))).toBe('4')
    expect(winnerOf(cpuset('suppressCpu', '4-7'), cpuset('suppressCpu', '4'))).toBe('4')
  })

  it('leaves sets of one size to the precedence of the rules', () => {
    expect(winnerOf(cpuset('limits', '5'), cpuset('placement', '4'))).toBe('4')
  })
})
