/**
 * The last decisions, in memory: rings of changes with a running number, for /journal and for people who come after the fact. It
 * keeps the change itself and renders it when asked, so that entering one costs a hot tick next to nothing.
 * Not to be taken for the restore journal of actuate/, which is a file and holds original values.
 */
import type { Instant } from '../model/index.ts'
import { driftText, formatKnobValue, podKey } from '../model/index.ts'
import { type Change, isFrequent } from './changes.ts'
import { count } from './layout.ts'
import {
  renderClassBecause,
  renderFinding,
  renderOutcome,
  renderReleased,
  renderSignals,
  renderStep,
  renderStepBecause,
  renderValue,
  renderAbstention,
} from './render.ts'
import { ladderView } from './ladder-views.ts'
import { renderOffer } from './render-offer.ts'
import { observedNote } from './observed.ts'
import { renderSuppression } from './render-squeeze.ts'

/** A change as people and programs read it; values in the words of the kernel file. */
export interface ChangeView {
  readonly kind: Change['kind']
  readonly group?: string
  /** `namespace/name`. */
  readonly pod?: string
  readonly knob?: string
  readonly from?: string
  readonly to?: string
  readonly outcome?: string
  readonly text: string
}

export interface JournalEntry extends ChangeView {
  /** From 1, without gaps among the newest; see Journal. */
  readonly seq: number
  readonly wallMs: number
  readonly nowMs: number
}

export interface JournalQuery {
  /** Only entries with a higher number, oldest first; without it the newest ones. */
  readonly since?: number
  /** `namespace/name`. */
  readonly pod?: string
  /** Without the moves of the allowance and the writes that follow from them, which may come many times a second. */
  readonly news?: boolean
  /**
   * Most entries to return, from 1.
   * @default 100
   */
  readonly limit?: number
}

export interface JournalPage {
  /** Oldest first. */
  readonly entries: readonly JournalEntry[]
  /** What to pass as `since` for the entries after these. */
  readonly next: number
  /** Number of the oldest entry that is still kept; 0 while there is none. */
  readonly oldest: number
}

const DEFAULT_LIMIT = 100

interface Kept {
  readonly seq: number
  readonly at: Instant
  readonly change: Change
}

/** The last so many, the oldest of which is overwritten. */
class Ring {
  readonly #capacity: number
  readonly #kept: Kept[] = []
  #next = 0

  constructor(capacity: number) {
    this.#capacity = capacity
  }

  push(kept: Kept): void {
    this.#kept[this.#next] = kept
    this.#next = (this.#next + 1) % this.#capacity
  }

  /** Oldest first. */
  entries(): readonly Kept[] {
    return [...this.#kept.slice(this.#next), ...this.#kept.slice(0, this.#next)]
  }
}

/**
 * While the node is hot the allowance moves many times a second, so moves have a ring of their own: a night of them does not push out
 * that a pod was evicted. The older part of the journal may therefore lack them.
 */
export class Journal {
  readonly #moves: Ring
  readonly #news: Ring
  #seq = 0

  /** Keeps the last `capacity` entries (at least 1) of either ring. */
  constructor(capacity: number) {
    this.#moves = new Ring(Math.max(1, capacity))
    this.#news = new Ring(Math.max(1, capacity))
  }

  enter(change: Change, at: Instant): void {
    this.#seq += 1
    const ring = isFrequent(change) ? this.#moves : this.#news
    ring.push({ seq: this.#seq, at: { nowMs: at.nowMs, wallMs: at.wallMs }, change })
  }

  query({ since, pod, news = false, limit = DEFAULT_LIMIT }: JournalQuery): JournalPage {
    const moves = news ? [] : this.#moves.entries()
    const kept = [...moves, ...this.#news.entries()].sort((a, b) => a.seq - b.seq)
    const matching = kept.filter(({ seq, change }) => seq > (since ?? 0) && (pod === undefined || podOf(change) === pod))
    const page = since === undefined ? matching.slice(-limit) : matching.slice(0, limit)
    const cut = since !== undefined && matching.length > page.length
    return {
      entries: page.map(({ seq, at, change }) => ({ seq, wallMs: at.wallMs, nowMs: at.nowMs, ...viewOf(change) })),
      next: cut ? (page.at(-1)?.seq ?? this.#seq) : this.#seq,
      oldest: kept[0]?.seq ?? 0,
    }
  }
}

function podOf(change: Change): string | undefined {
  if (change.kind === 'pod') return podKey(change.pod.reading.spec)
  if (change.kind === 'finding') return podKey(change.finding)
  if (change.kind === 'eviction') return podKey(change.wish)
  return change.kind === 'write' || change.kind === 'refused' ? change.pod : undefined
}

/** The change as text and fields. */
export function viewOf(change: Change): ChangeView {
  switch (change.kind) {
    case 'write':
    case 'refused':
      return writeView(change)
    case 'allowance':
      return {
        kind: change.kind,
        ...(change.was === undefined ? {} : { from: allowances(change.was) }),
        to: allowances(change.state),
        text: `${renderSuppression(change.state)}${change.observed === undefined ? '' : ` ${observedNote(change.observed)}`}`,
      }
    case 'offer':
      return {
        kind: change.kind,
        ...(change.was === undefined ? {} : { from: count(change.was.units, 'unit') }),
        to: count(change.offer.units, 'unit'),
        text: renderOffer(change.offer),
      }
    case 'abstain': {
      const { rule } = change.abstention
      const reason = renderAbstention(change.abstention)
      const text = change.began ? `rule ${rule} abstains: ${reason}` : `over: rule ${rule} no longer abstains for this: ${reason}`
      return { kind: change.kind, text }
    }
    case 'pod':
      return podView(change)
    case 'finding': {
      const pod = podKey(change.finding)
      return { kind: change.kind, pod, text: `pod ${pod}: ${renderFinding(change.finding)}` }
    }
    case 'signal':
      return { kind: change.kind, to: change.signals.hot ? 'hot' : 'not hot', text: renderSignals(change.signals) }
    case 'error':
      return { kind: change.kind, text: change.text }
    case 'released':
      return { kind: change.kind, text: renderReleased(change.atWallMs) }
    case 'drift':
      return driftView(change)
    case 'rung':
    case 'blockedRung':
    case 'pressure':
    case 'swing':
    case 'sales':
    case 'io':
    case 'eviction':
      return ladderView(change)
  }
}

function driftView({ kind, news, passedOver }: Extract<Change, { kind: 'drift' }>): ChangeView {
  const { group, kind: knob, found, ours } = news.drift
  const untold = passedOver === 0 ? '' : ` (${passedOver} more not told: too many in a minute)`
  return {
    kind,
    group,
    knob,
    from: renderValue(knob, ours),
    to: renderValue(knob, found),
    outcome: news.is,
    text: `${driftText(news)}${untold}`,
  }
}

function writeView({ kind, result, pod }: Extract<Change, { kind: 'write' | 'refused' }>): ChangeView {
  const { step, outcome } = result
  const told = kind === 'write' ? '' : `: ${renderOutcome(outcome)}`
  return {
    kind,
    group: step.group,
    ...(pod === undefined ? {} : { pod }),
    knob: step.kind,
    from: renderValue(step.kind, step.from),
    to: formatKnobValue(step),
    outcome: outcome.is,
    text: `${renderStep(step)}${told}; ${renderStepBecause(step.because)}`,
  }
}

function podView({ kind, pod, event, was }: Extract<Change, { kind: 'pod' }>): ChangeView {
  const { qosClass, because } = pod
  const key = podKey(pod.reading.spec)
  const base = { kind, pod: key, group: pod.reading.group }
  switch (event) {
    case 'came':
      return { ...base, to: qosClass, text: `pod ${key} came, class ${qosClass}: ${renderClassBecause(because)}` }
    case 'went':
      return { ...base, from: qosClass, text: `pod ${key} went, it was ${qosClass}` }
    case 'reclassified':
      return {
        ...base,
        ...(was === undefined ? {} : { from: was }),
        to: qosClass,
        text: `pod ${key} is ${qosClass} now${was === undefined ? '' : ` and was ${was}`}: ${renderClassBecause(because)}`,
      }
  }
}

function allowances(state: { readonly allowanceMilli: number; readonly otAllowanceMilli: number }): string {
  return `${state.allowanceMilli}m, OT ${state.otAllowanceMilli}m`
}
