import { describe, expect, it } from 'vitest'
import { CpuListError, CpuSet } from '../../../src/cpu/index.ts'

describe('CpuSet', () => {
  it('has one empty set, whatever way it is reached', () => {
    const set = CpuSet.of(1, 40)
    for (const empty of [CpuSet.of(), CpuSet.parse(''), set.minus(set), set.intersect(CpuSet.of(2)), set.take(0)]) {
      expect(empty).toBe(CpuSet.EMPTY)
    }
    expect(CpuSet.EMPTY).toMatchObject({ size: 0, isEmpty: true, first: undefined, last: undefined })
    expect(String(CpuSet.EMPTY)).toBe('')
  })

  it('keeps the top bit of a word unsigned', () => {
    const set = CpuSet.of(31, 63)
    expect([...set]).toEqual([31, 63])
    expect(set.size).toBe(2)
    expect(set.last).toBe(63)
    expect(set.take(1).toString()).toBe('31')
    expect(set.equals(CpuSet.parse('31,63'))).toBe(true)
    expect(set.union(CpuSet.range(0, 62)).toString()).toBe('0-63')
    expect(CpuSet.range(0, 31).minus(CpuSet.of(0)).toString()).toBe('1-31')
  })

  it('joins runs across words in its text', () => {
    expect(CpuSet.range(30, 97).toString()).toBe('30-97')
    expect(CpuSet.of(0, 1, 31, 32, 64).toString()).toBe('0-1,31-32,64')
    expect(CpuSet.range(0, 8191).toString()).toBe('0-8191')
  })

  it('is equal data when it is an equal set, whatever it was made of', () => {
    const small = CpuSet.of(3, 200).minus(CpuSet.of(200))
    expect(small).toEqual(CpuSet.of(3))
    expect(small.equals(CpuSet.of(3))).toBe(true)
    expect(small).not.toEqual(CpuSet.of(4))
    expect(small.equals(CpuSet.of(3, 4))).toBe(false)
    expect(small.equals(CpuSet.of(35))).toBe(false)
  })

  it('is written to JSON as its list', () => {
    expect(JSON.stringify({ cpus: CpuSet.of(0, 1, 2, 8) })).toBe('{"cpus":"0-2,8"}')
  })

  it.each([-1, 0.5, 8192, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 32])('refuses %d as a CPU', (id) => {
    expect(() => CpuSet.of(0, id)).toThrow(CpuListError)
    expect(() => CpuSet.range(0, id)).toThrow(CpuListError)
    expect(() => CpuSet.range(id, 8191)).toThrow(CpuListError)
    expect(CpuSet.range(0, 8191).has(id)).toBe(false)
  })

  it('refuses a backwards range, since it is a slip and not an empty set', () => {
    expect(() => CpuSet.range(3, 2)).toThrow('CPU list "3-2", column 3: expected a CPU not below 3, found "2"')
  })

  it.each([
    [-1, ''],
    [Number.NaN, ''],
    [1.9, '2'],
    [4, '2,30-32'],
    [99, '2,30-40'],
  ])('takes the %d lowest', (count, expected) => {
    expect(CpuSet.parse('2,30-40').take(count).toString()).toBe(expected)
  })

  it('never changes: results share nothing with their operands', () => {
    const set = CpuSet.of(1, 2)
    const other = CpuSet.of(2, 99)
    for (const result of [set.union(other), set.minus(other), set.intersect(other), set.take(1)])
      result.union(CpuSet.range(0, 200))
    expect([set.toString(), other.toString()]).toEqual(['1-2', '2,99'])
  })
})
