/** What is said over the socket of a lock: bounded in size and time on both sides, whatever the other one says; and the lock of a cgroup root. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import * as fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { askRelease, LockSocket, ownerOf, type ReleaseRequest } from '../../../src/actuate/lock-socket.ts'
import { takeRootLock } from '../../../src/actuate/root-lock.ts'
import { abstractOwner } from '../../../src/kernel/index.ts'

const PATIENCE = { beginMs: 500, finishMs: 500 }
const PATIENT = { beginMs: 10_000, finishMs: 10_000 }
let directory: string
let path: string
let requests: ReleaseRequest[]

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'kube-agent-socket-'))
  path = join(directory, 's')
  requests = []
})

afterEach(() => rmSync(directory, { recursive: true, force: true }))

async function holder(onRelease: (request: ReleaseRequest) => void = (request) => requests.push(request)): Promise<void> {
  const socket = new LockSocket(onRelease)
  await socket.listen(path)
  onTestFinished(() => socket.close())
}

/** Somebody who says that to each caller, and hangs up if `ends`. */
async function listener(bytes: string | Buffer, { ends = true } = {}): Promise<void> {
  const callers: Socket[] = []
  const server = createServer((socket) => {
    callers.push(socket)
    socket.on('error', () => socket.destroy())
    socket.resume()
    if (ends) socket.end(bytes)
    else socket.write(bytes)
  })
  await new Promise<void>((resolve) => server.listen(path, resolve))
  onTestFinished(() => {
    for (const caller of callers) caller.destroy()
    server.close()
  })
}

/** All that the holder says to one who says this, until it hangs up. */
async function say(text: string): Promise<string> {
  const socket = connect(path)
  let heard = ''
  socket.on('data', (data: Buffer) => (heard += data.toString()))
  socket.on('error', () => undefined)
  socket.write(text)
  await once(socket, 'close')
  return heard
}

describe('a holder that can be asked', () => {
  it('hands one request on, and its report back', async () => {
    await holder((request) => {
      expect(request.isWanted).toBe(true)
      request.begin()
      setTimeout(() => request.answer('{"a":"ü"}'), 20)
    })
    expect(await askRelease(path, PATIENCE)).toEqual({ is: 'released', report: '{"a":"ü"}' })
    expect(await ownerOf(path)).toBe(process.pid)
  })

  it('hangs up on who says anything else, or nothing, and hands nothing on', async () => {
    await holder()
    const word = fc.string({ maxLength: 200 }).filter((text) => !text.startsWith('release\n') && text !== '')
    await fc.assert(
      fc.asyncProperty(word, async (text) => (await say(`${text}\n`)) === `${process.pid}\n`),
      { numRuns: 60 },
    )
    const before = performance.now()
    for (const text of ['', 'rel']) expect(await say(text)).toBe(`${process.pid}\n`)
    expect(performance.now() - before).toBeLessThan(8000)
    expect(requests).toEqual([])
  })

  it('sees that a caller has left, and that it was told nothing', async () => {
    await holder()
    expect(await askRelease(path, { beginMs: 100, finishMs: 100 })).toEqual({ is: 'silent' })
    await sleep(100)
    expect(requests.map(({ isWanted }) => isWanted)).toEqual([false])
  })

  it('is given up when it has begun and does not finish, or is gone', async () => {
    await holder((request) => request.begin())
    expect(await askRelease(path, { beginMs: 2000, finishMs: 100 })).toEqual({ is: 'unfinished' })
  })
})

describe('who asks for a release', () => {
  it.each<[string, string | Buffer, boolean, string]>([
    ['tells its pid and ends, as agents did before', '123\n', true, 'deaf'],
    ['ends at once', '', true, 'silent'],
    ['says nothing', '', false, 'silent'],
    ['ends after it has begun', '123\nbegun\n', true, 'ended'],
    ['ends within its report', '123\nbegun\n{"a":', true, 'ended'],
    ['says too much', Buffer.alloc(9 << 20, 'x'), false, 'ended'],
  ])('is told so when who holds the lock %s', async (_what, bytes, ends, is) => {
    await listener(bytes, { ends })
    expect(await askRelease(path, is === 'silent' ? PATIENCE : PATIENT)).toEqual({ is })
  })

  it('is told that nobody does where the socket is dead, or not there', async () => {
    expect(await askRelease(path, PATIENCE)).toEqual({ is: 'nobody' })
  })
})

describe('the lock of a cgroup root', () => {
  const findOwner = (name: string) => abstractOwner('/proc', name)
  const root = (id: string) => ({ id, path: '/sys/fs/cgroup', findOwner })

  it('is held once for each root, names its holder, and is free when that ends', async () => {
    const [one, two] = [`test:${process.pid}`, `test:${process.pid}0`]
    const first = await takeRootLock(root(one))
    const other = await takeRootLock(root(two))
    expect([first.problem, other.problem]).toEqual([undefined, undefined])
    await expect(takeRootLock(root(one))).rejects.toMatchObject({
      code: 'E_LOCKED',
      message: `another agent runs on this node: pid ${process.pid}, on the groups below /sys/fs/cgroup`,
    })
    // Where the holder can't be seen it is asked.
    await expect(takeRootLock({ ...root(one), findOwner: () => undefined })).rejects.toThrow(`pid ${process.pid}`)
    first.unlock()
    const again = await takeRootLock(root(one))
    again.unlock()
    other.unlock()
  })

  it('does not let another user keep the agent out by taking its name, and says who does', async (context) => {
    if (process.geteuid?.() !== 0) context.skip('needs root: another user has to hold the name')
    const id = `squat:${process.pid}`
    const name = `\\0${`kube-agent/root/${id}/`.padEnd(107, '.')}`
    const script = `require('net').createServer().listen("${name}", () => process.stdout.write('listening'))`
    const other = spawn(process.execPath, ['-e', script], {
      uid: 65_534,
      gid: 65_534,
      stdio: ['ignore', 'pipe', 'inherit'],
      cwd: '/',
    })
    const ended = once(other, 'exit')
    await Promise.race([once(other.stdout, 'data'), ended])
    const lock = await takeRootLock(root(id))
    expect(lock.problem).toBe(`no lock on /sys/fs/cgroup: its name is taken by pid ${other.pid} of user 65534, which is no agent`)
    lock.unlock()
    other.kill('SIGKILL')
    await ended
  })
})
