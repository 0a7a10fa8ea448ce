/**
 * Scheduling identity: the ways in which kernels let one group yield to another, and which of them each class of pods gets here. The best
 * comes first; decide/identity.ts chooses, and decide/identity-hazards.ts says what must not be combined.
 * Kernels: cpu.bvt_warp_ns of Anolis and Alibaba, cpu.qos_level of openEuler, cpu.offline of TencentOS, cpu.idle of mainline 5.15.
 */
import type { QosClass } from './qos.ts'

export const IDENTITY_BACKENDS = ['bvt', 'qosLevel', 'offline', 'idle', 'weight'] as const
export type IdentityBackend = (typeof IDENTITY_BACKENDS)[number]

/** A backend that was passed over, and why. */
export interface PassedOver {
  readonly backend: IdentityBackend
  readonly reason: string
  /** Whether the kernel lacks it: its reason then stands among the capabilities too. */
  readonly lacking: boolean
}

/** What tells the classes apart on this node. */
export interface IdentityState {
  /** `none` for a class whose pods the agent gives nothing. */
  readonly backends: Readonly<Record<QosClass, IdentityBackend | 'none'>>
  /** Better backends than the one in force, or the one that was asked for, with what is in their way. */
  readonly passedOver: readonly PassedOver[]
  /** Whether the root of all offline pods is idle against everything beside it. */
  readonly rootIdle: boolean
  /** Whether an online pod below that root gets the highest weight there is, whatever its class, so that it goes before the offline ones beside it. */
  readonly raisesOnline: boolean
  /** What is to be known of core scheduling; undefined where the configuration says nothing of it. */
  readonly coreScheduling?: string
}
