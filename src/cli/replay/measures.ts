/** What a replay compares of two decisions about the same moment, as numbers: one row of the table each. */
import {
  type Decision,
  isQuota,
  type NodeSnapshot,
  OFFLINE_RESOURCES,
  type OfflineClass,
  quotaMilliCpu,
} from '../../model/index.ts'
import { cpusInForce } from '../../record/index.ts'

export type Unit = 'milliCpu' | 'cpus' | 'units' | 'pods' | 'rungs'

export interface Measure {
  readonly name: string
  readonly unit: Unit
  /** Undefined where the decision says nothing of it. */
  readonly of: (decision: Decision, snapshot: NodeSnapshot) => number | undefined
}

/** In the order of the table: by class, from the allowance to what is sold. */
export const MEASURES: readonly Measure[] = [
  { name: 'BE+OT allowance', unit: 'milliCpu', of: ({ suppression }) => suppression?.allowanceMilli },
  {
    name: 'BE allowance',
    unit: 'milliCpu',
    of: ({ suppression }) =>
      suppression === undefined ? undefined : Math.max(0, suppression.allowanceMilli - suppression.otAllowanceMilli),
  },
  { name: 'OT allowance', unit: 'milliCpu', of: ({ suppression }) => suppression?.otAllowanceMilli },
  {
    name: 'offline root quota',
    unit: 'milliCpu',
    of: ({ desired }, { bestEffort }) => milliOf(desired.get(bestEffort.group, 'quota')?.setting.value),
  },
  { name: 'BE pods, quotas', unit: 'milliCpu', of: (decision) => quotasOf(decision, 'BE') },
  { name: 'OT pods, quotas', unit: 'milliCpu', of: (decision) => quotasOf(decision, 'OT') },
  { name: 'LSX, own CPUs', unit: 'cpus', of: ({ placement }) => ownCpus(placement.exclusive, 'LSX') },
  { name: 'LSR, own CPUs', unit: 'cpus', of: ({ placement }) => ownCpus(placement.exclusive, 'LSR') },
  { name: 'LS pool, CPUs', unit: 'cpus', of: ({ placement }) => placement.pool.size },
  { name: 'BE set, CPUs', unit: 'cpus', of: ({ placement }) => placement.bestEffort.size },
  { name: 'BE CPUs in use', unit: 'cpus', of: (decision) => cpusInForce(decision).bestEffort.size },
  { name: 'rungs in force', unit: 'rungs', of: rungsInForce },
  { name: 'BE, to be evicted', unit: 'pods', of: (decision) => wishes(decision, 'BE') },
  { name: 'OT, to be evicted', unit: 'pods', of: (decision) => wishes(decision, 'OT') },
  ...OFFLINE_RESOURCES.map((resource): Measure => ({
    name: `offer ${resource}`,
    unit: 'units',
    of: ({ offers }) => offers.find((offer) => offer.resource === resource)?.units,
  })),
]

function milliOf(value: unknown): number | undefined {
  return isQuota(value as Parameters<typeof isQuota>[0])
    ? finite(quotaMilliCpu(value as Parameters<typeof quotaMilliCpu>[0]))
    : undefined
}

function finite(amount: number): number | undefined {
  return Number.isFinite(amount) ? amount : undefined
}

/** Together; undefined when no pod of the class has one. */
function quotasOf({ desired, pods }: Decision, qosClass: OfflineClass): number | undefined {
  let sum: number | undefined
  for (const pod of pods) {
    if (pod.qosClass !== qosClass) continue
    const milli = milliOf(desired.get(pod.reading.group, 'quota')?.setting.value)
    if (milli !== undefined) sum = (sum ?? 0) + milli
  }
  return sum
}

function ownCpus(exclusive: Decision['placement']['exclusive'], qosClass: 'LSX' | 'LSR'): number {
  return exclusive.reduce((sum, one) => (one.qosClass === qosClass ? sum + one.cpus.size : sum), 0)
}

function rungsInForce({ suppression, memory }: Decision): number {
  return (suppression?.ladder.inForce.length ?? 0) + (memory?.ladder.inForce.length ?? 0)
}

function wishes({ evictions }: Decision, qosClass: OfflineClass): number {
  return evictions.reduce((sum, wish) => (wish.qosClass === qosClass ? sum + 1 : sum), 0)
}
