/**
 * How each part of the agent's work goes that is done again and again: a source that is read, a rule that is decided, a sink that is written
 * to. Whoever does the work keeps a Run of it; the record shows them all in one table, and counts them in one way.
 * Source: the controllers table of cilium's status, and the scrape series of node_exporter, for what is worth telling.
 */
import { oneLine } from './errors.ts'

/** What parts there are: where readings come from, what is decided, and where the agent tells and keeps what it did. */
export const RUN_KINDS = ['source', 'rule', 'sink'] as const
export type RunKind = (typeof RUN_KINDS)[number]

/** What a tick reads, in its order; what is asked beside the loop (`pod_resources`) keeps a Run of its own. */
export const SOURCES = [
  'node_cpu',
  'offline_cpu',
  'online_cpu',
  'pods',
  'pod_groups',
  'devices',
  'topology',
  'online_pressure',
  'memory',
  'cpu_pressure',
  'memory_pressure',
  'io_pressure',
  'run_queue',
  'knobs',
] as const
export type SourceName = (typeof SOURCES)[number]

/** An error is kept up to so many characters. */
const MOST_CHARS = 300

/** How a part goes. Times are monotonic, in ms. */
export interface RunState {
  /** From a closed list: it is a label of metrics. */
  readonly name: string
  /** When it last went well; undefined until it has. */
  readonly lastOkMs: number | undefined
  /** When and why it last failed, also after it went well again; one line without control characters. */
  readonly lastFailedMs: number | undefined
  readonly lastError: string | undefined
  /** Since the start, and since it last went well. */
  readonly failures: number
  readonly failuresInARow: number
  /** How long it took when it was last measured, in ms; undefined until it was. */
  readonly tookMs: number | undefined
}

/** Whether a part does not go well now; one that was never done does. */
export function isFailing({ failuresInARow }: RunState): boolean {
  return failuresInARow > 0
}

/** The book of one part. */
export class Run implements RunState {
  readonly name: string
  lastOkMs: number | undefined
  lastFailedMs: number | undefined
  lastError: string | undefined
  failures = 0
  failuresInARow = 0
  tookMs: number | undefined

  constructor(name: string) {
    this.name = name
  }

  /** It went well at `atMs`. Without `tookMs` the time it took before stands. */
  ok(atMs: number, tookMs?: number): void {
    this.lastOkMs = atMs
    this.failuresInARow = 0
    if (tookMs !== undefined) this.tookMs = tookMs
  }

  failed(why: string, atMs: number, tookMs?: number): void {
    this.lastFailedMs = atMs
    this.lastError = oneLine(why, MOST_CHARS)
    this.failures += 1
    this.failuresInARow += 1
    if (tookMs !== undefined) this.tookMs = tookMs
  }

  /** It is not done any more, or not yet: neither well nor failing. What was counted stands. */
  off(): void {
    this.lastOkMs = undefined
    this.failuresInARow = 0
    this.tookMs = undefined
  }
}

/**
 * The parts that one tick does one after the other, each in its own time. Entering one ends the one before it, so a part that throws is the
 * one that was entered last. The clock is only read on ticks that are timed: a hot one pays for a few assignments.
 */
export class RunClock<Name extends string> {
  readonly #runs: ReadonlyMap<Name, Run>
  readonly #stopwatch: (() => number) | undefined
  #current: Run | undefined
  #isTimed = false
  #sinceMs = 0

  /** `stopwatch` gives monotonic ms; without one nothing is timed. */
  constructor(names: readonly Name[], stopwatch?: () => number) {
    this.#runs = new Map(names.map((name) => [name, new Run(name)]))
    this.#stopwatch = stopwatch
  }

  get runs(): Iterable<Run> {
    return this.#runs.values()
  }

  of(name: Name): Run {
    const run = this.#runs.get(name)
    if (run === undefined) throw new RangeError(`no part ${name}`)
    return run
  }

  /** A tick begins; what a part takes is summed up over it. */
  begin(isTimed: boolean): void {
    this.#isTimed = isTimed
    this.#current = undefined
    if (isTimed) for (const run of this.#runs.values()) if (run.tookMs !== undefined) run.tookMs = 0
  }

  enter(name: Name): void {
    this.#close()
    this.#current = this.#runs.get(name)
  }

  /** Comes back to the tick that has ended before, for one part more. */
  resume(name: Name, isTimed: boolean): void {
    this.#isTimed = isTimed
    this.enter(name)
  }

  /** What was entered last has ended, and nothing is timed from here on. */
  end(): void {
    this.#close()
    this.#current = undefined
    this.#isTimed = false
  }

  /** The tick has thrown. Whether it was within one of these parts, which is then to blame. */
  threw(why: string, atMs: number): boolean {
    const culprit = this.#current
    this.end()
    culprit?.failed(why, atMs)
    return culprit !== undefined
  }

  #close(): void {
    if (!this.#isTimed || this.#stopwatch === undefined) return
    const nowMs = this.#stopwatch()
    if (this.#current !== undefined) this.#current.tookMs = (this.#current.tookMs ?? 0) + Math.max(0, nowMs - this.#sinceMs)
    this.#sinceMs = nowMs
  }
}
