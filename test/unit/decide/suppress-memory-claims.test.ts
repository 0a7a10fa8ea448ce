/** What the memory ladder writes: memory.high of offline pods, fixed when a rung is climbed, and protection of online pods. */
import { describe, expect, it } from 'vitest'
import type { Claim, GroupPath } from '../../../src/model/index.ts'
import { GIB, OFFLINE_ROOT } from '../../support/snapshots.ts'
import { BE, LS, MemoryNode, type MemoryPod, MIB, momentOf, OT, type Tick } from './suppress-memory-support.ts'

const page = (bytes: number): number => Math.floor(bytes / 65_536) * 65_536
const high = (pod: MemoryPod, share = 0.9): number => page((pod.workingSetBytes ?? 0) * share)
const pods = [OT, BE, LS]

/** By group and knob, without the roots of the path. */
const claimed = ({ claims }: Pick<Tick, 'claims'>): Record<string, unknown> =>
  Object.fromEntries(claims.map(({ group, kind, value }) => [`${group.replace(OFFLINE_ROOT, '')} ${kind}`, value]))

const HIGHS = { memoryHold: { coolDownMs: 0 }, memoryHighOt: { coolDownMs: 0 }, evict: { enabled: false } }

describe('memory.high', () => {
  it('is a share of the working set of each pod of the class of the rung, in whole pages', () => {
    const node = new MemoryNode(HIGHS)
    expect(claimed(node.run(0, 10, { availablePermyriad: 1200, pods }))).toEqual({ '/podot memoryHigh': high(OT) })
    const both = node.run(11, 20, { availablePermyriad: 900, pods })
    expect(claimed(both)).toEqual({ '/podot memoryHigh': high(OT), '/podbe memoryHigh': high(BE) })
    expect(both.claims[0]).toMatchObject({
      rule: 'suppressMemory',
      because: {
        code: 'memory.high',
        rung: 'memoryHighOt',
        availablePermyriad: 1200,
        enterPermyriad: 1200,
        workingSetBytes: 10 * GIB,
      },
    })
    const gentler = new MemoryNode({ ...HIGHS, suppressMemory: { highPermyriad: 5000 } })
    expect(claimed(gentler.run(0, 10, { availablePermyriad: 1200, pods }))).toEqual({ '/podot memoryHigh': high(OT, 0.5) })
  })

  it('does not follow the working set down, nor up, while its rung is in force', () => {
    const node = new MemoryNode(HIGHS)
    node.run(0, 10, { availablePermyriad: 1200, pods })
    for (const workingSetBytes of [5 * GIB, GIB, 30 * GIB]) {
      const tick = node.run(11, 40, { availablePermyriad: 1200, pods: [{ ...OT, workingSetBytes }] })
      expect(claimed(tick)).toEqual({ '/podot memoryHigh': high(OT) })
      expect(tick.claims[0]?.because).toMatchObject({ workingSetBytes: 10 * GIB })
    }
  })

  it('does not shrink when the rung is left and climbed again before the ladder was empty, but may grow', () => {
    const node = new MemoryNode(HIGHS)
    const squeezed = { ...OT, workingSetBytes: 4 * GIB }
    const grown = { ...OT, workingSetBytes: 12 * GIB }
    node.run(0, 10, { availablePermyriad: 1200, pods })
    expect(claimed(node.run(11, 50, { availablePermyriad: 1800, pods: [squeezed] }))).toEqual({})
    expect(claimed(node.run(51, 60, { availablePermyriad: 1200, pods: [squeezed] }))).toEqual({ '/podot memoryHigh': high(OT) })
    node.run(61, 100, { availablePermyriad: 1800, pods: [grown] })
    expect(claimed(node.run(101, 110, { availablePermyriad: 1200, pods: [grown] }))).toEqual({ '/podot memoryHigh': high(grown) })
    node.run(111, 300, { availablePermyriad: 5000, pods: [squeezed] })
    expect(claimed(node.run(301, 310, { availablePermyriad: 1200, pods: [squeezed] }))).toEqual({
      '/podot memoryHigh': high(squeezed),
    })
  })

  it('leaves a tiny pod 16 MiB', () => {
    const tiny = { ...OT, workingSetBytes: 100_000 }
    const { claims } = new MemoryNode(HIGHS).run(0, 10, { availablePermyriad: 1200, pods: [tiny] })
    expect(claims.map(({ value }) => value)).toEqual([16 * MIB])
  })

  it('holds a young pod, and one that comes later, to its share of what it asked for', () => {
    const young = { ...OT, asks: { 'ot-cpu': 1, 'ot-memory': 8 }, workingSetBytes: 20 * MIB, ageMs: 59_999 }
    const node = new MemoryNode(HIGHS)
    const share = page(8 * 512 * MIB * 0.9)
    expect(claimed(node.run(0, 10, { availablePermyriad: 1200, pods: [young] }))).toEqual({ '/podot memoryHigh': share })
    const later = { ...young, uid: 'later', ageMs: 3_600_000 }
    expect(claimed(node.run(11, 20, { availablePermyriad: 1200, pods: [young, later] }))).toEqual({
      '/podot memoryHigh': share,
      '/podlater memoryHigh': share,
    })
    const unasked = { ...OT, uid: 'unasked' }
    expect(claimed(node.run(21, 30, { availablePermyriad: 1200, pods: [unasked] }))).toEqual({})
  })

  it.each<[string, Partial<MemoryPod>]>([
    ['was never measured', { workingSetAgeMs: Infinity, workingSetBytes: 0 }],
    ['was measured too long ago', { workingSetAgeMs: 10_001 }],
    ['has no readings', { usesMilli: undefined as never }],
    ['has a reading that is no amount', { workingSetBytes: Number.NaN }],
    ['has no group yet', { present: false }],
  ])('is not claimed of a pod that asked for no memory and %s', (_name, odd) => {
    const { claims } = new MemoryNode(HIGHS).run(0, 10, { availablePermyriad: 1200, pods: [{ ...OT, ...odd }] })
    expect(claims).toEqual([])
  })

  it('is the soft limit under cgroup v1', () => {
    const tick = new MemoryNode(HIGHS).run(0, 20, { dialect: 'v1', availablePermyriad: 900, pods })
    expect(claimed(tick)).toEqual({ '/podot memorySoft': high(OT), '/podbe memorySoft': high(BE) })
  })

  it('is passed over where the kernel has neither, and that is said', () => {
    const node = new MemoryNode({ evict: { enabled: true } })
    const squeezed = node.run(0, 20, { missing: ['memoryHigh'], availablePermyriad: 900, pods })
    expect([squeezed.inForce, squeezed.claims]).toEqual([['memoryHold'], []])
    expect(squeezed.state?.ladder.waiting).toMatchObject({ rung: 'memoryHighOt', for: 'impossible', detail: expect.any(String) })
    expect(node.run(21, 40, { missing: ['memoryHigh'], availablePermyriad: 600, pods }).evicts).toEqual(['memoryEvictOt'])
  })

  it('gives a pod that has become BE the rung of BE', () => {
    const node = new MemoryNode(HIGHS)
    node.run(0, 10, { availablePermyriad: 1200, pods: [OT] })
    const moved = { ...OT, asks: { 'be-cpu': 1 } }
    expect(claimed(node.run(11, 15, { availablePermyriad: 1200, pods: [moved] }))).toEqual({})
    const { claims } = node.run(16, 30, { availablePermyriad: 1000, pods: [moved] })
    expect(claims).toMatchObject([{ value: high(OT), because: { rung: 'memoryHighBe', qosClass: 'BE' } }])
  })
})

describe('an agent that starts on a node where memory is short', () => {
  const before = (moment: Parameters<MemoryNode['run']>[2]): MemoryNode => {
    const old = new MemoryNode(HIGHS)
    old.run(0, 20, { ...moment, pods })
    const node = new MemoryNode(HIGHS)
    node.written = old.written
    return node
  }

  it('goes on from the limits that stand, with the rungs that they belong to', () => {
    const node = before({ availablePermyriad: 1000 })
    const squeezed = [{ ...OT, workingSetBytes: GIB }, BE, LS]
    const first = node.run(21, 21, { availablePermyriad: 1300, pods: squeezed })
    expect(first.inForce).toEqual(['memoryHold', 'memoryHighOt', 'memoryHighBe'])
    expect(claimed(first)).toEqual({ '/podot memoryHigh': high(OT), '/podbe memoryHigh': high(BE) })
    expect(node.run(22, 300, { availablePermyriad: 5000, pods: squeezed }).inForce).toEqual([])
  })

  it('does so once the pods are read, and without a reading of memory too', () => {
    const node = before({ availablePermyriad: 1000 })
    const { written } = node
    node.run(21, 25, { availablePermyriad: 1300, pods: [], everRead: false })
    node.written = written
    expect(claimed(node.run(26, 26, { availablePermyriad: null, pods }))).toEqual({
      '/podot memoryHigh': high(OT),
      '/podbe memoryHigh': high(BE),
    })
  })

  it('lets go of them when there is enough memory again', () => {
    const node = before({ availablePermyriad: 1000 })
    expect(node.run(21, 21, { availablePermyriad: 1501, pods })).toMatchObject({ inForce: ['memoryHold', 'memoryHighOt'] })
    expect(before({ availablePermyriad: 1000 }).run(21, 21, { availablePermyriad: 1701, pods })).toMatchObject({ inForce: [] })
  })
})

describe('protection of online pods', () => {
  const guaranteed: MemoryPod = { uid: 'g', qos: 'Guaranteed', memoryRequestBytes: 2 * GIB }
  const ended: MemoryPod = { ...LS, uid: 'ended', phase: 'Succeeded' }
  const absent: MemoryPod = { ...LS, uid: 'absent', present: false }
  const small: MemoryPod = { ...LS, uid: 'small', memoryRequestBytes: 100 * MIB, containers: ['a', 'b'] }
  const online = [LS, small, guaranteed, ended, absent, OT, BE, { uid: 'untagged', usesMilli: 0 }]
  const values = (claims: readonly Claim[]): Record<GroupPath, unknown> =>
    Object.fromEntries(claims.map(({ group, value }) => [group, value]))

  it('is a share of the memory request on each pod and the groups in it, and the sum on the roots above', () => {
    const { claims } = new MemoryNode({ suppressMemory: { protectLowPermyriad: 5000 } }).run(0, 0, { pods: online })
    expect(new Set(claims.map(({ kind, rule }) => `${kind} ${rule}`))).toEqual(new Set(['memoryLow suppressMemory']))
    expect(values(claims)).toEqual({
      '/kubepods/burstable/podls': 4 * GIB,
      '/kubepods/burstable/podls/main': 4 * GIB,
      '/kubepods/burstable/podsmall': 50 * MIB,
      '/kubepods/burstable/podsmall/a': 50 * MIB,
      '/kubepods/burstable/podsmall/b': 50 * MIB,
      '/kubepods/podg': GIB,
      '/kubepods/podg/main': GIB,
      '/kubepods/burstable': 4 * GIB + 50 * MIB,
      '/kubepods': 5 * GIB + 50 * MIB,
    })
    expect(claims.find(({ group }) => group === '/kubepods')?.because).toEqual({
      code: 'memory.protect',
      sharePermyriad: 5000,
      ofBytes: 10 * GIB + 100 * MIB,
    })
  })

  it('reaches up to the root of the tree where the kubelet has a root of its own', () => {
    const node = new MemoryNode({ suppressMemory: { protectMinPermyriad: 10_000 } })
    const groups = node.run(0, 0, { root: '/a/b', pods: [LS] }).claims.map(({ group, kind }) => `${group} ${kind}`)
    expect(groups.slice(2)).toEqual([
      '/a/b/kubepods/burstable memoryMin',
      '/a/b/kubepods memoryMin',
      '/a/b memoryMin',
      '/a memoryMin',
    ])
  })

  it('of both kinds stands side by side, and does not depend on readings', () => {
    const node = new MemoryNode({ suppressMemory: { protectLowPermyriad: 10_000, protectMinPermyriad: 1000 } })
    const { claims } = node.run(0, 0, { availablePermyriad: null, pods: [guaranteed] })
    expect(claims.map(({ group, kind, value }) => [group, kind, value])).toEqual([
      ['/kubepods/podg', 'memoryLow', 2 * GIB],
      ['/kubepods/podg/main', 'memoryLow', 2 * GIB],
      ['/kubepods', 'memoryLow', 2 * GIB],
      ['/kubepods/podg', 'memoryMin', page(2 * GIB * 0.1)],
      ['/kubepods/podg/main', 'memoryMin', page(2 * GIB * 0.1)],
      ['/kubepods', 'memoryMin', page(2 * GIB * 0.1)],
    ])
  })

  it('is off unless asked for, and where the kernel lacks it', () => {
    expect(new MemoryNode().run(0, 0, { pods: online }).claims).toEqual([])
    const settings = { suppressMemory: { protectLowPermyriad: 5000, protectMinPermyriad: 5000 } }
    expect(new MemoryNode(settings).run(0, 0, { dialect: 'v1', pods: online }).claims).toEqual([])
    expect(momentOf({ dialect: 'v1' }).capabilities.knobs.memoryLow.usable).toBe(false)
  })
})
