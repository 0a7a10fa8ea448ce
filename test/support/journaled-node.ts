/**
 * An agent's writing half on a model kernel: real journal in a directory of its own, real actuator, real diff. It can be stopped before
 * any write and started again from what is on disk, as after SIGKILL.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Actuator, release, type ReleaseReport, RestoreJournal } from '../../src/actuate/index.ts'
import type { MarksOptions } from '../../src/actuate/marks.ts'
import type { Desired, KernelPort, KnobSetting, Outcome, Plan, StepResult } from '../../src/model/index.ts'
import { KnobTable } from '../../src/model/index.ts'
import { diff } from '../../src/plan/index.ts'
import type { ModelKernel } from '../../src/sim/index.ts'
import { readAll } from './trees.ts'

export const NOTHING: Desired = new KnobTable<never>()

/** Thrown by a kernel that was told to stop the agent. */
export class Killed extends Error {}

/** The kernel, until `writesLeft` runs out; then every write kills the writer before (or after) it reaches the file. */
export function mortal(kernel: ModelKernel, writesLeft: number, afterWrite: boolean): KernelPort {
  let left = writesLeft
  const writeKnob = (group: string, setting: KnobSetting): Outcome => {
    left -= 1
    if (left >= 0) return kernel.writeKnob(group, setting)
    if (afterWrite) kernel.writeKnob(group, setting)
    throw new Killed('killed')
  }
  return new Proxy(kernel, {
    get: (target, key) => {
      if (key === 'writeKnob') return writeKnob
      const value: unknown = Reflect.get(target, key, target)
      return typeof value === 'function' ? (value as (...args: unknown[]) => unknown).bind(target) : value
    },
  })
}

export interface JournaledNodeOptions {
  readonly directory: string
  readonly bootId?: string
  readonly maxBytes?: number
  /** Through which the agent writes, if not the kernel itself. */
  readonly port?: KernelPort
  /** @default groups are not marked */
  readonly marks?: MarksOptions
}

/** Journals to be closed with the directory they are in. */
const opened: JournaledNode[] = []

export class JournaledNode {
  readonly kernel: ModelKernel
  readonly journal: RestoreJournal
  readonly #port: KernelPort
  readonly #actuator: Actuator

  constructor(kernel: ModelKernel, options: JournaledNodeOptions) {
    this.kernel = kernel
    this.#port = options.port ?? kernel
    this.journal = new RestoreJournal({
      stateDirectory: options.directory,
      bootId: options.bootId ?? 'boot-1',
      maxBytes: options.maxBytes ?? 1 << 20,
      groupId: (group) => kernel.groupId(group),
      ...(options.marks === undefined ? {} : { marks: options.marks }),
    })
    this.#actuator = new Actuator(this.#port, this.journal)
    opened.push(this)
  }

  /** Lets go of the journal, as the end of the process does. */
  end(): void {
    const at = opened.indexOf(this)
    if (at < 0) return
    opened.splice(at, 1)
    this.journal.end()
  }

  plan(desired: Desired): Plan {
    const { capabilities } = this.kernel
    return diff({ desired, actual: readAll(this.kernel), journaled: this.journal.entries, capabilities })
  }

  apply(plan: Plan): StepResult[] {
    return this.#actuator.apply(plan, { limited: false })
  }

  reach(desired: Desired): StepResult[] {
    return this.apply(this.plan(desired))
  }

  release(): ReleaseReport {
    const { capabilities } = this.kernel
    return release(
      {
        kernel: this.#port,
        journal: this.journal,
        actuator: this.#actuator,
        plan: (actual, journaled) => diff({ desired: NOTHING, actual, journaled, capabilities }),
      },
      0,
    )
  }
}

/** Runs `body` with a fresh directory that is gone afterwards. */
export function withDirectory<T>(body: (directory: string) => T): T {
  const directory = mkdtempSync(join(tmpdir(), 'kube-agent-test-'))
  try {
    return body(directory)
  } finally {
    for (let node = opened.at(-1); node !== undefined; node = opened.at(-1)) node.end()
    rmSync(directory, { recursive: true, force: true })
  }
}

/** The same for a body that takes its time. */
export async function withDirectoryAsync(body: (directory: string) => Promise<void>): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'kube-agent-test-'))
  try {
    await body(directory)
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}
