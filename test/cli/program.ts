/** Runs the bundle the way a person does: as a process of its own. */
import { execFile, spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { resolve } from 'node:path'

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
