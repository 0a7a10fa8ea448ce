/** What the agent tells the cluster: how the node fares, for scheduler plugins and people, and which pods ask for something odd. */
import type { ExclusiveClass, QosClass } from './qos.ts'

/** How the node fares. Shares in permyriad of the node's capacity. */
export interface NodeSignals {
  /** Above a watermark for nodeSignals.enterMs, and not yet below both low ones for nodeSignals.exitMs. */
  readonly hot: boolean
  /** What made the node hot and has not cooled down since. */
  readonly reason: 'CpuAboveWatermark' | 'MemoryAboveWatermark' | 'WithinWatermarks'
  readonly cpuUsedPermyriad: number
  readonly memoryUsedPermyriad: number
  /** What offline pods could use more than they do before the watermark is reached; from 0. */
  readonly headroomMilli: number
  readonly headroomBytes: number
  /** 100 for an idle node, 0 for one whose CPU or memory has reached its watermark. */
  readonly score: number
}

/** Something about a pod that its owner should mend. The pod runs all the same, in the way that `findingText` says. */
export type PodFinding = {
  /** Namespace and name, and the UID by which the API server knows the pod. */
  readonly namespace: string
  readonly name: string
  readonly uid: string
} & PodProblem

export type PodProblem =
  /** One of the pair of CPU and memory without the other: the half that was asked for is enforced. */
  | { readonly code: 'halfAsked'; readonly has: string; readonly lacks: string }
  /** Counted and limited like any other; but the kubelet rejects such a pod when it restarts before the plugin is back (kubernetes#124345). */
  | { readonly code: 'initContainer'; readonly resource: string; readonly container: string }
  /** The label names one class and the resources another: what the pod was sold decides, and of BE and OT the one that yields more. */
  | {
      readonly code: 'labelContradicts'
      readonly key: string
      readonly value: string
      readonly resource: string
      readonly taken: QosClass
    }
  /** An offline label on a pod with CPU or memory requests, which can't be suppressed: it runs as LS. */
  | { readonly code: 'labelIgnored'; readonly key: string; readonly value: string; readonly kubeletQos: string }
  /** The value names no class: the pod is classified as if it had no label. */
  | { readonly code: 'labelUnknown'; readonly key: string; readonly value: string; readonly taken: QosClass }
  /** Both be-* and ot-*: both count, and the pod is OT. */
  | { readonly code: 'twoKinds'; readonly first: string; readonly second: string; readonly taken: QosClass }
  /** Offline resources beside CPU or memory requests: the pod lies outside of the offline root and runs online, without limits of ours. */
  | { readonly code: 'requestsToo'; readonly resource: string; readonly kubeletQos: string }
  /** There are not as many CPUs as it needs for itself: it runs on the online pool, and gets them when they are free. */
  | {
      readonly code: 'noExclusiveCpus'
      readonly qosClass: ExclusiveClass
      readonly wantedCpus: number
      /** Of whole cores for LSX; beyond what the pool has to keep. */
      readonly freeCpus: number
    }
  /** It asks for a part of a unit of an offline resource, as in `1500m`: counted as `taken` whole units, the next number up. */
  | { readonly code: 'fraction'; readonly resource: string; readonly asked: string; readonly taken: number }
  /** More quotas in groups of its own than can be followed: under v1 the kernel refuses those above on their account. */
  | { readonly code: 'unfollowed'; readonly standsStill: boolean }
  /** LSX or LSR without a CPU request, which says how many CPUs it should have: it runs on the online pool. */
  | { readonly code: 'noCpuRequest'; readonly qosClass: ExclusiveClass }
