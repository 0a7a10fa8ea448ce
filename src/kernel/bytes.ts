/**
 * Numbers out of the bytes of a kernel file, without making a string. Kernel files are ASCII; a number here is a run of decimal
 * digits, and every function is given the length that was read, since the buffer is shared and longer than the file. All that is read
 * by this are amounts: what is negative, or beyond what the kernel counts in, is no number.
 */
const NEWLINE = 0x0a
const SPACE = 0x20
const ZERO = 0x30
/** Kernel: the widest counter is a u64. */
const MOST = 2 ** 64

function isDigit(byte: number | undefined): byte is number {
  return byte !== undefined && byte >= ZERO && byte <= ZERO + 9
}

/** The decimal number that starts at `at`, 0 to 2^64; undefined when there is none. Exact up to 2^53. */
export function numberAt(buffer: Uint8Array, at: number, length: number): number | undefined {
  if (at >= length || !isDigit(buffer[at])) return undefined
  let value = 0
  for (let index = at; index < length; index += 1) {
    const byte = buffer[index]
    if (!isDigit(byte)) break
    value = value * 10 + (byte - ZERO)
  }
  return value <= MOST ? value : undefined
}

/**
 * The number after `key` and its separator, where `key` starts a line: `nr_throttled 7`, `MemAvailable:   123 kB`.
 * `key` carries its separator, so that `usage` does not match `usage_usec`.
 */
export function fieldNumber(buffer: Uint8Array, length: number, key: Uint8Array): number | undefined {
  let line = 0
  while (line < length) {
    if (startsWith(buffer, line, length, key)) {
      let at = line + key.length
      while (at < length && buffer[at] === SPACE) at += 1
      return numberAt(buffer, at, length)
    }
    const end = buffer.indexOf(NEWLINE, line)
    if (end < 0 || end >= length) return undefined
    line = end + 1
  }
  return undefined
}

function startsWith(buffer: Uint8Array, at: number, length: number, key: Uint8Array): boolean {
  if (at + key.length > length) return false
  for (let index = 0; index < key.length; index += 1) if (buffer[at + index] !== key[index]) return false
  return true
}

/** Text bytes for use as a key. */
export function keyBytes(text: string): Uint8Array {
  return Buffer.from(text, 'latin1')
}

/** Whether the first `length` bytes of both are the same. */
export function sameBytes(a: Uint8Array, b: Uint8Array, length: number): boolean {
  for (let index = 0; index < length; index += 1) if (a[index] !== b[index]) return false
  return true
}
