/**
 * Executes a plan: originals to disk first, then one write after the other, each read back. The only caller of KernelPort.writeKnob.
 * A step that fails does not stop the others, but what depends on it is skipped by the kernel's own refusal and tried on the next tick.
 * A write that may take seconds goes to the slow lane: the tick only begins it, and a later one tells what became of it.
 */
import { CpuSet } from '../cpu/index.ts'
import type { GroupMemory, GroupPath, KernelPort, KnobKind, KnobValue, Outcome, Plan, Step, StepResult } from '../model/index.ts'
import {
  assertInvariant,
  CLOBBERS,
  errnoOf,
  formatKnobValue,
  identicalValue,
  IoLimits,
  isHeld,
  isSuccess,
  type KnobSetting,
  originalOf,
  SLOW_KINDS,
} from '../model/index.ts'
import { copiedSet, copiesBelow, setsBelow } from './copied-sets.ts'
import type { RestoreJournal } from './restore-journal.ts'
import { SlowLane } from './slow-lane.ts'

/** A cpuset write takes some 70 µs; past so many the rest waits for the next tick, so that a new pod set can't delay suppression. */
const MAX_CPUSET_STEPS = 64
/**
 * Kernel: memory_high_write(), memory_max_write() and mem_cgroup_resize_max() reclaim only while the group uses more than its new limit. What
 * is below this share of the limit does not get there between the look and the write.
 */
const SURELY_BELOW = 0.9
/** A sick disk may keep a write or its sync for long, and the loop with it: so one that has failed is tried again only after this. */
const SAVE_AGAIN_MS = 1000

/** Marking a group takes some 40 µs under v1, where it has one in each of three trees or more: the rest waits for the next tick. */
const MAX_MARKED_GROUPS = 32

/** How a plan is to be executed. */
interface Applying {
  /** For ticks: dear steps past a bound are left for the next one, and those that may take seconds are only begun. */
  readonly limited: boolean
  /** Of the tick. @default originals that could not be saved just now are tried again at once */
  readonly nowMs?: number
}

export class Actuator {
  readonly #kernel: KernelPort
  readonly #journal: RestoreJournal
  readonly #lane: SlowLane
  readonly #memory: GroupMemory = { usageBytes: 0, inactiveFileBytes: 0 }
  /** Why originals could not be saved, and when it is to be tried again. */
  #unsaved: { readonly errno: string; readonly untilMs: number } | undefined

  constructor(kernel: KernelPort, journal: RestoreJournal) {
    this.#kernel = kernel
    this.#journal = journal
    this.#lane = new SlowLane({
      write: (group, setting) => kernel.writeKnobSlowly(group, setting),
      begin: (step) => this.#beginSlowly(step),
      end: (step, outcome, overtakenBy) => this.#endSlowly(step, outcome, overtakenBy),
    })
    for (const [group, kind] of journal.doubtful) this.#adopt(group, kind)
  }

  /**
   * The line that told of the last write may be among those that can't be read. What the knob holds is taken for the agent's own then: left for
   * somebody else's it would stay for ever, while the original that is on record is safe for anybody.
   */
  #adopt(group: GroupPath, kind: KnobKind): void {
    const holds = this.#kernel.readKnob(group, kind)
    const original = this.#journal.entries.get(group, kind)?.original
    const value = holds instanceof IoLimits && original instanceof IoLimits ? differing(holds, original) : holds
    if (value === undefined || isHeld(original, value) || this.#journal.knows(group, kind, value)) return
    this.#journal.willWrite(group, kind, { value, holds })
  }

  /** Executes the plan in order. One result per step tried; a step that is under way already is not tried again. */
  apply(plan: Plan, applying: Applying): StepResult[] {
    const results = this.#applied(plan, applying)
    // After all values: nothing waits for a mark. A release sees to them at its end.
    if (applying.limited) this.#journal.marks.flush(MAX_MARKED_GROUPS)
    return results
  }

  #applied(plan: Plan, { limited, nowMs = Infinity }: Applying): StepResult[] {
    this.#lane.retain(plan)
    const steps = limited ? this.#withinBudget(plan) : plan
    if (steps.length === 0) return []
    this.#journal.dropRemade(new Set(steps.map((step) => step.group)))
    const unsaved = this.#saveOriginals(steps, nowMs)
    const results: StepResult[] = []
    for (const step of steps) {
      const isSafe = unsaved === undefined || this.#journal.has(step.group, step.kind)
      const outcome: Outcome | undefined = isSafe ? this.#execute(step, limited) : { is: 'failed', errno: unsaved }
      if (outcome !== undefined) results.push({ step, outcome })
    }
    return results
  }

  /** What became of slow writes since the last call; to be called before the plan is made, once on every tick. */
  finished(nowMs: number): readonly StepResult[] {
    return this.#lane.takeEnded(nowMs)
  }

  /** Whether a slow write of this knob is running: what it reads is not the last word then. */
  isWriting(group: GroupPath, kind: KnobKind): boolean {
    return this.#lane.isRunning(group, kind)
  }

  /** How many slow writes are running or waiting. */
  get underWay(): number {
    return this.#lane.size
  }

  /** Begins no slow write any more, so that the journal may be ended. Resolves when the running one has ended, which may take seconds. */
  stopSlowWrites(): Promise<void> {
    return this.#lane.stop()
  }

  /**
   * Puts missing originals on disk. When that fails, its errno: then only knobs whose original is safe are written, so that a full disk stops
   * new limits, but neither suppression nor restoring.
   */
  #saveOriginals(steps: Plan, nowMs: number): string | undefined {
    if (this.#unsaved !== undefined && nowMs < this.#unsaved.untilMs) return this.#unsaved.errno
    this.#unsaved = undefined
    try {
      const copies = copiesBelow(steps, this.#kernel, this.#journal)
      const below = setsBelow(steps, this.#kernel, this.#journal)
      this.#journal.saveOriginals([...this.#missingOriginals(steps), ...below, ...copies])
      // The agent's own, though no write of it put them there: so they go back as well, on the next tick.
      for (const { group, kind, holds } of copies) this.#journal.willWrite(group, kind, { value: holds, holds })
      return undefined
    } catch (thrown) {
      const errno = errnoOf(thrown) ?? 'EIO'
      if (Number.isFinite(nowMs)) this.#unsaved = { errno, untilMs: nowMs + SAVE_AGAIN_MS }
      return errno
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

  #execute(step: Step, limited: boolean): Outcome | undefined {
    const { group, kind } = step
    assertInvariant(
      !(step.value instanceof CpuSet && step.value.isEmpty && step.because.code !== 'restore'),
      `an empty cpuset is about to be written to ${group}`,
    )
    // The group went before its original could be read: there is nothing to write to, and nothing that could be put back.
    if (!this.#journal.has(group, kind)) return { is: 'vanished', errno: 'ENOENT' }
    if (limited && this.#mayTakeSeconds(step)) return this.#lane.offer(step) ? { is: 'begun' } : undefined
    this.#lane.overtake(step)
    const before = this.#willWrite(group, kind, step.value)
    const clobbered = CLOBBERS[kind]
    if (clobbered !== undefined) this.#willWrite(group, clobbered.kind, clobbered.leaves[this.#kernel.capabilities.dialect])
    const outcome = this.#confirmed(step, this.#kernel.writeKnob(group, step))
    if (outcome.is === 'failed' || outcome.is === 'mismatch') this.#noteRemains(step, before)
    return outcome
  }

  /**
   * A write that went wrong may have left something else than was there and than was wanted: a part of the value, or what the kernel makes of it.
   * It is the agent's doing all the same, and has to go back on a release.
   */
  #noteRemains({ group, kind, value }: Step, before: KnobValue | undefined): void {
    const holds = this.#kernel.readKnob(group, kind)
    const left = holds instanceof IoLimits && value instanceof IoLimits ? remainsOf(value, holds, before) : holds
    if (left === undefined || isHeld(before, left) || this.#journal.knows(group, kind, left)) return
    this.#journal.willWrite(group, kind, { value: left, holds })
  }

  /** What came of a write, by what the knob reads after it. A knob that has its original again leaves the journal. */
  #confirmed(step: Step, outcome: Outcome): Outcome {
    if (!isSuccess(outcome)) return outcome
    const { group, kind } = step
    const reads = this.#kernel.readKnob(group, kind)
    if (!isHeld(reads, step.value)) {
      if (reads === undefined) return { is: 'vanished', errno: 'ENOENT' }
      return { is: 'mismatch', reads: formatKnobValue({ kind, value: reads } as KnobSetting) }
    }
    // On its way back a set goes over the union: only the last step is the original. What runs beside could still undo it.
    const { original } = this.#journal.entries.get(group, kind) ?? {}
    const isBack = step.because.code === 'restore' && identicalValue(kind === 'ioMax' ? reads : step.value, original)
    if (isBack && !this.#lane.holds(group, kind)) this.#journal.close(group, kind)
    return outcome
  }

  /** Widening reclaims nothing, and neither does a limit above what the group uses. */
  #mayTakeSeconds({ group, kind, value, phase }: Step): boolean {
    if (phase !== 'narrow' || typeof value !== 'number' || !SLOW_KINDS.includes(kind)) return false
    if (this.#lane.isRunning(group, kind)) return true
    return !this.#kernel.readGroupMemory(group, this.#memory) || this.#memory.usageBytes > value * SURELY_BELOW
  }

  /** A step may have waited for long: its group may have gone meanwhile, and another one may have its name. */
  #beginSlowly({ group, kind, value }: Step): Outcome | undefined {
    this.#journal.dropRemade([group])
    if (!this.#journal.has(group, kind)) return { is: 'vanished', errno: 'ENOENT' }
    this.#willWrite(group, kind, value)
    return undefined
  }

  /** A write that was overtaken has been told of by the one that did; unless it has undone that one, which the next plan has to know. */
  #endSlowly(step: Step, outcome: Outcome, overtakenBy: Step | undefined): StepResult | undefined {
    if (overtakenBy === undefined) return { step, outcome: this.#confirmed(step, outcome) }
    const holds = this.#confirmed(overtakenBy, { is: 'applied' })
    return isSuccess(holds) || holds.is === 'vanished' ? undefined : { step: overtakenBy, outcome: holds }
  }

  /** Answers what the knob held before. */
  #willWrite(group: GroupPath, kind: KnobKind, value: KnobValue): KnobValue | undefined {
    const holds = this.#kernel.readKnob(group, kind)
    this.#journal.willWrite(group, kind, { value, holds })
    return holds
  }
}

/** The limits of those devices that have others than before. */
function differing(holds: IoLimits, original: IoLimits): IoLimits {
  const devices = [...holds.devices, ...[...original.devices.keys()].map((device) => [device, holds.of(device)] as const)]
  return IoLimits.of(devices.filter((device) => !isHeld(original, IoLimits.of([device]))))
}

/** Of the devices that a write spoke for those whose limits are no longer what they were: all others are somebody else's, and stay that on a release. */
function remainsOf(written: IoLimits, reads: IoLimits, before: KnobValue | undefined): IoLimits {
  const devices = [...written.devices.keys()].map((device) => [device, reads.of(device)] as const)
  return IoLimits.of(devices.filter((device) => !isHeld(before, IoLimits.of([device]))))
}
