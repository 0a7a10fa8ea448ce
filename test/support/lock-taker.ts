/**
 * A process that takes the lock of the state directory `argv[2]`, and is slow at what it does with it: it sleeps before and after each call that
 * removes or moves something there, `argv[3]` and `argv[4]` ms long, or up to that with `argv[5]` = random. It says `removing` when it is
 * about to remove a dead lock, and `HOLDS` or why it does not; with `unlock` on its standard input it gives the lock back, and says `free`.
 */
import fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { messageOf } from '../../src/model/index.ts'

const [state = '', before = '0', after = '0', kind = 'fixed'] = process.argv.slice(2)
const CALLS = ['unlinkSync', 'renameSync', 'linkSync', 'rmSync', 'rmdirSync', 'readdirSync', 'chmodSync'] as const

function pause(ms: number): void {
  if (ms > 0) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)
}

function say(word: string): void {
  fs.writeSync(1, `${word}\n`)
}

/** What makes room where a dead lock stands: taking it away, in one call or by way of another name. */
function removes(name: string, paths: readonly unknown[]): boolean {
  const [from = '', to = ''] = paths.map((path) => (typeof path === 'string' ? path : ''))
  return name === 'unlinkSync' ? from.startsWith(`${state}/agent.lock`) : name === 'renameSync' && to.endsWith('.stale')
}

for (const name of CALLS) {
  const real = fs[name] as (...args: unknown[]) => unknown
  Object.assign(fs, {
    [name]: (...args: unknown[]) => {
      const isRemoval = removes(name, args)
      if (isRemoval) say('removing')
      const isSlow = kind === 'random' || isRemoval
      const share = kind === 'random' ? Math.random() ** (isRemoval ? 1 : 3) : 1
      if (isSlow) pause(Number(before) * share)
      try {
        return real(...args)
      } finally {
        if (isSlow) pause(Number(after) * share)
      }
    },
  })
}
syncBuiltinESMExports()

const { takeLock } = await import('../../src/actuate/lock.ts')
try {
  const unlock = await takeLock(state)
  say('HOLDS')
  process.stdin.once('data', () => {
    // Before: another one may hold it as soon as it is free.
    say('free')
    unlock()
    process.exit()
  })
} catch (thrown) {
  say(messageOf(thrown))
  process.exit(4)
}
