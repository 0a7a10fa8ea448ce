/** The table of pods: which columns there are for how wide a terminal, and a row for each pod. */
import { formatBytes, formatMilliCpu, formatPermyriad } from '../../model/index.ts'
import type { PodStatus } from '../../record/index.ts'
import type { Colours } from '../colour.ts'
import { fit, plain, sentence } from './cells.ts'
import type { Sort } from './state.ts'

interface Column {
  readonly title: string
  readonly sort?: Sort
  readonly align: 'left' | 'right'
  /** Terminals narrower than this do without. */
  readonly fromColumns: number
  readonly most: number
  readonly text: (pod: PodStatus) => string
}

const NONE = '-'
const cpu = (milli: number | undefined): string => (milli === undefined ? NONE : formatMilliCpu(milli))
const memory = (bytes: number | undefined): string => (bytes === undefined ? NONE : formatBytes(bytes))

/** A mark for what colour says too. */
const MARKS: Readonly<Record<PodStatus['state'], string>> = { squeezed: '!', odd: '?', fine: ' ' }

const COLUMNS: readonly Column[] = [
  { title: ' ', align: 'left', fromColumns: 0, most: 1, text: ({ state }) => MARKS[state] },
  { title: 'POD', sort: 'name', align: 'left', fromColumns: 0, most: 60, text: ({ pod }) => plain(pod) },
  { title: 'CLASS', sort: 'class', align: 'left', fromColumns: 0, most: 8, text: ({ qosClass }) => qosClass },
  { title: 'USE', sort: 'use', align: 'right', fromColumns: 0, most: 8, text: ({ usedMilli }) => cpu(usedMilli) },
  { title: 'LIMIT', sort: 'limit', align: 'right', fromColumns: 0, most: 8, text: ({ limitMilli }) => cpu(limitMilli) },
  {
    title: 'ASKED',
    sort: 'asked',
    align: 'right',
    fromColumns: 80,
    most: 8,
    text: ({ askedMilli }) => (askedMilli === 0 ? NONE : formatMilliCpu(askedMilli)),
  },
  {
    title: 'THROTTLED',
    sort: 'throttled',
    align: 'right',
    fromColumns: 70,
    most: 9,
    text: ({ throttledPermyriad }) => (throttledPermyriad === undefined ? NONE : formatPermyriad(throttledPermyriad)),
  },
  { title: 'CPUS', align: 'left', fromColumns: 60, most: 16, text: ({ cpus }) => cpus ?? NONE },
  {
    title: 'MEMORY',
    sort: 'memory',
    align: 'right',
    fromColumns: 120,
    most: 9,
    text: ({ workingSetBytes }) => memory(workingSetBytes),
  },
  { title: 'MAX', align: 'right', fromColumns: 140, most: 9, text: ({ memoryLimitBytes }) => memory(memoryLimitBytes) },
  {
    title: 'WEIGHT',
    align: 'right',
    fromColumns: 130,
    most: 6,
    text: ({ weight }) => (weight === undefined ? NONE : String(weight)),
  },
  { title: 'WHY', align: 'left', fromColumns: 100, most: Infinity, text: ({ why }) => sentence(why) },
]

/** A pod's name is cut to this share of a narrow terminal. */
const NAME_SHARE = 0.32
const LEAST_NAME = 12
const GAP = 2

export interface TableView {
  /** Infinity where nothing is cut, as in a pipe. */
  readonly columns: number
  readonly sort: Sort
  readonly reversed: boolean
  readonly selected: string | undefined
  readonly colours: Colours
}

/** The heading, and a line for each of `rows`; widths are those of `all`, so that scrolling moves no column. */
export function podTable(rows: readonly PodStatus[], all: readonly PodStatus[], view: TableView): readonly string[] {
  const { columns, sort, reversed, selected, colours } = view
  const shown = COLUMNS.filter(({ fromColumns }) => fromColumns <= columns).map((column) => {
    const title = column.sort === sort ? `${column.title}${reversed ? '▲' : '▼'}` : column.title
    const widest = all.reduce((most, pod) => Math.max(most, column.text(pod).length), title.length)
    return { ...column, title, width: Math.min(widest, Math.max(column.most, title.length)) }
  })
  if (Number.isFinite(columns)) squeeze(shown, columns)
  const lineOf = (textOf: (column: (typeof shown)[number]) => string): string =>
    shown
      .map((column) => fit(textOf(column), column.width, column.align))
      .join(' '.repeat(GAP))
      .trimEnd()
  return [
    colours.bold(lineOf(({ title }) => title)),
    ...rows.map((pod) => {
      const line = lineOf(({ text }) => text(pod))
      if (pod.uid === selected) return colours.inverse(line.padEnd(Number.isFinite(columns) ? columns : 0))
      return pod.state === 'squeezed' ? colours.yellow(line) : pod.state === 'odd' ? colours.cyan(line) : line
    }),
  ]
}

/** Takes from the names, then from the reasons, what does not fit. */
function squeeze(shown: { title: string; width: number }[], columns: number): void {
  const name = shown.find(({ title }) => title.startsWith('POD'))
  const why = shown.find(({ title }) => title === 'WHY')
  const over = (): number => shown.reduce((sum, { width }) => sum + width, GAP * (shown.length - 1)) - columns
  if (name !== undefined && over() > 0) name.width = Math.max(LEAST_NAME, Math.min(name.width, Math.floor(columns * NAME_SHARE)))
  if (why !== undefined && over() > 0) why.width = Math.max('WHY'.length, why.width - over())
  if (name !== undefined && over() > 0) name.width = Math.max(LEAST_NAME, name.width - over())
}
