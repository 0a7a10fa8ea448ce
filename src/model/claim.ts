/**
 * What a rule wants of a knob, and why. Reasons are a closed union of plain data, gathered by the pure rooms and rendered late
 * (record/render.ts), so that the hot path formats no text and every reason can be shown, counted and compared.
 */
import type { CpuSet } from '../cpu/index.ts'
import type { GroupPath } from './groups.ts'
import type { IdentityBackend } from './identity.ts'
import type { KnobSetting, ReadonlyKnobTable } from './knob.ts'
import type { CpuPressureState, CpuRung, LadderState, MemoryRung, SteadinessState } from './ladder.ts'
import type { ExclusiveClass, OfflineClass, OfflineResource, QosClass } from './qos.ts'
import type { PodReading } from './pod.ts'

export const RULES = [
  'placement',
  'identity',
  'limits',
  'suppressCpu',
  'suppressMemory',
  'suppressIo',
  'evict',
  'capacity',
  'nodeSignals',
  'burst',
  'own',
] as const
export type RuleName = (typeof RULES)[number]

/**
 * Rules that can be told only to observe: all whose decisions are carried out on the node. nodeSignals only tells, and who is told is for `cluster`
 * to say.
 */
export const OBSERVABLE_RULES = RULES.filter((rule) => rule !== 'nodeSignals')
export type ObservableRule = (typeof OBSERVABLE_RULES)[number]

/** What bound the allowance on this tick. */
export const ALLOWANCE_BOUNDS = [
  'watermark',
  'growth',
  'dwell',
  'deadBand',
  /** Kept also at somewhat more than the dead band, since most of it is not used. */
  'unused',
  'floor',
  'cpuset',
  'stale',
  /** Cut because online work waits for CPU. */
  'pressure',
  /** Growth is stopped until it waits less. */
  'pressureHold',
] as const
export type AllowanceBound = (typeof ALLOWANCE_BOUNDS)[number]

export interface SuppressionInputs {
  readonly capacityMilli: number
  readonly watermarkPermyriad: number
  readonly watermarkMilli: number
  readonly nodeMilli: number
  readonly offlineMilli: number
  /** Peak over the dwell time of what online services and the system use. */
  readonly onlineMilli: number
  readonly marginMilli: number
  readonly floorMilli: number
  readonly ageMs: number
}

export type Because =
  | { readonly code: 'limits.quota'; readonly qosClass: OfflineClass; readonly units: number; readonly unitMilli: number }
  | { readonly code: 'limits.memory'; readonly qosClass: OfflineClass; readonly units: number; readonly unitBytes: number }
  | { readonly code: 'identity.weight'; readonly qosClass: OfflineClass; readonly askedMilli: number }
  /** It asked for memory only, or is BE by its label or namespace. */
  | { readonly code: 'identity.unasked'; readonly qosClass: OfflineClass }
  | { readonly code: 'identity.idle'; readonly qosClass: OfflineClass }
  /** `missing` says why it is not idle, where that would be better. */
  | { readonly code: 'identity.least'; readonly qosClass: OfflineClass; readonly missing?: string }
  /** An online pod below the root of all offline pods. */
  | { readonly code: 'identity.raise'; readonly qosClass: QosClass }
  /** The class's value on a backend that knows more than weights. */
  | {
      readonly code: 'identity.class'
      readonly qosClass: QosClass
      readonly backend: Exclude<IdentityBackend, 'idle' | 'weight'>
    }
  /** Its tasks carry the cookie of offline work. */
  | { readonly code: 'identity.cookie'; readonly qosClass: OfflineClass }
  /** Siblings are compared, so the roots between which classes are told apart need a value too. */
  | { readonly code: 'identity.root'; readonly backend: 'bvt' | 'idle'; readonly holds: 'offline' | 'online' }
  | {
      readonly code: 'burst'
      readonly qosClass: QosClass
      readonly sharePermyriad: number
      /** The quota that the share is of: the smaller of what is in force and what the spec asks for. */
      readonly quotaUs: number
      readonly throttledPermyriad: number
    }
  | {
      readonly code: 'placement.besteffort'
      readonly qosClass: OfflineClass
      readonly dedicated: string
      readonly shared: string
    }
  | {
      readonly code: 'placement.pool'
      readonly qosClass: QosClass
      readonly reserved: string
      readonly dedicated: string
      /** CPUs of LSX and LSR pods. */
      readonly exclusive: string
    }
  | {
      readonly code: 'placement.exclusive'
      readonly qosClass: ExclusiveClass
      /** The CPU requests that the number of CPUs follows from. */
      readonly requestedMilli: number
    }
  /** A BE pod on CPUs that no other BE pod runs on. */
  | { readonly code: 'placement.beExclusive'; readonly askedMilli: number; readonly bestEffort: string }
  | {
      readonly code: 'suppress.root'
      readonly bound: AllowanceBound
      readonly inputs: SuppressionInputs
      readonly untaggedMilli: number
      /** Online pods are, or were, below the same root, and so are groups that no listed pod owns: a growth step comes on top too. */
      readonly unsure?: true
    }
  /** Online pods live below the same root: BE and OT pods are held to the allowance one by one, and the root is no limit to anybody. */
  | {
      readonly code: 'suppress.beside'
      readonly allowanceMilli: number
      readonly capacityMilli: number
      readonly untaggedMilli: number
    }
  /** A BE pod's part of the allowance, where the root's quota can't hold it. */
  | {
      readonly code: 'suppress.be'
      readonly bound: AllowanceBound
      readonly allowanceMilli: number
      /** What of it BE pods have together. */
      readonly beMilli: number
      /** What this one is taken to want, by its use; undefined while it uses all it gets, or is new. */
      readonly wantsMilli?: number
    }
  /** Offline pods are kept to the CPUs that no online pod uses, or to as few as their allowance needs. */
  | {
      readonly code: 'suppress.narrow'
      readonly dedicated: string
      readonly nodePermyriad: number
      readonly enterPermyriad: number
    }
  | { readonly code: 'suppress.freeze'; readonly nodePermyriad: number; readonly enterPermyriad: number }
  /** More quotas inside the pod than can be followed keep the kernel from taking one above them. */
  | { readonly code: 'suppress.unfollowed' }
  | {
      readonly code: 'memory.high'
      readonly rung: MemoryRung
      readonly qosClass: OfflineClass
      readonly availablePermyriad: number
      readonly enterPermyriad: number
      readonly workingSetBytes: number
    }
  /** `of` is what the share is of: the pod's memory request, or the sum over the pods below a root. */
  | { readonly code: 'memory.protect'; readonly sharePermyriad: number; readonly ofBytes: number }
  | { readonly code: 'io.weight'; readonly qosClass: OfflineClass; readonly pressed: boolean }
  | {
      readonly code: 'io.limits'
      /** Of the configured limits that are in force now. */
      readonly sharePermyriad: number
      /** Groups that the limits are split between. */
      readonly groups: number
      readonly reservedDevices: readonly string[]
    }
  /** The agent's own group goes before others, so that it reacts in time on a full node. */
  | { readonly code: 'own.weight' }
  | {
      readonly code: 'suppress.ot'
      readonly bound: AllowanceBound
      readonly allowanceMilli: number
      readonly beDemandMilli: number
      readonly otAllowanceMilli: number
    }

export type Claim = KnobSetting & {
  readonly group: GroupPath
  readonly rule: RuleName
  readonly because: Because
}

/** A knob's one desired value, with the claim that won and those that lost. */
export interface Resolved {
  readonly setting: KnobSetting
  readonly winner: Claim
  readonly losers: readonly Claim[]
}

export type Desired = ReadonlyKnobTable<Resolved>

/** How the class of a pod was found. */
export type ClassBecause =
  | { readonly by: 'label'; readonly key: string; readonly value: string }
  | { readonly by: 'resources'; readonly resource: string }
  /** The label names one class, the resources another; what the pod was sold decides. */
  | { readonly by: 'labelContradicted'; readonly key: string; readonly value: string; readonly resource: string }
  | { readonly by: 'level'; readonly key: string; readonly value: string }
  | { readonly by: 'priorityClass'; readonly name: string }
  | { readonly by: 'namespace'; readonly namespace: string }
  /** The label asks for an offline class, but the pod has CPU or memory requests: its group is not under the offline root. */
  | { readonly by: 'labelIgnored'; readonly key: string; readonly value: string; readonly kubeletQos: string }
  | { readonly by: 'kubeletQos'; readonly kubeletQos: string }

export interface ClassifiedPod {
  readonly reading: PodReading
  readonly qosClass: QosClass
  readonly because: ClassBecause
  /** What the pod asked for in offline resources, BE and OT together; zero for online pods. */
  readonly askedMilli: number
  readonly askedBytes: number
}

/** One extended resource as it should be advertised. */
export interface Offer {
  readonly resource: OfflineResource
  readonly units: number
  readonly because: OfferBecause
}

export interface OfferBecause {
  /** In milli-CPU or bytes, before rounding down to units. */
  readonly amount: number
  readonly unitSize: number
  readonly allocatedUnits: number
  /** The larger term of the formula, by name. */
  readonly terms: Readonly<Record<string, number>>
  /** `hold`: a rung of suppression has stopped sales, so what is allocated is all that is offered. */
  readonly bound: 'formula' | 'besteffort-cpus' | 'allocated' | 'hysteresis' | 'warm-up' | 'stale' | 'hold'
}

/** A rule that did not act, and why. */
export type Abstention =
  /** Too few readings yet: normal for the first seconds. */
  | { readonly code: 'starting'; readonly rule: RuleName }
  /** A reading that the rule needs is missing or too old. */
  | { readonly code: 'silent'; readonly rule: RuleName }
  /** The pod uses more memory than the limit it should get. */
  | {
      readonly code: 'wouldKill'
      readonly rule: RuleName
      readonly pod: string
      readonly usesBytes: number
      readonly limitBytes: number
    }

/** Where suppression stands, for people and metrics. */
export interface SuppressionState {
  readonly inputs: SuppressionInputs
  readonly bound: AllowanceBound
  /** For BE and OT together. */
  readonly allowanceMilli: number
  readonly otAllowanceMilli: number
  readonly beDemandMilli: number
  /** Node use is above the low watermark, or offline work is near its allowance. */
  readonly hot: boolean
  /** Undefined while the guard is off or nothing can be read. */
  readonly pressure?: CpuPressureState
  readonly steadiness: SteadinessState
  readonly ladder: LadderState<CpuRung>
}

/** The CPUs of one pod that no other online pod runs on. */
export interface ExclusiveCpus {
  readonly uid: string
  readonly qosClass: ExclusiveClass
  readonly cpus: CpuSet
  /** The part of them that offline pods may use too. */
  readonly shared: CpuSet
}

/** Which CPUs are whose. */
export interface PlacementState {
  readonly reserved: CpuSet
  /** For LS, UNTAGGED and SYSTEM pods, and for LSX and LSR pods that have no CPUs of their own. */
  readonly pool: CpuSet
  readonly dedicated: CpuSet
  /** Where offline pods may run. */
  readonly bestEffort: CpuSet
  /** Of LSX and LSR pods: by class, then the largest first, then by UID. */
  readonly exclusive: readonly ExclusiveCpus[]
  /** Within bestEffort: the CPUs of BE pods that have some no other BE pod runs on. Largest first, then by UID. */
  readonly pinned: readonly { readonly uid: string; readonly cpus: CpuSet }[]
  /** What is left of bestEffort for BE pods without such CPUs; all of it when nothing is left. */
  readonly unpinned: CpuSet
}
