/** The live view at work: asks the agent again and again, takes keys, and draws when either has news. */
import { EXIT, messageOf, type ExitCode } from '../../model/index.ts'
import type { Status } from '../../record/index.ts'
import { colours } from '../colour.ts'
import { pause } from '../demo/pause.ts'
import { press, START, type Key, type TopState } from './state.ts'
import { openTerminal, type Terminal } from './terminal.ts'
import { pageRowsOf, topLines, type TopView } from './view.ts'

export interface LiveOptions {
  /** The first answer, so that an agent that is not there is told of before the screen is taken. */
  readonly first: Status
  readonly fetchStatus: (signal: AbortSignal) => Promise<Status>
  readonly intervalMs: number
  readonly staleMs: number
  /** Monotonic milliseconds. */
  readonly now: () => number
}

/** Ages on the screen grow also while nothing answers. */
const REDRAW_MS = 1000

/** Shows the agent until somebody ends it. */
export async function live({ first, fetchStatus, intervalMs, staleMs, now }: LiveOptions): Promise<ExitCode> {
  const ended = new AbortController()
  const shown = new Shown(first, staleMs, now)
  const terminal: Terminal = openTerminal(process.stdin, process.stdout, {
    onKey: (key) => {
      const wish = shown.press(key, terminal.size())
      if (wish === 'quit') return ended.abort()
      if (wish === 'suspend') return terminal.suspend()
      if (wish === 'redraw') terminal.screen.spoil()
      draw()
    },
    onDraw: () => draw(),
    onEnd: () => ended.abort(),
  })
  const draw = (): void => terminal.screen.draw(shown.lines(terminal.size()))
  const redrawing = setInterval(draw, REDRAW_MS)
  try {
    draw()
    while (!ended.signal.aborted) {
      await pause(intervalMs, ended.signal)
      if (shown.paused || ended.signal.aborted) continue
      await fetchStatus(ended.signal).then(
        (status) => shown.take(status),
        (thrown: unknown) => shown.fail(messageOf(thrown)),
      )
      // Not the question that was given up in order to end.
      if (!ended.signal.aborted) draw()
    }
    return EXIT.ok
  } finally {
    clearInterval(redrawing)
    terminal.close()
  }
}

interface Size {
  readonly columns: number
  readonly rows: number
}

/** What is on the screen: the last answer, how old it is, and what the keyboard has made of it. */
class Shown {
  readonly #staleMs: number
  readonly #now: () => number
  readonly #colours = colours(process.stdout)
  #status: Status
  #atMs: number
  #trouble: string | undefined
  #state: TopState = START
  #pausedMs: number | undefined

  constructor(status: Status, staleMs: number, now: () => number) {
    this.#status = status
    this.#staleMs = staleMs
    this.#now = now
    this.#atMs = now()
  }

  get paused(): boolean {
    return this.#state.paused
  }

  /** Takes an answer; not one that was asked for before somebody paused. */
  take(status: Status): void {
    if (this.#state.paused) return
    this.#status = status
    this.#atMs = this.#now()
    this.#trouble = undefined
  }

  fail(trouble: string): void {
    if (!this.#state.paused) this.#trouble = trouble
  }

  /** Takes a key, and gives what is left for the terminal to do. */
  press(key: Key, size: Size): 'quit' | 'suspend' | 'redraw' | undefined {
    const pods = this.#status.pods ?? []
    const next = press(this.#state, key, { pods, pageRows: pageRowsOf(this.#view(size)) })
    if (typeof next === 'string') return next
    if (next.paused !== this.#state.paused) this.#pausedMs = next.paused ? this.#now() : undefined
    this.#state = next
    return undefined
  }

  lines(size: Size): readonly string[] {
    return topLines(this.#view(size))
  }

  #view(size: Size): TopView {
    return {
      status: this.#status,
      // Ages stand still with the picture.
      sinceMs: (this.#pausedMs ?? this.#now()) - this.#atMs,
      trouble: this.#trouble,
      state: this.#state,
      ...size,
      staleMs: this.#staleMs,
      colours: this.#colours,
    }
  }
}
