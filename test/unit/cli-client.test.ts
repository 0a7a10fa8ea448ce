/** Asking an agent that others ask too much: the question waits for its turn, and says what is the matter when that does not come. */
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
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
  return (signal?: AbortSignal) =>
    ask({ flags: { address: `127.0.0.1:${port}` }, operands: [] }, loadConfig().config, '/statusz', {
      accept: 'text/plain',
      signal,
    })
}

it('asks again while the agent has no time', async () => {
  const asking = await answering(BUSY, BUSY, { status: 200 })
  expect(await asking()).toEqual({ status: 200, body: 'answer 3' })
})

it('says that the agent is there, but busy', async () => {
  const asking = await answering(BUSY)
  await expect(asking(AbortSignal.timeout(700))).rejects.toMatchObject({
    code: 'E_NO_AGENT',
    message: expect.stringContaining('it is there, but gets more requests than it has time for') as unknown,
  })
})

it('takes it as an answer that the agent is not ready', async () => {
  const asking = await answering({ status: 503 })
  expect(await asking()).toEqual({ status: 503, body: 'answer 1' })
})
