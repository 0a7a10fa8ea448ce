/**
 * A look at the state directory for people: who may write there, how much room there is, who holds the lock, and what the journal still has to
 * put back. Nothing is made or rewritten, as opening the journal would do; an agent may be running meanwhile.
 */
import { accessSync, constants, statfsSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { errnoOf, messageOf } from '../model/index.ts'
import { journalPath } from './journal-file.ts'
import { type JournalContents, readJournal } from './journal-text.ts'
import { keptJournals } from './kept-journals.ts'
import { lockOwner, lockPathProblem } from './lock.ts'
import { FORMAT_VERSION } from './records.ts'
import { isInMemory, pseudoFileSystemOf, readStateFile, whyUnsafe } from './state-directory.ts'

interface JournalSurvey {
  readonly path: string
  readonly bytes: number
  /** Knobs whose original is on record and not yet put back, by this version or a later one; 0 when the records are not of this boot. */
  readonly outstanding: number
  /** Groups that these are knobs of, those that are gone by now included. */
  readonly groups: number
  readonly damagedLines: number
  /** Another one is void: a reboot puts everything back. Unknown where a damaged file does not say, none for an empty one. */
  readonly boot: JournalContents['boot']
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
      /** Whether its files are kept in memory; a tick waits for a disk where not. */
      readonly inMemory: boolean
      /** Process that holds the lock, 0 for one that can't be named; undefined when no agent runs. */
      readonly lockedBy: number | undefined
      /** Undefined before the first run. */
      readonly journal: JournalSurvey | { readonly problem: string } | undefined
      /** Files of damaged journals that an agent has found on this boot, and kept. */
      readonly damagedJournals: readonly string[]
    }

/** Looks at a state directory. `bootId` is that of the kernel now. Takes two seconds at most, and never throws. */
export async function surveyState(path: string, bootId: string | undefined): Promise<StateSurvey> {
  try {
    const long = lockPathProblem(path)
    if (long !== undefined) return { is: 'unusable', problem: long, hint: 'Set paths.state to a shorter path.' }
    const pseudo = pseudoFileSystemOf(path)
    if (pseudo !== undefined)
      return { is: 'unusable', problem: `${path} lies in ${pseudo}, which keeps no files`, hint: undefined }
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
      inMemory: isInMemory(path),
      lockedBy: await lockOwner(path),
      journal: surveyJournal(path, bootId),
      damagedJournals: bootId === undefined ? [] : keptJournals(journalPath(path), bootId),
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
  const { entries, unknown, damagedLines, boot, newer } = readJournal(text, bootId)
  if (newer !== undefined) return { problem: `${path} is of format ${newer}, this agent knows up to ${FORMAT_VERSION}` }
  const { knobs } = unknown
  const groups = new Set([...entries.groups(), ...knobs.map(({ group }) => group)]).size
  return { path, bytes: Buffer.byteLength(text), outstanding: entries.size + knobs.length, groups, damagedLines, boot }
}
