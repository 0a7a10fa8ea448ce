/** What somebody should look at, worst first by kind: what keeps the agent from its work, and what keeps it from doing all of it. */
import type { OutcomeKind, PodFinding, TickRecord } from '../../model/index.ts'
import { driftText, findingText, formatPermyriad, isSuccess, podKey } from '../../model/index.ts'
import { count, formatDuration } from '../layout.ts'
import { renderAbstention, renderOutcome, renderReleased, renderStep } from '../render.ts'
import { ladderProblems } from './ladders.ts'
import type { LoopStatus, StatusView } from './status.ts'

export interface StatusProblem {
  /** An error keeps the agent from doing its work; a warning keeps it from doing all of it. */
  readonly severity: 'error' | 'warning'
  readonly text: string
}

/** The problems at `nowMs`. */
export function problemsOf(view: StatusView, nowMs: number): readonly StatusProblem[] {
  const { loop, record, resources, writes, cluster, allocations, rejected } = view
  const problems: StatusProblem[] = []
  const add = (severity: StatusProblem['severity'], text: string) => problems.push({ severity, text })
  if (record === undefined) add('error', 'no tick has finished yet')
  if (loop.failingTicks > 0)
    add('error', `failing for ${count(loop.failingTicks, 'tick')}: ${loop.lastError ?? 'unknown reason'}`)
  for (const state of resources) {
    if (!state.registered)
      add('error', `${state.fullName} is not registered with the kubelet: ${state.lastError ?? 'waiting for it'}`)
  }
  if (record?.releasedWallMs !== undefined) add('warning', renderReleased(record.releasedWallMs))
  if (allocations?.exact === false && allocations.lastError !== undefined) {
    add('warning', `ended allocations are guessed from the listed pods: ${allocations.lastError}`)
  }
  // With that file it would not start again.
  if (rejected !== undefined) add('warning', `configuration rejected, the last good one stays: ${rejected}`)
  if (cluster?.lastError !== undefined) add('warning', `API server: ${cluster.lastError}`)
  const late = lateText(loop)
  if (late !== undefined) add('warning', late)
  if (record === undefined) return problems
  // Only what is still in the plan: a write that failed and is no longer wanted is history.
  for (const { group, kind } of record.plan) {
    const last = writes.get(group, kind)?.result
    if (last === undefined || isSuccess(last.outcome) || QUIET_OUTCOMES.has(last.outcome.is)) continue
    add(last.outcome.is === 'busy' ? 'warning' : 'error', `${renderStep(last.step)}: ${renderOutcome(last.outcome)}`)
  }
  const journalProblem = record.journalHealth?.problem
  if (journalProblem !== undefined) add('error', `restore journal: ${journalProblem}; ${WITHOUT_JOURNAL}`)
  const journalDamage = record.journalHealth?.damage
  if (journalDamage !== undefined) add('error', `restore journal: ${journalDamage}; ${SEE_TO_DAMAGE}`)
  for (const text of driftProblems(record, nowMs)) add('warning', text)
  for (const text of record.snapshot.pods.problems) add('warning', `pod source: ${text}`)
  for (const abstention of record.decision.abstentions)
    add('warning', `rule ${abstention.rule} abstains: ${renderAbstention(abstention)}`)
  for (const text of ladderProblems(record, nowMs)) add('warning', text)
  const { findings } = record.decision
  if (findings.length > 0) add('warning', findingsText(findings))
  return problems
}

/** What the agent does while originals can't be put on disk. */
const WITHOUT_JOURNAL = 'until it can, only knobs whose original is on record are written; it is tried again all the time'

/** What ends a complaint about a damaged journal. */
const SEE_TO_DAMAGE = 'recreate the pods of such groups or write their files by hand, then remove the damaged file'

/** Knobs of a kind of trouble that are named; explain tells of the others. */
const NAMED_KNOBS = 5

function driftProblems({ drift }: TickRecord, nowMs: number): readonly string[] {
  const problems: string[] = []
  let more = 0
  drift?.knobs.forEach((_group, _kind, known) => {
    const { concededUntilMs, contested } = known
    if (concededUntilMs === undefined && contested !== true) return
    if (problems.length >= NAMED_KNOBS) {
      more += 1
      return
    }
    const until = concededUntilMs === undefined ? '' : `; tried again in ${formatDuration(Math.max(0, concededUntilMs - nowMs))}`
    problems.push(`${driftText({ is: contested === true ? 'contested' : 'conceded', drift: known })}${until}`)
  })
  return more === 0 ? problems : [...problems, `${count(more, 'more knob')} conceded or contested`]
}

/** Which end well without anybody's doing: the pod has ended, or the write is still running. */
const QUIET_OUTCOMES: ReadonlySet<OutcomeKind> = new Set(['vanished', 'begun'])

/** Fewer beats than these tell nothing yet. */
const LEAST_BEATS = 200
/** Share of late beats from which reaction suffers. */
const LATE_PERMYRIAD = 500

function lateText({ lastBeats: { beats, late } }: LoopStatus): string | undefined {
  if (beats < LEAST_BEATS || late * 10_000 < beats * LATE_PERMYRIAD) return undefined
  return (
    `${formatPermyriad(Math.round((late * 10_000) / beats))} of the last ${beats} guard beats came late: the agent does not get its turn ` +
    'in time and reacts slowly (own.weight, own.nice, own.realtimePriority; its CPU limit, if it has one)'
  )
}

/** Findings that are named in the one line about them. */
const NAMED_FINDINGS = 3

function findingsText(findings: readonly PodFinding[]): string {
  const named = findings.slice(0, NAMED_FINDINGS).map((finding) => `${podKey(finding)} (${findingText(finding).reason})`)
  const more = findings.length > named.length ? `, and ${findings.length - named.length} more` : ''
  return `${count(findings.length, 'finding')} about what pods ask for: ${named.join(', ')}${more}; see explain pod NAMESPACE/NAME`
}
