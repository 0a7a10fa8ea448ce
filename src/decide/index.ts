/**
 * The pure middle: a snapshot and the memory of the last tick become one desired state with reasons. No clock, no IO, no randomness:
 * the same arguments give the same answer, which is what replay, explain and the property tests stand on. Invariants: SPEC.md.
 */
import type { Config } from '../config/types.ts'
import type { Abstention, ClassifiedPod, Decision, NodeSnapshot } from '../model/index.ts'
import { isOffline } from '../model/index.ts'
import { capacity, type CapacityMemory } from './capacity.ts'
import { burstClaims } from './burst.ts'
import { classify } from './classify.ts'
import { findingsOf } from './findings.ts'
import { identityClaims, identityState } from './identity.ts'
import { limitsClaims } from './limits.ts'
import { merge } from './merge.ts'
import { nodeSignals, type SignalMemory } from './node-signals.ts'
import { placementClaims, placementFindings, rememberPlacement, type PlacementMemory } from './placement.ts'
import { suppressCpu, type SuppressMemory } from './suppress-cpu.ts'

/** What the rules carry from one tick to the next. Plain immutable data; an agent that restarts begins with EMPTY_MEMORY. */
export interface Memory {
  readonly suppress: SuppressMemory
  readonly capacity: CapacityMemory
  readonly placement?: PlacementMemory
  readonly signals: SignalMemory
}

export const EMPTY_MEMORY: Memory = { suppress: {}, capacity: {}, signals: {} }

export interface Decided {
  readonly decision: Decision
  readonly memory: Memory
}

/** Decides one tick. Throws only E_BUG, when a rule breaks an invariant. */
export function decide(snapshot: NodeSnapshot, memory: Memory, config: Config): Decided {
  const abstentions: Abstention[] = []
  const pods = snapshot.pods.pods.map((reading) => classify(reading, config))
  const placed = rememberPlacement(snapshot, pods, memory.placement, config)
  const placement = placed.assigned.state
  const suppressed = suppressCpu(snapshot, pods, { placement, memory: memory.suppress, abstentions }, config)
  const offered = capacity(snapshot, pods, { placement, memory: memory.capacity, abstentions }, config)
  const signalled = nodeSignals(snapshot, suppressed.state, { memory: memory.signals, abstentions }, config)
  const identity = identityState(snapshot.capabilities, config, snapshot.topology)
  const desired = merge([
    ...placementClaims(snapshot, pods, placed, config),
    ...identityClaims(snapshot, pods, identity, config),
    ...burstClaims(snapshot, pods, config),
    ...limitsClaims(snapshot, pods, config, abstentions),
    ...suppressed.claims,
  ])
  return {
    decision: {
      desired,
      pods,
      offers: offered.offers,
      placement,
      ...(suppressed.state === undefined ? {} : { suppression: suppressed.state }),
      ...(signalled.signals === undefined ? {} : { signals: signalled.signals }),
      evictions: [],
      identity,
      findings: [...findingsOf(pods, config), ...placementFindings(pods, placed, config)],
      abstentions,
      complete: isComplete(snapshot, pods, suppressed.state !== undefined || !config.suppressCpu.enabled),
    },
    memory: { suppress: suppressed.memory, capacity: offered.memory, placement: placed, signals: signalled.memory },
  }
}

/** Whether what no rule wants may be put back: not before the pods were read, suppression has decided, and every offline pod is measured. */
function isComplete(snapshot: NodeSnapshot, pods: readonly ClassifiedPod[], suppressionDecided: boolean): boolean {
  const measured = pods.every((pod) => !isOffline(pod.qosClass) || !pod.reading.present || pod.reading.use !== undefined)
  return snapshot.pods.everRead && suppressionDecided && measured
}
