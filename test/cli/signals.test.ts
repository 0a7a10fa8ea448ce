/**
 * SIGUSR2 on the daemon and on other verbs, sent every other millisecond from the first moment that a process of ours listens: the agent turns
 * its log level up and down, and nothing that is half-way ends by it.
 */
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Daemon, DaemonBed } from '../support/daemon-bed.ts'
import { whyNotHere } from '../support/real-node.ts'
import { BUNDLE } from './program.ts'

const PORT = 19_491
const TEST_MS = 60_000
/** Kernel: bit N-1 of SigCgt in /proc/PID/status is signal N; SIGUSR2 is 12 on all that Node runs on. */
const SIGUSR2_BIT = 1n << 11n

let bed: DaemonBed
let opened: DaemonBed | undefined

beforeEach(async (context) => {
  const why = whyNotHere()
  if (why !== undefined) context.skip(why)
  opened = bed = await DaemonBed.open({ port: PORT })
})

afterEach(async () => {
  await opened?.close()
  opened = undefined
})

/** Waits until the process would not end by the signal; looks often enough to see that at once. */
async function untilListening({ child }: Daemon): Promise<void> {
  for (;;) {
    const status = readFileSync(`/proc/${child.pid}/status`, 'latin1')
    const caught = BigInt(`0x${/^SigCgt:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? '0'}`)
    if ((caught & SIGUSR2_BIT) !== 0n) return
    await sleep(1)
  }
}

/** Sends the signal over and over until told to stop; resolves with how often. */
function signalling(child: ChildProcess): () => number {
  let sent = 0
  const timer = setInterval(() => {
    if (child.kill('SIGUSR2')) sent += 1
  }, 2)
  return () => {
    clearInterval(timer)
    return sent
  }
}

describe('SIGUSR2', () => {
  it('does not end the agent, from its first moment over its start and its work to its end', { timeout: TEST_MS }, async () => {
    const daemon = bed.start({ words: ['--set', 'log.level=info'] })
    await untilListening(daemon)
    const stopSignalling = signalling(daemon.child)
    await bed.untilReady(daemon)
    const ended = once(daemon.child, 'exit') as Promise<[code: number | null, signal: NodeJS.Signals | null]>
    daemon.child.kill('SIGTERM')
    expect(await ended).toEqual([0, null])
    expect(stopSignalling()).toBeGreaterThan(50)
    const changes = daemon.logged('log level changed').map(({ from, to, by }) => `${String(from)} ${String(to)} ${String(by)}`)
    expect(changes.length).toBeGreaterThan(1)
    // Each goes on from the one before, and the log has all of them.
    for (const [at, change] of changes.entries()) expect(change).toBe(at % 2 === 0 ? 'info debug SIGUSR2' : 'debug info SIGUSR2')
  })

  it('turns the level up and back, which /loglevel and /statusz show', { timeout: TEST_MS }, async () => {
    const daemon = bed.start({ words: ['--set', 'log.level=warn'] })
    await bed.untilReady(daemon)
    const level = async () => (await bed.get('/loglevel'))?.body.trim()
    expect(await level()).toBe('warn')
    daemon.child.kill('SIGUSR2')
    await expect.poll(level, { timeout: 10_000 }).toBe('debug')
    expect((await bed.get('/statusz'))?.body).toMatch(/^log +level debug, configured warn: SIGHUP puts that back$/m)
    daemon.child.kill('SIGUSR2')
    await expect.poll(level, { timeout: 10_000 }).toBe('warn')
    expect((await bed.get('/statusz'))?.body).not.toMatch(/^log /m)
    daemon.child.kill('SIGUSR2')
    await expect.poll(level, { timeout: 10_000 }).toBe('debug')
    daemon.child.kill('SIGHUP')
    await expect.poll(level, { timeout: 10_000 }).toBe('warn')
    // The command line as it was given, whatever has been changed since.
    const flagz = (await bed.get('/flagz'))?.body ?? ''
    expect(flagz).toContain(`--config=${bed.config}`)
    expect(flagz).toContain('--set=log.level=warn')
    expect(flagz).toMatch(/^--path\.proc +not given$/m)
  })

  it.each([['plan', '--json'], ['doctor']])('changes nothing for the verb %s', { timeout: TEST_MS }, async (...words) => {
    const ran = bed.startCommand([process.execPath, BUNDLE, ...words, '--config', bed.config])
    const ended = once(ran.child, 'exit') as Promise<[code: number | null, signal: NodeJS.Signals | null]>
    await untilListening(ran)
    const stopSignalling = signalling(ran.child)
    const [, signal] = await ended
    stopSignalling()
    expect({ signal, trouble: ran.stderr.match(/\(E_[A-Z_]+\)|\bat .+:\d+/) }).toEqual({ signal: null, trouble: null })
  })
})
