/**
 * Processes of the benchmarks. Each stands in its group before its first instruction (a shell waits for a line and then becomes the
 * program), and none outlives the bench: the kernel ends it when the bench is gone, however that ended (prctl PR_SET_PDEATHSIG).
 */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { stopping } from './stop.ts'

const END_MS = 5000
/** Reads byte by byte, so the rest of the pipe is the program's standard input. */
const WAIT_THEN_BE = 'read -r go || exit 0; exec "$@"'

export interface ProgramOptions {
  /** Moves the process to where it belongs, before the program runs. */
  readonly enter?: (pid: number) => void
  /** Sent when the bench is gone, and by end(). */
  readonly signal?: 'SIGKILL' | 'SIGTERM'
  /** Lets it wait before its first instruction until go() is called. */
  readonly held?: boolean
  /** Called for each line of its output; without, lines are kept for nextLine(). */
  readonly onLine?: (line: string) => void
}

export class Program {
  readonly name: string
  readonly pid: number
  readonly #child: ChildProcess
  readonly #signal: 'SIGKILL' | 'SIGTERM'
  readonly #lines: string[] = []
  #waits = true
  #wanted: ((line: string) => void) | undefined

  constructor(words: readonly string[], options: ProgramOptions = {}) {
    this.name = words[0] ?? ''
    this.#signal = options.signal ?? 'SIGKILL'
    const death = ['setpriv', '--pdeathsig', this.#signal.slice('SIG'.length)]
    this.#child = spawn('/bin/sh', ['-c', WAIT_THEN_BE, 'sh', ...death, ...words], { stdio: ['pipe', 'pipe', 'inherit'] })
    const { pid, stdin, stdout } = this.#child
    if (pid === undefined || stdin === null || stdout === null) throw new Error(`cannot start ${this.name}`)
    this.pid = pid
    stdin.on('error', () => undefined)
    createInterface({ input: stdout }).on('line', (line) => (options.onLine ?? ((text) => this.#keep(text)))(line))
    options.enter?.(pid)
    if (options.held !== true) this.go()
  }

  #keep(line: string): void {
    const wanted = this.#wanted
    this.#wanted = undefined
    if (wanted === undefined) this.#lines.push(line)
    else wanted(line)
  }

  get hasEnded(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null
  }

  send(line: string): void {
    this.#child.stdin?.write(`${line}\n`)
  }

  /** Its next line of output. Throws when it has ended, and after `limitMs`. */
  async nextLine(limitMs: number): Promise<string> {
    const line = this.#lines.shift()
    if (line !== undefined) return line
    const waiting = new AbortController()
    const signal = AbortSignal.any([waiting.signal, stopping.signal])
    try {
      return await Promise.race([
        new Promise<string>((resolve) => (this.#wanted = resolve)),
        once(this.#child, 'exit', { signal }).then(() => Promise.reject(new Error(`${this.name} ended early`))),
        sleep(limitMs, undefined, { signal }).then(() =>
          Promise.reject(new Error(`${this.name} said nothing for ${limitMs} ms`)),
        ),
      ])
    } finally {
      this.#wanted = undefined
      waiting.abort()
    }
  }

  /** Stops it where it is. One that has not begun just waits on: stopped now, it would not end with the bench. */
  hold(): void {
    if (!this.#waits) this.#child.kill('SIGSTOP')
  }

  go(): void {
    if (this.#waits) this.send('go')
    else this.#child.kill('SIGCONT')
    this.#waits = false
  }

  /** CPU time of its first thread in µs. Kernel: /proc/PID/schedstat, in ns. */
  get cpuUs(): number {
    try {
      return Number(readFileSync(`/proc/${this.pid}/schedstat`, 'latin1').split(' ')[0]) / 1000
    } catch {
      return 0
    }
  }

  async end(): Promise<void> {
    if (this.hasEnded) return
    const ended = once(this.#child, 'exit')
    this.#child.kill('SIGCONT')
    this.#child.kill(this.#signal)
    const late = setTimeout(() => this.#child.kill('SIGKILL'), END_MS)
    await ended
    clearTimeout(late)
  }
}

/** Compiles scripts/bench/NAME.c into `directory` and returns the program's path. */
export function compile(name: string, directory: string): string {
  const binary = join(directory, name)
  const words = ['-O2', '-pthread', '-o', binary, `scripts/bench/${name}.c`, '-lm']
  const compiled = spawnSync('cc', words, { encoding: 'utf8' })
  if (compiled.status !== 0) {
    throw new Error(
      `the bench needs a C compiler named cc (apt-get install gcc libc6-dev): ${compiled.error?.message ?? compiled.stderr}`,
    )
  }
  return binary
}

/** Throws, with how to install it, when a program is not there. */
export function requireProgram(name: string, debianPackage: string): void {
  const found = spawnSync('/bin/sh', ['-c', 'command -v "$1"', 'sh', name], { stdio: 'ignore' })
  if (found.status !== 0) throw new Error(`the bench needs ${name}, which is not here: apt-get install ${debianPackage}`)
}
