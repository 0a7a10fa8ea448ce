/**
 * The plan against a kernel that refuses what the real one refuses: random trees, random wishes, both dialects. What is proved here is
 * that no order of writes meets a refusal (I12) and that a plan gets where it was going (I13), from wherever a cut left it.
 */
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Desired, JournaledKnob, KnobValue, Plan, Step } from '../../src/model/index.ts'
import { CLOBBERS, formatKnobValue, isHeld, KnobTable } from '../../src/model/index.ts'
import { diff, isOurs } from '../../src/plan/index.ts'
import type { ModelKernel } from '../../src/sim/index.ts'
import { rawTree, readAll, type Tree, treeOf } from '../support/trees.ts'
import { desiredOf, type RawWish, rawWish, rawWishes, settingOf } from '../support/wishes.ts'

type Memo = KnobTable<JournaledKnob>

const planFor = (desired: Desired, kernel: ModelKernel, journaled: Memo): Plan =>
  diff({ desired, actual: readAll(kernel), journaled, capabilities: kernel.capabilities })

/** Writes the steps as the actuator does, with the journal kept in memory, and demands that each is taken. */
function perform(steps: Plan, kernel: ModelKernel, memo: Memo): void {
  for (const step of steps) {
    const { because } = step
    if (because.code === 'clipped' && because.wanted === undefined) forgetForeign(memo, kernel, step)
    note(memo, kernel, step, step.value)
    const clobbers = CLOBBERS[step.kind]
    if (clobbers !== undefined)
      note(memo, kernel, { group: step.group, kind: clobbers.kind }, clobbers.leaves[kernel.capabilities.dialect])
    const outcome = kernel.writeKnob(step.group, step)
    expect(outcome, `${step.phase} ${step.group} ${step.kind} ${formatKnobValue(step)}`).toEqual({ is: 'applied' })
  }
}

/** What nobody claims and somebody else has written is an original of its own. */
function forgetForeign(memo: Memo, kernel: ModelKernel, { group, kind }: Step): void {
  const entry = memo.get(group, kind)
  const now = kernel.readKnob(group, kind)
  if (entry !== undefined && now !== undefined && !isOurs(kind, now, entry)) memo.delete(group, kind)
}

function note(memo: Memo, kernel: ModelKernel, { group, kind }: Pick<Step, 'group' | 'kind'>, value: KnobValue): void {
  const original = kernel.readKnob(group, kind)
  if (original === undefined) return
  const known = memo.get(group, kind) ?? { original, ours: [] }
  memo.set(group, kind, { ...known, ours: [value, ...known.ours].slice(0, 2) })
}

/** Plans that are cut short, each after somebody else wrote what the kernel let him and a container came. */
const cuts = fc.array(
  fc.record({
    wishes: rawWishes,
    cut: fc.nat(40),
    foreign: fc.array(rawWish, { maxLength: 3 }),
    newcomer: fc.option(fc.nat(9), { freq: 1 }),
  }),
  { minLength: 1, maxLength: 4 },
)

interface Cut {
  readonly wishes: readonly RawWish[]
  readonly cut: number
  readonly foreign: readonly RawWish[]
  readonly newcomer: number | null
}

function performCut({ wishes, cut, foreign, newcomer }: Cut, tree: Tree, memo: Memo): void {
  for (const wish of foreign) {
    const group = tree.groups[wish.group % tree.groups.length] ?? ''
    tree.kernel.writeKnob(group, settingOf(wish, tree.kernel))
  }
  const parent = newcomer === null ? undefined : tree.pods[newcomer % tree.pods.length]?.group
  if (parent !== undefined && !tree.kernel.exists(`${parent}/new`)) tree.kernel.makeGroup(`${parent}/new`).populated = true
  perform(planFor(desiredOf(wishes, tree), tree.kernel, memo).slice(0, cut), tree.kernel, memo)
}

describe('plan', () => {
  it('is taken by the kernel step by step, also after a cut at any step (I12)', () => {
    fc.assert(
      fc.property(rawTree, cuts, (raw, sequence) => {
        const tree = treeOf(raw)
        const memo: Memo = new KnobTable()
        for (const part of sequence) performCut(part, tree, memo)
      }),
      { numRuns: 3000 },
    )
  })

  it('reaches its goal: after it a second one is empty (I13)', () => {
    fc.assert(
      fc.property(rawTree, cuts, rawWishes, (raw, sequence, last) => {
        const tree = treeOf(raw)
        const memo: Memo = new KnobTable()
        for (const part of sequence) performCut(part, tree, memo)
        const desired = desiredOf(last, tree)
        perform(planFor(desired, tree.kernel, memo), tree.kernel, memo)
        expect(planFor(desired, tree.kernel, memo)).toEqual([])
      }),
      { numRuns: 3000 },
    )
  })

  it('gives every knob its desired value under v2, where nothing has to be clipped (I13)', () => {
    fc.assert(
      fc.property(rawTree, rawWishes, (raw, wishes) => {
        const tree = treeOf({ ...raw, dialect: 'v2' })
        const desired = desiredOf(wishes, tree)
        perform(planFor(desired, tree.kernel, new KnobTable()), tree.kernel, new KnobTable())
        for (const [group, kind, { setting }] of desired.entries()) {
          // A weight can't be given to a group that is idle.
          if (kind === 'weight' && tree.kernel.readKnob(group, 'idle') === 1) continue
          const reads = tree.kernel.readKnob(group, kind)
          expect(isHeld(reads, setting.value), `${group} ${kind} reads ${JSON.stringify(reads)}`).toBe(true)
        }
      }),
      { numRuns: 1000 },
    )
  })

  it('repairs what somebody else wrote to a desired knob', () => {
    fc.assert(
      fc.property(rawTree, rawWishes, fc.array(rawWish, { maxLength: 6 }), (raw, wishes, foreign) => {
        const tree = treeOf(raw)
        const memo: Memo = new KnobTable()
        const desired = desiredOf(wishes, tree)
        perform(planFor(desired, tree.kernel, memo), tree.kernel, memo)
        const reached = [...desired.entries()].map(([group, kind]) => [group, kind, tree.kernel.readKnob(group, kind)] as const)
        for (const wish of foreign) {
          const group = tree.groups[wish.group % tree.groups.length] ?? ''
          // What a foreign writer does to knobs that nobody desires stays; it may bind those that are.
          if (desired.get(group, wish.kind) !== undefined) tree.kernel.writeKnob(group, settingOf(wish, tree.kernel))
        }
        perform(planFor(desired, tree.kernel, memo), tree.kernel, memo)
        for (const [group, kind, value] of reached) {
          const reads = tree.kernel.readKnob(group, kind)
          // Limits of a device that nobody here claims are the foreign writer's.
          const wanted = kind === 'ioMax' ? desired.get(group, kind)?.setting.value : value
          expect(wanted !== undefined && isHeld(reads, wanted), `${group} ${kind} reads ${JSON.stringify(reads)}`).toBe(true)
        }
      }),
      { numRuns: 1000 },
    )
  })
})
