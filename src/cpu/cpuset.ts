/**
 * A set of CPUs that never changes. The one currency of placement: every cpuset knob, pool and topology domain is a CpuSet, and
 * set algebra works on whole words, so a tick may do thousands of them. Words are kept trimmed: equal sets are equal data, which
 * is what makes `equals` a plain comparison and lets test frameworks compare sets structurally.
 * Kernel: include/linux/cpumask.h; text form in cpulist.ts.
 */
import { checkCpuId, CpuListError, type CpuListOptions, formatCpuList, parseCpuList } from './cpulist.ts'
import { countWord, nextSet, setRange, trimmed, wordsFor } from './words.ts'

export class CpuSet implements Iterable<number> {
  static readonly EMPTY: CpuSet = new CpuSet(new Uint32Array(0))

  private readonly words: Uint32Array
  /** How many CPUs are in the set. */
  readonly size: number

  private constructor(trimmedWords: Uint32Array) {
    this.words = trimmedWords
    let size = 0
    for (let index = 0; index < trimmedWords.length; index++) size += countWord(trimmedWords[index] ?? 0)
    this.size = size
  }

  private static ofWords(words: Uint32Array): CpuSet {
    const kept = trimmed(words)
    return kept.length === 0 ? CpuSet.EMPTY : new CpuSet(kept)
  }

  /** Throws CpuListError for an id that is not a whole number from 0 to 8191. */
  static of(...ids: readonly number[]): CpuSet {
    return CpuSet.from(ids)
  }

  /** In any order, repeats allowed. Throws CpuListError for an id that is not a whole number from 0 to 8191. */
  static from(ids: Iterable<number>): CpuSet {
    if (ids instanceof CpuSet) return ids
    const known = [...ids]
    let highest = 0
    for (const id of known) {
      checkCpuId(id)
      if (id > highest) highest = id
    }
    const words = wordsFor(highest)
    for (const id of known) words[id >>> 5] = (words[id >>> 5] ?? 0) | (1 << (id & 31))
    return CpuSet.ofWords(words)
  }

  /** CPUs `first` to `last`, both included, each 0 to 8191. Throws CpuListError, also for a backwards range. */
  static range(first: number, last: number): CpuSet {
    checkCpuId(first)
    checkCpuId(last)
    if (last < first) throw new CpuListError(`${first}-${last}`, `${first}-`.length + 1, `a CPU not below ${first}`)
    const words = wordsFor(last)
    setRange(words, first, last)
    return CpuSet.ofWords(words)
  }

  /** Reads any list the kernel prints or takes; see cpulist.ts. Throws CpuListError. */
  static parse(text: string, options: CpuListOptions = {}): CpuSet {
    return CpuSet.ofWords(parseCpuList(text, options))
  }

  get isEmpty(): boolean {
    return this.size === 0
  }

  /** The lowest CPU; undefined for the empty set. */
  get first(): number | undefined {
    return this.isEmpty ? undefined : nextSet(this.words, 0)
  }

  /** The highest CPU; undefined for the empty set. */
  get last(): number | undefined {
    const top = this.words.length - 1
    return top < 0 ? undefined : top * 32 + 31 - Math.clz32(this.words[top] ?? 0)
  }

  /** False for anything that is not the number of a CPU. */
  has(cpu: number): boolean {
    if (!Number.isInteger(cpu) || cpu < 0 || cpu >= this.words.length * 32) return false
    return ((this.words[cpu >>> 5] ?? 0) & (1 << (cpu & 31))) !== 0
  }

  union(other: CpuSet): CpuSet {
    const [longer, shorter] = this.words.length >= other.words.length ? [this.words, other.words] : [other.words, this.words]
    const words = longer.slice()
    for (let index = 0; index < shorter.length; index++) words[index] = (words[index] ?? 0) | (shorter[index] ?? 0)
    return CpuSet.ofWords(words)
  }

  intersect(other: CpuSet): CpuSet {
    const words = this.words.slice(0, other.words.length)
    for (let index = 0; index < words.length; index++) words[index] = (words[index] ?? 0) & (other.words[index] ?? 0)
    return CpuSet.ofWords(words)
  }

  /** The CPUs of this set that are not in the other. */
  minus(other: CpuSet): CpuSet {
    const words = this.words.slice()
    const length = Math.min(words.length, other.words.length)
    for (let index = 0; index < length; index++) words[index] = (words[index] ?? 0) & ~(other.words[index] ?? 0)
    return CpuSet.ofWords(words)
  }

  /** True for equal sets as well; the empty set is a subset of every set. */
  isSubsetOf(other: CpuSet): boolean {
    if (this.size > other.size) return false
    for (let index = 0; index < this.words.length; index++) {
      if (((this.words[index] ?? 0) & ~(other.words[index] ?? 0)) !== 0) return false
    }
    return true
  }

  /** Whether at least one CPU is in both. */
  overlaps(other: CpuSet): boolean {
    const length = Math.min(this.words.length, other.words.length)
    for (let index = 0; index < length; index++) {
      if (((this.words[index] ?? 0) & (other.words[index] ?? 0)) !== 0) return true
    }
    return false
  }

  /** How many CPUs are in both. */
  overlapSize(other: CpuSet): number {
    const length = Math.min(this.words.length, other.words.length)
    let size = 0
    for (let index = 0; index < length; index++) size += countWord((this.words[index] ?? 0) & (other.words[index] ?? 0))
    return size
  }

  equals(other: CpuSet): boolean {
    if (this === other) return true
    if (this.size !== other.size || this.words.length !== other.words.length) return false
    for (let index = 0; index < this.words.length; index++) {
      if (this.words[index] !== other.words[index]) return false
    }
    return true
  }

  /** The `count` lowest CPUs: none for a count below 1, all for a count above the size. */
  take(count: number): CpuSet {
    if (count >= this.size) return this
    let wanted = Math.max(0, Math.floor(count))
    const words = new Uint32Array(this.words.length)
    for (let index = 0; wanted > 0 && index < words.length; index++) {
      let word = this.words[index] ?? 0
      while (countWord(word) > wanted) word &= ~(1 << (31 - Math.clz32(word)))
      words[index] = word
      wanted -= countWord(word)
    }
    return CpuSet.ofWords(words)
  }

  /** Calls `visit` with each CPU, ascending: what the iterator does, without its cost for each CPU. */
  forEach(visit: (cpu: number) => void): void {
    for (let index = 0; index < this.words.length; index++) {
      for (let word = this.words[index] ?? 0; word !== 0; word &= word - 1) visit(index * 32 + 31 - Math.clz32(word & -word))
    }
  }

  /** Ascending. */
  *[Symbol.iterator](): Generator<number, void, undefined> {
    const end = this.words.length * 32
    for (let cpu = nextSet(this.words, 0); cpu < end; cpu = nextSet(this.words, cpu + 1)) yield cpu
  }

  /** The canonical kernel list, as in `0-3,8`; empty text for the empty set. */
  toString(): string {
    return formatCpuList(this.words)
  }

  toJSON(): string {
    return this.toString()
  }
}
