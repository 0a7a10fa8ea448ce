/**
 * The kernel port on the real kernel: what is written is what is read, a group made anew is read anew, and every refusal comes out as
 * the outcome that the model kernel gives for it. The model is what plan/ is tested against, so where the two differ the model lies.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { afterEach, beforeEach, describe, expect, it, type TestContext } from 'vitest'
import type { OpenedKernel } from '../../src/kernel/index.ts'
import { identicalValue, KNOB_KINDS, type GroupPath, type KnobSetting } from '../../src/model/index.ts'
import { A, B, C, D, E, TOP } from '../support/places.ts'
import { RealGroups, whyNotHere } from '../support/real-node.ts'
import { cpus, knob, MIB, PAIRS, quota, quotaUs } from '../support/settings.ts'
import { compareAtRandom, Twins } from '../support/twins.ts'

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
      for (const setting of PAIRS[kind]) {
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
