/** The CPUs in a status: the sets of the classes as they are now, the pods that have some for themselves, and the map. */
import type { Decision, QosClass, TickRecord } from '../../model/index.ts'
import { podKey } from '../../model/index.ts'
import { boundCpus, cpusInForce, type CpusInForce, narrowedText } from '../cpus-in-force.ts'
import { CPU_MAP_LEGEND, cpuMapOf } from './cpu-map.ts'

/** CPU lists. */
export interface PlacementStatus {
  readonly reserved: string
  readonly pool: string
  readonly dedicated: string
  /** What offline pods may use now. */
  readonly bestEffort: string
  /** What placement gives them, while cpuNarrow leaves them less. */
  readonly narrowedFrom?: string
  /** Of LSX and LSR pods, and BE pods that are pinned. */
  readonly own: readonly OwnCpus[]
}

interface OwnCpus {
  readonly pod: string
  readonly qosClass: QosClass
  readonly cpus: string
  /** Those that offline pods may use too. */
  readonly shared: string
  /** Where a BE pod runs instead, or on what part of them, while cpuNarrow is in force. */
  readonly narrowedTo?: string
}

/** Sets, map and legend of the last tick. */
export function cpuParts({ snapshot, decision }: TickRecord) {
  const { placement } = decision
  const inForce = cpusInForce(decision)
  const { bestEffort, narrowedFrom } = inForce
  const narrowed = narrowedText(inForce)
  const sets: PlacementStatus = {
    reserved: placement.reserved.toString(),
    pool: placement.pool.toString(),
    dedicated: placement.dedicated.toString(),
    bestEffort: bestEffort.toString(),
    ...(narrowedFrom === undefined ? {} : { narrowedFrom: narrowedFrom.toString() }),
    own: ownCpus(decision, inForce),
  }
  return {
    placement: sets,
    cpuMap: cpuMapOf(snapshot.topology, { ...placement, bestEffort }),
    ...(narrowed === undefined ? {} : { cpuMapNote: `offline pods are ${narrowed}` }),
    cpuLegend: CPU_MAP_LEGEND,
  }
}

function ownCpus(decision: Decision, { bestEffort, narrowedFrom }: CpusInForce): readonly OwnCpus[] {
  const { placement, pods } = decision
  const byUid = new Map(pods.map(({ reading }) => [reading.spec.uid, reading]))
  const nameOf = (uid: string): string => {
    const reading = byUid.get(uid)
    return reading === undefined ? uid : podKey(reading.spec)
  }
  const exclusive = placement.exclusive.map(({ uid, qosClass, cpus, shared }) => {
    return { pod: nameOf(uid), qosClass, cpus: cpus.toString(), shared: shared.intersect(bestEffort).toString() }
  })
  const pinned = placement.pinned.map(({ uid, cpus }) => {
    const reading = narrowedFrom === undefined ? undefined : byUid.get(uid)
    const now = reading === undefined ? undefined : boundCpus(decision, reading)
    const narrowed = now === undefined || now.equals(cpus) ? {} : { narrowedTo: now.toString() }
    return { pod: nameOf(uid), qosClass: 'BE' as const, cpus: cpus.toString(), shared: '', ...narrowed }
  })
  return [...exclusive, ...pinned]
}
