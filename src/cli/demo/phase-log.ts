/** What each phase of the demo came to, gathered tick by tick. */
import type { QosClass, TickRecord } from '../../model/index.ts'
import { isSuccess } from '../../model/index.ts'
import type { PhaseSummary } from './events.ts'

interface OpenPhase {
  readonly phase: string
  least: number
  most: number
  readonly sums: Record<'LS' | 'BE' | 'OT', number>
  ticks: number
  writes: number
}

/** Mean CPU use of the pods of one class in a tick, in milli-CPU. */
export function useOf(record: TickRecord, qosClass: QosClass): number {
  let milli = 0
  for (const pod of record.decision.pods) if (pod.qosClass === qosClass) milli += pod.reading.use?.value.cpuMilli ?? 0
  return milli
}

export class PhaseLog {
  readonly #open: OpenPhase[] = []
  #spikeMs: number | undefined
  #reactionMs: number | undefined
  #isAtFloor = false
  #spikedAtFloor = false

  /** Ends the phase before. A spike that was not answered within its own phase is never answered: later writes have other reasons. */
  begin(phase: string): void {
    this.#spikeMs = undefined
    this.#open.push({ phase, least: Infinity, most: -Infinity, sums: { LS: 0, BE: 0, OT: 0 }, ticks: 0, writes: 0 })
  }

  /** To be called in the phase of the spike. */
  spikeStarted(nowMs: number): void {
    this.#spikeMs = nowMs
    this.#spikedAtFloor = this.#isAtFloor
  }

  /** From the spike to the first narrowing write, in milliseconds; undefined where none answered it. */
  get reactionMs(): number | undefined {
    return this.#reactionMs
  }

  /** Whether there was nothing left to narrow when the spike came. */
  get spikeAtFloor(): boolean {
    return this.#spikedAtFloor
  }

  tick(record: TickRecord): void {
    const phase = this.#open.at(-1)
    if (phase === undefined) return
    const written = record.results.filter(({ outcome }) => isSuccess(outcome))
    phase.writes += written.length
    const allowance = record.decision.suppression?.allowanceMilli
    if (allowance !== undefined) {
      phase.least = Math.min(phase.least, allowance)
      phase.most = Math.max(phase.most, allowance)
    }
    if (record.snapshot.pace === 'calm') {
      phase.ticks += 1
      for (const qosClass of ['LS', 'BE', 'OT'] as const) phase.sums[qosClass] += useOf(record, qosClass)
    }
    this.#isAtFloor = record.decision.suppression?.bound === 'floor'
    const narrowed = written.some(({ step }) => step.kind === 'quota' && step.phase === 'narrow')
    if (narrowed && this.#spikeMs !== undefined && this.#reactionMs === undefined) {
      this.#reactionMs = record.snapshot.nowMs + record.tookMs - this.#spikeMs
    }
  }

  get phases(): PhaseSummary[] {
    return this.#open.map(({ phase, least, most, sums, ticks, writes }) => ({
      phase,
      allowanceMilli: most === -Infinity ? undefined : ([least, most] as const),
      lsMilli: sums.LS / Math.max(1, ticks),
      beMilli: sums.BE / Math.max(1, ticks),
      otMilli: sums.OT / Math.max(1, ticks),
      writes,
    }))
  }
}
