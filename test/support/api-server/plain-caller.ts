/**
 * The plainest client of the API server: one TLS connection per request, the files read each time, nothing cached. For tests of the double
 * itself and of what is built on ApiCaller, so that neither leans on the client of src/kube.
 */
import { readFileSync } from 'node:fs'
import { type ClientRequest, type IncomingMessage, type OutgoingHttpHeaders } from 'node:http'
import { request } from 'node:https'
import { type ApiCause, ApiError, type ApiCaller, type ApiRequest } from '../../../src/kube/api.ts'
import { OPERATIONS, type OperationName } from '../../../src/kube/operations.ts'

export interface Endpoint {
  readonly url: string
  readonly caFile: string
  readonly tokenFile: string
}

export interface PlainAnswer {
  readonly status: number
  readonly headers: IncomingMessage['headers']
  readonly json: Record<string, unknown>
}

interface PlainRequest {
  readonly method: string
  readonly path: string
  readonly contentType?: string
  readonly body?: string
  /** Undefined for the one in the file; null for none. */
  readonly token?: string | null
}

const METHODS: Readonly<Record<string, string>> = { create: 'POST', patch: 'PATCH', delete: 'DELETE' }

function open(endpoint: Endpoint, { method, path, contentType, body, token }: PlainRequest): ClientRequest {
  const headers: OutgoingHttpHeaders = {}
  if (token !== null) headers['authorization'] = `Bearer ${token ?? readFileSync(endpoint.tokenFile, 'utf8')}`
  if (contentType !== undefined) headers['content-type'] = contentType
  // Node: the body of a DELETE has no frame of its own.
  if (body !== undefined) headers['content-length'] = Buffer.byteLength(body)
  const sent = request(endpoint.url + path, { method, headers, ca: readFileSync(endpoint.caFile), agent: false })
  return sent.end(body)
}

export function ask(endpoint: Endpoint, wanted: PlainRequest): Promise<PlainAnswer> {
  return new Promise((resolve, reject) => {
    const sent = open(endpoint, wanted)
    sent.on('error', reject)
    sent.on('response', (response) => {
      let text = ''
      response.setEncoding('utf8')
      response.on('data', (chunk: string) => (text += chunk))
      response.on('error', reject)
      response.on('end', () => {
        const json = text.startsWith('{') ? (JSON.parse(text) as Record<string, unknown>) : { text }
        resolve({ status: response.statusCode ?? 0, headers: response.headers, json })
      })
    })
  })
}

export interface WatchLine {
  readonly type: string
  readonly object: { readonly kind: string; readonly code?: number; readonly metadata: Record<string, unknown> }
}

/** A running watch: whole lines as they come, and what was left of one when the stream ended. */
export interface PlainWatch {
  next(): Promise<WatchLine>
  /** Resolves with the unfinished line, and whether the stream ended by itself. */
  readonly ended: Promise<{ readonly rest: string; readonly complete: boolean }>
}

export function watch(endpoint: Endpoint, path: string): Promise<PlainWatch> {
  return new Promise((resolve, reject) => {
    const sent = open(endpoint, { method: 'GET', path })
    sent.on('error', reject)
    sent.on('response', (response) => resolve(watchOf(response)))
  })
}

function watchOf(response: IncomingMessage): PlainWatch {
  const lines: WatchLine[] = []
  const waiting: ((line: WatchLine) => void)[] = []
  let rest = ''
  response.setEncoding('utf8')
  response.on('data', (chunk: string) => {
    const parts = (rest + chunk).split('\n')
    rest = parts.pop() ?? ''
    for (const part of parts) {
      const line = JSON.parse(part) as WatchLine
      const taker = waiting.shift()
      if (taker === undefined) lines.push(line)
      else taker(line)
    }
  })
  response.on('error', () => {})
  const ended = new Promise<{ rest: string; complete: boolean }>((resolve) =>
    response.on('close', () => resolve({ rest, complete: response.complete })),
  )
  const next = (): Promise<WatchLine> => {
    const line = lines.shift()
    return line === undefined ? new Promise((resolve) => waiting.push(resolve)) : Promise.resolve(line)
  }
  return { next, ended }
}

interface StatusJson {
  readonly reason?: string
  readonly message?: string
  readonly details?: { readonly causes?: readonly ApiCause[] }
}

export class PlainCaller implements ApiCaller {
  readonly #endpoint: Endpoint

  constructor(endpoint: Endpoint) {
    this.#endpoint = endpoint
  }

  async call(operation: OperationName, { path, query, body, contentType }: ApiRequest): Promise<unknown> {
    const search = query === undefined ? '' : `?${new URLSearchParams(query).toString()}`
    const { status, headers, json } = await ask(this.#endpoint, {
      method: METHODS[OPERATIONS[operation].verb] ?? 'GET',
      path: path + search,
      ...(body === undefined ? {} : { body: JSON.stringify(body), contentType: contentType ?? 'application/json' }),
    })
    if (status >= 200 && status < 300) return json
    const retryAfter = headers['retry-after']
    const retryAfterMs = retryAfter === undefined ? undefined : Number(retryAfter) * 1000
    const { reason = '', message = '', details } = json as StatusJson
    throw new ApiError(status, reason, message, { retryAfterMs, causes: details?.causes ?? [] })
  }
}
