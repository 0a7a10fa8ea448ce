/**
 * Asks a running agent over its HTTP address, and tells one that is not there from one that does not answer. With node:http, since fetch()
 * refuses ports that browsers block (WHATWG fetch "port blocking": 6000, 6666, 10080 …), which an agent may well listen on.
 */
import { request } from 'node:http'
import { AgentError, messageOf } from '../model/index.ts'
import type { Config } from '../config/index.ts'
import { textFlag, type Flags, type Parsed } from './args.ts'
import { pause } from './demo/pause.ts'

export const ADDRESS_FLAGS: Flags = {
  address: {
    type: 'string',
    short: 'a',
    value: 'HOST:PORT',
    help: "The agent's HTTP address. Default: http.host and http.port.",
  },
}

const TIMEOUT_MS = 5000
const BUSY_MS = 500
const TOO_BUSY = 'it is there, but gets more requests than it has time for'
/** More than any page of an agent, with metrics of 1000 pods; a stranger at its port must not fill the memory. */
const MAX_ANSWER_BYTES = 64 * 1024 * 1024

/** What an agent that listens on every address of the node is asked at. */
const LOOPBACK: Readonly<Partial<Record<string, string>>> = { '0.0.0.0': '127.0.0.1', '::': '::1' }

export interface Answer {
  readonly status: number
  readonly body: string
}

export interface Asking {
  /** A media type. */
  readonly accept: string
  /** Gives up the question. */
  readonly signal?: AbortSignal | undefined
}

/**
 * GETs a path from the agent, as the media type `asking`. Throws E_NO_AGENT when nothing is there, and E_NO_ANSWER when what is there does
 * not answer within 5 s: it hangs, or others ask it too much.
 */
export async function ask(parsed: Parsed, config: Config, path: string, asking: string | Asking): Promise<Answer> {
  const { accept, signal }: Asking = typeof asking === 'string' ? { accept: asking } : asking
  const address = textFlag(parsed, 'address') ?? addressOf(config.http)
  const url = urlOf(address, path)
  const deadline = AbortSignal.timeout(TIMEOUT_MS)
  const until = signal === undefined ? deadline : AbortSignal.any([deadline, signal])
  let isBusy = false
  let met: Met = 'nobody'
  try {
    for (;;) {
      const { retryLater, ...answer } = await httpGet(url, { accept, signal: until, onConnect: () => (met = 'somebody') })
      // Others ask so much that the agent has no time left; that it is not ready has the same status, but no time to come back.
      if (answer.status !== 503 || !retryLater) return answer
      isBusy = true
      await pause(BUSY_MS, until)
    }
  } catch (thrown) {
    if (!until.aborted) throw new AgentError('E_NO_AGENT', `no agent answers at ${address}: ${causeOf(thrown)}`)
    throw unanswered(address, isBusy ? 'busy' : met, deadline.aborted ? `within ${TIMEOUT_MS / 1000} s` : 'in time')
  }
}

/** Whether the agent could not be asked: there is none, or it does not answer. */
export function isUnanswered(thrown: unknown): thrown is AgentError {
  return thrown instanceof AgentError && (thrown.code === 'E_NO_AGENT' || thrown.code === 'E_NO_ANSWER')
}

/** Who took the connection: without anybody the address may be wrong, or packets to it are dropped. */
type Met = 'nobody' | 'somebody' | 'busy'

function unanswered(address: string, met: Met, when: string): AgentError {
  switch (met) {
    case 'nobody':
      return new AgentError('E_NO_AGENT', `no agent answers at ${address}: no connection ${when}`)
    case 'somebody':
      return new AgentError('E_NO_ANSWER', `an agent is there at ${address}, but does not answer ${when}`)
    case 'busy':
      return new AgentError('E_NO_ANSWER', `no answer from the agent at ${address}: ${TOO_BUSY}`, {
        hint: 'Find who asks it so often.',
      })
  }
}

interface Getting {
  readonly accept: string
  readonly signal: AbortSignal
  readonly onConnect?: () => void
}

/** One GET on a connection of its own. Rejects with what the connection fails with, and when the signal is aborted. */
export function httpGet(
  url: URL,
  { accept, signal, onConnect = () => undefined }: Getting,
): Promise<Answer & { readonly retryLater: boolean }> {
  return new Promise((resolve, reject) => {
    const sent = request(url, { agent: false, headers: { accept }, signal })
    sent.on('socket', (socket) => socket.once('connect', onConnect))
    sent.on('error', reject)
    sent.on('response', (response) => {
      const { statusCode: status = 0, headers } = response
      bodyOf(response).then((body) => resolve({ status, body, retryLater: headers['retry-after'] !== undefined }), reject)
    })
    sent.end()
  })
}

async function bodyOf(response: AsyncIterable<Buffer>): Promise<string> {
  const parts: Buffer[] = []
  let bytes = 0
  // Leaving the loop destroys the response and with it the connection.
  for await (const part of response) {
    bytes += part.length
    if (bytes > MAX_ANSWER_BYTES) throw new Error(`the answer is longer than ${MAX_ANSWER_BYTES} bytes`)
    parts.push(part)
  }
  return Buffer.concat(parts, bytes).toString('utf8')
}

/** Node: a name with several addresses fails with an AggregateError, which has no message of its own. */
function causeOf(thrown: unknown): string {
  if (thrown instanceof AggregateError) return thrown.errors.map(messageOf).join('; ')
  return messageOf(thrown)
}

function urlOf(address: string, path: string): URL {
  try {
    return new URL(`http://${address}${path}`)
  } catch {
    throw new AgentError('E_USAGE', `not an address of an agent: ${JSON.stringify(address)}, expected HOST:PORT`)
  }
}

/** HOST:PORT as a URL wants it, of an agent that listens there. */
export function addressOf({ host, port }: { readonly host: string; readonly port: number }): string {
  const reachable = LOOPBACK[host] ?? host
  return `${reachable.includes(':') ? `[${reachable}]` : reachable}:${port}`
}
