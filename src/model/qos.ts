/**
 * The classes of workload on a node, from the one that never yields to the one that always does. LSX, LSR and LS are
 * online; BE and OT are offline. SYSTEM stands for node daemons. A kubelet-BestEffort pod that asks for no offline resource is
 * UNTAGGED: the agent treats it as online, and only the root it shares with offline pods can squeeze it.
 */
export const QOS_CLASSES = ['LSX', 'LSR', 'LS', 'BE', 'OT', 'SYSTEM', 'UNTAGGED'] as const
export type QosClass = (typeof QOS_CLASSES)[number]

/** The kubelet's own classes, which decide where in the cgroup tree a pod lives. */
export const KUBELET_QOS = ['Guaranteed', 'Burstable', 'BestEffort'] as const
export type KubeletQos = (typeof KUBELET_QOS)[number]

export type OfflineClass = 'BE' | 'OT'

/** Offline classes are suppressed in favour of everything else. */
export function isOffline(qosClass: QosClass): qosClass is OfflineClass {
  return qosClass === 'BE' || qosClass === 'OT'
}

/** Online classes whose pods have CPUs of their own. */
export type ExclusiveClass = 'LSX' | 'LSR'

export function isExclusive(qosClass: QosClass): qosClass is ExclusiveClass {
  return qosClass === 'LSX' || qosClass === 'LSR'
}

/** The four extended resources, in the order in which they are registered. */
export const OFFLINE_RESOURCES = ['be-cpu', 'be-memory', 'ot-cpu', 'ot-memory'] as const
export type OfflineResource = (typeof OFFLINE_RESOURCES)[number]

/** A number for each of the four, 0 to begin with. */
export function noUnits(): Record<OfflineResource, number> {
  return { 'be-cpu': 0, 'be-memory': 0, 'ot-cpu': 0, 'ot-memory': 0 }
}
