/** What offline pods may read and write: whose group is limited under which kernel, and how limits give way while online work waits. */
import { describe, expect, it } from 'vitest'
import { classify } from '../../../src/decide/classify.ts'
import { type IoMemory, suppressIo } from '../../../src/decide/suppress/io.ts'
import {
  type Abstention,
  type Claim,
  type ContainerSpec,
  IoLimits,
  NO_DEVICE_LIMITS,
  type NodeSnapshot,
  type PodReading,
} from '../../../src/model/index.ts'
import { configOf } from '../../support/config.ts'
import { OFFLINE_ROOT, type PodLiteral, snapshotOf, type SnapshotLiteral } from '../../support/snapshots.ts'

const BE: PodLiteral = { uid: 'be', asks: { 'be-cpu': 10 } }
const OT: PodLiteral = { uid: 'ot', asks: { 'ot-cpu': 10 } }
const OT2: PodLiteral = { uid: 'ot2', asks: { 'ot-cpu': 10 } }
const UNTAGGED: PodLiteral = { uid: 'untagged' }
const LS: PodLiteral = { uid: 'ls', qos: 'Burstable', requestsMilli: 1000 }
const LIMITS = { devices: ['sda'], readBps: 10_000_000, writeIops: 200 }
const DEVICES = new Map([
  ['sda', '8:0'],
  ['sdb', '8:16'],
  ['sdc', '8:32'],
])

interface Given extends SnapshotLiteral {
  /** Stalls of the online groups, permyriad. */
  readonly online?: number
  readonly node?: number
  readonly pressureAgeMs?: number
  readonly readings?: readonly PodReading[]
  readonly everRead?: boolean
}

function snapshotWith({ online, node, pressureAgeMs = 0, readings, everRead = true, ...literal }: Given): NodeSnapshot {
  const snapshot = snapshotOf(literal)
  const pressure = (permyriad: number | undefined) =>
    permyriad === undefined
      ? {}
      : { ioPressure: { value: { someUsPerSecond: permyriad * 100 }, atMs: snapshot.nowMs - pressureAgeMs, source: 'test' } }
  return {
    ...snapshot,
    devices: DEVICES,
    online: pressure(online),
    node: { ...snapshot.node, ...pressure(node) },
    pods: { ...snapshot.pods, everRead, ...(readings === undefined ? {} : { pods: readings }) },
  }
}

function run(given: Given, io: Readonly<Record<string, unknown>>, memory?: IoMemory) {
  const config = configOf({ suppressIo: { enabled: true, ...io } })
  const snapshot = snapshotWith(given)
  const abstentions: Abstention[] = []
  const pods = snapshot.pods.pods.map((reading) => classify(reading, config))
  return { ...suppressIo(snapshot, pods, { memory, abstentions }, config), abstentions }
}

const short = (group: string): string => (group === OFFLINE_ROOT ? 'root' : group.slice(OFFLINE_ROOT.length + 1))
const shown = (claims: readonly Claim[], kind: 'ioMax' | 'ioWeight'): string[] =>
  claims
    .filter((claim) => claim.kind === kind)
    .map(({ group, value }) => `${short(group)}: ${value instanceof IoLimits ? value.toString() : JSON.stringify(value)}`)
const limits = (given: Given, io: Readonly<Record<string, unknown>>) => shown(run(given, io).claims, 'ioMax')
const weights = (given: Given, io: Readonly<Record<string, unknown>> = {}) => shown(run(given, io).claims, 'ioWeight')

/** Ticks one after the other at 1 s, or as said, each with stalls of online groups in permyriad; the shares that come of them. */
function shares(history: readonly (number | undefined)[], io: Readonly<Record<string, unknown>> = {}, stepMs = 1000) {
  let memory: IoMemory | undefined
  return history.map((online, index) => {
    const given: Given = { pods: [BE], nowMs: 100_000 + index * stepMs, ...(online === undefined ? {} : { online }) }
    const result = run(given, { ...LIMITS, ...io }, memory)
    memory = result.memory
    return `${result.state?.sharePermyriad} ${result.state?.is}`
  })
}

describe('IO weights', () => {
  it('stand on each offline pod, and on the root that is weighed against online work', () => {
    expect(weights({ pods: [BE, OT, LS] })).toEqual(['root: 20', 'podbe: 20', 'podot: 5'])
  })

  it('of a root that holds OT pods only are those of OT', () => {
    expect(weights({ pods: [OT, LS] })).toEqual(['root: 5', 'podot: 5'])
  })

  it('leave the root alone while an online pod lives below it', () => {
    expect(weights({ pods: [BE, UNTAGGED] })).toEqual(['podbe: 20'])
    expect(weights({ pods: [BE, { ...UNTAGGED, phase: 'Succeeded' }] })).toEqual(['root: 20', 'podbe: 20'])
  })

  it('are the least there is while online work waits for IO, until it waits clearly less', () => {
    const first = run({ pods: [BE, OT], online: 2001 }, {})
    expect(shown(first.claims, 'ioWeight')).toEqual(['root: 1', 'podbe: 1', 'podot: 1'])
    const between = run({ pods: [BE, OT], online: 1500, nowMs: 101_000 }, {}, first.memory)
    expect(shown(between.claims, 'ioWeight')).toEqual(['root: 1', 'podbe: 1', 'podot: 1'])
    const after = run({ pods: [BE, OT], online: 900, nowMs: 102_000 }, {}, between.memory)
    expect(shown(after.claims, 'ioWeight')).toEqual(['root: 20', 'podbe: 20', 'podot: 5'])
  })

  it('are not claimed where the kernel has none, nor of a pod whose group is not there yet', () => {
    expect(weights({ pods: [BE], missing: ['ioWeight'] })).toEqual([])
    expect(weights({ pods: [{ ...BE, present: false }] })).toEqual([])
  })
})

describe('IO limits', () => {
  it('are by default off', () => {
    const config = configOf({})
    expect(config.suppressIo.enabled).toBe(false)
    const snapshot = snapshotWith({ pods: [BE] })
    const pods = snapshot.pods.pods.map((reading) => classify(reading, config))
    expect(suppressIo(snapshot, pods, { memory: undefined, abstentions: [] }, config)).toEqual({ claims: [] })
  })

  it('under v2 stand on the root for both classes, and on each OT pod for its part', () => {
    expect(limits({ pods: [BE, OT, OT2, LS] }, { ...LIMITS, otSharePermyriad: 4000 })).toEqual([
      'root: 8:0 rbps=10000000 wbps=max riops=max wiops=200',
      'podot: 8:0 rbps=2000000 wbps=max riops=max wiops=40',
      'podot2: 8:0 rbps=2000000 wbps=max riops=max wiops=40',
    ])
  })

  it('under v2 stand on the offline pods while an online pod lives below the root', () => {
    expect(limits({ pods: [BE, OT, UNTAGGED] }, { ...LIMITS, otSharePermyriad: 4000 })).toEqual([
      'podbe: 8:0 rbps=6000000 wbps=max riops=max wiops=120',
      'podot: 8:0 rbps=4000000 wbps=max riops=max wiops=80',
    ])
  })

  it('under v1 are split between the containers, an OT one at most as much as a BE one', () => {
    const pods = [{ ...BE, containers: ['a', 'b', 'c'] }, OT]
    expect(limits({ pods, dialect: 'v1' }, { devices: ['sda'], readBps: 8_000_000 })).toEqual([
      'podbe/a: 8:0 rbps=2000000 wbps=max riops=max wiops=max',
      'podbe/b: 8:0 rbps=2000000 wbps=max riops=max wiops=max',
      'podbe/c: 8:0 rbps=2000000 wbps=max riops=max wiops=max',
      'podot/main: 8:0 rbps=2000000 wbps=max riops=max wiops=max',
    ])
  })

  it('under v1 leave OT no more than its part, also when it is alone', () => {
    expect(limits({ pods: [OT], dialect: 'v1' }, { devices: ['sda'], readBps: 8_000_000, otSharePermyriad: 2500 })).toEqual([
      'podot/main: 8:0 rbps=2000000 wbps=max riops=max wiops=max',
    ])
  })

  it('are never so small that a group would hang, nor 0, which to v1 is none', () => {
    const pods = [{ ...BE, containers: Array.from({ length: 40 }, (_, index) => `c${index}`) }]
    const claims = limits({ pods, dialect: 'v1' }, { devices: ['sda'], readBps: 65_536, writeBps: 409_600, readIops: 16 })
    expect(claims).toHaveLength(40)
    expect(new Set(claims.map((claim) => claim.replace(/.*: /, '')))).toEqual(
      new Set(['8:0 rbps=4096 wbps=10240 riops=1 wiops=max']),
    )
  })

  it('are none where the kernel has no bits for so many operations', () => {
    const io = { devices: ['sda'], readIops: 2 ** 32, writeIops: 2 ** 32 - 2 }
    expect(limits({ pods: [BE] }, io)).toEqual(['root: 8:0 rbps=max wbps=max riops=max wiops=4294967294'])
  })

  it('are small on devices for online work and none on those given to offline pods, whatever online work waits', () => {
    const io = { ...LIMITS, onlineDevices: ['sdb'], offlineDevices: ['sdc'], onlineBps: 131_072 }
    const wanted = [
      'root: 8:0 rbps=5000000 wbps=max riops=max wiops=100',
      '8:16 rbps=131072 wbps=131072 riops=max wiops=max',
      '8:32 rbps=max wbps=max riops=max wiops=max',
    ].join('\n')
    expect(limits({ pods: [BE], online: 9000 }, io)).toEqual([wanted])
  })

  it('say which devices the node does not have, and limit the others', () => {
    const { state, claims } = run({ pods: [BE] }, { ...LIMITS, devices: ['nvme0n1', 'sda'], onlineDevices: ['zz'] })
    expect(state?.missingDevices).toEqual(['zz', 'nvme0n1'])
    expect(shown(claims, 'ioMax')).toEqual(['root: 8:0 rbps=10000000 wbps=max riops=max wiops=200'])
  })

  it('take a device that goes by two names for what it is first: given to offline pods, then for online work', () => {
    const devices = new Map([...DEVICES, ['8:0', '8:0']])
    const config = configOf({ suppressIo: { enabled: true, ...LIMITS, offlineDevices: ['8:0'] } })
    const snapshot = { ...snapshotWith({ pods: [BE] }), devices }
    const pods = snapshot.pods.pods.map((reading) => classify(reading, config))
    const { claims } = suppressIo(snapshot, pods, { memory: undefined, abstentions: [] }, config)
    expect(shown(claims, 'ioMax')).toEqual(['root: 8:0 rbps=max wbps=max riops=max wiops=max'])
  })

  it('are not claimed without offline pods, without settings, or where the kernel has none', () => {
    expect(limits({ pods: [LS, UNTAGGED] }, LIMITS)).toEqual([])
    expect(limits({ pods: [BE] }, { devices: ['sda'] })).toEqual([])
    expect(limits({ pods: [BE], missing: ['ioMax'] }, LIMITS)).toEqual([])
  })

  it('say what they follow from', () => {
    const { claims } = run({ pods: [OT, OT2], online: 3000 }, { ...LIMITS, onlineDevices: ['sdb'] })
    expect(claims.filter(({ kind }) => kind === 'ioMax').map(({ because, rule }) => [rule, because])).toEqual([
      ['suppressIo', { code: 'io.limits', sharePermyriad: 5000, groups: 1, reservedDevices: ['sdb'] }],
      ['suppressIo', { code: 'io.limits', sharePermyriad: 5000, groups: 2, reservedDevices: ['sdb'] }],
      ['suppressIo', { code: 'io.limits', sharePermyriad: 5000, groups: 2, reservedDevices: ['sdb'] }],
    ])
  })
})

describe('IO limits of containers under v1', () => {
  const id = (letter: string): string => letter.repeat(64)
  const container = (letter: string, over: Partial<ContainerSpec> = {}): ContainerSpec => ({
    name: letter,
    kind: 'main',
    extended: {},
    id: `containerd://${id(letter)}`,
    ...over,
  })
  const of = (containers: readonly ContainerSpec[], groups: readonly string[]): string[] => {
    const [reading] = snapshotOf({ pods: [BE] }).pods.pods
    if (reading === undefined) throw new Error('a snapshot of one pod has one pod')
    const childGroups = groups.map((name) => `${reading.group}/${name}`)
    const readings = [{ ...reading, spec: { ...reading.spec, containers }, childGroups }]
    return limits({ readings, dialect: 'v1' }, { devices: ['sda'], readBps: 8_000_000 }).map((text) =>
      text.replace(/podbe\/(.).*rbps=(\d+).*/, '$1 $2'),
    )
  }

  it('waste nothing on the sandbox', () => {
    expect(of([container('a')], [id('a'), id('f')])).toEqual(['a 8000000'])
    expect(of([container('a'), container('b')], [id('f'), id('a'), id('b')])).toEqual(['a 4000000', 'b 4000000'])
  })

  it('stand on every group while a container is not known by its id, or there are more groups than one beside', () => {
    const { id: _none, ...unknown } = container('b')
    expect(of([container('a'), unknown], [id('a'), id('b')])).toEqual(['a 4000000', 'b 4000000'])
    expect(of([container('a'), container('b')], [id('a'), id('c')])).toEqual(['a 4000000', 'c 4000000'])
    expect(of([container('a')], [id('a'), id('e'), id('f')])).toHaveLength(3)
  })

  it('count an init container while it runs, and not after', () => {
    const init = container('b', { kind: 'init' })
    expect(of([container('a'), init], [id('a'), id('f')])).toEqual(['a 8000000'])
    expect(of([container('a'), init], [id('a'), id('b'), id('f')])).toEqual(['a 4000000', 'b 4000000'])
  })
})

describe('the share of the limits', () => {
  it('is cut at once, once a second, down to the floor, and held between exit and bound', () => {
    expect(shares([0, 2001, 9000, 1500, 9000, 9000], { floorPermyriad: 1500 })).toEqual([
      '10000 quiet',
      '5000 cut',
      '2500 cut',
      '2500 hold',
      '1500 cut',
      '1500 cut',
    ])
  })

  it('is not held for ever between exit and bound: after futileMs it grows, and is cut above the bound as ever', () => {
    const held = Array.from({ length: 31 }, () => 1500)
    const all = shares([9000, ...held, 1500, 1500, 2001, 1500], { growthPermyriad: 1000 })
    expect(all.slice(0, 31)).toEqual(['5000 cut', ...Array.from({ length: 30 }, () => '5000 hold')])
    expect(all.slice(31)).toEqual(['6000 quiet', '7000 quiet', '8000 quiet', '4000 cut', '4000 hold'])
  })

  it('is not cut twice within a second, however fast the ticks', () => {
    expect(shares([9000, 9000, 9000, 9000, 9000], {}, 300)).toEqual(['5000 cut', '5000 cut', '5000 cut', '5000 cut', '2500 cut'])
  })

  it('grows back a step a second', () => {
    expect(shares([9000, 0, 0, 0], { growthPermyriad: 2000 })).toEqual(['5000 cut', '7000 quiet', '9000 quiet', '10000 quiet'])
    expect(shares([9000, 0, 0, 0], { growthPermyriad: 2000 }, 500).at(-1)).toBe('7000 quiet')
  })

  it('is never below the floor, also when that was raised meanwhile', () => {
    const { memory } = run({ pods: [BE], online: 9000 }, { ...LIMITS, cutPermyriad: 1000 })
    expect(memory?.sharePermyriad).toBe(1000)
    const raised = run({ pods: [BE], online: 1500, nowMs: 101_000 }, { ...LIMITS, floorPermyriad: 3000 }, memory)
    expect(raised.state?.sharePermyriad).toBe(3000)
  })

  it('does not grow without readings, and says so', () => {
    expect(shares([9000, undefined, undefined, undefined])).toEqual(['5000 cut', '5000 unknown', '5000 unknown', '5000 unknown'])
    const memory = run({ pods: [BE], online: 9000 }, LIMITS).memory
    expect(run({ pods: [BE], nowMs: 130_000 }, LIMITS, memory).abstentions).toEqual([{ code: 'silent', rule: 'suppressIo' }])
  })

  it('takes a reading of more than two calm ticks for none', () => {
    const memory = run({ pods: [BE], online: 9000 }, LIMITS).memory
    const late = run({ pods: [BE], online: 0, pressureAgeMs: 2001, nowMs: 110_000 }, LIMITS, memory)
    expect([late.state?.sharePermyriad, late.state?.is]).toEqual([5000, 'unknown'])
    expect(run({ pods: [BE], online: 0, pressureAgeMs: 2000, nowMs: 110_000 }, LIMITS, memory).state?.is).toBe('quiet')
  })

  it('is not cut for stalls that were read before the last cut', () => {
    const memory = run({ pods: [BE], online: 9000 }, LIMITS).memory
    const again = run({ pods: [BE], online: 9000, pressureAgeMs: 1000, nowMs: 101_000 }, LIMITS, memory)
    expect(again.state?.sharePermyriad).toBe(5000)
  })

  it('goes by the online groups, and by the node only where groups count no stalls', () => {
    expect(run({ pods: [BE], online: 0, node: 9000 }, LIMITS).state?.is).toBe('quiet')
    expect(run({ pods: [BE], node: 9000 }, LIMITS).state).toMatchObject({ is: 'cut', pressurePermyriad: 9000 })
  })

  it('is all on a kernel that counts no stalls, which nobody calls silent', () => {
    const { state, abstentions } = run({ pods: [BE] }, LIMITS)
    expect(state).toEqual({ sharePermyriad: 10_000, is: 'unknown', missingDevices: [] })
    expect(abstentions).toEqual([])
  })

  it('grows back where even the floor brings no relief, until online work waits less once', () => {
    const io = { floorPermyriad: 5000, growthPermyriad: 2500 }
    const pressed = Array.from({ length: 34 }, () => 9000)
    const history = shares([...pressed, 500, 9000], io)
    expect(history.slice(0, 3)).toEqual(['5000 cut', '5000 cut', '5000 cut'])
    expect(history.slice(30)).toEqual(['5000 cut', '5000 futile', '7500 futile', '10000 futile', '10000 quiet', '5000 cut'])
  })

  it('goes on after a restart from the limits that stand in the kernel', () => {
    const standing = IoLimits.of([['8:0', { ...NO_DEVICE_LIMITS, readBps: 2_000_000, writeIops: 40 }]])
    const actual = [{ group: OFFLINE_ROOT, kind: 'ioMax', value: standing } as const]
    expect(run({ pods: [BE], actual, online: 1500 }, LIMITS).state).toMatchObject({ sharePermyriad: 2000, is: 'hold' })
    expect(run({ pods: [BE], actual: [], online: 1500 }, LIMITS).state?.sharePermyriad).toBe(10_000)
    // A tick before the pods were read decides nothing for those after it.
    expect(run({ pods: [], actual, everRead: false }, LIMITS).memory).toBeUndefined()
  })

  it('of an earlier agent grows back slowly where the kernel counts no stalls', () => {
    const standing = IoLimits.of([['8:0', { ...NO_DEVICE_LIMITS, readBps: 5_000_000, writeIops: 100 }]])
    const actual = [{ group: OFFLINE_ROOT, kind: 'ioMax', value: standing } as const]
    let memory: IoMemory | undefined
    const seen = [0, 9000, 10_000, 19_000, 20_000].map((afterMs) => {
      const result = run({ pods: [BE], actual, nowMs: 100_000 + afterMs }, LIMITS, memory)
      memory = result.memory
      return result.state?.sharePermyriad
    })
    expect(seen).toEqual([5000, 5000, 5500, 5500, 6000])
  })

  it.each([Number.NaN, Infinity, -5])('is not moved by a sensor that tells of %d', (lie) => {
    const memory = run({ pods: [BE], online: 9000 }, LIMITS).memory
    const { state } = run({ pods: [BE], online: lie, nowMs: 101_000 }, LIMITS, memory)
    expect(state).toMatchObject({ sharePermyriad: 5000, is: 'unknown' })
  })
})
