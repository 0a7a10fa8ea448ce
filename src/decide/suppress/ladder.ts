/**
 * The ladder behind suppression of CPU and of memory: rungs are climbed one at a time, each only once its threshold has been passed for
 * its whole dwell time with the rung below in force, and once what the rung below really did has had its cool-down to show. They are left
 * one at a time too, from the top. Pure: the ladder as it stood comes in, the ladder as it stands goes out.
 */
import type { LadderState, Rung } from '../../model/index.ts'

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
  /** Why it can't be climbed here at all. */
  readonly impossible?: string
}

export interface LadderMemory<Name extends Rung> {
  /** Lowest first. */
  readonly inForce: readonly Name[]
  readonly changedMs?: number
  /** Since when the next rung's threshold has been passed. */
  readonly overSinceMs?: number
  /** Since when things have been better than the topmost rung's exit. */
  readonly underSinceMs?: number
  /** When the topmost rung did something for the first time. */
  readonly actedMs?: number
}

export interface Climbed<Name extends Rung> {
  readonly memory: LadderMemory<Name>
  readonly state: LadderState<Name>
}

/** Where the ladder stands at `nowMs`. A rung in force that is no longer handed in is left at once, with those above it staying. */
export function climb<Name extends Rung>(
  previous: LadderMemory<Name> | undefined,
  rungs: readonly RungView<Name>[],
  nowMs: number,
): Climbed<Name> {
  const memory = dropMissing(previous ?? { inForce: [] }, rungs, nowMs)
  const top = rungs.find(({ name }) => name === memory.inForce.at(-1))
  const actedMs = top?.acted === true ? (memory.actedMs ?? nowMs) : memory.actedMs
  const underSinceMs = top?.under === true ? (memory.underSinceMs ?? nowMs) : undefined
  if (top !== undefined && underSinceMs !== undefined && nowMs - underSinceMs >= top.settings.exitMs) {
    return finished({ inForce: memory.inForce.slice(0, -1), changedMs: nowMs })
  }
  const next = rungs.find(({ name }) => !memory.inForce.includes(name))
  const overSinceMs = next?.over === true ? (memory.overSinceMs ?? nowMs) : undefined
  const held: LadderMemory<Name> = {
    inForce: memory.inForce,
    ...defined({ changedMs: memory.changedMs, overSinceMs, underSinceMs, actedMs }),
  }
  if (next === undefined || overSinceMs === undefined) return finished(held)
  const waits = waitsFor(next, {
    overSinceMs,
    nowMs,
    coolUntilMs: actedMs === undefined || top === undefined ? -Infinity : actedMs + top.settings.coolDownMs,
  })
  if (waits !== undefined) return finished(held, waits)
  return finished({ inForce: [...memory.inForce, next.name], changedMs: nowMs })
}

function waitsFor<Name extends Rung>(
  next: RungView<Name>,
  { overSinceMs, nowMs, coolUntilMs }: { readonly overSinceMs: number; readonly nowMs: number; readonly coolUntilMs: number },
): LadderState<Name>['waiting'] {
  if (next.impossible !== undefined) return { rung: next.name, for: 'impossible', detail: next.impossible }
  if (nowMs - overSinceMs < next.settings.enterMs) return { rung: next.name, for: 'dwell' }
  return nowMs < coolUntilMs ? { rung: next.name, for: 'coolDown' } : undefined
}

/** Settings may have switched a rung off since. */
function dropMissing<Name extends Rung>(
  memory: LadderMemory<Name>,
  rungs: readonly RungView<Name>[],
  nowMs: number,
): LadderMemory<Name> {
  const inForce = memory.inForce.filter((held) => rungs.some(({ name }) => name === held))
  return inForce.length === memory.inForce.length ? memory : { inForce, changedMs: nowMs }
}

function finished<Name extends Rung>(memory: LadderMemory<Name>, waiting?: LadderState<Name>['waiting']): Climbed<Name> {
  const { inForce, changedMs } = memory
  return { memory, state: { inForce, ...defined({ changedMs, waiting }) } }
}

/** The entries that have a value: exactOptionalPropertyTypes tells a missing key from an undefined one. */
function defined<Entries extends object>(entries: Entries): { [Key in keyof Entries]?: Exclude<Entries[Key], undefined> } {
  return Object.fromEntries(Object.entries(entries).filter(([, value]) => value !== undefined)) as {
    [Key in keyof Entries]?: Exclude<Entries[Key], undefined>
  }
}
