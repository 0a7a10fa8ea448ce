/**
 * The metrics by name: what each is, its unit and its labels. Base units (cores, bytes, seconds), `_total` on counters, and label
 * values from closed lists only, so that the number of series does not grow with the node; the one exception, series of pods, is off by
 * default and bounded (pods.ts).
 * Source: prometheus.io/docs/practices/naming and /instrumentation.
 */
import { Counter, Gauge, Registry } from 'prom-client'
import { Maker } from './maker.ts'
import { runFamilies } from './runs.ts'

/** The goal is 60 ms; a beat or a hot tick of the default paces lies below. */
const REACTION_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.06, 0.1, 0.25, 0.5, 1, 2.5]

function agentFamilies(make: Maker) {
  const registers = [make.registry]
  return {
    buildInfo: make.gauge('build_info', 'Always 1; the labels tell the version of the agent and of Node.js', [
      'version',
      'node_version',
    ]),
    mode: make.gauge('mode', 'Mode the agent runs in: 1 for that one, 0 for the others', ['mode']),
    ticks: make.counter('ticks_total', 'Ticks that finished, by pace', ['pace']),
    tickFailures: make.counter('tick_failures_total', 'Ticks that failed'),
    lastTick: make.gauge('last_tick_timestamp_seconds', 'Unix time of the last finished tick'),
    tickDuration: make.histogram('tick_duration_seconds', 'Time from the first reading to the last write of a tick'),
    tickLateness: make.histogram('tick_lateness_seconds', 'Time from when a tick was due to when it began'),
    guardBeats: make.counter('guard_beats_total', 'Guard beats'),
    lateGuardBeats: make.counter('guard_beats_late_total', 'Guard beats that came late'),
    guardBeatLateness: make.histogram('guard_beat_lateness_seconds', 'Time from when a guard beat was due to when it came'),
    configReloads: make.counter('config_reloads_total', 'Changed configurations that were read, by what became of them', [
      'outcome',
    ]),
    configValid: make.gauge(
      'config_last_reload_successful',
      'Whether the configuration was valid when it was last read (1), or is rejected and the last good one stays (0)',
    ),
    loopLag: make.gauge('event_loop_lag_seconds', 'Longest that a guard beat came late in the last 60 calm ticks'),
    loopUtilization: make.gauge(
      'event_loop_utilization_ratio',
      'Share of the time since the last calm tick in which the event loop was busy',
    ),
    recordingBytes: make.gauge('recording_bytes', 'Size of the recording on disk'),
    recordingPaused: make.gauge('recording_paused', 'Whether nothing is recorded at the moment, as on a full disk: 1 or 0'),
    recordedTicks: make.counter('recording_ticks_total', 'Ticks recorded'),
    unrecordedTicks: make.counter('recording_missed_ticks_total', 'Ticks that came while recording was paused'),
    cpuSeconds: new Counter({
      name: 'process_cpu_seconds_total',
      help: 'CPU time used by the agent itself, user and system',
      registers,
    }),
    heapBytes: new Gauge({ name: 'nodejs_heap_size_used_bytes', help: 'JavaScript heap of the agent itself in use', registers }),
    activeResources: new Gauge({
      name: 'nodejs_active_resources',
      help: 'Timers, sockets and other handles that the agent itself has open',
      registers,
    }),
    residentBytes: new Gauge({ name: 'process_resident_memory_bytes', help: 'Resident memory of the agent itself', registers }),
    startTime: new Gauge({ name: 'process_start_time_seconds', help: 'Unix time at which the agent started', registers }),
  }
}

function nodeFamilies(make: Maker) {
  return {
    nodeCpuUsed: make.gauge('node_cpu_used_cores', 'CPU used by everything on the node'),
    nodeCpuCapacity: make.gauge('node_cpu_capacity_cores', 'CPUs online'),
    offlineCpuUsed: make.gauge('offline_cpu_used_cores', 'CPU used under the best-effort root, untagged pods included'),
    onlineCpuPeak: make.gauge('online_cpu_peak_cores', 'Peak over the dwell time of the CPU used by online pods and the system'),
    memoryCapacity: make.gauge('node_memory_capacity_bytes', 'Memory of the node'),
    memoryAvailable: make.gauge('node_memory_available_bytes', 'Memory available without swapping, as the kernel estimates it'),
    pressure: make.gauge('node_pressure_some_ratio', 'Share of time in which some task waited for the resource (PSI some)', [
      'resource',
    ]),
    memoryAvailableRatio: make.gauge('memory_available_ratio', 'Part of the memory of the node that is available'),
    onlinePressure: make.gauge(
      'online_pressure_some_ratio',
      'Share of time in which some task of the worst group of online pods waited for the resource (PSI some)',
      ['resource'],
    ),
    readingAge: make.gauge('reading_age_seconds', 'Age of a reading when the last tick used it', ['reading']),
    capabilityUsable: make.gauge('capability_usable', 'Whether the kernel offers the knob: 1 or 0', ['knob']),
    info: make.gauge('node_info', 'Always 1; the labels tell the kernel, the cgroup version and the cgroup driver of the node', [
      'kernel_release',
      'cgroup_version',
      'cgroup_driver',
    ]),
  }
}

function suppressFamilies(make: Maker) {
  return {
    allowance: make.gauge(
      'suppress_allowance_cores',
      'CPU that offline pods may use: all is BE and OT together, ot is OT alone',
      ['class'],
    ),
    watermark: make.gauge('suppress_watermark_cores', 'CPU use of the node that offline pods may fill it up to'),
    floor: make.gauge('suppress_floor_cores', 'CPU that offline pods keep however hot the node is'),
    margin: make.gauge('suppress_margin_cores', 'CPU kept free below the watermark'),
    inputAge: make.gauge('suppress_input_age_seconds', 'Age of the reading of CPU use that the allowance was worked out from'),
    beDemand: make.gauge('suppress_be_demand_cores', 'CPU kept for BE before OT gets any'),
    bound: make.gauge('suppress_bound', 'What bound the allowance: 1 for that one, 0 for the others', ['bound']),
    hot: make.gauge('suppress_hot', 'Whether the node is hot or offline pods are near their allowance: 1 or 0'),
    dwell: make.gauge('suppress_dwell_seconds', 'Dwell time in force; above the configured one while the allowance swings'),
    directionChanges: make.gauge('suppress_direction_changes', 'Changes of direction of the allowance within steady.windowMs'),
    swinging: make.gauge('suppress_swinging', 'Whether the allowance swings, so that its dwell time is widened: 1 or 0'),
    reaction: make.histogram(
      'reaction_latency_seconds',
      'Time from when the node was first seen above the watermark to the end of the tick that wrote a tighter quota',
      REACTION_BUCKETS,
    ),
    ...guardFamilies(make),
  }
}

function guardFamilies(make: Maker) {
  return {
    pressure: make.gauge(
      'suppress_pressure_ratio',
      'How online work waits for CPU: share of time, or for the run queue waiting tasks for each CPU',
      ['source'],
    ),
    pressureBound: make.gauge('suppress_pressure_bound_ratio', 'The same above which the allowance is cut', ['source']),
    pressureState: make.gauge('suppress_pressure_state', 'What the pressure guard does: 1 for that, 0 for the others', ['state']),
    rung: make.gauge('suppress_ladder_rung', 'Whether a rung of the CPU or memory ladder is in force: 1 or 0', ['rung']),
    ioShare: make.gauge('io_limit_share_ratio', 'What offline pods have of their configured IO limits'),
    ioMissing: make.gauge('io_devices_missing', 'Configured IO devices that the node does not have'),
  }
}

function evictionFamilies(make: Maker) {
  return {
    evictions: make.counter(
      'evictions_total',
      'Evictions of offline pods, by what became of them; asked counts each request, and its answer counts again',
      ['outcome'],
    ),
    possible: make.gauge('eviction_possible', 'Whether pods can be evicted from here: 1 or 0'),
  }
}

function signalFamilies(make: Maker) {
  return {
    hot: make.gauge('node_hot', 'Whether the node counts as hot for the cluster: 1 or 0'),
    score: make.gauge('node_score', 'How idle the node is: 100 idle, 0 at its CPU or memory watermark'),
    headroomCpu: make.gauge('node_headroom_cores', 'CPU that offline pods could use more than they do'),
    headroomMemory: make.gauge('node_headroom_bytes', 'Memory that offline pods could use more than they do'),
  }
}

function workloadFamilies(make: Maker) {
  return {
    pods: make.gauge('pods', 'Pods listed, by class', ['class']),
    classCpuUsed: make.gauge('class_cpu_used_cores', 'CPU used by the pods of a class', ['class']),
    classCpuRequested: make.gauge('class_cpu_requested_cores', 'CPU that the pods of an offline class asked for', ['class']),
    classMemoryRequested: make.gauge('class_memory_requested_bytes', 'Memory that the pods of an offline class asked for', [
      'class',
    ]),
    classMemory: make.gauge('class_memory_working_set_bytes', 'Working set of the pods of an offline class', ['class']),
    frozenPods: make.gauge('class_frozen_pods', 'Pods of an offline class that stand still', ['class']),
    identityBackend: make.gauge('identity_backend', 'What tells the pods of a class from others: 1 for that backend', [
      'class',
      'backend',
    ]),
    podFindings: make.gauge('pod_findings', 'Odd things that pods ask for, by reason', ['reason']),
    podSourceProblems: make.gauge('pod_source_problems', 'Files or objects that the pod source could not use'),
    abstentions: make.gauge(
      'abstentions',
      'Times a rule abstained in the last tick; silent: a reading is missing or too old, starting: too few yet, wouldKill: the limit is below what the pod uses',
      ['rule', 'reason'],
    ),
    writes: make.counter('writes_total', 'Writes tried, by kind of knob and by what became of them', ['knob', 'outcome']),
    drift: make.counter('drift_total', 'Times a knob was found written by somebody else, by kind of knob', ['knob']),
    knobsConceded: make.gauge('knobs_conceded', 'Knobs that are left alone for a while, since somebody else keeps writing them'),
    knobsContested: make.gauge(
      'knobs_contested',
      'Knobs that somebody else keeps writing, and that are repaired all the same: the quota of offline work, and freezing',
    ),
    journalFailures: make.counter(
      'restore_journal_failures_total',
      'Times the restore journal could not be appended to, synced or rewritten',
    ),
    journalDamaged: make.gauge(
      'restore_journal_damaged',
      'Whether a restore journal of this boot could not be read in full, and has not been seen to',
    ),
    knobsJournaled: make.gauge('knobs_journaled', 'Knobs whose original value the agent keeps, to put it back'),
    knobsToChange: make.gauge('knobs_to_change', 'Steps in the plan of the last tick'),
  }
}

function resourceFamilies(make: Maker) {
  return {
    offered: make.gauge('resource_offered_units', 'Units that the agent decided to offer, whatever its mode', ['resource']),
    advertised: make.gauge('resource_advertised_units', 'Units advertised to the kubelet', ['resource']),
    allocated: make.gauge('resource_allocated_units', 'Units handed out to pods', ['resource']),
    offerBound: make.gauge('resource_offer_bound', 'What bound the offer: 1 for that one, 0 for the others', [
      'resource',
      'bound',
    ]),
    capacityCores: make.gauge('capacity_input_cores', 'Amounts of CPU that the offers were worked out from', ['input']),
    capacityBytes: make.gauge('capacity_input_bytes', 'Amounts of memory that the offers were worked out from', ['input']),
    unitSize: make.gauge(
      'resource_unit_size',
      'Size of one unit: in cores for be-cpu and ot-cpu, in bytes for be-memory and ot-memory',
      ['resource'],
    ),
    registered: make.gauge('kubelet_registered', 'Whether the resource is registered with the kubelet: 1 or 0', ['resource']),
    registrations: make.counter('kubelet_registrations_total', 'Registrations that the kubelet accepted', ['resource']),
    pushes: make.counter('kubelet_pushes_total', 'Device lists sent to the kubelet', ['resource']),
    ended: make.counter('resource_allocations_ended_units_total', 'Units whose allocation is over', ['resource']),
    podResources: make.gauge(
      'kubelet_pod_resources_available',
      'Whether ended allocations are known from pod-resources (1) or guessed from the listed pods (0)',
    ),
    salesStopped: make.gauge(
      'sales_stopped',
      'Whether no more than what is allocated is offered, as memory is short or a pod must go: 1 or 0',
    ),
    streams: make.gauge('kubelet_streams', 'Open ListAndWatch streams of the kubelet', ['resource']),
  }
}

function clusterFamilies(make: Maker) {
  return {
    calls: make.counter('cluster_calls_total', 'Calls to the API server about the node and its pods, by operation and outcome', [
      'operation',
      'outcome',
    ]),
    lastSuccess: make.gauge('cluster_last_success_timestamp_seconds', 'Unix time of the last such call that succeeded'),
    droppedEvents: make.counter('cluster_events_dropped_total', 'Events that were not written because there were too many'),
  }
}

function decisionFamilies(make: Maker) {
  return {
    changes: make.counter(
      'decisions_total',
      'Changes of what was decided, by rule and reason: each new allowance, offer, rung, signal and eviction, and each knob of the other rules that was written',
      ['rule', 'reason'],
    ),
    knobs: make.gauge('knobs_desired', 'Knobs that a rule has decided the value of, by the reason', ['rule', 'reason']),
  }
}

const POD_LABELS = ['namespace', 'pod', 'uid', 'class'] as const

/** Only with metrics.perPod. A pod that has no reading, limit or set of CPUs has no series for it. */
function podFamilies(make: Maker) {
  return {
    cpuUsed: make.gauge('pod_cpu_used_cores', 'CPU used by the pod', POD_LABELS),
    cpuQuota: make.gauge('pod_cpu_quota_cores', 'CPU quota in force for the pod', POD_LABELS),
    throttled: make.gauge('pod_cpu_throttled_ratio', 'Share of CFS periods in which the pod was throttled', POD_LABELS),
    cpus: make.gauge('pod_cpuset_cpus', 'CPUs that the pod may run on', POD_LABELS),
    memory: make.gauge('pod_memory_working_set_bytes', 'Working set of the pod; of offline pods only', POD_LABELS),
    omitted: make.gauge('pod_series_omitted', 'Pods without series of their own, as there are more than metrics.maxPods'),
  }
}

/** All metrics of the agent on a registry of their own. */
export function createFamilies() {
  const registry = new Registry()
  const make = new Maker(registry)
  return {
    registry,
    agent: agentFamilies(make),
    node: nodeFamilies(make),
    suppress: suppressFamilies(make),
    eviction: evictionFamilies(make),
    signals: signalFamilies(make),
    workload: workloadFamilies(make),
    resource: resourceFamilies(make),
    cluster: clusterFamilies(make),
    decisions: decisionFamilies(make),
    pods: podFamilies(make),
    runs: runFamilies(make),
  }
}

export type Families = ReturnType<typeof createFamilies>
