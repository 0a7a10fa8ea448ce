/**
 * Who used the CPUs of this machine over a stretch of time: the groups of the bench, its other processes, and the rest, which is foreign
 * and spoils what was measured, just as time that the host took away does.
 */
import { readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import type { GroupPath, KernelPort } from '../../src/model/index.ts'
import type { Program } from './program.ts'

/** Kernel: /proc/stat counts in ticks of 10 ms; steal is the eighth number of the first line. */
const STEAL_COLUMN = 8
const US_PER_TICK = 10_000

export interface Sample {
  readonly atMs: number
  readonly busyUs: number
  readonly stealUs: number
  readonly oursUs: number
  readonly groupsUs: ReadonlyMap<GroupPath, number>
}

/** Shares are of all CPUs, 0 to 1. */
export interface Stretch {
  readonly capacityUs: number
  readonly busyShare: number
  readonly foreignShare: number
  readonly stealShare: number
  /** Busy time of all, in µs. */
  readonly busyUs: number
  readonly groupUs: (group: GroupPath) => number
}

export class Meter {
  readonly cpus = availableParallelism()
  readonly #kernel: KernelPort
  readonly #root: GroupPath
  readonly #outside: readonly Program[]

  /** `root` holds all groups of the bench; `outside` are processes of it that stand in none of them. */
  constructor(kernel: KernelPort, root: GroupPath, outside: readonly Program[] = []) {
    this.#kernel = kernel
    this.#root = root
    this.#outside = outside
  }

  sample(groups: readonly GroupPath[] = []): Sample {
    const { user, system } = process.cpuUsage()
    const outsideUs = this.#outside.reduce((sum, program) => sum + program.cpuUs, 0)
    return {
      atMs: performance.now(),
      busyUs: this.#kernel.readNodeCpuUs() ?? Number.NaN,
      stealUs: Number(readFileSync('/proc/stat', 'latin1').split(/\s+/)[STEAL_COLUMN]) * US_PER_TICK,
      oursUs: (this.#kernel.readCpuUsageUs(this.#root) ?? Number.NaN) + outsideUs + user + system,
      groupsUs: new Map(groups.map((group) => [group, this.#kernel.readCpuUsageUs(group) ?? Number.NaN])),
    }
  }

  between(before: Sample, after: Sample): Stretch {
    const capacityUs = (after.atMs - before.atMs) * 1000 * this.cpus
    const busyUs = after.busyUs - before.busyUs
    const foreignUs = Math.max(0, busyUs - (after.oursUs - before.oursUs))
    return {
      capacityUs,
      busyUs,
      busyShare: busyUs / capacityUs,
      foreignShare: foreignUs / capacityUs,
      stealShare: (after.stealUs - before.stealUs) / capacityUs,
      groupUs: (group) => (after.groupsUs.get(group) ?? Number.NaN) - (before.groupsUs.get(group) ?? Number.NaN),
    }
  }
}

/** In per cent, for people. */
export function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`
}
