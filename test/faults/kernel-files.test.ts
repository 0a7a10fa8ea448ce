/**
 * The kernel port over files that are read and written in parts: a number that was cut short must not pass for another one, and a value of which
 * only a part was taken must not pass for written.
 */
import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { CpuSet } from '../../src/cpu/index.ts'
import { openKernel } from '../../src/kernel/index.ts'
import type { Dialect, GroupMemory, GroupThrottling, KernelPort, KnobKind, KnobSetting } from '../../src/model/index.ts'
import { quotaOf } from '../../src/model/index.ts'
import { fileFaults } from '../support/faulty-files.ts'
import { planted, PROC, sysfsOf, v1Tree, V1_GROUP, v2Tree, V2_GROUP } from '../support/trees-on-disk.ts'
import { TOPOLOGIES } from '../support/topologies.ts'

vi.mock('node:fs', async (load) => {
  const { faultyFs } = await import('../support/faulty-files.ts')
  return faultyFs(await load())
})

const GROUP = '/kubepods/besteffort'
const DIALECTS = ['v1', 'v2'] as const
/** Bytes that a read takes at the most, to beyond the longest of the planted files. */
const PARTS = [...Array.from({ length: 24 }, (_, bytes) => bytes + 1), 33, 57, 90, 140]

afterEach(() => fileFaults())

interface Bed {
  readonly root: string
  readonly open: () => KernelPort
}

function bed(dialect: Dialect): Bed {
  const v1 = { ...V1_GROUP, cpu: { ...V1_GROUP.cpu, 'cpu.stat': 'nr_periods 71\nnr_throttled 32\nthrottled_time 0\n' } }
  const v2 = { ...V2_GROUP, 'cpu.max': '35000 100000\n', 'cpuset.cpus': '0-1\n', 'memory.high': '123456789\n' }
  const cgroup = dialect === 'v1' ? v1Tree(GROUP, v1) : v2Tree(GROUP, v2)
  const root = planted({ cgroup, proc: PROC, sys: sysfsOf(TOPOLOGIES.twoCpuVm) })
  const settings = { cgroupPath: join(root, 'cgroup'), procPath: join(root, 'proc'), sysPath: join(root, 'sys') }
  return { root, open: () => openKernel({ ...settings, cgroupRoot: '/', driver: 'auto' }).kernel }
}

const KNOBS: readonly KnobKind[] = [
  'quota',
  'weight',
  'idle',
  'burst',
  'cpuset',
  'memoryMax',
  'memoryHigh',
  'memorySoft',
  'freeze',
  'ioWeight',
]
const UNKNOWN = 'unknown'

function memoryOf(kernel: KernelPort): GroupMemory | string {
  const into = { usageBytes: -1, inactiveFileBytes: -1 }
  if (kernel.readGroupMemory(GROUP, into)) return into
  // What can't be read leaves what was there.
  expect(into).toEqual({ usageBytes: -1, inactiveFileBytes: -1 })
  return UNKNOWN
}

function throttlingOf(kernel: KernelPort): GroupThrottling | string {
  const into = { periods: -1, throttledPeriods: -1 }
  if (kernel.readThrottling(GROUP, into)) return into
  expect(into).toEqual({ periods: -1, throttledPeriods: -1 })
  return UNKNOWN
}

/** Every reading of the port that is made of held files, in the words of a comparison. */
const READINGS: Readonly<Record<string, (kernel: KernelPort) => unknown>> = {
  nodeCpu: (kernel) => kernel.readNodeCpuUs() ?? UNKNOWN,
  nodeMemory: (kernel) => kernel.readNodeMemory() ?? UNKNOWN,
  nodePressure: (kernel) => kernel.readNodePressureUs('cpu') ?? UNKNOWN,
  groupPressure: (kernel) => kernel.readGroupPressureUs(GROUP, 'cpu') ?? UNKNOWN,
  runnable: (kernel) => kernel.readRunnable() ?? UNKNOWN,
  cpuUsage: (kernel) => kernel.readCpuUsageUs(GROUP) ?? UNKNOWN,
  throttling: throttlingOf,
  throttledUs: (kernel) => kernel.readThrottledUs(GROUP) ?? UNKNOWN,
  tasks: (kernel) => kernel.readTasks(GROUP) ?? UNKNOWN,
  memory: memoryOf,
  ...Object.fromEntries(
    KNOBS.map((kind) => [
      kind,
      (kernel: KernelPort) => {
        const value = kernel.readKnob(GROUP, kind)
        return value instanceof CpuSet ? value.toString() : (value ?? (value === null ? null : UNKNOWN))
      },
    ]),
  ),
}

/** Readings of files of more than one line: a cut between two lines can't be told from a file that has no more. */
const MANY_LINES: ReadonlySet<string> = new Set(['nodeMemory', 'throttling', 'memory', 'cpuUsage', 'nodeCpu', 'throttledUs'])

describe.each(DIALECTS)('a kernel file that is read in parts, under %s,', (dialect) => {
  const here = Object.entries(READINGS).filter(([name]) => name !== (dialect === 'v1' ? 'memoryHigh' : 'memorySoft'))

  it.each(here)('%s is what it is or not known, wherever the parts end, and never another value', (name, read) => {
    const { open } = bed(dialect)
    const truth = read(open())
    if (name !== 'groupPressure' || dialect === 'v2') expect([name, truth]).not.toEqual([name, UNKNOWN])
    const kernel = open()
    const seen = new Set<string>()
    for (const most of PARTS) {
      fileFaults((operation) => (operation === 'readSync' ? most : undefined))
      // Once with what is held, and once as on the first look.
      for (const each of [kernel, undefined]) {
        const value = read(each ?? open())
        seen.add(JSON.stringify(value))
        if (value !== UNKNOWN || !MANY_LINES.has(name)) expect([most, value]).toEqual([most, truth])
      }
    }
    expect(seen).toContain(JSON.stringify(truth))
  })
})

describe.each(DIALECTS)('a kernel file that takes a part of a write, under %s,', (dialect) => {
  it.each<[KnobSetting, string, string]>([
    [{ kind: 'quota', value: quotaOf(2500) }, 'cpu/cpu.cfs_quota_us', 'cpu.max'],
    [{ kind: 'weight', value: 512 }, 'cpu/cpu.shares', 'cpu.weight'],
    [{ kind: 'cpuset', value: CpuSet.parse('0-1') }, 'cpuset/cpuset.cpus', 'cpuset.cpus'],
    [{ kind: 'memoryMax', value: 8_388_608 }, 'memory/memory.limit_in_bytes', 'memory.max'],
  ])('$kind is failed, and not gone on with: the rest would be a value of its own', (setting, v1, v2) => {
    const { root, open } = bed(dialect)
    const kernel = open()
    const [controller = '', file = ''] = dialect === 'v1' ? v1.split('/') : ['', v2]
    const path = join(root, 'cgroup', controller, GROUP, file)
    let writes = 0
    fileFaults((operation, name) => {
      if (operation !== 'writeSync' || name !== path) return undefined
      writes += 1
      return 2
    })
    expect(kernel.writeKnob(GROUP, setting)).toEqual({ is: 'failed', errno: 'EIO' })
    expect(writes).toBe(1)
    fileFaults()
    expect(statSync(path).isFile()).toBe(true)
    expect(kernel.writeKnob(GROUP, setting)).toEqual({ is: 'applied' })
    expect(readFileSync(path, 'utf8').length).toBeGreaterThan(2)
  })
})

describe.each(DIALECTS)('a group that is looked for, under %s,', (dialect) => {
  it.each([
    ['ENOENT', false],
    ['ENODEV', false],
    ['ENOTDIR', false],
    ['EACCES', true],
    ['EPERM', true],
    ['EMFILE', true],
    ['ENFILE', true],
    ['ENOMEM', true],
    ['EINTR', true],
    ['EIO', true],
    ['ESTALE', true],
  ])('is gone only when the kernel says so: %s means that it may be there: %s', (errno, mayBeThere) => {
    const kernel = bed(dialect).open()
    fileFaults((operation) => (operation === 'accessSync' ? errno : undefined))
    expect(kernel.exists(GROUP)).toBe(mayBeThere)
    fileFaults()
    expect(kernel.exists(GROUP)).toBe(true)
    expect(kernel.exists(`${GROUP}/gone`)).toBe(false)
  })
})
