/**
 * Any bytes in any file that the kernel room reads, through the real readers over planted trees: an amount that is finite and not negative,
 * or nothing. The files are held open and written in place, as the kernel changes them under a held descriptor.
 */
import { closeSync, ftruncateSync, openSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import * as fc from 'fast-check'
import { afterAll, beforeAll, describe, expect } from 'vitest'
import { CpuSet } from '../../src/cpu/index.ts'
import { processesBelow } from '../../src/kernel/processes.ts'
import type { LinuxKernel } from '../../src/kernel/linux-kernel.ts'
import { openKernel } from '../../src/kernel/index.ts'
import { isQuota, IoLimits, type KnobKind, type KnobValue } from '../../src/model/index.ts'
import { TOPOLOGIES } from '../support/topologies.ts'
import { plant, PROC, sysfsOf, V1_COMMON, V1_GROUP, v1Tree, V2_GROUP, v2Tree } from '../support/trees-on-disk.ts'
import { announce, byteStrings, expectAmount, expectAmounts, fuzz, type Verdict, scratchDirectory } from './support.ts'

announce('kernel-files')

const GROUP = '/kubepods/besteffort'
const root = scratchDirectory()
const kernels: Partial<Record<'v1' | 'v2', LinuxKernel>> = {}
const descriptors = new Map<string, number>()

beforeAll(() => {
  for (const dialect of ['v1', 'v2'] as const) {
    const v1 = { ...V1_GROUP, cpu: { ...V1_GROUP.cpu, ...V1_COMMON } }
    const cgroup = dialect === 'v1' ? v1Tree(GROUP, v1) : v2Tree(GROUP, { ...V2_GROUP, 'cgroup.procs': '' })
    const sys = { ...sysfsOf(TOPOLOGIES.twoCpuVm), class: { block: { sda: { dev: '8:0\n' } } } }
    plant(join(root, dialect), { cgroup, proc: { ...PROC, self: { cgroup: '' } }, sys })
    const at = (name: string): string => join(root, dialect, name)
    const settings = {
      cgroupPath: at('cgroup'),
      procPath: at('proc'),
      sysPath: at('sys'),
      cgroupRoot: '/',
      driver: 'auto',
    } as const
    kernels[dialect] = openKernel(settings).kernel
  }
})

afterAll(() => {
  for (const fd of descriptors.values()) closeSync(fd)
})

function kernel(dialect: 'v1' | 'v2'): LinuxKernel {
  const opened = kernels[dialect]
  if (opened === undefined) throw new Error('not planted')
  return opened
}

/** Changes what a file of a tree holds, in place. */
function fill(path: string, bytes: Uint8Array): void {
  let fd = descriptors.get(path)
  if (fd === undefined) {
    fd = openSync(join(root, path), 'r+')
    descriptors.set(path, fd)
  }
  writeSync(fd, bytes, 0, bytes.length, 0)
  ftruncateSync(fd, bytes.length)
}

const bytesOf = (...samples: readonly string[]): fc.Arbitrary<Buffer> =>
  byteStrings(...samples.map((sample) => Buffer.from(sample, 'latin1')))

function verdictOn(amount: number | undefined, what: string): Verdict {
  expectAmount(amount, what)
  return amount === undefined ? 'refused' : 'taken'
}

/** A file, what stands in it, and what is read of it. */
interface Case {
  readonly path: string
  readonly samples: readonly string[]
  readonly read: () => number | undefined
}

const PRESSURE = 'some avg10=0.48 avg60=4.29 avg300=13.78 total=362508921\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n'

const AMOUNTS: Readonly<Record<string, Case>> = {
  'proc/stat': { path: 'v2/proc/stat', samples: [PROC['stat'] as string], read: () => kernel('v2').readNodeCpuUs() },
  'proc/loadavg': { path: 'v2/proc/loadavg', samples: ['0.20 0.18 0.12 3/345 6789\n'], read: () => kernel('v2').readRunnable() },
  'proc/pressure/cpu': { path: 'v2/proc/pressure/cpu', samples: [PRESSURE], read: () => kernel('v2').readNodePressureUs('cpu') },
  'cpu.pressure': {
    path: `v2/cgroup${GROUP}/cpu.pressure`,
    samples: [PRESSURE],
    read: () => kernel('v2').readGroupPressureUs(GROUP, 'cpu'),
  },
  'io.pressure': {
    path: `v2/cgroup${GROUP}/io.pressure`,
    samples: [PRESSURE],
    read: () => kernel('v2').readGroupPressureUs(GROUP, 'io'),
  },
  'cpuacct.usage': {
    path: `v1/cgroup/cpuacct${GROUP}/cpuacct.usage`,
    samples: ['123456789\n', '0\n', '18446744073709551615\n'],
    read: () => kernel('v1').readCpuUsageUs(GROUP),
  },
  'cpu.stat, throttled time, v1': {
    path: `v1/cgroup/cpu${GROUP}/cpu.stat`,
    samples: [V1_GROUP.cpu['cpu.stat'], 'nr_throttled 3\nthrottled_time 18446744073709551615\n'],
    read: () => kernel('v1').readThrottledUs(GROUP),
  },
  'cpu.stat, throttled time, v2': {
    path: `v2/cgroup${GROUP}/cpu.stat`,
    samples: [V2_GROUP['cpu.stat'] as string],
    read: () => kernel('v2').readThrottledUs(GROUP),
  },
  'pids.current': {
    path: `v1/cgroup/pids${GROUP}/pids.current`,
    samples: ['17\n', '0\n', 'max\n'],
    read: () => kernel('v1').readTasks(GROUP),
  },
  'cpu.stat, usage': {
    path: `v2/cgroup${GROUP}/cpu.stat`,
    samples: [V2_GROUP['cpu.stat'] as string],
    read: () => kernel('v2').readCpuUsageUs(GROUP),
  },
}

describe('a reading is an amount or nothing:', () => {
  for (const [name, { path, samples, read }] of Object.entries(AMOUNTS)) {
    fuzz(name, bytesOf(...samples), (bytes) => {
      fill(path, bytes)
      return verdictOn(read(), name)
    })
  }

  fuzz('proc/meminfo', bytesOf(PROC['meminfo'] as string), (bytes) => {
    fill('v2/proc/meminfo', bytes)
    const memory = kernel('v2').readNodeMemory()
    expectAmounts(memory)
    return memory === undefined ? 'refused' : 'taken'
  })

  for (const dialect of ['v1', 'v2'] as const) {
    const path = dialect === 'v1' ? `v1/cgroup/cpu${GROUP}/cpu.stat` : `v2/cgroup${GROUP}/cpu.stat`
    const sample = dialect === 'v1' ? V1_GROUP.cpu['cpu.stat'] : (V2_GROUP['cpu.stat'] as string)
    fuzz(`cpu.stat, throttling, ${dialect}`, bytesOf(sample, 'nr_periods 7\nnr_throttled 3\n'), (bytes) => {
      fill(path, bytes)
      const into = { periods: -1, throttledPeriods: -1 }
      const isRead = kernel(dialect).readThrottling(GROUP, into)
      if (isRead) expectAmounts(into)
      // A file that is there is always an answer, if only of zero.
      return into.periods > 0 ? 'taken' : 'refused'
    })

    const folder = dialect === 'v1' ? `v1/cgroup/memory${GROUP}` : `v2/cgroup${GROUP}`
    const current = dialect === 'v1' ? 'memory.usage_in_bytes' : 'memory.current'
    const samples = ['anon 0\ninactive_anon 9\ninactive_file 8192\n', 'cache 0\ninactive_file 1\ntotal_inactive_file 4096\n']
    fuzz(`memory.stat and ${current}`, fc.tuple(bytesOf('2097152\n'), bytesOf(...samples)), ([usage, stat]) => {
      fill(`${folder}/${current}`, usage)
      fill(`${folder}/memory.stat`, stat)
      const into = { usageBytes: -1, inactiveFileBytes: -1 }
      const isRead = kernel(dialect).readGroupMemory(GROUP, into)
      if (isRead) expectAmounts(into)
      return isRead && into.inactiveFileBytes > 0 ? 'taken' : 'refused'
    })
  }
})

function checkKnob(kind: KnobKind, value: KnobValue): void {
  if (isQuota(value)) {
    expectAmounts(value)
    if (value.periodUs <= 0) throw new Error(`a period of ${value.periodUs}`)
  } else if (value instanceof IoLimits) for (const limits of value.devices.values()) expectAmounts(limits)
  else if (!(value instanceof CpuSet)) expectAmount(value ?? undefined, kind)
}

describe('a knob is a value in range or nothing:', () => {
  fuzz(
    'cpu.cfs_quota_us with its period',
    fc.tuple(bytesOf('-1\n', '50000\n'), bytesOf('100000\n', '0\n')),
    ([quota, period]) => {
      fill(`v1/cgroup/cpu${GROUP}/cpu.cfs_quota_us`, quota)
      fill(`v1/cgroup/cpu${GROUP}/cpu.cfs_period_us`, period)
      const value = kernel('v1').readKnob(GROUP, 'quota')
      if (value !== undefined) checkKnob('quota', value)
      return value === undefined ? 'refused' : 'taken'
    },
  )

  const throttle = bytesOf('8:0 1048576\n259:0 7\n', '8:0 120\n', '')
  fuzz('blkio.throttle.*', fc.tuple(throttle, throttle), ([reads, writes]) => {
    fill(`v1/cgroup/blkio${GROUP}/blkio.throttle.read_bps_device`, reads)
    fill(`v1/cgroup/blkio${GROUP}/blkio.throttle.write_iops_device`, writes)
    const value = kernel('v1').readKnob(GROUP, 'ioMax')
    if (value !== undefined) checkKnob('ioMax', value)
    return value === undefined ? 'refused' : 'taken'
  })

  const FILES = {
    quota: ['cpu.max', '50000 100000\n'],
    ioMax: ['io.max', '8:0 rbps=5 wbps=max riops=max wiops=max\n'],
    memoryHigh: ['memory.high', 'max\n'],
    cpuset: ['cpuset.cpus', '0-1\n'],
    ioWeight: ['io.weight', 'default 100\n8:0 50\n'],
  } as const satisfies Partial<Record<KnobKind, readonly [string, string]>>
  for (const [kind, [name, sample]] of Object.entries(FILES) as [KnobKind, readonly [string, string]][]) {
    fuzz(name, bytesOf(sample), (bytes) => {
      fill(`v2/cgroup${GROUP}/${name}`, bytes)
      const value = kernel('v2').readKnob(GROUP, kind)
      if (value !== undefined) checkKnob(kind, value)
      return value === undefined ? 'refused' : 'taken'
    })
  }
})

describe('what is looked up', () => {
  const lines = '11:cpuset:/a\n4:cpu,cpuacct:/kubepods/besteffort\n0::/kubepods/besteffort\n'
  for (const dialect of ['v1', 'v2'] as const) {
    fuzz(
      `proc/self/cgroup, ${dialect}: groups of the tree, or none`,
      bytesOf(lines, '0::/../../x\n', '0::/\n', '1:cpu:/..\n'),
      (bytes) => {
        fill(`${dialect}/proc/self/cgroup`, bytes)
        const groups = kernel(dialect).findOwnGroups()
        for (const group of groups)
          if (!`${GROUP}/`.startsWith(`${group}/`)) throw new Error(`a group that is not there: ${group}`)
        return groups.length > 0 ? 'taken' : 'refused'
      },
    )
  }

  fuzz('sys/class/block/*/dev: a device number or nothing', bytesOf('8:0\n', '259:3\n'), (bytes) => {
    fill('v2/sys/class/block/sda/dev', bytes)
    const device = kernel('v2').findDevice('sda')
    if (device !== undefined) expect(device).toMatch(/^\d{1,4}:\d{1,7}$/)
    return device === undefined ? 'refused' : 'taken'
  })

  fuzz(
    'devices by name: never a path outside of sysfs',
    byteStrings(Buffer.from('sda'), Buffer.from('8:0'), Buffer.from('cciss!c0d0')),
    (bytes) => {
      fill('v2/sys/class/block/sda/dev', Buffer.from('8:0\n'))
      const name = bytes.toString('utf8')
      const device = kernel('v2').findDevice(name)
      if (device !== undefined && name !== 'sda') throw new Error(`found by the name ${JSON.stringify(name)}`)
      return device === undefined ? 'refused' : 'taken'
    },
  )

  fuzz('cgroup.procs: numbers of processes only', bytesOf('1\n22\n333\n', '0\n', ''), (bytes) => {
    fill(`v2/cgroup${GROUP}/cgroup.procs`, bytes)
    const pids = processesBelow(join(root, 'v2/cgroup', GROUP))
    for (const pid of pids) if (!Number.isInteger(pid) || pid < 0 || pid > 2 ** 31 - 1) throw new Error(`a PID of ${pid}`)
    return pids.length > 0 ? 'taken' : 'refused'
  })
})
