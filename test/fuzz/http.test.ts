/**
 * Any bytes at the HTTP server, over real connections: each ends soon, in answers that are refusals or pages and never a fault of ours; and
 * afterwards the server serves as before and holds no connection.
 */
import { connect, type Socket } from 'node:net'
import * as fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type HttpServer, startHttp } from '../../src/serve/index.ts'
import { capturedLogger, type LogLine, recorder, writingTick } from '../unit/record/fixtures.ts'
import { announce, fuzzAsync, RUNS, spoilt, texts, TIMEOUT_MS } from './support.ts'

announce('http')

let server: HttpServer
let lines: LogLine[]

beforeAll(async () => {
  const record = recorder()
  record.tick(writingTick())
  const captured = capturedLogger()
  lines = captured.lines
  const { logger } = captured
  server = await startHttp({
    host: '127.0.0.1',
    port: 0,
    recorder: record,
    configText: () => 'mode: enforce\n',
    now: () => ({ nowMs: 11_200, wallMs: 0 }),
    logger,
  })
})

afterAll(() => server.close())

/** After so long without a byte the client hangs up: it has got what it gets. */
const QUIET_MS = 25
/** The server's own bound for a request is 5 s; nobody waits so long here, for the client hangs up first. */
const MOST_MS = 10_000

let connections = 0

/** Each from another of eight addresses: the server takes only so many connections from one. */
function connected(begin: Buffer | string): Socket {
  connections += 1
  const localAddress = `127.0.0.${1 + (connections % 8)}`
  const socket = connect({ port: server.port, host: '127.0.0.1', localAddress }, () => socket.write(begin))
  return socket
}

/** Sends bytes, hangs up when nothing more comes, and tells all that came. */
function exchange(bytes: Buffer): Promise<string> {
  return new Promise((resolve, reject) => {
    const parts: Buffer[] = []
    const socket = connected(bytes)
    const bound = setTimeout(() => {
      socket.destroy()
      reject(new Error(`the connection is still open after ${MOST_MS} ms`))
    }, MOST_MS)
    const quiet = setTimeout(() => socket.end(), QUIET_MS)
    socket.on('data', (data) => {
      parts.push(data)
      quiet.refresh()
    })
    // A refusal may overtake the rest of what is sent.
    socket.on('error', () => {})
    socket.on('close', () => {
      clearTimeout(bound)
      clearTimeout(quiet)
      resolve(Buffer.concat(parts).toString('latin1'))
    })
  })
}

const ALLOWED = new Set(['200', '400', '404', '405', '406', '408', '413', '414', '417', '431', '503'])

const seen = new Set<string>()

/** The status of each answer in what came; what is no answer at all is a fault. */
function statusesOf(answer: string): string[] {
  if (answer !== '' && !answer.startsWith('HTTP/1.1 ')) throw new Error(`no answer: ${JSON.stringify(answer.slice(0, 100))}`)
  const statuses = [...answer.matchAll(/(?:^|\n|\})HTTP\/1\.1 (\d{3}) /g)].map(([, status = '']) => status)
  for (const status of statuses) if (!ALLOWED.has(status) && status !== '100') throw new Error(`answered with ${status}`)
  for (const status of statuses) seen.add(status)
  return statuses
}

const PATHS = [
  '/',
  '/?format=text',
  '/metrics',
  '/livez',
  '/healthz',
  '/flagz',
  '/readyz?verbose',
  '/statusz?format=json',
  '/configz',
  '/history?since=3',
  '/loglevel',
  '/ui/status.js',
  '/journal?since=0&limit=5&pod=default/web',
  '/explain?subject=pod/default/web',
  '/explain?subject=cpu/3&format=json',
  '/explain?subject=group/../../etc/passwd',
  '/explain?subject=__proto__/constructor',
  '//metrics',
  '/../metrics',
  'http://elsewhere/metrics',
  '*',
]
const method = fc.oneof(
  { arbitrary: fc.constantFrom('GET', 'HEAD'), weight: 6 },
  fc.constantFrom('POST', 'PUT', 'OPTIONS', 'TRACE', 'CONNECT', 'BREW', 'get', ''),
)
const target = fc.oneof(
  { arbitrary: fc.constantFrom(...PATHS), weight: 4 },
  {
    arbitrary: spoilt(...PATHS).map((path) => encodeURI(path.replaceAll(/[\uD800-\uDFFF]/g, '')).replaceAll(' ', '%20')),
    weight: 4,
  },
  { arbitrary: spoilt(...PATHS), weight: 1 },
  fc.nat(20_000).map((length) => `/${'x'.repeat(length)}`),
  fc.webUrl({ withQueryParameters: true }).map((url) => url.slice(url.indexOf('/', 8))),
)
const HEADERS = [
  'Host: a',
  'Accept: application/json',
  'Accept: image/png, text/*;q=0',
  'Connection: close',
  'Connection: upgrade\r\nUpgrade: websocket',
  'Expect: 100-continue',
  'Expect: nothing',
  'Content-Length: 5',
  'Content-Length: -1',
  'Content-Length: 99999999999999999999',
  'Transfer-Encoding: chunked',
  'Transfer-Encoding: x',
  'If-None-Match: *',
  'Range: bytes=0-0',
  '__proto__: a',
  ' folded: a',
  'X: \0',
  `X: ${'y'.repeat(9000)}`,
]
const headers = fc.oneof(
  fc.array(fc.constantFrom(...HEADERS), { maxLength: 4 }),
  fc.array(spoilt(...HEADERS), { maxLength: 3 }),
  fc.nat(300).map((count) => Array.from({ length: count }, (_, index) => `x${index}: y`)),
)
const body = fc.oneof(
  { arbitrary: fc.constant(''), weight: 5 },
  fc.constantFrom('hello', 'debug', '5\r\nhello\r\n0\r\n\r\n', 'ffffffffffff\r\n', 'z'.repeat(100_000)),
)
const request = fc
  .tuple(method, target, fc.constantFrom('HTTP/1.1', 'HTTP/1.1', 'HTTP/1.0', 'HTTP/2.0', ''), headers, body)
  .map(([verb, path, version, fields, text]) => {
    const lead = fields.some((field) => field.startsWith('Host:')) ? fields : ['Host: a', ...fields]
    return `${verb} ${path} ${version}\r\n${lead.join('\r\n')}\r\n\r\n${text}`
  })
const bytes = fc.oneof(
  { arbitrary: request, weight: 8 },
  { arbitrary: fc.array(request, { minLength: 2, maxLength: 8 }).map((requests) => requests.join('')), weight: 2 },
  texts('GET / HTTP/1.1\r\nHost: a\r\n\r\n', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', '\x16\x03\x01\x02\x00\x01\x00'),
)

/** So many connections at once, as many as fit beside others into what the server takes. */
const AT_ONCE = 40

describe('the HTTP server', () => {
  fuzzAsync(
    'answers whatever comes with a page or a refusal, and hangs up',
    fc.array(bytes, { minLength: AT_ONCE, maxLength: AT_ONCE, size: 'max' }),
    async (all) => {
      const answers = await Promise.all(all.map((text) => exchange(Buffer.from(text, 'latin1'))))
      const statuses = answers.flatMap(statusesOf)
      return statuses.includes('200') ? 'taken' : 'refused'
    },
    { runs: Math.ceil(RUNS / AT_ONCE), reaches: ['taken'] },
  )

  it('serves afterwards as before, and has logged no fault', async () => {
    expect(await exchange(Buffer.from('GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'))).toMatch(/^HTTP\/1\.1 200 /)
    // PUT found its way to the one page that takes it.
    expect(lines.filter(({ msg }) => msg !== 'log level changed')).toEqual([])
    // What was sent has found its way to every refusal that there is.
    for (const status of ['200', '400', '404', '405', '413', '414', '431']) expect([...seen]).toContain(status)
  })

  it('ends those who never finish a request within seconds, and then serves the next one', { timeout: TIMEOUT_MS }, async () => {
    const slow = Array.from({ length: 64 }, (_, index) =>
      drip(index % 2 === 0 ? 'GET /livez HTTP/1.1\r\nHost: a\r\nX: ' : 'GET /'),
    )
    const lastedMs = await Promise.all(slow)
    expect(Math.max(...lastedMs)).toBeLessThan(20_000)
    expect(await exchange(Buffer.from('GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'))).toMatch(/^HTTP\/1\.1 200 /)
  })
})

/** Sends a byte now and then and never the end of it. Resolves with how long the server stood for it, in ms. */
function drip(begin: string): Promise<number> {
  return new Promise((resolve) => {
    const beganMs = performance.now()
    const socket = connected(begin)
    const timer = setInterval(() => socket.write('y'), 200)
    socket.on('error', () => {})
    socket.on('close', () => {
      clearInterval(timer)
      resolve(performance.now() - beganMs)
    })
    socket.resume()
  })
}
