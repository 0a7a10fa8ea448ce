/**
 * What keeps the agent from its work for as long as nobody mends it, told apart from what passes by itself: trouble counts once it has lasted,
 * and is over once it has been away for as long. So a kubelet that restarts, or a file that could not be read once, is none.
 */
import {
  isFailing,
  isSuccess,
  type KnobKind,
  type ReadonlyKnobTable,
  type ResourceState,
  type RunKind,
  type RunState,
  type TickRecord,
  type Trouble,
  type TroubleReason,
  TROUBLES,
} from '../model/index.ts'
import type { LastWrite } from './changes.ts'
import { count } from './layout.ts'

/** How long trouble lasts before it counts, and how long it has been away when it is over. */
const LASTS_MS = 60_000
/** A loop that has not turned for so long is stuck, whatever its pace. */
const STUCK_MS = 5 * 60_000
/** Names in one text; the rest is counted. */
const MOST_NAMES = 5

export interface TroubleView {
  readonly runs: readonly (readonly [RunKind, RunState])[]
  readonly loop: { readonly failingTicks: number; readonly lastError?: string }
  /** Since when no tick has finished or failed, in ms. */
  readonly idleMs: number
  readonly record: TickRecord | undefined
  readonly writes: ReadonlyKnobTable<LastWrite>
  readonly resources: readonly ResourceState[]
  /** Why the configuration on disk is not the one in force; undefined while it is. */
  readonly rejected: string | undefined
}

/** All that is wrong at this moment, at most one of each reason. Texts hold no number that moves all the time. */
export function troublesOf(view: TroubleView): readonly Trouble[] {
  return TROUBLES.flatMap((reason) => {
    const text = SIGNS[reason](view)
    return text === undefined ? [] : [{ reason, text }]
  })
}

// Total, so that a new reason without a sign does not compile.
const SIGNS: Readonly<Record<TroubleReason, (view: TroubleView) => string | undefined>> = {
  TicksFailing: ({ loop, idleMs }) => {
    if (loop.failingTicks > 0) return `Every tick fails: ${loop.lastError ?? 'no reason given'}`
    return idleMs > STUCK_MS ? 'The loop stands still: no tick has finished or failed' : undefined
  },
  RestoreJournalFailing: ({ record }) => {
    const problem = record?.journalHealth?.problem
    return problem === undefined ? undefined : `Originals of knobs can't be kept: ${problem}`
  },
  RestoreJournalDamaged: ({ record }) => {
    const damage = record?.journalHealth?.damage
    return damage === undefined ? undefined : `Originals of knobs are lost: ${damage}`
  },
  WritesRefused: ({ record, writes }) => (record === undefined ? undefined : refusedText(record, writes)),
  SourcesFailing: ({ runs }) => failingText(runs, 'source', "can't be read"),
  RulesAbstaining: ({ runs }) => failingText(runs, 'rule', "can't decide"),
  KubeletUnregistered: ({ resources }) => {
    const names = resources.filter(({ registered }) => !registered).map(({ fullName }) => fullName)
    return names.length === 0 ? undefined : `Not registered with the kubelet: ${named(names)}`
  },
  KnobsContested: ({ record }) => contestedText(record),
  ConfigRejected: ({ rejected }) =>
    rejected === undefined ? undefined : `The configuration was rejected, and the last good one stays: ${rejected}`,
  SinksFailing: ({ runs }) => failingText(runs.filter(isOwnSink), 'sink', "can't be written to"),
}

/** Those that no other reason speaks for. */
function isOwnSink([kind, { name }]: readonly [RunKind, RunState]): boolean {
  return kind === 'sink' && name !== 'restore_journal' && !name.startsWith('device_plugin_')
}

function failingText(runs: TroubleView['runs'], kind: RunKind, what: string): string | undefined {
  const failing = runs.filter(([itsKind, run]) => itsKind === kind && isFailing(run)).map(([, run]) => run)
  const [first] = failing
  if (first === undefined) return undefined
  const names = named(failing.map(({ name }) => name))
  return `${count(failing.length, kind)} ${what}: ${names} (${first.lastError ?? 'no reason given'})`
}

/** Of what is in the plan now; what is busy or has ended comes right by itself. */
function refusedText({ plan }: TickRecord, writes: TroubleView['writes']): string | undefined {
  const refused = new Map<KnobKind, string>()
  for (const { group, kind } of plan) {
    const outcome = writes.get(group, kind)?.result.outcome
    if (outcome === undefined || isSuccess(outcome) || ['vanished', 'begun', 'busy'].includes(outcome.is)) continue
    refused.set(kind, 'errno' in outcome ? `${outcome.is}, ${outcome.errno}` : outcome.is)
  }
  if (refused.size === 0) return undefined
  return `The kernel does not take what is written: ${named([...refused].map(([kind, is]) => `${kind} (${is})`))}`
}

function contestedText(record: TickRecord | undefined): string | undefined {
  const kinds = new Set<KnobKind>()
  record?.drift?.knobs.forEach((_group, kind, { concededUntilMs, contested }) => {
    if (concededUntilMs !== undefined || contested === true) kinds.add(kind)
  })
  return kinds.size === 0 ? undefined : `Somebody else keeps writing: ${named([...kinds])}`
}

function named(names: readonly string[]): string {
  const shown = [...names].sort().slice(0, MOST_NAMES).join(', ')
  return names.length > MOST_NAMES ? `${shown} and ${names.length - MOST_NAMES} more` : shown
}

interface Sighting {
  readonly sinceMs: number
  readonly lastMs: number
  readonly text: string
}

/** Remembers since when there has been which trouble. */
export class TroubleWatch {
  readonly #startedMs: number
  readonly #seen = new Map<TroubleReason, Sighting>()
  #nowMs: number

  /** `startedMs`: when the agent started; monotonic, like all times here. */
  constructor(startedMs: number) {
    this.#startedMs = startedMs
    this.#nowMs = startedMs
  }

  /** Takes what is wrong at `nowMs`. */
  take(troubles: readonly Trouble[], nowMs: number): void {
    this.#nowMs = nowMs
    for (const { reason, text } of troubles)
      this.#seen.set(reason, { sinceMs: this.#seen.get(reason)?.sinceMs ?? nowMs, lastMs: nowMs, text })
    for (const [reason, { lastMs, sinceMs }] of this.#seen) {
      const awayMs = nowMs - lastMs
      // What did not last long enough to count need not be gone for long.
      if (awayMs >= LASTS_MS || (awayMs > 0 && lastMs - sinceMs < LASTS_MS)) this.#seen.delete(reason)
    }
  }

  /** What has lasted, worst first; undefined while an agent that has just started can't tell yet. */
  get standing(): readonly Trouble[] | undefined {
    const standing = TROUBLES.flatMap((reason) => {
      const seen = this.#seen.get(reason)
      return seen !== undefined && seen.lastMs - seen.sinceMs >= LASTS_MS ? [{ reason, text: seen.text }] : []
    })
    return standing.length === 0 && this.#nowMs - this.#startedMs < LASTS_MS ? undefined : standing
  }
}
