/**
 * Bits in 32-bit words, the representation behind CpuSet: bit `n & 31` of word `n >> 5` stands for CPU n. Words are worked on
 * whole, so that a set of 1024 CPUs costs 32 steps. JavaScript's bit operators give signed numbers; only a store into a
 * Uint32Array makes them unsigned again, so nothing here compares a word with `<` or `>`.
 * Kernel: lib/bitmap.c, with 32-bit instead of native words.
 */

const WORD_BITS = 32

/** Room for bits 0 to `lastBit`, all clear. */
export function wordsFor(lastBit: number): Uint32Array {
  return new Uint32Array((lastBit >>> 5) + 1)
}

/** Sets bits `first` to `last`, both included; `words` must have room for them. */
export function setRange(words: Uint32Array, first: number, last: number): void {
  const firstWord = first >>> 5
  const lastWord = last >>> 5
  for (let index = firstWord; index <= lastWord; index++) {
    const fromBit = index === firstWord ? -1 << (first & 31) : -1
    const toBit = index === lastWord ? -1 >>> (31 - (last & 31)) : -1
    words[index] = (words[index] ?? 0) | (fromBit & toBit)
  }
}

/** The words without zero words at the end, so that equal sets have equal words. Copies only if it has to. */
export function trimmed(words: Uint32Array): Uint32Array {
  let length = words.length
  while (length > 0 && words[length - 1] === 0) length -= 1
  return length === words.length ? words : words.slice(0, length)
}

/** How many bits are set in one word. */
export function countWord(word: number): number {
  const pairs = word - ((word >>> 1) & 0x55555555)
  const nibbles = (pairs & 0x33333333) + ((pairs >>> 2) & 0x33333333)
  return Math.imul((nibbles + (nibbles >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24
}

/** The first set bit at or after `from`, or the number of bits there is room for when there is none. */
export function nextSet(words: Uint32Array, from: number): number {
  return nextBit(words, from, 0)
}

/** The first clear bit at or after `from`; bits past the end are clear. */
export function nextClear(words: Uint32Array, from: number): number {
  return nextBit(words, from, -1)
}

function nextBit(words: Uint32Array, from: number, flip: 0 | -1): number {
  let index = from >>> 5
  let word = ((words[index] ?? 0) ^ flip) & (-1 << (from & 31))
  while (word === 0) {
    index += 1
    if (flip === 0 && index >= words.length) return words.length * WORD_BITS
    word = (words[index] ?? 0) ^ flip
  }
  return index * WORD_BITS + 31 - Math.clz32(word & -word)
}
