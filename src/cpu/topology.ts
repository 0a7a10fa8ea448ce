/**
 * What the CPUs of a node share with each other: core, last-level cache, NUMA node, socket. Built once from plain text that
 * kernel/ read from sysfs; only online CPUs are in it, so whatever is placed by it can run. sysfs is not read atomically and lies
 * in virtual machines, so every gap has a stated fallback and a doubt about siblings joins threads: taking two cores for one wastes
 * a CPU, taking one for two puts offline work beside a latency-critical thread.
 * Kernel: Documentation/ABI/stable/sysfs-devices-system-cpu, Documentation/admin-guide/cputopology.rst.
 */
import { CpuSet } from './cpuset.ts'
import { groupsOf, type Partition } from './partition.ts'

export interface Cpu {
  readonly id: number
  /** Number of the core, from 0, unique on the machine: not the kernel's core_id, which repeats from socket to socket. */
  readonly core: number
  /** The kernel's physical_package_id; where it is not known, the lowest number that no socket has. */
  readonly socket: number
  /** NUMA node by the kernel's number, the one `cpuset.mems` takes. */
  readonly node: number
  /** Number of the last-level cache, from 0, unique on the machine. */
  readonly cache: number
}

/** Some online CPUs that share something; never empty. */
export interface CpuDomain {
  readonly id: number
  readonly cpus: CpuSet
}

/**
 * Each online CPU is in exactly one socket, node, cache and core. Caches and cores are numbered by place: socket, node, (cache,)
 * lowest CPU. So ascending numbers walk the machine from one end to the other, and equal input gives equal numbers.
 */
export interface CpuTopology {
  readonly online: CpuSet
  /** Ascending by id. */
  readonly cpus: readonly Cpu[]
  /** Ascending by id, like all domains below. */
  readonly sockets: readonly CpuDomain[]
  /** Without nodes that have memory only: no CPU can be chosen there. */
  readonly nodes: readonly CpuDomain[]
  readonly caches: readonly CpuDomain[]
  readonly cores: readonly CpuDomain[]
  /** Some core has more than one online thread. */
  readonly smt: boolean
  /** The online threads of the CPU's core, itself included; empty if the CPU is not online. */
  siblingsOf(cpu: number): CpuSet
  /** Undefined if the CPU is not online. */
  cpu(id: number): Cpu | undefined
}

/** One `/sys/devices/system/cpu/cpuN`. */
export interface RawCpu {
  readonly id: number
  /** topology/core_id; negative if not known. */
  readonly coreId: number
  /** topology/physical_package_id; -1 on some virtual machines and ARM boards. */
  readonly socketId: number
  /** topology/thread_siblings_list; empty text if missing. */
  readonly threadSiblings: string
  /** shared_cpu_list of the cache with the highest level; undefined without cache folders. */
  readonly llcShared: string | undefined
}

/** One `/sys/devices/system/node/nodeN`. */
export interface RawNode {
  readonly id: number
  /** cpulist; empty for a node of memory only. */
  readonly cpus: string
}

/** The texts of sysfs as they were read. CPUs may be missing, offline or listed twice; order does not matter. */
export interface RawTopology {
  /** /sys/devices/system/cpu/online: what counts. */
  readonly online: string
  readonly cpus: readonly RawCpu[]
  /** Empty on a kernel without NUMA: all is node 0 then. */
  readonly nodes: readonly RawNode[]
}

/**
 * Fallbacks: without a sibling list, CPUs with the same core_id, socket and node are one core, and a CPU without core_id is a core
 * of its own; without caches, a socket is one cache; a CPU that no node lists is in the lowest node.
 * Throws CpuListError for a text that is no CPU list. No CPU online gives an empty topology: refusing that is up to the reader.
 */
export function buildTopology(raw: RawTopology): CpuTopology {
  const online = CpuSet.parse(raw.online)
  const known = new Map(raw.cpus.map((cpu) => [cpu.id, cpu]))
  const nodeOf = numberNodes(raw.nodes, online)
  const socketOf = numberSockets(known, online)
  const place = (cpu: number): readonly number[] => [socketOf.get(cpu) ?? 0, nodeOf.get(cpu) ?? 0]
  const cacheOf = numberByPlace(cacheGroups(known, online, socketOf), place)
  const coreOf = numberByPlace(coreGroups(known, online, place), (cpu) => [...place(cpu), cacheOf.get(cpu) ?? 0])
  const cpus = [...online].map((id) => ({
    id,
    core: coreOf.get(id) ?? 0,
    socket: socketOf.get(id) ?? 0,
    node: nodeOf.get(id) ?? 0,
    cache: cacheOf.get(id) ?? 0,
  }))
  return new Topology(online, cpus)
}

class Topology implements CpuTopology {
  readonly online: CpuSet
  readonly cpus: readonly Cpu[]
  readonly sockets: readonly CpuDomain[]
  readonly nodes: readonly CpuDomain[]
  readonly caches: readonly CpuDomain[]
  readonly cores: readonly CpuDomain[]
  readonly smt: boolean
  private readonly byId: ReadonlyMap<number, Cpu>

  constructor(online: CpuSet, cpus: readonly Cpu[]) {
    this.online = online
    this.cpus = cpus
    this.sockets = domains(cpus, (cpu) => cpu.socket)
    this.nodes = domains(cpus, (cpu) => cpu.node)
    this.caches = domains(cpus, (cpu) => cpu.cache)
    this.cores = domains(cpus, (cpu) => cpu.core)
    this.smt = this.cores.some((core) => core.cpus.size > 1)
    this.byId = new Map(cpus.map((cpu) => [cpu.id, cpu]))
  }

  siblingsOf(cpu: number): CpuSet {
    const core = this.byId.get(cpu)?.core
    // Cores are numbered from 0 without gaps, so a core's number is its index.
    return (core === undefined ? undefined : this.cores[core]?.cpus) ?? CpuSet.EMPTY
  }

  cpu(id: number): Cpu | undefined {
    return this.byId.get(id)
  }
}

function domains(cpus: readonly Cpu[], idOf: (cpu: Cpu) => number): readonly CpuDomain[] {
  const members = new Map<number, number[]>()
  for (const cpu of cpus) {
    const id = idOf(cpu)
    const group = members.get(id)
    if (group === undefined) members.set(id, [cpu.id])
    else group.push(cpu.id)
  }
  return [...members].sort(([a], [b]) => a - b).map(([id, group]) => ({ id, cpus: CpuSet.from(group) }))
}

function numberSockets(known: ReadonlyMap<number, RawCpu>, online: CpuSet): ReadonlyMap<number, number> {
  const taken = new Set([...known.values()].map((cpu) => cpu.socketId))
  let spare = 0
  while (taken.has(spare)) spare += 1
  const socketId = (cpu: number): number => known.get(cpu)?.socketId ?? -1
  return new Map([...online].map((cpu) => [cpu, socketId(cpu) < 0 ? spare : socketId(cpu)]))
}

function numberNodes(raw: readonly RawNode[], online: CpuSet): ReadonlyMap<number, number> {
  const nodeOf = new Map<number, number>()
  let lowest: number | undefined
  for (const node of [...raw].sort((a, b) => a.id - b.id)) {
    // Kernel: with numa=fake (mm/numa_emulation.c) a CPU is listed in several nodes; the lowest one gets it.
    for (const cpu of CpuSet.parse(node.cpus).intersect(online)) {
      lowest ??= node.id
      if (!nodeOf.has(cpu)) nodeOf.set(cpu, node.id)
    }
  }
  for (const cpu of online) if (!nodeOf.has(cpu)) nodeOf.set(cpu, lowest ?? 0)
  return nodeOf
}

function cacheGroups(known: ReadonlyMap<number, RawCpu>, online: CpuSet, socketOf: ReadonlyMap<number, number>): Partition {
  return groupsOf(online, (cpu) => {
    const shared = known.get(cpu)?.llcShared
    return shared === undefined ? { key: String(socketOf.get(cpu)) } : { with: CpuSet.parse(shared) }
  })
}

function coreGroups(known: ReadonlyMap<number, RawCpu>, online: CpuSet, place: (cpu: number) => readonly number[]): Partition {
  return groupsOf(online, (id) => {
    const cpu = known.get(id)
    const siblings = CpuSet.parse(cpu?.threadSiblings ?? '')
    if (!siblings.isEmpty) return { with: siblings }
    if (cpu === undefined || cpu.coreId < 0) return { with: CpuSet.EMPTY }
    // Kernel: core_id may repeat within a package of two dies, but threads of one core are always in one node.
    return { key: [cpu.coreId, ...place(id)].join() }
  })
}

/** Numbers the groups from 0 by the place of their lowest CPU, then by that CPU. */
function numberByPlace(groups: Partition, place: (cpu: number) => readonly number[]): ReadonlyMap<number, number> {
  const sorted = [...groups].sort(([a], [b]) => compareTuples([...place(a), a], [...place(b), b]))
  return new Map(sorted.flatMap(([, members], number) => members.map((cpu) => [cpu, number] as const)))
}

function compareTuples(a: readonly number[], b: readonly number[]): number {
  for (const [index, value] of a.entries()) {
    const difference = value - (b[index] ?? 0)
    if (difference !== 0) return difference
  }
  return 0
}
