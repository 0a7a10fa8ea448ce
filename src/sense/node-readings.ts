/**
 * Memory, stalls and the run queue of the whole node. A reading that fails leaves the older one in place, to grow old: rules judge by age.
 */
import type { KernelPort, NodeReadings, PressureResource } from '../model/index.ts'
import { RateWindow, stallRate } from './rates.ts'
import { RunQueue } from './run-queue.ts'

const PRESSURES = ['cpu', 'memory', 'io'] as const satisfies readonly PressureResource[]
/** Stalls of the node are averaged over at least so long, so that a burst of hot ticks does not make a wait of some ms look like a lot. */
const PRESSURE_WINDOW_MS = 1000
const SAMPLES = 80
/** A guard beat reads memory anew when the last reading is so old: meminfo gathers counts of every CPU, and memory does not go that fast. */
const MEMORY_MS = 100

const fieldOf = { cpu: 'cpuPressure', memory: 'memoryPressure', io: 'ioPressure' } as const

export class WholeNode {
  readonly #kernel: KernelPort
  readonly #pressure: Readonly<Record<PressureResource, RateWindow>>
  readonly #runQueue: RunQueue
  #readings: NodeReadings = {}
  #memoryAtMs = -Infinity
  #availablePermyriad: number | undefined

  /** The run queue is averaged over `windowMs`. */
  constructor(kernel: KernelPort, windowMs: number) {
    this.#kernel = kernel
    const window = (): RateWindow => new RateWindow(PRESSURE_WINDOW_MS, SAMPLES)
    this.#pressure = { cpu: window(), memory: window(), io: window() }
    this.#runQueue = new RunQueue(windowMs)
  }

  get readings(): NodeReadings {
    return this.#readings
  }

  set windowMs(windowMs: number) {
    this.#runQueue.windowMs = windowMs
  }

  /** Memory available, of all memory, as last looked for; undefined when the kernel did not answer then. */
  availablePermyriad(nowMs: number): number | undefined {
    if (nowMs - this.#memoryAtMs >= MEMORY_MS) this.#readMemory(nowMs)
    return this.#availablePermyriad
  }

  /** Tasks ready to run, on average; undefined when the kernel did not answer, and until there are samples of a whole window. */
  sampleRunQueue(nowMs: number): number | undefined {
    if (this.#runQueue.newestMs === nowMs) return this.#runQueue.mean
    const runnable = this.#kernel.readRunnable()
    if (runnable === undefined) return undefined
    this.#runQueue.add(nowMs, runnable)
    return this.#runQueue.mean
  }

  /** Everything but CPU use; the run queue only where it `counts`. */
  tick(nowMs: number, counts: { readonly runQueue: boolean }): void {
    this.#readMemory(nowMs)
    const next: { -readonly [Key in keyof NodeReadings]: NodeReadings[Key] } = { ...this.#readings }
    for (const resource of PRESSURES) {
      const totalUs = this.#kernel.readNodePressureUs(resource)
      if (totalUs === undefined) continue
      this.#pressure[resource].add(nowMs, totalUs)
      const someUsPerSecond = stallRate(this.#pressure[resource], PRESSURE_WINDOW_MS)
      if (someUsPerSecond === undefined) continue
      next[fieldOf[resource]] = { value: { someUsPerSecond }, atMs: nowMs, source: `/proc/pressure/${resource}` }
    }
    if (counts.runQueue) {
      this.sampleRunQueue(nowMs)
      const { mean, newestMs } = this.#runQueue
      if (mean !== undefined && newestMs !== undefined)
        next.runQueue = { value: { runnable: mean }, atMs: newestMs, source: '/proc/loadavg' }
    } else delete next.runQueue
    this.#readings = next
  }

  #readMemory(nowMs: number): void {
    if (this.#memoryAtMs === nowMs) return
    this.#memoryAtMs = nowMs
    const memory = this.#kernel.readNodeMemory()
    this.#availablePermyriad =
      memory === undefined || memory.totalBytes <= 0 ? undefined : (memory.availableBytes * 10_000) / memory.totalBytes
    if (memory !== undefined)
      this.#readings = { ...this.#readings, memory: { value: memory, atMs: nowMs, source: '/proc/meminfo' } }
  }
}
