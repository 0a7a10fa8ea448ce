/**
 * Rule suppressCpu: how much CPU BE and OT may use together, and OT alone.
 *   target    = capacity × watermark − online − margin, between the floor and the CPUs of the best-effort set
 *   online    = peak over dwellMs of (node use − use of the offline root), which holds LS and the system alike
 *   OT        = allowance − what BE demands, never below its own floor: OT is squeezed before BE is touched
 * Down at once and all the way; up at most growthPermyriad of the node a second, one step per dwellMs, and not within the dead band.
 * The first allowance after a start continues from the quota that stands in the kernel.
 */
import type { Config } from '../config/types.ts'
import type {
  Abstention,
  AllowanceBound,
  Claim,
  ClassifiedPod,
  NodeSnapshot,
  PlacementState,
  SuppressionInputs,
  SuppressionState,
} from '../model/index.ts'
import { ageMs, isQuota, quotaMilliCpu, quotaOf } from '../model/index.ts'
import { isOnlineBelowOfflineRoot } from './classify.ts'
import { addPeak, peakOf, type PeakWindow, reasonable } from './peak.ts'
import { holdOrSink, type Level, regulate, type Target, within } from './regulator.ts'

/** However long the dwell time, a hot node is not left alone for longer than this at start. */
const MOST_GATHER_MS = 3000

export interface SuppressMemory {
  readonly online?: PeakWindow
  readonly allowance?: Level
  readonly otAllowance?: Level
  /** The last inputs that were good, for the ticks on which a sensor is silent. */
  readonly inputs?: SuppressionInputs
  /** When the agent first waited for a reading. */
  readonly waitingSinceMs?: number
  readonly beDemandMilli?: number
  /** When the first good reading came. */
  readonly sinceMs?: number
}

export interface Suppressed {
  readonly claims: readonly Claim[]
  readonly state?: SuppressionState
  readonly memory: SuppressMemory
}

export function suppressCpu(
  snapshot: NodeSnapshot,
  pods: readonly ClassifiedPod[],
  context: { readonly placement: PlacementState; readonly memory: SuppressMemory; readonly abstentions: Abstention[] },
  config: Config,
): Suppressed {
  const { memory } = context
  if (!config.suppressCpu.enabled) return { claims: [], memory: {} }
  const use = sumUse(pods, config.loop.calmMs)
  const measured = measure(snapshot, memory, use.untaggedMilli, config)
  if (measured.inputs === undefined || isGathering(measured.memory, snapshot.nowMs, config)) {
    context.abstentions.push({ code: 'starting', rule: 'suppressCpu' })
    return { claims: [], memory: measured.memory }
  }
  if (measured.stale) context.abstentions.push({ code: 'silent', rule: 'suppressCpu' })
  const { inputs } = measured
  const capMilli = context.placement.bestEffort.size * 1000
  // CPUs and settings may have changed since: a level outside of today's bounds is none.
  const leastMilli = Math.min(inputs.floorMilli, capMilli)
  const previous = within(memory.allowance ?? firstLevel(snapshot, use.untaggedMilli, config), leastMilli, capMilli)
  const clock = { nowMs: snapshot.nowMs, capacityMilli: inputs.capacityMilli }
  const silence = { floorMilli: inputs.floorMilli, silentMs: silentMs(measured.memory, clock.nowMs) }
  const allowance = measured.stale
    ? holdOrSink(previous, silence, clock, config)
    : regulate(boundedTarget(inputs, capMilli), previous, clock, config)
  const demandMilli = beDemand(use, memory, inputs.capacityMilli, config)
  const otFloorMilli = Math.max(1, Math.floor((inputs.capacityMilli * config.suppressCpu.otFloorPermyriad) / 10_000))
  const otWanted = Math.max(otFloorMilli, allowance.level.milli - demandMilli)
  const otPrevious = within(memory.otAllowance ?? firstOtLevel(snapshot, pods), otFloorMilli, Infinity)
  const otTarget = measured.stale ? Math.min(otWanted, otPrevious?.milli ?? otFloorMilli) : otWanted
  const ot = regulate({ milli: otTarget, bound: otTarget === otFloorMilli ? 'floor' : 'watermark' }, otPrevious, clock, config)
  const state: SuppressionState = {
    inputs,
    bound: allowance.bound,
    allowanceMilli: allowance.level.milli,
    otAllowanceMilli: ot.level.milli,
    beDemandMilli: demandMilli,
    hot: isHot(inputs, allowance.level.milli, config),
    steadiness: { turns: 0, dwellMs: config.suppressCpu.dwellMs, swings: false },
    ladder: { inForce: [] },
  }
  return {
    claims: [rootClaim(snapshot, state, use.untaggedMilli, config), ...otClaims(pods, state, ot.bound)],
    state,
    memory: { ...measured.memory, allowance: allowance.level, otAllowance: ot.level, beDemandMilli: demandMilli },
  }
}

interface ClassUse {
  readonly beMilli: number
  readonly beAskedMilli: number
  /** When the oldest reading behind `beMilli` began. */
  readonly beSinceMs: number
  readonly untaggedMilli: number
}

function sumUse(pods: readonly ClassifiedPod[], calmMs: number): ClassUse {
  let beMilli = 0
  let beAskedMilli = 0
  let beSinceMs = Infinity
  let untaggedMilli = 0
  for (const pod of pods) {
    // Whole numbers: their sum does not depend on the order of the pods.
    const used = Math.round(reasonable(pod.reading.use?.value.cpuMilli) ?? 0)
    if (isOnlineBelowOfflineRoot(pod)) untaggedMilli += used
    if (pod.qosClass !== 'BE' || !pod.reading.present) continue
    beMilli += used
    beSinceMs = Math.min(beSinceMs, (pod.reading.use?.atMs ?? 0) - calmMs)
    // A BE pod without an amount may take all it gets: OT yields to it as to any other.
    beAskedMilli += pod.askedMilli > 0 ? pod.askedMilli : Infinity
  }
  return { beMilli, beAskedMilli, beSinceMs, untaggedMilli }
}

interface Measured {
  readonly inputs?: SuppressionInputs
  readonly stale: boolean
  readonly memory: SuppressMemory
}

function measure(snapshot: NodeSnapshot, memory: SuppressMemory, untaggedMilli: number, config: Config): Measured {
  const { suppressCpu: settings } = config
  const node = snapshot.node.cpu
  const offline = snapshot.bestEffort.cpu
  const freshMs = config.loop.calmMs * 2
  const nodeMilli = reasonable(node?.value.usedMilli)
  const rootMilli = reasonable(offline?.value.usedMilli)
  const oldestMs =
    node === undefined || offline === undefined ? Infinity : Math.max(ageMs(node, snapshot.nowMs), ageMs(offline, snapshot.nowMs))
  if (nodeMilli === undefined || rootMilli === undefined || !(oldestMs <= freshMs)) {
    const waitingSinceMs = memory.waitingSinceMs ?? snapshot.nowMs
    const held = { ...memory, waitingSinceMs }
    return { ...(memory.inputs === undefined ? {} : { inputs: memory.inputs }), stale: true, memory: held }
  }
  const offlineMilli = Math.max(0, rootMilli - untaggedMilli)
  const online = addPeak(memory.online, Math.max(0, nodeMilli - offlineMilli), snapshot.nowMs, settings.dwellMs)
  const inputs = inputsOf(snapshot, { nodeMilli, offlineMilli, onlineMilli: peakOf(online), ageMs: oldestMs }, config)
  const { waitingSinceMs: _waited, ...rest } = memory
  return { inputs, stale: false, memory: { ...rest, online, inputs, sinceMs: memory.sinceMs ?? snapshot.nowMs } }
}

function inputsOf(
  snapshot: NodeSnapshot,
  use: Pick<SuppressionInputs, 'nodeMilli' | 'offlineMilli' | 'onlineMilli' | 'ageMs'>,
  { suppressCpu: settings }: Config,
): SuppressionInputs {
  const capacityMilli = snapshot.topology.online.size * 1000
  return {
    capacityMilli,
    watermarkPermyriad: settings.watermarkPermyriad,
    watermarkMilli: (capacityMilli * settings.watermarkPermyriad) / 10_000,
    nodeMilli: Math.round(use.nodeMilli),
    offlineMilli: Math.round(use.offlineMilli),
    onlineMilli: Math.round(use.onlineMilli),
    marginMilli: (capacityMilli * settings.marginPermyriad) / 10_000,
    floorMilli: Math.max(1, Math.floor((capacityMilli * settings.floorPermyriad) / 10_000)),
    ageMs: Math.round(use.ageMs),
  }
}

function silentMs({ waitingSinceMs }: SuppressMemory, nowMs: number): number {
  return nowMs - (waitingSinceMs ?? nowMs)
}

/** The agent's own start costs CPU, and stands in the peak for dwellMs: a first allowance out of it would suppress for nothing. */
function isGathering({ allowance, sinceMs }: SuppressMemory, nowMs: number, config: Config): boolean {
  const gatherMs = Math.min(config.suppressCpu.dwellMs * 2, MOST_GATHER_MS)
  return allowance === undefined && nowMs - (sinceMs ?? nowMs) < gatherMs
}

function boundedTarget(inputs: SuppressionInputs, capMilli: number): Target {
  const wanted = Math.floor(inputs.watermarkMilli - inputs.onlineMilli - inputs.marginMilli)
  if (wanted <= inputs.floorMilli) return { milli: Math.min(inputs.floorMilli, capMilli), bound: 'floor' }
  return wanted >= capMilli ? { milli: capMilli, bound: 'cpuset' } : { milli: wanted, bound: 'watermark' }
}

/**
 * After a restart growth goes on from where the kernel stands, less what rootClaim() puts on top; a node without a quota starts at the
 * target.
 */
function firstLevel(snapshot: NodeSnapshot, untaggedMilli: number, config: Config): Level | undefined {
  const quota = snapshot.actual.get(snapshot.bestEffort.group, 'quota')?.value
  if (!isQuota(quota) || quota.quotaUs === null) return undefined
  const extraMilli = untaggedExtra(untaggedMilli, snapshot.topology.online.size * 1000, config)
  return { milli: Math.max(0, Math.floor(quotaMilliCpu(quota) - extraMilli)), changedMs: snapshot.nowMs }
}

/** What OT pods may use by the quotas that stand; undefined when none of them has one. */
function firstOtLevel(snapshot: NodeSnapshot, pods: readonly ClassifiedPod[]): Level | undefined {
  let milli = 0
  for (const { qosClass, reading } of pods) {
    const quota = qosClass === 'OT' ? snapshot.actual.get(reading.group, 'quota')?.value : undefined
    // Whole numbers, as in sumUse().
    if (isQuota(quota) && quota.quotaUs !== null) milli += Math.round(quotaMilliCpu(quota))
  }
  return milli === 0 ? undefined : { milli, changedMs: snapshot.nowMs }
}

/** A class that uses this share of what it may use is held back by it: what it would use is not known, so all it asked for counts. */
const SATURATED = 0.85

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
  return use.beMilli >= available * SATURATED ? Math.min(use.beAskedMilli, capacityMilli) : seen
}

function isHot(inputs: SuppressionInputs, allowanceMilli: number, config: Config): boolean {
  const lowMilli = (inputs.capacityMilli * config.suppressCpu.lowWatermarkPermyriad) / 10_000
  return inputs.nodeMilli >= lowMilli || inputs.offlineMilli >= allowanceMilli * 0.9
}

function untaggedExtra(untaggedMilli: number, capacityMilli: number, config: Config): number {
  return untaggedMilli === 0 ? 0 : Math.round(untaggedMilli + (capacityMilli * config.suppressCpu.growthPermyriad) / 10_000)
}

/** Untagged pods live under the same root but count as online: their use comes on top, with room for one growth step. */
function rootClaim(snapshot: NodeSnapshot, state: SuppressionState, untaggedMilli: number, config: Config): Claim {
  const extraMilli = untaggedExtra(untaggedMilli, state.inputs.capacityMilli, config)
  return {
    group: snapshot.bestEffort.group,
    kind: 'quota',
    value: quotaOf(state.allowanceMilli + extraMilli),
    rule: 'suppressCpu',
    because: { code: 'suppress.root', bound: state.bound, inputs: state.inputs, untaggedMilli: Math.round(untaggedMilli) },
  }
}

/** OT has no group of its own: its allowance is split over its pods in proportion to what they asked for. */
function otClaims(pods: readonly ClassifiedPod[], state: SuppressionState, bound: AllowanceBound): Claim[] {
  const present = pods.filter((pod) => pod.qosClass === 'OT' && pod.reading.present)
  const part = (pod: ClassifiedPod): number => Math.max(1, pod.askedMilli)
  const whole = present.reduce((sum, pod) => sum + part(pod), 0)
  return present.map((pod) => ({
    group: pod.reading.group,
    kind: 'quota',
    value: quotaOf((state.otAllowanceMilli * part(pod)) / whole),
    rule: 'suppressCpu',
    because: {
      code: 'suppress.ot',
      bound,
      allowanceMilli: state.allowanceMilli,
      beDemandMilli: state.beDemandMilli,
      otAllowanceMilli: state.otAllowanceMilli,
    },
  }))
}
