/**
 * What offline pods have of their configured IO limits, in the manner of the CPU guard: cut at once while online work waits for IO, held
 * until it waits clearly less or holding has proved useless, given back in small steps. Pure: the share as it stood comes in, the share as it stands goes out.
 * Kernel: PSI counts a task that blk-throttle holds back as one that waits for IO (psi.rst, io_schedule). In the groups of online work
 * that tells of online work alone; the node's own total, all that there is under cgroup v1, also holds the offline tasks that are being
 * throttled. So cutting may feed the very reading that asks for it: where the floor brings no relief, the guard stands aside.
 */
import type { Config } from '../../config/types.ts'
import type { IoState, NodeSnapshot } from '../../model/index.ts'
import { ageMs } from '../../model/index.ts'
import { isObserved } from '../observed.ts'

/** Time between two cuts, and between two steps of growth: what one has done shows in the stalls of the next second. */
const STEP_MS = 1000
const WHOLE_PERMYRIAD = 10_000
/** A kernel that counts stalls has told of them by then: without any, what an earlier agent's cut has left grows back step by step. */
const UNSEEN_MS = 10_000

export interface IoMemory {
  readonly sharePermyriad: number
  /** When the share last changed. */
  readonly changedMs?: number
  readonly cutMs?: number
  /** Online work waits for IO: from above the bound until below the exit. */
  readonly pressed: boolean
  /** Since when the share has been at its floor while pressed. */
  readonly floorSinceMs?: number
  /** Since when online work has waited for its exit or longer, but never for longer than the bound. */
  readonly heldSinceMs?: number
  /** Even the floor brought no relief: the share grows whatever the readings say, until they are below the exit once. */
  readonly futile: boolean
  /** Whether stalls have been read before: a kernel that counts none is not a sensor that has fallen silent. */
  readonly seen: boolean
}

/** Stalls as the rule may use them. */
export interface IoPressure {
  /** Share of time in which some task waited for IO, 0 to 10000. */
  readonly permyriad: number
  readonly atMs: number
}

/** Stalls of online work, or of the node where groups count none; undefined when they are missing, no amount, or older than two calm ticks. */
export function ioPressureOf({ online, node, nowMs }: NodeSnapshot, config: Config): IoPressure | undefined {
  const reading = online.ioPressure ?? node.ioPressure
  if (reading === undefined || !(ageMs(reading, nowMs) <= config.loop.calmMs * 2)) return undefined
  const { someUsPerSecond: someUs } = reading.value
  // A counter that ran backwards tells nothing: taken for quiet, it would let the share grow.
  if (!Number.isFinite(someUs) || someUs < 0) return undefined
  // 10000 µs a second are a hundredth of the time.
  return { permyriad: Math.min(WHOLE_PERMYRIAD, Math.round(someUs / 100)), atMs: reading.atMs }
}

/** The memory of a rule that starts from a share, in permyriad: 10000, or what an agent before this one has left. */
export function startShare(sharePermyriad: number, nowMs: number): IoMemory {
  const cutBefore = sharePermyriad < WHOLE_PERMYRIAD
  return { sharePermyriad, pressed: cutBefore, futile: false, seen: false, ...(cutBefore ? { changedMs: nowMs } : {}) }
}

/** The share after this tick (I61), and what moved it. */
export function regulateShare(
  pressure: IoPressure | undefined,
  previous: IoMemory,
  nowMs: number,
  config: Config,
): { readonly memory: IoMemory; readonly is: IoState['is'] } {
  const { pressurePermyriad, exitPermyriad, floorPermyriad } = config.suppressIo
  // Settings may have changed since.
  const memory = { ...previous, sharePermyriad: Math.min(WHOLE_PERMYRIAD, Math.max(floorPermyriad, previous.sharePermyriad)) }
  if (pressure === undefined) {
    const uncounted = !memory.seen && nowMs - (memory.changedMs ?? nowMs) >= UNSEEN_MS
    return { memory: uncounted ? grown({ ...memory, pressed: false }, nowMs, config) : memory, is: 'unknown' }
  }
  const { floorSinceMs: _floored, heldSinceMs: _held, ...rest } = memory
  const quiet = pressure.permyriad < exitPermyriad
  const over = pressure.permyriad > pressurePermyriad
  if (quiet) return { memory: grown({ ...rest, pressed: false, futile: false, seen: true }, nowMs, config), is: 'quiet' }
  // No cut of a rule that only observes shows: one for each time that online work waits, and none that could prove futile.
  const unheld = isObserved('suppressIo', config)
  if (previous.futile && !unheld) return { memory: grown({ ...rest, pressed: false, seen: true }, nowMs, config), is: 'futile' }
  const { futileMs } = config.pressure
  const heldSinceMs = memory.heldSinceMs ?? nowMs
  if (!over && nowMs - heldSinceMs >= futileMs)
    return { memory: grown({ ...rest, pressed: false, seen: true, heldSinceMs }, nowMs, config), is: 'quiet' }
  const pressed = over || memory.pressed
  const held: IoMemory = { ...rest, pressed, seen: true, ...(over ? {} : { heldSinceMs }) }
  if (unheld && memory.pressed) return { memory: held, is: 'hold' }
  if (!pressed || held.sharePermyriad > floorPermyriad)
    return { memory: over ? cut(held, pressure, nowMs, config) : held, is: over ? 'cut' : 'hold' }
  const floorSinceMs = memory.floorSinceMs ?? nowMs
  if (nowMs - floorSinceMs < futileMs) return { memory: { ...held, floorSinceMs }, is: over ? 'cut' : 'hold' }
  return { memory: { ...held, pressed: false, futile: true }, is: 'futile' }
}

/** At most one cut a second, and only for stalls that were read since the last one: older ones tell of the time before it. */
function cut(memory: IoMemory, pressure: IoPressure, nowMs: number, config: Config): IoMemory {
  const { cutPermyriad, floorPermyriad } = config.suppressIo
  const { cutMs, sharePermyriad: before } = memory
  if (cutMs !== undefined && (nowMs - cutMs < STEP_MS || pressure.atMs <= cutMs)) return memory
  const sharePermyriad = Math.max(floorPermyriad, Math.floor((before * cutPermyriad) / WHOLE_PERMYRIAD))
  return sharePermyriad === before ? memory : { ...memory, sharePermyriad, changedMs: nowMs, cutMs: nowMs }
}

/** One step of growth, a second after the last change at the earliest: after a gap in the ticks too it is one. */
function grown(memory: IoMemory, nowMs: number, config: Config): IoMemory {
  const { sharePermyriad: before, changedMs } = memory
  if (before >= WHOLE_PERMYRIAD || (changedMs !== undefined && nowMs - changedMs < STEP_MS)) return memory
  const sharePermyriad = Math.min(WHOLE_PERMYRIAD, before + config.suppressIo.growthPermyriad)
  return { ...memory, sharePermyriad, changedMs: nowMs }
}
