/**
 * Asks the agent every second for how things stand, for the seconds since, and for the decisions since; tells plainly when no answer comes.
 * It rests while nobody looks (a hidden tab, or the button), and asks less often while the agent is away.
 */

/** @typedef {import('../../record/index.ts').Status} Status */
/** @typedef {import('../../record/index.ts').HistoryPage} HistoryPage */
/** @typedef {import('../../record/index.ts').JournalPage} JournalPage */
/** @typedef {{ status: Status, history: HistoryPage, journal: JournalPage, isFresh: boolean, run: string }} Round what one round of questions brought; isFresh when nothing that came before it counts any more */
/** @typedef {{ is: 'live' } | { is: 'paused' } | { is: 'stale', ageMs: number } | { is: 'gone', sinceMs: number, tries: number, why: string }} FeedState */

const EVERY_MS = 1000
const SLOWEST_MS = 10_000
const TIMEOUT_MS = 5000
/** From when on /livez fails: numbers that are older are not how things stand. */
const STALE_MS = Number(document.body.dataset['staleMs'])
const JOURNAL_ENTRIES = 100

export class Feed {
  #onRound
  #onState
  #isPaused = false
  #isAsking = false
  #moves = false
  #tries = 0
  #answeredMs = Date.now()
  /** @type {string | undefined} which run of the agent the numbers below belong to, and with which decisions */
  #run
  /** @type {number | undefined} */
  #historyNext
  /** @type {number | undefined} */
  #journalNext
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer

  /**
   * @param {(round: Round) => void} onRound
   * @param {(state: FeedState) => void} onState
   */
  constructor(onRound, onState) {
    this.#onRound = onRound
    this.#onState = onState
    document.addEventListener('visibilitychange', () => this.#wake())
  }

  start() {
    this.#wake()
  }

  /** @param {boolean} isPaused */
  pause(isPaused) {
    this.#isPaused = isPaused
    if (isPaused) this.#onState({ is: 'paused' })
    this.#wake()
  }

  /** Whether the decisions are to have the moves of the allowance among them. @param {boolean} moves */
  showMoves(moves) {
    this.#moves = moves
    this.#wake()
  }

  #wake() {
    clearTimeout(this.#timer)
    if (!this.#isPaused && !document.hidden && !this.#isAsking) void this.#ask()
  }

  async #ask() {
    this.#isAsking = true
    const beganMs = performance.now()
    /** @type {Round | undefined} */
    let round
    try {
      round = await this.#round()
      this.#tries = 0
      this.#answeredMs = Date.now()
    } catch (thrown) {
      this.#tries += 1
      const why = thrown instanceof Error ? thrown.message : String(thrown)
      if (!this.#isPaused) this.#onState({ is: 'gone', sinceMs: this.#answeredMs, tries: this.#tries, why })
    }
    this.#isAsking = false
    if (this.#isPaused || document.hidden) return
    const pauseMs = Math.min(SLOWEST_MS, EVERY_MS * 2 ** Math.max(0, this.#tries - 1))
    this.#timer = setTimeout(() => this.#wake(), Math.max(50, pauseMs - (performance.now() - beganMs)))
    if (round === undefined) return
    // Only of a round that is shown: one that is not brings its decisions with the next.
    const { status, history, journal } = round
    ;[this.#run, this.#historyNext, this.#journalNext] = [round.run, history.next, journal.next]
    // A fault of the page from here on is not taken for the agent's silence.
    const ageMs = status.lastTick?.ageMs ?? status.uptimeMs
    this.#onState(ageMs > STALE_MS ? { is: 'stale', ageMs } : { is: 'live' })
    this.#onRound(round)
  }

  /** @returns {Promise<Round>} */
  async #round() {
    /** @type {Status} */
    const status = await get('statusz?format=json&compact')
    const run = `${status.pid} ${status.startedWallMs} ${this.#moves}`
    const isFresh = run !== this.#run
    if (isFresh) [this.#historyNext, this.#journalNext] = [undefined, undefined]
    const since = (/** @type {number | undefined} */ next) => (next === undefined ? '' : `&since=${next}`)
    const news = this.#moves ? '' : '&news'
    /** @type {[HistoryPage, JournalPage]} */
    const [history, journal] = await Promise.all([
      get(`history?${since(this.#historyNext)}`),
      get(`journal?limit=${JOURNAL_ENTRIES}${news}${since(this.#journalNext)}`),
    ])
    return { status, history, journal, isFresh, run }
  }
}

/**
 * @param {string} path relative, so that a proxy may serve the page under a path of its own
 * @returns {Promise<any>}
 */
async function get(path) {
  const response = await fetch(path, { headers: { accept: 'application/json' }, signal: AbortSignal.timeout(TIMEOUT_MS) })
  if (!response.ok) throw new Error(`it answered ${response.status}`)
  return response.json()
}

/**
 * Why, in the words of the page /explain.
 * @param {string} subject
 * @returns {Promise<string>}
 */
export async function explain(subject) {
  try {
    const path = `explain?subject=${encodeURIComponent(subject)}&format=text`
    return await (await fetch(path, { signal: AbortSignal.timeout(TIMEOUT_MS) })).text()
  } catch {
    return 'The agent does not answer.'
  }
}
