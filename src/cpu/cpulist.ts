/**
 * CPU lists as text: every form the kernel prints, and those it takes from a writer. `0-3,8`, white space and commas in any
 * number, `0-31:2/4` (the first 2 of each group of 4), `N` for the last CPU, `all`.
 * Kernel: bitmap_parselist and bitmap_print_list_to_buf in lib/bitmap-str.c; the answers were checked against a v1 cpuset, 6.18.
 * Four accidents of the kernel's reader are not copied: it drops what follows a number and a newline (`0\n1` is CPU 0), needs no
 * separator after a group (`0-1:1/2N`), wraps a huge group size round to CPU 0, and takes Latin-1 byte A0 for white space.
 */
import { nextClear, nextSet, setRange, wordsFor } from './words.ts'

/** Kernel: the largest CONFIG_NR_CPUS is 8192 (arch/x86/Kconfig, MAXSMP). */
export const MAX_CPU_ID = 8191

/** Kernel: bitmap_getnum keeps `used` and `group` of a pattern in an unsigned int and answers EOVERFLOW above it. */
const MAX_GROUP = 0xffff_ffff

/** A text or number that does not name CPUs. The message quotes it and says what was expected where. */
export class CpuListError extends Error {
  /** The whole text that was read; a lone number is given as its text. */
  readonly text: string
  /** Where it went wrong, counted from 1. */
  readonly column: number
  readonly expected: string

  constructor(text: string, column: number, expected: string) {
    const found = /^(?:\w+|.)/su.exec(text.slice(column - 1, column + 19))?.[0]
    super(
      `CPU list ${quote(text)}, column ${column}: expected ${expected}, found ${found === undefined ? 'the end' : quote(found)}`,
    )
    this.name = 'CpuListError'
    this.text = text
    this.column = column
    this.expected = expected
  }
}

export interface CpuListOptions {
  /**
   * What `N` and `all` stand for, 0 to 8191; CPUs above it are refused, as the kernel does (ERANGE).
   * Kernel: it is the last *possible* CPU (/sys/devices/system/cpu/possible), online or not.
   */
  readonly lastCpu?: number | undefined
}

interface Cursor {
  readonly text: string
  readonly lastCpu: number | undefined
  at: number
}

/** The CPUs named by `text`, as words with room to spare. Throws CpuListError. */
export function parseCpuList(text: string, options: CpuListOptions): Uint32Array {
  if (options.lastCpu !== undefined) checkCpuId(options.lastCpu)
  const words = wordsFor(MAX_CPU_ID)
  const cursor: Cursor = { text, lastCpu: options.lastCpu, at: 0 }
  skipSeparators(cursor)
  while (cursor.at < text.length) {
    readRegion(cursor, words)
    const end = cursor.at
    skipSeparators(cursor)
    if (cursor.at === end && end < text.length) throw failure(cursor, end, 'a comma, white space or the end of the list')
  }
  return words
}

/** The canonical list: ascending, runs joined, no white space; empty for no CPU. */
export function formatCpuList(words: Uint32Array): string {
  const parts: string[] = []
  const end = words.length * 32
  for (let first = nextSet(words, 0); first < end;) {
    const after = nextClear(words, first)
    parts.push(after === first + 1 ? String(first) : `${first}-${after - 1}`)
    first = nextSet(words, after)
  }
  return parts.join(',')
}

/** Throws CpuListError unless `id` is a whole number from 0 to 8191. */
export function checkCpuId(id: number): void {
  if (!Number.isInteger(id) || id < 0 || id > MAX_CPU_ID) {
    throw new CpuListError(String(id), 1, `a CPU number from 0 to ${MAX_CPU_ID}`)
  }
}

function readRegion(cursor: Cursor, words: Uint32Array): void {
  const most = cursor.lastCpu ?? MAX_CPU_ID
  let first = 0
  let last = most
  if (!skipAll(cursor)) {
    first = readNumber(cursor, most, 'a CPU number')
    if (!skipChar(cursor, '-')) {
      setRange(words, first, first)
      return
    }
    const lastAt = cursor.at
    last = readNumber(cursor, most, 'the last CPU of the range')
    if (last < first) throw failure(cursor, lastAt, `a CPU not below ${first}`)
  }
  if (!skipChar(cursor, ':')) {
    setRange(words, first, last)
    return
  }
  const usedAt = cursor.at
  const used = readNumber(cursor, MAX_GROUP, 'how many CPUs of each group are used')
  if (!skipChar(cursor, '/')) throw failure(cursor, cursor.at, '"/" and a group size')
  const groupAt = cursor.at
  const group = readNumber(cursor, MAX_GROUP, 'a group size')
  if (group === 0) throw failure(cursor, groupAt, 'a group size above 0')
  if (used > group) throw failure(cursor, usedAt, `at most the group size, ${group}`)
  // Kernel: `0-3:0/2` is legal and names no CPU.
  if (used === 0) return
  for (let start = first; start <= last; start += group) setRange(words, start, Math.min(start + used - 1, last))
}

/** A decimal number, or `N` where the last CPU is known. Kernel: bitmap_getnum takes `N` for any of a region's four numbers. */
function readNumber(cursor: Cursor, most: number, expected: string): number {
  const start = cursor.at
  if (skipChar(cursor, 'N')) {
    if (cursor.lastCpu === undefined)
      throw failure(cursor, start, `${expected} ("N" can't be used here: the last CPU is not known)`)
    return cursor.lastCpu
  }
  let value = 0
  while (cursor.at < cursor.text.length) {
    const digit = cursor.text.charCodeAt(cursor.at) - 48
    if (digit < 0 || digit > 9) break
    value = value * 10 + digit
    cursor.at += 1
  }
  if (cursor.at === start) throw failure(cursor, start, expected)
  if (value > most) throw failure(cursor, start, `${expected}, at most ${most}`)
  return value
}

function skipAll(cursor: Cursor): boolean {
  if (cursor.text.slice(cursor.at, cursor.at + 3).toLowerCase() !== 'all') return false
  if (cursor.lastCpu === undefined) {
    throw failure(cursor, cursor.at, 'a CPU number ("all" can\'t be used here: the last CPU is not known)')
  }
  cursor.at += 3
  return true
}

function skipChar(cursor: Cursor, char: string): boolean {
  if (cursor.text[cursor.at] !== char) return false
  cursor.at += 1
  return true
}

/** Kernel: __end_of_region, that is commas and the ASCII part of isspace: tab, LF, VT, FF, CR and blank. */
function skipSeparators(cursor: Cursor): void {
  while (cursor.at < cursor.text.length) {
    const code = cursor.text.charCodeAt(cursor.at)
    if (code !== 0x2c && code !== 0x20 && (code < 0x09 || code > 0x0d)) return
    cursor.at += 1
  }
}

function failure(cursor: Cursor, at: number, expected: string): CpuListError {
  return new CpuListError(cursor.text, at + 1, expected)
}

function quote(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text)
}
