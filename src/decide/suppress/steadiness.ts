/**
 * Whether the allowance swings: changes of direction by at least the dead band are counted, and at steady.turns of them within
 * steady.windowMs the dwell time doubles, up to steady.mostDwellMs. A whole window without swinging halves it again. The dwell time in force
 * is the pace of growth and the span of the online peak: a longer one makes steps rarer and the target itself steadier.
 */
import type { Config } from '../../config/types.ts'
import type { SteadinessState } from '../../model/index.ts'
import { deadBandMilli } from './regulator.ts'

/** What the detector carries from tick to tick; at most steady.turns times are kept. */
export interface SteadinessMemory {
  /** The dwell time in force. */
  readonly dwellMs: number
  /** When it swung last, or the dwell time was halved last. */
  readonly sinceMs: number
  /** When the direction changed, oldest first, since it swung last. */
  readonly turnedMs: readonly number[]
  /** Undefined until the allowance has moved by the dead band. */
  readonly heading?: 'up' | 'down'
  /** How far it has come in that direction. */
  readonly furthestMilli: number
}

/** The dwell time in force, in milliseconds: never below suppressCpu.dwellMs, also when that has risen since. */
export function dwellInForce(memory: SteadinessMemory | undefined, { suppressCpu, steady }: Config): number {
  const mostMs = Math.max(suppressCpu.dwellMs, steady.mostDwellMs)
  return Math.min(mostMs, Math.max(suppressCpu.dwellMs, memory?.dwellMs ?? suppressCpu.dwellMs))
}

/** Takes note of this tick's allowance. */
export function watchSteadiness(
  memory: SteadinessMemory | undefined,
  {
    allowanceMilli,
    capacityMilli,
    nowMs,
  }: { readonly allowanceMilli: number; readonly capacityMilli: number; readonly nowMs: number },
  config: Config,
): { readonly memory: SteadinessMemory; readonly state: SteadinessState } {
  const known = memory ?? { dwellMs: config.suppressCpu.dwellMs, sinceMs: nowMs, turnedMs: [], furthestMilli: allowanceMilli }
  const bandMilli = Math.max(1, deadBandMilli(capacityMilli, config))
  const moved = follow(known, allowanceMilli, bandMilli)
  const { turns, windowMs, mostDwellMs } = config.steady
  const turnedMs = known.turnedMs.filter((atMs) => nowMs - atMs < windowMs)
  if (moved.turned) turnedMs.push(nowMs)
  const swings = turnedMs.length >= turns
  const dwellMs = dwellInForce(known, config)
  const paced = swings
    ? { dwellMs: Math.min(Math.max(mostDwellMs, dwellMs), dwellMs * 2), sinceMs: nowMs, turnedMs: [] }
    : { ...relax(dwellMs, known.sinceMs, nowMs, config), turnedMs }
  const { heading, furthestMilli } = moved
  const next: SteadinessMemory = { ...paced, ...(heading === undefined ? {} : { heading }), furthestMilli }
  return {
    memory: next,
    state: { turns: turnedMs.length, dwellMs: next.dwellMs, swings: next.dwellMs > config.suppressCpu.dwellMs },
  }
}

interface Moved {
  readonly heading?: 'up' | 'down'
  readonly furthestMilli: number
  readonly turned: boolean
}

/** Where the allowance heads. It turns when it comes back by the band from the furthest that it got: small steps add up. */
function follow({ heading, furthestMilli }: SteadinessMemory, milli: number, bandMilli: number): Moved {
  if (heading === undefined) {
    if (Math.abs(milli - furthestMilli) < bandMilli) return { furthestMilli, turned: false }
    return { heading: milli > furthestMilli ? 'up' : 'down', furthestMilli: milli, turned: false }
  }
  const backMilli = heading === 'up' ? furthestMilli - milli : milli - furthestMilli
  if (backMilli >= bandMilli) return { heading: heading === 'up' ? 'down' : 'up', furthestMilli: milli, turned: true }
  return { heading, furthestMilli: backMilli < 0 ? milli : furthestMilli, turned: false }
}

/** Halves the dwell time once for each whole window since it swung, also when no tick came in between. */
function relax(
  fromMs: number,
  sinceMs: number,
  nowMs: number,
  { suppressCpu, steady: { windowMs } }: Config,
): { readonly dwellMs: number; readonly sinceMs: number } {
  let paced = { dwellMs: fromMs, sinceMs }
  // At most some 16 turns: from an hour down to 100 ms.
  while (paced.dwellMs > suppressCpu.dwellMs && nowMs - paced.sinceMs >= windowMs)
    paced = { dwellMs: Math.max(suppressCpu.dwellMs, Math.floor(paced.dwellMs / 2)), sinceMs: paced.sinceMs + windowMs }
  return paced
}
