/**
 * Everything that grows has a bound, and each is driven to it: here those that have no test beside their own code. The table of all is in the
 * README under "Privileges and limits"; the last test holds that table to these numbers.
 */
import {
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { performance } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { Server, ServerCredentials, status } from '@grpc/grpc-js'
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import { journalPath, RestoreJournal, takeLock } from '../../src/actuate/index.ts'
import { EvictionRecords } from '../../src/kube/eviction-records.ts'
import { PluginServer } from '../../src/kubelet/plugin-server.ts'
import { PodResourcesClient } from '../../src/kubelet/pod-resources.ts'
import { ResourceDevices } from '../../src/kubelet/resource-devices.ts'
import { callUnary, DEVICE_PLUGIN, dial, servePodResources, UNLIMITED } from '../../src/kubelet/wire.ts'
import { processesBelow } from '../../src/kernel/processes.ts'
import { LOG_LINES_PER_MINUTE } from '../../src/record/log-limit.ts'
import { PodDirectory } from '../../src/sense/index.ts'
import { startHttp } from '../../src/serve/index.ts'
import { planted } from '../support/trees-on-disk.ts'
import { wishOf } from './kube/evictor-support.ts'
import { capturedLogger, CPUS_STEP, FINDING, pod, recorder, STARTED_MS, tick } from './record/fixtures.ts'

const MIB = 2 ** 20

let directory: string

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'kube-agent-bounds-'))
})

afterEach(() => {
  vi.useRealTimers()
  rmSync(directory, { recursive: true, force: true })
})

describe('log lines', () => {
  it('of a flood of distinct errors are 300 a minute and one that counts the rest; news and details have budgets of their own', () => {
    vi.useFakeTimers()
    const { logger, lines } = capturedLogger('debug')
    for (let n = 0; n < 10_000; n += 1) logger.error({ n }, `fault number ${n}`)
    for (let n = 0; n < 500; n += 1) logger.info({ n }, 'news')
    expect(lines.filter(({ level }) => level === 'error')).toHaveLength(LOG_LINES_PER_MINUTE.problems)
    expect(lines.filter(({ level }) => level === 'info')).toHaveLength(500)
    vi.advanceTimersByTime(60_000)
    const counts = lines.filter(({ msg }) => msg === 'log lines suppressed')
    expect(counts).toMatchObject([{ level: 'error', suppressed: 9700, band: 'problems', perMinute: 300 }])
    const before = lines.length
    logger.error('the next minute')
    expect(lines).toHaveLength(before + 1)
    for (let n = 0; n < 20_000; n += 1) logger.debug({ n }, 'detail')
    expect(lines).toHaveLength(before + 1 + LOG_LINES_PER_MINUTE.details)
  })

  it('of ticks that fail with another message each time are bounded too, and the journal keeps what it may', () => {
    vi.useFakeTimers()
    const { logger, lines } = capturedLogger()
    const record = recorder(logger)
    for (let n = 0; n < 3000; n += 1) record.tickFailed(new Error(`fault ${n}`), { nowMs: STARTED_MS + n, wallMs: n })
    expect(lines).toHaveLength(LOG_LINES_PER_MINUTE.problems)
    expect(record.status(STARTED_MS + 3000).loop.failedTicks).toBe(3000)
  })
})

describe('the record', () => {
  it('has as many metrics series as before and a bounded journal after 2,000 pods have come and gone', async () => {
    const record = recorder(capturedLogger('error').logger)
    const series = async (): Promise<number> => (await record.metricsText()).split('\n').filter((line) => /^\w/.test(line)).length
    const churned = (seq: number) => {
      const one = pod(`churn-${seq}`, 'BE')
      const step = { ...CPUS_STEP, group: one.reading.group }
      record.tick(tick({ seq, nowMs: 11_000 + seq * 1000, pods: [one], plan: [step], outcomes: [{ is: 'applied' }] }))
    }
    churned(1)
    const before = await series()
    for (let seq = 2; seq <= 2000; seq += 1) churned(seq)
    expect(await series()).toBe(before)
    const page = record.journal({ since: 0, limit: 1_000_000 })
    // What came, went and was written: three entries a pod, of which the ring keeps the last.
    expect(page.entries.length).toBeLessThanOrEqual(2 * 512)
    expect(page.next).toBeGreaterThan(4000)
    expect(() => record.explain('pod/default/churn-7', 6_000_000)).toThrow(/churn-7/)
  })
})

describe('findings', () => {
  it('are told of 256 pods, however many ask for something odd', () => {
    const { logger, lines } = capturedLogger()
    const record = recorder(logger)
    const findings = Array.from({ length: 1000 }, (_, n) => ({ ...FINDING, name: `odd-${n}`, uid: `uid-${n}` }))
    record.tick(tick({ findings }))
    record.tick(tick({ seq: 2, nowMs: 12_000, findings }))
    expect(lines.filter(({ kind }) => kind === 'finding')).toHaveLength(256)
  })
})

describe('a gRPC message', () => {
  const LONG = 'x'.repeat(33 * MIB)

  it('of the kubelet above 32 MiB is refused, and the next call is answered', async () => {
    let name = LONG
    const server = new Server(UNLIMITED)
    const absent = { code: status.UNIMPLEMENTED, details: 'not served' }
    servePodResources(server, {
      List: (_call, reply) => reply(null, { podResources: [{ namespace: 'jobs', name, containers: [] }] }),
      Get: (_call, reply) => reply(absent),
      GetAllocatableResources: (_call, reply) => reply(absent),
    })
    const socket = `unix:${join(directory, 'kubelet.sock')}`
    await new Promise<void>((done) => server.bindAsync(socket, ServerCredentials.createInsecure(), () => done()))
    const client = new PodResourcesClient(directory, () => performance.now())
    onTestFinished(() => {
      client.close()
      server.forceShutdown()
    })
    await expect(client.list(15_000)).rejects.toMatchObject({ code: status.RESOURCE_EXHAUSTED })
    // What the longest honest one may have: 16 MiB, which is where the kubelet's own clients stop.
    name = 'y'.repeat(16 * MIB)
    await expect(client.list(15_000)).resolves.toMatchObject({ containers: [] })
  })

  it('to a plugin above 32 MiB is refused, and the next Allocate is answered', async () => {
    const devices = new ResourceDevices({ resource: 'be-cpu', maxUnits: 8, now: () => performance.now() })
    devices.publish(4)
    const socketPath = join(directory, 'plugin.sock')
    const options = { devices, qosClass: 'BE', socketPath, pushMs: 1000, now: () => performance.now(), nonce: () => 'n' } as const
    const server = await PluginServer.listen({ ...options, onStreams: () => undefined, onPush: () => undefined })
    const client = dial(socketPath, UNLIMITED)
    onTestFinished(async () => {
      client.close()
      await server.close()
    })
    const allocate = (id: string) =>
      callUnary(client, DEVICE_PLUGIN.Allocate, { containerRequests: [{ devicesIds: [id] }] }, { deadline: Date.now() + 15_000 })
    await expect(allocate(LONG)).rejects.toMatchObject({ code: status.RESOURCE_EXHAUSTED })
    const free = devices.list[0]?.id ?? ''
    await expect(allocate(free)).resolves.toMatchObject({ containerResponses: [{}] })
    expect(devices.allocatedUnits).toBe(1)
  })
})

describe('an HTTP client', () => {
  it('that says nothing, or only half of a request, is cut off within some seconds', { timeout: 20_000 }, async () => {
    const { logger } = capturedLogger()
    const now = () => ({ nowMs: STARTED_MS, wallMs: 0 })
    const server = await startHttp({ host: '127.0.0.1', port: 0, recorder: recorder(logger), now, logger })
    onTestFinished(() => server.close())
    const cutAfterMs = (words: string): Promise<number> =>
      new Promise((done) => {
        const began = performance.now()
        const socket = connect(server.port, '127.0.0.1', () => socket.write(words))
        socket.on('data', () => undefined)
        socket.on('error', () => undefined)
        socket.on('close', () => done(performance.now() - began))
      })
    const times = await Promise.all(['', 'GET /livez HTTP/1.1\r\nHost: x\r\nX-Slow:'].map(cutAfterMs))
    for (const ms of times) expect(ms).toBeLessThan(10_000)
  })

  it('may only read: any other method is answered 405', async () => {
    const { logger } = capturedLogger()
    const now = () => ({ nowMs: STARTED_MS, wallMs: 0 })
    const server = await startHttp({ host: '127.0.0.1', port: 0, recorder: recorder(logger), now, logger })
    onTestFinished(() => server.close())
    for (const method of ['POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']) {
      const answer = await fetch(`http://127.0.0.1:${server.port}/configz`, { method })
      expect([method, answer.status, answer.headers.get('allow')]).toEqual([method, 405, 'GET, HEAD'])
    }
  })
})

describe('the records of evictions', () => {
  it('are the newest 64, but none is forgotten that waits for its answer, and the counts know all', () => {
    const records = new EvictionRecords()
    records.put({ wish: wishOf({ name: 'waits' }), is: 'asked', atMs: 0 }, 0)
    for (let n = 1; n <= 1000; n += 1) records.put({ wish: wishOf({ name: `pod-${n}` }), is: 'evicted', atMs: n }, n)
    expect(records.recent).toHaveLength(64)
    expect(records.recent.map(({ wish }) => wish.name)).toEqual(expect.arrayContaining(['waits', 'pod-1000', 'pod-938']))
    expect(records.counts()).toMatchObject({ evicted: 1000, asked: 1 })
  })
})

describe('a pod', () => {
  it('with more than 16,384 processes or 1,024 groups is read no further', () => {
    const pids = (from: number, count: number): string => Array.from({ length: count }, (_, n) => `${from + n}\n`).join('')
    const many = planted({ 'cgroup.procs': pids(1, 20_000) })
    expect(processesBelow(many)).toHaveLength(16_384)
    const groups = Array.from({ length: 1500 }, (_, n) => [`g${n}`, { 'cgroup.procs': `${n + 1}\n` }] as const)
    expect(processesBelow(planted({ 'cgroup.procs': '', ...Object.fromEntries(groups) }))).toHaveLength(1023)
  })

  it('whose manifest has more than 2 MiB is named and not read, and the others are', () => {
    writeFileSync(
      join(directory, 'a.yaml'),
      `kind: Pod\nmetadata: { name: a, uid: a }\nspec: { containers: [] }\n#${'x'.repeat(2 * MIB)}`,
    )
    writeFileSync(join(directory, 'b.yaml'), 'kind: Pod\nmetadata: { name: b, uid: b }\nspec: { containers: [{ name: main }] }\n')
    const pods = new PodDirectory({ directory, rescanMs: 60_000, maxPods: 10, now: () => 0 })
    onTestFinished(() => pods.close())
    pods.rescan()
    expect(pods.list().pods.map(({ name }) => name)).toEqual(['b'])
    expect(pods.list().problems).toEqual([expect.stringContaining('a.yaml')])
    expect(pods.list().problems[0]).toContain(`more than the ${2 * MIB} that a manifest may have`)
  })
})

describe('the restore journal', () => {
  const open = (maxBytes: number): RestoreJournal => {
    const journal = new RestoreJournal({ stateDirectory: directory, bootId: 'one', maxBytes, groupId: () => 1 })
    onTestFinished(() => journal.end())
    return journal
  }

  it('is rewritten when it has outgrown its bound, however often its knobs are written', () => {
    const journal = open(16 * 1024)
    const path = journalPath(directory)
    journal.saveOriginals([{ group: '/pods/a', kind: 'weight', value: 1024 }])
    let largest = 0
    for (let value = 2; value < 2000; value += 1) {
      journal.willWrite('/pods/a', 'weight', { value, holds: value - 1 })
      journal.compactIfLarge()
      largest = Math.max(largest, statSync(path).size)
    }
    expect(largest).toBeLessThan(17 * 1024)
    expect(largest).toBeGreaterThan(15 * 1024)
    expect(journal.entries.get('/pods/a', 'weight')?.ours).toEqual([1999, 1998, 1997])
  })

  it('does not follow a symbolic link in its place, and leaves what it points to alone', () => {
    const elsewhere = join(directory, 'elsewhere')
    writeFileSync(elsewhere, 'somebody else\n')
    symlinkSync(elsewhere, journalPath(directory))
    expect(() => open(1024)).toThrow(
      expect.objectContaining({ code: 'E_STATE_DIR', message: expect.stringContaining('ELOOP') }) as Error,
    )
    expect(readFileSync(elsewhere, 'utf8')).toBe('somebody else\n')
  })

  it('and the lock are refused in a directory of another user', async (context) => {
    if (process.geteuid?.() !== 0) context.skip('needs root: only root can give a directory away')
    const { chownSync } = await import('node:fs')
    chownSync(directory, 65_534, 65_534)
    expect(() => open(1024)).toThrow(`the state directory ${directory} belongs to user 65534, this agent runs as 0`)
    await expect(takeLock(directory)).rejects.toMatchObject({ code: 'E_STATE_DIR' })
    chownSync(directory, 0, 0)
  })
})

describe('the lock', () => {
  it('is not taken through a symbolic link in its place: what that points to stays', async () => {
    const elsewhere = join(directory, 'elsewhere')
    const state = join(directory, 'state')
    mkdirSync(state, { mode: 0o700 })
    writeFileSync(elsewhere, 'somebody else\n')
    symlinkSync(elsewhere, join(state, 'agent.lock'))
    const giveBack = await takeLock(state)
    const lock = join(state, 'agent.lock')
    const [socket = ''] = readdirSync(lock)
    expect(lstatSync(join(lock, socket)).isSocket()).toBe(true)
    expect([lock, join(lock, socket)].map((path) => lstatSync(path).mode & 0o777)).toEqual([0o700, 0o600])
    giveBack()
    expect(readFileSync(elsewhere, 'utf8')).toBe('somebody else\n')
  })
})

describe('liveness', () => {
  it('fails when the loop has stopped, and is answered all the same', { timeout: 20_000 }, async () => {
    const { logger } = capturedLogger()
    const began = performance.now()
    const record = recorder(logger)
    const now = () => ({ nowMs: STARTED_MS + performance.now() - began, wallMs: 0 })
    const server = await startHttp({ host: '127.0.0.1', port: 0, recorder: record, now, logger, liveMaxAgeMs: 1000 })
    const beating = setInterval(() => record.tick(tick({ nowMs: now().nowMs })), 100)
    onTestFinished(() => {
      clearInterval(beating)
      return server.close()
    })
    const livez = async () => (await fetch(`http://127.0.0.1:${server.port}/livez`)).status
    await sleep(1500)
    expect(await livez()).toBe(200)
    clearInterval(beating)
    await sleep(1500)
    expect(await livez()).toBe(503)
  })
})

describe('the README', () => {
  it('has the bounds that are in force', () => {
    const readme = readFileSync(resolve(import.meta.dirname, '../../README.md'), 'utf8')
    const [, section = ''] = /## Privileges and limits\n([\s\S]*?)\n## /.exec(readme) ?? []
    const { problems, news, details } = LOG_LINES_PER_MINUTE
    const numbers = [problems, news, details].map((lines) => lines.toLocaleString('en-GB'))
    expect(section).toContain(`${numbers[0]} errors and warnings, ${numbers[1]} lines of news, ${numbers[2]} of details`)
  })
})
