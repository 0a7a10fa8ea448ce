/**
 * The metrics of suppression: allowance, pressure, rungs, memory, IO, evictions, and how long it takes from a node that is seen above the
 * watermark to the quota that answers it. Series that only move when a state changes are set only then: this runs on every hot tick.
 */
import type {
  AllowanceBound,
  CpuPressureState,
  Decision,
  EvictionOutcome,
  EvictionsView,
  LadderState,
  NodeSnapshot,
  Rung,
  SuppressionState,
  TickRecord,
} from '../../model/index.ts'
import {
  ALLOWANCE_BOUNDS,
  CPU_RUNGS,
  EVICTION_OUTCOMES,
  isSuccess,
  MEMORY_RUNGS,
  NO_EVICTIONS,
  onlyObserves,
  regulatesCpu,
} from '../../model/index.ts'
import { salesStop } from '../sales.ts'
import type { Families } from './families.ts'
import { oneHot, setOrRemove, toCores, toRatio } from './set.ts'

// Written as a total record, so that a new member of the union without a series does not compile.
const PRESSURE_STATES: Readonly<Record<CpuPressureState['is'], true>> = { quiet: true, cut: true, hold: true, futile: true }

export class LadderMetrics {
  readonly #families: Families
  #bound: AllowanceBound | undefined
  #pressure: Pick<CpuPressureState, 'is' | 'source'> | undefined
  readonly #rungs = new Map<readonly Rung[], string>()
  readonly #evictions: Record<EvictionOutcome, number> = { ...NO_EVICTIONS.counts }
  /** When the node was first seen above the watermark, while no quota has answered that yet. */
  #aboveMs: number | 'answered' | undefined

  constructor(families: Families) {
    this.#families = families
    // A series that first appears with its first event hides that event from rate() and increase().
    for (const outcome of EVICTION_OUTCOMES) families.eviction.evictions.inc({ outcome }, 0)
  }

  tick(record: TickRecord): void {
    const { snapshot, decision } = record
    // Alerts and dashboards take these for what is in force: a rule that only observes has none, as if it were off.
    const suppression = regulatesCpu(decision) ? decision.suppression : undefined
    this.#allowance(suppression)
    this.#guard(suppression)
    this.#ladder(CPU_RUNGS, suppression?.ladder)
    this.#memory(decision)
    this.#io(decision)
    this.#online(snapshot)
    this.#evicted(snapshot.evictions)
    this.#reaction(record)
    if (snapshot.pace === 'calm') this.#frozen(snapshot, decision)
  }

  #allowance(state: SuppressionState | undefined): void {
    const { suppress, node } = this.#families
    setOrRemove(node.onlineCpuPeak, toCores(state?.inputs.onlineMilli))
    setOrRemove(suppress.watermark, toCores(state?.inputs.watermarkMilli))
    setOrRemove(suppress.floor, toCores(state?.inputs.floorMilli))
    setOrRemove(suppress.margin, toCores(state?.inputs.marginMilli))
    setOrRemove(suppress.inputAge, state === undefined ? undefined : state.inputs.ageMs / 1000)
    setOrRemove(suppress.beDemand, toCores(state?.beDemandMilli))
    setOrRemove(suppress.hot, state === undefined ? undefined : Number(state.hot))
    setOrRemove(suppress.dwell, state === undefined ? undefined : state.steadiness.dwellMs / 1000)
    setOrRemove(suppress.directionChanges, state?.steadiness.turns)
    setOrRemove(suppress.swinging, state === undefined ? undefined : Number(state.steadiness.swings))
    if (state === undefined) {
      suppress.allowance.reset()
      suppress.bound.reset()
    } else {
      suppress.allowance.set({ class: 'all' }, state.allowanceMilli / 1000)
      suppress.allowance.set({ class: 'ot' }, state.otAllowanceMilli / 1000)
      if (state.bound !== this.#bound) oneHot(suppress.bound, 'bound', ALLOWANCE_BOUNDS, state.bound)
    }
    this.#bound = state?.bound
  }

  #guard(suppression: SuppressionState | undefined): void {
    const { suppress } = this.#families
    const state = suppression?.pressure
    const was = this.#pressure
    this.#pressure = state
    if (state?.source !== was?.source) {
      suppress.pressure.reset()
      suppress.pressureBound.reset()
    }
    if (state === undefined) {
      suppress.pressureState.reset()
      return
    }
    suppress.pressure.set({ source: state.source }, state.permyriad / 10_000)
    suppress.pressureBound.set({ source: state.source }, state.boundPermyriad / 10_000)
    if (state.is !== was?.is) oneHot(suppress.pressureState, 'state', Object.keys(PRESSURE_STATES), state.is)
  }

  #ladder(names: readonly Rung[], state: LadderState<Rung> | undefined): void {
    const { rung } = this.#families.suppress
    const key = state?.inForce.join()
    if (this.#rungs.get(names) === key) return
    if (key === undefined) this.#rungs.delete(names)
    else this.#rungs.set(names, key)
    for (const name of names) {
      if (state === undefined) rung.remove({ rung: name })
      else rung.set({ rung: name }, state.inForce.includes(name) ? 1 : 0)
    }
  }

  #memory(decision: Decision): void {
    setOrRemove(this.#families.node.memoryAvailableRatio, toRatio(decision.memory?.availablePermyriad))
    this.#ladder(MEMORY_RUNGS, onlyObserves(decision, 'suppressMemory') ? undefined : decision.memory?.ladder)
  }

  #io(decision: Decision): void {
    const { suppress, resource } = this.#families
    const io = onlyObserves(decision, 'suppressIo') ? undefined : decision.io
    setOrRemove(suppress.ioShare, toRatio(io?.sharePermyriad))
    setOrRemove(suppress.ioMissing, io?.missingDevices.length)
    resource.salesStopped.set(salesStop(decision) === undefined ? 0 : 1)
  }

  #online({ online }: NodeSnapshot): void {
    const { onlinePressure } = this.#families.node
    for (const resource of ['cpu', 'io'] as const) {
      const reading = online[`${resource}Pressure`]
      if (reading === undefined) onlinePressure.remove({ resource })
      else onlinePressure.set({ resource }, reading.value.someUsPerSecond / 1_000_000)
    }
  }

  /** Counts are taken as they stand; what they grew by since the last tick is added. */
  #evicted({ impossible, counts }: EvictionsView): void {
    const { evictions, possible } = this.#families.eviction
    possible.set(impossible === undefined ? 1 : 0)
    for (const outcome of EVICTION_OUTCOMES) {
      const grown = counts[outcome] - this.#evictions[outcome]
      if (grown <= 0) continue
      evictions.inc({ outcome }, grown)
      this.#evictions[outcome] = counts[outcome]
    }
  }

  /** Once for each time that the node goes above the watermark, and only if a tighter quota answers it: one that is low already need not. */
  #reaction({ snapshot, decision, results, tookMs, aboveSinceMs }: TickRecord): void {
    const inputs = regulatesCpu(decision) ? decision.suppression?.inputs : undefined
    if (inputs === undefined || inputs.nodeMilli <= inputs.watermarkMilli) {
      this.#aboveMs = undefined
      return
    }
    if (this.#aboveMs === 'answered') return
    this.#aboveMs ??= aboveSinceMs ?? snapshot.nowMs
    const { group } = snapshot.bestEffort
    const answers = results.some(
      ({ step, outcome }) => step.group === group && step.kind === 'quota' && step.phase === 'narrow' && isSuccess(outcome),
    )
    if (!answers) return
    this.#families.suppress.reaction.observe(Math.max(0, snapshot.nowMs - this.#aboveMs + tookMs) / 1000)
    this.#aboveMs = 'answered'
  }

  #frozen({ actual }: NodeSnapshot, { pods }: Decision): void {
    const frozen = { BE: 0, OT: 0 }
    for (const { qosClass, reading } of pods) {
      if (qosClass !== 'BE' && qosClass !== 'OT') continue
      if (actual.get(reading.group, 'freeze')?.value === 1) frozen[qosClass] += 1
    }
    for (const [name, amount] of Object.entries(frozen)) this.#families.workload.frozenPods.set({ class: name }, amount)
  }
}
