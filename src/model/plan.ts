/** Steps: ordered writes, each with where it comes from, where it goes and why. */
import type { Because, RuleName } from './claim.ts'
import type { GroupPath } from './groups.ts'
import { type KnobKind, type KnobSetting, type KnobValue, PARTLY_TAGGED, type ReadonlyKnobTable } from './knob.ts'
import type { Outcome } from './outcome.ts'
import type { Dialect } from './snapshot.ts'

export type Phase = 'widen' | 'narrow'

/** Why a step is in the plan: a rule wants the value, the parent's new value forces it, or nobody wants it any more. */
export type StepBecause =
  | { readonly code: 'claim'; readonly rule: RuleName; readonly because: Because }
  | { readonly code: 'clipped'; readonly parent: GroupPath; readonly wanted?: StepBecause }
  | { readonly code: 'restore' }

export type Step = KnobSetting & {
  readonly group: GroupPath
  readonly from: KnobValue | undefined
  readonly phase: Phase
  readonly because: StepBecause
}

export type Plan = readonly Step[]

export interface StepResult {
  readonly step: Step
  readonly outcome: Outcome
}

/** What the restore journal knows of one knob. */
export interface JournaledKnob {
  readonly original: KnobValue
  /** The values this agent wrote last, newest first; a crash may have left either of the first two in the file. */
  readonly ours: readonly KnobValue[]
}

export type Journaled = ReadonlyKnobTable<JournaledKnob>

/** How writing the restore journal goes. */
export interface JournalHealth {
  /** Times that it could not be appended to, synced or rewritten, since the start. */
  readonly failures: number
  /** What failed first of late; undefined once the file tells all there is again. */
  readonly problem?: string
  /** What could not be read of the journal of an agent before, and where it is kept; undefined once the file has been removed. */
  readonly damage?: string
}

/**
 * Kernel: values that a group can't be brought back from. openEuler takes a group offline and refuses to bring it online again, so the
 * original of such a knob is not written, and goes with the group.
 */
export function isOneWay(kind: KnobKind, from: KnobValue | undefined): boolean {
  return kind === 'qosLevel' && from === -1
}

/** Whether a value comes about by itself from one that the agent wrote: a process that comes into a tagged group brings its own cookie. */
export function isOursByNature(kind: KnobKind, value: KnobValue): boolean {
  return kind === 'coreCookie' && value === PARTLY_TAGGED
}

/** What a knob goes back to that is about to be written for the first time. Nobody had given part of a group the cookie on purpose. */
export function originalOf(kind: KnobKind, holds: KnobValue): KnobValue {
  return isOursByNature(kind, holds) ? 0 : holds
}

/**
 * Kernel: knobs that a write to another knob changes as a side effect, with what it leaves in them. Clearing cpu.idle puts the weight
 * back to its default whatever it was before, so the weight's original is saved along with that of idle.
 */
export const CLOBBERS: Readonly<
  Partial<Record<KnobKind, { readonly kind: KnobKind; readonly leaves: Readonly<Record<Dialect, KnobValue>> }>>
> = {
  idle: { kind: 'weight', leaves: { v1: 1024, v2: 100 } },
}
