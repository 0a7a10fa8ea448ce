/**
 * Choosing CPUs out of a pool: which cores lie wholly in it, and which part of it best-effort work may share. Work is given whole
 * cores as far as possible, since threads of one core slow each other down, and from the far end of the machine, so that the shared
 * part grows and shrinks at one edge. CPU 0 goes last: much of the kernel's own work (boot-time interrupts, timekeeping) is there.
 */
import { CpuSet } from './cpuset.ts'
import type { CpuTopology } from './topology.ts'

/** The cores all of whose online threads are in `within`, by socket, node, cache and core. */
export function wholeCores(topology: CpuTopology, within: CpuSet): CpuSet[] {
  return coresOf(topology, within)
    .filter((core) => core.cpus.isSubsetOf(within))
    .map((core) => core.cpus)
}

/** The cores that have a thread in the set, or more of them where the set is large. */
function coresOf(topology: CpuTopology, set: CpuSet): CpuTopology['cores'] {
  const { cores } = topology
  if (set.size * 4 > cores.length) return cores
  const numbers = new Set<number>()
  set.forEach((cpu) => numbers.add(topology.cpu(cpu)?.core ?? -1))
  return [...numbers].sort((a, b) => a - b).flatMap((number) => cores[number] ?? [])
}

/**
 * `count` online CPUs of `within`: whole cores from the last (socket, node, cache, core) downwards; then threads of cores that are
 * only partly in `within`; then at most one core is split. CPU 0 is among them only if all are, and the other threads of its core
 * only if nothing else is left. `count` is clamped to 0 … the number of online CPUs in `within`.
 */
export function takeFromEnd(topology: CpuTopology, within: CpuSet, count: number): CpuSet {
  const usable = within.intersect(topology.online)
  if (count >= usable.size) return usable
  const wanted = count > 0 ? Math.floor(count) : 0
  const kept = usable.has(0) ? topology.siblingsOf(0).intersect(usable) : CpuSet.EMPTY
  const free = usable.minus(kept)
  const cores = wholeCores(topology, free).reverse()
  const taken = joined(fillWithCores(cores, wanted))
  const missing = wanted - taken.size
  if (missing === 0) return taken
  const whole = joined(cores)
  // The cores not taken are each larger than what is missing, so walking them core by core splits the first one only.
  const rest = [
    ...threadsFromEnd(topology, free.minus(whole)),
    ...threadsFromEnd(topology, whole.minus(taken)),
    ...[...kept].reverse(),
  ]
  return taken.union(CpuSet.from(rest.slice(0, missing)))
}

/**
 * The cores, the earliest preferred, that come nearest to `count` threads without passing it. Cores of a hybrid or partly offline
 * machine differ in size, so taking each that fits may miss the best sum: 1 + 2 of cores 1, 2, 2 leaves 4 unfilled, 2 + 2 does not.
 */
function fillWithCores(cores: readonly CpuSet[], count: number): CpuSet[] {
  const mask = (1n << BigInt(count + 1)) - 1n
  // Bit s of reach[i] is set if some of the cores from i on have s threads together.
  const reach = [1n]
  for (const core of cores.toReversed()) reach.push(((reach.at(-1) ?? 1n) | ((reach.at(-1) ?? 1n) << BigInt(core.size))) & mask)
  reach.reverse()
  let left = (reach[0] ?? 1n).toString(2).length - 1
  return cores.filter((core, index) => {
    const fits = core.size <= left && (((reach[index + 1] ?? 1n) >> BigInt(left - core.size)) & 1n) === 1n
    if (fits) left -= core.size
    return fits
  })
}

/** The threads in `among`, core by core from the last one, the highest thread first. Goes by the threads, which may be few of many. */
function threadsFromEnd(topology: CpuTopology, among: CpuSet): number[] {
  const threads: { cpu: number; core: number }[] = []
  among.forEach((cpu) => threads.push({ cpu, core: topology.cpu(cpu)?.core ?? -1 }))
  return threads.sort((a, b) => b.core - a.core || b.cpu - a.cpu).map(({ cpu }) => cpu)
}

function joined(sets: readonly CpuSet[]): CpuSet {
  return CpuSet.from(sets.flatMap((set) => [...set]))
}
