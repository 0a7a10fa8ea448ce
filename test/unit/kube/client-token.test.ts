/** The token: whatever part of an answer a server or a proxy sends it back in, no failure that the client tells of holds it, nor a piece of it. */
import type { ServerResponse } from 'node:http'
import { inspect } from 'node:util'
import { beforeEach, describe, expect, it, vi } from 'vitest'
import { ApiPods } from '../../../src/kube/api-pods.ts'
import { clientOf, haveOpenssl, IMPATIENT, NODE, SOON, startServer } from './support.ts'

const openssl = haveOpenssl()
beforeEach((context) => {
  if (!openssl) context.skip('needs openssl')
})

const EVICTION = { path: '/api/v1/namespaces/ns/pods/p/eviction', body: {} }
/** What stands in the token file of startServer. */
const TOKEN = 'secret-token'

type Answer = (bearer: string, response: ServerResponse) => void

/** Everything of a failure that any logger could find, causes and all. */
async function toldOf(answer: Answer): Promise<string> {
  const server = await startServer((request, response) => answer(request.headers.authorization ?? '', response))
  const thrown: unknown = await clientOf(server)
    .call('createEviction', EVICTION)
    .catch((error: unknown) => error)
  expect(thrown).toBeInstanceOf(Error)
  return inspect(thrown, { depth: 10 })
}

const status = (fields: object): string => JSON.stringify({ kind: 'Status', status: 'Failure', code: 500, ...fields })

describe('a token that is sent back', () => {
  it.each<[string, Answer]>([
    ['in the message of a failure within a 201', (bearer, to) => to.writeHead(201).end(status({ message: `bad ${bearer}` }))],
    ['in its reason', (bearer, to) => to.writeHead(201).end(status({ message: 'm', reason: bearer }))],
    ['where its reason is cut', (bearer, to) => to.writeHead(201).end(status({ reason: `${'x'.repeat(90)}${bearer}` }))],
    [
      'in its causes',
      (bearer, to) => to.writeHead(201).end(status({ details: { causes: [{ reason: bearer, message: bearer }] } })),
    ],
    ['in the reason of a refusal', (bearer, to) => to.writeHead(403).end(status({ reason: bearer, message: 'no' }))],
    ['in the causes of a refusal', (bearer, to) => to.writeHead(429).end(status({ details: { causes: [{ reason: bearer }] } }))],
    ['in an answer that is not JSON', (bearer, to) => to.writeHead(200).end(bearer)],
    ['in a page of a proxy', (bearer, to) => to.writeHead(502).end(`<h1>${bearer}</h1>`)],
  ])('%s is not told', async (_, answer) => {
    const told = await toldOf(answer)
    expect(told).not.toContain(TOKEN)
    expect(told).not.toContain(TOKEN.slice(0, 6))
    expect(told).toContain('/eviction')
  })

  it('in the error of a watch, or in a line that is no event, is not told by the pod source', async () => {
    let line = ''
    const server = await startServer((request, response) => {
      const url = request.url ?? ''
      const bearer = request.headers.authorization ?? ''
      if (url.includes('watch=true')) response.writeHead(200).end(`${line.replaceAll('BEARER', bearer)}\n`)
      else if (url.includes('/nodes/')) response.end('{"kind":"Node"}')
      else response.end('{"metadata":{"resourceVersion":"5"},"items":[]}')
    })
    const lines = [
      JSON.stringify({ type: 'ERROR', object: { code: 500, reason: 'BEARER', message: 'what is BEARER' } }),
      JSON.stringify({ type: 'BEARER', object: { metadata: { resourceVersion: '6' } } }),
      'BEARER',
    ]
    for (line of lines) {
      const pods = new ApiPods({
        api: clientOf(server),
        server: server.url,
        nodeName: NODE,
        maxPods: 10,
        now: () => 0,
        backoffMs: IMPATIENT,
      })
      await vi.waitFor(() => expect(pods.list().problems).not.toEqual([]), SOON)
      expect(pods.list().problems.join()).not.toContain(TOKEN)
      pods.close()
    }
  })
})
