/** Regulators of rules that only observe: no effect of theirs shows in any reading, and they must not go on as if one ought to (I83). */
import { describe, expect, it } from 'vitest'
import { classify } from '../../../src/decide/classify.ts'
import { evictions } from '../../../src/decide/evict.ts'
import { decide, EMPTY_MEMORY, type Memory } from '../../../src/decide/index.ts'
import { type IoMemory, regulateShare, startShare } from '../../../src/decide/suppress/io-share.ts'
import type { Decision, EvictingRung, ObservableRule } from '../../../src/model/index.ts'
import { NO_EVICTIONS } from '../../../src/model/index.ts'
import { configOf } from '../../support/config.ts'
import { snapshotOf, type SnapshotLiteral } from '../../support/snapshots.ts'

const QUIET = { nodeMilli: 3000, offlineMilli: 2000, cpuPressurePermyriad: 0 } as const
const WAITING = { ...QUIET, cpuPressurePermyriad: 6000 } as const

/** Every 250 ms, after a quiet start with an allowance of 4000m. */
function ticks(literals: readonly SnapshotLiteral[], settings: Record<string, unknown> = {}): Decision[] {
  const config = configOf({ observeRules: ['suppressCpu'], pressure: { futileMs: 2000 }, ...settings })
  let memory: Memory = EMPTY_MEMORY
  for (const nowMs of [-5000, 0]) ({ memory } = decide(snapshotOf({ ...QUIET, nowMs }), memory, config))
  return literals.map((literal, index) => {
    const { decision, memory: after } = decide(snapshotOf({ ...literal, nowMs: (index + 1) * 250 }), memory, config)
    memory = after
    return decision
  })
}

const times = (count: number, literal: SnapshotLiteral): SnapshotLiteral[] => Array.from({ length: count }, () => literal)
const allowancesOf = (all: readonly Decision[]): unknown[] => [
  ...new Set(all.map(({ suppression }) => suppression?.allowanceMilli)),
]

describe('an observed allowance', () => {
  it('is cut once for each time that online work waits, and is never found futile', () => {
    const all = ticks([...times(40, WAITING), ...times(20, QUIET), ...times(20, WAITING)])
    expect(allowancesOf(all.slice(0, 40))).toEqual([2800])
    expect(all[59]?.suppression?.allowanceMilli).toBe(4000)
    expect(allowancesOf(all.slice(60))).toEqual([2800])
    expect(all.map(({ suppression }) => suppression?.pressure?.is)).not.toContain('futile')
    // The same, enforced, goes on to the floor and finds that it was of no use.
    const enforced = ticks(times(80, WAITING), { observeRules: [] })
    expect(enforced.map(({ suppression }) => suppression?.pressure?.is)).toContain('futile')
  })

  it('does not swing, whatever its course', () => {
    const swinging = Array.from({ length: 120 }, (_, index) => ({ ...QUIET, nodeMilli: index % 12 < 6 ? 2000 : 5000 }))
    const settings = { steady: { turns: 2 }, suppressCpu: { dwellMs: 100 } }
    const swings = (all: readonly Decision[]): boolean => all.some(({ suppression }) => suppression?.steadiness.swings)
    expect(swings(ticks(swinging, settings))).toBe(false)
    expect(swings(ticks(swinging, { ...settings, observeRules: [] }))).toBe(true)
  })

  it('climbs no rung for what offline work uses beyond it, which it would not use', () => {
    const settings = { cpuNarrow: { enterMs: 0 }, pressure: { enabled: false } }
    const full = (offlineMilli: number): SnapshotLiteral => ({ nodeMilli: 7900, offlineMilli })
    const rungs = (offlineMilli: number): unknown =>
      ticks(times(40, full(offlineMilli)), settings).at(-1)?.suppression?.ladder.inForce
    // Online work alone uses 4900m, which leaves offline work its floor; with no more than that the node is not full.
    expect(rungs(3000)).toEqual([])
    expect(rungs(100)).toEqual(['cpuNarrow'])
  })

  it('leaves what else is told of the node as it is without the rule', () => {
    const headroom = (settings: Record<string, unknown>): unknown =>
      ticks(times(4, QUIET), settings).at(-1)?.signals?.headroomMilli
    expect(headroom({})).toBe(headroom({ observeRules: [], suppressCpu: { enabled: false } }))
  })
})

describe('an observed share of the IO limits', () => {
  it('is cut once while online work waits, and grows back when it does not', () => {
    const config = configOf({ suppressIo: { enabled: true }, pressure: { futileMs: 2000 }, observeRules: ['suppressIo'] })
    let memory: IoMemory = startShare(10_000, 0)
    const states: string[] = []
    for (let nowMs = 1000; nowMs <= 20_000; nowMs += 1000) {
      const next = regulateShare({ permyriad: 9000, atMs: nowMs }, memory, nowMs, config)
      states.push(next.is)
      memory = next.memory
    }
    expect(memory.sharePermyriad).toBe(config.suppressIo.cutPermyriad)
    expect(new Set(states)).toEqual(new Set(['cut', 'hold']))
    for (let nowMs = 21_000; nowMs <= 60_000; nowMs += 1000)
      ({ memory } = regulateShare({ permyriad: 0, atMs: nowMs }, memory, nowMs, config))
    expect(memory.sharePermyriad).toBe(10_000)
  })
})

describe('a pod', () => {
  const wishesOf = (observeRules: readonly ObservableRule[], wanted: readonly EvictingRung[]) => {
    const config = configOf({ evict: { enabled: true, holdMs: 0 }, observeRules })
    const { impossible: _none, ...able } = NO_EVICTIONS
    const snapshot = { ...snapshotOf({ nowMs: 100_000, pods: [{ uid: 'be', asks: { 'be-cpu': 1 } }] }), evictions: able }
    const pods = snapshot.pods.pods.map((reading) => classify(reading, config))
    const { wishes, holds } = evictions(snapshot, pods, { memory: undefined, wanted }, config)
    return { dryRun: wishes.map(({ dryRun }) => dryRun), holds }
  }

  it.each([
    [[], 'cpuEvict', false],
    [['evict'], 'cpuEvict', true],
    [['suppressCpu'], 'cpuEvict', true],
    [['suppressMemory'], 'cpuEvict', false],
    [['evict'], 'memoryEvictBe', true],
    [['suppressMemory'], 'memoryEvictBe', true],
    [['suppressCpu'], 'memoryEvictBe', false],
  ] as const)('with %j observed, a wish of %s is a dry run: %s', (observeRules, rung, dryRun) => {
    expect(wishesOf(observeRules, [rung])).toEqual({ dryRun: [dryRun], holds: !dryRun })
  })
})

describe('stalls for memory', () => {
  it('are not called futile by rungs that were never tried', () => {
    const futile = (observeRules: readonly ObservableRule[]): boolean => {
      const config = configOf({
        observeRules,
        pressure: { futileMs: 2000 },
        memoryHold: { enterMs: 0, coolDownMs: 0 },
        memoryHighOt: { enterMs: 0, coolDownMs: 0 },
        memoryHighBe: { enterMs: 0, coolDownMs: 0 },
      })
      let memory: Memory = EMPTY_MEMORY
      let found = false
      for (let nowMs = 1000; nowMs <= 30_000; nowMs += 1000) {
        const base = snapshotOf({ nowMs, memory: { totalBytes: 2 ** 34, availableBytes: 2 ** 33 } })
        const memoryPressure = { value: { someUsPerSecond: 900_000 }, atMs: nowMs, source: '/proc/pressure/memory' }
        const decided = decide({ ...base, node: { ...base.node, memoryPressure } }, memory, config)
        memory = decided.memory
        found ||= decided.decision.memory?.stallsFutile === true
      }
      return found
    }
    expect(futile([])).toBe(true)
    expect(futile(['suppressMemory'])).toBe(false)
  })
})
