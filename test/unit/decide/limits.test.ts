/**
 * Limits that change under a running pod, carried out on the model kernel, which refuses every illegal order: the size of a unit grows and
 * shrinks with the configuration, suppression narrows the root below it and widens it again, a container has a quota of its own.
 */
import { describe, expect, it } from 'vitest'
import { decide, EMPTY_MEMORY } from '../../../src/decide/index.ts'
import { merge } from '../../../src/decide/merge.ts'
import { type Claim, type Dialect, isSuccess, quotaMilliCpu, quotaOf } from '../../../src/model/index.ts'
import { ModelKernel } from '../../../src/sim/index.ts'
import { configOf } from '../../support/config.ts'
import { JournaledNode, withDirectory } from '../../support/journaled-node.ts'
import { GIB, OFFLINE_ROOT, snapshotOf, topologyOf } from '../../support/snapshots.ts'
import { textOf } from '../../support/trees.ts'

const POD = `${OFFLINE_ROOT}/poda`
const MAIN = `${POD}/main`

/** Unit of CPU, unit of memory, quota of the offline root in milli-CPU. */
const STAGES = [
  ['100m', '512Mi', 4000],
  ['300m', '1Gi', 4000],
  ['300m', '1Gi', 200],
  ['50m', '256Mi', 200],
  ['50m', '256Mi', 900],
  ['400m', '2Gi', 2000],
] as const

function claimsAt([cpuUnit, memoryUnit, rootMilli]: (typeof STAGES)[number], dialect: Dialect): Claim[] {
  const pods = [{ uid: 'a', asks: { 'be-cpu': 10, 'be-memory': 4 }, usesMilli: 100, workingSetBytes: 2 ** 20 }]
  const config = configOf({ resources: { cpuUnit, memoryUnit }, suppressCpu: { enabled: false }, identity: { enabled: false } })
  const { desired } = decide(snapshotOf({ pods, dialect }), EMPTY_MEMORY, config).decision
  const root: Claim = {
    group: OFFLINE_ROOT,
    kind: 'quota',
    value: quotaOf(rootMilli),
    rule: 'suppressCpu',
    because: { code: 'identity.idle', qosClass: 'OT' },
  }
  return [root, ...[...desired.entries()].map(([, , { winner }]) => winner)]
}

describe.each(['v1', 'v2'] as const)('limits under %s', (dialect) => {
  it('grow and shrink in an order that the kernel takes, and are what was asked for, within the root', () => {
    withDirectory((directory) => {
      const kernel = new ModelKernel({ dialect, topology: topologyOf('desktop') })
      for (const group of ['/kubepods', OFFLINE_ROOT, POD, MAIN]) kernel.makeGroup(group)
      kernel.writeKnob(MAIN, { kind: 'quota', value: quotaOf(1000) })
      const before = textOf(kernel)
      const node = new JournaledNode(kernel, { directory })
      for (const stage of STAGES) {
        const desired = merge(claimsAt(stage, dialect))
        expect(node.reach(desired).filter(({ outcome }) => !isSuccess(outcome))).toEqual([])
        expect(node.plan(desired)).toEqual([])
        const [cpuUnit, memoryUnit, rootMilli] = stage
        const asked = Number.parseInt(cpuUnit, 10) * 10
        const quota = kernel.groups.get(POD)?.knobs.quota ?? quotaOf(1)
        expect(quotaMilliCpu(quota)).toBe(dialect === 'v1' ? Math.min(asked, rootMilli) : asked)
        const bytes = { '256Mi': GIB, '512Mi': 2 * GIB, '1Gi': 4 * GIB, '2Gi': 8 * GIB }[memoryUnit]
        expect(kernel.readKnob(POD, 'memoryMax')).toBe(bytes)
      }
      expect(kernel.oomKills).toEqual([])
      expect(node.release()).toMatchObject({ failed: [], foreign: [] })
      expect(textOf(kernel)).toEqual(before)
    })
  })

  it('do not shrink the memory limit below what the pod holds, and do as soon as it holds less', () => {
    const limitAt = (workingSetBytes: number) => {
      const pods = [{ uid: 'a', asks: { 'be-memory': 1 }, usesMilli: 100, workingSetBytes }]
      const actual = [{ group: POD, kind: 'memoryMax', value: 2 * GIB }] as const
      const { decision } = decide(snapshotOf({ pods, dialect, actual }), EMPTY_MEMORY, configOf({}))
      return [decision.desired.get(POD, 'memoryMax')?.setting.value, decision.abstentions.map(({ code }) => code)]
    }
    expect(limitAt(GIB)).toEqual([undefined, ['starting', 'wouldKill']])
    expect(limitAt(GIB / 4)[0]).toBe(GIB / 2)
  })
})
