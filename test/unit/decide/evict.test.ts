/** Whom the rungs that evict choose, and when: never before sales have stopped, one at a time, not faster than allowed. */
import { describe, expect, it } from 'vitest'
import type { Config } from '../../../src/config/index.ts'
import { classify } from '../../../src/decide/classify.ts'
import { type EvictMemory, type Evictions, evictions } from '../../../src/decide/evict.ts'
import {
  type EvictingRung,
  type EvictionOutcome,
  type EvictionRecord,
  NO_EVICTIONS,
  type PodReading,
  type PodSpec,
} from '../../../src/model/index.ts'
import { configOf } from '../../support/config.ts'
import { type PodLiteral, readingOf, snapshotOf } from '../../support/snapshots.ts'

const MIB = 2 ** 20
const START_MS = 100_000
/** Of snapshotOf() at START_MS. */
const WALL_MS = 1_700_000_100_000
const HOLD_MS = 12_000

type Extra = Partial<Pick<PodSpec, 'priority' | 'createdWallMs' | 'controllerKind' | 'isStatic'>>

function pod(uid: string, over: Partial<PodLiteral> & Extra = {}): PodReading {
  const { priority, createdWallMs, controllerKind, isStatic, ...literal } = over
  const reading = readingOf({ uid, asks: { [uid.startsWith('ot') ? 'ot-cpu' : 'be-cpu']: 1 }, ...literal }, START_MS)
  const extra = Object.fromEntries(
    Object.entries({ priority, createdWallMs, controllerKind, isStatic }).filter(([, value]) => value !== undefined),
  )
  return { ...reading, spec: { ...reading.spec, ...extra } }
}

interface Asked {
  readonly pods: readonly PodReading[]
  readonly wanted?: readonly EvictingRung[]
  readonly recent?: readonly EvictionRecord[]
  readonly impossible?: string
  readonly memory?: EvictMemory | undefined
  readonly nowMs?: number
  readonly settings?: Readonly<Record<string, unknown>>
}

const configs = new Map<string, Config>()

/** Loaded once: some tests live through an hour of ticks. */
function configWith(settings: Asked['settings']): Config {
  const key = JSON.stringify(settings)
  const config = configs.get(key) ?? configOf({ evict: { enabled: true, ...settings } })
  configs.set(key, config)
  return config
}

function ask({ pods, wanted = ['cpuEvict'], recent = [], impossible, memory, nowMs = START_MS, settings }: Asked): Evictions {
  const config = configWith(settings)
  const { impossible: _none, ...view } = NO_EVICTIONS
  const snapshot = {
    ...snapshotOf({ nowMs }),
    evictions: { ...view, recent, ...(impossible === undefined ? {} : { impossible }) },
  }
  const classified = pods.map((reading) => classify(reading, config))
  return evictions(snapshot, classified, { memory, wanted }, config)
}

/** What is wished once sales have been stopped for long enough. */
function wished(asked: Asked): string[] {
  const settings = { holdMs: 0, ...asked.settings }
  return ask({ ...asked, settings }).wishes.map(({ uid, rung, dryRun }) => `${uid} ${rung}${dryRun ? ' dry' : ''}`)
}

/** The first of the pods, then the first of the others, and so on. */
function orderOf(pods: readonly PodReading[], wanted: readonly EvictingRung[]): string[] {
  const order: string[] = []
  let left = pods
  for (;;) {
    const [wish] = ask({ pods: left, wanted, settings: { holdMs: 0 } }).wishes
    if (wish === undefined) return order
    order.push(wish.uid)
    left = left.filter(({ spec }) => spec.uid !== wish.uid)
  }
}

function recordOf(uid: string, is: EvictionOutcome, atMs: number): EvictionRecord {
  const wish = {
    uid,
    namespace: 'default',
    name: uid,
    qosClass: 'BE',
    rung: 'cpuEvict',
    dryRun: false,
    usesMilli: 0,
    usesBytes: 0,
    priority: 0,
  } as const
  return { wish, is, atMs }
}

describe('who goes', () => {
  it.each([
    ['a pod of an online class', pod('ls', { qos: 'Burstable', requestsMilli: 100 })],
    ['an online pod below the best-effort root', pod('untagged', { asks: {} })],
    ['one that has ended', pod('be', { phase: 'Succeeded' })],
    ['one that has failed', pod('be', { phase: 'Failed' })],
    ['one whose group is not there', pod('be', { present: false })],
    ['a static pod', pod('be', { isStatic: true })],
    ['the mirror of a static pod', pod('be', { controllerKind: 'Node' })],
    ['one of a DaemonSet, which would come back at once', pod('be', { controllerKind: 'DaemonSet' })],
  ])('is never %s', (_, reading) => {
    expect(wished({ pods: [reading], wanted: ['memoryEvictBe', 'memoryEvictOt', 'cpuEvict'] })).toEqual([])
  })

  it('for memoryEvictOt is an OT pod or nobody, for the others OT goes before BE whatever helps more', () => {
    const be = pod('be', { priority: -100, usesMilli: 8000, workingSetBytes: 900 * MIB })
    const ot = pod('ot', { priority: 100, usesMilli: 1, workingSetBytes: MIB })
    expect(orderOf([be, ot], ['memoryEvictOt'])).toEqual(['ot'])
    expect(orderOf([be, ot], ['memoryEvictBe'])).toEqual(['ot', 'be'])
    expect(orderOf([be, ot], ['cpuEvict'])).toEqual(['ot', 'be'])
  })

  it('within a class is the lower priority, then what helps the rung more, then the youngest, then the lower uid', () => {
    const pods = [
      pod('be5', { createdWallMs: 1000, usesMilli: 10 }),
      pod('be4', { createdWallMs: 2000, usesMilli: 10 }),
      pod('be3', { createdWallMs: 2000, usesMilli: 10 }),
      pod('be2', { usesMilli: 500, workingSetBytes: MIB }),
      pod('be1', { priority: -1 }),
      pod('be0', { priority: 1, usesMilli: 9000, workingSetBytes: 900 * MIB }),
      pod('be6', { usesMilli: 20, workingSetBytes: 50 * MIB }),
    ]
    expect(orderOf(pods, ['cpuEvict'])).toEqual(['be1', 'be2', 'be6', 'be3', 'be4', 'be5', 'be0'])
    expect(orderOf([...pods].reverse(), ['memoryEvictBe'])).toEqual(['be1', 'be6', 'be2', 'be3', 'be4', 'be5', 'be0'])
  })

  it('is told with the rung that wants it: memory before CPU', () => {
    const pods = [pod('be', { usesMilli: 250.4, workingSetBytes: 3 * MIB, priority: 7 })]
    const { wishes } = ask({ pods, wanted: ['cpuEvict', 'memoryEvictBe', 'memoryEvictOt'], settings: { holdMs: 0 } })
    expect(wishes).toEqual([
      {
        uid: 'be',
        namespace: 'default',
        name: 'be',
        qosClass: 'BE',
        rung: 'memoryEvictBe',
        dryRun: false,
        usesMilli: 250,
        usesBytes: 3 * MIB,
        priority: 7,
      },
    ])
  })

  it('is not younger than minAgeMs, nor of an age that nobody knows', () => {
    const settings = { minAgeMs: 60_000 }
    expect(wished({ pods: [pod('be', { createdWallMs: WALL_MS - 59_999 })], settings })).toEqual([])
    expect(wished({ pods: [pod('be', { createdWallMs: WALL_MS - 60_000 })], settings })).toEqual(['be cpuEvict'])
    expect(wished({ pods: [pod('be', { createdWallMs: WALL_MS + 5000 })], settings })).toEqual([])
    expect(wished({ pods: [pod('be')], settings })).toEqual([])
    // By default any age will do, also one in the future of a clock that is behind.
    expect(wished({ pods: [pod('be', { createdWallMs: WALL_MS + 5000 })] })).toEqual(['be cpuEvict'])
  })

  it.each(['evicted', 'forced', 'gone'] as const)('is not a pod that was %s, however long it stays', (is) => {
    const recent = [recordOf('be1', is, START_MS - 3_000_000)]
    expect(wished({ pods: [pod('be1'), pod('be2')], recent })).toEqual(['be2 cpuEvict'])
    expect(wished({ pods: [pod('be1')], recent })).toEqual([])
  })

  it.each(['blocked', 'failed'] as const)(
    'is again a pod that was %s after 30 s, but after those of its class that were not tried',
    (is) => {
      const pods = [pod('be1', { priority: -5 }), pod('be2')]
      expect(wished({ pods: [pod('be1')], recent: [recordOf('be1', is, START_MS - 29_999)] })).toEqual([])
      const recent = [recordOf('be1', is, START_MS - 30_000)]
      expect(wished({ pods: [pod('be1')], recent })).toEqual(['be1 cpuEvict'])
      expect(wished({ pods, recent })).toEqual(['be2 cpuEvict'])
      expect(wished({ pods: [...pods, pod('ot')], recent: [recordOf('ot', is, START_MS - 30_000)] })).toEqual(['ot cpuEvict'])
    },
  )

  it('is nobody while the answer about another is awaited, but not for ever', () => {
    const pods = [pod('be1'), pod('be2')]
    expect(wished({ pods, recent: [recordOf('be1', 'asked', START_MS - 119_999)] })).toEqual([])
    expect(wished({ pods, recent: [recordOf('be1', 'asked', START_MS - 120_000)] })).toEqual(['be2 cpuEvict'])
  })
})

describe('sales', () => {
  const pods = [pod('be')]

  it('stop at once, and nobody is evicted before they have been stopped for holdMs', () => {
    let memory: EvictMemory | undefined
    const seen = [0, 50, HOLD_MS - 1, HOLD_MS].map((afterMs) => {
      const result = ask({ pods, memory, nowMs: START_MS + afterMs })
      memory = result.memory
      return `${result.holds} ${result.wishes.length}`
    })
    expect(seen).toEqual(['true 0', 'true 0', 'true 0', 'true 1'])
  })

  it('stay stopped for holdMs after the last tick that wanted a pod, and a rung that comes back meanwhile need not wait', () => {
    const first = ask({ pods })
    const later = ask({ pods, memory: first.memory, wanted: [], nowMs: START_MS + HOLD_MS - 1 })
    expect([later.holds, later.wishes]).toEqual([true, []])
    expect(ask({ pods, memory: later.memory, nowMs: START_MS + HOLD_MS }).wishes).toHaveLength(1)
    const over = ask({ pods, memory: later.memory, wanted: [], nowMs: START_MS + HOLD_MS })
    expect(over.holds).toBe(false)
    expect(ask({ pods, memory: over.memory, nowMs: START_MS + HOLD_MS + 50 }).wishes).toEqual([])
  })

  it('go on with eviction off, and nobody is chosen', () => {
    const { wishes, holds } = ask({ pods, settings: { enabled: false, holdMs: 0 } })
    expect([wishes, holds]).toEqual([[], false])
  })

  it('stop where pods can not be evicted from here, and nobody is chosen', () => {
    const { wishes, holds } = ask({ pods, impossible: 'there is no API server to ask', settings: { holdMs: 0 } })
    expect([wishes, holds]).toEqual([[], true])
  })
})

describe('the pace', () => {
  const pods = ['be1', 'be2', 'be3', 'be4', 'be5'].map((uid) => pod(uid))

  /**
   * Ticks every 500 ms; each wish becomes `outcome` on the next tick, and a pod that was granted is gone `endsMs` later. Tells when each pod was
   * wished away, in seconds.
   */
  function paced(
    outcome: EvictionOutcome,
    forMs: number,
    {
      endsMs = 500,
      graceSeconds,
      ...settings
    }: Readonly<Record<string, unknown>> & { endsMs?: number; graceSeconds?: number } = {},
  ): string[] {
    const isGranted = outcome === 'evicted' || outcome === 'forced'
    let memory: EvictMemory | undefined
    let recent: EvictionRecord[] = []
    const seen: string[] = []
    for (let afterMs = 0; afterMs <= forMs; afterMs += 500) {
      const nowMs = START_MS + afterMs
      const here = pods
        .filter(({ spec }) => !isGranted || !recent.some(({ wish, atMs }) => wish.uid === spec.uid && nowMs - atMs >= endsMs))
        .map((reading) => (graceSeconds === undefined ? reading : { ...reading, spec: { ...reading.spec, graceSeconds } }))
      const result = ask({ pods: here, memory, recent, nowMs, settings: { holdMs: 0, ...settings } })
      memory = result.memory
      for (const { uid } of result.wishes) {
        seen.push(`${uid} ${afterMs / 1000}`)
        recent = [recordOf(uid, outcome, nowMs + 100), ...recent.filter(({ wish }) => wish.uid !== uid)]
      }
    }
    return seen
  }

  it('is intervalMs from one eviction to the next', () => {
    expect(paced('evicted', 25_000)).toEqual(['be1 0', 'be2 10', 'be3 20'])
    expect(paced('forced', 25_000)).toEqual(['be1 0', 'be2 10', 'be3 20'])
  })

  it.each(['evicted', 'forced'] as const)('waits for a pod that was %s to go, but no longer than it has to end', (outcome) => {
    expect(paced(outcome, 50_000, { endsMs: 24_000 })).toEqual(['be1 0', 'be2 24.5', 'be3 49'])
    // 30 s for a pod that does not say; its own; the configured ones, where they are shorter; and a second at least.
    expect(paced(outcome, 65_000, { endsMs: Infinity })).toEqual(['be1 0', 'be2 30.5', 'be3 61'])
    expect(paced(outcome, 65_000, { endsMs: Infinity, graceSeconds: 15 }).slice(0, 3)).toEqual(['be1 0', 'be2 15.5', 'be3 31'])
    expect(paced(outcome, 65_000, { endsMs: Infinity, graceSeconds: 600 }).slice(0, 2)).toEqual(['be1 0', 'be2 30.5'])
    expect(paced(outcome, 65_000, { endsMs: Infinity, gracePeriodSeconds: 20 }).slice(0, 2)).toEqual(['be1 0', 'be2 20.5'])
    expect(paced(outcome, 65_000, { endsMs: Infinity, gracePeriodSeconds: 0, intervalMs: 1000 }).slice(0, 2)).toEqual([
      'be1 0',
      'be2 1.5',
    ])
  })

  it('goes on after a restart from what was granted before it: interval and number', () => {
    const earlier = ['gone1', 'gone2', 'gone3'].map((uid, index) => recordOf(uid, 'evicted', START_MS - 1_000_000 * (3 - index)))
    const first = (settings: object, recent = earlier) => ask({ pods, recent, settings: { holdMs: 0, ...settings } })
    expect(first({ perHour: 3 }).wishes).toEqual([])
    expect(first({ perHour: 3 }).memory?.spent.map(({ uid }) => uid)).toEqual(['gone1', 'gone2', 'gone3'])
    expect(first({ perHour: 4 }).wishes).toHaveLength(1)
    expect(first({ perHour: 2 }).memory?.spent).toHaveLength(2)
    expect(first({ perHour: 9, intervalMs: 1_200_000 }).wishes).toEqual([])
    const refused = earlier.map((record) => ({ ...record, is: 'blocked' as const }))
    expect(first({ perHour: 3 }, refused).wishes).toHaveLength(1)
    const longAgo = earlier.map((record) => ({ ...record, atMs: START_MS - 3_600_000 }))
    expect(first({ perHour: 3 }, longAgo).wishes).toHaveLength(1)
  })

  it('is a second from one that a budget keeps, or that is gone, to the next pod', () => {
    expect(paced('blocked', 4000)).toEqual(['be1 0', 'be2 1', 'be3 2', 'be4 3', 'be5 4'])
    expect(paced('gone', 4000, { perHour: 1 })).toEqual(['be1 0', 'be2 1', 'be3 2', 'be4 3', 'be5 4'])
    expect(paced('blocked', 31_000).slice(5)).toEqual(['be1 30.5'])
  })

  it('is at most perHour', () => {
    expect(paced('evicted', 3_620_000, { perHour: 2 })).toEqual(['be1 0', 'be2 10', 'be3 3600', 'be4 3610'])
  })

  it('counts what was granted before eviction was switched off and on again', () => {
    const settings = { holdMs: 0, perHour: 1 }
    const first = ask({ pods, settings })
    expect(first.wishes).toHaveLength(1)
    const off = ask({ pods, memory: first.memory, nowMs: START_MS + 60_000, settings: { ...settings, enabled: false } })
    expect(ask({ pods, memory: off.memory, nowMs: START_MS + 120_000, settings }).wishes).toEqual([])
  })

  it('counts a wish of which nothing was heard, also when a later one for the same pod is refused', () => {
    const settings = { holdMs: 0, perHour: 2 }
    const only = [pod('be')]
    const first = ask({ pods: only, settings })
    const second = ask({ pods: only, memory: first.memory, nowMs: START_MS + 30_000, settings })
    expect([first.wishes.length, second.wishes.length]).toEqual([1, 1])
    const recent = [recordOf('be', 'failed', START_MS + 30_100)]
    let memory = second.memory
    for (const afterMs of [31_000, 32_000])
      memory = ask({ pods: only, memory, recent, nowMs: START_MS + afterMs, settings }).memory
    expect(memory?.spent.map(({ atMs }) => atMs)).toEqual([START_MS])
  })

  it('asks again for a pod of whose wish nothing was heard for 30 s', () => {
    const first = ask({ pods: [pod('be')], settings: { holdMs: 0 } })
    const ages = [29_999, 30_000].map(
      (afterMs) =>
        ask({ pods: [pod('be')], memory: first.memory, nowMs: START_MS + afterMs, settings: { holdMs: 0 } }).wishes.length,
    )
    expect(ages).toEqual([0, 1])
  })
})

describe('a dry run', () => {
  const pods = [pod('be1'), pod('be2')]

  it('tells of a pod once in ten minutes, at the pace of real evictions, and stops no sales', () => {
    let memory: EvictMemory | undefined
    const seen: string[] = []
    for (let afterMs = 0; afterMs <= 611_000; afterMs += 1000) {
      const result = ask({ pods, memory, nowMs: START_MS + afterMs, settings: { dryRunCpu: true } })
      memory = result.memory
      expect(result.holds).toBe(false)
      for (const { uid, dryRun } of result.wishes) seen.push(`${uid} ${dryRun} ${afterMs / 1000}`)
    }
    expect(seen).toEqual(['be1 true 12', 'be2 true 22'])
    const again = ask({ pods, memory, nowMs: START_MS + 612_000, settings: { dryRunCpu: true } })
    expect(again.wishes.map(({ uid }) => uid)).toEqual(['be1'])
  })

  it('of one rung takes nothing from the other, and never tells of the pod that goes', () => {
    const settings = { dryRunCpu: true, holdMs: 0 }
    const { wishes, holds } = ask({ pods, wanted: ['cpuEvict', 'memoryEvictBe'], settings })
    expect(wishes.map(({ uid, rung, dryRun }) => `${uid} ${rung} ${dryRun}`)).toEqual([
      'be1 memoryEvictBe false',
      'be2 cpuEvict true',
    ])
    expect(holds).toBe(true)
  })

  it('does not keep a pod from being evicted once the rung is real', () => {
    expect(wished({ pods: [pod('be')], recent: [recordOf('be', 'dryRun', START_MS)] })).toEqual(['be cpuEvict'])
  })

  it('remembers what an earlier one has told', () => {
    const settings = { dryRunCpu: true }
    expect(wished({ pods: [pod('be')], recent: [recordOf('be', 'dryRun', START_MS - 599_999)], settings })).toEqual([])
    expect(wished({ pods: [pod('be')], recent: [recordOf('be', 'dryRun', START_MS - 600_000)], settings })).toEqual([
      'be cpuEvict dry',
    ])
  })
})
