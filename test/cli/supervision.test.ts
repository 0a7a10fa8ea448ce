/**
 * The daemon under a service manager: a real datagram socket in the manager's place, which takes the pid of each sender from the kernel. And
 * the unit that ships, as systemd's own tools see it.
 */
import { spawnSync } from 'node:child_process'
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { performance } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it, type TestContext } from 'vitest'
import { type Daemon, DaemonBed } from '../support/daemon-bed.ts'
import { NotifyReceiver, whyNoReceiver } from '../support/notify-receiver.ts'
import { whyNotHere } from '../support/real-node.ts'
import { BUNDLE } from './program.ts'

const UNIT = resolve(import.meta.dirname, '../../deploy/kube-agent.service')
const WATCHDOG_MS = 4_000
const CALM_MS = 200

let bed: DaemonBed | undefined
let manager: NotifyReceiver | undefined
let directory: string

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'kube-agent-notify-'))
})

afterEach(async () => {
  await bed?.close()
  await manager?.close()
  bed = undefined
  manager = undefined
  rmSync(directory, { recursive: true, force: true })
})

interface Managed {
  readonly daemon: Daemon
  readonly bed: DaemonBed
  readonly manager: NotifyReceiver
}

interface Wishes {
  readonly name?: string
  readonly settings?: object
  readonly bundle?: string
  readonly path?: string
}

async function manage(context: TestContext, wishes: Wishes = {}): Promise<Managed> {
  const { name = join(directory, 'notify'), settings = {}, bundle = BUNDLE, path = process.env['PATH'] ?? '' } = wishes
  const why = whyNotHere() ?? whyNoReceiver()
  if (why !== undefined) context.skip(why)
  bed = await DaemonBed.open({ port: 19_468, settings: { loop: { calmMs: CALM_MS }, ...settings } })
  manager = await NotifyReceiver.bind(name)
  const environment = { NOTIFY_SOCKET: name, WATCHDOG_USEC: String(WATCHDOG_MS * 1000), PATH: path }
  const daemon = bed.start({ environment, bundle })
  return { daemon, bed, manager }
}

const isReady = ({ text }: { readonly text: string }): boolean => text.split('\n').includes('READY=1')

describe('run under a service manager', () => {
  it(
    'tells READY once it is registered, its status, keep-alives in time, and STOPPING, all by its own pid',
    {
      timeout: 60_000,
    },
    async (context) => {
      const told = await manage(context)
      const ready = await told.manager.until(isReady)
      expect(told.bed.kubelet.registrations).toBe(4)
      expect(ready.text).toMatch(/^STATUS=OK mode enforce, 1 pod/m)
      await sleep(2 * WATCHDOG_MS)
      const alive = told.manager.having('WATCHDOG=1').map(({ atMs }) => atMs)
      const gaps = alive.slice(1).map((atMs, index) => atMs - (alive[index] ?? 0))
      expect(gaps.length).toBeGreaterThanOrEqual(4)
      // Half of the manager's patience is left even so.
      expect(Math.max(...gaps)).toBeLessThan(WATCHDOG_MS / 2)
      expect(await told.daemon.stop()).toBe(0)
      await told.manager.until(({ text }) => text.startsWith('STOPPING=1'))
      expect(new Set(told.manager.notices.slice(1).map(({ pid }) => pid))).toEqual(new Set([told.daemon.child.pid]))
      expect(told.manager.notices.filter(isReady)).toHaveLength(1)
    },
  )

  it('sends no keep-alive while its ticks stand still, and goes on when they do', { timeout: 60_000 }, async (context) => {
    const told = await manage(context)
    await told.manager.until(isReady)
    told.daemon.child.kill('SIGSTOP')
    await sleep(100)
    const before = told.manager.having('WATCHDOG=1').length
    await sleep(WATCHDOG_MS)
    expect(told.manager.having('WATCHDOG=1')).toHaveLength(before)
    told.daemon.child.kill('SIGCONT')
    for (let tries = 0; tries < 100 && told.manager.having('WATCHDOG=1').length === before; tries += 1) await sleep(50)
    expect(told.manager.having('WATCHDOG=1').length).toBeGreaterThan(before)
  })

  it(
    'goes on when the manager has gone, tells it once in the log, and speaks to the one that comes back',
    {
      timeout: 60_000,
    },
    async (context) => {
      const name = join(directory, 'notify')
      const told = await manage(context, { name })
      await told.manager.until(isReady)
      await told.manager.close()
      await sleep(WATCHDOG_MS)
      expect((await told.bed.get('/livez'))?.status).toBe(200)
      expect(told.daemon.logged('service manager could not be told')).toMatchObject([{ problem: 'ECONNREFUSED' }])
      rmSync(name)
      manager = await NotifyReceiver.bind(name)
      await manager.until(({ text }) => text.includes('WATCHDOG=1'))
    },
  )

  it(
    'speaks to an abstract socket, and is ready after the first tick where no kubelet is wanted',
    {
      timeout: 60_000,
    },
    async (context) => {
      const told = await manage(context, {
        name: `@kube-agent-test-${process.pid}`,
        settings: { kubelet: { enabled: false } },
      })
      const started = performance.now()
      await told.manager.until(isReady)
      expect(performance.now() - started).toBeLessThan(10_000)
      expect(told.bed.kubelet.registrations).toBe(0)
    },
  )
})

describe('run under a service manager, without koffi,', () => {
  /** A bundle with no packages beside it. */
  const lonelyBundle = (): string => {
    const bundle = join(directory, 'kube-agent.mjs')
    copyFileSync(BUNDLE, bundle)
    return bundle
  }

  it('tells READY, keep-alives and STOPPING by systemd-notify, and says so', { timeout: 60_000 }, async (context) => {
    if (spawnSync('systemd-notify', ['--version']).status !== 0) context.skip('needs systemd-notify (Debian: systemd)')
    const told = await manage(context, { bundle: lonelyBundle() })
    await told.manager.until(isReady)
    await sleep(2 * WATCHDOG_MS)
    expect(told.manager.having('WATCHDOG=1').length).toBeGreaterThanOrEqual(4)
    expect(told.daemon.logged('service manager is told by a helper process')).toHaveLength(1)
    expect(told.daemon.logged('service manager could not be told')).toEqual([])
    expect(await told.daemon.stop()).toBe(0)
    await told.manager.until(({ text }) => text.startsWith('STOPPING=1'))
  })

  it('says once what is missing where that is not there either, and does its work', { timeout: 60_000 }, async (context) => {
    const told = await manage(context, { bundle: lonelyBundle(), path: directory })
    await told.bed.untilReady(told.daemon)
    await sleep(WATCHDOG_MS)
    expect(told.manager.notices.slice(1)).toEqual([])
    expect(told.daemon.logged('service manager can not be told: use Type=exec and no WatchdogSec')).toMatchObject([
      { problem: 'neither koffi nor systemd-notify is installed' },
    ])
  })
})

describe('the unit that ships', () => {
  const unitWithBundle = (): string => {
    const path = join(directory, 'kube-agent.service')
    writeFileSync(path, readFileSync(UNIT, 'utf8').replaceAll('/usr/local/lib/kube-agent/kube-agent.mjs', BUNDLE))
    return path
  }
  const analyze = (context: TestContext, ...words: readonly string[]) => {
    const run = spawnSync('systemd-analyze', words, { encoding: 'utf8', timeout: 30_000 })
    if (run.error !== undefined) context.skip('needs systemd-analyze (Debian: systemd)')
    return run
  }

  it('is one that systemd takes without a warning', { timeout: 60_000 }, (context) => {
    const verified = analyze(context, 'verify', unitWithBundle())
    expect(verified.stderr).toBe('')
    expect(verified.status).toBe(0)
  })

  it(
    'is exposed no more than 3.0 on the scale of systemd, where 10 is a service without any protection',
    {
      timeout: 60_000,
    },
    (context) => {
      const judged = analyze(context, 'security', '--offline=true', '--no-pager', '--threshold=30', unitWithBundle())
      expect(judged.stdout).toMatch(/Overall exposure level for kube-agent.service: [0-3]\.\d/)
      expect(judged.status).toBe(0)
    },
  )
})
