/**
 * The pods of this node from the API server: one list, then a watch from there. Lists are answered by the server's cache, to spare etcd when
 * a whole cluster starts, or loses its watches, at once: the first takes whatever the cache holds, a later one, which must not step back in
 * time, what is not older than what was seen. Only where the cache can't serve that does a list take the newest, from etcd. Whatever
 * fails, the last list stays, and the server is asked again with more and more patience.
 * Source: Kubernetes API concepts (resource versions, 410 Gone, bookmarks); client-go tools/cache/reflector.go.
 */
import { hostname } from 'node:os'
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
/** Failures that say nothing about the version that was asked for; but see isAhead. */
const KEEPS_VERSION: ReadonlySet<number> = new Set([401, 403, 408, 429, 500, 502, 503, 504])
/** Etcd's compaction ends the watches of a whole cluster in one moment: they must not come back in one second. */
const EXPIRED_PAUSE_MS = 5000

export interface ApiPodsOptions {
  readonly api: ApiWatcher
  /** The server's URL, for messages. */
  readonly server: string
  readonly nodeName: string
  /** What this machine calls itself, for messages. @default os.hostname */
  readonly hostName?: string
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
  /** Least bound of the pause after a watch whose past was forgotten. @default 5 s */
  readonly expiredPauseMs?: number
}

export class ApiPods implements PodSource {
  readonly #options: ApiPodsOptions
  readonly #feed: PodFeed
  readonly #backoff: Backoff
  readonly #closing = new AbortController()
  /** Where the next watch begins; undefined when a list must come first. */
  #version: string | undefined
  /** The newest version that was taken; undefined before the first list. */
  #seen: string | undefined
  /** The next list must take the newest: the cache has nothing that would do. */
  #newest = false
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
        await pause(this.#failed(thrown), signal)
      }
    }
  }

  /** Takes note of a failure; gives the time to wait. */
  #failed(thrown: unknown): number {
    const listing = this.#version === undefined
    const error = thrown instanceof ApiError ? thrown : undefined
    const expired = error?.status === 410
    // That the past was forgotten is in the nature of a watch, and no loss.
    if (!expired) this.#feed.lost(messageOf(thrown))
    const unusable = thrown instanceof ApiContentError
    const tooLarge = unusable && thrown.tooLarge
    const refused = error !== undefined && (!KEEPS_VERSION.has(error.status) || isAhead(error))
    if (unusable || refused) this.#version = undefined
    if (listing && (tooLarge || refused || thrown instanceof OutdatedList)) this.#newest = true
    if (tooLarge) this.#pageSize = Math.max(1, Math.floor(this.#pageSize / 10))
    const { expiredPauseMs = EXPIRED_PAUSE_MS } = this.#options
    return this.#backoff.nextMs(error?.retryAfterMs, expired && !listing ? expiredPauseMs : 0)
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
      const from = token === '' ? this.#begin() : { limit: String(this.#pageSize), continue: token }
      const page = pageOf(await api.call('listPods', { path: PATH, query: { fieldSelector, ...from } }), server)
      if (this.#closing.signal.aborted) return page.version
      first ??= page.version
      for (const item of page.items) {
        const { key, pod } = this.#feed.keeper.read(item)
        pods.set(key, pod)
      }
      token = page.token
      if (token !== '') continue
      await this.#checkTrue(pods.size, first)
      if (this.#closing.signal.aborted) return first
      this.#feed.keeper.replace(pods)
      this.#feed.wasRead()
      this.#newest = false
      this.#seen = first
      return first
    }
    throw new ApiContentError(`${server}: GET ${PATH}: the list has more than ${MAX_PAGES} pages`, false)
  }

  /** Where a list begins. */
  #begin(): Record<string, string> {
    const limit = { limit: String(this.#pageSize) }
    if (this.#newest) return limit
    if (this.#seen === undefined) return { ...limit, resourceVersion: '0' }
    // Kubernetes: a list of pages comes from etcd, and without the match it would be of exactly this version, which may be forgotten.
    const from = { resourceVersion: this.#seen, resourceVersionMatch: 'NotOlderThan' }
    return this.#pageSize < PAGE ? { ...limit, ...from } : from
  }

  /** Throws an Error when the list should not be believed. */
  async #checkTrue(pods: number, version: string): Promise<void> {
    const { server } = this.#options
    // The newest is believed whatever its version: etcd may have been restored from a backup.
    if (!this.#newest && this.#seen !== undefined && isOlder(version, this.#seen)) {
      throw new OutdatedList(`${server}: GET ${PATH}: a list of version ${version}, but ${this.#seen} was seen before`)
    }
    // Kubernetes: a list of the pods of a node that does not exist is no error, and has no pods.
    if (this.#seen === undefined || pods === 0) await this.#checkNode()
  }

  async #checkNode(): Promise<void> {
    const { api, server, nodeName, hostName = hostname() } = this.#options
    try {
      await api.call('getNode', { path: `/api/v1/nodes/${encodeURIComponent(nodeName)}`, query: { resourceVersion: '0' } })
    } catch (thrown) {
      // Anything else says nothing about the node: the right may be missing.
      if (!(thrown instanceof ApiError && thrown.status === 404)) return
      const what = `${server}: no node named ${nodeName} at the API server`
      const help = `set node.name to its name in Kubernetes (this host is called ${hostName})`
      throw new Error(`${what}; ${help}`, { cause: thrown })
    }
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
    this.#seen = version
    this.#backoff.reset()
    this.#feed.alive()
    this.#feed.changed()
  }
}

/** A list from before what was seen: the cache that gave it did not keep its word. */
class OutdatedList extends Error {}

/**
 * Whether the server is behind the version that it was asked for: its cache lags, or etcd was restored from a backup. Any other 504 is one of
 * an overloaded server, which asking for the newest would only load more. Source: client-go isTooLargeResourceVersionError.
 */
const isAhead = ({ status, message }: ApiError): boolean => status === 504 && /too large resource version/i.test(message)

/** Kubernetes: versions compare as whole numbers (KEP-5504); a server whose versions are none is not judged. */
function isOlder(version: string, than: string): boolean {
  const number = /^\d+$/
  return number.test(version) && number.test(than) && BigInt(version) < BigInt(than)
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
