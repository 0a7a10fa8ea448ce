/**
 * The kubelet room: advertises offline capacity through the device-plugin API and answers for it from memory. One server, socket
 * and registration for each resource; the devices behind them live as long as the process. Needs the kubelet's directory, and
 * works without a kubelet until there is one. Source: kubernetes
 * pkg/kubelet/cm/devicemanager, 1.36.
 */
import { resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { AgentError, noUnits, podKey, type OfflineClass, type OfflineResource, type RunState } from '../model/index.ts'
import { readAllocatedIds } from './checkpoint.ts'
import { type Listing, PodResourcesClient } from './pod-resources.ts'
import { Registrar, REGISTRAR_TIMINGS, type RegistrarState, type RegistrarTimings } from './registrar.ts'
import { ReleaseWatch, type PodResourcesState } from './release-watch.ts'
import { type Holdings, ResourceDevices } from './resource-devices.ts'
import { pathProblem, randomText, removeStaleSockets, socketName } from './sockets.ts'
import { SocketWatch } from './socket-watch.ts'

export { kubeletSocketProblem } from './sockets.ts'
export { type KubeletSetting, type KubeletSurvey, type ManagerState, surveyKubelet } from './survey.ts'
export type { RegistrarState } from './registrar.ts'
export type { PodResourcesState } from './release-watch.ts'

const DEFAULT_PUSH_MS = 10_000
/** A pod-resources socket that hangs must not hold up the registration, which is due within a second of the start. */
const FIRST_LISTING_MS = 300
const NO_IDS: ReadonlySet<string> = new Set()

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
  /** The directory of the kubelet's pod-resources socket. Without it, releases are guessed. */
  readonly podResourcesDirectory?: string
  readonly resources: readonly AdvertisedResource[]
  /** Most devices of one resource, 1 or more. The kubelet bears 2048 (8192 up to Kubernetes 1.35). */
  readonly maxUnits: number
  /**
   * Least time between two pushes of growing capacity, in milliseconds.
   * @default 10000
   */
  readonly pushMs?: number
  /** For tests. */
  readonly timings?: Partial<RegistrarTimings>
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
  readonly #client: PodResourcesClient | undefined
  readonly #releases: ReleaseWatch | undefined
  /** What the kubelet listed last. */
  #listing: Listing | undefined
  #tidying: Promise<void> = Promise.resolve()
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
    const { podResourcesDirectory, now, random } = options
    if (podResourcesDirectory === undefined) return
    const client = new PodResourcesClient(resolve(podResourcesDirectory), now)
    this.#client = client
    this.#releases = new ReleaseWatch({
      now,
      random,
      list: (timeoutMs) => client.list(timeoutMs),
      needed: () => this.#advertised.some(({ devices }) => devices.allocatedUnits > 0),
      onListing: (listing) => this.#settle(listing),
    })
  }

  /**
   * Starts to register, and keeps at it until `stop`. Resolves without waiting for the kubelet: see `attempted` and `states`.
   * Throws AgentError E_NO_KUBELET if the directory's path leaves no room for a socket's name.
   */
  async start(): Promise<void> {
    const problem = pathProblem(this.#directory)
    if (problem !== undefined) throw new AgentError('E_NO_KUBELET', problem)
    // A dead agent's sockets are in nobody's way: they need not be gone before ours are there.
    this.#tidying = removeStaleSockets(this.#directory)
    const [checkpointed, listing] = await Promise.all([
      readAllocatedIds(this.#directory),
      this.#releases?.first(FIRST_LISTING_MS),
    ])
    if (this.#phase !== 'new') return
    this.#phase = 'started'
    this.#listing = listing
    for (const { fullName, devices, registrar } of this.#advertised) {
      // Both, since each can lack something: pod-resources leaves out init containers and, in a kubelet that has just started, every
      // pod; the checkpoint may be missing. To adopt too many only delays a shrink, to miss one fails a pod that runs.
      devices.adopt([...(checkpointed?.get(fullName) ?? []), ...(listing?.idsByResource.get(fullName) ?? [])])
      registrar.start()
    }
    if (listing !== undefined) void this.#settle(listing)
    this.#watch.start()
    this.#releases?.start()
  }

  /**
   * Resolves when each resource has been registered once or has failed to be, at the latest after `timeoutMs`. Some 50 ms with a
   * kubelet that is well, if this process has nothing else to do meanwhile.
   */
  async attempted(timeoutMs: number): Promise<void> {
    const patience = new AbortController()
    const waited = sleep(timeoutMs, undefined, { signal: patience.signal }).catch(() => {})
    await Promise.race([Promise.all(this.#advertised.map(({ registrar }) => registrar.attempted)), waited])
    patience.abort()
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
   * are taken for released, except in the 60 s after their allocation, when their pod may not be listed yet. Where the kubelet's
   * pod-resources can be read, it is asked instead, and only what it never listed is left to this guess.
   */
  retainAllocations(units: Readonly<Record<OfflineResource, number>>, readAtMs: number): void {
    const listing = this.podResources().available ? this.#listing : undefined
    let surplus = 0
    for (const { fullName, devices } of this.#advertised) {
      surplus += devices.retain(
        { units: units[devices.resource], readAtMs },
        listing === undefined ? undefined : holdingsOf(listing, fullName),
      )
    }
    if (surplus > 0) this.#releases?.soon()
  }

  /** Ends the allocations that the kubelet's list shows to be over and returns how many. */
  async #settle(listing: Listing): Promise<number> {
    this.#listing = listing
    const holdings = this.#advertised.map(({ fullName, devices }) => ({ fullName, devices, held: holdingsOf(listing, fullName) }))
    const inDoubt = holdings.some(({ devices, held }) => devices.wouldAskCheckpoint(held))
    const checkpointed = inDoubt ? await readAllocatedIds(this.#directory) : undefined
    let ended = 0
    for (const { fullName, devices, held } of holdings) {
      const before = devices.allocationsEnded
      devices.settle(held, checkpointed === undefined ? undefined : (checkpointed.get(fullName) ?? NO_IDS))
      ended += devices.allocationsEnded - before
    }
    return ended
  }

  /** Whether releases are known from the kubelet's pod-resources rather than guessed, and when it was last asked. */
  podResources(): PodResourcesState {
    return this.#releases?.state() ?? { available: false }
  }

  /** Units by full resource name that each pod held when the kubelet was last asked, by `namespace/name`; undefined before. */
  held(): ReadonlyMap<string, Readonly<Record<string, number>>> | undefined {
    if (this.#listing === undefined) return undefined
    const ours = new Set(this.#advertised.map(({ fullName }) => fullName))
    const held = new Map<string, Record<string, number>>()
    for (const { namespace, pod, idsByResource } of this.#listing.containers) {
      for (const [resource, ids] of idsByResource) {
        if (!ours.has(resource)) continue
        const key = podKey({ namespace, name: pod })
        const units = held.get(key) ?? {}
        units[resource] = (units[resource] ?? 0) + ids.size
        held.set(key, units)
      }
    }
    return held
  }

  /** Units that were allocated and are known or taken to be free again, since the start. */
  allocationsEnded(): Record<OfflineResource, number> {
    return this.#units((devices) => devices.allocationsEnded)
  }

  /** Of each resource; `registrations` and `pushes` count from the start. */
  states(): readonly RegistrarState[] {
    return this.#advertised.map(({ registrar }) => registrar.state())
  }

  /** How registering and sending lists goes, for each resource. */
  get pushRuns(): readonly RunState[] {
    return this.#advertised.map(({ registrar }) => registrar.run)
  }

  /** How asking for what pods hold goes; empty where that is not asked. */
  get listingRuns(): readonly RunState[] {
    return this.#releases === undefined ? [] : [this.#releases.run]
  }

  /** Withdraws: ends the streams, closes the servers, removes their sockets, and leaves no timer. Running pods stay as they are. */
  async stop(): Promise<void> {
    this.#phase = 'stopped'
    this.#watch.stop()
    this.#releases?.stop()
    this.#client?.close()
    await Promise.all([this.#tidying, ...this.#advertised.map(({ registrar }) => registrar.stop())])
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
      timings: { ...REGISTRAR_TIMINGS, ...this.#options.timings },
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

function holdingsOf({ idsByResource, kubelet, askedAtMs }: Listing, fullName: string): Holdings {
  return { ids: idsByResource.get(fullName) ?? NO_IDS, kubelet, askedAtMs }
}
