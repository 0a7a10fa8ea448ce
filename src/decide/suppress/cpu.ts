/**
 * Rule suppressCpu: how much CPU BE and OT may use together, and OT alone.
 *   target    = capacity × watermark − online − margin, between the floor and the CPUs of the best-effort set
 *   online    = peak over the dwell time of (node use − use of the offline root), which holds LS and the system alike
 *   OT        = allowance − what BE demands, never below its own floor: OT is squeezed before BE is touched
 * Down at once and all the way; up at most growthPermyriad of the node a second, one step per dwell time, and not within the dead band.
 * The first allowance after a start continues from the quota that stands in the kernel. Beside it:
 *   pressure.ts     cuts the allowance while online work waits for CPU, whatever the use of the node is
 *   steadiness.ts   widens the dwell time while the allowance swings
 *   cpu-rungs.ts    what comes once the allowance is at its floor
 */
import type { Config } from '../../config/types.ts'
import type {
  Abstention,
  Claim,
  ClassifiedPod,
  EvictingRung,
  NodeSnapshot,
  PlacementState,
  SuppressionInputs,
  SuppressionState,
} from '../../model/index.ts'
import { isObserved } from '../observed.ts'
import { allowanceClaims, firstLevel, firstOtLevel } from './cpu-claims.ts'
import {
  type ClassUse,
  measure,
  type Measured,
  type MeasureMemory,
  type Sharing,
  sharingOf,
  silentMs,
  sumUse,
} from './cpu-inputs.ts'
import { type CpuRungMemory, cpuRungs } from './cpu-rungs.ts'
import type { BeSplit } from './cpu-split.ts'
import { type Guard, guardPressure, type PressureMemory } from './pressure.ts'
import { type Clock, holdOrSink, type Level, regulate, type Regulated, type Target, within } from './regulator.ts'
import { dwellInForce, type SteadinessMemory, watchSteadiness } from './steadiness.ts'
import { unfollowedClaims } from './unfollowed.ts'

/** However long the dwell time, a hot node is not left alone for longer than this at start. */
const MOST_GATHER_MS = 3000

/** What the rule carries from tick to tick. */
export interface SuppressMemory {
  readonly measured?: MeasureMemory
  readonly allowance?: Level
  readonly otAllowance?: Level
  readonly beDemandMilli?: number
  readonly pressure?: PressureMemory
  readonly steadiness?: SteadinessMemory
  readonly rungs?: CpuRungMemory
  readonly sharing?: Sharing
  /** What the quotas of OT pods come to. */
  readonly otQuotasMilli?: number
  /** Only while offline pods have quotas one by one. */
  readonly split?: BeSplit
}

/** What the rule wants on this tick; no state while it is off or waits for its first readings. */
export interface Suppressed {
  readonly claims: readonly Claim[]
  readonly state?: SuppressionState
  readonly memory: SuppressMemory
  /** Rungs in force that evict. */
  readonly evicts: readonly EvictingRung[]
}

interface Context {
  readonly placement: PlacementState
  readonly memory: SuppressMemory
  readonly abstentions: Abstention[]
}

/** Decides the allowances and the rungs, and claims the knobs for them. Adds to `abstentions` what it could not judge. */
export function suppressCpu(
  snapshot: NodeSnapshot,
  pods: readonly ClassifiedPod[],
  { memory, placement, abstentions }: Context,
  config: Config,
): Suppressed {
  if (!config.suppressCpu.enabled) return { claims: [], memory: {}, evicts: [] }
  const use = sumUse(pods, config.loop.calmMs)
  // Nothing comes of an allowance that is only observed, so no cut shows and nothing can swing; see also guardPressure().
  const unheld = isObserved('suppressCpu', config)
  const dwellMs = dwellInForce(unheld ? undefined : memory.steadiness, config)
  const measured = measure(snapshot, memory.measured, { untaggedMilli: use.untaggedMilli, dwellMs }, config)
  const { inputs, stale, blind } = measured
  if (inputs === undefined || isGathering(memory, measured.memory, snapshot.nowMs, config)) {
    abstentions.push({ code: 'starting', rule: 'suppressCpu' })
    return { claims: [], memory: { ...memory, measured: measured.memory }, evicts: [] }
  }
  const view: View = { snapshot, pods, placement, memory, use, inputs, measured }
  const clock: Clock = { nowMs: snapshot.nowMs, capacityMilli: inputs.capacityMilli, dwellMs, usedMilli: inputs.offlineMilli }
  const { allowance, guard, atFloor } = regulateAllowance(view, clock, config)
  if (stale || guard.silent) abstentions.push({ code: 'silent', rule: 'suppressCpu' })
  const allowanceMilli = allowance.level.milli
  const demandMilli = beDemand(use, memory, inputs.capacityMilli, config)
  const still = stale || isUnrenewed(inputs, config) || guard.mostMilli !== undefined
  const ot = regulateOt(view, { still, leftMilli: allowanceMilli - demandMilli }, clock, config)
  const steadiness = unheld ? undefined : watchSteadiness(memory.steadiness, { ...clock, allowanceMilli }, config)
  const rungs = cpuRungs(
    {
      snapshot,
      pods,
      placement,
      allowanceMilli,
      atFloor,
      fresh: !stale,
      ...rungGrounds({ inputs, guard, allowanceMilli, unheld }),
    },
    memory.rungs,
    config,
  )
  const state: SuppressionState = {
    inputs,
    bound: allowance.bound,
    allowanceMilli,
    otAllowanceMilli: ot.level.milli,
    beDemandMilli: demandMilli,
    hot: (!blind && isHot(inputs, allowanceMilli, config)) || feelsPressure(guard) || rungs.state.inForce.length > 0,
    ...(guard.state === undefined ? {} : { pressure: guard.state }),
    steadiness: steadiness?.state ?? { turns: 0, dwellMs, swings: false },
    ladder: rungs.state,
  }
  const sharing = sharingOf(snapshot, pods, memory.sharing)
  const { split, otQuotasMilli } = memory
  const held = allowanceClaims({ snapshot, pods, state, use, sharing, blind, otBound: ot.bound, otQuotasMilli, split }, config)
  return {
    claims: [...held.claims, ...rungs.claims, ...unfollowedClaims(snapshot, pods, sharing)],
    state,
    memory: {
      measured: measured.memory,
      allowance: allowance.level,
      otAllowance: ot.level,
      beDemandMilli: demandMilli,
      rungs: rungs.memory,
      sharing,
      otQuotasMilli: held.otQuotasMilli,
      ...(held.split === undefined ? {} : { split: held.split }),
      ...(guard.memory === undefined ? {} : { pressure: guard.memory }),
      ...(steadiness === undefined ? {} : { steadiness: steadiness.memory }),
    },
    evicts: rungs.evicts,
  }
}

/**
 * What rungs go by. An allowance that is only observed holds nobody: what offline work uses beyond it would not be used, and whether online work
 * would wait all the same can't be told.
 */
function rungGrounds({
  inputs: { nodeMilli, offlineMilli, capacityMilli },
  guard,
  allowanceMilli,
  unheld,
}: {
  readonly inputs: SuppressionInputs
  readonly guard: Guard
  readonly allowanceMilli: number
  readonly unheld: boolean
}): Pick<Parameters<typeof cpuRungs>[0], 'nodePermyriad' | 'pressure'> {
  const usedMilli = unheld ? nodeMilli - Math.max(0, offlineMilli - allowanceMilli) : nodeMilli
  return {
    nodePermyriad: Math.max(0, Math.round((usedMilli * 10_000) / capacityMilli)),
    pressure: unheld ? { over: false, under: true } : guard,
  }
}

/** What is known on this tick before anything is decided. */
interface View {
  readonly snapshot: NodeSnapshot
  readonly pods: readonly ClassifiedPod[]
  readonly placement: PlacementState
  readonly memory: SuppressMemory
  readonly use: ClassUse
  readonly inputs: SuppressionInputs
  readonly measured: Measured
}

interface RegulatedAllowance {
  readonly allowance: Regulated
  readonly guard: Guard
  readonly atFloor: boolean
}

/** The allowance by the watermark, as far as the guard lets it. */
function regulateAllowance(
  { snapshot, placement, memory, use, inputs, measured }: View,
  clock: Clock,
  config: Config,
): RegulatedAllowance {
  const { floorMilli, offlineMilli } = inputs
  const capMilli = placement.bestEffort.size * 1000
  const unheld = isObserved('suppressCpu', config)
  // CPUs and settings may have changed since: a level outside of today's bounds is none.
  const leastMilli = Math.min(floorMilli, capMilli)
  const previous = within(memory.allowance ?? firstLevel(snapshot, use, config), leastMilli, capMilli)
  const target = boundedTarget(inputs, capMilli)
  const previousMilli = previous?.milli ?? target.milli
  const guard = guardPressure(snapshot, memory.pressure, { previousMilli, leastMilli, floorMilli, offlineMilli, unheld }, config)
  const silence = { floorMilli: leastMilli, silentMs: silentMs(measured.memory, clock.nowMs) }
  const allowance = measured.stale
    ? cutBlindly(holdOrSink(previous, silence, clock, config), guard, clock)
    : regulate(renewed(guarded(target, guard), previousMilli, inputs, config), previous, clock, config)
  return { allowance, guard, atFloor: allowance.level.milli <= leastMilli }
}

/** The agent's own start costs CPU, and stands in the peak for dwellMs: a first allowance out of it would suppress for nothing. */
function isGathering({ allowance }: SuppressMemory, { sinceMs }: MeasureMemory, nowMs: number, config: Config): boolean {
  const gatherMs = Math.min(config.suppressCpu.dwellMs * 2, MOST_GATHER_MS)
  return allowance === undefined && nowMs - (sinceMs ?? -Infinity) < gatherMs
}

function boundedTarget(inputs: SuppressionInputs, capMilli: number): Target {
  const wanted = Math.floor(inputs.watermarkMilli - inputs.onlineMilli - inputs.marginMilli)
  if (wanted <= inputs.floorMilli) return { milli: Math.min(inputs.floorMilli, capMilli), bound: 'floor' }
  return wanted >= capMilli ? { milli: capMilli, bound: 'cpuset' } : { milli: wanted, bound: 'watermark' }
}

/** The target as the guard lets it be. */
function guarded(target: Target, { mostMilli, state }: Guard): Target {
  if (mostMilli === undefined || mostMilli >= target.milli) return target
  return { milli: mostMilli, bound: state?.is === 'cut' ? 'pressure' : 'pressureHold' }
}

/** Every tick reads anew: an older reading is one that the kernel did not give this time, and may be from before the last cut. */
function isUnrenewed({ ageMs }: SuppressionInputs, { loop }: Config): boolean {
  return ageMs > loop.hotMs
}

/** What was not read on this tick is good enough to shrink by, but not to grow by (I9). */
function renewed(target: Target, previousMilli: number, inputs: SuppressionInputs, config: Config): Target {
  return isUnrenewed(inputs, config) && target.milli > previousMilli ? { milli: previousMilli, bound: 'stale' } : target
}

/** Online work that waits is reason enough to cut, also while the use of the node can't be read. */
function cutBlindly(held: Regulated, { mostMilli }: Guard, { nowMs }: Clock): Regulated {
  if (mostMilli === undefined || mostMilli >= held.level.milli) return held
  return { level: { milli: mostMilli, changedMs: nowMs }, bound: 'pressure' }
}

/** OT gets what BE leaves of the allowance; while `still` it may shrink, but not grow. */
function regulateOt(
  { snapshot, pods, memory }: View,
  { still, leftMilli }: { readonly still: boolean; readonly leftMilli: number },
  clock: Clock,
  config: Config,
): Regulated {
  const floorMilli = Math.max(1, Math.floor((clock.capacityMilli * config.suppressCpu.otFloorPermyriad) / 10_000))
  const wantedMilli = Math.max(floorMilli, leftMilli)
  const previous = within(memory.otAllowance ?? firstOtLevel(snapshot, pods), floorMilli, Infinity)
  const milli = still ? Math.min(wantedMilli, previous?.milli ?? floorMilli) : wantedMilli
  return regulate({ milli, bound: milli === floorMilli ? 'floor' : 'watermark' }, previous, clock, config)
}

/**
 * A class that leaves no more than this share of what it may use is held back by it: what it would use is not known, so all it asked for
 * counts. But less than half of its headroom: what was just left to it beyond its use must not count as used up, or OT would never come to
 * rest beside a steady BE.
 */
const SATURATED_LEFT = 0.15

/**
 * What BE would use if it were let. Readings that began before the last change of the allowance tell of another time: until newer ones
 * come, what was known stands, so that OT does not jump into room that BE is about to fill.
 */
function beDemand(use: ClassUse, memory: SuppressMemory, capacityMilli: number, config: Config): number {
  if (use.beAskedMilli === 0) return 0
  const headroom = (capacityMilli * config.suppressCpu.beHeadroomPermyriad) / 10_000
  const seen = Math.round(Math.min(use.beAskedMilli, capacityMilli, use.beMilli + headroom))
  const { allowance, otAllowance, beDemandMilli } = memory
  if (allowance === undefined || otAllowance === undefined || beDemandMilli === undefined) return seen
  if (use.beSinceMs < allowance.changedMs) return Math.min(use.beAskedMilli, Math.max(beDemandMilli, seen))
  const available = Math.min(use.beAskedMilli, allowance.milli - otAllowance.milli)
  const isSaturated = available - use.beMilli <= Math.min(available * SATURATED_LEFT, headroom / 2)
  return isSaturated ? Math.min(use.beAskedMilli, capacityMilli) : seen
}

function isHot(inputs: SuppressionInputs, allowanceMilli: number, config: Config): boolean {
  const lowMilli = (inputs.capacityMilli * config.suppressCpu.lowWatermarkPermyriad) / 10_000
  return inputs.nodeMilli >= lowMilli || inputs.offlineMilli >= allowanceMilli * 0.9
}

/** Pressure above its exit. Where the guard has stood aside there is nothing to be quick about. */
function feelsPressure({ state, silent }: Guard): boolean {
  return !silent && (state?.is === 'cut' || state?.is === 'hold')
}
