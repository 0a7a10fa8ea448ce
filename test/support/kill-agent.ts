/** The agent of test/cgroup/kill.test.ts as a process of its own, and the instants at which it is killed. */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { appendFileSync, closeSync, openSync, readFileSync, watch } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { KillNode } from './kill-node.ts'

/** The build to be killed; another one than that of this tree by KUBE_AGENT=FILE. */
const BUNDLE = process.env['KUBE_AGENT'] ?? resolve(import.meta.dirname, '../../dist/kube-agent.mjs')
/** A start on a machine that has much else to do. */
const START_LIMIT_MS = 10_000
/** Nothing more was written for so long: it is killed all the same. */
const WRITE_LIMIT_MS = 400

/** When to kill. */
export type Instant =
  /** At this share of the time that a start usually takes. */
  | { readonly is: 'starting'; readonly share: number }
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

  /** Waits for its end, and returns its exit code; throws when it does not end in time. */
  async ended(limitMs: number): Promise<number | null> {
    if (!this.hasEnded) await once(this.child, 'exit', { signal: AbortSignal.timeout(limitMs) })
    return this.child.exitCode
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

/** Kills agents, and learns meanwhile how long one takes to start: machines differ, and so does one from minute to minute. */
export class Killer {
  readonly #node: KillNode
  #startMs = 300

  constructor(node: KillNode) {
    this.#node = node
  }

  /** Kills the agent at an instant. Returns how it ended, and whether the instant came at all. */
  async killAt(agent: KillAgent, instant: Instant): Promise<{ readonly by: unknown; readonly came: boolean }> {
    const beganMs = performance.now()
    if (instant.is === 'starting') {
      await sleep(instant.share * this.#startMs)
      return { by: await agent.end('SIGKILL'), came: true }
    }
    const times = instant.is === 'journal' ? instant.times : 1
    const came = await journalWritten(this.#node, {
      times,
      first: () => (this.#startMs = performance.now() - beganMs),
      // In the very event: each turn of the loop would be a write that is done with.
      last: () => instant.is === 'journal' && agent.child.kill('SIGKILL'),
    })
    if (came && instant.is === 'running') await sleep(instant.ms)
    return { by: await agent.end('SIGKILL'), came }
  }
}

interface Writes {
  readonly times: number
  readonly first: () => void
  readonly last: () => void
}

/** Waits until the journal was written so many times; false when that took too long. */
function journalWritten(node: KillNode, { times, first, last }: Writes): Promise<boolean> {
  return new Promise((resolve) => {
    let seen = 0
    const name = basename(node.journalFile)
    const end = (came: boolean): void => {
      clearTimeout(timer)
      watcher.close()
      resolve(came)
    }
    let timer = setTimeout(() => end(false), START_LIMIT_MS)
    const watcher = watch(dirname(node.journalFile), (_event, file) => {
      // Its rewriting counts as well: records are lost most easily there.
      if (file?.startsWith(name) !== true || seen === times) return
      seen += 1
      if (seen === 1) first()
      if (seen === times) last()
      clearTimeout(timer)
      if (seen === times) end(true)
      else timer = setTimeout(() => end(false), WRITE_LIMIT_MS)
    })
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

/** Starts `kube-agent release` and kills it when it has written to the journal so many times, or has ended. */
export async function killRelease(node: KillNode, times: number): Promise<void> {
  const child = spawn(process.execPath, [BUNDLE, 'release', '--config', node.configFile], { stdio: 'ignore', cwd: '/' })
  const ended = once(child, 'exit')
  await Promise.race([journalWritten(node, { times, first: () => undefined, last: () => child.kill('SIGKILL') }), ended])
  child.kill('SIGKILL')
  await ended
}

/** Appends part of a record to the journal: what a write leaves behind that was cut off. */
export function tearJournal(node: KillNode, at: number): void {
  const lines = readFileSync(node.journalFile, 'latin1').split('\n')
  const line = lines.at(-2) ?? ''
  appendFileSync(node.journalFile, line.slice(0, 1 + (at % Math.max(1, line.length - 1))), 'latin1')
}
