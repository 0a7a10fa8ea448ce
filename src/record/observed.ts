/** How what rules want that only observe is told: never as if it were in force. Shared by status, explain and plan. */
import type { Claim, KnobKind, KnobValue, OfflineResource, RuleName, TickRecord } from '../model/index.ts'
import { onlyObserves, sameValue } from '../model/index.ts'
import { renderBecause, renderValue } from './render.ts'
import { renderOffer } from './render-offer.ts'

/** What has to be said beside whatever such a rule wants. */
export function observedNote(rule: RuleName): string {
  return `(rule ${rule} only observes)`
}

type MayObserve = Parameters<typeof onlyObserves>[0]

/** A text about what a rule does, with what has to be said where it does nothing of it. */
export function toldOf(rule: RuleName, text: string, decision: MayObserve): string {
  return onlyObserves(decision, rule) ? `${text} ${observedNote(rule)}` : text
}

/** `identity, suppressIo: decided and shown, not carried out (observeRules)`. */
export function observedText(rules: readonly RuleName[]): string {
  return `${rules.join(', ')}: decided and shown, not carried out (observeRules)`
}

/** What capacity would offer of a resource; undefined unless it only observes. */
export function observedOffer(resource: OfflineResource, { observed }: MayObserve): string | undefined {
  const offer = observed?.offers?.find((candidate) => candidate.resource === resource)
  return offer === undefined ? undefined : `${renderOffer(offer)} ${observedNote('capacity')}`
}

/** A claim of a rule that only observes. */
export interface ObservedClaim {
  readonly rule: RuleName
  readonly value: string
  readonly because: string
  /** Whether the knob would get this value if the rule were enforced. */
  readonly wins: boolean
}

/** What rules that only observe want of a knob: the one that would win first. */
export function observedClaims(group: string, kind: KnobKind, { observed }: MayObserve): readonly ObservedClaim[] {
  const would = observed?.desired.get(group, kind)
  if (would === undefined) return []
  const explain = (claim: Claim, wins: boolean): readonly ObservedClaim[] =>
    onlyObserves({ observed }, claim.rule)
      ? [
          {
            rule: claim.rule,
            value: renderValue(claim.kind, claim.value),
            because: `${renderBecause(claim.because)} ${observedNote(claim.rule)}`,
            wins,
          },
        ]
      : []
  return [...explain(would.winner, true), ...would.losers.flatMap((claim) => explain(claim, false))]
}

/** A knob that would be another if the rules that only observe were enforced. */
export interface ObservedStep {
  readonly group: string
  readonly kind: KnobKind
  /** What the kernel holds; undefined where it was not read. */
  readonly from: KnobValue | undefined
  readonly to: string
  readonly why: string
  readonly rule: RuleName
}

/** In the order of the claims. What the parents of a group allow is not looked at: this is what is wanted, not a plan. */
export function observedSteps({ decision, snapshot }: Pick<TickRecord, 'decision' | 'snapshot'>): readonly ObservedStep[] {
  const steps: ObservedStep[] = []
  decision.observed?.desired.forEach((group, kind, { setting, winner }) => {
    const from = snapshot.actual.get(group, kind)?.value
    if (!onlyObserves(decision, winner.rule) || sameValue(from, setting.value)) return
    const why = `${renderBecause(winner.because)} ${observedNote(winner.rule)}`
    steps.push({ group, kind, from, to: renderValue(kind, setting.value), why, rule: winner.rule })
  })
  return steps
}
