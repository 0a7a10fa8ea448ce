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

export interface Device {
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
  let count = 0
  for (const device of devices) if (device.healthy) count += 1
  return count
}

/** The listed device with this ID. */
export function findDevice(devices: DeviceList, id: string): Device | undefined {
  const index = Number(id.slice(id.indexOf('-') + 1))
  const device = devices[positionOf(devices, index)]
  return device?.id === id ? device : undefined
}

/** Where the device with this index is, or would be. */
function positionOf(devices: DeviceList, index: number): number {
  // Without gaps, which only adopted devices leave, a device stands where its index says.
  if (devices[index - 1]?.index === index) return index - 1
  let low = 0
  let high = devices.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((devices[middle]?.index ?? 0) < index) low = middle + 1
    else high = middle
  }
  return low
}

/**
 * The list that follows `previous`: each of its devices is still there, allocated ones are healthy, and as many are healthy as
 * wanted (or as are allocated, if that is more). Returns `previous` itself when nothing changes.
 */
export function nextDeviceList(previous: DeviceList, demand: DeviceDemand): DeviceList {
  const wanted = Math.min(Math.max(Math.floor(demand.wantedUnits) || 0, 0), demand.maxUnits)
  const kept = keepAllocated(previous, demand)
  const surplus = countHealthy(kept) - wanted
  if (surplus === 0) return kept
  return surplus > 0 ? shrink(kept, surplus, demand.allocated) : grow(kept, -surplus, demand)
}

function keepAllocated(previous: DeviceList, { resource, allocated }: DeviceDemand): DeviceList {
  const revived = new Set<Device>()
  const added: Device[] = []
  for (const id of allocated) {
    const device = findDevice(previous, id)
    if (device?.healthy === true) continue
    const index = device?.index ?? deviceIndex(resource, id)
    if (device !== undefined) revived.add(device)
    else if (index !== undefined) added.push({ id, index, healthy: true })
  }
  if (revived.size + added.length === 0) return previous
  return [...previous.map((device) => (revived.has(device) ? flipped(device) : device)), ...added].sort(byIndex)
}

function shrink(devices: DeviceList, surplus: number, allocated: ReadonlySet<string>): DeviceList {
  let left = surplus
  const shrunk = [...devices]
  for (let at = shrunk.length - 1; left > 0 && at >= 0; at -= 1) {
    const device = shrunk[at]
    if (device === undefined || !device.healthy || allocated.has(device.id)) continue
    shrunk[at] = flipped(device)
    left -= 1
  }
  return left === surplus ? devices : shrunk
}

function grow(devices: DeviceList, shortage: number, { resource, maxUnits }: DeviceDemand): DeviceList {
  let left = shortage
  const grown = devices.map((device) => {
    if (left === 0 || device.healthy) return device
    left -= 1
    return flipped(device)
  })
  for (let index = 1, at = 0; left > 0 && grown.length < maxUnits; index += 1) {
    if (devices[at]?.index === index) {
      at += 1
      continue
    }
    grown.push({ id: deviceId(resource, index), index, healthy: true })
    left -= 1
  }
  if (left === shortage) return devices
  return grown.length > devices.length ? grown.sort(byIndex) : grown
}

const flipped = ({ id, index, healthy }: Device): Device => ({ id, index, healthy: !healthy })

const byIndex = (one: Device, other: Device): number => one.index - other.index
