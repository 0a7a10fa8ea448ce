/**
 * Where segments go. A directory keeps the newest within a bound: the oldest segments go when there would be more bytes than that. A single
 * file takes one segment, and is full at the bound. Everything here is asynchronous and runs beside the loop; files are for their own user alone.
 */
import { constants } from 'node:fs'
import { type FileHandle, open, readdir, stat, statfs, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { errnoOf } from '../../model/index.ts'

const MODE = 0o600
/** `00000042.recording`: the number tells the order, whatever the clock did. */
const NAME = /^(\d{8})\.recording$/

/** The recording has reached its bound, and nothing may go to make room. */
export class FullError extends Error {}

/** Where the bytes of segments go, one segment after the other. Every call rejects with what the file system says. */
export interface Store {
  begin(): Promise<void>
  append(bytes: Buffer): Promise<void>
  /** Ends the segment; without one it does nothing. */
  end(): Promise<void>
  /** Of all segments that there are. */
  readonly bytes: number
  /** Of the segment that is written. */
  readonly segmentBytes: number
}

/** One file that is written and never longer than what was written whole. */
class SegmentFile {
  readonly path: string
  readonly #handle: FileHandle
  bytes = 0

  private constructor(path: string, handle: FileHandle) {
    this.path = path
    this.#handle = handle
  }

  static async make(path: string, flags: number): Promise<SegmentFile> {
    const handle = await open(path, flags | constants.O_WRONLY | constants.O_NOFOLLOW, MODE)
    return new SegmentFile(path, handle)
  }

  /** Appends all or, as far as the disk lets it, nothing. */
  async append(bytes: Buffer): Promise<void> {
    try {
      for (let at = 0; at < bytes.length;) {
        const { bytesWritten } = await this.#handle.write(bytes, at, bytes.length - at, this.bytes + at)
        // No file system should: but none may keep this going round for ever.
        if (bytesWritten === 0) throw new Error(`${this.path}: nothing was written`)
        at += bytesWritten
      }
    } catch (thrown) {
      await this.#handle.truncate(this.bytes).catch(() => undefined)
      throw thrown
    }
    this.bytes += bytes.length
  }

  async close(): Promise<void> {
    await this.#handle.close()
  }
}

interface Kept {
  readonly path: string
  readonly bytes: number
}

/** The segments of a directory that is there already. */
export class DirectoryStore implements Store {
  readonly #directory: string
  readonly #maxBytes: number
  readonly #leaveBytes: number
  /** Finished ones, the oldest first; undefined before the directory was looked at. */
  #kept: Kept[] | undefined
  #next = 1
  #file: SegmentFile | undefined

  /**
   * `maxBytes` bounds all segments together. `leaveBytes` is room that is left to others on the disk: the restore journal may be on it, and a
   * recording must not be what keeps that from being written.
   */
  constructor(directory: string, maxBytes: number, leaveBytes = 0) {
    this.#directory = directory
    this.#maxBytes = maxBytes
    this.#leaveBytes = leaveBytes
  }

  get bytes(): number {
    return (this.#kept ?? []).reduce((sum, { bytes }) => sum + bytes, this.segmentBytes)
  }

  get segmentBytes(): number {
    return this.#file?.bytes ?? 0
  }

  async begin(): Promise<void> {
    await this.end()
    this.#kept ??= await this.#look()
    const path = join(this.#directory, `${String(this.#next).padStart(8, '0')}.recording`)
    // Also after a failure: the name may be somebody's.
    this.#next += 1
    this.#file = await SegmentFile.make(path, constants.O_CREAT | constants.O_EXCL)
  }

  async append(bytes: Buffer): Promise<void> {
    const kept = this.#kept ?? []
    while (this.bytes + bytes.length > this.#maxBytes) {
      const [oldest] = kept
      if (oldest === undefined) throw new FullError(`one segment would be larger than recording.maxBytes (${this.#maxBytes})`)
      await unlink(oldest.path).catch((thrown: unknown) => {
        if (errnoOf(thrown) !== 'ENOENT') throw thrown
      })
      // One that can't be removed takes room all the same.
      kept.shift()
    }
    await this.#leaveRoom(bytes.length)
    await this.#file?.append(bytes)
  }

  async #leaveRoom(bytes: number): Promise<void> {
    if (this.#leaveBytes === 0) return
    const { blocks, bavail, bsize } = await statfs(this.#directory)
    // Kernel: some file systems of others' making do not count blocks at all, statfs(2).
    if (blocks > 0 && bavail * bsize - bytes < this.#leaveBytes)
      throw new Error(`the disk of ${this.#directory} has less than ${this.#leaveBytes} bytes free`)
  }

  async end(): Promise<void> {
    const file = this.#file
    this.#file = undefined
    if (file === undefined) return
    // On a full disk not even the head may have found room.
    if (file.bytes === 0) await unlink(file.path).catch(() => undefined)
    else this.#kept?.push({ path: file.path, bytes: file.bytes })
    await file.close()
  }

  async #look(): Promise<Kept[]> {
    const kept: Kept[] = []
    for (const name of (await readdir(this.#directory)).filter((entry) => NAME.test(entry)).sort()) {
      const path = join(this.#directory, name)
      kept.push({ path, bytes: (await stat(path)).size })
      this.#next = Number(NAME.exec(name)?.[1] ?? 0) + 1
    }
    return kept
  }
}

/** A single new file. A second segment, as after a full disk, has no place there. */
export class FileStore implements Store {
  readonly #path: string
  readonly #maxBytes: number
  #file: SegmentFile | undefined
  #begun = false
  #bytes = 0

  constructor(path: string, maxBytes: number) {
    this.#path = path
    this.#maxBytes = maxBytes
  }

  get bytes(): number {
    return this.#file?.bytes ?? this.#bytes
  }

  get segmentBytes(): number {
    // There is never a next one.
    return 0
  }

  async begin(): Promise<void> {
    if (this.#begun) throw new FullError(`${this.#path} holds one recording only`)
    this.#begun = true
    this.#file = await SegmentFile.make(this.#path, constants.O_CREAT | constants.O_EXCL)
  }

  async append(bytes: Buffer): Promise<void> {
    if (this.bytes + bytes.length > this.#maxBytes) throw new FullError(`${this.#path} has reached ${this.#maxBytes} bytes`)
    await this.#file?.append(bytes)
  }

  async end(): Promise<void> {
    this.#bytes = this.bytes
    const file = this.#file
    this.#file = undefined
    await file?.close()
  }
}

/** The segments in a directory, the oldest first. Rejects with what readdir says. */
export async function segmentsOf(directory: string): Promise<readonly string[]> {
  const names = await readdir(directory)
  return names
    .filter((name) => NAME.test(name))
    .sort()
    .map((name) => join(directory, name))
}
