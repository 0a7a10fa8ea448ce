import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { buildTopology, CpuSet, takeFromEnd, wholeCores, type CpuTopology } from '../../../src/cpu/index.ts'
import { rawTopology, TOPOLOGIES } from '../../support/topologies.ts'

const desktop = buildTopology(TOPOLOGIES.desktop)
const take = (topology: CpuTopology, within: string, count: number): string =>
  takeFromEnd(topology, CpuSet.parse(within), count).toString()

describe('wholeCores', () => {
  it('gives the cores that lie wholly inside, in the order of the machine', () => {
    expect(wholeCores(desktop, CpuSet.parse('0-2,4,6-7')).map(String)).toEqual(['0,4', '2,6'])
    expect(wholeCores(buildTopology(TOPOLOGIES.xeon), CpuSet.parse('23-25,71-73')).map(String)).toEqual([
      '23,71',
      '24,72',
      '25,73',
    ])
    expect(wholeCores(desktop, CpuSet.EMPTY)).toEqual([])
  })

  it('counts online threads only: a core whose sibling is off is whole', () => {
    expect(wholeCores(buildTopology(TOPOLOGIES.smtOff), CpuSet.parse('1-2')).map(String)).toEqual(['1', '2'])
  })
})

describe('takeFromEnd', () => {
  it.each([
    [0, ''],
    [1, '7'],
    [2, '3,7'],
    [3, '3,6-7'],
    [4, '2-3,6-7'],
    [6, '1-3,5-7'],
    [7, '1-7'],
    [8, '0-7'],
    [99, '0-7'],
    [-3, ''],
    [2.7, '3,7'],
    [Number.NaN, ''],
  ])('takes %d of 8: whole cores from the end, CPU 0 last', (count, expected) => {
    expect(take(desktop, '0-7', count)).toBe(expected)
  })

  it('uses the threads of cores it has no more than a part of before it splits one', () => {
    expect(take(desktop, '1,5,2,3,7', 1)).toBe('2')
    expect(take(desktop, '1,5,2,3,7', 3)).toBe('2-3,7')
    expect(take(desktop, '1-3', 2)).toBe('2-3')
  })

  it('keeps CPU 0 and then its siblings back even when their core would fit whole', () => {
    expect(take(desktop, '0,4,1-2', 2)).toBe('1-2')
    expect(take(desktop, '0,4,1-2', 3)).toBe('1-2,4')
    expect(take(buildTopology(TOPOLOGIES.twoCpuVm), '0-1', 1)).toBe('1')
  })

  it('fills the far socket first', () => {
    expect(take(buildTopology(TOPOLOGIES.xeon), '0-95', 48)).toBe('24-47,72-95')
  })

  it('finds the cores that add up when cores differ in size', () => {
    const hybrid = buildTopology(TOPOLOGIES.hybrid)
    expect(take(hybrid, '0-23', 10)).toBe('14-23')
    expect(take(hybrid, '2-5,16', 4)).toBe('2-5')
    expect(take(hybrid, '2-5,16', 3)).toBe('4-5,16')
  })

  it('ignores CPUs that are not online', () => {
    expect(take(desktop, '6-9', 4)).toBe('6-7')
  })
})

/** All sums of thread counts of some of the cores, the slow way. */
function sums(cores: readonly CpuSet[]): ReadonlySet<number> {
  let reached = new Set([0])
  for (const core of cores) reached = new Set([...reached, ...[...reached].map((sum) => sum + core.size)])
  return reached
}

const machine = fc
  .record({
    sockets: fc.constantFrom(1, 2),
    nodesPerSocket: fc.constantFrom(1, 2),
    cachesPerNode: fc.constantFrom(1, 2),
    coresPerCache: fc.integer({ min: 1, max: 3 }),
    threads: fc.constantFrom(1, 2, 4),
    offline: fc.array(fc.integer({ min: 1, max: 40 }), { maxLength: 10 }),
  })
  .map((shape) => buildTopology(rawTopology(shape)))

const pool = machine.chain((topology) =>
  fc.record({
    topology: fc.constant(topology),
    within: fc.oneof(
      fc.constant(topology.online),
      fc.subarray([...topology.online]).map((ids) => CpuSet.from(ids)),
    ),
    count: fc.integer({ min: -1, max: topology.online.size + 1 }),
  }),
)

describe('any choice of takeFromEnd', () => {
  it('has exactly the clamped count of CPUs, all from the pool', () => {
    fc.assert(
      fc.property(pool, ({ topology, within, count }) => {
        const taken = takeFromEnd(topology, within, count)
        expect(taken.size).toBe(Math.min(Math.max(count, 0), within.size))
        expect(taken.isSubsetOf(within)).toBe(true)
        if (taken.has(0)) expect(taken).toEqual(within)
      }),
    )
  })

  it('splits no core when whole cores and loose threads can make up the count, and never more than one', () => {
    fc.assert(
      fc.property(pool, ({ topology, within, count }) => {
        const taken = takeFromEnd(topology, within, count)
        const free = within.has(0) ? within.minus(topology.siblingsOf(0)) : within
        const cores = wholeCores(topology, free)
        const loose = free.size - cores.reduce((sum, core) => sum + core.size, 0)
        const split = cores.filter((core) => core.overlaps(taken) && !core.isSubsetOf(taken))
        const possible = [...sums(cores)].some((sum) => sum <= taken.size && taken.size - sum <= loose)
        expect(split.length).toBeLessThanOrEqual(possible || taken.size > free.size ? 0 : 1)
      }),
      { numRuns: 500 },
    )
  })

  it('fills whole cores before anything else', () => {
    fc.assert(
      fc.property(pool, ({ topology, within, count }) => {
        const taken = takeFromEnd(topology, within, count)
        const free = within.has(0) ? within.minus(topology.siblingsOf(0)) : within
        const cores = wholeCores(topology, free)
        const inWhole = cores.filter((core) => core.isSubsetOf(taken)).reduce((sum, core) => sum + core.size, 0)
        expect(inWhole).toBe(Math.max(...[...sums(cores)].filter((sum) => sum <= taken.size)))
      }),
    )
  })

  it('prefers later cores: with cores of one size it takes the last ones', () => {
    fc.assert(
      fc.property(fc.constantFrom('arm', 'xeon', 'epyc', 'largest'), fc.nat(400), (name, cores) => {
        const topology = buildTopology(TOPOLOGIES[name])
        const size = topology.cores[0]?.cpus.size ?? 1
        const count = Math.min(cores, topology.cores.length - 1) * size
        const expected = topology.cores.slice(topology.cores.length - count / size).flatMap((core) => [...core.cpus])
        expect(takeFromEnd(topology, topology.online, count)).toEqual(CpuSet.from(expected))
      }),
      { numRuns: 40 },
    )
  })
})
