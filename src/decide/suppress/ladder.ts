/**
 * The ladder behind suppression of CPU and of memory: rungs are climbed one at a time, each only once its threshold has been passed for
 * its whole dwell time with the rung below in force, and once what the rung below really did has had its cool-down to show. They are left
 * one at a time too, from the top. Pure: the ladder as it stood comes in, the ladder as it stands goes out.
 */
import type { LadderState, Rung } from '../../model/index.ts'
import { defined } from '../defined.ts'

/** One rung as it looks on this tick. Rungs that are switched off are not handed in. */
export interface RungView<Name extends Rung> {
  readonly name: Name
  readonly settings: { readonly enterMs: number; readonly exitMs: number; readonly coolDownMs: number }
  /** Its enter threshold is passed. False while readings are missing. */
  readonly over: boolean
  /** Things are better than its exit threshold. False while readings are missing. */
  readonly under: boolean
  /** Whether, while in force, it has really done something: written what it wants, or evicted a pod. Arms its cool-down. */
  readonly acted: boolean
  /** Why it can't be climbed here at all; such a rung is stepped over. */
  readonly impossible?: string
}

/** What the ladder carries from tick to tick; all times in monotonic milliseconds. */
export interface LadderMemory<Name extends Rung> {
  /** Lowest first. */
  readonly inForce: readonly Name[]
  readonly changedMs?: number
  /** Since when the threshold of the next rung, `overOf`, has been passed. */
  readonly overSinceMs?: number
  readonly overOf?: Name
  /** Since when things have been better than the topmost rung's exit. */
  readonly underSinceMs?: number
  /** When the topmost rung did something for the first time. */
  readonly actedMs?: number
}

/** The ladder after this tick, for the next one and for people. */
export interface Climbed<Name extends Rung> {
  readonly memory: LadderMemory<Name>
  readonly state: LadderState<Name>
}

/**
 * Where the ladder stands at `nowMs`. A rung in force that is no longer handed in is left at once, with those above it staying. A rung that is
 * impossible here is stepped over, and told of while nothing above it can be climbed: otherwise a kernel without one knob would never get to
 * what comes after. One that becomes impossible while in force stays until it is left. A rung that turns up, or becomes possible, below one in
 * force is the next to be climbed.
 */
export function climb<Name extends Rung>(
  previous: LadderMemory<Name> | undefined,
  rungs: readonly RungView<Name>[],
  nowMs: number,
): Climbed<Name> {
  const memory = inOrder(previous ?? { inForce: [] }, rungs, nowMs)
  const top = rungs.find(({ name }) => name === memory.inForce.at(-1))
  const actedMs = top?.acted === true ? (memory.actedMs ?? nowMs) : memory.actedMs
  const underSinceMs = top?.under === true ? (memory.underSinceMs ?? nowMs) : undefined
  if (top !== undefined && underSinceMs !== undefined && nowMs - underSinceMs >= top.settings.exitMs) {
    return finished({ inForce: memory.inForce.slice(0, -1), changedMs: nowMs })
  }
  const ahead = rungs.filter(({ name }) => !memory.inForce.includes(name))
  const next = ahead.find(({ impossible }) => impossible === undefined)
  const knownMs = memory.overOf === next?.name ? memory.overSinceMs : undefined
  const overSinceMs = next?.over === true ? (knownMs ?? nowMs) : undefined
  const overOf = overSinceMs === undefined ? undefined : next?.name
  const held: LadderMemory<Name> = {
    inForce: memory.inForce,
    ...defined({ changedMs: memory.changedMs, overSinceMs, overOf, underSinceMs, actedMs }),
  }
  if (next === undefined || overSinceMs === undefined) return finished(held, barred(ahead))
  const waits = waitsFor(next, {
    overSinceMs,
    nowMs,
    coolUntilMs: actedMs === undefined || top === undefined ? -Infinity : actedMs + top.settings.coolDownMs,
  })
  if (waits !== undefined) return finished(held, waits)
  return finished({ inForce: namesOf(rungs, [...memory.inForce, next.name]), changedMs: nowMs })
}

function waitsFor<Name extends Rung>(
  next: RungView<Name>,
  { overSinceMs, nowMs, coolUntilMs }: { readonly overSinceMs: number; readonly nowMs: number; readonly coolUntilMs: number },
): LadderState<Name>['waiting'] {
  if (nowMs - overSinceMs < next.settings.enterMs) return { rung: next.name, for: 'dwell' }
  return nowMs < coolUntilMs ? { rung: next.name, for: 'coolDown' } : undefined
}

/** The lowest rung that would be climbed if it could be. */
function barred<Name extends Rung>(ahead: readonly RungView<Name>[]): LadderState<Name>['waiting'] {
  for (const { name, over, impossible } of ahead)
    if (over && impossible !== undefined) return { rung: name, for: 'impossible', detail: impossible }
  return undefined
}

/** Settings may have switched a rung off since. What is known of the topmost one holds while it is the same. */
function inOrder<Name extends Rung>(
  memory: LadderMemory<Name>,
  rungs: readonly RungView<Name>[],
  nowMs: number,
): LadderMemory<Name> {
  const inForce = namesOf(rungs, memory.inForce)
  if (inForce.length === memory.inForce.length) return memory
  return inForce.at(-1) === memory.inForce.at(-1) ? { ...memory, inForce, changedMs: nowMs } : { inForce, changedMs: nowMs }
}

/** Those of `names` that are rungs, lowest first. */
function namesOf<Name extends Rung>(rungs: readonly RungView<Name>[], names: readonly Name[]): Name[] {
  return rungs.flatMap(({ name }) => (names.includes(name) ? [name] : []))
}

function finished<Name extends Rung>(memory: LadderMemory<Name>, waiting?: LadderState<Name>['waiting']): Climbed<Name> {
  const { inForce, changedMs } = memory
  return { memory, state: { inForce, ...defined({ changedMs, waiting }) } }
}
