/**
 * The groups that a kubelet and a runtime make, inside a sandbox: the pods' root, the QoS roots, a group for each pod and for each of its
 * containers, with the weights that the kubelet gives them. For demo, tests and benchmarks.
 * Source: kubernetes pkg/kubelet/cm (1.36): best-effort groups get the least weight and no limits.
 */
import type { GroupLayout, GroupPath, PodSpec } from '../model/index.ts'
import { childGroup, podGroup, podsRoot, qosRoot } from '../model/index.ts'
import type { GroupSandbox } from './sandbox.ts'

export interface PodGroups {
  readonly group: GroupPath
  readonly containers: readonly GroupPath[]
}

/** What of a pod decides which groups it has. */
export interface PodShape extends Pick<PodSpec, 'uid' | 'kubeletQos'> {
  readonly containers: readonly { readonly name: string }[]
}

export class KubeletGroups {
  readonly layout: GroupLayout
  /** The pods' root and the two QoS roots below it. */
  readonly roots: readonly GroupPath[]
  readonly #sandbox: GroupSandbox

  /** Makes the roots, as the kubelet does at its start. */
  constructor(sandbox: GroupSandbox) {
    this.#sandbox = sandbox
    this.layout = { root: sandbox.root, driver: 'cgroupfs' }
    this.roots = [podsRoot(this.layout), qosRoot(this.layout, 'Burstable'), qosRoot(this.layout, 'BestEffort')]
    sandbox.delegate(sandbox.root)
    for (const root of this.roots) this.#make(root)
    this.#leastWeight(qosRoot(this.layout, 'BestEffort'))
  }

  /** Makes the groups of a pod and its containers. */
  startPod(spec: PodShape): PodGroups {
    const group = podGroup(this.layout, spec.kubeletQos, spec.uid)
    this.#make(group)
    const containers = spec.containers.map(({ name }) => childGroup(group, name))
    for (const container of containers) this.#sandbox.make(container)
    if (spec.kubeletQos === 'BestEffort') for (const made of [group, ...containers]) this.#leastWeight(made)
    return { group, containers }
  }

  #make(group: GroupPath): void {
    this.#sandbox.make(group)
    this.#sandbox.delegate(group)
  }

  #leastWeight(group: GroupPath): void {
    this.#sandbox.write(group, 'weight', this.#sandbox.mounts.dialect === 'v1' ? '2' : '1')
  }
}
