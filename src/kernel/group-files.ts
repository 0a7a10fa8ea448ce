/**
 * The files of groups, by slot: which path each is, what is held open of it, and the reads and writes themselves. What the bytes mean is
 * the business of knob-files.ts and linux-kernel.ts. Synchronous but for one write; see held-files.ts for why.
 */
import { closeSync, openSync, writeSync } from 'node:fs'
import { open, type FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import type { Capabilities, Dialect, GroupPath, KnobKind, KnobValue, Outcome } from '../model/index.ts'
import { APPLIED, errnoOf, KNOB_KINDS, outcomeOfErrno } from '../model/index.ts'
import {
  DIALECTS,
  type DialectTable,
  type KernelFile,
  type KnobFile,
  knobFile,
  READING_SLOTS,
  type ReadingSlot,
} from './dialect.ts'
import { FileSlots, type HeldFiles } from './held-files.ts'
import type { CgroupMounts } from './mounts.ts'

export const READING_SLOT = Object.fromEntries(READING_SLOTS.map((name, slot) => [name, slot])) as Record<ReadingSlot, number>
export const KNOB_SLOT = Object.fromEntries(KNOB_KINDS.map((kind, index) => [kind, READING_SLOTS.length + index])) as Record<
  KnobKind,
  number
>

export interface CachedKnob {
  readonly raw: Uint8Array
  readonly value: KnobValue | undefined
  /** FileSlots.generation at the read. */
  readonly generation: number
  /** How many more equal reads this may answer. */
  left: number
}

export interface HeldGroup {
  readonly slots: FileSlots
  readonly cache: (CachedKnob | undefined)[]
}

export class GroupFiles {
  readonly dialect: Dialect
  readonly held: HeldFiles
  readonly #mounts: CgroupMounts
  readonly #knobs: Readonly<Partial<Record<KnobKind, KnobFile<KnobValue>>>>
  /** The file of each slot, in slot order. */
  readonly #slotFiles: readonly (KernelFile | undefined)[]
  readonly #groups = new Map<GroupPath, HeldGroup>()
  readonly #onGone: (group: GroupPath) => void

  /** `onGone` hears of a group of which nothing can be read any more. */
  constructor(mounts: CgroupMounts, capabilities: Capabilities, held: HeldFiles, onGone: (group: GroupPath) => void) {
    this.dialect = mounts.dialect
    this.held = held
    this.#mounts = mounts
    this.#onGone = onGone
    const table: DialectTable = DIALECTS[mounts.dialect]
    this.#knobs = Object.fromEntries(
      KNOB_KINDS.map((kind) => {
        const capability = capabilities.knobs[kind]
        return [kind, knobFile(mounts.dialect, kind, capability.usable ? capability.file : undefined)]
      }),
    )
    this.#slotFiles = [...READING_SLOTS.map((slot) => table.readings[slot]), ...KNOB_KINDS.map((kind) => this.#knobs[kind])]
  }

  /** The file that is a knob here; undefined for one that is none, or several. */
  knob(kind: KnobKind): KnobFile<KnobValue> | undefined {
    return this.#knobs[kind]
  }

  reading(slot: ReadingSlot): KernelFile | undefined {
    return this.#slotFiles[READING_SLOT[slot]]
  }

  /**
   * Reads one file of a group into the shared buffer; −1 when it is not there. A group of which nothing is held is not remembered: pods
   * come and go for months, and the groups that are gone are asked for a few times more.
   */
  read(group: GroupPath, slot: number): number {
    if (this.#slotFiles[slot] === undefined) return -1
    const { slots } = this.group(group)
    const length = this.held.read(slots, slot)
    if (length < 0 && slots.holdsNothing) {
      this.#groups.delete(group)
      this.#onGone(group)
    }
    return length
  }

  /** The text of a file; undefined when it is not there. */
  text(group: GroupPath, slot: ReadingSlot): string | undefined {
    const length = this.read(group, READING_SLOT[slot])
    return length < 0 ? undefined : this.held.buffer.toString('latin1', 0, length)
  }

  group(group: GroupPath): HeldGroup {
    const known = this.#groups.get(group)
    if (known !== undefined) return known
    const slots = new FileSlots(this.#slotFiles.length, (slot) => this.#path(group, this.#slotFiles[slot]))
    const held: HeldGroup = { slots, cache: [] }
    this.#groups.set(group, held)
    return held
  }

  /** What is held of a group; undefined when nothing is. */
  peek(group: GroupPath): HeldGroup | undefined {
    return this.#groups.get(group)
  }

  write(group: GroupPath, file: KernelFile | undefined, text: string): Outcome {
    const path = this.#path(group, file)
    if (path === undefined) return outcomeOfErrno('ENOENT')
    let fd = -1
    try {
      fd = this.held.opening(() => openSync(path, 'r+'))
      return ofWritten(writeSync(fd, text), text)
    } catch (thrown) {
      return outcomeOfErrno(errnoOf(thrown) ?? 'EIO')
    } finally {
      if (fd >= 0) closeSync(fd)
    }
  }

  /** The same on a thread of libuv's pool, where it may take seconds. Never rejects. */
  async writeSlowly(group: GroupPath, file: KernelFile | undefined, text: string): Promise<Outcome> {
    const path = this.#path(group, file)
    if (path === undefined) return outcomeOfErrno('ENOENT')
    let handle: FileHandle | undefined
    try {
      handle = await open(path, 'r+')
      return ofWritten((await handle.write(text)).bytesWritten, text)
    } catch (thrown) {
      const errno = errnoOf(thrown) ?? 'EIO'
      // Out of descriptors: those that are held only for speed are given back, and the next tick tries again.
      if (errno === 'EMFILE' || errno === 'ENFILE') this.held.giveBack()
      return errno === 'EMFILE' || errno === 'ENFILE' ? { is: 'busy', errno } : outcomeOfErrno(errno)
    } finally {
      await handle?.close().catch(() => undefined)
    }
  }

  /** Lets go of everything held for a group and the groups below it. */
  forget(group: GroupPath): void {
    for (const [path, held] of this.#groups) {
      if (path !== group && !path.startsWith(`${group}/`)) continue
      this.held.release(held.slots)
      this.#groups.delete(path)
    }
  }

  #path(group: GroupPath, file: KernelFile | undefined): string | undefined {
    const tree = file === undefined ? undefined : this.#mounts.controllers[file.controller]
    return file === undefined || tree === undefined ? undefined : join(tree, group, file.name)
  }
}

/**
 * Kernel: each write is a value by itself (kernfs_fop_write_iter), so the rest of one that was cut short must not follow: it would be taken for
 * another. The file is read back, and written anew on the next tick.
 */
function ofWritten(bytes: number, text: string): Outcome {
  return bytes === Buffer.byteLength(text) ? APPLIED : outcomeOfErrno('EIO')
}
