/**
 * The parts of what the reporter tells, each of which fails and is tried again by itself. One that fails because the server as a whole does
 * not answer holds up the others too, and need not wait any longer than they when it does again.
 */
import { messageOf, Run, type RunState } from '../model/index.ts'
import { ApiError } from './api.ts'
import { type CountingCaller, type ReporterClock, RetryGate, ServerUnavailable } from './reporter-calls.ts'

/** A server that is away is asked again soon; a part that fails while another may not leaves it the next turn. */
const SERVER_RETRY = { baseMs: 1000, maxMs: 60_000 }
const PART_RETRY = { baseMs: 4000, maxMs: 5 * 60_000 }

/** Writes what is due; resolves with what was refused though the part as a whole went well. */
export type PartWrite = () => Promise<string | undefined | void>

export interface Part {
  readonly write: PartWrite
  /** How it goes, for the times that it had something to ask or to write. */
  readonly run: Run
  readonly gate: RetryGate
  serverWide: boolean
}

export interface ReporterPartsOptions {
  readonly calls: CountingCaller
  readonly clock: ReporterClock
  /** From 0 to 1, 1 excluded. */
  readonly random: () => number
}

export class ReporterParts {
  /** In the order in which they were given. */
  readonly all: readonly Part[]
  readonly #options: ReporterPartsOptions
  readonly #server: RetryGate

  /** Parts by the names under which it is shown how they go. */
  constructor(writes: Readonly<Record<string, PartWrite>>, options: ReporterPartsOptions) {
    const { random } = options
    this.#options = options
    this.#server = new RetryGate({ ...SERVER_RETRY, random })
    this.all = Object.entries(writes).map(([name, write]) => {
      return { write, run: new Run(name), gate: new RetryGate({ ...PART_RETRY, random }), serverWide: false }
    })
  }

  get runs(): readonly RunState[] {
    return this.all.map(({ run }) => run)
  }

  /** Whether the server as a whole may be asked at `nowMs`. */
  serverReady(nowMs: number): boolean {
    return this.#server.ready(nowMs)
  }

  /** Whether anything is still to be tried again. */
  get failing(): boolean {
    return this.#server.failing || this.all.some(({ gate }) => gate.failing)
  }

  /** False when the server as a whole does not answer, and the others need not be tried. Never rejects. */
  async try(part: Part): Promise<boolean> {
    const { calls, clock } = this.#options
    const { begun } = calls
    const begunMs = clock.monotonicMs()
    try {
      const refusal = await part.write()
      part.gate.succeeded()
      if (calls.begun > begun) {
        this.#serverAnswers()
        const nowMs = clock.monotonicMs()
        if (typeof refusal === 'string') part.run.failed(refusal, nowMs, nowMs - begunMs)
        else part.run.ok(nowMs, nowMs - begunMs)
      }
      return true
    } catch (thrown) {
      const nowMs = clock.monotonicMs()
      part.run.failed(messageOf(thrown), nowMs, nowMs - begunMs)
      part.serverWide = thrown instanceof ServerUnavailable
      part.gate.failed(nowMs, thrown)
      // Failed calls have been noted where they failed.
      if (!part.serverWide && !(thrown instanceof ApiError)) calls.lastError = messageOf(thrown)
      if (part.serverWide) this.#server.failed(nowMs, thrown)
      else if (calls.begun > begun) this.#serverAnswers()
      return !part.serverWide
    }
  }

  /** Parts that failed for the server's sake only need not wait any longer. */
  #serverAnswers(): void {
    if (!this.#server.failing) return
    this.#server.succeeded()
    for (const part of this.all) if (part.serverWide) part.gate.succeeded()
  }
}
