/**
 * Where log lines go: a descriptor that may be a pipe nobody reads, a file on a full disk or a terminal that went away. None of them may stall
 * the loop, end the process or keep it from ending. Lines are written by a thread of the pool, one write at a time, in order and whole; what
 * can't be written waits and is tried again, up to a bound, beyond which new lines are dropped and counted. Not pino's own destination: to
 * that, every error but EPIPE is an uncaught one, and its flush at the exit tries again without end.
 */
import { write, writeSync } from 'node:fs'
import { errnoOf, messageOf, Run } from '../model/index.ts'

/** Of lines that wait; what comes beyond is dropped. */
const MOST_WAITING_BYTES = 4 * 1024 * 1024
/** Of lines that are written in one go, unless one alone is longer. */
const CHUNK_BYTES = 64 * 1024
/** Pause after an answer that says "later": a reader who is behind. */
const BUSY_MS = 100
/** Pause after any other error, such as ENOSPC, EIO, EPIPE. */
const RETRY_MS = 1000
/** A write that has not been taken for so long counts as failed, though it may be yet. */
const OVERDUE_MS = 5000
/** How long flush() and the exit wait for a reader who is behind. */
const FLUSH_MS = 300
const EXIT_LOOK_MS = 10

/** fs.write() and fs.writeSync(), or what a test puts in their place. */
export interface LogWriter {
  readonly write: (fd: number, bytes: Uint8Array, done: (error: Error | null, written: number) => void) => void
  readonly writeSync: (fd: number, bytes: Uint8Array) => number
}

export interface LogStreamOptions {
  readonly fd: number
  /** Called when lines were dropped and there is room again: `lost` since it was called last. */
  readonly onLost: (lost: number, problem: string) => void
  /** Monotonic ms. */
  readonly now: () => number
  /** @default Node's */
  readonly writer?: LogWriter
}

interface Line {
  readonly text: string
  readonly bytes: number
}

export class LogStream {
  /** How writing goes. */
  readonly run = new Run('log')
  readonly #options: LogStreamOptions
  readonly #writer: LogWriter
  #waiting: Line[] = []
  #waitingBytes = 0
  /** What is being written, or is to be tried again. */
  #chunk: Uint8Array = new Uint8Array(0)
  /** When the write that has not come back began; undefined while none is under way. */
  #writingSinceMs: number | undefined
  /** When the chunk was made, or last met with an error: since then it has been neither taken nor turned down. */
  #chunkSinceMs = 0
  #retry: NodeJS.Timeout | undefined
  #lost = 0
  #flushing: (() => void)[] = []

  constructor(options: LogStreamOptions) {
    this.#options = options
    this.#writer = options.writer ?? { write, writeSync }
  }

  /** Takes a line, with its line feed. Neither waits nor throws. */
  write(text: string): void {
    this.#noteOverdue()
    const line = { text, bytes: Buffer.byteLength(text) }
    if (this.#chunk.length + this.#waitingBytes + line.bytes > MOST_WAITING_BYTES) {
      this.#lost += 1
      return
    }
    this.#waiting.push(line)
    this.#waitingBytes += line.bytes
    if (this.#retry === undefined) this.#next()
  }

  /**
   * Calls back when everything has been written, or can't be: after one more try of what has failed before, and after FLUSH_MS with a reader
   * who is behind. Only a write that does not come back, on a terminal that was stopped or a disk that hangs, keeps it from calling.
   */
  flush(done: () => void): void {
    this.#flushing.push(done)
    const giveUp = (): void => {
      if (this.#writingSinceMs === undefined) this.#flushed()
    }
    setTimeout(giveUp, FLUSH_MS).unref()
    this.#next()
  }

  /**
   * Writes what waits at the exit, when there is no event loop any more: for FLUSH_MS at most, and not at all after an error, or behind a write
   * that does not come back.
   */
  flushSync(): void {
    const { fd, now } = this.#options
    const endMs = now() + FLUSH_MS
    if (this.#writingSinceMs !== undefined) {
      if (now() - this.#writingSinceMs > FLUSH_MS) return
      // A thread that has just begun has its line out before those that follow.
      pause(EXIT_LOOK_MS)
      this.#chunk = this.#chunk.subarray(this.#chunk.length)
    }
    while (this.#fill()) {
      try {
        this.#chunk = this.#chunk.subarray(this.#writer.writeSync(fd, this.#chunk))
      } catch (thrown) {
        if (!isBusy(thrown) || now() >= endMs) return
        pause(EXIT_LOOK_MS)
      }
    }
  }

  /** Makes the next chunk of the lines that wait, when the one before has been written; false when there is nothing left. */
  #fill(): boolean {
    if (this.#chunk.length > 0) return true
    let lines = 0
    let bytes = 0
    for (const line of this.#waiting) {
      if (lines > 0 && bytes + line.bytes > CHUNK_BYTES) break
      lines += 1
      bytes += line.bytes
    }
    const taken = this.#waiting.splice(0, lines)
    this.#waitingBytes -= bytes
    this.#chunk = Buffer.from(taken.map(({ text }) => text).join(''))
    this.#chunkSinceMs = this.#options.now()
    return lines > 0
  }

  #next(): void {
    if (this.#writingSinceMs !== undefined) return
    clearTimeout(this.#retry)
    this.#retry = undefined
    if (!this.#fill()) {
      this.#flushed()
      return
    }
    this.#writingSinceMs = this.#options.now()
    this.#writer.write(this.#options.fd, this.#chunk, (error, written) => this.#wrote(error, written))
  }

  #wrote(error: Error | null, written: number): void {
    const nowMs = this.#options.now()
    this.#writingSinceMs = undefined
    if (error === null && written > 0) {
      this.#chunk = this.#chunk.subarray(written)
      if (this.#chunk.length === 0) this.run.ok(nowMs, nowMs - this.#chunkSinceMs)
      this.#tellLost()
      this.#next()
      return
    }
    const busy = error === null || isBusy(error)
    if (!busy) {
      this.run.failed(messageOf(error), nowMs)
      this.#chunkSinceMs = nowMs
      this.#flushed()
    }
    // The log must not keep the process alive.
    this.#retry = setTimeout(() => this.#next(), busy ? BUSY_MS : RETRY_MS).unref()
  }

  /** A reader who takes nothing gives no error: it is noted with the lines that come meanwhile, once a second at most. */
  #noteOverdue(): void {
    if (this.#chunk.length === 0) return
    const nowMs = this.#options.now()
    const waitedMs = nowMs - this.#chunkSinceMs
    if (waitedMs < OVERDUE_MS || nowMs - (this.run.lastFailedMs ?? -Infinity) < RETRY_MS) return
    this.run.failed('what standard error leads to takes nothing: its reader has stalled, or its disk hangs', nowMs)
  }

  /** Not while lines still go to and fro at the bound: it would be told of each. */
  #tellLost(): void {
    const lost = this.#lost
    if (lost === 0 || this.#waitingBytes > MOST_WAITING_BYTES / 2) return
    this.#lost = 0
    this.#options.onLost(lost, this.run.lastError ?? 'its reader was too slow')
  }

  #flushed(): void {
    for (const done of this.#flushing.splice(0)) done()
  }
}

/** Kernel: a descriptor that does not block answers EAGAIN while there is no room; Node makes pipes and sockets such ones. */
function isBusy(thrown: unknown): boolean {
  return ['EAGAIN', 'EBUSY', 'EINTR'].includes(errnoOf(thrown) ?? '')
}

/** Stops the thread, which is all that there is left of the program at its exit. */
function pause(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)
}
