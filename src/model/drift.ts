/**
 * Drift: a knob that held what the agent had written, and was written by somebody else. It is repaired like any difference; but two writers
 * that undo each other for ever help nobody, so past a bound the agent leaves the knob to the other one for a while.
 */
import type { GroupPath } from './groups.ts'
import { formatKnobValue, type KnobKind, type KnobSetting, type KnobValue, type ReadonlyKnobTable } from './knob.ts'

/** What is known of others' writes to one knob. Times are monotonic. */
export interface KnobDrift {
  readonly group: GroupPath
  readonly kind: KnobKind
  /** Times it was found written by somebody else, since the agent started. */
  readonly count: number
  readonly lastMs: number
  /** What was found last. */
  readonly found: KnobValue
  /** What the agent had written before that. */
  readonly ours: KnobValue
  /** The agent leaves the knob alone until then. */
  readonly concededUntilMs?: number
  /** Past the bound, but it is suppression itself, so it goes on being repaired. */
  readonly contested?: true
  /** Nobody was seen to write: what the agent wrote did not last until it was read back. */
  readonly unheld?: true
}

/** A reading that is another than the one before it, and not because the agent wrote. */
export interface KnobChange {
  readonly group: GroupPath
  readonly kind: KnobKind
  readonly was: KnobValue
  readonly value: KnobValue
}

/** first: after a quiet time. conceded: left to the other writer. contested: past the bound and repaired all the same. retried: taken up again. */
export const DRIFT_EVENTS = ['first', 'conceded', 'contested', 'retried'] as const

export interface DriftNews {
  readonly is: (typeof DRIFT_EVENTS)[number]
  readonly drift: KnobDrift
}

/** How drift stands after a tick. */
export interface DriftView {
  /** Of knobs that are still there, bounded in number. */
  readonly knobs: ReadonlyKnobTable<KnobDrift>
  /** What was found on this tick, by kind of knob. */
  readonly found: Readonly<Partial<Record<KnobKind, number>>>
  /** Of this tick. */
  readonly news: readonly DriftNews[]
}

/** The reason and message of an event about the node. Without the value found, which may change every time: the same event is counted. */
export function driftEventText({
  is,
  drift: { group, kind, unheld },
}: DriftNews): { readonly reason: string; readonly message: string } | undefined {
  const knob = `${kind} of the cgroup ${group}`
  const who = unheld === true ? `What is written to ${knob} does not last` : `Something else keeps writing ${knob}`
  if (is === 'conceded')
    return {
      reason: 'KnobConceded',
      message: `${who}; kube-agent leaves it alone for a while (drift.concedeMs), then tries again`,
    }
  if (is === 'contested')
    return { reason: 'KnobContested', message: `${who}, which holds offline work down; kube-agent goes on repairing it` }
  return undefined
}

/** One piece of news as a sentence. */
export function driftText({ is, drift }: DriftNews): string {
  const { group, kind, found, ours, unheld } = drift
  const value = (of: KnobValue): string => formatKnobValue({ kind, value: of } as KnobSetting)
  const knob = `${kind} of ${group}`
  switch (is) {
    case 'first':
      return `${knob} was written by somebody else: ${value(found)}, where the agent had written ${value(ours)}`
    case 'conceded':
      return `${knob} is conceded: ${unheld === true ? 'it does not keep what is written' : 'somebody else keeps writing it'}, last ${value(found)} over ${value(ours)}`
    case 'contested':
      return `${knob} is contested: ${unheld === true ? 'it does not keep what is written' : 'somebody else keeps writing it'}, last ${value(found)} over ${value(ours)}; it is suppression, so it is repaired all the same`
    case 'retried':
      return `${knob} was left alone for long enough: what is wanted of it is written again`
  }
}
