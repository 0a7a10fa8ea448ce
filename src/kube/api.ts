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

/** One of the details.causes of a Status object. */
export interface ApiCause {
  /** Empty if it gave none. */
  readonly reason: string
  readonly message: string
}

export interface ApiErrorMore {
  readonly retryAfterMs?: number | undefined
  readonly causes?: readonly ApiCause[]
}

/** An answer other than 2xx, in the terms of the Status object that came with it. */
export class ApiError extends Error {
  readonly status: number
  /** `NotFound`, `Conflict`, `Expired`, …; empty if the answer gave none. */
  readonly reason: string
  /** What a Retry-After asked for. */
  readonly retryAfterMs: number | undefined
  /** At most 10. */
  readonly causes: readonly ApiCause[]

  constructor(status: number, reason: string, message: string, more: ApiErrorMore = {}) {
    super(message)
    this.name = 'ApiError'
    this.status = status
    this.reason = reason
    this.retryAfterMs = more.retryAfterMs
    this.causes = more.causes ?? []
  }
}

export interface ApiCaller {
  /** Resolves with the parsed JSON of a 2xx answer. Rejects with ApiError, or with an Error that names the server for anything else. */
  call(operation: OperationName, request: ApiRequest): Promise<unknown>
}

export interface WatchCalls {
  /** Each line of the answer, parsed. What it throws ends the watch. */
  readonly onObject: (object: unknown) => void
  /** The server has taken the watch. */
  readonly onOpen?: () => void
  readonly signal: AbortSignal
}

/** A line or a body that can't be used: asking for the same once more would bring the same. */
export class ApiContentError extends Error {
  readonly tooLarge: boolean

  constructor(message: string, tooLarge: boolean, cause?: unknown) {
    super(message, cause === undefined ? {} : { cause })
    this.name = 'ApiContentError'
    this.tooLarge = tooLarge
  }
}

export interface ApiWatcher extends ApiCaller {
  /**
   * Resolves when the server ends the watch in good order or the signal is given; rejects like `call`, and with an Error when the
   * connection is lost or the watch has been silent for too long.
   */
  watch(operation: OperationName, request: ApiRequest, calls: WatchCalls): Promise<void>
  /** What is wrong with token and certificates while those from before are still in use. */
  readonly problems: readonly string[]
}

export interface ApiReader {
  /** Like `call`, with the body as it came. */
  read(operation: OperationName, request: ApiRequest): Promise<Buffer>
  readonly problems: readonly string[]
  close(): void
}
