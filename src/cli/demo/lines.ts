/** The demo as plain lines (for a pipe or a log) and as JSON lines (for a machine). */
import { renderOutcome, renderStepBecause, renderSuppression, renderValue } from '../../record/index.ts'
import type { KnobKind, KnobValue, TickRecord } from '../../model/index.ts'
import { formatKnobValue, formatMilliCpu, isSuccess, podKey, quotaMilliCpu } from '../../model/index.ts'
import type { DemoSummary, Show } from './events.ts'
import { useOf } from './phase-log.ts'

/** How often a plain line tells how things stand when nothing changes. */
const PULSE_MS = 2000

export type Write = (text: string) => void

/** Shows events as plain lines. */
export function plainLines(write: Write): Show {
  let nextPulseMs = 0
  return (event) => {
    switch (event.event) {
      case 'start':
        write(`kube-agent demo on ${event.text}\n`)
        return
      case 'http':
        write(`serving the status page at ${event.address} while it plays\n`)
        return
      case 'phase':
        write(`\n[${clock(event.atMs)}] ${event.phase.toUpperCase()}: ${event.text}\n`)
        return
      case 'note':
        write(`[${clock(event.atMs)}]   ${event.text}\n`)
        return
      case 'tick':
        for (const line of writesOf(event.record)) write(`[${clock(event.atMs)}]   ${line}\n`)
        if (event.atMs >= nextPulseMs) {
          nextPulseMs = event.atMs + PULSE_MS
          write(`[${clock(event.atMs)}]   ${pulse(event.record)}\n`)
        }
        return
      case 'summary':
        write(`\n${summaryTable(event)}\n`)
    }
  }
}

/** Shows events as one JSON object a line; ticks in short. */
export function jsonLines(write: Write): Show {
  return (event) => {
    if (event.event !== 'tick') {
      write(`${JSON.stringify(event)}\n`)
      return
    }
    const { record, atMs } = event
    const { suppression } = record.decision
    const writes = record.results.map(({ step, outcome }) => ({
      group: step.group,
      knob: step.kind,
      to: formatKnobValue(step),
      outcome: outcome.is,
      why: renderStepBecause(step.because),
    }))
    const use = { lsMilli: useOf(record, 'LS'), beMilli: useOf(record, 'BE'), otMilli: useOf(record, 'OT') }
    write(`${JSON.stringify({ event: 'tick', atMs, ...use, suppression, writes })}\n`)
  }
}

/** Seconds on the demo's clock: `12.3s`. */
export function clock(atMs: number): string {
  return `${(atMs / 1000).toFixed(1).padStart(5)}s`
}

function pulse(record: TickRecord): string {
  const { suppression } = record.decision
  const use = (['LS', 'BE', 'OT'] as const).map((qosClass) => `${qosClass} ${formatMilliCpu(useOf(record, qosClass))}`).join(', ')
  if (suppression === undefined) return `use: ${use}`
  return `use: ${use}; allowance ${formatMilliCpu(suppression.allowanceMilli)} (${suppression.bound})${rungsOf(record)}`
}

/** The rungs in force and how the pressure guard acts, as in `, cpuNarrow, online work waits: cut`; nothing while all is quiet. */
export function rungsOf({ decision: { suppression, memory } }: TickRecord): string {
  const rungs = [...(suppression?.ladder.inForce ?? []), ...(memory?.ladder.inForce ?? [])]
  const guard = suppression?.pressure?.is ?? 'quiet'
  return [...rungs, ...(guard === 'quiet' ? [] : [`online work waits: ${guard}`])].map((word) => `, ${word}`).join('')
}

/** One line for each write of a tick, and why if it moved the allowance. */
export function writesOf(record: TickRecord): string[] {
  const lines = record.results.map(({ step, outcome }) => {
    const change = `${step.kind} of ${nameOf(record, step.group)}: ${shortValue(step.kind, step.from)} → ${shortValue(step.kind, step.value)}`
    return isSuccess(outcome) ? change : `! ${change}: ${renderOutcome(outcome)}`
  })
  const movesRoot = record.results.some(({ step }) => step.kind === 'quota' && step.group === record.snapshot.bestEffort.group)
  if (movesRoot && record.decision.suppression !== undefined)
    lines.push(`  why: ${renderSuppression(record.decision.suppression)}`)
  return lines
}

/** What people call a group: the pod and container it belongs to, or the root of all best-effort pods. */
function nameOf(record: TickRecord, group: string): string {
  if (group === record.snapshot.bestEffort.group) return 'the best-effort root'
  for (const { reading } of record.decision.pods) {
    if (group === reading.group) return podKey(reading.spec)
    if (group.startsWith(`${reading.group}/`)) return `${podKey(reading.spec)}${group.slice(reading.group.length)}`
  }
  return group
}

function shortValue(kind: KnobKind, value: KnobValue | undefined): string {
  const isQuota = typeof value === 'object' && value !== null && 'quotaUs' in value
  return isQuota && value.quotaUs !== null ? formatMilliCpu(quotaMilliCpu(value)) : renderValue(kind, value)
}

/** The table at the end. */
export function summaryTable(summary: DemoSummary): string {
  const rows = summary.phases.map((phase) => [
    phase.phase,
    ...(phase.allowanceMilli === undefined
      ? ['–', '–', '–', '–']
      : [range(phase.allowanceMilli), ...[phase.lsMilli, phase.beMilli, phase.otMilli].map(formatMilliCpu)]),
    String(phase.writes),
  ])
  const table = [['phase', 'allowance', 'LS use', 'BE use', 'OT use', 'writes'], ...rows]
  const widths = table[0]?.map((_, column) => Math.max(...table.map((row) => (row[column] ?? '').length))) ?? []
  const lines = table.map((row) => `  ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('   ')}`.trimEnd())
  const unanswered = summary.spikeAtFloor ? 'none: offline pods were at their floor already' : 'NONE'
  const reaction = summary.reactionMs === undefined ? unanswered : `${Math.round(summary.reactionMs)} ms`
  const files = summary.filesSame + summary.filesDifferent.length
  return [
    ...lines,
    '',
    `  spike to first quota write  ${reaction}${summary.bed === 'simulated' ? ' (virtual clock)' : ''}`,
    `  restored                    ${summary.knobsRestored} knobs; ${summary.filesSame} of ${files} files read as before the agent`,
    ...summary.filesDifferent.map((line) => `    ! ${line}`),
    ...summary.kubeletViolations.map((line) => `    ! kubelet: ${line}`),
  ].join('\n')
}

function range([least, most]: readonly [number, number]): string {
  return least === most ? formatMilliCpu(least) : `${formatMilliCpu(least)} … ${formatMilliCpu(most)}`
}
