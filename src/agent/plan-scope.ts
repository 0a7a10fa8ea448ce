/**
 * Which kinds of knobs the next plan need not look at. A calm tick plans everything. A hot tick reads no pod again and claims anew only what
 * suppression wants, so a kind of knob for which the last plan had no step, and that neither the upper layer of what is desired nor a
 * change of a reading has touched since, can have none now either. In doubt a kind is looked at.
 */
import type { Decision, KnobKind, Plan, Resolved } from '../model/index.ts'
import { KNOB_KINDS, KnobLayers } from '../model/index.ts'

/** What a plan is made of, as far as it is the same for all kinds of knobs. Compared by value. */
interface Ground {
  readonly base: object | undefined
  readonly complete: boolean
  readonly regulates: boolean
}

const NONE: ReadonlySet<KnobKind> = new Set()

export class PlanScope {
  #still = new Set<KnobKind>()
  #ground: Ground | undefined
  /** Kinds in the upper layer of the last decision. */
  #claimed: ReadonlySet<KnobKind> = NONE

  /**
   * The kinds that need no look on this tick. `touched` are those of which a reading has changed since the last plan was made.
   * @param everything a calm tick, or one on which it is not certain what has changed
   */
  still({ desired, complete, suppression }: Decision, touched: Iterable<KnobKind>, everything: boolean): ReadonlySet<KnobKind> {
    const layers: KnobLayers<Resolved> | undefined = desired instanceof KnobLayers ? desired : undefined
    const ground: Ground = { base: layers?.base, complete, regulates: suppression !== undefined }
    const claimed = new Set<KnobKind>()
    layers?.top.forEach((_group, kind) => claimed.add(kind))
    if (everything || layers === undefined || !sameGround(ground, this.#ground)) this.#still.clear()
    for (const kind of touched) this.#still.delete(kind)
    for (const kind of this.#claimed) this.#still.delete(kind)
    for (const kind of claimed) this.#still.delete(kind)
    this.#ground = ground
    this.#claimed = claimed
    return this.#still
  }

  /** Takes note of the plan: what it has no step for is as it should be. */
  planned(plan: Plan): void {
    for (const kind of KNOB_KINDS) this.#still.add(kind)
    for (const { kind } of plan) this.#still.delete(kind)
  }
}

function sameGround(a: Ground, b: Ground | undefined): boolean {
  return b !== undefined && a.base === b.base && a.complete === b.complete && a.regulates === b.regulates
}
