/**
 * Memory, stalls and the run queue of the whole node. A reading that fails leaves the older one in place, to grow old: rules judge by age.
 */
import type { GroupPath, KernelPort, NodeReadings, PressureResource } from '../model/index.ts'
import { RateWindow, stallRate } from './rates.ts'
import { RunQueue } from './run-queue.ts'
import type { SourceRuns } from './source-runs.ts'

const PRESSURES = ['cpu', 'memory', 'io'] as const satisfies readonly PressureResource[]
/** Stalls of the node are averaged over at least so long, so that a burst of hot ticks does not make a wait of some ms look like a lot. */
const PRESSURE_WINDOW_MS = 1000
const SAMPLES = 80
/** A guard beat reads memory anew when the last reading is so old: meminfo gathers counts of every CPU, and memory does not go that fast. */
const MEMORY_MS = 100

const fieldOf = { cpu: 'cpuPressure', memory: 'memoryPressure', io: 'ioPressure' } as const
const sourceOf = { cpu: 'cpu_pressure', memory: 'memory_pressure', io: 'io_pressure' } as const

export class WholeNode {
  readonly #kernel: KernelPort
  readonly #runs: SourceRuns
  readonly #pressure: Readonly<Record<PressureResource, RateWindow>>
  readonly #offlineRoot: GroupPath
  readonly #runQueue: RunQueue
  /** What is left of it when every task of offline work is taken for one that is ready to run. */
  readonly #notOffline: RunQueue
  #readings: NodeReadings = {}
  #memoryAtMs = -Infinity
  #availablePermyriad: number | undefined

  /** The run queue is averaged over `windowMs`; `offlineRoot` is the group of all offline work. */
  constructor(kernel: KernelPort, offlineRoot: GroupPath, windowMs: number, runs: SourceRuns) {
    this.#kernel = kernel
    this.#runs = runs
    const window = (): RateWindow => new RateWindow(PRESSURE_WINDOW_MS, SAMPLES)
    this.#pressure = { cpu: window(), memory: window(), io: window() }
    this.#offlineRoot = offlineRoot
    this.#runQueue = new RunQueue(windowMs)
    this.#notOffline = new RunQueue(windowMs)
  }

  get readings(): NodeReadings {
    return this.#readings
  }

  set windowMs(windowMs: number) {
    this.#runQueue.windowMs = windowMs
    this.#notOffline.windowMs = windowMs
  }

  /** Memory available, of all memory, as last looked for; undefined when the kernel did not answer then. */
  availablePermyriad(nowMs: number): number | undefined {
    if (nowMs - this.#memoryAtMs >= MEMORY_MS) this.#readMemory(nowMs)
    return this.#availablePermyriad
  }

  /** Tasks ready to run that are no offline ones, at least; undefined when the kernel did not answer, and until there are samples of a whole window. */
  sampleRunQueue(nowMs: number): number | undefined {
    if (this.#runQueue.newestMs !== nowMs) this.#sampleRunQueue(nowMs)
    return this.#notOffline.newestMs === nowMs ? this.#notOffline.mean : undefined
  }

  /** What offline work has asleep is taken for awake: a task too few of online work is seen rather than one of offline work taken for it. */
  #sampleRunQueue(nowMs: number): void {
    const runnable = this.#kernel.readRunnable()
    this.#runs.asked('run_queue', runnable !== undefined, nowMs)
    if (runnable === undefined) return
    this.#runQueue.add(nowMs, runnable)
    const offlineTasks = this.#kernel.readTasks(this.#offlineRoot)
    if (offlineTasks !== undefined) this.#notOffline.add(nowMs, Math.max(0, runnable - offlineTasks))
  }

  /** Everything but CPU use; the run queue only where it `counts`. */
  tick(nowMs: number, counts: { readonly runQueue: boolean }): void {
    this.#runs.enter('memory')
    this.#readMemory(nowMs)
    const next: { -readonly [Key in keyof NodeReadings]: NodeReadings[Key] } = { ...this.#readings }
    for (const resource of PRESSURES) {
      this.#runs.enter(sourceOf[resource])
      const totalUs = this.#kernel.readNodePressureUs(resource)
      this.#runs.asked(sourceOf[resource], totalUs !== undefined, nowMs)
      if (totalUs === undefined) continue
      this.#pressure[resource].add(nowMs, totalUs)
      const someUsPerSecond = stallRate(this.#pressure[resource], PRESSURE_WINDOW_MS)
      if (someUsPerSecond === undefined) continue
      next[fieldOf[resource]] = { value: { someUsPerSecond }, atMs: nowMs, source: `/proc/pressure/${resource}` }
    }
    if (counts.runQueue) {
      this.#runs.enter('run_queue')
      this.sampleRunQueue(nowMs)
      const { mean: runnable, newestMs: atMs } = this.#runQueue
      const notOffline = this.#notOffline.newestMs === atMs ? this.#notOffline.mean : undefined
      if (runnable !== undefined && atMs !== undefined) {
        const value = { runnable, ...(notOffline === undefined ? {} : { notOffline }) }
        next.runQueue = { value, atMs, source: '/proc/loadavg' }
      }
    } else {
      delete next.runQueue
      this.#runs.of('run_queue').off()
    }
    this.#readings = next
  }

  #readMemory(nowMs: number): void {
    if (this.#memoryAtMs === nowMs) return
    this.#memoryAtMs = nowMs
    const memory = this.#kernel.readNodeMemory()
    this.#runs.asked('memory', memory !== undefined, nowMs)
    this.#availablePermyriad =
      memory === undefined || memory.totalBytes <= 0 ? undefined : (memory.availableBytes * 10_000) / memory.totalBytes
    if (memory !== undefined)
      this.#readings = { ...this.#readings, memory: { value: memory, atMs: nowMs, source: '/proc/meminfo' } }
  }
}
