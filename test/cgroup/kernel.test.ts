/**
 * The kernel port on the real kernel: what is written is what is read, a group made anew is read anew, and every refusal comes out as
 * the outcome that the model kernel gives for it. The model is what plan/ is tested against, so where the two differ the model lies.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it, onTestFinished, type TestContext } from 'vitest'
import type { OpenedKernel } from '../../src/kernel/index.ts'
import { ownGroups } from '../../src/kernel/own-groups.ts'
import {
  identicalValue,
  IoLimits,
  KNOB_KINDS,
  NO_DEVICE_LIMITS,
  type GroupPath,
  type KnobSetting,
  childGroup,
} from '../../src/model/index.ts'
import { A, B, C, D, E, TOP } from '../support/places.ts'
import { RealGroups, whyNotHere } from '../support/real-node.ts'
import { diskBelow, writeRate, writeToDisk, writtenBytes } from '../support/disk-load.ts'
import { cpus, ioMax, knob, MIB, NO_DISK, pairOn, quota, quotaUs } from '../support/settings.ts'
import { planted } from '../support/trees-on-disk.ts'
import { compareAtRandom, disksOf, Twins } from '../support/twins.ts'

let groups: RealGroups | undefined
let opened: OpenedKernel | undefined

beforeEach(async () => {
  if (whyNotHere() !== undefined) return
  groups = await RealGroups.open()
  opened = groups.openKernel()
})

afterEach(async () => {
  await groups?.close()
  groups = undefined
})

interface Bed {
  readonly groups: RealGroups
  readonly kernel: OpenedKernel['kernel']
}

function bed(context: TestContext, dialect?: 'v1' | 'v2'): Bed {
  const reason = whyNotHere(dialect)
  if (reason !== undefined || groups === undefined || opened === undefined) return context.skip(reason ?? 'no sandbox')
  return { groups, kernel: opened.kernel }
}

describe('reading and writing', () => {
  for (const kind of KNOB_KINDS) {
    it(`${kind} reads what was written`, (context) => {
      const { groups, kernel } = bed(context)
      const capability = kernel.capabilities.knobs[kind]
      if (!capability.usable) return context.skip(capability.reason)
      const group = groups.make('pod')
      groups.park(group)
      for (const setting of pairOn(kind, disksOf(kernel)[0])) {
        expect(kernel.writeKnob(group, setting)).toEqual({ is: 'applied' })
        expect(identicalValue(kernel.readKnob(group, kind), setting.value), JSON.stringify(setting)).toBe(true)
      }
    })
  }

  it('keeps the period of the group and scales the quota to it', (context) => {
    const { groups, kernel } = bed(context, 'v1')
    const group = groups.make('pod')
    writeFileSync(groups.fileOf(group, 'cpu', 'cpu.cfs_period_us'), '50000')
    expect(kernel.writeKnob(group, { kind: 'quota', value: quota(30_001) })).toEqual({ is: 'applied' })
    expect(kernel.readKnob(group, 'quota')).toEqual(quota(15_000, 50_000))
  })

  it('counts the CPU time of the group and of the node', async (context) => {
    const { groups, kernel } = bed(context)
    const group = groups.make('pod')
    const before = { group: kernel.readCpuUsageUs(group) ?? NaN, node: kernel.readNodeCpuUs() ?? NaN }
    const pid = groups.burn(group)
    await expect.poll(() => (kernel.readCpuUsageUs(group) ?? 0) - before.group, { timeout: 15_000 }).toBeGreaterThan(20_000)
    await groups.end(pid)
    const used = (kernel.readCpuUsageUs(group) ?? NaN) - before.group
    // Both count the same work: ticks or nanoseconds, µs or ns, a slip would be a factor.
    expect((kernel.readNodeCpuUs() ?? NaN) - before.node).toBeGreaterThan(used * 0.5)
    expect(used).toBeLessThan(60_000_000)
  })

  it('counts throttled periods', async (context) => {
    const { groups, kernel } = bed(context)
    const group = groups.make('pod')
    kernel.writeKnob(group, { kind: 'quota', value: quota(5000) })
    groups.burn(group)
    const throttling = { periods: 0, throttledPeriods: 0 }
    const throttled = (): number => (kernel.readThrottling(group, throttling) ? throttling.throttledPeriods : 0)
    await expect.poll(throttled, { timeout: 15_000 }).toBeGreaterThan(1)
    expect(throttling.periods).toBeGreaterThanOrEqual(throttling.throttledPeriods)
    // A CPU that may run 5 of every 100 ms stands still for most of a period each time.
    expect(kernel.readThrottledUs(group)).toBeGreaterThan(50_000)
  })

  it('counts tasks of the group with all below it', async (context) => {
    const { groups, kernel } = bed(context)
    const [pod, main] = [groups.make('pod'), groups.make('pod', 'main')]
    if (kernel.readTasks(pod) === undefined) return context.skip('no pids controller in this tree')
    expect([kernel.readTasks(pod), kernel.readTasks(main)]).toEqual([0, 0])
    groups.park(main)
    await expect.poll(() => kernel.readTasks(pod), { timeout: 15_000 }).toBe(1)
    // Threads count one by one, asleep or not: Node has several.
    groups.node(main, 'setTimeout(() => {}, 600000)')
    await expect.poll(() => kernel.readTasks(pod), { timeout: 15_000 }).toBeGreaterThan(5)
    expect(kernel.readTasks(`${pod}/nobody`)).toBeUndefined()
  })

  it('reads memory of the group with all below it', (context) => {
    const { groups, kernel } = bed(context)
    const pod = groups.make('pod')
    groups.park(groups.make('pod', 'main'))
    const memory = { usageBytes: -1, inactiveFileBytes: -1 }
    expect(kernel.readGroupMemory(pod, memory)).toBe(true)
    expect(memory.usageBytes).toBeGreaterThan(0)
    expect(memory.inactiveFileBytes).toBeGreaterThanOrEqual(0)
  })

  it('reads this machine: topology, memory, pressure', (context) => {
    const { kernel } = bed(context)
    expect(kernel.readTopology().online.toString()).toBe(kernel.readOnlineText())
    const memory = kernel.readNodeMemory()
    expect(memory?.totalBytes).toBe(Number(/MemTotal:\s+(\d+)/.exec(readFileSync('/proc/meminfo', 'latin1'))?.[1]) * 1024)
    expect(memory?.availableBytes).toBeLessThanOrEqual(memory?.totalBytes ?? 0)
    if (existsSync('/proc/pressure/cpu')) expect(kernel.readNodePressureUs('cpu')).toBeGreaterThan(0)
  })
})

describe('what holds processes back', () => {
  it('freezes a group and thaws it', async (context) => {
    const { groups, kernel } = bed(context)
    const { freeze } = kernel.capabilities.knobs
    if (!freeze.usable) return context.skip(freeze.reason)
    const group = groups.make('pod')
    groups.burn(group)
    const used = (): number => kernel.readCpuUsageUs(group) ?? NaN
    await expect.poll(used, { timeout: 15_000 }).toBeGreaterThan(20_000)
    expect(kernel.writeKnob(group, knob('freeze', 1))).toEqual({ is: 'applied' })
    const state = groups.fileOf(group, 'freezer', 'freezer.state')
    if (kernel.capabilities.dialect === 'v1') await expect.poll(() => readFileSync(state, 'latin1')).toBe('FROZEN\n')
    expect(kernel.readKnob(group, 'freeze')).toBe(1)
    const frozen = used()
    await sleep(500)
    expect(used() - frozen).toBeLessThan(2000)
    expect(kernel.writeKnob(group, knob('freeze', 0))).toEqual({ is: 'applied' })
    await expect.poll(() => used() - frozen, { timeout: 15_000 }).toBeGreaterThan(20_000)
    expect(kernel.readKnob(group, 'freeze')).toBe(0)
  })

  it('holds a writer to its limit on a disk within a fifth, and frees it', async (context) => {
    const { groups, kernel } = bed(context)
    const { dialect, knobs } = kernel.capabilities
    if (!knobs.ioMax.usable) return context.skip(knobs.ioMax.reason)
    const disk = diskBelow(tmpdir())
    if (disk === undefined || kernel.findDevice(disk) === undefined) return context.skip('the temporary directory is on no disk')
    const group = groups.make('pod')
    expect(kernel.writeKnob(group, ioMax(disk, { writeBps: 4 * MIB }))).toEqual({ is: 'applied' })
    const writer = writeToDisk(groups, group)
    onTestFinished(() => writer.remove())
    const written = (): number => writtenBytes(groups, dialect, group, disk)
    await expect.poll(written, { timeout: 10_000 }).toBeGreaterThan(0)
    const held = await writeRate(written, 4000)
    expect(held / MIB).toBeGreaterThan(3.2)
    expect(held / MIB).toBeLessThan(4.8)
    expect(kernel.writeKnob(group, ioMax(disk))).toEqual({ is: 'applied' })
    expect((kernel.readKnob(group, 'ioMax') as IoLimits).devices.size).toBe(0)
    // What was held back already is let go within a slice.
    await sleep(300)
    expect((await writeRate(written, 1000)) / MIB).toBeGreaterThan(8)
  }, 30_000)

  it('refuses a limit on a device that is not there, and sets those of the others', (context) => {
    const { groups, kernel } = bed(context)
    const { ioMax: capability } = kernel.capabilities.knobs
    if (!capability.usable) return context.skip(capability.reason)
    const [disk] = disksOf(kernel)
    if (disk === undefined) return context.skip('no disk')
    const group = groups.make('pod')
    const both = IoLimits.of([
      [NO_DISK, { ...NO_DEVICE_LIMITS, readBps: MIB }],
      [disk, { ...NO_DEVICE_LIMITS, readBps: MIB }],
    ])
    expect(kernel.writeKnob(group, { kind: 'ioMax', value: both })).toEqual({ is: 'vanished', errno: 'ENODEV' })
    expect(kernel.readKnob(group, 'ioMax')).toEqual(ioMax(disk, { readBps: MIB }).value)
    // To take a limit away where there is none is nothing to do.
    expect(kernel.writeKnob(group, ioMax(NO_DISK))).toEqual({ is: 'applied' })
  })

  it('never writes so many operations that the kernel would cut them down to none at all', (context) => {
    const { groups, kernel } = bed(context, 'v1')
    const [disk] = disksOf(kernel)
    const { ioMax: capability } = kernel.capabilities.knobs
    if (!capability.usable || disk === undefined) return context.skip(capability.usable ? 'no disk' : capability.reason)
    const group = groups.make('pod')
    const file = groups.fileOf(group, 'blkio', 'blkio.throttle.write_iops_device')
    // What the kernel makes of it: a limit of nothing.
    writeFileSync(file, `${disk} ${2 ** 32}`)
    expect(readFileSync(file, 'latin1')).toBe(`${disk} 0\n`)
    expect(kernel.writeKnob(group, ioMax(disk, { writeIops: 2 ** 32 }))).toEqual({ is: 'applied' })
    expect(readFileSync(file, 'latin1')).toBe('')
  })
})

describe('how groups wait', () => {
  it('is not counted under v1, where the run queue of the node tells instead', async (context) => {
    const { groups, kernel } = bed(context, 'v1')
    const group = groups.make('pod')
    for (let count = 0; count < 5; count += 1) groups.burn(group)
    for (const resource of ['cpu', 'memory', 'io'] as const) expect(kernel.readGroupPressureUs(group, resource)).toBeUndefined()
    await expect.poll(() => kernel.readRunnable(), { timeout: 15_000 }).toBeGreaterThanOrEqual(5)
    const count = Number(/^procs_running (\d+)$/m.exec(readFileSync('/proc/stat', 'latin1'))?.[1])
    expect(Math.abs(count - (kernel.readRunnable() ?? NaN))).toBeLessThan(10)
  })

  it('leaves out what is throttled: it waits for its quota, not for a CPU', async (context) => {
    const { groups, kernel } = bed(context)
    const group = groups.make('pod')
    const mean = async (): Promise<number> => {
      let sum = 0
      for (let look = 0; look < 50; look += 1) {
        sum += kernel.readRunnable() ?? NaN
        await sleep(10)
      }
      return sum / 50
    }
    for (let count = 0; count < 10; count += 1) groups.burn(group)
    await expect.poll(mean, { timeout: 15_000 }).toBeGreaterThan(9)
    const waiting = await mean()
    expect(kernel.writeKnob(group, { kind: 'quota', value: quota(2000) })).toEqual({ is: 'applied' })
    const throttled = await mean()
    // They could not even end within such a quota.
    expect(kernel.writeKnob(group, { kind: 'quota', value: quota(null) })).toEqual({ is: 'applied' })
    expect(waiting - throttled).toBeGreaterThan(5)
  })
})

describe('where a process runs', () => {
  it('is told by its own procfs, for every group from the outermost on', async (context) => {
    const { groups, kernel } = bed(context)
    const group = groups.make('pod', 'main')
    const pid = groups.park(group)
    const text = readFileSync(`/proc/${pid}/cgroup`, 'latin1')
    const groupsOf = ownGroups(planted({ self: { cgroup: text } }), kernel.capabilities.dialect)
    expect(groupsOf.slice(-3)).toEqual([groups.root, `${groups.root}/pod`, group])
    expect(groupsOf.every((path) => kernel.exists(path))).toBe(true)
    // The test's own: whatever it is, it is there.
    expect(kernel.findOwnGroups().every((path) => kernel.exists(path))).toBe(true)
  })
})

describe('groups that go', () => {
  it('answers as vanished, for reads and writes, and does not list them', async (context) => {
    const { groups, kernel } = bed(context)
    const group = groups.make('pod')
    expect(kernel.readKnob(group, 'weight')).toBeDefined()
    await groups.sandbox.remove(group)
    expect(kernel.readKnob(group, 'weight')).toBeUndefined()
    expect(kernel.readCpuUsageUs(group)).toBeUndefined()
    expect(kernel.readThrottling(group, { periods: 0, throttledPeriods: 0 })).toBe(false)
    expect(kernel.writeKnob(group, { kind: 'weight', value: 5 })).toMatchObject({ is: 'vanished' })
    expect(kernel.exists(group)).toBe(false)
    expect(kernel.groupId(group)).toBeUndefined()
    expect(kernel.listChildren(group)).toEqual([])
    expect(kernel.listChildren(groups.root)).not.toContain('pod')
    expect(kernel.countChildren(group)).toBeUndefined()
  })

  it('counts child groups as they come and go, and neither files nor what is further down', async (context) => {
    const { groups, kernel } = bed(context)
    const pod = groups.make('pod')
    expect(kernel.countChildren(pod)).toBe(0)
    groups.sandbox.make(childGroup(pod, 'a'))
    groups.sandbox.make(childGroup(pod, 'b'))
    groups.sandbox.make(childGroup(childGroup(pod, 'b'), 'c'))
    expect([kernel.countChildren(pod), kernel.listChildren(pod).length]).toEqual([2, 2])
    await groups.sandbox.remove(childGroup(pod, 'a'))
    expect(kernel.countChildren(pod)).toBe(1)
  })

  it('reads a group that was made anew under the same name anew, and gives it another id', async (context) => {
    const { groups, kernel } = bed(context)
    const group = groups.make('pod')
    kernel.writeKnob(group, { kind: 'weight', value: 77 })
    kernel.writeKnob(group, { kind: 'quota', value: quota(20_000) })
    const usage = kernel.readCpuUsageUs(group)
    const id = kernel.groupId(group)
    expect([kernel.readKnob(group, 'weight'), usage === undefined]).toEqual([77, false])
    await groups.sandbox.remove(group)
    groups.make('pod')
    expect(kernel.readKnob(group, 'weight')).toBe(1024)
    expect(kernel.readKnob(group, 'quota')).toEqual(quota(null))
    expect(kernel.groupId(group)).not.toBe(id)
  })

  it('does not answer with the period of the group that was there before', async (context) => {
    const { groups, kernel } = bed(context, 'v1')
    const make = (periodUs: string): GroupPath => {
      const group = groups.make('pod')
      writeFileSync(groups.fileOf(group, 'cpu', 'cpu.cfs_period_us'), periodUs)
      writeFileSync(groups.fileOf(group, 'cpu', 'cpu.cfs_quota_us'), '20000')
      return group
    }
    const group = make('100000')
    expect(kernel.readKnob(group, 'quota')).toEqual(quota(20_000))
    await groups.sandbox.remove(group)
    make('50000')
    expect(kernel.readKnob(group, 'quota')).toEqual(quota(20_000, 50_000))
  })
})

type Known = readonly [place: number, setting: KnobSetting, outcome: string]

const weights: readonly Known[] = [
  [A, knob('ioWeight', 1), 'applied'],
  [A, knob('ioWeight', 1000), 'applied'],
  [A, knob('ioWeight', 0), 'refused'],
  [A, knob('ioWeight', 1001), 'refused'],
]

const ioLimitsOf = (disk: string): readonly Known[] => [
  [E, ioMax(disk, { readBps: 1, writeBps: MIB, readIops: 1, writeIops: 120 }), 'applied'],
  [E, ioMax(disk, { readBps: 0 }), 'refused'],
  [E, ioMax(disk, { writeBps: MIB }), 'applied'],
  // Kernel: a child may have more than its parent, and each is held back for itself.
  [A, ioMax(disk, { readBps: 100 }), 'applied'],
  [B, ioMax(disk, { readBps: 200 }), 'applied'],
  [A, ioMax(disk), 'applied'],
  [A, ioMax(disk), 'applied'],
]

describe('the model kernel answers as the real one', () => {
  it('for every refusal that is known', async (context) => {
    const { groups, kernel } = bed(context, 'v1')
    const twins = new Twins(groups, kernel, 'known')
    const pid = twins.populate(C)
    const expected: readonly (readonly [number, KnobSetting, string])[] = [
      // Quota: a child's share within its parent's; the least is 1000 µs, and the port never writes less.
      [A, quotaUs(999), 'applied'],
      [A, quotaUs(100_000), 'applied'],
      [B, quotaUs(150_000), 'refused'],
      [B, quotaUs(100_000), 'applied'],
      [C, quotaUs(100_001), 'refused'],
      [C, quotaUs(50_000), 'applied'],
      [A, quotaUs(40_000), 'refused'],
      [B, quotaUs(40_000), 'refused'],
      [C, quotaUs(30_000), 'applied'],
      [B, quotaUs(30_000), 'applied'],
      [A, quotaUs(30_000), 'applied'],
      [B, quotaUs(null), 'applied'],
      [C, quotaUs(30_001), 'refused'],
      [A, quotaUs(null), 'applied'],
      [C, quotaUs(200_000), 'applied'],
      // Burst: within the quota.
      [E, quotaUs(20_000), 'applied'],
      [E, knob('burst', 20_001), 'refused'],
      [E, knob('burst', 20_000), 'applied'],
      [E, quotaUs(10_000), 'refused'],
      [E, knob('burst', 0), 'applied'],
      [E, quotaUs(10_000), 'applied'],
      [E, quotaUs(null), 'applied'],
      [E, knob('burst', 90_000), 'applied'],
      [E, quotaUs(80_000), 'refused'],
      // Weight and idle: not at once, and idle eats the weight.
      [D, knob('weight', 700), 'applied'],
      [D, knob('idle', 1), 'applied'],
      [D, knob('weight', 700), 'refused'],
      [D, knob('idle', 1), 'applied'],
      [D, knob('idle', 0), 'applied'],
      [D, knob('weight', 262_144), 'applied'],
      [D, knob('idle', 2), 'refused'],
      // cpuset: a child inside its parent, never empty with a process in it, no CPU that does not exist.
      [B, cpus('0'), 'busy'],
      [C, cpus('0'), 'applied'],
      [B, cpus('0'), 'applied'],
      [C, cpus('1'), 'forbidden'],
      [C, cpus('0-1'), 'forbidden'],
      [C, cpus(''), 'refused'],
      [B, cpus(''), 'busy'],
      [A, cpus('1'), 'busy'],
      [E, cpus('8000'), 'refused'],
      [E, cpus('0-1,8000'), 'refused'],
      [E, cpus(''), 'applied'],
      [E, cpus('1'), 'applied'],
      // Memory: any limit above what is used; a part of a page is dropped.
      [TOP, knob('memoryMax', 512 * MIB), 'applied'],
      [A, knob('memoryMax', 1024 * MIB), 'applied'],
      [A, knob('memoryMax', 64 * MIB + 1), 'applied'],
      [A, { kind: 'memoryMax', value: null }, 'applied'],
      // The soft limit is any number of whole pages.
      [A, knob('memorySoft', 100_000_001), 'applied'],
      [A, knob('memorySoft', 0), 'applied'],
      [A, { kind: 'memorySoft', value: null }, 'applied'],
      // IO: weights within their range, limits of disks that there are. The port writes no limit of 0, which v1 takes for none.
      ...(kernel.capabilities.knobs.ioWeight.usable ? weights : []),
      ...disksOf(kernel).slice(0, 1).flatMap(ioLimitsOf),
      [E, ioMax(NO_DISK, { readBps: MIB }), 'vanished'],
      [E, ioMax(NO_DISK), 'applied'],
    ]
    for (const [index, setting, outcome] of expected) expect([setting, twins.write(index, setting)]).toEqual([setting, outcome])
    await groups.end(pid)
    await twins.remove(C)
    expect(twins.write(C, knob('weight', 5))).toBe('vanished')
    expect(twins.write(B, cpus('1'))).toBe('applied')
  })

  it('for three hundred random writes', (context) => {
    const { groups, kernel } = bed(context)
    compareAtRandom(groups, kernel, 12)
  })
})
