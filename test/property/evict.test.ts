/**
 * What always holds of evictions, by the numbers of src/decide/SPEC.md, over random histories: any pods, rungs that come and go, and an API
 * server that grants, forbids, fails, loses pods or does not answer.
 */
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { classify } from '../../src/decide/classify.ts'
import { type Candidate, candidatesFor, compareCandidates, RUNGS_IN_TURN } from '../../src/decide/evict-order.ts'
import { type EvictMemory, type Evictions, evictions } from '../../src/decide/evict.ts'
import {
  type ClassifiedPod,
  EVICTING_RUNGS,
  type EvictingRung,
  type EvictionRecord,
  type EvictionWish,
  hasEnded,
  isOffline,
  type NodeSnapshot,
  NO_EVICTIONS,
  type PodReading,
} from '../../src/model/index.ts'
import { configOf } from '../support/config.ts'
import { deepFreeze, readingOf, snapshotOf } from '../support/snapshots.ts'

const HOUR_MS = 3_600_000
const START_MS = 10_000_000

const pod = fc.record({
  qos: fc.constantFrom('BestEffort', 'BestEffort', 'BestEffort', 'BestEffort', 'Burstable', 'Guaranteed'),
  asks: fc.constantFrom({}, { 'be-cpu': 5 }, { 'be-cpu': 5 }, { 'ot-cpu': 5 }, { 'ot-cpu': 5 }),
  present: fc.constantFrom(true, true, true, true, false),
  phase: fc.constantFrom('Running', 'Running', 'Running', 'Running', 'Running', 'Pending', 'Succeeded', 'Failed'),
  usesMilli: fc.option(fc.constantFrom(0, 100, 100, 5000, Number.NaN), { nil: undefined }),
  workingSetBytes: fc.constantFrom(0, 2 ** 20, 2 ** 20, 2 ** 30),
  extra: fc.record(
    {
      priority: fc.constantFrom(-5, 0, 7),
      createdWallMs: fc.constantFrom(0, 1_699_999_000_000, 1_800_000_000_000),
      controllerKind: fc.constantFrom('Job', 'Job', 'Job', 'ReplicaSet', 'ReplicaSet', 'DaemonSet', 'Node'),
      isStatic: fc.constant(true as const),
      isEnding: fc.constant(true as const),
    },
    { requiredKeys: [] },
  ),
})
const pods = fc.array(pod, { minLength: 1, maxLength: 10, size: 'max' }).map((list) =>
  list.map(({ extra, usesMilli, ...literal }, index): PodReading => {
    const uses = usesMilli === undefined ? {} : { usesMilli }
    const reading = readingOf({ ...literal, ...uses, uid: `p${index}` }, START_MS)
    // A static pod is rare among the others, and so is one that goes already.
    const { isStatic, isEnding, ...most } = extra
    const goes = isEnding === true && index % 3 === 1 ? { isEnding } : {}
    const stays = isStatic === true && index % 3 === 0 ? { isStatic } : {}
    return { ...reading, spec: { ...reading.spec, ...most, ...goes, ...stays } }
  }),
)

const answer = fc.constantFrom('asked', 'evicted', 'evicted', 'evicted', 'forced', 'blocked', 'gone', 'failed', 'lost')

const moment = fc.record({
  dtMs: fc.constantFrom(50, 50, 1000, 1000, 5000, 12_000, 45_000, 900_000),
  wanted: fc.oneof(
    { weight: 1, arbitrary: fc.constant<EvictingRung[]>([]) },
    { weight: 4, arbitrary: fc.subarray([...EVICTING_RUNGS], { minLength: 1 }) },
  ),
  answer,
  impossible: fc.integer({ min: 0, max: 19 }).map((draw) => (draw === 0 ? 'no API server' : undefined)),
  enabled: fc.integer({ min: 0, max: 29 }).map((draw) => draw > 0),
})

const history = fc.record({
  pods,
  evict: fc.record({
    dryRunCpu: fc.boolean(),
    dryRunMemory: fc.constantFrom(false, false, true),
    intervalMs: fc.constantFrom(1000, 10_000, 60_000),
    perHour: fc.constantFrom(1, 2, 5, 1000),
    holdMs: fc.constantFrom(0, 2000, 12_000),
    minAgeMs: fc.constantFrom(0, 0, 60_000),
  }),
  moments: fc.array(moment, { minLength: 1, maxLength: 60, size: 'max' }),
})
type History = typeof history extends fc.Arbitrary<infer T> ? T : never

interface Lived {
  readonly snapshot: NodeSnapshot
  readonly pods: readonly ClassifiedPod[]
  readonly wanted: readonly EvictingRung[]
  readonly enabled: boolean
  readonly result: Evictions
}

const configs = new Map<string, ReturnType<typeof configOf>>()

function configWith(evict: Readonly<Record<string, unknown>>): ReturnType<typeof configOf> {
  const key = JSON.stringify(evict)
  const config = configs.get(key) ?? deepFreeze(configOf({ evict }))
  configs.set(key, config)
  return config
}

/** Lives through a history. The evictor answers what the moment says before the next tick; `lost` leaves no record. */
function live(given: History): Lived[] {
  const lived: Lived[] = []
  let nowMs = START_MS
  let memory: EvictMemory | undefined
  let recent: readonly EvictionRecord[] = []
  const { impossible: _none, ...view } = NO_EVICTIONS
  for (const { dtMs, wanted, answer: is, impossible, enabled } of given.moments) {
    nowMs += dtMs
    const config = configWith({ ...given.evict, enabled })
    const snapshot: NodeSnapshot = deepFreeze({
      ...snapshotOf({ nowMs }),
      evictions: { ...view, recent, ...(impossible === undefined ? {} : { impossible }) },
    })
    const classified = deepFreeze(given.pods.map((reading) => classify(reading, config)))
    const result = evictions(snapshot, classified, { memory: deepFreeze(memory), wanted }, config)
    const again = evictions(snapshot, [...classified].reverse(), { memory, wanted }, config)
    expect(again).toEqual(result)
    lived.push({ snapshot, pods: classified, wanted, enabled, result })
    memory = result.memory
    for (const wish of result.wishes) {
      const others = recent.filter((record) => record.wish.uid !== wish.uid)
      if (wish.dryRun) recent = [{ wish, is: 'dryRun', atMs: nowMs }, ...others]
      else if (is !== 'lost') recent = [{ wish, is, atMs: nowMs }, ...others]
    }
  }
  return lived
}

function forAll(check: (lived: readonly Lived[], given: History) => void): void {
  fc.assert(
    fc.property(history, (given) => check(live(given), given)),
    { numRuns: 250 },
  )
}

const podOf = ({ pods: known }: Lived, { uid }: EvictionWish): ClassifiedPod => {
  const found = known.find(({ reading }) => reading.spec.uid === uid)
  if (found === undefined) throw new Error(`a pod is wished away that nobody listed: ${uid}`)
  return found
}

describe('evictions', () => {
  it('are of offline pods that run here and would not come back at once (I63)', () => {
    let count = 0
    forAll((lived) => {
      for (const tick of lived) {
        for (const wish of tick.result.wishes) {
          count += 1
          const { reading, qosClass } = podOf(tick, wish)
          expect(isOffline(qosClass)).toBe(true)
          expect(wish.qosClass).toBe(qosClass)
          const { isStatic, isEnding } = reading.spec
          expect([reading.present, hasEnded(reading.spec), isStatic, isEnding]).toEqual([true, false, undefined, undefined])
          expect(['DaemonSet', 'Node']).not.toContain(reading.spec.controllerKind)
          expect(tick.wanted).toContain(wish.rung)
          if (wish.rung === 'memoryEvictOt') expect(qosClass).toBe('OT')
        }
      }
    })
    expect(count).toBeGreaterThan(100)
  })

  it('are of BE only when no OT pod could go instead (I64)', () => {
    let count = 0
    forAll((lived) => {
      for (const tick of lived) {
        const { recent } = tick.snapshot.evictions
        for (const wish of tick.result.wishes) {
          if (wish.qosClass !== 'BE' || wish.dryRun) continue
          count += 1
          const untouched = tick.pods.filter(({ reading: { spec, present }, qosClass }) => {
            const stays = !hasEnded(spec) && spec.isStatic !== true && spec.isEnding !== true
            const couldGo = present && stays && spec.createdWallMs === 0
            const isKnown = recent.some((record) => record.wish.uid === spec.uid) || isPending(lived, tick, spec.uid)
            return qosClass === 'OT' && couldGo && !['DaemonSet', 'Node'].includes(spec.controllerKind ?? '') && !isKnown
          })
          expect(untouched.map(({ reading }) => reading.spec.uid)).toEqual([])
        }
      }
    })
    expect(count).toBeGreaterThan(20)
  })

  it('that are not refused are intervalMs apart, at most perHour, and one at a time (I65)', () => {
    forAll((lived, { evict, moments }) => {
      const times: number[] = []
      for (const [index, { result, snapshot }] of lived.entries()) {
        const real = result.wishes.filter(({ dryRun }) => !dryRun)
        expect(real.length).toBeLessThanOrEqual(1)
        expect(result.wishes.length).toBeLessThanOrEqual(2)
        if (real.length === 0) continue
        const is = moments[index]?.answer
        const waits = snapshot.evictions.recent.some((record) => record.is === 'asked' && snapshot.nowMs - record.atMs < 120_000)
        expect(waits).toBe(false)
        const last = times.at(-1)
        if (last !== undefined) expect(snapshot.nowMs - last).toBeGreaterThanOrEqual(evict.intervalMs)
        if (is === 'evicted' || is === 'forced' || is === 'asked' || is === 'lost') times.push(snapshot.nowMs)
      }
      for (const start of times) {
        const within = times.filter((at) => at >= start && at < start + HOUR_MS)
        expect(within.length).toBeLessThanOrEqual(evict.perHour)
      }
    })
  })

  it('wait for a pod that was granted and is still here, until its grace is over (I78)', () => {
    let waited = 0
    forAll((lived) => {
      for (const { result, snapshot, pods: known } of lived) {
        const ending = known.filter(({ reading: { spec, present } }) => {
          const record = snapshot.evictions.recent.find(({ wish }) => wish.uid === spec.uid)
          const isGranted = record?.is === 'evicted' || record?.is === 'forced'
          return present && !hasEnded(spec) && isGranted && snapshot.nowMs - record.atMs < 30_000
        })
        if (ending.length === 0) continue
        waited += 1
        expect(result.wishes.filter(({ dryRun }) => !dryRun)).toEqual([])
      }
    })
    expect(waited).toBeGreaterThan(100)
  })

  it('come only after sales were stopped for holdMs, and sales go on no sooner than holdMs after the last rung (I66)', () => {
    forAll((lived, { evict }) => {
      let heldSinceMs: number | undefined
      let lastWantedMs = -Infinity
      for (const { result, snapshot, wanted, enabled } of lived) {
        const { nowMs } = snapshot
        const real = wanted.filter((rung) => !(rung === 'cpuEvict' ? evict.dryRunCpu : evict.dryRunMemory))
        if (real.length > 0 && enabled) lastWantedMs = nowMs
        if (!enabled) lastWantedMs = -Infinity
        const held = enabled && nowMs - lastWantedMs < Math.max(1, evict.holdMs)
        expect(result.holds).toBe(held)
        heldSinceMs = held ? (heldSinceMs ?? nowMs) : undefined
        if (!result.wishes.some(({ dryRun }) => !dryRun)) continue
        expect(snapshot.evictions.impossible).toBeUndefined()
        expect(heldSinceMs).toBeDefined()
        expect(nowMs - (heldSinceMs ?? nowMs)).toBeGreaterThanOrEqual(evict.holdMs)
      }
    })
  })

  it('of a dry run are told as such, once a pod in ten minutes, and no rung is both (I67)', () => {
    let count = 0
    forAll((lived, { evict }) => {
      const told = new Map<string, number>()
      for (const { result, snapshot } of lived) {
        expect(new Set(result.wishes.map(({ uid }) => uid)).size).toBe(result.wishes.length)
        for (const wish of result.wishes) {
          expect(wish.dryRun).toBe(wish.rung === 'cpuEvict' ? evict.dryRunCpu : evict.dryRunMemory)
          if (!wish.dryRun) continue
          count += 1
          expect(snapshot.nowMs - (told.get(wish.uid) ?? -Infinity)).toBeGreaterThanOrEqual(600_000)
          told.set(wish.uid, snapshot.nowMs)
        }
      }
    })
    expect(count).toBeGreaterThan(20)
  })

  it('remember a bounded number of wishes', () => {
    forAll((lived, { evict }) => {
      for (const { result } of lived) {
        expect(result.memory?.spent.length ?? 0).toBeLessThanOrEqual(evict.perHour)
        expect(result.memory?.dry.length ?? 0).toBeLessThanOrEqual(600_000 / evict.intervalMs)
      }
    })
  })
})

/** Whether a pod was wished away in the last 30 s without an answer. */
function isPending(lived: readonly Lived[], tick: Lived, uid: string): boolean {
  return lived.some(
    ({ result, snapshot }) =>
      snapshot.nowMs < tick.snapshot.nowMs &&
      tick.snapshot.nowMs - snapshot.nowMs < 30_000 &&
      result.wishes.some((wish) => wish.uid === uid && !wish.dryRun),
  )
}

describe('the order of evictions', () => {
  it('is total, and puts OT before BE', () => {
    fc.assert(
      fc.property(pods, fc.constantFrom(...RUNGS_IN_TURN), fc.func(fc.boolean()), (readings, rung, wasTried) => {
        const config = configWith({})
        const classified = readings.map((reading) => classify(reading, config))
        const ask = { rung, isFree: () => true, wasTried: (uid: string) => wasTried(uid) }
        const candidates: Candidate[] = candidatesFor(snapshotOf(), classified, ask, config)
        for (const [index, a] of candidates.entries()) {
          expect(compareCandidates(a, a)).toBe(0)
          for (const b of candidates.slice(index + 1)) {
            expect(compareCandidates(a, b)).toBeLessThan(0)
            expect(compareCandidates(b, a)).toBeGreaterThan(0)
            expect(`${a.qosClass} before ${b.qosClass}`).not.toBe('BE before OT')
          }
        }
      }),
    )
  })
})
