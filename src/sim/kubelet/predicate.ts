/**
 * The kubelet's last look before it takes a pod, after devices are allocated: does what the pods ask for fit the node status?
 * Resources that the node does not have are left out, and for a pod that holds devices the node counts as having at least what is
 * already reserved, so that a shrunk node does not lose the pods it has. Source: kubernetes pkg/kubelet/lifecycle/predicate.go and
 * pkg/kubelet/cm/devicemanager/manager.go (UpdatePluginResources, sanitizeNodeAllocatable), 1.36.
 */
import type { ResourceStatus } from './device-books.ts'
import type { DeviceManager } from './device-manager.ts'
import { requestOf, type Rejection, type StandInPod } from './pod.ts'

export interface Node {
  readonly manager: DeviceManager
  readonly status: Readonly<Record<string, ResourceStatus>>
  /** Active pods, without the one that is judged. */
  readonly others: readonly StandInPod[]
}

/** Why the pod does not fit; undefined if it does. */
export function misfit(pod: StandInPod, { manager, status, others }: Node): Rejection | undefined {
  const raised = manager.held.hasPod(pod.uid)
  const names = raised ? [...Object.keys(status), ...manager.reservedResources()] : Object.keys(status)
  for (const resource of new Set(names)) {
    const requested = requestOf(pod, resource)
    const used = others.reduce((sum, other) => sum + requestOf(other, resource), 0)
    const listed = status[resource]?.allocatable ?? 0
    const capacity = raised ? Math.max(listed, manager.reservedCount(resource)) : listed
    if (requested === 0 || used + requested <= capacity) continue
    const numbers = `requested: ${requested}, used: ${used}, capacity: ${capacity}`
    return { admitted: false, reason: `OutOf${resource}`, message: `the node has too little of ${resource}: ${numbers}` }
  }
  return undefined
}
