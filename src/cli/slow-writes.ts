/**
 * Stopping while a write that reclaims memory runs beside the loop. It keeps its original on record, so nothing is lost with it; but Node
 * waits for the threads of its pool before a process ends, and one that is in the kernel can't be asked to leave.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Actuator } from '../actuate/index.ts'
import type { Logger } from '../record/index.ts'

/** How long such a write may go on after the agent was asked to stop. */
const GRACE_MS = 2000
/** How long the log may take to get its last lines out. It gives a reader up before that who is behind, but not a write that hangs. */
const LOG_MS = 500

/** Begins none any more, and gives the one that runs a moment: what is released after that is not undone by it. */
export async function awaitSlowWrites(actuator: Pick<Actuator, 'stopSlowWrites'>, logger: Pick<Logger, 'warn'>): Promise<void> {
  const tooLong = new AbortController()
  const ended = actuator.stopSlowWrites().then(() => true)
  const isOver = await Promise.race([ended, sleep(GRACE_MS, false, { signal: tooLong.signal })])
  tooLong.abort()
  if (!isOver)
    logger.warn({ graceMs: GRACE_MS }, 'a write that reclaims memory goes on: it will be cut off, its original is on record')
}

/**
 * Ends the process with its exit code, once the log is out and with all else undone, whatever may still wait for something. With `hangs`, or where
 * a write of the log does not come back, it is by SIGKILL: for a thread that is in the kernel and does not return. Kernel: memory_high_write(),
 * memory_max_write() and mem_cgroup_resize_max() give up for a pending signal, and so does who waits for a file server (NFS, FUSE) or a stopped
 * terminal. One that waits for a frozen or broken disk does not: such a thread, and no more than it, outlasts the agent.
 */
export function endProcess(logger: Pick<Logger, 'flush'>, { hangs }: { readonly hangs: boolean }): void {
  let isOut = false
  // Before the log's own listener: what is left for that one could only be written behind the write that does not come back.
  process.prependOnceListener('exit', () => {
    if (hangs || !isOut) process.kill(process.pid, 'SIGKILL')
  })
  // What is being thrown at this moment is still told of.
  setImmediate(() =>
    logger.flush(() => {
      isOut = true
      process.exit()
    }),
  )
  setTimeout(() => process.exit(), LOG_MS)
}
