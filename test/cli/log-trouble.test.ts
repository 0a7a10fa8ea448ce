/**
 * The daemon with a log that goes nowhere: a full disk, a reader who has stalled, a terminal that went away. It goes on ticking and answering, shows
 * the trouble, ends within five seconds of SIGTERM, and leaves no lock behind.
 */
import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, constants, existsSync, openSync, readFileSync, readSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { errnoOf } from '../../src/model/index.ts'
import { type Daemon, DaemonBed } from '../support/daemon-bed.ts'
import { whyNotHere } from '../support/real-node.ts'
import { BUNDLE, kubeAgent } from './program.ts'
import { HAS_TMUX, TestTerminal } from './terminal.ts'

const PORT = 19_503
const TEST_MS = 60_000
/** What an agent may take to end. */
const END_MS = 5000

let bed: DaemonBed
let opened: DaemonBed | undefined
let terminal: TestTerminal | undefined
let held: number[]
/** An agent that is no child of this process. */
let strayPid: number | undefined

beforeEach(async (context) => {
  held = []
  const why = whyNotHere()
  if (why !== undefined) context.skip(why)
  opened = bed = await DaemonBed.open({ port: PORT })
})

afterEach(async () => {
  if (strayPid !== undefined && isRunning(strayPid)) process.kill(strayPid, 'SIGKILL')
  strayPid = undefined
  await terminal?.close()
  await opened?.close()
  for (const fd of held) closeSync(fd)
  opened = terminal = undefined
})

async function ticks(): Promise<number> {
  const metrics = (await bed.get('/metrics'))?.body ?? ''
  return [...metrics.matchAll(/^kube_agent_ticks_total\{.*\} (\d+)$/gm)].reduce((sum, [, count]) => sum + Number(count), 0)
}

/** Has lines written by the level going up and down, until the log is shown as failing; then ticks must go on, and /livez be well. */
async function untilShown(signal: () => void, error: RegExp): Promise<void> {
  const shown = async (): Promise<string> => {
    signal()
    return (await bed.get('/statusz'))?.body ?? ''
  }
  await expect.poll(shown, { timeout: 20_000, interval: 200 }).toMatch(/^ +sink +log fails \(/m)
  expect((await bed.get('/statusz'))?.body.replaceAll(/\s+/g, ' ')).toMatch(error)
  // Projected about once a second.
  const metric = async (): Promise<string> =>
    /^kube_agent_sink_success\{sink="log"\} .*$/m.exec((await bed.get('/metrics'))?.body ?? '')?.[0] ?? 'none'
  await expect.poll(metric, { timeout: 15_000 }).toBe('kube_agent_sink_success{sink="log"} 0')
  const before = await ticks()
  await expect.poll(ticks, { timeout: 15_000 }).toBeGreaterThan(before + 1)
  expect((await bed.get('/livez'))?.status).toBe(200)
}

/** Ends it, and has `release` find the lock free. */
async function expectGoodEnd({ child }: Daemon): Promise<void> {
  const ended = once(child, 'exit')
  const fromMs = performance.now()
  child.kill('SIGTERM')
  expect(await ended).toEqual([0, null])
  expect(performance.now() - fromMs).toBeLessThan(END_MS)
  expectReleasable()
}

function expectReleasable(): void {
  const { code, stdout, stderr } = kubeAgent(['release', '--config', bed.config])
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  expect(stdout).toMatch(/^[1-9]\d* restored/m)
}

/** Starts the agent with standard error redirected to there. */
const startWithLog = (path: string): Daemon => bed.start({ through: ['sh', '-c', `exec "$@" 2>${path}`, 'sh'] })

describe('the agent with its log', () => {
  it('on a full disk goes on, shows ENOSPC, and ends in time', { timeout: TEST_MS }, async () => {
    const daemon = startWithLog('/dev/full')
    await bed.untilReady(daemon)
    await untilShown(() => daemon.child.kill('SIGUSR2'), /log fails \(.*: ENOSPC/)
    await expectGoodEnd(daemon)
  })

  it('in a pipe that nobody reads goes on, shows it, and ends in time', { timeout: TEST_MS }, async () => {
    stalledPipe()
    const daemon = startWithLog(join(bed.directory, 'log'))
    await bed.untilReady(daemon)
    await untilShown(() => daemon.child.kill('SIGUSR2'), /log fails \(.*: .*its reader has stalled/)
    await expectGoodEnd(daemon)
  })

  it('in a pipe whose reader comes late has every line in it', { timeout: TEST_MS }, async () => {
    const fd = stalledPipe()
    const daemon = startWithLog(join(bed.directory, 'log'))
    await bed.untilReady(daemon)
    const log = { text: '' }
    await expect.poll(() => (log.text += drained(fd)), { timeout: 10_000 }).toContain('"agent started"')
    await expectGoodEnd(daemon)
    log.text += drained(fd)
    const lines = log.text.replace(/^x+/, '').trimEnd().split('\n')
    const messages = lines.map((line) => (JSON.parse(line) as { msg: string }).msg)
    expect(messages[0]).toBe('journal opened')
    expect(messages).toEqual(expect.arrayContaining(['serving HTTP', 'agent started', 'knob written', 'stopping']))
    expect(messages).not.toContain('log lines lost')
  })

  it('on a terminal that goes away goes on, shows EIO, and ends in time', { timeout: TEST_MS }, async (context) => {
    if (!HAS_TMUX) context.skip('tmux is not installed')
    const pidFile = join(bed.directory, 'pid')
    terminal = new TestTerminal()
    const command = [process.execPath, BUNDLE, 'run', '--config', bed.config].map((word) => `'${word}'`).join(' ')
    await terminal.open(`echo $$ > '${pidFile}'; exec ${command}`)
    const written = (): string => (existsSync(pidFile) ? readFileSync(pidFile, 'latin1') : '')
    await expect.poll(written, { timeout: 20_000 }).toMatch(/^\d+\n$/)
    const pid = (strayPid = Number(written()))
    await expect.poll(async () => (await bed.get('/readyz'))?.status, { timeout: 20_000 }).toBe(200)
    // Kernel: who leads the session of a terminal that goes away gets a SIGHUP.
    await terminal.close()
    await untilShown(() => process.kill(pid, 'SIGUSR2'), /log fails \(.*: EIO/)
    process.kill(pid, 'SIGTERM')
    await expect.poll(() => isRunning(pid), { timeout: END_MS, interval: 50 }).toBe(false)
    expectReleasable()
  })
})

describe('a verb with its complaint on a full disk', () => {
  it('ends at once, with its exit code', () => {
    const words = ['-c', 'exec "$@" 2>/dev/full', 'sh', process.execPath, BUNDLE, 'run', '--config', '/nonexistent.yaml']
    expect(spawnSync('sh', words, { timeout: 15_000, killSignal: 'SIGKILL' }).status).toBe(3)
  })
})

/** A FIFO in the bed that is full and held open; what it is full of is `x`. */
function stalledPipe(): number {
  const path = join(bed.directory, 'log')
  expect(spawnSync('mkfifo', [path]).status).toBe(0)
  const fd = openSync(path, constants.O_RDWR | constants.O_NONBLOCK)
  held.push(fd)
  for (const size of [4096, 1]) while (tried(() => writeSync(fd, 'x'.repeat(size))) !== undefined);
  return fd
}

/** All that is in the pipe now. */
function drained(fd: number): string {
  const buffer = Buffer.alloc(65_536)
  for (let text = ''; ;) {
    const read = tried(() => readSync(fd, buffer))
    if (read === undefined) return text
    text += buffer.toString('utf8', 0, read)
  }
}

/** Undefined where the pipe says that there is no room, or nothing to be read. */
function tried(call: () => number): number | undefined {
  try {
    return call()
  } catch (thrown) {
    if (errnoOf(thrown) !== 'EAGAIN') throw thrown
    return undefined
  }
}

/** A zombie has ended: whether anybody takes note of that is not up to it. */
function isRunning(pid: number): boolean {
  try {
    return !/^State:\s*Z/m.test(readFileSync(`/proc/${pid}/status`, 'latin1'))
  } catch (thrown) {
    if (errnoOf(thrown) === 'ENOENT' || errnoOf(thrown) === 'ESRCH') return false
    throw thrown
  }
}
