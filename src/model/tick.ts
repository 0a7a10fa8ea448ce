/** A finished tick: everything that metrics, journal, status and explain are projections of. */
import type { Decision } from './decision.ts'
import type { DriftView } from './drift.ts'
import type { Journaled, JournalHealth, Plan, StepResult } from './plan.ts'
import type { OfflineResource } from './qos.ts'
import type { NodeSnapshot } from './snapshot.ts'

/** observe: sense and decide only. plan: also show what would change. enforce: write and advertise. */
export const MODES = ['observe', 'plan', 'enforce'] as const
export type Mode = (typeof MODES)[number]

export interface TickRecord {
  readonly mode: Mode
  /** When the agent released the node because `kube-agent release` asked it to, and began to write nothing; undefined while it has not. */
  readonly releasedWallMs?: number
  readonly snapshot: NodeSnapshot
  readonly decision: Decision
  readonly plan: Plan
  /** One per step that was tried; empty unless the mode is enforce. */
  readonly results: readonly StepResult[]
  readonly journaled: Journaled
  /** How writing the restore journal goes; undefined while there is none. */
  readonly journalHealth?: JournalHealth
  /** What others write to the agent's knobs; undefined while it writes none. */
  readonly drift?: DriftView
  /** Sense to actuate, in milliseconds. */
  readonly tookMs: number
  /** How long after its due time the tick began, in milliseconds. */
  readonly lateMs: number
  /** When a guard beat or tick first saw the node above the watermark; undefined while it is below, or where nobody tells. Monotonic ms. */
  readonly aboveSinceMs?: number
}

/** How one extended resource stands with the kubelet. */
export interface ResourceState {
  readonly resource: OfflineResource
  readonly fullName: string
  readonly registered: boolean
  readonly openStreams: number
  /** Calls of Register that the kubelet accepted, and lists sent to it, since the start. */
  readonly registrations: number
  readonly pushes: number
  readonly advertisedUnits: number
  readonly allocatedUnits: number
  /** Allocations that are over, since the start. */
  readonly endedUnits: number
  readonly lastError?: string
}

/** How it is known which allocations are over. */
export interface AllocationSource {
  /** From the kubelet's pod-resources; otherwise guessed from the pods that are listed. */
  readonly exact: boolean
  /** Units by full resource name that the kubelet says each pod holds, by `namespace/name`; undefined while it was not asked. */
  readonly held?: ReadonlyMap<string, Readonly<Record<string, number>>>
  readonly lastError?: string
}

/** How the agent stands with the API server that it tells of the node. */
export interface ClusterState {
  readonly server: string
  /** Calls by the name of the operation. */
  readonly writes: Readonly<Record<string, { readonly ok: number; readonly failed: number }>>
  readonly droppedEvents: number
  /** Why the last call failed; undefined once one succeeds again. */
  readonly lastError?: string
  readonly lastOkWallMs?: number
}
