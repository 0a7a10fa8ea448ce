/** How each source, rule and sink goes, for people: all of them as data, in text only those that fail or are slow. */
import { isFailing, type RunKind, type RunState, RUN_KINDS } from '../../model/index.ts'
import { count, formatDuration, labelled } from '../layout.ts'

export interface RunStatus {
  readonly kind: RunKind
  readonly name: string
  /** idle: it was not done yet, or is switched off. */
  readonly is: 'works' | 'idle' | 'fails'
  /** It took longer than is good for the tick that waits for it, or for a sink than an answer should. */
  readonly slow: boolean
  readonly tookMs?: number
  readonly lastOkAgeMs?: number
  readonly lastErrorAgeMs?: number
  /** Also when it has worked again since. */
  readonly lastError?: string
  /** Since the start, and since it last worked. */
  readonly failures: number
  readonly failuresInARow: number
}

/** From here on a part is slow, in ms. A source or rule longer than a hot pause makes the next tick late; a sink is not waited for. */
const SLOW_MS: Readonly<Record<RunKind, number>> = { source: 50, rule: 50, sink: 1000 }
const MOST_LINES = 12

/** The parts at `nowMs`. */
export function runStatuses(runs: readonly (readonly [RunKind, RunState])[], nowMs: number): readonly RunStatus[] {
  const ageOf = (atMs: number): number => Math.max(0, Math.round(nowMs - atMs))
  return runs.map(([kind, run]) => {
    const { name, failures, failuresInARow, tookMs, lastOkMs, lastFailedMs, lastError } = run
    return {
      kind,
      name,
      is: isFailing(run) ? 'fails' : lastOkMs === undefined ? 'idle' : 'works',
      slow: tookMs !== undefined && tookMs >= SLOW_MS[kind],
      ...(tookMs === undefined ? {} : { tookMs: Math.round(tookMs * 1000) / 1000 }),
      ...(lastOkMs === undefined ? {} : { lastOkAgeMs: ageOf(lastOkMs) }),
      ...(lastFailedMs === undefined ? {} : { lastErrorAgeMs: ageOf(lastFailedMs) }),
      ...(lastError === undefined ? {} : { lastError }),
      failures,
      failuresInARow,
    }
  })
}

/** One line that counts them, and one for each that fails or is slow; nothing where none is kept. */
export function renderRuns(runs: readonly RunStatus[], column: number): readonly string[] {
  if (runs.length === 0) return []
  const sums = RUN_KINDS.flatMap((kind) => {
    const ofKind = runs.filter((run) => run.kind === kind && run.is !== 'idle')
    const working = ofKind.filter(({ is }) => is === 'works').length
    if (ofKind.length === 0) return []
    return [working === ofKind.length ? count(working, kind) : `${working} of ${count(ofKind.length, kind)}`]
  })
  const odd = runs.filter(({ is, slow }) => is === 'fails' || slow)
  const more = odd.length - MOST_LINES
  return [
    ...labelled('parts', `${sums.length === 0 ? 'none' : sums.join(', ')} working`, column),
    ...odd.slice(0, MOST_LINES).flatMap((run) => labelled(`  ${run.kind}`, oddText(run), column)),
    ...(more > 0 ? [`  and ${more} more, all of them in the JSON form`] : []),
  ]
}

function oddText({ name, is, slow, tookMs, lastOkAgeMs, lastError, failures, failuresInARow }: RunStatus): string {
  const took = slow && tookMs !== undefined ? `slow, took ${formatDuration(tookMs)}` : ''
  if (is !== 'fails') return `${name} is ${took}`
  const all = failures === failuresInARow ? '' : `, ${failures} since the start`
  const last = lastOkAgeMs === undefined ? 'has not worked yet' : `last worked ${formatDuration(lastOkAgeMs)} ago`
  const slowness = took === '' ? '' : `; ${took}`
  return `${name} fails (${count(failuresInARow, 'time')} in a row${all}), ${last}: ${lastError ?? 'no reason given'}${slowness}`
}
