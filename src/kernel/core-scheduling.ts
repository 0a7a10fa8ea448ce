/**
 * Core scheduling as the kernel offers it: cookies on tasks, of which only equal ones run on the threads of a core at one time. There is no
 * file for it, only prctl(2), so this is the one native call of the agent. It goes through koffi, an optional package that is loaded when
 * the first call is made; without it, or without the kernel's support, the answer is a reason. core-cookies.ts gives and takes cookies.
 * Kernel: Documentation/admin-guide/hw-vuln/core-scheduling.rst (5.14), kernel/sched/core_sched.c, include/uapi/linux/prctl.h.
 */
import { createRequire } from 'node:module'
import { getSystemErrorName } from 'node:util'
import type { Capability } from '../model/index.ts'
import { errnoOf, messageOf } from '../model/index.ts'

const PR_SCHED_CORE = 62
const COMMANDS = { get: 0, create: 1, shareTo: 2, shareFrom: 3 } as const
/** Kernel: PR_SCHED_CORE_SCOPE_THREAD and _THREAD_GROUP. Cookies are read and taken thread by thread, and given to whole processes. */
const SCOPES = { thread: 0, process: 1 } as const

const REASONS: Readonly<Record<string, string>> = {
  EINVAL: 'this kernel was built without core scheduling',
  ENODEV: 'no core of this machine has more than one thread online',
}

type Prctl = (...args: [option: number, command: number, pid: number, pidType: number, cookie: BigUint64Array | null]) => number

export interface Native {
  readonly prctl: Prctl
  readonly errno: () => number
}

/** The four calls by name. Each answers undefined, or the name of its errno; what `get` reads is then in `cookie`. */
export class CoreScheduling {
  readonly #native: Native
  readonly #word = new BigUint64Array(1)

  /** Throws where koffi is not installed. */
  constructor(native: Native = loadNative()) {
    this.#native = native
  }

  /** The cookie of a thread, 0 for none; or the name of an errno. PID 0 is the calling thread. */
  cookieOf(pid: number): bigint | string {
    return this.#call('get', pid, 'thread', this.#word) ?? this.#word[0] ?? 0n
  }

  /** Gives a process a cookie that nobody else has. */
  create(pid: number): string | undefined {
    return this.#call('create', pid, 'process')
  }

  /** Gives a process the cookie of the calling thread; none, where that has none. */
  shareTo(pid: number): string | undefined {
    return this.#call('shareTo', pid, 'process')
  }

  /** Gives the calling thread the cookie of another one. */
  shareFrom(pid: number): string | undefined {
    return this.#call('shareFrom', pid, 'thread')
  }

  /** Kernel: only GET takes an address; the others refuse one with EINVAL. */
  #call(
    command: keyof typeof COMMANDS,
    pid: number,
    scope: keyof typeof SCOPES,
    cookie: BigUint64Array | null = null,
  ): string | undefined {
    const { prctl, errno } = this.#native
    if (prctl(PR_SCHED_CORE, COMMANDS[command], pid, SCOPES[scope], cookie) === 0) return undefined
    return getSystemErrorName(-errno())
  }
}

/** Whether core scheduling can be used here. Never throws. `load` finds prctl, and is another one in tests. */
export function probeCoreScheduling(load: () => Native = loadNative): Capability {
  try {
    const native = load()
    // What the calling thread reads of itself, everybody may read.
    const own = new CoreScheduling(native).cookieOf(0)
    if (own === 0n) return { usable: true, file: 'prctl(PR_SCHED_CORE)' }
    if (typeof own === 'string')
      return { usable: false, reason: REASONS[own] ?? `prctl(PR_SCHED_CORE) fails with errno ${native.errno()}` }
    return { usable: false, reason: 'the agent carries a cookie itself, as containerd can give one: it must have none' }
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
