/**
 * Limits of block devices stand in one knob for all devices, of which a wish names some and the others are somebody else's. So both the way
 * there and the way back go device by device, and a step lists only the devices that the agent speaks for.
 * Kernel: a device that a write does not name keeps its limits, so one that had none before is named as having none.
 */
import type { JournaledKnob } from '../model/index.ts'
import { devicesWritten, IoLimits } from '../model/index.ts'

/** What to write to a group that holds `now`: the wish, and what is over for devices that an earlier one named. */
export function limitsToWrite(wanted: IoLimits, now: IoLimits, entry: JournaledKnob | undefined): IoLimits {
  return entry === undefined ? wanted : wanted.over(limitsToRestore(now, entry))
}

/**
 * The originals of the devices that still hold what the agent wrote, be it a part of one value and a part of another, since it was killed between
 * the two; of the others somebody else has written, or nobody ever.
 */
export function limitsToRestore(now: IoLimits, { original, ours }: JournaledKnob): IoLimits {
  const before = original instanceof IoLimits ? original : IoLimits.NONE
  const written = ours.filter((value) => value instanceof IoLimits)
  return IoLimits.of(devicesWritten(now, written, before).map((device) => [device, before.of(device)]))
}
