/**
 * The asymmetric regulator behind suppression: down at once and all the way, up in steps with a dwell time between them and a dead band
 * below them. Pure: the level it was at comes in, the level it goes to comes out.
 */
import type { Config } from '../../config/types.ts'
import type { AllowanceBound } from '../../model/index.ts'

/** An amount in milli-CPU that grows in steps, and when it changed last. */
export interface Level {
  readonly milli: number
  readonly changedMs: number
}

/** Where the level should go, and what set that mark. */
export interface Target {
  readonly milli: number
  readonly bound: AllowanceBound
}

/** The level of this tick, and what kept it from being another. */
export interface Regulated {
  readonly level: Level
  readonly bound: AllowanceBound
}

/** What the regulator measures time and steps by. */
export interface Clock {
  readonly nowMs: number
  readonly capacityMilli: number
  /** The dwell time in force (steadiness.ts): suppressCpu.dwellMs, or longer while the allowance swings. */
  readonly dwellMs: number
  /** What offline work uses, in milli-CPU: OT alone uses no more than that. */
  readonly usedMilli: number
}

/** Whoever uses less than this share of a level gains nothing from a little more of it. */
const RESTS_BELOW = 0.5
/** So many dead bands are too small for one who rests: the jitter of a quiet node moves its peak by more than one, all the time. */
const RESTING_BANDS = 5

/** The level held between two bounds, keeping the time of its last change. */
export function within(level: Level | undefined, leastMilli: number, mostMilli: number): Level | undefined {
  return level === undefined ? undefined : { ...level, milli: Math.min(mostMilli, Math.max(leastMilli, level.milli)) }
}

/**
 * The next level: a shrink goes to the target in one step (I6); growth is at most growthPermyriad of the capacity a second, one step in
 * the dwell time in force (I7), and none that is too small to write (I84) unless the target is a bound. A step is as large as the configured
 * dwell time makes it: a longer one makes steps rarer, not larger.
 */
export function regulate(target: Target, previous: Level | undefined, clock: Clock, config: Config): Regulated {
  const { nowMs, capacityMilli, dwellMs } = clock
  const { growthPermyriad, dwellMs: stepMs } = config.suppressCpu
  const at = (milli: number, bound: AllowanceBound): Regulated => ({ level: { milli, changedMs: nowMs }, bound })
  if (previous === undefined) return at(target.milli, target.bound)
  const missingMilli = target.milli - previous.milli
  if (missingMilli === 0) return { level: previous, bound: target.bound }
  if (missingMilli < 0) return at(target.milli, target.bound)
  const kept = target.bound === 'watermark' ? tooSmall(missingMilli, previous, clock, config) : undefined
  if (kept !== undefined) return { level: previous, bound: kept }
  if (nowMs - previous.changedMs < dwellMs) return { level: previous, bound: 'dwell' }
  const stepMilli = Math.max(1, Math.floor((capacityMilli * growthPermyriad * stepMs) / 1000 / 10_000))
  const grown = previous.milli + stepMilli
  return grown < target.milli ? at(grown, 'growth') : at(target.milli, target.bound)
}

/** Why growth by so much is too small to write: it is within the dead band, or within several while most of the level is not used. */
function tooSmall(
  missingMilli: number,
  { milli }: Level,
  { capacityMilli, usedMilli }: Clock,
  config: Config,
): 'deadBand' | 'unused' | undefined {
  const bandMilli = deadBandMilli(capacityMilli, config)
  if (missingMilli <= bandMilli) return 'deadBand'
  return usedMilli < milli * RESTS_BELOW && missingMilli <= bandMilli * RESTING_BANDS ? 'unused' : undefined
}

/** Growth of the allowance that is too small to write, whoever waits for it; also what counts as a change of direction (steadiness.ts). In milli-CPU. */
export function deadBandMilli(capacityMilli: number, { suppressCpu: { deadBandPermyriad } }: Config): number {
  return (capacityMilli * deadBandPermyriad) / 10_000
}

/** Without readings the level never grows; silent past staleMs it sinks to the floor, the safe minimum (I9). */
export function holdOrSink(
  previous: Level | undefined,
  { floorMilli, silentMs }: { readonly floorMilli: number; readonly silentMs: number },
  { nowMs }: Clock,
  config: Config,
): Regulated {
  const held = previous ?? { milli: floorMilli, changedMs: nowMs }
  if (silentMs <= config.suppressCpu.staleMs || held.milli <= floorMilli) return { level: held, bound: 'stale' }
  return { level: { milli: floorMilli, changedMs: nowMs }, bound: 'stale' }
}
