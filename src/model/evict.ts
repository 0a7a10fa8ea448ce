/**
 * Evictions: what a tick wishes (decide/evict.ts), what became of earlier wishes (kube/), and the port between the two. A wish is a plain
 * value; asking the API server takes longer than a tick, so its answer shows in the snapshot of a later one.
 */
import type { OfflineClass } from './qos.ts'

/** The rungs that evict. */
export const EVICTING_RUNGS = ['cpuEvict', 'memoryEvictOt', 'memoryEvictBe'] as const
export type EvictingRung = (typeof EVICTING_RUNGS)[number]

export interface EvictionWish {
  readonly uid: string
  readonly namespace: string
  readonly name: string
  readonly qosClass: OfflineClass
  readonly rung: EvictingRung
  /** Only told of, never asked for. */
  readonly dryRun: boolean
  /** What the pod used when it was chosen. */
  readonly usesMilli: number
  readonly usesBytes: number
  readonly priority: number
}

/**
 * asked: the API server has not answered yet. evicted: it agreed, and the pod is on its way out. forced: the pod was deleted, past a
 * disruption budget. blocked: a disruption budget forbids it for now (429). gone: there is no such pod any more. dryRun: told of only.
 */
export const EVICTION_OUTCOMES = ['asked', 'evicted', 'forced', 'blocked', 'gone', 'failed', 'dryRun'] as const
export type EvictionOutcome = (typeof EVICTION_OUTCOMES)[number]

export interface EvictionRecord {
  readonly wish: EvictionWish
  readonly is: EvictionOutcome
  /** When it came to this, monotonic milliseconds. */
  readonly atMs: number
  /** The server's words, where it said no. */
  readonly detail?: string
}

/** What is known of evictions when a tick begins. */
export interface EvictionsView {
  /** Why pods can't be evicted from here at all; undefined when they can. */
  readonly impossible?: string
  /** The newest record of each pod that was wished away, newest first, at most 64. */
  readonly recent: readonly EvictionRecord[]
  /** Since the start. */
  readonly counts: Readonly<Record<EvictionOutcome, number>>
}

/** Carries wishes out. */
export interface Evictor {
  /** Asks for each wish, unless the pod was asked for already and the answer is not in or was a yes. Never throws or waits. */
  evict(wishes: readonly EvictionWish[], nowMs: number): void
  view(): EvictionsView
}

export const NO_EVICTIONS: EvictionsView = {
  impossible: 'nobody can be asked: there is no API server, or the mode is not enforce',
  recent: [],
  counts: { asked: 0, evicted: 0, forced: 0, blocked: 0, gone: 0, failed: 0, dryRun: 0 },
}
