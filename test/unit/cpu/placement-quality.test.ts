/**
 * Our placement against the kubelet's static policy: every machine, several ways of being busy, small to large requests. None of the
 * four counts may be above the policy's; in how many cases they are below is written down too, so that a loss of quality is seen.
 */
import { describe, expect, it } from 'vitest'
import {
  buildTopology,
  countsOf,
  countsWithin,
  CpuSet,
  type CpuTopology,
  type PlaceCounts,
  placeExclusive,
  type PlaceOptions,
  staticPolicyChoice,
} from '../../../src/cpu/index.ts'
import { TOPOLOGIES } from '../../support/topologies.ts'

const join = (sets: readonly CpuSet[]): CpuSet => CpuSet.from(sets.flatMap((set) => [...set]))
const whole = (domains: CpuTopology['cores'], wanted: (index: number) => boolean): CpuSet =>
  join(domains.filter((_, index) => wanted(index)).map((domain) => domain.cpus))

/** What is not free. */
const BUSY: Readonly<Record<string, (topology: CpuTopology) => CpuSet>> = {
  'nothing busy': () => CpuSet.EMPTY,
  'the first core reserved': ({ cores }) => whole(cores, (index) => index === 0),
  'every third core busy': ({ cores }) => whole(cores, (index) => index % 3 === 0),
  'one thread of every second core busy': ({ cores }) =>
    join(cores.filter((_, index) => index % 2 === 1).map(({ cpus }) => cpus.take(cpus.size >> 1))),
  'caches emptier from first to last': ({ caches, cores }) =>
    join(
      caches.flatMap(({ cpus }, index) => {
        const inside = cores.filter((core) => core.cpus.overlaps(cpus))
        return inside
          .slice(0, Math.floor((inside.length * (caches.length - index)) / (caches.length + 1)))
          .map((core) => core.cpus)
      }),
    ),
  'a core of every cache and half of another busy': ({ caches, cores }) =>
    join(
      caches.flatMap(({ cpus }) => {
        const [first, second] = cores.filter((core) => core.cpus.overlaps(cpus))
        return [first?.cpus ?? CpuSet.EMPTY, second?.cpus.take(1) ?? CpuSet.EMPTY]
      }),
    ),
  'the last socket half taken by single threads': ({ sockets, cores }) =>
    join(
      cores
        .filter(({ cpus }, index) => index % 4 !== 0 && cpus.overlaps(sockets.at(-1)?.cpus ?? CpuSet.EMPTY))
        .map(({ cpus }) => cpus.take(1)),
    ),
}

const REQUESTS: readonly { readonly name: string; readonly of: (free: number) => number }[] = [
  { name: '1 CPU', of: () => 1 },
  { name: '2 CPUs', of: () => 2 },
  { name: '5 CPUs', of: () => 5 },
  { name: '12 CPUs', of: () => 12 },
  { name: 'a third of what is free', of: (free) => Math.floor(free / 3) },
  { name: 'all but two of what is free', of: (free) => free - 2 },
]

const HOW: readonly PlaceOptions[] = (['cores', 'threads'] as const).flatMap((unit) =>
  (['pack', 'spread'] as const).map((strategy) => ({ unit, strategy })),
)

interface Case {
  readonly name: string
  readonly topology: CpuTopology
  readonly free: CpuSet
  readonly count: number
}

const cases: readonly Case[] = Object.entries(TOPOLOGIES).flatMap(([machine, raw]) => {
  const topology = buildTopology(raw)
  return Object.entries(BUSY).flatMap(([busy, of]) => {
    const free = topology.online.minus(of(topology))
    return REQUESTS.map((request) => ({
      name: `${machine}, ${busy}: ${request.name}`,
      topology,
      free,
      count: request.of(free.size),
    })).filter(({ count }) => count > 0 && count <= free.size)
  })
})

interface Pair {
  readonly how: PlaceOptions
  readonly ours: PlaceCounts
  readonly theirs: PlaceCounts
}

/** Nothing where there is nothing to compare: no room for whole cores, or the policy would split one. */
function compare({ topology, free, count }: Case): Pair[] {
  return HOW.flatMap((how) => {
    const placed = placeExclusive(topology, free, count, how)
    if (placed === undefined) return []
    const theirs = countsOf(topology, staticPolicyChoice(topology, free, placed.size) ?? CpuSet.EMPTY)
    return how.unit === 'cores' && theirs.partCores > 0 ? [] : [{ how, ours: countsOf(topology, placed), theirs }]
  })
}

const known = new Map<Case, Pair[]>()

function compared(one: Case): Pair[] {
  const pairs = known.get(one) ?? compare(one)
  known.set(one, pairs)
  return pairs
}

describe('placeExclusive beside the static policy', () => {
  it.each(cases.map((one) => [one.name, one] as const))('is no worse: %s', (_, one) => {
    const pairs = compared(one)
    expect(pairs.filter(({ how }) => how.unit === 'threads')).toHaveLength(2)
    for (const pair of pairs) expect(countsWithin(pair.ours, pair.theirs), JSON.stringify(pair)).toBe(true)
  })

  it('is strictly better in at least 280 of 2634 comparisons: 120 times fewer sockets, 162 nodes, 258 caches, 10 partly used cores', () => {
    const pairs = cases.flatMap(compared)
    const less = (count: keyof PlaceCounts): number => pairs.filter(({ ours, theirs }) => ours[count] < theirs[count]).length
    expect(new Set(cases.map(({ name }) => name)).size).toBe(cases.length)
    expect(new Set(cases.map(({ topology }) => topology)).size).toBeGreaterThanOrEqual(12)
    expect(cases.length).toBeGreaterThanOrEqual(600)
    expect(pairs.length).toBeGreaterThanOrEqual(2634)
    expect(pairs.filter(({ ours, theirs }) => !countsWithin(theirs, ours)).length).toBeGreaterThanOrEqual(280)
    expect(less('sockets')).toBeGreaterThanOrEqual(120)
    expect(less('nodes')).toBeGreaterThanOrEqual(162)
    expect(less('caches')).toBeGreaterThanOrEqual(258)
    expect(less('partCores')).toBeGreaterThanOrEqual(10)
  })
})
