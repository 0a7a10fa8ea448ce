/** What always holds of the memory ladder, by the numbers of src/decide/SPEC.md, over random histories of memory, stalls and pods. */
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { isOffline, MEMORY_RUNGS, type MemoryRung, parentGroup } from '../../../src/model/index.ts'
import { classify } from '../../../src/decide/classify.ts'
import { configOf } from '../../support/config.ts'
import { deepFreeze, GIB } from '../../support/snapshots.ts'
import { MemoryNode, type MemoryPod, MIB, type Moment, type Tick } from './suppress-memory-support.ts'

const pod: fc.Arbitrary<Omit<MemoryPod, 'uid'>> = fc.record(
  {
    qos: fc.constantFrom('BestEffort', 'BestEffort', 'BestEffort', 'Burstable', 'Guaranteed'),
    asks: fc.constantFrom({}, { 'be-cpu': 4 }, { 'be-cpu': 4, 'be-memory': 3 }, { 'ot-cpu': 2 }, { 'ot-memory': 1 }),
    labels: fc.constantFrom({}, {}, { 'kube-agent.io/qos-class': 'OT' }, { 'kube-agent.io/qos-class': 'LSR' }),
    usesMilli: fc.constantFrom(0, 100),
    workingSetBytes: fc.oneof(fc.nat(20 * GIB), fc.constantFrom(0, 1, 100, Number.NaN, Infinity, -5)),
    workingSetAgeMs: fc.constantFrom(0, 0, 0, 5000, 20_000, Infinity),
    memoryRequestBytes: fc.oneof(fc.nat(8 * GIB), fc.constantFrom(0, 0.5, 12_345)),
    ageMs: fc.constantFrom(100, 3_600_000),
    present: fc.constantFrom(true, true, true, false),
    phase: fc.constantFrom('Running', 'Running', 'Succeeded'),
  },
  { requiredKeys: ['qos', 'asks'] },
)

const moment = fc.record(
  {
    dtMs: fc.constantFrom(50, 1000, 1000, 3000, 10_000, 40_000, 600_000),
    /** How often the same comes again: rungs take their time. */
    times: fc.integer({ min: 1, max: 12 }),
    availablePermyriad: fc.oneof(
      fc.integer({ min: 0, max: 2500 }),
      fc.constantFrom(0, 400, 600, 900, 1100, 1400, 5000, null, Number.NaN, -100, 20_000),
    ),
    memoryAgeMs: fc.constantFrom(0, 0, 0, 0, 9000, 10_001),
    pressurePermyriad: fc.constantFrom(0, 0, 0, 2001, 9000),
    pods: fc.array(pod, { maxLength: 5 }),
    restart: fc.constantFrom(false, false, false, false, true),
    everRead: fc.constantFrom(true, true, true, false),
  },
  { requiredKeys: ['dtMs', 'times', 'pods', 'restart'] },
)

const settings = fc.record(
  {
    memoryHold: fc.record({ enabled: fc.boolean(), enterMs: fc.constantFrom(0, 1000) }, { requiredKeys: ['enterMs'] }),
    memoryHighOt: fc.record({ coolDownMs: fc.constantFrom(0, 5000), exitMs: fc.constantFrom(0, 30_000) }),
    memoryHighBe: fc.record({ enabled: fc.boolean(), coolDownMs: fc.constantFrom(0, 5000) }, { requiredKeys: ['coolDownMs'] }),
    memoryEvictOt: fc.record({ exitMs: fc.constantFrom(0, 30_000) }),
    suppressMemory: fc.record({
      highPermyriad: fc.constantFrom(9000, 100, 10_000),
      protectLowPermyriad: fc.constantFrom(0, 3333, 10_000),
      protectMinPermyriad: fc.constantFrom(0, 777),
    }),
    evict: fc.record({ enabled: fc.constantFrom(true, true, false) }),
  },
  { requiredKeys: ['suppressMemory'] },
)

const histories = fc.record({
  settings,
  dialect: fc.constantFrom('v1', 'v2'),
  missing: fc.constantFrom([], [], ['memoryHigh', 'memorySoft'] as const),
  writes: fc.constantFrom(true, true, false),
  moments: fc.array(moment, { minLength: 1, maxLength: 15 }),
})
type History = typeof histories extends fc.Arbitrary<infer T> ? T : never

interface Lived {
  readonly tick: Tick
  readonly before: readonly MemoryRung[]
  /** Nothing was remembered: limits may have been taken over. */
  readonly started: boolean
}

function live({ settings: given, dialect, missing, writes, moments }: History): Lived[] {
  const lived: Lived[] = []
  const node = new MemoryNode(given, writes)
  let nowMs = 1_000_000
  for (const { dtMs, times, pods, restart, ...rest } of moments) {
    if (restart) node.memory = undefined
    for (let time = 0; time < times; time += 1) {
      nowMs += dtMs
      const named = pods.map((one, index) => ({ ...one, uid: `p${index}` }))
      const started = node.memory?.resumed !== true
      const before = node.memory?.ladder.inForce ?? []
      const tick = node.tick({ ...(rest as Moment), dialect, missing, nowMs, pods: named })
      lived.push({ tick, before, started })
    }
  }
  return lived
}

function forAllHistories(check: (lived: readonly Lived[], history: History) => void): void {
  fc.assert(
    fc.property(histories, (history) => check(live(history), history)),
    { numRuns: 250 },
  )
}

const isReclaim = ({ kind }: { readonly kind: string }): boolean => kind === 'memoryHigh' || kind === 'memorySoft'
const isSilent = ({ abstentions }: Tick): boolean => abstentions.some(({ rule }) => rule === 'suppressMemory')
const position = (rung: MemoryRung): number => MEMORY_RUNGS.indexOf(rung)

describe('the memory ladder', () => {
  it('changes by one rung at a time, passing over none that could be climbed (I48)', () => {
    let climbs = 0
    forAllHistories((lived, history) => {
      const config = configOf({ evict: { enabled: true }, ...history.settings })
      for (const { tick, before, started } of lived) {
        const { inForce } = tick.memory?.ladder ?? { inForce: [] }
        expect([...inForce].sort((a, b) => position(a) - position(b))).toEqual(inForce)
        if (started) continue
        const come = inForce.filter((rung) => !before.includes(rung))
        const gone = before.filter((rung) => !inForce.includes(rung))
        expect(come.length + gone.length).toBeLessThanOrEqual(1)
        if (gone.length > 0) expect(gone[0]).toBe(before.at(-1))
        climbs += come.length
        for (const rung of come) {
          for (const below of MEMORY_RUNGS.slice(0, position(rung))) {
            const isHigh = below === 'memoryHighOt' || below === 'memoryHighBe'
            const isImpossible =
              (isHigh && history.missing.length > 0) || (!isHigh && below !== 'memoryHold' && !config.evict.enabled)
            if (config[below].enabled && !isImpossible) expect(inForce).toContain(below)
          }
        }
      }
    })
    expect(climbs).toBeGreaterThan(100)
  })

  it('neither climbs, nor leaves, nor evicts without a young reading of memory (I49)', () => {
    let silences = 0
    forAllHistories((lived) => {
      for (const { tick, before, started } of lived) {
        if (!isSilent(tick)) continue
        silences += before.length
        if (!started) expect(tick.memory?.ladder.inForce).toEqual(before)
        expect(tick.evicts).toEqual([])
      }
    })
    expect(silences).toBeGreaterThan(100)
  })

  it('wants a pod to go only after memory was as short as the rung says, and while it is still short (I50)', () => {
    let evicting = 0
    forAllHistories((lived, history) => {
      const config = configOf({ evict: { enabled: true }, ...history.settings })
      for (const { tick, before } of lived) {
        const available = tick.state?.availablePermyriad ?? Infinity
        const inForce = tick.memory?.ladder.inForce ?? []
        for (const rung of ['memoryEvictOt', 'memoryEvictBe'] as const) {
          if (inForce.includes(rung) && !before.includes(rung)) expect(available).toBeLessThanOrEqual(config[rung].enterPermyriad)
          if (!tick.evicts.includes(rung)) continue
          evicting += 1
          expect(inForce).toContain(rung)
          expect(available).toBeLessThanOrEqual(config[rung].exitPermyriad)
        }
      }
    })
    expect(evicting).toBeGreaterThan(100)
  })

  it('reclaims from offline pods alone, each by the rung of its class, and from no pod that is not there (I51)', () => {
    let claims = 0
    forAllHistories((lived, history) => {
      const config = configOf(history.settings)
      for (const { tick } of lived) {
        const byGroup = new Map(tick.snapshot.pods.pods.map((reading) => [reading.group, classify(reading, config)]))
        for (const claim of tick.claims.filter(isReclaim)) {
          const { qosClass, reading } = byGroup.get(claim.group) ?? {}
          claims += 1
          expect(reading?.present).toBe(true)
          expect(qosClass !== undefined && isOffline(qosClass)).toBe(true)
          expect(tick.inForce).toContain(qosClass === 'OT' ? 'memoryHighOt' : 'memoryHighBe')
        }
      }
    })
    expect(claims).toBeGreaterThan(100)
  })

  it('never lowers what it reclaims to while the rung is in force, and never to nothing (I52)', () => {
    let kept = 0
    forAllHistories((lived) => {
      let before = new Map<string, number>()
      for (const { tick, started } of lived) {
        const now = new Map(tick.claims.filter(isReclaim).map(({ group, value }) => [group, value as number]))
        for (const [group, value] of now) {
          expect(Number.isSafeInteger(value / 65_536)).toBe(true)
          expect(value).toBeGreaterThanOrEqual(16 * MIB)
          const was = started ? undefined : before.get(group)
          if (was !== undefined) kept += 1
          if (was !== undefined) expect(value).toBeGreaterThanOrEqual(was)
        }
        before = now
      }
    })
    expect(kept).toBeGreaterThan(100)
  })

  it('protects online pods alone, and every group above at least as much as all that it holds (I53)', () => {
    let protectedPods = 0
    forAllHistories((lived, history) => {
      const config = configOf(history.settings)
      for (const { tick } of lived) {
        const offline = tick.snapshot.pods.pods.filter((reading) => isOffline(classify(reading, config).qosClass))
        for (const kind of ['memoryLow', 'memoryMin'] as const) {
          const values = new Map(
            tick.claims.filter((claim) => claim.kind === kind).map(({ group, value }) => [group, value as number]),
          )
          for (const { group } of offline) expect(values.has(group)).toBe(false)
          const pods = tick.snapshot.pods.pods.filter(({ group }) => values.has(group))
          protectedPods += pods.length
          const sums = new Map<string, number>()
          for (const { group, spec } of pods) {
            expect(values.get(group)).toBeLessThanOrEqual(spec.requests.memoryBytes)
            for (let above = parentGroup(group); above !== '/'; above = parentGroup(above))
              sums.set(above, (sums.get(above) ?? 0) + (values.get(group) ?? 0))
          }
          for (const [group, sum] of sums) expect(values.get(group)).toBe(sum)
        }
      }
    })
    expect(protectedPods).toBeGreaterThan(100)
  })

  it('is a function that writes to none of its arguments, whatever the order of the pods (I1)', () => {
    fc.assert(
      fc.property(
        moment,
        fc.array(moment, { maxLength: 4 }),
        ({ pods, times: _times, restart: _restart, dtMs, ...rest }, earlier) => {
          const [one, other] = [new MemoryNode({ memoryHold: { enterMs: 0 } }), new MemoryNode({ memoryHold: { enterMs: 0 } })]
          const named = pods.map((each, index) => ({ ...each, uid: `p${index}` }))
          for (const [index, availablePermyriad] of [...earlier.map((one) => one.availablePermyriad ?? null), 800].entries()) {
            const at = { ...(rest as Moment), availablePermyriad, nowMs: 1_000_000 + index * dtMs }
            deepFreeze(one.memory)
            const a = one.tick({ ...at, pods: named })
            const b = other.tick({ ...at, pods: [...named].reverse() })
            const sorted = ({ claims }: Tick) => claims.map((claim) => JSON.stringify(claim)).sort()
            expect(sorted(a)).toEqual(sorted(b))
            expect([a.state, a.holds, a.evicts, a.inForce]).toEqual([b.state, b.holds, b.evicts, b.inForce])
          }
        },
      ),
      { numRuns: 200 },
    )
  })
})
