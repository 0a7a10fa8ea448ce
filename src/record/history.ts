/**
 * The last minutes in numbers, for the charts of the status page: one sample a second in rings of fixed size. A second keeps its extremes,
 * the highest use and the lowest allowance, since what a chart is opened for are spikes that are shorter than its pixels.
 */
import type { TickRecord } from '../model/index.ts'

/** Span of a sample, and samples kept: ten minutes. */
export const HISTORY_EVERY_MS = 1000
export const HISTORY_SAMPLES = 600

/** What a sample holds, and which of the values of its span it keeps. */
const SERIES = {
  /** CPU of the whole node. */
  nodeMilli: 'highest',
  /** CPU of everything but the group of all offline pods: online services and the system. */
  onlineMilli: 'highest',
  /** CPU of the group of all offline pods. */
  offlineMilli: 'highest',
  /** What offline pods together may use, and OT pods of that. */
  allowanceMilli: 'lowest',
  otAllowanceMilli: 'lowest',
  watermarkMilli: 'last',
  capacityMilli: 'last',
  /** Share of time in which some task of online work waited for CPU; only where groups count stalls. */
  cpuPressurePermyriad: 'highest',
  memoryUsedPermyriad: 'highest',
} as const
export type HistorySeries = keyof typeof SERIES

const NAMES = Object.keys(SERIES) as HistorySeries[]

/** Samples as columns, oldest first. A second in which no tick finished has none. */
export interface HistoryPage {
  readonly everyMs: number
  /** What to pass as `since` next: the newest sample is still open, so it comes again. */
  readonly next: number
  /** Number of each sample: the span since the start of the monotonic clock. */
  readonly numbers: readonly number[]
  /** When the last tick of the sample was, as Unix time. */
  readonly wallMs: readonly number[]
  /** Null where a tick did not know. */
  readonly series: Readonly<Record<HistorySeries, readonly (number | null)[]>>
}

/** The ring. It takes some µs a tick and never grows: see `byteLength`. */
export class History {
  readonly #numbers = new Float64Array(HISTORY_SAMPLES).fill(-1)
  readonly #wallMs = new Float64Array(HISTORY_SAMPLES)
  readonly #series = Object.fromEntries(NAMES.map((name) => [name, new Float32Array(HISTORY_SAMPLES)])) as Record<
    HistorySeries,
    Float32Array
  >
  #newest = -1

  /** What the samples take, in bytes. */
  get byteLength(): number {
    return this.#numbers.byteLength + this.#wallMs.byteLength + NAMES.length * HISTORY_SAMPLES * Float32Array.BYTES_PER_ELEMENT
  }

  /** Takes a finished tick. */
  take({ snapshot, decision: { suppression } }: TickRecord): void {
    const { node, online, bestEffort } = snapshot
    const number = Math.floor(snapshot.nowMs / HISTORY_EVERY_MS)
    const slot = number % HISTORY_SAMPLES
    if (this.#numbers[slot] !== number) {
      this.#numbers[slot] = number
      for (const name of NAMES) this.#series[name][slot] = Number.NaN
    }
    this.#newest = number
    this.#wallMs[slot] = snapshot.wallMs
    const nodeMilli = node.cpu?.value.usedMilli
    const offlineMilli = bestEffort.cpu?.value.usedMilli
    const memory = node.memory?.value
    this.#keep('nodeMilli', slot, nodeMilli)
    this.#keep('offlineMilli', slot, offlineMilli)
    if (nodeMilli !== undefined && offlineMilli !== undefined)
      this.#keep('onlineMilli', slot, Math.max(0, nodeMilli - offlineMilli))
    this.#keep('allowanceMilli', slot, suppression?.allowanceMilli)
    this.#keep('otAllowanceMilli', slot, suppression?.otAllowanceMilli)
    this.#keep('watermarkMilli', slot, suppression?.inputs.watermarkMilli)
    this.#keep('capacityMilli', slot, snapshot.topology.online.size * 1000)
    // 10000 permyriad is all the time: 1,000,000 µs a second.
    const stalled = online.cpuPressure?.value.someUsPerSecond
    this.#keep('cpuPressurePermyriad', slot, stalled === undefined ? undefined : stalled / 100)
    if (memory !== undefined && memory.totalBytes > 0)
      this.#keep('memoryUsedPermyriad', slot, (1 - memory.availableBytes / memory.totalBytes) * 10_000)
  }

  /** Samples with a higher number than `since`; all that are kept without it, or when it is of another run of the agent. */
  query(since = -1): HistoryPage {
    const newest = this.#newest
    const from = Math.max(since > newest ? -1 : since, newest - HISTORY_SAMPLES, -1) + 1
    const slots: number[] = []
    for (let number = from; number <= newest; number += 1) {
      if (this.#numbers[number % HISTORY_SAMPLES] === number) slots.push(number % HISTORY_SAMPLES)
    }
    const series = {} as Record<HistorySeries, (number | null)[]>
    for (const name of NAMES) series[name] = slots.map((slot) => shown(this.#series[name][slot]))
    return {
      everyMs: HISTORY_EVERY_MS,
      next: Math.max(0, newest - 1),
      numbers: slots.map((slot) => this.#numbers[slot] ?? 0),
      wallMs: slots.map((slot) => Math.round(this.#wallMs[slot] ?? 0)),
      series,
    }
  }

  #keep(name: HistorySeries, slot: number, value: number | undefined): void {
    if (value === undefined) return
    const column = this.#series[name]
    const known = column[slot] ?? Number.NaN
    if (Number.isNaN(known) || SERIES[name] === 'last') column[slot] = value
    else column[slot] = SERIES[name] === 'highest' ? Math.max(known, value) : Math.min(known, value)
  }
}

function shown(value: number | undefined): number | null {
  return value === undefined || Number.isNaN(value) ? null : Math.round(value)
}
