/**
 * A cgroup subtree of one's own, made and filled the way the kubelet and a container runtime do it: for `demo`, the tests and the
 * benchmarks. It removes its root with everything below when it is done. The one thing it touches outside: under v2 the mount's own
 * cgroup.subtree_control must hand out the controllers; those that it did not before are taken back with the root.
 * Kernel: under v1 a new cpuset is empty and takes no process before cpus and mems are set; libcontainer copies the parent's.
 */
import { appendFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { CpuSet } from '../cpu/index.ts'
import type { GroupPath, KnobKind } from '../model/index.ts'
import { AgentError, childGroup, errnoOf, groupDepth, KNOB_KINDS, messageOf, parentGroup } from '../model/index.ts'
import { CONTROLLERS, filesOf } from './dialect.ts'
import { detectMounts, type CgroupMounts } from './mounts.ts'
import { readPossible } from './sysfs-topology.ts'

/** A group may stay busy for a moment after its last process has ended. */
const REMOVE_TRIES = 100
const REMOVE_PAUSE_MS = 20

/** The controllers that a group under v2 hands out to those below it, and those that it does where the kernel has them. */
const DELEGATED = ['cpu', 'cpuset', 'memory'] as const
const OPTIONAL = ['io'] as const

export class GroupSandbox {
  readonly root: GroupPath
  readonly mounts: CgroupMounts
  readonly #trees: readonly string[]
  readonly #groups: GroupPath[] = []
  /** Controllers that the mount's root hands out only because of this sandbox. */
  #enabled: readonly string[] = []
  #delegated: readonly string[] = DELEGATED

  /** Makes the root group `/NAME`. Throws E_CGROUP_ACCESS where this user may not; nothing is left then. */
  constructor(cgroupPath: string, name: string) {
    this.mounts = detectMounts(cgroupPath)
    this.#trees = [
      ...new Set(CONTROLLERS.map((controller) => this.mounts.controllers[controller]).filter((tree) => tree !== undefined)),
    ]
    this.root = childGroup('/', name)
    try {
      if (this.mounts.dialect === 'v2') this.#enableControllers()
      this.make(this.root)
    } catch (thrown) {
      this.#undoRoot()
      throw new AgentError('E_CGROUP_ACCESS', `cannot make the group ${this.root} under ${cgroupPath}: ${messageOf(thrown)}`, {
        cause: thrown,
      })
    }
  }

  /** Makes one group in every controller's tree; its parent must be there. */
  make(group: GroupPath): void {
    // Known before it is made: when a later tree refuses, remove() must find it in the earlier ones.
    this.#groups.push(group)
    for (const tree of this.#trees) mkdirSync(join(tree, group), { recursive: true })
    if (this.mounts.dialect === 'v2') return
    const cpusets = this.mounts.controllers.cpuset
    if (cpusets === undefined) return
    for (const file of ['cpuset.cpus', 'cpuset.mems']) {
      writeFileSync(join(cpusets, group, file), readFileSync(join(cpusets, parentGroup(group), file)))
    }
  }

  /** Lets groups below `group` use the controllers. Kernel: under v2 a group that does so may hold no process itself. */
  delegate(group: GroupPath): void {
    if (this.mounts.dialect === 'v2') this.#control(group, '+', this.#delegated)
  }

  #enableControllers(): void {
    const words = (path: string): string[] => readFileSync(path, 'latin1').trim().split(/\s+/)
    const here = words(join(this.mounts.controllers.cpu ?? '', 'cgroup.controllers'))
    this.#delegated = [...DELEGATED, ...OPTIONAL.filter((controller) => here.includes(controller))]
    const before = words(this.#controlFile('/'))
    const missing = this.#delegated.filter((controller) => !before.includes(controller))
    if (missing.length === 0) return
    this.#control('/', '+', missing)
    this.#enabled = missing
  }

  #disableControllers(): void {
    if (this.#enabled.length === 0) return
    try {
      this.#control('/', '-', this.#enabled)
    } catch (thrown) {
      // Kernel: EBUSY when another group has come to hand them out as well. Then they are its business now.
      if (errnoOf(thrown) !== 'EBUSY') throw thrown
    }
    this.#enabled = []
  }

  #control(group: GroupPath, sign: '+' | '-', controllers: readonly string[]): void {
    writeFileSync(this.#controlFile(group), controllers.map((controller) => `${sign}${controller}`).join(' '))
  }

  #controlFile(group: GroupPath): string {
    return join(this.mounts.controllers.cpu ?? '', group, 'cgroup.subtree_control')
  }

  /** After a failed start, in a tree or two. What can't be removed must not hide why it failed. */
  #undoRoot(): void {
    for (const undo of [...this.#trees.map((tree) => () => rmdirSync(join(tree, this.root))), () => this.#disableControllers()]) {
      try {
        undo()
      } catch {
        // Most often it was never made.
      }
    }
  }

  /** Moves a process into a group, in every controller's tree. */
  attach(group: GroupPath, pid: number): void {
    for (const tree of this.#trees) appendFileSync(join(tree, group, 'cgroup.procs'), String(pid))
  }

  /** Writes the text of a knob's file, as the kubelet would at a pod's start. */
  write(group: GroupPath, kind: KnobKind, text: string): void {
    const [path] = this.#paths(group, kind)
    if (path !== undefined) writeFileSync(path, text)
  }

  /** The text of every knob's file of a group, by path. */
  photograph(group: GroupPath): Map<string, string> {
    const paths = KNOB_KINDS.flatMap((kind) => this.#paths(group, kind))
    return new Map(paths.filter((path) => existsSync(path)).map((path) => [path, readFileSync(path, 'latin1').trim()]))
  }

  #paths(group: GroupPath, kind: KnobKind): string[] {
    return filesOf(this.mounts.dialect, kind).flatMap(({ controller, name }) => {
      const tree = this.mounts.controllers[controller]
      return tree === undefined ? [] : [join(tree, group, name)]
    })
  }

  /**
   * Whether the text of a knob's file means what the photographed one did. Under v2 a set that was empty comes back as one of all possible
   * CPUs while the group has processes: see inherited-sets.ts.
   */
  isRestored(path: string, photographed: string): boolean {
    const now = readFileSync(path, 'latin1').trim()
    if (now === photographed) return true
    const isSet = this.mounts.dialect === 'v2' && path.endsWith('/cpuset.cpus')
    return isSet && photographed === '' && CpuSet.parse(now).equals(readPossible('/sys'))
  }

  /** Removes a group and those below it, once their processes have ended. Throws when one stays busy for two seconds. */
  async remove(group: GroupPath = this.root): Promise<void> {
    const doomed = this.#groups.filter((known) => known === group || known.startsWith(`${group}/`))
    doomed.sort((a, b) => groupDepth(b) - groupDepth(a))
    for (const path of doomed) {
      for (const tree of this.#trees) await removeDirectory(join(tree, path))
      this.#groups.splice(this.#groups.indexOf(path), 1)
    }
    if (group === this.root) this.#disableControllers()
  }
}

async function removeDirectory(path: string): Promise<void> {
  for (let attempt = 1; existsSync(path); attempt += 1) {
    try {
      rmdirSync(path)
    } catch (thrown) {
      if (attempt === REMOVE_TRIES) throw thrown
      await sleep(REMOVE_PAUSE_MS)
    }
  }
}

/** Removes what sandboxes named `PREFIX-PID` have left behind whose process is gone. Only empty groups can be removed. */
export async function removeStaleSandboxes(cgroupPath: string, prefix: string): Promise<void> {
  const mounts = detectMounts(cgroupPath)
  for (const tree of new Set(Object.values(mounts.controllers))) {
    for (const name of readdirSync(tree)) {
      const pid = name.startsWith(`${prefix}-`) ? Number(name.slice(prefix.length + 1)) : Number.NaN
      if (Number.isInteger(pid) && !existsSync(`/proc/${pid}`)) await removeTree(join(tree, name))
    }
  }
}

async function removeTree(path: string): Promise<void> {
  for (const entry of readdirSync(path, { withFileTypes: true }))
    if (entry.isDirectory()) await removeTree(join(path, entry.name))
  await removeDirectory(path)
}
