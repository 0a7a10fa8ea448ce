/**
 * Which pods want CPUs of their own, and how many. A pod wants them from when it is listed, so that its group gets its set the moment it
 * appears, until it has ended or is no longer listed.
 */
import type { Config } from '../../config/types.ts'
import type { ClassifiedPod, ExclusiveClass, GroupPath } from '../../model/index.ts'
import { hasEnded, isExclusive } from '../../model/index.ts'

export interface Want {
  readonly uid: string
  /** BE for one that is pinned within the best-effort set. */
  readonly qosClass: ExclusiveClass | 'BE'
  /** Whole CPUs, 1 or more. */
  readonly count: number
  readonly group: GroupPath
}

export interface Wants {
  readonly exclusive: readonly Want[]
  readonly pinned: readonly Want[]
}

/** In the order of the pods. */
export function wantsOf(pods: readonly ClassifiedPod[], { placement }: Config): Wants {
  const exclusive: Want[] = []
  const pinned: Want[] = []
  if (!placement.enabled) return { exclusive, pinned }
  for (const { qosClass, reading, askedMilli } of pods) {
    const { spec, group } = reading
    if (isExclusive(qosClass)) {
      if (!hasEnded(spec)) want(exclusive, { uid: spec.uid, qosClass, count: cpusFor(spec.requests.cpuMilli), group })
    } else if (qosClass === 'BE' && placement.bePinning === 'exclusive' && !hasEnded(spec)) {
      want(pinned, { uid: spec.uid, qosClass, count: cpusFor(askedMilli), group })
    }
  }
  return { exclusive, pinned }
}

/** The CPUs that hold so much; none for nothing. */
export function cpusFor(milli: number): number {
  return Math.ceil(milli / 1000)
}

function want(wants: Want[], one: Want): void {
  if (one.count > 0) wants.push(one)
}

/** Whether two lists ask for the same, in the same order: what was worked out for one then holds for the other. */
export function sameWants(a: readonly Want[], b: readonly Want[]): boolean {
  return (
    a.length === b.length &&
    a.every((one, index) => {
      const other = b[index]
      return one.uid === other?.uid && one.count === other.count && one.qosClass === other.qosClass
    })
  )
}

/** LSX before LSR, then the largest first, which are hardest to fit in, then by UID. A total order of wants of different pods. */
export function compareWants(a: Want, b: Want): number {
  if (a.qosClass !== b.qosClass) return a.qosClass === 'LSX' ? -1 : 1
  return b.count - a.count || (a.uid < b.uid ? -1 : a.uid > b.uid ? 1 : 0)
}
