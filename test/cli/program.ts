/** Runs the bundle the way a person does: as a process of its own. */
import { execFile, spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

export const BUNDLE = resolve(import.meta.dirname, '../../dist/kube-agent.mjs')
export const IS_ROOT = process.getuid?.() === 0
/** nobody, on every distribution. */
export const NOBODY = 65_534

export interface Ran {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Runs a verb to its end; as another user where `uid` is given. */
export function kubeAgent(words: readonly string[], { uid, timeoutMs = 15_000 }: { uid?: number; timeoutMs?: number } = {}): Ran {
  const run = spawnSync(process.execPath, [BUNDLE, ...words], {
    encoding: 'utf8',
    timeout: timeoutMs,
    killSignal: 'SIGKILL',
    cwd: '/',
    ...(uid === undefined ? {} : { uid, gid: uid }),
    env: { ...process.env, NO_COLOR: '1' },
  })
  return { code: run.status, stdout: run.stdout, stderr: run.stderr }
}

/** Starts a verb and leaves it running. */
export function startKubeAgent(words: readonly string[]): ChildProcess {
  return spawn(process.execPath, [BUNDLE, ...words], { stdio: ['ignore', 'pipe', 'pipe'] })
}

/** Starts `run` with a configuration that has `http: {port: 0}`, and waits for the port that it serves. Throws, with its log, when it does not serve. */
export async function startServing(config: string): Promise<{ readonly agent: ChildProcess; readonly port: number }> {
  const agent = startKubeAgent(['run', '--config', config])
  let log = ''
  agent.stdout?.resume()
  agent.stderr?.on('data', (data: Buffer) => (log += data.toString()))
  for (let tries = 0; tries < 200; tries += 1) {
    await sleep(100)
    const [, port] = /"port":(\d+)/.exec(log) ?? []
    if (port !== undefined) return { agent, port: Number(port) }
  }
  agent.kill('SIGKILL')
  throw new Error(`it does not serve:\n${log}`)
}

/** Ends a process that was started here, if it was, and has not ended by itself. */
export async function endNow(agent: ChildProcess | undefined): Promise<void> {
  if (agent === undefined || agent.exitCode !== null) return
  const ended = once(agent, 'exit')
  agent.kill('SIGKILL')
  await ended
}

/** Runs a verb whose reader leaves after the first line. */
export function pipeToHead(words: readonly string[], timeoutMs = 15_000): Ran {
  const script = '"$0" "$@" | head -1'
  const run = spawnSync('sh', ['-c', script, process.execPath, BUNDLE, ...words], {
    encoding: 'utf8',
    timeout: timeoutMs,
    killSignal: 'SIGKILL',
    cwd: '/',
  })
  return { code: run.status, stdout: run.stdout, stderr: run.stderr }
}

/**
 * Runs any program to its end while this process goes on, as it must where it is the one that answers; as another user where `uid` is given.
 * NO_COLOR only where `over` says so.
 */
export function runAsync(
  file: string,
  words: readonly string[],
  over: NodeJS.ProcessEnv = {},
  { uid, timeoutMs = 30_000 }: { uid?: number; timeoutMs?: number } = {},
): Promise<Ran> {
  const { NO_COLOR: _none, ...environment } = process.env
  const identity = uid === undefined ? {} : { uid, gid: uid }
  return new Promise((resolve) => {
    const options = {
      timeout: timeoutMs,
      killSignal: 'SIGKILL',
      cwd: '/',
      env: { ...environment, ...over },
      ...identity,
    } as const
    const child = execFile(file, [...words], options, (_failed, stdout, stderr) => {
      resolve({ code: child.exitCode, stdout, stderr })
    })
    child.stdin?.end()
  })
}
