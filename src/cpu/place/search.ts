/**
 * The search for the best exclusive CPUs: walks the machine from its leaves upwards and keeps, for every number of CPUs that a region
 * can give, the cheapest way to give it. Costs only add up (each region that is entered opens a socket, a node, a cache), so the
 * cheapest way for the machine is made of cheapest ways for its parts: that is why the answer is the best of all and not a guess.
 * With a limit on each count a dearer way may be needed, so all ways are kept then that no other beats in all counts.
 */
import { CpuSet } from '../cpuset.ts'
import type { PlaceCounts } from './counts.ts'
import type { Kind, Region } from './machine.ts'
import { fillLeaf, leafCost, type Room } from './room.ts'
import { compareWays, Keeper, NOTHING, type Way } from './ways.ts'

/** `pack` keeps the largest unbroken room for later; `spread` keeps pods apart. */
export type PlaceStrategy = 'pack' | 'spread'

/** Ways by number of CPUs, cheapest first; none where the number can't be given. */
type Table = (readonly Way[])[]

export interface Search {
  readonly room: Room
  readonly strategy: PlaceStrategy
  readonly size: number
}

/** The best way inside one leaf: nothing spread over more can be better. Undefined if none has the room. */
export function bestInOneLeaf(search: Search): Way | undefined {
  const { room, size } = search
  let best: Way | undefined
  for (const leaf of room.machine.leaves) {
    if ((room.usable[leaf.index] ?? 0) < size) continue
    let way = leafWay(search, leaf, size)
    for (let region: Region | undefined = leaf; way !== undefined && region !== undefined; region = region.parent) {
      way = entered(search, region, way)
    }
    if (way !== undefined && (best === undefined || compareWays(way, best) < 0)) best = way
  }
  return best
}

/** The best way of all. Undefined if there is none. */
export function bestAnywhere(search: Search): Way | undefined {
  return waysIn(search, search.room.machine.root, new Keeper(search.room.machine, undefined))[search.size]?.[0]
}

/** The best way within the limit. Undefined if there is none, or the machine is too large and torn to tell. */
export function bestWithin(search: Search, limit: PlaceCounts): Way | undefined {
  const keeper = new Keeper(search.room.machine, limit)
  const ways = waysIn(search, search.room.machine.root, keeper)
  return keeper.exhausted ? undefined : ways[search.size]?.[0]
}

export function cpusOf(room: Room, way: Way): CpuSet {
  const cpus: number[] = []
  const pending: Way[] = [way]
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    if (next.leaf !== undefined) fillLeaf(room, next.leaf, next.size, cpus)
    if (next.left !== undefined) pending.push(next.left)
    if (next.right !== undefined) pending.push(next.right)
  }
  return CpuSet.from(cpus)
}

function waysIn(search: Search, region: Region, keeper: Keeper): Table {
  const most = Math.min(search.size, search.room.usable[region.index] ?? 0)
  let table: Table = [[NOTHING]]
  if (region.children.length === 0) {
    for (let size = 1; size <= most; size++) {
      const way = leafWay(search, region, size)
      table.push(way === undefined ? [] : [way])
    }
  } else {
    for (const child of region.children) table = merged(table, waysIn(search, child, keeper), { most, keeper })
  }
  if (region.kinds.length === 0) return table
  return table.map((ways, size) => {
    if (size === 0) return ways
    const kept: Way[] = []
    for (const way of ways) keeper.keep(kept, entered(search, region, way))
    return kept
  })
}

/** Of equal ways the one stays that takes more from the earlier region. */
function merged(first: Table, second: Table, { most, keeper }: { most: number; keeper: Keeper }): Table {
  const table: Way[][] = []
  for (let size = 0; size <= most; size++) {
    const kept: Way[] = []
    const from = Math.max(0, size - first.length + 1)
    for (let more = from; more < second.length && more <= size; more++) {
      for (const left of first[size - more] ?? []) {
        for (const right of second[more] ?? []) keeper.keepBoth(kept, left, right)
      }
    }
    table.push(kept)
  }
  return table
}

function leafWay({ room }: Search, leaf: Region, size: number): Way | undefined {
  const found = leafCost(room, leaf, size)
  if (found === undefined) return undefined
  const tie = 2 * found.splits * room.machine.powers[3] + found.zero
  return { cost: found.parts, tie, size, leaf }
}

/** Digit of each kind in `Way.cost`, as a power of the radix. */
const COST_DIGIT = { socket: 3, node: 2, cache: 1 } as const satisfies Record<Kind, number>

/**
 * Digit of each kind's room in `Way.tie`. Pack looks for the tightest hole, so the innermost region counts first; spread for the
 * part of the machine with the least work on it, so the outermost does.
 */
const TIE_DIGIT = {
  pack: { cache: 2, node: 1, socket: 0 },
  spread: { socket: 2, node: 1, cache: 0 },
} as const satisfies Record<PlaceStrategy, Record<Kind, number>>

/** The same way with what it costs to use the region at all. */
function entered({ room, strategy }: Search, region: Region, way: Way): Way {
  if (region.kinds.length === 0) return way
  const { powers } = room.machine
  const usable = room.usable[region.index] ?? 0
  const fit = 2 * (strategy === 'pack' ? usable : -usable)
  let { cost, tie } = way
  for (const kind of region.kinds) {
    cost += powers[COST_DIGIT[kind]]
    tie += fit * powers[TIE_DIGIT[strategy][kind]]
  }
  return { cost, tie, size: way.size, left: way }
}
