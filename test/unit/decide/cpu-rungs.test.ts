/** The rungs above the allowance: when they are climbed, which CPUs cpuNarrow leaves, who is frozen, what eviction waits for. 8 CPUs. */
import { describe, expect, it } from 'vitest'
import { CpuSet } from '../../../src/cpu/index.ts'
import { decide, EMPTY_MEMORY, type Memory } from '../../../src/decide/index.ts'
import type { Decision, EvictionRecord, KnobKind, KnobValue } from '../../../src/model/index.ts'
import { NO_EVICTIONS } from '../../../src/model/index.ts'
import { configOf } from '../../support/config.ts'
import { OFFLINE_ROOT, type PodLiteral, snapshotOf, type SnapshotLiteral, topologyOf } from '../../support/snapshots.ts'

const QUICK = { enterMs: 1000, exitMs: 1000, coolDownMs: 0 }
const rungs = { cpuNarrow: QUICK, cpuFreeze: { ...QUICK, enabled: true }, cpuEvict: QUICK }
const NARROW = configOf({ ...rungs, cpuFreeze: { ...QUICK, enabled: false } })
const FREEZE = configOf(rungs)
const PODS: readonly PodLiteral[] = [
  { uid: 'be', asks: { 'be-cpu': 20 }, usesMilli: 300 },
  { uid: 'ot', asks: { 'ot-cpu': 20 }, usesMilli: 100 },
  { uid: 'ls', qos: 'Burstable', usesMilli: 3000, requestsMilli: 3000 },
  { uid: 'untagged', usesMilli: 10 },
  { uid: 'soon', asks: { 'be-cpu': 1 }, present: false },
]

/** A node that uses so much, every 500 ms; with the settings of an agent that has gathered readings. */
function ticks(moments: readonly SnapshotLiteral[], config = NARROW): Decision[] {
  let memory: Memory = EMPTY_MEMORY
  return moments.map((moment, index) => {
    const literal: SnapshotLiteral = { nowMs: index * 500, pods: PODS, nodeMilli: 7600, offlineMilli: 400, ...moment }
    const { decision, memory: after } = decide(snapshotOf(literal), memory, config)
    memory = after
    return decision
  })
}

const HOT: SnapshotLiteral = {}
/** 2000 ms gather readings, 1000 ms are the dwell time of the rung. */
const CLIMB = Array.from({ length: 7 }, () => HOT)
const inForce = (decision: Decision | undefined): string | undefined => decision?.suppression?.ladder.inForce.join(' ')
const valueOf = (decision: Decision | undefined, uid: string, kind: KnobKind): KnobValue | undefined =>
  decision?.desired.get(`${OFFLINE_ROOT}/pod${uid}`, kind)?.setting.value
function cpusOf(decision: Decision | undefined, uid: string): string {
  const value = valueOf(decision, uid, 'cpuset')
  return value instanceof CpuSet ? value.toString() : ''
}

describe('cpuNarrow', () => {
  it('comes into force once the allowance is at its floor and the node has been full for enterMs', () => {
    expect(ticks(CLIMB).map(inForce)).toEqual([undefined, undefined, undefined, undefined, '', '', 'cpuNarrow'])
    expect(ticks(CLIMB).at(-1)?.suppression).toMatchObject({ allowanceMilli: 160, bound: 'floor' })
  })

  it('keeps each offline pod to one whole core at the far end, and nobody else', () => {
    const { cores } = topologyOf('desktop')
    const last = ticks(CLIMB).at(-1)
    expect(cpusOf(last, 'be')).toBe(cores.at(-1)?.cpus.toString())
    expect(cpusOf(last, 'ot')).toBe(cores.at(-1)?.cpus.toString())
    expect([cpusOf(last, 'untagged'), cpusOf(last, 'soon')]).toEqual(['', ''])
    expect(last?.desired.get('/kubepods/burstable/podls', 'cpuset')).toBeUndefined()
  })

  it('narrows the containers as well under cgroup v1, whose sets do not follow', () => {
    const last = ticks(CLIMB.map((one) => ({ ...one, dialect: 'v1' }))).at(-1)
    const groups = [...(last?.desired.groups() ?? [])].filter((group) => last?.desired.get(group, 'cpuset') !== undefined)
    expect(groups.sort()).toEqual([
      `${OFFLINE_ROOT}/podbe`,
      `${OFFLINE_ROOT}/podbe/main`,
      `${OFFLINE_ROOT}/podot`,
      `${OFFLINE_ROOT}/podot/main`,
    ])
  })

  it('is not climbed while the allowance is above its floor, however online work waits', () => {
    const pressed = CLIMB.map(() => ({ nodeMilli: 3000, offlineMilli: 100, cpuPressurePermyriad: 9000 }))
    const last = ticks(pressed).at(-1)
    expect([inForce(last), (last?.suppression?.allowanceMilli ?? 0) > 160]).toEqual(['', true])
  })

  it('is climbed while online work waits, though the node is not full', () => {
    const pressed = { nodeMilli: 6000, cpuPressurePermyriad: 2500 }
    expect(inForce(ticks(CLIMB.map(() => pressed)).at(-1))).toBe('cpuNarrow')
    expect(inForce(ticks(CLIMB.map(() => ({ ...pressed, cpuPressurePermyriad: 1500 }))).at(-1))).toBe('')
  })

  it('is left once the node has been less full for exitMs, and claims nothing then', () => {
    const all = ticks([...CLIMB, ...Array.from({ length: 3 }, () => ({ nodeMilli: 6000 }))])
    expect(all.slice(-4).map(inForce)).toEqual(['cpuNarrow', 'cpuNarrow', 'cpuNarrow', ''])
    expect(cpusOf(all.at(-1), 'be')).toBe('')
  })

  it('is not left while online work waits, or while that can not be read', () => {
    const calm = { nodeMilli: 6000, cpuPressurePermyriad: 0 }
    const left = [calm, calm, calm].map((one, index) => ({ ...one, nowMs: 3500 + index * 500 }))
    expect(inForce(ticks([...CLIMB, ...left]).at(-1))).toBe('')
    expect(inForce(ticks([...CLIMB, ...left.map((one) => ({ ...one, cpuPressurePermyriad: 1500 }))]).at(-1))).toBe('cpuNarrow')
    expect(inForce(ticks([...CLIMB, ...left.map((one) => ({ ...one, pressureAgeMs: 2001 }))]).at(-1))).toBe('')
    const known = CLIMB.map(() => ({ cpuPressurePermyriad: 0 }))
    expect(inForce(ticks([...known, ...left.map((one) => ({ ...one, pressureAgeMs: 2001 }))]).at(-1))).toBe('cpuNarrow')
  })

  it('is neither climbed nor left while the use of the node can not be read (I42)', () => {
    const silent = Array.from({ length: 20 }, () => ({ nodeMilli: null }))
    expect(
      new Set(
        ticks([...CLIMB.slice(1), ...silent])
          .slice(6)
          .map(inForce),
      ),
    ).toEqual(new Set(['']))
    const all = ticks([...CLIMB, ...silent]).slice(7)
    expect(new Set(all.map(inForce))).toEqual(new Set(['cpuNarrow']))
    expect(new Set(all.map((one) => cpusOf(one, 'be')))).toEqual(new Set([cpusOf(ticks(CLIMB).at(-1), 'be')]))
  })

  it('keeps the node hot while it is in force', () => {
    const settled = { nodeMilli: 4000, offlineMilli: 0 }
    expect(ticks([...CLIMB, settled]).at(-1)?.suppression).toMatchObject({ hot: true, ladder: { inForce: ['cpuNarrow'] } })
  })

  it('keeps to the CPUs dedicated to offline work where there are any', () => {
    const config = configOf({ ...rungs, placement: { dedicatedCpus: '2-3' } })
    const last = ticks(CLIMB, config).at(-1)
    expect([cpusOf(last, 'be'), cpusOf(last, 'ot')]).toEqual(['2-3', '2-3'])
    expect(last?.desired.get(`${OFFLINE_ROOT}/podbe`, 'cpuset')?.winner.because).toMatchObject({
      code: 'suppress.narrow',
      dedicated: '2-3',
    })
  })

  it('takes as many whole CPUs as the floor needs', () => {
    const config = configOf({ ...rungs, suppressCpu: { floorPermyriad: 3000 } })
    expect(CpuSet.parse(cpusOf(ticks(CLIMB, config).at(-1), 'be')).size).toBe(Math.ceil(2400 / 1000) + 1)
  })

  it('leaves the CPUs that LSR pods share for last', () => {
    const pods: PodLiteral[] = [
      ...PODS,
      { uid: 'lsr', qos: 'Guaranteed', labels: { 'kube-agent.io/qos-class': 'LSR' }, requestsMilli: 4000 },
    ]
    const config = configOf({ ...rungs, placement: { lsSharePermyriad: 1 } })
    const last = ticks(
      CLIMB.map((one) => ({ ...one, pods })),
      config,
    ).at(-1)
    const { bestEffort, exclusive } = last?.placement ?? {}
    expect(bestEffort?.size).toBe(3)
    expect(cpusOf(last, 'be')).not.toBe('')
    expect(CpuSet.parse(cpusOf(last, 'be')).overlaps(exclusive?.[0]?.shared ?? CpuSet.EMPTY)).toBe(false)
  })

  it('narrows a pinned BE pod within its own CPUs where it can, and else to where the others go, past its own claim', () => {
    const pods: PodLiteral[] = ['a', 'b', 'c'].map((uid) => ({ uid, asks: { 'be-cpu': 20 }, usesMilli: 100 }))
    const config = configOf({ ...rungs, placement: { bePinning: 'exclusive' } })
    const last = ticks(
      CLIMB.map((one) => ({ ...one, pods })),
      config,
    ).at(-1)
    const narrowed = topologyOf('desktop').cores.at(-1)?.cpus ?? CpuSet.EMPTY
    expect(last?.placement.pinned).toHaveLength(3)
    for (const { uid, cpus } of last?.placement.pinned ?? []) {
      const own = cpus.intersect(narrowed)
      expect(cpusOf(last, uid)).toBe((own.isEmpty ? narrowed : own).toString())
    }
  })

  it('keeps its CPUs while it is in force, also when LSR pods come, unless offline pods may not use them any more', () => {
    const first = cpusOf(ticks(CLIMB).at(-1), 'be')
    const lsx: PodLiteral = { uid: 'lsx', qos: 'Guaranteed', labels: { 'kube-agent.io/qos-class': 'LSX' }, requestsMilli: 2000 }
    const came = ticks([...CLIMB, { pods: [...PODS, lsx] }]).at(-1)
    expect(cpusOf(came, 'be')).toBe(first)
    const gone = ticks([...CLIMB, { topology: topologyOf('twoCpuVm'), nodeMilli: 1900 }]).at(-1)
    expect(cpusOf(gone, 'be')).not.toBe('')
    expect(CpuSet.parse(cpusOf(gone, 'be')).isSubsetOf(topologyOf('twoCpuVm').online)).toBe(true)
  })
})

describe('cpuFreeze', () => {
  const LONG = Array.from({ length: 10 }, () => HOT)

  it('is opt-in', () => {
    expect(inForce(ticks(LONG).at(-1))).toBe('cpuNarrow')
  })

  it('freezes OT pods that are there, and no other', () => {
    const last = ticks(LONG, FREEZE).at(-1)
    expect(inForce(last)).toBe('cpuNarrow cpuFreeze')
    const frozen = [...(last?.desired.groups() ?? [])].filter((group) => last?.desired.get(group, 'freeze') !== undefined)
    expect(frozen).toEqual([`${OFFLINE_ROOT}/podot`])
    expect(valueOf(last, 'ot', 'freeze')).toBe(1)
  })

  it('can not be climbed where the kernel has no freezer, and says why', () => {
    const last = ticks(
      LONG.map((one) => ({ ...one, missing: ['freeze'] })),
      FREEZE,
    ).at(-1)
    expect(last?.suppression?.ladder).toMatchObject({
      inForce: ['cpuNarrow'],
      waiting: { rung: 'cpuFreeze', for: 'impossible', detail: expect.stringMatching(/./) as string },
    })
    expect(valueOf(last, 'ot', 'freeze')).toBeUndefined()
  })

  it('waits for the cool-down of cpuNarrow once its set stands in the kernel, and only then (I41)', () => {
    const config = configOf({ ...rungs, cpuNarrow: { ...QUICK, coolDownMs: 2000 } })
    const value = topologyOf('desktop').cores.at(-1)?.cpus ?? CpuSet.EMPTY
    const actual = [{ group: `${OFFLINE_ROOT}/podbe`, kind: 'cpuset', value }] as const
    expect(inForce(ticks(LONG, config).at(-1))).toBe('cpuNarrow cpuFreeze')
    const cooling = ticks([...CLIMB, ...Array.from({ length: 5 }, () => ({ actual }))], config)
    expect(cooling.slice(-3).map((one) => one.suppression?.ladder.waiting?.for)).toEqual(['coolDown', 'coolDown', undefined])
    expect(inForce(cooling.at(-1))).toBe('cpuNarrow cpuFreeze')
  })
})

describe('cpuEvict', () => {
  const LONG = Array.from({ length: 20 }, () => HOT)
  const settings = { cpuNarrow: QUICK, cpuEvict: { ...QUICK, enabled: true } }
  const ready = { impossible: undefined } as unknown as { impossible?: string }
  const able = LONG.map(() => ({ evictions: ready }))

  it('is impossible without evict.enabled, or without an API server to ask', () => {
    const waits = (literals: readonly SnapshotLiteral[], enabled: boolean): unknown =>
      ticks(literals, configOf({ ...settings, evict: { enabled } })).at(-1)?.suppression?.ladder.waiting
    expect(waits(able, false)).toEqual({ rung: 'cpuEvict', for: 'impossible', detail: 'evict.enabled is false' })
    expect(waits(LONG, true)).toEqual({ rung: 'cpuEvict', for: 'impossible', detail: NO_EVICTIONS.impossible })
  })

  it('asks for pods to go once sales have been stopped for evict.holdMs, OT first', () => {
    const all = ticks(able, configOf({ ...settings, evict: { enabled: true, holdMs: 1000 } }))
    const climbedAt = all.findIndex((one) => inForce(one) === 'cpuNarrow cpuEvict')
    const wishedAt = all.findIndex(({ evictions }) => evictions.length > 0)
    expect(climbedAt).toBe(9)
    expect(wishedAt).toBe(climbedAt + 2)
    expect(all[wishedAt]?.evictions.map(({ uid, rung }) => [uid, rung])).toEqual([['ot', 'cpuEvict']])
    for (const { offers } of all.slice(climbedAt))
      for (const { because } of offers) expect(because.bound).toMatch(/^hold|allocated$/)
  })

  it('counts its own evictions since it came into force as deeds, and no others', () => {
    const config = configOf({ ...settings, evict: { enabled: true } })
    const record = (more: Partial<EvictionRecord>, rung: 'cpuEvict' | 'memoryEvictOt' = 'cpuEvict'): EvictionRecord => ({
      wish: { uid: 'x', namespace: 'd', name: 'x', qosClass: 'OT', rung, dryRun: false, usesMilli: 1, usesBytes: 1, priority: 0 },
      is: 'evicted',
      atMs: 9000,
      ...more,
    })
    const actedAfter = (one: EvictionRecord): boolean => {
      let memory: Memory = EMPTY_MEMORY
      for (const [index, moment] of able.entries()) {
        const evictions = { ...moment.evictions, recent: [one] }
        const literal = { nowMs: index * 500, pods: PODS, nodeMilli: 7600, offlineMilli: 400, evictions }
        ;({ memory } = decide(snapshotOf(literal), memory, config))
      }
      return memory.suppress.rungs?.ladder.actedMs !== undefined
    }
    expect(actedAfter(record({}))).toBe(true)
    expect(actedAfter(record({ is: 'forced' }))).toBe(true)
    expect(actedAfter(record({ is: 'blocked' }))).toBe(false)
    expect(actedAfter(record({ atMs: 500 }))).toBe(false)
    expect(actedAfter(record({}, 'memoryEvictOt'))).toBe(false)
  })
})
