/**
 * Keeps a recording while the loop runs: the tick writes entries to memory, and what has gathered is compressed and written beside the loop.
 *
 *              sensed, tick                        flushMs, or enough bytes
 *   idle ──first calm tick──▶ recording ──block──▶ queue ──gzip──▶ store
 *     ▲                           │ the disk is full, slow or hangs, or something can't be recorded
 *     └──────── retryMs ──────── paused: told of once, and the agent goes on as if nothing were
 *
 * Nothing here throws or waits in a tick.
 */
import { promisify } from 'node:util'
import { gzip } from 'node:zlib'
import { messageOf, type NodeSnapshot, Run, type TickRecord } from '../../model/index.ts'
import { digestOfTick } from './digest.ts'
import { type ConfigObject, EntryEncoder } from './entries.ts'
import { frameOf, headOf, type SegmentHeader } from './segment.ts'
import { FullError, type Store } from './store.ts'

const zip = promisify(gzip)
/** Of gzip: from here on more effort saves little. */
const LEVEL = 5
/** A block is written when it has so many bytes, however young it is. */
const BLOCK_BYTES = 256 * 1024
/** What may wait for the disk, before compression. Beyond it the disk is too slow. */
const MOST_WAITING_BYTES = 8 * 1024 * 1024
const RETRY_MS = 60_000
/** A write that takes longer hangs: on a disk that is gone or frozen it may never return. */
const HANGS_MS = 30_000

export interface RecordingOptions {
  readonly store: Store
  readonly header: Omit<SegmentHeader, 'segment' | 'wallMs'>
  /** Size at which a segment ends; Infinity for one that never does. */
  readonly segmentBytes: number
  /** Longest time that entries stay in memory only. */
  readonly flushMs: number
  /** The settings of a configuration as a file would have them. */
  readonly settingsOf: (config: ConfigObject) => unknown
  /** What has to be kept of a memory; the rest is worked out anew on a calm tick. */
  readonly lasting: (memory: unknown) => unknown
  /** Called when recording pauses and when it goes on; not in a tick. */
  readonly onChange: (state: RecordingState) => void
  /** Monotonic ms, to tell how long a block takes to be on disk. @default the time of the last tick */
  readonly now?: () => number
}

export interface RecordingState {
  /** Why nothing is recorded at the moment; undefined while all is well. */
  readonly pausedBy?: string
  /** It will not go on by itself. */
  readonly over: boolean
  readonly ticks: number
  /** Ticks that came while it was paused. */
  readonly missedTicks: number
  /** On disk, all segments together. */
  readonly bytes: number
}

type Job = { readonly is: 'begin'; readonly header: SegmentHeader } | { readonly is: 'block'; readonly bytes: Buffer }

export class Recording {
  readonly #options: RecordingOptions
  /** How writing blocks goes. */
  readonly run = new Run('recording')
  #encoder: EntryEncoder | undefined
  #config: ConfigObject | undefined
  #segment = 0
  /** The next segment waits to be begun. */
  #isRolling = false
  #blockSinceMs = 0
  /** A tick was written of which it is not known yet how it ended. */
  #isOpen = false
  readonly #queue: Job[] = []
  #waitingBytes = 0
  #draining: Promise<void> = Promise.resolve()
  #isDraining = false
  /** When the job that is being written was begun; undefined while none is. */
  #writingSinceMs: number | undefined
  #retryAtMs = -Infinity
  #nowMs = 0
  #pausedBy: string | undefined
  #over = false
  #ended = false
  #ticks = 0
  #missedTicks = 0

  constructor(options: RecordingOptions) {
    this.#options = options
  }

  get state(): RecordingState {
    return {
      ...(this.#pausedBy === undefined ? {} : { pausedBy: this.#pausedBy }),
      over: this.#over,
      ticks: this.#ticks,
      missedTicks: this.#missedTicks,
      bytes: this.#options.store.bytes,
    }
  }

  /** Takes what is about to be decided on. */
  sensed(snapshot: NodeSnapshot, memory: unknown, config: ConfigObject): void {
    if (this.#over || this.#ended) return
    this.#nowMs = snapshot.nowMs
    try {
      if (this.#encoder !== undefined && this.#hangs()) this.#pause(`the disk has not answered for ${HANGS_MS / 1000} s`)
      // A tick that failed never comes back: while all of them do, what they read must not gather here.
      if (this.#isOpen) this.#handIfDue()
      const encoder = this.#encoderFor(snapshot, memory, config)
      if (encoder === undefined) {
        this.#missedTicks += 1
        return
      }
      if (config !== this.#config) this.#configure(encoder, config)
      this.#isOpen = true
      encoder.tick(snapshot)
    } catch (thrown) {
      this.#pause(`a tick can't be recorded: ${messageOf(thrown)}`)
    }
  }

  /** Takes the tick when it has ended. One that failed never comes. */
  tick(record: TickRecord): void {
    const encoder = this.#encoder
    if (encoder === undefined) return
    try {
      encoder.digest(digestOfTick(record))
      this.#isOpen = false
      this.#ticks += 1
      this.#handIfDue()
    } catch (thrown) {
      this.#pause(`a decision can't be recorded: ${messageOf(thrown)}`)
    }
  }

  /** Writes what is in memory and ends the segment. Resolves when it is on disk, which may be never; rejects with what the store says. */
  async end(): Promise<void> {
    this.#ended = true
    if (this.#encoder !== undefined) this.#hand(this.#encoder)
    this.#encoder = undefined
    await this.#draining
    await this.#options.store.end()
  }

  /** The encoder of the segment that the tick belongs to. A segment begins with a calm tick, which takes nothing over from a hot one. */
  #encoderFor(snapshot: NodeSnapshot, memory: unknown, config: ConfigObject): EntryEncoder | undefined {
    const { store, segmentBytes } = this.#options
    const calm = snapshot.pace === 'calm'
    const current = this.#encoder
    const isFull = !this.#isRolling && store.segmentBytes >= segmentBytes
    if (current !== undefined && !(calm && isFull)) return current
    if (!calm || snapshot.nowMs < this.#retryAtMs || this.#hangs()) return undefined
    if (current !== undefined) this.#hand(current)
    const encoder = new EntryEncoder()
    this.#segment += 1
    this.#isRolling = true
    this.#put({ is: 'begin', header: { ...this.#options.header, segment: this.#segment, wallMs: Math.round(snapshot.wallMs) } })
    this.#configure(encoder, config)
    encoder.memory(this.#options.lasting(memory))
    this.#blockSinceMs = snapshot.nowMs
    this.#encoder = encoder
    return encoder
  }

  #hangs(): boolean {
    return this.#writingSinceMs !== undefined && this.#nowMs - this.#writingSinceMs > HANGS_MS
  }

  #configure(encoder: EntryEncoder, config: ConfigObject): void {
    encoder.configuration(config, this.#options.settingsOf(config))
    this.#config = config
  }

  #handIfDue(): void {
    const encoder = this.#encoder
    if (encoder === undefined) return
    const isDue = encoder.length >= BLOCK_BYTES || this.#nowMs - this.#blockSinceMs >= this.#options.flushMs
    if (isDue) this.#hand(encoder)
  }

  #hand(encoder: EntryEncoder): void {
    this.#blockSinceMs = this.#nowMs
    if (encoder.length === 0) return
    this.#put({ is: 'block', bytes: encoder.take() })
    if (this.#waitingBytes > MOST_WAITING_BYTES) this.#pause('the disk is too slow')
  }

  #put(job: Job): void {
    this.#queue.push(job)
    if (job.is === 'block') this.#waitingBytes += job.bytes.length
    if (!this.#isDraining) this.#draining = this.#drain()
  }

  async #drain(): Promise<void> {
    this.#isDraining = true
    try {
      // Not within the tick that called.
      await Promise.resolve()
      for (let job = this.#queue.shift(); job !== undefined; job = this.#queue.shift()) {
        this.#writingSinceMs = this.#nowMs
        await this.#write(job)
      }
    } catch (thrown) {
      this.#over = thrown instanceof FullError
      this.#pause(messageOf(thrown))
      await this.#options.store.end().catch(() => undefined)
    } finally {
      this.#writingSinceMs = undefined
      this.#isDraining = false
    }
  }

  async #write(job: Job): Promise<void> {
    const { store, onChange } = this.#options
    if (job.is === 'begin') {
      await store.begin()
      this.#isRolling = false
      await store.append(headOf(job.header))
      return
    }
    const begunMs = this.#now()
    await store.append(frameOf(await zip(job.bytes, { level: LEVEL })))
    this.run.ok(this.#now(), this.#now() - begunMs)
    this.#waitingBytes = Math.max(0, this.#waitingBytes - job.bytes.length)
    if (this.#pausedBy === undefined || this.#encoder === undefined) return
    this.#pausedBy = undefined
    onChange(this.state)
  }

  #now(): number {
    return this.#options.now?.() ?? this.#nowMs
  }

  /** Gives up the segment. What is read next belongs to another one. */
  #pause(reason: string): void {
    const isNews = this.#pausedBy === undefined || this.#over
    this.#encoder = undefined
    this.#isOpen = false
    this.#isRolling = false
    this.#queue.length = 0
    this.#waitingBytes = 0
    this.#retryAtMs = this.#nowMs + RETRY_MS
    this.run.failed(reason, this.#now())
    this.#pausedBy = reason
    if (isNews) setImmediate(() => this.#options.onChange(this.state))
  }
}
