/**
 * Puts every journaled knob back that still holds what the agent wrote, and says what became of each. It is the ordinary path with
 * nothing desired: read, plan, write. A clipped value may need a second round, since a child can only grow once its parent has.
 */
import type { GroupPath, Journaled, KernelPort, KnobKind, KnobValue, Outcome, Plan, Reading, StepResult } from '../model/index.ts'
import { identicalValue, isOneWay, isSuccess, KnobTable, parentGroup, sameValue } from '../model/index.ts'
import type { Actuator } from './actuator.ts'
import type { RestoreJournal } from './restore-journal.ts'

/** Rounds are needed for clipped children and for groups that a slow reader held busy. */
const MAX_ROUNDS = 4

/** A knob that is on record still, though nobody else has taken it over. */
export interface ReleaseFailure {
  readonly group: GroupPath
  readonly kind: KnobKind
  /** What became of the last write; `unread` where none could be tried, since the knob of a group that is there can't be read. */
  readonly outcome: Outcome | { readonly is: 'unread' }
}

export interface ReleaseReport {
  /** Knobs that were written back to their original. */
  readonly restored: number
  /** Knobs that held their original already. */
  readonly unchanged: number
  /** Knobs of groups that are gone: nothing left to restore. */
  readonly vanished: number
  /** Knobs that somebody else has written since: theirs now. */
  readonly foreign: readonly { readonly group: GroupPath; readonly kind: KnobKind; readonly value: KnobValue }[]
  /** Knobs that the kernel does not let go back: what they hold ends with their group. */
  readonly oneWay: readonly { readonly group: GroupPath; readonly kind: KnobKind; readonly value: KnobValue }[]
  readonly failed: readonly ReleaseFailure[]
  /** Knobs of groups that are there and of kinds that only a newer agent knows: they stay on record for it. */
  readonly unknown: readonly { readonly group: GroupPath; readonly kind: string }[]
}

export interface ReleaseDependencies {
  readonly kernel: KernelPort
  readonly journal: RestoreJournal
  readonly actuator: Actuator
  /** plan/diff with nothing desired. Handed in, since actuate does not import plan. */
  readonly plan: (actual: KnobTable<Reading<KnobValue>>, journaled: Journaled) => Plan
}

type Closing = Pick<ReleaseDependencies, 'kernel' | 'journal' | 'actuator'>

/** Releases the node. Knobs that were restored or have vanished leave the journal; foreign and failed ones stay in it. */
export function release({ kernel, journal, actuator, plan }: ReleaseDependencies, nowMs: number): ReleaseReport {
  const before = journal.entries.size
  journal.prune()
  const vanished = before - journal.entries.size
  let restored = 0
  let failed: StepResult[] = []
  // What waits in the slow lane is wanted no more; what runs there may reach its file only after this look at it.
  actuator.apply([], { limited: false })
  const closing = { kernel, journal, actuator }
  const unchanged = closeUnchanged(closing)
  for (let round = 0; round < MAX_ROUNDS; round += 1) {
    const steps = plan(readAll(kernel, journal, nowMs), journal.entries)
    if (steps.length === 0) break
    const results = actuator.apply(steps, { limited: false })
    restored += results.filter(({ step, outcome }) => isSuccess(outcome) && step.because.code === 'restore').length
    failed = results.filter(({ outcome }) => !isSuccess(outcome) && outcome.is !== 'vanished')
    restored += closeUnchanged(closing)
  }
  restored += closeUnchanged(closing, { below: true })
  journal.prune()
  const ended = closeEnded(closing)
  const { left, unread } = leftOf(closing, failed)
  const [oneWay, foreign] = [true, false].map((kept) => left.filter(({ kind, value }) => isOneWay(kind, value) === kept))
  journal.marks.released(foreign ?? [])
  return {
    restored,
    unchanged,
    vanished: vanished + ended,
    foreign: foreign ?? [],
    oneWay: oneWay ?? [],
    failed: [...failed.map(({ step: { group, kind }, outcome }) => ({ group, kind, outcome })), ...unread],
    unknown: journal.unknown,
  }
}

/**
 * Takes knobs off the journal that hold their original. A set below one that is yet to be restored stays on record till then, unless
 * `below`: that it is its own is what tells it from a copy (copied-sets.ts).
 */
function closeUnchanged({ kernel, journal, actuator }: Closing, { below = false } = {}): number {
  let count = 0
  for (const [group, kind, entry] of journal.entries.entries()) {
    if (actuator.isWriting(group, kind)) continue
    if (!identicalValue(kernel.readKnob(group, kind), entry.original)) continue
    // Kernel: while idle is set the weight reads the same for all; what it says counts once idle has its original again.
    const idle = kind === 'weight' ? journal.entries.get(group, 'idle') : undefined
    if (idle !== undefined && !sameValue(kernel.readKnob(group, 'idle'), idle.original)) continue
    if (!below && kind === 'cpuset' && journal.has(parentGroup(group), kind)) continue
    journal.close(group, kind)
    count += 1
  }
  return count
}

function readAll(kernel: KernelPort, journal: RestoreJournal, nowMs: number): KnobTable<Reading<KnobValue>> {
  const actual = new KnobTable<Reading<KnobValue>>()
  for (const [group, kind] of journal.entries.entries()) {
    for (const wanted of kind === 'weight' ? (['idle', 'weight'] as const) : [kind]) {
      const value = kernel.readKnob(group, wanted)
      if (value !== undefined) actual.set(group, wanted, { value, atMs: nowMs, source: wanted })
    }
  }
  return actual
}

/** Takes cookies off the journal whose processes have ended: there is nothing else that carries one. */
function closeEnded({ kernel, journal }: Closing): number {
  let count = 0
  for (const group of journal.entries.groups()) {
    if (!journal.has(group, 'coreCookie') || kernel.readTasks(group) !== 0) continue
    if (kernel.readKnob(group, 'coreCookie') !== undefined) continue
    journal.close(group, 'coreCookie')
    count += 1
  }
  return count
}

/** What is still on the journal and was not tried in vain: what holds another value, and what of a group that is there can't be read. */
function leftOf(
  { kernel, journal, actuator }: Closing,
  failed: readonly StepResult[],
): { readonly left: ReleaseReport['foreign']; readonly unread: readonly ReleaseFailure[] } {
  const left: { group: GroupPath; kind: KnobKind; value: KnobValue }[] = []
  const unread: ReleaseFailure[] = []
  for (const [group, kind] of journal.entries.entries()) {
    const hasFailed = failed.some(({ step }) => step.group === group && step.kind === kind)
    if (hasFailed || actuator.isWriting(group, kind)) continue
    const value = kernel.readKnob(group, kind)
    if (value !== undefined) left.push({ group, kind, value })
    else if (kernel.exists(group)) unread.push({ group, kind, outcome: { is: 'unread' } })
  }
  return { left, unread }
}
