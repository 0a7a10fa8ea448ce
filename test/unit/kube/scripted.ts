/** A server that answers from a script, for what is too slow or too strange for the double. */
import { onTestFinished } from 'vitest'
import type { ApiRequest, ApiWatcher, WatchCalls } from '../../../src/kube/api.ts'
import { ApiPods, type ApiPodsOptions } from '../../../src/kube/api-pods.ts'
import { IMPATIENT, NODE } from './support.ts'

type Watch = (calls: WatchCalls) => void | Promise<void>

/** The last list is given for ever; a watch beyond the last one lasts. */
export class Scripted implements ApiWatcher {
  /** Lists and watches. */
  readonly asked: { readonly operation: string; readonly query: ApiRequest['query'] }[] = []
  readonly problems: readonly string[] = []
  /** What is known of the node. */
  node: () => unknown = () => ({ kind: 'Node' })
  readonly #lists: (() => unknown)[]
  readonly #watches: Watch[]

  constructor(lists: (() => unknown)[], watches: Watch[]) {
    this.#lists = lists
    this.#watches = watches
  }

  async call(operation: string, { query }: ApiRequest): Promise<unknown> {
    if (operation === 'getNode') return Promise.resolve(this.node())
    this.asked.push({ operation, query })
    return Promise.resolve((this.#lists.length > 1 ? this.#lists.shift() : this.#lists[0])?.())
  }

  async watch(operation: string, { query }: ApiRequest, calls: WatchCalls): Promise<void> {
    this.asked.push({ operation, query })
    const next = this.#watches.shift()
    if (next !== undefined) return next(calls)
    return new Promise((resolve) => calls.signal.addEventListener('abort', () => resolve()))
  }
}

export const listOf = (resourceVersion: string, items: readonly unknown[] | null = null) => ({
  kind: 'PodList',
  metadata: { resourceVersion },
  items,
})

export const EMPTY = () => listOf('5')

export const event = (type: string, resourceVersion: string) => ({ type, object: { metadata: { resourceVersion } } })

export function scriptedPods(api: ApiWatcher, options: Partial<ApiPodsOptions> = {}): ApiPods {
  const source = new ApiPods({ api, server: 's', nodeName: NODE, maxPods: 10, now: () => 0, backoffMs: IMPATIENT, ...options })
  onTestFinished(() => source.close())
  return source
}
