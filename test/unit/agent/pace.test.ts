/** When the agent ticks: by the clock alone, and with what its ticks take. */
import * as fc from 'fast-check'
import { describe, expect, it, onTestFinished } from 'vitest'
import { Pace } from '../../../src/agent/pace.ts'
import { DEFAULTS } from '../../support/config.ts'
import { SimulatedAgent } from '../../support/simulated-agent.ts'
import { specOf } from '../../support/snapshots.ts'
import { planted } from '../../support/trees-on-disk.ts'

const { calmMs, guardMs, hotMs } = DEFAULTS.loop

/** Beats for `ms` and answers when there was a tick; each hot one takes `tookMs`, and the node stays hot, with news on each beat or without. */
function hotTicks(pace: Pace, ms: number, tookMs: number, hasNews = true): number[] {
  const at: number[] = []
  pace.begin(0)
  for (let nowMs = 0; nowMs < ms; nowMs += guardMs) {
    pace.alarmed(nowMs)
    if (hasNews) pace.hasNews()
    if (!pace.isDue(nowMs)) continue
    pace.begin(nowMs)
    pace.hotTook(tookMs)
    at.push(nowMs)
  }
  return at
}

const gaps = (at: readonly number[]): number[] => at.slice(1).map((ms, index) => ms - (at[index] ?? 0))

describe('the pace', () => {
  it('is one tick a calm pause until an alarm, then one a hot pause for a calm pause at least', () => {
    const pace = new Pace(DEFAULTS)
    pace.begin(0)
    expect(pace.isDue(calmMs / 2)).toBe(false)
    expect(pace.isDue(calmMs)).toBe(true)
    pace.alarmed(0)
    expect(pace.isHot(calmMs - 1)).toBe(true)
    expect(pace.isHot(calmMs)).toBe(false)
    expect(pace.isDue(hotMs)).toBe(false)
    pace.hasNews()
    expect(pace.isDue(hotMs)).toBe(true)
  })

  it('is an eighth as quick while there is no news, and news are good for one tick', () => {
    expect(gaps(hotTicks(new Pace(DEFAULTS), 5000, 1, false)).every((gap) => gap === hotMs * 8)).toBe(true)
    const pace = new Pace(DEFAULTS)
    pace.begin(0)
    pace.alarmed(0)
    pace.hasNews()
    pace.begin(hotMs)
    expect(pace.isDue(2 * hotMs)).toBe(false)
  })

  it('beats a tenth as often while offline work rests in calm, yet never past the next tick', () => {
    const pace = new Pace(DEFAULTS)
    pace.begin(0)
    expect([pace.beatMs(0, false), pace.beatMs(0, true)]).toEqual([guardMs, guardMs * 10])
    expect(pace.beatMs(calmMs - guardMs * 2, true)).toBe(guardMs * 2)
    expect(pace.beatMs(calmMs - 1, true)).toBe(guardMs)
    pace.alarmed(0)
    expect(pace.beatMs(0, true)).toBe(guardMs)
  })

  it('takes no more than a quarter of a CPU for hot ticks, however dear one is, and is never slower than in calm', () => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: 2000, noNaN: true }), (tookMs) => {
        const seen = gaps(hotTicks(new Pace(DEFAULTS), 60_000, tookMs)).slice(60)
        expect(Math.min(...seen)).toBeGreaterThanOrEqual(Math.min(calmMs, tookMs * 4) * 0.97 - guardMs)
        expect(Math.max(...seen)).toBeLessThanOrEqual(Math.min(calmMs, Math.max(hotMs, tookMs * 4)) + guardMs)
      }),
      { numRuns: 50 },
    )
  })

  it('forgets a slow spell', () => {
    const pace = new Pace(DEFAULTS)
    hotTicks(pace, 10_000, 100)
    const later = gaps(hotTicks(pace, 10_000, 1)).slice(-20)
    expect(later.every((gap) => gap === hotMs)).toBe(true)
  })

  it('is hardly slower for a single tick, however dear: one counts no more than makes a difference', () => {
    for (const spikeMs of [300, 30_000]) {
      const pace = new Pace(DEFAULTS)
      hotTicks(pace, 10_000, 1)
      pace.hotTook(spikeMs)
      expect(Math.max(...gaps([0, ...hotTicks(pace, 10_000, 1)]))).toBeLessThanOrEqual(calmMs * 0.1 + 2 * guardMs)
    }
  })

  it('looks at everything once a calm pause, and at once when pods have changed', () => {
    const pace = new Pace(DEFAULTS)
    expect(pace.isCalm(0, false)).toBe(true)
    expect(pace.isCalm(hotMs, false)).toBe(false)
    expect(pace.isCalm(2 * hotMs, true)).toBe(true)
    expect(pace.isCalm(calmMs + hotMs, false)).toBe(false)
    expect(pace.isCalm(calmMs + 2 * hotMs, false)).toBe(true)
  })
})

describe('hot ticks of an agent', () => {
  const ticksOf = (times: { readonly clockMs?: number; readonly cpuMs?: number }): number => {
    const agent = new SimulatedAgent({ dialect: 'v2', directory: planted(), config: DEFAULTS, ...times })
    onTestFinished(() => agent.end())
    agent.node.addPod(specOf({ uid: 'be', asks: { 'be-cpu': 60, 'be-memory': 8 } }))
    agent.node.addPod(specOf({ uid: 'ls', qos: 'Burstable', requestsMilli: 4000 }))
    agent.node.setDemand('ls', 6000)
    agent.node.setDemand('be', 8000)
    agent.run(40_000)
    const from = agent.records.length
    agent.run(10_000)
    return agent.records.length - from
  }

  it('come less often where they are dear, but not where the agent is kept from running', () => {
    const { clock, cpu } = { clock: ticksOf({ clockMs: 100 }), cpu: ticksOf({ cpuMs: 400 }) }
    expect(clock).toBe(ticksOf({}))
    expect(clock).toBeGreaterThanOrEqual(10_000 / hotMs / 8 - 1)
    expect(cpu).toBeLessThan(clock / 1.5)
  })
})
