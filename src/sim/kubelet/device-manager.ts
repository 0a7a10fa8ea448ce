/**
 * The stand-in's books: which devices each resource has, which are healthy, which are held by whom, and what the node status says.
 * No IO and no clock. It also judges: what would crash or confuse a kubelet is written down as a violation.
 * Source: kubernetes pkg/kubelet/cm/devicemanager (manager.go, pod_devices.go; types.go: endpointStopGracePeriod), 1.36.
 */
import { HEALTHY } from '../../kubelet/wire.ts'

/** A stopped endpoint keeps its capacity for this long, and loses it strictly after. */
const STOPPED_GRACE_MS = 5 * 60_000

export interface ResourceStatus {
  readonly capacity: number
  readonly allocatable: number
}

/** What one container holds of one resource. */
export interface Holding {
  readonly uid: string
  readonly container: string
  readonly resource: string
  readonly ids: readonly string[]
}

interface ResourceBook {
  healthyById: Map<string, boolean>
  /** Virtual time at which the endpoint stopped; undefined while it runs. */
  stoppedAtMs: number | undefined
}

export type Taken = { readonly is: 'taken'; readonly holding: Holding } | { readonly is: 'short'; readonly available: number }

export class DeviceManager {
  readonly violations: string[] = []
  readonly #books = new Map<string, ResourceBook>()
  readonly #holdings = new Set<Holding>()
  /** In [0, 1). */
  readonly #random: () => number

  constructor(random: () => number) {
    this.#random = random
  }

  get holdings(): readonly Holding[] {
    return [...this.#holdings]
  }

  resources(): readonly string[] {
    return [...this.#books.keys()]
  }

  knows(resource: string): boolean {
    return this.#books.has(resource)
  }

  /** An endpoint runs from its registration on, and has no devices before its first list. */
  endpointStarted(resource: string): void {
    this.#book(resource).stoppedAtMs = undefined
  }

  endpointStopped(resource: string, nowMs: number): void {
    const book = this.#book(resource)
    book.stoppedAtMs ??= nowMs
    for (const id of book.healthyById.keys()) book.healthyById.set(id, false)
  }

  /** Health of each device, as last listed. */
  devices(resource: string): ReadonlyMap<string, boolean> {
    return this.#book(resource).healthyById
  }

  /** Takes a new list, which replaces the old one whole, and writes down what is wrong with it. */
  listed(resource: string, devices: readonly { readonly ID: string; readonly health: string }[]): void {
    const book = this.#book(resource)
    const healthyById = new Map(devices.map(({ ID, health }) => [ID, health === HEALTHY]))
    if (healthyById.size < devices.length) this.violations.push(`${resource}: a list names one device twice`)
    for (const holding of this.#holdings) {
      const missing = holding.resource === resource ? holding.ids.filter((id) => !healthyById.has(id)) : []
      if (missing.length > 0)
        this.violations.push(`${resource}: ${missing.join(', ')} left the list while held by ${holding.uid}`)
    }
    for (const [other, { healthyById: theirs }] of this.#books) {
      const shared = other === resource ? undefined : [...healthyById.keys()].find((id) => theirs.has(id))
      if (shared !== undefined) this.violations.push(`${shared} is a device of both ${resource} and ${other}`)
    }
    book.healthyById = healthyById
  }

  /** Reserves free healthy devices in random order: the kubelet walks a Go map. */
  take(holder: Omit<Holding, 'ids'>, units: number): Taken {
    const held = new Set([...this.#holdings].flatMap(({ resource, ids }) => (resource === holder.resource ? ids : [])))
    const free = [...this.#book(holder.resource).healthyById]
      .filter(([id, healthy]) => healthy && !held.has(id))
      .map(([id]) => id)
    if (free.length < units) return { is: 'short', available: free.length }
    const holding = { ...holder, ids: this.#pick(free, units) }
    this.#holdings.add(holding)
    return { is: 'taken', holding }
  }

  /** Frees everything that a pod holds. */
  release(uid: string): void {
    for (const holding of this.#holdings) if (holding.uid === uid) this.#holdings.delete(holding)
  }

  /** A new kubelet process: it remembers resources and holdings from its checkpoint, but no device and no endpoint. */
  restarted(nowMs: number): void {
    for (const book of this.#books.values()) {
      book.healthyById = new Map()
      book.stoppedAtMs = nowMs
    }
  }

  /** What the node status says at this virtual time. Resources never leave it: a lost one stays with 0. */
  status(nowMs: number): Record<string, ResourceStatus> {
    const status: Record<string, ResourceStatus> = {}
    for (const [resource, { healthyById, stoppedAtMs }] of this.#books) {
      const gone = stoppedAtMs !== undefined && nowMs - stoppedAtMs > STOPPED_GRACE_MS
      const healthy = [...healthyById.values()].filter(Boolean).length
      status[resource] = { capacity: gone ? 0 : healthyById.size, allocatable: gone ? 0 : healthy }
    }
    return status
  }

  #pick(ids: string[], count: number): string[] {
    return Array.from({ length: count }, () => ids.splice(Math.floor(this.#random() * ids.length), 1)).flat()
  }

  #book(resource: string): ResourceBook {
    const known = this.#books.get(resource)
    if (known !== undefined) return known
    const book: ResourceBook = { healthyById: new Map(), stoppedAtMs: undefined }
    this.#books.set(resource, book)
    return book
  }
}
