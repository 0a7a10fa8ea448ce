/**
 * The stand-in's books of devices and holders, and the choice of devices for a container. No IO and no clock. Beside what is held it
 * keeps what is reserved, as the kubelet does: a plugin that answers Allocate with nothing leaves its devices reserved by nobody.
 * It also judges: what would crash or confuse a kubelet is written down as a violation.
 * Source: kubernetes pkg/kubelet/cm/devicemanager/manager.go (devicesToAllocate, UpdateAllocatedDevices, readCheckpoint), 1.36.
 */
import type { v1beta1 } from '../../kubelet/gen/deviceplugin.js'
import { DeviceBooks, type ListedDevice } from './device-books.ts'
import { PodDevices, type Holder, type Holding } from './pod-devices.ts'
import { shuffled } from './shuffle.ts'

/** Devices set aside for a container while its plugin is asked. */
export interface Reservation extends Holder {
  /** In the order in which they are sent. */
  readonly ids: readonly string[]
}

export interface Choice {
  /** Devices of this pod's init containers that are free to be used again, by resource. */
  readonly reusable: ReadonlyMap<string, ReadonlySet<string>>
  /** Whether a new kubelet process sees the container running: it needs nothing then. */
  readonly running: boolean
  /** Asks the plugin which devices it would rather give, if it wants to be asked. */
  readonly prefer: (request: PreferenceRequest) => Promise<readonly string[]>
}

export interface PreferenceRequest {
  readonly available: readonly string[]
  readonly mustInclude: readonly string[]
  readonly size: number
}

export class DeviceManager {
  readonly violations: string[] = []
  readonly books = new DeviceBooks()
  readonly held = new PodDevices()
  /** In [0, 1). */
  readonly #random: () => number
  /** By resource: what is held, in flight or leaked. */
  #reserved = new Map<string, Set<string>>()
  readonly #inFlight = new Set<Reservation>()

  constructor(random: () => number) {
    this.#random = random
  }

  /** What a new kubelet process knows. */
  load(checkpoint: { readonly holdings: readonly Holding[]; readonly resources: readonly string[] }, nowMs: number): void {
    this.held.load(checkpoint.holdings)
    this.books.load(checkpoint.resources, nowMs)
    this.#inFlight.clear()
    this.#reserved = this.held.idsByResource()
  }

  /** Whether device plugins have a say in this resource. One that has registered and not listed yet is passed over. */
  knows(resource: string): boolean {
    return this.books.isListed(resource) || this.#reserved.has(resource)
  }

  reservedCount(resource: string): number {
    return this.#reserved.get(resource)?.size ?? 0
  }

  reservedResources(): readonly string[] {
    return [...this.#reserved.keys()]
  }

  /** Devices that are reserved though nobody holds them or is about to. */
  leaked(resource: string): readonly string[] {
    const claimed = new Set(this.held.idsByResource().get(resource))
    for (const { resource: other, ids } of this.#inFlight) if (other === resource) for (const id of ids) claimed.add(id)
    return [...(this.#reserved.get(resource) ?? [])].filter((id) => !claimed.has(id))
  }

  listed(resource: string, devices: readonly ListedDevice[], isActive: (uid: string) => boolean): void {
    this.violations.push(...this.books.listed(resource, devices))
    const holders = this.held.all.map((holding) => ({ ...holding, ids: [...holding.numaNodesById.keys()] }))
    for (const holder of [...holders, ...this.#inFlight]) {
      if (holder.resource === resource && isActive(holder.uid)) this.#checkStillListed(holder)
    }
  }

  /** Frees what pods that are no longer active hold; leaks go with it, if there was anything to free. */
  freeStale(isActive: (uid: string) => boolean): void {
    if (this.held.keepOnly(isActive)) this.#recountReserved()
  }

  /**
   * Sets devices aside for a container: first those it may use again, then what the plugin prefers, then any. Undefined if it needs
   * none. Rejects with the reason for which the pod is turned away.
   */
  async reserve(holder: Holder, units: number, { reusable, running, prefer }: Choice): Promise<Reservation | undefined> {
    const { uid, container, resource } = holder
    const own = this.held.find(holder)?.numaNodesById
    if (own !== undefined && own.size !== units)
      throw new Error(`container ${container} of pod ${uid} changed its request for ${resource} from ${own.size} to ${units}`)
    if (running) return undefined
    this.#checkHealth(resource, [...(own?.keys() ?? [])])
    if (own !== undefined || units === 0) return undefined
    const chosen = new Set<string>()
    const isFull = (): boolean => chosen.size >= units
    const take = (from: Iterable<string>): void => {
      for (const id of shuffled(from, this.#random)) if (!isFull()) chosen.add(id)
      this.#reserve(resource, chosen)
    }
    take(reusable.get(resource) ?? [])
    if (!isFull()) {
      const reserved = this.#reserved.get(resource)
      const available = [...this.books.healthy(resource)].filter((id) => reserved?.has(id) !== true)
      const lack = units - chosen.size
      if (available.length < lack) {
        const numbers = `Requested: ${lack}, Available: ${available.length}`
        throw new Error(`requested number of devices unavailable for ${resource}. ${numbers}`)
      }
      const request = { available: shuffled([...available, ...chosen], this.#random), mustInclude: [...chosen], size: units }
      const preferred = new Set(await prefer(request))
      take(available.filter((id) => preferred.has(id)))
      take(available)
    }
    const reservation = { uid, container, resource, ids: shuffled(chosen, this.#random) }
    this.#checkStillListed(reservation)
    this.#inFlight.add(reservation)
    return reservation
  }

  /** The plugin has answered for the container. */
  commit(reservation: Reservation, response: v1beta1.ContainerAllocateResponse.$Properties): void {
    this.#inFlight.delete(reservation)
    const { uid, container, resource, ids } = reservation
    const numaNodesById = new Map(ids.map((id) => [id, this.books.numaNodes(resource, id)]))
    this.held.add({ uid, container, resource, numaNodesById, response })
  }

  /** The plugin has failed: what is reserved is what is held. */
  abandon(reservation: Reservation): void {
    this.#inFlight.delete(reservation)
    this.#recountReserved()
  }

  /** The plugin has answered with nothing, and the kubelet forgets that it had set these devices aside. */
  leak(reservation: Reservation): void {
    this.#inFlight.delete(reservation)
  }

  #checkHealth(resource: string, own: readonly string[]): void {
    if (!this.books.isListed(resource)) throw new Error(`cannot allocate unregistered device ${resource}`)
    const healthy = this.books.healthy(resource)
    if (healthy.size === 0) throw new Error(`no healthy devices present; cannot allocate unhealthy devices ${resource}`)
    if (own.some((id) => !healthy.has(id)))
      throw new Error(`previously allocated devices are no longer healthy; cannot allocate unhealthy devices ${resource}`)
  }

  /** A kubelet from 1.34 follows a nil pointer when it looks up the NUMA nodes of a device that has gone. */
  #checkStillListed({ uid, resource, ids }: Reservation): void {
    const missing = ids.filter((id) => !this.books.has(resource, id))
    if (missing.length > 0) this.violations.push(`${resource}: ${missing.join(', ')} left the list while held by ${uid} (panic)`)
  }

  #reserve(resource: string, ids: Iterable<string>): void {
    this.#reserved.set(resource, new Set([...(this.#reserved.get(resource) ?? []), ...ids]))
  }

  #recountReserved(): void {
    this.#reserved = this.held.idsByResource()
    for (const { resource, ids } of this.#inFlight) this.#reserve(resource, ids)
  }
}
