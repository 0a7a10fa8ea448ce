/**
 * Running watches: one JSON object per line on a chunked answer. An object that stops to match the selector is DELETED for the watcher, one
 * that starts to match is ADDED. Streams can be cut, cut within a line, held up and expired.
 * Source: k8s.io/apiserver pkg/storage/cacher/cache_watcher.go (convertToWatchEvent), pkg/endpoints/handlers/watch.go, 1.36.
 */
import type { ServerResponse } from 'node:http'
import { type ApiObject, expired, type Json, KINDS, type ResourceName, type StatusError } from './objects.ts'
import { invalidOptions, type Scope, selectorOf, tooLarge, versionOf } from './reads.ts'
import type { Selector } from './selectors.ts'
import type { Change, Store } from './store.ts'

interface Running {
  readonly resource: ResourceName
  readonly response: ServerResponse
  readonly selects: Selector
  readonly bookmarks: boolean
  readonly timeout: NodeJS.Timeout | undefined
}

/** How a watch from a compacted version is answered: the real server does it either way, by where it notices. */
export type ExpiredAs = 'http' | 'event'

export class Watches {
  expiredAs: ExpiredAs = 'event'
  readonly #store: Store
  readonly #running = new Set<Running>()
  #held: (() => void)[] | undefined

  constructor(store: Store) {
    this.#store = store
    store.onChange((change) => this.#deliver(change))
  }

  get size(): number {
    return this.#running.size
  }

  /** Answers a watch request and keeps it running; throws a StatusError when it is refused. */
  open(scope: Scope, query: URLSearchParams, response: ServerResponse): void {
    const selects = selectorOf(scope, query)
    const asked = versionOf(query) ?? 0
    const initial = query.get('sendInitialEvents')
    const match = query.get('resourceVersionMatch') ?? ''
    if (initial === null && match !== '')
      throw invalidOptions(
        'resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided',
      )
    if (initial !== null && match !== 'NotOlderThan')
      throw invalidOptions(
        'resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan',
      )
    const tooOld = asked !== 0 && asked < this.#store.oldest && initial !== 'true'
    if (tooOld && this.expiredAs === 'http') throw expired(asked, this.#store.oldest)
    response.writeHead(200, { 'Content-Type': 'application/json', 'Cache-Control': 'no-cache, private' })
    response.flushHeaders()
    if (tooOld) return end(response, expired(asked, this.#store.oldest))
    if (asked > this.#store.version) return end(response, tooLarge(asked, this.#store.version))
    const seconds = Number(query.get('timeoutSeconds') ?? 0)
    const running: Running = {
      resource: scope.resource,
      response,
      selects,
      bookmarks: isTrue(query.get('allowWatchBookmarks')),
      timeout: seconds > 0 ? setTimeout(() => this.#finish(running), seconds * 1000) : undefined,
    }
    this.#replay(running, initial === 'true' ? 0 : asked)
    if (initial === 'true' && running.bookmarks) send(response, 'BOOKMARK', this.#bookmark(scope.resource, true))
    // Its client may have gone while the request was held up: no close would follow any more.
    if (response.destroyed) return clearTimeout(running.timeout)
    this.#running.add(running)
    response.on('close', () => {
      clearTimeout(running.timeout)
      this.#running.delete(running)
    })
  }

  #replay(running: Running, from: number): void {
    const { resource } = running
    if (from > 0) for (const change of this.#store.changesSince(resource, from)) sendChange(running, change)
    else
      for (const object of this.#store.listAt(resource, this.#store.version))
        if (running.selects(object)) send(running.response, 'ADDED', object)
  }

  #deliver(change: Change): void {
    const deliver = (): void => {
      for (const running of this.#running) if (running.resource === change.resource) sendChange(running, change)
    }
    if (this.#held === undefined) deliver()
    else this.#held.push(deliver)
  }

  /** Goes out after what is held up: its version would skip that. */
  bookmark(): void {
    const deliver = (): void => {
      for (const { response, resource, bookmarks } of this.#running)
        if (bookmarks) send(response, 'BOOKMARK', this.#bookmark(resource, false))
    }
    if (this.#held === undefined) deliver()
    else this.#held.push(deliver)
  }

  #finish(running: Running): void {
    this.#running.delete(running)
    running.response.end()
  }

  #bookmark(resource: ResourceName, initialEnd: boolean): Json {
    const annotations = initialEnd ? { annotations: { 'k8s.io/initial-events-end': 'true' } } : {}
    const metadata = { resourceVersion: String(this.#store.version), creationTimestamp: null, ...annotations }
    // Kubernetes: the empty object of the kind, with its null list of containers.
    const empty = resource === 'pods' ? { spec: { containers: null }, status: {} } : {}
    return { kind: KINDS[resource].kind, apiVersion: 'v1', metadata, ...empty }
  }

  /** Running watches learn that their version is compacted, and end. */
  expire(asked: number): void {
    for (const { response } of this.#running) end(response, expired(asked, this.#store.oldest))
    this.#running.clear()
  }

  /** Cuts every watch: at the end of a line as a timeout does, or within one as a lost connection does. */
  drop(midLine: boolean): void {
    for (const { response } of this.#running) {
      if (!midLine) response.end()
      else response.write('{"type":"MODIFIED","object":{"kind":"Pod","apiVers', () => response.destroy())
    }
    this.#running.clear()
  }

  hold(): void {
    this.#held ??= []
  }

  release(): void {
    const held = this.#held ?? []
    this.#held = undefined
    for (const deliver of held) deliver()
  }
}

const isTrue = (text: string | null): boolean => text === 'true' || text === '1'

function sendChange({ response, selects }: Running, { version, before, after }: Change): void {
  const was = before !== undefined && selects(before)
  const is = after !== undefined && selects(after)
  if (is) send(response, was ? 'MODIFIED' : 'ADDED', after)
  // Kubernetes: a deleted object comes as it last was, under the version of its deletion.
  else if (was) send(response, 'DELETED', { ...before, metadata: { ...before.metadata, resourceVersion: String(version) } })
}

function send(response: ServerResponse, type: string, object: ApiObject | Json): void {
  response.write(`${JSON.stringify({ type, object })}\n`)
}

function end(response: ServerResponse, error: StatusError): void {
  send(response, 'ERROR', error.toStatus())
  response.end()
}
