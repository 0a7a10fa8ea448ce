/**
 * Files of one group, opened once and read again and again at offset 0 into one shared buffer. Holding the descriptor is some
 * six times cheaper than opening the path, and it is also the group's identity: once the group is removed the descriptor answers
 * ENODEV, while the path may silently be a new group's.
 * The number of held descriptors is bounded; past the bound a file is opened, read and closed. Where descriptors run out all the
 * same, those held are given back first: a group must not pass for vanished because of what is held of others.
 */
import { closeSync, openSync, readSync } from 'node:fs'
import { errnoOf } from '../model/index.ts'

/** memory.stat, the longest file read here, is below 8 KiB; /proc/stat is only read for its first line. */
const BUFFER_BYTES = 16_384
const LINE_FEED = 0x0a

export class HeldFiles {
  /** The bytes of the last read; valid until the next one. */
  readonly buffer = Buffer.allocUnsafe(BUFFER_BYTES)
  readonly #holders = new Set<FileSlots>()
  #maxHeld: number
  #held = 0

  constructor(maxHeld: number) {
    this.#maxHeld = maxHeld
  }

  get held(): number {
    return this.#held
  }

  /** Reads a file into `buffer`. Returns its length, or −1 when the file or its group is not there or may not be read. */
  read(slots: FileSlots, slot: number): number {
    const fd = slots.fds[slot] ?? -1
    if (fd >= 0) {
      try {
        return this.#readWhole(fd)
      } catch {
        // ENODEV: the group is gone, or made anew under the same name. Either way what is held is worthless.
        this.release(slots)
      }
    }
    return this.#openAndRead(slots, slot)
  }

  /**
   * Kernel: seq_file hands over what one show() has printed in one piece, but files of a file system in user space (lxcfs) stand in for some. All
   * that is read here ends with a line: a number that was cut short would pass for another one.
   */
  #readWhole(fd: number): number {
    let length = readSync(fd, this.buffer, 0, BUFFER_BYTES, 0)
    while (length > 0 && length < BUFFER_BYTES && this.buffer[length - 1] !== LINE_FEED) {
      const more = readSync(fd, this.buffer, length, BUFFER_BYTES - length, length)
      if (more === 0) break
      length += more
    }
    return length
  }

  #openAndRead(slots: FileSlots, slot: number): number {
    const path = slots.pathOf(slot)
    if (path === undefined) return -1
    let fd = -1
    try {
      fd = this.opening(() => openSync(path, 'r'))
      const length = this.#readWhole(fd)
      if (this.#held < this.#maxHeld) {
        slots.fds[slot] = fd
        this.#holders.add(slots)
        this.#held += 1
        fd = -1
      }
      return length
    } catch {
      return -1
    } finally {
      if (fd >= 0) closeSync(fd)
    }
  }

  /**
   * Runs what opens a file. When the process or the node is out of descriptors, gives back all that are held and runs it once more;
   * from then on only half as many are held, or the next reads would take them all again. Throws what `open` throws.
   */
  opening<T>(open: () => T): T {
    try {
      return open()
    } catch (thrown) {
      const errno = errnoOf(thrown)
      if (this.#held === 0 || (errno !== 'EMFILE' && errno !== 'ENFILE')) throw thrown
      this.giveBack()
      return open()
    }
  }

  /** Closes everything, and holds half as much from now on. */
  giveBack(): void {
    this.#maxHeld = Math.floor(this.#held / 2)
    for (const slots of this.#holders) this.release(slots)
  }

  /** Closes everything held for a group. */
  release(slots: FileSlots): void {
    slots.generation += 1
    this.#holders.delete(slots)
    slots.fds.forEach((fd, slot) => {
      if (fd < 0) return
      slots.fds[slot] = -1
      this.#held -= 1
      try {
        closeSync(fd)
      } catch {
        // The kernel has dropped the file already; there is nothing left to close.
      }
    })
  }
}

/**
 * The files of one group by slot, and the descriptors that are open. Paths are made when a file is opened and not kept: a thousand groups
 * would otherwise hold megabytes of text that is read once.
 */
export class FileSlots {
  readonly pathOf: (slot: number) => string | undefined
  readonly fds: Int32Array
  /** Changes when the descriptors are let go of: what was read before may have been another group's. */
  generation = 0

  constructor(count: number, pathOf: (slot: number) => string | undefined) {
    this.pathOf = pathOf
    this.fds = new Int32Array(count).fill(-1)
  }

  get holdsNothing(): boolean {
    return this.fds.every((fd) => fd < 0)
  }
}
