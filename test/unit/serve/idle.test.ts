/** Connections that are kept between requests: for as long as the answer says, and no longer. */
import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, it, onTestFinished, vi } from 'vitest'
import { type HttpOptions, startHttp } from '../../../src/serve/index.ts'
import { capturedLogger, recorder, STARTED_MS } from '../record/fixtures.ts'

const REQUEST = 'GET /livez HTTP/1.1\r\nHost: x\r\n\r\n'

interface Kept {
  readonly socket: Socket
  readonly answers: () => number
  readonly text: () => string
  readonly closed: () => boolean
}

/** A connection to a server of its own, that stays open until somebody closes it. */
async function kept(over: Partial<HttpOptions> = {}): Promise<Kept> {
  const { logger } = capturedLogger()
  const now = () => ({ nowMs: STARTED_MS, wallMs: 0 })
  const server = await startHttp({ host: '127.0.0.1', port: 0, recorder: recorder(logger), now, logger, ...over })
  const state = { text: '', closed: false }
  const socket = connect(server.port, '127.0.0.1')
  socket.on('data', (data) => (state.text += data.toString()))
  socket.on('error', () => undefined)
  socket.on('close', () => (state.closed = true))
  onTestFinished(async () => {
    socket.destroy()
    await server.close()
  })
  await new Promise((resolve) => socket.once('connect', resolve))
  const answers = (): number => state.text.split('HTTP/1.1 200').length - 1
  return { socket, answers, text: () => state.text, closed: () => state.closed }
}

it('a connection is kept for 15 s between requests, and the answer says so', async () => {
  const { socket, answers, text, closed } = await kept()
  socket.write(REQUEST)
  await vi.waitFor(() => expect(answers()).toBe(1), { timeout: 10_000 })
  expect(text()).toMatch(/\r\nConnection: keep-alive\r\nKeep-Alive: timeout=15\r\n/)
  await sleep(300)
  expect(closed()).toBe(false)
})

it('a connection that is idle for longer is closed, and one that asks in time is not', async () => {
  const { socket, answers, closed } = await kept({ keepAliveMs: 1500 })
  for (let asked = 1; asked <= 4; asked += 1) {
    socket.write(REQUEST)
    await vi.waitFor(() => expect(answers()).toBe(asked), { timeout: 10_000 })
    await sleep(500)
    expect(closed()).toBe(false)
  }
  await vi.waitFor(() => expect(closed()).toBe(true), { timeout: 15_000 })
})
