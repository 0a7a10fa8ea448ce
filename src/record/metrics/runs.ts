/**
 * How each source, rule and sink goes, and what permanent trouble the node is in. Projected about once a second, and not on every hot tick:
 * some forty parts with a few series each would cost as much as the tick itself.
 */
import type { Instant, RunKind, RunState, Trouble } from '../../model/index.ts'
import { isFailing, TROUBLES } from '../../model/index.ts'
import type { Families } from './families.ts'
import type { Maker } from './maker.ts'

/** A part that was never done has no series but that of its failures. */
export function runFamilies(make: Maker) {
  const of = (kind: RunKind, done: string) => ({
    success: make.gauge<RunKind>(`${kind}_success`, `Whether it went well when the ${kind} was last ${done}: 1 or 0`, [kind]),
    duration: make.gauge<RunKind>(`${kind}_duration_seconds`, `How long it took when the ${kind} was last ${done}`, [kind]),
    lastSuccess: make.gauge<RunKind>(
      `${kind}_last_success_timestamp_seconds`,
      `Unix time at which the ${kind} was last ${done} and it went well`,
      [kind],
    ),
    failures: make.counter<RunKind>(`${kind}_failures_total`, `Times that the ${kind} could not be ${done}`, [kind]),
  })
  return {
    source: of('source', 'read'),
    rule: of('rule', 'decided'),
    sink: of('sink', 'written to'),
    degraded: make.gauge('degraded', 'Whether something has kept the agent from its work for a minute, by reason: 1 or 0', [
      'reason',
    ]),
  }
}

export class RunMetrics {
  readonly #families: Families
  readonly #counted: Readonly<Record<RunKind, Map<string, number>>> = { source: new Map(), rule: new Map(), sink: new Map() }

  constructor(families: Families) {
    this.#families = families
    // A series that first appears with its first trouble hides when it began.
    this.troubles([])
  }

  /** Takes how the parts of a kind go. */
  take(kind: RunKind, runs: Iterable<RunState>, { nowMs, wallMs }: Instant): void {
    const { success, duration, lastSuccess, failures } = this.#families.runs[kind]
    const counted = this.#counted[kind]
    for (const run of runs) {
      const labels: Partial<Record<RunKind, string>> = { [kind]: run.name }
      // A book that was begun anew must not fail the tick that tells of it.
      failures.inc(labels, Math.max(0, run.failures - (counted.get(run.name) ?? 0)))
      counted.set(run.name, run.failures)
      const isKnown = run.lastOkMs !== undefined || isFailing(run)
      if (isKnown) success.set(labels, isFailing(run) ? 0 : 1)
      else success.remove(labels)
      if (run.tookMs === undefined) duration.remove(labels)
      else duration.set(labels, Math.round(run.tookMs * 1000) / 1_000_000)
      if (run.lastOkMs === undefined) lastSuccess.remove(labels)
      else lastSuccess.set(labels, Math.round(wallMs - (nowMs - run.lastOkMs)) / 1000)
    }
  }

  /** Takes what permanent trouble there is. */
  troubles(troubles: readonly Trouble[]): void {
    for (const reason of TROUBLES) {
      const stands = troubles.some((trouble) => trouble.reason === reason)
      this.#families.runs.degraded.set({ reason }, stands ? 1 : 0)
    }
  }
}
