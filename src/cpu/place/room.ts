/**
 * The free CPUs of a machine in the numbers the placement search works with, counted once for each placement, and what one leaf of
 * the tree can give: how many partly used cores a number of threads costs there, and which threads they would be. Leaves of alike
 * cores with one or two threads have a formula; others (SMT-4 and up, hybrid, ragged) are solved core by core.
 */
import type { CpuSet } from '../cpuset.ts'
import type { Machine, Region } from './machine.ts'

/** `cores`: whole physical cores only. `threads`: any threads. */
export type PlaceUnit = 'cores' | 'threads'

export interface Room {
  readonly machine: Machine
  readonly unit: PlaceUnit
  readonly cpus: CpuSet
  /** No more than so many CPUs will be asked of a leaf. */
  readonly most: number
  /** Free threads of each core. */
  readonly free: Uint16Array
  /** By region: the CPUs that this unit can use, so only those of wholly free cores for `cores`. */
  readonly usable: Int32Array
  /** By region, leaves only: wholly free cores. */
  readonly whole: Int32Array
  /** Solutions of uneven leaves, by region; filled as they are needed. */
  readonly solved: (LeafTable | undefined)[]
}

/** What `count` threads of a leaf cost there. */
export interface LeafCost {
  readonly parts: number
  /** Wholly free cores that are left with some of their threads. */
  readonly splits: number
  /** 1 if the core of CPU 0 is used. */
  readonly zero: number
}

interface LeafTable {
  readonly costs: readonly (LeafCost | undefined)[]
  /** At core × (threads + 1) + count: what that core gives. */
  readonly given: Uint16Array
}

/** Room for placements of at most `most` CPUs. */
export function roomIn(machine: Machine, free: CpuSet, { unit, most }: { unit: PlaceUnit; most: number }): Room {
  const { coreOf, threads, regions, leaves } = machine
  const freeThreads = new Uint16Array(threads.length)
  free.forEach((cpu) => {
    const core = coreOf[cpu] ?? -1
    if (core >= 0) freeThreads[core] = (freeThreads[core] ?? 0) + 1
  })
  const usable = new Int32Array(regions.length)
  const whole = new Int32Array(regions.length)
  for (const { index, cores } of leaves) {
    let sum = 0
    let wholeCores = 0
    for (let at = 0; at < cores.length; at++) {
      const core = cores[at] ?? 0
      const here = freeThreads[core] ?? 0
      const isWhole = here > 0 && here === threads[core]?.length
      if (isWhole) wholeCores += 1
      if (isWhole || unit === 'threads') sum += here
    }
    usable[index] = sum
    whole[index] = wholeCores
  }
  for (const { index, children } of regions) {
    for (const child of children) usable[index] = (usable[index] ?? 0) + (usable[child.index] ?? 0)
  }
  return { machine, unit, cpus: free, most, free: freeThreads, usable, whole, solved: [] }
}

/** The least cost of exactly `count` threads of the leaf; undefined if it cannot give so many. `count` is 1 or more. */
export function leafCost(room: Room, leaf: Region, count: number): LeafCost | undefined {
  const usable = room.usable[leaf.index] ?? 0
  if (count > usable) return undefined
  if (leaf.threadsPerCore === 0) return leafTable(room, leaf).costs[count]
  const { machine, unit, free, whole } = room
  const wholeCores = whole[leaf.index] ?? 0
  const cores = Math.min(wholeCores, Math.floor(count / leaf.threadsPerCore))
  const rest = count - cores * leaf.threadsPerCore
  if (rest > 0 && unit === 'cores') return undefined
  // With two threads a core, a partly free core has one free thread.
  const singles = usable - wholeCores * leaf.threadsPerCore
  const splits = rest > singles ? 1 : 0
  let zero = 0
  if (leaf.cores.at(-1) === machine.coreOfZero) {
    const here = free[machine.coreOfZero] ?? 0
    // It is last in line: needed only if all cores of its sort are.
    if (here === leaf.threadsPerCore) zero = Number(cores + splits === wholeCores)
    else if (rest > 0) zero = Number(here > 0 && rest === singles)
  }
  return { parts: rest, splits, zero }
}

/** Appends the threads that `leafCost` speaks of: the lowest that do. */
export function fillLeaf(room: Room, leaf: Region, count: number, cpus: number[]): void {
  const given = leaf.threadsPerCore === 0 ? givenByTable(room, leaf, count) : givenByFormula(room, leaf, count)
  for (const [core, wanted] of given) {
    const free = (room.machine.threads[core] ?? []).filter((cpu) => room.cpus.has(cpu))
    cpus.push(...free.slice(0, wanted))
  }
}

type Given = readonly (readonly [core: number, count: number])[]

function givenByFormula(room: Room, leaf: Region, count: number): Given {
  const size = leaf.threadsPerCore
  const whole = leaf.cores.filter((core) => room.free[core] === size)
  const cores = Math.min(whole.length, Math.floor(count / size))
  const rest = count - cores * size
  const parts = rest === 0 ? [] : leaf.cores.filter((core) => room.free[core] !== 0 && room.free[core] !== size)
  // Without a partly free core, one wholly free core is split.
  const singles = rest > parts.length ? whole.slice(cores, cores + 1) : parts.slice(0, rest)
  return [...whole.slice(0, cores).map((core) => [core, size] as const), ...singles.map((core) => [core, 1] as const)]
}

function givenByTable(room: Room, leaf: Region, count: number): Given {
  const { costs, given } = leafTable(room, leaf)
  const taken: [number, number][] = []
  let left = count
  for (let at = leaf.cores.length - 1; at >= 0; at--) {
    const here = given[at * costs.length + left] ?? 0
    if (here > 0) taken.push([leaf.cores[at] ?? 0, here])
    left -= here
  }
  return taken
}

/** Core after core, the cheapest way to every number of threads; of equal ways the one that takes least from later cores. */
function leafTable(room: Room, leaf: Region): LeafTable {
  const found = room.solved[leaf.index]
  if (found !== undefined) return found
  const { threads, radix, coreOfZero } = room.machine
  const width = Math.min(room.most, room.usable[leaf.index] ?? 0) + 1
  const given = new Uint16Array(leaf.cores.length * width)
  let best = new Float64Array(width).fill(Infinity)
  best[0] = 0
  for (const [at, core] of leaf.cores.entries()) {
    const size = threads[core]?.length ?? 0
    const here = room.free[core] ?? 0
    const zero = Number(core === coreOfZero)
    const next = best.slice()
    for (let take = 1; take <= here; take++) {
      if (take < size && room.unit === 'cores') continue
      const price = take === size ? zero : 2 * radix + (here === size ? 2 : 0) + zero
      for (let count = take; count < width; count++) {
        const cost = (best[count - take] ?? Infinity) + price
        if (cost >= (next[count] ?? Infinity)) continue
        next[count] = cost
        given[at * width + count] = take
      }
    }
    best = next
  }
  const costs = Array.from(best, (cost) => {
    if (cost === Infinity) return undefined
    const rank = Math.floor(cost / 2)
    return { parts: Math.floor(rank / radix), splits: rank % radix, zero: cost % 2 }
  })
  const table = { costs, given }
  room.solved[leaf.index] = table
  return table
}

/** The fewest CPUs, `wanted` or more, that wholly free cores add up to; undefined if all of them are too few. */
export function wholeCoresSize(room: Room, wanted: number): number | undefined {
  const { machine, free } = room
  const usable = room.usable[machine.root.index] ?? 0
  if (usable < wanted) return undefined
  const step = machine.coreStep
  if (machine.threads.every((core) => core.length === step)) return Math.ceil(wanted / step) * step
  // Bit s is set if some of the cores have s threads together.
  let sums = 1n
  for (const [core, threads] of machine.threads.entries()) {
    if (free[core] === threads.length) sums |= sums << BigInt(threads.length)
  }
  let size = wanted
  while (((sums >> BigInt(size)) & 1n) === 0n) size += 1
  return size
}
