import { describe, expect, it } from 'vitest'
import {
  buildTopology,
  countsOf,
  CpuSet,
  type CpuTopology,
  placeExclusive,
  type PlaceOptions,
  sharedPart,
  siblingsClosure,
  staticPolicyChoice,
} from '../../../src/cpu/index.ts'
import { TOPOLOGIES } from '../../support/topologies.ts'

const desktop = buildTopology(TOPOLOGIES.desktop)
const eight = buildTopology(TOPOLOGIES.eightCaches)
const power = buildTopology(TOPOLOGIES.power)
const hybrid = buildTopology(TOPOLOGIES.hybrid)

const placer =
  (how: PlaceOptions) =>
  (topology: CpuTopology, free: string, count: number): string | undefined =>
    placeExclusive(topology, CpuSet.parse(free), count, how)?.toString()
const threads = placer({ unit: 'threads', strategy: 'pack' })
const cores = placer({ unit: 'cores', strategy: 'pack' })
const spread = placer({ unit: 'threads', strategy: 'spread' })
const rival = (topology: CpuTopology, free: string, count: number): string | undefined =>
  staticPolicyChoice(topology, CpuSet.parse(free), count)?.toString()

describe('placeExclusive by cores', () => {
  it.each([
    [1, '1,5'],
    [2, '1,5'],
    [3, '1-2,5-6'],
    [6, '1-3,5-7'],
    [7, '0-7'],
    [8, '0-7'],
    [9, undefined],
  ])('rounds %d up to whole cores, CPU 0 last', (count, expected) => {
    expect(cores(desktop, '0-7', count)).toBe(expected)
  })

  it('leaves cores alone of which a thread is taken', () => {
    expect(cores(desktop, '0,1,5,2,6,3', 4)).toBe('1-2,5-6')
    expect(cores(desktop, '0,1,5,2,6,3', 5)).toBeUndefined()
  })

  it('takes no more than it must where cores differ in size', () => {
    expect(cores(hybrid, '0-23', 1)).toBe('16')
    expect(cores(hybrid, '0-15', 1)).toBe('2-3')
    expect(cores(hybrid, '0-7,16', 5)).toBe('2-5,16')
    expect(cores(hybrid, '0-7', 5)).toBe('2-7')
  })

  it('takes a core whose sibling is off for whole', () => {
    expect(cores(buildTopology(TOPOLOGIES.smtOff), '0-3', 2)).toBe('1-2')
  })
})

describe('placeExclusive by threads', () => {
  it('takes exactly as many as asked for, whole cores as far as they go', () => {
    expect(threads(desktop, '0-7', 3)).toBe('1-2,5')
    expect(threads(desktop, '0-7', 8)).toBe('0-7')
    expect(threads(desktop, '0-7', 9)).toBeUndefined()
  })

  it('fills a core in use before it splits another', () => {
    expect(threads(desktop, '0-2,4-7', 1)).toBe('7')
    expect(threads(desktop, '0-2,4-7', 3)).toBe('1,5,7')
    expect(threads(power, '0-63', 6)).toBe('1-2,17-18,33,49')
  })

  it.each([
    ['nothing', 0],
    ['less than nothing', -4],
    ['what is no number', Number.NaN],
  ])('gives no CPU for %s', (_, count) => {
    expect(threads(desktop, '0-7', count)).toBe('')
  })

  it('counts a part of a CPU as a whole one, and an offline CPU as none', () => {
    expect(threads(desktop, '0-7', 1.5)).toBe('1,5')
    expect(threads(desktop, '7-200', 2)).toBeUndefined()
    expect(threads(buildTopology(TOPOLOGIES.single), '0', 1)).toBe('0')
    expect(threads(buildTopology({ online: '', cpus: [], nodes: [] }), '0-3', 1)).toBeUndefined()
  })
})

describe('the hole that is chosen', () => {
  /** Cache 1 (cores 4-7) has 3 cores left, cache 2 (8-11) has 2, the others are empty or gone. */
  const free = '4-6,36-38,8-9,40-41,12-31,44-63'

  it('is the tightest for pack, the emptiest for spread', () => {
    expect(threads(eight, free, 4)).toBe('8-9,40-41')
    expect(threads(eight, free, 6)).toBe('4-6,36-38')
    expect(threads(eight, free, 7)).toBe('12-15,44-46')
    expect(spread(eight, free, 4)).toBe('12-13,44-45')
  })

  it('is of the socket with the least room for pack, of the one with most for spread, among equal caches', () => {
    const epyc = buildTopology(TOPOLOGIES.epyc)
    // Of socket 1 (cores 64-127), 16 cores are in use.
    const left = '0-63,128-191,80-127,208-255'
    expect(threads(epyc, left, 4)).toBe('80-81,208-209')
    expect(spread(epyc, left, 4)).toBe('1-2,129-130')
  })

  it('spans as few caches as it can', () => {
    expect(threads(eight, free, 10)).toBe('4-6,8-9,36-38,40-41')
    expect(countsOf(eight, CpuSet.parse(threads(eight, free, 24) ?? ''))).toEqual({
      sockets: 1,
      nodes: 1,
      caches: 3,
      partCores: 0,
    })
  })

  it('gives up a socket where saving it would split more cores than the static policy does', () => {
    const xeon = buildTopology(TOPOLOGIES.memoryOnlyNode)
    // Socket 0 (cores 0-3): two whole, two half; socket 1: two whole.
    const mixed = '0-3,8-9,4-5,12-13'
    expect(rival(xeon, mixed, 8)).toBe('0-1,4-5,8-9,12-13')
    expect(threads(xeon, mixed, 8)).toBe('0-1,4-5,8-9,12-13')
    expect(threads(xeon, mixed, 6)).toBe('1,4-5,9,12-13')
  })

  it('is found where nodes are around sockets, caches around nodes, and nothing nests', () => {
    expect(threads(buildTopology(TOPOLOGIES.nodeAroundSockets), '1-6', 4)).toBe('2-5')
    expect(threads(buildTopology(TOPOLOGIES.cacheAroundNodes), '0-23', 8)).toBe('1-4,13-16')
    // Socket 1 would spare CPU 0 but lies in two caches, which the static policy's choice does not.
    expect(threads(buildTopology(TOPOLOGIES.tornCaches), '0-11', 4)).toBe('0-1,6-7')
  })
})

describe('staticPolicyChoice', () => {
  it('takes whole sockets, nodes, cores and then threads, where fewest are free first', () => {
    const epyc = buildTopology(TOPOLOGIES.epyc)
    expect(rival(epyc, '0-255', 128)).toBe('0-63,128-191')
    expect(rival(epyc, '0-255', 33)).toBe('0-16,128-143')
    expect(rival(epyc, '1-255', 3)).toBe('1,128-129')
    expect(rival(epyc, '1-255', 1)).toBe('128')
    expect(rival(desktop, '0-7', 3)).toBe('0-1,4')
  })

  it('does not look at caches: this is where it can be bettered', () => {
    expect(rival(eight, '3,35,4-7,36-39', 4)).toBe('3-4,35-36')
    expect(threads(eight, '3,35,4-7,36-39', 4)).toBe('4-5,36-37')
  })

  it('takes the node first where nodes are around sockets', () => {
    expect(rival(buildTopology(TOPOLOGIES.nodeAroundSockets), '1-7', 5)).toBe('1,4-7')
  })

  it('says when there is no room', () => {
    expect(rival(desktop, '0-2', 4)).toBeUndefined()
    expect(rival(desktop, '0-2', 0)).toBe('')
  })
})

describe('countsOf', () => {
  it.each([
    ['', [0, 0, 0, 0]],
    ['0', [1, 1, 1, 1]],
    ['0,128', [1, 1, 1, 0]],
    ['0,8,136', [1, 1, 2, 1]],
    ['0,16,64', [2, 3, 3, 3]],
    ['0-255', [2, 8, 16, 0]],
    ['300', [0, 0, 0, 0]],
  ])('of "%s" are %j', (set, expected) => {
    const { sockets, nodes, caches, partCores } = countsOf(buildTopology(TOPOLOGIES.epyc), CpuSet.parse(set))
    expect([sockets, nodes, caches, partCores]).toEqual(expected)
  })

  it('takes a core without its offline sibling for whole', () => {
    expect(countsOf(buildTopology(TOPOLOGIES.smtOff), CpuSet.of(1)).partCores).toBe(0)
  })
})

describe('siblingsClosure', () => {
  it('adds the other online threads of every core that is touched', () => {
    expect(siblingsClosure(desktop, CpuSet.parse('0,6')).toString()).toBe('0,2,4,6')
    expect(siblingsClosure(power, CpuSet.of(17)).toString()).toBe('1,17,33,49')
    expect(siblingsClosure(desktop, CpuSet.parse('99'))).toBe(CpuSet.EMPTY)
  })
})

describe('sharedPart', () => {
  it.each([
    [0, ''],
    [2_499, '7'],
    [5_000, '3,6-7'],
    [10_000, '1-3,5-7'],
  ])('gives %d/10000, rounded down, from the far end and whole cores first', (permyriad, expected) => {
    const got = sharedPart(desktop, CpuSet.parse('1-3,5-7'), permyriad).toString()
    expect(got).toBe(expected)
  })
})
