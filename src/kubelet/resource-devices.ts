/**
 * The devices of one resource and who holds them, for the life of the process: it outlives every server and socket through which
 * the kubelet sees it. The kubelet tells of allocations but never of releases. Those come from its list of what pods hold
 * (`settle`), and where there is no such list from the count of units that the running pods account for (`retain`). Source: kubernetes
 * pkg/kubelet/cm/devicemanager/manager.go, 1.36: holdings are freed inside the kubelet, and the v1beta1 API has no call for it.
 */
import type { OfflineResource } from '../model/index.ts'
import { deviceIndex } from './device-ids.ts'
import { countHealthy, findDevice, nextDeviceList, type DeviceList } from './device-list.ts'
import { encodeDeviceList, type EncodedList } from './list-bytes.ts'

/** A pod is admitted before any source lists it: an allocation younger than this is never taken for a released one. */
const IN_FLIGHT_MS = 60_000
/** The kubelet books an allocation only once Allocate has been answered: its list may lack one that is younger than this. */
const LISTING_GRACE_MS = 10_000

export type AllocationResult =
  | { readonly is: 'allocated' }
  | { readonly is: 'malformed'; readonly problem: string }
  | { readonly is: 'unknown'; readonly id: string }

/** What the kubelet says its pods hold of one resource. */
export interface Holdings {
  readonly ids: ReadonlySet<string>
  /** Which kubelet process says so. */
  readonly kubelet: string
  /** When it was asked; monotonic milliseconds. */
  readonly askedAtMs: number
}

interface Allocation {
  /** The last Allocate; monotonic milliseconds. */
  readonly atMs: number
  /** The kubelet process that has listed it since. */
  listedBy: string | undefined
}

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
  /** By ID, the oldest first. */
  readonly #allocations = new Map<string, Allocation>()
  readonly #listeners = new Set<() => void>()
  #list: DeviceList = []
  /** The list as it is sent, or an earlier one. */
  #encoded: EncodedList | undefined
  #wantedUnits: number | undefined
  #allocationsEnded = 0

  constructor(options: ResourceDevicesOptions) {
    this.resource = options.resource
    this.#maxUnits = options.maxUnits
    this.#now = options.now
  }

  get list(): DeviceList {
    return this.#list
  }

  /** The list as a ListAndWatchResponse. */
  get listBytes(): Buffer {
    if (this.#encoded?.devices !== this.#list) this.#encoded = encodeDeviceList(this.#list, this.#encoded)
    return this.#encoded.bytes
  }

  /** Whether a capacity has been published; until then the list holds no more than what was allocated before. */
  get published(): boolean {
    return this.#wantedUnits !== undefined
  }

  get allocatedUnits(): number {
    return this.#allocations.size
  }

  get advertisedUnits(): number {
    return countHealthy(this.#list)
  }

  /** Devices that were held and are known or taken to be free again, since the start. */
  get allocationsEnded(): number {
    return this.#allocationsEnded
  }

  /**
   * Whether a kubelet that got `sent` last is wrong in a way that matters: it counts on a free device that is no longer offered, or
   * takes one that a pod holds for unhealthy or does not know it.
   */
  contradicts(sent: DeviceList): boolean {
    let at = 0
    return this.#list.some((device) => {
      // Lists only gain devices: what is not the next one of the earlier list is new.
      const before = sent[at]?.index === device.index ? sent[at++] : undefined
      if (before === device) return false
      return before?.healthy === true ? !device.healthy : device.healthy && this.#allocations.has(device.id)
    })
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
    for (const id of ids) this.#adopt(id, { atMs: this.#now(), listedBy: undefined })
    this.#update()
  }

  /**
   * Records one allocation for each container, all or none. An ID whose shrinking the kubelet has not seen yet is granted: it has
   * made its choice, and to refuse would fail the pod for good.
   */
  allocate(containers: readonly (readonly string[])[]): AllocationResult {
    const malformed = malformation(containers)
    if (malformed !== undefined) return { is: 'malformed', problem: malformed }
    let revives = false
    for (const id of containers.flat()) {
      const device = findDevice(this.#list, id)
      if (device === undefined) return { is: 'unknown', id }
      revives ||= !device.healthy
    }
    const atMs = this.#now()
    for (const id of containers.flat()) {
      this.#allocations.delete(id)
      this.#allocations.set(id, { atMs, listedBy: undefined })
    }
    // Devices that were healthy stay so: the list does not change, and the kubelet need not wait for it to be worked out anew.
    if (revives) this.#update()
    return { is: 'allocated' }
  }

  /** Whether `settle` could end more with the help of the kubelet's checkpoint. */
  wouldAskCheckpoint(holdings: Holdings): boolean {
    for (const [id, allocation] of this.#allocations) {
      if (isMissing(id, allocation, holdings) && allocation.listedBy !== holdings.kubelet) return true
    }
    return false
  }

  /**
   * Compares with what the kubelet says its pods hold. What it names is allocated, known or not. What it does not name is free if
   * this same kubelet process named it before, or if its checkpoint does not name it either (undefined: can't be read). To be
   * missing from the list alone proves nothing: plain init containers never are in it, and a kubelet that has just started
   * lists no pod before its sources are ready, which takes as long as its API server is away.
   */
  settle(holdings: Holdings, checkpointed: ReadonlySet<string> | undefined): void {
    for (const id of holdings.ids) {
      const allocation = this.#allocations.get(id)
      if (allocation === undefined) this.#adopt(id, { atMs: holdings.askedAtMs, listedBy: holdings.kubelet })
      else allocation.listedBy = holdings.kubelet
    }
    for (const [id, allocation] of this.#allocations) {
      if (!isMissing(id, allocation, holdings)) continue
      const gone = allocation.listedBy === holdings.kubelet || checkpointed?.has(id) === false
      if (gone) this.#end(id)
    }
    this.#update()
  }

  /**
   * Lets go of the oldest allocations beyond the units that running pods account for, save those that may be in flight and, where
   * the kubelet tells what pods hold, those that it has told of or not yet been asked about. Returns how many there are beyond
   * those units now.
   */
  retain({ units, readAtMs }: { readonly units: number; readonly readAtMs: number }, holdings: Holdings | undefined): number {
    let surplus = this.#allocations.size - Math.max(units, 0)
    if (surplus <= 0) return 0
    for (const [id, allocation] of this.#allocations) {
      if (surplus <= 0 || readAtMs - allocation.atMs < IN_FLIGHT_MS) break
      if (holdings !== undefined && !isMissing(id, allocation, holdings)) continue
      this.#end(id)
      surplus -= 1
    }
    this.#update()
    return surplus
  }

  #adopt(id: string, allocation: Allocation): void {
    if (deviceIndex(this.resource, id) !== undefined) this.#allocations.set(id, allocation)
  }

  #end(id: string): void {
    this.#allocations.delete(id)
    this.#allocationsEnded += 1
  }

  #update(announce = false): void {
    const next = nextDeviceList(this.#list, {
      resource: this.resource,
      wantedUnits: this.#wantedUnits ?? 0,
      allocated: new Set(this.#allocations.keys()),
      maxUnits: this.#maxUnits,
    })
    if (next === this.#list && !announce) return
    this.#list = next
    for (const listener of this.#listeners) listener()
  }
}

/** Not in the kubelet's list, though it was held long enough before to be in it. */
function isMissing(id: string, { atMs }: Allocation, { ids, askedAtMs }: Holdings): boolean {
  return !ids.has(id) && atMs + LISTING_GRACE_MS <= askedAtMs
}

function malformation(containers: readonly (readonly string[])[]): string | undefined {
  if (containers.length === 0) return 'the request names no container'
  for (const ids of containers) {
    if (ids.length === 0) return 'a container asks for no device'
    if (new Set(ids).size < ids.length) return 'a container asks for one device twice'
  }
  return undefined
}
