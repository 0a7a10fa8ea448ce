/**
 * The last ten minutes as two charts: CPU against the watermark and the allowance, and how online work waits. Lines differ in their dashes
 * and not only in their colours; the caption and the table say the same in words. uPlot draws; its colours are those of the style sheet,
 * taken anew when the system goes from light to dark.
 */
import { byId, KeyedList, make, setText } from './dom.js'
import { clockText, cpuText, shareText } from './format.js'

/** @typedef {import('../../record/index.ts').HistoryPage} HistoryPage */
/** @typedef {keyof HistoryPage['series']} Series */
/** @typedef {{ name: Series, label: string, colour: string, dash?: number[], width?: number }} Line */

/** @type {typeof import('uplot')} */
const Plot = /** @type {any} */ (globalThis).uPlot

/** Samples kept here: what the agent keeps. */
const MOST_SAMPLES = 600
const HEIGHT = 240
const SMALL_HEIGHT = 150
/** A longer silence than this is a gap in the lines. */
const GAP_SAMPLES = 3
const MINUTE_MS = 60_000
/** Border styles in the legend, by the number of strokes and gaps of a line's dashes. */
const MARKERS = ['solid', 'solid', 'dashed', 'solid', 'double']

/** @type {readonly Line[]} */
const CPU_LINES = [
  { name: 'nodeMilli', label: 'node', colour: '--line-node', width: 2 },
  { name: 'onlineMilli', label: 'online and system', colour: '--line-online', dash: [8, 3] },
  { name: 'offlineMilli', label: 'offline', colour: '--line-offline', dash: [2, 3] },
  { name: 'allowanceMilli', label: 'allowance', colour: '--line-allowance', width: 2, dash: [12, 3, 2, 3] },
  { name: 'watermarkMilli', label: 'watermark', colour: '--line-watermark', dash: [4, 6] },
]
/** @type {readonly Line[]} */
const WAIT_LINES = [
  { name: 'cpuPressurePermyriad', label: 'online work waits for CPU', colour: '--line-node', width: 2 },
  { name: 'memoryUsedPermyriad', label: 'memory in use', colour: '--line-online', dash: [8, 3] },
]
const NAMES = [...CPU_LINES, ...WAIT_LINES].map(({ name }) => name)

export class Charts {
  /** @type {number[]} */
  #numbers = []
  /** @type {number[]} */
  #wallMs = []
  /** @type {Map<Series, (number | null)[]>} */
  #series = new Map(NAMES.map((name) => [name, []]))
  #cpu = new Chart(byId('cpu-chart'), CPU_LINES, { height: HEIGHT, format: cpuText, scale: (milli) => `${milli / 1000} CPU` })
  #wait = new Chart(byId('wait-chart'), WAIT_LINES, { height: SMALL_HEIGHT, format: shareText, scale: shareText })
  /** @type {KeyedList<string[], HTMLTableRowElement>} */
  #minutes

  constructor() {
    const titles = [
      'minute',
      'node, highest',
      'online, highest',
      'offline, highest',
      'allowance, lowest',
      'watermark',
      'waits',
      'memory',
    ]
    const body = make('tbody')
    const head = titles.map((title) => make('th', { scope: 'col' }, [title]))
    byId('minutes').append(make('thead', {}, [make('tr', {}, head)]), body)
    this.#minutes = new KeyedList(body, minuteRow, updateMinuteRow)
    byId('minutes')
      .closest('details')
      ?.addEventListener('toggle', () => this.#tabulate())
  }

  /**
   * Takes the samples that are new, and those that have come again since they were not finished.
   * @param {HistoryPage} page
   * @param {boolean} isFresh
   */
  show(page, isFresh) {
    if (isFresh) this.#cut(0)
    const [first] = page.numbers
    if (first !== undefined) {
      const known = this.#numbers.findIndex((number) => number >= first)
      if (known >= 0) this.#cut(known)
    }
    this.#numbers.push(...page.numbers)
    this.#wallMs.push(...page.wallMs)
    for (const [name, values] of this.#series) values.push(...page.series[name])
    const excess = this.#numbers.length - MOST_SAMPLES
    if (excess > 0) for (const column of this.#columns()) column.splice(0, excess)
    this.#draw()
    this.#tabulate()
  }

  #columns() {
    return [this.#numbers, this.#wallMs, ...this.#series.values()]
  }

  /** @param {number} length */
  #cut(length) {
    for (const column of this.#columns()) column.length = length
  }

  #draw() {
    const gaps = new Set(
      this.#numbers.flatMap((number, at) => (number - (this.#numbers[at - 1] ?? number) > GAP_SAMPLES ? [at] : [])),
    )
    const seconds = withGaps(
      this.#wallMs.map((wallMs) => wallMs / 1000),
      gaps,
      (at) => (this.#wallMs[at] ?? 0) / 1000 - 1,
    )
    const columns = (/** @type {readonly Line[]} */ lines) =>
      lines.map(({ name }) => withGaps(this.#series.get(name) ?? [], gaps, () => null))
    this.#cpu.draw(/** @type {import('uplot').AlignedData} */ ([seconds, ...columns(CPU_LINES)]))
    this.#wait.draw(/** @type {import('uplot').AlignedData} */ ([seconds, ...columns(WAIT_LINES)]))
    setText(byId('cpu-caption'), this.#cpuCaption())
    setText(byId('wait-caption'), this.#waitCaption())
  }

  #cpuCaption() {
    const node = this.#extremes('nodeMilli')
    const allowance = this.#extremes('allowanceMilli')
    if (node === undefined) return 'No use of CPU has been read yet.'
    const range =
      allowance === undefined
        ? 'no allowance: suppression is off or has no reading'
        : `allowance of offline pods ${cpuText(allowance.least)} (at ${allowance.leastAt}) to ${cpuText(allowance.most)}`
    return (
      `From ${clockText(this.#wallMs[0] ?? 0)} to ${clockText(this.#wallMs.at(-1) ?? 0)}: node at most ${cpuText(node.most)} ` +
      `(at ${node.mostAt}), watermark ${cpuText(this.#series.get('watermarkMilli')?.at(-1))}, ${range}. ` +
      'A second shows its highest use and its lowest allowance.'
    )
  }

  #waitCaption() {
    const waits = this.#extremes('cpuPressurePermyriad')
    const memory = this.#extremes('memoryUsedPermyriad')
    const waited =
      waits === undefined
        ? 'How long online work waits for CPU is not told by this kernel, or not yet'
        : `Online work waited for CPU at most ${shareText(waits.most)} of the time (at ${waits.mostAt})`
    return `${waited}; memory in use at most ${memory === undefined ? 'not known' : shareText(memory.most)}.`
  }

  /** @param {Series} name */
  #extremes(name) {
    /** @type {{ most: number, mostAt: string, least: number, leastAt: string } | undefined} */
    let known
    for (const [at, value] of (this.#series.get(name) ?? []).entries()) {
      if (value === null) continue
      const time = () => clockText(this.#wallMs[at] ?? 0)
      known ??= { most: value, mostAt: time(), least: value, leastAt: time() }
      if (value > known.most) [known.most, known.mostAt] = [value, time()]
      if (value < known.least) [known.least, known.leastAt] = [value, time()]
    }
    return known
  }

  /** A row for each minute, the newest first; only while somebody reads it. */
  #tabulate() {
    if (byId('minutes').closest('details')?.open !== true) return
    /** @type {Map<string, number[]>} */
    const byMinute = new Map()
    for (const [at, wallMs] of this.#wallMs.entries()) {
      const minute = clockText(Math.floor(wallMs / MINUTE_MS) * MINUTE_MS).slice(0, 5)
      const known = byMinute.get(minute)
      if (known === undefined) byMinute.set(minute, [at])
      else known.push(at)
    }
    const rows = [...byMinute].map(([minute, slots]) => {
      const values = (/** @type {Series} */ name) =>
        slots.flatMap((at) => this.#series.get(name)?.[at] ?? []).filter((value) => value !== null)
      const most = (/** @type {Series} */ name) => (values(name).length === 0 ? undefined : Math.max(...values(name)))
      const least = values('allowanceMilli')
      return [
        minute,
        ...[most('nodeMilli'), most('onlineMilli'), most('offlineMilli')].map(cpuText),
        least.length === 0 ? '–' : cpuText(Math.min(...least)),
        cpuText(values('watermarkMilli').at(-1)),
        ...[most('cpuPressurePermyriad'), most('memoryUsedPermyriad')].map(shareText),
      ]
    })
    this.#minutes.show(rows.reverse(), ([minute = '']) => minute)
  }
}

/**
 * The values with one more before each gap.
 * @template Value
 * @param {readonly Value[]} values
 * @param {ReadonlySet<number>} gaps
 * @param {(at: number) => Value} fill
 */
function withGaps(values, gaps, fill) {
  return gaps.size === 0 ? values : values.flatMap((value, at) => (gaps.has(at) ? [fill(at), value] : [value]))
}

/** @param {string[]} row */
function minuteRow(row) {
  return make('tr', {}, [make('th', { scope: 'row' }), ...row.slice(1).map(() => make('td', { class: 'number' }))])
}

/** @param {HTMLTableRowElement} element @param {string[]} row */
function updateMinuteRow({ cells }, row) {
  for (const [at, text] of row.entries()) {
    const cell = cells[at]
    if (cell !== undefined) setText(cell, text)
  }
}

/** One chart that follows the width of its box and the colours of the system. */
class Chart {
  #box
  #lines
  #options
  /** @type {import('uplot') | undefined} */
  #plot
  /** @type {import('uplot').AlignedData} */
  #data = [[]]

  /**
   * @param {HTMLElement} box
   * @param {readonly Line[]} lines
   * @param {{ height: number, format: (value: number | null) => string, scale: (value: number) => string }} options height in CSS pixels;
   *   format says a value in the legend, scale one of the round ones beside the chart
   */
  constructor(box, lines, options) {
    this.#box = box
    this.#lines = lines
    this.#options = options
    new ResizeObserver(() => this.#plot?.setSize({ width: this.#width(), height: options.height })).observe(box)
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.#make())
  }

  /** @param {import('uplot').AlignedData} data */
  draw(data) {
    this.#data = data
    if (this.#plot === undefined) this.#make()
    else this.#plot.setData(data)
    this.#readNewest()
  }

  /** While no pointer asks for another time, the legend reads the newest values. */
  #readNewest() {
    const newest = (this.#data[0]?.length ?? 0) - 1
    if (newest >= 0 && (this.#plot?.cursor.left ?? -1) < 0) this.#plot?.setLegend({ idx: newest })
  }

  #width() {
    return Math.max(200, Math.floor(this.#box.clientWidth))
  }

  #make() {
    const style = getComputedStyle(document.documentElement)
    const colour = (/** @type {string} */ name) => style.getPropertyValue(name).trim()
    const axis = { stroke: colour('--text'), grid: { stroke: colour('--rule'), width: 1 }, ticks: { stroke: colour('--rule') } }
    const { height, format, scale } = this.#options
    this.#plot?.destroy()
    this.#plot = new Plot(
      {
        width: this.#width(),
        height,
        padding: [8, 28, 0, 0],
        cursor: { sync: { key: 'time' }, drag: { x: false, y: false } },
        scales: { y: { range: (_plot, _least, most) => [0, Math.max(1, (most ?? 0) * 1.08)] } },
        axes: [
          { ...axis, space: 80, values: (_plot, ticks) => ticks.map((seconds) => clockText(seconds * 1000)) },
          { ...axis, size: 76, values: (_plot, ticks) => ticks.map((tick) => (tick === 0 ? '0' : scale(tick))) },
        ],
        // The first drawing empties the legend again.
        hooks: { ready: [() => this.#readNewest()] },
        legend: { markers: { width: 3, dash: (_plot, at) => MARKERS[this.#lines[at - 1]?.dash?.length ?? 0] ?? 'solid' } },
        series: [
          { label: 'time', value: (_plot, seconds) => (seconds === null ? '–' : clockText(seconds * 1000)) },
          ...this.#lines.map(({ label, colour: name, dash, width = 1 }) => ({
            label,
            stroke: colour(name),
            width,
            ...(dash === undefined ? {} : { dash }),
            points: { show: false },
            value: (/** @type {import('uplot')} */ _plot, /** @type {number | null} */ value) => format(value),
          })),
        ],
      },
      this.#data,
      this.#box,
    )
    this.#plot.root.addEventListener('mouseleave', () => this.#readNewest())
    this.#readNewest()
    // The caption says what the picture shows; the legend beside it names the lines and reads them at the pointer.
    const canvas = this.#box.querySelector('canvas')
    canvas?.setAttribute('role', 'img')
    canvas?.setAttribute(
      'aria-label',
      `${this.#lines.map(({ label }) => label).join(', ')} over the last minutes; described below`,
    )
  }
}
