/**
 * A stand-in for the kubelet, for `kube-agent demo` and the contract tests: the device-plugin and pod-resources APIs over real gRPC
 * and real unix sockets, as strict as a kubelet and talkative where a kubelet would crash (`violations`). Sockets live in real time;
 * the node status lives in the virtual time that its owner hands to `tick`. One object is one node: kubelet processes come and go
 * on it. Source: kubernetes pkg/kubelet/cm/devicemanager (manager.go, plugin/v1beta1/server.go) and
 * pkg/kubelet/nodestatus/setters.go, 1.36.
 */
import { mkdirSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Server } from '@grpc/grpc-js'
import { Admission } from './admission.ts'
import { readCheckpoint, writeCheckpoint } from './checkpoint.ts'
import type { ResourceStatus } from './device-books.ts'
import { DeviceManager } from './device-manager.ts'
import { listen, shutDown } from './grpc-server.ts'
import { settle, type KubeletStandInOptions, type Settings } from './options.ts'
import { PluginRegistry } from './plugin-registry.ts'
import type { AdmissionResult, AdmittedContainer, StandInPod } from './pod.ts'
import { PodResourcesServer, type PlacedDevice, type PodResourcesSource } from './pod-resources.ts'
import { podStatus, type PodStatus } from './pod-status.ts'
import { Pods } from './pods.ts'
import { leavingSocket, wipe } from './socket-directory.ts'

export interface StartOptions {
  /** How long kubelet.sock is missing after the wipe. @default 0 */
  readonly gapMs?: number
  /** Runs within the gap: everything is wiped, and kubelet.sock is not there yet. */
  readonly duringGap?: () => Promise<void> | void
  /** Runs when plugins can register, before the kubelet is told of its pods. By default plugins come too late for them. */
  readonly beforeReadmission?: () => Promise<void> | void
  /** Whether the container runtime tells which containers run. @default true */
  readonly runtimeAnswers?: boolean
  /** Pods that the API server has and this object does not, with their main containers and sidecars running. @default none */
  readonly pods?: readonly StandInPod[]
}

export class KubeletStandIn {
  readonly #settings: Settings
  readonly #manager: DeviceManager
  readonly #pods = new Pods()
  readonly #registry: PluginRegistry
  readonly #admission: Admission
  readonly #podResources: PodResourcesServer | undefined
  #server: Server | undefined
  #nowMs = 0
  #nextStatusMs = Number.NEGATIVE_INFINITY
  #status: Readonly<Record<string, ResourceStatus>> = {}

  constructor(options: KubeletStandInOptions) {
    this.#settings = settle(options)
    const { random, preStartTimeoutMs, podResourcesShowsTerminated, podResourcesGet, now } = this.#settings
    this.#manager = new DeviceManager(random)
    this.#registry = new PluginRegistry(this.#settings, {
      onConnected: (resource, pluginOptions) => this.#manager.books.endpointStarted(resource, pluginOptions),
      onDisconnected: (resource) => this.#manager.books.endpointStopped(resource, this.#nowMs),
      onList: (resource, devices) => {
        this.#manager.listed(resource, devices, (uid) => this.#pods.isActive(uid))
        this.#save()
      },
    })
    this.#admission = new Admission({
      manager: this.#manager,
      pods: this.#pods,
      endpointOf: (resource) => this.#registry.endpointOf(resource),
      nodeStatus: () => this.#status,
      save: () => this.#save(),
      random,
      preStartTimeoutMs,
    })
    const { podResourcesDirectory: directory } = options
    if (directory === undefined) return
    const shown = { showsTerminated: podResourcesShowsTerminated, get: podResourcesGet, now }
    this.#podResources = new PodResourcesServer({ directory, source: this.#podResourcesSource(), ...shown })
  }

  /** What a plugin did that would crash or confuse a kubelet, in words. */
  get violations(): readonly string[] {
    return this.#manager.violations
  }

  /** Registrations accepted so far. */
  get registrations(): number {
    return this.#registry.registrations
  }

  /**
   * A new kubelet process: reads its checkpoint, wipes the directory, listens, and admits again the pods that are there. Rejects if
   * the directory or a socket can't be made.
   */
  async start(options: StartOptions = {}): Promise<void> {
    const { gapMs = 0, duringGap, beforeReadmission, runtimeAnswers = true, pods = [] } = options
    const { directory } = this.#settings
    mkdirSync(directory, { recursive: true, mode: 0o750 })
    for (const pod of pods) this.#pods.run(this.#pods.add(pod))
    const checkpoint = readCheckpoint(directory)
    this.#manager.load(checkpoint, this.#nowMs)
    const uids = checkpoint.holdings.map(({ uid }) => uid)
    this.#pods.processStarted(uids, runtimeAnswers)
    wipe(directory, this.#settings.wipe)
    await duringGap?.()
    await sleep(gapMs)
    const server = this.#registry.serve()
    await listen(server, directory)
    this.#server = server
    this.#admission.processStarted()
    await this.#podResources?.start()
    await beforeReadmission?.()
    await this.#admission.readmit()
  }

  /** The process is killed: every connection is cut, and its sockets stay with nobody behind them. */
  async crash(): Promise<void> {
    await leavingSocket(this.#settings.directory, () => this.#end())
    await this.#podResources?.close({ leaveSocket: true })
  }

  /** The process ends and removes its sockets. */
  async stop(): Promise<void> {
    await this.#end()
    await this.#podResources?.close({ leaveSocket: false })
  }

  /** A crash, `downMs` with dead sockets, and a start. Containers go on running. */
  async restart({ downMs = 0, ...options }: StartOptions & { readonly downMs?: number } = {}): Promise<void> {
    await this.crash()
    await sleep(downMs)
    await this.start(options)
  }

  /** The node loses power: no container runs, and the pods are admitted anew. The owner of a plugin ends and starts it. */
  async reboot(options: StartOptions = {}): Promise<void> {
    await this.crash()
    this.#pods.rebooted()
    await this.start(options)
  }

  /** Moves virtual time to `nowMs` (never back), and recomputes the node status if its period has passed. */
  tick(nowMs: number): void {
    this.#nowMs = nowMs
    if (nowMs < this.#nextStatusMs || this.#server === undefined) return
    const { status, forgotten } = this.#manager.books.status(nowMs)
    // A resource never leaves the node status.
    const lost = Object.keys(this.#status).map((resource) => [resource, { capacity: 0, allocatable: 0 }] as const)
    this.#status = { ...Object.fromEntries(lost), ...status }
    if (forgotten.length > 0) this.#save()
    this.#nextStatusMs = nowMs + this.#settings.statusPeriodMs * (1 + 0.04 * this.#settings.random())
  }

  /** Capacity and allocatable of each resource ever listed, as of the last status. */
  nodeStatus(): Readonly<Record<string, ResourceStatus>> {
    return this.#status
  }

  /** Health by device ID of the last list; empty before one. */
  devices(resource: string): ReadonlyMap<string, boolean> {
    return this.#manager.books.healthById(resource)
  }

  /** Devices that were set aside for a container whose plugin answered with nothing: neither free nor held. */
  leakedDevices(resource: string): readonly string[] {
    return this.#manager.leaked(resource)
  }

  /**
   * Admits or rejects a pod, one at a time; its main containers and sidecars run from then on. A rejection is for good: the same uid
   * gets it again. While no process runs, or if it ends meanwhile, the next one decides.
   */
  admit(pod: StandInPod): Promise<AdmissionResult> {
    return this.#admission.admit(pod)
  }

  /** What comes before each start of a container of an admitted pod, restarts included. Rejects as the start would fail. */
  async startContainer(uid: string, container: string): Promise<AdmittedContainer> {
    const record = this.#pods.get(uid)
    const found = record?.pod.containers.find(({ name }) => name === container)
    if (record?.phase !== 'Running' || found === undefined) throw new Error(`no container ${container} of an admitted pod ${uid}`)
    return this.#admission.startContainer(record, found)
  }

  /** The runtime no longer reports the container as running. */
  exitContainer(uid: string, container: string): void {
    this.#pods.setRunning(uid, container, false)
  }

  /** The pod has come to its end and stays to be looked at. Its devices are freed by the next admission or List. */
  finish(uid: string): void {
    this.#pods.finish(uid, 'Succeeded')
  }

  /** The pod is gone; its devices are freed by the next admission or List. The plugin is not told. */
  remove(uid: string): void {
    this.#pods.remove(uid)
  }

  /** What the API server is told about the pod, as far as devices matter; undefined for a pod that is not there. */
  podStatus(uid: string): PodStatus | undefined {
    const record = this.#pods.get(uid)
    const { statusNamesDevices: namesDevices, random } = this.#settings
    return record === undefined ? undefined : podStatus(record, { manager: this.#manager, namesDevices, random })
  }

  /** Length of that status as JSON; 0 for a pod that is not there. */
  statusBytes(uid: string): number {
    const shown = this.podStatus(uid)
    return shown === undefined ? 0 : Buffer.byteLength(JSON.stringify(shown))
  }

  #podResourcesSource(): PodResourcesSource {
    const { books, held } = this.#manager
    const place = (resource: string, id: string, numaNodes: readonly number[]): PlacedDevice => ({ resource, id, numaNodes })
    return {
      freeStale: () => this.#admission.freeStale(),
      pods: () => this.#pods.records.flatMap(({ pod, known }) => (known ? [{ pod, active: this.#pods.isActive(pod.uid) }] : [])),
      devicesOf: (uid, container) =>
        held
          .ofContainer(uid, container)
          .flatMap(({ resource, numaNodesById }) => [...numaNodesById].map(([id, nodes]) => place(resource, id, nodes))),
      healthyDevices: () =>
        books
          .resources()
          .flatMap((resource) => [...books.healthy(resource)].map((id) => place(resource, id, books.numaNodes(resource, id)))),
    }
  }

  #save(): void {
    if (this.#server !== undefined) writeCheckpoint(this.#settings.directory, this.#manager)
  }

  async #end(): Promise<void> {
    const server = this.#server
    this.#server = undefined
    this.#admission.processEnded()
    this.#registry.close()
    if (server !== undefined) await shutDown(server)
  }
}
