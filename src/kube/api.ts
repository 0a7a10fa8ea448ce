/** What the rest of this room knows of the API server: calls that are in OPERATIONS, and their failures. */
import type { OperationName } from './operations.ts'

export interface ApiRequest {
  /** Absolute and already encoded: `/api/v1/nodes/n1`. */
  readonly path: string
  readonly query?: Readonly<Record<string, string>>
  /** Sent as JSON. */
  readonly body?: unknown
  /** @default 'application/json' */
  readonly contentType?: 'application/json' | 'application/merge-patch+json' | 'application/strategic-merge-patch+json'
}

/** An answer other than 2xx, in the terms of the Status object that came with it. */
export class ApiError extends Error {
  readonly status: number
  /** `NotFound`, `Conflict`, `Expired`, …; empty if the answer gave none. */
  readonly reason: string
  /** What a Retry-After asked for. */
  readonly retryAfterMs: number | undefined

  constructor(status: number, reason: string, message: string, retryAfterMs?: number) {
    super(message)
    this.name = 'ApiError'
    this.status = status
    this.reason = reason
    this.retryAfterMs = retryAfterMs
  }
}

export interface ApiCaller {
  /** Resolves with the parsed JSON of a 2xx answer. Rejects with ApiError, or with an Error that names the server for anything else. */
  call(operation: OperationName, request: ApiRequest): Promise<unknown>
}
