/**
 * Marks against the model kernel: they tell what the restore journal has on record, no more and no less, and not one is left behind, whenever
 * the agent is killed and whatever it is started with the next time.
 */
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { JournalEntry } from '../../src/actuate/journal-text.ts'
import type { KnobTable } from '../../src/model/index.ts'
import { KNOB_KINDS } from '../../src/model/index.ts'
import { JournaledNode, Killed, mortal, NOTHING, withDirectory } from '../support/journaled-node.ts'
import { MarkedGroups } from '../support/marked-groups.ts'
import { rawTree, type Tree, treeOf } from '../support/trees.ts'
import { desiredOf, rawWishes, type RawWish } from '../support/wishes.ts'

const RUNS = { numRuns: 100 }
const FOREIGN = 'hands off'

/** What a journal calls for, by path. */
function expected(node: JournaledNode, groups: MarkedGroups): Map<string, string> {
  const opened = groups.options(true).open()
  const texts = new Map<string, string>()
  if (!opened.usable) throw new Error(opened.reason)
  for (const group of node.journal.entries.groups()) {
    for (const kind of KNOB_KINDS) {
      const place = opened.port.placeOf(kind)
      if (!node.journal.has(group, kind) || place === undefined) continue
      const path = `${place.tree}${group}`
      texts.set(path, `${texts.get(path) ?? 'held:'} ${place.files}`)
    }
  }
  return texts
}

/** Marks of which the journal that stands on disk has nothing. */
function unknown(groups: MarkedGroups, entries: KnobTable<JournalEntry>): string[] {
  const opened = groups.options(true).open()
  if (!opened.usable) throw new Error(opened.reason)
  const { port } = opened
  const known = new Set<string>()
  for (const [group, kind, { marked }] of entries.entries())
    if (marked === true) known.add(`${port.placeOf(kind)?.tree ?? ''}${group}`)
  return [...groups.texts.keys()].filter((path) => !known.has(path))
}

/** A tick for each list of wishes; true when the agent was killed in one of them. */
function runUntilKilled(node: JournaledNode, tree: Tree, sequence: readonly (readonly RawWish[])[]): boolean {
  try {
    for (const wishes of [...sequence, []]) {
      node.reach(wishes.length === 0 ? NOTHING : desiredOf(wishes, tree))
      node.journal.marks.flush(Infinity)
    }
    return false
  } catch (thrown) {
    if (!(thrown instanceof Killed)) throw thrown
    return true
  } finally {
    node.end()
  }
}

const sequences = fc.array(rawWishes, { minLength: 1, maxLength: 4 })
const fates = fc.record({
  sequence: sequences,
  writes: fc.oneof(fc.nat(40), fc.constant(1e9)),
  marks: fc.oneof(fc.nat(40), fc.constant(1e9)),
  after: fc.boolean(),
})

describe('the marks of groups', () => {
  it('name the files on record after every tick, and are gone when all is given back', () => {
    fc.assert(
      fc.property(rawTree, sequences, (raw, sequence) =>
        withDirectory((directory) => {
          const tree = treeOf(raw)
          const groups = new MarkedGroups(tree.kernel)
          const node = new JournaledNode(tree.kernel, { directory, marks: groups.options(true) })
          for (const wishes of sequence) {
            node.reach(desiredOf(wishes, tree))
            node.journal.marks.flush(Infinity)
            expect(groups.texts).toEqual(expected(node, groups))
          }
          const { changes } = groups
          // Nothing has changed: nothing is called.
          groups.refuses = () => 'EIO'
          node.journal.marks.flush(Infinity)
          groups.refuses = () => undefined
          expect([groups.changes, node.journal.marks.run.failures]).toEqual([changes, 0])
          node.release()
          expect(groups.texts).toEqual(new Map())
        }),
      ),
      RUNS,
    )
  })

  it('of an agent that was killed anywhere are known to the journal; the next agent goes on with them, or a release removes them', () => {
    let killed = 0
    fc.assert(
      fc.property(rawTree, fates, sequences, fc.boolean(), (raw, fate, more, released) =>
        withDirectory((directory) => {
          const tree = treeOf(raw)
          const groups = new MarkedGroups(tree.kernel)
          groups.fate = { left: fate.marks, after: fate.after }
          const port = mortal(tree.kernel, fate.writes, fate.after)
          const first = new JournaledNode(tree.kernel, { directory, port, marks: groups.options(true) })
          if (runUntilKilled(first, tree, fate.sequence)) killed += 1
          groups.fate = { left: Infinity, after: false }
          const next = new JournaledNode(tree.kernel, { directory, marks: groups.options(true) })
          expect(unknown(groups, next.journal.entries as KnobTable<JournalEntry>)).toEqual([])
          if (!released) {
            next.journal.marks.flush(Infinity)
            expect(groups.texts).toEqual(expected(next, groups))
            runUntilKilled(next, tree, more)
          }
          next.end()
          const last = new JournaledNode(tree.kernel, { directory, marks: groups.options(true) })
          last.release()
          expect(groups.texts).toEqual(new Map())
          expect([last.journal.entries.size, last.journal.marks.left]).toEqual([0, undefined])
        }),
      ),
      RUNS,
    )
    expect(killed).toBeGreaterThan(RUNS.numRuns / 10)
  })

  it('go at the next start where they were switched off, and the start after it calls the kernel for nothing', () => {
    fc.assert(
      fc.property(rawTree, fates, (raw, fate) =>
        withDirectory((directory) => {
          const tree = treeOf(raw)
          const groups = new MarkedGroups(tree.kernel)
          groups.fate = { left: fate.marks, after: fate.after }
          runUntilKilled(new JournaledNode(tree.kernel, { directory, marks: groups.options(true) }), tree, fate.sequence)
          groups.fate = { left: Infinity, after: false }
          // One in between has written the journal anew.
          if (fate.after) new JournaledNode(tree.kernel, { directory, marks: groups.options(true) }).end()
          new JournaledNode(tree.kernel, { directory, marks: groups.options(false) }).end()
          expect(groups.texts).toEqual(new Map())
          let opened = 0
          const open = (): never => {
            opened += 1
            throw new Error('needed')
          }
          const third = new JournaledNode(tree.kernel, { directory, marks: { ...groups.options(false), open } })
          third.reach(NOTHING)
          third.release()
          expect(opened).toBe(0)
        }),
      ),
      RUNS,
    )
  })

  it('of somebody else stay as they are, and keep nobody from anything', () => {
    fc.assert(
      fc.property(rawTree, sequences, fc.nat(), (raw, sequence, which) =>
        withDirectory((directory) => {
          const tree = treeOf(raw)
          const groups = new MarkedGroups(tree.kernel)
          const group = tree.groups[which % tree.groups.length] ?? ''
          const path = raw.dialect === 'v1' ? `/tree/cpu${group}` : `/tree${group}`
          groups.texts.set(path, FOREIGN)
          const node = new JournaledNode(tree.kernel, { directory, marks: groups.options(true) })
          let met = false
          for (const wishes of sequence) {
            node.reach(desiredOf(wishes, tree))
            node.journal.marks.flush(Infinity)
            const wanted = expected(node, groups)
            met ||= wanted.has(path)
            expect(node.journal.marks.run.failures > 0).toBe(met)
            expect(groups.texts).toEqual(wanted.set(path, FOREIGN))
          }
          expect(node.journal.marks.run.failuresInARow).toBe(0)
          node.release()
          expect(groups.texts).toEqual(new Map([[path, FOREIGN]]))
        }),
      ),
      RUNS,
    )
  })
})
