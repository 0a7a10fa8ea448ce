/** One agent per node: a living holder is seen, a dead one's lock is taken over, and of many starters one wins. */
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { lockOwner, takeLock } from '../../../src/actuate/index.ts'

let directory: string

beforeEach(() => {
  directory = join(mkdtempSync(join(tmpdir(), 'kube-agent-lock-')), 'state')
})

afterEach(() => rmSync(resolve(directory, '..'), { recursive: true, force: true }))

describe('the lock', () => {
  it('names its owner while it is held, refuses a second taker and leaves nothing behind', async () => {
    const unlock = await takeLock(directory)
    expect(await lockOwner(directory)).toBe(process.pid)
    await expect(takeLock(directory)).rejects.toMatchObject({
      code: 'E_LOCKED',
      message: expect.stringContaining(`pid ${process.pid}`),
    })
    unlock()
    expect(await lockOwner(directory)).toBeUndefined()
    expect(readdirSync(directory)).toEqual([])
  })

  it('is taken over from a holder that was killed', async () => {
    const script = `import('${resolve(import.meta.dirname, '../../../src/actuate/index.ts')}')
      .then(({ takeLock }) => takeLock('${directory}')).then(() => process.kill(process.pid, 'SIGKILL'))`
    const ran = spawnSync(process.execPath, ['--import', 'tsx', '-e', script], { encoding: 'utf8' })
    expect(ran.signal).toBe('SIGKILL')
    // However often agents are killed, there is one name.
    expect(readdirSync(directory)).toEqual(['agent.lock'])
    const unlock = await takeLock(directory)
    expect(await lockOwner(directory)).toBe(process.pid)
    unlock()
  })

  it('clears away what agents have left that were killed while they took it, but not what may be one that is starting', async () => {
    mkdirSync(directory, { mode: 0o700 })
    const minutesAgo = Date.now() / 1000 - 120
    const old = ['agent.lock.1.abc.1', 'agent.lock.22.def0.3.stale', 'agent.lock.conf', 'restore.journal']
    for (const name of [...old, 'agent.lock.7.abc.1']) writeFileSync(join(directory, name), '')
    for (const name of old) utimesSync(join(directory, name), minutesAgo, minutesAgo)
    const unlock = await takeLock(directory)
    const left = ['agent.lock.7.abc.1', 'agent.lock.conf', 'restore.journal']
    expect(readdirSync(directory).toSorted()).toEqual(['agent.lock', ...left])
    unlock()
    expect(readdirSync(directory).toSorted()).toEqual(left)
  })

  it('goes to exactly one of many that start at once', async () => {
    const results = await Promise.allSettled(Array.from({ length: 8 }, () => takeLock(directory)))
    const won = results.filter((result) => result.status === 'fulfilled')
    expect(won).toHaveLength(1)
    for (const result of won) result.value()
  })
})
