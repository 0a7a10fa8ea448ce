/**
 * The file of the restore journal. Lines are appended whole or not at all, and the file is only ever replaced by one that is complete and
 * synced, so that after a failure at any call one readable file stands under the name, and the descriptor in use is that file's.
 */
import {
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { AgentError, messageOf } from '../model/index.ts'
import { gapLine, type Reserve, reserveOf } from './gap.ts'
import { type JournalContents, readJournal } from './journal-text.ts'
import { FORMAT_VERSION, parseRecord } from './records.ts'
import { readStateFile } from './state-directory.ts'

const LINE_FEED = 0x0a

/** The journal's file: it is there once an agent has run. */
export function journalPath(stateDirectory: string): string {
  return join(stateDirectory, 'restore.journal')
}

export class JournalFile {
  readonly path: string
  #fd = -1
  /** Where the next line begins. */
  #bytes = 0
  #bytesWhenRewritten = 0
  /** A line that failed may stand beyond #bytes, in part or in whole. */
  #isTorn = false
  /** The line that can be written over where none can be appended. */
  #reserve: Reserve | 'used' | undefined

  constructor(path: string) {
    this.path = path
  }

  /** Its length, and what it was when it was last rewritten. */
  get bytes(): number {
    return this.#bytes
  }

  get bytesWhenRewritten(): number {
    return this.#bytesWhenRewritten
  }

  /** Whether what stands under its name is this file, as long as it was left. A file system that does not answer says nothing. */
  get isInPlace(): boolean {
    if (this.#fd < 0) return true
    try {
      const [own, named] = [fstatSync(this.#fd), statSync(this.path, { throwIfNoEntry: false })]
      const isSame = named?.ino === own.ino && named.dev === own.dev
      return isSame && (own.size === this.#bytes || (this.#isTorn && own.size > this.#bytes))
    } catch {
      return true
    }
  }

  /** What stands under its name; undefined when nothing does. Throws what open and read throw. */
  read(): string | undefined {
    return readStateFile(this.path)
  }

  /** Appends all of a text or, when that fails, none of it: half a line would take the next record down with it. Throws what write and fsync throw. */
  append(text: string, { synced }: { readonly synced: boolean }): void {
    if (this.#isTorn) this.#cut()
    const bytes = Buffer.from(text)
    this.#isTorn = true
    try {
      writeWhole(this.#fd, bytes, this.#bytes)
      // What could not be synced is no record either: it would be appended again with the next try, without end.
      if (synced) fsyncSync(this.#fd)
    } catch (thrown) {
      // When that fails too, it is tried before the next line.
      quietly(() => this.#cut())
      throw thrown
    }
    this.#isTorn = false
    this.#bytes += bytes.length
  }

  #cut(): void {
    ftruncateSync(this.#fd, this.#bytes)
    this.#isTorn = false
  }

  /**
   * Says in the place of the reserve that lines are missing, until the file is rewritten. False where that can't be said either. Not synced: a crash of
   * the machine voids the file anyway.
   */
  noteGap(): boolean {
    const reserve = this.#reserve
    if (typeof reserve !== 'object') return reserve === 'used'
    try {
      writeWhole(this.#fd, Buffer.from(gapLine(reserve)), reserve.at)
    } catch {
      return false
    }
    this.#reserve = 'used'
    return true
  }

  /**
   * Writes the text to a new file, syncs it and puts it in the old one's place. Throws what these calls throw: the old file is in its place then,
   * and in use as before.
   */
  rewrite(text: string): void {
    const bytes = Buffer.from(text)
    const temporary = `${this.path}.new`
    rmSync(temporary, { force: true })
    const fd = openSync(temporary, 'wx', 0o600)
    try {
      writeWhole(fd, bytes, 0)
      fsyncSync(fd)
      renameSync(temporary, this.path)
    } catch (thrown) {
      quietly(() => closeSync(fd))
      quietly(() => rmSync(temporary, { force: true }))
      throw thrown
    }
    // From here on the new file has the name: whatever fails now, the next line belongs there.
    const outgrown = this.#fd
    this.#fd = fd
    this.#bytes = bytes.length
    this.#bytesWhenRewritten = bytes.length
    this.#isTorn = false
    this.#reserve = reserveOf(bytes)
    if (outgrown >= 0) quietly(() => closeSync(outgrown))
    quietly(() => syncFolder(dirname(this.path)))
  }

  /**
   * Goes on with the file that is there: where there is no room for another. A last line that is whole but for its end gets one, any other end of
   * the file is cut off. Throws what open and read throw.
   */
  resume(): void {
    // Not blocking, and following no link: as for every file of the state directory.
    const fd = openSync(this.path, constants.O_RDWR | constants.O_NOFOLLOW | constants.O_NONBLOCK)
    try {
      const bytes = readFileSync(fd)
      this.#bytes = bytes.lastIndexOf(LINE_FEED) + 1
      this.#fd = fd
      const isWhole = parseRecord(bytes.toString('utf8', this.#bytes)) !== undefined
      if (!isWhole || !this.#end(bytes.length)) this.#cut()
      this.#bytesWhenRewritten = this.#bytes
      this.#reserve = reserveOf(bytes.subarray(0, this.#bytes))
    } catch (thrown) {
      this.#fd = -1
      quietly(() => closeSync(fd))
      throw thrown
    }
  }

  /** Ends the line that stands at the end of the file; false where there is no room even for that. */
  #end(length: number): boolean {
    try {
      writeWhole(this.#fd, Buffer.of(LINE_FEED), length)
      fsyncSync(this.#fd)
      this.#bytes = length + 1
      return true
    } catch {
      return false
    }
  }

  /** Never throws. Kernel: close(2) lets go of the file whatever it answers. */
  close(): void {
    const fd = this.#fd
    this.#fd = -1
    if (fd >= 0) quietly(() => closeSync(fd))
  }
}

/** What an agent on this boot makes of the file. Throws E_STATE_DIR where it can't be read, and E_JOURNAL for one of a newer version. */
export function openedJournal(file: JournalFile, bootId: string): JournalContents {
  let text: string
  try {
    text = file.read() ?? ''
  } catch (thrown) {
    throw new AgentError('E_STATE_DIR', `cannot read ${file.path}: ${messageOf(thrown)}`, { cause: thrown })
  }
  const found = readJournal(text, bootId)
  if (found.newer !== undefined)
    throw new AgentError('E_JOURNAL', `${file.path} is of format ${found.newer}, this agent knows up to ${FORMAT_VERSION}`)
  return found
}

/**
 * Writes all bytes at a position. Kernel: write(2) on a nearly full disk takes what fits and reports that as a success; only the next call
 * fails with ENOSPC.
 */
function writeWhole(fd: number, bytes: Buffer, position: number): void {
  for (let at = 0; at < bytes.length;) {
    const written = writeSync(fd, bytes, at, bytes.length - at, position + at)
    // No file system should: but none may keep the loop here for ever.
    if (written === 0) throw Object.assign(new Error('ENOSPC: nothing was written'), { code: 'ENOSPC' })
    at += written
  }
}

/** Makes the new name last. Where it can't, only a crash of the machine could tell, and a reboot voids the journal anyway. */
function syncFolder(path: string): void {
  const fd = openSync(path, 'r')
  try {
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}

function quietly(step: () => void): void {
  try {
    step()
  } catch {
    // What matters has been done, or is about to be thrown.
  }
}
