/**
 * What the text of a restore journal tells, and the text that tells it. Records stand on their own: an original names its boot, so that neither a
 * damaged header nor any other damaged line costs more than what it told of itself. One file is of one boot, since it is only ever replaced whole.
 */
import type { JournaledKnob, KnobValue } from '../model/index.ts'
import { devicesWritten, identicalValue, IoLimits, KnobTable, sameValue } from '../model/index.ts'
import { reserveLine } from './gap.ts'
import { FORMAT_VERSION, formatRecord, type Header, type JournalRecord, type OriginalRecord, parseRecord } from './records.ts'
import { UnknownRecords } from './unknown-records.ts'

/**
 * Values kept per knob: after a crash the file holds the last one or, if the write had not happened yet, the one before. The third is for
 * containers that copied it: a set moves over the union, and a container that was not known stops it there.
 */
const KEPT_VALUES = 3

/** A knob on record, with the group that it was a knob of. */
export interface JournalEntry extends JournaledKnob {
  readonly groupId: number
  /** Whether the group may bear a mark that names the knob's file; see marks.ts. */
  readonly marked?: true
}

/** The entry that an original begins. */
export function entryOf({ value, groupId, marked }: OriginalRecord): JournalEntry {
  return { original: value, ours: [], groupId, ...(marked === true ? { marked } : {}) }
}

/**
 * The entry once another value was written, or is about to be. One that is tried again and again is one value: it takes the place of none that the
 * knob may still hold because of a refusal.
 */
export function withValue(entry: JournalEntry, value: KnobValue): JournalEntry {
  const others = entry.ours.filter((known) => !identicalValue(known, value))
  return { ...entry, ours: [value, ...others].slice(0, KEPT_VALUES) }
}

/** Limits of devices that hold parts of several values on record. They are a value of their own by now: parts of older ones are forgotten. */
export function halfWritten(holds: KnobValue | undefined, { original, ours }: JournaledKnob): IoLimits | undefined {
  if (!(holds instanceof IoLimits) || sameValue(holds, original)) return undefined
  const before = original instanceof IoLimits ? original : IoLimits.NONE
  const written = ours.filter((value) => value instanceof IoLimits)
  const devices = devicesWritten(holds, written, before)
  return devices.length === 0 ? undefined : IoLimits.of(devices.map((device) => [device, holds.of(device)]))
}

/** The shortest text that tells what is in force, `more` lines among it. Its last line is the reserve; see gap.ts. */
export function formatJournal(made: Omit<Header, 'is'>, entries: KnobTable<JournalEntry>, more = ''): string {
  const records: JournalRecord[] = [{ is: 'header', ...made }]
  for (const [group, kind, { original: value, ours, groupId, marked }] of entries.entries()) {
    records.push({ is: 'original', group, groupId, kind, value, made, ...(marked === true ? { marked } : {}) })
    for (const value of [...ours].reverse()) records.push({ is: 'wrote', group, kind, value })
  }
  return [...records.map((record) => formatRecord(record)), more, reserveLine(made)].join('')
}

export interface JournalContents {
  /** What is in force of this boot, of groups that are gone by now as well. */
  readonly entries: KnobTable<JournalEntry>
  /** Whose records they are; unknown where no line that can be read says so, none where there is no line at all. */
  readonly boot: 'this' | 'another' | 'unknown' | 'none'
  /** Lines that can't be read. */
  readonly damagedLines: number
  /** Whether more is damaged than the end of a last line, which is what a kill leaves. */
  readonly isDamaged: boolean
  /** Knobs that were written, and whose original stands in none of the lines that can be read. */
  readonly lost: KnobTable<true>
  /** Knobs on record of which a damaged line may have told another value, or that is not on record at all. */
  readonly doubtful: KnobTable<true>
  /** Of this boot, and of kinds that this agent does not know. They are no damage. */
  readonly unknown: UnknownRecords
  /** The version of a format that this agent does not know: nothing else is told then. */
  readonly newer?: number
}

/** Reads a journal as an agent on the boot `bootId` understands it. Never throws. */
export function readJournal(text: string, bootId: string | undefined): JournalContents {
  const reader = new Reader(bootId)
  const lines = text.split('\n')
  for (const [index, line] of lines.entries()) if (line !== '') reader.take(parseRecord(line), index === lines.length - 1)
  return reader.contents()
}

class Reader {
  readonly #bootId: string | undefined
  readonly #entries = new KnobTable<JournalEntry>()
  readonly #lost = new KnobTable<true>()
  readonly #doubtful = new KnobTable<true>()
  readonly #unknown = new UnknownRecords()
  #lines = 0
  #damagedLines = 0
  #isDamaged = false
  #isThis = false
  #isAnother = false
  #hasGap = false
  /** Whether the last header was of this boot: what originals without a boot of their own go by. */
  #isUnderThis = false
  #newer: number | undefined

  constructor(bootId: string | undefined) {
    this.#bootId = bootId
  }

  take(record: ReturnType<typeof parseRecord>, isUnfinished: boolean): void {
    this.#lines += 1
    if (record === undefined) this.#damaged(isUnfinished)
    else if (record.is === 'unknown') this.#unknown.take(record, record.of === 'original' && this.#isOriginalOfThis(record))
    else if (record.is === 'gap') this.#hasGap = true
    else if (record.is === 'header') this.#isUnderThis = this.#isOfThis(record)
    else if (record.is === 'original') {
      const { group, kind } = record
      if (!this.#isOriginalOfThis(record)) return
      this.#entries.set(group, kind, entryOf(record))
      this.#lost.delete(group, kind)
      this.#doubtful.delete(group, kind)
    } else if (record.is === 'closed') {
      for (const table of [this.#entries, this.#lost, this.#doubtful]) table.delete(record.group, record.kind)
    } else {
      const entry = this.#entries.get(record.group, record.kind)
      if (entry === undefined) this.#lost.set(record.group, record.kind, true)
      else this.#entries.set(record.group, record.kind, withValue(entry, record.value))
    }
  }

  #damaged(isUnfinished: boolean): void {
    this.#damagedLines += 1
    // A kill within a write: what the line was to tell of had not happened.
    if (isUnfinished) return
    this.#isDamaged = true
    for (const [group, kind] of this.#entries.entries()) this.#doubtful.set(group, kind, true)
  }

  #isOriginalOfThis({ made }: Pick<OriginalRecord, 'made'> | { readonly made: undefined }): boolean {
    return made === undefined ? this.#isUnderThis : this.#isOfThis(made)
  }

  #isOfThis({ version, bootId }: Omit<Header, 'is'>): boolean {
    if (version > FORMAT_VERSION) this.#newer ??= version
    const isThis = bootId === this.#bootId
    if (isThis) this.#isThis = true
    else this.#isAnother = true
    return isThis
  }

  contents(): JournalContents {
    // Wherever the line stands: the values that are missing are of any knob, also of one that was put on record after it.
    if (this.#hasGap) for (const [group, kind] of this.#entries.entries()) this.#doubtful.set(group, kind, true)
    const boot = this.#isThis ? 'this' : this.#isAnother ? 'another' : this.#lines > 0 ? 'unknown' : 'none'
    return {
      entries: this.#entries,
      boot,
      damagedLines: this.#damagedLines,
      isDamaged: this.#isDamaged,
      lost: this.#lost,
      doubtful: this.#doubtful,
      unknown: this.#unknown,
      ...(this.#newer === undefined ? {} : { newer: this.#newer }),
    }
  }
}
