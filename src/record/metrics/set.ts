/** Small ways to set a gauge. */
import type { Gauge } from 'prom-client'

export function toCores(milli: number | undefined): number | undefined {
  return milli === undefined ? undefined : milli / 1000
}

/** Permyriad as a ratio, in which 1 is all. */
export function toRatio(permyriad: number | undefined): number | undefined {
  return permyriad === undefined ? undefined : permyriad / 10_000
}

/** A value that is not known has no series, rather than a 0 that nobody measured. */
export function setOrRemove(gauge: Gauge<never>, value: number | undefined): void {
  if (value === undefined) gauge.remove()
  else gauge.set(value)
}

/** 1 for the name that is on, 0 for the others. */
export function oneHot<Label extends string>(
  gauge: Gauge<Label>,
  label: Label,
  names: readonly string[],
  on: string | undefined,
): void {
  for (const name of names) gauge.set({ [label]: name } as Record<Label, string>, name === on ? 1 : 0)
}
