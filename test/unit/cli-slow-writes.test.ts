/**
 * Stopping beside a write that does not end: a real process with a thread that is stuck in write(2) ends in time all the same, with its log
 * complete. The write is one to a full pipe, which blocks a thread of the pool as reclaim does.
 */
import { spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { performance } from 'node:perf_hooks'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { awaitSlowWrites } from '../../src/cli/slow-writes.ts'

let directory: string

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'kube-agent-stop-'))
})

afterEach(() => rmSync(directory, { recursive: true, force: true }))

const CHILD = `
import { openSync, write } from 'node:fs'
import { awaitSlowWrites, endProcess } from '${resolve('src/cli/slow-writes.ts')}'
import { createLogger } from '${resolve('src/record/log.ts')}'
const logger = createLogger('info')
const fd = openSync(process.argv.at(-1), 'r+')
const written = new Promise((end) => write(fd, Buffer.alloc(1 << 20), end))
process.on('SIGTERM', async () => {
  await awaitSlowWrites({ stopSlowWrites: () => written }, logger)
  for (let line = 0; line < 500; line += 1) logger.info({ line }, 'stopping')
  endProcess(logger, { hangs: true })
})
setTimeout(() => process.stdout.write('ready'), 100)
`

interface Ended {
  readonly tookMs: number
  readonly signal: NodeJS.Signals | null
  readonly log: string
}

function stopChild(): Promise<Ended> {
  const pipe = join(directory, 'pipe')
  expect(spawnSync('mkfifo', [pipe]).status).toBe(0)
  const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', CHILD, '--', pipe])
  return new Promise((end) => {
    let log = ''
    let startMs = 0
    const tooLong = setTimeout(() => child.kill('SIGKILL'), 50_000)
    child.stderr.on('data', (data: Buffer) => (log += data.toString()))
    child.stdout.once('data', () => {
      startMs = performance.now()
      child.kill('SIGTERM')
    })
    child.once('close', (_code, signal) => {
      clearTimeout(tooLong)
      end({ tookMs: performance.now() - startMs, signal, log })
    })
  })
}

describe('a process with a write that never ends', () => {
  it('ends within 5 s of SIGTERM, and none of its log is lost', async () => {
    const { tookMs, signal, log } = await stopChild()
    expect(signal).toBe('SIGKILL')
    expect(tookMs).toBeGreaterThan(1900)
    expect(tookMs).toBeLessThan(5000)
    expect(log).toContain('its original is on record')
    expect(log.split('\n').filter((line) => line.includes('"stopping"'))).toHaveLength(500)
  }, 60_000)
})

describe('a write that ends', () => {
  it('is waited for no longer than it takes, and nothing is said of it', async () => {
    const said: unknown[] = []
    const startMs = performance.now()
    await awaitSlowWrites({ stopSlowWrites: () => Promise.resolve() }, { warn: (...words: unknown[]) => void said.push(words) })
    expect(performance.now() - startMs).toBeLessThan(1000)
    expect(said).toEqual([])
  })
})
