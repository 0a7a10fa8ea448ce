/**
 * The status for a terminal: one page of at most 100 columns, and one line for scripts and `--brief`. Problems come first, since
 * they are what somebody looks for who opens it at night.
 */
import { formatBytes, formatMilliCpu, formatPermyriad, type ObservableRule } from '../../model/index.ts'

import type { ClusterStatus, LoopStatus, NodeStatus, ResourceStatus, Status, TickStatus } from './status.ts'
import { narrowedSpread } from '../cpus-in-force.ts'
import { clip, count, formatDuration, labelled, spread, table, WIDTH, wrap } from '../layout.ts'
import { observedText } from '../observed.ts'
import { renderCpuMap } from './cpu-map.ts'
import { renderRuns } from './runs.ts'

/** Column at which values begin. */
const COLUMN = 14
/** More would push the rest of the page off the screen. */
const MAX_PROBLEMS = 20
/** The map shows the CPUs of all. */
const MAX_OWN = 20

/** The whole page, ending in a newline. */
export function renderStatus(status: Status): string {
  const { node, lastTick, classes } = status
  const lines = [
    ...row(
      'kube-agent',
      `${status.version}, mode ${modeText(status) ?? 'not known yet'}, pid ${status.pid}, up ${formatDuration(status.uptimeMs)}`,
    ),
    ...observedLines(status),
    ...(node === undefined ? row('node', status.nodeName) : nodeLines(status.nodeName, status.host, node)),
    ...row('last tick', lastTick === undefined ? 'none yet' : tickText(lastTick)),
    ...row('loop', loopText(status.loop)),
    ...logLines(status),
    ...(status.podSource === undefined
      ? []
      : row(
          'pods',
          `${status.podSource.pods} from ${status.podSource.source}, read ${formatDuration(status.podSource.ageMs)} ago`,
        )),
    ...(status.cluster === undefined ? [] : row('cluster', clusterText(status.cluster))),
    ...(status.knobs === undefined
      ? []
      : row('knobs', `${status.knobs.toChange} to change, ${status.knobs.journaled} with a journaled original`)),
    ...renderRuns(status.parts, COLUMN),
    '',
    ...degradedLines(status),
    ...problemLines(status),
    ...(status.suppression === undefined ? [] : ['', ...row('suppression', status.suppression)]),
    ...(status.ladders?.lines.flatMap(({ label, text }) => row(label, text)) ?? []),
    ...(status.signals === undefined ? [] : ['', ...row('signals', status.signals)]),
    ...(status.identity === undefined ? [] : ['', ...row('identity', status.identity)]),
    ...(status.placement === undefined ? [] : ['', 'CPUs', ...placementLines(status.placement)]),
    ...(status.cpuMap === undefined ? [] : ['', ...renderCpuMap(status.cpuMap, status.cpuMapNote)]),
    ...(classes === undefined ? [] : ['', ...classLines(classes)]),
    '',
    ...resourceLines(status.resources),
    ...(node === undefined ? [] : ['', 'capabilities', ...capabilityLines(node)]),
  ]
  return `${lines.join('\n')}\n`
}

/** One line: `OK …`, or `error: …` with the first thing that keeps the agent from its work. */
export function briefStatus(status: Status): string {
  const errors = status.problems.filter(({ severity }) => severity === 'error')
  const [first] = errors
  if (first !== undefined) return `error: ${first.text}${errors.length === 1 ? '' : ` (and ${errors.length - 1} more)`}`
  const warnings = status.problems.length
  const { node, lastTick, podSource, observedRules } = status
  const parts = [
    `mode ${modeText(status) ?? 'unknown'}`,
    ...(observedRules === undefined ? [] : [`${count(observedRules.length, 'rule')} observed`]),
    ...(podSource === undefined ? [] : [count(podSource.pods, 'pod')]),
    ...(node?.usedMilli === undefined ? [] : [`${formatMilliCpu(node.usedMilli)} of ${count(node.cpus, 'CPU')} used`]),
    ...(lastTick === undefined ? [] : [`last tick ${formatDuration(lastTick.ageMs)} ago`]),
    ...rungsInForce(status),
    ...(warnings === 0 ? [] : [count(warnings, 'warning')]),
  ]
  return `OK ${parts.join(', ')}`
}

function observedLines({ observedRules }: Status): readonly string[] {
  return observedRules === undefined ? [] : row('observed', observedText(observedRules))
}

/** A problem tells the rest. */
function modeText({ mode, releasedWallMs }: Status): string | undefined {
  return releasedWallMs === undefined ? mode : `${mode ?? 'observe'} (released)`
}

/** A squeezed node is no problem, but the first thing to know of it. */
function rungsInForce({ ladders, observedRules = [] }: Status): readonly string[] {
  const observes = (rule: ObservableRule): boolean => observedRules.includes(rule)
  const rungs = [
    ...(observes('suppressCpu') ? [] : (ladders?.cpu?.inForce ?? [])),
    ...(observes('suppressMemory') ? [] : (ladders?.memory?.ladder.inForce ?? [])),
  ]
  return [
    ...(rungs.length === 0 ? [] : [`${rungs.join(', ')} in force`]),
    ...(ladders?.salesStopped === true ? ['sales stopped'] : []),
  ]
}

function row(label: string, text: string): readonly string[] {
  return labelled(label, text, COLUMN)
}

function nodeLines(name: string, host: string | undefined, node: NodeStatus): readonly string[] {
  const cpus = `${count(node.cpus, 'CPU')} (${count(node.cores, 'core')}, ${count(node.numaNodes, 'NUMA node')})`
  const used = node.usedMilli === undefined ? 'use not known yet' : `${formatMilliCpu(node.usedMilli)} used`
  const memory =
    node.memoryTotalBytes === undefined || node.memoryAvailableBytes === undefined
      ? ''
      : `, ${formatBytes(node.memoryAvailableBytes)} of ${formatBytes(node.memoryTotalBytes)} memory available`
  return [
    ...row('node', `${name}, ${cpus}, ${used}${memory}`),
    ...(host === undefined ? [] : row('host', host)),
    ...row('kernel', `${node.kernel}, cgroup ${node.dialect}, ${node.driver} driver`),
  ]
}

function clusterText({ server, calls, failedCalls, lastOkWallMs }: ClusterStatus): string {
  const last = lastOkWallMs === undefined ? 'none has succeeded yet' : `last success ${new Date(lastOkWallMs).toISOString()}`
  return `${server}, ${count(calls, 'call')}, ${failedCalls} failed, ${last}`
}

function tickText(tick: TickStatus): string {
  return `number ${tick.seq}, ${formatDuration(tick.ageMs)} ago, pace ${tick.pace}, took ${tick.tookMs.toFixed(1)} ms, ${tick.lateMs.toFixed(1)} ms late`
}

function loopText(loop: LoopStatus): string {
  const failing = loop.failingTicks === 0 ? '' : `, FAILING for ${count(loop.failingTicks, 'tick')}: ${loop.lastError ?? ''}`
  return `${count(loop.ticks, 'tick')}, ${loop.failedTicks} failed, ${count(loop.guardBeats, 'guard beat')}, ${lateText(loop)}${failing}`
}

/** Only where somebody has asked for another level than the configured one, and may have forgotten it. */
function logLines({ log }: Status): readonly string[] {
  if (log === undefined || log.level === log.configured) return []
  return row('log', `level ${log.level}, configured ${log.configured}: SIGHUP puts that back`)
}

function lateText({ guardBeats, lateGuardBeats, lastBeats: { beats, late } }: LoopStatus): string {
  const share = (part: number, whole: number): string => formatPermyriad(whole === 0 ? 0 : Math.round((part * 10_000) / whole))
  const since = `${lateGuardBeats} late (${share(lateGuardBeats, guardBeats)}`
  return guardBeats === beats ? `${since})` : `${since}; ${share(late, beats)} of the last ${beats})`
}

/** Each is among the problems too, unless it comes and goes; here is what has lasted. */
function degradedLines({ degraded }: Status): readonly string[] {
  return degraded.flatMap(({ reason, text }) => row('degraded', `${reason}: ${text}`))
}

function problemLines({ problems }: Status): readonly string[] {
  if (problems.length === 0) return ['no problems']
  const lines = problems.slice(0, MAX_PROBLEMS).flatMap(({ severity, text }) => labelled(`  ${severity}`, text, COLUMN))
  const more =
    problems.length > MAX_PROBLEMS ? [`  and ${problems.length - MAX_PROBLEMS} more, all of them in the JSON form`] : []
  return [count(problems.length, 'problem'), ...lines, ...more]
}

function placementLines({ own, ...sets }: NonNullable<Status['placement']>): readonly string[] {
  return [
    ...[
      ['reserved', sets.reserved],
      ['online pool', sets.pool],
      ['dedicated', sets.dedicated],
    ].flatMap(([label = '', cpus = '']) => labelled(`  ${label}`, spread(cpus), COLUMN + 2)),
    ...labelled('  best effort', narrowedSpread({ ...sets, cpus: sets.bestEffort }), COLUMN + 2),
    ...own.slice(0, MAX_OWN).flatMap((pod) => labelled(`  ${pod.qosClass} pod`, ownText(pod), COLUMN + 2)),
    ...(own.length > MAX_OWN ? [`  and ${own.length - MAX_OWN} more pods with CPUs of their own; see explain cpu N`] : []),
  ]
}

function ownText({ pod, cpus, shared, narrowedTo }: NonNullable<Status['placement']>['own'][number]): string {
  const which = narrowedSpread(narrowedTo === undefined ? { cpus } : { cpus: narrowedTo, narrowedFrom: cpus })
  return `${pod}: ${which}${shared === '' ? '' : `; shares ${spread(shared)} with offline pods`}`
}

function classLines(classes: NonNullable<Status['classes']>): readonly string[] {
  const rows = classes
    .filter(({ pods }) => pods > 0)
    .map((sum) => [
      sum.qosClass,
      String(sum.pods),
      formatMilliCpu(sum.usedMilli),
      sum.askedMilli === 0 ? '-' : formatMilliCpu(sum.askedMilli),
      sum.askedBytes === 0 ? '-' : formatBytes(sum.workingSetBytes),
      sum.askedBytes === 0 ? '-' : formatBytes(sum.askedBytes),
    ])
  return table([['class', 'pods', 'CPU used', 'CPU asked', 'memory used', 'memory asked'], ...rows], ['left'])
}

function resourceLines(resources: readonly ResourceStatus[]): readonly string[] {
  const cell = (value: number | string | undefined): string => (value === undefined ? '-' : String(value))
  const rows = resources.map((state) => [
    state.resource,
    cell(state.unit),
    cell(state.offeredUnits),
    cell(state.advertisedUnits),
    cell(state.allocatedUnits),
    state.registered === undefined ? '-' : state.registered ? 'yes' : 'NO',
  ])
  return table([['resource', 'unit', 'offered', 'advertised', 'allocated', 'registered'], ...rows], ['left'])
}

function capabilityLines({ capabilities }: NodeStatus): readonly string[] {
  const usable = capabilities.filter((capability) => capability.usable).map(({ knob }) => knob)
  const missing = capabilities.filter((capability) => !capability.usable)
  return [
    ...(usable.length === 0 ? [] : wrap(`usable: ${usable.join(', ')}`, 2)),
    ...missing.map(({ knob, detail }) => clip(`  not ${knob}: ${detail}`, WIDTH)),
  ]
}
