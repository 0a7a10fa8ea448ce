/**
 * What the agent itself costs: CPU, memory, and how far its event loop is from being free. No sampling timer of its own: the guard beats
 * come forty times a second and know how late they are, which is the lag of the loop and of the scheduler together.
 */
import { performance } from 'node:perf_hooks'
import type { Families } from './families.ts'

/** What the process uses is asked for on every n-th calm tick: that costs as much as reading a hundred groups, and nobody scrapes faster. */
const READ_TICKS = 5
/** Calm ticks over which the longest lag is told: longer than any usual scrape interval. */
const LAG_TICKS = 60

export class ProcessMetrics {
  readonly #families: Families
  #cpuMicros = 0
  #utilization = performance.eventLoopUtilization()
  /** The longest lag of each of the last calm ticks, in milliseconds; a ring. */
  readonly #lagMs = new Float64Array(LAG_TICKS)
  #slot = 0
  #ticks = 0

  constructor(families: Families) {
    this.#families = families
    this.#read()
  }

  guardBeat(lateMs: number): void {
    if (lateMs > (this.#lagMs[this.#slot] ?? 0)) this.#lagMs[this.#slot] = lateMs
  }

  calmTick(): void {
    const { agent } = this.#families
    this.#ticks += 1
    if (this.#ticks % READ_TICKS === 0) this.#read()
    agent.loopLag.set(Math.max(...this.#lagMs) / 1000)
    this.#slot = (this.#slot + 1) % LAG_TICKS
    this.#lagMs[this.#slot] = 0
    const now = performance.eventLoopUtilization()
    agent.loopUtilization.set(performance.eventLoopUtilization(now, this.#utilization).utilization)
    this.#utilization = now
  }

  #read(): void {
    const { agent } = this.#families
    const { user, system } = process.cpuUsage()
    agent.cpuSeconds.inc(Math.max(0, user + system - this.#cpuMicros) / 1_000_000)
    this.#cpuMicros = user + system
    const { rss, heapUsed } = process.memoryUsage()
    agent.residentBytes.set(rss)
    agent.heapBytes.set(heapUsed)
    agent.activeResources.set(process.getActiveResourcesInfo().length)
  }
}
