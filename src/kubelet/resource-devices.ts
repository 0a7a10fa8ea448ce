/**
 * The devices of one resource and who holds them, for the life of the process: it outlives every server and socket through which
 * the kubelet sees it. The kubelet tells of allocations but never of releases, so the agent says from time to time how many units
 * its running pods account for, and the oldest surplus is let go. Source: kubernetes
 * pkg/kubelet/cm/devicemanager/manager.go, 1.36: holdings are freed inside the kubelet, and the v1beta1 API has no call for it.
 */
import type { OfflineResource } from '../model/index.ts'
import { countHealthy, nextDeviceList, type DeviceList } from './device-list.ts'

/** A pod is admitted before any source lists it: an allocation younger than this is never taken for a released one. */
const IN_FLIGHT_MS = 60_000

export type AllocationResult =
  | { readonly is: 'allocated' }
  | { readonly is: 'malformed'; readonly problem: string }
  | { readonly is: 'unknown'; readonly id: string }

export interface ResourceDevicesOptions {
  readonly resource: OfflineResource
  readonly maxUnits: number
  /** Monotonic milliseconds. */
  readonly now: () => number
}

export class ResourceDevices {
  readonly resource: OfflineResource
  readonly #maxUnits: number
  readonly #now: () => number
  /** By ID, the time of the last Allocate; the map keeps the oldest first. */
  readonly #allocatedAtMs = new Map<string, number>()
  readonly #listeners = new Set<() => void>()
  #list: DeviceList = []
  /** The list by ID, so that Allocate need not walk it. */
  #healthById: ReadonlyMap<string, boolean> = new Map()
  #wantedUnits: number | undefined

  constructor(options: ResourceDevicesOptions) {
    this.resource = options.resource
    this.#maxUnits = options.maxUnits
    this.#now = options.now
  }

  get list(): DeviceList {
    return this.#list
  }

  /** Whether a capacity has been published; until then the list holds no more than what was allocated before. */
  get published(): boolean {
    return this.#wantedUnits !== undefined
  }

  get allocatedUnits(): number {
    return this.#allocatedAtMs.size
  }

  get advertisedUnits(): number {
    return countHealthy(this.#list)
  }

  /** Calls back after each change of the list; returns the way to stop it. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Sets the capacity in units. Allocated devices stay healthy even if there are more of them. */
  publish(units: number): void {
    if (units === this.#wantedUnits) return
    const first = this.#wantedUnits === undefined
    this.#wantedUnits = units
    this.#update(first)
  }

  /** Takes over IDs that the kubelet had handed out before this process started; those of other resources are ignored. */
  adopt(ids: Iterable<string>): void {
    for (const id of ids) this.#allocatedAtMs.set(id, this.#now())
    this.#update()
    for (const id of this.#allocatedAtMs.keys()) if (!this.#healthById.has(id)) this.#allocatedAtMs.delete(id)
  }

  /**
   * Records one allocation for each container, all or none. An ID whose shrinking the kubelet has not seen yet is granted: it has
   * made its choice, and to refuse would fail the pod for good.
   */
  allocate(containers: readonly (readonly string[])[]): AllocationResult {
    const malformed = malformation(containers)
    if (malformed !== undefined) return { is: 'malformed', problem: malformed }
    const ids = containers.flat()
    const unknown = ids.find((id) => !this.#healthById.has(id))
    if (unknown !== undefined) return { is: 'unknown', id: unknown }
    for (const id of ids) {
      this.#allocatedAtMs.delete(id)
      this.#allocatedAtMs.set(id, this.#now())
    }
    // Devices that were healthy stay so: the list does not change, and the kubelet need not wait for it to be worked out anew.
    if (ids.some((id) => this.#healthById.get(id) === false)) this.#update()
    return { is: 'allocated' }
  }

  /** Lets go of the oldest allocations beyond the units that running pods account for, save those that may be in flight. */
  retain(units: number): void {
    let surplus = this.#allocatedAtMs.size - Math.max(units, 0)
    if (surplus <= 0) return
    for (const [id, atMs] of this.#allocatedAtMs) {
      if (surplus <= 0 || this.#now() - atMs < IN_FLIGHT_MS) break
      this.#allocatedAtMs.delete(id)
      surplus -= 1
    }
    this.#update()
  }

  #update(announce = false): void {
    const next = nextDeviceList(this.#list, {
      resource: this.resource,
      wantedUnits: this.#wantedUnits ?? 0,
      allocated: new Set(this.#allocatedAtMs.keys()),
      maxUnits: this.#maxUnits,
    })
    if (next === this.#list && !announce) return
    this.#healthById = new Map(next.map((device) => [device.id, device.healthy]))
    this.#list = next
    for (const listener of this.#listeners) listener()
  }
}

function malformation(containers: readonly (readonly string[])[]): string | undefined {
  if (containers.length === 0) return 'the request names no container'
  for (const ids of containers) {
    if (ids.length === 0) return 'a container asks for no device'
    if (new Set(ids).size < ids.length) return 'a container asks for one device twice'
  }
  return undefined
}
