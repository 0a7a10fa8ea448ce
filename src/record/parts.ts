/**
 * How the parts of the agent's work go: the books of its sources, rules and sinks, as whoever does the work keeps them, and what of it has been
 * wrong for so long that somebody has to mend it. Looked into about once a second, and when somebody asks.
 */
import type { Instant, RunKind, RunState, Trouble } from '../model/index.ts'
import { RUN_KINDS } from '../model/index.ts'
import type { RunMetrics } from './metrics/runs.ts'
import { TroubleWatch, troublesOf, type TroubleView } from './trouble.ts'

/** As often as calm ticks come. */
const EVERY_MS = 1000

type Books = () => Iterable<RunState>

export class Parts {
  readonly #books: Readonly<Record<RunKind, Books[]>> = { source: [], rule: [], sink: [] }
  readonly #troubles: TroubleWatch
  #takenMs = -Infinity

  /** `startedMs`: when the agent started, monotonic. */
  constructor(startedMs: number) {
    this.#troubles = new TroubleWatch(startedMs)
  }

  /** `books` is called again each time that somebody looks. */
  watch(kind: RunKind, books: Books): void {
    this.#books[kind].push(books)
  }

  /** All, in the order in which work passes through them. */
  get all(): readonly (readonly [RunKind, RunState])[] {
    return RUN_KINDS.flatMap((kind) => this.#of(kind).map((run) => [kind, run] as const))
  }

  #of(kind: RunKind): readonly RunState[] {
    return this.#books[kind].flatMap((books) => [...books()])
  }

  /** What has been wrong for a minute and more, worst first; undefined while it is too early to tell. */
  troubles(view: Omit<TroubleView, 'runs'>, nowMs: number): readonly Trouble[] | undefined {
    this.#troubles.take(troublesOf({ ...view, runs: this.all }), nowMs)
    return this.#troubles.standing
  }

  /** Tells the metrics, when they were not told for a second. */
  tell(metrics: RunMetrics, view: Omit<TroubleView, 'runs'>, at: Instant): void {
    if (at.nowMs - this.#takenMs < EVERY_MS) return
    this.#takenMs = at.nowMs
    for (const kind of RUN_KINDS) metrics.take(kind, this.#of(kind), at)
    metrics.troubles(this.troubles(view, at.nowMs) ?? [])
  }
}
