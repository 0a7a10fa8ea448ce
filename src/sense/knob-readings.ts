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
  KnobChange,
  KnobKind,
  KnobValue,
  Reading,
  ReadonlyKnobTable,
  StepResult,
} from '../model/index.ts'
import { identicalValue, KnobLayers, KnobTable, sameValue } from '../model/index.ts'

export class KnobReadings {
  readonly #kernel: KernelPort
  readonly #table = new KnobTable<Reading<KnobValue>>()
  #changes: KnobChange[] = []
  readonly #touched = new Set<KnobKind>()
  /** The lower layer of what is desired that was walked last: all that it names has been read, as far as it can be. */
  #walked: object | undefined

  constructor(kernel: KernelPort) {
    this.#kernel = kernel
  }

  get table(): ReadonlyKnobTable<Reading<KnobValue>> {
    return this.#table
  }

  /** Readings that differed from those before them, since the last call. What was read back after a write is not among them. */
  takeChanges(): readonly KnobChange[] {
    const changes = this.#changes
    if (changes.length > 0) this.#changes = []
    return changes
  }

  /** The kinds of knobs of which a reading has come, gone or changed since the last call, whoever wrote. */
  takeTouched(): readonly KnobKind[] {
    const touched = [...this.#touched]
    this.#touched.clear()
    return touched
  }

  read(group: GroupPath, kind: KnobKind, nowMs: number): void {
    const was = this.#table.get(group, kind)?.value
    const read = this.#kernel.readKnob(group, kind)
    // Nearly always so, and for hundreds of knobs on every calm tick.
    if (was !== undefined && was === read) return this.#table.set(group, kind, { value: was, atMs: nowMs, source: kind })
    this.#take(group, kind, read, nowMs)
    const value = this.#table.get(group, kind)?.value
    if (was !== undefined && value !== undefined && !sameValue(was, value)) this.#changes.push({ group, kind, was, value })
  }

  #load(group: GroupPath, kind: KnobKind, nowMs: number): void {
    this.#take(group, kind, this.#kernel.readKnob(group, kind), nowMs)
  }

  #take(group: GroupPath, kind: KnobKind, value: KnobValue | undefined, nowMs: number): void {
    // A file that can't be read is not a group that is gone: without its last reading rules would take back what they want of it, and the
    // plan would lift it. The cookie alone is unknown also of a group that is there: one without processes.
    if (value === undefined && (kind === 'coreCookie' || !this.#kernel.exists(group))) this.#drop(group, kind)
    else if (value !== undefined) this.#put(group, kind, value, nowMs)
  }

  #put(group: GroupPath, kind: KnobKind, value: KnobValue, nowMs: number): void {
    const was = this.#table.get(group, kind)?.value
    if (was === undefined || !identicalValue(was, value)) this.#touched.add(kind)
    this.#table.set(group, kind, { value, atMs: nowMs, source: kind })
  }

  #drop(group: GroupPath, kind: KnobKind): void {
    if (this.#table.get(group, kind) === undefined) return
    this.#touched.add(kind)
    this.#table.delete(group, kind)
  }

  /**
   * Reads what the next plan is about; `everything` at the calm pace, otherwise only what has no reading yet. What had none when the lower
   * layer of `desired` was walked is looked for again at the calm pace.
   */
  refresh(desired: Desired, journaled: Journaled, nowMs: number, everything: boolean): void {
    const readIfStale = (group: GroupPath, kind: KnobKind): void => {
      if (this.#isStale(group, kind, nowMs, everything)) this.read(group, kind, nowMs)
    }
    const layers = desired instanceof KnobLayers ? desired : undefined
    if (!everything && layers !== undefined && layers.base === this.#walked) {
      layers.top.forEach(readIfStale)
      return
    }
    this.#walked = layers?.base
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
        this.#put(step.group, step.kind, step.value, nowMs)
      } else {
        this.#load(step.group, step.kind, nowMs)
        if (step.kind === 'weight') this.#load(step.group, 'idle', nowMs)
      }
      // Clearing or setting idle changes what the weight reads.
      if (step.kind === 'idle') this.#load(step.group, 'weight', nowMs)
    }
  }

  forget(group: GroupPath): void {
    for (const known of this.#table.groups()) {
      if (known !== group && !known.startsWith(`${group}/`)) continue
      for (const kind of this.#table.ofGroup(known)?.keys() ?? []) this.#touched.add(kind)
      this.#table.delete(known)
    }
  }
}
