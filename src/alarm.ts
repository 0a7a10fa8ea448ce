/**
 * When the guard beat calls for a tick: the node may be leaving its calm. Only thresholds on a handful of counters; what follows from them is
 * decided by the rules, in the tick.
 */
import type { Config } from './config/index.ts'
import { jumpAboveMilli, leastJumpMilli } from './decide/index.ts'
import { MEMORY_RUNGS } from './model/index.ts'
import type { GuardReading, Sensor } from './sense/index.ts'

/** Offline work this near to its allowance will soon press against it, or want more. */
const NEAR_ALLOWANCE = 0.9

interface Beat {
  /** What offline work may use now; Infinity for all there is. */
  readonly allowanceMilli: number
  /** What the last decision took online services and the system to use; Infinity where it did not say. */
  readonly onlineMilli: number
  /** Told when the sensor fails: once, until it has worked again. */
  readonly failed: (thrown: unknown) => void
}

/**
 * What a beat has found. `rises`: online work uses notably more than the last decision knew of, so that the next one is worth making now,
 * at whatever pace. `over`: a threshold is passed, which is news in calm alone.
 */
export type Heard = 'quiet' | 'over' | 'rises'

export class Alarm {
  /** Permyriad of the CPUs; Infinity while CPU is not suppressed. */
  #cpuPermyriad = Infinity
  /** Time in which online work waits for CPU, permyriad; Infinity while the guard against it is off. */
  #pressurePermyriad = Infinity
  /** Memory available at which the first rung that is switched on may be climbed, permyriad; −1 for none. */
  #availablePermyriad = -1
  /** Rise of online use that counts at once, permyriad of the CPUs; Infinity for none. */
  #jumpPermyriad = Infinity
  /** What online work used when it was last said to rise: it is said once. */
  #risenMilli = 0
  #fails = false

  /** Works the thresholds out once: beats come by the dozen every second. */
  configure(config: Config): void {
    const { suppressCpu, pressure, suppressMemory } = config
    this.#cpuPermyriad = suppressCpu.enabled ? suppressCpu.lowWatermarkPermyriad : Infinity
    const jumps = suppressCpu.enabled && suppressCpu.jumpPermyriad < 10_000
    this.#jumpPermyriad = jumps ? suppressCpu.jumpPermyriad : Infinity
    this.#pressurePermyriad = suppressCpu.enabled && pressure.enabled ? pressure.boundPermyriad : Infinity
    const rungs = suppressMemory.enabled ? MEMORY_RUNGS.map((rung) => config[rung]).filter((rung) => rung.enabled) : []
    this.#availablePermyriad = Math.max(-1, ...rungs.map((rung) => rung.enterPermyriad))
  }

  /** Reads the guard's counters; whether they are cause for a tick. Never throws: ticks go on at their pace, and meet the same trouble. */
  listen(sensor: Sensor, nowMs: number, { allowanceMilli, onlineMilli, failed }: Beat): Heard {
    try {
      const reading = sensor.guard(nowMs)
      this.#fails = false
      const capacityMilli = sensor.topology.online.size * 1000
      const jumpMilli = this.#jumpMilli(reading, capacityMilli)
      if (this.#rises(reading, jumpMilli, { capacityMilli, knownMilli: onlineMilli })) return 'rises'
      return jumpMilli > 0 || this.#isOver(reading, capacityMilli, allowanceMilli) ? 'over' : 'quiet'
    } catch (thrown) {
      if (!this.#fails) failed(thrown)
      this.#fails = true
      return 'quiet'
    }
  }

  /** How far online use of this beat is above its average, if that is a lot. */
  #jumpMilli({ onlineMilli: usedMilli, onlineLatestMilli: latestMilli }: GuardReading, capacityMilli: number): number {
    if (usedMilli === undefined || latestMilli === undefined) return 0
    return jumpAboveMilli({ usedMilli, latestMilli }, capacityMilli, this.#jumpPermyriad)
  }

  /**
   * Whether online work uses more than is known by as much as counts for a jump. What was told once is known, whatever the decision made of
   * it, until use has fallen by as much: a tick on every beat would help nobody.
   */
  #rises(
    { nodeMilli, offlineMilli }: GuardReading,
    jumpMilli: number,
    { capacityMilli, knownMilli }: { readonly capacityMilli: number; readonly knownMilli: number },
  ): boolean {
    if (this.#jumpPermyriad >= 10_000 || nodeMilli === undefined || offlineMilli === undefined) return false
    const usedMilli = nodeMilli - offlineMilli + jumpMilli
    const notableMilli = leastJumpMilli(capacityMilli, this.#jumpPermyriad)
    if (usedMilli <= this.#risenMilli - notableMilli) this.#risenMilli = 0
    if (usedMilli < Math.max(knownMilli, this.#risenMilli) + notableMilli) return false
    this.#risenMilli = usedMilli
    return true
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
