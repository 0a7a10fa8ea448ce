/**
 * Rule evict: which offline pod should go next, when a ladder has come to a rung that evicts. It only chooses; asking the API server takes
 * longer than a tick, so its answer to an earlier wish is read from the snapshot of a later one.
 *   first    sales stop, and stay stopped for holdMs after the last tick on which a rung wanted a pod: the scheduler must neither send
 *            more pods to a node that throws pods out, nor fill the hole at once
 *   then     one pod at a time in the order of evict-order.ts, intervalMs apart, at most perHour; only what the API server granted, or has
 *            yet to answer, counts
 *   between  nobody while a pod that was granted is still here within the time it has to end: what it frees is not to be seen yet
 * A rung in dry run, or of a rule that only observes, stops no sales and is told apart: its wishes are paced the same, but take nothing from
 * the real ones.
 */
import type { Config } from '../config/types.ts'
import type { ClassifiedPod, EvictingRung, EvictionOutcome, EvictionRecord, EvictionWish, NodeSnapshot } from '../model/index.ts'
import { hasEnded } from '../model/index.ts'
import { type Candidate, candidatesFor, RUNGS_IN_TURN } from './evict-order.ts'
import { isObserved } from './observed.ts'

const HOUR_MS = 3_600_000
/** Shortest time between two questions to the API server, whatever became of the first: a node full of pods behind budgets must not flood it. */
const ATTEMPT_MS = 1000
/** How long the API server's answer is waited for before the next pod is asked for. Longer than the evictor's tries take. */
const MOST_ASKED_MS = 120_000
/** A pod whose eviction was refused or went wrong, or of whose wish nothing was heard, may be asked for again after so long. */
const RETRY_MS = 30_000
/** A pod is told of by a dry run at most once in so long. */
const TELL_MS = 600_000

/** Ticks on which a rung wanted a pod, without a break of more than holdMs. */
interface Stretch {
  readonly sinceMs: number
  readonly lastMs: number
}

/** A wish, and when it was made. */
interface Wished {
  readonly uid: string
  readonly atMs: number
  /** The pod was asked for again, so no answer is about this wish any more: it may have been granted, and counts. */
  readonly unheard?: true
}

export interface EvictMemory {
  /** Of rungs that really evict. */
  readonly wanted?: Stretch
  /** Of rungs in dry run. */
  readonly told?: Stretch
  /** Wishes of the last hour that count, oldest first: at most perHour. */
  readonly spent: readonly Wished[]
  /** When a pod was last asked for, whatever came of it. */
  readonly askedMs?: number
  /** Wishes of dry runs of the last TELL_MS, oldest first: at most one per intervalMs. */
  readonly dry: readonly Wished[]
}

export interface Evictions {
  readonly wishes: readonly EvictionWish[]
  readonly memory?: EvictMemory
  /** Nothing new is to be sold. */
  readonly holds: boolean
}

/** At most one real wish and one of a dry run. */
export function evictions(
  snapshot: NodeSnapshot,
  pods: readonly ClassifiedPod[],
  context: { readonly memory: EvictMemory | undefined; readonly wanted: readonly EvictingRung[] },
  config: Config,
): Evictions {
  const { nowMs } = snapshot
  const { recent, impossible } = snapshot.evictions
  const { wanted: wantedBefore, told: toldBefore, ...kept } = settle(context.memory ?? firstMemory(recent, config), recent, nowMs)
  if (!config.evict.enabled) return { wishes: [], memory: kept, holds: false }
  const [real, dry] = [false, true].map((isDry) =>
    RUNGS_IN_TURN.filter((rung) => context.wanted.includes(rung) && isDryRun(rung, config) === isDry),
  ) as [EvictingRung[], EvictingRung[]]
  const wanted = stretched(wantedBefore, real.length > 0, nowMs, config)
  const told = stretched(toldBefore, dry.length > 0, nowMs, config)
  const rest: EvictMemory = { ...kept, ...(wanted === undefined ? {} : { wanted }), ...(told === undefined ? {} : { told }) }
  const holds = wanted !== undefined
  if (impossible !== undefined) return { wishes: [], memory: rest, holds }
  const choose = (rungs: readonly EvictingRung[], isFree: (uid: string) => boolean): Candidate | undefined => {
    for (const rung of rungs) {
      const candidate = candidatesFor(snapshot, pods, { rung, isFree, wasTried: (uid) => wasTried(uid, recent) }, config)[0]
      if (candidate !== undefined) return candidate
    }
    return undefined
  }
  const mayAsk =
    real.length > 0 && isHeld(wanted, nowMs, config) && isDue(kept, recent, nowMs, config) && !isOneEnding(snapshot, pods, config)
  const asked = mayAsk ? choose(real, (uid) => isFree(uid, kept, recent, nowMs)) : undefined
  const mayTell = dry.length > 0 && isHeld(told, nowMs, config) && isPast(kept.dry.at(-1)?.atMs, config.evict.intervalMs, nowMs)
  const shown = mayTell ? choose(dry, (uid) => uid !== asked?.uid && isUntold(uid, kept, recent, nowMs)) : undefined
  return {
    wishes: [...(asked === undefined ? [] : [wishOf(asked, false)]), ...(shown === undefined ? [] : [wishOf(shown, true)])],
    memory: {
      ...rest,
      ...(asked === undefined ? {} : { askedMs: nowMs, spent: withWish(kept.spent, asked.uid, nowMs) }),
      ...(shown === undefined ? {} : { dry: [...kept.dry, { uid: shown.uid, atMs: nowMs }] }),
    },
    holds,
  }
}

/** An agent that starts goes on from what the one before it was granted: a restart makes no promise anew (I77). */
function firstMemory(recent: readonly EvictionRecord[], { evict }: Config): EvictMemory {
  const granted = recent.filter(({ is, wish }) => wasGranted(is) && !wish.dryRun)
  const spent = granted.map(({ wish: { uid }, atMs }) => ({ uid, atMs })).sort((a, b) => a.atMs - b.atMs)
  return { spent: spent.slice(-evict.perHour), dry: [] }
}

function wasGranted(is: EvictionOutcome | undefined): boolean {
  return is === 'evicted' || is === 'forced'
}

function withWish(spent: readonly Wished[], uid: string, nowMs: number): Wished[] {
  return [...spent.map((wished) => (wished.uid === uid ? { ...wished, unheard: true as const } : wished)), { uid, atMs: nowMs }]
}

/** Nobody goes for a rung of a rule that only observes either. */
function isDryRun(rung: EvictingRung, config: Config): boolean {
  const { dryRunCpu, dryRunMemory } = config.evict
  const [dryRun, rule] = rung === 'cpuEvict' ? ([dryRunCpu, 'suppressCpu'] as const) : ([dryRunMemory, 'suppressMemory'] as const)
  return dryRun || isObserved('evict', config) || isObserved(rule, config)
}

/** The memory without what is too old to count, and without wishes that were not granted. */
function settle(memory: EvictMemory, recent: readonly EvictionRecord[], nowMs: number): EvictMemory {
  const { spent, dry } = memory
  return {
    ...memory,
    spent: spent.filter((wished) => nowMs - wished.atMs < HOUR_MS && !wasRefused(answerTo(wished, recent)?.is)),
    dry: dry.filter(({ atMs }) => nowMs - atMs < TELL_MS),
  }
}

/** The record that is about this wish: one from before it is about an earlier one. */
function answerTo({ uid, atMs, unheard }: Wished, recent: readonly EvictionRecord[]): EvictionRecord | undefined {
  if (unheard === true) return undefined
  const record = recent.find(({ wish }) => wish.uid === uid)
  return record !== undefined && record.atMs >= atMs ? record : undefined
}

function wasRefused(is: EvictionOutcome | undefined): boolean {
  return is === 'blocked' || is === 'failed' || is === 'gone'
}

function stretched(before: Stretch | undefined, isWanted: boolean, nowMs: number, { evict }: Config): Stretch | undefined {
  if (isWanted) return { sinceMs: before?.sinceMs ?? nowMs, lastMs: nowMs }
  return before !== undefined && nowMs - before.lastMs < evict.holdMs ? before : undefined
}

function isHeld(stretch: Stretch | undefined, nowMs: number, { evict }: Config): boolean {
  return stretch !== undefined && nowMs - stretch.sinceMs >= evict.holdMs
}

function isPast(atMs: number | undefined, pauseMs: number, nowMs: number): boolean {
  return atMs === undefined || nowMs - atMs >= pauseMs
}

/** Whether the next pod may be asked for: no answer is awaited, and both limits leave room (I65). */
function isDue({ spent, askedMs }: EvictMemory, recent: readonly EvictionRecord[], nowMs: number, { evict }: Config): boolean {
  if (recent.some(({ is, atMs }) => is === 'asked' && nowMs - atMs < MOST_ASKED_MS)) return false
  return spent.length < evict.perHour && isPast(spent.at(-1)?.atMs, evict.intervalMs, nowMs) && isPast(askedMs, ATTEMPT_MS, nowMs)
}

/** Kubernetes: what a pod has without terminationGracePeriodSeconds. */
const DEFAULT_GRACE_SECONDS = 30

/**
 * Whether a pod that was granted has yet to end, and still may. A pod has 30 s where evictions are 10 s apart: those that went in between would have
 * gone for what the first one gives back (I78).
 */
function isOneEnding({ nowMs, evictions }: NodeSnapshot, pods: readonly ClassifiedPod[], { evict }: Config): boolean {
  return pods.some(({ reading: { spec, present } }) => {
    if (!present || hasEnded(spec)) return false
    const record = evictions.recent.find(({ wish }) => wish.uid === spec.uid)
    // As it is asked for: the shorter of the pod's own and the configured one, and never none.
    const graceSeconds = Math.min(Math.max(1, evict.gracePeriodSeconds), spec.graceSeconds ?? DEFAULT_GRACE_SECONDS)
    return record !== undefined && wasGranted(record.is) && nowMs - record.atMs < graceSeconds * 1000
  })
}

/** Whether a pod may be asked for: it was not, or that was refused, or went wrong, some time ago. */
function isFree(uid: string, { spent }: EvictMemory, recent: readonly EvictionRecord[], nowMs: number): boolean {
  const record = recent.find(({ wish }) => wish.uid === uid)
  if (record === undefined || record.is === 'dryRun')
    return !spent.some((wished) => wished.uid === uid && nowMs - wished.atMs < RETRY_MS)
  return (record.is === 'blocked' || record.is === 'failed') && nowMs - record.atMs >= RETRY_MS
}

/** A pod that is on its way out, or gone, would not be evicted either. */
function isUntold(uid: string, { dry, spent }: EvictMemory, recent: readonly EvictionRecord[], nowMs: number): boolean {
  const record = recent.find(({ wish }) => wish.uid === uid)
  if ([...dry, ...spent].some((wished) => wished.uid === uid)) return false
  if (record === undefined || record.is === 'blocked' || record.is === 'failed') return true
  return record.is === 'dryRun' && nowMs - record.atMs >= TELL_MS
}

/** A pod that could not be evicted is tried again after all those of its class that were not tried yet. */
function wasTried(uid: string, recent: readonly EvictionRecord[]): boolean {
  const is = recent.find(({ wish }) => wish.uid === uid)?.is
  return is === 'blocked' || is === 'failed'
}

function wishOf({ uid, pod, rung, qosClass, usesMilli, usesBytes, priority }: Candidate, dryRun: boolean): EvictionWish {
  const { namespace, name } = pod.reading.spec
  return { uid, namespace, name, qosClass, rung, dryRun, usesMilli, usesBytes, priority }
}
