/**
 * One knob explained: what the kernel file holds and how old that reading is, what is wanted, which claim won and which lost,
 * what the knob held before the agent, and what became of the last write.
 */
import type {
  Claim,
  GroupPath,
  KnobDrift,
  KnobKind,
  KnobValue,
  Reading,
  ReadonlyKnobTable,
  RuleName,
  TickRecord,
} from '../../model/index.ts'
import { IoLimits, isSuccess, KNOB_KINDS, parentGroup, sameValue } from '../../model/index.ts'
import type { LastWrite } from '../changes.ts'
import { count, formatDuration } from '../layout.ts'
import { type ObservedClaim, observedClaims } from '../observed.ts'
import { renderBecause, renderOutcome, renderStep, renderStepBecause, renderValue } from '../render.ts'

interface ClaimExplanation {
  readonly rule: RuleName
  readonly value: string
  readonly because: string
}

export interface KnobExplanation {
  readonly group: GroupPath
  readonly knob: KnobKind
  /** What the kernel file holds, as last read or, if that is newer, as last written. */
  readonly now?: { readonly value: string; readonly ageMs: number; readonly source: string }
  /** Undefined when no rule wants anything of the knob. */
  readonly desired?: string
  readonly winner?: ClaimExplanation
  readonly losers: readonly ClaimExplanation[]
  /** What rules want of it that only observe; left out where none does. */
  readonly observed?: readonly ObservedClaim[]
  /** What the knob held before the agent first wrote it; undefined if it never did. */
  readonly original?: string
  readonly lastWrite?: { readonly text: string; readonly because: string; readonly outcome: string; readonly agoMs: number }
  /** What the plan of the last tick has for the knob, unless that was tried. */
  readonly planned?: string
  /** What others write to it, and whether it is left to them. */
  readonly drift?: string
  /** Why the knob differs from what is wanted although no step is planned. */
  readonly note?: string
}

export interface KnobView {
  readonly record: TickRecord
  readonly writes: ReadonlyKnobTable<LastWrite>
  readonly nowMs: number
}

/** Every knob of the group that is read, wanted or journaled, in the order of KNOB_KINDS. */
export function explainKnobs(group: GroupPath, view: KnobView): readonly KnobExplanation[] {
  return KNOB_KINDS.flatMap((kind) => {
    const { record, writes } = view
    const known =
      record.decision.desired.get(group, kind) !== undefined ||
      record.decision.observed?.desired.get(group, kind) !== undefined ||
      record.snapshot.actual.get(group, kind) !== undefined ||
      record.journaled.get(group, kind) !== undefined ||
      writes.get(group, kind) !== undefined
    return known ? [explainKnob(group, kind, view)] : []
  })
}

/** One knob of a group, also where nothing is known of it. */
export function explainKnob(group: GroupPath, kind: KnobKind, view: KnobView): KnobExplanation {
  const { record, nowMs } = view
  const now = valueNow(group, kind, view)
  const resolved = record.decision.desired.get(group, kind)
  const journaled = record.journaled.get(group, kind)
  const last = view.writes.get(group, kind)
  const tried = record.results.some(({ step }) => step.group === group && step.kind === kind)
  const planned = tried ? undefined : record.plan.find((step) => step.group === group && step.kind === kind)
  const observed = observedClaims(group, kind, record.decision)
  const note = tried || planned !== undefined ? undefined : differenceNote(group, kind, now?.value, record)
  return {
    group,
    knob: kind,
    ...(now === undefined ? {} : { now: { value: renderValue(kind, now.value), ageMs: nowMs - now.atMs, source: now.source } }),
    ...(resolved === undefined
      ? {}
      : { desired: renderValue(kind, resolved.setting.value), winner: explainClaim(resolved.winner) }),
    losers: (resolved?.losers ?? []).map(explainClaim),
    ...(observed.length === 0 ? {} : { observed }),
    ...(journaled === undefined ? {} : { original: renderValue(kind, journaled.original) }),
    ...(last === undefined ? {} : { lastWrite: explainWrite(last, nowMs) }),
    ...(planned === undefined ? {} : { planned: `${renderStep(planned)}: ${renderStepBecause(planned.because)}` }),
    ...(note === undefined ? {} : { note }),
    ...driftParts(record.drift?.knobs.get(group, kind), nowMs),
  }
}

function driftParts(drift: KnobDrift | undefined, nowMs: number): { readonly drift?: string } {
  if (drift === undefined) return {}
  const { kind, count: times, lastMs, found, ours, concededUntilMs, contested } = drift
  const told =
    `written by somebody else ${count(times, 'time')}, last ${formatDuration(Math.max(0, nowMs - lastMs))} ago: ` +
    `${renderValue(kind, found)} over ${renderValue(kind, ours)}`
  if (contested === true) return { drift: `${told}; contested: it is suppression itself, so it is repaired all the same` }
  if (concededUntilMs === undefined) return { drift: told }
  return { drift: `${told}; conceded: left alone for another ${formatDuration(Math.max(0, concededUntilMs - nowMs))}` }
}

/** A knob that was just written is read again only on a later tick: until then the write, which was read back, is the news. */
function valueNow(group: GroupPath, kind: KnobKind, { record, writes }: KnobView): Reading<KnobValue> | undefined {
  const reading = record.snapshot.actual.get(group, kind)
  const last = writes.get(group, kind)
  if (last === undefined || !isSuccess(last.result.outcome) || (reading !== undefined && reading.atMs > last.atMs)) return reading
  return { value: last.result.step.value, atMs: last.atMs, source: reading?.source ?? group }
}

function explainClaim(claim: Claim): ClaimExplanation {
  return { rule: claim.rule, value: renderValue(claim.kind, claim.value), because: renderBecause(claim.because) }
}

function explainWrite({ result, atMs }: LastWrite, nowMs: number) {
  const { step, outcome } = result
  return {
    text: renderStep(step),
    because: renderStepBecause(step.because),
    outcome: renderOutcome(outcome),
    agoMs: nowMs - atMs,
  }
}

/** Kinds in which the kernel, or the agent for it, keeps a child within what its parent has. */
const WITHIN_PARENT: ReadonlySet<KnobKind> = new Set(['quota', 'cpuset'])

/** The plan fits children into their parents, so a knob may rightly hold less than its rules want. */
function differenceNote(
  group: GroupPath,
  kind: KnobKind,
  now: KnobValue | undefined,
  { decision, snapshot }: TickRecord,
): string | undefined {
  const wanted = decision.desired.get(group, kind)?.setting.value
  if (wanted === undefined || isAsWanted(wanted, now)) return undefined
  if (now === undefined) return 'the kernel file could not be read, so it is left alone'
  if (!WITHIN_PARENT.has(kind)) return undefined
  for (let parent = parentGroup(group); parent !== '/'; parent = parentGroup(parent)) {
    const limit = snapshot.actual.get(parent, kind)?.value
    if (limit !== undefined && renderValue(kind, limit) !== 'max') {
      return `held to what the parent ${parent} allows: ${renderValue(kind, limit)}`
    }
  }
  return undefined
}

/** IO limits are wanted for some devices; what stands for the others is none of the agent's business. */
function isAsWanted(wanted: KnobValue, now: KnobValue | undefined): boolean {
  if (wanted instanceof IoLimits && now instanceof IoLimits) return wanted.over(now).equals(now)
  return sameValue(wanted, now)
}
