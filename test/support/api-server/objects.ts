/**
 * What the double knows of API objects: their shape as far as it matters here, the resources it serves, and the answers it gives
 * when it refuses: a Status object with the words of the real server.
 * Source: k8s.io/apimachinery pkg/api/errors, 1.36.
 */

export type Json = Record<string, unknown>

export interface ObjectMeta extends Json {
  name: string
  namespace?: string
  uid?: string
  resourceVersion?: string
  labels?: Record<string, string>
  annotations?: Record<string, string>
}

export interface ApiObject extends Json {
  metadata: ObjectMeta
}

export type ResourceName = 'pods' | 'nodes' | 'events'

export const KINDS: Readonly<Record<ResourceName, { readonly kind: string; readonly namespaced: boolean }>> = {
  pods: { kind: 'Pod', namespaced: true },
  nodes: { kind: 'Node', namespaced: false },
  events: { kind: 'Event', namespaced: true },
}

export const isResource = (name: string): name is ResourceName => name in KINDS

export const isJson = (value: unknown): value is Json => typeof value === 'object' && value !== null && !Array.isArray(value)

/** A refusal on its way to the client. */
export class StatusError extends Error {
  readonly code: number
  readonly reason: string
  readonly details: Json | undefined
  readonly retryAfterSeconds: number | undefined

  constructor(
    code: number,
    reason: string,
    message: string,
    more: { readonly details?: Json; readonly retryAfterSeconds?: number } = {},
  ) {
    super(message)
    this.code = code
    this.reason = reason
    this.details = more.details
    this.retryAfterSeconds = more.retryAfterSeconds
  }

  toStatus(): Json {
    const retry = this.retryAfterSeconds === undefined ? {} : { retryAfterSeconds: this.retryAfterSeconds }
    const details = { ...this.details, ...retry }
    return {
      kind: 'Status',
      apiVersion: 'v1',
      metadata: {},
      status: 'Failure',
      message: this.message,
      ...(this.reason === '' ? {} : { reason: this.reason }),
      ...(Object.keys(details).length === 0 ? {} : { details }),
      code: this.code,
    }
  }
}

export const badRequest = (message: string): StatusError => new StatusError(400, 'BadRequest', message)

export const notFound = (resource: string, name: string): StatusError =>
  new StatusError(404, 'NotFound', `${resource} "${name}" not found`, { details: { name, kind: resource } })

export const noSuchResource = (): StatusError =>
  new StatusError(404, 'NotFound', 'the server could not find the requested resource')

export const alreadyExists = (resource: string, name: string): StatusError =>
  new StatusError(409, 'AlreadyExists', `${resource} "${name}" already exists`, { details: { name, kind: resource } })

export const conflict = (resource: string, name: string): StatusError =>
  new StatusError(
    409,
    'Conflict',
    `Operation cannot be fulfilled on ${resource} "${name}": the object has been modified; please apply your changes to the latest version and try again`,
    { details: { name, kind: resource } },
  )

export const invalid = (kind: string, name: string, problems: readonly string[]): StatusError =>
  new StatusError(
    422,
    'Invalid',
    `${kind} "${name}" is invalid: ${problems.length === 1 ? problems[0] : `[${problems.join(', ')}]`}`,
    { details: { name, kind } },
  )

/** Kubernetes: the same words for a watch, where they come as an ERROR event, and for a list. */
export const expired = (asked: number, oldest: number): StatusError =>
  new StatusError(410, 'Expired', `too old resource version: ${asked} (${oldest})`)
