/**
 * Puts a node back from its restore journal: the one way to do so, for an agent that is told to, for one that fails, and for the verb `release`
 * when none runs. It is the ordinary plan with nothing desired.
 */
import { type Actuator, release, type ReleaseReport, type RestoreJournal } from '../actuate/index.ts'
import { type KernelPort, KnobTable } from '../model/index.ts'
import { diff } from '../plan/index.ts'

const NOTHING_DESIRED = new KnobTable<never>()

/** Writes the original to every journaled knob that still holds what an agent wrote, and says what became of each. */
export function releaseNode(
  kernel: KernelPort,
  { journal, actuator }: { readonly journal: RestoreJournal; readonly actuator: Actuator },
  nowMs: number,
): ReleaseReport {
  const plan: Parameters<typeof release>[0]['plan'] = (actual, journaled) =>
    diff({
      desired: NOTHING_DESIRED,
      actual,
      journaled,
      capabilities: kernel.capabilities,
      online: kernel.readTopology().online,
    })
  return release({ kernel, journal, actuator, plan }, nowMs)
}
