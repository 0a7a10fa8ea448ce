/** Asks a running agent over its HTTP address. */
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
const TOO_BUSY = 'it is there, but gets more requests than it has time for; find who asks so often'

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

/** GETs a path from the agent, as the media type `asking`. Throws E_NO_AGENT when nothing answers there in time. */
export async function ask(parsed: Parsed, config: Config, path: string, asking: string | Asking): Promise<Answer> {
  const { accept, signal }: Asking = typeof asking === 'string' ? { accept: asking } : asking
  const address = textFlag(parsed, 'address') ?? addressOf(config.http)
  const timeout = AbortSignal.timeout(TIMEOUT_MS)
  const until = signal === undefined ? timeout : AbortSignal.any([timeout, signal])
  let isBusy = false
  try {
    for (;;) {
      const response = await fetch(`http://${address}${path}`, { headers: { accept }, signal: until })
      const answer = { status: response.status, body: await response.text() }
      // Others ask so much that the agent has no time left; that it is not ready has the same status, but no time to come back.
      isBusy = answer.status === 503 && response.headers.has('retry-after')
      if (!isBusy) return answer
      await pause(BUSY_MS, until)
    }
  } catch (thrown) {
    throw new AgentError('E_NO_AGENT', `no agent answers at ${address}: ${isBusy ? TOO_BUSY : causeOf(thrown)}`)
  }
}

function causeOf(thrown: unknown): string {
  return thrown instanceof Error && thrown.cause instanceof Error ? thrown.cause.message : messageOf(thrown)
}

/** HOST:PORT as a URL wants it, of an agent that listens there. */
export function addressOf({ host, port }: { readonly host: string; readonly port: number }): string {
  const reachable = LOOPBACK[host] ?? host
  return `${reachable.includes(':') ? `[${reachable}]` : reachable}:${port}`
}
