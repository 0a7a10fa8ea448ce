import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { buildTopology, CpuListError, CpuSet, type CpuTopology, type RawTopology } from '../../../src/cpu/index.ts'
import { rawTopology, TOPOLOGIES } from '../../support/topologies.ts'

const texts = (domains: CpuTopology['cores']): string[] => domains.map((domain) => domain.cpus.toString())
const named = Object.entries(TOPOLOGIES)

describe('buildTopology', () => {
  it.each([
    { name: 'single', cpus: 1, cores: 1, caches: 1, nodes: 1, sockets: 1, smt: false },
    { name: 'twoCpuVm', cpus: 2, cores: 2, caches: 1, nodes: 1, sockets: 1, smt: false },
    { name: 'bareVm', cpus: 4, cores: 4, caches: 1, nodes: 1, sockets: 1, smt: false },
    { name: 'desktop', cpus: 8, cores: 4, caches: 1, nodes: 1, sockets: 1, smt: true },
    { name: 'hybrid', cpus: 24, cores: 16, caches: 1, nodes: 1, sockets: 1, smt: true },
    { name: 'xeon', cpus: 96, cores: 48, caches: 2, nodes: 2, sockets: 2, smt: true },
    { name: 'epyc', cpus: 256, cores: 128, caches: 16, nodes: 8, sockets: 2, smt: true },
    { name: 'arm', cpus: 128, cores: 128, caches: 4, nodes: 4, sockets: 2, smt: false },
    { name: 'smtOff', cpus: 4, cores: 4, caches: 1, nodes: 1, sockets: 1, smt: false },
    { name: 'ragged', cpus: 13, cores: 8, caches: 2, nodes: 2, sockets: 2, smt: true },
    { name: 'memoryOnlyNode', cpus: 16, cores: 8, caches: 2, nodes: 2, sockets: 2, smt: true },
    { name: 'unevenSockets', cpus: 12, cores: 6, caches: 3, nodes: 2, sockets: 2, smt: true },
    { name: 'cacheAroundNodes', cpus: 24, cores: 12, caches: 2, nodes: 4, sockets: 2, smt: true },
    { name: 'nodeAroundSockets', cpus: 8, cores: 8, caches: 4, nodes: 2, sockets: 4, smt: false },
    { name: 'tornCaches', cpus: 12, cores: 6, caches: 2, nodes: 3, sockets: 3, smt: true },
    { name: 'xeon28', cpus: 112, cores: 56, caches: 2, nodes: 2, sockets: 2, smt: true },
    { name: 'power', cpus: 64, cores: 16, caches: 4, nodes: 2, sockets: 2, smt: true },
    { name: 'eightCaches', cpus: 64, cores: 32, caches: 8, nodes: 1, sockets: 1, smt: true },
    { name: 'turin', cpus: 512, cores: 256, caches: 32, nodes: 8, sockets: 2, smt: true },
    { name: 'largest', cpus: 1024, cores: 512, caches: 32, nodes: 16, sockets: 8, smt: true },
  ] as const)('counts what there is in $name', ({ name, ...expected }) => {
    const { cpus, cores, caches, nodes, sockets, smt } = buildTopology(TOPOLOGIES[name])
    expect({
      cpus: cpus.length,
      cores: cores.length,
      caches: caches.length,
      nodes: nodes.length,
      sockets: sockets.length,
      smt,
    }).toEqual(expected)
  })

  it('keeps apart cores whose core_id repeats in each socket', () => {
    const topology = buildTopology(TOPOLOGIES.xeon)
    expect(topology.siblingsOf(0).toString()).toBe('0,48')
    expect(topology.siblingsOf(24).toString()).toBe('24,72')
    expect(topology.cpu(72)).toEqual({ id: 72, core: 24, socket: 1, node: 1, cache: 1 })
  })

  it('falls back to core_id, socket and node without sibling lists', () => {
    for (const [, raw] of named) {
      const blind = { ...raw, cpus: raw.cpus.map((cpu) => ({ ...cpu, threadSiblings: '' })) }
      expect(texts(buildTopology(blind).cores)).toEqual(texts(buildTopology(raw).cores))
    }
  })

  it('takes a CPU of which nothing is known for a core of its own', () => {
    const topology = buildTopology({ online: '0-2', cpus: [], nodes: [] })
    expect(texts(topology.cores)).toEqual(['0', '1', '2'])
    expect(texts(topology.caches)).toEqual(['0-2'])
    expect(texts(topology.sockets)).toEqual(['0-2'])
    const noCoreId = { ...TOPOLOGIES.bareVm, cpus: TOPOLOGIES.bareVm.cpus.map((cpu) => ({ ...cpu, coreId: -1 })) }
    expect(texts(buildTopology(noCoreId).cores)).toEqual(['0', '1', '2', '3'])
  })

  it('joins two threads as soon as one of them names the other', () => {
    const cpu = { coreId: 0, socketId: 0, llcShared: undefined }
    const cpus = [
      { ...cpu, id: 0, threadSiblings: '0' },
      { ...cpu, id: 1, threadSiblings: '' },
      { ...cpu, id: 2, threadSiblings: '0-2' },
      { ...cpu, id: 3, threadSiblings: '3' },
    ]
    const topology = buildTopology({ online: '0-3', cpus, nodes: [] })
    expect(texts(topology.cores)).toEqual(['0-2', '3'])
    expect(topology.siblingsOf(0)).toBe(topology.siblingsOf(1))
  })

  it('gives each socket without caches one cache', () => {
    const raw = { ...TOPOLOGIES.xeon, cpus: TOPOLOGIES.xeon.cpus.map((cpu) => ({ ...cpu, llcShared: undefined })) }
    const topology = buildTopology(raw)
    expect(texts(topology.caches)).toEqual(texts(topology.sockets))
  })

  it('gives CPUs of an unknown socket the lowest free number', () => {
    const cpu = { coreId: 0, threadSiblings: '', llcShared: undefined }
    const cpus = [0, 0, 36, -1].map((socketId, id) => ({ ...cpu, id, coreId: id, socketId }))
    expect(buildTopology({ online: '0-3', cpus, nodes: [] }).sockets.map(({ id }) => id)).toEqual([0, 1, 36])
  })

  it('leaves out offline CPUs wherever they are still listed', () => {
    const raw = TOPOLOGIES.desktop
    const topology = buildTopology({ ...raw, online: '0-2,4-5' })
    expect(texts(topology.cores)).toEqual(['0,4', '1,5', '2'])
    expect(texts(topology.nodes)).toEqual(['0-2,4-5'])
    expect(topology.cpu(6)).toBeUndefined()
    expect(topology.siblingsOf(6)).toBe(CpuSet.EMPTY)
  })

  it('numbers by place, so that interleaved CPU numbers do not mix sockets', () => {
    const cpus = [0, 1, 2, 3].map((id) => ({
      id,
      coreId: id >> 1,
      socketId: id & 1,
      threadSiblings: String(id),
      llcShared: id & 1 ? '1,3' : '0,2',
    }))
    const topology = buildTopology({ online: '0-3', cpus, nodes: [] })
    expect(texts(topology.cores)).toEqual(['0', '2', '1', '3'])
    expect(texts(topology.caches)).toEqual(['0,2', '1,3'])
  })

  it('gives a CPU listed in several fake NUMA nodes to the lowest, and one listed in none too', () => {
    const nodes = [
      { id: 5, cpus: '0-1' },
      { id: 3, cpus: '1' },
      { id: 1, cpus: '' },
    ]
    const { nodes: built } = buildTopology({ ...TOPOLOGIES.bareVm, nodes })
    expect(built.map(({ id, cpus }) => `${id}: ${cpus.toString()}`)).toEqual(['3: 1-3', '5: 0'])
  })

  it('has room for a machine with nothing online, and refuses text that is no list', () => {
    expect(buildTopology({ online: '\n', cpus: [], nodes: [] })).toMatchObject({ cpus: [], cores: [], smt: false })
    expect(() => buildTopology({ online: '0-x', cpus: [], nodes: [] })).toThrow(CpuListError)
  })

  it('builds equal topologies from equal parts in any order', () => {
    for (const [, raw] of named) {
      const shuffled = { ...raw, cpus: raw.cpus.toReversed(), nodes: raw.nodes.toReversed() }
      expect(buildTopology(shuffled)).toEqual(buildTopology(raw))
    }
  })
})

const list = fc.array(fc.nat(11), { maxLength: 4 }).map((ids) => CpuSet.from(ids).toString())

/** Nonsense that no kernel shows at once, to prove that the builder's promises do not rest on sane input. */
const anyRaw: fc.Arbitrary<RawTopology> = fc.record({
  online: fc.array(fc.nat(11), { minLength: 1, maxLength: 12 }).map((ids) => CpuSet.from(ids).toString()),
  cpus: fc.array(
    fc.record({
      id: fc.nat(13),
      coreId: fc.integer({ min: -1, max: 4 }),
      socketId: fc.integer({ min: -1, max: 2 }),
      threadSiblings: list,
      llcShared: fc.option(list, { nil: undefined }),
    }),
    { maxLength: 14 },
  ),
  nodes: fc.array(fc.record({ id: fc.nat(4), cpus: list }), { maxLength: 4 }),
})

const shapedRaw: fc.Arbitrary<RawTopology> = fc
  .record({
    sockets: fc.integer({ min: 1, max: 3 }),
    nodesPerSocket: fc.integer({ min: 1, max: 2 }),
    cachesPerNode: fc.integer({ min: 1, max: 2 }),
    coresPerCache: fc.integer({ min: 1, max: 4 }),
    threads: fc.constantFrom(1, 2, 4),
    offline: fc.array(fc.integer({ min: 1, max: 60 }), { maxLength: 8 }),
    holes: fc.array(fc.integer({ min: 1, max: 60 }), { maxLength: 6 }),
  })
  .map(rawTopology)

function expectSound(raw: RawTopology, topology: CpuTopology): void {
  const online = CpuSet.parse(raw.online)
  expect(topology.online).toEqual(online)
  expect(topology.cpus.map(({ id }) => id)).toEqual([...online])
  for (const kind of ['sockets', 'nodes', 'caches', 'cores'] as const) {
    const domains = topology[kind]
    const members = domains.flatMap(({ cpus }) => [...cpus])
    expect(CpuSet.from(members)).toEqual(online)
    expect(members).toHaveLength(online.size)
    expect(domains.every(({ cpus }) => !cpus.isEmpty)).toBe(true)
    expect(domains.map(({ id }) => id)).toEqual([...new Set(domains.map(({ id }) => id))].sort((a, b) => a - b))
  }
  for (const cpu of topology.cpus) {
    expect(topology.cpu(cpu.id)).toBe(cpu)
    expect(topology.siblingsOf(cpu.id).has(cpu.id)).toBe(true)
    for (const sibling of topology.siblingsOf(cpu.id)) expect(topology.siblingsOf(sibling)).toBe(topology.siblingsOf(cpu.id))
    for (const [kind, key] of [
      ['sockets', 'socket'],
      ['nodes', 'node'],
      ['caches', 'cache'],
      ['cores', 'core'],
    ] as const) {
      expect(topology[kind].find(({ id }) => id === cpu[key])?.cpus.has(cpu.id)).toBe(true)
    }
  }
}

describe('any topology', () => {
  it('puts each online CPU, and no other, in exactly one core, cache, node and socket, however odd the input', () => {
    fc.assert(fc.property(fc.oneof(anyRaw, shapedRaw), (raw) => expectSound(raw, buildTopology(raw))))
  })

  it('holds for the named machines', () => {
    for (const [, raw] of named) expectSound(raw, buildTopology(raw))
  })

  it('orders cores by socket, node, cache and lowest CPU', () => {
    fc.assert(
      fc.property(shapedRaw, (raw) => {
        const topology = buildTopology(raw)
        const places = topology.cores.map(({ cpus }) => topology.cpu(cpus.first ?? -1))
        for (const [index, place] of places.entries()) {
          const before = places[index - 1]
          if (before === undefined || place === undefined) continue
          const steps = [place.socket - before.socket, place.node - before.node, place.cache - before.cache, place.id - before.id]
          expect(steps.find((step) => step !== 0)).toBeGreaterThan(0)
        }
      }),
    )
  })
})
