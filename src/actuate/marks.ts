/**
 * Marks on groups: while the restore journal has an original of one of a group's knobs, the directory that the knob's file is in bears the
 * extended attribute MARK_NAME, whose text names the files: `held: cpu.cfs_quota_us cpu.shares`.
 *
 *   original on disk ──▶ value written ──▶ mark set        a killed agent leaves no mark that the journal does not know of,
 *   value put back   ──▶ mark removed  ──▶ record closed   so whoever reads the journal next can remove it
 *
 * A mark is for people: nothing waits for one, none is needed for anything, and one that can't be set is told of and no more. What somebody
 * else wrote under the name is left alone.
 */
import type { GroupPath, KnobKind, MarkPort, OpenedMarks, Outcome } from '../model/index.ts'
import { isSuccess, KNOB_KINDS, KnobTable, MARK_NAME, Run } from '../model/index.ts'
import type { JournalEntry } from './journal-text.ts'

/** What every text of the agent's begins with; another text is not the agent's. */
const OURS = 'held: '
/** A text that is somebody else's is told of up to so many characters. */
const MOST_CHARS = 60

export interface MarksOptions {
  /** Whether groups are to be marked; where not, marks of an agent before this one are removed. */
  readonly enabled: boolean
  /** Called when it is first needed, which it is not without `enabled` on a node that bears no marks. */
  readonly open: () => OpenedMarks
  /** Monotonic ms. */
  readonly now: () => number
}

/** For a journal that marks nothing. */
export const NO_MARKS: MarksOptions = {
  enabled: false,
  open: () => ({ usable: false, reason: 'marks are not looked after here' }),
  now: () => 0,
}

export class Marks {
  /** How setting and removing them goes. What concerns one group alone is counted, and does not count as failing. */
  readonly run = new Run('group_marks')
  readonly #options: MarksOptions
  #opened: OpenedMarks | undefined
  #entries = new KnobTable<JournalEntry>()
  /** Groups whose marks may not tell what is held. */
  readonly #dirty = new Set<GroupPath>()
  /** What the marks of a group name, as bits in the order of KNOB_KINDS. Those of an agent before this one are not known, and read. */
  readonly #named = new Map<GroupPath, number>()
  /** By the same bits: the text in each tree. There are few, and they are compared by tree. */
  readonly #texts = new Map<number, ReadonlyMap<string, string>>()
  /** On record, and somebody else's by now: found by a release, and ended by the next write. */
  readonly #theirs = new KnobTable<true>()
  /** An answer that all groups would give: no more is set then. */
  #refused = false
  #left: string | undefined

  constructor(options: MarksOptions) {
    this.#options = options
  }

  /** Whether groups are marked. */
  get isOn(): boolean {
    return this.#options.enabled && this.#port !== undefined
  }

  get state(): 'on' | 'off' | 'unusable' {
    if (!this.#options.enabled) return 'off'
    return this.isOn ? 'on' : 'unusable'
  }

  /** Why groups are not marked though they should be, or are though they should not; undefined while all is well. */
  get problem(): string | undefined {
    const opened = this.#options.enabled ? this.#open() : undefined
    if (opened?.usable === false) return `groups are not marked: ${opened.reason}`
    return this.#left
  }

  /** Why a mark that should have gone may be there still; undefined while there is none. What went wrong last. */
  get left(): string | undefined {
    return this.#left
  }

  get #port(): MarkPort | undefined {
    const opened = this.#open()
    return opened.usable ? opened.port : undefined
  }

  #open(): OpenedMarks {
    this.#opened ??= this.#options.open()
    return this.#opened
  }

  /**
   * Takes over the journal of an agent before this one, ahead of its rewriting. From here on all that is on record may bear a mark; or, without
   * `enabled`, nothing does.
   */
  takeOver(entries: KnobTable<JournalEntry>): void {
    this.#entries = entries
    let stay = 0
    for (const group of entries.groups()) {
      const isLeftOver = !this.#options.enabled && this.#recorded(group) !== 0
      const isRid = isLeftOver && this.#bringAll(group)
      if (isLeftOver && !isRid) stay += 1
      for (const [kind, { marked, ...entry }] of entries.ofGroup(group) ?? []) {
        if (this.isOn || (marked === true && isRid)) entries.set(group, kind, this.isOn ? { ...entry, marked: true } : entry)
      }
    }
    if (stay > 0) this.#stays(`${stay} of the groups`)
  }

  /** The table that the journal keeps from now on. */
  follow(entries: KnobTable<JournalEntry>): void {
    this.#entries = entries
    if (this.isOn) for (const group of entries.groups()) this.#dirty.add(group)
  }

  /** An original of the group has been put on record. */
  saved(group: GroupPath): void {
    if (this.isOn) this.#dirty.add(group)
  }

  /** A value is about to be written: what a release found to be somebody else's is the agent's again. */
  wrote(group: GroupPath, kind: KnobKind): void {
    if (this.#theirs.get(group, kind) === undefined) return
    this.#theirs.delete(group, kind)
    this.#dirty.add(group)
  }

  /** A record is about to be closed: a mark that has nothing else to name goes first. `isThere` tells whether the group is. */
  closing(group: GroupPath, kind: KnobKind, isThere: () => boolean): void {
    if (this.#entries.get(group, kind)?.marked !== true) return
    this.#theirs.delete(group, kind)
    const port = this.#port
    if (port === undefined) {
      if (isThere()) this.#stays(group)
      return
    }
    const left = this.#held(group) & ~bitOf(kind)
    const tree = port.placeOf(kind)?.tree
    if (tree !== undefined && !this.#textsOf(left).has(tree)) {
      this.#bring(port, { group, tree, text: undefined })
      this.#named.set(group, (this.#named.get(group) ?? 0) & ~bitsOf(port, tree))
    }
    if (left !== 0) this.#dirty.add(group)
    else {
      this.#dirty.delete(group)
      this.#named.delete(group)
    }
  }

  /** Brings marks up to date, of so many groups at most. Costs nothing where nothing has changed. */
  flush(most: number): void {
    if (this.#dirty.size === 0 || !this.isOn) return
    let left = most
    for (const group of this.#dirty) {
      if (left <= 0) return
      left -= 1
      this.#dirty.delete(group)
      this.#bringAll(group)
    }
  }

  /** The end of a release: what is left on record because somebody else wrote it is not held. */
  released(theirs: Iterable<{ readonly group: GroupPath; readonly kind: KnobKind }>): void {
    for (const { group, kind } of theirs) {
      if (this.#entries.get(group, kind)?.marked !== true) continue
      if (this.#port === undefined) this.#stays(group)
      this.#theirs.set(group, kind, true)
      this.#dirty.add(group)
    }
    this.flush(Infinity)
  }

  /** Each directory of the group as it should be; false where one could not be brought there. */
  #bringAll(group: GroupPath): boolean {
    const port = this.#port
    if (port === undefined) return false
    const held = this.#options.enabled ? this.#held(group) : 0
    const known = this.#named.get(group)
    const wanted = this.#textsOf(held)
    // Whatever an agent before this one has named is on record still.
    const before = this.#textsOf(known ?? this.#recorded(group))
    let done = true
    for (const tree of new Set([...wanted.keys(), ...before.keys()])) {
      const text = wanted.get(tree)
      if (known !== undefined && before.get(tree) === text) continue
      done = this.#bring(port, { group, tree, text }) && done
    }
    // Also where it was refused: it is tried again when there is something else to tell.
    if (held === 0) this.#named.delete(group)
    else this.#named.set(group, held)
    return done
  }

  /** One mark as it should be, none for no text. Answers whether nothing of the agent's is left that should not be. */
  #bring(port: MarkPort, { group, tree, text }: { group: GroupPath; tree: string; text: string | undefined }): boolean {
    const now = port.read(group, tree)
    if (typeof now === 'object') return this.#answered(now, group, text)
    if (now === text) return true
    if (now !== undefined && !now.startsWith(OURS)) {
      if (text !== undefined) this.#told(`${MARK_NAME} of ${group} is somebody else's: ${clip(now)}`)
      return true
    }
    if (text === undefined) return this.#answered(port.remove(group, tree), group, text)
    return this.#refused || this.#answered(port.write(group, tree, text), group, text)
  }

  #answered(outcome: Outcome, group: GroupPath, text: string | undefined): boolean {
    if (outcome.is === 'vanished') return true
    if (isSuccess(outcome)) {
      this.run.ok(this.#options.now())
      return true
    }
    const why = `${MARK_NAME} of ${group}: ${'errno' in outcome ? outcome.errno : outcome.is}`
    if (text === undefined) this.#left = why
    // Kernel: a group has room for so many attributes (ENOSPC); a lack of rights, or of support, is the same for all.
    const isForAll = outcome.is === 'forbidden' || (outcome.is === 'failed' && ['ENOTSUP', 'ENOSYS'].includes(outcome.errno))
    this.#refused ||= isForAll
    this.#told(why)
    return false
  }

  /** What would take a mark away is missing. */
  #stays(where: string): void {
    const reason = this.#opened?.usable === false ? this.#opened.reason : 'it was not removed'
    this.#left = `${MARK_NAME} stays on ${where}: ${reason}`
    this.#failed(this.#left)
  }

  #failed(why: string): void {
    this.run.failed(why, this.#options.now())
  }

  /** Of one group, and over with that, unless all are concerned. */
  #told(why: string): void {
    this.#failed(why)
    if (!this.#refused) this.run.ok(this.#options.now())
  }

  #recorded(group: GroupPath): number {
    let bits = 0
    for (const [kind, entry] of this.#entries.ofGroup(group) ?? []) if (entry.marked === true) bits |= bitOf(kind)
    return bits
  }

  #held(group: GroupPath): number {
    let bits = this.#recorded(group)
    for (const kind of this.#theirs.ofGroup(group)?.keys() ?? []) bits &= ~bitOf(kind)
    return bits
  }

  #textsOf(bits: number): ReadonlyMap<string, string> {
    const known = this.#texts.get(bits)
    if (known !== undefined) return known
    const texts = new Map<string, string>()
    for (const kind of KNOB_KINDS) {
      const place = (bits & bitOf(kind)) === 0 ? undefined : this.#port?.placeOf(kind)
      if (place !== undefined) texts.set(place.tree, `${texts.get(place.tree) ?? OURS.trimEnd()} ${place.files}`)
    }
    this.#texts.set(bits, texts)
    return texts
  }
}

function bitOf(kind: KnobKind): number {
  return 1 << KNOB_KINDS.indexOf(kind)
}

function bitsOf(port: MarkPort, tree: string): number {
  return KNOB_KINDS.reduce((bits, kind) => (port.placeOf(kind)?.tree === tree ? bits | bitOf(kind) : bits), 0)
}

function clip(text: string): string {
  return JSON.stringify(text.length <= MOST_CHARS ? text : `${text.slice(0, MOST_CHARS)}…`)
}
