/**
 * Executes a plan: originals to disk first, then one write after the other, each read back. The only caller of KernelPort.writeKnob.
 * A step that fails does not stop the others, but what depends on it is skipped by the kernel's own refusal and tried on the next tick.
 */
import { CpuSet } from '../cpu/index.ts'
import type { GroupPath, KernelPort, KnobKind, KnobValue, Plan, Step, StepResult } from '../model/index.ts'
import {
  assertInvariant,
  CLOBBERS,
  errnoOf,
  formatKnobValue,
  identicalValue,
  isSuccess,
  type KnobSetting,
  originalOf,
  sameValue,
} from '../model/index.ts'
import { copiedSet, copiesBelow, setsBelow } from './copied-sets.ts'
import type { RestoreJournal } from './restore-journal.ts'

/** A cpuset write takes some 70 µs; past so many the rest waits for the next tick, so that a new pod set can't delay suppression. */
const MAX_CPUSET_STEPS = 64

export class Actuator {
  readonly #kernel: KernelPort
  readonly #journal: RestoreJournal

  constructor(kernel: KernelPort, journal: RestoreJournal) {
    this.#kernel = kernel
    this.#journal = journal
  }

  /** Executes the plan in order; `limited` leaves slow steps past a bound for the next tick. One result per step tried. */
  apply(plan: Plan, { limited }: { readonly limited: boolean }): StepResult[] {
    const steps = limited ? this.#withinBudget(plan) : plan
    if (steps.length === 0) return []
    this.#journal.dropRemade(new Set(steps.map((step) => step.group)))
    const unsaved = this.#saveOriginals(steps)
    return steps.map((step) => {
      const isSafe = unsaved === undefined || this.#journal.has(step.group, step.kind)
      return isSafe ? this.#execute(step) : { step, outcome: { is: 'failed', errno: unsaved } }
    })
  }

  /**
   * Puts missing originals on disk. When that fails, its errno: then only knobs whose original is safe are written, so that a full disk stops
   * new limits, but neither suppression nor restoring.
   */
  #saveOriginals(steps: Plan): string | undefined {
    try {
      const copies = copiesBelow(steps, this.#kernel, this.#journal)
      const below = setsBelow(steps, this.#kernel, this.#journal)
      this.#journal.saveOriginals([...this.#missingOriginals(steps), ...below, ...copies])
      // The agent's own, though no write of it put them there: so they go back as well, on the next tick.
      for (const { group, kind, holds } of copies) this.#journal.willWrite(group, kind, { value: holds, holds })
      return undefined
    } catch (thrown) {
      return errnoOf(thrown) ?? 'EIO'
    }
  }

  #withinBudget(plan: Plan): Plan {
    let cpusets = 0
    return plan.filter((step) => {
      if (step.kind === 'cpuset') cpusets += 1
      return step.kind !== 'cpuset' || cpusets <= MAX_CPUSET_STEPS
    })
  }

  /** What the kernel holds now, for every knob that is about to be written, or changed as a side effect, for the first time. */
  #missingOriginals(steps: Plan): { group: string; kind: KnobKind; value: KnobValue }[] {
    const originals: { group: string; kind: KnobKind; value: KnobValue }[] = []
    for (const { group, kind, because } of steps) {
      // The entry that a restore is about was of a group that has gone since: nothing is left to restore.
      if (because.code === 'restore' && !this.#journal.has(group, kind)) continue
      // Nobody claims what is only clipped: if somebody else wrote there meanwhile, his value is the one to go back to.
      const unclaimed = because.code === 'clipped' && because.wanted === undefined
      for (const touched of [kind, CLOBBERS[kind]?.kind]) {
        if (touched === undefined || (this.#journal.has(group, touched) && !unclaimed)) continue
        const holds = this.#kernel.readKnob(group, touched)
        const value = this.#original(group, touched, holds)
        if (value !== undefined && !this.#journal.knows(group, touched, value))
          originals.push({ group, kind: touched, value: originalOf(touched, value) })
      }
    }
    return originals
  }

  #original(group: GroupPath, kind: KnobKind, holds: KnobValue | undefined): KnobValue | undefined {
    const isCopied = kind === 'cpuset' && this.#kernel.capabilities.nestedCpuset && !this.#journal.has(group, kind)
    return (isCopied ? copiedSet(group, holds, this.#journal)?.value : undefined) ?? holds
  }

  #execute(step: Step): StepResult {
    const { group, kind } = step
    assertInvariant(
      !(step.value instanceof CpuSet && step.value.isEmpty && step.because.code !== 'restore'),
      `an empty cpuset is about to be written to ${group}`,
    )
    // The group went before its original could be read: there is nothing to write to, and nothing that could be put back.
    if (!this.#journal.has(group, kind)) return { step, outcome: { is: 'vanished', errno: 'ENOENT' } }
    this.#willWrite(group, kind, step.value)
    const clobbered = CLOBBERS[kind]
    if (clobbered !== undefined) this.#willWrite(group, clobbered.kind, clobbered.leaves[this.#kernel.capabilities.dialect])
    const outcome = this.#kernel.writeKnob(group, step)
    if (!isSuccess(outcome)) return { step, outcome }
    const reads = this.#kernel.readKnob(group, kind)
    if (!sameValue(reads, step.value)) {
      if (reads === undefined) return { step, outcome: { is: 'vanished', errno: 'ENOENT' } }
      return { step, outcome: { is: 'mismatch', reads: formatKnobValue({ kind, value: reads } as KnobSetting) } }
    }
    // On its way back a set goes over the union: only the last step is the original.
    if (step.because.code === 'restore' && identicalValue(step.value, this.#journal.entries.get(group, kind)?.original)) {
      this.#journal.close(group, kind)
    }
    return { step, outcome }
  }

  #willWrite(group: GroupPath, kind: KnobKind, value: KnobValue): void {
    this.#journal.willWrite(group, kind, { value, holds: this.#kernel.readKnob(group, kind) })
  }
}
