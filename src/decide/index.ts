/**
 * The pure middle: a snapshot and the memory of the last tick become one desired state with reasons. No clock, no IO, no randomness:
 * the same arguments give the same answer, which is what replay, explain and the property tests stand on. Invariants: SPEC.md.
 */
import type { Config } from '../config/types.ts'
import type { Abstention, ClassifiedPod, Decision, NodeSnapshot, PlacementState } from '../model/index.ts'
import { capacity, type CapacityMemory } from './capacity.ts'
import { defined } from './defined.ts'
import { type EvictMemory, evictions } from './evict.ts'
import { mergeObserved, mergeOver } from './merge.ts'
import { nodeSignals, type SignalMemory } from './node-signals.ts'
import { observedRules, isObserved, splitClaims } from './observed.ts'
import { rememberPlacements, type PlacementMemory } from './placement.ts'
import { classifyPods, stand, type Standing } from './standing.ts'
import { suppressCpu, type SuppressMemory } from './suppress/cpu.ts'
import { type IoMemory, suppressIo } from './suppress/io.ts'
import { unfollowedFindings } from './suppress/unfollowed.ts'
import { type DecideWatch, UNWATCHED } from './watch.ts'
import { type MemoryLadderMemory, suppressMemory } from './suppress/memory.ts'

export type { DecideWatch } from './watch.ts'
export { jumpAboveMilli, leastJumpMilli } from './suppress/cpu-inputs.ts'
export { unsharedGroups } from './unshared.ts'

/** What the rules carry from one tick to the next. Plain immutable data; an agent that restarts begins with EMPTY_MEMORY. */
export interface Memory {
  readonly suppress: SuppressMemory
  readonly suppressMemory?: MemoryLadderMemory
  readonly suppressIo?: IoMemory
  readonly evict?: EvictMemory
  readonly capacity: CapacityMemory
  readonly placement?: PlacementMemory
  /** What placement would have given, while it only observes. */
  readonly observedPlacement?: PlacementMemory
  readonly signals: SignalMemory
  readonly standing?: Standing
}

export const EMPTY_MEMORY: Memory = { suppress: {}, capacity: {}, signals: {} }

/** What of a memory a recording has to keep: a calm tick works the rest out anew, whatever stood before (I75). */
export function lasting({ standing: _standing, ...kept }: Memory): Memory {
  return kept
}

export interface Decided {
  readonly decision: Decision
  readonly memory: Memory
}

/** Decides one tick. Throws only E_BUG, when a rule breaks an invariant. */
export function decide(snapshot: NodeSnapshot, memory: Memory, config: Config, watch: DecideWatch = UNWATCHED): Decided {
  const abstentions: Abstention[] = []
  watch.begins('placement')
  const pods = classifyPods(snapshot, memory.standing, config)
  const placements = rememberPlacements(snapshot, pods, placementsOf(memory), config)
  const placement = placements.placed.assigned.state
  const { cpu, ram, io, evicted, hold } = squeeze(snapshot, pods, { placement, memory, abstentions, watch }, config)
  watch.begins('capacity')
  const offered = capacity(snapshot, pods, { placement, memory: memory.capacity, abstentions, hold }, config)
  watch.begins('nodeSignals')
  const regulates = config.suppressCpu.enabled && !isObserved('suppressCpu', config)
  const signalled = nodeSignals(snapshot, regulates ? cpu.state : undefined, { memory: memory.signals, abstentions }, config)
  const grounds = { pods, placed: placements.wanted, known: memory.standing, abstentions, watch }
  const { standing, moving } = stand(snapshot, grounds, config)
  const claims = splitClaims([...moving, ...cpu.claims, ...ram.claims, ...io.claims], config)
  const desired = mergeOver(standing.table, claims.enforced)
  const offers = isObserved('capacity', config) ? [] : offered.offers
  const rules = observedRules(config)
  const decision: Decision = {
    desired,
    ...(rules === undefined
      ? {}
      : {
          observed: {
            rules,
            desired: mergeObserved(standing.observed, claims, desired),
            ...(isObserved('capacity', config) ? { offers: offered.offers } : {}),
          },
        }),
    pods,
    offers,
    placement,
    ...defined({ suppression: cpu.state, memory: ram.state, io: io.state, signals: signalled.signals }),
    evictions: evicted.wishes,
    identity: standing.identity,
    findings:
      snapshot.unfollowed === undefined
        ? standing.findings
        : [...standing.findings, ...unfollowedFindings(snapshot, pods, desired)],
    abstentions,
    // What no rule wants may be put back: not before the pods were read, suppression has decided, and every offline pod is measured.
    complete: snapshot.pods.everRead && (cpu.state !== undefined || !regulates) && standing.measured,
  }
  const next: Memory = {
    suppress: cpu.memory,
    capacity: offered.memory,
    placement: placements.placed,
    ...(placements.wanted === placements.placed ? {} : { observedPlacement: placements.wanted }),
    signals: signalled.memory,
    standing,
    ...defined({ suppressMemory: ram.memory, suppressIo: io.memory, evict: evicted.memory }),
  }
  return { decision, memory: next }
}

/** What placement would have given goes on from what it gave, when it ceases to be enforced, and the other way round. */
function placementsOf({ placement, observedPlacement }: Memory): Parameters<typeof rememberPlacements>[2] {
  return defined({ placed: placement, wanted: observedPlacement ?? placement })
}

interface Grounds {
  readonly placement: PlacementState
  readonly memory: Memory
  readonly abstentions: Abstention[]
  readonly watch: DecideWatch
}

interface Squeezed {
  readonly cpu: ReturnType<typeof suppressCpu>
  readonly ram: ReturnType<typeof suppressMemory>
  readonly io: ReturnType<typeof suppressIo>
  readonly evicted: ReturnType<typeof evictions>
  /** Nothing more may be sold: what is left is needed, or about to be freed. */
  readonly hold: boolean
}

/** The rules that suppress, and what their rungs lead to. Evictions come last, and sales are stopped before the first (I46). */
function squeeze(
  snapshot: NodeSnapshot,
  pods: readonly ClassifiedPod[],
  { placement, memory, abstentions, watch }: Grounds,
  config: Config,
): Squeezed {
  watch.begins('suppressCpu')
  const cpu = suppressCpu(snapshot, pods, { placement, memory: memory.suppress, abstentions }, config)
  watch.begins('suppressMemory')
  const ram = suppressMemory(snapshot, pods, { memory: memory.suppressMemory, abstentions }, config)
  watch.begins('evict')
  const wanted = [...cpu.evicts, ...ram.evicts]
  const evicted = evictions(snapshot, pods, { memory: memory.evict, wanted }, config)
  watch.begins('suppressIo')
  const io = suppressIo(snapshot, pods, { memory: memory.suppressIo, abstentions }, config)
  const hold = (ram.holds && !isObserved('suppressMemory', config)) || evicted.holds
  return { cpu, ram, io, evicted, hold }
}
