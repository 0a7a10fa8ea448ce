/** How the benchmarks take their numbers: agent and floor in turns, so that a disturbance of the machine meets both. */
import { pause } from './stop.ts'

const ROUNDS = 21
const HALF_PACE_MS = 500

type Measured = () => number | Promise<number>

export function median(values: readonly number[]): number {
  return percentile(values, 0.5)
}

/** `share` in [0, 1). */
export function percentile(values: readonly number[], share: number): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length * share)] ?? Number.NaN
}

/** Medians of both, half a second apart: caches go cold, as they do in a daemon. */
export async function takeTurns(ours: Measured, floor: Measured): Promise<{ ours: number; floors: number }> {
  const a: number[] = []
  const b: number[] = []
  for (let round = 0; round < ROUNDS; round += 1) {
    a.push(await ours())
    await pause(HALF_PACE_MS)
    b.push(await floor())
    await pause(HALF_PACE_MS)
  }
  // The first round fills caches and compiles code.
  return { ours: median(a.slice(1)), floors: median(b.slice(1)) }
}
