/**
 * The node that placement-churn.ts works on: pods laid out as the kubelet lays them out, in groups of the test's own, with a few real
 * processes that are moved from container to container. Some of them sleep, some use all the CPU they get, one forks all the time.
 * What the knobs' files held when a group was made is remembered for the end. No vitest here: the suite of the VM uses this as well.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { CpuSet } from '../../src/cpu/index.ts'
import { KubeletGroups } from '../../src/kernel/index.ts'
import type { GroupLayout, GroupPath, PodList, PodSource, PodSpec } from '../../src/model/index.ts'
import { childGroup, podGroup, podsRoot } from '../../src/model/index.ts'
import { RealGroups } from './real-node.ts'

/** A list of pods in memory. */
class ListedPods implements PodSource {
  #pods: readonly PodSpec[] = []
  #revision = 0
  nowMs = 0

  list(): PodList {
    return { pods: this.#pods, everRead: true, revision: this.#revision, atMs: this.nowMs, source: 'churn', problems: [] }
  }

  replace(pods: readonly PodSpec[]): void {
    this.#pods = pods
    this.#revision += 1
  }

  onChange(): void {}

  close(): void {}
}

export interface ChurnPod {
  spec: PodSpec
  readonly group: GroupPath
  /** Names of its container groups; none before the pod's own group was made. */
  readonly containers: string[]
  made: boolean
  listed: boolean
}

export interface Processes {
  readonly sleepers: number
  readonly hogs: number
  readonly forkers: number
}

export class ChurnNode {
  readonly groups: RealGroups
  readonly layout: GroupLayout
  readonly source = new ListedPods()
  readonly pods: ChurnPod[] = []
  readonly directory: string
  /** Text of each knob's file when its group was made, by path. */
  readonly originals = new Map<string, string>()
  /** When a group was last removed, in real time. */
  removedMs = -Infinity
  readonly #kubelet: KubeletGroups
  /** Where processes wait that are in no pod. */
  readonly #lobby: GroupPath
  readonly #pids: number[]

  static async open(processes: Processes): Promise<ChurnNode> {
    return new ChurnNode(await RealGroups.open(), processes)
  }

  private constructor(groups: RealGroups, { sleepers, hogs, forkers }: Processes) {
    this.groups = groups
    this.#kubelet = new KubeletGroups(groups.sandbox)
    this.layout = this.#kubelet.layout
    this.directory = mkdtempSync(join(tmpdir(), 'kube-agent-test-'))
    this.#lobby = groups.make('lobby')
    const times = (count: number, start: () => number): number[] => Array.from({ length: count }, start)
    this.#pids = [
      ...times(sleepers, () => groups.park(this.#lobby)),
      ...times(hogs, () => groups.burn(this.#lobby)),
      ...times(forkers, () => groups.fork(this.#lobby)),
    ]
    for (const root of this.#kubelet.roots) this.#photograph(root)
  }

  #photograph(group: GroupPath): void {
    for (const [path, text] of this.groups.sandbox.photograph(group)) this.originals.set(path, text)
  }

  /** Tells the source of the pods that are listed. */
  announce(): void {
    this.source.replace(this.pods.filter(({ listed }) => listed).map(({ spec }) => spec))
  }

  add(spec: PodSpec): ChurnPod {
    const group = podGroup(this.layout, spec.kubeletQos, spec.uid)
    const pod = { spec, group, containers: [], made: false, listed: false }
    this.pods.push(pod)
    return pod
  }

  /** The pod's groups, with one process of ours in its first container. */
  make(pod: ChurnPod, pick: number): void {
    this.#kubelet.startPod(pod.spec)
    pod.made = true
    this.#photograph(pod.group)
    for (const { name } of pod.spec.containers) {
      pod.containers.push(name)
      this.#photograph(childGroup(pod.group, name))
      this.enter(pod, name, pick)
    }
  }

  addContainer(pod: ChurnPod, name: string): void {
    const group = childGroup(pod.group, name)
    this.groups.sandbox.make(group)
    pod.containers.push(name)
    this.#photograph(group)
  }

  /** One of the processes goes into a container, wherever it was, as a runtime's exec would come. */
  enter(pod: ChurnPod, container: string, pick: number): void {
    const pid = this.#pids[pick % this.#pids.length]
    if (pid !== undefined) this.groups.sandbox.attach(childGroup(pod.group, container), pid)
  }

  async removeContainer(pod: ChurnPod, name: string): Promise<void> {
    const group = childGroup(pod.group, name)
    this.#empty(group)
    await this.#remove(group)
    pod.containers.splice(pod.containers.indexOf(name), 1)
  }

  async remove(pod: ChurnPod): Promise<void> {
    for (const name of pod.containers) this.#empty(childGroup(pod.group, name))
    await this.#remove(pod.group)
    pod.containers.length = 0
    pod.made = false
  }

  async #remove(group: GroupPath): Promise<void> {
    await this.groups.sandbox.remove(group)
    this.removedMs = performance.now()
    for (const path of this.originals.keys()) if (path.includes(`${group}/`)) this.originals.delete(path)
  }

  /** All processes go back to the lobby, those that ours have forked as well: starved ones would take seconds to end. */
  #empty(group: GroupPath): void {
    for (const tree of ['cpu', 'cpuset', 'memory'] as const) {
      for (const pid of this.pidsOf(group, tree)) {
        try {
          this.groups.sandbox.attach(this.#lobby, pid)
        } catch {
          // It has ended.
        }
      }
    }
  }

  forget(pod: ChurnPod): void {
    this.pods.splice(this.pods.indexOf(pod), 1)
  }

  groupsOf(pod: ChurnPod): GroupPath[] {
    return pod.made ? [pod.group, ...pod.containers.map((name) => childGroup(pod.group, name))] : []
  }

  pidsOf(group: GroupPath, tree: 'cpu' | 'cpuset' | 'memory' = 'cpuset'): number[] {
    const text = readFileSync(this.groups.fileOf(group, tree, 'cgroup.procs'), 'latin1')
    return text
      .split('\n')
      .filter((line) => line !== '')
      .map(Number)
  }

  fileOfSet(group: GroupPath): string {
    return this.groups.fileOf(group, 'cpuset', 'cpuset.cpus')
  }

  /** What the file of a group's set says. */
  setOf(group: GroupPath): CpuSet {
    return CpuSet.parse(readFileSync(this.fileOfSet(group), 'latin1').trim())
  }

  /** What the group can use by its set and those above. */
  effectiveSetOf(group: GroupPath): CpuSet {
    const path = this.groups.fileOf(group, 'cpuset', 'cpuset.cpus.effective')
    return existsSync(path) ? CpuSet.parse(readFileSync(path, 'latin1').trim()) : this.setOf(group)
  }

  get rootSet(): CpuSet {
    return this.effectiveSetOf(podsRoot(this.layout))
  }

  /** Writes a set as somebody else would. Returns whether the kernel took it. */
  writeSet(group: GroupPath, set: CpuSet): boolean {
    try {
      writeFileSync(this.fileOfSet(group), set.toString())
      return true
    } catch {
      return false
    }
  }

  async close(): Promise<void> {
    await this.groups.close()
    rmSync(this.directory, { recursive: true, force: true })
  }
}

/** CPUs that the kernel lets a process run on; undefined when it has ended. */
export function affinityOf(pid: number): CpuSet | undefined {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'latin1')
    return CpuSet.parse(/^Cpus_allowed_list:\t(.*)$/m.exec(status)?.[1] ?? '')
  } catch {
    return undefined
  }
}
