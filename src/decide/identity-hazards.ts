/**
 * What must not be combined when groups are given an identity, as a table: each row names a situation in which a backend is refused, and
 * says why in words for the status. Order between writes (idle and weight, burst and quota) is a matter of plan/, not of this table.
 * Sources: koordinator #1829 and #1728 (bvt beside core scheduling), koordinator #2732 and kubernetes #136025 (idle on a QoS root);
 * openEuler and TencentOS kernels as their documentation has them.
 */
import type { Config } from '../config/types.ts'
import type { IdentityBackend } from '../model/index.ts'

/** What a backend is about to be used for. */
export interface IdentityUse {
  readonly backend: IdentityBackend
  /** `qosRoot`: on a group that the kubelet keeps, and whose weight it writes again every minute. */
  readonly on: 'pod' | 'qosRoot'
  /** Whether the configuration asks for it by name. */
  readonly named: boolean
}

interface Hazard {
  readonly name: string
  readonly applies: (use: IdentityUse, config: Config) => boolean
  readonly reason: string
}

const HAZARDS: readonly Hazard[] = [
  {
    name: 'bvt beside core scheduling',
    applies: ({ backend }, { identity }) => backend === 'bvt' && identity.coreScheduling,
    reason: 'identity.coreScheduling is on, and kernels have locked up with both',
  },
  {
    name: 'offline unasked',
    applies: ({ backend, named }) => backend === 'offline' && !named,
    reason: 'it is taken only by name: the time of its tasks may be missing from the counters that suppression reads',
  },
  {
    name: 'idle on a QoS root',
    applies: ({ backend, on }, { identity }) => backend === 'idle' && on === 'qosRoot' && !identity.rootIdle,
    reason:
      'the kernel would refuse the weight that the kubelet writes there, at its start and every minute; identity.rootIdle allows it',
  },
  {
    name: 'a way without return on a QoS root',
    applies: ({ backend, on }) => backend === 'qosLevel' && on === 'qosRoot',
    reason: 'the kernel takes no group back online, and a QoS root outlives all pods',
  },
  {
    name: 'a weight on a QoS root',
    applies: ({ backend, on }) => backend === 'weight' && on === 'qosRoot',
    reason: 'the kubelet writes the weights of QoS roots itself',
  },
]

/** Why a backend may not be used so; undefined where nothing speaks against it. */
export function hazardOf(use: IdentityUse, config: Config): string | undefined {
  return HAZARDS.find(({ applies }) => applies(use, config))?.reason
}
