/** Block devices by name or number, and the agent's own groups, on planted trees: what is there, what is not, and nothing that leads out of them. */
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { findDevice } from '../../../src/kernel/devices.ts'
import { openKernel } from '../../../src/kernel/index.ts'
import { ownGroups } from '../../../src/kernel/own-groups.ts'
import { planted, PROC, sysfsOf, v1Tree, v2Tree } from '../../support/trees-on-disk.ts'
import { TOPOLOGIES } from '../../support/topologies.ts'

const SYS = {
  class: {
    block: {
      sda: { dev: '8:0\n' },
      sda1: { dev: '8:1\n', partition: '1\n' },
      'cciss!c0d0': { dev: '104:0\n' },
      odd: { dev: 'what\n' },
      silent: {},
    },
  },
  dev: { block: { '8:0': { dev: '8:0\n' }, '8:1': { dev: '8:1\n', partition: '1\n' } } },
  secret: { dev: '8:0\n' },
}

describe('block devices', () => {
  it.each([
    ['sda', '8:0'],
    ['cciss!c0d0', '104:0'],
    ['8:0', '8:0'],
    // Kernel: a partition has no limits of its own.
    ['sda1', undefined],
    ['8:1', undefined],
    ['8:2', undefined],
    ['sdb', undefined],
    ['odd', undefined],
    ['silent', undefined],
    ['', undefined],
    ['.', undefined],
    ['..', undefined],
    ['../../secret', undefined],
    ['sda/../sda', undefined],
    ['/sda', undefined],
    ['sda\0', undefined],
  ])('%j is %s', (name, number) => {
    expect(findDevice(planted(SYS), name)).toBe(number)
  })
})

describe('own groups', () => {
  const V1 = '12:name=systemd:/x\n5:cpuset:/other\n3:cpu,cpuacct:/kubepods/burstable/podagent/c\n0::/y\n'

  it.each([
    ['v1', V1, ['/kubepods', '/kubepods/burstable', '/kubepods/burstable/podagent', '/kubepods/burstable/podagent/c']],
    ['v2', V1, ['/y']],
    ['v2', '0::/kubelet.slice/a:b.scope\n', ['/kubelet.slice', '/kubelet.slice/a:b.scope']],
    ['v2', '0::/\n', []],
    ['v1', '3:cpu:/\n', []],
    // Outside of this cgroup namespace.
    ['v2', '0::/../../podagent\n', []],
    ['v1', '5:cpuset:/a\n0::/y\n', []],
    ['v2', '', []],
    ['v2', 'garbage\n', []],
  ] as const)('%s %j', (dialect, cgroup, expected) => {
    expect(ownGroups(planted({ self: { cgroup } }), dialect)).toEqual(expected)
  })

  it('are none where there is no procfs', () => {
    expect(ownGroups(planted(), 'v2')).toEqual([])
  })

  it.each(['v1', 'v2'] as const)('%s: only such as are in the tree that is looked at', (dialect) => {
    const group = '/kubepods/besteffort'
    const cgroup = dialect === 'v1' ? v1Tree(group) : v2Tree(group)
    const self = { cgroup: dialect === 'v1' ? `2:cpu:${group}/gone\n` : `0::${group}/gone\n` }
    const root = planted({ cgroup, proc: { ...PROC, self }, sys: sysfsOf(TOPOLOGIES.twoCpuVm) })
    const settings = { cgroupPath: join(root, 'cgroup'), procPath: join(root, 'proc'), sysPath: join(root, 'sys') }
    const { kernel } = openKernel({ ...settings, cgroupRoot: '/', driver: 'auto' })
    expect(kernel.findOwnGroups()).toEqual(['/kubepods', group])
    expect(kernel.readRunnable()).toBe(3)
    expect(kernel.findDevice('sda')).toBeUndefined()
    const pressure = (['cpu', 'io', 'memory'] as const).map((resource) => kernel.readGroupPressureUs(group, resource))
    expect(pressure).toEqual(dialect === 'v1' ? [undefined, undefined, undefined] : [70_001, 80_002, 90_003])
    expect(kernel.readGroupPressureUs('/kubepods/none', 'cpu')).toBeUndefined()
  })
})
