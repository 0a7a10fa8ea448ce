/** A finished tick: everything that metrics, journal, status and explain are projections of. */
import type { Decision } from './claim.ts'
import type { Journaled, Plan, StepResult } from './plan.ts'
import type { OfflineResource } from './qos.ts'
import type { NodeSnapshot } from './snapshot.ts'

/** observe: sense and decide only. plan: also show what would change. enforce: write and advertise. */
export const MODES = ['observe', 'plan', 'enforce'] as const
export type Mode = (typeof MODES)[number]

export interface TickRecord {
  readonly mode: Mode
  readonly snapshot: NodeSnapshot
  readonly decision: Decision
  readonly plan: Plan
  /** One per step that was tried; empty unless the mode is enforce. */
  readonly results: readonly StepResult[]
  readonly journaled: Journaled
  /** Sense to actuate, in milliseconds. */
  readonly tookMs: number
  /** How long after its due time the tick began, in milliseconds. */
  readonly lateMs: number
}

/** How one extended resource stands with the kubelet. */
export interface ResourceState {
  readonly resource: OfflineResource
  readonly fullName: string
  readonly registered: boolean
  readonly openStreams: number
  readonly advertisedUnits: number
  readonly allocatedUnits: number
  readonly lastError?: string
}
