/**
 * What each knob should come to hold: what is wished for, and for a knob that nobody wishes for any more and that still holds what the agent
 * wrote, its original.
 */
import { CpuSet } from '../cpu/index.ts'
import type {
  Capabilities,
  Desired,
  Dialect,
  GroupPath,
  Journaled,
  JournaledKnob,
  KnobKind,
  KnobSetting,
  KnobValue,
  Reading,
  ReadonlyKnobTable,
  StepBecause,
} from '../model/index.ts'
import { IoLimits, isOneWay, isOursByNature, isQuota, KnobTable, sameValue } from '../model/index.ts'
import { limitsToRestore, limitsToWrite } from './device-limits.ts'
import { inPeriodOf } from './width.ts'

export interface PlanInput {
  readonly desired: Desired
  readonly actual: ReadonlyKnobTable<Reading<KnobValue>>
  readonly journaled: Journaled
  readonly capabilities: Capabilities
  /** CPUs that can be used now; an original that names others is restored without them. @default all */
  readonly online?: CpuSet
  /**
   * False while a rule can't decide yet. Then no quota is widened and nothing is put back but what is frozen: a restarted agent would
   * otherwise lift every limit for its first seconds; but pods that stand still must not wait for it to learn of them, which it may never.
   * @default true
   */
  readonly settled?: boolean
  /**
   * Groups whose quota may be widened even so: a regulator that went on from what stands in the kernel is behind it, and would otherwise only
   * ever narrow while the pods can't be read.
   * @default none
   */
  readonly regulated?: readonly GroupPath[]
  /**
   * Groups of pods that no source lists. What the agent set for such a pod stays, since it may be on its way out; only a quota that
   * somebody else had set, and that gave way to a smaller parent, follows the parent up again.
   * @default none
   */
  readonly unlisted?: readonly GroupPath[]
  /**
   * Knobs that are left to somebody else who keeps writing them: what is wished of them does not count.
   * @default none
   */
  readonly isConceded?: (group: GroupPath, kind: KnobKind) => boolean
  /**
   * Of those the ones that keep nothing of what is written: they are not put back either, but when they are taken up again or on a release.
   * @default none
   */
  readonly isLeft?: (group: GroupPath, kind: KnobKind) => boolean
  /**
   * Kinds of knobs that need no look: since a plan that had no step for them, nothing has changed that they depend on.
   * @default none
   */
  readonly still?: ReadonlySet<KnobKind>
}

/** Whether a kind of knob is to be looked at. Weights depend on idle: they go together. */
export function isLookedAt(kind: KnobKind, { still }: PlanInput): boolean {
  if (still === undefined || !still.has(kind)) return true
  return (kind === 'idle' || kind === 'weight') && !(still.has('idle') && still.has('weight'))
}

/** A value a knob should come to hold, and why. */
export interface Target {
  readonly setting: KnobSetting
  readonly because: StepBecause
}

/** Every knob that is wished for or has to go back. */
export function targetsOf(input: PlanInput): KnobTable<Target> {
  const { desired, actual, journaled, capabilities, isConceded = () => false, isLeft = () => false } = input
  const targets = new KnobTable<Target>()
  desired.forEach((group, kind, { setting: wanted, winner }) => {
    if (!isLookedAt(kind, input) || isConceded(group, kind)) return
    const now = actual.get(group, kind)?.value
    const setting = asWritten(wanted, { now, entry: journaled.get(group, kind), dialect: capabilities.dialect })
    targets.set(group, kind, { setting, because: { code: 'claim', rule: winner.rule, because: winner.because } })
  })
  journaled.forEach((group, kind, entry) => {
    if (!isLookedAt(kind, input) || (input.settled === false && kind !== 'freeze') || isLeft(group, kind)) return
    if ((desired.get(group, kind) !== undefined && !isConceded(group, kind)) || staysAsItIs([group, kind, entry], input)) return
    const reading = actual.get(group, kind)
    if (reading === undefined || !isOurs(kind, reading.value, entry) || isReadingOfIdle(group, kind, journaled)) return
    if (isOneWay(kind, reading.value)) return
    targets.set(group, kind, restoreTarget(kind, entry, { online: input.online, now: reading.value }))
  })
  return targets
}

interface Held {
  readonly now: KnobValue | undefined
  readonly entry: JournaledKnob | undefined
  readonly dialect: Dialect
}

/** What is written for a wish: under v1 a period is the group's own, and limits of devices that were named once go back. */
function asWritten(wanted: KnobSetting, { now, entry, dialect }: Held): KnobSetting {
  if (wanted.kind === 'quota' && dialect === 'v1') return inPeriodOf(wanted, now)
  if (wanted.kind !== 'ioMax' || !(now instanceof IoLimits)) return wanted
  return { kind: 'ioMax', value: limitsToWrite(wanted.value, now, entry) }
}

function staysAsItIs(
  [group, kind, { original }]: readonly [GroupPath, KnobKind, JournaledKnob],
  { unlisted = [] }: PlanInput,
): boolean {
  // Kernel: under v1 what is frozen can't even be killed, and a pod on its way out has to end.
  if (kind === 'freeze') return false
  if (!unlisted.some((known) => group === known || group.startsWith(`${known}/`))) return false
  return !(isQuota(original) && original.quotaUs !== null)
}

/** Kernel: under v1 a set that names an offline CPU is refused; the rest of the original follows when the CPU is back. */
export function restoreTarget(
  kind: KnobKind,
  entry: JournaledKnob,
  { online, now }: { readonly online?: CpuSet | undefined; readonly now?: KnobValue } = {},
): Target {
  const { original } = entry
  if (now instanceof IoLimits)
    return { setting: { kind: 'ioMax', value: limitsToRestore(now, entry) }, because: { code: 'restore' } }
  const usable = original instanceof CpuSet && online !== undefined ? original.intersect(online) : undefined
  const value = usable === undefined || usable.isEmpty ? original : usable
  return { setting: { kind, value } as KnobSetting, because: { code: 'restore' } }
}

/** Kernel: what an idle group's weight reads is no weight that could be written; it comes back with idle itself. */
export function isReadingOfIdle(group: GroupPath, kind: KnobKind, journaled: Journaled): boolean {
  return kind === 'weight' && journaled.get(group, 'idle')?.original === 1
}

/** Whether a value is one the agent wrote, or the original itself: anything else belongs to somebody else now. */
export function isOurs(kind: KnobKind, value: KnobValue, entry: JournaledKnob): boolean {
  if (isOursByNature(kind, value)) return true
  if (entry.ours.some((ours) => sameValue(ours, value)) || sameValue(entry.original, value)) return true
  return value instanceof IoLimits && limitsToRestore(value, entry).devices.size > 0
}
