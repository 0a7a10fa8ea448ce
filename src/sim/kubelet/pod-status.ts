/**
 * What the kubelet tells the API server about a pod and its devices. From 1.36 the status names every allocated device of every
 * main container, in the order of a Go map: it grows with the number of devices, and seems to change when nothing has.
 * Source: kubernetes pkg/kubelet/cm/devicemanager/manager.go (UpdateAllocatedResourcesStatus), 1.36; kubernetes#142293.
 */
import type { DeviceManager } from './device-manager.ts'
import { kindOf } from './pod.ts'
import type { PodPhase, PodRecord } from './pods.ts'
import { shuffled } from './shuffle.ts'

export interface ResourceHealth {
  readonly resourceID: string
  readonly health: 'Healthy' | 'Unhealthy'
}

export interface ContainerStatus {
  readonly name: string
  readonly allocatedResourcesStatus?: readonly { readonly name: string; readonly resources: readonly ResourceHealth[] }[]
}

export interface PodStatus {
  readonly phase: PodPhase
  readonly reason?: string
  readonly message?: string
  readonly containerStatuses: readonly ContainerStatus[]
}

export interface PodStatusOptions {
  readonly manager: DeviceManager
  readonly namesDevices: boolean
  readonly random: () => number
}

export function podStatus({ pod, phase, verdict }: PodRecord, { manager, namesDevices, random }: PodStatusOptions): PodStatus {
  const health = (resource: string, id: string): ResourceHealth => ({
    resourceID: id,
    health: manager.books.listedHealthy(resource, id) ? 'Healthy' : 'Unhealthy',
  })
  const containerStatuses = pod.containers.flatMap((container): ContainerStatus[] => {
    const { name } = container
    if (kindOf(container) !== 'main') return []
    const holdings = namesDevices ? manager.held.ofContainer(pod.uid, name) : []
    if (holdings.length === 0) return [{ name }]
    const allocatedResourcesStatus = holdings.map(({ resource, numaNodesById }) => ({
      name: resource,
      resources: shuffled(numaNodesById.keys(), random).map((id) => health(resource, id)),
    }))
    return [{ name, allocatedResourcesStatus }]
  })
  if (verdict?.admitted !== false) return { phase, containerStatuses }
  return { phase, reason: verdict.reason, message: verdict.message, containerStatuses }
}
