/**
 * The agent's own place in the queue for a CPU: on a full node it has to run in time to make room for others. Its nice value, and for those who
 * want it a real-time class, which is a native call through koffi, an optional package. Only the calling thread, which is the one that the loop
 * runs on, is raised; what fails is said and is no reason not to run.
 * Kernel: sched_setscheduler(2), setpriority(2), sched(7); sched_rt_runtime in scheduler/sched-rt-group.rst.
 */
import { createRequire } from 'node:module'
import { getPriority, setPriority } from 'node:os'
import { getSystemErrorName } from 'node:util'
import { errnoOf, messageOf } from '../model/index.ts'
import { hasCapability } from './own-capabilities.ts'

const SCHED_FIFO = 1
/** Kernel: processes and threads that this one starts are ordinary again. */
const SCHED_RESET_ON_FORK = 0x4000_0000

export interface OwnPriority {
  /** −20 to 0; 0 leaves it as it is. */
  readonly nice: number
  /** 1 to 99 in SCHED_FIFO; 0 for none. */
  readonly realtimePriority: number
}

/** sched_setscheduler(2) for the calling thread: undefined, or the name of its errno. Throws where it can't be called at all. */
export type SetScheduler = (policy: number, priority: number) => string | undefined

/** Raises the calling thread. Answers what could not be done and what is missing for it, a sentence each. Never throws. */
export function raiseOwnPriority({ nice, realtimePriority }: OwnPriority, setScheduler = callScheduler): readonly string[] {
  const problems = [raiseNice(nice), raiseClass(realtimePriority, setScheduler)]
  return problems.filter((problem) => problem !== undefined)
}

function raiseNice(nice: number): string | undefined {
  try {
    // Whoever started the agent with a better one meant it.
    if (nice < getPriority()) setPriority(nice)
    return undefined
  } catch (thrown) {
    const errno = (thrown as { readonly info?: { readonly code?: string } }).info?.code ?? ''
    const isForbidden = errno === 'EACCES' || errno === 'EPERM'
    return `nice ${nice} was not taken: ${isForbidden ? `the capability CAP_SYS_NICE is missing (${errno})` : messageOf(thrown)}`
  }
}

function raiseClass(priority: number, setScheduler: SetScheduler): string | undefined {
  if (priority === 0) return undefined
  const failed = `priority ${priority} in the real-time class was not taken`
  try {
    const errno = setScheduler(SCHED_FIFO | SCHED_RESET_ON_FORK, priority)
    return errno === undefined ? undefined : `${failed} (${errno}): ${reasonOf(errno)}`
  } catch (thrown) {
    if (errnoOf(thrown) === 'MODULE_NOT_FOUND') return `${failed}: the optional package koffi is not installed`
    return `${failed}: ${messageOf(thrown)}`
  }
}

/** Kernel: EPERM stands for two things, see __sched_setscheduler() and user_check_sched_setscheduler(). */
function reasonOf(errno: string): string {
  if (errno !== 'EPERM') return 'the kernel does not take it'
  return hasCapability('CAP_SYS_NICE')
    ? "the agent's cgroup has no real-time runtime: with RT_GROUP_SCHED cpu.rt_runtime_us must be set in it and in its parents"
    : 'the capability CAP_SYS_NICE is missing'
}

function callScheduler(policy: number, priority: number): string | undefined {
  // Not an import: the package may be absent, and most nodes never need it.
  const koffi = createRequire(import.meta.url)('koffi') as typeof import('koffi')
  const call = koffi.load(null).func('int sched_setscheduler(int pid, int policy, const int *param)') as (
    ...args: [pid: number, policy: number, param: Int32Array]
  ) => number
  // struct sched_param is one int; PID 0 is the calling thread.
  return call(0, policy, Int32Array.of(priority)) === 0 ? undefined : getSystemErrorName(-koffi.errno())
}
