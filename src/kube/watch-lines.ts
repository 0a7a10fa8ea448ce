/**
 * Bytes of a watch → its lines. A watch is JSON objects with a newline after each, cut into chunks anywhere: also within a UTF-8
 * character, so nothing is decoded before its line is whole. A line has a bound: etcd takes objects of 1.5 MiB, so what goes on beyond
 * some times that is no watch.
 */
import { ApiContentError } from './api.ts'

const NEWLINE = 0x0a

export class LineSplitter {
  readonly #maxBytes: number
  #parts: Buffer[] = []
  #bytes = 0

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  /** The lines that this chunk ends, without their newlines and without blank ones. */
  push(chunk: Buffer): string[] {
    const lines: string[] = []
    let start = 0
    for (let end = chunk.indexOf(NEWLINE); end !== -1; end = chunk.indexOf(NEWLINE, start)) {
      this.#keep(chunk.subarray(start, end))
      lines.push(this.#take())
      start = end + 1
    }
    if (start < chunk.length) this.#keep(chunk.subarray(start))
    return lines.filter((line) => line.trim() !== '')
  }

  /** Whether the bytes so far end within a line. */
  get withinLine(): boolean {
    return this.#bytes > 0
  }

  #keep(part: Buffer): void {
    this.#bytes += part.length
    if (this.#bytes > this.#maxBytes)
      throw new ApiContentError(`a line of the watch is longer than ${this.#maxBytes} bytes`, true)
    this.#parts.push(part)
  }

  #take(): string {
    const line = Buffer.concat(this.#parts, this.#bytes).toString('utf8')
    this.#parts = []
    this.#bytes = 0
    return line
  }
}
