/**
 * Pod admission as far as device plugins see it: containers in order, one Allocate for each resource in their limits, one pod at a
 * time, no deadline. A pod that is turned away is Failed for good. A new kubelet process admits every active pod again, and lets
 * off only containers that the runtime says are running. Source: kubernetes pkg/kubelet/cm/devicemanager/manager.go (Allocate,
 * allocateContainerResources, GetDeviceRunContainerOptions), 1.36.
 */
import type { v1beta1 } from '../../kubelet/gen/deviceplugin.js'
import { messageOf } from '../../model/index.ts'
import type { ResourceStatus } from './device-books.ts'
import type { DeviceManager, Reservation } from './device-manager.ts'
import type { Endpoint } from './endpoint.ts'
import {
  inAdmissionOrder,
  kindOf,
  type AdmissionResult,
  type AdmittedContainer,
  type StandInContainer,
  type StandInPod,
} from './pod.ts'
import type { PodRecord, Pods } from './pods.ts'
import { misfit } from './predicate.ts'
import { shuffled } from './shuffle.ts'

export interface AdmissionOptions {
  readonly manager: DeviceManager
  readonly pods: Pods
  /** The plugin of a resource, while it runs. */
  readonly endpointOf: (resource: string) => Endpoint | undefined
  /** The node status as last told. */
  readonly nodeStatus: () => Readonly<Record<string, ResourceStatus>>
  /** Writes the checkpoint; what it throws turns the pod away. */
  readonly save: () => void
  readonly random: () => number
  readonly preStartTimeoutMs: number
}

/** Devices of init containers that later containers of the same pod may use, by resource. */
type Reusable = Map<string, Set<string>>

export class Admission {
  readonly #options: AdmissionOptions
  /** Undefined while no process runs. What an earlier process began, a later one does not finish. */
  #process: { queue: Promise<void>; sourcesReady: boolean } | undefined

  constructor(options: AdmissionOptions) {
    this.#options = options
  }

  processStarted(): void {
    this.#process = { queue: Promise.resolve(), sourcesReady: false }
  }

  processEnded(): void {
    this.#process = undefined
  }

  /** Admits the active pods again, after which the process knows every pod there is. */
  async readmit(): Promise<void> {
    const process = this.#process
    if (process === undefined) return
    const { pods } = this.#options
    for (const record of pods.records) {
      if (pods.isActive(record.pod.uid)) this.#enqueue(record)
      else record.known = true
    }
    process.queue = process.queue.then(() => void (process.sourcesReady = true))
    await process.queue
  }

  admit(pod: StandInPod): Promise<AdmissionResult> {
    const known = this.#options.pods.get(pod.uid)
    if (known !== undefined) return known.decided
    const record = this.#options.pods.add(pod)
    this.#enqueue(record)
    return record.decided
  }

  /** Frees what pods that are gone hold, if this process knows by now which pods there are. */
  freeStale(): void {
    if (this.#process?.sourcesReady === true) this.#options.manager.freeStale((uid) => this.#options.pods.isActive(uid))
  }

  /** What precedes every start of a container: the plugin's PreStartContainer if it asked for it, and devices if there are none yet. */
  async startContainer({ pod }: PodRecord, container: StandInContainer): Promise<AdmittedContainer> {
    const { manager, pods } = this.#options
    let lacksDevices = false
    for (const [resource, units] of Object.entries(container.limits)) {
      if (units === 0 || !manager.knows(resource)) continue
      await this.#preStart(pod.uid, container.name, resource)
      lacksDevices ||= manager.held.find({ uid: pod.uid, container: container.name, resource }) === undefined
    }
    if (lacksDevices) await this.#allocate(pod, container, new Map())
    pods.setRunning(pod.uid, container.name, true)
    return this.#granted(pod.uid, container)
  }

  #enqueue(record: PodRecord): void {
    const process = this.#process
    if (process === undefined) return
    const isCurrent = (): boolean => this.#process === process
    process.queue = process.queue.then(async () => {
      if (!isCurrent()) return
      record.known = true
      if (record.phase !== 'Pending') return
      const verdict = await this.#judge(record, isCurrent)
      if (!isCurrent()) return
      record.verdict = verdict
      if (verdict.admitted) {
        record.phase = 'Running'
        this.#options.pods.run(record)
      } else {
        this.#options.pods.finish(record.pod.uid, 'Failed')
      }
      record.decide(verdict)
    })
  }

  async #judge({ pod }: PodRecord, isCurrent: () => boolean): Promise<AdmissionResult> {
    const reusable: Reusable = new Map()
    try {
      for (const container of inAdmissionOrder(pod)) {
        await this.#allocate(pod, container, reusable)
        if (!isCurrent()) break
        this.#reuse(pod, container, reusable)
      }
    } catch (error) {
      const message = `Allocate failed due to ${messageOf(error)}, which is unexpected`
      return { admitted: false, reason: 'UnexpectedAdmissionError', message }
    }
    const { manager, pods, nodeStatus } = this.#options
    const others = pods.active().flatMap((other) => (other.phase === 'Running' && other.pod !== pod ? [other.pod] : []))
    const problem = misfit(pod, { manager, status: nodeStatus(), others })
    return problem ?? { admitted: true, containers: pod.containers.map((container) => this.#granted(pod.uid, container)) }
  }

  async #allocate({ uid }: StandInPod, { name, limits }: StandInContainer, reusable: Reusable): Promise<void> {
    const { manager, pods, endpointOf, save, random } = this.#options
    const running = this.#process?.sourcesReady === false && pods.ranAtStart(uid, name)
    let mayBeStale = true
    let changed = false
    for (const [resource, units] of shuffled(Object.entries(limits), random)) {
      if (!manager.knows(resource)) continue
      if (mayBeStale) this.freeStale()
      mayBeStale = false
      const prefer = async (request: Parameters<Endpoint['prefer']>[0]): Promise<readonly string[]> => {
        if (manager.books.endpoint(resource)?.options?.preferredAllocation !== true) return []
        return (await endpointOf(resource)?.prefer(request)) ?? []
      }
      const reservation = await manager.reserve({ uid, container: name, resource }, units, { reusable, running, prefer })
      if (reservation === undefined) continue
      manager.commit(reservation, await this.#call(reservation))
      changed = true
    }
    if (changed) save()
  }

  async #call(reservation: Reservation): Promise<v1beta1.ContainerAllocateResponse.$Properties> {
    const { manager, endpointOf } = this.#options
    const { resource, ids } = reservation
    let answer: v1beta1.AllocateResponse
    try {
      const endpoint = endpointOf(resource)
      if (endpoint === undefined) throw new Error(`the device plugin of ${resource} is not there`)
      answer = await endpoint.allocate(ids)
    } catch (error) {
      manager.abandon(reservation)
      throw error
    }
    const [response, ...more] = answer.containerResponses
    if (response === undefined || more.length > 0)
      manager.violations.push(`${resource}: Allocate answered ${answer.containerResponses.length} containers instead of 1`)
    if (response !== undefined) return response
    manager.leak(reservation)
    throw new Error(`no answer for the container from ${resource}`)
  }

  /** What an init container holds is free for the containers after it; what others hold no longer is. */
  #reuse({ uid }: StandInPod, container: StandInContainer, reusable: Reusable): void {
    for (const { resource, numaNodesById } of this.#options.manager.held.ofContainer(uid, container.name)) {
      const ids = reusable.get(resource) ?? new Set()
      for (const id of numaNodesById.keys()) {
        if (kindOf(container) === 'init') ids.add(id)
        else ids.delete(id)
      }
      reusable.set(resource, ids)
    }
  }

  async #preStart(uid: string, container: string, resource: string): Promise<void> {
    const { manager, endpointOf, preStartTimeoutMs } = this.#options
    const state = manager.books.endpoint(resource)
    if (state === undefined) throw new Error(`${resource} was registered, and its device plugin is unknown`)
    if (state.options?.preStart !== true) return
    const holding = manager.held.find({ uid, container, resource })
    if (holding === undefined) throw new Error(`container ${container} of pod ${uid} has no devices of ${resource} yet`)
    const endpoint = endpointOf(resource)
    if (endpoint === undefined) throw new Error(`the device plugin of ${resource} has stopped`)
    await endpoint.preStart(shuffled(holding.numaNodesById.keys(), this.#options.random), preStartTimeoutMs)
  }

  #granted(uid: string, { name }: StandInContainer): AdmittedContainer {
    const devices: Record<string, readonly string[]> = {}
    const envs: Record<string, string> = {}
    const annotations: Record<string, string> = {}
    for (const { resource, numaNodesById, response } of this.#options.manager.held.ofContainer(uid, name)) {
      devices[resource] = [...numaNodesById.keys()]
      // In a conflict between resources the first wins.
      Object.assign(envs, { ...response.envs, ...envs })
      Object.assign(annotations, { ...response.annotations, ...annotations })
    }
    return { name, devices, envs, annotations }
  }
}
