/** The course of a replay as plots: which lines, in which unit, and few enough points for a page. */
import type { Course } from './compare.ts'

/** A page with some thousand points opens at once, and no screen shows more. */
const MOST_POINTS = 1500

export interface Line {
  readonly label: string
  /** Name of a colour of the style sheet. */
  readonly colour: string
  /** Lines differ in their dashes too, not only in colour. */
  readonly dash: readonly number[]
  readonly width: number
  readonly values: readonly (number | null)[]
}

export interface Chart {
  readonly id: string
  readonly title: string
  readonly unit: string
  readonly series: readonly Line[]
}

type Name = Exclude<keyof Course, 'wallMs'>
/** Of the ticks that share a point: the most of what is used, the least of what is given, so that neither is shown better than it was. */
const KEEPS_LEAST: readonly Name[] = [
  'allowanceRecorded',
  'allowanceReplayed',
  'otRecorded',
  'otReplayed',
  'offerRecorded',
  'offerReplayed',
]

interface LineSpec {
  readonly name: Name
  readonly label: string
  /** Not shown where nothing else was replayed. */
  readonly replayed?: true
}

const CHARTS: readonly {
  readonly id: string
  readonly title: string
  readonly unit: 'CPU' | '%'
  readonly lines: readonly LineSpec[]
}[] = [
  {
    id: 'use',
    title: 'Use of the node and the watermark',
    unit: 'CPU',
    lines: [
      { name: 'nodeMilli', label: 'node' },
      { name: 'onlineMilli', label: 'online pods' },
      { name: 'watermarkRecorded', label: 'watermark, recorded' },
      { name: 'watermarkReplayed', label: 'watermark, replayed', replayed: true },
    ],
  },
  {
    id: 'allowance',
    title: 'Allowance of BE and OT together, and of OT',
    unit: 'CPU',
    lines: [
      { name: 'allowanceRecorded', label: 'BE+OT, recorded' },
      { name: 'allowanceReplayed', label: 'BE+OT, replayed', replayed: true },
      { name: 'otRecorded', label: 'OT, recorded' },
      { name: 'otReplayed', label: 'OT, replayed', replayed: true },
    ],
  },
  {
    id: 'offline',
    title: 'Use of BE and OT, as recorded',
    unit: 'CPU',
    lines: [
      { name: 'beMilli', label: 'BE' },
      { name: 'otMilli', label: 'OT' },
    ],
  },
  {
    id: 'pressure',
    title: 'Online work waits for CPU, as recorded',
    unit: '%',
    lines: [{ name: 'pressurePermyriad', label: 'share of the time' }],
  },
  {
    id: 'offer',
    title: 'be-cpu offered',
    unit: 'CPU',
    lines: [
      { name: 'offerRecorded', label: 'recorded' },
      { name: 'offerReplayed', label: 'replayed', replayed: true },
    ],
  },
]

/** Thick and plain for the first line, thinner and dashed for the others: a replayed line on a recorded one leaves it to be seen. */
const STYLES: readonly { readonly colour: string; readonly dash: readonly number[]; readonly width: number }[] = [
  { colour: '--line-1', dash: [], width: 3 },
  { colour: '--line-2', dash: [8, 4], width: 2 },
  { colour: '--line-3', dash: [], width: 1.5 },
  { colour: '--line-4', dash: [3, 3], width: 2 },
]

export interface Charts {
  readonly wallMs: readonly number[]
  /** Ticks that share a point, at most. */
  readonly ticksAPoint: number
  /** Those that have a value at some time. */
  readonly charts: readonly Chart[]
}

/** Plots of a course. */
export function chartsOf(course: Course, hasVariant: boolean): Charts {
  const ticks = course.wallMs.length
  const ticksAPoint = Math.max(1, Math.ceil(ticks / MOST_POINTS))
  const charts = CHARTS.map(({ id, title, unit, lines }): Chart => {
    const factor = unit === 'CPU' ? 1000 : 100
    const shown = lines
      .map((line, index) => ({ line, style: STYLES[index] ?? STYLES[0] }))
      .filter(({ line }) => hasVariant || line.replayed !== true)
    const series = shown.flatMap(({ line: { name, label }, style }): Line[] => {
      const values = thinned(course[name], ticksAPoint, KEEPS_LEAST.includes(name) ? Math.min : Math.max)
      if (style === undefined || values.every((value) => value === null)) return []
      return [{ label, ...style, values: values.map((value) => (value === null ? null : value / factor)) }]
    })
    return { id, title, unit, series }
  })
  const wallMs: number[] = []
  for (let at = 0; at < ticks; at += ticksAPoint) wallMs.push(course.wallMs[at] ?? 0)
  return { wallMs, ticksAPoint, charts: charts.filter(({ series }) => series.length > 0) }
}

function thinned(
  values: readonly (number | null)[],
  together: number,
  pick: (one: number, other: number) => number,
): readonly (number | null)[] {
  const points: (number | null)[] = []
  for (let at = 0; at < values.length; at += together) {
    let kept: number | null = null
    for (const value of values.slice(at, at + together)) if (value !== null) kept = kept === null ? value : pick(kept, value)
    points.push(kept)
  }
  return points
}
