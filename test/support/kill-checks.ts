/** What has to hold of a node whose agent was killed: read from the kernel's files and from the journal on disk, with no agent there. */
import { cpSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { openWriting } from '../../src/compose.ts'
import { CpuSet } from '../../src/cpu/index.ts'
import type { GroupPath, JournaledKnob, KnobKind, KnobValue } from '../../src/model/index.ts'
import {
  devicesWritten,
  identicalValue,
  IoLimits,
  isHeld,
  isQuota,
  KNOB_KINDS,
  parentGroup,
  quotaMilliCpu,
} from '../../src/model/index.ts'
import { DWELL_MS, GROWTH_PERMYRIAD, type KillNode } from './kill-node.ts'
import { marksOf } from './real-marks.ts'

export interface Found {
  /** Knobs with an original on record, of groups that are there. */
  readonly journaled: number
  /** Knobs whose last record had not reached the kernel: the agent was killed between the two. */
  readonly between: number
  readonly damagedLines: number
  /** What is wrong, in words. */
  readonly problems: readonly string[]
}

/**
 * Every knob holds its original, or one of the values on record beside that original. The journal is read as an agent reads it, but from a
 * copy, since opening it rewrites it.
 */
export function examine(node: KillNode): Found {
  const copy = join(node.directory, 'copy')
  rmSync(copy, { recursive: true, force: true })
  cpSync(node.stateDirectory, copy, { recursive: true, filter: (path) => !path.includes('agent.lock') })
  const { kernel } = node
  const { journal } = openWriting({ ...node.config, paths: { ...node.config.paths, state: copy } }, { kernel })
  journal.end()
  const problems: string[] = []
  let journaled = 0
  let between = 0
  for (const group of node.all) {
    for (const kind of KNOB_KINDS) {
      const now = kernel.capabilities.knobs[kind].usable ? kernel.readKnob(group, kind) : undefined
      if (now === undefined) continue
      const entry = journal.entries.get(group, kind)
      if (entry !== undefined) journaled += 1
      // The weight of an idle group reads what the kernel makes of it.
      if (entry?.ours[0] !== undefined && kind !== 'weight' && !isHeld(now, entry.ours[0])) between += 1
      const problem = problemOf(node, { group, kind, now, entry })
      if (problem !== undefined) problems.push(`${kind} of ${group}: ${problem}`)
    }
  }
  // Before any agent looks at it again: each mark is known to the journal, so that it can be removed.
  for (const group of node.all)
    if (journal.entries.ofGroup(group) === undefined)
      problems.push(...marksOf(node.groups, [group]).map((mark) => `not on record: ${mark}`))
  return { journaled, between, damagedLines: journal.damagedLines, problems }
}

interface Knob {
  readonly group: GroupPath
  readonly kind: KnobKind
  readonly now: KnobValue
  readonly entry: JournaledKnob | undefined
}

function problemOf(node: KillNode, { group, kind, now, entry }: Knob): string | undefined {
  const before = node.before(group, kind)
  // Kernel: what the weight of an idle group reads is nobody's value; its original is on record, which is what counts.
  const isIdle = kind === 'weight' && node.kernel.readKnob(group, 'idle') === 1
  if (entry === undefined) {
    // Kernel: under v1 what is below a frozen group reads as frozen too.
    const isBelow = kind === 'freeze' && node.kernel.readKnob(parentGroup(group), kind) === 1
    const isUntouched = isBelow || identicalValue(now, before) || identicalValue(now, node.asMade(group, kind))
    return isUntouched ? undefined : `reads ${show(now)}, was ${show(before)}, and is not on record`
  }
  if (!identicalValue(entry.original, before)) return `was ${show(before)}, on record is ${show(entry.original)}`
  if (isIdle || identicalValue(now, entry.original) || entry.ours.some((ours) => isHeld(now, ours))) return undefined
  if (isHalfWritten(now, entry)) return undefined
  return `reads ${show(now)}, on record are ${[entry.original, ...entry.ours].map(show).join(', ')}`
}

/** Kernel: under v1 the limits of a device are four files, so an agent can be killed between two of them. */
function isHalfWritten(now: KnobValue, { original, ours }: JournaledKnob): boolean {
  if (!(now instanceof IoLimits) || !(original instanceof IoLimits)) return false
  const written = ours.filter((value) => value instanceof IoLimits)
  const devices = devicesWritten(now, written, original)
  return (
    devices.length > 0 &&
    now.equals(IoLimits.of([...original.devices, ...devices.map((device) => [device, now.of(device)] as const)]))
  )
}

function show(value: KnobValue | undefined): string {
  if (value instanceof IoLimits) return `{${value.toString()}}`
  return value instanceof CpuSet ? value.toString() : (JSON.stringify(value) ?? 'nothing')
}

/** Knobs of a pod that have one value for as long as it lives, with the pods of this test. */
const STEADY = ['cpuset', 'memoryMax', 'weight', 'idle'] as const satisfies readonly KnobKind[]

/**
 * What the pods hold. A pod that has been placed, limited and given its identity stays as it is over any number of kills, until it goes or
 * the node is released: an agent that begins anew and does not know enough yet must lift nothing, and move nobody.
 */
export class Held {
  readonly #held = new Map<string, KnobValue>()
  /** How often a knob was found as it had been. */
  kept = 0

  /** Knobs that have changed since the last look, in words. */
  look(node: KillNode): string[] {
    const changed: string[] = []
    for (const uid of node.uids) {
      for (const kind of STEADY) {
        const group = node.groupOf(uid)
        const now = node.kernel.readKnob(group, kind)
        const key = `${kind} of ${group}`
        const before = this.#held.get(key)
        if (now instanceof CpuSet && now.isEmpty) changed.push(`${key} is empty`)
        else if (before !== undefined && !identicalValue(now, before)) changed.push(`${key} was ${show(before)}, is ${show(now)}`)
        else if (before !== undefined) this.kept += 1
        else if (now !== undefined && !identicalValue(now, node.before(group, kind))) this.#held.set(key, now)
      }
    }
    return changed
  }

  /** For a release. */
  forget(): void {
    this.#held.clear()
  }
}

/** Looks at the quotas all the time: none may be lifted, and that of the offline root grows no faster than it may, whoever runs. */
export class QuotaWatch {
  readonly problems: string[] = []
  looks = 0
  moves = 0
  readonly #node: KillNode
  readonly #limited = new Map<GroupPath, number>()
  #running = true
  #resting = false
  #rootMs = 0

  constructor(node: KillNode) {
    this.#node = node
    void this.#run()
  }

  async #run(): Promise<void> {
    while (this.#running) {
      if (!this.#resting) this.#look()
      await sleep(10)
    }
  }

  /** For a release, which lifts quotas. */
  rest(): void {
    this.#resting = true
    this.#limited.clear()
  }

  goOn(): void {
    this.#resting = false
  }

  #look(): void {
    const root = this.#node.offlineRoot
    this.looks += 1
    for (const group of [root, ...this.#node.uids.map((uid) => this.#node.groupOf(uid))]) {
      const quota = this.#read(group)
      const before = this.#limited.get(group)
      const nowMs = performance.now()
      if (quota === undefined) continue
      if (before !== undefined && quota !== before) this.moves += 1
      if (before !== undefined && quota === Infinity) this.problems.push(`the quota of ${group} was lifted from ${before}m`)
      if (group === root && before !== undefined && quota > before + this.#growth(nowMs - this.#rootMs))
        this.problems.push(`the offline root grew from ${before}m to ${quota}m within ${Math.round(nowMs - this.#rootMs)} ms`)
      if (group === root) this.#rootMs = nowMs
      if (quota === Infinity) this.#limited.delete(group)
      else this.#limited.set(group, quota)
    }
  }

  #read(group: GroupPath): number | undefined {
    try {
      // Not by the kernel port: a reading of its own, past every cache.
      const text = readFileSync(this.#node.groups.fileOf(group, 'cpu', 'cpu.cfs_quota_us'), 'latin1').trim()
      const value = { quotaUs: text === '-1' ? null : Number(text), periodUs: 100_000 } as KnobValue
      return isQuota(value) ? quotaMilliCpu(value) : undefined
    } catch {
      return undefined
    }
  }

  /** One step of growth more than the time allows, since a step is due at any time within it. */
  #growth(ms: number): number {
    const capacityMilli = this.#node.everyCpu.size * 1000
    return (capacityMilli * GROWTH_PERMYRIAD * (ms + 2 * DWELL_MS)) / 1000 / 10_000 + 1
  }

  stop(): void {
    this.#running = false
  }
}
