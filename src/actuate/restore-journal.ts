/**
 * The restore journal: the original value of every knob, on disk and synced before the first write to that knob, and after it the values
 * this agent wrote. It survives SIGKILL at any instruction: whatever stands in a knob then is the original, or one of the last two
 * values on record; or, where the file takes no line any more, one that it says is missing (gap.ts).
 * A record is void after a reboot and when its group was made anew. The file is rewritten when it has outgrown its bound.
 */
import type { GroupPath, Journaled, JournalHealth, KnobKind, KnobValue } from '../model/index.ts'
import { AgentError, isHeld, type KnobTable, messageOf, type Run, sameValue } from '../model/index.ts'
import { JournalDamage } from './journal-damage.ts'
import { JournalFile, journalPath, openedJournal } from './journal-file.ts'
import { JournalTrouble } from './journal-trouble.ts'
import { entryOf, formatJournal, halfWritten, type JournalEntry, withValue } from './journal-text.ts'
import { Marks, type MarksOptions, NO_MARKS } from './marks.ts'
import { type ClosedRecord, FORMAT_VERSION, formatRecord, type OriginalRecord, type WroteRecord } from './records.ts'
import { openStateDirectory } from './state-directory.ts'
import type { UnknownKnob, UnknownRecords } from './unknown-records.ts'

/** Past so many times its bound the file is compacted as soon as it is noticed, and not between ticks. */
const TOO_LARGE = 4

export interface RestoreJournalOptions {
  readonly stateDirectory: string
  readonly bootId: string
  /** The file is compacted when it has grown past this. */
  readonly maxBytes: number
  /** Identity of a group as it is now; undefined when it is gone. */
  readonly groupId: (group: GroupPath) => number | undefined
  /** Monotonic ms, to tell when the file was last synced and how long it took. @default a clock that stands still */
  readonly now?: () => number
  /** @default groups are not marked */
  readonly marks?: MarksOptions
}

export class RestoreJournal {
  /** What groups bear while they are on record. */
  readonly marks: Marks
  readonly #options: RestoreJournalOptions
  readonly #file: JournalFile
  readonly #damage: JournalDamage
  readonly #trouble: JournalTrouble
  readonly #made: { readonly version: number; readonly bootId: string }
  #entries: KnobTable<JournalEntry>
  readonly #unknown: UnknownRecords
  /** Lines that could not be read when the journal was opened. */
  readonly damagedLines: number
  /** Knobs on record of which a line that is damaged or missing may have told a value that was written: what they hold now may be the agent's. */
  readonly doubtful: readonly (readonly [GroupPath, KnobKind])[]
  /** Whether something happened that the file does not tell. */
  #behind = false
  #ended = false
  /** Compacting a file of so many bytes has failed: it is not tried with each line. */
  #compactAboveBytes = 0

  /**
   * Opens or creates the journal. Throws E_STATE_DIR when the directory can't be used or others may write in it, E_JOURNAL when the file is from
   * a newer version. A disk without room is no obstacle where an agent has run before on this boot: its file is gone on with. A damaged file is
   * kept beside the new one, with all that can be read of it in force.
   */
  constructor(options: RestoreJournalOptions) {
    this.#options = options
    this.#made = { version: FORMAT_VERSION, bootId: options.bootId }
    this.#file = new JournalFile(journalPath(options.stateDirectory))
    this.#trouble = new JournalTrouble(this.path, () => this.#now())
    openStateDirectory(options.stateDirectory, 'paths.state')
    const found = openedJournal(this.#file, options.bootId)
    this.#entries = found.entries
    this.#unknown = found.unknown
    this.marks = new Marks(options.marks ?? NO_MARKS)
    this.marks.takeOver(found.entries)
    this.#dropStale()
    this.damagedLines = found.damagedLines
    this.doubtful = [...found.doubtful.entries()].flatMap(([group, kind]) => (this.has(group, kind) ? [[group, kind]] : []))
    this.#damage = new JournalDamage(this.path, options.bootId)
    this.#damage.found(found, { restorable: this.#entries.size, isThere: (group) => this.#identityOf(group) !== undefined })
    try {
      this.#file.rewrite(this.#text())
    } catch (thrown) {
      if (found.boot !== 'this' || !this.#resume())
        throw new AgentError('E_STATE_DIR', `cannot write ${this.path}: ${messageOf(thrown)}`, { cause: thrown })
      this.#trouble.failed('rewritten', thrown)
    }
    this.marks.follow(this.#entries)
  }

  get path(): string {
    return this.#file.path
  }

  /** How appending and rewriting go, each with its sync. */
  get run(): Run {
    return this.#trouble.run
  }

  /** How writing the file goes. */
  get health(): JournalHealth {
    const { text } = this.#damage
    const { failures, problem } = this.#trouble
    return {
      failures,
      ...(problem === undefined ? {} : { problem }),
      ...(text === undefined ? {} : { damage: text }),
    }
  }

  get entries(): Journaled {
    return this.#entries
  }

  /** Knobs of groups that are there, put on record by a later version: this one can't put them back, and keeps their records for one that can. */
  get unknown(): readonly UnknownKnob[] {
    return this.#unknown.knobs
  }

  has(group: GroupPath, kind: KnobKind): boolean {
    return this.#entries.get(group, kind) !== undefined
  }

  /** Whether a value is one that this agent wrote, or the original. */
  knows(group: GroupPath, kind: KnobKind, value: KnobValue): boolean {
    const entry = this.#entries.get(group, kind)
    return entry !== undefined && [entry.original, ...entry.ours].some((known) => sameValue(known, value))
  }

  /** Puts originals on record, in the place of any that are there. They are on disk when this returns; only then may the knobs be written. */
  saveOriginals(originals: readonly { readonly group: GroupPath; readonly kind: KnobKind; readonly value: KnobValue }[]): void {
    const records: OriginalRecord[] = []
    for (const { group, kind, value } of originals) {
      const groupId = this.#options.groupId(group)
      if (groupId === undefined) continue
      const marked = this.marks.isOn || this.#entries.get(group, kind)?.marked === true
      records.push({ is: 'original', group, groupId, kind, value, made: this.#made, ...(marked ? { marked } : {}) })
    }
    if (records.length === 0) return
    const begunMs = this.#now()
    try {
      // A line in a file that has lost its name would be on record for nobody.
      if (!this.#file.isInPlace) this.#file.rewrite(this.#text())
      this.#file.append(records.map(formatRecord).join(''), { synced: true })
    } catch (thrown) {
      this.#trouble.failed('appended to', thrown)
      throw thrown
    }
    this.#succeeded(begunMs)
    // Not before they are on disk: an original that only memory knows would never be written there.
    for (const record of records) {
      this.#entries.set(record.group, record.kind, entryOf(record))
      this.marks.saved(record.group)
    }
  }

  /**
   * Notes the value that is about to be written over what the knob `holds`. Not synced: a crash of the machine voids the record anyway.
   * After a write that was refused, or a crash before one, the knob holds an older value than the newest on record: that one is noted
   * again, so that it is not forgotten.
   */
  willWrite(
    group: GroupPath,
    kind: KnobKind,
    { value, holds }: { readonly value: KnobValue; readonly holds: KnobValue | undefined },
  ): void {
    const entry = this.#entries.get(group, kind)
    if (entry === undefined) return
    this.marks.wrote(group, kind)
    const [newest, ...others] = entry.ours
    const older = isHeld(holds, newest) ? undefined : (others.find((ours) => isHeld(holds, ours)) ?? halfWritten(holds, entry))
    for (const noted of older === undefined ? [value] : [older, value]) {
      const known = this.#entries.get(group, kind) ?? entry
      this.#entries.set(group, kind, withValue(known, noted))
      this.#appendLater({ is: 'wrote', group, kind, value: noted })
    }
  }

  /** The knob holds its original again, or its group is gone. */
  close(group: GroupPath, kind: KnobKind): void {
    if (!this.has(group, kind)) return
    // Before the record: a kill between the two leaves no mark that nobody knows of.
    this.marks.closing(group, kind, () => this.#identityOf(group) !== undefined)
    this.#entries.delete(group, kind)
    this.#appendLater({ is: 'closed', group, kind })
  }

  /** Drops the entries of groups that are gone or were made anew. */
  prune(): void {
    this.dropRemade([...this.#entries.groups()])
    this.#unknown.prune((group) => this.#identityOf(group))
  }

  /** Drops the entries of those of the groups that are gone or were made anew. */
  dropRemade(groups: Iterable<GroupPath>): void {
    for (const [group, kind] of this.#remade(groups)) this.close(group, kind)
  }

  /** Knobs on record of a group that is no more; whether another has its name now. */
  #remade(groups: Iterable<GroupPath>): [group: GroupPath, kind: KnobKind, isThere: boolean][] {
    const found: [GroupPath, KnobKind, boolean][] = []
    for (const group of groups) {
      const kinds = this.#entries.ofGroup(group)
      const groupId = kinds === undefined ? 'unknown' : this.#identityOf(group)
      if (kinds === undefined || groupId === 'unknown') continue
      for (const [kind, entry] of kinds) if (entry.groupId !== groupId) found.push([group, kind, groupId !== undefined])
    }
    return found
  }

  /** A kernel that can't tell at the moment which group it is voids no record: its originals would be lost. */
  #identityOf(group: GroupPath): number | 'unknown' | undefined {
    try {
      return this.#options.groupId(group)
    } catch {
      return 'unknown'
    }
  }

  /**
   * Rewrites the file if it has outgrown its bound, fallen behind or failed, or when somebody has moved, cut or removed it. Called between ticks, since it
   * syncs. A failure is tried again.
   */
  compactIfLarge(): void {
    if (this.#ended) return
    this.#damage.lookAgain()
    const isWell = !this.#behind && this.#trouble.problem === undefined && this.#file.isInPlace
    if (isWell) this.#trouble.calm()
    const begunMs = this.#now()
    if ((this.#file.bytes > this.#bound || !isWell) && this.#compact()) this.#trouble.over(begunMs)
  }

  /**
   * The same for a file that has fallen behind, with pauses of 1 to 10 s: till then a kill leaves values that only this process knows of. That the
   * trouble is over is for the next look to say: a disk that takes now this and now that is one trouble, and not many.
   */
  catchUp(nowMs: number): void {
    if (this.#behind && !this.#ended && this.#trouble.isDue(nowMs)) this.#compact()
  }

  /** What is in force may be more than the bound by itself: rewriting it on every tick would not make it less. */
  get #bound(): number {
    return Math.max(this.#options.maxBytes, this.#file.bytesWhenRewritten * 2)
  }

  /** Whether the file tells all there is now. Where not, the old one is whole and stays in use. */
  #compact(): boolean {
    try {
      this.#file.rewrite(this.#text())
    } catch (thrown) {
      this.#compactAboveBytes = this.#file.bytes * 2
      this.#trouble.failed('rewritten', thrown)
      return false
    }
    this.#behind = false
    this.#compactAboveBytes = 0
    return true
  }

  /** Lets go of the file. What happens after it is not recorded: a slow write may outlast the journal. */
  end(): void {
    // A later line would be a record too many, or in a file that was given the descriptor.
    this.#behind = true
    this.#ended = true
    this.#file.close()
  }

  /**
   * Appends what only a crash would need, and what the entries tell already. A full disk must not keep the agent from narrowing or restoring a knob
   * whose original is safe, so a failure is made up for later, by writing the whole file anew; till then it says that values are missing.
   */
  #appendLater(record: WroteRecord | ClosedRecord): void {
    if (this.#ended) return
    const { bytes } = this.#file
    const isTooLarge = bytes > this.#bound * TOO_LARGE && bytes > this.#compactAboveBytes
    if (!this.#behind && isTooLarge && this.#compact()) return
    try {
      if (!this.#behind) this.#file.append(formatRecord(record), { synced: false })
    } catch (thrown) {
      this.#behind = true
      this.#trouble.failed('appended to', thrown)
    }
    // Without its end a record costs nothing: what such a knob holds is its original, or a value that nobody on record has written.
    if (this.#behind && record.is === 'wrote') this.#trouble.hasGap(this.#file.noteGap())
  }

  /** One that fell behind is not well before it was rewritten. */
  #succeeded(begunMs: number): void {
    if (!this.#behind) this.#trouble.over(begunMs)
  }

  #text(): string {
    return formatJournal(this.#made, this.#entries, this.#unknown.text)
  }

  #now(): number {
    return this.#options.now?.() ?? 0
  }

  #resume(): boolean {
    try {
      this.#file.resume()
    } catch {
      return false
    }
    // What had to be cut off at its end is on record no more.
    this.#entries = openedJournal(this.#file, this.#options.bootId).entries
    this.#dropStale()
    return true
  }

  #dropStale(): void {
    this.#unknown.prune((group) => this.#identityOf(group))
    for (const [group, kind, isThere] of this.#remade(this.#entries.groups())) {
      // One made anew may have been marked before that was noticed.
      if (this.marks.isOn) this.marks.closing(group, kind, () => isThere)
      this.#entries.delete(group, kind)
    }
  }
}
