/**
 * Where suppression stands, beyond the allowance of CPU: rungs, pressure, memory, IO. For people and metrics; the rules that decide it are
 * decide/suppress/.
 */
import type { OfflineClass } from './qos.ts'

/** The rungs above the allowance, in the order in which they are climbed. */
export const CPU_RUNGS = ['cpuNarrow', 'cpuFreeze', 'cpuEvict'] as const
export type CpuRung = (typeof CPU_RUNGS)[number]
export const MEMORY_RUNGS = ['memoryHold', 'memoryHighOt', 'memoryHighBe', 'memoryEvictOt', 'memoryEvictBe'] as const
export type MemoryRung = (typeof MEMORY_RUNGS)[number]
export type Rung = CpuRung | MemoryRung

/** Where a ladder stands. */
export interface LadderState<Name extends Rung> {
  /** Rungs in force, lowest first. */
  readonly inForce: readonly Name[]
  /** When the topmost came into force or the last one was left; undefined when nothing has happened yet. */
  readonly changedMs?: number
  /** The next rung whose threshold is exceeded, and what it waits for; undefined when none is. */
  readonly waiting?: {
    readonly rung: Name
    readonly for: 'dwell' | 'coolDown' | 'impossible'
    readonly detail?: string
  }
}

/** Where readings of stalls come from on this node. */
export type PressureSource = 'online groups' | 'node' | 'run queue' | 'none'

/** How online work waits for CPU. */
export interface CpuPressureState {
  readonly source: PressureSource
  /**
   * Share of time in which some task of online work waited, or for `run queue` tasks ready to run per CPU beyond the first, all that offline work has
   * left out; permyriad.
   */
  readonly permyriad: number
  readonly boundPermyriad: number
  /**
   * quiet: below the bound, and growth is not stopped. cut: the allowance was cut on this tick or waits for the cut to show. hold: growth is
   * stopped. futile: cutting did not help.
   */
  readonly is: 'quiet' | 'cut' | 'hold' | 'futile'
}

/** How steady the allowance is. */
export interface SteadinessState {
  /** Changes of direction within steady.windowMs. */
  readonly turns: number
  /** The dwell time in force: suppressCpu.dwellMs, or longer while it swings. */
  readonly dwellMs: number
  readonly swings: boolean
}

export interface MemoryState {
  readonly totalBytes: number
  readonly availableBytes: number
  /** Of the total. */
  readonly availablePermyriad: number
  /** Share of time in which some task of the node waited for memory; undefined where the kernel does not say. */
  readonly pressurePermyriad?: number
  /** All that stalls may call for is in force and has not ended them: they count no more until they have ended once. */
  readonly stallsFutile?: true
  /** Working sets of the offline classes. */
  readonly workingSetBytes: Readonly<Record<OfflineClass, number>>
  readonly ladder: LadderState<MemoryRung>
  readonly ageMs: number
}

export interface IoState {
  readonly pressurePermyriad?: number
  /** What of their configured limits offline pods have now; 10000 is all. */
  readonly sharePermyriad: number
  /** As for CPU. unknown: no reading tells how online work waits, or it is too old. */
  readonly is: 'quiet' | 'cut' | 'hold' | 'futile' | 'unknown'
  /** Configured devices that this node does not have. */
  readonly missingDevices: readonly string[]
}
