/**
 * A directory on a file system of our own in which files can be made but never written: a write is asked for, and nobody answers, as with a file
 * server that is gone. Spoken to the kernel itself over /dev/fuse, so what hangs is a real call of a real thread.
 * Source: include/uapi/linux/fuse.h.
 */
import { spawnSync } from 'node:child_process'
import { closeSync, existsSync, mkdirSync, openSync, read, writeSync } from 'node:fs'
import { promisify } from 'node:util'

const readAsync = promisify(read)

const [LOOKUP, FORGET, GETATTR, STATFS, INIT, OPENDIR, READDIR, RELEASEDIR, CREATE] = [1, 2, 3, 17, 26, 27, 28, 29, 35]
const [INTERRUPT, BATCH_FORGET] = [36, 42]
const [ENOENT, ENOSYS] = [2, 38]
const IN_HEADER = 40
const OUT_HEADER = 16
/** Closing asks for nothing: not even a process that is killed would get past a question that nobody answers. */
const FOPEN_NOFLUSH = 1 << 5
const LONG_S = 3600n
const ROOT = 1n
const FILE = 2n
const BUFFER_BYTES = 1 << 18

/** Why there can be none here; undefined where there can. */
export function whyNoHangingDisk(): string | undefined {
  if (process.getuid?.() !== 0) return 'needs root, to mount a file system'
  return existsSync('/dev/fuse') ? undefined : 'needs /dev/fuse'
}

export class HangingDisk {
  readonly path: string
  readonly #fd: number
  /** Resolves when a file has been made: from then on nothing is answered. */
  readonly hangs: Promise<void>

  private constructor(path: string, fd: number) {
    this.path = path
    this.#fd = fd
    this.hangs = this.#serve()
    // Unmounted before any file was made: nobody waits for it any more.
    this.hangs.catch(() => undefined)
  }

  /** Mounts it at a path that is not there yet. Throws where it can't be mounted. */
  static mount(path: string): HangingDisk {
    mkdirSync(path)
    const fd = openSync('/dev/fuse', 'r+')
    const options = 'fd=3,rootmode=40000,user_id=0,group_id=0'
    const { status, stderr } = spawnSync('mount', ['-i', '-t', 'fuse', '-o', options, 'hanging', path], {
      stdio: ['ignore', 'ignore', 'pipe', fd],
      encoding: 'utf8',
    })
    if (status === 0) return new HangingDisk(path, fd)
    closeSync(fd)
    throw new Error(`cannot mount ${path}: ${stderr}`)
  }

  /** Whoever waits for it gets an error. */
  unmount(): void {
    spawnSync('umount', ['-f', '-l', this.path])
    closeSync(this.#fd)
  }

  async #serve(): Promise<void> {
    const buffer = Buffer.alloc(BUFFER_BYTES)
    for (;;) {
      await readAsync(this.#fd, buffer, 0, buffer.length, null)
      const [opcode, unique] = [buffer.readUInt32LE(4), buffer.readBigUInt64LE(8)]
      if (opcode === FORGET || opcode === BATCH_FORGET || opcode === INTERRUPT) continue
      const reply = answerTo(opcode, buffer.subarray(IN_HEADER))
      const header = Buffer.alloc(OUT_HEADER)
      const body = typeof reply === 'number' ? Buffer.alloc(0) : reply
      header.writeUInt32LE(OUT_HEADER + body.length, 0)
      header.writeInt32LE(typeof reply === 'number' ? -reply : 0, 4)
      header.writeBigUInt64LE(unique, 8)
      writeSync(this.#fd, Buffer.concat([header, body]))
      if (opcode === CREATE) return
    }
  }
}

/** The body of an answer, or an errno. */
function answerTo(opcode: number, request: Buffer): Buffer | number {
  switch (opcode) {
    case INIT:
      return initiated(request)
    case GETATTR:
      return Buffer.concat([times(1), attributes(ROOT)])
    case OPENDIR:
      return Buffer.alloc(16)
    case STATFS:
      return freeSpace()
    case CREATE:
      return Buffer.concat([made(), attributes(FILE), opened()])
    case LOOKUP:
      return ENOENT
    case READDIR:
    case RELEASEDIR:
      return 0
    default:
      return ENOSYS
  }
}

/** struct fuse_init_out: the version that is spoken, and the largest write. */
function initiated(request: Buffer): Buffer {
  const body = Buffer.alloc(64)
  body.writeUInt32LE(7, 0)
  body.writeUInt32LE(Math.min(31, request.readUInt32LE(4)), 4)
  body.writeUInt32LE(1 << 16, 20)
  return body
}

/** How long what was answered is valid: `count` times of seconds, then their nanoseconds, in whole words. */
function times(count: number): Buffer {
  const body = Buffer.alloc(count * 8 + 8)
  for (let at = 0; at < count; at += 1) body.writeBigUInt64LE(LONG_S, at * 8)
  return body
}

/** The first half of struct fuse_entry_out. */
function made(): Buffer {
  const body = Buffer.alloc(16)
  body.writeBigUInt64LE(FILE, 0)
  return Buffer.concat([body, times(2)])
}

/** struct fuse_attr. */
function attributes(node: bigint): Buffer {
  const body = Buffer.alloc(88)
  body.writeBigUInt64LE(node, 0)
  body.writeUInt32LE(node === ROOT ? 0o40700 : 0o100600, 60)
  body.writeUInt32LE(1, 64)
  body.writeUInt32LE(4096, 80)
  return body
}

function opened(): Buffer {
  const body = Buffer.alloc(16)
  body.writeUInt32LE(FOPEN_NOFLUSH, 8)
  return body
}

/** struct fuse_kstatfs: room enough. */
function freeSpace(): Buffer {
  const body = Buffer.alloc(80)
  for (let at = 0; at < 40; at += 8) body.writeBigUInt64LE(1n << 20n, at)
  body.writeUInt32LE(4096, 40)
  body.writeUInt32LE(255, 44)
  body.writeUInt32LE(4096, 48)
  return body
}
