/**
 * Rule suppressMemory: what happens while memory gets short, rung by rung.
 *   memoryHold                        nothing more is sold (capacity.ts)
 *   memoryHighOt, memoryHighBe        OT pods, then BE pods, are made to give some back (memory-claims.ts)
 *   memoryEvictOt, memoryEvictBe      and then to go (evict.ts)
 * A rung is climbed while no more memory is available than its enterPermyriad, and left while more is than its exitPermyriad. What is
 * available is the kernel's own estimate (MemAvailable), for which page cache is not use. Stalls for memory (PSI) climb the next rung too, up to
 * memoryHighBe and no further: with memory to be had they come from groups at limits of their own, and nobody else has to go for those.
 * Stalls that go on for pressure.futileMs with all of these rungs in force count no more until they have ended once: what offline work could
 * give back is not what they are for.
 * Without fresh readings nothing is climbed, left or evicted.
 */
import type { Config } from '../../config/types.ts'
import type {
  Abstention,
  Claim,
  ClassifiedPod,
  EvictingRung,
  MemoryRung,
  MemoryState,
  MemoryUse,
  NodeSnapshot,
  OfflineClass,
  Reading,
} from '../../model/index.ts'
import { ageMs, EVICTING_RUNGS, isOffline, MEMORY_RUNGS } from '../../model/index.ts'
import { defined } from '../defined.ts'
import { isObserved } from '../observed.ts'
import { reasonable } from '../peak.ts'
import { climb, type LadderMemory, type RungView } from './ladder.ts'
import { HIGH_RUNGS, type HeldHigh, HighClaims, protectionClaims } from './memory-claims.ts'

export interface MemoryLadderMemory {
  readonly ladder: LadderMemory<MemoryRung>
  /** The last good reading, for the ticks on which the sensor is silent. */
  readonly reading?: Reading<MemoryUse>
  /** By UID, of present offline pods while any rung is in force. */
  readonly highs: ReadonlyMap<string, HeldHigh>
  /** Undefined while there are none, or a rung is ahead that they may climb. */
  readonly stalls?: StallMemory
  /** Whether the pods were read, and what an agent before this one has left in force is taken over. */
  readonly resumed: boolean
}

/** Stalls above the bound that every rung that they may climb has not ended. */
interface StallMemory {
  readonly sinceMs: number
  /** They count no more. */
  readonly futile: boolean
}

export interface SuppressedMemory {
  readonly claims: readonly Claim[]
  /** Undefined while the rule is off or has never had a reading. */
  readonly state?: MemoryState
  readonly memory?: MemoryLadderMemory
  /** Nothing new is to be sold. */
  readonly holds: boolean
  /** Rungs that want a pod to go now. */
  readonly evicts: readonly EvictingRung[]
}

/** The memory ladder on this tick, with protection of online pods beside it. */
export function suppressMemory(
  snapshot: NodeSnapshot,
  pods: readonly ClassifiedPod[],
  context: { readonly memory: MemoryLadderMemory | undefined; readonly abstentions: Abstention[] },
  config: Config,
): SuppressedMemory {
  if (!config.suppressMemory.enabled) return { claims: [], holds: false, evicts: [] }
  const { nowMs } = snapshot
  const highs = new HighClaims(snapshot, pods, config)
  const measured = measure(snapshot, context.memory?.reading, config)
  const resumed = context.memory?.resumed === true ? context.memory : resume(context.memory, snapshot, { highs, measured })
  const stalls = watchStalls(snapshot, { measured, highs, held: resumed }, config)
  const views = viewsOf(snapshot, { measured, highs, held: resumed, futile: stalls?.futile === true }, config)
  const before = startsFrom(resumed, context.memory, views)
  const { memory: ladder, state } = climb(before, views, nowMs)
  if (measured.silent) {
    context.abstentions.push({ code: measured.reading === undefined ? 'starting' : 'silent', rule: 'suppressMemory' })
  }
  const held = highs.hold(resumed.highs, {
    inForce: ladder.inForce,
    before: before?.inForce ?? [],
    availablePermyriad: measured.availablePermyriad ?? 0,
  })
  const known = measured.reading
  return {
    claims: [...highs.claims(held, ladder.inForce), ...protectionClaims(snapshot, pods, config)],
    ...(known === undefined
      ? {}
      : {
          state: {
            ...stateOf(known, measured, pods, nowMs),
            ...(stalls?.futile === true ? { stallsFutile: true as const } : {}),
            ladder: state,
          },
        }),
    memory: { ladder, ...defined({ reading: known, stalls }), highs: held, resumed: resumed.resumed },
    holds: ladder.inForce.length > 0,
    evicts: EVICTING_RUNGS.filter((rung) => views.some((view) => view.name === rung && wantsToEvict(view, ladder, measured))),
  }
}

interface Measured {
  /** The newest good reading there ever was. */
  readonly reading?: Reading<MemoryUse>
  readonly availablePermyriad?: number
  /** Undefined where the kernel does not count stalls, or the count is too old. */
  readonly pressurePermyriad?: number
  /** The kernel counts stalls, and the count is too old. */
  readonly pressureUnknown: boolean
  /** No reading of what is available that is young enough to act on. */
  readonly silent: boolean
}

function measure({ node, nowMs }: NodeSnapshot, last: Reading<MemoryUse> | undefined, config: Config): Measured {
  const { staleMs } = config.suppressMemory
  const reading = isAmount(node.memory?.value) ? node.memory : last
  const pressure = node.memoryPressure
  const stalledUs = reasonable(pressure?.value.someUsPerSecond)
  const pressureUnknown = pressure !== undefined && (stalledUs === undefined || !(ageMs(pressure, nowMs) <= staleMs))
  return {
    ...(reading === undefined ? {} : { reading, availablePermyriad: availablePermyriad(reading.value) }),
    // 10000 µs of a second are a hundredth of it.
    ...(stalledUs === undefined || pressureUnknown ? {} : { pressurePermyriad: Math.min(10_000, Math.round(stalledUs / 100)) }),
    pressureUnknown,
    silent: reading === undefined || !(ageMs(reading, nowMs) <= staleMs),
  }
}

function isAmount(use: MemoryUse | undefined): boolean {
  const { totalBytes, availableBytes } = use ?? { totalBytes: 0, availableBytes: 0 }
  return Number.isFinite(totalBytes) && totalBytes > 0 && Number.isFinite(availableBytes)
}

/** Rounded up, so that the share is at or below a threshold just when the amount is. */
function availablePermyriad({ totalBytes, availableBytes }: MemoryUse): number {
  return Math.min(10_000, Math.max(0, Math.ceil((availableBytes * 10_000) / totalBytes)))
}

interface RungContext {
  readonly measured: Measured
  readonly highs: HighClaims
  readonly held: MemoryLadderMemory
}

const CLASS_OF: Readonly<Partial<Record<MemoryRung, OfflineClass>>> = { memoryHighOt: 'OT', memoryHighBe: 'BE' }

function isEvicting(rung: MemoryRung): rung is EvictingRung & MemoryRung {
  return EVICTING_RUNGS.some((name) => name === rung)
}

/**
 * Kernel: a task that memory.high holds back counts as stalled (mem_cgroup_handle_over_high), on the node too. What such a rung does must
 * neither climb the next one nor keep it in force for ever.
 */
function isOwnDoing(highs: HighClaims, { highs: held }: MemoryLadderMemory): boolean {
  return highs.kind === 'memoryHigh' && HIGH_RUNGS.some(({ qosClass }) => highs.isInForce(held, qosClass))
}

/**
 * For how long stalls have gone on with nothing left to do about them. Once that has begun it goes on while rungs are left again, since what
 * memory.high holds back stalls too; it ends with the first reading up to the bound. What was not seen is no ground to call them futile.
 */
function watchStalls(snapshot: NodeSnapshot, { measured, highs, held }: RungContext, config: Config): StallMemory | undefined {
  const { stalls, ladder } = held
  // Rungs that are only observed have not been tried.
  if (isObserved('suppressMemory', config)) return undefined
  if (measured.pressureUnknown) return stalls
  if ((measured.pressurePermyriad ?? 0) <= config.suppressMemory.pressurePermyriad) return undefined
  const mayClimb = (name: MemoryRung): boolean =>
    config[name].enabled &&
    !isEvicting(name) &&
    !ladder.inForce.includes(name) &&
    impossibleReason(name, snapshot, highs, config) === undefined
  if (stalls === undefined && !isOwnDoing(highs, held) && MEMORY_RUNGS.some(mayClimb)) return undefined
  const sinceMs = stalls?.sinceMs ?? snapshot.nowMs
  return { sinceMs, futile: stalls?.futile === true || snapshot.nowMs - sinceMs >= config.pressure.futileMs }
}

/** The rungs that are switched on, as they look on this tick. */
function viewsOf(
  snapshot: NodeSnapshot,
  { measured, highs, held, futile }: RungContext & { readonly futile: boolean },
  config: Config,
): RungView<MemoryRung>[] {
  const { availablePermyriad: available, pressurePermyriad } = measured
  const isExcused = futile || isOwnDoing(highs, held)
  const isPressed = !isExcused && (pressurePermyriad ?? 0) > config.suppressMemory.pressurePermyriad
  const isUnpressed = isExcused || (!isPressed && !measured.pressureUnknown)
  return MEMORY_RUNGS.filter((name) => config[name].enabled).map((name) => {
    const settings = config[name]
    const impossible = impossibleReason(name, snapshot, highs, config)
    const isReadable = !measured.silent && available !== undefined
    return {
      name,
      settings,
      over: isReadable && (available <= settings.enterPermyriad || (isPressed && !isEvicting(name))),
      under: isReadable && available > settings.exitPermyriad && (isUnpressed || isEvicting(name)),
      acted: hasActed(name, snapshot, { measured, highs, held }),
      ...(impossible === undefined ? {} : { impossible }),
    }
  })
}

/** A rung of memory.high without pods is no obstacle: nothing is to be done there. */
function impossibleReason(name: MemoryRung, snapshot: NodeSnapshot, highs: HighClaims, config: Config): string | undefined {
  if (isEvicting(name)) return config.evict.enabled ? snapshot.evictions.impossible : 'evict.enabled is false'
  const qosClass = CLASS_OF[name]
  return qosClass === undefined || !highs.hasPods(qosClass) ? undefined : highs.impossible
}

/** Whether a rung in force has come to do something: only then does the next one have to wait for its effect. */
function hasActed(name: MemoryRung, { evictions }: NodeSnapshot, { highs, held }: RungContext): boolean {
  if (name === 'memoryHold') return true
  const qosClass = CLASS_OF[name]
  if (qosClass !== undefined) return highs.isInForce(held.highs, qosClass)
  const sinceMs = held.ladder.changedMs ?? Infinity
  return evictions.recent.some(
    ({ is, atMs, wish }) => (is === 'evicted' || is === 'forced') && wish.rung === name && atMs >= sinceMs,
  )
}

/** In force, and not yet better than what it is left at: until exitMs is over it stays in force, but nobody has to go for that. */
function wantsToEvict(view: RungView<MemoryRung>, ladder: LadderMemory<MemoryRung>, { silent }: Measured): boolean {
  return !silent && !view.under && ladder.inForce.includes(view.name)
}

/** What an agent before this one has left in force, as soon as the pods are known: a restart in a shortage must not lift every limit. */
function resume(
  memory: MemoryLadderMemory | undefined,
  { pods }: NodeSnapshot,
  { highs, measured }: Omit<RungContext, 'held'>,
): MemoryLadderMemory {
  const started = memory ?? { ladder: { inForce: [] }, highs: new Map(), resumed: false }
  return pods.everRead ? { ...started, highs: highs.found(measured.availablePermyriad ?? 0), resumed: true } : started
}

/** Where the ladder goes on from: on the tick on which limits were taken over, with the rungs that they belong to, unless those may be left. */
function startsFrom(
  now: MemoryLadderMemory,
  before: MemoryLadderMemory | undefined,
  views: readonly RungView<MemoryRung>[],
): LadderMemory<MemoryRung> | undefined {
  if (before?.resumed === true || now.highs.size === 0) return before?.ladder
  const rungs = [...now.highs.values()].map(({ rung }): MemoryRung => rung)
  const top = views.findLastIndex(({ name, under }) => rungs.includes(name) && !under)
  const names = views.slice(0, top + 1).map(({ name }) => name)
  return { ...now.ladder, inForce: names.length > now.ladder.inForce.length ? names : now.ladder.inForce }
}

function stateOf(
  { value, atMs }: Reading<MemoryUse>,
  { availablePermyriad: available, pressurePermyriad }: Measured,
  pods: readonly ClassifiedPod[],
  nowMs: number,
): Omit<MemoryState, 'ladder'> {
  const workingSetBytes: Record<OfflineClass, number> = { BE: 0, OT: 0 }
  for (const { qosClass, reading } of pods) {
    if (!isOffline(qosClass) || !reading.present) continue
    // Whole numbers: their sum does not depend on the order of the pods.
    workingSetBytes[qosClass] += Math.round(reasonable(reading.use?.value.workingSetBytes) ?? 0)
  }
  return {
    totalBytes: Math.round(value.totalBytes),
    availableBytes: Math.min(Math.round(value.totalBytes), Math.max(0, Math.round(value.availableBytes))),
    availablePermyriad: available ?? 0,
    ...(pressurePermyriad === undefined ? {} : { pressurePermyriad }),
    workingSetBytes,
    ageMs: Math.round(nowMs - atMs),
  }
}
