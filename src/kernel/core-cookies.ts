/**
 * The knob `coreCookie`: all processes of offline pods carry one cookie, so that they share a core at one time with each other only. There
 * is no process that holds the cookie: it lives as long as one that carries it, and is passed on by way of the calling thread, which is
 * given it and freed of it again within one synchronous call. Children inherit it; what comes in from outside, as the processes of a new
 * container do, reads as PARTLY_TAGGED until the next plan.
 * Kernel: sched_core_share_pid() in kernel/sched/core_sched.c; each call needs ptrace access to the process (root with CAP_SYS_PTRACE).
 */
import { join } from 'node:path'
import type { GroupPath, Outcome } from '../model/index.ts'
import { APPLIED, errnoOf, outcomeOfErrno, PARTLY_TAGGED } from '../model/index.ts'
import { CoreScheduling } from './core-scheduling.ts'
import { ownThreads, processesBelow } from './processes.ts'

/** Processes that were started while others were tagged are tagged in another round. */
const ROUNDS_MAX = 4

export interface CookieHost {
  /** Loads the native call when it is first asked for. Throws where it can't. */
  readonly coreScheduling: () => CoreScheduling
  /** PIDs of a group and the groups below it; 0 for one that can't be seen from here. */
  readonly processesOf: (group: GroupPath) => readonly number[]
  /** The group below which all offline pods are. */
  readonly offlineRoot: GroupPath
  /** Threads of this process. */
  readonly ownThreads: () => readonly number[]
  readonly ownPid: number
}

type Opening = (open: () => number[]) => number[]

/** The knob over this machine. `tree` is that of the controller cpu; `opening` makes room where descriptors run out. */
export function openCookies(tree: string | undefined, offlineRoot: GroupPath, opening: Opening): CoreCookies {
  return new CoreCookies({
    coreScheduling: () => new CoreScheduling(),
    processesOf: (group) => (tree === undefined ? [] : opening(() => processesBelow(join(tree, group)))),
    offlineRoot,
    ownThreads,
    ownPid: process.pid,
  })
}

export class CoreCookies {
  readonly #host: CookieHost
  #native: CoreScheduling | undefined
  /** The cookie of offline work; 0 while none is known. */
  #cookie = 0n
  /** The process that was last seen with it. */
  #carrier = 0

  constructor(host: CookieHost) {
    this.#host = host
  }

  get #calls(): CoreScheduling {
    this.#native ??= this.#host.coreScheduling()
    return this.#native
  }

  /**
   * The knob's value; undefined for a group without processes, of which nothing can be said, and where the kernel can't be asked at all.
   * What a process carries that can't be asked for, or not be seen, is unknown: with one of them a group is never free of cookies. So a write
   * is tried, whose refusal says what is missing, and a release takes nothing for done that it could not look at.
   */
  read(group: GroupPath): number | undefined {
    try {
      return this.#read(this.#processesOf(group))
    } catch {
      return undefined
    }
  }

  #read(pids: readonly number[]): number | undefined {
    const counts = { bare: 0, ours: 0, others: 0, hidden: 0 }
    for (const pid of pids) {
      const cookie = this.#cookieOf(pid)
      if (cookie === 'ESRCH') continue
      if (typeof cookie === 'string') counts.hidden += 1
      else if (cookie === 0n) counts.bare += 1
      else if (this.#isOfOfflineWork(cookie, pid)) counts.ours += 1
      else counts.others += 1
    }
    const { bare, ours, others, hidden } = counts
    if (ours + others + hidden === 0) return bare === 0 ? undefined : 0
    return others + bare + hidden === 0 ? 1 : PARTLY_TAGGED
  }

  /** An agent that has just started takes over the cookie that it finds first in a group of offline work. */
  #isOfOfflineWork(cookie: bigint, pid: number): boolean {
    if (this.#cookie === 0n) this.#cookie = cookie
    if (cookie === this.#cookie) this.#carrier = pid
    return cookie === this.#cookie
  }

  /** Gives all processes of the group the cookie (1), or frees them of any (0). Never throws. */
  write(group: GroupPath, value: number): Outcome {
    if (value !== 0 && value !== 1) return outcomeOfErrno('EINVAL')
    try {
      if (!this.#untagSelf()) return outcomeOfErrno('EBUSY')
      return value === 0 ? this.#spread(group, 0n) : this.#tag(group)
    } catch (thrown) {
      return outcomeOfErrno(errnoOf(thrown) ?? 'ENOSYS')
    }
  }

  #tag(group: GroupPath): Outcome {
    const errno = this.#findCarrier() ? undefined : this.#create(group)
    if (errno !== undefined) return outcomeOfErrno(errno)
    let outcome = outcomeOfErrno('EAGAIN')
    let isFree = false
    try {
      const refusal = this.#calls.shareFrom(this.#carrier)
      // Where the carrier has just ended, the next tick finds another one.
      if (refusal !== undefined && refusal !== 'ESRCH') outcome = outcomeOfErrno(refusal)
      else if (this.#calls.cookieOf(0) === this.#cookie) outcome = this.#spread(group, this.#cookie)
    } finally {
      isFree = this.#untagSelf()
    }
    return isFree ? outcome : outcomeOfErrno('EBUSY')
  }

  /** Gives every process of the group what the calling thread carries. The first refusal is told when all were tried. */
  #spread(group: GroupPath, wanted: bigint): Outcome {
    let refusal: string | undefined
    for (let round = 0; round < ROUNDS_MAX; round += 1) {
      let given = 0
      refusal = undefined
      for (const pid of this.#processesOf(group)) {
        const cookie = this.#cookieOf(pid)
        if (cookie === wanted || cookie === 'ESRCH') continue
        const errno = typeof cookie === 'string' ? cookie : this.#calls.shareTo(pid)
        if (errno === undefined) given += 1
        else if (errno !== 'ESRCH') refusal ??= errno
      }
      if (given === 0) break
    }
    return refusal === undefined ? APPLIED : outcomeOfErrno(refusal)
  }

  /** Whether a living process with the cookie is known. One with the known cookie is best, but any cookie of offline work will do. */
  #findCarrier(): boolean {
    if (this.#cookie !== 0n && this.#cookieOf(this.#carrier) === this.#cookie) return true
    let other: { readonly cookie: bigint; readonly pid: number } | undefined
    for (const pid of this.#processesOf(this.#host.offlineRoot)) {
      const cookie = this.#cookieOf(pid)
      if (typeof cookie === 'string' || cookie === 0n) continue
      if (cookie === this.#cookie) {
        this.#carrier = pid
        return true
      }
      other ??= { cookie, pid }
    }
    this.#cookie = other?.cookie ?? 0n
    this.#carrier = other?.pid ?? 0
    return other !== undefined
  }

  /** Makes the cookie, on the first process of the group that takes it. Returns the errno when there is none. */
  #create(group: GroupPath): string | undefined {
    let refusal: string | undefined
    for (const pid of this.#processesOf(group)) {
      const errno = pid === 0 ? 'EPERM' : this.#calls.create(pid)
      const cookie = errno === undefined ? this.#cookieOf(pid) : errno
      if (typeof cookie === 'bigint' && cookie !== 0n) {
        this.#cookie = cookie
        this.#carrier = pid
        return undefined
      }
      if (typeof cookie === 'string' && cookie !== 'ESRCH') refusal ??= cookie
    }
    return refusal ?? 'ENOENT'
  }

  /** Frees the calling thread of any cookie, by taking over what a thread of this process has that carries none. */
  #untagSelf(): boolean {
    const isFree = (): boolean => this.#calls.cookieOf(0) === 0n
    if (isFree()) return true
    for (const thread of this.#host.ownThreads()) {
      if (this.#calls.cookieOf(thread) === 0n && this.#calls.shareFrom(thread) === undefined && isFree()) return true
    }
    return false
  }

  /** Kernel: to prctl the PID 0 is the caller; in cgroup.procs it is a process that can't be seen from here. */
  #cookieOf(pid: number): bigint | string {
    return pid === 0 ? 'EPERM' : this.#calls.cookieOf(pid)
  }

  /** This process is no offline work, wherever it was put. */
  #processesOf(group: GroupPath): readonly number[] {
    return this.#host.processesOf(group).filter((pid) => pid !== this.#host.ownPid)
  }
}
