/** The first time that two lines of decisions part, for each thing that they part in: both values, both reasons. */
import {
  type Decision,
  formatKnobValue,
  formatMilliCpu,
  type GroupPath,
  type KnobKind,
  type Resolved,
} from '../../model/index.ts'
import {
  type DecisionDigest,
  differingKinds,
  renderOffer,
  renderStepBecause,
  renderSuppression,
  renderWish,
} from '../../record/index.ts'
import type { Redecided } from './redecide.ts'

/** One side of a difference. */
export interface Side {
  readonly value: string
  readonly because: string
}

export interface Difference {
  readonly wallMs: number
  /** Number of the tick. */
  readonly seq: number
  readonly what: string
  readonly recorded: Side
  readonly replayed: Side
}

const NOTHING: Side = { value: 'none', because: '' }
/** What differs in no more than these is a kind of its own. */
const MOST = 32

/** Gathers first differences, one for each thing. */
export class FirstDifferences {
  readonly found: Difference[] = []
  readonly #told = new Set<string>()

  take({ snapshot, recorded, replayed }: Redecided, digests: readonly [DecisionDigest, DecisionDigest]): void {
    const tell = (what: string, sides: () => readonly [Side, Side]): void => {
      if (this.#told.has(what) || this.found.length >= MOST) return
      this.#told.add(what)
      const [one, other] = sides()
      this.found.push({ wallMs: snapshot.wallMs, seq: snapshot.seq, what, recorded: one, replayed: other })
    }
    const both = <T>(side: (decision: Decision) => T): readonly [T, T] => [side(recorded), side(replayed)]
    const [one, other] = digests
    if (one.allowanceMilli !== other.allowanceMilli)
      tell('BE+OT allowance', () => both((side) => allowance(side, 'allowanceMilli')))
    if (one.otAllowanceMilli !== other.otAllowanceMilli)
      tell('OT allowance', () => both((side) => allowance(side, 'otAllowanceMilli')))
    for (const { resource } of [...recorded.offers, ...replayed.offers])
      if (one.offers[resource] !== other.offers[resource]) tell(`offer ${resource}`, () => both((side) => offer(side, resource)))
    if (one.rungs.join() !== other.rungs.join()) tell('rungs in force', () => both(rungs))
    if (one.evictions.join() !== other.evictions.join()) tell('evictions', () => both(evictions))
    for (const kind of differingKinds(one, other)) tell(`knob ${kind}`, () => firstKnob(recorded, replayed, kind))
  }
}

function allowance({ suppression }: Decision, of: 'allowanceMilli' | 'otAllowanceMilli'): Side {
  if (suppression === undefined) return NOTHING
  return { value: formatMilliCpu(suppression[of]), because: renderSuppression(suppression) }
}

function offer({ offers }: Decision, resource: string): Side {
  const found = offers.find((each) => each.resource === resource)
  return found === undefined ? NOTHING : { value: `${found.units} units`, because: renderOffer(found) }
}

function rungs({ suppression, memory }: Decision): Side {
  const names = [...(suppression?.ladder.inForce ?? []), ...(memory?.ladder.inForce ?? [])]
  return names.length === 0 ? NOTHING : { value: names.join(', '), because: '' }
}

function evictions({ evictions: wishes }: Decision): Side {
  const [first] = wishes
  return first === undefined ? NOTHING : { value: `${wishes.length}`, because: renderWish(first) }
}

/** The first knob of a kind, in the order of either table, that the two want differently. */
function firstKnob({ desired: one }: Decision, { desired: other }: Decision, kind: KnobKind): readonly [Side, Side] {
  const groups = new Set<GroupPath>([...one.groups(), ...other.groups()])
  for (const group of groups) {
    const sides = [knob(one.get(group, kind), group), knob(other.get(group, kind), group)] as const
    if (sides[0].value !== sides[1].value) return sides
  }
  // Values that read alike, as amounts of memory do.
  return [NOTHING, NOTHING]
}

function knob(resolved: Resolved | undefined, group: GroupPath): Side {
  if (resolved === undefined) return { value: `${group}: left as it is`, because: '' }
  const { rule, because } = resolved.winner
  return { value: `${group}: ${formatKnobValue(resolved.setting)}`, because: renderStepBecause({ code: 'claim', rule, because }) }
}
