/**
 * The client of the API server, and of the kubelet's HTTPS server, which speaks the same language: HTTP/1.1 with kept connections, a
 * deadline and a bound on everything, and only the operations of operations.ts. Own code: the official
 * client costs 78 MiB of resident memory, ends watches after 30 s and drops lines it can't parse.
 * Source: Kubernetes API concepts (efficient detection of changes), client-go transport (token and CA reload).
 */
import type { IncomingMessage } from 'node:http'
import { Agent, request as httpsRequest } from 'node:https'
import { checkServerIdentity, createSecureContext } from 'node:tls'
import { AgentError, errnoOf } from '../model/index.ts'
import {
  connectionFailure,
  failureOf,
  failureWithin,
  isCertificateError,
  parseBody,
  readBody,
  withoutSecret,
  type Asked,
} from './api-answers.ts'
import { ApiContentError, ApiError, type ApiReader, type ApiRequest, type ApiWatcher, type WatchCalls } from './api.ts'
import type { Credentials } from './credentials.ts'
import { assertPathFits } from './operation-paths.ts'
import { OPERATIONS, type OperationName } from './operations.ts'
import { LineSplitter } from './watch-lines.ts'

const MAX_LIST_BYTES = 64 * 1024 * 1024
const MAX_BODY_BYTES = 1024 * 1024
const MAX_LINE_BYTES = 4 * 1024 * 1024
const MAX_SOCKETS = 16
const MAX_IDLE_SOCKETS = 2
/** Time without traffic after which the kernel asks whether the other side is still there. */
const KEEP_ALIVE_MS = 15_000
/** What client-go's reflector asks for is 5 to 10 minutes: spread, so that the watches of a cluster don't end together. */
const WATCH_SECONDS = { min: 240, max: 480, grace: 30 }

const METHODS = { get: 'GET', list: 'GET', watch: 'GET', create: 'POST', patch: 'PATCH', delete: 'DELETE' } as const

export interface ApiClientOptions {
  /** `https://10.0.0.1:6443` */
  readonly server: string
  readonly credentials: Credentials
  /** Longest wait for an answer, and for a watch to begin. */
  readonly requestMs: number
  readonly version: string
  /** Whether the server's certificate is checked. @default true */
  readonly verify?: boolean
  /** Another name that the server's certificate may have been made for. */
  readonly alsoNamed?: string
  /** From 0 to 1, 1 excluded. @default Math.random */
  readonly random?: () => number
  /** Bounds of the time that a watch is asked to last, and what it may be silent beyond that. */
  readonly watchSeconds?: { readonly min: number; readonly max: number; readonly grace: number }
}

export class ApiClient implements ApiWatcher, ApiReader {
  readonly #options: ApiClientOptions
  readonly #url: URL
  readonly #active = new Set<AbortController>()
  #agent: Agent | undefined
  #agentCa = ''
  #closed = false

  constructor(options: ApiClientOptions) {
    this.#options = options
    this.#url = new URL(options.server)
  }

  get problems(): readonly string[] {
    return this.#options.credentials.problems
  }

  async call(operation: OperationName, request: ApiRequest): Promise<unknown> {
    const asked = this.#asked(operation, request)
    const { body, secret } = await this.#read(operation, request)
    const answer = parseBody(body, asked)
    const failed = failureWithin(answer, { ...asked, secret })
    if (failed !== undefined) throw failed
    return answer
  }

  async read(operation: OperationName, request: ApiRequest): Promise<Buffer> {
    return (await this.#read(operation, request)).body
  }

  async #read(operation: OperationName, request: ApiRequest): Promise<{ readonly body: Buffer; readonly secret: string }> {
    const asked = this.#asked(operation, request)
    const large = OPERATIONS[operation].verb === 'list' || operation === 'getKubeletPods'
    return this.#within(asked, async (abort) => {
      const { requestMs } = this.#options
      const deadline = setTimeout(() => abort.abort(failure(asked, `no answer within ${requestMs} ms`)), requestMs)
      try {
        const { response, secret } = await this.#send(asked, request, abort.signal)
        return { body: await readBody(response, asked, large ? MAX_LIST_BYTES : MAX_BODY_BYTES), secret }
      } finally {
        clearTimeout(deadline)
      }
    })
  }

  async watch(operation: OperationName, request: ApiRequest, calls: WatchCalls): Promise<void> {
    if (calls.signal.aborted) return
    const { random = Math.random, watchSeconds: { min, max, grace } = WATCH_SECONDS } = this.#options
    const timeoutSeconds = Math.floor(min + random() * (max - min))
    const query = { ...request.query, watch: 'true', timeoutSeconds: String(timeoutSeconds) }
    const asked = this.#asked(operation, request)
    await this.#within(asked, async (abort) => {
      const stop = (): void => abort.abort(new WatchStopped())
      calls.signal.addEventListener('abort', stop, { once: true })
      try {
        await this.#watchOnce(asked, { ...request, query }, { calls, abort, silenceMs: (timeoutSeconds + grace) * 1000 })
      } catch (thrown) {
        if (!calls.signal.aborted) throw thrown
      } finally {
        calls.signal.removeEventListener('abort', stop)
      }
    })
  }

  /** Ends all requests and connections; later requests are refused. */
  close(): void {
    this.#closed = true
    for (const abort of this.#active) abort.abort(new Error(`${this.#options.server}: the client is closed`))
    this.#agent?.destroy()
    this.#agent = undefined
  }

  async #watchOnce(asked: Asked, request: ApiRequest, { calls, abort, silenceMs }: WatchRun): Promise<void> {
    const { requestMs } = this.#options
    let timer = setTimeout(() => abort.abort(failure(asked, `the watch did not begin within ${requestMs} ms`)), requestMs)
    try {
      const { response, secret } = await this.#send(asked, request, abort.signal)
      clearTimeout(timer)
      timer = setTimeout(() => abort.abort(failure(asked, `nothing came for ${silenceMs} ms`)), silenceMs)
      // The agent sets this on idle connections only, and a watch is all waiting.
      response.socket.setKeepAlive(true, KEEP_ALIVE_MS)
      calls.onOpen?.()
      const lines = new LineSplitter(MAX_LINE_BYTES)
      for await (const chunk of response as AsyncIterable<Buffer>) {
        timer.refresh()
        for (const line of linesOf(lines, chunk, asked)) {
          calls.onObject(parseBody(withoutSecret(line, secret), asked))
          if (abort.signal.aborted) throw abort.signal.reason
        }
      }
      if (lines.withinLine) throw failure(asked, 'the watch ended within a line')
    } finally {
      clearTimeout(timer)
    }
  }

  /** Keeps the request among those that `close` ends, and puts its failure into words. */
  async #within<Result>(asked: Asked, run: (abort: AbortController) => Promise<Result>): Promise<Result> {
    if (this.#closed) throw failure(asked, 'the client is closed')
    const abort = new AbortController()
    this.#active.add(abort)
    try {
      return await run(abort)
    } catch (thrown) {
      // Whatever an abort breaks on its way is told by its reason.
      if (abort.signal.aborted) throw abort.signal.reason
      if (!isConnectionError(thrown)) throw thrown
      if (isCertificateError(thrown)) this.#options.credentials.doubtCa()
      throw connectionFailure(thrown, asked)
    } finally {
      this.#active.delete(abort)
    }
  }

  /** The answer's head, for a 2xx answer. Asks once more where the first failure may lie in what was kept from before. */
  async #send(asked: Asked, request: ApiRequest, signal: AbortSignal): Promise<Sent> {
    try {
      return await this.#sendOnce(asked, request, signal)
    } catch (thrown) {
      const refused = thrown instanceof ApiError && thrown.status === 401
      const staleConnection = thrown instanceof StaleConnection && asked.method === 'GET'
      if (signal.aborted || !(refused || staleConnection)) throw thrown instanceof StaleConnection ? thrown.cause : thrown
      if (refused) this.#options.credentials.doubtToken()
    }
    try {
      return await this.#sendOnce(asked, request, signal)
    } catch (thrown) {
      throw thrown instanceof StaleConnection ? thrown.cause : thrown
    }
  }

  async #sendOnce(asked: Asked, request: ApiRequest, signal: AbortSignal): Promise<Sent> {
    const secret = this.#options.credentials.token()
    const response = await this.#begin(asked, request, { signal, secret })
    const status = response.statusCode ?? 0
    if (status >= 200 && status <= 299) return { response, secret }
    // An error's text is a help, not a must: what comes of it in time is told.
    const body = await readBody(response, asked, MAX_BODY_BYTES).catch(() => Buffer.alloc(0))
    throw failureOf(response, body.toString('utf8'), { ...asked, secret })
  }

  #begin(
    asked: Asked,
    request: ApiRequest,
    { signal, secret }: { signal: AbortSignal; secret: string },
  ): Promise<IncomingMessage> {
    const { version } = this.#options
    const query = new URLSearchParams(request.query).toString()
    const body = request.body === undefined ? undefined : Buffer.from(JSON.stringify(request.body))
    const agent = this.#agentNow()
    return new Promise((resolve, reject) => {
      const sent = httpsRequest({
        agent,
        signal,
        method: asked.method,
        host: this.#url.hostname.replace(/^\[(.*)\]$/, '$1'),
        port: this.#url.port === '' ? 443 : Number(this.#url.port),
        path: query === '' ? request.path : `${request.path}?${query}`,
        headers: {
          accept: 'application/json',
          authorization: `Bearer ${secret}`,
          'user-agent': `kube-agent/${version}`,
          ...(body === undefined
            ? {}
            : { 'content-type': request.contentType ?? 'application/json', 'content-length': body.length }),
        },
      })
      sent.on('response', (response) => {
        // Its reader sees the error too; without a listener one that comes before the reader would end the process.
        response.on('error', () => {})
        resolve(response)
      })
      // The listener stays: a connection may break after its answer.
      sent.on('error', (thrown) => {
        reject(sent.reusedSocket && errnoOf(thrown) === 'ECONNRESET' ? new StaleConnection('', { cause: thrown }) : thrown)
      })
      sent.end(body)
    })
  }

  /** An agent that trusts the certificates in force. One that trusted others closes its connections as they fall idle. */
  #agentNow(): Agent {
    const { credentials, verify = true, alsoNamed } = this.#options
    const ca = verify ? credentials.ca() : ''
    if (this.#agent !== undefined && ca === this.#agentCa) return this.#agent
    const secureContext = createSecureContext({ ...(verify ? { ca } : {}), minVersion: 'TLSv1.2' })
    if (this.#agent !== undefined) retire(this.#agent)
    this.#agentCa = ca
    this.#agent = new Agent({
      keepAlive: true,
      keepAliveMsecs: KEEP_ALIVE_MS,
      maxSockets: MAX_SOCKETS,
      maxFreeSockets: MAX_IDLE_SOCKETS,
      secureContext,
      rejectUnauthorized: verify,
      checkServerIdentity: (host, certificate) => {
        const mismatch = checkServerIdentity(host, certificate)
        return mismatch === undefined || alsoNamed === undefined ? mismatch : checkServerIdentity(alsoNamed, certificate)
      },
    })
    return this.#agent
  }

  #asked(operation: OperationName, { path }: ApiRequest): Asked {
    assertPathFits(operation, path)
    return { server: this.#options.server, operation, method: METHODS[OPERATIONS[operation].verb], path }
  }
}

/** The head of an answer, and the token that was sent for it. */
interface Sent {
  readonly response: IncomingMessage
  readonly secret: string
}

interface WatchRun {
  readonly calls: WatchCalls
  readonly abort: AbortController
  readonly silenceMs: number
}

class WatchStopped extends Error {}

/** Not an answer, and not a mistake in what was asked. */
const isConnectionError = (thrown: unknown): boolean =>
  errnoOf(thrown) !== undefined &&
  !(thrown instanceof ApiError || thrown instanceof ApiContentError || thrown instanceof AgentError)

/** A kept connection that the server had closed before the request reached it. */
class StaleConnection extends Error {}

const failure = ({ server, method, path }: Asked, what: string): Error => new Error(`${server}: ${method} ${path}: ${what}`)

function linesOf(lines: LineSplitter, chunk: Buffer, asked: Asked): readonly string[] {
  try {
    return lines.push(chunk)
  } catch (thrown) {
    throw new ApiContentError(failure(asked, (thrown as Error).message).message, true, thrown)
  }
}

function retire(agent: Agent): void {
  agent.maxFreeSockets = 0
  for (const sockets of Object.values(agent.freeSockets)) for (const socket of sockets ?? []) socket.destroy()
}
