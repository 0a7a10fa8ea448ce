/** The status page: puts what the feed brings into its parts, and lets a reader filter, pause and ask why. */
import { Charts } from './charts.js'
import { byId, make, setAttribute, setText } from './dom.js'
import { explain, Feed } from './feed.js'
import { countText, parseCpus } from './format.js'
import { CpuMap } from './map.js'
import { Classes, Decisions, feedText, Ladders, Numbers, Pods } from './tables.js'

/** @typedef {import('../../record/index.ts').Status} Status */
/** @typedef {NonNullable<Status['pods']>[number]} Pod */

const CLASSES = ['LSX', 'LSR', 'LS', 'BE', 'OT', 'SYSTEM', 'UNTAGGED']

const filterText = /** @type {HTMLInputElement} */ (byId('filter-text'))
const filterClass = /** @type {HTMLSelectElement} */ (byId('filter-class'))
const filterSqueezed = /** @type {HTMLInputElement} */ (byId('filter-squeezed'))
const moves = /** @type {HTMLInputElement} */ (byId('moves'))
const pauseButton = byId('pause')
const parts = {
  numbers: new Numbers(),
  ladders: new Ladders(),
  charts: new Charts(),
  map: new CpuMap((cpu) => void why(`cpu/${cpu}`)),
  classes: new Classes(),
  pods: new Pods((pod) => void why(`pod/${pod}`)),
  decisions: new Decisions(),
}
/** @type {Status | undefined} */
let status

const feed = new Feed(
  (round) => {
    performance.mark('update')
    status = round.status
    parts.decisions.take(round.journal.entries, round.isFresh)
    parts.charts.show(round.history, round.isFresh)
    show()
    performance.clearMeasures('update')
    performance.measure('update', 'update')
    performance.clearMarks('update')
  },
  (state) => {
    setText(byId('feed'), feedText(state))
    setAttribute(document.body, 'data-feed', state.is)
  },
)

function show() {
  if (status === undefined) return
  const main = byId('main')
  main.hidden = false
  setText(byId('brief'), briefOf(status))
  setAttribute(byId('brief'), 'data-worst', status.problems.some(({ severity }) => severity === 'error') ? 'error' : 'none')
  parts.numbers.show(status)
  parts.ladders.show(status)
  parts.classes.show(status)
  parts.map.show(status)
  filter()
  // Last: whoever reads this number finds the rest of the page in step with it.
  setAttribute(main, 'data-seq', String(status.lastTick?.seq ?? 0))
}

/** @param {Status} status */
function briefOf({ problems, mode, lastTick, version, podSource }) {
  const errors = problems.filter(({ severity }) => severity === 'error').length
  const word = errors > 0 ? countText(errors, 'error') : lastTick === undefined ? 'starting' : 'OK'
  const warnings = problems.length - errors
  return (
    `${word}${warnings === 0 ? '' : `, ${countText(warnings, 'warning')}`}; mode ${mode ?? 'unknown'}, ` +
    `${countText(podSource?.pods ?? 0, 'pod')}, version ${version}`
  )
}

/** Applies the filter to pods, CPUs and decisions. */
function filter() {
  const { pods = [], classes = [] } = status ?? {}
  const words = filterText.value.trim().toLowerCase()
  const qosClass = filterClass.value
  const isSet = words !== '' || qosClass !== '' || filterSqueezed.checked
  const matching = pods.filter((pod) => passes(pod, words, qosClass))
  parts.pods.show(matching)
  setText(byId('filter-count'), isSet ? `${matching.length} of ${countText(pods.length, 'pod')}` : countText(pods.length, 'pod'))
  const classCpus = new Map(classes.map((each) => [each.qosClass, each.cpus]))
  const lists = new Set(matching.map((pod) => pod.cpus ?? classCpus.get(pod.qosClass)))
  parts.map.match(isSet ? new Set([...lists].flatMap((list) => [...parseCpus(list)])) : undefined)
  const names = new Set(matching.map(({ pod }) => pod))
  parts.decisions.show(({ pod, text }) => {
    if (pod !== undefined && (qosClass !== '' || filterSqueezed.checked) && !names.has(pod)) return false
    return words === '' || text.toLowerCase().includes(words)
  })
}

/**
 * @param {Pod} pod
 * @param {string} words
 * @param {string} qosClass
 */
function passes({ pod, why: reason, qosClass: its, state }, words, qosClass) {
  if (qosClass !== '' && its !== qosClass) return false
  if (filterSqueezed.checked && state === 'fine') return false
  return words === '' || `${pod} ${reason}`.toLowerCase().includes(words)
}

/** What was asked last: an answer that comes late is not shown under the title of another question. */
let asked = ''

/** Opens the answer to "why" over the page. @param {string} subject */
async function why(subject) {
  asked = subject
  const dialog = /** @type {HTMLDialogElement} */ (byId('explain'))
  setText(byId('explain-title'), `Why: ${subject.replace('/', ' ')}`)
  setText(byId('explain-text'), 'asking …')
  if (!dialog.open) dialog.showModal()
  const answer = await explain(subject)
  if (asked === subject) setText(byId('explain-text'), answer)
}

for (const qosClass of CLASSES) filterClass.append(make('option', { value: qosClass }, [qosClass]))
for (const control of [filterText, filterClass, filterSqueezed]) control.addEventListener('input', filter)
byId('filter').addEventListener('submit', (event) => event.preventDefault())
moves.addEventListener('change', () => feed.showMoves(moves.checked))
pauseButton.hidden = false
pauseButton.addEventListener('click', () => {
  const isPaused = pauseButton.getAttribute('aria-pressed') !== 'true'
  setAttribute(pauseButton, 'aria-pressed', String(isPaused))
  feed.pause(isPaused)
})
feed.start()
