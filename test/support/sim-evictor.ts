/**
 * The API server's side of evictions on a simulated node, with a virtual clock: answers come late, budgets say no, requests fail. As strict as
 * the port says (model/evict.ts): what a pod was asked for already is not asked again while the answer is out or was a yes, and what must
 * never be wished for is written down as a violation.
 */
import type { EvictionOutcome, EvictionRecord, EvictionsView, EvictionWish, Evictor } from '../../src/model/index.ts'
import { EVICTION_OUTCOMES } from '../../src/model/index.ts'
import type { SimNode } from '../../src/sim/index.ts'

export interface SimEvictorOptions {
  /** Why nothing can be asked for. */
  readonly impossible?: string
  /** How long the server takes for an answer. @default 0 */
  readonly answerMs?: number
  /** How long an evicted pod takes to end. @default 0 */
  readonly graceMs?: number
  /** Whether a disruption budget keeps the pod at that time. */
  readonly blocks?: (uid: string, nowMs: number) => boolean
  /** Whether the n-th request, from 0, goes wrong. */
  readonly fails?: (index: number) => boolean
  /** A pod that a budget has kept for so long is deleted when it is asked for again. @default never */
  readonly forceAfterMs?: number
}

/** The port's own bound. */
const MOST_RECORDS = 64

interface Question {
  readonly wish: EvictionWish
  readonly atMs: number
  readonly index: number
}

export class SimEvictor implements Evictor {
  /** What was really asked of the server, in order. */
  readonly requests: Question[] = []
  readonly answers: EvictionRecord[] = []
  readonly dryRuns: Question[] = []
  readonly violations: string[] = []
  readonly #options: SimEvictorOptions
  #node: SimNode | undefined
  #records: EvictionRecord[] = []
  #counts = zeroes()
  #open: Question[] = []
  readonly #blockedSinceMs = new Map<string, number>()

  constructor(options: SimEvictorOptions = {}) {
    this.#options = options
  }

  /** The node whose pods go. */
  serve(node: SimNode): void {
    this.#node = node
  }

  /** The agent's process was killed: nothing is remembered, and answers on their way are lost. What the server has taken happens. */
  forget(): void {
    this.work()
    for (const question of this.#open) this.#answer(question)
    this.#open = []
    this.#records = []
    this.#counts = zeroes()
  }

  evict(wishes: readonly EvictionWish[], nowMs: number): void {
    this.work()
    if (wishes.filter(({ dryRun }) => !dryRun).length > 1) this.violations.push(`more than one pod is wished away at ${nowMs}`)
    for (const wish of wishes) this.#take(wish, nowMs)
  }

  view(): EvictionsView {
    this.work()
    const { impossible } = this.#options
    return {
      ...(impossible === undefined ? {} : { impossible }),
      recent: this.#records,
      counts: { ...this.#counts },
    }
  }

  #take(wish: EvictionWish, nowMs: number): void {
    const { uid } = wish
    if (this.#node?.has(uid) !== true) this.violations.push(`${uid} is wished away and is not there`)
    if (this.#options.impossible !== undefined) this.violations.push(`${uid} is wished away where nothing can be asked for`)
    const known = this.#records.find((record) => record.wish.uid === uid)?.is
    if (known === 'asked' || known === 'evicted' || known === 'forced') return
    const question = { wish, atMs: nowMs, index: this.requests.length }
    if (wish.dryRun) {
      this.dryRuns.push(question)
      this.#note(wish, 'dryRun', nowMs)
      return
    }
    this.requests.push(question)
    this.#note(wish, 'asked', nowMs)
    this.#open.push(question)
  }

  /** Gives the answers that are due. */
  work(): void {
    const { answerMs = 0 } = this.#options
    const nowMs = this.#node?.nowMs ?? 0
    for (const question of this.#open.filter(({ atMs }) => nowMs - atMs >= answerMs)) {
      this.#open.splice(this.#open.indexOf(question), 1)
      this.#answer(question)
    }
  }

  #answer({ wish, index }: Question): void {
    const { graceMs = 0, blocks = () => false, fails = () => false, forceAfterMs = Infinity } = this.#options
    const node = this.#node
    const nowMs = node?.nowMs ?? 0
    if (fails(index)) {
      this.#note(wish, 'failed', nowMs)
      return
    }
    if (blocks(wish.uid, nowMs)) {
      const sinceMs = this.#blockedSinceMs.get(wish.uid) ?? nowMs
      this.#blockedSinceMs.set(wish.uid, sinceMs)
      const isForced = nowMs - sinceMs >= forceAfterMs && node?.endPod(wish.uid, graceMs) === true
      this.#note(wish, isForced ? 'forced' : 'blocked', nowMs)
      return
    }
    this.#note(wish, node?.endPod(wish.uid, graceMs) === true ? 'evicted' : 'gone', nowMs)
  }

  #note(wish: EvictionWish, is: EvictionOutcome, atMs: number): void {
    const record = { wish, is, atMs }
    if (is !== 'asked' && is !== 'dryRun') this.answers.push(record)
    this.#counts[is] += 1
    this.#records = [record, ...this.#records.filter((known) => known.wish.uid !== wish.uid)].slice(0, MOST_RECORDS)
  }
}

function zeroes(): Record<EvictionOutcome, number> {
  return Object.fromEntries(EVICTION_OUTCOMES.map((is) => [is, 0])) as Record<EvictionOutcome, number>
}
