/** What clients can do together, or one that means harm: connections, requests without waiting, answers nobody takes, time. */
import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import type { Recorder } from '../../../src/record/index.ts'
import { AnswerBudget } from '../../../src/serve/budget.ts'
import { MAX_PEER_CONNECTIONS } from '../../../src/serve/connections.ts'
import { type HttpOptions, type HttpServer, startHttp } from '../../../src/serve/index.ts'
import { capturedLogger, recorder, writingTick } from '../record/fixtures.ts'

const LIVEZ = 'GET /livez HTTP/1.1\r\nHost: x\r\n\r\n'
/** More than the buffers of both ends of a connection hold. */
const ANSWER_BYTES = 32 * 1024 * 1024
const WAIT = { timeout: 10_000, interval: 20 }

let server: HttpServer
let record: Recorder
let nowMs: number

async function start(over: Partial<HttpOptions> = {}): Promise<void> {
  const { logger } = capturedLogger()
  const now = () => ({ nowMs, wallMs: 0 })
  server = await startHttp({ host: '127.0.0.1', port: 0, recorder: record, now, logger, ...over })
}

beforeEach(async () => {
  nowMs = 11_200
  record = recorder()
  record.tick(writingTick())
  await start()
})

afterEach(() => server.close())

interface Client {
  readonly socket: Socket
  readonly text: () => string
  readonly closed: () => boolean
}

/** A connection from 127.0.0.N. */
function client(last = 1): Client {
  const state = { text: '', closed: false }
  const socket = connect({ port: server.port, host: '127.0.0.1', localAddress: `127.0.0.${last}` })
  socket.on('data', (data) => (state.text += data.toString('latin1')))
  socket.on('error', () => undefined)
  socket.on('close', () => (state.closed = true))
  onTestFinished(() => void socket.destroy())
  return { socket, text: () => state.text, closed: () => state.closed }
}

const statuses = (text: string): readonly string[] => [...text.matchAll(/HTTP\/1\.1 (\d{3})/g)].map(([, status = '']) => status)

describe('connections', () => {
  it(`are ${MAX_PEER_CONNECTIONS} from one address at most, and another address is answered meanwhile`, async () => {
    const greedy = Array.from({ length: 80 }, () => client())
    const open = () => greedy.filter(({ closed }) => !closed()).length
    await vi.waitFor(() => expect(open()).toBe(MAX_PEER_CONNECTIONS), WAIT)
    const other = client(2)
    other.socket.write(LIVEZ)
    await vi.waitFor(() => expect(statuses(other.text())).toEqual(['200']), WAIT)
    expect(open()).toBe(MAX_PEER_CONNECTIONS)
    // A place that is given back is there for the next one.
    greedy.find(({ closed }) => !closed())?.socket.destroy()
    await vi.waitFor(async () => {
      const next = client()
      next.socket.write(LIVEZ)
      await sleep(20)
      expect(statuses(next.text())).toEqual(['200'])
    }, WAIT)
  })

  it('are 64 in all, and idle ones make room', async () => {
    const all = Array.from({ length: 64 }, (_, index) => client(2 + Math.floor(index / MAX_PEER_CONNECTIONS)))
    for (const { socket } of all) socket.write(LIVEZ)
    await vi.waitFor(() => expect(all.every(({ text }) => statuses(text()).length === 1)).toBe(true), WAIT)
    const turnedAway = client(9)
    await vi.waitFor(() => expect(turnedAway.closed()).toBe(true), WAIT)
    await vi.waitFor(() => expect(all.filter(({ closed }) => closed()).length).toBe(64), WAIT)
    const next = client(9)
    next.socket.write(LIVEZ)
    await vi.waitFor(() => expect(statuses(next.text())).toEqual(['200']), WAIT)
  })

  it('end when the client takes nothing of its answer', async () => {
    await server.close()
    const configText = (): string => 'x'.repeat(ANSWER_BYTES)
    await start({ configText, stalledMs: 300 })
    const { socket, text, closed } = client()
    socket.pause()
    socket.write('GET /configz HTTP/1.1\r\nHost: x\r\n\r\n')
    await sleep(1500)
    socket.resume()
    await vi.waitFor(() => expect(closed()).toBe(true), WAIT)
    expect(statuses(text().slice(0, 100))).toEqual(['200'])
    expect(text().length).toBeLessThan(ANSWER_BYTES)
  })
})

describe('requests', () => {
  it('that do not wait for the answer before them are not answered, and the connection ends', async () => {
    const { socket, text, closed } = client()
    let rendered = 0
    vi.spyOn(record, 'status').mockImplementation((...args) => {
      rendered += 1
      return Object.getPrototypeOf(record).status.apply(record, args) as ReturnType<Recorder['status']>
    })
    socket.write('GET /statusz HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(500))
    await vi.waitFor(() => expect(closed()).toBe(true), WAIT)
    expect(statuses(text())).toEqual(['200'])
    expect(text()).toContain('\r\nConnection: close\r\n')
    expect(rendered).toBe(1)
  })

  it('one after the other are all answered on one connection', async () => {
    const { socket, text } = client()
    for (let asked = 1; asked <= 20; asked += 1) {
      socket.write('GET /statusz?format=json HTTP/1.1\r\nHost: x\r\n\r\n')
      await vi.waitFor(() => expect(text().split('"uptimeMs"').length - 1).toBe(asked), WAIT)
    }
    expect(statuses(text())).toEqual(Array.from({ length: 20 }, () => '200'))
  })

  it('beyond the share of time that answers have are told to wait, but for those of the kubelet', async () => {
    const status = async (path: string) => (await fetch(`http://127.0.0.1:${server.port}${path}`)).status
    const slow = vi.spyOn(record, 'journal').mockImplementation(() => {
      nowMs += 80
      return { entries: [], next: 0, oldest: 0 }
    })
    expect([await status('/journal'), await status('/journal'), await status('/journal')]).toEqual([200, 200, 503])
    expect(slow).toHaveBeenCalledTimes(2)
    expect([await status('/statusz'), await status('/metrics')]).toEqual([503, 503])
    expect([await status('/livez'), await status('/readyz')]).toEqual([200, 200])
    const busy = await fetch(`http://127.0.0.1:${server.port}/statusz`)
    expect(busy.headers.get('retry-after')).toBe('1')
    expect(await busy.text()).toMatch(/^too many requests: .*\nAsk again in a second/)
    nowMs += 1000
    expect(await status('/statusz')).toBe(200)
  })
})

describe('the budget', () => {
  it('lets no more than a fifth of the time go into answers, whatever they cost', () => {
    for (const costMs of [0.2, 3, 40]) {
      const budget = new AnswerBudget()
      let spentMs = 0
      let atMs = 0
      while (atMs < 60_000) {
        if (budget.allows(atMs)) {
          budget.spend(costMs)
          spentMs += costMs
          atMs += costMs
        } else atMs += 0.5
      }
      expect(spentMs).toBeGreaterThan(11_000)
      expect(spentMs).toBeLessThan(12_000 + 100 + costMs + 1)
    }
  })
})

it('a request that a proxy makes for somebody else is not one of this node', async () => {
  const put = async (headers: Record<string, string>) =>
    (await fetch(`http://127.0.0.1:${server.port}/loglevel`, { method: 'PUT', body: 'debug', headers })).status
  for (const name of ['Forwarded', 'X-Forwarded-For', 'X-Real-IP', 'Via']) expect(await put({ [name]: '10.0.0.7' })).toBe(403)
  expect(await put({})).toBe(200)
})
