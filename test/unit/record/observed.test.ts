/** How rules that only observe are told of: in status, explain and plan, and never as if what they want were in force. The texts are golden. */
import { describe, expect, it } from 'vitest'
import { planData, planText } from '../../../src/cli/plan.ts'
import type { Claim, ObservableRule, Observed, Resolved } from '../../../src/model/index.ts'
import { IoLimits, quotaOf } from '../../../src/model/index.ts'
import { briefStatus, renderExplanation, renderStatus } from '../../../src/record/index.ts'
import {
  BE_LIMIT,
  capturedLogger,
  FLINK,
  IO,
  MEMORY,
  OFFER,
  recorder,
  REGISTERED,
  ROOT,
  SUPPRESSION,
  tableOf,
  tick,
  TRAIN,
} from './fixtures.ts'

const idle: Claim = {
  group: TRAIN.reading.group,
  kind: 'idle',
  value: 1,
  rule: 'identity',
  because: { code: 'identity.idle', qosClass: 'OT' },
}
const limit: Claim = {
  group: FLINK.reading.group,
  kind: 'ioMax',
  value: IoLimits.of([['8:0', { readBps: 1_000_000, writeBps: null, readIops: null, writeIops: null }]]),
  rule: 'suppressIo',
  because: { code: 'io.limits', sharePermyriad: 2500, groups: 1, reservedDevices: [] },
}
/** One that is enforced, and would lose against one that observes. */
const ceiling = BE_LIMIT
const part: Claim = {
  group: FLINK.reading.group,
  kind: 'quota',
  value: quotaOf(520),
  rule: 'suppressCpu',
  because: { code: 'suppress.be', bound: 'watermark', allowanceMilli: 600, beMilli: 520 },
}
const resolved = (winner: Claim, ...losers: readonly Claim[]): Resolved => ({ setting: winner, winner, losers })
const observedBy = (rules: readonly ObservableRule[], ...all: readonly Resolved[]): Observed => ({
  rules,
  desired: tableOf(...all.map((one) => [one.winner.group, one.winner.kind, one] as const)),
})

const IDENTITY_AND_IO = tick({
  io: IO,
  actual: [[TRAIN.reading.group, 'idle', 0]],
  observed: observedBy(['identity', 'suppressIo'], resolved(idle), resolved(limit)),
})

const columns = (text: string): number => Math.max(...text.split('\n').map((line) => line.length))

describe('rules that only observe', () => {
  it('are told of on the golden pages', async () => {
    const record = recorder()
    record.tick(IDENTITY_AND_IO)
    const text = [
      `${renderStatus({ ...record.status(12_000), pid: 4711 })
        .split('\n')
        .filter((line, index, lines) => /^(kube-agent|observed|IO) /.test(line) || lines[index - 1]?.startsWith('IO ') === true)
        .join('\n')}\n`,
      renderExplanation(record.explain('pod default/train', 12_000)),
      renderExplanation(record.explain('knob default/flink ioMax', 12_000)),
      planText(IDENTITY_AND_IO),
    ].join('\n')
    await expect(`${text}\n`).toMatchFileSnapshot('../../golden/observed.txt')
    expect(columns(text)).toBeLessThanOrEqual(100)
  })

  it('are named in the one-line status and in both forms of data', () => {
    const record = recorder()
    record.tick(IDENTITY_AND_IO)
    const status = record.status(12_000)
    expect(status.observedRules).toEqual(['identity', 'suppressIo'])
    expect(briefStatus(status)).toContain('mode enforce, 2 rules observed, 3 pods')
    expect(planData(IDENTITY_AND_IO).observed).toMatchObject({
      rules: ['identity', 'suppressIo'],
      steps: [
        { group: TRAIN.reading.group, knob: 'idle', from: '0', to: '1' },
        { group: FLINK.reading.group, knob: 'ioMax' },
      ],
    })
    expect(planData(tick())).not.toHaveProperty('observed')
  })

  it('show what would lose too, and what is so already is no step', () => {
    const record = recorder()
    const observed = observedBy(['limits'], resolved(part, ceiling), { ...resolved(idle), winner: { ...idle, rule: 'limits' } })
    const now = tick({ observed, actual: [[TRAIN.reading.group, 'idle', 1]] })
    record.tick(now)
    expect(renderExplanation(record.explain('knob default/flink quota', 12_000))).toMatch(/would lose {4}2000m .*:.*20 units/)
    expect(planData(now).observed?.steps).toEqual([])
  })

  it('have no rungs in force, stop no sales and squeeze no pod', () => {
    const record = recorder()
    const ladder = { inForce: ['cpuNarrow'] } as const
    const parts = { suppression: { ...SUPPRESSION, ladder }, memory: MEMORY }
    record.tick(tick({ ...parts, observed: observedBy(['suppressCpu', 'suppressMemory']) }))
    const status = record.status(12_000, { pods: true })
    expect(briefStatus(status)).not.toMatch(/in force|sales stopped/)
    expect(status.suppression).toMatch(/ \(rule suppressCpu only observes\)$/)
    expect(status.pods?.filter(({ state }) => state === 'squeezed')).toEqual([])
    record.tick(tick(parts))
    expect(briefStatus(record.status(12_000))).toContain('cpuNarrow, memoryHold, memoryHighOt in force, sales stopped')
    expect(record.status(12_000, { pods: true }).pods?.some(({ state }) => state === 'squeezed')).toBe(true)
  })

  it('have no metrics of what would be in force, so that no alert takes it for that', async () => {
    const record = recorder()
    const suppression = { ...SUPPRESSION, ladder: { inForce: ['cpuNarrow'] } } as const
    const parts = { suppression, memory: MEMORY, io: IO }
    const series = async (): Promise<readonly string[]> => {
      const families = ['allowance_cores{', 'ladder_rung{', 'suppress_swinging', 'io_limit_share_ratio']
      const lines = (await record.metricsText()).split('\n').filter((line) => !line.startsWith('#'))
      return families.filter((name) => lines.some((line) => line.includes(name)))
    }
    record.tick(tick(parts))
    expect(await series()).toHaveLength(4)
    record.tick(tick({ ...parts, observed: observedBy(['suppressCpu', 'suppressMemory', 'suppressIo']) }))
    expect(await series()).toEqual([])
  })

  it('are told as such in journal and log, where nothing of it is a warning', () => {
    const { logger, lines } = capturedLogger('debug')
    const record = recorder(logger)
    const suppression = { ...SUPPRESSION, ladder: { inForce: ['cpuNarrow'] } } as const
    record.tick(
      tick({ suppression, memory: MEMORY, io: IO, observed: observedBy(['suppressCpu', 'suppressMemory', 'suppressIo']) }),
    )
    const { entries } = record.journal({})
    const told = entries.filter(({ kind }) => ['allowance', 'rung', 'io'].includes(kind))
    expect(new Set(told.map(({ kind }) => kind))).toEqual(new Set(['allowance', 'rung', 'io']))
    for (const { text } of told) expect(text).toMatch(/ \(rule suppress(Cpu|Memory|Io) only observes\)$/)
    expect(entries.map(({ kind }) => kind)).not.toContain('sales')
    expect(lines.filter(({ msg }) => msg === 'rung changed').map(({ level }) => level)).toEqual(['info', 'info'])
  })

  it('offer nothing, but tell what they would', () => {
    const record = recorder()
    record.resources([REGISTERED])
    record.tick(tick({ offers: [], observed: { ...observedBy(['capacity']), offers: [OFFER] } }))
    const text = renderExplanation(record.explain('resource be-cpu', 12_000))
    expect(text).toContain('offered       nothing was decided\n')
    expect(text).toMatch(/would be {6}be-cpu 12 units of 100m \(1200m\)/)
    expect(planText(tick({ offers: [], observed: { ...observedBy(['capacity']), offers: [OFFER] } }))).toContain(
      'would be advertised: be-cpu 12 units',
    )
  })

  it('claim a knob that nothing else is known of', () => {
    const record = recorder()
    record.tick(tick({ observed: observedBy(['identity'], resolved({ ...idle, group: `${ROOT}/other` })) }))
    expect(record.explain(`group ${ROOT}/other`, 12_000)).toMatchObject({ knobs: [{ knob: 'idle', observed: [{ value: '1' }] }] })
  })
})
