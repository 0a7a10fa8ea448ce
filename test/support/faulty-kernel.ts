/**
 * A kernel whose every operation can fail: with any errno, by reporting a success that was none, by answering in part, by lying about what
 * groups there are, or by taking a group away between two calls. Faults are put in the way of the agent only; the test looks at the kernel
 * behind. What an errno comes to at this port is what LinuxKernel makes of it: a write answers with the outcome of the errno, a read with
 * "not there", a look-up of an identity throws as statSync does, and so does a read of the topology.
 */
import type { GroupPath, KernelPort, KnobKind, KnobSetting, Outcome } from '../../src/model/index.ts'
import { APPLIED, micros, outcomeOfErrno } from '../../src/model/index.ts'

/** Every errno that a read, write, open or stat of a kernel file is known to give. */
export const ERRNOS = [
  'ENOENT',
  'ENODEV',
  'EINVAL',
  'ENOSPC',
  'ERANGE',
  'EACCES',
  'EPERM',
  'EROFS',
  'EBUSY',
  'EAGAIN',
  'EINTR',
  'EMFILE',
  'ENFILE',
  'EIO',
  'ENOMEM',
] as const
export type Errno = (typeof ERRNOS)[number]

/** Operations that go to the kernel; what is known without it, like the capabilities, can't fail. */
export const OPERATIONS = [
  'readTopology',
  'readOnlineText',
  'readNodeCpuUs',
  'readNodeMemory',
  'readNodePressureUs',
  'readGroupPressureUs',
  'readRunnable',
  'findDevice',
  'findOwnGroups',
  'readCpuUsageUs',
  'readThrottling',
  'readThrottledUs',
  'readTasks',
  'readGroupMemory',
  'readKnob',
  'writeKnob',
  'writeKnobSlowly',
  'listChildren',
  'countChildren',
  'exists',
  'groupId',
] as const satisfies readonly (keyof KernelPort)[]
export type Operation = (typeof OPERATIONS)[number]

/**
 * errno: it fails. short: a part of the value is taken, and that is told as an error. lie: a write says that it has succeeded and does nothing; lists
 * of groups lack every second one.
 */
export interface Fault {
  readonly operation: Operation
  readonly how: Errno | 'lie' | 'short'
  /** Of operations on knobs only those of this kind. */
  readonly kind?: KnobKind
  /** Every n-th such call fails, from 1. */
  readonly every: number
}

/** A call that is about to be made. */
export interface Call {
  readonly operation: Operation
  readonly group: GroupPath | undefined
  /** From 0. */
  readonly index: number
}

class KernelError extends Error {
  readonly code: string

  constructor(code: string, operation: string) {
    super(`${code}: injected, ${operation}`)
    this.code = code
  }
}

export class Faults {
  /** May be changed at any time. */
  list: readonly Fault[] = []
  /** Called before each call, faulty or not. */
  onCall: (call: Call) => void = () => undefined
  /** Calls made, and calls that were made to fail. */
  calls = 0
  injected = 0
  readonly #seen = new Map<Fault, number>()

  /** The fault that this call meets. */
  meet(operation: Operation, args: readonly unknown[]): Fault['how'] | undefined {
    const group = typeof args[0] === 'string' && args[0].startsWith('/') ? args[0] : undefined
    this.onCall({ operation, group, index: this.calls })
    this.calls += 1
    const kind = operation === 'readKnob' ? args[1] : (args[1] as KnobSetting | undefined)?.kind
    for (const fault of this.list) {
      if (fault.operation !== operation || (fault.kind !== undefined && fault.kind !== kind)) continue
      const seen = (this.#seen.get(fault) ?? 0) + 1
      this.#seen.set(fault, seen)
      if (seen % fault.every !== 0) continue
      this.injected += 1
      return fault.how
    }
    return undefined
  }
}

type Answer = { readonly [Key in Operation]: (how: Exclude<Fault['how'], 'short'>, truth: () => unknown) => unknown }

const nothing = (): undefined => undefined
const no = (): boolean => false
const thrown =
  (operation: Operation) =>
  (how: Errno | 'lie', truth: () => unknown): unknown => {
    if (how === 'lie') return truth()
    throw new KernelError(how, operation)
  }
const written = (how: Errno | 'lie'): Outcome => (how === 'lie' ? APPLIED : outcomeOfErrno(how))

/** Half of a list, or none of it. */
function someOf(how: Errno | 'lie', truth: () => unknown): readonly string[] {
  return how === 'lie' ? (truth() as readonly string[]).filter((_name, index) => index % 2 === 1) : []
}

const isAnswer = (how: Errno | 'lie'): boolean => how === 'ENOENT' || how === 'ENODEV' || how === 'lie'

/** What LinuxKernel answers where a call fails. */
const ANSWERS: Answer = {
  readTopology: (how, truth) => thrown('readTopology')(how, truth),
  readOnlineText: () => '',
  readNodeCpuUs: nothing,
  readNodeMemory: nothing,
  readNodePressureUs: nothing,
  readGroupPressureUs: nothing,
  readRunnable: nothing,
  findDevice: nothing,
  findOwnGroups: () => [],
  readCpuUsageUs: nothing,
  readThrottling: no,
  readThrottledUs: nothing,
  readTasks: nothing,
  readGroupMemory: no,
  readKnob: nothing,
  writeKnob: written,
  writeKnobSlowly: (how) => Promise.resolve(written(how)),
  listChildren: someOf,
  countChildren: nothing,
  // That there is nothing is an answer of the kernel, and no fault.
  exists: (how, truth) => (isAnswer(how) ? truth() : true),
  groupId: (how, truth) => (isAnswer(how) ? truth() : thrown('groupId')(how, truth)),
}

/** What LinuxKernel makes of a write that took all but the last digit: it is in force, and an error. Values without digits are refused whole. */
function shortWrite(kernel: KernelPort, [group, setting]: Parameters<KernelPort['writeKnob']>): Outcome {
  const cut = (value: number): number => Math.floor(value / 10)
  if (typeof setting.value === 'number') kernel.writeKnob(group, { ...setting, value: cut(setting.value) } as KnobSetting)
  if (setting.kind === 'quota' && setting.value.quotaUs !== null)
    kernel.writeKnob(group, { kind: 'quota', value: { ...setting.value, quotaUs: micros(cut(setting.value.quotaUs)) } })
  return outcomeOfErrno('EIO')
}

/** The kernel as `faults` let it be reached. */
export function faultyKernel(kernel: KernelPort, faults: Faults): KernelPort {
  return new Proxy(kernel, {
    get: (target, key) => {
      const value: unknown = Reflect.get(target, key, target)
      if (typeof value !== 'function') return value
      const call = (args: readonly unknown[]): unknown => Reflect.apply(value, target, args)
      const operation = OPERATIONS.find((name) => name === key)
      if (operation === undefined) return (...args: readonly unknown[]) => call(args)
      return (...args: readonly unknown[]) => {
        const how = faults.meet(operation, args)
        if (how === 'short') return shortWrite(target, args as Parameters<KernelPort['writeKnob']>)
        return how === undefined ? call(args) : ANSWERS[operation](how, () => call(args))
      }
    },
  })
}
