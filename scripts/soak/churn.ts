/**
 * Pods that come and go five times a second on real cgroups, as the kubelet would start and end them: admitted by a stand-in kubelet, which
 * asks the agent for devices, then groups, a manifest, and for some of them a process. As many stop as start, so the node keeps its size.
 */
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import type { PodSpec } from '../../src/model/index.ts'
import type { KubeletStandIn } from '../../src/sim/index.ts'
import { type BenchNode, offlinePod, onlinePod } from '../bench/node.ts'
import type { Program } from '../bench/program.ts'

/** One in so many pods has a process. */
const WITH_PROCESS = 5

interface LivingPod {
  readonly spec: PodSpec
  readonly group: string
  readonly program: Program | undefined
}

export class Churn {
  readonly counts = { started: 0, stopped: 0, admitted: 0, rejected: 0, processes: 0 }
  readonly #node: BenchNode
  readonly #kubelet: KubeletStandIn
  readonly #living: LivingPod[] = []
  #next = 1

  constructor(node: BenchNode, kubelet: KubeletStandIn) {
    this.#node = node
    this.#kubelet = kubelet
  }

  get living(): number {
    return this.#living.length
  }

  /**
   * One pod comes: of five, two online, two BE, one OT. One that a busy node has no devices for comes all the same: that is no kubelet's way,
   * but the agent has as much to do on it.
   */
  async start(): Promise<void> {
    const index = this.#next
    this.#next += 1
    const kind = (['online', 'be', 'online', 'be', 'ot'] as const)[index % 5]
    const spec = kind === 'be' || kind === 'ot' ? offlinePod(index, kind, 1) : onlinePod(index, 50)
    if (spec.kubeletQos === 'BestEffort') await this.#admit(spec)
    const { group, container } = this.#node.startPod(spec)
    const program = index % WITH_PROCESS === 0 ? this.#node.start(['sleep', '600'], { group: container }) : undefined
    this.counts.processes += program === undefined ? 0 : 1
    this.#living.push({ spec, group, program })
    this.counts.started += 1
  }

  async #admit({ uid, namespace, name, extended }: PodSpec): Promise<void> {
    const { admitted } = await this.#kubelet.admit({ uid, namespace, name, containers: [{ name: 'main', limits: extended }] })
    if (!admitted) this.#kubelet.remove(uid)
    this.counts[admitted ? 'admitted' : 'rejected'] += 1
  }

  /** The oldest pod goes; of two, one loses its manifest before its groups, as a slow kubelet has it, and one after. */
  async stop(): Promise<void> {
    const pod = this.#living.shift()
    if (pod === undefined) return
    const manifest = join(this.#node.directory, 'pods', `${pod.spec.name}.yaml`)
    const isFirst = this.counts.stopped % 2 === 0
    if (isFirst) rmSync(manifest)
    await pod.program?.end()
    await this.#node.sandbox.remove(pod.group)
    if (!isFirst) rmSync(manifest)
    this.#kubelet.remove(pod.spec.uid)
    this.counts.stopped += 1
  }
}
