/**
 * Numbers and texts as bytes, and back: what the codec of recordings is made of. Integers take as few bytes as they need (seven bits in
 * each, the lowest first, as LEB128), other numbers the eight of IEEE 754, texts one byte a character where that is enough. Nothing is lost:
 * NaN, −0 and lone surrogates come back as they were.
 */

const FIRST_BYTES = 64 * 1024
/** Texts up to here are written by hand, which is quicker than a call out of JavaScript. */
const SHORT_TEXT = 96
const LATIN1 = 0
const UTF16 = 1

/** A buffer that grows; `take` hands out what was written and begins anew. */
export class ByteWriter {
  #bytes = Buffer.allocUnsafe(FIRST_BYTES)
  #length = 0

  get length(): number {
    return this.#length
  }

  byte(value: number): void {
    if (this.#length === this.#bytes.length) this.#grow(1)
    this.#bytes[this.#length++] = value
  }

  /** A whole number from 0 to 2^53 − 1. */
  varint(value: number): void {
    let rest = value
    while (rest >= 0x80) {
      this.byte((rest % 0x80) | 0x80)
      // Beyond 2^31 a shift would lose bits.
      rest = rest < 0x8000_0000 ? rest >>> 7 : Math.floor(rest / 0x80)
    }
    this.byte(rest)
  }

  double(value: number): void {
    if (this.#length + 8 > this.#bytes.length) this.#grow(8)
    this.#bytes.writeDoubleLE(value, this.#length)
    this.#length += 8
  }

  text(value: string): void {
    if (isLatin1(value)) {
      this.varint(value.length * 2 + LATIN1)
      this.#room(value.length)
      if (value.length <= SHORT_TEXT) {
        for (let index = 0; index < value.length; index += 1) this.#bytes[this.#length++] = value.charCodeAt(index)
      } else this.#length += this.#bytes.write(value, this.#length, 'latin1')
    } else {
      this.varint(value.length * 2 + UTF16)
      this.#room(value.length * 2)
      this.#length += this.#bytes.write(value, this.#length, 'utf16le')
    }
  }

  /** A copy of all that was written since the last call. */
  take(): Buffer {
    const taken = Buffer.from(this.#bytes.subarray(0, this.#length))
    this.#length = 0
    return taken
  }

  #room(more: number): void {
    if (this.#length + more > this.#bytes.length) this.#grow(more)
  }

  #grow(more: number): void {
    const grown = Buffer.allocUnsafe(Math.max(this.#bytes.length * 2, this.#length + more))
    this.#bytes.copy(grown, 0, 0, this.#length)
    this.#bytes = grown
  }
}

/** Reads what a ByteWriter wrote. Everything throws RangeError for bytes that end too early or mean nothing. */
export class ByteReader {
  readonly #bytes: Buffer
  #at = 0

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  get atEnd(): boolean {
    return this.#at >= this.#bytes.length
  }

  byte(): number {
    const value = this.#bytes[this.#at]
    if (value === undefined) throw new RangeError('the bytes end too early')
    this.#at += 1
    return value
  }

  varint(): number {
    let value = 0
    let factor = 1
    for (;;) {
      const byte = this.byte()
      value += (byte & 0x7f) * factor
      if (!Number.isSafeInteger(value)) throw new RangeError('a number is too large')
      if (byte < 0x80) return value
      factor *= 0x80
    }
  }

  double(): number {
    const value = this.#bytes.readDoubleLE(this.#at)
    this.#at += 8
    return value
  }

  text(): string {
    const head = this.varint()
    const chars = Math.floor(head / 2)
    const isWide = head % 2 === UTF16
    const end = this.#at + (isWide ? chars * 2 : chars)
    if (end > this.#bytes.length) throw new RangeError('a text ends too early')
    const value = this.#bytes.toString(isWide ? 'utf16le' : 'latin1', this.#at, end)
    this.#at = end
    return value
  }
}

function isLatin1(text: string): boolean {
  for (let index = 0; index < text.length; index += 1) if (text.charCodeAt(index) > 0xff) return false
  return true
}
