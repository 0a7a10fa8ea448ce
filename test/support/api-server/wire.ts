/** Bodies in and answers out, as JSON with a length: what every answer of the double but a watch has in common. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { badRequest, StatusError } from './objects.ts'

/** Kubernetes: the limit of a request body. */
const BODY_BYTES = 3 * 1024 * 1024
export async function bodyOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > BODY_BYTES) throw new StatusError(413, 'RequestEntityTooLarge', `limit is ${BODY_BYTES}`)
    chunks.push(chunk)
  }
  const bytes = Buffer.concat(chunks)
  const text = bytes.toString('utf8')
  if (!Buffer.from(text).equals(bytes)) throw badRequest('the body is not UTF-8')
  return text
}

export function reply(
  response: ServerResponse,
  status: number,
  body: unknown,
  headers: Readonly<Record<string, string>> = {},
): void {
  const text = `${JSON.stringify(body)}\n`
  response.writeHead(status, {
    'Content-Type': 'application/json',
    'Content-Length': String(Buffer.byteLength(text)),
    ...headers,
  })
  response.end(text)
}

export function refuse(response: ServerResponse, error: StatusError): void {
  if (response.headersSent) {
    response.destroy()
    return
  }
  const headers = error.retryAfterSeconds === undefined ? {} : { 'Retry-After': String(error.retryAfterSeconds) }
  reply(response, error.code, error.toStatus(), headers)
}
