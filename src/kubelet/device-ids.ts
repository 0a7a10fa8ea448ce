/**
 * Device IDs: two letters for the resource, then a number from 1 (`bc-0001`). The kubelet looks an ID up without its resource
 * name, so IDs must differ across resources; since Kubernetes 1.36 every allocated ID is copied into the pod's status, so they
 * are short. A number always means the same device, so that a restarted agent recognises what the kubelet remembers.
 * Source: kubernetes pkg/kubelet/cm/devicemanager (pod_devices.go; manager.go, feature gate ResourceHealthStatus), 1.36.
 */
import type { OfflineResource } from '../model/index.ts'

const PREFIX: Readonly<Record<OfflineResource, string>> = { 'be-cpu': 'bc', 'be-memory': 'bm', 'ot-cpu': 'oc', 'ot-memory': 'om' }
const DIGITS = 4

/** The ID of a resource's device; the index counts from 1. */
export function deviceId(resource: OfflineResource, index: number): string {
  return `${PREFIX[resource]}-${String(index).padStart(DIGITS, '0')}`
}

/** The index in an ID that `deviceId` made for this resource; undefined for any other text. */
export function deviceIndex(resource: OfflineResource, id: string): number | undefined {
  const index = Number(id.slice(PREFIX[resource].length + 1))
  return Number.isSafeInteger(index) && index >= 1 && deviceId(resource, index) === id ? index : undefined
}
