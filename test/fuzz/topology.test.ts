/** Any texts in any of the files of sysfs: a topology in which each online CPU has one place, or the one error that says what is wrong. */
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as fc from 'fast-check'
import { beforeAll, describe, expect, it } from 'vitest'
import { type CpuTopology, CpuSet } from '../../src/cpu/index.ts'
import { readPossible, readTopology } from '../../src/kernel/sysfs-topology.ts'
import { AgentError } from '../../src/model/index.ts'
import { plant, type Tree } from '../support/trees-on-disk.ts'
import { announce, expectAmounts, fuzz, spoilt, texts, scratchDirectory } from './support.ts'

announce('topology')

const root = scratchDirectory()
const good = join(root, 'good')
const sys = join(root, 'sys')

function cpu(id: number): Tree {
  return {
    topology: { core_id: `${id}\n`, physical_package_id: '0\n', thread_siblings_list: '0-1\n' },
    cache: { index3: { level: '3\n', type: 'Unified\n', shared_cpu_list: '0-1\n' } },
  }
}

const SYSFS: Tree = {
  devices: {
    system: {
      cpu: { online: '0-1\n', possible: '0-3\n', cpu0: cpu(0), cpu1: cpu(1) },
      node: { node0: { cpulist: '0-1\n' }, node1: { cpulist: '\n' } },
    },
  },
}

let files: readonly string[] = []

function filesBelow(directory: string): string[] {
  return readdirSync(directory).flatMap((name) => {
    const path = join(directory, name)
    return statSync(path).isDirectory() ? filesBelow(path) : [path]
  })
}

beforeAll(() => {
  plant(good, SYSFS)
  cpSync(good, sys, { recursive: true })
  files = filesBelow(good).map((path) => path.slice(good.length + 1))
})

function check(topology: CpuTopology): void {
  const { online, cpus, sockets, nodes, caches, cores } = topology
  expectAmounts(cpus)
  if (online.isEmpty || cpus.length !== online.size) throw new Error(`${cpus.length} places for ${online.size} CPUs`)
  for (const domains of [sockets, nodes, caches, cores]) {
    const members = domains.reduce((all, { cpus: some }) => all.union(some), CpuSet.EMPTY)
    const count = domains.reduce((sum, { cpus: some }) => sum + some.size, 0)
    if (!members.equals(online) || count !== online.size) throw new Error('a CPU has no place, or two')
    for (const { id } of domains) if (!Number.isSafeInteger(id) || id < 0) throw new Error(`a domain numbered ${id}`)
  }
}

/** Files, and what they hold instead; undefined makes a directory of the name. */
const changes = fc.array(
  fc.tuple(
    fc.nat(100),
    fc.option(texts('0-1\n', '0\n', '-1\n', '3\n', 'Unified\n', '0-63\n', '0,2-5\n'), { nil: undefined, freq: 20 }),
  ),
  { maxLength: 4 },
)

describe('sysfs', () => {
  fuzz('is a topology, or an error that names the place', changes, (changed) => {
    const touched: string[] = []
    try {
      for (const [index, text] of changed) {
        const path = join(sys, files[index % files.length] ?? '')
        touched.push(path)
        rmSync(path, { recursive: true, force: true })
        if (text === undefined) mkdirSync(path)
        else writeFileSync(path, text)
      }
      readPossible(sys)
      check(readTopology(sys))
      return 'taken'
    } catch (thrown) {
      if (!(thrown instanceof AgentError)) throw thrown
      expect(thrown.code).toBe('E_TOPOLOGY')
      expect(thrown.message).toContain(sys)
      return 'refused'
    } finally {
      for (const path of touched) {
        rmSync(path, { recursive: true, force: true })
        writeFileSync(path, readFileSync(join(good, path.slice(sys.length + 1))))
      }
    }
  })

  it('with the most CPUs that there can be is read, though nothing is known of them but their numbers', () => {
    const online = join(sys, 'devices/system/cpu/online')
    writeFileSync(online, '0-8191\n')
    check(readTopology(sys))
    writeFileSync(online, '0-1\n')
  })

  fuzz(
    'has nodes and caches of any name',
    fc.tuple(spoilt('node0', 'node1', 'node12'), spoilt('index0', 'index3')),
    ([node, index]) => {
      const isName = (name: string): boolean => name !== '' && !/[/\0]|^\.\.?$/.test(name) && Buffer.byteLength(name) < 255
      const added = [
        ...(isName(node) ? [join(sys, 'devices/system/node', node)] : []),
        ...(isName(index) ? [join(sys, 'devices/system/cpu/cpu0/cache', index)] : []),
      ].filter((path) => !statSync(path, { throwIfNoEntry: false })?.isDirectory())
      try {
        for (const path of added) {
          mkdirSync(path)
          for (const [name, text] of [
            ['cpulist', '0\n'],
            ['level', '9\n'],
            ['type', 'Unified\n'],
            ['shared_cpu_list', '0\n'],
          ] as const)
            writeFileSync(join(path, name), text)
        }
        check(readTopology(sys))
        return added.length > 0 ? 'taken' : 'refused'
      } finally {
        for (const path of added) rmSync(path, { recursive: true, force: true })
      }
    },
  )
})
