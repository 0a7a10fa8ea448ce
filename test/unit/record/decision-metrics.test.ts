/** What was decided, by rule and reason: counted once for each change, with a series for every reason there is from the start. */
import { describe, expect, it } from 'vitest'
import { ALLOWANCE_BOUNDS } from '../../../src/model/index.ts'
import { IO, MEMORY, OFFER, recorder, SIGNALS, SUPPRESSION, tick, WISH, writingTick } from './fixtures.ts'

type Record = ReturnType<typeof recorder>

/** Decisions that were counted, and knobs that are decided, as `rule: reason`. */
async function counted(
  record: Record,
  metric: 'decisions_total' | 'knobs_desired',
): Promise<Readonly<{ [name: string]: number }>> {
  const found = (await record.metricsText()).matchAll(
    new RegExp(`^kube_agent_${metric}\\{rule="(.+?)",reason="(.+?)"\\} (\\d+)$`, 'gm'),
  )
  return Object.fromEntries(
    [...found].filter(([, , , value]) => value !== '0').map(([, rule, reason, value]) => [`${rule}: ${reason}`, Number(value)]),
  )
}

describe('decisions', () => {
  it('have a series for every reason before the first tick', async () => {
    const text = await recorder().metricsText()
    for (const bound of ALLOWANCE_BOUNDS)
      expect(text).toContain(`\nkube_agent_decisions_total{rule="suppressCpu",reason="${bound}"} 0\n`)
    expect(text.match(/^kube_agent_decisions_total\{/gm)?.length).toBeLessThan(70)
  })

  it('are counted when they change, not on every tick', async () => {
    const record = recorder()
    record.tick(tick())
    record.tick(tick({ seq: 2 }))
    expect(await counted(record, 'decisions_total')).toEqual({ 'suppressCpu: watermark': 1, 'capacity: formula': 2 })
    record.tick(
      tick({
        seq: 3,
        nowMs: 20_000,
        suppression: { ...SUPPRESSION, allowanceMilli: 160, bound: 'floor', ladder: { inForce: ['cpuNarrow'] } },
        memory: MEMORY,
        io: IO,
        signals: SIGNALS,
        wishes: [WISH],
        offers: [{ ...OFFER, units: 4, because: { ...OFFER.because, bound: 'hold' } }],
      }),
    )
    expect(await counted(record, 'decisions_total')).toEqual({
      'suppressCpu: watermark': 1,
      'suppressCpu: floor': 1,
      'suppressCpu: cpuNarrow': 1,
      'suppressMemory: memoryHighOt': 1,
      'suppressIo: cut': 1,
      'capacity: formula': 2,
      'capacity: hold': 1,
      'nodeSignals: CpuAboveWatermark': 1,
      'evict: memoryEvictOt': 1,
    })
  })

  it('that lead to a write count it by its claim, but for the quotas that follow from the allowance', async () => {
    const record = recorder()
    record.tick(writingTick())
    expect(await counted(record, 'decisions_total')).toMatchObject({
      'placement: placement.besteffort': 1,
      'suppressCpu: watermark': 1,
    })
    expect(await counted(record, 'decisions_total')).not.toHaveProperty('suppressCpu: suppress.root')
  })

  it('in force are counted as knobs, by the claim that won', async () => {
    const record = recorder()
    record.tick(tick())
    expect(await counted(record, 'knobs_desired')).toEqual({
      'suppressCpu: suppress.root': 1,
      'suppressCpu: suppress.ot': 1,
      'limits: limits.quota': 1,
      'placement: placement.besteffort': 1,
    })
  })
})

describe('what an offer follows from', () => {
  it('is told with its unit, and what binds it', async () => {
    const record = recorder()
    record.tick(tick())
    const text = await record.metricsText()
    for (const line of [
      'capacity_input_cores{input="reclaim"} 5.2',
      'capacity_input_cores{input="onlinePeak"} 3.95',
      'capacity_input_cores{input="bestEffort"} 8',
      `capacity_input_bytes{input="reclaim"} ${10 * 1024 ** 3}`,
      'resource_offer_bound{resource="be-cpu",bound="formula"} 1',
      'resource_offer_bound{resource="be-cpu",bound="allocated"} 0',
      'suppress_margin_cores 0.2',
      'suppress_input_age_seconds 0.04',
      'class_cpu_requested_cores{class="BE"} 2',
      'class_memory_requested_bytes{class="OT"} 2147483648',
      'node_info{kernel_release="5.10.134",cgroup_version="v1",cgroup_driver="cgroupfs"} 1',
    ])
      expect(text).toContain(`\nkube_agent_${line}\n`)
  })
})

describe('the configuration', () => {
  it('counts as valid until it is rejected, and again when it is mended, be it to what was in force', async () => {
    const record = recorder()
    const valid = async (): Promise<string | undefined> =>
      /^kube_agent_config_last_reload_successful (\d)$/m.exec(await record.metricsText())?.[1]
    expect(await valid()).toBe('1')
    record.configReload('rejected', 'x')
    expect(await valid()).toBe('0')
    record.configReload('unchanged')
    expect(await valid()).toBe('1')
    expect(record.journal({}).entries.filter(({ kind }) => kind === 'error')).toHaveLength(1)
  })
})

describe('the event loop', () => {
  it('tells the longest lag of the last 60 calm ticks', async () => {
    const record = recorder()
    const lag = async (): Promise<number> =>
      Number(/^kube_agent_event_loop_lag_seconds (\S+)$/m.exec(await record.metricsText())?.[1])
    record.guardBeat(40, true)
    record.guardBeat(3, false)
    record.tick(tick())
    expect(await lag()).toBe(0.04)
    for (let seq = 2; seq < 60; seq += 1) record.tick(tick({ seq }))
    expect(await lag()).toBe(0.04)
    for (let seq = 60; seq < 63; seq += 1) record.tick(tick({ seq }))
    expect(await lag()).toBe(0)
  })
})
