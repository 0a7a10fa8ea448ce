/** How sources, rules and sinks go, as status, metrics and the condition of the node tell it: what fails, what is slow, and what has lasted. */
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Run, type Trouble, type TroubleReason, TROUBLES } from '../../../src/model/index.ts'
import { renderStatus, type Recorder } from '../../../src/record/index.ts'
import { troublesOf, TroubleWatch, type TroubleView } from '../../../src/record/trouble.ts'
import { recorder, REGISTERED, STARTED_MS, tick, writingTick } from './fixtures.ts'

/** Of a node on which one source fails, one rule is slow, one sink has recovered, and one was never used. */
function watchedRecorder(): { readonly record: Recorder; readonly memory: Run } {
  const record = recorder()
  const [cpu, memory, capacity, events, recording] = ['node_cpu', 'memory', 'capacity', 'events', 'recording'].map(
    (name) => new Run(name),
  ) as [Run, Run, Run, Run, Run]
  cpu.ok(10_990, 0.02)
  memory.ok(8000, 0.03)
  memory.failed('/proc/meminfo: no MemTotal could be read', 9000)
  memory.failed('/proc/meminfo: no MemTotal could be read', 11_000)
  capacity.ok(11_000, 75)
  events.failed('createEvent: 403', 5000, 20)
  events.ok(10_000, 1500)
  record.watch('source', () => [cpu, memory])
  record.watch('rule', () => [capacity])
  record.watch('sink', () => [events, recording])
  return { record, memory }
}

const partLines = (page: string): readonly string[] => {
  const lines = page.split('\n')
  const start = lines.findIndex((line) => line.startsWith('parts '))
  return lines.slice(start, lines.indexOf('', start))
}

describe('a book of failures that is begun anew', () => {
  it('fails no tick, and what was counted stands', async () => {
    const record = recorder()
    let run = new Run('events')
    record.watch('sink', () => [run])
    run.failed('403', 9000)
    record.tick(tick())
    run = new Run('events')
    record.tick(tick({ seq: 2, nowMs: 13_000 }))
    expect(await record.metricsText()).toContain('kube_agent_sink_failures_total{sink="events"} 1\n')
  })
})

describe('status', () => {
  it('counts the parts, and names those that fail or are slow', () => {
    const { record } = watchedRecorder()
    record.tick(tick())
    expect(partLines(renderStatus(record.status(11_250)))).toEqual([
      'parts         1 of 2 sources, 1 rule, 1 sink working',
      '  source      memory fails (2 times in a row), last worked 3.3 s ago: /proc/meminfo: no MemTotal',
      '              could be read',
      '  rule        capacity is slow, took 75 ms',
      '  sink        events is slow, took 1.5 s',
    ])
  })

  it('has all of them as data, idle ones as well, with ages and counts', () => {
    const { record } = watchedRecorder()
    const { parts } = record.status(11_250)
    expect(parts.map(({ kind, name, is }) => [kind, name, is])).toEqual([
      ['source', 'node_cpu', 'works'],
      ['source', 'memory', 'fails'],
      ['rule', 'capacity', 'works'],
      ['sink', 'events', 'works'],
      ['sink', 'recording', 'idle'],
    ])
    expect(parts[3]).toEqual({
      kind: 'sink',
      name: 'events',
      is: 'works',
      slow: true,
      tookMs: 1500,
      lastOkAgeMs: 1250,
      lastErrorAgeMs: 6250,
      lastError: 'createEvent: 403',
      failures: 1,
      failuresInARow: 0,
    })
    expect(parts[4]).toEqual({ kind: 'sink', name: 'recording', is: 'idle', slow: false, failures: 0, failuresInARow: 0 })
  })

  it('stays a page however many fail, and says nothing of parts where none are kept', () => {
    const record = recorder()
    expect(renderStatus(record.status(2000))).not.toContain('parts ')
    const runs = Array.from({ length: 40 }, (_, index) => new Run(`s${index}`))
    for (const run of runs) run.failed('x'.repeat(1000), 1)
    record.watch('sink', () => runs)
    const lines = renderStatus(record.status(2000)).split('\n')
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(100)
    expect(lines).toContain('  and 28 more, all of them in the JSON form')
  })
})

describe('metrics', () => {
  const valueOf = async (record: Recorder, series: string): Promise<number | undefined> => {
    const line = (await record.metricsText()).split('\n').find((text) => text.startsWith(`kube_agent_${series} `))
    return line === undefined ? undefined : Number(line.split(' ').at(-1))
  }

  it('say of each part whether it went well, when, how long it took, and how often it failed', async () => {
    const { record } = watchedRecorder()
    const made = tick()
    record.tick(made)
    const wallOf = (atMs: number): number => (made.snapshot.wallMs - (made.snapshot.nowMs - atMs)) / 1000
    const expected: Readonly<Record<string, number | undefined>> = {
      'source_success{source="node_cpu"}': 1,
      'source_success{source="memory"}': 0,
      'source_failures_total{source="memory"}': 2,
      'source_last_success_timestamp_seconds{source="memory"}': wallOf(8000),
      'rule_duration_seconds{rule="capacity"}': 0.075,
      'sink_success{sink="events"}': 1,
      'sink_failures_total{sink="events"}': 1,
      'sink_failures_total{sink="recording"}': 0,
      // Never used: neither well nor failing.
      'sink_success{sink="recording"}': undefined,
      'sink_duration_seconds{sink="recording"}': undefined,
    }
    for (const [series, value] of Object.entries(expected)) expect(await valueOf(record, series), series).toBe(value)
  })

  it('are told while ticks fail too, and once a second at the most', async () => {
    const { record, memory } = watchedRecorder()
    record.tickFailed(new Error('x'), { nowMs: 12_000, wallMs: 1 })
    expect(await valueOf(record, 'source_failures_total{source="memory"}')).toBe(2)
    memory.failed('again', 12_100)
    record.tickFailed(new Error('x'), { nowMs: 12_500, wallMs: 1 })
    expect(await valueOf(record, 'source_failures_total{source="memory"}')).toBe(2)
    record.tickFailed(new Error('x'), { nowMs: 13_000, wallMs: 1 })
    expect(await valueOf(record, 'source_failures_total{source="memory"}')).toBe(3)
  })

  it('and the status tell of trouble that has lasted, by its reason', async () => {
    const record = recorder()
    record.resources([{ ...REGISTERED, registered: false }])
    for (const atMs of [STARTED_MS, STARTED_MS + 61_000]) record.tickFailed(new Error('boom'), { nowMs: atMs, wallMs: atMs })
    expect(await valueOf(record, 'degraded{reason="TicksFailing"}')).toBe(1)
    expect(await valueOf(record, 'degraded{reason="KubeletUnregistered"}')).toBe(1)
    expect(await valueOf(record, 'degraded{reason="SinksFailing"}')).toBe(0)
    const status = record.status(STARTED_MS + 61_000)
    expect(status.degraded).toEqual([
      { reason: 'TicksFailing', text: 'Every tick fails: boom' },
      { reason: 'KubeletUnregistered', text: `Not registered with the kubelet: ${REGISTERED.fullName}` },
    ])
    expect(renderStatus(status)).toContain('degraded      TicksFailing: Every tick fails: boom')
  })
})

describe('trouble', () => {
  const calm = writingTick({ outcomes: [{ is: 'applied' }, { is: 'applied' }] })
  const VIEW: TroubleView = {
    runs: [],
    loop: { failingTicks: 0 },
    idleMs: 0,
    record: calm,
    writes: { get: () => undefined } as unknown as TroubleView['writes'],
    resources: [REGISTERED],
    rejected: undefined,
  }
  const broken = (name: string): Run => {
    const run = new Run(name)
    run.failed('EIO', 1)
    return run
  }
  const refused = { get: () => ({ result: { outcome: { is: 'refused', errno: 'EINVAL' } } }) } as unknown as TroubleView['writes']
  const contested: NonNullable<TroubleView['record']>['drift'] = {
    knobs: { forEach: (visit: (...args: unknown[]) => void) => visit('/g', 'quota', { contested: true }) },
    found: {},
    news: [],
  } as never

  it('is none on a node where all is well', () => {
    expect(troublesOf(VIEW)).toEqual([])
  })

  const CASES: readonly [TroubleReason, Partial<TroubleView>, RegExp][] = [
    ['TicksFailing', { loop: { failingTicks: 3, lastError: 'boom' } }, /boom/],
    ['TicksFailing', { idleMs: 400_000 }, /stands still/],
    ['RestoreJournalFailing', { record: { ...calm, journalHealth: { failures: 1, problem: 'ENOSPC' } } }, /ENOSPC/],
    ['RestoreJournalDamaged', { record: { ...calm, journalHealth: { failures: 0, damage: '3 lines' } } }, /3 lines/],
    ['WritesRefused', { writes: refused }, /refused, EINVAL/],
    ['SourcesFailing', { runs: [['source', broken('memory')]] }, /1 source can't be read: memory \(EIO\)/],
    ['RulesAbstaining', { runs: [['rule', broken('capacity')]] }, /capacity/],
    ['KubeletUnregistered', { resources: [{ ...REGISTERED, registered: false }] }, /be-cpu/],
    ['KnobsContested', { record: { ...calm, drift: contested } }, /quota/],
    ['ConfigRejected', { rejected: 'line 3: no such key' }, /line 3/],
    ['SinksFailing', { runs: [['sink', broken('events')]] }, /events/],
  ]

  it.each(CASES)('%s has a sign of its own', (reason, change, text) => {
    const found = troublesOf({ ...VIEW, ...change })
    expect(found.map((trouble) => trouble.reason)).toEqual([reason])
    expect(found[0]?.text).toMatch(text)
  })

  it('of every reason is among the cases above', () => {
    expect([...new Set(CASES.map(([reason]) => reason))].sort()).toEqual([...TROUBLES].sort())
  })

  it('of sinks leaves out those that another reason speaks for', () => {
    const runs = ['restore_journal', 'device_plugin_be_cpu'].map((name) => ['sink', broken(name)] as const)
    expect(troublesOf({ ...VIEW, runs })).toEqual([])
  })

  const SOURCES: Trouble = { reason: 'SourcesFailing', text: 'memory' }

  it('counts after a minute, and is over after a minute without', () => {
    const watch = new TroubleWatch(0)
    const standing: (readonly [number, boolean])[] = []
    for (let atMs = 0; atMs <= 240_000; atMs += 1000) {
      watch.take(atMs < 120_000 ? [SOURCES] : [], atMs)
      standing.push([atMs, watch.standing?.length === 1])
    }
    const stands = standing.filter(([, is]) => is).map(([atMs]) => atMs)
    expect([stands[0], stands.at(-1)]).toEqual([60_000, 178_000])
    expect(watch.standing).toEqual([])
  })

  it('can not be told off before the agent has run for a minute', () => {
    const watch = new TroubleWatch(5000)
    watch.take([], 64_000)
    expect(watch.standing).toBeUndefined()
    watch.take([], 65_000)
    expect(watch.standing).toEqual([])
  })

  it('that comes and goes never counts, and one that lasts does not flap: for any course of it', () => {
    fc.assert(
      fc.property(fc.array(fc.boolean(), { minLength: 1, maxLength: 400 }), (course) => {
        const watch = new TroubleWatch(0)
        let [run, was] = [0, false]
        const changes: number[] = []
        for (const [second, isThere] of course.entries()) {
          watch.take(isThere ? [SOURCES] : [], second * 1000)
          run = isThere ? run + 1 : 0
          const is = (watch.standing ?? []).length > 0
          // Nothing counts that was not there for a minute without a break.
          if (is && !was) expect(run).toBeGreaterThan(60)
          if (is !== was) changes.push(second)
          was = is
        }
        for (const [index, second] of changes.entries()) expect(second - (changes[index - 1] ?? -Infinity)).toBeGreaterThan(59)
      }),
      { numRuns: 100 },
    )
  })
})
