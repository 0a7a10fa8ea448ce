import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { CpuListError, CpuSet, MAX_CPU_ID } from '../../src/cpu/index.ts'

const cpuId = fc.oneof({ weight: 4, arbitrary: fc.nat(130) }, { weight: 1, arbitrary: fc.nat(MAX_CPU_ID) })
const cpuIds = fc.array(cpuId, { maxLength: 60 })
const ascending = (ids: Iterable<number>): number[] => [...ids].sort((a, b) => a - b)

/** Lists the way people and the kernel write them, right or nearly right. */
const listText = fc
  .array(
    fc.constantFrom('0', '3', '7', '12', '31', '32', '8191', '8192', '-', '-', ',', ',', ' ', '\n', ':', '/', 'N', 'all', 'x'),
    {
      maxLength: 14,
    },
  )
  .map((parts) => parts.join(''))

describe('CpuSet', () => {
  it('is read back from its own text', () => {
    fc.assert(
      fc.property(cpuIds, (ids) => {
        const set = CpuSet.from(ids)
        const read = CpuSet.parse(set.toString())
        expect(read.equals(set)).toBe(true)
        expect(read).toEqual(set)
      }),
    )
  })

  it('has one canonical text: ascending runs that do not touch', () => {
    fc.assert(
      fc.property(cpuIds, fc.boolean(), (ids, spaced) => {
        const text = CpuSet.parse(ids.join(spaced ? ' \n' : ',,')).toString()
        expect(text).toMatch(/^(?:\d+(?:-\d+)?(?:,\d+(?:-\d+)?)*)?$/)
        let before = -2
        for (const run of text === '' ? [] : text.split(',')) {
          const [first = 0, last = first] = run.split('-').map(Number)
          expect(first).toBeGreaterThan(before + 1)
          if (run.includes('-')) expect(last).toBeGreaterThan(first)
          before = last
        }
        expect([...CpuSet.parse(text)]).toEqual(ascending(new Set(ids)))
      }),
    )
  })

  it('does what a Set of numbers does', () => {
    fc.assert(
      fc.property(cpuIds, cpuIds, cpuId, (idsA, idsB, probe) => {
        const [a, b] = [CpuSet.from(idsA), CpuSet.of(...idsB)]
        const [refA, refB] = [new Set(idsA), new Set(idsB)]
        const common = [...refA].filter((id) => refB.has(id))
        expect([...a]).toEqual(ascending(refA))
        expect(a.size).toBe(refA.size)
        expect(a.isEmpty).toBe(refA.size === 0)
        expect(a.has(probe)).toBe(refA.has(probe))
        expect(a.first).toBe(ascending(refA)[0])
        expect(a.last).toBe(ascending(refA).at(-1))
        expect([...a.union(b)]).toEqual(ascending(new Set([...refA, ...refB])))
        expect([...a.intersect(b)]).toEqual(ascending(common))
        expect([...a.minus(b)]).toEqual(ascending([...refA].filter((id) => !refB.has(id))))
        expect(a.overlaps(b)).toBe(common.length > 0)
        expect(a.overlapSize(b)).toBe(common.length)
        const visited: number[] = []
        a.forEach((cpu) => visited.push(cpu))
        expect(visited).toEqual([...a])
        expect(a.isSubsetOf(b)).toBe(common.length === refA.size)
        expect(a.equals(b)).toBe(common.length === refA.size && common.length === refB.size)
        expect([...a.take(probe)]).toEqual(ascending(refA).slice(0, probe))
      }),
    )
  })

  it('obeys the laws of set algebra', () => {
    fc.assert(
      fc.property(cpuIds, cpuIds, cpuIds, (...ids) => {
        const [a, b, c] = ids.map((list) => CpuSet.from(list)) as [CpuSet, CpuSet, CpuSet]
        expect(a.union(b)).toEqual(b.union(a))
        expect(a.intersect(b)).toEqual(b.intersect(a))
        expect(a.union(b).union(c)).toEqual(a.union(b.union(c)))
        expect(a.intersect(b.union(c))).toEqual(a.intersect(b).union(a.intersect(c)))
        expect(a.minus(b.union(c))).toEqual(a.minus(b).intersect(a.minus(c)))
        expect(a.minus(b).union(a.intersect(b))).toEqual(a)
        expect(a.minus(b).overlaps(b)).toBe(false)
        expect(a.size + b.size).toBe(a.union(b).size + a.intersect(b).size)
      }),
    )
  })

  it('makes a range of exactly the CPUs between its ends', () => {
    fc.assert(
      fc.property(fc.nat(MAX_CPU_ID), fc.nat(300), (first, more) => {
        const last = Math.min(first + more, MAX_CPU_ID)
        const set = CpuSet.range(first, last)
        expect([set.first, set.last, set.size]).toEqual([first, last, last - first + 1])
        expect(set).toEqual(CpuSet.parse(`${first}-${last}`))
      }),
    )
  })
})

describe('CPU list text', () => {
  it('names of a group range the CPUs whose place in their group is below the used count', () => {
    fc.assert(
      fc.property(fc.nat(500), fc.nat(500), fc.nat(40), fc.nat(40), (first, more, used, unused) => {
        const [last, group] = [first + more, used + unused]
        fc.pre(group > 0)
        const expected = Array.from({ length: more + 1 }, (_, offset) => first + offset).filter(
          (id) => (id - first) % group < used,
        )
        expect([...CpuSet.parse(`${first}-${last}:${used}/${group}`)]).toEqual(expected)
      }),
    )
  })

  it('is either read or refused with a CpuListError that points into it', () => {
    const lastCpu = fc.option(fc.integer({ min: -2, max: MAX_CPU_ID + 2 }), { nil: undefined })
    fc.assert(
      fc.property(fc.oneof(listText, fc.string({ unit: 'binary' })), lastCpu, (text, last) => {
        try {
          const set = CpuSet.parse(text, { lastCpu: last })
          expect(set.last ?? 0).toBeLessThanOrEqual(last ?? MAX_CPU_ID)
        } catch (thrown) {
          expect(thrown).toBeInstanceOf(CpuListError)
          const error = thrown as CpuListError
          if (error.text === text) expect(error.column).toBeLessThanOrEqual(text.length + 1)
          expect(error.column).toBeGreaterThanOrEqual(1)
        }
      }),
      { numRuns: 2000 },
    )
  })
})
