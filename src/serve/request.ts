/** A request as the pages see it: no socket, and nothing in it that was not bounded before. */
import type { Format } from './negotiate.ts'

export interface Request {
  readonly method: string
  readonly path: string
  readonly query: URLSearchParams
  /** The Accept header; empty without one. */
  readonly accept: string
  /** The form to answer in, of those that the page has. */
  readonly format: Format
  /** Address of the client. */
  readonly peer: string
  /** The Origin header, which only browsers send. */
  readonly origin?: string
  /** Of a PUT, at most MAX_LEVEL_BYTES. */
  readonly body?: string
}
