/**
 * The machine as the placement search walks it: a tree of regions (sockets, NUMA nodes, caches in whichever order they nest; equal
 * ones are one region) whose leaves hold cores. Built once per topology. The order of nesting is found, not assumed: a cache may
 * span two nodes (sub-NUMA clustering), a node two sockets (virtual machines). A kind that nests in no order, as torn reads of sysfs
 * can show, is left out of the tree and `nests` says so: the search is then good, but not proven best.
 */
import type { CpuDomain, CpuTopology } from '../topology.ts'

export type Kind = 'socket' | 'node' | 'cache'

export interface Region {
  /** Position in `Machine.regions`. */
  readonly index: number
  readonly parent: Region | undefined
  /** Ascending by lowest CPU; empty for a leaf. */
  readonly children: readonly Region[]
  /** What it is; nothing for a machine of several sockets. */
  readonly kinds: readonly Kind[]
  /** Of a leaf: core numbers by lowest CPU, the core of CPU 0 at the end. */
  readonly cores: readonly number[]
  /** Of a leaf: the threads of each of its cores if they are all alike and 1 or 2; else 0. */
  readonly threadsPerCore: number
}

export interface Machine {
  /** Children before parents; the last one is the machine. */
  readonly regions: readonly Region[]
  readonly leaves: readonly Region[]
  readonly root: Region
  /** Sockets, nodes, caches and cores nest: the tree tells all counts exactly. */
  readonly nests: boolean
  /** Online threads of each core, ascending. */
  readonly threads: readonly (readonly number[])[]
  /** By CPU number; -1 for one that is not online. */
  readonly coreOf: Int32Array
  /** Core of CPU 0; -1 if CPU 0 is not online. */
  readonly coreOfZero: number
  /** Cores with a thread in it, by socket and by node, each known by its lowest CPU. */
  readonly coresIn: ReadonlyMap<CpuDomain, readonly CpuDomain[]>
  /** Every core has a multiple of this number of threads. */
  readonly coreStep: number
  /** Threads of the largest core. */
  readonly largestCore: number
  /** Above any count of CPUs or domains. */
  readonly radix: number
  /** Powers 0 to 3 of the radix; even the fourth is exact in a double, up to 8192 CPUs. */
  readonly powers: readonly [number, number, number, number]
}

const known = new WeakMap<CpuTopology, Machine>()

/** The same object for the same topology. */
export function machineOf(topology: CpuTopology): Machine {
  const found = known.get(topology)
  if (found !== undefined) return found
  const built = buildMachine(topology)
  known.set(topology, built)
  return built
}

function buildMachine(topology: CpuTopology): Machine {
  const coreOf = new Int32Array((topology.online.last ?? -1) + 1).fill(-1)
  for (const cpu of topology.cpus) coreOf[cpu.id] = cpu.core
  const threads = topology.cores.map((core) => [...core.cpus])
  const levels = nestingLevels(topology)
  const regions = regionTree(topology, levels)
  const radix = topology.cpus.length + 1
  return {
    regions,
    leaves: regions.filter((region) => region.children.length === 0),
    // The tree always has the machine itself.
    root: regions.at(-1) as Region,
    nests: levels.length === 3,
    threads,
    coreOf,
    coreOfZero: coreOf[0] ?? -1,
    coresIn: coresByDomain(topology, [...topology.sockets, ...topology.nodes]),
    coreStep: threads.reduce((step, core) => greatestCommonDivisor(step, core.length), 0),
    largestCore: Math.max(0, ...threads.map((core) => core.length)),
    radix,
    powers: [1, radix, radix ** 2, radix ** 3],
  }
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b)
}

function coresByDomain(topology: CpuTopology, domains: readonly CpuDomain[]): ReadonlyMap<CpuDomain, readonly CpuDomain[]> {
  const cores = topology.cores.map(({ cpus }) => ({ id: cpus.first ?? 0, cpus }))
  return new Map(domains.map((domain) => [domain, cores.filter((core) => core.cpus.overlaps(domain.cpus))]))
}

interface Level {
  readonly kind: Kind
  readonly domains: readonly CpuDomain[]
}

/** The levels, sockets first, that split no core and nest with those before them. */
function nestingLevels(topology: CpuTopology): Level[] {
  const accepted: Level[] = []
  const levels: readonly Level[] = [
    { kind: 'socket', domains: topology.sockets },
    { kind: 'node', domains: topology.nodes },
    { kind: 'cache', domains: topology.caches },
  ]
  for (const level of levels) {
    const nests = [topology.cores, ...accepted.map((other) => other.domains)].every((others, index) =>
      level.domains.every((domain) => {
        const touched = others.filter((other) => other.cpus.overlaps(domain.cpus))
        return (index > 0 && touched.length === 1) || touched.every((other) => other.cpus.isSubsetOf(domain.cpus))
      }),
    )
    if (nests) accepted.push(level)
  }
  return accepted
}

interface Draft {
  readonly cpus: CpuDomain['cpus']
  readonly kinds: Kind[]
  readonly children: Draft[]
}

function regionTree(topology: CpuTopology, levels: readonly Level[]): Region[] {
  const root: Draft = { cpus: topology.online, kinds: [], children: [] }
  const drafts = levels
    .flatMap(({ kind, domains }) => domains.map((domain) => ({ kind, cpus: domain.cpus })))
    .sort((a, b) => b.cpus.size - a.cpus.size || (a.cpus.first ?? 0) - (b.cpus.first ?? 0))
  for (const { kind, cpus } of drafts) {
    const first = cpus.first ?? 0
    let around = root
    while (!around.cpus.equals(cpus)) {
      const inside = around.children.find((child) => child.cpus.has(first))
      if (inside === undefined) {
        const added: Draft = { cpus, kinds: [], children: [] }
        around.children.push(added)
        around = added
      } else around = inside
    }
    around.kinds.push(kind)
  }
  const regions: Region[] = []
  number(topology, root, regions)
  return regions
}

/** A region until its parent is known. */
type Growing = { -readonly [Key in keyof Region]: Region[Key] }

/** Appends the region and all within it, children first. */
function number(topology: CpuTopology, draft: Draft, regions: Region[]): Growing {
  const byFirst = draft.children.sort((a, b) => (a.cpus.first ?? 0) - (b.cpus.first ?? 0))
  const children = byFirst.map((child) => number(topology, child, regions))
  const first = (core: CpuDomain): number => core.cpus.first ?? 0
  const cores =
    children.length > 0
      ? []
      : topology.cores
          .filter((core) => draft.cpus.has(first(core)))
          .sort((a, b) => Number(a.cpus.has(0)) - Number(b.cpus.has(0)) || first(a) - first(b))
  const sizes = new Set(cores.map((core) => core.cpus.size))
  const [size = 0] = sizes
  const region: Growing = {
    index: regions.length,
    parent: undefined,
    children,
    kinds: draft.kinds,
    cores: cores.map((core) => core.id),
    threadsPerCore: sizes.size === 1 && size <= 2 ? size : 0,
  }
  for (const child of children) child.parent = region
  regions.push(region)
  return region
}
