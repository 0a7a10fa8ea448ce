/**
 * The restore journal: the original value of every knob, on disk and synced before the first write to that knob, and after it the values
 * this agent wrote. It survives SIGKILL at any instruction: whatever stands in a knob then is the original, or one of the last two
 * values on record.
 * A record is void after a reboot and when its group was made anew. The file is rewritten when it has outgrown its bound.
 */
import { join } from 'node:path'
import type { GroupPath, Journaled, JournaledKnob, JournalHealth, KnobKind, KnobValue } from '../model/index.ts'
import { AgentError, devicesWritten, IoLimits, isHeld, type KnobTable, messageOf, Run, sameValue } from '../model/index.ts'
import { JournalDamage } from './journal-damage.ts'
import { JournalFile } from './journal-file.ts'
import { type JournalContents, type JournalEntry, readJournal, withValue } from './journal-text.ts'
import { FORMAT_VERSION, formatRecord, type JournalRecord, type OriginalRecord } from './records.ts'
import { openStateDirectory } from './state-directory.ts'

const FILE_NAME = 'restore.journal'
/** The journal's file: it is there once an agent has run. */
export function journalPath(stateDirectory: string): string {
  return join(stateDirectory, FILE_NAME)
}

export interface RestoreJournalOptions {
  readonly stateDirectory: string
  readonly bootId: string
  /** The file is compacted when it has grown past this. */
  readonly maxBytes: number
  /** Identity of a group as it is now; undefined when it is gone. */
  readonly groupId: (group: GroupPath) => number | undefined
  /** Monotonic ms, to tell when the file was last synced and how long it took. @default a clock that stands still */
  readonly now?: () => number
}

export class RestoreJournal {
  /** How appending and rewriting go, each with its sync. */
  readonly run = new Run('restore_journal')
  readonly #options: RestoreJournalOptions
  readonly #file: JournalFile
  readonly #damage: JournalDamage
  readonly #made: { readonly version: number; readonly bootId: string }
  #entries: KnobTable<JournalEntry>
  /** Lines that could not be read when the journal was opened. */
  readonly damagedLines: number
  /** Knobs on record of which a damaged line may have told a value that was written: what they hold now may be the agent's. */
  readonly doubtful: readonly (readonly [GroupPath, KnobKind])[]
  /** Whether something happened that the file does not tell. */
  #behind = false
  #ended = false
  #failures = 0
  #problem: string | undefined

  /**
   * Opens or creates the journal. Throws E_STATE_DIR when the directory can't be used or others may write in it, E_JOURNAL when the file is from
   * a newer version. A disk without room is no obstacle where an agent has run before on this boot: its file is gone on with. A damaged file is
   * kept beside the new one, with all that can be read of it in force.
   */
  constructor(options: RestoreJournalOptions) {
    this.#options = options
    this.#made = { version: FORMAT_VERSION, bootId: options.bootId }
    this.#file = new JournalFile(journalPath(options.stateDirectory))
    openStateDirectory(options.stateDirectory, 'paths.state')
    const found = this.#read()
    this.#entries = found.entries
    this.#dropStale()
    this.damagedLines = found.damagedLines
    this.doubtful = [...found.doubtful.entries()].flatMap(([group, kind]) => (this.has(group, kind) ? [[group, kind]] : []))
    this.#damage = new JournalDamage(this.path, options.bootId)
    this.#damage.found(found, { restorable: this.#entries.size, isThere: (group) => this.#identityOf(group) !== undefined })
    try {
      this.#file.rewrite(this.#inForce())
    } catch (thrown) {
      if (found.boot !== 'this' || !this.#resume())
        throw new AgentError('E_STATE_DIR', `cannot write ${this.path}: ${messageOf(thrown)}`, { cause: thrown })
      this.#failed('rewritten', thrown)
    }
  }

  get path(): string {
    return this.#file.path
  }

  /** How writing the file goes. */
  get health(): JournalHealth {
    const { text } = this.#damage
    return {
      failures: this.#failures,
      ...(this.#problem === undefined ? {} : { problem: this.#problem }),
      ...(text === undefined ? {} : { damage: text }),
    }
  }

  get entries(): Journaled {
    return this.#entries
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
      if (groupId !== undefined) records.push({ is: 'original', group, groupId, kind, value, made: this.#made })
    }
    if (records.length === 0) return
    const begunMs = this.#now()
    try {
      // A line in a file that has lost its name would be on record for nobody.
      if (!this.#file.isInPlace) this.#file.rewrite(this.#inForce())
      this.#file.append(records.map(formatRecord).join(''), { synced: true })
    } catch (thrown) {
      this.#failed('appended to', thrown)
      throw thrown
    }
    this.#succeeded(begunMs)
    // Not before they are on disk: an original that only memory knows would never be written there.
    for (const { group, groupId, kind, value } of records) this.#entries.set(group, kind, { original: value, ours: [], groupId })
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
    const [newest, ...others] = entry.ours
    const older = isHeld(holds, newest) ? undefined : (others.find((ours) => isHeld(holds, ours)) ?? halfWritten(holds, entry))
    for (const noted of older === undefined ? [value] : [older, value]) {
      const known = this.#entries.get(group, kind) ?? entry
      this.#entries.set(group, kind, withValue(known, noted))
      this.#appendLater(formatRecord({ is: 'wrote', group, kind, value: noted }))
    }
  }

  /** The knob holds its original again, or its group is gone. */
  close(group: GroupPath, kind: KnobKind): void {
    if (!this.has(group, kind)) return
    this.#entries.delete(group, kind)
    this.#appendLater(formatRecord({ is: 'closed', group, kind }))
  }

  /** Drops the entries of groups that are gone or were made anew. */
  prune(): void {
    this.dropRemade([...this.#entries.groups()])
  }

  /** Drops the entries of those of the groups that are gone or were made anew. */
  dropRemade(groups: Iterable<GroupPath>): void {
    for (const group of groups) {
      if (this.#entries.ofGroup(group) === undefined) continue
      const groupId = this.#identityOf(group)
      if (groupId === 'unknown') continue
      const kinds = [...(this.#entries.ofGroup(group) ?? [])]
      for (const [kind, entry] of kinds) if (entry.groupId !== groupId) this.close(group, kind)
    }
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
    // What is in force may be more than the bound by itself: rewriting it on every tick would not make it less.
    const isLarge = this.#file.bytes > Math.max(this.#options.maxBytes, this.#file.bytesWhenRewritten * 2)
    if (!isLarge && !this.#behind && this.#problem === undefined && this.#file.isInPlace) return
    const begunMs = this.#now()
    try {
      this.#file.rewrite(this.#inForce())
    } catch (thrown) {
      // The old file is whole and stays in use.
      this.#failed('rewritten', thrown)
      return
    }
    this.#behind = false
    this.#succeeded(begunMs)
  }

  /** Lets go of the file. What happens after it is not recorded: a slow write may outlast the journal. */
  end(): void {
    // A later line would be a record too many, or in a file that was given the descriptor.
    this.#behind = true
    this.#ended = true
    this.#file.close()
  }

  /**
   * Appends what only a crash would need. A full disk must not keep the agent from narrowing or restoring a knob whose original is safe, so
   * a failure is made up for later, by writing the whole file anew.
   */
  #appendLater(text: string): void {
    if (this.#behind) return
    try {
      this.#file.append(text, { synced: false })
    } catch (thrown) {
      this.#behind = true
      this.#failed('appended to', thrown)
    }
  }

  /** What failed first stays the problem until it is over: what comes of it is no news. */
  #failed(what: 'appended to' | 'rewritten', thrown: unknown): void {
    this.#failures += 1
    this.run.failed(`can't be ${what}: ${messageOf(thrown)}`, this.#now())
    this.#problem ??= `${this.path} can't be ${what}: ${messageOf(thrown)}`
  }

  /** One that fell behind is not well before it was rewritten. */
  #succeeded(begunMs: number): void {
    if (this.#behind) return
    this.#problem = undefined
    const nowMs = this.#now()
    this.run.ok(nowMs, nowMs - begunMs)
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
    this.#entries = this.#read().entries
    this.#dropStale()
    return true
  }

  #read(): JournalContents {
    let text: string
    try {
      text = this.#file.read() ?? ''
    } catch (thrown) {
      throw new AgentError('E_STATE_DIR', `cannot read ${this.path}: ${messageOf(thrown)}`, { cause: thrown })
    }
    const found = readJournal(text, this.#options.bootId)
    if (found.newer !== undefined)
      throw new AgentError('E_JOURNAL', `${this.path} is of format ${found.newer}, this agent knows up to ${FORMAT_VERSION}`)
    return found
  }

  #dropStale(): void {
    for (const group of this.#entries.groups()) {
      const groupId = this.#identityOf(group)
      if (groupId === 'unknown') continue
      for (const [kind, entry] of this.#entries.ofGroup(group) ?? []) {
        if (entry.groupId !== groupId) this.#entries.delete(group, kind)
      }
    }
  }

  /** The shortest file that tells what is in force. */
  #inForce(): string {
    const records: JournalRecord[] = [{ is: 'header', ...this.#made }]
    for (const [group, kind, entry] of this.#entries.entries()) {
      records.push({ is: 'original', group, groupId: entry.groupId, kind, value: entry.original, made: this.#made })
      for (const value of [...entry.ours].reverse()) records.push({ is: 'wrote', group, kind, value })
    }
    return records.map(formatRecord).join('')
  }
}

/** Limits of devices that hold parts of several values on record. They are a value of their own by now: parts of older ones are forgotten. */
function halfWritten(holds: KnobValue | undefined, { original, ours }: JournaledKnob): IoLimits | undefined {
  if (!(holds instanceof IoLimits) || sameValue(holds, original)) return undefined
  const before = original instanceof IoLimits ? original : IoLimits.NONE
  const written = ours.filter((value) => value instanceof IoLimits)
  const devices = devicesWritten(holds, written, before)
  return devices.length === 0 ? undefined : IoLimits.of(devices.map((device) => [device, holds.of(device)]))
}
