/**
 * Finding the cgroup tree, the driver and the kubelet's groups, on trees planted on disk in every layout that is met in the wild, and the
 * one clear error for each thing that is missing. Nothing may have been written by then.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { CpuSet } from '../../../src/cpu/index.ts'
import { openKernel, requireWritable } from '../../../src/kernel/index.ts'
import { detectDriver, detectMounts } from '../../../src/kernel/mounts.ts'
import { AgentError } from '../../../src/model/index.ts'
import {
  Link,
  planted,
  PROC,
  sysfsOf,
  type Tree,
  V1_COMMON,
  V1_GROUP,
  v1Tree,
  V2_GROUP,
  v2Tree,
} from '../../support/trees-on-disk.ts'
import { TOPOLOGIES } from '../../support/topologies.ts'

function codeOf(body: () => unknown): string {
  try {
    body()
  } catch (thrown) {
    if (thrown instanceof AgentError) return thrown.code
    throw thrown
  }
  return 'nothing thrown'
}

describe('detectMounts', () => {
  it('takes a tree with cgroup.controllers for v2, for every controller', () => {
    const root = planted(v2Tree('/kubepods'))
    const mounts = detectMounts(root)
    expect(mounts.dialect).toBe('v2')
    expect(new Set(Object.values(mounts.controllers))).toEqual(new Set([root]))
  })

  it('finds each v1 controller in its own mount', () => {
    const root = planted(v1Tree('/kubepods'))
    expect(detectMounts(root)).toEqual({
      dialect: 'v1',
      controllers: {
        cpu: join(root, 'cpu'),
        cpuacct: join(root, 'cpuacct'),
        cpuset: join(root, 'cpuset'),
        memory: join(root, 'memory'),
        freezer: join(root, 'freezer'),
        blkio: join(root, 'blkio'),
        pids: join(root, 'pids'),
      },
    })
  })

  it.each([['cpu,cpuacct'], ['cpuacct,cpu']])('finds cpu and cpuacct in one mount named %s', (name) => {
    const root = planted({ [name]: V1_COMMON, memory: V1_COMMON })
    expect(detectMounts(root).controllers).toEqual({
      cpu: join(root, name),
      cpuacct: join(root, name),
      memory: join(root, 'memory'),
    })
  })

  it('follows the symbolic links that distributions put beside a common mount', () => {
    const root = planted({ 'cpu,cpuacct': V1_COMMON, cpu: new Link('cpu,cpuacct'), cpuacct: new Link('cpu,cpuacct') })
    const { controllers } = detectMounts(root)
    expect([controllers.cpu, controllers.cpuacct].map((path) => path?.startsWith(root))).toEqual([true, true])
  })

  it('takes a hybrid for v1: the unified tree there carries no controllers', () => {
    const root = planted({ ...v1Tree('/kubepods'), unified: v2Tree('/kubepods'), systemd: V1_COMMON })
    const { dialect, controllers } = detectMounts(root)
    expect(dialect).toBe('v1')
    expect(Object.values(controllers).some((path) => path.includes('unified'))).toBe(false)
  })

  it('does not take an empty directory with the name of a controller for a mount', () => {
    const root = planted({ ...v1Tree('/kubepods'), memory: {} })
    expect(detectMounts(root).controllers.memory).toBeUndefined()
  })

  it.each<[string, Tree]>([
    ['nothing at all', {}],
    ['cpu without cpuacct', { cpu: V1_COMMON }],
    ['only other controllers', { memory: V1_COMMON, cpuset: V1_COMMON }],
    ['directories that are not mounted', { cpu: {}, cpuacct: {} }],
  ])('answers E_NO_CGROUPS for %s', (_, tree) => {
    const root = planted(tree)
    expect(codeOf(() => detectMounts(root))).toBe('E_NO_CGROUPS')
  })

  it('answers E_NO_CGROUPS where there is no directory', () => {
    const root = join(planted(), 'nowhere')
    expect(codeOf(() => detectMounts(root))).toBe('E_NO_CGROUPS')
  })
})

describe('detectDriver', () => {
  it.each([
    ['/kubepods', '/', 'cgroupfs'],
    ['/kubepods.slice', '/', 'systemd'],
    ['/machine/kubepods', '/machine', 'cgroupfs'],
    ['/machine.slice/machine-kubepods.slice', '/machine', 'systemd'],
    ['/machine.slice/machine-kubepods.slice', '/machine.slice', 'systemd'],
    ['/machine/kubepods.slice', '/machine', undefined],
    ['/machine/kubepods', '/', undefined],
    ['/other', '/', undefined],
  ])('judges by %s below %s: %s', (path, cgroupRoot, driver) => {
    expect(detectDriver(detectMounts(planted(v1Tree(path))), cgroupRoot)).toBe(driver)
    expect(detectDriver(detectMounts(planted(v2Tree(path))), cgroupRoot)).toBe(driver)
  })

  it('takes systemd where both are there: runc leaves an empty kubepods behind when the driver was changed', () => {
    const root = planted({ 'cgroup.controllers': '', kubepods: {}, 'kubepods.slice': {} })
    expect(detectDriver(detectMounts(root), '/')).toBe('systemd')
  })
})

describe('openKernel', () => {
  function open(cgroup: Tree, cgroupRoot = '/', driver: 'auto' | 'cgroupfs' | 'systemd' = 'auto'): ReturnType<typeof openKernel> {
    const root = planted({ cgroup, proc: PROC, sys: sysfsOf(TOPOLOGIES.twoCpuVm) })
    return openKernel({
      cgroupPath: join(root, 'cgroup'),
      procPath: join(root, 'proc'),
      sysPath: join(root, 'sys'),
      cgroupRoot,
      driver,
    })
  }

  it.each<[string, Tree, string, string]>([
    ['v1 with cgroupfs', v1Tree('/kubepods/besteffort'), '/', 'cgroupfs'],
    ['v2 with cgroupfs', v2Tree('/kubepods/besteffort'), '/', 'cgroupfs'],
    ['v2 with systemd', v2Tree('/kubepods.slice/kubepods-besteffort.slice'), '/', 'systemd'],
    ['v1 below a cgroup root of its own', v1Tree('/kind/kubepods/besteffort'), '/kind', 'cgroupfs'],
    [
      'v2 with systemd below a cgroup root of its own',
      v2Tree('/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice'),
      '/kubelet',
      'systemd',
    ],
  ])('opens %s', (_, tree, cgroupRoot, driver) => {
    const { kernel, layout } = open(tree, cgroupRoot)
    expect(layout).toEqual({ root: cgroupRoot, driver })
    expect(kernel.capabilities.driver).toBe(driver)
    expect(kernel.readTopology().online.toString()).toBe('0-1')
    expect(() => requireWritable(kernel.capabilities)).not.toThrow()
  })

  it('answers E_NO_PODS_ROOT before the kubelet has made its groups, and names what it looked for', () => {
    expect(codeOf(() => open(v1Tree('/kubepods')))).toBe('E_NO_PODS_ROOT')
    expect(() => open(v2Tree('/elsewhere'))).toThrow('/kubepods')
  })

  it('answers E_NO_PODS_ROOT when the configured driver is not the one that named the groups', () => {
    expect(codeOf(() => open(v2Tree('/kubepods/besteffort'), '/', 'systemd'))).toBe('E_NO_PODS_ROOT')
  })

  it('reads every knob of a v1 group', () => {
    const { kernel } = open(v1Tree('/kubepods/besteffort'))
    const group = '/kubepods/besteffort'
    expect(kernel.readKnob(group, 'quota')).toEqual({ quotaUs: null, periodUs: 100_000 })
    expect(kernel.readKnob(group, 'weight')).toBe(1024)
    expect(kernel.readKnob(group, 'memoryMax')).toBeNull()
    expect(kernel.readKnob(group, 'cpuset')).toEqual(CpuSet.parse('0-1'))
    expect(kernel.readKnob(group, 'memoryMin')).toBeUndefined()
    expect(kernel.readKnob('/kubepods/nobody', 'quota')).toBeUndefined()
    expect(kernel.readCpuUsageUs(group)).toBe(123_456.789)
    expect([kernel.readThrottledUs(group), kernel.readTasks(group)]).toEqual([0, 17])
    const memory = { usageBytes: 0, inactiveFileBytes: 0 }
    expect(kernel.readGroupMemory(group, memory)).toBe(true)
    expect(memory).toEqual({ usageBytes: 1_048_576, inactiveFileBytes: 4096 })
  })

  it('reads every knob of a v2 group', () => {
    const { kernel } = open(v2Tree('/kubepods/besteffort'))
    const group = '/kubepods/besteffort'
    expect(kernel.readKnob(group, 'quota')).toEqual({ quotaUs: null, periodUs: 100_000 })
    expect(kernel.readKnob(group, 'memoryHigh')).toBeNull()
    expect(kernel.readKnob(group, 'memoryMin')).toBe(0)
    expect(kernel.readKnob(group, 'freeze')).toBe(0)
    expect(kernel.readCpuUsageUs(group)).toBe(5000)
    const throttling = { periods: 0, throttledPeriods: 0 }
    expect(kernel.readThrottling(group, throttling)).toBe(true)
    expect(throttling).toEqual({ periods: 7, throttledPeriods: 3 })
    expect([kernel.readThrottledUs(group), kernel.readTasks(group)]).toEqual([9, 23])
    expect([kernel.readThrottledUs('/nobody'), kernel.readTasks('/nobody')]).toEqual([undefined, undefined])
    const memory = { usageBytes: 0, inactiveFileBytes: 0 }
    expect(kernel.readGroupMemory(group, memory)).toBe(true)
    expect(memory).toEqual({ usageBytes: 2_097_152, inactiveFileBytes: 8192 })
    expect(kernel.capabilities).toMatchObject({ dialect: 'v2', nestedQuota: false, nestedCpuset: false })
  })
})

describe('the probe', () => {
  function knobs(tree: Tree, path = '/kubepods/besteffort'): ReturnType<typeof openKernel>['kernel']['capabilities']['knobs'] {
    const root = planted({ cgroup: tree, proc: PROC, sys: sysfsOf(TOPOLOGIES.twoCpuVm) })
    const settings = { cgroupPath: join(root, 'cgroup'), procPath: join(root, 'proc'), sysPath: join(root, 'sys') }
    expect(path).toContain('besteffort')
    return openKernel({ ...settings, cgroupRoot: '/', driver: 'auto' }).kernel.capabilities.knobs
  }

  it('says since which kernel a missing file is there', () => {
    const { 'cpu.idle': _idle, 'cpu.cfs_burst_us': _burst, ...cpu } = V1_GROUP.cpu
    const { idle, burst, weight } = knobs(v1Tree('/kubepods/besteffort', { ...V1_GROUP, cpu }))
    expect(idle).toMatchObject({
      usable: false,
      reason: expect.stringMatching(/cpu\.idle does not exist \(kernel 5\.15 or later/) as string,
    })
    expect(burst).toMatchObject({ usable: false, reason: expect.stringContaining('5.14') as string })
    expect(weight).toEqual({ usable: true, file: 'cpu.shares' })
  })

  it('says whose kernels have a file that is not here', () => {
    for (const tree of [v1Tree('/kubepods/besteffort'), v2Tree('/kubepods/besteffort')]) {
      const { bvt, qosLevel, offline, btShares } = knobs(tree)
      expect([bvt, qosLevel, offline, btShares]).toEqual([
        { usable: false, reason: 'no cpu.bvt_warp_ns here: kernels of Anolis and Alibaba have it' },
        { usable: false, reason: 'no cpu.qos_level here: kernels of openEuler have it' },
        { usable: false, reason: 'no cpu.offline here: kernels of TencentOS have it' },
        { usable: false, reason: 'no cpu.bt_shares here: kernels of TencentOS have it' },
      ])
    }
  })

  it("finds and writes what vendors' kernels have, under both versions", () => {
    const vendor = { 'cpu.bvt_warp_ns': '0\n', 'cpu.qos_level': '0\n', 'cpu.offline': '0\n', 'cpu.bt_shares': '100\n' }
    const group = '/kubepods/besteffort'
    const v1 = { ...V1_GROUP, cpu: { ...V1_GROUP.cpu, ...vendor } }
    for (const [tree, folder] of [
      [v1Tree(group, v1), 'cpu/kubepods/besteffort'],
      [v2Tree(group, { ...V2_GROUP, ...vendor }), 'kubepods/besteffort'],
    ] as const) {
      const root = planted({ cgroup: tree, proc: PROC, sys: sysfsOf(TOPOLOGIES.twoCpuVm) })
      const settings = { cgroupPath: join(root, 'cgroup'), procPath: join(root, 'proc'), sysPath: join(root, 'sys') }
      const { kernel } = openKernel({ ...settings, cgroupRoot: '/', driver: 'auto' })
      for (const [kind, value, name] of [
        ['bvt', -1, 'cpu.bvt_warp_ns'],
        ['qosLevel', -1, 'cpu.qos_level'],
        ['offline', 1, 'cpu.offline'],
        ['btShares', 512, 'cpu.bt_shares'],
      ] as const) {
        expect(kernel.capabilities.knobs[kind]).toEqual({ usable: true, file: name })
        expect(kernel.writeKnob(group, { kind, value })).toEqual({ is: 'applied' })
        expect(kernel.readKnob(group, kind)).toBe(value)
        expect(readFileSync(join(root, 'cgroup', folder, name), 'latin1')).toMatch(new RegExp(`^${value}`))
      }
    }
  })

  it('asks for core scheduling only where it is told to, and not from where processes of pods are not seen', () => {
    const open = (procs: string, coreScheduling: boolean) => {
      const cgroup = { ...v2Tree('/kubepods/besteffort'), 'cgroup.procs': procs }
      const root = planted({ cgroup, proc: PROC, sys: sysfsOf(TOPOLOGIES.twoCpuVm) })
      const settings = { cgroupPath: join(root, 'cgroup'), procPath: join(root, 'proc'), sysPath: join(root, 'sys') }
      return openKernel({ ...settings, cgroupRoot: '/', driver: 'auto', coreScheduling }).kernel
    }
    const coreCookie = (procs: string, on: boolean) => open(procs, on).capabilities.knobs.coreCookie
    expect(coreCookie('2\n', false)).toEqual({ usable: false, reason: 'not asked for at the start (identity.coreScheduling)' })
    expect(coreCookie('0\n0\n', true)).toEqual({
      usable: false,
      reason: "the processes of pods can't be seen from this PID namespace: hostPID is needed",
    })
    const asked = coreCookie('2\n', true)
    if (!asked.usable) expect(asked.reason).toMatch(/core|koffi|asked|errno/)
    expect(open('', false).readKnob('/kubepods/besteffort', 'coreCookie')).toBeUndefined()
    expect(open('', false).writeKnob('/kubepods/besteffort', { kind: 'coreCookie', value: 1 }).is).not.toBe('applied')
  })

  it('heeds the switch of group identity: with it off a write has no effect', () => {
    const cpu = { ...V1_GROUP.cpu, 'cpu.bvt_warp_ns': '0\n' }
    const proc = { ...PROC, sys: { kernel: { sched_group_identity_enabled: '0\n' } } }
    const root = planted({
      cgroup: v1Tree('/kubepods/besteffort', { ...V1_GROUP, cpu }),
      proc,
      sys: sysfsOf(TOPOLOGIES.twoCpuVm),
    })
    const settings = { cgroupPath: join(root, 'cgroup'), procPath: join(root, 'proc'), sysPath: join(root, 'sys') }
    expect(openKernel({ ...settings, cgroupRoot: '/', driver: 'auto' }).kernel.capabilities.knobs.bvt).toEqual({
      usable: false,
      reason: 'kernel.sched_group_identity_enabled is 0: the kernel has it and it is switched off',
    })
  })

  it('says which controller is not mounted', () => {
    const { memory: _memory, ...rest } = V1_GROUP
    expect(knobs(v1Tree('/kubepods/besteffort', rest)).memoryMax).toEqual({
      usable: false,
      reason: 'controller memory is not mounted',
    })
  })

  it('says what a kernel without IO limits or weights lacks, and takes the weight of bfq where it is the only one', () => {
    const group = '/kubepods/besteffort'
    const { 'blkio.bfq.weight': _bfq, ...throttle } = V1_GROUP.blkio
    const none = knobs(v1Tree(group, { ...V1_GROUP, blkio: throttle }))
    expect(none.ioWeight).toMatchObject({
      usable: false,
      reason: expect.stringMatching(/bfq\.weight .*BFQ_GROUP_IOSCHED/) as string,
    })
    expect(none.ioMax).toEqual({ usable: true, file: 'blkio.throttle.read_bps_device' })
    expect(knobs(v1Tree(group, { ...V1_GROUP, blkio: {} })).ioMax).toMatchObject({
      usable: false,
      reason: expect.stringContaining('CONFIG_BLK_DEV_THROTTLING') as string,
    })
    const { blkio: _blkio, ...rest } = V1_GROUP
    expect(knobs(v1Tree(group, rest)).ioMax).toEqual({ usable: false, reason: 'controller blkio is not mounted' })
    const { 'io.weight': _weight, ...bare } = V2_GROUP
    expect(knobs(v2Tree(group, bare)).ioWeight).toMatchObject({
      usable: false,
      reason: expect.stringContaining('CONFIG_BLK_CGROUP_IOCOST, or CONFIG_BFQ_GROUP_IOSCHED') as string,
    })
    expect(knobs(v2Tree(group, { ...bare, 'io.bfq.weight': 'default 100\n' })).ioWeight).toEqual({
      usable: true,
      file: 'io.bfq.weight',
    })
    expect(knobs(v2Tree(group, { ...V2_GROUP, 'io.bfq.weight': '1\n' })).ioWeight).toEqual({ usable: true, file: 'io.weight' })
  })

  it('says when the group above hands a controller of v2 not down', () => {
    const { 'io.max': _max, 'io.weight': _weight, ...group } = V2_GROUP
    const { ioMax, freeze } = knobs(v2Tree('/kubepods/besteffort', { ...group, 'cgroup.controllers': 'cpuset cpu memory\n' }))
    expect(ioMax).toMatchObject({
      usable: false,
      reason: expect.stringMatching(/io\.max does not exist: the group above hands out no controller io$/) as string,
    })
    expect(freeze.usable).toBe(true)
  })

  it('gives no kernel version for a controller that v2 does not hand down', () => {
    const { 'memory.max': _max, ...group } = V2_GROUP
    const { memoryMax } = knobs(v2Tree('/kubepods/besteffort', group))
    expect(memoryMax).toMatchObject({ usable: false, reason: expect.stringMatching(/memory\.max does not exist$/) as string })
  })

  it('refuses to enforce without a quota', () => {
    const { 'cpu.max': _max, ...group } = V2_GROUP
    const root = planted({ cgroup: v2Tree('/kubepods/besteffort', group), proc: PROC, sys: {} })
    const { kernel } = openKernel({
      cgroupPath: join(root, 'cgroup'),
      procPath: join(root, 'proc'),
      sysPath: join(root, 'sys'),
      cgroupRoot: '/',
      driver: 'auto',
    })
    expect(codeOf(() => requireWritable(kernel.capabilities))).toBe('E_CGROUP_ACCESS')
  })
})
