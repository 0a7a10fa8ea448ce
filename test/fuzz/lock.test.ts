/** Anything in the place of the lock: a pid that makes sense, a living owner without one, or none; and never a wait without end. */
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { lockOwner, takeLock } from '../../src/actuate/index.ts'
import { announce, byteStrings, fuzzAsync, scratchDirectory } from './support.ts'

announce('lock')

const directory = scratchDirectory()
let answer: Buffer = Buffer.alloc(0)
let server: Server

beforeAll(async () => {
  server = createServer((socket) => {
    socket.on('error', () => socket.destroy())
    socket.end(answer)
  })
  await new Promise<void>((resolve) => server.listen(join(directory, 'agent.lock'), resolve))
})

afterAll(async () => {
  await new Promise((resolve) => server.close(resolve))
  rmSync(directory, { recursive: true, force: true })
})

describe('the lock', () => {
  fuzzAsync(
    'is held by whoever answers, and no pid is made up',
    byteStrings(Buffer.from('1234\n'), Buffer.from('1')),
    async (bytes) => {
      answer = bytes
      const owner = await lockOwner(directory)
      if (owner === undefined || !Number.isSafeInteger(owner) || owner < 0 || owner >= 1e7)
        throw new Error(`an owner of ${owner}`)
      return owner === 0 ? 'refused' : 'taken'
    },
  )

  it('does not wait for the end of an owner that never stops talking, or never begins', async () => {
    const talkative = mkdtempSync(join(tmpdir(), 'kube-agent-fuzz-'))
    for (const text of ['1', '']) {
      let timer: NodeJS.Timeout | undefined
      const endless = createServer((socket) => {
        socket.on('error', () => {})
        if (text !== '') timer = setInterval(() => socket.write(text), 100)
      })
      await new Promise<void>((resolve) => endless.listen(join(talkative, 'agent.lock'), resolve))
      const before = performance.now()
      expect(await lockOwner(talkative)).toBeGreaterThanOrEqual(0)
      expect(performance.now() - before).toBeLessThan(8000)
      clearInterval(timer)
      await new Promise((resolve) => endless.close(resolve))
    }
    rmSync(talkative, { recursive: true, force: true })
  })

  it.each<[string, (path: string) => void, 'taken over' | 'refused']>([
    ['a file', (path) => writeFileSync(path, '1234\n'), 'taken over'],
    ['a link that leads nowhere', (path) => symlinkSync('/nowhere/at/all', path), 'taken over'],
    ['a link to itself', (path) => symlinkSync('agent.lock', path), 'taken over'],
    ['a directory', (path) => mkdirSync(join(path, 'inner'), { recursive: true }), 'refused'],
  ])('in whose place %s stands is %s', async (_, place, outcome) => {
    const state = mkdtempSync(join(tmpdir(), 'kube-agent-fuzz-'))
    place(join(state, 'agent.lock'))
    if (outcome === 'refused') {
      await expect(takeLock(state)).rejects.toMatchObject({ code: 'E_STATE_DIR', message: expect.stringContaining(state) })
      expect(readdirSync(state)).toEqual(['agent.lock'])
    } else {
      const unlock = await takeLock(state)
      expect(await lockOwner(state)).toBe(process.pid)
      unlock()
    }
    rmSync(state, { recursive: true, force: true })
  })
})
