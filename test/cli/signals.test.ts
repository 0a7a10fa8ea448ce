/**
 * Signals on the daemon and on other verbs, sent every other millisecond from the first moment that a process of ours listens: by SIGUSR2 the agent
 * turns its log level up and down, by SIGHUP it reads its configuration again, and nothing that is half-way ends by either. What asks it to
 * stop is heard from that moment on, too.
 */
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Daemon, DaemonBed } from '../support/daemon-bed.ts'
import { whyNotHere } from '../support/real-node.ts'
import { BUNDLE } from './program.ts'

const PORT = 19_491
const TEST_MS = 60_000
/** Kernel: bit N-1 of SigCgt in /proc/PID/status is signal N. The numbers are those of all that Node runs on. */
const NUMBERS = { SIGHUP: 1, SIGINT: 2, SIGUSR2: 12, SIGTERM: 15 } as const

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

/** Which of these signals the process listens to. */
function caughtBy({ child }: Daemon): readonly string[] {
  const status = readFileSync(`/proc/${child.pid}/status`, 'latin1')
  const caught = BigInt(`0x${/^SigCgt:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? '0'}`)
  return Object.entries(NUMBERS).flatMap(([name, number]) => ((caught >> BigInt(number - 1)) & 1n ? [name] : []))
}

/** Waits until the process would not end by SIGUSR2; looks often enough to see that at once. */
async function untilListening(daemon: Daemon): Promise<void> {
  while (!caughtBy(daemon).includes('SIGUSR2')) await sleep(1)
}

/** Sends the signal over and over until told to stop; resolves with how often. */
function signalling(child: ChildProcess, signal: NodeJS.Signals = 'SIGUSR2'): () => number {
  let sent = 0
  const timer = setInterval(() => {
    if (child.kill(signal)) sent += 1
  }, 2)
  return () => {
    clearInterval(timer)
    return sent
  }
}

describe('SIGHUP', () => {
  it('does not end the agent, from its first moment over its start and its work to its end', { timeout: TEST_MS }, async () => {
    const daemon = bed.start()
    await untilListening(daemon)
    const stopSignalling = signalling(daemon.child, 'SIGHUP')
    await bed.untilReady(daemon)
    const ended = once(daemon.child, 'exit')
    daemon.child.kill('SIGTERM')
    expect(await ended).toEqual([0, null])
    expect(stopSignalling()).toBeGreaterThan(50)
  })

  it('that comes while the agent waits for the kubelet is acted on once it works', { timeout: TEST_MS }, async () => {
    await bed.kubelet.stop()
    const daemon = bed.start()
    await untilListening(daemon)
    // It tells of its level once it has read its configuration.
    const turned = (): number => {
      daemon.child.kill('SIGUSR2')
      return daemon.logged('log level changed').length
    }
    await expect.poll(turned, { timeout: 20_000 }).toBeGreaterThan(0)
    writeFileSync(bed.config, `${readFileSync(bed.config, 'utf8')}\nlog: {level: error}\n`)
    daemon.child.kill('SIGHUP')
    await bed.kubelet.start()
    await bed.untilReady(daemon)
    expect((await bed.get('/configz'))?.body).toMatch(/^log\.level\s+error\b/m)
    expect((await bed.get('/loglevel'))?.body.trim()).toBe('error')
    expect(await daemon.stop()).toBe(0)
  })
})

describe('a signal to stop', () => {
  it.each(['SIGTERM', 'SIGINT'] as const)(
    'that comes in the first moment is heard: %s ends the agent with 0 before it has troubled the kubelet',
    { timeout: TEST_MS },
    async (signal) => {
      const before = bed.photograph()
      const daemon = bed.start()
      await untilListening(daemon)
      // Kernel: process 1 of a container would not end by one that it does not listen to, but lose it.
      expect(caughtBy(daemon)).toEqual(['SIGHUP', 'SIGINT', 'SIGUSR2', 'SIGTERM'])
      const ended = once(daemon.child, 'exit')
      daemon.child.kill(signal)
      expect(await ended).toEqual([0, null])
      expect(daemon.logged('agent started')).toEqual([])
      expect(bed.kubelet.registrations).toBe(0)
      expect(bed.photograph()).toEqual(before)
    },
  )

  it('ends another verb as ever', { timeout: TEST_MS }, async () => {
    const ran = bed.startCommand([process.execPath, BUNDLE, 'plan', '--config', bed.config])
    await untilListening(ran)
    const ended = once(ran.child, 'exit')
    ran.child.kill('SIGTERM')
    expect(await ended).toEqual([null, 'SIGTERM'])
  })
})

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
