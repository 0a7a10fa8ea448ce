/**
 * What the kernel's knobs hold, as last read: the "actual" that the plan is made against. Read back at the calm pace for every knob that
 * is wanted or journaled; at the hot pace only for the roots' and for what was never read. What the agent writes itself is read back by
 * actuate and handed in, so a hot tick knows it too.
 */
import type {
  Desired,
  GroupPath,
  Journaled,
  KernelPort,
  KnobKind,
  KnobValue,
  Reading,
  ReadonlyKnobTable,
  StepResult,
} from '../model/index.ts'
import { KnobTable } from '../model/index.ts'

export class KnobReadings {
  readonly #kernel: KernelPort
  readonly #table = new KnobTable<Reading<KnobValue>>()

  constructor(kernel: KernelPort) {
    this.#kernel = kernel
  }

  get table(): ReadonlyKnobTable<Reading<KnobValue>> {
    return this.#table
  }

  read(group: GroupPath, kind: KnobKind, nowMs: number): void {
    const value = this.#kernel.readKnob(group, kind)
    if (value === undefined) this.#table.delete(group, kind)
    else this.#table.set(group, kind, { value, atMs: nowMs, source: kind })
  }

  /** Reads what the next plan is about; `everything` at the calm pace, otherwise only what has no reading yet. */
  refresh(desired: Desired, journaled: Journaled, nowMs: number, everything: boolean): void {
    const readIfStale = (group: GroupPath, kind: KnobKind): void => {
      if (this.#isStale(group, kind, nowMs, everything)) this.read(group, kind, nowMs)
    }
    desired.forEach(readIfStale)
    journaled.forEach(readIfStale)
    // Whether idle is set decides if a weight can be written at all. Only a refused write says that it has changed meanwhile.
    desired.forEach((group, kind) => {
      if (kind === 'weight' && this.#isStale(group, 'idle', nowMs, false)) this.read(group, 'idle', nowMs)
    })
  }

  #isStale(group: GroupPath, kind: KnobKind, nowMs: number, everything: boolean): boolean {
    const held = this.#table.get(group, kind)
    return held === undefined ? everything || !this.#kernelLacks(kind) : everything && held.atMs < nowMs
  }

  #kernelLacks(kind: KnobKind): boolean {
    return !this.#kernel.capabilities.knobs[kind].usable
  }

  /** Takes in what was read back after the writes. */
  observe(results: readonly StepResult[], nowMs: number): void {
    for (const { step, outcome } of results) {
      // A step of ioMax lists only the devices that it speaks for.
      if ((outcome.is === 'applied' || outcome.is === 'unchanged') && step.kind !== 'ioMax') {
        this.#table.set(step.group, step.kind, { value: step.value, atMs: nowMs, source: step.kind })
      } else {
        this.read(step.group, step.kind, nowMs)
        if (step.kind === 'weight') this.read(step.group, 'idle', nowMs)
      }
      // Clearing or setting idle changes what the weight reads.
      if (step.kind === 'idle') this.read(step.group, 'weight', nowMs)
    }
  }

  forget(group: GroupPath): void {
    for (const known of this.#table.groups()) {
      if (known === group || known.startsWith(`${group}/`)) this.#table.delete(known)
    }
  }
}
