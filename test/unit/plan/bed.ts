/** One pod with one container below the offline root, on a kernel of its own: where the order of steps can be told from. */
import { expect } from 'vitest'
import { CpuSet } from '../../../src/cpu/index.ts'
import { merge } from '../../../src/decide/merge.ts'
import type { Claim, Desired, Dialect, GroupPath, KnobSetting } from '../../../src/model/index.ts'
import { formatKnobValue, isSuccess, quotaOf } from '../../../src/model/index.ts'
import { ModelKernel } from '../../../src/sim/index.ts'
import { JournaledNode, NOTHING, withDirectory } from '../../support/journaled-node.ts'
import { topologyOf } from '../../support/snapshots.ts'

export const ROOT = '/kubepods/besteffort'
export const POD = `${ROOT}/poda`
export const MAIN = `${POD}/main`

export const wish = (group: GroupPath, setting: KnobSetting): Claim => ({
  ...setting,
  group,
  rule: 'limits',
  because: { code: 'identity.idle', qosClass: 'OT' },
})
export const quota = (milli: number): KnobSetting => ({ kind: 'quota', value: quotaOf(milli) })
export const cpus = (list: string): KnobSetting => ({ kind: 'cpuset', value: CpuSet.parse(list) })
export interface Bed {
  readonly kernel: ModelKernel
  readonly node: JournaledNode
  /** Reaches what is wished for, demands that every write is taken, and says in words which they were. */
  readonly reach: (...claims: readonly Claim[]) => string[]
}

export function bed(dialect: Dialect, body: (bed: Bed) => void): void {
  withDirectory((directory) => {
    const kernel = new ModelKernel({ dialect, topology: topologyOf('desktop') })
    for (const group of ['/kubepods', ROOT, POD, MAIN]) kernel.makeGroup(group)
    const node = new JournaledNode(kernel, { directory })
    const reach = (...claims: readonly Claim[]): string[] => {
      const desired: Desired = claims.length === 0 ? NOTHING : merge(claims)
      const results = node.reach(desired)
      expect(results.filter(({ outcome }) => !isSuccess(outcome))).toEqual([])
      expect(node.plan(desired)).toEqual([])
      return results.map(({ step }) => `${step.group.slice(ROOT.length)} ${step.kind} ${formatKnobValue(step)}`)
    }
    body({ kernel, node, reach })
  })
}
