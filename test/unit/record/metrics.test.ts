/**
 * The scrape: its families are golden, its names keep to Prometheus' conventions, its values are those of the last tick, and a value
 * that was never measured has no series.
 */
import { describe, expect, it } from 'vitest'
import { FINDING_REASONS } from '../../../src/model/index.ts'
import { FINDING, recorder, REGISTERED, SIGNALS, SUPPRESSION, tick, writingTick } from './fixtures.ts'

/** Samples by their whole series name. */
async function scrape(record: ReturnType<typeof recorder>): Promise<ReadonlyMap<string, number>> {
  const lines = (await record.metricsText()).split('\n').filter((line) => line !== '' && !line.startsWith('#'))
  return new Map(lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ') + 1))]))
}

interface Family {
  readonly name: string
  readonly help: string
  readonly type: string
}

async function families(): Promise<readonly Family[]> {
  const text = await recorder().metricsText()
  return [...text.matchAll(/^# HELP (\S+) (.*)\n# TYPE \1 (\S+)$/gm)].map(([, name = '', help = '', type = '']) => ({
    name,
    help,
    type,
  }))
}

describe('families', () => {
  it('are those of the golden list', async () => {
    const list = (await families()).map(({ name, help, type }) => `${name} (${type}): ${help}\n`).sort()
    await expect(list.join('')).toMatchFileSnapshot('../../golden/metrics.txt')
  })

  it('are named the way Prometheus names', async () => {
    for (const { name, help, type } of await families()) {
      expect(name).toMatch(/^(kube_agent|process|nodejs)_[a-z][a-z0-9_]*$/)
      expect(name.endsWith('_total'), name).toBe(type === 'counter')
      expect(name, 'base units only').not.toMatch(
        /_(ms|millis|milliseconds|us|micros|milli|millicores|permyriad|percent|kib|mib|gib|kb|mb|gb|minutes|hours)(_|$)/,
      )
      if (type === 'histogram') expect(name).toMatch(/_seconds$/)
      expect(help.length, name).toBeGreaterThan(10)
    }
  })

  it('have the same series whatever the number of pods', async () => {
    const few = recorder()
    few.tick(writingTick())
    const many = recorder()
    many.tick(writingTick({ pods: Array.from({ length: 250 }, () => tick().decision.pods).flat() }))
    expect([...(await scrape(many)).keys()]).toEqual([...(await scrape(few)).keys()])
  })
})

describe('values', () => {
  it('are those of the last tick, in base units', async () => {
    const record = recorder()
    record.resources([REGISTERED])
    record.tick(writingTick())
    record.guardBeat(1, false)
    record.guardBeat(30, true)
    record.tickFailed(new Error('x'), { nowMs: 1, wallMs: 1 })
    record.configReload('rejected')
    const samples = await scrape(record)
    const expected: Readonly<Record<string, number>> = {
      'mode{mode="enforce"}': 1,
      'mode{mode="observe"}': 0,
      'ticks_total{pace="calm"}': 1,
      'ticks_total{pace="hot"}': 0,
      tick_failures_total: 1,
      last_tick_timestamp_seconds: Date.UTC(2026, 10, 21, 3, 0, 10) / 1000,
      'tick_duration_seconds_bucket{le="0.0025"}': 1,
      'tick_duration_seconds_bucket{le="0.001"}': 0,
      guard_beats_total: 2,
      guard_beats_late_total: 1,
      guard_beat_lateness_seconds_sum: 0.031,
      node_cpu_used_cores: 5.9,
      'identity_backend{class="BE",backend="weight"}': 1,
      'identity_backend{class="OT",backend="idle"}': 1,
      'identity_backend{class="LS",backend="none"}': 1,
      node_cpu_capacity_cores: 8,
      offline_cpu_used_cores: 1.5,
      online_cpu_peak_cores: 4.4,
      'node_pressure_some_ratio{resource="cpu"}': 0.02,
      'reading_age_seconds{reading="node_cpu"}': 0.04,
      'reading_age_seconds{reading="pods"}': 0.5,
      'capability_usable{knob="memoryMin"}': 0,
      'capability_usable{knob="quota"}': 1,
      'suppress_allowance_cores{class="all"}': 0.6,
      'suppress_allowance_cores{class="ot"}': 0.08,
      suppress_watermark_cores: 5.2,
      suppress_floor_cores: 0.16,
      suppress_hot: 1,
      'suppress_bound{bound="watermark"}': 1,
      'suppress_bound{bound="floor"}': 0,
      'pods{class="BE"}': 1,
      'pods{class="LSX"}': 0,
      'class_cpu_used_cores{class="OT"}': 0.7,
      'class_memory_working_set_bytes{class="BE"}': 1024 ** 3,
      'resource_offered_units{resource="be-cpu"}': 12,
      'resource_unit_size{resource="be-cpu"}': 0.1,
      'resource_unit_size{resource="be-memory"}': 512 * 1024 ** 2,
      'resource_advertised_units{resource="be-cpu"}': 12,
      'resource_allocated_units{resource="be-cpu"}': 4,
      'kubelet_registered{resource="be-cpu"}': 1,
      'kubelet_streams{resource="be-cpu"}': 1,
      'writes_total{knob="quota",outcome="applied"}': 1,
      'writes_total{knob="cpuset",outcome="applied"}': 1,
      'writes_total{knob="cpuset",outcome="refused"}': 0,
      knobs_journaled: 1,
      knobs_to_change: 2,
      pod_source_problems: 0,
      'abstentions{rule="limits",reason="wouldKill"}': 0,
      'config_reloads_total{outcome="rejected"}': 1,
    }
    const found = Object.fromEntries(Object.keys(expected).map((name) => [name, samples.get(`kube_agent_${name}`)]))
    expect(found).toEqual(expected)
    expect(samples.get('process_cpu_seconds_total')).toBeGreaterThan(0)
    expect(samples.get('process_resident_memory_bytes')).toBeGreaterThan(1_000_000)
    expect(samples.get('nodejs_heap_size_used_bytes')).toBeGreaterThan(1_000_000)
    expect(samples.get('nodejs_active_resources')).toBeGreaterThan(0)
  })

  it('are those of the signals and findings, with a series for every reason there is', async () => {
    const record = recorder()
    record.tick(tick({ signals: SIGNALS, findings: [FINDING, { ...FINDING, uid: 'other' }] }))
    const samples = await scrape(record)
    expect(samples.get('kube_agent_node_hot')).toBe(1)
    expect(samples.get('kube_agent_node_score')).toBe(0)
    expect(samples.get('kube_agent_node_headroom_cores')).toBe(0)
    expect(samples.get('kube_agent_node_headroom_bytes')).toBe(SIGNALS.headroomBytes)
    const findings = [...samples].filter(([name]) => name.startsWith('kube_agent_pod_findings'))
    expect(findings.map(([, value]) => value).reduce((sum, value) => sum + value, 0)).toBe(2)
    expect(samples.get('kube_agent_pod_findings{reason="OfflineResourcesIncomplete"}')).toBe(2)
    expect(findings).toHaveLength(Object.keys(FINDING_REASONS).length)
    record.tick(tick({ seq: 2 }))
    const after = await scrape(record)
    expect(after.has('kube_agent_node_hot')).toBe(false)
    expect(after.get('kube_agent_pod_findings{reason="OfflineResourcesIncomplete"}')).toBe(0)
  })

  it('has no series for what was not measured', async () => {
    const record = recorder()
    const before = await scrape(record)
    expect(before.has('kube_agent_node_cpu_used_cores')).toBe(false)
    record.tick(tick())
    expect((await scrape(record)).has('kube_agent_suppress_watermark_cores')).toBe(true)
    record.tick(tick({ seq: 2, node: {}, suppression: null, offers: [] }))
    const names = [...(await scrape(record)).keys()]
    const gone =
      /kube_agent_(node_cpu_used|suppress_|online_cpu_peak|resource_offered|node_pressure|node_memory|reading_age_seconds\{reading="node_cpu")/
    expect(names.filter((name) => gone.test(name))).toEqual([])
  })

  it('moves only node and class level on a hot tick', async () => {
    const record = recorder()
    record.tick(tick())
    record.tick(
      tick({
        seq: 2,
        nowMs: 11_050,
        pace: 'hot',
        pods: [],
        suppression: { ...SUPPRESSION, allowanceMilli: 160, bound: 'floor' },
      }),
    )
    const samples = await scrape(record)
    expect(samples.get('kube_agent_pods{class="BE"}')).toBe(1)
    expect(samples.get('kube_agent_ticks_total{pace="hot"}')).toBe(1)
    expect(samples.get('kube_agent_suppress_allowance_cores{class="all"}')).toBe(0.16)
    expect(samples.get('kube_agent_suppress_bound{bound="floor"}')).toBe(1)
    expect(samples.get('kube_agent_suppress_bound{bound="watermark"}')).toBe(0)
  })

  it('bears clocks that run backwards', async () => {
    const record = recorder()
    record.tick(tick({ tookMs: -5 }))
    record.guardBeat(-3, false)
    expect((await scrape(record)).get('kube_agent_tick_duration_seconds_sum')).toBe(0)
  })
})

describe('counts that others keep', () => {
  it('are taken as they stand and never counted twice', async () => {
    const record = recorder()
    const writes = { createEvent: { ok: 1, failed: 2 } }
    for (const round of [1, 2]) {
      record.resources([{ ...REGISTERED, registrations: round, pushes: 3 * round, endedUnits: 4 }])
      record.cluster({
        server: 's',
        writes: { createEvent: { ...writes.createEvent, ok: round } },
        droppedEvents: 5,
        lastOkWallMs: 7000,
      })
    }
    record.allocations({ exact: true })
    const text = await record.metricsText()
    for (const line of [
      'kube_agent_kubelet_registrations_total{resource="be-cpu"} 2',
      'kube_agent_kubelet_pushes_total{resource="be-cpu"} 6',
      'kube_agent_resource_allocations_ended_units_total{resource="be-cpu"} 4',
      'kube_agent_kubelet_pod_resources_available 1',
      'kube_agent_cluster_calls_total{operation="createEvent",outcome="ok"} 2',
      'kube_agent_cluster_calls_total{operation="createEvent",outcome="failed"} 2',
      'kube_agent_cluster_events_dropped_total 5',
      'kube_agent_cluster_last_success_timestamp_seconds 7',
    ])
      expect(text).toContain(`\n${line}\n`)
  })
})
