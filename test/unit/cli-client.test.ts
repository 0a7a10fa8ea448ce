/**
 * Asking an agent, wherever it listens; and telling one that is not there from one that hangs, and from one that others ask too much, where
 * the question waits for its turn.
 */
import { createServer, type Server } from 'node:http'
import { type AddressInfo, createServer as createTcpServer, type Socket } from 'node:net'
import { expect, it, onTestFinished } from 'vitest'
import { ask } from '../../src/cli/client.ts'
import { loadConfig } from '../../src/config/index.ts'

interface Told {
  readonly status: number
  readonly headers?: Readonly<Record<string, string>>
}
const BUSY: Told = { status: 503, headers: { 'Retry-After': '1' } }

/** Answers as told, the last of it again and again; gives what to ask it with. */
async function answering(...told: readonly [Told, ...Told[]]) {
  let asked = 0
  const server: Server = createServer((_request, response) => {
    const { status, headers = {} } = told[Math.min(asked, told.length - 1)] ?? told[0]
    asked += 1
    response.writeHead(status, headers).end(`answer ${asked}`)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  return (signal?: AbortSignal) => askAt(`127.0.0.1:${port}`, signal)
}

function askAt(address: string, signal?: AbortSignal) {
  return ask({ flags: { address }, operands: [] }, loadConfig().config, '/statusz', { accept: 'text/plain', signal })
}

/** Takes connections and does with them as told; gives its port. */
async function taking(onConnection: (socket: Socket) => void): Promise<number> {
  const sockets: Socket[] = []
  const server = createTcpServer((socket) => {
    sockets.push(socket.on('error', () => undefined))
    onConnection(socket)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return (server.address() as AddressInfo).port
}

/** That browsers block, and fetch() with them. */
const BLOCKED_PORTS = [10_080, 6666, 6667, 6668, 6669, 6000, 5060, 5061]

it('asks at a port that browsers block', async (context) => {
  for (const port of BLOCKED_PORTS) {
    const server = createServer((_request, response) => void response.end('here'))
    const listens = await new Promise<boolean>((resolve) => {
      server.on('error', () => resolve(false)).listen(port, '127.0.0.1', () => resolve(true))
    })
    if (!listens) continue
    onTestFinished(() => void server.close())
    expect(await askAt(`127.0.0.1:${port}`)).toEqual({ status: 200, body: 'here' })
    return
  }
  context.skip('all ports that browsers block are taken here')
})

it('says that no agent is there', async () => {
  await expect(askAt('127.0.0.1:1')).rejects.toMatchObject({
    code: 'E_NO_AGENT',
    message: 'no agent answers at 127.0.0.1:1: connect ECONNREFUSED 127.0.0.1:1',
  })
})

it('tells one that hangs from one that is not there, after 5 s', { timeout: 30_000 }, async () => {
  const port = await taking(() => undefined)
  await expect(askAt(`127.0.0.1:${port}`)).rejects.toMatchObject({
    code: 'E_NO_ANSWER',
    message: `an agent is there at 127.0.0.1:${port}, but does not answer within 5 s`,
    hint: expect.stringMatching(/its log.*\/livez/) as unknown,
  })
})

it('gives up an answer that begins and does not end', async () => {
  const port = await taking((socket) => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf'))
  await expect(askAt(`127.0.0.1:${port}`, AbortSignal.timeout(300))).rejects.toMatchObject({ code: 'E_NO_ANSWER' })
})

it('reads no answer without an end', { timeout: 30_000 }, async () => {
  const megabyte = Buffer.alloc(1024 * 1024, 'x')
  const port = await taking((socket) => {
    const pour = (): void => {
      while (!socket.destroyed && socket.write(megabyte));
    }
    socket.write('HTTP/1.1 200 OK\r\n\r\n')
    socket.on('drain', pour)
    pour()
  })
  await expect(askAt(`127.0.0.1:${port}`)).rejects.toMatchObject({
    code: 'E_NO_AGENT',
    message: expect.stringContaining('the answer is longer than 67108864 bytes') as unknown,
  })
})

it.each(['two words:1', '127.0.0.1:99999'])('takes no %j for an address', async (address) => {
  await expect(askAt(address)).rejects.toMatchObject({
    code: 'E_USAGE',
    message: `not an address of an agent: "${address}", expected HOST:PORT`,
  })
})

it('asks again while the agent has no time', async () => {
  const asking = await answering(BUSY, BUSY, { status: 200 })
  expect(await asking()).toEqual({ status: 200, body: 'answer 3' })
})

it('says that the agent is there, but busy', async () => {
  const asking = await answering(BUSY)
  await expect(asking(AbortSignal.timeout(700))).rejects.toMatchObject({
    code: 'E_NO_ANSWER',
    message: expect.stringContaining('it is there, but gets more requests than it has time for') as unknown,
  })
})

it('takes it as an answer that the agent is not ready', async () => {
  const asking = await answering({ status: 503 })
  expect(await asking()).toEqual({ status: 503, body: 'answer 1' })
})
