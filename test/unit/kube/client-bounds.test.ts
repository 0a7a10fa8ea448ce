/** How much the client takes of an answer: a list up to 64 MiB, anything else up to 1 MiB; what is longer is refused before it is all here. */
import { setTimeout as sleep } from 'node:timers/promises'
import { beforeEach, describe, expect, it, vi } from 'vitest'
import type { ApiContentError } from '../../../src/kube/api.ts'
import { clientOf, haveOpenssl, SOON, startServer } from './support.ts'

const openssl = haveOpenssl()
beforeEach((context) => {
  if (!openssl) context.skip('needs openssl')
})

const MIB = 2 ** 20
const LIST = { path: '/api/v1/pods' }
const NODE_PATH = { path: '/api/v1/nodes/n' }

/** A server of answers of so many bytes, and what it could send of the last one before the connection ended. */
async function longWinded() {
  const state = { bytes: 0, sent: 0, ended: false }
  const chunk = Buffer.alloc(MIB, ' ')
  const server = await startServer((_request, response) => {
    state.sent = 0
    state.ended = false
    response.on('close', () => (state.ended = true))
    const more = (): void => {
      if (response.destroyed) return
      const length = Math.min(MIB, state.bytes - state.sent)
      if (length === 0) {
        response.end()
        return
      }
      state.sent += length
      response.write(chunk.subarray(0, length), () => more())
    }
    more()
  })
  return { state, client: clientOf(server, { requestMs: 60_000 }) }
}

describe('an answer', () => {
  it('that is a list is taken up to 64 MiB, and not a byte more', async () => {
    const { state, client } = await longWinded()
    state.bytes = 64 * MIB
    expect((await client.read('listPods', LIST)).length).toBe(64 * MIB)
    state.bytes = 64 * MIB + 1
    const thrown = (await client.read('listPods', LIST).catch((error: unknown) => error)) as ApiContentError
    expect(thrown).toMatchObject({ tooLarge: true })
    expect(thrown.message).toContain(`the answer is longer than ${64 * MIB} bytes`)
    state.bytes = 3
    expect((await client.read('listPods', LIST)).toString()).toBe('   ')
  })

  it('without an end is cut off at the bound, and its connection closed', async () => {
    const { state, client } = await longWinded()
    state.bytes = Infinity
    await expect(client.read('getNode', NODE_PATH)).rejects.toThrow(`longer than ${MIB} bytes`)
    await vi.waitFor(() => expect(state.ended).toBe(true), SOON)
    const { sent } = state
    await sleep(50)
    expect(state.sent).toBe(sent)
    // What the sockets of both sides may hold beyond it.
    expect(sent).toBeLessThan(32 * MIB)
  })
})
