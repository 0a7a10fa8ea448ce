/**
 * A look at the state directory for people: who may write there, how much room there is, who holds the lock, and what the journal still has to
 * put back. Nothing is made or rewritten, as opening the journal would do; an agent may be running meanwhile.
 */
import { accessSync, constants, statfsSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { errnoOf, KnobTable, messageOf } from '../model/index.ts'
import { lockOwner } from './lock.ts'
import { FORMAT_VERSION, parseRecord } from './records.ts'
import { journalPath } from './restore-journal.ts'
import { readStateFile, whyUnsafe } from './state-directory.ts'

interface JournalSurvey {
  readonly path: string
  readonly bytes: number
  /** Knobs whose original is on record and not yet put back; 0 when the records are of an earlier boot. */
  readonly outstanding: number
  /** Groups that these are knobs of, those that are gone by now included. */
  readonly groups: number
  readonly damagedLines: number
  /** False for one that was written before the last reboot, which voids it. */
  readonly ofThisBoot: boolean
}

export type StateSurvey =
  /** The agent would make it; `problem` says why it could not. */
  | { readonly is: 'missing'; readonly problem?: string }
  | { readonly is: 'unusable'; readonly problem: string; readonly hint: string | undefined }
  | {
      readonly is: 'there'
      readonly uid: number
      /** Permission bits, as in 0o700. */
      readonly mode: number
      readonly freeBytes: number
      /** Process that holds the lock, 0 for one that can't be named; undefined when no agent runs. */
      readonly lockedBy: number | undefined
      /** Undefined before the first run. */
      readonly journal: JournalSurvey | { readonly problem: string } | undefined
    }

/** Looks at a state directory. `bootId` is that of the kernel now. Takes two seconds at most, and never throws. */
export async function surveyState(path: string, bootId: string | undefined): Promise<StateSurvey> {
  try {
    const stat = statSync(path, { throwIfNoEntry: false })
    if (stat === undefined) return missing(path)
    if (!stat.isDirectory()) return { is: 'unusable', problem: `${path} is not a directory`, hint: undefined }
    const unsafe = whyUnsafe(path, stat)
    if (unsafe !== undefined) return { is: 'unusable', problem: unsafe.message, hint: unsafe.hint }
    accessSync(path, constants.R_OK | constants.W_OK | constants.X_OK)
    const { bavail, bsize } = statfsSync(path)
    return {
      is: 'there',
      uid: stat.uid,
      mode: stat.mode & 0o777,
      freeBytes: bavail * bsize,
      lockedBy: await lockOwner(path),
      journal: surveyJournal(path, bootId),
    }
  } catch (thrown) {
    return { is: 'unusable', problem: messageOf(thrown), hint: undefined }
  }
}

/** Whether it can be made: by the right to write in the nearest directory above it that is there. */
function missing(path: string): StateSurvey {
  let above = dirname(path)
  for (; above !== '/'; above = dirname(above)) if (statSync(above, { throwIfNoEntry: false }) !== undefined) break
  try {
    accessSync(above, constants.W_OK | constants.X_OK)
    return { is: 'missing' }
  } catch (thrown) {
    return { is: 'missing', problem: `it can't be made in ${above}: ${errnoOf(thrown) ?? messageOf(thrown)}` }
  }
}

function surveyJournal(stateDirectory: string, bootId: string | undefined): JournalSurvey | { problem: string } | undefined {
  const path = journalPath(stateDirectory)
  let text: string | undefined
  try {
    text = readStateFile(path)
  } catch (thrown) {
    return { problem: `cannot read ${path}: ${messageOf(thrown)}` }
  }
  if (text === undefined) return undefined
  const open = new KnobTable<true>()
  let damagedLines = 0
  let ofThisBoot = false
  for (const line of text.split('\n')) {
    if (line === '') continue
    const record = parseRecord(line)
    if (record === undefined) damagedLines += 1
    else if (record.is === 'header') {
      if (record.version > FORMAT_VERSION)
        return { problem: `${path} is of format ${record.version}, this agent knows up to ${FORMAT_VERSION}` }
      ofThisBoot = record.bootId === bootId
    } else if (!ofThisBoot) continue
    else if (record.is === 'original') open.set(record.group, record.kind, true)
    else if (record.is === 'closed') open.delete(record.group, record.kind)
  }
  return {
    path,
    bytes: Buffer.byteLength(text),
    outstanding: open.size,
    groups: [...open.groups()].length,
    damagedLines,
    ofThisBoot,
  }
}
