/**
 * The knob `ioMax`: what a group may read and write on each block device. Only devices that a value lists are written, each in a write of
 * its own, and only what differs from what the kernel holds, so that a limit on a device that has gone need not be taken away.
 * Kernel: tg_set_limit() and tg_set_conf() in block/blk-throttle.c: one device per write(2); a device that is not there, or is a partition,
 * is ENODEV. v2 refuses a limit of 0 (ERANGE) and of 1 (EINVAL). v1 takes 0 for "no limit" and cuts operations to 32 bits, so that 2^32 of
 * them a second would become 0, and nothing would go through any more: neither is ever written.
 */
import {
  APPLIED,
  type DeviceLimits,
  exactOrNone,
  formatDevice,
  type GroupPath,
  IoLimits,
  type KnobValue,
  NO_DEVICE_LIMITS,
  type Outcome,
  outcomeOfErrno,
} from '../model/index.ts'
import { IO_SLOTS } from './dialect.ts'
import type { GroupFiles } from './group-files.ts'

/** Kernel: UINT_MAX operations a second are no limit. */
const NO_LIMIT_IOPS = 2 ** 32 - 1

export class IoLimitFiles {
  readonly #files: GroupFiles

  constructor(files: GroupFiles) {
    this.#files = files
  }

  /** v1: the limits out of the four files; undefined when one of them is not there or not understood. */
  read(group: GroupPath): IoLimits | undefined {
    const devices = new Map<string, DeviceLimits>()
    for (const field of IO_SLOTS) {
      const text = this.#files.text(group, field)
      if (text === undefined) return undefined
      for (const line of text.split('\n')) {
        if (line === '') continue
        const [, device, amount] = /^(\d+:\d+) (\d+)$/.exec(line) ?? []
        if (device === undefined) return undefined
        devices.set(device, { ...(devices.get(device) ?? NO_DEVICE_LIMITS), [field]: exactOrNone(Number(amount)) })
      }
    }
    return IoLimits.of(devices)
  }

  /** Writes the devices that `value` lists; `now` is what the kernel holds. All are tried, and the first refusal is told. */
  write(group: GroupPath, value: IoLimits, now: KnobValue | undefined): Outcome {
    if (![...value.devices.values()].every(isLegal)) return outcomeOfErrno('ERANGE')
    const held = now instanceof IoLimits ? now : IoLimits.NONE
    let refusal: Outcome | undefined
    for (const [device, limits] of value.devices) {
      const outcome =
        this.#files.dialect === 'v1'
          ? this.#writeFields(group, device, bounded(limits), held.of(device))
          : this.#writeLine(group, device, bounded(limits), held.of(device))
      if (outcome.is !== 'applied') refusal ??= outcome
    }
    return refusal ?? APPLIED
  }

  #writeFields(group: GroupPath, device: string, wanted: DeviceLimits, held: DeviceLimits): Outcome {
    for (const field of IO_SLOTS) {
      if (wanted[field] === held[field]) continue
      const outcome = this.#files.write(group, this.#files.reading(field), `${device} ${wanted[field] ?? 0}`)
      if (outcome.is !== 'applied') return outcome
    }
    return APPLIED
  }

  #writeLine(group: GroupPath, device: string, wanted: DeviceLimits, held: DeviceLimits): Outcome {
    if (IO_SLOTS.every((field) => wanted[field] === held[field])) return APPLIED
    return this.#files.write(group, this.#files.knob('ioMax'), formatDevice(device, wanted))
  }
}

function isLegal(limits: DeviceLimits): boolean {
  return IO_SLOTS.every((field) => limits[field] === null || (Number.isSafeInteger(limits[field]) && limits[field] > 0))
}

function bounded(limits: DeviceLimits): DeviceLimits {
  const within = (iops: number | null): number | null => (iops !== null && iops >= NO_LIMIT_IOPS ? null : iops)
  return { ...limits, readIops: within(limits.readIops), writeIops: within(limits.writeIops) }
}
