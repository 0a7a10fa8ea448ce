/**
 * The lock and the state directory when a call on them fails: one clear error that names the path, nothing left behind that would grow, no living
 * agent taken for a dead one, and the lock to be had again as soon as the calls succeed.
 */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import { lockOwner, RestoreJournal, takeLock } from '../../src/actuate/index.ts'
import { messageOf } from '../../src/model/index.ts'
import { type FileOperation, fileError, fileFaults } from '../support/faulty-files.ts'

vi.mock('node:fs', async (load) => {
  const { faultyFs } = await import('../support/faulty-files.ts')
  return faultyFs(await load())
})

/** What the next connections fail with before they are made. */
const connecting = vi.hoisted(() => ({ errno: '' }))
vi.mock('node:net', async (load) => {
  const net = await load<typeof import('node:net')>()
  const connect = (path: string): unknown => {
    if (connecting.errno === '') return net.connect(path)
    const socket = new net.Socket()
    setImmediate(() => socket.destroy(fileError(connecting.errno, 'connect')))
    return socket
  }
  return { ...net, connect }
})

let root: string
let state: string

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'kube-agent-state-'))
  state = join(root, 'state')
})

afterEach(() => {
  connecting.errno = ''
  fileFaults()
  rmSync(root, { recursive: true, force: true })
})

const failing = (operation: FileOperation, errno: string): void =>
  fileFaults((name, path) => (name === operation && path.startsWith(state) ? errno : undefined))

/** A lock whose holder is gone: the name is there and nobody listens. */
async function deadLock(): Promise<void> {
  const unlock = await takeLock(state)
  fileFaults((operation, path) => (operation === 'rmSync' && path.includes('agent.lock/') ? 'EIO' : undefined))
  expect(unlock).toThrow('EIO')
  fileFaults()
  expect(readdirSync(state)).toEqual(['agent.lock'])
  expect(await lockOwner(state)).toBeUndefined()
}

describe('the lock', () => {
  it.each<[FileOperation, string]>([
    ['mkdirSync', 'EROFS'],
    ['statSync', 'EACCES'],
    ['chmodSync', 'EPERM'],
    ['renameSync', 'EIO'],
    ['renameSync', 'ENOSPC'],
  ])('is not taken when %s fails with %s, and leaves nothing in the directory', async (operation, errno) => {
    failing(operation, errno)
    for (let tries = 0; tries < 3; tries += 1) {
      const thrown: unknown = await takeLock(state).catch((error: unknown) => error)
      expect(thrown).toMatchObject({ code: 'E_STATE_DIR' })
      expect(messageOf(thrown)).toContain(state)
      expect(messageOf(thrown)).toContain(errno)
    }
    fileFaults()
    // The first two fail before it is made.
    if (operation !== 'mkdirSync' && operation !== 'statSync') expect(readdirSync(state)).toEqual([])
    const unlock = await takeLock(state)
    expect(await lockOwner(state)).toBe(process.pid)
    unlock()
    expect(readdirSync(state)).toEqual([])
  })

  it('of a dead agent that can not be removed is an error that says so, and is taken over once it can', async () => {
    await deadLock()
    failing('unlinkSync', 'EIO')
    const thrown: unknown = await takeLock(state).catch((error: unknown) => error)
    expect(thrown).toMatchObject({ code: 'E_STATE_DIR', message: expect.stringContaining('can') as string })
    expect(messageOf(thrown)).toContain(join(state, 'agent.lock'))
    fileFaults()
    expect(readdirSync(state)).toEqual(['agent.lock'])
    const unlock = await takeLock(state)
    unlock()
    expect(readdirSync(state)).toEqual([])
  })

  it.each(['EMFILE', 'ENFILE', 'ENOMEM', 'ENOBUFS', 'EACCES', 'EAGAIN', 'EINTR', 'EIO'])(
    'of a living agent is not taken over when it can not be asked (%s)',
    async (errno) => {
      const unlock = await takeLock(state)
      onTestFinished(unlock)
      connecting.errno = errno
      await expect(takeLock(state)).rejects.toMatchObject({ code: 'E_LOCKED' })
      // Its name tells the pid.
      expect(await lockOwner(state)).toBe(process.pid)
      connecting.errno = ''
      expect(await lockOwner(state)).toBe(process.pid)
      expect(readdirSync(state)).toEqual(['agent.lock'])
    },
  )

  it('that somebody else listens on is his, whatever he answers', async () => {
    await deadLock()
    rmSync(join(state, 'agent.lock'), { recursive: true })
    const other = createServer((socket) => socket.end())
    await new Promise<void>((resolve) => other.listen(join(state, 'agent.lock'), resolve))
    onTestFinished(() => void other.close())
    await expect(takeLock(state)).rejects.toMatchObject({ code: 'E_LOCKED' })
  })
})

describe('the state directory', () => {
  it.each<[FileOperation, string]>([
    ['mkdirSync', 'EROFS'],
    ['mkdirSync', 'ENOSPC'],
    ['mkdirSync', 'ENOTDIR'],
    ['statSync', 'EIO'],
    ['openSync', 'EMFILE'],
    ['openSync', 'EACCES'],
    ['rmSync', 'EROFS'],
    ['fsyncSync', 'EIO'],
    ['renameSync', 'EXDEV'],
  ])('for which %s fails with %s opens no journal, and is told of by its path', (operation, errno) => {
    const open = (): RestoreJournal =>
      new RestoreJournal({ stateDirectory: state, bootId: 'one', maxBytes: 1 << 20, groupId: () => 1 })
    failing(operation, errno)
    let thrown: unknown
    try {
      open()
    } catch (error) {
      thrown = error
    }
    expect(thrown).toMatchObject({ code: 'E_STATE_DIR' })
    expect(messageOf(thrown)).toContain(state)
    expect(messageOf(thrown)).toContain(errno)
    fileFaults()
    const journal = open()
    expect(readdirSync(state)).toEqual(['restore.journal'])
    journal.end()
  })
})
