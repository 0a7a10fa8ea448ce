/**
 * Answers of a Kubernetes server, read with a bound, and its failures in words: which server, which request, what it said, what to do.
 * Source: apimachinery pkg/apis/meta/v1 Status; RFC 9110 10.2.3 (Retry-After).
 */
import type { IncomingMessage } from 'node:http'
import { errnoOf, messageOf } from '../model/index.ts'
import { type ApiCause, ApiContentError, ApiError } from './api.ts'
import { asObject, type Json } from './json.ts'
import { OPERATIONS, type OperationName } from './operations.ts'

const MAX_MESSAGE = 500
const MAX_REASON = 100
const MAX_CAUSES = 10
/** Longer than any server means; a broken one must not silence an agent for a year. */
const MAX_RETRY_AFTER_MS = 10 * 60_000

/** Which request an error is about. */
export interface Asked {
  readonly server: string
  readonly operation: OperationName
  readonly method: string
  readonly path: string
}

const prefixOf = ({ server, method, path }: Asked): string => `${server}: ${method} ${path}`

export async function readBody(response: IncomingMessage, asked: Asked, maxBytes: number): Promise<Buffer> {
  const parts: Buffer[] = []
  let bytes = 0
  // Leaving the loop destroys the response and with it the connection.
  for await (const part of response as AsyncIterable<Buffer>) {
    bytes += part.length
    if (bytes > maxBytes) throw new ApiContentError(`${prefixOf(asked)}: the answer is longer than ${maxBytes} bytes`, true)
    parts.push(part)
  }
  return Buffer.concat(parts, bytes)
}

export function parseBody(body: Buffer | string, asked: Asked): unknown {
  try {
    return JSON.parse(typeof body === 'string' ? body : body.toString('utf8')) as unknown
  } catch {
    // V8 quotes the text in its error, and a proxy may send back what it was sent: so the cause is not handed on.
    throw new ApiContentError(`${prefixOf(asked)}: the answer is not JSON (is a proxy in the way?)`, false)
  }
}

/** An answer and what must not be told of it: a server may send back the token that it was sent. */
export interface Answered extends Asked {
  readonly secret: string
}

/** The failure that an answer other than 2xx tells of. */
export function failureOf(response: IncomingMessage, body: string, asked: Answered): ApiError {
  const code = response.statusCode ?? 0
  const status = statusIn(body, asked.secret)
  const said = status.message ?? (body.trim() === '' ? (response.statusMessage ?? '') : body)
  const reason = status.reason ?? ''
  const message = `${prefixOf(asked)}: ${code}${reason === '' ? '' : ` ${reason}`}: ${clean(said, asked.secret)}${hintFor(code, asked)}`
  const waitMs = status.retryAfterMs ?? retryAfterMs(response.headers['retry-after'])
  return new ApiError(code, reason, message, { retryAfterMs: waitMs, causes: status.causes ?? [] })
}

/**
 * The failure that an answer of 2xx carries all the same. Kubernetes: a subresource may answer 201 with a Status that is a failure, as the
 * eviction of a pod with two disruption budgets does (pkg/registry/core/pod/storage/eviction.go); undefined for any other answer.
 */
export function failureWithin(answer: unknown, asked: Answered): ApiError | undefined {
  const fields = asObject(answer)
  if (fields['kind'] !== 'Status' || fields['status'] !== 'Failure') return undefined
  const code = codeIn(fields)
  const { message = 'no message', reason = '', retryAfterMs: waitMs, causes = [] } = statusFields(fields, asked.secret)
  const text = `${prefixOf(asked)}: ${code}${reason === '' ? '' : ` ${reason}`}: ${clean(message, asked.secret)}`
  return new ApiError(code, reason, text, { retryAfterMs: waitMs, causes })
}

/** The failure that a watch tells of in its stream, in a Status object. What the stream must not tell the client has taken out of it. */
export function statusFailure(status: unknown, server: string): ApiError {
  const fields = asObject(status)
  const code = codeIn(fields)
  const { message = 'no message', reason = '', retryAfterMs } = statusFields(fields, '')
  return new ApiError(code, reason, `${server}: the watch ended with ${code} ${reason}: ${clean(message, '')}`, { retryAfterMs })
}

function hintFor(code: number, { operation }: Asked): string {
  const { verb, resource } = OPERATIONS[operation]
  if (code === 403 && operation === 'getKubeletPods') {
    return `. Grant the verb "${verb}" on "${resource}", as deploy/rbac.yaml does; a kubelet before 1.33 knows only nodes/proxy, which is the right to exec: use pods.source: api there`
  }
  if (code === 401) return '. Is the token in cluster.tokenFile one of this cluster?'
  if (code === 403) return `. Grant the verb "${verb}" on "${resource}", as deploy/rbac.yaml does`
  return ''
}

/** HTTP: 100 to 599; 0 for none. */
function codeIn({ code }: Json): number {
  return typeof code === 'number' && Number.isInteger(code) && code >= 100 && code <= 599 ? code : 0
}

interface StatusFields {
  readonly message?: string
  readonly reason?: string
  readonly retryAfterMs?: number
  readonly causes?: readonly ApiCause[]
}

function statusIn(body: string, secret: string): StatusFields {
  try {
    return statusFields(asObject(JSON.parse(body)), secret)
  } catch {
    return {}
  }
}

function statusFields({ message, reason, details }: Json, secret: string): StatusFields {
  const { retryAfterSeconds: seconds, causes } = asObject(details)
  return {
    ...(typeof message === 'string' && message !== '' ? { message } : {}),
    ...(typeof reason === 'string' ? { reason: clean(reason, secret).slice(0, MAX_REASON) } : {}),
    ...(typeof seconds === 'number' && seconds > 0 ? { retryAfterMs: Math.min(seconds * 1000, MAX_RETRY_AFTER_MS) } : {}),
    ...(Array.isArray(causes) ? { causes: causes.slice(0, MAX_CAUSES).map((cause) => causeOf(cause, secret)) } : {}),
  }
}

function causeOf(value: unknown, secret: string): ApiCause {
  const { reason, message } = asObject(value)
  return {
    reason: typeof reason === 'string' ? clean(reason, secret).slice(0, MAX_REASON) : '',
    message: typeof message === 'string' ? clean(message, secret) : '',
  }
}

function retryAfterMs(header: string | undefined): number | undefined {
  if (header === undefined) return undefined
  const waitMs = /^\d+$/.test(header) ? Number(header) * 1000 : Date.parse(header) - Date.now()
  return Number.isNaN(waitMs) ? undefined : Math.min(Math.max(waitMs, 0), MAX_RETRY_AFTER_MS)
}

/** The text without the token, if it is in it. */
export function withoutSecret(text: string, secret: string): string {
  return secret === '' ? text : text.replaceAll(secret, '<token>')
}

/** One line, without the token: taken out before the text is cut, which would leave a part of it. */
function clean(text: string, secret: string): string {
  const line = withoutSecret(text, secret)
    .replaceAll(/[\p{Cc}\s]+/gu, ' ')
    .trim()
  return line.length <= MAX_MESSAGE ? line : `${line.slice(0, MAX_MESSAGE)}…`
}

const CERTIFICATE_ERRORS: ReadonlySet<string> = new Set([
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'CERT_SIGNATURE_FAILURE',
  'CERT_UNTRUSTED',
  'CERT_HAS_EXPIRED',
  'CERT_NOT_YET_VALID',
])

/** Whether the server's certificate was not vouched for. */
export const isCertificateError = (thrown: unknown): boolean => CERTIFICATE_ERRORS.has(errnoOf(thrown) ?? '')

/** A failure of the connection, with the server named. */
export function connectionFailure(thrown: unknown, asked: Asked): Error {
  const code = errnoOf(thrown)
  // Node: with several addresses tried the error is an AggregateError without a message.
  let said = messageOf(thrown) === '' ? (code ?? 'no connection') : messageOf(thrown)
  if (said === 'aborted') said = 'the connection broke within the answer'
  const kubelet = asked.operation === 'getKubeletPods'
  let hint = ''
  if (isCertificateError(thrown)) {
    hint = kubelet
      ? '. The certificates in cluster.caFile do not vouch for this kubelet: set serverTLSBootstrap in its configuration, or cluster.kubeletVerify: false'
      : '. The certificates in cluster.caFile do not vouch for this server'
  } else if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') {
    hint = `. Use a name of the server that its certificate holds in cluster.${kubelet ? 'kubelet' : 'server'}`
  } else if (code === 'ECONNREFUSED' || code === 'ENOTFOUND' || code === 'EHOSTUNREACH') {
    hint = `. Is cluster.${kubelet ? 'kubelet' : 'server'} right?`
  }
  return new Error(`${prefixOf(asked)}: ${said}${hint}`, { cause: thrown })
}
