/**
 * Pod admission as far as device plugins see it: containers in order, one Allocate for each resource in their limits, one pod at a
 * time, no deadline. A pod that is turned away is Failed for good. Source: kubernetes pkg/kubelet/cm/devicemanager/manager.go
 * (Allocate, devicesToAllocate), 1.36.
 */
import { messageOf } from '../../model/index.ts'
import type { DeviceManager } from './device-manager.ts'
import type { Endpoint } from './endpoint.ts'

interface StandInContainer {
  readonly name: string
  /** Units by full resource name. Resources that no plugin ever registered are not the kubelet's to count. */
  readonly limits: Readonly<Record<string, number>>
}

export interface StandInPod {
  readonly uid: string
  readonly namespace: string
  readonly name: string
  readonly containers: readonly StandInContainer[]
}

interface AdmittedContainer {
  readonly name: string
  /** Device IDs by resource. */
  readonly devices: Readonly<Record<string, readonly string[]>>
  readonly envs: Readonly<Record<string, string>>
  readonly annotations: Readonly<Record<string, string>>
}

export type AdmissionResult =
  | { readonly admitted: true; readonly containers: readonly AdmittedContainer[] }
  | { readonly admitted: false; readonly reason: 'UnexpectedAdmissionError'; readonly message: string }

export class Admission {
  readonly #manager: DeviceManager
  readonly #endpointOf: (resource: string) => Endpoint | undefined
  readonly #onChange: () => void
  readonly #verdicts = new Map<string, AdmissionResult>()
  #queue: Promise<unknown> = Promise.resolve()

  constructor(manager: DeviceManager, endpointOf: (resource: string) => Endpoint | undefined, onChange: () => void) {
    this.#manager = manager
    this.#endpointOf = endpointOf
    this.#onChange = onChange
  }

  admit(pod: StandInPod): Promise<AdmissionResult> {
    const verdict = this.#queue.then(() => this.#verdicts.get(pod.uid) ?? this.#decide(pod))
    this.#queue = verdict
    return verdict
  }

  remove(uid: string): void {
    this.#verdicts.delete(uid)
    this.#manager.release(uid)
    this.#onChange()
  }

  async #decide(pod: StandInPod): Promise<AdmissionResult> {
    let verdict: AdmissionResult
    try {
      const containers: AdmittedContainer[] = []
      for (const container of pod.containers) containers.push(await this.#allocate(pod, container))
      verdict = { admitted: true, containers }
    } catch (error) {
      this.#manager.release(pod.uid)
      const message = `Allocate failed due to ${messageOf(error)}, which is unexpected`
      verdict = { admitted: false, reason: 'UnexpectedAdmissionError', message }
    }
    this.#verdicts.set(pod.uid, verdict)
    this.#onChange()
    return verdict
  }

  async #allocate({ uid }: StandInPod, { name, limits }: StandInContainer): Promise<AdmittedContainer> {
    const devices: Record<string, readonly string[]> = {}
    const envs: Record<string, string> = {}
    const annotations: Record<string, string> = {}
    for (const [resource, units] of Object.entries(limits)) {
      if (units <= 0 || !this.#manager.knows(resource)) continue
      const taken = this.#manager.take({ uid, container: name, resource }, units)
      if (taken.is === 'short') {
        const numbers = `Requested: ${units}, Available: ${taken.available}`
        throw new Error(`requested number of devices unavailable for ${resource}. ${numbers}`)
      }
      const response = await this.#call(resource, taken.holding.ids)
      devices[resource] = taken.holding.ids
      // In a conflict between resources the first wins.
      Object.assign(envs, { ...response.envs, ...envs })
      Object.assign(annotations, { ...response.annotations, ...annotations })
    }
    return { name, devices, envs, annotations }
  }

  async #call(
    resource: string,
    ids: readonly string[],
  ): Promise<{ envs?: Record<string, string>; annotations?: Record<string, string> }> {
    const endpoint = this.#endpointOf(resource)
    if (endpoint === undefined) throw new Error(`the endpoint of ${resource} has stopped`)
    const { containerResponses } = await endpoint.allocate(ids)
    const [response] = containerResponses
    if (response === undefined || containerResponses.length > 1) {
      this.#manager.violations.push(`${resource}: Allocate answered ${containerResponses.length} containers instead of 1`)
      throw new Error(`no answer for the container from ${resource}`)
    }
    return { envs: response.envs ?? {}, annotations: response.annotations ?? {} }
  }
}
