/** The metrics of the ladders: values of the last tick, counters that follow the evictor's, and the reaction told once per excursion. */
import { describe, expect, it } from 'vitest'
import type { SuppressionState } from '../../../src/model/index.ts'
import { APPLIED, CPU_RUNGS, EVICTION_OUTCOMES, MEMORY_RUNGS, NO_EVICTIONS } from '../../../src/model/index.ts'
import { IO, MEMORY, reading, recorder, ROOT_STEP, SUPPRESSION, tick, type TickParts, TRAIN } from './fixtures.ts'

type Record = ReturnType<typeof recorder>

async function scrape(record: Record): Promise<ReadonlyMap<string, number>> {
  const lines = (await record.metricsText()).split('\n').filter((line) => line.startsWith('kube_agent_'))
  return new Map(
    lines.map((line) => [line.slice('kube_agent_'.length, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ') + 1))]),
  )
}

const named = (samples: ReadonlyMap<string, number>, prefix: string): readonly string[] =>
  [...samples.keys()].filter((name) => name.startsWith(prefix))

const SQUEEZED: SuppressionState = {
  ...SUPPRESSION,
  pressure: { source: 'online groups', permyriad: 3100, boundPermyriad: 2000, is: 'cut' },
  steadiness: { turns: 7, dwellMs: 8000, swings: true },
  ladder: { inForce: ['cpuNarrow', 'cpuFreeze'] },
}

describe('metrics of the ladders', () => {
  it('are those of the last tick', async () => {
    const record = recorder()
    record.tick(
      tick({
        suppression: SQUEEZED,
        memory: MEMORY,
        io: { ...IO, missingDevices: ['sdb'] },
        online: { cpuPressure: reading({ someUsPerSecond: 310_000 }, 10_990) },
        evictions: {},
        actual: [[TRAIN.reading.group, 'freeze', 1]],
      }),
    )
    const samples = await scrape(record)
    const expected = {
      'suppress_pressure_ratio{source="online groups"}': 0.31,
      'suppress_pressure_bound_ratio{source="online groups"}': 0.2,
      'suppress_pressure_state{state="cut"}': 1,
      'suppress_pressure_state{state="quiet"}': 0,
      suppress_dwell_seconds: 8,
      suppress_direction_changes: 7,
      suppress_swinging: 1,
      'suppress_ladder_rung{rung="cpuNarrow"}': 1,
      'suppress_ladder_rung{rung="cpuEvict"}': 0,
      'suppress_ladder_rung{rung="memoryHold"}': 1,
      'suppress_ladder_rung{rung="memoryEvictBe"}': 0,
      memory_available_ratio: 0.0937,
      io_limit_share_ratio: 0.25,
      io_devices_missing: 1,
      sales_stopped: 1,
      eviction_possible: 1,
      'online_pressure_some_ratio{resource="cpu"}': 0.31,
      'reading_age_seconds{reading="online_cpu_pressure"}': 0.01,
      'class_frozen_pods{class="OT"}': 1,
      'class_frozen_pods{class="BE"}': 0,
    }
    expect(Object.fromEntries(Object.keys(expected).map((name) => [name, samples.get(name)]))).toEqual(expected)
    expect(named(samples, 'suppress_ladder_rung')).toHaveLength(CPU_RUNGS.length + MEMORY_RUNGS.length)
    expect(named(samples, 'evictions_total')).toHaveLength(EVICTION_OUTCOMES.length)
  })

  it('have no series for a rule that is off, and none for a source of pressure that is no longer read', async () => {
    const record = recorder()
    record.tick(tick({ suppression: SQUEEZED, memory: MEMORY, io: IO }))
    record.tick(
      tick({
        seq: 2,
        suppression: { ...SQUEEZED, pressure: { source: 'run queue', permyriad: 15_000, boundPermyriad: 30_000, is: 'quiet' } },
      }),
    )
    const samples = await scrape(record)
    expect(named(samples, 'suppress_pressure_ratio')).toEqual(['suppress_pressure_ratio{source="run queue"}'])
    expect(samples.get('suppress_pressure_state{state="cut"}')).toBe(0)
    expect(samples.get('sales_stopped')).toBe(0)
    expect(samples.get('eviction_possible')).toBe(0)
    for (const gone of ['memory_available_ratio', 'io_limit_share', 'suppress_ladder_rung{rung="memory'])
      expect(named(samples, gone)).toEqual([])
    record.tick(tick({ seq: 3, suppression: null }))
    expect(named(await scrape(record), 'suppress_')).toEqual([])
  })

  it('count evictions as the evictor does, once', async () => {
    const record = recorder()
    const counts = { ...NO_EVICTIONS.counts }
    const at = (seq: number): void => record.tick(tick({ seq, evictions: { counts } }))
    at(1)
    counts.evicted = 2
    at(2)
    at(3)
    counts.evicted = 3
    counts.blocked = 1
    at(4)
    const samples = await scrape(record)
    expect(samples.get('evictions_total{outcome="evicted"}')).toBe(3)
    expect(samples.get('evictions_total{outcome="blocked"}')).toBe(1)
    expect(samples.get('evictions_total{outcome="failed"}')).toBe(0)
  })
})

describe('reaction latency', () => {
  const hot: SuppressionState = { ...SUPPRESSION, inputs: { ...SUPPRESSION.inputs, nodeMilli: 5900 } }
  const calm: SuppressionState = { ...SUPPRESSION, inputs: { ...SUPPRESSION.inputs, nodeMilli: 3000 } }
  const writes: TickParts = { plan: [ROOT_STEP], outcomes: [APPLIED] }

  async function observed(...ticks: readonly TickParts[]): Promise<{ readonly count: number; readonly seconds: number }> {
    const record = recorder()
    for (const [index, parts] of ticks.entries())
      record.tick(tick({ seq: index + 1, nowMs: 11_000 + index * 50, pace: 'hot', tookMs: 2, suppression: hot, ...parts }))
    const samples = await scrape(record)
    return {
      count: samples.get('reaction_latency_seconds_count') ?? NaN,
      seconds: samples.get('reaction_latency_seconds_sum') ?? NaN,
    }
  }

  it('is that of the tick which saw it and wrote', async () => {
    expect(await observed({ suppression: calm }, writes)).toEqual({ count: 1, seconds: 0.002 })
  })

  it('begins with the guard beat that saw it, where that is told', async () => {
    expect(await observed({ suppression: calm }, { ...writes, aboveSinceMs: 11_025 })).toEqual({ count: 1, seconds: 0.027 })
  })

  it('runs until the quota is written, over ticks that did not', async () => {
    const refused: TickParts = { plan: [ROOT_STEP], outcomes: [{ is: 'busy', errno: 'EBUSY' }] }
    expect(await observed({}, refused, writes)).toEqual({ count: 1, seconds: 0.102 })
  })

  it('is told once for each time above the watermark', async () => {
    expect((await observed(writes, writes, writes)).count).toBe(1)
    expect((await observed(writes, { suppression: calm }, writes)).count).toBe(2)
  })

  it('is not told of a node that needed no write, nor of growth', async () => {
    expect((await observed({}, {}, { suppression: calm })).count).toBe(0)
    expect((await observed({ plan: [{ ...ROOT_STEP, phase: 'widen' }], outcomes: [APPLIED] })).count).toBe(0)
  })
})
