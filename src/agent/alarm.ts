/**
 * When the guard beat calls for a tick: the node may be leaving its calm. Only thresholds on a handful of counters; what follows from them is
 * decided by the rules, in the tick.
 */
import type { Config } from '../config/index.ts'
import { jumpAboveMilli, leastJumpMilli } from '../decide/index.ts'
import { MEMORY_RUNGS } from '../model/index.ts'
import type { GuardReading, Sensor } from '../sense/index.ts'

/** Offline work this near to its allowance will soon press against it, or want more. */
const NEAR_ALLOWANCE = 0.9
/** Offline work that uses no more of the CPUs than this takes nothing that online work would miss. */
const RESTS = 0.01

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
 * at whatever pace. `news`: the next decision would take something from offline work, so it should not wait for longer than a hot pause. `over`: a
 * threshold is passed that says no more than that the node is not calm.
 */
export type Heard = 'quiet' | 'over' | 'news' | 'rises'

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
  /** Growth of online use that a decision takes notice of, permyriad of the CPUs. */
  #deadBandPermyriad = 0
  /** Tasks ready to run that count as a wait, permyriad of the CPUs; Infinity while the guard against it is off. */
  #runQueuePermyriad = Infinity
  #rests = false
  #fails = false

  /** Works the thresholds out once: beats come by the dozen every second. */
  configure(config: Config): void {
    const { suppressCpu, pressure, suppressMemory } = config
    this.#cpuPermyriad = suppressCpu.enabled ? suppressCpu.lowWatermarkPermyriad : Infinity
    const jumps = suppressCpu.enabled && suppressCpu.jumpPermyriad < 10_000
    this.#jumpPermyriad = jumps ? suppressCpu.jumpPermyriad : Infinity
    this.#pressurePermyriad = suppressCpu.enabled && pressure.enabled ? pressure.boundPermyriad : Infinity
    this.#runQueuePermyriad = suppressCpu.enabled && pressure.enabled ? pressure.runQueuePermyriad : Infinity
    this.#deadBandPermyriad = suppressCpu.deadBandPermyriad
    const rungs = suppressMemory.enabled ? MEMORY_RUNGS.map((rung) => config[rung]).filter((rung) => rung.enabled) : []
    this.#availablePermyriad = Math.max(-1, ...rungs.map((rung) => rung.enterPermyriad))
  }

  /** Whether offline work was seen to use next to nothing on the last beat. */
  get rests(): boolean {
    return this.#rests
  }

  /** Reads the guard's counters; whether they are cause for a tick. Never throws: ticks go on at their pace, and meet the same trouble. */
  listen(sensor: Sensor, nowMs: number, { allowanceMilli, onlineMilli, failed }: Beat): Heard {
    this.#rests = false
    try {
      const reading = sensor.guard(nowMs)
      this.#fails = false
      const capacityMilli = sensor.topology.online.size * 1000
      this.#rests = (reading.offlineMilli ?? Infinity) <= capacityMilli * RESTS
      const jumpMilli = this.#jumpMilli(reading, capacityMilli)
      if (this.#rises(reading, jumpMilli, { capacityMilli, knownMilli: onlineMilli })) return 'rises'
      if (jumpMilli > 0 || this.#isShort(reading, capacityMilli)) return 'news'
      if (!this.#isOver(reading, capacityMilli, allowanceMilli)) return 'quiet'
      return this.#hasGrown(reading, capacityMilli, onlineMilli) ? 'news' : 'over'
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

  /** Whether memory runs short, or online work waits for CPU. A counter that could not be read is no cause. */
  #isShort(reading: GuardReading, capacityMilli: number): boolean {
    if ((reading.availablePermyriad ?? Infinity) <= this.#availablePermyriad) return true
    if ((reading.onlinePressurePermyriad ?? 0) > this.#pressurePermyriad) return true
    const waitingMilli = (reading.runnable ?? 0) * 1000 - capacityMilli
    return waitingMilli * 10_000 > capacityMilli * this.#runQueuePermyriad
  }

  /** Whether online work uses more than the last decision knew of, by as much as a decision takes notice of. */
  #hasGrown({ nodeMilli, offlineMilli }: GuardReading, capacityMilli: number, knownMilli: number): boolean {
    if (nodeMilli === undefined || offlineMilli === undefined) return false
    return nodeMilli - offlineMilli > knownMilli + (capacityMilli * this.#deadBandPermyriad) / 10_000
  }

  #isOver(reading: GuardReading, capacityMilli: number, allowanceMilli: number): boolean {
    if (this.#cpuPermyriad === Infinity) return false
    if ((reading.nodeMilli ?? 0) >= (capacityMilli * this.#cpuPermyriad) / 10_000) return true
    return (reading.offlineMilli ?? 0) >= allowanceMilli * NEAR_ALLOWANCE
  }
}
