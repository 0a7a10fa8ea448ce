/**
 * Rules that only observe. They decide like the others, so that people can see what they would do; what is desired is the same as with them
 * switched off (I83). Their claims are kept apart from the first, since one that won would take the place of one that is enforced.
 */
import type { Config } from '../config/types.ts'
import type { Claim, ObservableRule } from '../model/index.ts'
import { OBSERVABLE_RULES } from '../model/index.ts'

/** Whether a rule decides without a say. Its readings then tell nothing of what it wanted: no effect of it is to be looked for in them. */
export function isObserved(rule: ObservableRule, { observeRules }: Pick<Config, 'observeRules'>): boolean {
  return observeRules.includes(rule)
}

/** The rules that only observe, in the order of OBSERVABLE_RULES; undefined when there are none. */
export function observedRules(config: Config): readonly ObservableRule[] | undefined {
  if (config.observeRules.length === 0) return undefined
  return OBSERVABLE_RULES.filter((rule) => isObserved(rule, config))
}

/** Claims by whether they are carried out. Both keep their order. */
export interface SplitClaims {
  readonly enforced: readonly Claim[]
  readonly observed: readonly Claim[]
}

const NONE: readonly Claim[] = []

/** Tells the claims of rules that only observe from the others. */
export function splitClaims(claims: readonly Claim[], { observeRules }: Config): SplitClaims {
  if (observeRules.length === 0) return { enforced: claims, observed: NONE }
  const enforced: Claim[] = []
  const observed: Claim[] = []
  const names: readonly string[] = observeRules
  for (const claim of claims) (names.includes(claim.rule) ? observed : enforced).push(claim)
  return { enforced, observed }
}
