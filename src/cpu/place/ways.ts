/**
 * A way to give some CPUs, what it costs, and which ways are worth keeping while the search goes on. The four counts are digits of one
 * number, so that adding two costs is one addition and comparing them goes by sockets, then nodes, then caches, then partly used
 * cores. Without a limit one way is kept, the cheapest; with one, all that no other beats in every count.
 */
import { countsWithin, type PlaceCounts } from './counts.ts'
import type { Machine, Region } from './machine.ts'

/** From a leaf, or in two regions together. */
export interface Way {
  /** Sockets, nodes, caches and partly used cores as digits, the last one lowest. */
  readonly cost: number
  /** What decides between equal costs: split cores, then fit, then CPU 0. */
  readonly tie: number
  readonly size: number
  readonly leaf?: Region
  readonly left?: Way
  readonly right?: Way
}

export const NOTHING: Way = { cost: 0, tie: 0, size: 0 }

/** So many ways are weighed under a limit before the search gives up. */
const MAX_WEIGHED = 300_000

/** So many ways to one number of CPUs are kept under a limit; the dearest go. */
const MAX_KEPT = 64

/** Negative if `a` is better. A total order but for ways that are as good as each other. */
export function compareWays(a: Way, b: Way): number {
  return a.cost - b.cost || a.tie - b.tie
}

/** As far as the tree of the machine tells them. */
export function countsOfWay({ powers }: Machine, { cost }: Way): PlaceCounts {
  // Not by remainder: that is slow for numbers above 32 bits, and a search under a limit asks this all the time.
  const sockets = Math.floor(cost / powers[3])
  const inSockets = cost - sockets * powers[3]
  const nodes = Math.floor(inSockets / powers[2])
  const inNodes = inSockets - nodes * powers[2]
  const caches = Math.floor(inNodes / powers[1])
  return { sockets, nodes, caches, partCores: inNodes - caches * powers[1] }
}

export class Keeper {
  private weighed = 0
  private readonly machine: Machine
  private readonly limit: PlaceCounts | undefined

  constructor(machine: Machine, limit: PlaceCounts | undefined) {
    this.machine = machine
    this.limit = limit
  }

  /** The search was cut short: what was kept may not be the best. */
  get exhausted(): boolean {
    return this.weighed > MAX_WEIGHED
  }

  /** Keeps both together if that is worth it. */
  keepBoth(kept: Way[], left: Way, right: Way): void {
    const cost = left.cost + right.cost
    const tie = left.tie + right.tie
    const best = kept[0]
    // Most ways end here, before anything is made of them.
    if (this.limit === undefined && best !== undefined && (cost > best.cost || (cost === best.cost && tie >= best.tie))) return
    if (right.size === 0) this.keep(kept, left)
    else if (left.size === 0) this.keep(kept, right)
    else this.keep(kept, { cost, tie, size: left.size + right.size, left, right })
  }

  /** Keeps it if that is worth it, the cheapest first. Of ways as good as each other the first one stays. */
  keep(kept: Way[], way: Way): void {
    if (this.limit === undefined) {
      if (kept[0] === undefined || compareWays(way, kept[0]) < 0) kept[0] = way
      return
    }
    this.weighed += 1 + kept.length
    if (this.exhausted) return
    const counts = countsOfWay(this.machine, way)
    if (!countsWithin(counts, this.limit) || kept.some((other) => this.covers(other, way, counts))) return
    const rest = kept.filter((other) => !this.covers(way, other, countsOfWay(this.machine, other)))
    const after = rest.findIndex((other) => compareWays(way, other) < 0)
    rest.splice(after < 0 ? rest.length : after, 0, way)
    kept.splice(0, kept.length, ...rest.slice(0, MAX_KEPT))
  }

  /** Whether `way` makes `other` needless: it is no worse in any count, and no worse a fit if it's no better in any. */
  private covers(way: Way, other: Way, counts: PlaceCounts): boolean {
    if (way.cost === other.cost) return way.tie <= other.tie
    return countsWithin(countsOfWay(this.machine, way), counts)
  }
}
