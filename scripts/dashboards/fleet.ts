/** The dashboard of all nodes: how much is sold, where it is hot, and which agents need somebody. */
import type { Dashboard, Panel } from './panels.ts'

const BUSIEST = 10

const stat = (title: string, about: string, expr: string, unit: Panel['unit'] = 'none'): Panel => ({
  title,
  about,
  kind: 'stat',
  unit,
  width: 4,
  queries: [{ expr, legend: title }],
})

/** Units of a resource summed over the nodes, in cores or bytes. */
const total = (metric: string, resource: string) =>
  `sum(${metric}{resource="${resource}"} * on (instance, resource) kube_agent_resource_unit_size)`

const sold = (resource: string, title: string, used: string): Panel => ({
  title,
  about: 'Summed over the nodes.',
  kind: 'timeseries',
  unit: resource.endsWith('cpu') ? 'cores' : 'bytes',
  width: 12,
  queries: [
    { expr: total('kube_agent_resource_advertised_units', resource), legend: 'advertised' },
    { expr: total('kube_agent_resource_allocated_units', resource), legend: 'allocated' },
    { expr: used, legend: 'used' },
  ],
})

const worst = (title: string, about: string, expr: string, unit: Panel['unit']): Panel => ({
  title,
  about,
  kind: 'timeseries',
  unit,
  width: 12,
  queries: [{ expr: `topk(${BUSIEST}, ${expr})`, legend: '{{instance}}' }],
})

export const FLEET: Dashboard = {
  uid: 'kube-agent-fleet',
  title: 'kube-agent: all nodes',
  about: 'How much offline capacity is sold and used, which nodes are hot, and which agents need somebody.',
  picksInstance: false,
  rows: [
    {
      title: 'At a glance',
      height: 4,
      panels: [
        stat('Agents that answer', 'Of those that Prometheus knows.', 'sum(up{job="kube-agent"})'),
        stat('Agents that do not', 'They are named by the alert KubeAgentDown.', 'count(up{job="kube-agent"} == 0) or vector(0)'),
        stat('Enforcing', 'Nodes where values are written; the others only observe.', 'sum(kube_agent_mode{mode="enforce"})'),
        stat('Hot nodes', 'Where the condition ColocationHot is true.', 'sum(kube_agent_node_hot)'),
        stat('Sales stopped', 'Nodes that offer no more than what is allocated.', 'sum(kube_agent_sales_stopped)'),
        stat(
          'Evicted in an hour',
          'Offline pods, of all nodes.',
          'sum(increase(kube_agent_evictions_total{outcome=~"evicted|forced"}[1h]))',
          'short',
        ),
      ],
    },
    {
      title: 'Sold and used',
      panels: [
        sold('be-cpu', 'BE CPU', 'sum(kube_agent_class_cpu_used_cores{class="BE"})'),
        sold('be-memory', 'BE memory', 'sum(kube_agent_class_memory_working_set_bytes{class="BE"})'),
        sold('ot-cpu', 'OT CPU', 'sum(kube_agent_class_cpu_used_cores{class="OT"})'),
        sold('ot-memory', 'OT memory', 'sum(kube_agent_class_memory_working_set_bytes{class="OT"})'),
      ],
    },
    {
      title: 'Where it is hot',
      panels: [
        worst(
          'CPU in use',
          'The fullest nodes.',
          'kube_agent_node_cpu_used_cores / kube_agent_node_cpu_capacity_cores',
          'percentunit',
        ),
        worst(
          'Offline work held back',
          'What pods asked for that the allowance does not cover: the nodes where offline work suffers most.',
          'clamp_min(sum without (class) (kube_agent_class_cpu_requested_cores) - ignoring (class) kube_agent_suppress_allowance_cores{class="all"}, 0)',
          'cores',
        ),
        worst(
          'Memory short',
          'The nodes with the least memory available come first.',
          '1 - kube_agent_memory_available_ratio',
          'percentunit',
        ),
        worst(
          'Reaction, 99 %',
          'From the watermark to the written quota.',
          'histogram_quantile(0.99, rate(kube_agent_reaction_latency_seconds_bucket[$__rate_interval]))',
          's',
        ),
      ],
    },
    {
      title: 'Agents that need somebody',
      panels: [
        worst(
          'Writes that were not taken',
          'Refused, forbidden, failed or read back otherwise, in each interval.',
          'sum by (instance) (increase(kube_agent_writes_total{outcome=~"refused|forbidden|failed|mismatch"}[$__rate_interval]))',
          'short',
        ),
        worst(
          'Drift',
          'Knobs found written by somebody else, in each interval.',
          'sum by (instance) (increase(kube_agent_drift_total[$__rate_interval]))',
          'short',
        ),
        worst(
          'Beats that come late',
          'Above 5 % an agent reacts slowly.',
          'rate(kube_agent_guard_beats_late_total[$__rate_interval]) / rate(kube_agent_guard_beats_total[$__rate_interval])',
          'percentunit',
        ),
        worst('Memory of the agents', 'The largest.', 'process_resident_memory_bytes{job="kube-agent"}', 'bytes'),
        {
          title: 'Versions',
          about: 'Agents by version.',
          kind: 'table',
          unit: 'none',
          width: 12,
          queries: [{ expr: 'count by (version) (kube_agent_build_info)', legend: '{{version}}' }],
        },
        {
          title: 'Kernels',
          about: 'Nodes by kernel and cgroup version.',
          kind: 'table',
          unit: 'none',
          width: 12,
          queries: [{ expr: 'count by (kernel_release, cgroup_version) (kube_agent_node_info)', legend: '{{kernel_release}}' }],
        },
      ],
    },
  ],
}
