/**
 * When marks are set, and what becomes of those that can't be: data, never an error, and never in the way of a value. What they tell is in
 * test/property/marks.test.ts.
 */
import { describe, expect, it } from 'vitest'
import { Actuator, RestoreJournal } from '../../../src/actuate/index.ts'
import type { MarksOptions } from '../../../src/actuate/marks.ts'
import { isFailing, isSuccess, type KnobKind, type Plan, type Step } from '../../../src/model/index.ts'
import { ModelKernel } from '../../../src/sim/index.ts'
import { JournaledNode, withDirectory } from '../../support/journaled-node.ts'
import { MarkedGroups } from '../../support/marked-groups.ts'
import { topologyOf } from '../../support/snapshots.ts'

const ROOT = '/kubepods/besteffort'
const POD = `${ROOT}/poda`
const OTHER = `${ROOT}/podb`

interface Bed {
  readonly kernel: ModelKernel
  readonly groups: MarkedGroups
  /** An agent over the journal on disk. */
  readonly start: (marks?: MarksOptions) => JournaledNode
  /** Its writing half, with the actuator that ticks use. */
  readonly open: (marks?: MarksOptions) => { readonly journal: RestoreJournal; readonly actuator: Actuator }
}

function bed(body: (bed: Bed) => void): void {
  withDirectory((directory) => {
    const kernel = new ModelKernel({ dialect: 'v2', topology: topologyOf('desktop') })
    for (const group of ['/kubepods', ROOT, POD, OTHER]) kernel.makeGroup(group)
    const groups = new MarkedGroups(kernel)
    const journals: RestoreJournal[] = []
    const open = (marks = groups.options(true)) => {
      const groupId = (group: string) => kernel.groupId(group)
      const journal = new RestoreJournal({ stateDirectory: directory, bootId: 'boot-1', maxBytes: 1e6, groupId, marks })
      journals.push(journal)
      return { journal, actuator: new Actuator(kernel, journal) }
    }
    const start = (marks = groups.options(true)) => new JournaledNode(kernel, { directory, marks })
    body({ kernel, groups, start, open })
    for (const journal of journals) journal.end()
  })
}

function step(group: string, value: number, kind: 'weight' | 'bvt' | 'memoryLow' = 'weight'): Step {
  const because = { code: 'claim', rule: 'identity', because: { code: 'identity.weight', qosClass: 'OT' } } as const
  return { group, kind, value, from: undefined, phase: 'narrow', because: because as unknown as Step['because'] }
}

const limited = { limited: true, nowMs: 0 }
const withoutKoffi: MarksOptions = {
  enabled: true,
  open: () => ({ usable: false, reason: 'the optional package koffi is not installed' }),
  now: () => 0,
}

describe('a tick', () => {
  it('sets marks after all its values, of a bounded number of groups, and the next ones the rest', () => {
    bed(({ kernel, groups, open }) => {
      const plan: Plan = Array.from({ length: 80 }, (_, number) => step(`${ROOT}/pod${number}`, 7))
      for (const { group } of plan) kernel.makeGroup(group)
      const { actuator } = open()
      groups.refuses = (call) => {
        if (call !== 'get') expect(plan.map(({ group }) => kernel.readKnob(group, 'weight'))).toEqual(plan.map(() => 7))
        return undefined
      }
      const marked = [plan, [], [], []].map((each) => {
        actuator.apply(each, limited)
        return groups.texts.size
      })
      expect(marked).toEqual([32, 64, 80, 80])
    })
  })

  it('changes a mark only where another file is held', () => {
    bed(({ groups, open }) => {
      const { actuator } = open()
      actuator.apply([step(POD, 7)], limited)
      expect(groups.texts).toEqual(new Map([[`/tree${POD}`, 'held: cpu.weight']]))
      for (const weight of [8, 9, 10]) actuator.apply([step(POD, weight)], limited)
      expect(groups.changes).toBe(1)
      actuator.apply([step(POD, 11), step(POD, 4096, 'memoryLow')], limited)
      expect([...groups.texts.values(), groups.changes]).toEqual(['held: cpu.weight memory.low', 2])
    })
  })
})

describe('an attribute that can not be set', () => {
  it.each(['EPERM', 'EROFS', 'ENOTSUP'] as const)('for %s is asked for once, is told of, and every value is written', (errno) => {
    bed(({ groups, open }) => {
      const { journal, actuator } = open()
      let calls = 0
      groups.refuses = (call) => {
        if (call === 'set') calls += 1
        return call === 'set' ? errno : undefined
      }
      const results = [1, 2, 3].flatMap((round) => actuator.apply([step(POD, 7 + round), step(OTHER, 7 + round)], limited))
      expect(results.map(({ outcome }) => isSuccess(outcome))).toEqual(results.map(() => true))
      expect([calls, groups.texts.size]).toEqual([1, 0])
      expect(isFailing(journal.marks.run)).toBe(true)
      expect(journal.marks.run.lastError).toBe(`user.kube-agent of ${POD}: ${errno}`)
    })
  })

  it('on one group, for lack of room, keeps no other from being marked', () => {
    bed(({ groups, open }) => {
      const { journal, actuator } = open()
      groups.refuses = (call, path) => (call === 'set' && path.endsWith(POD) ? 'ENOSPC' : undefined)
      for (const weight of [7, 8, 9]) actuator.apply([step(POD, weight), step(OTHER, weight)], limited)
      expect([...groups.texts.keys()]).toEqual([`/tree${OTHER}`])
      const { run } = journal.marks
      expect([isFailing(run), run.failures, run.lastError]).toEqual([false, 1, `user.kube-agent of ${POD}: ENOSPC`])
    })
  })

  it('since the group has gone is nothing to tell of', () => {
    bed(({ groups, open }) => {
      const { journal, actuator } = open()
      groups.refuses = (call) => (call === 'set' ? 'ENOENT' : undefined)
      actuator.apply([step(POD, 7)], limited)
      expect(journal.marks.run.failures).toBe(0)
    })
  })

  it('without koffi is a reason, and no record says that there may be one', () => {
    bed(({ open, kernel }) => {
      const { journal, actuator } = open(withoutKoffi)
      actuator.apply([step(POD, 7)], limited)
      expect(kernel.readKnob(POD, 'weight')).toBe(7)
      expect([journal.marks.state, journal.marks.run.failures]).toEqual(['unusable', 0])
      expect(journal.marks.problem).toBe('groups are not marked: the optional package koffi is not installed')
      expect(journal.entries.get(POD, 'weight')).not.toHaveProperty('marked')
    })
  })
})

describe('a mark that may be left', () => {
  const claim = (node: JournaledNode, kinds: readonly KnobKind[] = ['weight']) =>
    node.apply(kinds.map((kind) => step(POD, 8192, kind as 'weight')))

  it('since koffi has gone is told of, and the values go back all the same', () => {
    bed(({ kernel, groups, start }) => {
      const before = kernel.readKnob(POD, 'weight')
      const first = start()
      claim(first)
      first.journal.marks.flush(Infinity)
      first.end()
      for (const enabled of [true, false]) {
        const other = start({ ...withoutKoffi, enabled })
        expect(other.journal.marks.left === undefined).toBe(enabled)
        if (!enabled) other.release()
        expect(groups.texts.size).toBe(1)
        if (!enabled) expect(other.journal.marks.left).toMatch(/^user\.kube-agent stays on .*: the optional package koffi is not/)
        other.end()
      }
      expect(kernel.readKnob(POD, 'weight')).toBe(before)
    })
  })

  it('since the kernel refuses to remove it is told of', () => {
    bed(({ groups, start }) => {
      const node = start()
      claim(node)
      node.journal.marks.flush(Infinity)
      groups.refuses = (call) => (call === 'remove' ? 'EPERM' : undefined)
      expect(node.release()).toMatchObject({ restored: 1, failed: [] })
      expect(node.journal.marks.left).toBe(`user.kube-agent of ${POD}: EPERM`)
    })
  })

  it('on a group whose value is somebody else’s by now goes with the release, and comes again with the next write', () => {
    bed(({ kernel, groups, start }) => {
      const node = start()
      claim(node, ['weight', 'memoryLow'])
      node.journal.marks.flush(Infinity)
      kernel.writeKnob(POD, { kind: 'weight', value: 500 })
      expect(node.release()).toMatchObject({ restored: 1, foreign: [{ group: POD, kind: 'weight' }] })
      expect([groups.texts.size, node.journal.entries.size]).toEqual([0, 1])
      claim(node)
      node.journal.marks.flush(Infinity)
      expect([...groups.texts.values()]).toEqual(['held: cpu.weight'])
    })
  })

  it('was set on a group that was made anew goes, while the agent runs and at its next start', () => {
    bed(({ kernel, groups, start }) => {
      for (const restarts of [false, true]) {
        let node = start()
        claim(node)
        groups.forget(POD)
        kernel.removeGroup(POD)
        kernel.makeGroup(POD)
        // Before anybody has noticed.
        node.journal.marks.flush(Infinity)
        expect(groups.texts.size).toBe(1)
        if (restarts) {
          node.end()
          node = start()
        } else node.journal.prune()
        expect([groups.texts.size, node.journal.entries.size]).toEqual([0, 0])
        node.end()
      }
    })
  })
})
