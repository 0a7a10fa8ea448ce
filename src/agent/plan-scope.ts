/**
 * Which kinds of knobs the next plan need not look at. While the lower layer of what is desired is the same table, a kind of knob for which the last
 * plan had no step, and that neither a change in the upper layer nor one of a reading has touched since, can have none now either. In doubt a kind is
 * looked at, and all of them every few seconds, so that nothing overlooked here lasts.
 */
import type { Decision, KnobKind, Plan, ReadonlyKnobTable, Resolved } from '../model/index.ts'
import { identicalValue, KNOB_KINDS, KnobLayers, KnobTable, regulatesCpu } from '../model/index.ts'

/** What a plan is made of, as far as it is the same for all kinds of knobs. Compared by value. */
interface Ground {
  readonly base: object | undefined
  readonly complete: boolean
  readonly regulates: boolean
}

/** What has come since the last plan was made. */
interface Changes {
  /** Kinds of which a reading has changed. */
  readonly touched: Iterable<KnobKind>
  /** Whether that is not all: it is not certain what has changed. */
  readonly everything: boolean
  readonly nowMs: number
}

/** Between plans that look at everything, in ms. */
const WHOLE_MS = 10_000

const NOTHING: ReadonlyKnobTable<Resolved> = new KnobTable()

export class PlanScope {
  #still = new Set<KnobKind>()
  #ground: Ground | undefined
  #wholeMs = -Infinity
  /** The upper layer of the last decision. */
  #top: ReadonlyKnobTable<Resolved> = NOTHING

  /** The kinds that need no look on this tick. */
  still(decision: Decision, { touched, everything, nowMs }: Changes): ReadonlySet<KnobKind> {
    const { desired, complete } = decision
    const layers: KnobLayers<Resolved> | undefined = desired instanceof KnobLayers ? desired : undefined
    const ground: Ground = { base: layers?.base, complete, regulates: regulatesCpu(decision) }
    const isDue = nowMs - this.#wholeMs >= WHOLE_MS
    if (isDue) this.#wholeMs = nowMs
    if (isDue || everything || layers === undefined || !sameGround(ground, this.#ground)) this.#still.clear()
    for (const kind of touched) this.#still.delete(kind)
    this.#compare(layers?.top ?? NOTHING)
    this.#ground = ground
    return this.#still
  }

  /** What suppression wants now is compared with what it wanted last: in its dead band that is the same for minutes. */
  #compare(top: ReadonlyKnobTable<Resolved>): void {
    const before = this.#top
    this.#top = top
    top.forEach((group, kind, { setting }) => {
      if (!identicalValue(before.get(group, kind)?.setting.value, setting.value)) this.#still.delete(kind)
    })
    before.forEach((group, kind) => {
      if (top.get(group, kind) === undefined) this.#still.delete(kind)
    })
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
