/**
 * Every alert in both directions, by promtool: fed with the series of trouble it fires after its time and says this; fed with those that
 * look like it and are none, it does not. And each has a runbook.
 */
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { VERBS } from '../../../src/cli/main.ts'
import { isBlock, SETTINGS } from '../../../src/config/settings.ts'
import { labelsOf } from './promql.ts'
import { ALERTS, type AlertRule, needsPromtool, promtool, RULES_FILE, testedRules } from './support.ts'

interface Case {
  /** Series by name and labels, in promtool's notation, one value a minute. */
  readonly series: Readonly<Record<string, string>>
  /** When the alert is looked at. */
  readonly at: string
}

interface AlertCases {
  readonly fires: Case & { readonly labels: Readonly<Record<string, string>>; readonly says: string }
  readonly quiet: readonly Case[]
}

const TARGET = { job: 'kube-agent', instance: 'n1' }
const OF = '{job="kube-agent",instance="n1"}'
const of = (labels: string): string => `{job="kube-agent",instance="n1",${labels}}`
/** The series that says whether what is decided is also done, for as long as any case lasts. */
const done = (value: 0 | 1) => ({ [`kube_agent_mode${of('mode="enforce"')}`]: `${value}x200` })

const CASES: Readonly<Record<string, AlertCases>> = {
  KubeAgentDown: {
    fires: {
      series: { [`up${OF}`]: '1 0x9' },
      at: '7m',
      labels: TARGET,
      says: 'n1 has not answered a scrape for 5 minutes. What it wrote last stays in force, and does not follow the load.',
    },
    quiet: [
      { series: { [`up${OF}`]: '0x3 1x6' }, at: '7m' },
      { series: { 'up{job="other",instance="n1"}': '0x9' }, at: '7m' },
    ],
  },
  KubeAgentDownOnMany: {
    fires: {
      series: {
        'up{job="kube-agent",instance="n1"}': '0x9',
        'up{job="kube-agent",instance="n2"}': '0x9',
        'up{job="kube-agent",instance="n3"}': '0x9',
        'up{job="kube-agent",instance="n4"}': '1x9',
      },
      at: '7m',
      labels: { job: 'kube-agent' },
      says: '75% of the agents have not answered a scrape for 5 minutes.',
    },
    // Two of three nodes of a small cluster that are being upgraded.
    quiet: [
      {
        series: {
          'up{job="kube-agent",instance="n1"}': '0x9',
          'up{job="kube-agent",instance="n2"}': '0x9',
          'up{job="kube-agent",instance="n3"}': '1x9',
        },
        at: '7m',
      },
    ],
  },
  KubeAgentAbsent: {
    fires: {
      series: { 'up{job="other",instance="n1"}': '1x20' },
      at: '16m',
      labels: { job: 'kube-agent' },
      says: 'Prometheus has had no target with the job kube-agent for 15 minutes: none of the other alerts can fire.',
    },
    quiet: [{ series: { [`up${OF}`]: '0x20' }, at: '16m' }],
  },
  KubeAgentNotTicking: {
    fires: {
      series: {
        [`kube_agent_ticks_total${of('pace="calm"')}`]: '0+60x5 300x9',
        [`kube_agent_ticks_total${of('pace="hot"')}`]: '7x20',
      },
      at: '10m',
      labels: TARGET,
      says: 'n1 answers, but has finished no tick for 3 minutes: online work is not protected from offline work.',
    },
    // A node that is hot ticks in the other pace only.
    quiet: [
      {
        series: {
          [`kube_agent_ticks_total${of('pace="calm"')}`]: '300x20',
          [`kube_agent_ticks_total${of('pace="hot"')}`]: '0+1200x20',
        },
        at: '10m',
      },
    ],
  },
  KubeAgentTicksFail: {
    fires: {
      series: { [`kube_agent_tick_failures_total${OF}`]: '0+60x20' },
      at: '12m',
      labels: TARGET,
      says: '1 ticks a second fail on n1. After failSafe.afterTicks in a row the node is released: offline work then runs without limits.',
    },
    quiet: [{ series: { [`kube_agent_tick_failures_total${OF}`]: '3x6 4x20' }, at: '12m' }],
  },
  KubeAgentLate: {
    fires: {
      series: { [`kube_agent_guard_beats_total${OF}`]: '0+2400x30', [`kube_agent_guard_beats_late_total${OF}`]: '0+240x30' },
      at: '25m',
      labels: TARGET,
      says: '10% of the guard beats on n1 come late, so it reacts slowly to a node that gets hot.',
    },
    quiet: [
      {
        series: { [`kube_agent_guard_beats_total${OF}`]: '0+2400x30', [`kube_agent_guard_beats_late_total${OF}`]: '0+96x30' },
        at: '25m',
      },
    ],
  },
  KubeAgentReactionSlow: {
    fires: {
      series: {
        [`kube_agent_reaction_latency_seconds_bucket${of('le="0.25"')}`]: '0x90',
        [`kube_agent_reaction_latency_seconds_bucket${of('le="0.5"')}`]: '0+1x90',
        [`kube_agent_reaction_latency_seconds_bucket${of('le="+Inf"')}`]: '0+1x90',
        [`kube_agent_reaction_latency_seconds_count${OF}`]: '0+1x90',
      },
      at: '80m',
      labels: TARGET,
      says: 'On n1 one reaction in a hundred took 497.5ms or more in the last hour; some 60 ms are usual.',
    },
    // As slow, but three times only.
    quiet: [
      {
        series: {
          [`kube_agent_reaction_latency_seconds_bucket${of('le="0.25"')}`]: '0x90',
          [`kube_agent_reaction_latency_seconds_bucket${of('le="0.5"')}`]: '0x30 3x60',
          [`kube_agent_reaction_latency_seconds_bucket${of('le="+Inf"')}`]: '0x30 3x60',
          [`kube_agent_reaction_latency_seconds_count${OF}`]: '0x30 3x60',
        },
        at: '80m',
      },
    ],
  },
  KubeAgentNotRegistered: {
    fires: {
      series: {
        [`kube_agent_kubelet_registered${of('resource="be-cpu"')}`]: '0x9',
        [`kube_agent_kubelet_registered${of('resource="ot-cpu"')}`]: '1x9',
      },
      at: '6m',
      labels: { ...TARGET, resource: 'be-cpu' },
      says: 'be-cpu has not been registered on n1 for 5 minutes: no pod that asks for it can start there.',
    },
    quiet: [{ series: { [`kube_agent_kubelet_registered${of('resource="be-cpu"')}`]: '1x2 0x3 1x5' }, at: '6m' }],
  },
  KubeAgentRuleAbstains: {
    fires: {
      series: { [`kube_agent_abstentions${of('rule="suppressCpu",reason="silent"')}`]: '1x9' },
      at: '6m',
      labels: { ...TARGET, rule: 'suppressCpu', reason: 'silent' },
      says: 'The rule suppressCpu on n1 has abstained for 5 minutes, as a reading that it needs is missing or too old.',
    },
    quiet: [
      {
        series: {
          [`kube_agent_abstentions${of('rule="limits",reason="wouldKill"')}`]: '2x9',
          [`kube_agent_abstentions${of('rule="limits",reason="silent"')}`]: '1 0x9',
        },
        at: '6m',
      },
    ],
  },
  KubeAgentPodListOld: {
    fires: {
      series: { [`kube_agent_reading_age_seconds${of('reading="pods"')}`]: '0+60x20' },
      at: '12m',
      labels: { ...TARGET, reading: 'pods' },
      says: 'The source of pods of n1 last answered 12m 0s ago: pods that came since are not limited, placed or counted.',
    },
    quiet: [
      {
        series: {
          [`kube_agent_reading_age_seconds${of('reading="pods"')}`]: '200x20',
          [`kube_agent_reading_age_seconds${of('reading="memory"')}`]: '900x20',
        },
        at: '12m',
      },
    ],
  },
  KubeAgentSinkFails: {
    fires: {
      series: { [`kube_agent_sink_success${of('sink="events"')}`]: '0x30' },
      at: '16m',
      labels: { ...TARGET, sink: 'events' },
      says: 'Writing to events on n1 has failed for 15 minutes. The node is looked after all the same; kube-agent status has the last error.',
    },
    // One that works again before, and one that was not written to yet, which has no series.
    quiet: [{ series: { [`kube_agent_sink_success${of('sink="events"')}`]: '0x10 1x20' }, at: '16m' }],
  },
  KubeAgentDegraded: {
    fires: {
      series: {
        [`kube_agent_degraded${of('reason="SourcesFailing"')}`]: '1x40',
        [`kube_agent_degraded${of('reason="SinksFailing"')}`]: '0x40',
      },
      at: '31m',
      labels: { ...TARGET, reason: 'SourcesFailing' },
      says: 'n1 has been degraded for 30 minutes by SourcesFailing: it does not do all of its work and will not come right by itself. kube-agent status says what it is.',
    },
    // One thing after the other, each of which was mended.
    quiet: [
      {
        series: {
          [`kube_agent_degraded${of('reason="SourcesFailing"')}`]: '1x20 0x30',
          [`kube_agent_degraded${of('reason="SinksFailing"')}`]: '0x20 1x20 0x10',
        },
        at: '45m',
      },
    ],
  },
  KubeAgentConfigRejected: {
    fires: {
      series: { [`kube_agent_config_last_reload_successful${OF}`]: '1 0x5' },
      at: '3m',
      labels: TARGET,
      says: 'n1 has rejected its changed configuration and goes on with the last good one. It would not start with it.',
    },
    quiet: [{ series: { [`kube_agent_config_last_reload_successful${OF}`]: '1 0 1x5' }, at: '3m' }],
  },
  KubeAgentClusterCallsFail: {
    fires: {
      series: {
        [`kube_agent_cluster_calls_total${of('operation="patchNode",outcome="failed"')}`]: '0+2x40',
        [`kube_agent_cluster_calls_total${of('operation="patchNode",outcome="ok"')}`]: '5x40',
      },
      at: '35m',
      labels: TARGET,
      says: 'All of the 30 calls to the API server from n1 have failed in the last 15 minutes. The node is looked after all the same; events, condition and evictions wait.',
    },
    // One operation fails for want of a role, the others go through.
    quiet: [
      {
        series: {
          [`kube_agent_cluster_calls_total${of('operation="createEvent",outcome="failed"')}`]: '0+2x40',
          [`kube_agent_cluster_calls_total${of('operation="patchNode",outcome="ok"')}`]: '0+1x40',
        },
        at: '35m',
      },
    ],
  },
  KubeAgentMemoryHigh: {
    fires: {
      series: { [`process_resident_memory_bytes${OF}`]: '314572800x40' },
      at: '35m',
      labels: TARGET,
      says: 'The agent on n1 has used 300MiB for 30 minutes; some 75 MiB are usual with 250 pods.',
    },
    quiet: [
      { series: { [`process_resident_memory_bytes${OF}`]: '94371840x40' }, at: '35m' },
      { series: { 'process_resident_memory_bytes{job="api",instance="n1"}': '314572800x40' }, at: '35m' },
    ],
  },
  KubeAgentWritesRefused: {
    fires: {
      series: { [`kube_agent_writes_total${of('knob="quota",outcome="forbidden"')}`]: '0+1x40' },
      at: '30m',
      labels: { ...TARGET, knob: 'quota', outcome: 'forbidden' },
      says: '15 writes of quota on n1 came to "forbidden" in the last 15 minutes.',
    },
    quiet: [
      {
        series: {
          [`kube_agent_writes_total${of('knob="quota",outcome="vanished"')}`]: '0+9x40',
          [`kube_agent_writes_total${of('knob="cpuset",outcome="busy"')}`]: '0+9x40',
          [`kube_agent_writes_total${of('knob="weight",outcome="refused"')}`]: '0x10 2x30',
        },
        at: '30m',
      },
    ],
  },
  KubeAgentWritesFail: {
    fires: {
      series: { [`kube_agent_writes_total${of('knob="memoryMax",outcome="failed"')}`]: '0+2x40' },
      at: '30m',
      labels: { ...TARGET, knob: 'memoryMax', outcome: 'failed' },
      says: '30 writes of memoryMax on n1 failed in the last 15 minutes.',
    },
    quiet: [{ series: { [`kube_agent_writes_total${of('knob="memoryMax",outcome="failed"')}`]: '4x40' }, at: '30m' }],
  },
  KubeAgentJournalFails: {
    fires: {
      series: { [`kube_agent_restore_journal_failures_total${OF}`]: '0+1x40' },
      at: '30m',
      labels: TARGET,
      says: 'The restore journal on n1 could not be written 15 times in the last 15 minutes. A knob whose original can not be kept is not written: new offline pods run without limits of their own.',
    },
    // It was full once, and has room again.
    quiet: [{ series: { [`kube_agent_restore_journal_failures_total${OF}`]: '0x5 3x35' }, at: '30m' }],
  },
  KubeAgentJournalDamaged: {
    fires: {
      series: { [`kube_agent_restore_journal_damaged${OF}`]: '0 1x9' },
      at: '5m',
      labels: TARGET,
      says: 'The agent on n1 has found its restore journal damaged and kept the file. What only the lost lines told of is not put back when the node is released.',
    },
    // Somebody has removed the file.
    quiet: [{ series: { [`kube_agent_restore_journal_damaged${OF}`]: '1 0x9' }, at: '5m' }],
  },
  KubeAgentKnobConceded: {
    fires: {
      series: { [`kube_agent_knobs_conceded${OF}`]: '0 3x9' },
      at: '5m',
      labels: TARGET,
      says: '3 knobs on n1 are left to whoever keeps writing them; each is tried again after drift.concedeMs.',
    },
    quiet: [
      {
        series: { [`kube_agent_knobs_conceded${OF}`]: '0x4 1 0x5', [`kube_agent_drift_total${of('knob="quota"')}`]: '0+1x9' },
        at: '5m',
      },
    ],
  },
  KubeAgentKnobContested: {
    fires: {
      series: { [`kube_agent_knobs_contested${OF}`]: '1x20' },
      at: '12m',
      labels: TARGET,
      says: '1 knobs that suppress offline work on n1 are written by somebody else again and again, and repaired again and again.',
    },
    quiet: [{ series: { [`kube_agent_knobs_contested${OF}`]: '0x5 1x5 0x9' }, at: '12m' }],
  },
  KubeAgentNothingLeftToCut: {
    fires: {
      series: { ...done(1), [`kube_agent_suppress_pressure_state${of('state="futile"')}`]: '1x9' },
      at: '6m',
      labels: { ...TARGET, state: 'futile' },
      says: 'Online work on n1 has waited for CPU for 5 minutes though offline work is at its floor: the node, or the limits of the online pods, are too small.',
    },
    quiet: [
      // Only decided.
      { series: { ...done(0), [`kube_agent_suppress_pressure_state${of('state="futile"')}`]: '1x9' }, at: '6m' },
      {
        series: {
          ...done(1),
          [`kube_agent_suppress_pressure_state${of('state="cut"')}`]: '1x9',
          [`kube_agent_suppress_pressure_state${of('state="futile"')}`]: '0x9',
        },
        at: '6m',
      },
    ],
  },
  KubeAgentMemoryShort: {
    fires: {
      series: { ...done(1), [`kube_agent_suppress_ladder_rung${of('rung="memoryHighBe"')}`]: '1x20' },
      at: '11m',
      labels: { ...TARGET, rung: 'memoryHighBe' },
      says: 'The last rung of memory before eviction has been in force on n1 for 10 minutes. Next is the kernel, which kills.',
    },
    quiet: [
      // Only decided.
      { series: { ...done(0), [`kube_agent_suppress_ladder_rung${of('rung="memoryHighBe"')}`]: '1x20' }, at: '11m' },
      {
        series: {
          ...done(1),
          [`kube_agent_suppress_ladder_rung${of('rung="memoryHold"')}`]: '1x20',
          [`kube_agent_suppress_ladder_rung${of('rung="memoryHighBe"')}`]: '1x5 0x14',
        },
        at: '11m',
      },
    ],
  },
  KubeAgentOfflineStarved: {
    fires: {
      series: {
        ...done(1),
        [`kube_agent_suppress_allowance_cores${of('class="all"')}`]: '0.64x40',
        [`kube_agent_suppress_floor_cores${OF}`]: '0.64x40',
        [`kube_agent_pods${of('class="BE"')}`]: '2x40',
        [`kube_agent_pods${of('class="OT"')}`]: '0x40',
      },
      at: '35m',
      labels: TARGET,
      says: 'The offline pods on n1 have shared 640m cores for 30 minutes: online work fills the node.',
    },
    quiet: [
      // Only decided.
      {
        series: {
          ...done(0),
          [`kube_agent_suppress_allowance_cores${of('class="all"')}`]: '0.64x40',
          [`kube_agent_suppress_floor_cores${OF}`]: '0.64x40',
          [`kube_agent_pods${of('class="BE"')}`]: '2x40',
          [`kube_agent_pods${of('class="OT"')}`]: '0x40',
        },
        at: '35m',
      },
      {
        series: {
          ...done(1),
          [`kube_agent_suppress_allowance_cores${of('class="all"')}`]: '0.64x40',
          [`kube_agent_suppress_floor_cores${OF}`]: '0.64x40',
          [`kube_agent_pods${of('class="BE"')}`]: '0x40',
          [`kube_agent_pods${of('class="LS"')}`]: '40x40',
        },
        at: '35m',
      },
      {
        series: {
          ...done(1),
          [`kube_agent_suppress_allowance_cores${of('class="all"')}`]: '0.64x20 3 0.64x20',
          [`kube_agent_suppress_floor_cores${OF}`]: '0.64x40',
          [`kube_agent_pods${of('class="BE"')}`]: '2x40',
        },
        at: '35m',
      },
    ],
  },
  KubeAgentAllowanceSwings: {
    fires: {
      series: { ...done(1), [`kube_agent_suppress_swinging${OF}`]: '1x20' },
      at: '11m',
      labels: TARGET,
      says: 'The allowance of offline work on n1 has swung for 10 minutes although its dwell time was widened.',
    },
    quiet: [
      // Only decided.
      { series: { ...done(0), [`kube_agent_suppress_swinging${OF}`]: '1x20' }, at: '11m' },
      { series: { ...done(1), [`kube_agent_suppress_swinging${OF}`]: '1x8 0 1x9' }, at: '11m' },
    ],
  },
  KubeAgentSalesStopped: {
    fires: {
      series: { ...done(1), [`kube_agent_sales_stopped${OF}`]: '1x70' },
      at: '65m',
      labels: TARGET,
      says: 'n1 has offered no more than what is allocated for an hour, as memory is short or a pod must go.',
    },
    quiet: [
      // Only decided.
      { series: { ...done(0), [`kube_agent_sales_stopped${OF}`]: '1x70' }, at: '65m' },
      { series: { ...done(1), [`kube_agent_sales_stopped${OF}`]: '1x50 0 1x20' }, at: '65m' },
    ],
  },
  KubeAgentOversold: {
    fires: {
      series: { ...done(1), [`kube_agent_resource_offer_bound${of('resource="be-cpu",bound="allocated"')}`]: '1x200' },
      at: '185m',
      labels: { ...TARGET, resource: 'be-cpu', bound: 'allocated' },
      says: 'For three hours be-cpu on n1 has been allocated beyond what would be offered now: offline pods there get less than they asked for.',
    },
    quiet: [
      // Only decided.
      {
        series: { ...done(0), [`kube_agent_resource_offer_bound${of('resource="be-cpu",bound="allocated"')}`]: '1x200' },
        at: '185m',
      },
      {
        series: {
          ...done(1),
          [`kube_agent_resource_offer_bound${of('resource="be-cpu",bound="allocated"')}`]: '1x100 0x100',
          [`kube_agent_resource_offer_bound${of('resource="be-cpu",bound="formula"')}`]: '0x100 1x100',
        },
        at: '185m',
      },
    ],
  },
  KubeAgentEvictsMany: {
    fires: {
      series: {
        [`kube_agent_evictions_total${of('outcome="evicted"')}`]: '0+1x70',
        [`kube_agent_evictions_total${of('outcome="asked"')}`]: '0+1x70',
      },
      at: '60m',
      labels: TARGET,
      says: '60 offline pods were evicted from n1 in the last hour.',
    },
    quiet: [
      {
        series: {
          [`kube_agent_evictions_total${of('outcome="evicted"')}`]: '0x30 5x40',
          [`kube_agent_evictions_total${of('outcome="dryRun"')}`]: '0+1x70',
        },
        at: '60m',
      },
    ],
  },
  KubeAgentEvictionsFail: {
    fires: {
      series: {
        [`kube_agent_evictions_total${of('outcome="blocked"')}`]: '0+1x40',
        [`kube_agent_evictions_total${of('outcome="evicted"')}`]: '2x40',
      },
      at: '30m',
      labels: TARGET,
      says: '15 evictions from n1 were refused in the last 15 minutes and none was granted: a disruption budget, or a missing role.',
    },
    // One pod is protected, another could go.
    quiet: [
      {
        series: {
          [`kube_agent_evictions_total${of('outcome="blocked"')}`]: '0+1x40',
          [`kube_agent_evictions_total${of('outcome="evicted"')}`]: '0x28 1x20',
        },
        at: '30m',
      },
    ],
  },
}

describe('the shipped alerts', () => {
  it('are valid, as promtool says', (context) => {
    needsPromtool(context)
    expect(promtool(['check', 'rules'], readFileSync(RULES_FILE, 'utf8'))).toMatchObject({ code: 0 })
  })

  it('have a name, a severity, a summary and values each, and a case for either direction', () => {
    expect(ALERTS.map(({ alert }) => alert).sort()).toEqual(Object.keys(CASES).sort())
    for (const { alert, labels, annotations } of ALERTS) {
      expect(['critical', 'warning', 'info'], alert).toContain(labels['severity'])
      expect(annotations.summary, alert).toMatch(/^[A-Z].*\.$/i)
      if (alert !== 'KubeAgentAbsent') expect(annotations.description, alert).toMatch(/\{\{ \$/)
    }
  })

  // All in one run, and each test with its own rule alone: promtool takes longer to start, and to evaluate the others, than to tell.
  let told: ReadonlyMap<string, string> | undefined
  it.for(ALERTS)('$alert fires, says what is the matter, and does not fire without need', ({ alert }, context) => {
    needsPromtool(context)
    told ??= testedRules(ALERTS.map((rule) => ({ rule, tests: testsOf(rule) })))
    expect(told.get(alert)).toBe('SUCCESS')
  })
})

/** As promtool wants them: https://prometheus.io/docs/prometheus/latest/configuration/unit_testing_rules/ */
function testsOf({ alert, labels, annotations }: AlertRule): readonly unknown[] {
  const { fires, quiet } = CASES[alert] ?? { quiet: [] }
  if (fires === undefined || quiet.length === 0) throw new Error(`there is no case for ${alert}`)
  const expected = { exp_labels: { ...labels, ...fires.labels }, exp_annotations: { ...annotations, description: fires.says } }
  const test = ({ series, at }: Case, expectedAlerts: readonly unknown[]) => ({
    interval: '1m',
    input_series: Object.entries(series).map(([name, values]) => ({ series: name, values })),
    alert_rule_test: [{ eval_time: at, alertname: alert, exp_alerts: expectedAlerts }],
  })
  return [test(fires, [expected]), ...quiet.map((one) => test(one, []))]
}

describe('the runbook', () => {
  const readme = readFileSync(new URL('../../../README.md', import.meta.url), 'utf8')
  const headings = [...readme.matchAll(/^#{2,6} (.+)$/gm)].map(([, heading = '']) => heading.trim())

  it.each(ALERTS)('of $alert is a heading of the README with something below it', ({ alert, annotations }) => {
    expect(annotations.runbook_url).toBe(`README.md#${alert.toLowerCase()}`)
    expect(headings).toContain(alert)
    const [, below = ''] = readme.split(new RegExp(`^#{2,6} ${alert}$`, 'm'))
    expect((below.split(/^#/m)[0] ?? '').trim().length).toBeGreaterThan(100)
  })

  it('names only verbs, settings and metrics that there are', () => {
    const [, rest = ''] = readme.split(/^## Monitoring$/m)
    const codes = [...(rest.split(/^## /m)[0] ?? '').matchAll(/`([^`]+)`/g)].map(([, code = '']) => code)
    expect(codes.length).toBeGreaterThan(50)
    const keys = new Set(SETTINGS.map(({ key }) => key))
    const odd = codes.filter((code) => {
      const [, verb] = /^kube-agent (\w+)/.exec(code) ?? []
      if (verb !== undefined) return !Object.hasOwn(VERBS, verb)
      const [, key = '', block = ''] = /^((\w+)\.\w+)(?::|$)/.exec(code) ?? []
      if (isBlock(block)) return !keys.has(key)
      return code.startsWith('kube_agent_') && labelsOf(code) === undefined
    })
    expect(odd).toEqual([])
  })
})
