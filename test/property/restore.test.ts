/**
 * The promise behind "every change can be undone": the real journal on disk, the real actuator and the real plan against the model
 * kernel, stopped and started at random. What release leaves is compared with the start byte for byte.
 */
import { cpSync, readdirSync, readFileSync, statSync, truncateSync } from 'node:fs'
import { join } from 'node:path'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { RestoreJournal } from '../../src/actuate/index.ts'
import { CpuSet } from '../../src/cpu/index.ts'
import type { Desired, KnobKind, KnobValue, Quota } from '../../src/model/index.ts'
import { isQuota, isSuccess, quotaMilliCpu, sameValue } from '../../src/model/index.ts'
import { JournaledNode, Killed, mortal, NOTHING, withDirectory } from '../support/journaled-node.ts'
import { rawTree, textOf, treeOf, type Tree } from '../support/trees.ts'
import { desiredOf, rawWishes, settingOf, type RawWish, rawWish } from '../support/wishes.ts'

const sequences = fc.array(rawWishes, { minLength: 1, maxLength: 5 })
const RUNS = { numRuns: 120 }

function expectAllApplied(results: ReturnType<JournaledNode['reach']>): void {
  expect(results.filter(({ outcome }) => !isSuccess(outcome))).toEqual([])
}

/** Runs the sequence until the kernel kills the agent; true when it did. */
function runUntilKilled(
  tree: Tree,
  directory: string,
  fate: { sequence: readonly (readonly RawWish[])[]; writes: number; after: boolean },
): boolean {
  const node = new JournaledNode(tree.kernel, { directory, port: mortal(tree.kernel, fate.writes, fate.after) })
  try {
    for (const wishes of fate.sequence) node.reach(desiredOf(wishes, tree))
    return false
  } catch (thrown) {
    if (!(thrown instanceof Killed)) throw thrown
    return true
  } finally {
    node.end()
  }
}

describe('release', () => {
  it('puts every knob back byte for byte after any sequence of plans (I14)', () => {
    fc.assert(
      fc.property(rawTree, sequences, (raw, sequence) =>
        withDirectory((directory) => {
          const tree = treeOf(raw)
          const before = textOf(tree.kernel)
          const node = new JournaledNode(tree.kernel, { directory })
          for (const wishes of sequence) expectAllApplied(node.reach(desiredOf(wishes, tree)))
          const report = node.release()
          expect(textOf(tree.kernel)).toEqual(before)
          expect(report.failed).toEqual([])
          expect(report.foreign).toEqual([])
          expect(node.journal.entries.size).toBe(0)
        }),
      ),
      RUNS,
    )
  })

  it('is what a plan with nothing desired does, too (I14)', () => {
    fc.assert(
      fc.property(rawTree, sequences, (raw, sequence) =>
        withDirectory((directory) => {
          const tree = treeOf(raw)
          const before = textOf(tree.kernel)
          const node = new JournaledNode(tree.kernel, { directory })
          for (const wishes of sequence) node.reach(desiredOf(wishes, tree))
          expectAllApplied(node.reach(NOTHING))
          expect(textOf(tree.kernel)).toEqual(before)
          expect(node.plan(NOTHING)).toEqual([])
        }),
      ),
      RUNS,
    )
  })

  it('leaves alone and reports what somebody else has written since (I14)', () => {
    fc.assert(
      fc.property(rawTree, sequences, fc.array(rawWish, { minLength: 1, maxLength: 4 }), (raw, sequence, foreign) =>
        withDirectory((directory) => {
          // Under v1 a foreign parent may stand in a child's way: what is restored then is the kernel's business.
          const tree = treeOf({ ...raw, dialect: 'v2' })
          const before = textOf(tree.kernel)
          const node = new JournaledNode(tree.kernel, { directory })
          for (const wishes of sequence) node.reach(desiredOf(wishes, tree))
          const theirs = new Map<string, KnobValue>()
          for (const wish of foreign) {
            const group = tree.groups[wish.group % tree.groups.length] ?? ''
            const entry = node.journal.entries.get(group, wish.kind)
            const setting = settingOf(wish, tree.kernel)
            // Idle has two values only, and both are ours; so has freeze. Limits go back device by device, see diff.test.ts.
            if (entry === undefined || wish.kind === 'idle' || wish.kind === 'freeze' || wish.kind === 'ioMax') continue
            if (tree.kernel.readKnob(group, 'idle') === 1) continue
            // Putting idle back takes the weight along.
            if (wish.kind === 'weight' && node.journal.entries.get(group, 'idle') !== undefined) continue
            if ([entry.original, ...entry.ours].some((known) => sameValue(known, setting.value))) continue
            if (isSuccess(tree.kernel.writeKnob(group, setting))) theirs.set(`${group} ${wish.kind}`, setting.value)
          }
          const report = node.release()
          expect(new Set(report.foreign.map(({ group, kind }) => `${group} ${kind}`))).toEqual(new Set(theirs.keys()))
          const wanted = { ...before, ...Object.fromEntries([...theirs].map(([key, value]) => [key, JSON.stringify(value)])) }
          expect(textOf(tree.kernel)).toEqual(wanted)
        }),
      ),
      RUNS,
    )
  })

  it('knows its own value also after later writes were refused (I14)', () => {
    fc.assert(
      fc.property(rawTree, rawWishes, fc.array(rawWish, { minLength: 1, maxLength: 8 }), (raw, wishes, refused) =>
        withDirectory((directory) => {
          const tree = treeOf(raw)
          const before = textOf(tree.kernel)
          const node = new JournaledNode(tree.kernel, { directory })
          node.reach(desiredOf(wishes, tree))
          const held = textOf(tree.kernel)
          const refusing = new JournaledNode(tree.kernel, { directory, port: refuser(tree.kernel) })
          for (const wish of refused) refusing.reach(desiredOf([wish], tree))
          expect(textOf(tree.kernel)).toEqual(held)
          const after = new JournaledNode(tree.kernel, { directory })
          const report = after.release()
          expect(textOf(tree.kernel)).toEqual(before)
          expect(report.foreign).toEqual([])
        }),
      ),
      RUNS,
    )
  })
})

/** A kernel that takes no write any more. */
function refuser(kernel: Tree['kernel']): Tree['kernel'] {
  return new Proxy(kernel, {
    get: (target, key) => {
      if (key === 'writeKnob') return () => ({ is: 'refused', errno: 'EINVAL' })
      const value: unknown = Reflect.get(target, key, target)
      return typeof value === 'function' ? (value as (...args: unknown[]) => unknown).bind(target) : value
    },
  })
}

const fates = fc.record({ sequence: sequences, writes: fc.nat(40), after: fc.boolean() })

describe('an agent that was killed at any write', () => {
  it('is released from what is on disk: everything as at the start (I14)', () => {
    fc.assert(
      fc.property(rawTree, fates, (raw, fate) =>
        withDirectory((directory) => {
          const tree = treeOf(raw)
          const before = textOf(tree.kernel)
          runUntilKilled(tree, directory, fate)
          const report = new JournaledNode(tree.kernel, { directory }).release()
          expect(textOf(tree.kernel)).toEqual(before)
          expect(report.failed).toEqual([])
        }),
      ),
      RUNS,
    )
  })

  it('goes on from what is on disk: the goal is reached, and released again (I13, I14)', () => {
    fc.assert(
      fc.property(rawTree, fates, rawWishes, (raw, fate, last) =>
        withDirectory((directory) => {
          const tree = treeOf(raw)
          const before = textOf(tree.kernel)
          runUntilKilled(tree, directory, fate)
          const node = new JournaledNode(tree.kernel, { directory })
          const desired: Desired = desiredOf(last, tree)
          expectAllApplied(node.reach(desired))
          expect(node.plan(desired)).toEqual([])
          node.release()
          expect(textOf(tree.kernel)).toEqual(before)
        }),
      ),
      RUNS,
    )
  })

  it('is released while it is killed again and again (I14)', () => {
    fc.assert(
      fc.property(rawTree, fates, fc.array(fc.tuple(fc.nat(8), fc.boolean()), { maxLength: 4 }), (raw, fate, kills) =>
        withDirectory((directory) => {
          const tree = treeOf(raw)
          const before = textOf(tree.kernel)
          runUntilKilled(tree, directory, fate)
          for (const [writes, after] of kills) {
            const node = new JournaledNode(tree.kernel, { directory, port: mortal(tree.kernel, writes, after) })
            try {
              node.release()
            } catch (thrown) {
              if (!(thrown instanceof Killed)) throw thrown
            }
            node.end()
          }
          new JournaledNode(tree.kernel, { directory }).release()
          expect(textOf(tree.kernel)).toEqual(before)
        }),
      ),
      RUNS,
    )
  })
})

/** Whether one cpuset or quota, as text, lies within another. */
function fitsInto(text: string, original: string): boolean {
  const [now, then] = [text, original].map((json): unknown => JSON.parse(json))
  if (typeof now === 'string' && typeof then === 'string') return CpuSet.parse(now).isSubsetOf(CpuSet.parse(then))
  return isQuota(now as KnobValue) && isQuota(then as KnobValue) && quotaMilliCpu(now as Quota) <= quotaMilliCpu(then as Quota)
}

describe('a torn journal', () => {
  const journalOf = (directory: string): string => join(directory, 'restore.journal')

  it('loses at most the last line when that is torn, and still restores the start', () => {
    fc.assert(
      fc.property(rawTree, fates, fc.nat(), (raw, fate, at) =>
        withDirectory((directory) => {
          const tree = treeOf(raw)
          const before = textOf(tree.kernel)
          const killed = runUntilKilled(tree, directory, { ...fate, after: false })
          const text = readFileSync(journalOf(directory), 'utf8')
          const lastLine = text.lastIndexOf('\n', text.length - 2) + 1
          // A kill before the write: the last line is the note of a value that never reached the kernel.
          fc.pre(killed && text.slice(lastLine).includes('"wrote"'))
          truncateSync(journalOf(directory), lastLine + (at % (text.length - lastLine)))
          const node = new JournaledNode(tree.kernel, { directory })
          expect(node.journal.damagedLines).toBeLessThanOrEqual(1)
          node.release()
          expect(textOf(tree.kernel)).toEqual(before)
        }),
      ),
      RUNS,
    )
  })

  it('cut at any byte never throws, and gives no knob a value that it did not hold before', () => {
    fc.assert(
      fc.property(rawTree, sequences, fc.nat(), (raw, sequence, at) =>
        withDirectory((directory) => {
          const tree = treeOf(raw)
          const before = textOf(tree.kernel)
          const node = new JournaledNode(tree.kernel, { directory })
          for (const wishes of sequence) node.reach(desiredOf(wishes, tree))
          node.end()
          const held = textOf(tree.kernel)
          const { size } = statSync(journalOf(directory))
          truncateSync(journalOf(directory), at % (size + 1))
          new JournaledNode(tree.kernel, { directory }).release()
          const defaults: Partial<Record<KnobKind, string>> = { weight: raw.dialect === 'v1' ? '1024' : '100' }
          for (const [key, text] of Object.entries(textOf(tree.kernel))) {
            // Without its record a weight can't come back; clearing idle leaves the kernel's default.
            const kind = key.split(' ')[1] as KnobKind
            // A parent whose record is lost stays as it is, and under v1 its children get what fits into it.
            const isNested = kind === 'cpuset' || kind === 'quota'
            if (raw.dialect === 'v1' && isNested && fitsInto(text, before[key] ?? '')) continue
            expect([before[key], held[key], defaults[kind]], key).toContain(text)
          }
        }),
      ),
      RUNS,
    )
  })

  it('keeps its meaning however often it is compacted, in one file of mode 0600', () => {
    const meaningOf = (journal: RestoreJournal): string[] =>
      [...journal.entries.entries()]
        .map(([group, kind, { original, ours }]) => JSON.stringify([group, kind, original, ours]))
        .sort()
    fc.assert(
      fc.property(rawTree, sequences, (raw, sequence) =>
        withDirectory((directory) => {
          const tree = treeOf(raw)
          const before = textOf(tree.kernel)
          const state = join(directory, 'state')
          const node = new JournaledNode(tree.kernel, { directory: state, maxBytes: 1 })
          for (const [index, wishes] of sequence.entries()) {
            node.reach(desiredOf(wishes, tree))
            node.journal.compactIfLarge()
            const copy = join(directory, `copy${index}`)
            cpSync(state, copy, { recursive: true })
            const reread = new JournaledNode(tree.kernel, { directory: copy })
            expect(meaningOf(reread.journal)).toEqual(meaningOf(node.journal))
            expect(reread.journal.damagedLines).toBe(0)
            reread.end()
          }
          expect(readdirSync(state)).toEqual(['restore.journal'])
          expect(statSync(journalOf(state)).mode & 0o777).toBe(0o600)
          node.end()
          new JournaledNode(tree.kernel, { directory: state }).release()
          expect(textOf(tree.kernel)).toEqual(before)
        }),
      ),
      { numRuns: 100 },
    )
  })
})
