/**
 * The pods of this node from the API server: one list, then a watch from there. The first list takes what the server's cache holds, to
 * spare etcd when a whole cluster starts; a later one, which must not step back in time, takes the newest. Whatever fails, the last
 * list stays, and the server is asked again with more and more patience.
 * Source: Kubernetes API concepts (resource versions, 410 Gone, bookmarks); client-go tools/cache/reflector.go.
 */
import { messageOf, type PodList, type PodSource } from '../model/index.ts'
import { statusFailure } from './api-answers.ts'
import { ApiContentError, ApiError, type ApiWatcher } from './api.ts'
import { Backoff, BACKOFF_MS, pause } from './backoff.ts'
import type { KubeLogger } from './credentials.ts'
import { asObject, type Json } from './json.ts'
import { PodFeed } from './pod-feed.ts'
import type { KnownPod } from './pod-list.ts'

const PATH = '/api/v1/pods'
const PAGE = 500
const MAX_PAGES = 1000
/** A watch that ends in order after less than this is not begun anew at once. */
const SHORT_WATCH_MS = 5000
/** Failures that say nothing about the version that was asked for. */
const KEEPS_VERSION: ReadonlySet<number> = new Set([401, 403, 408, 429, 500, 502, 503])

export interface ApiPodsOptions {
  readonly api: ApiWatcher
  /** The server's URL, for messages. */
  readonly server: string
  readonly nodeName: string
  readonly maxPods: number
  /** Monotonic milliseconds. */
  readonly now: () => number
  /** @default Date.now */
  readonly wallNow?: () => number
  /** From 0 to 1, 1 excluded. @default Math.random */
  readonly random?: () => number
  readonly logger?: KubeLogger
  /** @default 1 s to 60 s */
  readonly backoffMs?: { readonly firstMs: number; readonly maxMs: number }
}

export class ApiPods implements PodSource {
  readonly #options: ApiPodsOptions
  readonly #feed: PodFeed
  readonly #backoff: Backoff
  readonly #closing = new AbortController()
  /** Where the next watch begins; undefined when a list must come first. */
  #version: string | undefined
  #fromCache = true
  #pageSize = PAGE

  constructor(options: ApiPodsOptions) {
    const { server, api, random = Math.random, backoffMs = BACKOFF_MS } = options
    this.#options = options
    this.#backoff = new Backoff({ ...backoffMs, random })
    this.#feed = new PodFeed({
      ...options,
      source: server,
      originOf: (namespace, name) => `${server}/api/v1/namespaces/${namespace}/pods/${name}`,
      versioned: true,
      otherProblems: () => api.problems,
    })
    void this.#run()
  }

  list(): PodList {
    return this.#feed.list()
  }

  onChange(listener: () => void): void {
    this.#feed.onChange(listener)
  }

  close(): void {
    this.#closing.abort()
    this.#feed.close()
  }

  async #run(): Promise<void> {
    const { signal } = this.#closing
    while (!signal.aborted) {
      try {
        this.#version ??= await this.#readAll()
        if (signal.aborted) return
        const { now } = this.#options
        const beganMs = now()
        await this.#watch(this.#version)
        if (now() - beganMs >= SHORT_WATCH_MS) this.#backoff.reset()
        else await pause(this.#backoff.nextMs(), signal)
      } catch (thrown) {
        if (signal.aborted) return
        await pause(this.#backoff.nextMs(this.#failed(thrown)), signal)
      }
    }
  }

  /** Takes note of a failure; gives what a Retry-After asked for. */
  #failed(thrown: unknown): number | undefined {
    const expired = thrown instanceof ApiError && thrown.status === 410
    // That the past was forgotten is in the nature of a watch, and no loss.
    if (!expired) this.#feed.lost(messageOf(thrown))
    const unusable = thrown instanceof ApiContentError
    if (unusable || (thrown instanceof ApiError && !KEEPS_VERSION.has(thrown.status))) {
      this.#version = undefined
      this.#fromCache = false
    }
    if (unusable && thrown.tooLarge) this.#pageSize = Math.max(1, Math.floor(this.#pageSize / 10))
    return thrown instanceof ApiError ? thrown.retryAfterMs : undefined
  }

  /** Lists everything, page by page; gives the version that the list is of. */
  async #readAll(): Promise<string> {
    const { api, server, nodeName } = this.#options
    const pods = new Map<string, KnownPod>()
    const fieldSelector = `spec.nodeName=${nodeName}`
    let first: string | undefined
    let token = ''
    for (let pages = 0; pages < MAX_PAGES; pages += 1) {
      // Kubernetes: a page of a list is of the version of its first page, and asking for another one is an error.
      const from = token === '' ? (this.#fromCache ? { resourceVersion: '0' } : {}) : { continue: token }
      const query = { fieldSelector, limit: String(this.#pageSize), ...from }
      const page = pageOf(await api.call('listPods', { path: PATH, query }), server)
      if (this.#closing.signal.aborted) return page.version
      first ??= page.version
      for (const item of page.items) {
        const { key, pod } = this.#feed.keeper.read(item)
        pods.set(key, pod)
      }
      token = page.token
      if (token !== '') continue
      this.#feed.keeper.replace(pods)
      this.#feed.wasRead()
      this.#fromCache = false
      return first
    }
    throw new ApiContentError(`${server}: GET ${PATH}: the list has more than ${MAX_PAGES} pages`, false)
  }

  async #watch(resourceVersion: string): Promise<void> {
    const query = {
      fieldSelector: `spec.nodeName=${this.#options.nodeName}`,
      resourceVersion,
      allowWatchBookmarks: 'true',
    }
    await this.#options.api.watch(
      'watchPods',
      { path: PATH, query },
      { signal: this.#closing.signal, onOpen: () => this.#feed.alive(), onObject: (event) => this.#take(asObject(event)) },
    )
  }

  #take({ type, object }: Json): void {
    const { server } = this.#options
    if (type === 'ERROR') throw statusFailure(object, server)
    const version = asObject(asObject(object)['metadata'])['resourceVersion']
    if (typeof version !== 'string' || version === '') {
      throw new ApiContentError(`${server}: a watch event without a resourceVersion`, false)
    }
    if (type === 'ADDED' || type === 'MODIFIED') this.#feed.keeper.put(object)
    else if (type === 'DELETED') this.#feed.keeper.remove(object)
    else if (type !== 'BOOKMARK') {
      throw new ApiContentError(`${server}: a watch event of an unknown type: ${JSON.stringify(type)?.slice(0, 80)}`, false)
    }
    this.#version = version
    this.#backoff.reset()
    this.#feed.alive()
    this.#feed.changed()
  }
}

interface Page {
  readonly items: readonly unknown[]
  readonly version: string
  /** Empty on the last page. */
  readonly token: string
}

function pageOf(answer: unknown, server: string): Page {
  const { items, metadata } = asObject(answer)
  const { resourceVersion, continue: token = '' } = asObject(metadata)
  // Kubernetes: Go writes null for a list of nothing.
  const all: unknown = items ?? []
  if (!Array.isArray(all) || typeof resourceVersion !== 'string' || resourceVersion === '' || typeof token !== 'string') {
    throw new ApiContentError(`${server}: GET ${PATH}: the answer is no list of pods`, false)
  }
  return { items: all as unknown[], version: resourceVersion, token }
}
