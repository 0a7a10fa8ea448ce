/**
 * The kubelet room: advertises offline capacity through the device-plugin API and answers for it from memory. One server, socket
 * and registration for each resource; the devices behind them live as long as the process. Needs the kubelet's directory, and
 * works without a kubelet until there is one. Source: kubernetes
 * pkg/kubelet/cm/devicemanager, 1.36.
 */
import { resolve } from 'node:path'
import { AgentError, noUnits, type OfflineClass, type OfflineResource } from '../model/index.ts'
import { readAllocatedIds } from './checkpoint.ts'
import { Registrar, type RegistrarState } from './registrar.ts'
import { ResourceDevices } from './resource-devices.ts'
import { pathProblem, randomText, removeStaleSockets, socketName } from './sockets.ts'
import { SocketWatch } from './socket-watch.ts'

export { kubeletSocketProblem } from './sockets.ts'
export type { RegistrarState } from './registrar.ts'

const DEFAULT_PUSH_MS = 10_000

/** The part of a pino logger that this room uses. */
interface KubeletLogger {
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
}

export interface AdvertisedResource {
  readonly resource: OfflineResource
  /** With its domain: `kube-agent.io/be-cpu`. */
  readonly fullName: string
  /** Handed to the containers in KUBE_AGENT_QOS_CLASS. */
  readonly qosClass: OfflineClass
}

export interface DevicePluginsOptions {
  /** The kubelet's device-plugin directory. */
  readonly directory: string
  readonly resources: readonly AdvertisedResource[]
  /** Most devices of one resource, 1 or more. The kubelet bears 2048 (8192 up to Kubernetes 1.35). */
  readonly maxUnits: number
  /**
   * Least time between two pushes of growing capacity, in milliseconds.
   * @default 10000
   */
  readonly pushMs?: number
  readonly logger?: KubeletLogger
  /** Monotonic milliseconds. */
  readonly now: () => number
  /** In [0, 1). */
  readonly random: () => number
}

interface Advertised {
  readonly fullName: string
  readonly devices: ResourceDevices
  readonly registrar: Registrar
}

export class DevicePlugins {
  readonly #options: DevicePluginsOptions
  readonly #directory: string
  readonly #advertised: readonly Advertised[]
  readonly #watch: SocketWatch
  readonly #processNonce: string
  #incarnations = 0
  #phase: 'new' | 'started' | 'stopped' = 'new'

  constructor(options: DevicePluginsOptions) {
    this.#options = options
    this.#directory = resolve(options.directory)
    this.#processNonce = randomText(options.random)
    this.#advertised = options.resources.map((resource) => this.#advertise(resource))
    this.#watch = new SocketWatch(this.#directory, () => {
      for (const { registrar } of this.#advertised) registrar.look()
    })
  }

  /**
   * Starts to register, and keeps at it until `stop`. Resolves without waiting for the kubelet: look at `states`.
   * Throws AgentError E_NO_KUBELET if the directory's path leaves no room for a socket's name.
   */
  async start(): Promise<void> {
    const problem = pathProblem(this.#directory)
    if (problem !== undefined) throw new AgentError('E_NO_KUBELET', problem)
    await removeStaleSockets(this.#directory)
    const held = await readAllocatedIds(this.#directory)
    if (this.#phase !== 'new') return
    this.#phase = 'started'
    for (const { fullName, devices, registrar } of this.#advertised) {
      devices.adopt(held.get(fullName) ?? [])
      registrar.start()
    }
    this.#watch.start()
  }

  /** Sets the capacity of each resource in units, from 0. What is allocated stays advertised even if it is more. */
  publish(units: Readonly<Record<OfflineResource, number>>): void {
    for (const { devices } of this.#advertised) devices.publish(units[devices.resource])
  }

  /** Units handed out and not known to be free again; 0 for a resource that is not advertised. */
  allocatedUnits(): Record<OfflineResource, number> {
    return this.#units((devices) => devices.allocatedUnits)
  }

  /** Units advertised as healthy; 0 for a resource that is not advertised. */
  advertisedUnits(): Record<OfflineResource, number> {
    return this.#units((devices) => devices.advertisedUnits)
  }

  #units(of: (devices: ResourceDevices) => number): Record<OfflineResource, number> {
    const units = noUnits()
    for (const { devices } of this.#advertised) units[devices.resource] = of(devices)
    return units
  }

  /**
   * Says how many units the running pods account for. The kubelet never tells of a release: when more are recorded, the oldest
   * are taken for released, except in the 60 s after their allocation, when their pod may not be listed yet.
   */
  retainAllocations(units: Readonly<Record<OfflineResource, number>>): void {
    for (const { devices } of this.#advertised) devices.retain(units[devices.resource])
  }

  states(): readonly RegistrarState[] {
    return this.#advertised.map(({ registrar }) => registrar.state())
  }

  /** Withdraws: ends the streams, closes the servers, removes their sockets, and leaves no timer. Running pods stay as they are. */
  async stop(): Promise<void> {
    this.#phase = 'stopped'
    this.#watch.stop()
    await Promise.all(this.#advertised.map(({ registrar }) => registrar.stop()))
  }

  #advertise({ resource, fullName, qosClass }: AdvertisedResource): Advertised {
    const { now, random, maxUnits, pushMs = DEFAULT_PUSH_MS } = this.#options
    const devices = new ResourceDevices({ resource, maxUnits, now })
    const registrar = new Registrar({
      devices,
      qosClass,
      fullName,
      pushMs,
      now,
      random,
      directory: this.#directory,
      nonce: () => randomText(random) + randomText(random),
      nextSocketName: () => socketName(resource, this.#processNonce, (this.#incarnations += 1)),
      onState: (state, previous) => this.#onState(state, previous),
    })
    return { fullName, devices, registrar }
  }

  #onState(state: RegistrarState, previous: RegistrarState): void {
    const { logger } = this.#options
    if (state.registered && !previous.registered) logger?.info(state, 'registered with the kubelet')
    if (state.lastError !== undefined && state.lastError !== previous.lastError)
      logger?.warn(state, 'not registered with the kubelet')
  }
}
