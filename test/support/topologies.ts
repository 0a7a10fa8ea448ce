/**
 * Machines for the tests: raw topologies as kernel/ would read them from sysfs, made from a shape or named after real ones. CPUs are
 * numbered as Linux on x86 does: the first threads of all cores, then the second threads.
 */
import { CpuSet, type RawCpu, type RawTopology } from '../../src/cpu/index.ts'

export interface Shape {
  readonly sockets: number
  readonly nodesPerSocket: number
  readonly cachesPerNode: number
  readonly coresPerCache: number
  readonly threads: number
  /** CPUs switched off. Their topology folders and sibling entries go, as in sysfs; node lists keep them, to be ignored. */
  readonly offline?: readonly number[]
  /** Numbers that no CPU has; the CPUs after them move up. */
  readonly holes?: readonly number[]
}

export function rawTopology(shape: Shape): RawTopology {
  const { sockets, nodesPerSocket, cachesPerNode, coresPerCache, threads } = shape
  const cores = sockets * nodesPerSocket * cachesPerNode * coresPerCache
  const ids = numbersAround(cores * threads, new Set(shape.holes))
  const off = CpuSet.from(shape.offline ?? [])
  const all = CpuSet.from(ids)
  const coresOf = (from: number, count: number): CpuSet =>
    CpuSet.from(ids.filter((_, index) => inSlice(index % cores, from, count)))
  const cpus = ids.flatMap((id, index): RawCpu[] => {
    if (off.has(id)) return []
    const core = index % cores
    const cache = Math.floor(core / coresPerCache)
    const coresPerSocket = cores / sockets
    return [
      {
        id,
        coreId: core % coresPerSocket,
        socketId: Math.floor(core / coresPerSocket),
        threadSiblings: coresOf(core, 1).minus(off).toString(),
        llcShared: coresOf(cache * coresPerCache, coresPerCache)
          .minus(off)
          .toString(),
      },
    ]
  })
  const coresPerNode = cachesPerNode * coresPerCache
  const nodes = Array.from({ length: sockets * nodesPerSocket }, (_, id) => ({
    id,
    cpus: `${coresOf(id * coresPerNode, coresPerNode).toString()}\n`,
  }))
  return { online: `${all.minus(off).toString()}\n`, cpus, nodes }
}

function inSlice(value: number, from: number, count: number): boolean {
  return value >= from && value < from + count
}

function numbersAround(count: number, holes: ReadonlySet<number>): readonly number[] {
  const ids: number[] = []
  for (let id = 0; ids.length < count; id++) if (!holes.has(id)) ids.push(id)
  return ids
}

const one = { sockets: 1, nodesPerSocket: 1, cachesPerNode: 1, coresPerCache: 1, threads: 1 } as const

/** Cores of two threads (0-15) and of one (16-23) behind one cache, as in Intel's Alder Lake. */
function hybrid(): RawTopology {
  const cpu = (id: number, coreId: number, threadSiblings: string): RawCpu => {
    return { id, coreId, socketId: 0, threadSiblings, llcShared: '0-23' }
  }
  const large = Array.from({ length: 16 }, (_, id) => cpu(id, (id >> 1) * 4, `${id & ~1}-${id | 1}`))
  const small = Array.from({ length: 8 }, (_, index) => cpu(16 + index, 32 + index, String(16 + index)))
  return { online: '0-23', cpus: [...large, ...small], nodes: [{ id: 0, cpus: '0-23' }] }
}

/** What many virtual machines and ARM boards show: no package, no cache folders, no NUMA. */
function bareVm(): RawTopology {
  const cpus = [0, 1, 2, 3].map((id) => ({ id, coreId: id, socketId: -1, threadSiblings: '', llcShared: undefined }))
  return { online: '0-3', cpus, nodes: [] }
}

/** A node of memory only (CXL) beside two usual ones. */
function memoryOnlyNode(): RawTopology {
  const raw = rawTopology({ ...one, sockets: 2, coresPerCache: 4, threads: 2 })
  return { ...raw, nodes: [...raw.nodes, { id: 2, cpus: '\n' }] }
}

/** Two sockets of different processors: 4 cores of 2 threads, and 2 cores of 2 with a cache each. */
function unevenSockets(): RawTopology {
  const cpu = (id: number, socketId: number, first: number, llcShared: string): RawCpu => {
    return { id, coreId: first, socketId, threadSiblings: `${first},${first + 6}`, llcShared }
  }
  const cpus = Array.from({ length: 12 }, (_, id) => {
    const first = id % 6
    if (first < 4) return cpu(id, 0, first, '0-3,6-9')
    return cpu(id, 1, first, `${first},${first + 6}`)
  })
  return {
    online: '0-11',
    cpus,
    nodes: [
      { id: 0, cpus: '0-3,6-9' },
      { id: 1, cpus: '4-5,10-11' },
    ],
  }
}

/** Sub-NUMA clustering: one cache over both nodes of a socket. */
function cacheAroundNodes(): RawTopology {
  const raw = rawTopology({ sockets: 2, nodesPerSocket: 2, cachesPerNode: 1, coresPerCache: 3, threads: 2 })
  return { ...raw, cpus: raw.cpus.map((cpu) => ({ ...cpu, llcShared: cpu.socketId === 0 ? '0-5,12-17' : '6-11,18-23' })) }
}

/** A virtual machine that is told of four sockets and two nodes: the nodes are around the sockets. */
function nodeAroundSockets(): RawTopology {
  const raw = rawTopology({ ...one, sockets: 4, coresPerCache: 2, threads: 1 })
  return {
    ...raw,
    nodes: [
      { id: 0, cpus: '0-3' },
      { id: 1, cpus: '4-7' },
    ],
  }
}

/** A read of sysfs that contradicts itself: caches that lie across the sockets and nodes. */
function tornCaches(): RawTopology {
  const raw = rawTopology({ ...one, sockets: 3, coresPerCache: 2, threads: 2 })
  const shared = (id: number): string => (id % 6 < 3 ? '0-2,6-8' : '3-5,9-11')
  return { ...raw, cpus: raw.cpus.map((cpu) => ({ ...cpu, llcShared: shared(cpu.id) })) }
}

export const TOPOLOGIES = {
  /** 1 CPU. */
  single: rawTopology(one),
  /** 2 CPUs, no SMT: this project's build machine. */
  twoCpuVm: rawTopology({ ...one, coresPerCache: 2 }),
  bareVm: bareVm(),
  /** 8 CPUs: 4 cores of 2 threads, siblings n and n + 4. */
  desktop: rawTopology({ ...one, coresPerCache: 4, threads: 2 }),
  /** 24 CPUs. */
  hybrid: hybrid(),
  /** 96 CPUs: 2 sockets of 24 cores, 2 threads, one node and one cache a socket. */
  xeon: rawTopology({ ...one, sockets: 2, coresPerCache: 24, threads: 2 }),
  /** 256 CPUs: 2 sockets, 4 nodes a socket, 2 caches a node, 8 cores a cache, 2 threads. */
  epyc: rawTopology({ sockets: 2, nodesPerSocket: 4, cachesPerNode: 2, coresPerCache: 8, threads: 2 }),
  /** 128 CPUs without SMT on 2 sockets of 2 nodes. */
  arm: rawTopology({ sockets: 2, nodesPerSocket: 2, cachesPerNode: 1, coresPerCache: 32, threads: 1 }),
  /** The desktop with its second threads switched off. */
  smtOff: rawTopology({ ...one, coresPerCache: 4, threads: 2, offline: [4, 5, 6, 7] }),
  /** 16 CPUs less 3 offline, numbered with gaps: core 0 has lost its first thread. */
  ragged: rawTopology({ ...one, sockets: 2, coresPerCache: 4, threads: 2, offline: [0, 9, 17], holes: [3, 4, 12] }),
  memoryOnlyNode: memoryOnlyNode(),
  unevenSockets: unevenSockets(),
  cacheAroundNodes: cacheAroundNodes(),
  nodeAroundSockets: nodeAroundSockets(),
  tornCaches: tornCaches(),
  /** 112 CPUs: 2 sockets of 28 cores, 2 threads. */
  xeon28: rawTopology({ ...one, sockets: 2, coresPerCache: 28, threads: 2 }),
  /** 64 CPUs of SMT-4 on 2 sockets, 2 caches a socket, as in POWER9. */
  power: rawTopology({ ...one, sockets: 2, cachesPerNode: 2, coresPerCache: 4, threads: 4 }),
  /** 64 CPUs: 8 caches of 4 cores on one socket and node. */
  eightCaches: rawTopology({ ...one, cachesPerNode: 8, coresPerCache: 4, threads: 2 }),
  /** 512 CPUs: 2 sockets, 4 nodes a socket, 4 caches a node, 8 cores a cache, 2 threads. */
  turin: rawTopology({ sockets: 2, nodesPerSocket: 4, cachesPerNode: 4, coresPerCache: 8, threads: 2 }),
  /** 1024 CPUs on 8 sockets. */
  largest: rawTopology({ sockets: 8, nodesPerSocket: 2, cachesPerNode: 2, coresPerCache: 16, threads: 2 }),
} as const satisfies Record<string, RawTopology>
