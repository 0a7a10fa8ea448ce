/** A wait that an abort ends early. It does not throw: who waits here looks at the signal when there is something to decide. */
import { setTimeout as sleep } from 'node:timers/promises'

/** Resolves after `ms`, or as soon as the signal is aborted. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal }).catch((thrown: unknown) => {
    if (!signal.aborted) throw thrown
  })
}
