/**
 * A kernel whose counters can't be trusted: for spans of virtual time chosen reads fail, stand still, jump back, run ten times too fast, or
 * give what is no number. Writes, and the knobs as they read, are never touched: what an agent does is judged by them.
 */
import type { GroupPath, KernelPort, MemoryUse, PressureResource } from '../../src/model/index.ts'
import { OFFLINE_ROOT } from './snapshots.ts'

/** What is lied about. */
export const SENSORS = [
  'nodeCpu',
  'offlineCpu',
  'podCpu',
  'nodeMemory',
  'podMemory',
  'groupPressure',
  'nodePressure',
  'runnable',
] as const
export type SensorName = (typeof SENSORS)[number]

/**
 * missing: no answer. frozen: the answer of the beginning for ever. back: the counter, or amount, is half of what it was. tenfold: it grows ten
 * times as fast, or is ten times as much. garbage: what is no number.
 */
export const WAYS = ['missing', 'frozen', 'back', 'tenfold', 'garbage'] as const

export interface Lie {
  readonly sensor: SensorName
  readonly how: (typeof WAYS)[number]
  /** Every reading after this, up to and with `untilMs`. */
  readonly fromMs: number
  readonly untilMs: number
}

export class Lies {
  /** May be changed at any time. */
  list: readonly Lie[] = []
  readonly #nowMs: () => number
  /** The true value when a lie was told for the first time, by lie and file. */
  readonly #first = new Map<Lie, Map<string, number>>()

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs
  }

  /** What a file is made to say that truly says `truth`. */
  tell(sensor: SensorName, file: string, truth: number | undefined): number | undefined {
    const nowMs = this.#nowMs()
    const lie = this.list.find((one) => one.sensor === sensor && one.fromMs < nowMs && nowMs <= one.untilMs)
    if (lie === undefined || truth === undefined) return truth
    const files = this.#first.get(lie) ?? new Map<string, number>()
    this.#first.set(lie, files)
    const first = files.get(file) ?? truth
    files.set(file, first)
    switch (lie.how) {
      case 'missing':
        return undefined
      case 'frozen':
        return first
      case 'back':
        return truth - first / 2
      case 'tenfold':
        return sensor === 'nodeMemory' || sensor === 'podMemory' || sensor === 'runnable'
          ? truth * 10
          : first + (truth - first) * 10
      case 'garbage':
        return Number.NaN
    }
  }
}

/** The kernel as `lies` let it be seen. */
export function lyingKernel(kernel: KernelPort, lies: Lies): KernelPort {
  const memory = (truth: MemoryUse | undefined): MemoryUse | undefined => {
    const availableBytes = lies.tell('nodeMemory', '', truth?.availableBytes)
    return truth === undefined || availableBytes === undefined ? undefined : { ...truth, availableBytes }
  }
  const lying: Partial<KernelPort> = {
    readNodeCpuUs: () => lies.tell('nodeCpu', '', kernel.readNodeCpuUs()),
    readCpuUsageUs: (group: GroupPath) =>
      lies.tell(group === OFFLINE_ROOT ? 'offlineCpu' : 'podCpu', group, kernel.readCpuUsageUs(group)),
    readNodeMemory: () => memory(kernel.readNodeMemory()),
    readGroupMemory: (group, into) => {
      if (!kernel.readGroupMemory(group, into)) return false
      const usageBytes = lies.tell('podMemory', group, into.usageBytes)
      if (usageBytes === undefined) return false
      into.usageBytes = usageBytes
      return true
    },
    readGroupPressureUs: (group: GroupPath, resource: PressureResource) =>
      lies.tell('groupPressure', `${resource} ${group}`, kernel.readGroupPressureUs(group, resource)),
    readNodePressureUs: (resource: PressureResource) => lies.tell('nodePressure', resource, kernel.readNodePressureUs(resource)),
    readRunnable: () => lies.tell('runnable', '', kernel.readRunnable()),
  }
  return new Proxy(kernel, {
    get: (target, key) => {
      if (key in lying) return lying[key as keyof KernelPort]
      const value: unknown = Reflect.get(target, key, target)
      return typeof value === 'function' ? (value as (...args: unknown[]) => unknown).bind(target) : value
    },
  })
}
