/**
 * A recording on a disk that hangs, with a write that never returns: nobody waits for it but the thread that is in the kernel. The loop goes on, and
 * the process ends in time, although Node would wait for that thread.
 */
import { once } from 'node:events'
import type { ChildProcess } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it, type TestContext } from 'vitest'
import { messageOf } from '../../src/model/index.ts'
import { HangingDisk, whyNoHangingDisk } from '../support/hanging-disk.ts'
import { plantPlainNode } from '../support/trees-on-disk.ts'
import { startKubeAgent } from './program.ts'

/** What an agent may take to end. */
const END_MS = 5000

let directory: string
let disk: HangingDisk | undefined
let child: ChildProcess | undefined
let config: string

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'kube-agent-hanging-'))
  config = join(directory, 'c.yaml')
  const pods = join(directory, 'pods')
  mkdirSync(pods)
  const paths = `{cgroup: ${plantPlainNode(directory)}, state: ${join(directory, 'state')}}`
  writeFileSync(config, `node: {name: node-a}\npaths: ${paths}\npods: {source: directory, directory: ${pods}}\n`)
})

afterEach(() => {
  child?.kill('SIGKILL')
  disk?.unmount()
  rmSync(directory, { recursive: true, force: true })
  ;[disk, child] = [undefined, undefined]
})

function mounted(context: TestContext): HangingDisk {
  const reason = whyNoHangingDisk()
  if (reason !== undefined) return context.skip(reason)
  try {
    disk = HangingDisk.mount(join(directory, 'disk'))
  } catch (thrown) {
    return context.skip(`this container may not mount a FUSE file system: ${messageOf(thrown)}`)
  }
  return disk
}

/** Starts a verb, and gathers what it says on standard error. */
function start(words: readonly string[]): { readonly child: ChildProcess; readonly told: () => string } {
  const started = startKubeAgent([...words, '--config', config])
  child = started
  let told = ''
  started.stderr?.on('data', (chunk: Buffer) => (told += chunk.toString()))
  started.stdout?.resume()
  return { child: started, told: () => told }
}

async function endOf(started: ChildProcess, signal: NodeJS.Signals): Promise<{ readonly tookMs: number; readonly by: unknown }> {
  const exit = once(started, 'exit')
  const fromMs = performance.now()
  started.kill(signal)
  const [, by] = (await exit) as [number | null, NodeJS.Signals | null]
  return { tookMs: performance.now() - fromMs, by }
}

describe('with a disk that hangs under its recording', () => {
  it('a running agent goes on ticking, and ends within five seconds of SIGTERM', async (context) => {
    const { path, hangs } = mounted(context)
    const settings = `recording.enabled=true,recording.directory=${path},recording.flushMs=200,http.port=0`
    const { child, told } = start(['run', '--set', settings])
    await hangs
    let port: string | undefined
    for (let waitedMs = 0; port === undefined && waitedMs < 15_000; waitedMs += 50) {
      await sleep(50)
      port = /"port":(\d+)/.exec(told())?.[1]
    }
    const ticks = async (): Promise<number> => {
      const metrics = await (await fetch(`http://127.0.0.1:${port ?? ''}/metrics`)).text()
      return [...metrics.matchAll(/^kube_agent_ticks_total\{pace="\w+"\} (\d+)$/gm)].reduce(
        (sum, [, count]) => sum + Number(count),
        0,
      )
    }
    const before = await ticks()
    for (let waitedMs = 0; (await ticks()) < before + 3; waitedMs += 200) {
      expect(waitedMs).toBeLessThan(15_000)
      await sleep(200)
    }
    const { tookMs, by } = await endOf(child, 'SIGTERM')
    expect(told()).toContain('the disk of the recording does not answer')
    // It can't be waited for: nothing less ends a process one of whose threads does not come back.
    expect(by).toBe('SIGKILL')
    expect(tookMs).toBeLessThan(END_MS)
  })

  it('the verb record ends within five seconds of Ctrl-C, and says why its file is worth nothing', async (context) => {
    const { path, hangs } = mounted(context)
    const { child, told } = start(['record', '--for', '10m', '--out', join(path, 'a.recording')])
    await hangs
    await sleep(500)
    const { tookMs } = await endOf(child, 'SIGINT')
    expect(told()).toMatch(/can't write .*a\.recording: the disk does not answer[\s\S]*\(E_RECORDING\)/)
    expect(tookMs).toBeLessThan(END_MS)
  })
})
