/**
 * The last decisions, in memory: a ring of changes with a running number, for /journal and for people who come after the fact. It
 * keeps the change itself and renders it when asked, so that entering one costs a hot tick next to nothing.
 * Not to be taken for the restore journal of actuate/, which is a file and holds original values.
 */
import type { Instant } from '../model/index.ts'
import { formatKnobValue, podKey } from '../model/index.ts'
import type { Change } from './changes.ts'
import {
  count,
  renderClassBecause,
  renderFinding,
  renderOutcome,
  renderSignals,
  renderStep,
  renderStepBecause,
  renderSuppression,
  renderValue,
  renderAbstention,
} from './render.ts'
import { renderOffer } from './render-offer.ts'

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
  /** From 1, without gaps. */
  readonly seq: number
  readonly wallMs: number
  readonly nowMs: number
}

export interface JournalQuery {
  /** Only entries with a higher number, oldest first; without it the newest ones. */
  readonly since?: number
  /** `namespace/name`. */
  readonly pod?: string
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

export class Journal {
  readonly #capacity: number
  readonly #ring: Kept[] = []
  #seq = 0

  /** Keeps the last `capacity` entries, at least 1. */
  constructor(capacity: number) {
    this.#capacity = Math.max(1, capacity)
  }

  enter(change: Change, at: Instant): void {
    this.#seq += 1
    this.#ring[(this.#seq - 1) % this.#capacity] = { seq: this.#seq, at: { nowMs: at.nowMs, wallMs: at.wallMs }, change }
  }

  query({ since, pod, limit = DEFAULT_LIMIT }: JournalQuery): JournalPage {
    const oldest = Math.max(1, this.#seq - this.#capacity + 1)
    const matching: Kept[] = []
    for (let seq = Math.max(oldest, (since ?? 0) + 1); seq <= this.#seq; seq++) {
      const kept = this.#ring[(seq - 1) % this.#capacity]
      if (kept !== undefined && (pod === undefined || podOf(kept.change) === pod)) matching.push(kept)
    }
    const page = since === undefined ? matching.slice(-limit) : matching.slice(0, limit)
    const cut = since !== undefined && matching.length > page.length
    return {
      entries: page.map(({ seq, at, change }) => ({ seq, wallMs: at.wallMs, nowMs: at.nowMs, ...viewOf(change) })),
      next: cut ? (page.at(-1)?.seq ?? this.#seq) : this.#seq,
      oldest: this.#seq === 0 ? 0 : oldest,
    }
  }
}

function podOf(change: Change): string | undefined {
  if (change.kind === 'pod') return podKey(change.pod.reading.spec)
  if (change.kind === 'finding') return podKey(change.finding)
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
        text: renderSuppression(change.state),
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
      const text = change.began ? `rule ${rule} abstains: ${reason}` : `rule ${rule} no longer abstains: ${reason}`
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
