/**
 * What online pods use: the CPU time of the pods' root less that of the best-effort root. It is precise on both versions of cgroups, where
 * /proc/stat counts ticks of 10 ms, so it can be told over one guard beat: a jump shows there long before it shows in an average.
 * Online pods below the best-effort root (untagged ones) are not part of it.
 */
import type { GroupPath, KernelPort, OnlineCpuUse, Reading } from '../model/index.ts'
import { RateWindow } from './rates.ts'

/** Kernel: a running task is charged at clock ticks, 1 to 10 ms apart. Over less than this a rate would be mostly that. */
const LATEST_MS = 20
/** Of the CPUs over LATEST_MS: what offline work may have used while the counters were read, for the sample to count. */
const SKEW = 0.02

/** The use over both spans. The same object on every beat: read it at once. */
export interface OnlineRates {
  usedMilli: number
  latestMilli: number
}

export class OnlineUse {
  readonly #kernel: KernelPort
  readonly #podsRoot: GroupPath
  readonly #offlineRoot: GroupPath
  readonly #windowMs: number
  readonly #source: string
  readonly #rates: OnlineRates = { usedMilli: 0, latestMilli: 0 }
  #window: RateWindow
  #podsUs = 0
  #offlineUs = 0
  #onlineUs = 0

  /** `windowMs` is the shortest span of the average that the latest use is told beside. */
  constructor(kernel: KernelPort, roots: { readonly pods: GroupPath; readonly offline: GroupPath }, windowMs: number) {
    this.#kernel = kernel
    this.#podsRoot = roots.pods
    this.#offlineRoot = roots.offline
    this.#windowMs = windowMs
    this.#source = `${roots.pods} less ${roots.offline}`
    this.#window = new RateWindow(windowMs)
  }

  /** Samples both counters; `beforeUs` is what the best-effort root had used just now. False when one of them could not be read. */
  sample(nowMs: number, beforeUs: number | undefined, cpus: number): boolean {
    if (beforeUs === undefined) return false
    if (this.#window.newestMs === nowMs) return true
    const podsUs = this.#kernel.readCpuUsageUs(this.#podsRoot)
    const offlineUs = podsUs === undefined ? undefined : this.#kernel.readCpuUsageUs(this.#offlineRoot)
    if (podsUs === undefined || offlineUs === undefined || !Number.isFinite(podsUs) || !Number.isFinite(offlineUs)) return false
    // The agent was put off between two reads: what offline work used meanwhile would look like online work that came or went.
    if (Math.abs(offlineUs - beforeUs) > cpus * LATEST_MS * 1000 * SKEW) return true
    // Groups were made again.
    if (podsUs < this.#podsUs || offlineUs < this.#offlineUs) this.#window = new RateWindow(this.#windowMs)
    this.#podsUs = podsUs
    this.#offlineUs = offlineUs
    const onlineUs = Math.max(0, podsUs - offlineUs)
    // Two counters are not read at one instant: the difference may seem to step back a little, which is no new start.
    this.#onlineUs = this.#window.newestMs === undefined ? onlineUs : Math.max(this.#onlineUs, onlineUs)
    this.#window.add(nowMs, this.#onlineUs)
    return true
  }

  /** Undefined when there was no sample at `nowMs`, or too few before it. */
  ratesAt(nowMs: number): OnlineRates | undefined {
    if (this.#window.newestMs !== nowMs) return undefined
    const latest = this.#window.fullRatePerSecond(LATEST_MS)
    const used = this.#window.ratePerSecond(this.#windowMs)
    if (latest === undefined || used === undefined) return undefined
    this.#rates.latestMilli = latest / 1000
    this.#rates.usedMilli = used / 1000
    return this.#rates
  }

  /** The same for a snapshot; undefined unless it was sampled at `nowMs`. */
  reading(nowMs: number): Reading<OnlineCpuUse> | undefined {
    const rates = this.ratesAt(nowMs)
    if (rates === undefined) return undefined
    return { value: { ...rates, windowMs: this.#windowMs }, atMs: nowMs, source: this.#source }
  }
}
