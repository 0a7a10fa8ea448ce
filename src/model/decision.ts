/** What one tick decided, as every room sees it. */
import type {
  Abstention,
  ClassifiedPod,
  Desired,
  ObservableRule,
  Offer,
  PlacementState,
  RuleName,
  SuppressionState,
} from './claim.ts'
import type { EvictionWish } from './evict.ts'
import type { IdentityState } from './identity.ts'
import type { IoState, MemoryState } from './ladder.ts'
import type { NodeSignals, PodFinding } from './signals.ts'

/** What rules want that only observe: nothing of it is carried out. */
export interface Observed {
  /** As configured, in the order of OBSERVABLE_RULES; never empty. */
  readonly rules: readonly ObservableRule[]
  /** What would be desired if they were enforced: of the knobs that they claim, with every other claim on those. */
  readonly desired: Desired
  /** What would be offered, while it is capacity that observes. */
  readonly offers?: readonly Offer[]
}

/** Whether a rule decided this and has no say in it. */
export function onlyObserves({ observed }: { readonly observed?: Observed | undefined }, rule: RuleName): boolean {
  return observed?.rules.some((name) => name === rule) === true
}

/** Whether the CPU use of offline work is regulated: by a rule that has decided, and has a say. */
export function regulatesCpu(decision: Pick<Decision, 'suppression' | 'observed'>): boolean {
  return decision.suppression !== undefined && !onlyObserves(decision, 'suppressCpu')
}

/** What one tick decided. */
export interface Decision {
  /** Without the claims of rules that only observe. */
  readonly desired: Desired
  /** Undefined while every rule is enforced. The states of rules that observe are below with those of the others. */
  readonly observed?: Observed
  readonly pods: readonly ClassifiedPod[]
  readonly offers: readonly Offer[]
  /** As it stands: while placement only observes, nobody has CPUs of their own. */
  readonly placement: PlacementState
  /** Undefined while the rule is off or has never had a reading. */
  readonly suppression?: SuppressionState
  /** Undefined while the rule is off or has never had a reading. */
  readonly memory?: MemoryState
  /** Undefined while the rule is off. */
  readonly io?: IoState
  /** Pods that should go, the first first. */
  readonly evictions: readonly EvictionWish[]
  /** Undefined while the rule is off or has never had a reading. */
  readonly signals?: NodeSignals
  /** What tells the classes apart. */
  readonly identity?: IdentityState
  readonly findings: readonly PodFinding[]
  readonly abstentions: readonly Abstention[]
  /** False while a rule can't decide yet, or the pods were never read: what is in force is then left in force, but for what is frozen. */
  readonly complete: boolean
}
