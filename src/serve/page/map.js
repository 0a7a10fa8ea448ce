/**
 * The CPU map: a cell for each thread, threads of a core side by side, a block for each NUMA node of each socket. To assistive technology it
 * is a list box in which the arrow keys walk; the table under it says the same in words. Cells are made once for a machine and then only
 * change their letter, so that 512 of them cost next to nothing every second.
 */
import { countText, parseCpus } from './format.js'
import { byId, KeyedList, make, setAttribute, setText } from './dom.js'

/** @typedef {import('../../record/index.ts').Status} Status */
/** @typedef {{ cpu: number, core: number, socket: number, node: number, cell: HTMLElement }} Place */

/** Names in a sentence before it says how many more there are. */
const NAMED_PODS = 6

export class CpuMap {
  #box = byId('map')
  #note = byId('map-note')
  #detail = byId('map-detail')
  #legend = legendTable('legend', ['mark', 'whose', 'CPUs', 'which'], 'The map in words')
  #own = legendTable('own', ['class', 'pod', 'CPUs', 'which'], 'CPUs that pods have for themselves')
  /** @type {Map<number, Place>} in the order of the cores */
  #places = new Map()
  #shape = ''
  /** @type {Status | undefined} */
  #status
  /** @type {number | undefined} */
  #chosen
  /** @type {ReadonlySet<number> | undefined} */
  #matching

  /** @param {(cpu: number) => void} onExplain */
  constructor(onExplain) {
    this.#box.addEventListener('pointerover', (event) => this.#point(event))
    this.#box.addEventListener('click', (event) => {
      this.#point(event)
      if (this.#chosen !== undefined) onExplain(this.#chosen)
    })
    this.#box.addEventListener('focus', () => this.#choose(this.#chosen ?? this.#places.keys().next().value))
    this.#box.addEventListener('keydown', (event) => {
      if (event.key === 'Enter' && this.#chosen !== undefined) onExplain(this.#chosen)
      else if (!this.#move(event.key)) return
      event.preventDefault()
    })
  }

  /** @param {Status} status */
  show(status) {
    this.#status = status
    const { cpuMap = [], cpuLegend = {}, cpuMapNote } = status
    this.#note.hidden = cpuMapNote === undefined
    setText(this.#note, cpuMapNote === undefined ? '' : `Now ${cpuMapNote}.`)
    const shape = JSON.stringify(cpuMap.map(({ socket, node, cpus }) => [socket, node, cpus]))
    if (shape !== this.#shape) this.#build(cpuMap, shape)
    for (const { cores, cpus } of cpuMap) {
      for (const [at, letters] of cores.entries())
        for (const [thread, cpu] of (cpus[at] ?? []).entries()) this.#mark(cpu, letters[thread] ?? '.', cpuLegend)
    }
    this.#legend.show(legendOf(status), ({ key }) => key)
    const own = ownOf(status)
    this.#own.show(own, ({ key }) => key)
    setText(byId('own-title'), `${countText(own.length, 'pod')} with CPUs of their own`)
    this.#tell()
  }

  /** Fades all CPUs but these; none when undefined. @param {ReadonlySet<number> | undefined} matching */
  match(matching) {
    this.#matching = matching
    for (const [cpu, { cell }] of this.#places) {
      setAttribute(cell, 'data-match', matching === undefined ? undefined : matching.has(cpu) ? 'yes' : 'no')
    }
  }

  /**
   * @param {NonNullable<Status['cpuMap']>} parts
   * @param {string} shape
   */
  #build(parts, shape) {
    this.#shape = shape
    this.#places.clear()
    const blocks = parts.map(({ socket, node, core: first, cpus }) => {
      const title = `socket ${socket}, NUMA node ${node}`
      const cores = cpus.map((threads, at) => {
        const cells = threads.map((cpu) => {
          const cell = make('span', { role: 'option', id: `cpu-${cpu}`, 'aria-selected': 'false', 'data-cpu': String(cpu) })
          this.#places.set(cpu, { cpu, core: first + at, socket, node, cell })
          return cell
        })
        return make('span', { role: 'presentation', class: 'core' }, cells)
      })
      const name = make('span', { role: 'presentation', class: 'block-title', 'aria-hidden': 'true' }, [title])
      return make('div', { role: 'group', class: 'block', 'aria-label': title }, [name, ...cores])
    })
    this.#box.replaceChildren(...blocks)
    if (this.#chosen !== undefined && !this.#places.has(this.#chosen)) this.#chosen = undefined
    this.match(this.#matching)
  }

  /**
   * @param {number} cpu
   * @param {string} letter
   * @param {Readonly<Record<string, string>>} legend
   */
  #mark(cpu, letter, legend) {
    const cell = this.#places.get(cpu)?.cell
    if (cell === undefined || cell.textContent === letter) return
    setText(cell, letter)
    setAttribute(cell, 'data-letter', letter)
    setAttribute(cell, 'aria-label', `CPU ${cpu}: ${legend[letter] ?? letter}`)
  }

  /** @param {Event} event */
  #point(event) {
    const cell = event.target instanceof Element ? event.target.closest('[data-cpu]') : null
    if (cell instanceof HTMLElement) this.#choose(Number(cell.dataset['cpu']))
  }

  /** @param {string} key @returns {boolean} whether the key means something here */
  #move(key) {
    const places = [...this.#places.values()]
    const at = places.findIndex(({ cpu }) => cpu === this.#chosen)
    const here = places[at]?.cell
    if (key === 'Home') this.#choose(places[0]?.cpu)
    else if (key === 'End') this.#choose(places.at(-1)?.cpu)
    else if (key === 'ArrowRight') this.#choose(places[Math.min(places.length - 1, at + 1)]?.cpu)
    else if (key === 'ArrowLeft') this.#choose(places[Math.max(0, at - 1)]?.cpu)
    else if ((key === 'ArrowDown' || key === 'ArrowUp') && here !== undefined) {
      const way = key === 'ArrowDown' ? 1 : -1
      this.#choose(nearest(places, here.getBoundingClientRect(), way)?.cpu)
    } else return false
    return true
  }

  /** @param {number | undefined} cpu */
  #choose(cpu) {
    const place = cpu === undefined ? undefined : this.#places.get(cpu)
    if (place === undefined) return
    if (this.#chosen !== undefined) setAttribute(this.#places.get(this.#chosen)?.cell ?? place.cell, 'aria-selected', 'false')
    this.#chosen = place.cpu
    setAttribute(place.cell, 'aria-selected', 'true')
    setAttribute(this.#box, 'aria-activedescendant', place.cell.id)
    place.cell.scrollIntoView({ block: 'nearest' })
    this.#tell()
  }

  #tell() {
    const place = this.#chosen === undefined ? undefined : this.#places.get(this.#chosen)
    if (place !== undefined && this.#status !== undefined) setText(this.#detail, detailOf(place, this.#status))
  }
}

/** @typedef {{ key: string, mark: string, whose: string, cpus: string, count: number }} LegendRow */

/** @param {Status} status @returns {LegendRow[]} */
function legendOf({ cpuMap = [], cpuLegend = {} }) {
  /** @type {Map<string, number[]>} */
  const byLetter = new Map()
  for (const { cores, cpus } of cpuMap) {
    for (const [at, letters] of cores.entries()) {
      for (const [thread, cpu] of (cpus[at] ?? []).entries()) {
        const letter = letters[thread] ?? '.'
        const known = byLetter.get(letter)
        if (known === undefined) byLetter.set(letter, [cpu])
        else known.push(cpu)
      }
    }
  }
  return Object.entries(cpuLegend).flatMap(([mark, whose]) => {
    const cpus = byLetter.get(mark)
    return cpus === undefined ? [] : [{ key: mark, mark, whose, count: cpus.length, cpus: listText(cpus) }]
  })
}

/** @param {Status} status @returns {LegendRow[]} */
function ownOf({ placement }) {
  return (placement?.own ?? []).map(({ pod, qosClass, cpus, shared, narrowedTo }) => {
    const now = narrowedTo === undefined ? '' : `, now narrowed to ${spread(narrowedTo)}`
    const which = `${spread(cpus)}${now}${shared === '' ? '' : `; offline pods share ${spread(shared)}`}`
    return { key: `${qosClass} ${pod}`, mark: qosClass, whose: pod, count: parseCpus(cpus).size, cpus: which }
  })
}

/** With room to break lines in. @param {string} cpus */
function spread(cpus) {
  return cpus.replaceAll(',', ', ')
}

/** A kernel list with room to break lines in. @param {number[]} cpus */
function listText(cpus) {
  const sorted = cpus.sort((a, b) => a - b)
  /** @type {string[]} */
  const parts = []
  for (let at = 0; at < sorted.length;) {
    const first = sorted[at] ?? 0
    let last = first
    while (sorted[at + 1] === last + 1) [last, at] = [last + 1, at + 1]
    parts.push(first === last ? String(first) : `${first}-${last}`)
    at += 1
  }
  return parts.join(', ')
}

/**
 * @param {string} id
 * @param {readonly string[]} titles
 * @param {string} caption
 * @returns {KeyedList<LegendRow, HTMLTableRowElement>}
 */
function legendTable(id, titles, caption) {
  const body = make('tbody')
  const head = titles.map((title) => make('th', { scope: 'col' }, [title]))
  byId(id).append(make('caption', {}, [caption]), make('thead', {}, [make('tr', {}, head)]), body)
  return new KeyedList(body, legendRow, updateLegendRow)
}

/** @param {LegendRow} row */
function legendRow({ mark }) {
  const cell = make('span', mark.length > 1 ? {} : { class: 'mark', 'data-letter': mark }, [mark])
  return make('tr', {}, [make('td', {}, [cell]), make('th', { scope: 'row' }), make('td', { class: 'number' }), make('td')])
}

/** @param {HTMLTableRowElement} element @param {LegendRow} row */
function updateLegendRow({ cells }, { whose, count, cpus }) {
  for (const [at, text] of [whose, String(count), cpus].entries()) {
    const cell = cells[at + 1]
    if (cell !== undefined) setText(cell, text)
  }
}

/**
 * Who is on a CPU, in a sentence.
 * @param {Place} place
 * @param {Status} status
 */
function detailOf({ cpu, core, socket, node, cell }, { cpuLegend = {}, placement, pods = [], classes = [] }) {
  const own = (placement?.own ?? []).find(({ cpus }) => parseCpus(cpus).has(cpu))
  const classCpus = new Map(classes.map(({ qosClass, cpus }) => [qosClass, cpus]))
  const here = pods.filter((pod) => parseCpus(pod.cpus ?? classCpus.get(pod.qosClass)).has(cpu))
  /** @type {Map<string, string[]>} */
  const byClass = new Map()
  for (const { qosClass, pod } of here) {
    const known = byClass.get(qosClass)
    if (known === undefined) byClass.set(qosClass, [pod])
    else known.push(pod)
  }
  const who = [...byClass].map(([qosClass, names]) => {
    const more = names.length > NAMED_PODS ? ` and ${names.length - NAMED_PODS} more` : ''
    return `${countText(names.length, `${qosClass} pod`)} (${names.slice(0, NAMED_PODS).join(', ')}${more})`
  })
  const letter = cell.textContent ?? ''
  return (
    `CPU ${cpu}, core ${core}, NUMA node ${node}, socket ${socket}: ${cpuLegend[letter] ?? letter}` +
    `${own === undefined ? '' : `; of ${own.qosClass} pod ${own.pod}`}; ${who.length === 0 ? 'no pod may run there' : `may run there: ${who.join(', ')}`}.`
  )
}

/**
 * The cell in the row above (-1) or below (1) that is nearest to where one stands.
 * @param {readonly Place[]} places
 * @param {DOMRect} here
 * @param {1 | -1} way
 */
function nearest(places, here, way) {
  let best
  let least = Infinity
  for (const place of places) {
    const { top, left } = place.cell.getBoundingClientRect()
    const down = (top - here.top) * way
    // Rows first: any cell of the next row is nearer than one of the row after it.
    const distance = down * 1000 + Math.abs(left - here.left)
    if (down > 1 && distance < least) [best, least] = [place, distance]
  }
  return best
}
