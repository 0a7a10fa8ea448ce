/**
 * Branded units. Half of the published bugs of node agents are unit slips (milli-CPU taken for cores, µs for ns), so an
 * amount carries its unit in its type and the unit stands at the end of its name. A brand costs nothing at run time.
 */

declare const unit: unique symbol
type Branded<Unit extends string> = number & { readonly [unit]: Unit }

/** Thousandths of one CPU. 1000 is one CPU busy all the time. */
export type MilliCpu = Branded<'milliCpu'>
/** Bytes. Safe as a number: the largest node memory is far below 2^53. */
export type Bytes = Branded<'bytes'>
/** Microseconds, the unit of CFS quota, period and PSI totals. */
export type Micros = Branded<'us'>
/** Hundredths of a percent, 0 to 10000. */
export type Permyriad = Branded<'permyriad'>

/** A finite amount of CPU in thousandths of a CPU. */
export const milliCpu = (amount: number): MilliCpu => amount as MilliCpu
/** A finite number of bytes. */
export const bytes = (amount: number): Bytes => amount as Bytes
/** A finite number of microseconds. */
export const micros = (amount: number): Micros => amount as Micros
/** A share in hundredths of a percent. */
export const permyriad = (amount: number): Permyriad => amount as Permyriad

/** Milli-CPU rendered for people: `1300m`, or `1.3 CPU` from two CPUs upwards. */
export function formatMilliCpu(amount: number): string {
  return isManyCpus(amount) ? inCpus(amount) : inMilli(amount)
}

/** Renders amounts of one sentence, which `amounts` are, in one unit: CPU only where none of them would be rounded away. */
export function milliCpuFormat(amounts: readonly number[]): (amount: number) => string {
  const areMany = amounts.some(isManyCpus) && amounts.every((amount) => isManyCpus(amount) || Math.round(amount) === 0)
  return areMany ? inCpus : inMilli
}

const isManyCpus = (amount: number): boolean => Math.abs(Math.round(amount)) >= 2000
const inCpus = (amount: number): string => `${(Math.round(amount) / 1000).toFixed(1)} CPU`
const inMilli = (amount: number): string => `${Math.round(amount)}m`

const BYTE_STEPS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'] as const

/** Bytes rendered for people with a binary prefix and at most one decimal: `512 MiB`, `1.5 GiB`. */
export function formatBytes(amount: number): string {
  let value = amount
  let step = 0
  while (Math.abs(value) >= 1024 && step < BYTE_STEPS.length - 1) {
    value /= 1024
    step += 1
  }
  const digits = Number.isInteger(value) || Math.abs(value) >= 100 ? 0 : 1
  return `${value.toFixed(digits)} ${BYTE_STEPS[step]}`
}

/** A share in permyriad rendered as a percentage: `65 %`, `2.5 %`. */
export function formatPermyriad(amount: number): string {
  return `${Number((amount / 100).toFixed(2))} %`
}
