/**
 * `top` on a real terminal (tmux), against the agent's own HTTP server with ticks made by hand: what is on the screen, what keys do to it, and
 * that the terminal is given back however it ends.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Recorder } from '../../src/record/index.ts'
import { startHttp, type HttpServer } from '../../src/serve/index.ts'
import { capturedLogger, pod, recorder, REGISTERED, writingTick } from '../unit/record/fixtures.ts'
import { BUNDLE, runAsync } from './program.ts'
import { HAS_TMUX, TestTerminal } from './terminal.ts'

let record: Recorder
let server: HttpServer
let terminal: TestTerminal
let directory: string
let ticking: NodeJS.Timeout
let frozenMs: number | undefined

const now = () => ({ nowMs: performance.now() + 20_000, wallMs: Date.now() })

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'kube-agent-top-'))
  record = recorder()
  record.resources([REGISTERED])
  let seq = 0
  const pods = [
    pod('web', 'LS'),
    ...Array.from({ length: 30 }, (_, index) => pod(`job-${index + 10}`, index % 2 === 0 ? 'BE' : 'OT')),
  ]
  const tick = (): void => {
    if (frozenMs === undefined) record.tick(writingTick({ seq: (seq += 1), nowMs: now().nowMs, pods }))
  }
  frozenMs = undefined
  tick()
  ticking = setInterval(tick, 200)
  server = await startHttp({ host: '127.0.0.1', port: 0, recorder: record, now, logger: capturedLogger().logger })
  terminal = new TestTerminal()
})

afterEach(async () => {
  clearInterval(ticking)
  await terminal.close()
  await server.close()
  rmSync(directory, { recursive: true, force: true })
})

/** An interactive shell that runs `top`, and writes down how it ended and how the terminal is then. */
async function openTop(flags = '', size: { columns?: number; rows?: number } = {}, nodeFlags = ''): Promise<void> {
  const command = `${process.execPath} ${nodeFlags} ${BUNDLE} top --interval 200ms --address 127.0.0.1:${server.port} ${flags}`
  await terminal.open('PS1="$ " bash --norc --noprofile -i', size)
  await terminal.until(/\$/)
  await terminal.keys(
    `clear; echo before; ${command}; echo "ended with $?" >${directory}/end; stty -a >${directory}/stty; echo after`,
    'Enter',
  )
  await terminal.until(/on node-a, enforce/)
}

async function ended(): Promise<string> {
  await terminal.until(/^after$/m)
  expect(await terminal.isAlternate()).toBe(false)
  expect(await terminal.cursorIsShown()).toBe(true)
  const stty = readFileSync(join(directory, 'stty'), 'utf8')
  expect(stty).toMatch(/(^|\s)icanon/)
  expect(stty).toMatch(/(^|\s)echo(\s|$)/)
  return readFileSync(join(directory, 'end'), 'utf8').trim()
}

async function topPid(): Promise<number> {
  const { stdout } = await runAsync('pgrep', ['-f', `top --interval 200ms --address 127.0.0.1:${server.port}`])
  const pids = stdout.trim().split('\n').map(Number)
  const of = pids.filter((pid) => readFileSync(`/proc/${pid}/cmdline`, 'utf8').startsWith(process.execPath))
  expect(of.length).toBe(1)
  return of[0] ?? 0
}

describe('top in a pipe', () => {
  const words = () => [BUNDLE, 'top', '--address', `127.0.0.1:${server.port}`]

  it('prints one view of every pod, without an escape code, and ends', async () => {
    const { code, stdout, stderr } = await runAsync(process.execPath, words())
    expect([code, stderr]).toEqual([0, ''])
    expect(stdout).not.toContain('\u001b')
    expect(stdout.match(/default\/job-\d\d/g)?.length).toBe(30)
    expect(stdout).toContain('watermark 65 %')
  })

  it('prints JSON with numbers', async () => {
    const { code, stdout } = await runAsync(process.execPath, [...words(), '--json'])
    expect(code).toBe(0)
    const { pods, classes, allowance } = JSON.parse(stdout) as Record<string, unknown>
    expect(pods).toHaveLength(31)
    expect(classes).toContainEqual(expect.objectContaining({ qosClass: 'BE', pods: 15, identity: 'weight', allowedMilli: 600 }))
    expect(allowance).toMatchObject({ capacityMilli: 8000, watermarkMilli: 5200, allowanceMilli: 600 })
  })

  it('says that no agent answers, and does not take the screen for it', async () => {
    const { code, stdout, stderr } = await runAsync(process.execPath, [BUNDLE, 'top', '--address', '127.0.0.1:1'])
    expect([code, stdout]).toEqual([1, ''])
    expect(stderr).toContain('no agent answers at 127.0.0.1:1')
  })
})

describe('top on a terminal', () => {
  beforeEach((context) => {
    if (!HAS_TMUX) context.skip('tmux is not installed')
  })

  it('shows node, classes and pods, goes on by itself, and sorts, filters, selects and pauses by keys', async () => {
    await openTop()
    const first = await terminal.until(/q quit {2}s sort: use/)
    expect(first).toMatch(/^CPU +█+▓+│▓+·+ 74 % of 8\.0 CPU, watermark 65 %$/m)
    expect(first).toMatch(/^BE +15 .* 600m {2}2-3,6-7 {2}weight$/m)
    const seqOf = (screen: string): number => Number(/tick (\d+)/.exec(screen)?.[1])
    await terminal.until((screen) => seqOf(screen) > seqOf(first) + 1)
    await terminal.keys('/', 'job-13', 'Enter')
    await terminal.until((screen) => screen.includes('1-1 of 1 pod') && !screen.includes('job-14'))
    await terminal.keys('Down')
    await terminal.until(/kube-agent explain pod default\/job-13/)
    await terminal.keys('Escape')
    await terminal.until(/of 31 pods/)
    await terminal.keys('c')
    await terminal.until((screen) => screen.includes('c class: LS') && screen.includes('of 1 pod'))
    await terminal.keys('s', 'r', 'p')
    const paused = await terminal.until((screen) => screen.includes('s sort: limit ▲') && screen.includes('PAUSED'))
    await sleep(1200)
    expect(seqOf(await terminal.screen())).toBe(seqOf(paused))
    await terminal.keys('p')
    await terminal.until((screen) => seqOf(screen) > seqOf(paused))
    await terminal.keys('?')
    await terminal.until(/Any key goes back/)
    await terminal.keys('x', 'q')
    expect(await ended()).toBe('ended with 0')
  })

  it('fills whatever size the terminal takes', async () => {
    await openTop()
    await terminal.until(/q quit/)
    await terminal.resize(200, 50)
    const wide = await terminal.until((screen) => /WHY/.test(screen) && screen.trimEnd().split('\n').length === 50)
    expect(wide).toContain('all offline pods share 600m: online work and the watermark leave no more')
    await terminal.resize(60, 12)
    await terminal.until(
      (screen) => screen.trimEnd().split('\n').length === 12 && /default\/job-10/.test(screen) && /q quit/.test(screen),
    )
    await terminal.keys('C-c')
    expect(await ended()).toBe('ended with 0')
  })

  it('gives the terminal back for Ctrl-Z, and takes it again', async () => {
    await openTop()
    await terminal.keys('C-z')
    await terminal.until(/Stopped/)
    expect(await terminal.isAlternate()).toBe(false)
    await terminal.keys('fg', 'Enter')
    await terminal.until(/q quit/)
    expect(await terminal.isAlternate()).toBe(true)
    await terminal.keys('/', 'web')
    await terminal.until(/filter: web_/)
    await terminal.keys('C-c')
    await terminal.until((screen) => !screen.includes('filter: web_'))
    expect(await terminal.isAlternate()).toBe(false)
  })

  it.each(['SIGTERM', 'SIGHUP'] as const)('gives the terminal back on %s', async (signal) => {
    await openTop()
    process.kill(await topPid(), signal)
    expect(await ended()).toBe('ended with 0')
  })

  it('gives the terminal back when it crashes, and the crash can be read', async () => {
    const bomb = join(directory, 'bomb.mjs')
    writeFileSync(bomb, "setTimeout(() => { throw new Error('boom') }, 1500)\n")
    await openTop(`--set loop.calmMs=1000`, {}, `--import ${bomb}`)
    expect(await ended()).toBe('ended with 1')
    expect(await terminal.screen()).toMatch(/^before$[\s\S]*Error: boom/m)
  })

  it('says that the picture is old when ticks stop, and that nobody answers when the agent goes', async () => {
    await openTop()
    await terminal.until(/^OK mode enforce/m)
    frozenMs = now().nowMs
    await terminal.until(/^STALE: the agent's last tick is \d/m)
    await server.close()
    const gone = await terminal.until(/^NO ANSWER, shown is what it said .* ago: no agent answers at/m)
    expect(gone).toContain('default/job-10')
    await terminal.keys('q')
    expect(await ended()).toBe('ended with 0')
  })

  it('honours NO_COLOR, and has colours without it', async () => {
    const { stdout } = await runAsync(
      'script',
      ['-qec', `${process.execPath} ${BUNDLE} top --once --address 127.0.0.1:${server.port}`, '/dev/null'],
      { TERM: 'xterm' },
    )
    // eslint-disable-next-line no-control-regex
    expect(stdout).toMatch(/\u001b\[32m/)
    const plain = await runAsync(
      'script',
      ['-qec', `${process.execPath} ${BUNDLE} top --once --address 127.0.0.1:${server.port}`, '/dev/null'],
      { TERM: 'xterm', NO_COLOR: '1' },
    )
    expect(plain.stdout).toContain('watermark 65 %')
    expect(plain.stdout).not.toContain('\u001b[3')
  })
})
