/** The dashboard of one node: how hot it is, what offline work may have, why, and whether the agent itself is well. */
import type { Dashboard, Row } from './panels.ts'

/** Only of the node that was picked. */
const own = (metric: string, matchers = '') => `${metric}{instance="$instance"${matchers === '' ? '' : `, ${matchers}`}}`
/** For metrics whose names others have too: the kubelet and node_exporter may go by the same instance. */
const AGENT = 'job="kube-agent"'
const rate = (metric: string, matchers = '') => `rate(${own(metric, matchers)}[$__rate_interval])`
const quantile = (q: number, histogram: string) => `histogram_quantile(${q}, ${rate(`${histogram}_bucket`)})`
/** Units of a resource in cores or bytes. */
const amount = (metric: string, resource: string) =>
  `${own(metric, `resource="${resource}"`)} * on (instance, resource) ${own('kube_agent_resource_unit_size')}`

const glance: Row = {
  title: 'At a glance',
  height: 4,
  panels: [
    {
      title: 'Mode',
      about: 'Whether it only observes, or enforces.',
      kind: 'label',
      unit: 'none',
      width: 4,
      queries: [{ expr: `${own('kube_agent_mode')} == 1`, legend: '{{mode}}' }],
    },
    {
      title: 'Last tick',
      about: 'Time since the loop last turned. It turns once a second or faster.',
      kind: 'stat',
      unit: 's',
      width: 4,
      queries: [{ expr: `time() - ${own('kube_agent_last_tick_timestamp_seconds')}`, legend: 'ago' }],
    },
    {
      title: 'Registered resources',
      about: 'Resources that the kubelet knows, of four. None unless the mode is enforce.',
      kind: 'stat',
      unit: 'none',
      width: 4,
      queries: [{ expr: `sum(${own('kube_agent_kubelet_registered')})`, legend: 'registered' }],
    },
    {
      title: 'Hot for the cluster',
      about: '1 while the condition ColocationHot is true.',
      kind: 'stat',
      unit: 'none',
      width: 4,
      queries: [{ expr: own('kube_agent_node_hot'), legend: 'hot' }],
    },
    {
      title: 'Rules that abstain',
      about: 'Rules without a reading to go by, or that would kill a pod if they acted.',
      kind: 'stat',
      unit: 'none',
      width: 4,
      queries: [{ expr: `sum(${own('kube_agent_abstentions')})`, legend: 'abstentions' }],
    },
    {
      title: 'Version',
      about: 'Of the agent, and the kernel under it.',
      kind: 'label',
      unit: 'none',
      width: 4,
      queries: [
        { expr: own('kube_agent_build_info'), legend: '{{version}}' },
        { expr: own('kube_agent_node_info'), legend: '{{kernel_release}} {{cgroup_version}}' },
      ],
    },
  ],
}

const cpu: Row = {
  title: 'CPU',
  panels: [
    {
      title: 'Node, watermark and allowance',
      about: 'Offline work gets what the watermark leaves above the peak of online use and the margin: the allowance.',
      kind: 'timeseries',
      unit: 'cores',
      width: 12,
      queries: [
        { expr: own('kube_agent_node_cpu_capacity_cores'), legend: 'capacity' },
        { expr: own('kube_agent_suppress_watermark_cores'), legend: 'watermark' },
        { expr: own('kube_agent_node_cpu_used_cores'), legend: 'node' },
        { expr: own('kube_agent_online_cpu_peak_cores'), legend: 'online, peak' },
        { expr: own('kube_agent_offline_cpu_used_cores'), legend: 'offline' },
        { expr: own('kube_agent_suppress_allowance_cores', 'class="all"'), legend: 'allowance' },
        { expr: own('kube_agent_suppress_allowance_cores', 'class="ot"'), legend: 'allowance of OT' },
        { expr: own('kube_agent_suppress_margin_cores'), legend: 'margin' },
        { expr: own('kube_agent_suppress_floor_cores'), legend: 'floor' },
        { expr: own('kube_agent_suppress_be_demand_cores'), legend: 'kept for BE' },
      ],
    },
    {
      title: 'Used by class',
      about: 'CPU used by the pods of each class.',
      kind: 'timeseries',
      unit: 'cores',
      width: 12,
      stacked: true,
      queries: [{ expr: own('kube_agent_class_cpu_used_cores'), legend: '{{class}}' }],
    },
    {
      title: 'What binds the allowance',
      about: 'The one input that the allowance follows from at the moment.',
      kind: 'state',
      unit: 'none',
      width: 12,
      queries: [{ expr: own('kube_agent_suppress_bound'), legend: '{{bound}}' }],
    },
    {
      title: 'Rungs in force',
      about: 'What is done beyond the allowance, for CPU and for memory.',
      kind: 'state',
      unit: 'none',
      width: 12,
      queries: [{ expr: own('kube_agent_suppress_ladder_rung'), legend: '{{rung}}' }],
    },
    {
      title: 'How online work waits for CPU',
      about: 'Above the bound the allowance is cut, whatever the use of the CPU is.',
      kind: 'timeseries',
      unit: 'percentunit',
      width: 12,
      queries: [
        { expr: own('kube_agent_suppress_pressure_ratio'), legend: '{{source}}' },
        { expr: own('kube_agent_suppress_pressure_bound_ratio'), legend: 'bound' },
        { expr: own('kube_agent_online_pressure_some_ratio'), legend: 'online pods, {{resource}}' },
      ],
    },
    {
      title: 'What the pressure guard does',
      about: 'futile: online work waits, and cutting offline work did not help.',
      kind: 'state',
      unit: 'none',
      width: 12,
      queries: [{ expr: own('kube_agent_suppress_pressure_state'), legend: '{{state}}' }],
    },
    {
      title: 'Reaction',
      about: 'From when the node was first seen above the watermark to the written quota.',
      kind: 'timeseries',
      unit: 's',
      width: 12,
      queries: [
        { expr: quantile(0.5, 'kube_agent_reaction_latency_seconds'), legend: 'median' },
        { expr: quantile(0.99, 'kube_agent_reaction_latency_seconds'), legend: '99 %' },
      ],
    },
    {
      title: 'Steadiness',
      about: 'Changes of direction of the allowance; while it swings its dwell time is widened.',
      kind: 'timeseries',
      unit: 'short',
      width: 12,
      queries: [
        { expr: own('kube_agent_suppress_direction_changes'), legend: 'changes of direction' },
        { expr: own('kube_agent_suppress_dwell_seconds'), legend: 'dwell time, s' },
        { expr: own('kube_agent_suppress_swinging'), legend: 'swinging' },
      ],
    },
  ],
}

const memory: Row = {
  title: 'Memory, IO and evictions',
  panels: [
    {
      title: 'Memory',
      about: 'Available memory is what rungs go by; page cache counts as available.',
      kind: 'timeseries',
      unit: 'bytes',
      queries: [
        { expr: own('kube_agent_node_memory_capacity_bytes'), legend: 'capacity' },
        { expr: own('kube_agent_node_memory_available_bytes'), legend: 'available' },
        { expr: own('kube_agent_class_memory_working_set_bytes'), legend: 'working set of {{class}}' },
      ],
    },
    {
      title: 'Stalls of the node and IO limits',
      about: 'PSI of the node, and what offline pods have of their configured IO limits.',
      kind: 'timeseries',
      unit: 'percentunit',
      queries: [
        { expr: own('kube_agent_node_pressure_some_ratio'), legend: 'stalls, {{resource}}' },
        { expr: own('kube_agent_memory_available_ratio'), legend: 'memory available' },
        { expr: own('kube_agent_io_limit_share_ratio'), legend: 'IO limits' },
      ],
    },
    {
      title: 'Evictions and frozen pods',
      about: 'What became of evictions in each interval, and how many pods stand still.',
      kind: 'timeseries',
      unit: 'short',
      queries: [
        { expr: `increase(${own('kube_agent_evictions_total')}[$__rate_interval]) > 0`, legend: '{{outcome}}' },
        { expr: own('kube_agent_class_frozen_pods'), legend: 'frozen {{class}}' },
        { expr: own('kube_agent_sales_stopped'), legend: 'sales stopped' },
      ],
    },
  ],
}

const sold = (resource: string, title: string, requested: string, used: string): Row['panels'][number] => ({
  title,
  about:
    'Offered is what was decided, advertised what the kubelet was told, allocated what pods hold; what they use may be less.',
  kind: 'timeseries',
  unit: resource.endsWith('cpu') ? 'cores' : 'bytes',
  width: 6,
  queries: [
    { expr: amount('kube_agent_resource_offered_units', resource), legend: 'offered' },
    { expr: amount('kube_agent_resource_advertised_units', resource), legend: 'advertised' },
    { expr: amount('kube_agent_resource_allocated_units', resource), legend: 'allocated' },
    { expr: requested, legend: 'requested by pods' },
    { expr: used, legend: 'used' },
  ],
})

const soldOf = (offline: 'BE' | 'OT') => {
  const of = (metric: string) => own(metric, `class="${offline}"`)
  const prefix = offline.toLowerCase()
  return [
    sold(`${prefix}-cpu`, `${offline} CPU`, of('kube_agent_class_cpu_requested_cores'), of('kube_agent_class_cpu_used_cores')),
    sold(
      `${prefix}-memory`,
      `${offline} memory`,
      of('kube_agent_class_memory_requested_bytes'),
      of('kube_agent_class_memory_working_set_bytes'),
    ),
  ]
}

const capacity: Row = {
  title: 'Capacity for sale',
  panels: [
    ...soldOf('BE'),
    ...soldOf('OT'),
    {
      title: 'CPU that offers follow from',
      about: 'reclaim less the peak of online use, at most the CPUs of offline work; OT from what BE holds and does not use.',
      kind: 'timeseries',
      unit: 'cores',
      width: 12,
      queries: [{ expr: own('kube_agent_capacity_input_cores'), legend: '{{input}}' }],
    },
    {
      title: 'What binds each offer',
      about: 'formula: nothing but the numbers. allocated: more is allocated than would be offered. hold: sales are stopped.',
      kind: 'state',
      unit: 'none',
      width: 12,
      queries: [{ expr: `${own('kube_agent_resource_offer_bound')} == 1`, legend: '{{resource}}: {{bound}}' }],
    },
  ],
}

const work: Row = {
  title: 'Decisions and writes',
  panels: [
    {
      title: 'Decisions',
      about: 'Changes of what was decided, by rule and reason.',
      kind: 'timeseries',
      unit: 'ops',
      width: 8,
      queries: [{ expr: `${rate('kube_agent_decisions_total')} > 0`, legend: '{{rule}}: {{reason}}' }],
    },
    {
      title: 'Writes',
      about: 'By kind of knob and by what became of them. Refused and forbidden ones are news.',
      kind: 'timeseries',
      unit: 'ops',
      width: 8,
      queries: [{ expr: `${rate('kube_agent_writes_total')} > 0`, legend: '{{knob}} {{outcome}}' }],
    },
    {
      title: 'Drift',
      about: 'Knobs that somebody else writes over.',
      kind: 'timeseries',
      unit: 'short',
      width: 8,
      queries: [
        { expr: `increase(${own('kube_agent_drift_total')}[$__rate_interval]) > 0`, legend: '{{knob}} found' },
        { expr: own('kube_agent_knobs_conceded'), legend: 'conceded' },
        { expr: own('kube_agent_knobs_contested'), legend: 'contested' },
      ],
    },
    {
      title: 'Pods by class',
      about: 'Pods listed.',
      kind: 'timeseries',
      unit: 'short',
      width: 8,
      stacked: true,
      queries: [{ expr: own('kube_agent_pods'), legend: '{{class}}' }],
    },
    {
      title: 'Identity by class',
      about: 'What tells the classes apart on this kernel.',
      kind: 'table',
      unit: 'none',
      width: 8,
      queries: [{ expr: own('kube_agent_identity_backend'), legend: '{{class}} {{backend}}' }],
    },
    {
      title: 'Knobs that the kernel offers',
      about: '1 where the kernel has the file; the others are not written.',
      kind: 'table',
      unit: 'none',
      width: 8,
      queries: [{ expr: own('kube_agent_capability_usable'), legend: '{{knob}}' }],
    },
  ],
}

const agent: Row = {
  title: 'The agent itself',
  panels: [
    {
      title: 'Ticks',
      about: 'Time that a tick takes, and how late ticks and guard beats begin.',
      kind: 'timeseries',
      unit: 's',
      width: 8,
      queries: [
        { expr: quantile(0.5, 'kube_agent_tick_duration_seconds'), legend: 'duration, median' },
        { expr: quantile(0.99, 'kube_agent_tick_duration_seconds'), legend: 'duration, 99 %' },
        { expr: quantile(0.99, 'kube_agent_tick_lateness_seconds'), legend: 'lateness, 99 %' },
        { expr: own('kube_agent_event_loop_lag_seconds'), legend: 'longest lag in a minute' },
      ],
    },
    {
      title: 'Pace',
      about: 'Ticks a second by pace, and those that failed.',
      kind: 'timeseries',
      unit: 'ops',
      width: 8,
      queries: [
        { expr: rate('kube_agent_ticks_total'), legend: '{{pace}}' },
        { expr: rate('kube_agent_tick_failures_total'), legend: 'failed' },
      ],
    },
    {
      title: 'Beats that come late',
      about: 'Above 5 % the agent reacts slowly.',
      kind: 'timeseries',
      unit: 'percentunit',
      width: 8,
      queries: [
        { expr: `${rate('kube_agent_guard_beats_late_total')} / ${rate('kube_agent_guard_beats_total')}`, legend: 'late' },
        { expr: own('kube_agent_event_loop_utilization_ratio'), legend: 'event loop busy' },
      ],
    },
    {
      title: 'CPU',
      about: 'Used by the agent.',
      kind: 'timeseries',
      unit: 'cores',
      width: 8,
      queries: [{ expr: rate('process_cpu_seconds_total', AGENT), legend: 'agent' }],
    },
    {
      title: 'Memory',
      about: 'Resident memory of the agent, and the part of it that is JavaScript objects.',
      kind: 'timeseries',
      unit: 'bytes',
      width: 8,
      queries: [
        { expr: own('process_resident_memory_bytes', AGENT), legend: 'resident' },
        { expr: own('nodejs_heap_size_used_bytes', AGENT), legend: 'heap' },
      ],
    },
    {
      title: 'Age of readings',
      about: 'When a tick used them. A rule whose reading is too old abstains.',
      kind: 'timeseries',
      unit: 's',
      width: 8,
      queries: [
        { expr: own('kube_agent_reading_age_seconds'), legend: '{{reading}}' },
        { expr: own('kube_agent_suppress_input_age_seconds'), legend: 'input of the allowance' },
      ],
    },
    {
      title: 'Parts that fail',
      about: 'Sources that can not be read, rules that can not decide, sinks that can not be written to; empty when all is well.',
      kind: 'timeseries',
      unit: 'short',
      width: 8,
      queries: [
        { expr: `${own('kube_agent_source_success')} == 0`, legend: 'source {{source}}' },
        { expr: `${own('kube_agent_rule_success')} == 0`, legend: 'rule {{rule}}' },
        { expr: `${own('kube_agent_sink_success')} == 0`, legend: 'sink {{sink}}' },
        { expr: `${own('kube_agent_degraded')} == 1`, legend: 'degraded: {{reason}}' },
      ],
    },
    {
      title: 'Time of sources and rules',
      about: 'Of the five that took longest on the last calm tick.',
      kind: 'timeseries',
      unit: 's',
      width: 8,
      queries: [
        { expr: `topk(5, ${own('kube_agent_source_duration_seconds')})`, legend: 'source {{source}}' },
        { expr: `topk(5, ${own('kube_agent_rule_duration_seconds')})`, legend: 'rule {{rule}}' },
      ],
    },
    {
      title: 'Time of sinks',
      about: 'Of a sync of the restore journal, a block of the recording, a registration, a call to the API server.',
      kind: 'timeseries',
      unit: 's',
      width: 8,
      queries: [{ expr: own('kube_agent_sink_duration_seconds'), legend: '{{sink}}' }],
    },
    {
      title: 'Calls to the API server',
      about: 'By operation and outcome.',
      kind: 'timeseries',
      unit: 'ops',
      width: 12,
      queries: [{ expr: rate('kube_agent_cluster_calls_total'), legend: '{{operation}} {{outcome}}' }],
    },
    {
      title: 'Kubelet',
      about: 'Device lists sent and registrations, in each interval.',
      kind: 'timeseries',
      unit: 'short',
      width: 12,
      queries: [
        { expr: `increase(${own('kube_agent_kubelet_pushes_total')}[$__rate_interval])`, legend: 'lists, {{resource}}' },
        {
          expr: `increase(${own('kube_agent_kubelet_registrations_total')}[$__rate_interval])`,
          legend: 'registrations, {{resource}}',
        },
      ],
    },
  ],
}

export const NODE: Dashboard = {
  uid: 'kube-agent-node',
  title: 'kube-agent: one node',
  about: 'How hot a node is, what offline work may have there and why, and whether the agent is well.',
  picksInstance: true,
  rows: [glance, cpu, memory, capacity, work, agent],
}
