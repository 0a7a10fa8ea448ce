/**
 * What became of the pods that were wished away: the newest record of each, few of them, and the counts. Remembers beyond the record since
 * when a disruption budget has stood in a pod's way, for as long as the pod is asked for again and again.
 */
import { EVICTION_OUTCOMES, type EvictionOutcome, type EvictionRecord, type EvictionWish } from '../model/index.ts'

/** More than an hour's evictions at the default rate. */
const MAX_RECORDS = 64
/** A pod that was told a no, or told of, is not asked for again before this. */
const AGAIN_MS = 10_000
/** Refusals further apart than this belong to different troubles: the budget's time starts anew. */
const STREAK_MS = 10 * 60_000

/** Never to be asked again: the answer is not in, was a yes, or can't change. */
const FINAL: ReadonlySet<EvictionOutcome> = new Set(['asked', 'evicted', 'forced', 'gone'])

interface Entry {
  readonly record: EvictionRecord
  /** When the pod was asked for to which a disruption budget said no first; undefined when none has. */
  readonly blockedSinceMs?: number
  /** When one said so last. */
  readonly blockedMs?: number
}

export class EvictionRecords {
  /** Oldest first. */
  readonly #entries = new Map<string, Entry>()
  readonly #counts = Object.fromEntries(EVICTION_OUTCOMES.map((outcome) => [outcome, 0])) as Record<EvictionOutcome, number>
  #recent: readonly EvictionRecord[] | undefined

  /** Newest first; the same array for as long as nothing has changed. */
  get recent(): readonly EvictionRecord[] {
    this.#recent ??= [...this.#entries.values()].map(({ record }) => record).toReversed()
    return this.#recent
  }

  counts(): Readonly<Record<EvictionOutcome, number>> {
    return { ...this.#counts }
  }

  /** Whether the pod may be asked for, or told of, at `nowMs`. */
  isOpen(wish: EvictionWish, nowMs: number): boolean {
    const record = this.#entries.get(wish.uid)?.record
    if (record === undefined) return true
    if (FINAL.has(record.is)) return false
    // What was only told of may be asked for at any time: the dry run has ended.
    if (record.is === 'dryRun' && !wish.dryRun) return true
    return nowMs - record.atMs >= AGAIN_MS
  }

  /** Takes in what an agent before this one was granted, oldest first. It was not counted by this one. */
  restore(earlier: readonly EvictionRecord[]): void {
    for (const record of earlier) {
      this.#entries.delete(record.wish.uid)
      this.#makeRoom()
      this.#entries.set(record.wish.uid, { record })
    }
    this.#recent = undefined
  }

  /** What was granted and is still known, oldest first. */
  granted(): readonly EvictionRecord[] {
    return [...this.#entries.values()].map(({ record }) => record).filter(({ is }) => is === 'evicted' || is === 'forced')
  }

  /** How long a disruption budget has refused the pod, with one that did at `nowMs` to a request of `askedMs`; in milliseconds. */
  blockedForMs(uid: string, askedMs: number, nowMs: number): number {
    return nowMs - this.#blockedSinceMs(uid, askedMs, nowMs)
  }

  /** `askedMs` is when the request was wished to which this is the answer. */
  put(record: EvictionRecord, askedMs: number): void {
    const { uid } = record.wish
    const before = this.#entries.get(uid)
    const blocked =
      record.is === 'blocked'
        ? { blockedSinceMs: this.#blockedSinceMs(uid, askedMs, record.atMs), blockedMs: record.atMs }
        : {
            ...(before?.blockedSinceMs === undefined ? {} : { blockedSinceMs: before.blockedSinceMs }),
            ...(before?.blockedMs === undefined ? {} : { blockedMs: before.blockedMs }),
          }
    this.#entries.delete(uid)
    this.#makeRoom()
    this.#entries.set(uid, { record, ...blocked })
    this.#counts[record.is] += 1
    this.#recent = undefined
  }

  #blockedSinceMs(uid: string, askedMs: number, nowMs: number): number {
    const { blockedSinceMs, blockedMs } = this.#entries.get(uid) ?? {}
    if (blockedSinceMs === undefined || blockedMs === undefined || nowMs - blockedMs > STREAK_MS) return askedMs
    return blockedSinceMs
  }

  /** Forgets the oldest, but none that still waits for its answer: it would be asked for twice. */
  #makeRoom(): void {
    if (this.#entries.size < MAX_RECORDS) return
    for (const [uid, { record }] of this.#entries) {
      if (record.is === 'asked') continue
      this.#entries.delete(uid)
      return
    }
  }
}
