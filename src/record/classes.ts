/**
 * Sums over the pods of each class, made in one pass over the pods of a decision. Shared by the metrics and the status, so that a
 * dashboard and a terminal tell the same numbers of the same tick.
 */
import type { ClassifiedPod, QosClass } from '../model/index.ts'
import { hasEnded, QOS_CLASSES } from '../model/index.ts'

export interface ClassSum {
  readonly pods: number
  readonly usedMilli: number
  /** Read for pods under the best-effort root only. */
  readonly workingSetBytes: number
  /** By pods that have not ended, like askedBytes. */
  readonly askedMilli: number
  readonly askedBytes: number
}

/** One sum for every class, also for those without pods. */
export function sumClasses(pods: readonly ClassifiedPod[]): Readonly<Record<QosClass, ClassSum>> {
  const blank = () => ({ pods: 0, usedMilli: 0, workingSetBytes: 0, askedMilli: 0, askedBytes: 0 })
  const sums = Object.fromEntries(QOS_CLASSES.map((qosClass) => [qosClass, blank()])) as Record<
    QosClass,
    ReturnType<typeof blank>
  >
  for (const { qosClass, reading, askedMilli, askedBytes } of pods) {
    const sum = sums[qosClass]
    sum.pods += 1
    sum.usedMilli += reading.use?.value.cpuMilli ?? 0
    sum.workingSetBytes += reading.use?.value.workingSetBytes ?? 0
    if (hasEnded(reading.spec)) continue
    sum.askedMilli += askedMilli
    sum.askedBytes += askedBytes
  }
  return sums
}
