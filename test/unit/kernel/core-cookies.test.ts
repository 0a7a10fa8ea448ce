/**
 * The knob coreCookie against a strict kernel of cookies in memory: what it reads and writes, that all groups come to share one cookie, also
 * after a restart, and that the calling thread never keeps one, whatever fails on the way.
 */
import { constants } from 'node:os'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { CoreCookies, type CookieHost } from '../../../src/kernel/core-cookies.ts'
import { CoreScheduling, type Native } from '../../../src/kernel/core-scheduling.ts'
import { PARTLY_TAGGED } from '../../../src/model/index.ts'

const APPLIED = { is: 'applied' }
const OWN_PID = 10
const OWN_THREADS = [10, 11, 12]
const [A, B, LS] = ['/be/poda', '/be/podb', '/ls/podc'] as const

/** Kernel: sched_core_share_pid(). Refuses what that refuses, and knows of no call that it has not. */
class CookieKernel {
  readonly cookies = new Map<number, bigint>(OWN_THREADS.map((thread) => [thread, 0n]))
  readonly groups = new Map<string, number[]>()
  /** Errno of the nth call from now, by number of the call. */
  readonly faults = new Map<number, string>()
  readonly denied = new Set<number>()
  onCall: () => void = () => undefined
  calls = 0
  #made = 100n
  #errno = 0

  start(group: string, pid: number, cookie = 0n): void {
    this.cookies.set(pid, cookie)
    this.groups.set(group, [...(this.groups.get(group) ?? []), pid])
  }

  end(pid: number): void {
    this.cookies.delete(pid)
    for (const [group, pids] of this.groups)
      this.groups.set(
        group,
        pids.filter((other) => other !== pid),
      )
  }

  readonly native: Native = {
    prctl: (...call) => {
      const errno = this.faults.get(this.calls) ?? this.#answer(...call)
      this.calls += 1
      this.onCall()
      this.#errno = errno === undefined ? 0 : ((constants.errno as Record<string, number>)[errno] ?? NaN)
      return errno === undefined ? 0 : -1
    },
    errno: () => this.#errno,
  }

  #answer(...[option, command, pid, scope, into]: Parameters<Native['prctl']>): string | undefined {
    const task = pid === 0 ? OWN_PID : pid
    if (option !== 62 || command > 3 || pid < 0 || scope > 2 || (command !== 0 && into !== null)) return 'EINVAL'
    const cookie = this.cookies.get(task)
    if (cookie === undefined) return 'ESRCH'
    if (this.denied.has(task)) return 'EPERM'
    // A whole process is meant by its leader, which in this model is all that there is of it.
    if (command === 0 || command === 3 ? scope !== 0 : scope !== 1) return 'EINVAL'
    if (command === 0 && into === null) return 'EINVAL'
    if (command === 0 && into !== null) into[0] = cookie
    if (command === 1) this.cookies.set(task, (this.#made += 1n))
    if (command === 2) this.cookies.set(task, this.cookies.get(OWN_PID) ?? 0n)
    if (command === 3) this.cookies.set(OWN_PID, cookie)
    return undefined
  }

  /** The knob of an agent that has just started. */
  agent(over: Partial<CookieHost> = {}): CoreCookies {
    return new CoreCookies({
      coreScheduling: () => new CoreScheduling(this.native),
      processesOf: (path) => [...this.groups].filter(([group]) => `${group}/`.startsWith(`${path}/`)).flatMap(([, pids]) => pids),
      offlineRoot: '/be',
      ownThreads: () => OWN_THREADS,
      ownPid: OWN_PID,
      ...over,
    })
  }

  /** The different cookies of some groups. */
  in(...groups: readonly string[]): bigint[] {
    return [...new Set(groups.flatMap((group) => this.groups.get(group) ?? []).map((pid) => this.cookies.get(pid) ?? -1n))]
  }

  get own(): bigint[] {
    return [...new Set(OWN_THREADS.map((thread) => this.cookies.get(thread) ?? -1n))]
  }
}

/** Two groups of offline processes, in one of them in two containers, and one of online ones. */
function node(): CookieKernel {
  const kernel = new CookieKernel()
  for (const [group, pid] of [
    [A, 20],
    [`${A}/main`, 21],
    [`${A}/side`, 22],
    [B, 30],
    [B, 31],
    [LS, 40],
  ] as const)
    kernel.start(group, pid)
  return kernel
}

describe('giving and taking the cookie', () => {
  it('gives all groups one and the same, with what is below them, and nobody else any', () => {
    const kernel = node()
    const agent = kernel.agent()
    expect([agent.read(A), agent.read(B)]).toEqual([0, 0])
    expect([agent.write(A, 1), agent.write(B, 1)]).toEqual([APPLIED, APPLIED])
    expect([agent.read(A), agent.read(B), agent.read(LS)]).toEqual([1, 1, 0])
    expect(kernel.in(A, `${A}/main`, `${A}/side`, B)).toEqual([101n])
    expect([kernel.in(LS), kernel.own]).toEqual([[0n], [0n]])
  })

  it('takes it back group by group', () => {
    const kernel = node()
    const agent = kernel.agent()
    for (const value of [1, 0]) for (const group of [A, B]) expect(agent.write(group, value)).toEqual(APPLIED)
    expect([agent.read(A), kernel.in(A, `${A}/main`, B), kernel.own]).toEqual([0, [0n], [0n]])
  })

  it('makes no call for what is as it is wanted, but reading', () => {
    const kernel = node()
    const agent = kernel.agent()
    agent.write(A, 1)
    kernel.denied.clear()
    const before = new Map(kernel.cookies)
    expect(agent.write(A, 1)).toEqual(APPLIED)
    expect(kernel.cookies).toEqual(before)
  })

  it('goes on with the cookie after a restart, and makes a new one only when nobody carries it any more', () => {
    const kernel = node()
    kernel.agent().write(A, 1)
    const again = kernel.agent()
    expect(again.write(B, 1)).toEqual(APPLIED)
    expect([kernel.in(A, B), again.read(A), again.read(B)]).toEqual([[101n], 1, 1])
    for (const pid of [20, 21, 22, 30, 31]) kernel.end(pid)
    kernel.start(A, 50)
    expect(again.write(A, 1)).toEqual(APPLIED)
    expect([kernel.in(A), again.read(A)]).toEqual([[102n], 1])
  })

  it('passes it on from whoever still carries it', () => {
    const kernel = node()
    const agent = kernel.agent()
    agent.write(A, 1)
    for (const pid of [20, 21]) kernel.end(pid)
    expect(agent.write(B, 1)).toEqual(APPLIED)
    expect(kernel.in(`${A}/side`, B)).toEqual([101n])
  })

  it('brings groups with cookies of their own under one', () => {
    const kernel = node()
    for (const [pid, cookie] of [
      [20, 7n],
      [21, 8n],
      [30, 9n],
    ] as const)
      kernel.cookies.set(pid, cookie)
    const agent = kernel.agent()
    for (const group of [A, B]) if (agent.read(group) !== 1) expect(agent.write(group, 1)).toEqual(APPLIED)
    expect([agent.read(A), agent.read(B)]).toEqual([1, 1])
    expect(kernel.in(A, `${A}/main`, `${A}/side`, B)).toEqual([7n])
  })

  it('tags what is started meanwhile', () => {
    const kernel = node()
    let next = 60
    kernel.onCall = () => {
      if (next < 63) kernel.start(B, next)
      next += 1
    }
    const agent = kernel.agent()
    expect(agent.write(B, 1)).toEqual(APPLIED)
    expect([kernel.in(B), agent.read(B)]).toEqual([[101n], 1])
  })
})

describe('reading', () => {
  it('says nothing of a group without processes', () => {
    const kernel = node()
    const agent = kernel.agent()
    expect(agent.read('/be/podgone')).toBeUndefined()
    expect(agent.write('/be/podgone', 1)).toEqual({ is: 'vanished', errno: 'ENOENT' })
    kernel.groups.set(B, [99])
    expect(agent.read(B)).toBeUndefined()
  })

  it('tells a part from the whole, whatever the rest carries', () => {
    const kernel = node()
    const agent = kernel.agent()
    agent.write(B, 1)
    for (const cookie of [0n, 5n]) {
      kernel.cookies.set(31, cookie)
      expect(agent.read(B)).toBe(PARTLY_TAGGED)
      expect(agent.write(B, 1)).toEqual(APPLIED)
      expect(agent.read(B)).toBe(1)
    }
    kernel.denied.add(31)
    expect(agent.read(B)).toBe(PARTLY_TAGGED)
    agent.write(A, 0)
    expect(agent.read(A)).toBe(0)
  })

  it('never takes a group for free of cookies of which it can not see all: what it can not see may be tagged', () => {
    const kernel = node()
    const agent = kernel.agent()
    agent.write(A, 1)
    // The agent of a pod without SYS_PTRACE, with and without some that came from outside; and of one without hostPID.
    for (const pid of [20, 21, 22]) kernel.denied.add(pid)
    expect(kernel.agent().read(A)).toBe(PARTLY_TAGGED)
    expect(kernel.agent().write(A, 0)).toEqual({ is: 'forbidden', errno: 'EPERM' })
    kernel.denied.delete(20)
    kernel.cookies.set(20, 0n)
    expect(kernel.agent().read(A)).toBe(PARTLY_TAGGED)
    kernel.groups.set(A, [0])
    expect(kernel.agent().read(`${A}/main`)).toBe(PARTLY_TAGGED)
    expect(kernel.agent().write(A, 0)).toEqual({ is: 'forbidden', errno: 'EPERM' })
    kernel.denied.clear()
    kernel.groups.set(A, [20])
    expect(kernel.agent().write(A, 0)).toEqual(APPLIED)
    expect([kernel.agent().read(A), kernel.in(A, `${A}/main`, `${A}/side`)]).toEqual([0, [0n]])
  })

  it('loads nothing for a group without processes, and is undefined where there is nothing to load', () => {
    const kernel = node()
    const agent = kernel.agent({
      coreScheduling: () => {
        throw Object.assign(new Error('no koffi'), { code: 'MODULE_NOT_FOUND' })
      },
    })
    expect(agent.read('/be/podgone')).toBeUndefined()
    expect(agent.read(A)).toBeUndefined()
    expect(agent.write(A, 1)).toMatchObject({ is: 'failed' })
  })
})

describe('what fails', () => {
  it('is told when all others were tried', () => {
    const kernel = node()
    kernel.denied.add(30)
    const agent = kernel.agent()
    expect(agent.write(B, 1)).toEqual({ is: 'forbidden', errno: 'EPERM' })
    expect([kernel.cookies.get(30), kernel.cookies.get(31), kernel.own]).toEqual([0n, 101n, [0n]])
  })

  it('never takes a process that can not be seen for the agent itself', () => {
    const kernel = node()
    kernel.groups.set(B, [0, 0])
    const agent = kernel.agent()
    expect(agent.read(B)).toBe(PARTLY_TAGGED)
    expect(agent.write(B, 1)).toEqual({ is: 'forbidden', errno: 'EPERM' })
    kernel.groups.set(B, [OWN_PID, 31])
    kernel.cookies.set(31, 0n)
    expect(agent.write(B, 1)).toEqual(APPLIED)
    expect(kernel.own).toEqual([0n])
  })

  it('is busy where the calling thread can not be freed, and tags nobody then', () => {
    const kernel = node()
    for (const thread of OWN_THREADS) kernel.cookies.set(thread, 5n)
    const agent = kernel.agent()
    for (const value of [0, 1]) expect(agent.write(A, value)).toEqual({ is: 'busy', errno: 'EBUSY' })
    expect(kernel.in(A)).toEqual([0n])
  })

  it('refuses any other value', () => {
    expect(node().agent().write(A, PARTLY_TAGGED)).toEqual({ is: 'refused', errno: 'EINVAL' })
  })

  const errnos = fc.constantFrom('ESRCH', 'EPERM', 'ENOMEM', 'EBUSY', 'EINVAL')
  const faults = fc.array(fc.tuple(fc.nat(40), errnos), { maxLength: 3 })
  const writes = fc.array(fc.tuple(fc.constantFrom(A, B), fc.constantFrom(0, 1), fc.boolean()), { minLength: 1, maxLength: 6 })
  const births = fc.array(fc.tuple(fc.nat(60), fc.constantFrom(A, B), fc.constantFrom(0n, 5n)), { maxLength: 3 })
  const deaths = fc.array(fc.tuple(fc.nat(60), fc.constantFrom(20, 21, 22, 30, 31)), { maxLength: 3 })

  it('leaves the calling thread, all others and online work without a cookie, and is made up for later', () => {
    fc.assert(
      fc.property(faults, writes, births, deaths, (failing, wanted, born, died) => {
        const kernel = node()
        kernel.onCall = () => {
          for (const [index, [at, group, cookie]] of born.entries())
            if (at === kernel.calls) kernel.start(group, 70 + index, cookie)
          for (const [at, pid] of died) if (at === kernel.calls) kernel.end(pid)
        }
        let agent = kernel.agent()
        for (const [group, value, restarts] of wanted) {
          // A fault that comes as the thread is being freed is met by the next write; all others leave it free.
          for (const [at, errno] of failing) kernel.faults.set(kernel.calls + at, errno)
          const outcome = agent.write(group, value)
          kernel.faults.clear()
          if (kernel.own.some((cookie) => cookie !== 0n)) expect(outcome).toEqual({ is: 'busy', errno: 'EBUSY' })
          if (restarts) agent = kernel.agent()
        }
        kernel.onCall = () => undefined
        for (const group of [A, B]) if (agent.read(group) !== undefined) expect(agent.write(group, 1)).toEqual(APPLIED)
        expect(kernel.in(A, `${A}/main`, `${A}/side`, B).length).toBeLessThanOrEqual(1)
        expect([kernel.in(LS), kernel.own]).toEqual([[0n], [0n]])
        for (const group of [A, B]) if (agent.read(group) !== undefined) expect(agent.write(group, 0)).toEqual(APPLIED)
        expect([...new Set(kernel.cookies.values())]).toEqual([0n])
      }),
      { numRuns: 2000 },
    )
  })
})
