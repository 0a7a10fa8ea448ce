/**
 * Capacity as health: the kubelet counts healthy devices as allocatable, so capacity grows and shrinks by flipping the health of
 * devices, and never by dropping one. Kubelets from 1.34 crash when an ID vanishes under an Allocate in flight, and refuse to
 * re-admit a pod whose ID is unhealthy. Source: kubernetes pkg/kubelet/cm/devicemanager/manager.go, 1.34 to 1.36: `allDevices` is
 * dereferenced unchecked after the Allocate call; devicesToAllocate, "previously allocated devices are no longer healthy".
 *
 *     not listed ──grow──▶ healthy ──shrink, highest free first──▶ unhealthy
 *                             ▲                                       │
 *                             └────grow, lowest first; or allocated───┘
 */
import type { OfflineResource } from '../model/index.ts'
import { deviceId, deviceIndex } from './device-ids.ts'

interface Device {
  readonly id: string
  /** From 1; lists are in its order. */
  readonly index: number
  readonly healthy: boolean
}

export type DeviceList = readonly Device[]

export interface DeviceDemand {
  readonly resource: OfflineResource
  /** Healthy devices wanted, 0 or more; a fraction is rounded down and anything above `maxUnits` is cut. */
  readonly wantedUnits: number
  /** IDs that stay healthy whatever is wanted. Those of this resource that the list lacks are added to it. */
  readonly allocated: ReadonlySet<string>
  /** No device is minted beyond this many. */
  readonly maxUnits: number
}

export function countHealthy(devices: DeviceList): number {
  return devices.reduce((count, device) => count + (device.healthy ? 1 : 0), 0)
}

/**
 * The list that follows `previous`: each of its devices is still there, allocated ones are healthy, and as many are healthy as
 * wanted (or as are allocated, if that is more). Returns `previous` itself when nothing changes.
 */
export function nextDeviceList(previous: DeviceList, demand: DeviceDemand): DeviceList {
  const wanted = Math.min(Math.max(Math.floor(demand.wantedUnits) || 0, 0), demand.maxUnits)
  const kept = keepAllocated(previous, demand)
  const surplus = countHealthy(kept) - wanted
  const next = surplus > 0 ? shrink(kept, surplus, demand.allocated) : grow(kept, -surplus, demand)
  const unchanged = next.length === previous.length && next.every((device, at) => device.healthy === previous[at]?.healthy)
  return unchanged ? previous : next
}

function keepAllocated(previous: DeviceList, { resource, allocated }: DeviceDemand): DeviceList {
  const listed = new Set(previous.map((device) => device.id))
  const devices = previous.map((device) => (device.healthy || !allocated.has(device.id) ? device : { ...device, healthy: true }))
  for (const id of allocated) {
    const index = listed.has(id) ? undefined : deviceIndex(resource, id)
    if (index !== undefined) devices.push({ id, index, healthy: true })
  }
  return devices.sort(byIndex)
}

function shrink(devices: DeviceList, surplus: number, allocated: ReadonlySet<string>): DeviceList {
  let left = surplus
  return devices
    .toReversed()
    .map((device) => {
      if (left === 0 || !device.healthy || allocated.has(device.id)) return device
      left -= 1
      return { ...device, healthy: false }
    })
    .reverse()
}

function grow(devices: DeviceList, shortage: number, { resource, maxUnits }: DeviceDemand): DeviceList {
  let left = shortage
  const grown = devices.map((device) => {
    if (left === 0 || device.healthy) return device
    left -= 1
    return { ...device, healthy: true }
  })
  const taken = new Set(devices.map((device) => device.index))
  for (let index = 1; left > 0 && grown.length < maxUnits; index += 1) {
    if (taken.has(index)) continue
    grown.push({ id: deviceId(resource, index), index, healthy: true })
    left -= 1
  }
  return grown.sort(byIndex)
}

const byIndex = (one: Device, other: Device): number => one.index - other.index
