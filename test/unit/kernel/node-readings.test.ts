/**
 * Node readings from procfs and sysfs, on planted files: the exact numbers for what kernels print, nothing for what is cut off or odd, and
 * the topology of every machine that the CPU tests know, as sysfs shows it. Plus the bound on held descriptors.
 */
import { mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { buildTopology } from '../../../src/cpu/index.ts'
import { FileSlots, HeldFiles } from '../../../src/kernel/held-files.ts'
import { LinuxKernel } from '../../../src/kernel/linux-kernel.ts'
import { detectMounts } from '../../../src/kernel/mounts.ts'
import { NodeReader } from '../../../src/kernel/node-readings.ts'
import { probeCapabilities } from '../../../src/kernel/probe.ts'
import { readTopology } from '../../../src/kernel/sysfs-topology.ts'
import { AgentError } from '../../../src/model/index.ts'
import { TOPOLOGIES } from '../../support/topologies.ts'
import { planted, PROC, sysfsOf, type Tree, v1Tree } from '../../support/trees-on-disk.ts'

function reader(proc: Tree, sys: Tree = {}): NodeReader {
  const root = planted({ proc, sys })
  return new NodeReader(new HeldFiles(100), { proc: join(root, 'proc'), sys: join(root, 'sys') })
}

describe('/proc/stat', () => {
  it('counts user, nice, system, irq and softirq, and neither idle, iowait, steal nor guest', () => {
    expect(reader(PROC).busyUs()).toBe((100 + 20 + 30 + 6 + 7) * 10_000)
    expect(reader({ stat: 'cpu  1 2 4 8 16 32 64 128 256 512\n' }).busyUs()).toBe((1 + 2 + 4 + 32 + 64) * 10_000)
  })

  it.each(['', 'cpu', 'cpu ', 'cpu  1 2 3', 'cpu0 1 2 3 4 5 6 7\n', 'intr 1 2 3 4 5 6 7\n', 'cpu  1 2 x 4 5 6 7\n'])(
    'says nothing for %j',
    (stat) => {
      expect(reader({ stat }).busyUs()).toBeUndefined()
    },
  )
})

describe('/proc/meminfo', () => {
  it('is in bytes', () => {
    expect(reader(PROC).memory()).toEqual({ totalBytes: 16_384 * 1024, availableBytes: 8192 * 1024 })
  })

  it.each([
    '',
    'MemTotal: 5 kB\n',
    'MemTotal: 5 kB\nMemAvail',
    'MemTotal: 5 kB\nMemAvailable:',
    'XMemTotal: 5 kB\nMemAvailable: 1 kB\n',
  ])('says nothing for %j', (meminfo) => {
    expect(reader({ meminfo }).memory()).toBeUndefined()
  })
})

describe('/proc/pressure', () => {
  it('is the total of the line some, in µs', () => {
    expect(reader(PROC).pressureUs('cpu')).toBe(362_508_921)
    expect(reader(PROC).pressureUs('memory')).toBe(18_602_828)
    expect(reader(PROC).pressureUs('io')).toBeUndefined()
  })

  it.each(['', 'some avg10=0.00', 'some avg10=0.00 total=', 'some avg10=0.00 total=x\n'])('says nothing for %j', (cpu) => {
    const node = reader({ ...PROC, pressure: { memory: 'some avg10=0 total=999999999999\n', cpu } })
    // The buffer is shared: what a longer file left there must not be taken for this one's.
    expect(node.pressureUs('memory')).toBe(999_999_999_999)
    expect(node.pressureUs('cpu')).toBeUndefined()
  })
})

describe('/proc/loadavg', () => {
  it('is the number of tasks that are ready to run', () => {
    expect(reader(PROC).runnable()).toBe(3)
    expect(reader({ loadavg: '120.20 180.18 99.12 1024/34500 4194304\n' }).runnable()).toBe(1024)
  })

  it.each(['', '0.20 0.18 0.12', '0.20 0.18 0.12 /345 1\n', '3/345', 'a b c -1/2 3\n', '0.1 0.1 0.1 x/2 1\n'])(
    'says nothing for %j',
    (loadavg) => {
      expect(reader({ loadavg }).runnable()).toBeUndefined()
    },
  )
})

describe('any text', () => {
  it('never throws, and never gives a number that is not finite', () => {
    const root = planted({ proc: { ...PROC, pressure: {} } })
    const text = fc.oneof(fc.string(), fc.string({ unit: fc.constantFrom(...Array.from('cpu 0123456789\nMemTotal:=some')) }))
    fc.assert(
      fc.property(text, (read) => {
        for (const file of ['stat', 'meminfo', 'loadavg', 'pressure/cpu']) writeFileSync(join(root, 'proc', file), read)
        const node = new NodeReader(new HeldFiles(0), { proc: join(root, 'proc'), sys: root })
        for (const value of [node.busyUs(), node.memory()?.totalBytes, node.runnable(), node.pressureUs('cpu')])
          expect(value === undefined || Number.isFinite(value)).toBe(true)
      }),
      { numRuns: 200 },
    )
  })
})

describe('topology', () => {
  it.each(Object.keys(TOPOLOGIES) as (keyof typeof TOPOLOGIES)[])('%s is read from sysfs as it was', (name) => {
    const raw = TOPOLOGIES[name]
    const read = readTopology(planted(sysfsOf(raw)))
    const expected = buildTopology(raw)
    expect(read.cpus).toEqual(expected.cpus)
    expect(read.online.equals(expected.online)).toBe(true)
    expect(read.smt).toBe(expected.smt)
    expect(read.nodes.map((node) => node.id)).toEqual(expected.nodes.map((node) => node.id))
  })

  it.each([['\n'], [''], ['0-'], ['garbage\n'], ['9999999']])('answers E_TOPOLOGY for %j online', (online) => {
    const sys = planted({ devices: { system: { cpu: { online } } } })
    expect(() => readTopology(sys)).toThrow(AgentError)
    expect(() => readTopology(sys)).toThrow(expect.objectContaining({ code: 'E_TOPOLOGY' }))
  })

  it('answers E_TOPOLOGY where there is no sysfs, and where a list in it is garbled', () => {
    expect(() => readTopology(planted())).toThrow(expect.objectContaining({ code: 'E_TOPOLOGY' }))
    const cpu0 = { topology: { thread_siblings_list: 'x', core_id: 'y', physical_package_id: '' } }
    expect(() => readTopology(planted({ devices: { system: { cpu: { online: '0', cpu0 } } } }))).toThrow(
      expect.objectContaining({ code: 'E_TOPOLOGY' }),
    )
  })

  it('is one core and one cache for each CPU where sysfs has nothing more to say', () => {
    const { cores, caches, online } = readTopology(planted({ devices: { system: { cpu: { online: '0-2\n' } } } }))
    expect([cores.length, caches.length, online.size]).toEqual([3, 1, 3])
  })
})

describe('held descriptors', () => {
  const openNow = (): number => readdirSync('/proc/self/fd').length

  function kernel(maxHeldFiles: number): { readonly kernel: LinuxKernel; readonly cgroup: string; readonly group: string } {
    const root = planted({ cgroup: v1Tree('/pods/pod1'), proc: PROC, sys: sysfsOf(TOPOLOGIES.twoCpuVm) })
    const cgroup = join(root, 'cgroup')
    const mounts = detectMounts(cgroup)
    const capabilities = probeCapabilities(mounts, 'cgroupfs', { group: '/pods/pod1', procPath: '/proc' })
    const paths = { proc: join(root, 'proc'), sys: join(root, 'sys') }
    return {
      kernel: new LinuxKernel({ mounts, capabilities, paths, maxHeldFiles, offlineRoot: '/pods' }),
      cgroup,
      group: '/pods/pod1',
    }
  }

  it.each([0, 1, 3, 100])('still reads everything with room for %d, and holds no more', (maxHeldFiles) => {
    const { kernel: port, group, cgroup } = kernel(maxHeldFiles)
    const before = openNow()
    for (let round = 0; round < 3; round += 1) {
      writeFileSync(join(cgroup, 'cpu', group, 'cpu.shares'), `${round + 2}\n`)
      expect(port.readKnob(group, 'weight')).toBe(round + 2)
      expect(port.readKnob(group, 'quota')).toEqual({ quotaUs: null, periodUs: 100_000 })
      expect(port.readCpuUsageUs(group)).toBe(123_456.789)
      expect(port.readNodeCpuUs()).toBe(123_456.789)
      expect(port.readNodeMemory()?.totalBytes).toBe(16_384 * 1024)
      expect(openNow() - before).toBeLessThanOrEqual(maxHeldFiles)
    }
    port.forget(group)
    port.forget('/')
  })

  it('lets go of a group and of all below it, and of nothing beside it', () => {
    const files = kernel(100)
    const before = openNow()
    files.kernel.readKnob('/pods/pod1', 'weight')
    files.kernel.readKnob('/pods/pod1', 'quota')
    files.kernel.readKnob('/pods', 'weight')
    const held = openNow() - before
    files.kernel.forget('/pods/pod')
    expect(openNow() - before).toBe(held)
    files.kernel.forget('/pods/pod1')
    expect(openNow()).toBeLessThan(before + held)
    files.kernel.forget('/pods')
    expect(openNow()).toBe(before)
  })

  it('counts what it holds down again when files go', () => {
    const root = planted({ a: '1\n', b: '2\n' })
    const files = new HeldFiles(1)
    const [a, b] = ['a', 'b'].map((name) => new FileSlots(1, () => join(root, name)))
    if (a === undefined || b === undefined) throw new Error('no slots')
    expect([files.read(a, 0), files.held, a.holdsNothing]).toEqual([2, 1, false])
    expect([files.read(b, 0), files.held, b.holdsNothing]).toEqual([2, 1, true])
    files.release(a)
    expect([files.held, a.holdsNothing]).toEqual([0, true])
    expect([files.read(b, 0), files.held]).toEqual([2, 1])
    files.release(b)
    files.release(b)
    expect(files.held).toBe(0)
  })

  it('answers −1 for a slot without a path, a missing file and a directory, and holds nothing for them', () => {
    const root = planted({ directory: {} })
    const files = new HeldFiles(10)
    const paths = [undefined, join(root, 'missing'), join(root, 'directory')]
    const slots = new FileSlots(paths.length, (slot) => paths[slot])
    expect([0, 1, 2, 3].map((slot) => files.read(slots, slot))).toEqual([-1, -1, -1, -1])
    expect(files.held).toBe(0)
    expect(slots.holdsNothing).toBe(true)
  })

  it('decodes a knob anew when its text has changed, and sees a changed v1 period within some reads', () => {
    const { kernel: port, group, cgroup } = kernel(100)
    const path = join(cgroup, 'cpu', group, 'cpu.cfs_quota_us')
    writeFileSync(path, '5000\n')
    expect(port.readKnob(group, 'quota')).toEqual({ quotaUs: 5000, periodUs: 100_000 })
    writeFileSync(path, '6000\n')
    expect(port.readKnob(group, 'quota')).toEqual({ quotaUs: 6000, periodUs: 100_000 })
    writeFileSync(join(cgroup, 'cpu', group, 'cpu.cfs_period_us'), '50000\n')
    const reads = Array.from({ length: 20 }, () => port.readKnob(group, 'quota'))
    expect(reads.at(-1)).toEqual({ quotaUs: 6000, periodUs: 50_000 })
    port.forget('/pods')
  })

  it('writes the text of the dialect, and answers for a knob or a group that is not there', () => {
    const { kernel: port, group, cgroup } = kernel(100)
    expect(port.writeKnob(group, { kind: 'weight', value: 700 })).toEqual({ is: 'applied' })
    // A regular file keeps what is behind the text, `1024\n`; a kernel file does not.
    expect(port.readKnob(group, 'weight')).toBe(7004)
    expect(port.writeKnob(group, { kind: 'memoryHigh', value: 1 })).toEqual({ is: 'vanished', errno: 'ENOENT' })
    expect(port.writeKnob('/pods/none', { kind: 'weight', value: 7 })).toEqual({ is: 'vanished', errno: 'ENOENT' })
    renameSync(join(cgroup, 'cpu', group), join(cgroup, 'cpu', 'pods', 'away'))
    expect(port.exists(group)).toBe(false)
    expect(port.groupId(group)).toBeUndefined()
    expect(port.listChildren('/pods').toSorted()).toEqual(['away'])
    for (let index = 0; index < 200; index += 1) mkdirSync(join(cgroup, 'cpu', 'pods', 'away', `child${index}`))
    const some = port.listChildren('/pods/away', 150)
    expect(new Set(some).size).toBe(150)
    expect(port.listChildren('/pods/away')).toEqual(expect.arrayContaining([...some]))
    expect(port.listChildren('/pods/away', 1000)).toHaveLength(200)
    expect([port.listChildren('/pods/away', 0), port.listChildren('/none', 5)]).toEqual([[], []])
    rmSync(join(cgroup, 'cpu', 'pods', 'away'), { recursive: true })
    expect(port.listChildren('/pods')).toEqual([])
    expect(port.listChildren('/none')).toEqual([])
    port.forget('/pods')
  })
})
