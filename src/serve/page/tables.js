/** The tables of the page: numbers, ladders, classes, resources, pods, decisions. Rows stay the same elements while what they show lives. */
import { byId, KeyedList, make, setAttribute, setText } from './dom.js'
import { bytesText, clockText, countText, cpuText, parseCpus, shareText, spanText } from './format.js'

/** @typedef {import('../../record/index.ts').Status} Status */
/** @typedef {import('../../record/index.ts').JournalEntry} JournalEntry */
/** @typedef {NonNullable<Status['pods']>[number]} Pod */

/**
 * A column: its title, its text, whether it is a number.
 * @template Row
 * @typedef {{ title: string, text: (row: Row) => string, number?: boolean, wide?: boolean }} Column
 */

/**
 * A table with a caption for those who can't see where it stands; the first column names the row.
 * @template Row
 */
class Table {
  #list
  #keyOf

  /**
   * @param {string} id
   * @param {string} caption
   * @param {readonly Column<Row>[]} columns
   * @param {{ keyOf: (row: Row) => string, dress?: (element: HTMLTableRowElement, row: Row) => void, nameCell?: (row: Row) => HTMLElement }} options
   */
  constructor(id, caption, columns, { keyOf, dress = () => undefined, nameCell }) {
    const body = make('tbody')
    const head = columns.map(({ title, number }) =>
      make('th', { scope: 'col', ...(number === true ? { class: 'number' } : {}) }, [title]),
    )
    byId(id).append(make('caption', {}, [caption]), make('thead', {}, [make('tr', {}, head)]), body)
    this.#keyOf = keyOf
    const create = (/** @type {Row} */ row) => {
      const cells = columns.map(({ number, wide }, at) => {
        if (at === 0) return make('th', { scope: 'row' }, nameCell === undefined ? [] : [nameCell(row)])
        return make('td', number === true ? { class: 'number' } : wide === true ? { class: 'wide' } : {})
      })
      return make('tr', {}, cells)
    }
    /** @type {KeyedList<Row, HTMLTableRowElement>} */
    this.#list = new KeyedList(body, create, (element, row) => {
      for (const [at, { text }] of columns.entries()) {
        const cell = element.cells[at]
        if (cell !== undefined) setText(at === 0 ? (cell.firstElementChild ?? cell) : cell, text(row))
      }
      dress(element, row)
    })
  }

  /** @param {readonly Row[]} rows */
  show(rows) {
    this.#list.show(rows, this.#keyOf)
  }
}

/** The headline numbers, each with its name. */
export class Numbers {
  #list

  constructor() {
    this.#list = new KeyedList(
      byId('numbers'),
      (/** @type {{ name: string, text: string }} */ { name }) => {
        return make('div', { 'data-number': name }, [make('dt', {}, [name]), make('dd')])
      },
      (element, { text }) => setText(element.lastElementChild ?? element, text),
    )
  }

  /** @param {Status} status */
  show({ allowance, node, lastTick, ladders }) {
    const share = (/** @type {number} */ part, /** @type {number} */ whole) =>
      whole === 0 ? '' : ` (${Math.round((part / whole) * 100)} %)`
    const all = allowance?.capacityMilli ?? (node?.cpus ?? 0) * 1000
    const used = allowance?.nodeMilli ?? node?.usedMilli
    const rungs = [...(ladders?.cpu?.inForce ?? []), ...(ladders?.memory?.ladder.inForce ?? [])]
    const free = node?.memoryAvailableBytes
    const rows = [
      { name: 'tick', text: lastTick === undefined ? 'none yet' : `${lastTick.seq}, ${lastTick.pace}` },
      { name: 'node uses', text: used === undefined ? '–' : `${cpuText(used)} of ${cpuText(all)}${share(used, all)}` },
      { name: 'watermark', text: cpuText(allowance?.watermarkMilli) },
      { name: 'online and system', text: cpuText(allowance?.onlineMilli) },
      { name: 'offline uses', text: cpuText(allowance?.offlineMilli) },
      {
        name: 'allowance',
        text: allowance === undefined ? 'none' : `${cpuText(allowance.allowanceMilli)}, by ${allowance.bound}`,
      },
      { name: 'of that OT', text: cpuText(allowance?.otAllowanceMilli) },
      { name: 'quota in force', text: allowance?.quotaMilli === undefined ? 'none' : cpuText(allowance.quotaMilli) },
      {
        name: 'memory available',
        text: free === undefined ? '–' : `${bytesText(free)}${share(free, node?.memoryTotalBytes ?? 0)}`,
      },
      { name: 'rungs in force', text: rungs.length === 0 ? 'none' : rungs.join(', ') },
    ]
    this.#list.show(rows, ({ name }) => name)
  }
}

/** Problems, worst first, and where suppression stands in sentences. */
export class Ladders {
  #problems = new KeyedList(
    byId('problems'),
    (/** @type {{ severity: string, text: string }} */ { severity }) =>
      make('li', { class: severity }, [make('strong', {}, [severity]), ': ', make('span')]),
    (element, { text }) => setText(element.lastElementChild ?? element, text),
  )
  #lines = new KeyedList(
    byId('ladders'),
    (/** @type {{ label: string, text: string }} */ { label }) => make('div', {}, [make('dt', {}, [label]), make('dd')]),
    (element, { text }) => setText(element.lastElementChild ?? element, text),
  )

  /** @param {Status} status */
  show({ problems, ladders, suppression, signals, identity }) {
    const rows = problems.length === 0 ? [{ severity: 'ok', text: 'no problems' }] : problems
    // The words of a problem change with its numbers: its place is what stays.
    const keys = new Map(rows.map((row, at) => [row, `${row.severity} ${at}`]))
    this.#problems.show(rows, (row) => keys.get(row) ?? '')
    const lines = [
      ...(suppression === undefined ? [] : [{ label: 'suppression', text: suppression }]),
      ...(ladders?.lines ?? []),
      ...(signals === undefined ? [] : [{ label: 'signals', text: signals }]),
      ...(identity === undefined ? [] : [{ label: 'identity', text: identity }]),
    ]
    const lineKeys = new Map(lines.map((line, at) => [line, `${at} ${line.label}`]))
    this.#lines.show(lines, (line) => lineKeys.get(line) ?? '')
  }
}

/** Classes with pods, and the four resources. */
export class Classes {
  /** @type {Table<NonNullable<Status['classes']>[number]>} */
  #classes = new Table(
    'classes',
    'Classes',
    [
      { title: 'class', text: ({ qosClass }) => qosClass },
      { title: 'pods', number: true, text: ({ pods }) => String(pods) },
      { title: 'CPU used', number: true, text: ({ usedMilli }) => cpuText(usedMilli) },
      { title: 'allowed', number: true, text: ({ allowedMilli }) => cpuText(allowedMilli) },
      { title: 'CPU asked', number: true, text: ({ askedMilli }) => (askedMilli === 0 ? '–' : cpuText(askedMilli)) },
      {
        title: 'memory used',
        number: true,
        text: ({ workingSetBytes }) => (workingSetBytes === 0 ? '–' : bytesText(workingSetBytes)),
      },
      { title: 'identity', text: ({ identity }) => identity },
      { title: 'CPUs', text: ({ cpus }) => (cpus === '' ? '–' : cpus.replaceAll(',', ', ')), wide: true },
    ],
    { keyOf: ({ qosClass }) => qosClass },
  )
  /** @type {Table<Status['resources'][number]>} */
  #resources = new Table(
    'resources',
    'Extended resources',
    [
      { title: 'resource', text: ({ resource }) => resource },
      { title: 'unit', text: ({ unit = '–' }) => unit },
      { title: 'offered', number: true, text: ({ offeredUnits }) => String(offeredUnits ?? '–') },
      { title: 'advertised', number: true, text: ({ advertisedUnits }) => String(advertisedUnits ?? '–') },
      { title: 'allocated', number: true, text: ({ allocatedUnits }) => String(allocatedUnits ?? '–') },
      { title: 'registered', text: ({ registered }) => (registered === undefined ? '–' : registered ? 'yes' : 'NO') },
      { title: 'why', text: ({ because = '–' }) => because, wide: true },
    ],
    { keyOf: ({ resource }) => resource },
  )

  /** @param {Status} status */
  show({ classes = [], resources }) {
    this.#classes.show(classes.filter(({ pods }) => pods > 0))
    this.#resources.show(resources)
  }
}

/** A list of CPUs in one line: most pods of a class have the same long one, and the map and the answer to "why" have all of it. */
const SHORT_CHARS = 28

/** @param {string | undefined} cpus */
function shortCpus(cpus) {
  if (cpus === undefined) return 'not bound'
  if (cpus.length <= SHORT_CHARS) return cpus.replaceAll(',', ', ')
  return `${parseCpus(cpus).size} CPUs: ${cpus.slice(0, cpus.lastIndexOf(',', SHORT_CHARS)).replaceAll(',', ', ')}, …`
}

/** The pods that the filter lets through. */
export class Pods {
  /** @type {Table<Pod>} */
  #table

  /** @param {(pod: string) => void} onExplain */
  constructor(onExplain) {
    this.#table = new Table(
      'pods',
      'Pods, by class and name',
      [
        { title: 'pod', text: ({ pod }) => pod },
        { title: 'class', text: ({ qosClass }) => qosClass },
        {
          title: 'state',
          text: ({ state, phase }) => (state === 'fine' ? phase.toLowerCase() : state === 'squeezed' ? 'held back' : 'odd'),
        },
        // Before the numbers: it is what a reader has come for, and the end of a row may be out of sight.
        { title: 'why', text: ({ why }) => why, wide: true },
        { title: 'CPU used', number: true, text: ({ usedMilli }) => cpuText(usedMilli) },
        { title: 'asked', number: true, text: ({ askedMilli }) => (askedMilli === 0 ? '–' : cpuText(askedMilli)) },
        { title: 'CPU limit', number: true, text: ({ limitMilli }) => cpuText(limitMilli) },
        { title: 'throttled', number: true, text: ({ throttledPermyriad }) => shareText(throttledPermyriad) },
        {
          title: 'memory',
          number: true,
          text: ({ workingSetBytes }) => (workingSetBytes === 0 ? '–' : bytesText(workingSetBytes)),
        },
        { title: 'memory limit', number: true, text: ({ memoryLimitBytes }) => bytesText(memoryLimitBytes) },
        { title: 'CPUs', text: ({ cpus }) => shortCpus(cpus) },
      ],
      {
        keyOf: ({ uid }) => uid,
        nameCell: ({ pod }) => make('button', { type: 'button', class: 'link', title: 'why: all of it' }, [pod]),
        dress: (row, { state, qosClass, uid }) => {
          setAttribute(row, 'data-state', state)
          setAttribute(row, 'data-class', qosClass)
          setAttribute(row, 'data-uid', uid)
        },
      },
    )
    byId('pods').addEventListener('click', (event) => {
      const button = event.target instanceof Element ? event.target.closest('button') : null
      if (button !== null) onExplain(button.textContent ?? '')
    })
  }

  /** @param {readonly Pod[]} pods */
  show(pods) {
    this.#table.show(pods)
  }
}

/** The newest decisions first. */
export class Decisions {
  /** @type {JournalEntry[]} newest first */
  #entries = []
  /** @type {Table<JournalEntry>} */
  #table = new Table(
    'decisions',
    'Last decisions, the newest first',
    [
      { title: 'time', text: ({ wallMs }) => clockText(wallMs) },
      { title: 'kind', text: ({ kind }) => kind },
      { title: 'what and why', text: ({ text }) => text, wide: true },
    ],
    { keyOf: ({ seq }) => String(seq) },
  )

  /**
   * @param {readonly JournalEntry[]} entries oldest first
   * @param {boolean} isFresh
   */
  take(entries, isFresh) {
    if (isFresh) this.#entries = []
    this.#entries.unshift(...entries.toReversed())
    this.#entries.length = Math.min(this.#entries.length, MOST_DECISIONS)
  }

  /** @param {(entry: JournalEntry) => boolean} passes */
  show(passes) {
    this.#table.show(this.#entries.filter(passes))
  }
}

const MOST_DECISIONS = 200

/** How old what is shown is, in words that say what to do. @param {import('./feed.js').FeedState} state */
export function feedText(state) {
  switch (state.is) {
    case 'live':
      return 'Live: asked every second.'
    case 'paused':
      return 'Paused: what is shown stands still.'
    case 'stale':
      return `STALE: the agent answers, but its last tick was ${spanText(state.ageMs)} ago. What is shown is that old; see /livez and the log.`
    case 'gone':
      return (
        `NO ANSWER from the agent since ${clockText(state.sinceMs)} (${countText(state.tries, 'try').replace('trys', 'tries')}: ${state.why}). ` +
        'What is shown is from then; it is asked again by itself.'
      )
  }
}
