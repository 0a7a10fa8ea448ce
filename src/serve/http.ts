/**
 * The HTTP server: read-only but for the level of the log, bounded in everything a client can send (URL, headers, time, connections, one
 * request at a time, a body of some bytes for that level and else none), and without any work on the node. It shares its thread with the
 * loop that suppresses offline work, so no request may cost more than milliseconds, and all of them no more than their share (budget.ts).
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { AgentError, errnoOf, type Instant, messageOf } from '../model/index.ts'
import type { Logger, Recorder } from '../record/index.ts'
import { type Answer, refuse, type Refusal, text } from './answers.ts'
import { AnswerBudget } from './budget.ts'
import { boundConnections, OneAtATime } from './connections.ts'
import type { FlagInForce } from './flags.ts'
import { MAX_LEVEL_BYTES } from './log-level.ts'
import type { PageContext } from './pages.ts'
import { isProbe, route, takesBody } from './routes.ts'

/** More clients at once than scrapers, probes and people make up would only be there to do harm. */
const MAX_CONNECTIONS = 64
const MAX_HEADER_BYTES = 8 * 1024
const MAX_URL_CHARS = 2048
/** For the whole request, headers included. */
const REQUEST_TIMEOUT_MS = 5_000
const KEEP_ALIVE_MS = 15_000
/** Longer than a request may take, which has an answer of its own. */
const STALLED_MS = 10_000
const CHECK_INTERVAL_MS = 1_000
const DEFAULT_LIVE_MAX_AGE_MS = 10_000
/** Request lines hold a path only; the rest of the URL is of no interest. */
const BASE = 'http://agent'

export interface HttpOptions {
  readonly host: string
  /** 0 to 65535; 0 takes any free one. */
  readonly port: number
  readonly recorder: Recorder
  /** The effective configuration for /configz, with the origin of each value, as text and as JSON. */
  readonly configText?: () => string
  readonly configJson?: () => string
  /** The command line of the agent for /flagz. */
  readonly flags?: readonly FlagInForce[]
  readonly now: () => Instant
  /** Its level can be changed from the node. */
  readonly logger: Logger
  /**
   * Age of the last tick in ms beyond which /livez fails; above the calm pace of the loop.
   * @default 10000
   */
  readonly liveMaxAgeMs?: number
  /**
   * How long a connection may be idle between two requests, in ms.
   * @default 15000
   */
  readonly keepAliveMs?: number
  /**
   * How long a client may take nothing of an answer that waits for it, in ms.
   * @default 10000
   */
  readonly stalledMs?: number
}

export interface HttpServer {
  /** The port it listens on. */
  readonly port: number
  /** Ends open connections and resolves when the server is gone. */
  close(): Promise<void>
}

/** Listens, and resolves when it does. Throws AgentError E_HTTP_LISTEN if it can't. */
export async function startHttp(options: HttpOptions): Promise<HttpServer> {
  const {
    recorder,
    configText,
    configJson,
    flags,
    now,
    logger,
    liveMaxAgeMs = DEFAULT_LIVE_MAX_AGE_MS,
    keepAliveMs = KEEP_ALIVE_MS,
    stalledMs = STALLED_MS,
  } = options
  const context: PageContext = { recorder, now, liveMaxAgeMs, logger, configText, configJson, flags }
  const budget = new AnswerBudget()
  const oneAtATime = new OneAtATime()
  const server = createServer(
    {
      maxHeaderSize: MAX_HEADER_BYTES,
      requestTimeout: REQUEST_TIMEOUT_MS,
      headersTimeout: REQUEST_TIMEOUT_MS,
      keepAliveTimeout: keepAliveMs,
      connectionsCheckingInterval: CHECK_INTERVAL_MS,
    },
    (request, response) => {
      if (!oneAtATime.admits(request, response)) return
      answer(request, context, budget)
        .then((answered) => send(request, response, answered))
        .catch((thrown: unknown) => {
          logger.error({ err: thrown }, 'http answer not sent')
          response.destroy()
        })
    },
  )
  server.maxConnections = MAX_CONNECTIONS
  server.timeout = stalledMs
  boundConnections(server)
  const port = await listen(server, options)
  // Without a listener an error of the listening socket (such as EMFILE on accept) would end the agent.
  server.on('error', (error) => logger.warn({ err: error }, 'http server error'))
  return { port, close: () => close(server) }
}

function listen(server: Server, { host, port }: HttpOptions): Promise<number> {
  return new Promise((resolve, reject) => {
    const fail = (thrown: unknown): void => {
      reject(
        new AgentError('E_HTTP_LISTEN', `can't listen on ${host} port ${port}: ${errnoOf(thrown) ?? messageOf(thrown)}`, {
          cause: thrown,
        }),
      )
    }
    server.once('error', fail)
    server.listen({ host, port }, () => {
      server.removeListener('error', fail)
      const address = server.address()
      resolve(typeof address === 'object' && address !== null ? address.port : port)
    })
  })
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve())
    server.closeAllConnections()
  })
}

/** Never rejects: a fault in a page is an answer too, and its details go to the log instead of to the client. */
async function answer(request: IncomingMessage, context: PageContext, budget: AnswerBudget): Promise<Answer> {
  const { method = '', url = '/', headers } = request
  const { accept = '', origin } = headers
  const { now, logger } = context
  if (url.length > MAX_URL_CHARS) return refuse(414, { message: `the URL is longer than ${MAX_URL_CHARS} characters` }, accept)
  if (!URL.canParse(url, BASE)) return refuse(400, { message: 'not a URL' }, accept)
  const { pathname: path, searchParams: query } = new URL(url, BASE)
  try {
    const sent = await bodyOf(request, takesBody(method, path))
    if (sent === undefined) return refuse(413, { message: bodyRule(takesBody(method, path)) }, accept)
    const began = now().nowMs
    if (!budget.allows(began) && !isProbe(path)) return refuse(503, BUSY, accept)
    const asked = { method, path, query, accept, peer: peerOf(request), ...(origin === undefined ? {} : { origin }), ...sent }
    const answered = await route(asked, context)
    budget.spend(now().nowMs - began)
    return answered
  } catch (thrown) {
    logger.error({ err: thrown, path }, 'http request failed')
    return text(500, 'internal error, see the log of the agent\n')
  }
}

const BUSY: Refusal = {
  message: 'too many requests: answers have had their share of the time of the agent',
  hint: 'Ask again in a second. If this stays, find who asks so often.',
  headers: { 'Retry-After': '1' },
}

/** The address of the client; empty where a proxy says that it asks for somebody else. */
function peerOf({ headers, socket }: IncomingMessage): string {
  const isForwarded = FORWARDED.some((name) => headers[name] !== undefined)
  return isForwarded ? '' : (socket.remoteAddress ?? '')
}

/** RFC 7239, RFC 9110 §7.6.3, and what was used before them. */
const FORWARDED = ['forwarded', 'via', 'x-forwarded-for', 'x-real-ip']

function bodyRule(takes: boolean): string {
  return takes ? `a body here is at most ${MAX_LEVEL_BYTES} bytes, with its Content-Length` : 'a request with a body is not read'
}

/** The body, if the request has one; undefined for one that is refused: it is not read where none is taken, nor when it is too long. */
async function bodyOf(request: IncomingMessage, takes: boolean): Promise<{ readonly body?: string } | undefined> {
  if (!hasBody(request)) return {}
  const length = request.headers['transfer-encoding'] === undefined ? Number(request.headers['content-length']) : Infinity
  if (!takes || !(length <= MAX_LEVEL_BYTES)) return undefined
  const parts: Buffer[] = []
  try {
    // Node ends the body where its Content-Length says.
    for await (const part of request) parts.push(part as Buffer)
  } catch {
    // The client hung up: whatever is answered reaches nobody.
    return undefined
  }
  return { body: Buffer.concat(parts).toString('utf8') }
}

function hasBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || (headers['content-length'] ?? '0') !== '0'
}

function send(request: IncomingMessage, response: ServerResponse, { status, type, body, headers }: Answer): void {
  // What follows an unread body on the connection can't be told from it.
  if (hasBody(request)) response.shouldKeepAlive = false
  response.writeHead(status, {
    'Content-Type': type,
    'Content-Length': Buffer.byteLength(body),
    'Cache-Control': 'no-store',
    'X-Content-Type-Options': 'nosniff',
    'X-Frame-Options': 'DENY',
    'Referrer-Policy': 'no-referrer',
    'Content-Security-Policy': "default-src 'none'; frame-ancestors 'none'",
    ...headers,
  })
  response.end(request.method === 'HEAD' ? undefined : body)
}
