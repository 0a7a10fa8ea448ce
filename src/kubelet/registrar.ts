/**
 * Keeps one resource registered with the kubelet, one incarnation of its server after the other. A loop rather than a set of
 * callbacks, so that there is never more than one incarnation, and every way of losing one takes the same path:
 *
 *     wait for kubelet.sock ─▶ listen ─▶ Register ─▶ hold ─▶ close, wait for the streams to end ─▶ back off ─▶ again
 *
 * Held until: kubelet.sock was made anew, our own socket is gone while kubelet.sock is there, the ListAndWatch stream ended (a kubelet
 * opens one per registration), or none was opened for a while.
 * Source: kubernetes pkg/kubelet/cm/devicemanager/plugin/v1beta1 (server.go, client.go, handler.go), 1.36.
 */
import { basename, join } from 'node:path'
import { messageOf, type OfflineResource, Run } from '../model/index.ts'
import { PluginServer, type PluginServerOptions } from './plugin-server.ts'
import { fileIdentity } from './socket-watch.ts'
import { API_VERSION, callUnary, dial, KUBELET_SOCKET, REGISTRATION, MESSAGE_LIMITS } from './wire.ts'

/** The kubelet may take 10 s to dial back before it answers. */
const REGISTER_DEADLINE_MS = 15_000
/** An incarnation that lasted this long with a stream was a good one: the next comes without back-off. */
const STABLE_MS = 10_000
const BACKOFF_MAX_MS = 10_000

/** How patient a registrar is; tests that restart kubelets by the thousand are less so. */
export interface RegistrarTimings {
  /** The kubelet opens the stream right after its answer; one that has not by now never will. */
  readonly streamGraceMs: number
  /** Kubelets up to 1.36 drop the new client if they notice the end of the old stream after its Register. */
  readonly settleMs: number
  /** After the first failure; doubled by each further one in a row. */
  readonly backOffFirstMs: number
}

export const REGISTRAR_TIMINGS: RegistrarTimings = { streamGraceMs: 5_000, settleMs: 100, backOffFirstMs: 200 }

export interface RegistrarState {
  readonly resource: OfflineResource
  /** Register was accepted and the incarnation it was accepted for still stands. */
  readonly registered: boolean
  /** Open ListAndWatch streams. */
  readonly streams: number
  /** File name of the socket of the current incarnation. */
  readonly socket: string | undefined
  /** Calls of Register since the start, this incarnation's included. */
  readonly attempts: number
  /** Calls of Register that the kubelet accepted. */
  readonly registrations: number
  /** Lists sent since the start. */
  readonly pushes: number
  /** Why the last incarnation was given up or could not start; undefined while registered. */
  readonly lastError: string | undefined
}

export interface RegistrarOptions extends Omit<PluginServerOptions, 'socketPath' | 'onStreams' | 'onPush'> {
  readonly directory: string
  /** The extended resource's name with its domain. */
  readonly fullName: string
  /** A file name that no socket has had before. */
  readonly nextSocketName: () => string
  /** In [0, 1). */
  readonly random: () => number
  readonly timings: RegistrarTimings
  readonly onState: (state: RegistrarState, previous: RegistrarState) => void
}

export class Registrar {
  /** Resolves when the first attempt has come to something, be it a failure, or is given up. */
  readonly attempted: Promise<void>
  /** How registering, and sending lists, goes. */
  readonly run: Run
  readonly #options: RegistrarOptions
  readonly #kubeletSocket: string
  readonly #abort = new AbortController()
  #state: RegistrarState
  #wake: () => void = () => {}
  #tellAttempted: () => void = () => {}
  #done: Promise<void> = Promise.resolve()
  /** Incarnations in a row that did not come about or did not last. */
  #failures = 0
  #hadStream = false

  constructor(options: RegistrarOptions) {
    this.#options = options
    this.#kubeletSocket = join(options.directory, KUBELET_SOCKET)
    this.attempted = new Promise((resolve) => (this.#tellAttempted = resolve))
    const { resource } = options.devices
    this.run = new Run(`device_plugin_${resource.replaceAll('-', '_')}`)
    const counts = { attempts: 0, registrations: 0, pushes: 0 }
    this.#state = { resource, registered: false, streams: 0, socket: undefined, lastError: undefined, ...counts }
  }

  start(): void {
    this.#done = this.#run()
  }

  state(): RegistrarState {
    return this.#state
  }

  /** Says that something in the directory may have changed. */
  look(): void {
    this.#wake()
  }

  /** Gives up the registration: resolves when the server is closed and its socket gone. */
  async stop(): Promise<void> {
    this.#abort.abort()
    this.#tellAttempted()
    this.#wake()
    await this.#done
  }

  async #run(): Promise<void> {
    while (!this.#abort.signal.aborted) {
      const kubelet = fileIdentity(this.#kubeletSocket)
      if (kubelet === undefined) {
        const lastError = `${KUBELET_SOCKET} is not there`
        this.#set({ lastError })
        this.run.failed(lastError, this.#options.now())
        await this.#until(() => fileIdentity(this.#kubeletSocket) !== undefined)
        continue
      }
      const reason = await this.#incarnation(kubelet).catch(messageOf)
      const lastError = this.#abort.signal.aborted ? undefined : reason
      this.#set({ registered: false, streams: 0, socket: undefined, lastError })
      if (lastError !== undefined) this.run.failed(lastError, this.#options.now())
      const retryAtMs = this.#options.now() + this.#backOffMs()
      await this.#until(() => fileIdentity(this.#kubeletSocket) !== kubelet, retryAtMs)
    }
  }

  /** From listening to the end of one incarnation; resolves with the reason for its end, rejects if it did not come about. */
  async #incarnation(kubelet: string): Promise<string> {
    const { directory, nextSocketName } = this.#options
    this.#failures += 1
    this.#hadStream = false
    const socket = nextSocketName()
    const server = await PluginServer.listen({
      ...this.#options,
      socketPath: join(directory, socket),
      onStreams: () => this.#onStreams(server),
      onPush: () => {
        this.#set({ pushes: this.#state.pushes + 1 })
        // Of a list that was sent before the kubelet has answered Register, nothing is known yet.
        if (this.#state.registered) this.run.ok(this.#options.now())
      },
    })
    try {
      this.#set({ socket, attempts: this.#state.attempts + 1 })
      const begunMs = this.#options.now()
      await this.#register(server, kubelet)
      this.run.ok(this.#options.now(), this.#options.now() - begunMs)
      const { streams } = server
      this.#hadStream ||= streams > 0
      this.#set({ registered: true, lastError: undefined, streams, registrations: this.#state.registrations + 1 })
      const registeredAtMs = this.#options.now()
      const reason = await this.#hold(server, kubelet)
      if (this.#hadStream && this.#options.now() - registeredAtMs >= STABLE_MS) this.#failures = 0
      return reason
    } finally {
      await server.close()
      await this.#until(() => false, this.#options.now() + this.#options.timings.settleMs)
    }
  }

  /** Rejects at once, and not after the kubelet's 10 s of dialling, when one of the two sockets goes meanwhile. */
  async #register(server: PluginServer, kubelet: string): Promise<void> {
    const client = dial(this.#kubeletSocket, MESSAGE_LIMITS)
    const call = new AbortController()
    const { fullName: resourceName } = this.#options
    try {
      const endpoint = basename(server.socketPath)
      const request = { version: API_VERSION, endpoint, resourceName }
      const limits = { deadline: Date.now() + REGISTER_DEADLINE_MS, signal: call.signal }
      const accepted = callUnary(client, REGISTRATION.Register, request, limits).finally(() => call.abort())
      await Promise.race([accepted, this.#until(() => call.signal.aborted || this.#lost(server, kubelet) !== undefined)])
      if (!call.signal.aborted) throw new Error(this.#lost(server, kubelet) ?? 'stopped')
      await accepted
    } finally {
      call.abort()
      client.close()
      this.#wake()
    }
  }

  /** Which socket has been lost; undefined while both are there. */
  #lost(server: PluginServer, kubelet: string): string | undefined {
    const current = fileIdentity(this.#kubeletSocket)
    // Without a kubelet.sock there is nobody to register with, and a stream that is still open is worth keeping.
    if (current === undefined) return undefined
    if (current !== kubelet) return `${KUBELET_SOCKET} was made anew`
    return fileIdentity(server.socketPath) === undefined ? 'our socket was removed' : undefined
  }

  async #hold(server: PluginServer, kubelet: string): Promise<string> {
    const { now, timings } = this.#options
    const streamDueMs = now() + timings.streamGraceMs
    for (;;) {
      if (this.#abort.signal.aborted) return 'stopped'
      const lost = this.#lost(server, kubelet)
      if (lost !== undefined) return lost
      if (server.streams === 0 && this.#hadStream) return 'the ListAndWatch stream ended'
      const leftMs = streamDueMs - now()
      if (server.streams === 0 && leftMs <= 0) return `no ListAndWatch stream within ${timings.streamGraceMs / 1000} s`
      await this.#pause(server.streams === 0 ? leftMs : undefined)
    }
  }

  #onStreams(server: PluginServer): void {
    if (server.streams > 0) this.#hadStream = true
    if (this.#state.registered) this.#set({ streams: server.streams })
    this.#wake()
  }

  /** Exponential from 200 ms to 10 s, then a random half to whole of it: four resources must not knock in step. */
  #backOffMs(): number {
    if (this.#failures === 0) return 0
    const fullMs = Math.min(this.#options.timings.backOffFirstMs * 2 ** Math.min(this.#failures - 1, 16), BACKOFF_MAX_MS)
    return fullMs * (0.5 + this.#options.random() / 2)
  }

  /** Waits for the condition, the time or the end, whichever is first. The condition is tried again at every look. */
  async #until(ready: () => boolean, atMs = Number.POSITIVE_INFINITY): Promise<void> {
    const { now } = this.#options
    while (!this.#abort.signal.aborted && !ready() && now() < atMs) {
      await this.#pause(atMs === Number.POSITIVE_INFINITY ? undefined : atMs - now())
    }
  }

  #pause(ms: number | undefined): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        clearTimeout(timer)
        resolve()
      }
      const timer = ms === undefined ? undefined : setTimeout(wake, Math.ceil(ms))
      this.#wake = wake
    })
  }

  #set(change: Partial<RegistrarState>): void {
    const previous = this.#state
    this.#state = { ...previous, ...change }
    const changed = (Object.keys(change) as (keyof RegistrarState)[]).some((key) => change[key] !== previous[key])
    if (changed) this.#options.onState(this.#state, previous)
    if (this.#state.registered || this.#state.lastError !== undefined) this.#tellAttempted()
  }
}
