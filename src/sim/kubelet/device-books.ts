/**
 * Which devices each resource has, which of them are healthy, and what that makes of the node status. No IO and no clock. A
 * resource is known from its first list, not from its registration; the end of its stream makes every device unhealthy at once, and
 * takes the capacity strictly after five minutes. Source: kubernetes pkg/kubelet/cm/devicemanager (manager.go:
 * genericDeviceUpdateCallback, markResourceUnhealthy, GetCapacity; types.go: endpointStopGracePeriod), 1.36.
 */
import { HEALTHY } from '../../kubelet/wire.ts'

const STOPPED_GRACE_MS = 5 * 60_000

export interface ResourceStatus {
  readonly capacity: number
  readonly allocatable: number
}

/** A device as a plugin lists it. */
export interface ListedDevice {
  readonly ID: string
  readonly health: string
  readonly numaNodes: readonly number[]
}

/** What a plugin said that the kubelet should call before it picks devices or starts containers. */
export interface PluginOptions {
  readonly preStart: boolean
  readonly preferredAllocation: boolean
}

export interface EndpointState {
  /** Undefined for a plugin that this kubelet process knows from its checkpoint alone. */
  readonly options: PluginOptions | undefined
  /** Virtual time; undefined while it runs. */
  readonly stoppedAtMs: number | undefined
}

interface Device {
  /** Whether new pods may have it. */
  healthy: boolean
  /** Whether the last list called it healthy. */
  readonly listedHealthy: boolean
  readonly numaNodes: readonly number[]
}

export class DeviceBooks {
  /** By resource, from the first list (or the checkpoint) until the capacity is gone. */
  readonly #devices = new Map<string, Map<string, Device>>()
  readonly #endpoints = new Map<string, EndpointState>()

  /** What a new kubelet process knows from its checkpoint: names without devices, and no plugin. */
  load(resources: Iterable<string>, nowMs: number): void {
    this.#devices.clear()
    this.#endpoints.clear()
    for (const resource of resources) {
      this.#devices.set(resource, new Map())
      this.#endpoints.set(resource, { options: undefined, stoppedAtMs: nowMs })
    }
  }

  resources(): readonly string[] {
    return [...this.#devices.keys()]
  }

  isListed(resource: string): boolean {
    return this.#devices.has(resource)
  }

  has(resource: string, id: string): boolean {
    return this.#devices.get(resource)?.has(id) === true
  }

  healthById(resource: string): ReadonlyMap<string, boolean> {
    return new Map([...(this.#devices.get(resource) ?? [])].map(([id, { healthy }]) => [id, healthy]))
  }

  healthy(resource: string): ReadonlySet<string> {
    return new Set([...(this.#devices.get(resource) ?? [])].flatMap(([id, { healthy }]) => (healthy ? [id] : [])))
  }

  numaNodes(resource: string, id: string): readonly number[] {
    return this.#devices.get(resource)?.get(id)?.numaNodes ?? []
  }

  /** Health for the pod status: as last listed, and no worse for a plugin that has gone; unknown devices pass for healthy. */
  listedHealthy(resource: string, id: string): boolean {
    return this.#devices.get(resource)?.get(id)?.listedHealthy ?? true
  }

  endpoint(resource: string): EndpointState | undefined {
    return this.#endpoints.get(resource)
  }

  endpointStarted(resource: string, options: PluginOptions): void {
    this.#endpoints.set(resource, { options, stoppedAtMs: undefined })
  }

  endpointStopped(resource: string, nowMs: number): void {
    const endpoint = this.#endpoints.get(resource)
    if (endpoint === undefined) return
    this.#endpoints.set(resource, { ...endpoint, stoppedAtMs: nowMs })
    for (const device of this.#devices.get(resource)?.values() ?? []) device.healthy = false
  }

  /** Takes a list, which replaces the one before it whole, and says what is wrong with it. */
  listed(resource: string, devices: readonly ListedDevice[]): readonly string[] {
    const problems: string[] = []
    const byId = new Map<string, Device>()
    for (const { ID, health, numaNodes } of devices) {
      const healthy = health === HEALTHY
      byId.set(ID, { healthy, listedHealthy: healthy, numaNodes })
    }
    if (byId.size < devices.length) problems.push(`${resource}: a list names one device twice`)
    for (const [other, theirs] of this.#devices) {
      const shared = other === resource ? undefined : [...byId.keys()].find((id) => theirs.has(id))
      if (shared !== undefined) problems.push(`${shared} is a device of both ${resource} and ${other}`)
    }
    this.#devices.set(resource, byId)
    return problems
  }

  /** Capacity and allocatable now. Resources whose plugin has been away for too long are forgotten, and named in `forgotten`. */
  status(nowMs: number): { readonly status: Readonly<Record<string, ResourceStatus>>; readonly forgotten: readonly string[] } {
    const status: Record<string, ResourceStatus> = {}
    const forgotten: string[] = []
    for (const [resource, devices] of this.#devices) {
      const stoppedAtMs = this.#endpoints.get(resource)?.stoppedAtMs
      if (stoppedAtMs !== undefined && nowMs - stoppedAtMs > STOPPED_GRACE_MS) {
        this.#devices.delete(resource)
        this.#endpoints.delete(resource)
        forgotten.push(resource)
      } else {
        status[resource] = { capacity: devices.size, allocatable: this.healthy(resource).size }
      }
    }
    return { status, forgotten }
  }
}
