import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  buildTopology,
  compareCounts,
  countsOf,
  countsWithin,
  CpuSet,
  type CpuTopology,
  type PlaceCounts,
  placeExclusive,
  type PlaceOptions,
  type RawCpu,
  type RawTopology,
  sharedPart,
  siblingsClosure,
  staticPolicyChoice,
  wholeCores,
} from '../../src/cpu/index.ts'
import { rawTopology, TOPOLOGIES } from '../support/topologies.ts'

/** Machines as they are sold, some CPUs off; the shape is bounded so that no machine has more than `most` CPUs. */
const regular = (most: number): fc.Arbitrary<RawTopology> =>
  fc
    .record({
      sockets: fc.integer({ min: 1, max: 3 }),
      nodesPerSocket: fc.integer({ min: 1, max: 3 }),
      cachesPerNode: fc.integer({ min: 1, max: 3 }),
      coresPerCache: fc.integer({ min: 1, max: 4 }),
      threads: fc.constantFrom(1, 2, 2, 2, 4),
      offline: fc.array(fc.nat(most - 1), { maxLength: 3 }),
    })
    .filter((shape) => shape.sockets * shape.nodesPerSocket * shape.cachesPerNode * shape.coresPerCache * shape.threads <= most)
    .map(rawTopology)

/** CPUs that say anything about their neighbours: what torn reads and strange virtual machines give. */
const irregular = (most: number): fc.Arbitrary<RawTopology> =>
  fc
    .array(fc.record({ core: fc.nat(5), socket: fc.nat(2), node: fc.nat(2), cache: fc.nat(3) }), {
      minLength: 1,
      maxLength: most,
    })
    .map((places) => {
      const same = (of: (place: (typeof places)[number]) => number, value: number): string =>
        CpuSet.from(places.flatMap((place, id) => (of(place) === value ? [id] : []))).toString()
      const cpus = places.map(({ core, socket, cache }, id): RawCpu => {
        const siblings = same((place) => place.core, core)
        return { id, coreId: core, socketId: socket, threadSiblings: siblings, llcShared: same((place) => place.cache, cache) }
      })
      const nodes = [0, 1, 2].map((id) => ({ id, cpus: same((place) => place.node, id) }))
      return { online: `0-${places.length - 1}`, cpus, nodes }
    })

/** Small machines whose levels nest in an unusual order, and cores of several sizes. */
const TWISTED = fc.constantFrom(
  TOPOLOGIES.nodeAroundSockets,
  TOPOLOGIES.unevenSockets,
  TOPOLOGIES.ragged,
  smallSnc(),
  smallHybrid(),
)

/** Two nodes under one cache, twice. */
function smallSnc(): RawTopology {
  const raw = rawTopology({ sockets: 2, nodesPerSocket: 2, cachesPerNode: 1, coresPerCache: 1, threads: 2 })
  return { ...raw, cpus: raw.cpus.map((cpu) => ({ ...cpu, llcShared: cpu.socketId === 0 ? '0-1,4-5' : '2-3,6-7' })) }
}

/** Cores of 2, 2, 1, 1 threads, then of 3, 1, 1 on another socket. */
function smallHybrid(): RawTopology {
  const cores = ['0-1', '2-3', '4', '5', '6-8', '9', '10']
  const cpus = cores.flatMap((threadSiblings, coreId) =>
    [...CpuSet.parse(threadSiblings)].map((id) => {
      return { id, coreId, socketId: Number(id > 5), threadSiblings, llcShared: id > 5 ? '6-10' : '0-5' }
    }),
  )
  return { online: '0-10', cpus, nodes: [] }
}

interface Case {
  readonly topology: CpuTopology
  readonly free: CpuSet
  readonly count: number
}

/** Any free set of at most so many CPUs, and counts from 1 to one more than it has. */
const caseOf = (raws: fc.Arbitrary<RawTopology>, mostFree = Infinity): fc.Arbitrary<Case> =>
  raws
    .map(buildTopology)
    .filter((topology) => topology.online.size > 0)
    .chain((topology) => {
      const online = [...topology.online]
      const maxLength = Math.min(online.length, mostFree)
      return fc
        .oneof(fc.subarray(online, { maxLength }), fc.subarray(online, { minLength: maxLength >> 1, maxLength }))
        .chain((free) => {
          return fc.integer({ min: 1, max: free.length + 1 }).map((count) => ({ topology, free: CpuSet.from(free), count }))
        })
    })

const options: fc.Arbitrary<PlaceOptions> = fc.record({
  unit: fc.constantFrom('cores', 'threads'),
  strategy: fc.constantFrom('pack', 'spread'),
})
const anyCase = fc.oneof(caseOf(regular(48)), caseOf(irregular(16)))
const smallCase = fc.oneof(caseOf(regular(12)), caseOf(irregular(10)))
const many = { numRuns: 400 }

describe('placeExclusive', () => {
  it('gives free CPUs of the right number, or undefined only when there is no room', () => {
    fc.assert(
      fc.property(anyCase, options, ({ topology, free, count }, how) => {
        const placed = placeExclusive(topology, free, count, how)
        const whole = wholeCores(topology, free)
        const room = how.unit === 'cores' ? whole.reduce((sum, core) => sum + core.size, 0) : free.size
        if (placed === undefined) {
          expect(room).toBeLessThan(count)
          return
        }
        expect(placed.isSubsetOf(free)).toBe(true)
        if (how.unit === 'threads') expect(placed.size).toBe(count)
        else {
          expect(siblingsClosure(topology, placed)).toEqual(placed)
          expect(placed.size).toBe(fewestWhole(whole, count))
        }
      }),
      many,
    )
  })

  it('never uses more of anything than the static policy', () => {
    fc.assert(
      fc.property(anyCase, options, ({ topology, free, count }, how) => {
        const placed = placeExclusive(topology, free, count, how)
        if (placed === undefined) return
        const rival = countsOf(topology, staticPolicyChoice(topology, free, placed.size) ?? CpuSet.EMPTY)
        if (how.unit === 'cores' && rival.partCores > 0) return
        const ours = countsOf(topology, placed)
        expect(countsWithin(ours, rival), `${JSON.stringify(ours)} is not within ${JSON.stringify(rival)}`).toBe(true)
      }),
      many,
    )
  })

  it('is a function of the sets alone, and shared topologies do not change it', () => {
    fc.assert(
      fc.property(anyCase, regular(12), options, ({ topology, free, count }, other, how) => {
        const first = placeExclusive(topology, free, count, how)
        placeExclusive(buildTopology(other), CpuSet.range(0, 5), 2, how)
        expect(placeExclusive(topology, CpuSet.from([...free].reverse()), count, how)).toEqual(first)
      }),
    )
  })

  it('is the best of all sets within the counts of the static policy, where domains nest', () => {
    fc.assert(fc.property(caseOf(fc.oneof(regular(12), regular(24), TWISTED), 11), options, expectBest), many)
  }, 60_000)

  it.each([
    { shape: [3, 1, 2, 2, 2], free: '0,2,6,10,13,15,17-18,20-21,23', count: 8, strategy: 'spread' },
    { shape: [1, 2, 2, 2, 2], free: '0-1,4-5,7,9-12', count: 5, strategy: 'spread' },
    { shape: [2, 2, 1, 2, 2], free: '0-2,4,6-8,10-13,15', count: 6, strategy: 'spread' },
    { shape: [2, 1, 2, 1, 4], free: '0-1,3,5,7-9,11-12,15', count: 6, strategy: 'pack' },
  ] as const)('is the best though the cheapest parts do not make it: $free', ({ shape, free, count, strategy }) => {
    const [sockets, nodesPerSocket, cachesPerNode, coresPerCache, threads] = shape
    const topology = buildTopology(rawTopology({ sockets, nodesPerSocket, cachesPerNode, coresPerCache, threads }))
    expectBest({ topology, free: CpuSet.parse(free), count }, { unit: 'threads', strategy })
  })

  it('has an order of counts that is total', () => {
    const counts = fc.record({ sockets: fc.nat(2), nodes: fc.nat(2), caches: fc.nat(2), partCores: fc.nat(2) })
    fc.assert(
      fc.property(counts, counts, counts, (a, b, c) => {
        expect(Math.sign(compareCounts(a, b)) + Math.sign(compareCounts(b, a))).toBe(0)
        if (compareCounts(a, b) === 0) expect(a).toEqual(b)
        if (compareCounts(a, b) <= 0 && compareCounts(b, c) <= 0) expect(compareCounts(a, c)).toBeLessThanOrEqual(0)
        if (countsWithin(a, b)) expect(compareCounts(a, b)).toBeLessThanOrEqual(0)
      }),
    )
  })
})

describe('staticPolicyChoice', () => {
  it('takes as many free CPUs as asked for, or says that there are too few', () => {
    fc.assert(
      fc.property(anyCase, ({ topology, free, count }) => {
        const choice = staticPolicyChoice(topology, free, count)
        if (count > free.size) expect(choice).toBeUndefined()
        else {
          expect(choice?.size).toBe(count)
          expect(choice?.isSubsetOf(free)).toBe(true)
        }
      }),
    )
  })
})

describe('sharedPart and siblingsClosure', () => {
  it('share a part of the set, more for more', () => {
    fc.assert(
      fc.property(anyCase, fc.nat(10_000), fc.nat(10_000), ({ topology, free }, a, b) => {
        const [less, more] = [Math.min(a, b), Math.max(a, b)].map((part) => sharedPart(topology, free, part))
        expect(more?.isSubsetOf(free)).toBe(true)
        expect(less?.size).toBeLessThanOrEqual(more?.size ?? 0)
        expect(less?.size).toBe(Math.floor((free.size * Math.min(a, b)) / 10_000))
      }),
    )
  })

  it('close over siblings, once and for all', () => {
    fc.assert(
      fc.property(smallCase, ({ topology, free }) => {
        const closed = siblingsClosure(topology, free)
        expect(free.isSubsetOf(closed)).toBe(true)
        expect(countsOf(topology, closed).partCores).toBe(0)
        expect(siblingsClosure(topology, closed)).toEqual(closed)
      }),
    )
  })
})

/** The smallest sum of whole cores that is at least `count`. */
function fewestWhole(cores: readonly CpuSet[], count: number): number {
  let sums = new Set([0])
  for (const { size } of cores) sums = new Set([...sums].flatMap((sum) => [sum, sum + size]))
  return Math.min(...[...sums].filter((sum) => sum >= count))
}

/** What a placement is judged by, in order, from the words of DESIGN.md and place.ts and not from the search. */
function goals({ topology, free }: Case, { unit, strategy }: PlaceOptions, set: CpuSet): readonly number[] {
  const { sockets, nodes, caches, partCores } = countsOf(topology, set)
  const splits = wholeCores(topology, free).filter((core) => core.overlaps(set) && !core.isSubsetOf(set)).length
  const usable = unit === 'threads' ? free : CpuSet.from(wholeCores(topology, free).flatMap((core) => [...core]))
  const opened = (domains: CpuTopology['sockets']): number =>
    domains.reduce((sum, { cpus }) => sum + (cpus.overlaps(set) ? cpus.intersect(usable).size : 0), 0)
  const fit =
    strategy === 'pack'
      ? [opened(topology.caches), opened(topology.nodes), opened(topology.sockets)]
      : [-opened(topology.sockets), -opened(topology.nodes), -opened(topology.caches)]
  return [sockets, nodes, caches, partCores, splits, ...fit, Number(topology.siblingsOf(0).overlaps(set))]
}

function expectBest(one: Case, how: PlaceOptions): void {
  const placed = placeExclusive(one.topology, one.free, one.count, how)
  if (placed === undefined) return
  const rival = countsOf(one.topology, staticPolicyChoice(one.topology, one.free, placed.size) ?? CpuSet.EMPTY)
  const limit = how.unit === 'cores' && rival.partCores > 0 ? undefined : rival
  expect(goals(one, how, placed)).toEqual(bestByTrial({ ...one, count: placed.size }, how, limit))
}

/** The goals that the best of all sets of so many free CPUs reaches. */
function bestByTrial(one: Case, how: PlaceOptions, limit: PlaceCounts | undefined): readonly number[] | undefined {
  const ids = [...one.free]
  let best: readonly number[] | undefined
  for (let bits = 0; bits < 1 << ids.length; bits++) {
    const chosen = ids.filter((_, index) => (bits >> index) & 1)
    if (chosen.length !== one.count) continue
    const set = CpuSet.from(chosen)
    const counts = countsOf(one.topology, set)
    if (how.unit === 'cores' && counts.partCores > 0) continue
    if (limit !== undefined && !countsWithin(counts, limit)) continue
    const reached = goals(one, how, set)
    if (best === undefined || compareInOrder(reached, best) < 0) best = reached
  }
  return best
}

function compareInOrder(a: readonly number[], b: readonly number[]): number {
  return a.map((value, index) => value - (b[index] ?? 0)).find((difference) => difference !== 0) ?? 0
}
