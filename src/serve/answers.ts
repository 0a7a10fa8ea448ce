/** Answers as plain data, before they become bytes on a connection: one way to say a thing, and one to refuse. */
import { chooseFormat, type Format, MEDIA_TYPES } from './negotiate.ts'

export interface Answer {
  readonly status: number
  readonly type: string
  readonly body: string
  readonly headers?: Readonly<Record<string, string>>
}

/** A plain-text answer. */
export function text(status: number, body: string): Answer {
  return { status, type: MEDIA_TYPES.text, body }
}

/** A value for programs, indented for the people who read it all the same. */
export function json(status: number, value: unknown): Answer {
  return { status, type: MEDIA_TYPES.json, body: `${JSON.stringify(value, null, 2)}\n` }
}

/** The same in as few bytes as it takes, for what a page asks for every second. */
export function compactJson(value: unknown): Answer {
  return { status: 200, type: MEDIA_TYPES.json, body: `${JSON.stringify(value)}\n` }
}

export interface Refusal {
  /** What is wrong, without a full stop. */
  readonly message: string
  /** What to do instead. */
  readonly hint?: string
  readonly code?: string
  readonly headers?: Readonly<Record<string, string>>
}

/** A refusal in the form that the client reads, which is never a reason for another refusal. */
export function refuse(status: number, { message, hint, code, headers = {} }: Refusal, accept: string): Answer {
  const answer =
    chooseFormat(accept, ['text', 'json'] satisfies Format[]) === 'json'
      ? json(status, { ...(code === undefined ? {} : { code }), message, ...(hint === undefined ? {} : { hint }) })
      : text(status, `${message}\n${hint === undefined ? '' : `${hint}\n`}`)
  return { ...answer, headers }
}
