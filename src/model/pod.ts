/**
 * A pod as the pod source tells of it (PodSpec), and as it stands on this node (PodReading: its groups in the cgroup tree and
 * what they use). The class of a pod is not part of either: deciding it is a rule like any other (decide/classify.ts).
 */
import type { GroupPath } from './groups.ts'
import type { KubeletQos } from './qos.ts'
import type { Reading } from './reading.ts'
import type { Bytes, MilliCpu } from './units.ts'

/** `init` runs before the others and ends; `sidecar` is an init container that stays. */
export type ContainerKind = 'main' | 'init' | 'sidecar'

export interface ContainerSpec {
  readonly name: string
  readonly kind: ContainerKind
  /** Extended resources by full name, in units. */
  readonly extended: Readonly<Record<string, number>>
  /** Absent without a limit. A resize that the kubelet has yet to make shows here first. */
  readonly cpuLimitMilli?: MilliCpu
  /** The runtime's id with its scheme, as in `containerd://4f…`; absent until the container runs. */
  readonly id?: string
}

export interface PodSpec {
  /** Names the pod's groups. For a static pod this is its config hash, not the UID of the mirror pod. */
  readonly uid: string
  /** The UID of a static pod's mirror at the API server. Events go by `uid`: that is what kubectl looks for, and the kubelet writes. */
  readonly objectUid?: string
  readonly namespace: string
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly priorityClassName?: string
  /** spec.priority; absent counts as 0. */
  readonly priority?: number
  /** metadata.creationTimestamp, Unix time in milliseconds. */
  readonly createdWallMs?: number
  /** Kind of the owner that would make the pod anew, such as Job or DaemonSet. */
  readonly controllerKind?: string
  /** The kubelet runs it from a file: nobody else can end it. */
  readonly isStatic?: true
  /** It was deleted, and has its grace time to end. */
  readonly isEnding?: true
  /** spec.terminationGracePeriodSeconds: time that it has to end, in seconds; absent where nobody said (Kubernetes: 30 then). */
  readonly graceSeconds?: number
  readonly kubeletQos: KubeletQos
  /** Sum over the containers; an absent request counts as 0. */
  readonly requests: { readonly cpuMilli: MilliCpu; readonly memoryBytes: Bytes }
  /** Extended resources by full name, in units, summed over the containers. Kubernetes wants request = limit for these. */
  readonly extended: Readonly<Record<string, number>>
  /** Amounts of extended resources that are no whole numbers, as they were written; `extended` has them rounded up. Absent without any. */
  readonly fractions?: Readonly<Record<string, string>>
  readonly phase: 'Pending' | 'Running' | 'Succeeded' | 'Failed' | 'Unknown'
  readonly containers: readonly ContainerSpec[]
  /** Where the spec was read, for messages: a file name or an API path. */
  readonly origin: string
}

export interface PodUse {
  readonly cpuMilli: MilliCpu
  /** Usage less inactive page cache: what the pod can't give back under pressure. */
  readonly workingSetBytes: Bytes
  /** When the working set was read: it is dear, and not read on every calm tick. Monotonic milliseconds. */
  readonly workingSetAtMs: number
  /** Share of CFS periods in which the pod was throttled since the reading before, 0 to 10000. */
  readonly throttledPermyriad: number
}

/** The bandwidth settings of one group, and whether they bit. */
export interface GroupBandwidth {
  readonly group: GroupPath
  /** Of the group itself; never one without a limit. */
  readonly quotaUs: number
  readonly periodUs: number
  readonly burstUs: number
  /** Share of CFS periods in which the group was throttled since the reading before, 0 to 10000. */
  readonly throttledPermyriad: number
}

export interface PodReading {
  readonly spec: PodSpec
  readonly group: GroupPath
  /** The pod's container groups found on the node. */
  readonly childGroups: readonly GroupPath[]
  /** False until the kubelet has made the pod's group. */
  readonly present: boolean
  readonly use?: Reading<PodUse>
  /** Those of the pod's groups that have a quota; absent unless a rule asked for it, and for kubelet-BestEffort pods. */
  readonly bandwidth?: readonly GroupBandwidth[]
}

/** Whether all containers of the pod have ended for good: it holds nothing any more, though its group may stay for some seconds. */
export function hasEnded({ phase }: PodSpec): boolean {
  return phase === 'Succeeded' || phase === 'Failed'
}

/** `namespace/name`, the way people name a pod. */
export function podKey(spec: { readonly namespace: string; readonly name: string }): string {
  return `${spec.namespace}/${spec.name}`
}

/** Units of an offline resource that are the pod's own: what it asks for once the kubelet has made its group, and until it has ended. */
export function heldUnits({ spec, present }: Pick<PodReading, 'spec' | 'present'>, fullName: string): number {
  return present && !hasEnded(spec) ? (spec.extended[fullName] ?? 0) : 0
}
