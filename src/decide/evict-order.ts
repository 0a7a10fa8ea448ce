/**
 * Who may be evicted at all, and in which order: OT before BE, those not tried yet before those that a budget kept, lower priority first,
 * then the one that helps most, then the youngest, which has the least work to lose. The order is total, so the choice does not depend on
 * the order in which pods are listed.
 */
import type { Config } from '../config/types.ts'
import type { ClassifiedPod, EvictingRung, NodeSnapshot, OfflineClass, PodSpec } from '../model/index.ts'
import { hasEnded, isOffline } from '../model/index.ts'
import { runsAgent } from './own.ts'
import { reasonable } from './peak.ts'

/** Rungs in the order in which they are served: without memory the kernel kills, and whom it kills is not ours to say; a lack of CPU is slow. */
export const RUNGS_IN_TURN: readonly EvictingRung[] = ['memoryEvictOt', 'memoryEvictBe', 'cpuEvict']

const CLASSES: Readonly<Record<EvictingRung, readonly OfflineClass[]>> = {
  memoryEvictOt: ['OT'],
  memoryEvictBe: ['OT', 'BE'],
  cpuEvict: ['OT', 'BE'],
}

/**
 * Controllers whose pods come back to this very node at once, with what evicting them has freed. `Node` owns the mirrors of static pods.
 */
const COMES_BACK: readonly (string | undefined)[] = ['DaemonSet', 'Node']

export interface Candidate {
  readonly uid: string
  readonly pod: ClassifiedPod
  readonly rung: EvictingRung
  readonly qosClass: OfflineClass
  readonly usesMilli: number
  readonly usesBytes: number
  readonly priority: number
  readonly wasTried: boolean
  /** Unix time in ms; 0 where the source does not say. */
  readonly createdWallMs: number
}

/** Which rung asks, and what is known of its pods from earlier wishes. */
export interface Question {
  readonly rung: EvictingRung
  readonly isFree: (uid: string) => boolean
  readonly wasTried: (uid: string) => boolean
}

/** The pods that a rung may evict, the first first (I63, I64). */
export function candidatesFor(
  snapshot: NodeSnapshot,
  pods: readonly ClassifiedPod[],
  ask: Question,
  config: Config,
): Candidate[] {
  const { rung } = ask
  const candidates: Candidate[] = []
  for (const pod of pods) {
    const { reading, qosClass } = pod
    const { spec, use } = reading
    if (!isOffline(qosClass) || !CLASSES[rung].includes(qosClass)) continue
    if (!reading.present || !canGo(spec) || runsAgent(snapshot, reading.group)) continue
    if (!isOldEnough(spec, snapshot.wallMs, config) || !ask.isFree(spec.uid)) continue
    candidates.push({
      uid: spec.uid,
      pod,
      rung,
      qosClass,
      usesMilli: Math.round(reasonable(use?.value.cpuMilli) ?? 0),
      usesBytes: Math.round(reasonable(use?.value.workingSetBytes) ?? 0),
      priority: spec.priority ?? 0,
      wasTried: ask.wasTried(spec.uid),
      createdWallMs: spec.createdWallMs ?? 0,
    })
  }
  return candidates.sort(compareCandidates)
}

/** A pod that was deleted goes already: to ask for it would grant what it frees anyway, and use up the pause before the next one. */
function canGo(spec: PodSpec): boolean {
  return !hasEnded(spec) && spec.isEnding !== true && spec.isStatic !== true && !COMES_BACK.includes(spec.controllerKind)
}

/** A pod whose age is not known is not known to be old enough. */
function isOldEnough({ createdWallMs }: PodSpec, wallMs: number, { evict: { minAgeMs } }: Config): boolean {
  return minAgeMs === 0 || (createdWallMs !== undefined && wallMs - createdWallMs >= minAgeMs)
}

/** Negative when `a` goes before `b`; 0 only for one and the same pod. */
export function compareCandidates(a: Candidate, b: Candidate): number {
  return (
    Number(a.qosClass === 'BE') - Number(b.qosClass === 'BE') ||
    Number(a.wasTried) - Number(b.wasTried) ||
    a.priority - b.priority ||
    helps(b) - helps(a) ||
    b.createdWallMs - a.createdWallMs ||
    (a.uid < b.uid ? -1 : a.uid > b.uid ? 1 : 0)
  )
}

/** What evicting the pod frees, in the unit that the rung is about. */
function helps({ rung, usesBytes, usesMilli }: Candidate): number {
  return rung === 'cpuEvict' ? usesMilli : usesBytes
}
