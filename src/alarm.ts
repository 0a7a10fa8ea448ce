/**
 * When the guard beat calls for a tick: the node may be leaving its calm. Only thresholds on a handful of counters; what follows from them is
 * decided by the rules, in the tick.
 */
import type { Config } from './config/index.ts'
import { MEMORY_RUNGS } from './model/index.ts'
import type { GuardReading, Sensor } from './sense/index.ts'

/** Offline work this near to its allowance will soon press against it, or want more. */
const NEAR_ALLOWANCE = 0.9

interface Beat {
  /** What offline work may use now; Infinity for all there is. */
  readonly allowanceMilli: number
  /** Told when the sensor fails: once, until it has worked again. */
  readonly failed: (thrown: unknown) => void
}

export class Alarm {
  /** Permyriad of the CPUs; Infinity while CPU is not suppressed. */
  #cpuPermyriad = Infinity
  /** Time in which online work waits for CPU, permyriad; Infinity while the guard against it is off. */
  #pressurePermyriad = Infinity
  /** Memory available at which the first rung that is switched on may be climbed, permyriad; −1 for none. */
  #availablePermyriad = -1
  #fails = false

  /** Works the thresholds out once: beats come by the dozen every second. */
  configure(config: Config): void {
    const { suppressCpu, pressure, suppressMemory } = config
    this.#cpuPermyriad = suppressCpu.enabled ? suppressCpu.lowWatermarkPermyriad : Infinity
    this.#pressurePermyriad = suppressCpu.enabled && pressure.enabled ? pressure.boundPermyriad : Infinity
    const rungs = suppressMemory.enabled ? MEMORY_RUNGS.map((rung) => config[rung]).filter((rung) => rung.enabled) : []
    this.#availablePermyriad = Math.max(-1, ...rungs.map((rung) => rung.enterPermyriad))
  }

  /** Reads the guard's counters; whether they are cause for a tick. Never throws: ticks go on at their pace, and meet the same trouble. */
  rings(sensor: Sensor, nowMs: number, { allowanceMilli, failed }: Beat): boolean {
    try {
      const reading = sensor.guard(nowMs)
      this.#fails = false
      return this.#isOver(reading, sensor.topology.online.size * 1000, allowanceMilli)
    } catch (thrown) {
      if (!this.#fails) failed(thrown)
      this.#fails = true
      return false
    }
  }

  /** A counter that could not be read is no cause. */
  #isOver(reading: GuardReading, capacityMilli: number, allowanceMilli: number): boolean {
    if ((reading.availablePermyriad ?? Infinity) <= this.#availablePermyriad) return true
    if ((reading.onlinePressurePermyriad ?? 0) > this.#pressurePermyriad) return true
    if (this.#cpuPermyriad === Infinity) return false
    if ((reading.nodeMilli ?? 0) >= (capacityMilli * this.#cpuPermyriad) / 10_000) return true
    return (reading.offlineMilli ?? 0) >= allowanceMilli * NEAR_ALLOWANCE
  }
}
