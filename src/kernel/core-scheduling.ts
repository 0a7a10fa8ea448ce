/**
 * Asks the kernel whether it has core scheduling: cookies on tasks, of which only equal ones run on the threads of a core at one time.
 * There is no file for it, only prctl(2), so this is the one native call of the agent. It goes through koffi, an optional package that is
 * loaded when it is asked for; without it, or without the kernel's support, the answer is a reason. Cookies are read here, never given.
 * Kernel: Documentation/admin-guide/hw-vuln/core-scheduling.rst (5.14), kernel/sched/core_sched.c.
 */
import { createRequire } from 'node:module'
import { constants } from 'node:os'
import type { Capability } from '../model/index.ts'
import { errnoOf, messageOf } from '../model/index.ts'

const PR_SCHED_CORE = 62
const PR_SCHED_CORE_GET = 0
const PIDTYPE_PID = 0

const REASONS: Readonly<Record<number, string>> = {
  [constants.errno.EINVAL]: 'this kernel was built without core scheduling',
  [constants.errno.ENODEV]: 'no core of this machine has more than one thread online',
}

type Prctl = (...args: [option: number, command: number, pid: number, pidType: number, cookie: BigUint64Array]) => number

interface Native {
  readonly prctl: Prctl
  readonly errno: () => number
}

/** Whether core scheduling can be used here. Never throws. `load` finds prctl, and is another one in tests. */
export function probeCoreScheduling(load: () => Native = loadNative): Capability {
  try {
    const { prctl, errno } = load()
    // PID 0 is the caller; what it reads is the cookie of this process, which anybody may read.
    if (prctl(PR_SCHED_CORE, PR_SCHED_CORE_GET, 0, PIDTYPE_PID, new BigUint64Array(1)) === 0)
      return { usable: true, file: 'prctl(PR_SCHED_CORE)' }
    return { usable: false, reason: REASONS[errno()] ?? `prctl(PR_SCHED_CORE) fails with errno ${errno()}` }
  } catch (thrown) {
    const isMissing = errnoOf(thrown) === 'MODULE_NOT_FOUND'
    return {
      usable: false,
      reason: isMissing
        ? 'the optional package koffi is not installed, so the kernel could not be asked'
        : `the kernel could not be asked: ${messageOf(thrown)}`,
    }
  }
}

function loadNative(): Native {
  // Not an import: the package may be absent, and most nodes never need it.
  const koffi = createRequire(import.meta.url)('koffi') as typeof import('koffi')
  const prctl: Prctl = koffi
    .load(null)
    .func('int prctl(int option, unsigned long command, unsigned long pid, unsigned long type, _Out_ uint64_t *cookie)')
  return { prctl, errno: () => koffi.errno() }
}
