/** Only changes are entered, the ring is bounded, and a reader can page through it. */
import { describe, expect, it } from 'vitest'
import { type Abstention, type Outcome, quotaOf } from '../../../src/model/index.ts'
import type { JournalEntry } from '../../../src/record/index.ts'
import {
  CPUS_STEP,
  FINDING,
  FLINK,
  GIB,
  OFFER,
  pod,
  recorder,
  ROOT_STEP,
  SIGNALS,
  SUPPRESSION,
  tick,
  type TickParts,
  WEB,
  writingTick,
} from './fixtures.ts'

/** Texts entered by each tick, by kind. */
function entriesOf(...ticks: readonly TickParts[]): readonly (readonly JournalEntry[])[] {
  const record = recorder(undefined, 1000)
  let seen = 0
  return ticks.map((parts, index) => {
    record.tick(tick({ seq: index + 1, nowMs: 11_000 + index * 1000, ...parts }))
    const page = record.journal({ since: seen, limit: 1000 })
    seen = page.next
    return page.entries
  })
}

const QUIET: TickParts = { pods: [], offers: [], suppression: null }
const REFUSED: Outcome = { is: 'refused', errno: 'EINVAL' }

describe('changes', () => {
  it('enters a written step once, with its values and its reason', () => {
    const [first = []] = entriesOf({ ...QUIET, plan: [CPUS_STEP], outcomes: [{ is: 'applied' }], pods: [FLINK] })
    expect(first.at(-1)).toEqual({
      seq: 2,
      nowMs: 11_000,
      wallMs: Date.UTC(2026, 10, 21, 3, 0, 10),
      kind: 'write',
      group: '/kubepods/besteffort/poduid-flink',
      pod: 'default/flink',
      knob: 'cpuset',
      from: '0-7',
      to: '2-3,6-7',
      outcome: 'applied',
      text:
        'cpuset of /kubepods/besteffort/poduid-flink 0-7 → 2-3,6-7; BE may run on CPUs 3,7, dedicated to offline pods, and CPUs 2,6, ' +
        'shared with online pods (rule placement)',
    })
  })

  it('says nothing on ticks that are like the one before', () => {
    const [first = [], ...later] = entriesOf({}, {}, {}, { pace: 'hot' })
    expect(first.map(({ kind }) => kind)).toEqual(['pod', 'pod', 'pod', 'allowance', 'offer', 'offer'])
    expect(later).toEqual([[], [], []])
  })

  it('enters an allowance and an offer that changed', () => {
    const [, second = []] = entriesOf(
      {},
      { suppression: { ...SUPPRESSION, allowanceMilli: 180 }, offers: [{ ...OFFER, units: 3 }] },
    )
    expect(second.map(({ kind, from, to }) => ({ kind, from, to }))).toEqual([
      { kind: 'allowance', from: '600m, OT 80m', to: '180m, OT 80m' },
      { kind: 'offer', from: '12 units', to: '3 units' },
    ])
    expect(second[0]?.text).toMatch(/^allowance 180m for BE and OT: watermark 65 % of 8000m is 5200m, less 4400m/)
  })

  it('enters pods that come, go and change class', () => {
    const [came = [], changed = [], went = []] = entriesOf(
      { ...QUIET, pods: [pod('a', 'BE')] },
      { ...QUIET, pods: [{ ...pod('a', 'OT'), reading: pod('a', 'BE').reading }] },
      { ...QUIET, pods: [] },
    )
    expect(came.map(({ text }) => text)).toEqual(['pod default/a came, class BE: label kube-agent.io/qos-class=BE'])
    expect(changed.map(({ text }) => text)).toEqual(['pod default/a is OT now and was BE: label kube-agent.io/qos-class=OT'])
    expect(went.map(({ text }) => text)).toEqual(['pod default/a went, it was OT'])
  })

  it('does not take pods for gone on a hot tick', () => {
    const [, second] = entriesOf({ ...QUIET, pods: [WEB] }, { ...QUIET, pods: [], pace: 'hot' })
    expect(second).toEqual([])
  })

  it('enters the beginning and the end of an abstention, and not that an amount in it moved', () => {
    const abstain = (pod: string, usesBytes: number): Abstention => ({
      code: 'wouldKill',
      rule: 'limits',
      pod,
      usesBytes,
      limitBytes: GIB,
    })
    const [began = [], same = [], other = [], ended = []] = entriesOf(
      { ...QUIET, abstentions: [abstain('default/p-7', 1.5 * GIB)] },
      { ...QUIET, abstentions: [abstain('default/p-7', 1.2 * GIB)] },
      { ...QUIET, abstentions: [abstain('default/p-7', 2 * GIB), abstain('default/p-8', 2 * GIB)] },
      QUIET,
    )
    expect(began.map(({ text }) => text)).toEqual([
      'rule limits abstains: default/p-7 uses 1.5 GiB, more than the 1 GiB it asked for: a limit set now would kill it',
    ])
    expect(same).toEqual([])
    expect(other).toHaveLength(1)
    expect(ended.map(({ text }) => text.slice(0, 57))).toEqual([
      'over: rule limits no longer abstains for this: default/p-',
      'over: rule limits no longer abstains for this: default/p-',
    ])
  })

  it('enters a finding once, and again when it has become another', () => {
    const [came = [], same = [], other = [], gone = []] = entriesOf(
      { ...QUIET, findings: [FINDING] },
      { ...QUIET, findings: [FINDING] },
      { ...QUIET, findings: [{ ...FINDING, code: 'labelUnknown', key: 'k', value: 'be', taken: 'BE' }] },
      QUIET,
    )
    expect(came.map(({ kind, pod, text }) => ({ kind, pod, text: text.slice(0, 76) }))).toEqual([
      {
        kind: 'finding',
        pod: 'default/flink',
        text: 'pod default/flink: OfflineResourcesIncomplete: The pod asks for kube-agent.i',
      },
    ])
    expect([same.length, other.length, gone.length]).toEqual([0, 1, 0])
  })

  it('enters that the node has become hot and that it no longer is', () => {
    const calm = { ...SIGNALS, hot: false, reason: 'WithinWatermarks' } as const
    const entered = entriesOf(
      { ...QUIET, signals: calm },
      { ...QUIET, signals: SIGNALS },
      { ...QUIET, signals: SIGNALS },
      QUIET,
      {
        ...QUIET,
        signals: calm,
      },
    )
    expect(entered.map((entries) => entries.map(({ kind, to }) => `${kind} ${to}`))).toEqual([
      [],
      ['signal hot'],
      [],
      [],
      ['signal not hot'],
    ])
  })

  it('enters a refused write once per change of its outcome', () => {
    const attempt = (outcome: Outcome): TickParts => ({ ...QUIET, plan: [CPUS_STEP], outcomes: [outcome] })
    const entered = entriesOf(
      attempt(REFUSED),
      attempt(REFUSED),
      attempt({ is: 'forbidden', errno: 'EROFS' }),
      attempt(REFUSED),
      attempt({ is: 'applied' }),
    )
    expect(entered.map((entries) => entries.map(({ kind, outcome }) => `${kind} ${outcome}`))).toEqual([
      ['refused refused'],
      [],
      ['refused forbidden'],
      ['refused refused'],
      ['write applied'],
    ])
  })

  it('enters neither vanished groups nor needless writes', () => {
    const attempt = (outcome: Outcome): TickParts => ({ ...QUIET, plan: [CPUS_STEP], outcomes: [outcome] })
    expect(entriesOf(attempt({ is: 'vanished', errno: 'ENOENT' }), attempt({ is: 'unchanged' }))).toEqual([[], []])
  })

  it('enters a write that somebody undoes on every tick once, and again after a quiet minute', () => {
    const war: TickParts = { ...QUIET, plan: [ROOT_STEP], outcomes: [{ is: 'applied' }] }
    const back: TickParts = {
      ...QUIET,
      plan: [{ ...ROOT_STEP, kind: 'quota', value: quotaOf(700) }],
      outcomes: [{ is: 'applied' }],
    }
    const counts = entriesOf(war, war, war, { ...war, nowMs: 100_000 }, back, war).map((entries) => entries.length)
    expect(counts).toEqual([1, 0, 0, 1, 1, 1])
  })

  it('enters a problem of the pod source once', () => {
    const [first = [], second] = entriesOf(
      { ...QUIET, problems: ['/pods/x.yaml: no kind'] },
      { ...QUIET, problems: ['/pods/x.yaml: no kind'] },
    )
    expect(first.map(({ kind, text }) => ({ kind, text }))).toEqual([
      { kind: 'error', text: 'pod source: /pods/x.yaml: no kind' },
    ])
    expect(second).toEqual([])
  })

  it('forgets the writes of groups that are gone', () => {
    const record = recorder()
    const gone = { ...CPUS_STEP, group: '/kubepods/besteffort/podgone' }
    record.tick(tick({ plan: [gone], outcomes: [REFUSED] }))
    expect(() => record.explain(`group ${gone.group}`, 11_000)).not.toThrow()
    record.tick(tick({ seq: 2, nowMs: 12_000 }))
    record.tick(tick({ seq: 3, nowMs: 13_000 }))
    expect(() => record.explain(`group ${gone.group}`, 13_000)).toThrow(/no group/)
  })
})

describe('journal', () => {
  it('keeps no more than its bound, and numbers on', () => {
    const record = recorder(undefined, 8)
    for (let seq = 1; seq <= 50; seq++) {
      const suppression = { ...SUPPRESSION, allowanceMilli: 600 + seq }
      record.tick(tick({ ...QUIET, suppression, seq, nowMs: 11_000 + seq }))
    }
    const page = record.journal({ limit: 1000 })
    expect(page.entries.map(({ seq }) => seq)).toEqual([43, 44, 45, 46, 47, 48, 49, 50])
    expect(page).toMatchObject({ next: 50, oldest: 43 })
    expect(page.entries.at(-1)?.to).toBe('650m, OT 80m')
  })

  it('is empty before the first change', () => {
    expect(recorder().journal({})).toEqual({ entries: [], next: 0, oldest: 0 })
    expect(recorder().journal({ since: 7 })).toEqual({ entries: [], next: 0, oldest: 0 })
  })

  it('pages forward from a number, and shows the newest without one', () => {
    const record = recorder()
    record.tick(writingTick())
    expect(record.journal({ limit: 2 }).entries.map(({ seq }) => seq)).toEqual([7, 8])
    const seen: number[] = []
    for (let since = 0; ;) {
      const page = record.journal({ since, limit: 3 })
      if (page.entries.length === 0) break
      seen.push(...page.entries.map(({ seq }) => seq))
      since = page.next
    }
    expect(seen).toEqual([1, 2, 3, 4, 5, 6, 7, 8])
  })

  it('filters by pod', () => {
    const record = recorder()
    record.tick(writingTick({ pods: [FLINK, pod('idle', 'BE')] }))
    const { entries } = record.journal({ pod: 'default/flink' })
    expect(entries.map(({ kind }) => kind)).toEqual(['pod', 'write'])
  })

  it('keeps a memory offer in its own unit', () => {
    const record = recorder()
    record.tick(
      tick({
        ...QUIET,
        offers: [{ ...OFFER, resource: 'be-memory', because: { ...OFFER.because, unitSize: GIB, amount: 12 * GIB, terms: {} } }],
      }),
    )
    expect(record.journal({}).entries[0]?.text).toBe('be-memory 12 units of 1 GiB (12 GiB): the formula gives 12 GiB')
  })
})
