/**
 * Numbers out of raw bytes: the buffer is longer than the file and holds what an earlier, longer file left behind, so nothing past the
 * length that was read may ever count.
 */
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { fieldNumber, keyBytes, numberAt, sameBytes } from '../../../src/kernel/bytes.ts'

/** `text` in a buffer whose rest is full of digits, as a stale one might be. */
function stale(text: string, rest = '9'): { buffer: Buffer; length: number } {
  const buffer = Buffer.alloc(text.length + 64, rest)
  buffer.write(text, 'latin1')
  return { buffer, length: text.length }
}

function field(text: string, key: string, rest?: string): number | undefined {
  const { buffer, length } = stale(text, rest)
  return fieldNumber(buffer, length, keyBytes(key))
}

function number(text: string, at = 0): number | undefined {
  const { buffer, length } = stale(text)
  return numberAt(buffer, at, length)
}

describe('numberAt', () => {
  it.each([
    ['0\n', 0],
    ['123456789\n', 123_456_789],
    ['-1\n', undefined],
    ['18446744073709551615\n', 2 ** 64],
    ['18446744073709600000\n', undefined],
    ['9'.repeat(400), undefined],
    ['100000', 100_000],
    ['9007199254740991\n', Number.MAX_SAFE_INTEGER],
    ['007', 7],
    ['', undefined],
    ['-', undefined],
    ['--1', undefined],
    ['max\n', undefined],
    ['\n', undefined],
    [' 1', undefined],
  ])('reads %j as %s', (text, expected) => {
    expect(number(text)).toBe(expected)
  })

  it('stops at the length that was read, not at the end of the digits behind it', () => {
    expect(number('12')).toBe(12)
    expect(number('12', 2)).toBeUndefined()
  })

  it('reads any safe integer from 0 exactly, with or without a newline after it', () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), fc.constantFrom('', '\n', ' ', 'x'), (value, end) => {
        expect(number(`${value}${end}`)).toBe(value)
      }),
    )
  })
})

describe('fieldNumber', () => {
  const STAT = 'nr_periods 12\nnr_throttled 7\nthrottled_time 99\n'

  it.each([
    ['nr_periods ', 12],
    ['nr_throttled ', 7],
    ['throttled_time ', 99],
    ['nr_thro', undefined],
    ['missing ', undefined],
  ])('finds %j as %s', (key, expected) => {
    expect(field(STAT, key)).toBe(expected)
  })

  it('tells a field from those it is a prefix or a suffix of', () => {
    expect(field('usage_usec_total 1\nusage_usec 2\n', 'usage_usec ')).toBe(2)
    expect(field('total_inactive_file 1\ninactive_file 2\n', 'inactive_file ')).toBe(2)
    expect(field('inactive_file 2\ntotal_inactive_file 1\n', 'total_inactive_file ')).toBe(1)
    expect(field('inactive_anon 5\n', 'inactive_file ')).toBeUndefined()
  })

  it('skips any number of blanks, as meminfo has them', () => {
    expect(field('MemTotal:       16384 kB\n', 'MemTotal:')).toBe(16_384)
  })

  it('reads the last line without its newline', () => {
    expect(field('a 1\nb 2', 'b ')).toBe(2)
  })

  it.each(['a 1\nb', 'a 1\nb ', 'a 1\n', 'a 1', ''])('finds nothing in %j, cut off before the value', (text) => {
    expect(field(text, 'b ')).toBeUndefined()
    expect(field(text, 'b ', '\n')).toBeUndefined()
    expect(field(text, 'b ', ' ')).toBeUndefined()
  })

  it('never takes a line that lies behind the length', () => {
    const buffer = Buffer.from('a 1\nb 2\n')
    expect(fieldNumber(buffer, 4, keyBytes('b '))).toBeUndefined()
    expect(fieldNumber(buffer, 6, keyBytes('b '))).toBeUndefined()
    expect(fieldNumber(buffer, 7, keyBytes('b '))).toBe(2)
  })

  it('agrees with splitting the text into lines, for any text', () => {
    const char = fc.constantFrom(...Array.from('ab \n19-_'))
    fc.assert(
      fc.property(fc.string({ unit: char, maxLength: 40 }), fc.constantFrom('a ', 'ab ', 'b', '_ '), (text, key) => {
        const line = text.split('\n').find((one) => one.startsWith(key))
        const digits = line === undefined ? null : /^ *(\d+)/.exec(line.slice(key.length))
        expect(field(text, key)).toBe(digits === null ? undefined : Number(digits[1]))
      }),
      { numRuns: 2000 },
    )
  })

  it('never throws, whatever the bytes and the length', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), fc.nat(64), fc.nat(80), (bytes, length, at) => {
        const most = Math.min(length, bytes.length)
        for (const value of [numberAt(bytes, at, most), fieldNumber(bytes, most, keyBytes('a '))])
          expect(value === undefined || Number.isFinite(value)).toBe(true)
      }),
    )
  })
})

describe('sameBytes', () => {
  it('compares only the first bytes', () => {
    expect(sameBytes(Buffer.from('abcX'), Buffer.from('abcY'), 3)).toBe(true)
    expect(sameBytes(Buffer.from('abcX'), Buffer.from('abcY'), 4)).toBe(false)
  })
})
