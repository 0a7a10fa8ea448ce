/**
 * Who holds which device, and with what answer of the plugin: the kubelet's own memory of its allocations, and what it keeps in its
 * checkpoint. No IO and no clock. Source: kubernetes pkg/kubelet/cm/devicemanager/pod_devices.go, 1.36.
 */
import type { v1beta1 } from '../../kubelet/gen/deviceplugin.js'

export interface Holder {
  readonly uid: string
  readonly container: string
  readonly resource: string
}

/** What one container holds of one resource. */
export interface Holding extends Holder {
  /** NUMA nodes by device ID; none if the plugin did not say. */
  readonly numaNodesById: ReadonlyMap<string, readonly number[]>
  readonly response: v1beta1.ContainerAllocateResponse.$Properties
}

export class PodDevices {
  #holdings: readonly Holding[] = []

  get all(): readonly Holding[] {
    return this.#holdings
  }

  load(holdings: readonly Holding[]): void {
    this.#holdings = holdings
  }

  /** Replaces what the container held of the resource before. */
  add(holding: Holding): void {
    const { uid, container, resource } = holding
    this.#holdings = [...this.#holdings.filter((other) => !isOf(other, { uid, container, resource })), holding]
  }

  find(holder: Holder): Holding | undefined {
    return this.#holdings.find((holding) => isOf(holding, holder))
  }

  ofContainer(uid: string, container: string): readonly Holding[] {
    return this.#holdings.filter((holding) => holding.uid === uid && holding.container === container)
  }

  hasPod(uid: string): boolean {
    return this.#holdings.some((holding) => holding.uid === uid)
  }

  /** Forgets the pods that are not to be kept; false if there were none. */
  keepOnly(isKept: (uid: string) => boolean): boolean {
    const kept = this.#holdings.filter(({ uid }) => isKept(uid))
    const changed = kept.length < this.#holdings.length
    this.#holdings = kept
    return changed
  }

  /** IDs held, by resource. A device that an init container hands on has several holders and counts once. */
  idsByResource(): Map<string, Set<string>> {
    const ids = new Map<string, Set<string>>()
    for (const { resource, numaNodesById } of this.#holdings) {
      ids.set(resource, new Set([...(ids.get(resource) ?? []), ...numaNodesById.keys()]))
    }
    return ids
  }
}

function isOf(holding: Holder, { uid, container, resource }: Holder): boolean {
  return holding.uid === uid && holding.container === container && holding.resource === resource
}
