/**
 * Limits of block devices stand in one knob for all devices, of which a wish names some and the others are somebody else's. So both the way
 * there and the way back go device by device, and a step lists only the devices that the agent speaks for.
 * Kernel: a device that a write does not name keeps its limits, so one that had none before is named as having none.
 */
import type { JournaledKnob } from '../model/index.ts'
import { type DeviceLimits, IoLimits, NO_DEVICE_LIMITS } from '../model/index.ts'

/** What to write to a group that holds `now`: the wish, and what is over for devices that an earlier one named. */
export function limitsToWrite(wanted: IoLimits, now: IoLimits, entry: JournaledKnob | undefined): IoLimits {
  return entry === undefined ? wanted : wanted.over(limitsToRestore(now, entry))
}

/** The originals of the devices that still hold what the agent wrote; of the others somebody else has written, or nobody ever. */
export function limitsToRestore(now: IoLimits, { original, ours }: JournaledKnob): IoLimits {
  const before = original instanceof IoLimits ? original : IoLimits.NONE
  const devices: [string, DeviceLimits][] = []
  for (const device of new Set(ours.flatMap((value) => (value instanceof IoLimits ? [...value.devices.keys()] : [])))) {
    if (ours.some((value) => value instanceof IoLimits && isOn(device, value, now))) devices.push([device, before.of(device)])
  }
  return IoLimits.of(devices)
}

/** Whether `now` has the limits of a device that `written` lists. */
function isOn(device: string, written: IoLimits, now: IoLimits): boolean {
  const [a, b] = [written.devices.get(device), now.of(device)]
  return (
    a !== undefined && Object.keys(NO_DEVICE_LIMITS).every((key) => a[key as keyof DeviceLimits] === b[key as keyof DeviceLimits])
  )
}
