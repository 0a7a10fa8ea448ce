/**
 * Whether a daemon has stopped growing: samples of a second become one value for each window, and what those grow by over the whole run
 * is judged. Robust on purpose: a spike of a busy machine is no leak, and a leak is there in every window.
 */

/** One look at the agent, a second apart. A value is NaN where it could not be read. */
export interface Sample {
  readonly atMs: number
  readonly values: Readonly<Record<SeriesName, number>>
}

export type SeriesName = 'rssMiB' | 'anonMiB' | 'heapMiB' | 'descriptors' | 'handles' | 'journalKiB' | 'series' | 'tickP99Ms'

interface Series {
  /** What stands for a window: garbage comes and goes, so of the heap it is the least. */
  readonly of: 'median' | 'least' | 'most'
  /** Growth over the run that is taken for noise, in the unit of the series. */
  readonly noise: number
  /** No value of a window may be above. @default no bound */
  readonly most?: number
}

/**
 * A leak of one descriptor, handle or series for every hundred pods is 30 in ten minutes of this churn, and one of 1 KiB for each pod 3 MiB.
 * The journal may grow past its bound between two looks at it, 30 s apart. Of resident memory it is the anonymous part that must not grow: the
 * rest is pages of the program's own file, which come in when code is first run, are shared, and are as many as the file has at the most.
 */
export const SERIES: Readonly<Record<SeriesName, Series>> = {
  rssMiB: { of: 'median', noise: 16, most: 120 },
  anonMiB: { of: 'median', noise: 4 },
  heapMiB: { of: 'least', noise: 2 },
  descriptors: { of: 'median', noise: 20 },
  handles: { of: 'median', noise: 5 },
  journalKiB: { of: 'most', noise: 128, most: 1024 },
  series: { of: 'most', noise: 0 },
  tickP99Ms: { of: 'median', noise: 25 },
}
export const SERIES_NAMES = Object.keys(SERIES) as readonly SeriesName[]

export interface Window {
  readonly fromMs: number
  readonly values: Readonly<Record<SeriesName, number>>
}

/** Windows of `lengthMs` that are full. */
export function windowsOf(samples: readonly Sample[], lengthMs: number): Window[] {
  const [first] = samples
  if (first === undefined) return []
  const windows: Window[] = []
  const last = samples.at(-1)?.atMs ?? first.atMs
  for (let fromMs = first.atMs; fromMs + lengthMs <= last + 1000; fromMs += lengthMs) {
    const within = samples.filter(({ atMs }) => atMs >= fromMs && atMs < fromMs + lengthMs)
    windows.push({ fromMs, values: valuesOf(within) })
  }
  return windows
}

function valuesOf(samples: readonly Sample[]): Record<SeriesName, number> {
  const values = SERIES_NAMES.map((name) => {
    const sorted = samples
      .map(({ values }) => values[name])
      .filter((value) => !Number.isNaN(value))
      .sort((a, b) => a - b)
    const at = { least: 0, median: sorted.length >> 1, most: sorted.length - 1 }[SERIES[name].of]
    return [name, sorted[at] ?? Number.NaN] as const
  })
  return Object.fromEntries(values) as Record<SeriesName, number>
}

/** What a line through the values rises by over all of them: the median of the slopes between any two (Theil and Sen). */
export function growthOf(values: readonly number[]): number {
  const slopes: number[] = []
  for (const [from, before] of values.entries())
    for (const [to, after] of values.entries()) if (to > from) slopes.push((after - before) / (to - from))
  slopes.sort((a, b) => a - b)
  const middle = slopes.length >> 1
  const slope = slopes.length % 2 === 1 ? slopes[middle] : ((slopes[middle - 1] ?? 0) + (slopes[middle] ?? 0)) / 2
  return (slope ?? 0) * Math.max(0, values.length - 1)
}

export interface Verdict {
  readonly name: SeriesName
  readonly growth: number
  /** What is wrong; undefined when the series is flat. */
  readonly problem: string | undefined
}

/** Judges the windows after the warm-up, three at least. */
export function judge(windows: readonly Window[]): Verdict[] {
  return SERIES_NAMES.map((name) => {
    const { noise, most = Infinity } = SERIES[name]
    const values = windows.map(({ values }) => values[name])
    const growth = growthOf(values)
    const largest = Math.max(...values)
    if (values.length < 3 || values.some(Number.isNaN)) return { name, growth, problem: 'was not measured' }
    if (growth > noise) return { name, growth, problem: `grew by ${growth.toFixed(1)}, noise is up to ${noise}` }
    return { name, growth, problem: largest > most ? `rose to ${largest.toFixed(1)}, above ${most}` : undefined }
  })
}
