/** The agent's own weight: on its pod and container, or on its own service, and on nothing that it shares. */
import { describe, expect, it } from 'vitest'
import { ownClaims } from '../../../src/decide/own.ts'
import type { GroupLayout } from '../../../src/model/index.ts'
import { configOf } from '../../support/config.ts'
import { LAYOUT, type PodLiteral, snapshotOf, type SnapshotLiteral } from '../../support/snapshots.ts'

const ID = 'a'.repeat(64)

/** A group and all those around it, outermost first, as the kernel port tells of them. */
function lineage(innermost: string): string[] {
  const names = innermost.split('/').slice(1)
  return names.map((_, index) => `/${names.slice(0, index + 1).join('/')}`)
}

interface Given extends SnapshotLiteral {
  readonly layout?: GroupLayout
  readonly settings?: Readonly<Record<string, unknown>>
}

function claimed(innermost: string | undefined, { layout = LAYOUT, settings = {}, ...literal }: Given = {}): string[] {
  const ownGroups = innermost === undefined ? [] : lineage(innermost)
  const snapshot = { ...snapshotOf(literal), ownGroups, layout }
  return ownClaims(snapshot, configOf(settings)).map(
    ({ group, kind, value, rule, because }) => `${group} ${kind} ${JSON.stringify(value)} ${rule} ${because.code}`,
  )
}

const groupsOf = (innermost: string, given?: Given): string[] => claimed(innermost, given).map((text) => text.split(' ')[0] ?? '')

describe('the own weight', () => {
  it.each([
    ['v1', 262_144],
    ['v2', 10_000],
  ] as const)('is the highest there is under %s', (dialect, weight) => {
    expect(claimed('/system.slice/kube-agent.service', { dialect })).toEqual([
      `/system.slice/kube-agent.service weight ${weight} own own.weight`,
    ])
  })

  it('stands on the pod and the container, not on the roots above them', () => {
    expect(groupsOf(`/kubepods/burstable/podx/${ID}`)).toEqual(['/kubepods/burstable/podx', `/kubepods/burstable/podx/${ID}`])
    expect(groupsOf(`/kubepods/podx/${ID}`)).toEqual(['/kubepods/podx', `/kubepods/podx/${ID}`])
  })

  it('stands on the pod and the container that systemd names', () => {
    const pod = '/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod12_34.slice'
    const container = `${pod}/cri-containerd-${ID}.scope`
    expect(groupsOf(container, { layout: { root: '/', driver: 'systemd' } })).toEqual([pod, container])
  })

  it('reaches no further into the container', () => {
    expect(groupsOf(`/kubepods/burstable/podx/${ID}/init.scope`)).toEqual([
      '/kubepods/burstable/podx',
      `/kubepods/burstable/podx/${ID}`,
    ])
  })

  it('is the same where only the innermost group is told', () => {
    const snapshot = { ...snapshotOf(), ownGroups: [`/kubepods/burstable/podx/${ID}`] }
    expect(ownClaims(snapshot, configOf({})).map(({ group }) => group)).toEqual([
      '/kubepods/burstable/podx',
      `/kubepods/burstable/podx/${ID}`,
    ])
  })

  it.each([
    ['the root of the hierarchy', '/'],
    ['a slice', '/system.slice'],
    ['a slice within a slice', '/user.slice/user-1000.slice'],
    ['the session of whoever started it by hand', '/user.slice/user-1000.slice/session-3.scope'],
    ['what systemd itself runs in', '/init.scope'],
    ["the pods' root", '/kubepods'],
    ['a QoS root', '/kubepods/burstable'],
    ['a group below a QoS root that is no pod', '/kubepods/burstable/other'],
  ])('does not stand on %s', (_, innermost) => {
    const snapshot = { ...snapshotOf(), ownGroups: innermost === '/' ? ['/'] : lineage(innermost) }
    expect(ownClaims(snapshot, configOf({}))).toEqual([])
  })

  it("does not stand on a group around the pods' root, which holds every pod of the node", () => {
    expect(claimed('/kubelet', { layout: { root: '/kubelet', driver: 'cgroupfs' } })).toEqual([])
    expect(groupsOf('/kubelet/agent', { layout: { root: '/kubelet', driver: 'cgroupfs' } })).toEqual(['/kubelet/agent'])
    expect(groupsOf('/kubepods2', {})).toEqual(['/kubepods2'])
  })

  it.each([
    ['offline', [{ uid: 'x', asks: { 'be-cpu': 1 } }], 0],
    ['not listed', [], 0],
    ['listed and online', [{ uid: 'x', labels: { 'kube-agent.io/qos-class': 'SYSTEM' } }], 2],
  ] as [string, PodLiteral[], number][])('of a pod below the best-effort root that is %s stands on %j', (_, pods, count) => {
    expect(claimed(`/kubepods/besteffort/podx/${ID}`, { pods })).toHaveLength(count)
  })

  it('is not claimed where it is off, the kernel has none, or the own group is not known', () => {
    const own = '/system.slice/kube-agent.service'
    expect(claimed(own, { settings: { own: { weight: false } } })).toEqual([])
    expect(claimed(own, { missing: ['weight'] })).toEqual([])
    expect(claimed(undefined)).toEqual([])
  })
})
