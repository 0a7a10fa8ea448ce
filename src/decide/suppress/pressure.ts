/**
 * The second guard of the allowance: how online work waits for CPU, whatever the use of the node is.
 *   above the bound        the allowance is cut to cutPermyriad of itself, once in cutMs, down to its floor
 *   from exit to bound     it does not grow, for futileMs: what waits then is not kept waiting by an allowance that stands still
 *   below exit             it grows as usual, in steps
 * Where offline work has been at its floor for futileMs in all and online work waited all the same, offline work is not what it waits for: the
 * guard stands aside from waiting that is no longer than it was then, by more than the bound. Waiting that comes and goes with its own load
 * must not escape that: relief takes the proof back slowly, and what was tolerated with it. A source that has fallen silent stops growth and
 * cuts nothing.
 *
 * The run queue counts offline work's own threads, most of which stand in it whatever their quota is: one that gets no CPU uses nothing up.
 * So every task of offline work is taken for one of them, and only what is left can be online work that waits.
 *
 * Kernel: pressure of the whole node (/proc/pressure/cpu) is of no use here. Tasks throttled by a quota count as stalled (psi.rst; a throttled
 * entity stays runnable without running), so the quota on offline work would itself be the pressure that calls for a lower one.
 */
import type { Config } from '../../config/types.ts'
import type { CpuPressureState, NodeSnapshot, Reading } from '../../model/index.ts'
import { ageMs } from '../../model/index.ts'
import { reasonable } from '../peak.ts'

type Source = 'online groups' | 'run queue'

/** What the guard carries from tick to tick. */
export interface PressureMemory {
  readonly source: Source
  /** The last good reading, to show while the source is silent. */
  readonly permyriad: number
  /** When it cut last. */
  readonly cutAtMs?: number
  /** The last tick with a reading. */
  readonly atMs?: number
  /** Since when the allowance has been at its floor with online work waiting, without a break. */
  readonly flooredSinceMs?: number
  /** For how long that has been so in all, less a quarter of the relief since, in ms: 0 to futileMs. */
  readonly flooredMs?: number
  /** Since when online work has waited for its exit or longer, but never for longer than the bound. */
  readonly heldSinceMs?: number
  /** The longest that it waited then. */
  readonly flooredPermyriad?: number
  /** flooredMs has been futileMs, and is not back at 0: the guard stands aside. */
  readonly futile?: true
}

/** The allowance as it stood before this tick; all in milli-CPU. */
export interface Guarded {
  readonly previousMilli: number
  /** The least that the allowance may be. */
  readonly leastMilli: number
  readonly floorMilli: number
  /** What offline work uses. */
  readonly offlineMilli: number
  /** The rule only observes: offline work is not held to the allowance. No cut shows then, so there is one for each time that online work waits. */
  readonly unheld?: boolean
}

/** What the guard says on this tick. */
export interface Guard {
  /** Undefined while it is switched off, or nothing has ever been read. */
  readonly state?: CpuPressureState
  readonly memory?: PressureMemory
  /** The allowance may not be above this; undefined when the guard does not mind. */
  readonly mostMilli?: number
  /** Online work waits for longer than the bound, and offline work may be why: rungs may be climbed. */
  readonly over: boolean
  /** Online work waits for less than the exit, or the guard can't tell, or does not mind any more: rungs may be left. Never while it is silent. */
  readonly under: boolean
  /** There was a reading once, but none now that is young enough. */
  readonly silent: boolean
}

/** A relief that comes so many cutMs after the floor was reached did not come from there: a shorter wait there proves nothing. */
const SETTLE_CUTS = 5
/** What relief takes back of the proof. All of it, and waiting half of the time would never prove anything. */
const RELIEF_SHARE = 1 / 4

const OFF: Guard = { over: false, under: true, silent: false }

/** Judges how online work waits, by readings younger than two calm ticks. */
export function guardPressure(
  snapshot: NodeSnapshot,
  memory: PressureMemory | undefined,
  guarded: Guarded,
  config: Config,
): Guard {
  if (!config.pressure.enabled) return OFF
  const { nowMs } = snapshot
  const felt = feel(snapshot, config)
  if (felt === undefined) return memory === undefined ? OFF : silence(memory, guarded, config)
  const bounds = boundsOf(felt.source, config)
  const { futileMs } = config.pressure
  const { unheld = false } = guarded
  const atFloor = guarded.previousMilli <= guarded.leastMilli
  const waits = felt.permyriad >= bounds.exit
  // What one source has proved says nothing of another: they do not count in the same units.
  const before = memory?.source === felt.source ? memory : undefined
  const { heldSinceMs = nowMs, ...kept } = prove(before, { ...felt, nowMs, waits, atFloor: atFloor && !unheld }, config)
  const told = { ...felt, boundPermyriad: bounds.bound }
  if (!waits) return quiet(unheld ? uncut(kept) : kept, told)
  if (kept.futile === true && felt.permyriad <= bounds.bound + toleratedOf(kept, futileMs)) return futile(kept, told)
  const over = felt.permyriad > bounds.bound
  if (!over && nowMs - heldSinceMs >= futileMs) return quiet({ ...kept, heldSinceMs }, told)
  const waiting: PressureMemory = over ? kept : { ...kept, heldSinceMs }
  // A cut of what is not used would give online work nothing, and cost offline work its way back up.
  const mayCut = !unheld || kept.cutAtMs === undefined
  const worthwhile = mayCut && !atFloor && guarded.offlineMilli > guarded.floorMilli
  const is = over && (worthwhile || isCooling(kept, nowMs, config)) ? 'cut' : 'hold'
  const cuts = over && worthwhile && !isCooling(kept, nowMs, config)
  return {
    state: { ...told, is },
    memory: cuts ? { ...waiting, cutAtMs: nowMs } : waiting,
    mostMilli: cuts ? cutOf(guarded, config) : guarded.previousMilli,
    over,
    under: false,
    silent: false,
  }
}

interface Seen extends Felt {
  readonly nowMs: number
  /** For the exit or longer. */
  readonly waits: boolean
  readonly atFloor: boolean
}

/** Takes in whether online work waits though offline work is at its floor, which is the proof that cutting is futile. */
function prove(
  before: PressureMemory | undefined,
  { nowMs, waits, atFloor, source, permyriad }: Seen,
  { pressure: { futileMs, cutMs } }: Config,
): PressureMemory {
  const {
    flooredSinceMs,
    flooredMs = 0,
    flooredPermyriad = 0,
    futile: wasFutile,
    atMs = nowMs,
    cutAtMs,
    heldSinceMs,
  } = before ?? {}
  const sinceMs = waits && atFloor ? (flooredSinceMs ?? nowMs) : undefined
  const counted = (untilMs: number): number =>
    sinceMs !== undefined && untilMs - sinceMs >= cutMs * SETTLE_CUTS ? untilMs - sinceMs : 0
  const relief = waits ? 0 : (nowMs - atMs) * RELIEF_SHARE
  const provedMs = Math.min(futileMs, Math.max(0, flooredMs + counted(nowMs) - counted(atMs) - relief))
  const most = Math.max(flooredPermyriad, counted(nowMs) > 0 ? permyriad : 0)
  return {
    source,
    permyriad,
    atMs: nowMs,
    ...(cutAtMs === undefined ? {} : { cutAtMs }),
    ...(sinceMs === undefined ? {} : { flooredSinceMs: sinceMs }),
    ...(provedMs > 0 ? { flooredMs: provedMs, flooredPermyriad: most } : {}),
    ...(provedMs >= futileMs || (provedMs > 0 && wasFutile === true) ? { futile: true } : {}),
    ...(heldSinceMs === undefined || !waits ? {} : { heldSinceMs }),
  }
}

/** What waiting is not offline work's doing, as far as that still stands. */
function toleratedOf({ flooredPermyriad = 0, flooredMs = 0 }: PressureMemory, futileMs: number): number {
  return (flooredPermyriad * flooredMs) / futileMs
}

interface Felt {
  readonly source: Source
  readonly permyriad: number
}

/** How online work waits, as a share in permyriad; undefined without a young reading that is a number. */
function feel({ online, node, topology, nowMs }: NodeSnapshot, config: Config): Felt | undefined {
  const youngMs = config.loop.calmMs * 2
  const young = <T>(reading: Reading<T> | undefined): T | undefined =>
    reading !== undefined && ageMs(reading, nowMs) <= youngMs ? reading.value : undefined
  if (online.cpuPressure !== undefined) {
    const stalled = reasonable(young(online.cpuPressure)?.someUsPerSecond)
    // 10000 µs in a second are a hundredth of the time. More than all of it is a counter that was read late.
    return stalled === undefined ? undefined : { source: 'online groups', permyriad: Math.min(10_000, Math.round(stalled / 100)) }
  }
  const runnable = reasonable(young(node.runQueue)?.notOffline)
  const cpus = topology.online.size
  if (runnable === undefined || cpus === 0) return undefined
  return { source: 'run queue', permyriad: Math.round((Math.max(0, runnable - cpus) * 10_000) / cpus) }
}

function boundsOf(source: Source, { pressure }: Config): { readonly bound: number; readonly exit: number } {
  if (source === 'online groups') return { bound: pressure.boundPermyriad, exit: pressure.exitPermyriad }
  return { bound: pressure.runQueuePermyriad, exit: pressure.runQueuePermyriad / 2 }
}

/** What was not seen is no ground to cut, to grow, or to call it futile. */
function silence(memory: PressureMemory, { previousMilli }: Guarded, config: Config): Guard {
  const { flooredSinceMs: _floored, heldSinceMs: _held, atMs: _at, ...kept } = memory
  const { source, permyriad } = memory
  const state: CpuPressureState = { source, permyriad, boundPermyriad: boundsOf(source, config).bound, is: 'hold' }
  return { state, memory: kept, mostMilli: previousMilli, over: false, under: false, silent: true }
}

function quiet(memory: PressureMemory, told: Omit<CpuPressureState, 'is'>): Guard {
  return { state: { ...told, is: 'quiet' }, memory, over: false, under: true, silent: false }
}

function futile(memory: PressureMemory, told: Omit<CpuPressureState, 'is'>): Guard {
  return { state: { ...told, is: 'futile' }, memory, over: false, under: true, silent: false }
}

function uncut({ cutAtMs: _cut, ...kept }: PressureMemory): PressureMemory {
  return kept
}

/** A cut shows in the readings once they have been averaged over a time that lies wholly after it. */
function isCooling({ cutAtMs }: PressureMemory, nowMs: number, { pressure: { cutMs } }: Config): boolean {
  return cutAtMs !== undefined && nowMs - cutAtMs < cutMs
}

function cutOf({ previousMilli, leastMilli }: Guarded, { pressure: { cutPermyriad } }: Config): number {
  return Math.max(leastMilli, Math.floor((previousMilli * cutPermyriad) / 10_000))
}
