/** Ctrl-C in the middle of a bench: whatever waits stops waiting, so that each bench's own `finally` puts away what it made. */
import { setTimeout as sleep } from 'node:timers/promises'

/** Aborted by SIGINT and SIGTERM (main.ts). */
export const stopping = new AbortController()

/** Waits; rejects with an AbortError once the bench is to stop. */
export async function pause(ms: number): Promise<void> {
  await sleep(ms, undefined, { signal: stopping.signal })
}

/** Looks every `everyMs` until `done`; throws after `limitMs`, naming `what` did not come. */
export async function until(what: string, done: () => boolean | Promise<boolean>, limitMs: number, everyMs = 20): Promise<void> {
  const deadlineMs = performance.now() + limitMs
  while (!(await done())) {
    if (performance.now() > deadlineMs) throw new Error(`${what}: did not come within ${limitMs / 1000} s`)
    await pause(everyMs)
  }
}
