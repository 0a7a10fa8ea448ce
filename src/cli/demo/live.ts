/**
 * The demo as it happens, on a terminal: a bar per class against the node, the watermark and the allowance, the last writes with their
 * reasons. Phases and notes scroll by above it and stay.
 */
import { renderSuppression } from '../../record/index.ts'
import { formatMilliCpu, type TickRecord } from '../../model/index.ts'
import type { Colours } from '../colour.ts'
import type { Screen } from '../screen.ts'
import type { Show } from './events.ts'
import { clock, rungsOf, summaryTable, writesOf, type Write } from './lines.ts'
import { useOf } from './phase-log.ts'

const BAR_COLUMNS = 50
const LAST_WRITES = 6
const REASON_LINES = 3
const REASON_COLUMNS = 92
/** Redrawing more often than this only flickers. */
const FRAME_MS = 100

const CLASS_COLOURS = { LS: 'green', BE: 'blue', OT: 'magenta' } as const

/** Shows events on a terminal. */
export function liveView(screen: Screen, write: Write, paint: Colours): Show {
  let nextFrameMs = 0
  let phase = ''
  const recent: string[] = []
  return (event) => {
    switch (event.event) {
      case 'start':
        screen.print(`${paint.bold('kube-agent demo')} on ${event.text}\n\n`)
        return
      case 'http':
        screen.print(`the status page: ${event.address}\n\n`)
        return
      case 'phase':
        phase = event.phase
        screen.print(`${paint.dim(clock(event.atMs))}  ${paint.bold(event.phase.toUpperCase())}  ${event.text}\n`)
        return
      case 'note':
        screen.print(`${paint.dim(clock(event.atMs))}    ${paint.dim(event.text)}\n`)
        return
      case 'tick': {
        for (const line of writesOf(event.record)) if (!line.startsWith('  why')) recent.push(`${clock(event.atMs)}  ${line}`)
        recent.splice(0, Math.max(0, recent.length - LAST_WRITES))
        const wrote = event.record.results.length > 0
        if (!wrote && event.atMs < nextFrameMs) return
        nextFrameMs = event.atMs + FRAME_MS
        screen.draw(frame(event.record, { phase, recent, paint }))
        return
      }
      case 'summary':
        screen.end()
        write(`\n${summaryTable(event)}\n`)
    }
  }
}

interface FrameContext {
  readonly phase: string
  readonly recent: readonly string[]
  readonly paint: Colours
}

function frame(record: TickRecord, { phase, recent, paint }: FrameContext): string[] {
  const capacityMilli = record.snapshot.topology.online.size * 1000
  const { suppression } = record.decision
  const bar = (milli: number): string => '█'.repeat(Math.min(BAR_COLUMNS, Math.round((milli / capacityMilli) * BAR_COLUMNS)))
  const row = (name: string, milli: number, colour: 'green' | 'blue' | 'magenta' | 'yellow'): string =>
    `  ${name.padEnd(9)}${paint[colour](bar(milli).padEnd(BAR_COLUMNS, '·'))} ${formatMilliCpu(milli).padStart(7)}`
  const lines = ['', `  ${paint.bold(phase.padEnd(9))}${scale(record, paint)}${paint.yellow(rungsOf(record))}`]
  const nodeMilli = record.snapshot.node.cpu?.value.usedMilli ?? 0
  lines.push(row('node', nodeMilli, 'yellow'))
  for (const qosClass of ['LS', 'BE', 'OT'] as const) lines.push(row(qosClass, useOf(record, qosClass), CLASS_COLOURS[qosClass]))
  if (suppression !== undefined)
    lines.push(row('allowed', suppression.allowanceMilli, 'yellow'), '', ...wrap(renderSuppression(suppression)))
  lines.push('', ...padded(recent).map((line) => `  ${paint.dim(line)}`))
  return lines
}

/** A ruler over the bars with the watermark on it. */
function scale(record: TickRecord, paint: Colours): string {
  const inputs = record.decision.suppression?.inputs
  if (inputs === undefined) return ''
  const at = Math.min(BAR_COLUMNS - 1, Math.round((inputs.watermarkMilli / inputs.capacityMilli) * BAR_COLUMNS))
  return `${' '.repeat(at)}${paint.red('▼')} watermark ${formatMilliCpu(inputs.watermarkMilli)} of ${formatMilliCpu(inputs.capacityMilli)}`
}

/** Breaks a sentence into exactly REASON_LINES lines, so that the block keeps its height. */
function wrap(text: string): string[] {
  const lines = ['']
  for (const word of text.split(' ')) {
    const last = lines.at(-1) ?? ''
    if (last.length + word.length > REASON_COLUMNS && lines.length < REASON_LINES) lines.push(word)
    else lines[lines.length - 1] = last === '' ? word : `${last} ${word}`
  }
  while (lines.length < REASON_LINES) lines.push('')
  return lines.map((line) => `  ${line}`)
}

function padded(lines: readonly string[]): string[] {
  return [...lines, ...Array.from({ length: LAST_WRITES - lines.length }, () => '')]
}
