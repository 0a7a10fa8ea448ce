/**
 * What was decided, by rule and reason. The counter follows the changes that journal and log tell (changes.ts), so that a rate of it means
 * as much as reading them; the gauge counts the knobs that each reason holds now. Both have their series from the start, from closed lists.
 */
import type { Because, Decision, OfferBecause, RuleName, StepBecause } from '../../model/index.ts'
import { ALLOWANCE_BOUNDS, CPU_RUNGS, EVICTING_RUNGS, MEMORY_RUNGS } from '../../model/index.ts'
import { type Change, isFrequent } from '../changes.ts'
import type { Families } from './families.ts'

type ClaimCode = Because['code']

// Written as total records, so that a new reason without a series does not compile.
const RULE_OF: Readonly<Record<ClaimCode, RuleName>> = {
  'limits.quota': 'limits',
  'limits.memory': 'limits',
  'identity.weight': 'identity',
  'identity.unasked': 'identity',
  'identity.idle': 'identity',
  'identity.least': 'identity',
  'identity.raise': 'identity',
  'identity.class': 'identity',
  'identity.cookie': 'identity',
  'identity.root': 'identity',
  burst: 'burst',
  'placement.besteffort': 'placement',
  'placement.pool': 'placement',
  'placement.exclusive': 'placement',
  'placement.beExclusive': 'placement',
  'suppress.root': 'suppressCpu',
  'suppress.beside': 'suppressCpu',
  'suppress.be': 'suppressCpu',
  'suppress.narrow': 'suppressCpu',
  'suppress.freeze': 'suppressCpu',
  'suppress.unfollowed': 'suppressCpu',
  'suppress.ot': 'suppressCpu',
  'memory.high': 'suppressMemory',
  'memory.protect': 'suppressMemory',
  'io.weight': 'suppressIo',
  'io.limits': 'suppressIo',
  'own.weight': 'own',
}
const CLAIM_CODES = Object.keys(RULE_OF) as ClaimCode[]

/** What can bind an offer. */
export const OFFER_BOUNDS = Object.keys({
  formula: true,
  'besteffort-cpus': true,
  allocated: true,
  hysteresis: true,
  'warm-up': true,
  stale: true,
  hold: true,
} satisfies Record<OfferBecause['bound'], true>) as OfferBecause['bound'][]

const SIGNAL_REASONS = ['CpuAboveWatermark', 'MemoryAboveWatermark', 'WithinWatermarks'] as const
const IO_REASONS = ['cut', 'futile', 'over'] as const

/** A rule, or that nobody wants the value of a knob any more. */
type Decider = RuleName | 'none'

export class DecisionMetrics {
  readonly #families: Families
  readonly #held = new Map<ClaimCode, number>()
  readonly #told = new Map<ClaimCode, number>()

  constructor(families: Families) {
    this.#families = families
    for (const [rule, reason] of allReasons()) families.decisions.changes.inc({ rule, reason }, 0)
  }

  /** Takes what is new in a tick. */
  changed(changes: readonly Change[]): void {
    for (const change of changes) {
      const found = reasonOf(change)
      if (found !== undefined) this.#families.decisions.changes.inc({ rule: found[0], reason: found[1] })
    }
  }

  /** Counts the knobs; on calm ticks only, as it looks at each. */
  held({ desired }: Decision): void {
    for (const code of CLAIM_CODES) this.#held.set(code, 0)
    desired.forEach((_group, _kind, { winner }) => {
      const { code } = winner.because
      this.#held.set(code, (this.#held.get(code) ?? 0) + 1)
    })
    this.#held.forEach((knobs, reason) => {
      if (this.#told.get(reason) === knobs) return
      this.#told.set(reason, knobs)
      this.#families.decisions.knobs.set({ rule: RULE_OF[reason], reason }, knobs)
    })
  }
}

function allReasons(): readonly (readonly [Decider, string])[] {
  const of = (rule: Decider, reasons: readonly string[]) => reasons.map((reason): readonly [Decider, string] => [rule, reason])
  return [
    ...of('suppressCpu', [...ALLOWANCE_BOUNDS, ...CPU_RUNGS]),
    ...of('suppressMemory', MEMORY_RUNGS),
    ...of('suppressIo', IO_REASONS),
    ...of('capacity', OFFER_BOUNDS),
    ...of('evict', EVICTING_RUNGS),
    ...of('nodeSignals', SIGNAL_REASONS),
    ...CLAIM_CODES.filter((code) => !/^(?:suppress|io)\./.test(code)).map((code) => [RULE_OF[code], code] as const),
    ['none', 'restore'],
  ]
}

/** Undefined for what is no decision of the agent's, or is counted elsewhere: the write that follows from a new allowance. */
function reasonOf(change: Change): readonly [Decider, string] | undefined {
  switch (change.kind) {
    case 'allowance':
      return ['suppressCpu', change.state.bound]
    case 'offer':
      return ['capacity', change.offer.because.bound]
    case 'rung': {
      const { inForce } = change.state.ladder
      // Rungs are climbed one at a time; that one was left is in the gauge of rungs.
      const top = inForce.length > change.was.length ? inForce.at(-1) : undefined
      return top === undefined ? undefined : [change.ladder === 'cpu' ? 'suppressCpu' : 'suppressMemory', top]
    }
    case 'io':
      return change.event === 'devices' ? undefined : ['suppressIo', change.event]
    case 'signal':
      return ['nodeSignals', change.signals.reason]
    case 'eviction':
      return change.record === undefined ? ['evict', change.wish.rung] : undefined
    case 'write':
      return isFrequent(change) ? undefined : stepReason(change.result.step.because)
    case 'refused':
    case 'abstain':
    case 'pod':
    case 'finding':
    case 'error':
    case 'released':
    case 'drift':
    case 'blockedRung':
    case 'pressure':
    case 'swing':
    case 'sales':
      return undefined
  }
}

function stepReason(because: StepBecause): readonly [Decider, string] | undefined {
  if (because.code === 'restore') return ['none', 'restore']
  const wanted = because.code === 'clipped' ? because.wanted : because
  return wanted?.code === 'claim' ? [wanted.rule, wanted.because.code] : undefined
}
