/** The kubelet's names for its groups, as CgroupName.ToSystemd and ToCgroupfs of the kubelet give them. */
import { describe, expect, it } from 'vitest'
import {
  AgentError,
  containerIdOf,
  groupName,
  isPodGroupName,
  podGroup,
  podsRoot,
  qosRoot,
  type GroupLayout,
} from '../../../src/model/index.ts'

const UID = '12-ab'

const cgroupfs = (root: string): GroupLayout => ({ root, driver: 'cgroupfs' })
const systemd = (root: string): GroupLayout => ({ root, driver: 'systemd' })

describe('the names of groups', () => {
  it.each<[GroupLayout, string, string, string]>([
    [cgroupfs('/'), '/kubepods', '/besteffort', '/pod12-ab'],
    [cgroupfs('/kubelet'), '/kubelet/kubepods', '/besteffort', '/pod12-ab'],
    [cgroupfs('/a/b-c'), '/a/b-c/kubepods', '/besteffort', '/pod12-ab'],
    [systemd('/'), '/kubepods.slice', '/kubepods-besteffort.slice', '/kubepods-besteffort-pod12_ab.slice'],
    [
      systemd('/kubelet'),
      '/kubelet.slice/kubelet-kubepods.slice',
      '/kubelet-kubepods-besteffort.slice',
      '/kubelet-kubepods-besteffort-pod12_ab.slice',
    ],
    [
      systemd('/kubelet/'),
      '/kubelet.slice/kubelet-kubepods.slice',
      '/kubelet-kubepods-besteffort.slice',
      '/kubelet-kubepods-besteffort-pod12_ab.slice',
    ],
    [
      systemd('/a/b'),
      '/a.slice/a-b.slice/a-b-kubepods.slice',
      '/a-b-kubepods-besteffort.slice',
      '/a-b-kubepods-besteffort-pod12_ab.slice',
    ],
    [
      systemd('/my-root'),
      '/my_root.slice/my_root-kubepods.slice',
      '/my_root-kubepods-besteffort.slice',
      '/my_root-kubepods-besteffort-pod12_ab.slice',
    ],
    [
      systemd('/a.slice/a-b.slice'),
      '/a.slice/a-b.slice/a-b-kubepods.slice',
      '/a-b-kubepods-besteffort.slice',
      '/a-b-kubepods-besteffort-pod12_ab.slice',
    ],
  ])('are right for %o', (layout, pods, qos, pod) => {
    expect(podsRoot(layout)).toBe(pods)
    expect(qosRoot(layout, 'BestEffort')).toBe(pods + qos)
    expect(podGroup(layout, 'BestEffort', UID)).toBe(pods + qos + pod)
  })

  it('put Guaranteed pods directly below the root of all pods', () => {
    expect(podGroup(cgroupfs('/'), 'Guaranteed', UID)).toBe('/kubepods/pod12-ab')
    expect(podGroup(systemd('/'), 'Guaranteed', UID)).toBe('/kubepods.slice/kubepods-pod12_ab.slice')
    expect(podGroup(systemd('/kubelet'), 'Guaranteed', UID)).toBe(
      '/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod12_ab.slice',
    )
  })

  it.each(['', '.', '..', '../x', 'a/b', '-a', 'a\0'])('lead nowhere else for the UID %j', (uid) => {
    for (const layout of [cgroupfs('/'), systemd('/'), systemd('/kubelet')])
      expect(() => podGroup(layout, 'BestEffort', uid)).toThrow(AgentError)
  })
})

describe('isPodGroupName', () => {
  it.each([cgroupfs('/'), cgroupfs('/kubelet'), systemd('/'), systemd('/kubelet'), systemd('/a/b'), systemd('/a.slice')])(
    'knows the pods of %o, and not the roots beside them',
    (layout) => {
      const nameOf = (group: string): string => group.slice(group.lastIndexOf('/') + 1)
      for (const qos of ['Guaranteed', 'Burstable', 'BestEffort'] as const)
        expect(isPodGroupName(nameOf(podGroup(layout, qos, UID)))).toBe(true)
      for (const qos of ['Guaranteed', 'Burstable', 'BestEffort'] as const)
        expect(isPodGroupName(nameOf(qosRoot(layout, qos)))).toBe(false)
    },
  )
})

describe('containerIdOf', () => {
  const id = '4f'.repeat(32)

  it.each([
    ['containerd, cgroupfs', id],
    ['containerd, systemd', `cri-containerd-${id}.scope`],
    ['cri-o, cgroupfs', `crio-${id}`],
    ['cri-o, systemd', `crio-${id}.scope`],
    ['docker, cgroupfs', id],
    ['docker, systemd', `docker-${id}.scope`],
  ])('knows a container of %s', (_, name) => {
    expect(containerIdOf(name)).toBe(id)
    expect(containerIdOf(groupName(`/kubepods/besteffort/pod1/${name}`))).toBe(id)
  })

  it.each([
    ["cri-o's monitor, cgroupfs", `crio-conmon-${id}`],
    ["cri-o's monitor, systemd", `crio-conmon-${id}.scope`],
    ['what crun puts below a scope', 'container'],
    ['a pod', `pod${id}`],
    ['a slice', `kubepods-besteffort-pod${id}.slice`],
    ['an id that is too long', `${id}00`],
    ['a word of few hex digits', 'cafe'],
    ['a prefix of nobody', `rkt-${id}.scope`],
    ['a scope without a runtime', `${id}.scope`],
    ['capitals', id.toUpperCase()],
    ['an id with more behind it', `${id}\n`],
    ['nothing', ''],
  ])('takes nothing else for one: %s', (_, name) => {
    expect(containerIdOf(name)).toBeUndefined()
  })
})
