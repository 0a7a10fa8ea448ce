/**
 * The empty cpuset under cgroup v2. A new group has an empty set, which follows its parent's; but once the file holds something it can't be
 * emptied again while a process is in the group or below it. A set of all possible CPUs follows the parent's just as well, since what
 * counts is the intersection: it is written in the place of the empty one, and read back as empty in the groups where that was done.
 * Kernel: validate_change() in kernel/cgroup/cpuset.c (ENOSPC; seen on 6.1); cgroup-v2.rst, cpuset.cpus.effective.
 */
import { CpuSet } from '../cpu/index.ts'
import type { GroupPath, KnobSetting, KnobValue, Outcome } from '../model/index.ts'
import { readPossible } from './sysfs-topology.ts'

export class InheritedSets {
  readonly #sysPath: string
  /** What stands for the empty set, by group. */
  readonly #groups = new Map<GroupPath, CpuSet>()

  constructor(sysPath: string) {
    this.#sysPath = sysPath
  }

  /** What to write instead of a set that was refused; undefined when nothing else will do. */
  instead(setting: KnobSetting, outcome: Outcome): (KnobSetting & { kind: 'cpuset' }) | undefined {
    if (setting.kind !== 'cpuset' || !setting.value.isEmpty || outcome.is !== 'refused' || outcome.errno !== 'ENOSPC')
      return undefined
    const every = readPossible(this.#sysPath)
    return every.isEmpty ? undefined : { kind: 'cpuset', value: every }
  }

  note(group: GroupPath, every: CpuSet): void {
    this.#groups.set(group, every)
  }

  forget(group: GroupPath): void {
    this.#groups.delete(group)
  }

  /** Forgets a group and all below it. */
  forgetTree(group: GroupPath): void {
    for (const path of this.#groups.keys()) if (path === group || path.startsWith(`${group}/`)) this.#groups.delete(path)
  }

  /** The value of a knob's file, with what stands for the empty set taken for it. */
  asRead(group: GroupPath, value: KnobValue | undefined): KnobValue | undefined {
    return value instanceof CpuSet && this.#groups.get(group)?.equals(value) === true ? CpuSet.EMPTY : value
  }
}
