/**
 * Writes events, few and merged: the same event again raises the count of the one that is there, at most every ten minutes; an object gets at
 * most one write every ten seconds; the agent as a whole writes a burst of 25 and then one a second. What a storm leaves over waits, merges
 * or is dropped and counted; memory is bounded by the number of distinct events that are remembered.
 * Source: client-go tools/record/events_cache.go, for what a well-behaved recorder does.
 */
import { messageOf } from '../model/index.ts'
import type { ApiCaller } from './api.ts'
import { aboutKey, type ClusterEvent, eventKey, eventName, eventNamespace, eventObject, trimmed } from './events-object.ts'
import { timestamp } from './node-conditions.ts'
import { isStatus, type ReporterClock, ServerUnavailable } from './reporter-calls.ts'

/** Shortest time between two writes of the same event. */
const SAME_MS = 10 * 60_000
/** Shortest time between two writes about one object. */
const OBJECT_MS = 10_000
const MAX_KEYS = 1000
const BURST = 25
const TOKEN_MS = 1000

interface Entry {
  readonly key: string
  readonly event: ClusterEvent
  readonly name: string
  readonly objectKey: string
  /** Said again and again for as long as it is so. */
  standing: boolean
  firstWallMs: number
  lastWallMs: number
  /** Times seen and not yet written. */
  pending: number
  /** As the API server has it; 0 until this agent has created or found it. */
  count: number
  nextMs: number
}

export interface EventWriterOptions {
  readonly api: ApiCaller
  readonly node: string
  readonly clock: ReporterClock
  /** @default 1000 */
  readonly maxKeys?: number
}

export class EventWriter {
  /** Events that were seen and never written. */
  dropped = 0
  readonly #options: EventWriterOptions
  /** Least recently seen first. */
  readonly #entries = new Map<string, Entry>()
  /** When something was last written about an object; only of the last OBJECT_MS. */
  readonly #objects = new Map<string, number>()
  #tokens = BURST
  #refilledMs = -Infinity

  constructor(options: EventWriterOptions) {
    this.#options = options
  }

  /** Events that wait to be written. */
  get waiting(): number {
    let waiting = 0
    for (const { pending } of this.#entries.values()) if (pending > 0) waiting += 1
    return waiting
  }

  /** It has happened (once more). */
  occurred(given: ClusterEvent): void {
    const entry = this.#entryOf(trimmed(given))
    if (this.#isFull(entry)) this.#evict()
    this.#remember(entry)
    entry.standing = false
    entry.pending += 1
  }

  /**
   * It is so, as it may have been before: counts once per write, however often it is said. It drives out nothing that is still said: more
   * of it than can be remembered would otherwise be forgotten and written anew without end.
   */
  stands(given: ClusterEvent): void {
    const entry = this.#entryOf(trimmed(given))
    if (this.#isFull(entry) && !this.#evictStale()) {
      this.dropped += 1
      return
    }
    this.#remember(entry)
    // Written not long ago: nothing waits, and its place may go to another.
    if (entry.nextMs > this.#options.clock.monotonicMs()) return
    entry.pending = Math.max(entry.pending, 1)
  }

  #entryOf(event: ClusterEvent): Entry {
    const key = eventKey(event)
    const wallMs = this.#options.clock.wallMs()
    const known = this.#entries.get(key)
    if (known !== undefined) {
      known.lastWallMs = wallMs
      return known
    }
    const [name, objectKey] = [eventName(event), aboutKey(event.about)]
    const times = { firstWallMs: wallMs, lastWallMs: wallMs, nextMs: -Infinity }
    return { key, event, name, objectKey, standing: true, pending: 0, count: 0, ...times }
  }

  #isFull({ key }: Entry): boolean {
    return this.#entries.size >= (this.#options.maxKeys ?? MAX_KEYS) && !this.#entries.has(key)
  }

  #remember(entry: Entry): void {
    this.#entries.delete(entry.key)
    this.#entries.set(entry.key, entry)
  }

  /** One that was written, and not said again since it might have been written once more. */
  #evictStale(): boolean {
    const nowMs = this.#options.clock.monotonicMs()
    for (const [key, { pending, nextMs }] of this.#entries) if (pending === 0 && nextMs <= nowMs) return this.#entries.delete(key)
    return false
  }

  /** The least recently seen, written if there is such a one. */
  #evict(): void {
    let victim: Entry | undefined
    for (const entry of this.#entries.values()) {
      victim ??= entry
      if (entry.pending > 0) continue
      victim = entry
      break
    }
    if (victim === undefined) return
    this.dropped += victim.pending
    this.#entries.delete(victim.key)
  }

  /**
   * Writes what may be written now; resolves with why one was refused, if any was. Rejects when the server is away; the rest is then
   * still waiting.
   */
  async flush(): Promise<string | undefined> {
    let refusal: string | undefined
    const nowMs = this.#options.clock.monotonicMs()
    this.#refill(nowMs)
    const ready = [...this.#entries.values()].filter(({ pending, nextMs }) => pending > 0 && nextMs <= nowMs)
    ready.sort(inOrderOfNeed)
    for (const entry of ready) {
      if (this.#tokens < 1) break
      if (this.#objects.has(entry.objectKey)) continue
      this.#tokens -= 1
      this.#objects.set(entry.objectKey, nowMs)
      refusal = (await this.#write(entry, nowMs)) ?? refusal
    }
    return refusal
  }

  #refill(nowMs: number): void {
    const elapsedMs = this.#refilledMs === -Infinity ? 0 : nowMs - this.#refilledMs
    this.#tokens = Math.min(BURST, this.#tokens + elapsedMs / TOKEN_MS)
    this.#refilledMs = nowMs
    for (const [key, atMs] of this.#objects) if (nowMs - atMs >= OBJECT_MS) this.#objects.delete(key)
  }

  async #write(entry: Entry, nowMs: number): Promise<string | undefined> {
    const { pending } = entry
    let refusal: string | undefined
    try {
      if (entry.count === 0) await this.#create(entry)
      else await this.#raise(entry)
    } catch (thrown) {
      if (thrown instanceof ServerUnavailable) throw thrown
      // The namespace is gone or going, or the right is not granted: trying again at once would not help.
      this.dropped += pending
      refusal = messageOf(thrown)
    }
    entry.pending -= pending
    entry.nextMs = nowMs + SAME_MS
    return refusal
  }

  async #create(entry: Entry): Promise<void> {
    const { api, node } = this.#options
    const { event, name, pending } = entry
    try {
      const body = eventObject(event, name, node, { ...entry, count: pending })
      await api.call('createEvent', { path: this.#pathOf(event), body })
      entry.count = pending
    } catch (thrown) {
      if (!isStatus(thrown, 409)) throw thrown
      // An agent before this one has written it; how often, the answer tells.
      const answer = await this.#patch(entry, {})
      entry.count = countOf(answer)
    }
  }

  async #raise(entry: Entry): Promise<void> {
    const count = entry.count + entry.pending
    try {
      await this.#patch(entry, { count })
      entry.count = count
    } catch (thrown) {
      if (!isStatus(thrown, 404)) throw thrown
      // Kubernetes: events live for an hour (--event-ttl).
      entry.firstWallMs = entry.lastWallMs
      await this.#create(entry)
    }
  }

  #patch({ event, name, lastWallMs }: Entry, change: { readonly count?: number }): Promise<unknown> {
    const body = { ...change, lastTimestamp: timestamp(lastWallMs) }
    const path = `${this.#pathOf(event)}/${encodeURIComponent(name)}`
    return this.#options.api.call('patchEvent', { path, body, contentType: 'application/merge-patch+json' })
  }

  #pathOf({ about }: ClusterEvent): string {
    return `/api/v1/namespaces/${encodeURIComponent(eventNamespace(about))}/events`
  }
}

/** What happened before what merely is so; then those never written, else the repetitions of some would keep others out for good. */
function inOrderOfNeed(a: Entry, b: Entry): number {
  if (a.standing !== b.standing) return a.standing ? 1 : -1
  return a.nextMs === b.nextMs ? 0 : a.nextMs - b.nextMs
}

function countOf(answer: unknown): number {
  const count = typeof answer === 'object' && answer !== null && 'count' in answer ? answer.count : undefined
  return typeof count === 'number' && count > 0 ? count : 1
}
