/** Containers that come under v1 while their pod is narrow: they copy its set, and must not keep it when the pod is given its own back. */
import { describe, expect, it } from 'vitest'
import { CpuSet } from '../../../src/cpu/index.ts'
import { merge } from '../../../src/decide/merge.ts'
import type { Desired, GroupPath } from '../../../src/model/index.ts'
import { isSuccess } from '../../../src/model/index.ts'
import { ModelKernel } from '../../../src/sim/index.ts'
import { JournaledNode, NOTHING, withDirectory } from '../../support/journaled-node.ts'
import { topologyOf } from '../../support/snapshots.ts'

const POD = '/kubepods/poda'
const [EARLY, OWN, LATE] = [`${POD}/early`, `${POD}/own`, `${POD}/late`]
const because = { code: 'placement.exclusive', qosClass: 'LSR', requestedMilli: 1000 } as const

function wanted(cpus: string, groups: readonly GroupPath[]): Desired {
  const value = CpuSet.parse(cpus)
  return merge(groups.map((group) => ({ group, kind: 'cpuset', value, rule: 'placement', because }) as const))
}

function bed(body: (node: JournaledNode, setOf: (group: GroupPath) => string) => void): void {
  withDirectory((directory) => {
    const kernel = new ModelKernel({ dialect: 'v1', topology: topologyOf('desktop') })
    for (const group of ['/kubepods', POD, EARLY]) kernel.makeGroup(group)
    body(new JournaledNode(kernel, { directory }), (group) => kernel.groups.get(group)?.knobs.cpuset.toString() ?? 'none')
  })
}

describe('the set of a container that came while its pod was narrow', () => {
  it('goes back to what the pod had when the node is released, placed or not', () => {
    bed((node, setOf) => {
      node.reach(wanted('2', [POD, EARLY]))
      node.kernel.makeGroup(LATE)
      expect(setOf(LATE)).toBe('2')
      expect(node.release()).toMatchObject({ foreign: [], failed: [] })
      expect([POD, EARLY, LATE].map(setOf)).toEqual(['0-7', '0-7', '0-7'])
      expect(node.journal.entries.size).toBe(0)
    })
  })

  it('does so too when the pod was moved before the container was known', () => {
    bed((node, setOf) => {
      node.reach(wanted('2', [POD, EARLY]))
      node.kernel.makeGroup(LATE)
      const results = node.reach(wanted('3', [POD, EARLY]))
      expect(results.filter(({ outcome }) => !isSuccess(outcome)).map(({ outcome }) => outcome.is)).toEqual([])
      node.reach(wanted('3', [POD, EARLY, LATE]))
      expect([POD, EARLY, LATE].map(setOf)).toEqual(['3', '3', '3'])
      // Nobody wants it placed any more: the pod first, what was copied with the next plan.
      node.reach(NOTHING)
      node.reach(NOTHING)
      expect([POD, EARLY, LATE].map(setOf)).toEqual(['0-7', '0-7', '0-7'])
    })
  })

  it('is not confused with one that a container had before its pod was placed', () => {
    bed((node, setOf) => {
      node.kernel.makeGroup(OWN)
      node.kernel.writeKnob(OWN, { kind: 'cpuset', value: CpuSet.of(2) })
      node.reach(wanted('2', [POD, EARLY]))
      expect(node.release()).toMatchObject({ foreign: [], failed: [] })
      expect([POD, EARLY, OWN].map(setOf)).toEqual(['0-7', '0-7', '2'])
    })
  })
})
