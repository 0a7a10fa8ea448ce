/**
 * Many claims on one knob become one desired value. The table of rules is total over the kinds of knobs: a new kind without a merge
 * rule does not compile.
 */
import type { Claim, Desired, IoLimits, KnobKind, KnobValues, ReadonlyKnobTable, Resolved, RuleName } from '../model/index.ts'
import { assertInvariant, KnobLayers, KnobTable, quotaMilliCpu, RULES } from '../model/index.ts'
import { CpuSet } from '../cpu/index.ts'

/** Negative when `a` wins over `b`; 0 leaves it to the precedence of the rules. */
type Prefer<Kind extends KnobKind> = (a: KnobValues[Kind], b: KnobValues[Kind]) => number

const noLimit = (limit: number | null): number => limit ?? Infinity
const least = (a: number | null, b: number | null): number => difference(noLimit(a), noLimit(b))
const most = (a: number | null, b: number | null): number => difference(noLimit(b), noLimit(a))
const byRule = (): number => 0

function difference(a: number, b: number): number {
  return a === b ? 0 : a < b ? -1 : 1
}

const MERGE: { readonly [Kind in KnobKind]: Prefer<Kind> } = {
  // The narrower set wins, unless suppression narrows; sets of equal size are left to the precedence of the rules.
  cpuset: (a, b) => difference(a.size, b.size),
  quota: (a, b) => difference(quotaMilliCpu(a), quotaMilliCpu(b)),
  burst: least,
  memoryMax: least,
  memoryHigh: least,
  memoryMin: most,
  memoryLow: most,
  memorySoft: least,
  ioWeight: byRule,
  // Of limits that are tighter on one device and looser on another, the first rule's stand.
  ioMax: (a, b) => tighterLimits(a, b) - tighterLimits(b, a),
  weight: byRule,
  idle: byRule,
  bvt: byRule,
  coreCookie: byRule,
  qosLevel: byRule,
  offline: byRule,
  btShares: byRule,
  freeze: (a, b) => difference(b, a),
}

/** 1 when `b` is nowhere tighter than `a`, and somewhere looser. */
function tighterLimits(a: IoLimits, b: IoLimits): number {
  return !a.equals(b) && a.tightest(b).equals(a) ? -1 : 0
}

/**
 * Suppression takes offline pods off CPUs that online work needs now. Its sets lie in the best-effort set, but a pod that has fewer CPUs of its
 * own elsewhere in there would stay on them by size.
 */
function narrows({ kind, rule }: Claim): number {
  return Number(kind === 'cpuset' && rule === 'suppressCpu')
}

function preference(a: Claim, b: Claim): number {
  assertInvariant(a.kind === b.kind, `claims of two kinds on one knob: ${a.kind} and ${b.kind}`)
  const bySuppression = narrows(b) - narrows(a)
  if (bySuppression !== 0) return bySuppression
  const prefer = MERGE[a.kind] as (x: Claim['value'], y: Claim['value']) => number
  const byValue = prefer(a.value, b.value)
  return byValue === 0 ? precedence(a.rule) - precedence(b.rule) : byValue
}

function precedence(rule: RuleName): number {
  return RULES.indexOf(rule)
}

/** Resolves claims: one desired value per knob, with its winner and the losers. Throws E_BUG on an empty cpuset (I3). */
export function merge(claims: readonly Claim[]): KnobTable<Resolved> {
  const desired = new KnobTable<Resolved>()
  for (const claim of claims) desired.set(claim.group, claim.kind, resolve(claim, desired.get(claim.group, claim.kind)))
  return desired
}

/** The same as to merge these claims after those behind `base`, which stays as it is. */
export function mergeOver(base: ReadonlyKnobTable<Resolved>, claims: readonly Claim[]): KnobLayers<Resolved> {
  const top = new KnobTable<Resolved>()
  for (const claim of claims) {
    const { group, kind } = claim
    top.set(group, kind, resolve(claim, top.get(group, kind) ?? base.get(group, kind)))
  }
  return new KnobLayers(base, top)
}

/**
 * What would be desired if the observed claims were enforced, of the knobs that they are on. `below` is the same of claims that were merged
 * before these; `desired` has all enforced claims in it.
 */
export function mergeObserved(
  below: ReadonlyKnobTable<Resolved>,
  { enforced, observed }: { readonly enforced: readonly Claim[]; readonly observed: readonly Claim[] },
  desired: Desired,
): KnobLayers<Resolved> {
  const top = new KnobTable<Resolved>()
  for (const claim of enforced) {
    const { group, kind } = claim
    const held = top.get(group, kind) ?? below.get(group, kind)
    if (held !== undefined) top.set(group, kind, resolve(claim, held))
  }
  for (const claim of observed) {
    const { group, kind } = claim
    top.set(group, kind, resolve(claim, top.get(group, kind) ?? below.get(group, kind) ?? desired.get(group, kind)))
  }
  return new KnobLayers(below, top)
}

function resolve(claim: Claim, held: Resolved | undefined): Resolved {
  if (claim.value instanceof CpuSet)
    assertInvariant(!claim.value.isEmpty, `rule ${claim.rule} claims an empty cpuset on ${claim.group}`)
  if (held === undefined) return { setting: claim, winner: claim, losers: [] }
  const [winner, loser] = preference(claim, held.winner) < 0 ? [claim, held.winner] : [held.winner, claim]
  return { setting: winner, winner, losers: [...held.losers, loser] }
}
