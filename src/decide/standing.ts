/**
 * What stays as it is between two calm ticks: the classes of the pods, what is odd about them, and the claims of the rules that look at pods,
 * settings and the machine alone. A hot tick reads no pod again, so with the same pods, settings and sets all of this is worked out once and
 * taken over as the very same objects; only what suppression claims comes on top of it (I75).
 */
import type { Config } from '../config/types.ts'
import type { Abstention, Claim, ClassifiedPod, IdentityState, NodeSnapshot, PodFinding, Resolved } from '../model/index.ts'
import { isOffline, type KnobTable } from '../model/index.ts'
import { burstClaims } from './burst.ts'
import { classify } from './classify.ts'
import { findingsOf } from './findings.ts'
import { identityClaims, identityState } from './identity.ts'
import { memoryLimits, memoryLimitsStand, quotaLimits } from './limits.ts'
import { merge } from './merge.ts'
import { ownClaims } from './own.ts'
import { placementClaims, placementFindings, type PlacementMemory } from './placement.ts'
import type { DecideWatch } from './watch.ts'

/** What was worked out, and from what. Compared by reference: snapshots hand out the very objects of before for what was not read again. */
export interface Standing {
  readonly readings: NodeSnapshot['pods']['pods']
  readonly config: Config
  readonly capabilities: NodeSnapshot['capabilities']
  readonly topology: NodeSnapshot['topology']
  readonly layout: NodeSnapshot['layout']
  readonly offlineRoot: string
  readonly ownGroups: NodeSnapshot['ownGroups']
  readonly assigned: PlacementMemory['assigned']
  readonly usable: PlacementMemory['usable']
  readonly pods: readonly ClassifiedPod[]
  readonly findings: readonly PodFinding[]
  readonly identity: IdentityState
  /** Every offline pod that is there has been measured. */
  readonly measured: boolean
  readonly table: KnobTable<Resolved>
  /** Memory limits in `table`; undefined while they depend on what the kernel holds, and on the time. */
  readonly limits?: readonly Claim[]
}

/** The pods with their classes. */
export function classifyPods({ pods }: NodeSnapshot, known: Standing | undefined, config: Config): readonly ClassifiedPod[] {
  if (known?.readings === pods.pods && known.config === config) return known.pods
  return pods.pods.map((reading) => classify(reading, config))
}

export interface Stood {
  readonly standing: Standing
  /** Claims of the same rules that may be others on the next tick. */
  readonly moving: readonly Claim[]
}

/** What stands on this tick: `known` itself while its grounds are the same. */
export function stand(
  snapshot: NodeSnapshot,
  context: {
    readonly pods: readonly ClassifiedPod[]
    readonly placed: PlacementMemory
    readonly known: Standing | undefined
    readonly abstentions: Abstention[]
    readonly watch: DecideWatch
  },
  config: Config,
): Stood {
  const { pods, placed, known, abstentions, watch } = context
  watch.begins('limits')
  if (known !== undefined && isGround(known, snapshot, context, config)) {
    if (known.limits === undefined) return { standing: known, moving: memoryLimits(snapshot, pods, config, abstentions).claims }
    if (memoryLimitsStand(snapshot, known.limits)) return { standing: known, moving: [] }
  }
  const { capabilities, topology, layout, bestEffort, ownGroups } = snapshot
  const limits = memoryLimits(snapshot, pods, config, abstentions)
  const settled = limits.complete && memoryLimitsStand(snapshot, limits.claims)
  const quotas = quotaLimits(pods, config)
  watch.begins('placement')
  const placement = placementClaims(snapshot, pods, placed, config)
  const findings = [...findingsOf(pods, config), ...placementFindings(pods, placed, config)]
  watch.begins('identity')
  const identity = identityState(capabilities, config, topology)
  const identities = identityClaims(snapshot, pods, identity, config)
  watch.begins('burst')
  const bursts = burstClaims(snapshot, pods, config)
  watch.begins('own')
  const own = ownClaims(snapshot, config)
  const table = merge([...placement, ...identities, ...bursts, ...quotas, ...(settled ? limits.claims : []), ...own])
  const standing: Standing = {
    readings: snapshot.pods.pods,
    config,
    capabilities,
    topology,
    layout,
    offlineRoot: bestEffort.group,
    ownGroups,
    assigned: placed.assigned,
    usable: placed.usable,
    pods,
    findings,
    identity,
    measured: pods.every((pod) => !isOffline(pod.qosClass) || !pod.reading.present || pod.reading.use !== undefined),
    table,
    ...(settled ? { limits: limits.claims } : {}),
  }
  return { standing, moving: settled ? [] : limits.claims }
}

function isGround(
  known: Standing,
  snapshot: NodeSnapshot,
  { pods, placed }: { readonly pods: readonly ClassifiedPod[]; readonly placed: PlacementMemory },
  config: Config,
): boolean {
  return (
    known.pods === pods &&
    known.config === config &&
    known.capabilities === snapshot.capabilities &&
    known.topology === snapshot.topology &&
    known.layout === snapshot.layout &&
    known.offlineRoot === snapshot.bestEffort.group &&
    known.ownGroups === snapshot.ownGroups &&
    known.assigned === placed.assigned &&
    known.usable === placed.usable
  )
}
