/**
 * The pods of this node from its kubelet's HTTPS server, for clusters where the API server is to be spared or can't be reached. There is
 * nothing to watch: /pods is asked for at a pace, and an answer that says the same as the one before is not even parsed. The kubelet
 * gives the pods in another order each time, so what is compared are the pods' texts, not the whole.
 * Source: kubernetes pkg/kubelet/pod/pod_manager.go (podsMapToPods), pkg/kubelet/server/server.go (getPods, encodePods), 1.36.
 */
import { createHash } from 'node:crypto'
import { AgentError, messageOf, type PodList, type PodSource } from '../model/index.ts'
import { parseBody } from './api-answers.ts'
import { ApiClient } from './api-client.ts'
import { ApiContentError, ApiError, type ApiReader } from './api.ts'
import { Backoff, BACKOFF_MS, pause } from './backoff.ts'
import type { Credentials, KubeLogger } from './credentials.ts'
import { asObject } from './json.ts'
import { PodFeed } from './pod-feed.ts'
import type { KnownPod } from './pod-list.ts'

const OPERATION = 'getKubeletPods'
const PATH = '/pods'

export interface KubeletPodsOptions {
  /** `https://127.0.0.1:10250` */
  readonly kubelet: string
  /** Whether the kubelet's certificate is checked; must be for any but a loopback address. */
  readonly verify: boolean
  readonly credentials: Credentials
  readonly nodeName: string
  readonly version: string
  readonly requestMs: number
  readonly rescanMs: number
  readonly maxPods: number
  /** Monotonic milliseconds. */
  readonly now: () => number
  /** @default Date.now */
  readonly wallNow?: () => number
  /** From 0 to 1, 1 excluded. @default Math.random */
  readonly random?: () => number
  readonly logger?: KubeLogger
}

export class KubeletPods implements PodSource {
  readonly #options: KubeletPodsOptions
  readonly #api: ApiReader
  readonly #feed: PodFeed
  readonly #backoff: Backoff
  readonly #closing = new AbortController()
  #digest = ''

  constructor(options: KubeletPodsOptions) {
    const { kubelet, verify, nodeName, random = Math.random } = options
    checkVerify(kubelet, verify)
    this.#options = options
    // The certificate of a kubelet is made for its node's name and addresses, seldom for the loopback.
    const api = new ApiClient({ ...options, server: kubelet, ...(isLoopback(kubelet) ? { alsoNamed: nodeName } : {}) })
    this.#api = api
    this.#backoff = new Backoff({ ...BACKOFF_MS, random })
    this.#feed = new PodFeed({
      ...options,
      source: kubelet,
      originOf: () => `${kubelet}${PATH}`,
      versioned: false,
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
    this.#api.close()
  }

  async #run(): Promise<void> {
    const { signal } = this.#closing
    const { rescanMs } = this.#options
    while (!signal.aborted) {
      let waitMs = rescanMs
      try {
        await this.#look()
        this.#backoff.reset()
      } catch (thrown) {
        if (signal.aborted) return
        this.#feed.lost(messageOf(thrown))
        // The kubelet asks the API server about every token that it does not know yet.
        waitMs = Math.max(rescanMs, this.#backoff.nextMs(thrown instanceof ApiError ? thrown.retryAfterMs : undefined))
      }
      await pause(waitMs, signal)
    }
  }

  async #look(): Promise<void> {
    const { kubelet } = this.#options
    const body = await this.#api.read(OPERATION, { path: PATH })
    if (this.#closing.signal.aborted) return
    const digest = digestOf(body)
    if (digest === this.#digest) return this.#feed.alive()
    const asked = { server: kubelet, operation: OPERATION, method: 'GET', path: PATH } as const
    const { kind, items } = asObject(parseBody(body, asked))
    // Kubernetes: Go writes null for a list of nothing.
    const all: unknown = items ?? []
    if (kind !== 'PodList' || !Array.isArray(all)) {
      throw new ApiContentError(`${kubelet}: GET ${PATH}: the answer is no PodList`, false)
    }
    const pods = new Map<string, KnownPod>()
    for (const item of all as unknown[]) {
      const { key, pod } = this.#feed.keeper.read(item)
      pods.set(key, pod)
    }
    this.#digest = digest
    this.#feed.keeper.replace(pods)
    this.#feed.wasRead()
  }
}

/** Begins an item of the list. JSON escapes quotes in a text, so this can't stand in one. */
const ITEM = Buffer.from('{"metadata":{')

/**
 * The same for the same pods in any order: a digest of the sorted digests of the texts of the items. Where an item is not begun as the
 * kubelet begins it, it counts to the text before it, and another order may look like a change.
 */
function digestOf(body: Buffer): string {
  const digests: string[] = []
  let start = 0
  for (let next = body.indexOf(ITEM); ; next = body.indexOf(ITEM, start + 1)) {
    const end = next === -1 ? body.length : next
    digests.push(
      createHash('sha1')
        .update(trimmed(body.subarray(start, end)))
        .digest('base64'),
    )
    if (next === -1) break
    start = next
  }
  return createHash('sha1').update(digests.sort().join()).digest('base64')
}

/** Without what follows an item: a comma, or the end of the list. */
function trimmed(item: Buffer): Buffer {
  let end = item.length
  while (end > 0 && TRAILING.has(item[end - 1] ?? 0)) end -= 1
  return item.subarray(0, end)
}

const TRAILING: ReadonlySet<number> = new Set(Buffer.from(',]}\n '))

/** Whether a URL's host can only be this machine. */
function isLoopback(url: string): boolean {
  return /^(?:127\.\d+\.\d+\.\d+|\[::1\]|localhost)$/.test(new URL(url).hostname)
}

/** Without a check of the certificate the token goes to whoever answers: that may only be this node. */
function checkVerify(kubelet: string, verify: boolean): void {
  if (verify || isLoopback(kubelet)) return
  throw new AgentError(
    'E_CONFIG',
    `cluster.kubeletVerify: false needs a loopback address in cluster.kubelet (${kubelet}): the token would go to whoever answers there`,
    { hint: 'Set cluster.kubelet to https://127.0.0.1:10250, or cluster.kubeletVerify: true.' },
  )
}
