/** Failures that a test orders: of the next requests, of a verb or a resource, as a Status or as what a proxy on the way would say. */
import { StatusError } from './objects.ts'

export interface Failure {
  readonly status: number
  /** @default what goes with the status */
  readonly reason?: string
  readonly message?: string
  readonly retryAfterSeconds?: number
  /** How many requests fail; may be Infinity. @default 1 */
  readonly times?: number
  /** Only requests of this verb or resource fail. */
  readonly verb?: string
  readonly resource?: string
  /** Sent instead of a Status object, as text/html: what a proxy on the way would say. */
  readonly html?: string
}

const REASONS: Readonly<Record<number, string>> = {
  400: 'BadRequest',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'NotFound',
  409: 'Conflict',
  410: 'Expired',
  429: 'TooManyRequests',
  500: 'InternalError',
  503: 'ServiceUnavailable',
  504: 'Timeout',
}

export class Failures {
  #ordered: (Failure & { left: number })[] = []

  add(failure: Failure): void {
    this.#ordered.push({ ...failure, left: failure.times ?? 1 })
  }

  clear(): void {
    this.#ordered = []
  }

  /** The failure of this request, which counts as used; undefined when it may go on. */
  next(request: { readonly verb: string; readonly resource: string }): Failure | undefined {
    const failure = this.#ordered.find(
      ({ left, verb, resource }) =>
        left > 0 && (verb === undefined || verb === request.verb) && (resource === undefined || resource === request.resource),
    )
    if (failure !== undefined) failure.left -= 1
    return failure
  }
}

export function failureStatus({ status, message, retryAfterSeconds, ...failure }: Failure): StatusError {
  const reason = failure.reason ?? REASONS[status] ?? ''
  const more = retryAfterSeconds === undefined ? {} : { retryAfterSeconds }
  return new StatusError(status, reason, message ?? `told to fail: ${reason}`, more)
}
