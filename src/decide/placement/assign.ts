/**
 * Gives CPUs to the pods that want some of their own, three times through the pods:
 *   kept      what a pod has stays, while its request stands and the CPUs can still be its own
 *   adopted   of a pod that is not remembered (the agent was restarted), the set that its group holds, if it can be its own
 *   placed    the others, those that lost a part around what they have left, the rest anew
 * Nobody moves for the sake of somebody else, but when the pool would have less than its least: then the last in line yields.
 */
import type { CpuTopology, PlaceOptions } from '../../cpu/index.ts'
import { CpuSet, placeExclusive, siblingsClosure, wholeCores } from '../../cpu/index.ts'
import { compareWants, type Want } from './wants.ts'

/** What a pod got; without CPUs if there was no room. */
export interface Holding {
  readonly want: Want
  readonly cpus?: CpuSet
}

/** By UID, in the order in which they were served. */
export type Holdings = ReadonlyMap<string, Holding>

export interface Ground {
  readonly topology: CpuTopology
  /** All that pods may run on: a thread outside of it is nobody's. */
  readonly reachable: CpuSet
  /** What may be given away. */
  readonly usable: CpuSet
  /** How many of them must be left. */
  readonly leastLeft: number
  readonly strategy: PlaceOptions['strategy']
}

export interface Past {
  readonly holdings: Holdings | undefined
  /** Topology, CPUs and settings are those that the holdings were worked out for. */
  readonly sameGround: boolean
  readonly actual: (want: Want) => Found | undefined
}

/** What the group of a pod holds, where nobody else's holds the same. */
export interface Found {
  readonly set: CpuSet
  /** How many pods without CPUs of their own run there too, as far as is known. */
  readonly rivals: number
}

const NONE: Holdings = new Map()

export function assign(wants: readonly Want[], ground: Ground, past: Past): Holdings {
  if (wants.length === 0) return NONE
  const allotment = new Allotment(ground)
  const inLine = new Map([...wants].sort(compareWants).map((want) => [want.uid, want]))
  for (const want of inLine.values()) keep(allotment, want, past)
  if (past.holdings === undefined || wants.some(({ uid }) => past.holdings?.has(uid) !== true)) adopt(allotment, inLine, past)
  const wasHeld = allotment.holdsAny
  const placeAll = (): void => {
    for (const want of inLine.values()) if (!allotment.given.has(want.uid)) allotment.place(want)
  }
  placeAll()
  // What was held for a pod that found no room is free for others now.
  if (wasHeld) placeAll()
  return new Map(
    [...inLine.values()].map((want) => {
      const cpus = allotment.given.get(want.uid)
      return [want.uid, cpus === undefined ? { want } : { want, cpus }]
    }),
  )
}

function keep(allotment: Allotment, want: Want, { holdings, sameGround }: Past): void {
  const held = holdings?.get(want.uid)
  if (held?.cpus === undefined) return
  const isSame = held.want.count === want.count && held.want.qosClass === want.qosClass
  if (isSame && sameGround) {
    allotment.give(want, held.cpus)
    return
  }
  const left = allotment.usablePart(want, held.cpus)
  if (isSame && allotment.suits(want, left) && allotment.hasRoomFor(left)) allotment.give(want, left)
  else allotment.hold(want, left)
}

/**
 * Those with the fewest rivals first, then the smallest: a pod without room, whose group holds the whole pool, is taken for one with CPUs of its own
 * only if those that really have some leave enough. Threads that have come to the cores of an LSX pod are taken along unless another pod has them.
 */
function adopt(allotment: Allotment, inLine: ReadonlyMap<string, Want>, { holdings, actual }: Past): void {
  const found: (Found & { want: Want })[] = []
  for (const want of inLine.values()) {
    const held = holdings?.has(want.uid) === true ? undefined : actual(want)
    if (held !== undefined) found.push({ want, ...held })
  }
  found.sort((a, b) => a.rivals - b.rivals || a.set.size - b.set.size || compareWants(a.want, b.want))
  for (const { want, set } of found) {
    const own = allotment.usablePart(want, set)
    const come = own.minus(set)
    const isFree = !found.some((other) => other.set.overlaps(come))
    if (isFree && set.isSubsetOf(own) && allotment.suits(want, own) && allotment.hasRoomFor(own)) allotment.give(want, own)
  }
}

/** What is given away so far. */
class Allotment {
  readonly given = new Map<string, CpuSet>()
  readonly #ground: Ground
  #taken = CpuSet.EMPTY
  /** What is left of the CPUs of pods that are to be placed around it. */
  readonly #held = new Map<string, CpuSet>()

  constructor(ground: Ground) {
    this.#ground = ground
  }

  get holdsAny(): boolean {
    return this.#held.size > 0
  }

  give(want: Want, cpus: CpuSet): void {
    this.given.set(want.uid, cpus)
    this.#taken = this.#taken.union(cpus)
  }

  hold(want: Want, cpus: CpuSet): void {
    if (!cpus.isEmpty) this.#held.set(want.uid, cpus)
  }

  /** What of a set could be the pod's own today: for LSX whole cores, with the threads that have come meanwhile. */
  usablePart({ qosClass }: Want, set: CpuSet): CpuSet {
    const { topology, reachable } = this.#ground
    const free = this.#free()
    if (qosClass !== 'LSX') return set.intersect(free)
    const cores = siblingsClosure(topology, set.intersect(topology.online)).intersect(reachable)
    if (cores.isSubsetOf(free)) return cores
    return wholeCores(topology, cores.intersect(free)).reduce((all, core) => all.union(core), CpuSet.EMPTY)
  }

  /**
   * Whether the set is what the pod wants. The cores of an LSX pod may be more than it would get today, since threads may have come to
   * them; but there are never more cores than CPUs wanted.
   */
  suits({ qosClass, count }: Want, set: CpuSet): boolean {
    if (qosClass !== 'LSX') return set.size === count
    if (set.size < count) return false
    const cores = new Set<number | undefined>()
    set.forEach((cpu) => cores.add(this.#ground.topology.cpu(cpu)?.core))
    return cores.size <= count
  }

  hasRoomFor(set: CpuSet): boolean {
    return this.#spare >= set.size
  }

  place(want: Want): void {
    const own = this.#held.get(want.uid) ?? CpuSet.EMPTY
    this.#held.delete(want.uid)
    if (want.count > this.#spare) return
    const cpus = this.#around(want, own) ?? this.#search(want, this.#free(), want.count)
    if (cpus !== undefined && this.hasRoomFor(cpus)) this.give(want, cpus)
  }

  /** A pod that shrinks stays within what it has, one that grows or has lost CPUs gets what it lacks on the same NUMA nodes. */
  #around(want: Want, own: CpuSet): CpuSet | undefined {
    if (own.isEmpty) return undefined
    if (own.size >= want.count) return this.#search(want, own, want.count)
    const near = this.#ground.topology.nodes.filter(({ cpus }) => cpus.overlaps(own))
    const free = near.reduce((all, { cpus }) => all.union(cpus), CpuSet.EMPTY).intersect(this.#free())
    const more = this.#search(want, free.minus(own), want.count - own.size)
    return more?.union(own)
  }

  #search({ qosClass }: Want, among: CpuSet, count: number): CpuSet | undefined {
    const { topology, strategy } = this.#ground
    return placeExclusive(topology, among, count, { unit: qosClass === 'LSX' ? 'cores' : 'threads', strategy })
  }

  get #spare(): number {
    return this.#ground.usable.size - this.#taken.size - this.#ground.leastLeft
  }

  #free(): CpuSet {
    let free = this.#ground.usable.minus(this.#taken)
    for (const cpus of this.#held.values()) free = free.minus(cpus)
    return free
  }
}

/** How many CPUs could still be given to one pod of the class. */
export function spareFor(qosClass: Want['qosClass'], { topology, usable, leastLeft }: Ground, holdings: Holdings): number {
  let free = usable
  for (const { cpus } of holdings.values()) if (cpus !== undefined) free = free.minus(cpus)
  const spare = Math.max(0, free.size - leastLeft)
  if (qosClass !== 'LSX') return spare
  return wholeCores(topology, free).reduce((sum, core) => (sum + core.size <= spare ? sum + core.size : sum), 0)
}
