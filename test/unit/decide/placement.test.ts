/** The rule placement on small machines, example by example; what holds on every machine is in test/property/placement-rule.test.ts. */
import { describe, expect, it } from 'vitest'
import { CpuSet } from '../../../src/cpu/index.ts'
import { decide, EMPTY_MEMORY, type Memory } from '../../../src/decide/index.ts'
import type { Decision, KnobSetting } from '../../../src/model/index.ts'
import { configOf } from '../../support/config.ts'
import { type PodLiteral, readingOf, snapshotOf, type SnapshotLiteral, topologyOf } from '../../support/snapshots.ts'

const label = (value: string) => ({ 'kube-agent.io/qos-class': value })
const LSX = (uid: string, cpus = 2): PodLiteral => ({ uid, qos: 'Guaranteed', requestsMilli: cpus * 1000, labels: label('LSX') })
const LSR = (uid: string, cpus = 2): PodLiteral => ({ uid, qos: 'Burstable', requestsMilli: cpus * 1000, labels: label('LSR') })
const LS = (uid: string): PodLiteral => ({ uid, qos: 'Burstable', requestsMilli: 100 })
const BE = (uid: string, cpus = 2): PodLiteral => ({ uid, asks: { 'be-cpu': cpus * 10 } })

type Settings = Readonly<Record<string, unknown>>

/** A node that decides again and again; what it has decided is carried out. */
class Node {
  decision: Decision | undefined
  #memory: Memory = EMPTY_MEMORY
  #actual: (KnobSetting & { group: string })[] = []
  #nowMs = 100_000
  #config
  readonly literal: SnapshotLiteral

  constructor(placement: Settings = {}, literal: SnapshotLiteral = {}) {
    this.#config = configOf({ placement })
    this.literal = literal
  }

  decide(pods: readonly PodLiteral[], over: SnapshotLiteral = {}): this {
    this.#nowMs += 1000
    const snapshot = snapshotOf({ nowMs: this.#nowMs, ...this.literal, actual: this.#actual, ...over, pods })
    const { decision, memory } = decide(snapshot, this.#memory, this.#config)
    this.#memory = memory
    this.decision = decision
    this.#actual = [...decision.desired.entries()].map(([group, , { setting }]) => ({ ...setting, group }))
    return this
  }

  restart(): void {
    this.#memory = EMPTY_MEMORY
  }

  reload(placement: Settings): void {
    this.#config = configOf({ placement })
  }

  /** What the group of a pod is to hold; nothing when it is not claimed. */
  cpus(pod: PodLiteral): string | undefined {
    const value = this.decision?.desired.get(readingOf(pod, 0).group, 'cpuset')?.setting.value
    return value instanceof CpuSet ? value.toString() : undefined
  }

  because(pod: PodLiteral): unknown {
    return this.decision?.desired.get(readingOf(pod, 0).group, 'cpuset')?.winner.because
  }

  findings(): unknown[] {
    return this.decision?.findings.map(({ code, uid }) => `${uid} ${code}`) ?? []
  }
}

describe('LSX and LSR pods', () => {
  it('get whole cores and threads, the largest first, LSX before LSR', () => {
    const pods = [LSR('r', 1), LSX('x', 1), LSX('y', 3), LS('ls'), BE('be')]
    const node = new Node().decide(pods)
    // CPU 0's core goes last, siblings are n and n + 4.
    expect(['y', 'x', 'r'].map((uid) => node.cpus(pods.find((one) => one.uid === uid) ?? LS('')))).toEqual([
      '1-2,5-6',
      '3,7',
      '0',
    ])
    expect(node.cpus(LS('ls'))).toBe('4')
    expect(node.cpus(BE('be'))).toBe('4')
    expect(node.because(LSX('y', 3))).toEqual({ code: 'placement.exclusive', qosClass: 'LSX', requestedMilli: 3000 })
    expect(node.because(LS('ls'))).toEqual({
      code: 'placement.pool',
      qosClass: 'LS',
      reserved: '',
      dedicated: '',
      exclusive: '0-3,5-7',
    })
  })

  it('round a part of a CPU up', () => {
    const node = new Node().decide([{ ...LSR('r'), requestsMilli: 1001 }])
    expect(CpuSet.parse(node.cpus(LSR('r')) ?? '').size).toBe(2)
  })

  it.each([
    ['0', 0, '0-1,3-5,7'],
    ['half', 5000, '0-1,3-7'],
    ['all', 10_000, undefined],
  ])('share %s of the CPUs of an LSR pod', (_, lsrSharePermyriad, cpus) => {
    const node = new Node({ lsrSharePermyriad }).decide([LSX('none', 0), { ...LSR('r'), uid: 'r' }, BE('be')])
    const own = node.decision?.placement.exclusive[0]
    expect(own?.cpus.toString()).toBe('1,5')
    expect(node.decision?.placement.bestEffort.size).toBe(6 + (lsrSharePermyriad * 2) / 10_000)
    if (cpus === undefined) expect(node.cpus(BE('be'))).toBeUndefined()
  })

  it('have CPUs from when they are listed until they have ended', () => {
    const node = new Node().decide([{ ...LSX('x'), present: false }, LS('ls')])
    expect(node.cpus(LSX('x'))).toBeUndefined()
    expect(node.cpus(LS('ls'))).toBe('0,2-4,6-7')
    expect(node.decide([LSX('x'), LS('ls')]).cpus(LSX('x'))).toBe('1,5')
    expect(node.decide([{ ...LSX('x'), phase: 'Succeeded' }, LS('ls')]).cpus(LS('ls'))).toBeUndefined()
  })

  it('stay on the pool without room, with a finding, and get their own when there is some', () => {
    const node = new Node({ poolMinCpus: 2 }).decide([LSR('a', 6), LSR('b', 1), LS('ls')])
    expect(node.cpus(LSR('b', 1))).toBe(node.cpus(LS('ls')))
    expect(node.findings()).toEqual(['b noExclusiveCpus'])
    expect(node.decision?.findings[0]).toMatchObject({ qosClass: 'LSR', wantedCpus: 1, freeCpus: 0 })
    expect(node.decide([LSR('b', 1), LS('ls')]).findings()).toEqual([])
    expect(CpuSet.parse(node.cpus(LSR('b', 1)) ?? '').size).toBe(1)
  })

  it('stay on the pool without a CPU request, with a finding', () => {
    const node = new Node().decide([LSR('r', 0), LSX('x')])
    expect(node.findings()).toEqual(['r noCpuRequest'])
    expect(node.cpus(LSR('r', 0))).toBe('0,2-4,6-7')
  })

  it('get none, and no finding, while the rule is off', () => {
    const node = new Node({ enabled: false }).decide([LSX('x'), LSR('r', 0)])
    expect([node.findings(), node.decision?.placement.exclusive, node.cpus(LSX('x'))]).toEqual([[], [], undefined])
  })

  it('spread out when told to', () => {
    const nodesOf = (strategy: string): (number | undefined)[] => {
      const node = new Node({ strategy }, { topology: topologyOf('xeon') }).decide([LSX('a'), LSX('b')])
      return node.decision?.placement.exclusive.map(({ cpus }) => topologyOf('xeon').cpu(cpus.first ?? 0)?.node) ?? []
    }
    expect(new Set(nodesOf('pack')).size).toBe(1)
    expect(new Set(nodesOf('spread')).size).toBe(2)
  })

  it('do not move when others go, nor when the agent starts anew', () => {
    const node = new Node().decide([LSX('a'), LSX('b'), LSR('c', 1)])
    const [b, c] = [node.cpus(LSX('b')), node.cpus(LSR('c', 1))]
    node.decide([LSX('b'), LSR('c', 1)])
    expect([node.cpus(LSX('b')), node.cpus(LSR('c', 1))]).toEqual([b, c])
    node.restart()
    node.decide([LSR('c', 1), LSX('b')])
    expect([node.cpus(LSX('b')), node.cpus(LSR('c', 1))]).toEqual([b, c])
  })

  it('take over no set that another holds as well, or that does not fit', () => {
    const actual = [LS('ls'), LSR('r'), LSX('x')].map((pod, index) => ({
      group: readingOf(pod, 0).group,
      kind: 'cpuset' as const,
      value: CpuSet.parse(index === 2 ? '0-2' : '2-3'),
    }))
    const node = new Node().decide([LS('ls'), LSR('r'), LSX('x')], { actual })
    expect(node.cpus(LSX('x'))).toBe('1,5')
    expect(node.cpus(LSR('r'))).toBe('2,6')
  })

  it('grow and shrink around what they have', () => {
    const node = new Node().decide([LSR('r', 2), LSX('x')])
    expect(node.cpus(LSR('r'))).toBe('2,6')
    expect(node.decide([LSR('r', 4), LSX('x')]).cpus(LSR('r'))).toBe('2-3,6-7')
    const shrunk = CpuSet.parse(node.decide([LSR('r', 3), LSX('x')]).cpus(LSR('r')) ?? '')
    expect([shrunk.size, shrunk.isSubsetOf(CpuSet.parse('2-3,6-7'))]).toEqual([3, true])
    expect(node.cpus(LSX('x'))).toBe('1,5')
  })

  it('yield CPUs that settings take away, and only those who have them', () => {
    const node = new Node().decide([LSX('x'), LSR('r', 1), LS('ls')])
    expect([node.cpus(LSX('x')), node.cpus(LSR('r', 1))]).toEqual(['1,5', '2'])
    node.reload({ reservedCpus: '5' })
    node.decide([LSX('x'), LSR('r', 1), LS('ls')])
    expect([node.cpus(LSX('x')), node.cpus(LSR('r', 1))]).toEqual(['3,7', '2'])
    node.reload({ reservedCpus: '5', dedicatedCpus: '2' })
    node.decide([LSX('x'), LSR('r', 1), LS('ls')])
    expect([node.cpus(LSX('x')), node.cpus(LSR('r', 1))]).toEqual(['3,7', '1'])
  })

  it('keep what each of them has left when several lose a part', () => {
    const pods = [LSR('a'), LSR('b')]
    const node = new Node().decide(pods)
    expect(pods.map((pod) => node.cpus(pod))).toEqual(['1,5', '2,6'])
    node.reload({ reservedCpus: '5-6' })
    node.decide(pods)
    const sets = pods.map((pod) => CpuSet.parse(node.cpus(pod) ?? ''))
    expect(sets.map((set) => [set.size, set.has(1), set.has(2)])).toEqual([
      [2, true, false],
      [2, false, true],
    ])
  })

  it('get what a pod leaves that finds no room any more, at once', () => {
    const pods = [LSR('b', 4), LS('ls')]
    const node = new Node().decide(pods)
    node.decide([...pods, LSX('a', 3)])
    expect(node.findings()).toEqual(['a noExclusiveCpus'])
    node.decide([...pods, LSX('a', 3)], { topology: topologyOf('smtOff') })
    expect(node.findings()).toEqual(['b noExclusiveCpus'])
    expect([node.cpus(LSX('a', 3)), node.cpus(LS('ls'))]).toEqual(['1-3', '0'])
  })

  it('give way to the least of the pool when CPUs go: LSR before LSX', () => {
    const pods = [LSX('x', 4), LSR('r', 2), LS('ls')]
    const node = new Node({ poolMinCpus: 2 }).decide(pods)
    expect(node.findings()).toEqual([])
    node.decide(pods, { topology: topologyOf('smtOff') })
    expect(node.findings()).toEqual(['x noExclusiveCpus'])
    expect(CpuSet.parse(node.cpus(LSR('r', 2)) ?? '').size).toBe(2)
    expect(CpuSet.parse(node.cpus(LS('ls')) ?? '').size).toBe(2)
  })

  it('are not given what the group of all pods lacks, where that is known', () => {
    const root = { group: '/kubepods', kind: 'cpuset' as const, value: CpuSet.parse('0-2,4-6') }
    const node = new Node({}, { dialect: 'v1' }).decide([LSX('x', 4), LS('ls')], { actual: [root] })
    expect(node.cpus(LSX('x', 4))).toBe('1-2,5-6')
    expect(node.cpus(LS('ls'))).toBe('0,4')
    expect(node.decide([LS('ls')], { actual: [root] }).cpus(LS('ls'))).toBeUndefined()
  })
})

describe('offline pods without a share of the pool', () => {
  const dedicatedOnly = { dedicatedCpus: '6-7', lsSharePermyriad: 0 }

  it('run on the dedicated CPUs and nowhere else', () => {
    const node = new Node(dedicatedOnly).decide([BE('a'), LS('ls')])
    expect([node.cpus(BE('a')), node.cpus(LS('ls'))]).toEqual(['6-7', '0-5'])
    expect(node.because(BE('a'))).toMatchObject({ dedicated: '6-7', shared: '' })
  })

  it('and on what LSR pods share, if they do', () => {
    const pods = [LSR('r', 2), BE('a')]
    expect(CpuSet.parse(new Node(dedicatedOnly).decide(pods).cpus(BE('a')) ?? '').size).toBe(3)
    expect(new Node({ ...dedicatedOnly, lsrSharePermyriad: 0 }).decide(pods).cpus(BE('a'))).toBe('6-7')
  })

  it('get one CPU of the pool, and no more, while all those dedicated are offline', () => {
    const node = new Node(dedicatedOnly).decide([BE('a'), LS('ls')], { topology: topologyOf('smtOff') })
    expect(CpuSet.parse(node.cpus(BE('a')) ?? '').size).toBe(1)
  })
})

describe('BE pods with exclusive pinning', () => {
  it('get CPUs of their own while there are some, and share the rest with those that find none', () => {
    const node = new Node({ bePinning: 'exclusive', dedicatedCpus: '2-7', lsSharePermyriad: 1, reservedCpus: '0' })
    const pods = [BE('a', 2), BE('b', 2), BE('c', 4), { uid: 'd', labels: label('BE') }, { uid: 'ot', asks: { 'ot-cpu': 5 } }]
    node.decide(pods)
    const set = (uid: string): CpuSet => CpuSet.parse(node.cpus(pods.find((one) => one.uid === uid) ?? BE('')) ?? '')
    expect(['a', 'b', 'c', 'd', 'ot'].map((uid) => set(uid).size)).toEqual([2, 1, 4, 1, 7])
    expect(set('a').overlaps(set('c'))).toBe(false)
    expect(set('b').equals(set('d'))).toBe(true)
    expect(node.because(BE('c', 4))).toEqual({ code: 'placement.beExclusive', askedMilli: 4000, bestEffort: '1-7' })
    node.restart()
    const before = pods.map((pod) => node.cpus(pod))
    node.decide(pods)
    expect(pods.map((pod) => node.cpus(pod))).toEqual(before)
  })

  it('share everything when nothing is left', () => {
    const node = new Node({ bePinning: 'exclusive', reservedCpus: '0' }).decide([BE('a', 7), BE('b', 1)])
    expect([node.cpus(BE('a', 7)), node.cpus(BE('b', 1))]).toEqual(['1-7', '1-7'])
  })

  it('share one set by default', () => {
    const node = new Node({ reservedCpus: '0' }).decide([BE('a', 7), BE('b', 1)])
    expect([node.cpus(BE('a', 7)), node.cpus(BE('b', 1))]).toEqual(['1-7', '1-7'])
  })
})
