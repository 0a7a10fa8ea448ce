/** The kernel port over cgroup v2: what the probe says, what is read and written, what is refused, and that the model kernel agrees. */
import assert from 'node:assert/strict'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { CpuSet } from '../../../src/cpu/index.ts'
import { openKernel, requireWritable } from '../../../src/kernel/index.ts'
import { detectMounts } from '../../../src/kernel/mounts.ts'
import { childGroup, identicalValue, KNOB_KINDS, type KnobKind, parentGroup } from '../../../src/model/index.ts'
import { KNOWN_V2, knownOn } from '../../../test/support/known-answers.ts'
import { cpus, knob, pairOn, quota, quotaUs } from '../../../test/support/settings.ts'
import { A, B, C, D, E } from '../../../test/support/places.ts'
import { compareAtRandom, disksOf, Twins } from '../../../test/support/twins.ts'
import { CGROUP_PATH, openGroups, suite, test, until } from './bed.ts'

/** Of vendors' kernels, or not asked for. */
const VENDORS: readonly KnobKind[] = ['bvt', 'coreCookie', 'qosLevel', 'offline', 'btShares']
const MAINLINE = KNOB_KINDS.filter((kind) => !VENDORS.includes(kind) && kind !== 'memorySoft')

suite('cgroup v2 as the probe sees it', () => {
  test('is v2, with every knob usable and nothing nested', async (context) => {
    const { kernel } = await openGroups(context)
    assert.equal(detectMounts(CGROUP_PATH).dialect, 'v2')
    const { dialect, knobs, nestedCpuset, nestedQuota } = kernel.capabilities
    assert.deepEqual({ dialect, nestedCpuset, nestedQuota }, { dialect: 'v2', nestedCpuset: false, nestedQuota: false })
    assert.deepEqual(
      MAINLINE.filter((kind) => !knobs[kind].usable),
      [],
    )
    assert.equal(kernel.nodeCpuSource, '/proc/stat')
  })

  test('says which file is missing where a group was handed no controllers', async (context) => {
    const { groups } = await openGroups(context)
    const root = groups.make('bare')
    // Without delegation: only the files that every group has are there.
    for (const name of ['kubepods', 'kubepods/besteffort']) groups.sandbox.make(`${root}/${name}`)
    const { capabilities } = openKernel({
      cgroupPath: CGROUP_PATH,
      procPath: '/proc',
      sysPath: '/sys',
      cgroupRoot: root,
      driver: 'auto',
    }).kernel
    for (const kind of MAINLINE) {
      const knob = capabilities.knobs[kind]
      if (kind === 'freeze') assert.equal(knob.usable, true)
      else
        assert.match(
          knob.usable ? '' : knob.reason,
          /besteffort\/(cpu|cpuset|memory|io)\.[a-z.]+ does not exist: the group above hands out no controller/,
          kind,
        )
    }
    assert.throws(() => requireWritable(capabilities), { code: 'E_CGROUP_ACCESS' })
  })
})

suite('reading and writing on cgroup v2', () => {
  for (const kind of MAINLINE) {
    test(`${kind} reads what was written`, async (context) => {
      const { groups, kernel } = await openGroups(context)
      const group = groups.make('pod')
      groups.park(group)
      for (const setting of pairOn(kind, disksOf(kernel)[0])) {
        assert.deepEqual(kernel.writeKnob(group, setting), { is: 'applied' })
        const value = kernel.readKnob(group, kind)
        assert.ok(identicalValue(value, setting.value), `${JSON.stringify(setting)} reads ${JSON.stringify(value)}`)
      }
    })
  }

  test('writes quota and period at once', async (context) => {
    const { groups, kernel } = await openGroups(context)
    const group = groups.make('pod')
    assert.deepEqual(kernel.writeKnob(group, quotaUs(20_000, 50_000)), { is: 'applied' })
    assert.equal(readFileSync(groups.fileOf(group, 'cpu', 'cpu.max'), 'latin1').trim(), '20000 50000')
    assert.deepEqual(kernel.readKnob(group, 'quota'), quota(20_000, 50_000))
  })

  test('gives a set back to the parent with a process in the group, which the kernel refuses', async (context) => {
    const { groups, kernel } = await openGroups(context)
    const [parent, group] = [groups.make('pod'), groups.make('pod', 'main')]
    const text = (name: string): string => readFileSync(groups.fileOf(group, 'cpuset', name), 'latin1').trim()
    const pid = groups.park(group)
    kernel.writeKnob(group, cpus('3'))
    assert.throws(() => writeFileSync(groups.fileOf(group, 'cpuset', 'cpuset.cpus'), '\n'), { code: 'ENOSPC' })
    assert.deepEqual(kernel.writeKnob(group, cpus('')), { is: 'applied' })
    assert.deepEqual(kernel.readKnob(group, 'cpuset'), CpuSet.EMPTY)
    assert.equal(text('cpuset.cpus'), '0-7')
    kernel.writeKnob(parent, cpus('2-5'))
    assert.equal(text('cpuset.cpus.effective'), '2-5')
    // All CPUs that somebody asks for are all CPUs, and no inheritance.
    kernel.writeKnob(group, cpus('0-7'))
    assert.deepEqual(kernel.readKnob(group, 'cpuset'), CpuSet.parse('0-7'))
    await groups.end(pid)
    await until(
      () => kernel.writeKnob(group, cpus('')).is === 'applied' && text('cpuset.cpus') === '',
      () => text('cpuset.cpus'),
    )
  })

  test('lets a child ask for more than its parent has, and gives it what both have', async (context) => {
    const { groups, kernel } = await openGroups(context)
    const [parent, group] = [groups.make('pod'), groups.make('pod', 'main')]
    const effective = (): string => readFileSync(groups.fileOf(group, 'cpuset', 'cpuset.cpus.effective'), 'latin1').trim()
    kernel.writeKnob(parent, cpus('0-3'))
    for (const [asked, got] of [
      ['2-5', '2-3'],
      ['6', '0-3'],
      ['1', '1'],
    ] as const) {
      assert.deepEqual(kernel.writeKnob(group, cpus(asked)), { is: 'applied' })
      assert.deepEqual([kernel.readKnob(group, 'cpuset'), effective()], [CpuSet.parse(asked), got])
    }
  })

  test('counts CPU time, throttling, memory and pressure of a group', async (context) => {
    const { groups, kernel } = await openGroups(context)
    const group = groups.make('pod')
    assert.deepEqual(kernel.writeKnob(group, quotaUs(5000)), { is: 'applied' })
    const nodeBefore = kernel.readNodeCpuUs() ?? NaN
    for (let count = 0; count < 2; count += 1) groups.burn(group)
    const throttling = { periods: 0, throttledPeriods: 0 }
    await until(
      () => kernel.readThrottling(group, throttling) && throttling.throttledPeriods > 3,
      () => throttling,
    )
    assert.ok(throttling.periods >= throttling.throttledPeriods)
    const usedUs = kernel.readCpuUsageUs(group) ?? NaN
    assert.ok(usedUs > 10_000 && usedUs < 60_000_000, `${usedUs} µs`)
    assert.ok((kernel.readNodeCpuUs() ?? NaN) - nodeBefore > usedUs * 0.5)
    const memory = { usageBytes: -1, inactiveFileBytes: -1 }
    assert.ok(kernel.readGroupMemory(group, memory))
    assert.ok(memory.usageBytes > 0 && memory.inactiveFileBytes >= 0)
    for (const resource of ['cpu', 'memory', 'io'] as const) {
      const pressure = readFileSync(join(CGROUP_PATH, group, `${resource}.pressure`), 'latin1')
      assert.match(pressure, /^some avg10=\S+ avg60=\S+ avg300=\S+ total=\d+\nfull /)
      assert.ok((kernel.readNodePressureUs(resource) ?? NaN) >= 0)
      if (resource === 'cpu') assert.ok(Number(/total=(\d+)/.exec(pressure)?.[1]) > 0, pressure)
    }
  })

  test('lets an idle group have what its sibling leaves', async (context) => {
    const { groups, kernel } = await openGroups(context)
    const [first, idle] = [groups.make('pod'), groups.make('idle')]
    kernel.writeKnob(idle, knob('idle', 1))
    for (const group of [first, idle]) {
      kernel.writeKnob(group, cpus('5'))
      groups.burn(group)
    }
    const used = (): number[] => [first, idle].map((group) => kernel.readCpuUsageUs(group) ?? NaN)
    const before = used()
    const since = (): number[] => used().map((us, index) => us - (before[index] ?? NaN))
    await until(() => (since()[0] ?? 0) > 2_000_000, since)
    const [ofFirst = NaN, ofIdle = NaN] = since()
    assert.ok(ofIdle < ofFirst / 10, `${ofFirst} µs and ${ofIdle} µs`)
  })

  test('answers as vanished for a group that is gone, and reads one made anew anew', async (context) => {
    const { groups, kernel } = await openGroups(context)
    const group = groups.make('pod')
    kernel.writeKnob(group, knob('weight', 77))
    const id = kernel.groupId(group)
    assert.deepEqual([kernel.readKnob(group, 'weight'), kernel.readCpuUsageUs(group)], [77, 0])
    await groups.sandbox.remove(group)
    assert.equal(kernel.readKnob(group, 'weight'), undefined)
    assert.deepEqual(kernel.writeKnob(group, knob('weight', 5)), { is: 'vanished', errno: 'ENOENT' })
    assert.equal(kernel.exists(group), false)
    groups.make('pod')
    assert.equal(kernel.readKnob(group, 'weight'), 100)
    assert.notEqual(kernel.groupId(group), id)
    assert.deepEqual(kernel.listChildren(parentGroup(group)).includes('pod'), true)
    const before = kernel.countChildren(group)
    groups.sandbox.make(childGroup(group, 'a'))
    assert.deepEqual([before, kernel.countChildren(group)], [0, 1])
  })
})

suite('the model kernel answers as cgroup v2', () => {
  test('for every refusal that is known', async (context) => {
    const { groups, kernel } = await openGroups(context)
    const twins = new Twins(groups, kernel, 'known')
    const pid = twins.populate(C)
    const disk = disksOf(kernel)[0] ?? assert.fail('the virtual machine has no disk')
    for (const [place, setting, outcome] of [...KNOWN_V2, ...knownOn(disk)])
      assert.equal(twins.write(place, setting), outcome, twins.trace.at(-1))
    await groups.end(pid)
    await twins.remove(C)
    assert.equal(twins.write(C, knob('weight', 5)), 'vanished')
  })

  test('for twelve hundred random writes', async (context) => {
    const { groups, kernel } = await openGroups(context)
    compareAtRandom(groups, kernel, 40)
  })

  test('for a CPU that goes and comes back', async (context) => {
    const file = '/sys/devices/system/cpu/cpu7/online'
    const { groups, kernel } = await openGroups(context)
    const twins = new Twins(groups, kernel, 'hotplug')
    context.after(() => writeFileSync(file, '1'))
    twins.write(A, cpus('6-7'))
    twins.write(D, cpus('7'))
    for (const online of ['0', '1']) {
      writeFileSync(file, online)
      twins.model.hotplug(kernel.readTopology())
      assert.equal(kernel.readTopology().online.has(7), online === '1')
      assert.equal(twins.write(E, cpus(online === '0' ? '7' : '6')), 'applied')
      assert.equal(twins.write(B, cpus('5,7')), 'applied')
    }
    assert.ok(kernel.readKnob(twins.names[A] ?? '', 'cpuset') instanceof CpuSet)
    assert.ok(existsSync(file))
  })
})
