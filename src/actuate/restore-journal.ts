/**
 * The restore journal: the original value of every knob, on disk and synced before the first write to that knob, and after it the values
 * this agent wrote. It survives SIGKILL at any instruction: whatever stands in a knob then is the original, or one of the last two
 * values on record.
 * A record is void after a reboot and when its group was made anew. The file is rewritten when it has outgrown its bound.
 */
import { closeSync, fsyncSync, ftruncateSync, openSync, renameSync, rmSync, writeSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { GroupPath, Journaled, JournaledKnob, KnobKind, KnobValue } from '../model/index.ts'
import { AgentError, devicesWritten, IoLimits, isHeld, KnobTable, messageOf, sameValue } from '../model/index.ts'
import { FORMAT_VERSION, formatRecord, type JournalRecord, type OriginalRecord, parseRecord } from './records.ts'
import { openStateDirectory, readStateFile } from './state-directory.ts'

const FILE_NAME = 'restore.journal'
/**
 * Values kept per knob: after a crash the file holds the last one or, if the write had not happened yet, the one before. The third is for
 * containers that copied it: a set moves over the union, and a container that was not known stops it there.
 */
const KEPT_VALUES = 3

/** The journal's file: it is there once an agent has run. */
export function journalPath(stateDirectory: string): string {
  return join(stateDirectory, FILE_NAME)
}

interface Entry extends JournaledKnob {
  readonly groupId: number
}

export interface RestoreJournalOptions {
  readonly stateDirectory: string
  readonly bootId: string
  /** The file is compacted when it has grown past this. */
  readonly maxBytes: number
  /** Identity of a group as it is now; undefined when it is gone. */
  readonly groupId: (group: GroupPath) => number | undefined
}

export class RestoreJournal {
  readonly #options: RestoreJournalOptions
  readonly #path: string
  readonly #entries = new KnobTable<Entry>()
  /** Lines that could not be read when the journal was opened. */
  readonly damagedLines: number
  #fd: number
  #bytes = 0
  /** How long the file was when it was last rewritten. */
  #bytesInForce = 0
  /** Whether something happened that the file does not tell. */
  #behind = false

  /** Opens or creates the journal. Throws E_STATE_DIR when the directory can't be written or others may, E_JOURNAL when the file is from a newer version. */
  constructor(options: RestoreJournalOptions) {
    this.#options = options
    this.#path = journalPath(options.stateDirectory)
    openStateDirectory(options.stateDirectory)
    this.damagedLines = this.#load()
    try {
      this.#fd = this.#rewrite()
    } catch (thrown) {
      throw new AgentError('E_STATE_DIR', `cannot write ${this.#path}: ${messageOf(thrown)}`, { cause: thrown })
    }
  }

  get path(): string {
    return this.#path
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
      if (groupId !== undefined) records.push({ is: 'original', group, groupId, kind, value })
    }
    if (records.length === 0) return
    this.#append(records.map(formatRecord).join(''))
    fsyncSync(this.#fd)
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
      this.#entries.set(group, kind, { ...known, ours: [noted, ...known.ours].slice(0, KEPT_VALUES) })
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

  /** Rewrites the file if it has outgrown its bound or fallen behind. Called between ticks, since it syncs. A failure is tried again. */
  compactIfLarge(): void {
    // What is in force may be more than the bound by itself: rewriting it on every tick would not make it less.
    const isLarge = this.#bytes > Math.max(this.#options.maxBytes, this.#bytesInForce * 2)
    if (!isLarge && !this.#behind) return
    const outgrown = this.#fd
    try {
      this.#fd = this.#rewrite()
    } catch {
      // The old file is whole and stays in use.
      return
    }
    this.#behind = false
    closeSync(outgrown)
  }

  /** Lets go of the file. What happens after it is not recorded: a slow write may outlast the journal. */
  end(): void {
    // A later line would be a record too many, or in a file that was given the descriptor.
    this.#behind = true
    closeSync(this.#fd)
  }

  /** Appends all of a text or, when that fails, none of it: half a line would take the next record down with it. */
  #append(text: string): void {
    const bytes = Buffer.from(text)
    try {
      writeWhole(this.#fd, bytes, this.#bytes)
    } catch (thrown) {
      ftruncateSync(this.#fd, this.#bytes)
      throw thrown
    }
    this.#bytes += bytes.length
  }

  /**
   * Appends what only a crash would need. A full disk must not keep the agent from narrowing or restoring a knob whose original is safe, so
   * a failure is made up for later, by writing the whole file anew.
   */
  #appendLater(text: string): void {
    try {
      if (!this.#behind) this.#append(text)
    } catch {
      this.#behind = true
    }
  }

  #load(): number {
    let text: string
    try {
      text = readStateFile(this.#path) ?? ''
    } catch (thrown) {
      throw new AgentError('E_STATE_DIR', `cannot read ${this.#path}: ${messageOf(thrown)}`, { cause: thrown })
    }
    let damaged = 0
    let current = false
    for (const line of text.split('\n')) {
      if (line === '') continue
      const record = parseRecord(line)
      if (record === undefined) damaged += 1
      else if (record.is === 'header') current = this.#isCurrent(record)
      else if (current) this.#replay(record)
    }
    this.#dropStale()
    return damaged
  }

  #isCurrent(header: { readonly version: number; readonly bootId: string }): boolean {
    if (header.version > FORMAT_VERSION) {
      throw new AgentError(
        'E_JOURNAL',
        `${this.#path} is of format ${header.version}, this agent knows up to ${FORMAT_VERSION}`,
        {
          hint: 'Release the node with the agent version that wrote it, or move the file away to give its originals up.',
        },
      )
    }
    return header.bootId === this.#options.bootId
  }

  #replay(record: Exclude<JournalRecord, { is: 'header' }>): void {
    const { group, kind } = record
    if (record.is === 'closed') this.#entries.delete(group, kind)
    else if (record.is === 'original')
      this.#entries.set(group, kind, { original: record.value, ours: [], groupId: record.groupId })
    else {
      const entry = this.#entries.get(group, kind)
      if (entry !== undefined)
        this.#entries.set(group, kind, { ...entry, ours: [record.value, ...entry.ours].slice(0, KEPT_VALUES) })
    }
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

  /** Writes what is in force to a new file, syncs it and puts it in the old one's place, so that one of the two is always whole. */
  #rewrite(): number {
    const records: JournalRecord[] = [{ is: 'header', version: FORMAT_VERSION, bootId: this.#options.bootId }]
    for (const [group, kind, entry] of this.#entries.entries()) {
      records.push({ is: 'original', group, groupId: entry.groupId, kind, value: entry.original })
      for (const value of [...entry.ours].reverse()) records.push({ is: 'wrote', group, kind, value })
    }
    const bytes = Buffer.from(records.map(formatRecord).join(''))
    const temporary = `${this.#path}.new`
    rmSync(temporary, { force: true })
    const fd = openSync(temporary, 'wx', 0o600)
    try {
      writeWhole(fd, bytes, 0)
      fsyncSync(fd)
      renameSync(temporary, this.#path)
    } catch (thrown) {
      closeSync(fd)
      rmSync(temporary, { force: true })
      throw thrown
    }
    syncFolder(dirname(this.#path))
    this.#bytes = bytes.length
    this.#bytesInForce = bytes.length
    return fd
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

/**
 * Writes all bytes at a position. Kernel: write(2) on a nearly full disk takes what fits and reports that as a success; only the next call
 * fails with ENOSPC.
 */
function writeWhole(fd: number, bytes: Buffer, position: number): void {
  for (let at = 0; at < bytes.length;) at += writeSync(fd, bytes, at, bytes.length - at, position + at)
}

/** Makes the new name last. Not every file system can sync a folder; where it can't, only a crash of the machine could tell. */
function syncFolder(path: string): void {
  const fd = openSync(path, 'r')
  try {
    fsyncSync(fd)
  } catch {
    // A reboot voids the journal anyway.
  } finally {
    closeSync(fd)
  }
}
