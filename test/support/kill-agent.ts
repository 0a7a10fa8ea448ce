/** The agent of test/cgroup/kill.test.ts as a process of its own, and the instants at which it is killed. */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { appendFileSync, closeSync, openSync, readFileSync, watch } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { KillNode } from './kill-node.ts'

const BUNDLE = resolve(import.meta.dirname, '../../dist/kube-agent.mjs')
/** Nothing was written for so long: it is killed all the same. */
const LONGEST_MS = 1500

/** When to kill. */
export type Instant =
  /** So long after the start of the process. */
  | { readonly is: 'delay'; readonly ms: number }
  /** At once when the journal is written for the nth time: between the record and the write that it is about, or soon after. */
  | { readonly is: 'journal'; readonly times: number }
  /** So long after the journal was written for the first time. */
  | { readonly is: 'running'; readonly ms: number }

export class KillAgent {
  readonly child: ChildProcess
  readonly #log: string

  constructor(node: KillNode, number: number) {
    this.#log = join(node.directory, `agent-${number}.log`)
    const fd = openSync(this.#log, 'w')
    this.child = spawn(process.execPath, [BUNDLE, 'run', '--config', node.configFile], { stdio: ['ignore', fd, fd], cwd: '/' })
    closeSync(fd)
  }

  get pid(): number {
    return this.child.pid ?? 0
  }

  get hasEnded(): boolean {
    return this.child.exitCode !== null || this.child.signalCode !== null
  }

  /** Lines of its log so far. */
  lines(): LogLine[] {
    const text = readFileSync(this.#log, 'utf8')
    // A killed writer may have torn the last line.
    const whole = text.slice(0, text.lastIndexOf('\n') + 1).split('\n')
    return whole.filter((line) => line !== '').map((line) => (line.startsWith('{') ? JSON.parse(line) : { msg: line }) as LogLine)
  }

  /** Sends a signal and returns how it ended: its exit code, or the name of the signal. */
  async end(signal: NodeJS.Signals): Promise<number | string | null> {
    if (this.hasEnded) return this.child.exitCode ?? this.child.signalCode
    const ended = once(this.child, 'exit')
    this.child.kill(signal)
    const [code, by] = (await ended) as [number | null, string | null]
    return code ?? by
  }

  /** Waits until its log has a line with this message; throws after 10 s, and when it has ended. */
  async says(msg: string): Promise<void> {
    for (let tries = 0; tries < 1000; tries += 1) {
      const lines = this.lines()
      if (lines.some((line) => line.msg === msg)) return
      if (this.hasEnded) break
      await sleep(10)
    }
    throw new Error(`the agent did not say '${msg}': ${JSON.stringify(this.lines().slice(-5))}`)
  }
}

export interface LogLine {
  readonly msg: string
  readonly level?: string
  readonly text?: string
  readonly [field: string]: unknown
}

/** Kills the agent at an instant. Returns how it ended, and whether the instant came at all. */
export async function killAt(agent: KillAgent, node: KillNode, instant: Instant): Promise<{ by: unknown; came: boolean }> {
  if (instant.is === 'delay') {
    await sleep(instant.ms)
    return { by: await agent.end('SIGKILL'), came: true }
  }
  const wanted = instant.is === 'journal' ? instant.times : 1
  const came = await journalWritten(node, wanted, LONGEST_MS, () => {
    // At once, in the very event: each turn of the loop would be a write that is done with.
    if (instant.is === 'journal') agent.child.kill('SIGKILL')
  })
  if (came && instant.is === 'running') await sleep(instant.ms)
  return { by: await agent.end('SIGKILL'), came }
}

/** Waits until the journal was written so many times; false when that took too long. */
function journalWritten(node: KillNode, times: number, limitMs: number, then: () => void): Promise<boolean> {
  return new Promise((resolve) => {
    let left = times
    const name = basename(node.journalFile)
    const end = (came: boolean): void => {
      clearTimeout(timer)
      watcher.close()
      resolve(came)
    }
    const watcher = watch(dirname(node.journalFile), (_event, file) => {
      // Its rewriting counts as well: records are lost most easily there.
      if (file?.startsWith(name) !== true || left === 0) return
      left -= 1
      if (left > 0) return
      then()
      end(true)
    })
    const timer = setTimeout(() => end(false), limitMs)
  })
}

export interface Ran {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly output: string
}

/** Runs `kube-agent release` to its end. */
export function runRelease(node: KillNode): Ran {
  const run = spawnSync(process.execPath, [BUNDLE, 'release', '--config', node.configFile], { encoding: 'utf8', timeout: 20_000 })
  return { code: run.status, signal: run.signal, output: run.stdout + run.stderr }
}

/** Starts `kube-agent release` and kills it after a while, or when it has written to the journal so many times. */
export async function killRelease(node: KillNode, instant: Instant): Promise<void> {
  const child = spawn(process.execPath, [BUNDLE, 'release', '--config', node.configFile], { stdio: 'ignore', cwd: '/' })
  const ended = once(child, 'exit')
  if (instant.is === 'journal') await journalWritten(node, instant.times, 500, () => child.kill('SIGKILL'))
  else await sleep(instant.ms)
  child.kill('SIGKILL')
  await ended
}

/** Appends part of a record to the journal: what a write leaves behind that was cut off. */
export function tearJournal(node: KillNode, at: number): void {
  const lines = readFileSync(node.journalFile, 'latin1').split('\n')
  const line = lines.at(-2) ?? ''
  appendFileSync(node.journalFile, line.slice(0, 1 + (at % Math.max(1, line.length - 1))), 'latin1')
}
