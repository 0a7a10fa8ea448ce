/** A comparison as text for a terminal: what was replayed, what came out, and what it can't tell. */
import { count, formatDuration, table, wrap } from '../../record/index.ts'
import type { Comparison, Range, Row } from './compare.ts'
import type { Difference, Side } from './differences.ts'
import type { Unit } from './measures.ts'
import type { RedecideNotes } from './redecide.ts'

/** What is known of a replay beside its numbers. */
export interface ReplayAbout {
  readonly files: readonly string[]
  readonly nodeName: string
  /** Of the agents that recorded. */
  readonly versions: readonly string[]
  /** Of this program. */
  readonly version: string
  readonly hasVariant: boolean
  readonly notes: RedecideNotes
  /** What of the files could not be used, and what this version does not know, in words. */
  readonly problems: readonly string[]
}

/** What no replay can know; said wherever results are shown. */
export const OPEN_LOOP =
  'A replay decides about the node as it was recorded. With other decisions offline pods would have used more or less CPU and memory, online ' +
  'work would have waited less or longer, and other pods would have come: none of that is in these numbers, and the longer ago the two parted, ' +
  'the less they say.'

const SHOWN_DIFFERENCES = 10

/** The comparison as text, lines of at most some 100 characters but for the table. */
export function renderComparison(comparison: Comparison, about: ReplayAbout): string {
  const lines = [...head(comparison, about), '']
  if (comparison.ticks === 0) return [...lines, 'No tick lies in that time.', ''].join('\n')
  lines.push(...fidelity(comparison, about))
  if (about.hasVariant) lines.push(...outcome(comparison, about))
  return `${lines.join('\n')}\n`
}

function head({ ticks, fromMs, toMs }: Comparison, { files, nodeName, versions, notes, problems }: ReplayAbout): string[] {
  const span =
    fromMs === undefined || toMs === undefined ? '' : `, ${timeOf(fromMs)} to ${timeOf(toMs)} (${formatDuration(toMs - fromMs)})`
  const lines = [
    `${nodeName}, recorded by kube-agent ${versions.join(', ')}: ${count(ticks, 'tick')} in ${count(files.length, 'file')}${span}`,
  ]
  if (notes.failedTicks > 0) lines.push(`${count(notes.failedTicks, 'tick')} failed when recorded, and decided nothing`)
  if (notes.gaps > 0) lines.push(`${count(notes.gaps, 'gap')}: after each, the replay begins anew with what the agent remembered`)
  if (notes.variantFailures > 0)
    lines.push(
      `${count(notes.variantFailures, 'tick')} could not be decided with the other settings: ${notes.variantFailure ?? ''}`,
    )
  return [...lines, ...problems.map((problem) => `note: ${problem}`)]
}

function fidelity({ unlike, ticks }: Comparison, { hasVariant, versions, version }: ReplayAbout): string[] {
  if (unlike.ticks === 0) {
    if (hasVariant) return []
    return [`No difference: with the recorded settings all ${count(ticks, 'tick')} are decided as the agent decided them.`]
  }
  const other = versions.some((each) => each !== version) ? ` It was recorded by another version, this is ${version}.` : ''
  return [
    ...wrap(
      `With the recorded settings ${count(unlike.ticks, 'tick')} of ${ticks} ${unlike.ticks === 1 ? 'is' : 'are'} decided otherwise than the agent ` +
        `decided, the first at ${timeOf(unlike.firstWallMs ?? 0)}, in: ${unlike.in.join(', ')}.${other}${hasVariant ? ' "Recorded" below is what this version decides with the recorded settings.' : ''}`,
      0,
    ),
    '',
  ]
}

function outcome(comparison: Comparison, _about: ReplayAbout): string[] {
  const { settings, differing, ticks, differences, rows, evictedPods } = comparison
  if (settings.length === 0) return ['The settings are the recorded ones: there is nothing to compare.']
  const lines = [
    'Settings',
    ...rowsOf(settings.map(({ key, recorded, replayed }) => [`  ${key}`, `${shown(recorded)} → ${shown(replayed)}`])),
  ]
  if (differing === 0) return [...lines, '', `No difference: all ${count(ticks, 'tick')} are decided the same.`]
  lines.push('', `${differing} of ${count(ticks, 'decision')} would have differed (${share(differing, ticks)}).`, '')
  lines.push(...measureTable(rows.filter(isTelling)), '')
  lines.push(
    `Pods that were to be evicted at some time: ${evictedPods.recorded} recorded, ${evictedPods.replayed} replayed.`,
    '',
    'First differences',
  )
  for (const difference of differences.slice(0, SHOWN_DIFFERENCES)) lines.push(...differenceLines(difference))
  if (differences.length > SHOWN_DIFFERENCES)
    lines.push(`  and in ${differences.length - SHOWN_DIFFERENCES} more (--json has all)`)
  return [...lines, '', ...wrap(OPEN_LOOP, 0)]
}

/** Has a value at some time, and is not zero all along. */
function isTelling({ recorded, replayed }: Row): boolean {
  return (recorded.most ?? 0) !== 0 || (replayed.most ?? 0) !== 0
}

function measureTable(rows: readonly Row[]): readonly string[] {
  const cells = rows.map((row) => [
    `  ${row.name}`,
    ...rangeCells(row.recorded, row.unit),
    ...rangeCells(row.replayed, row.unit),
    String(row.differing),
  ])
  return table(
    [
      ['', 'recorded', '', '', 'replayed', '', '', 'differing'],
      ['', 'min', 'mean', 'max', 'min', 'mean', 'max', 'ticks'],
      ...cells,
    ],
    ['left'],
  )
}

function rangeCells({ least, mean, most }: Range, unit: Unit): readonly string[] {
  return [least, mean, most].map((value) => amount(value, unit))
}

/** A value with its unit, where that is not in the name of its row. */
export function amount(value: number | undefined, unit: Unit): string {
  if (value === undefined) return '-'
  if (unit === 'milliCpu') return `${Math.round(value)}m`
  return Number.isInteger(value) ? String(value) : value.toFixed(1)
}

function differenceLines({ wallMs, seq, what, recorded, replayed }: Difference): string[] {
  return [`  ${timeOf(wallMs)}, tick ${seq}: ${what}`, ...sideLines('recorded', recorded), ...sideLines('replayed', replayed)]
}

function sideLines(name: string, { value, because }: Side): string[] {
  return wrap(`${name}: ${value}${because === '' ? '' : `, because ${because}`}`, 6).map((line, index) =>
    index === 0 ? line.slice(2) : line,
  )
}

function rowsOf(rows: readonly (readonly string[])[]): readonly string[] {
  return table(rows, ['left', 'left'])
}

function shown(value: unknown): string {
  return typeof value === 'string' && value !== '' ? value : JSON.stringify(value)
}

function share(part: number, whole: number): string {
  const percent = (part * 100) / whole
  return percent > 0 && percent < 0.1 ? 'below 0.1 %' : `${percent.toFixed(1)} %`
}

/** A time as people write it, to the millisecond, in UTC. */
export function timeOf(wallMs: number): string {
  return new Date(wallMs).toISOString()
}
