/**
 * What stays as it is for many ticks: the classes of the pods, what is odd about them, and the claims of the rules that look at pods, settings
 * and the machine alone, and at nothing that a pod uses. While these are the same, all of this is worked out once and taken over as the very
 * same objects; only what suppression claims comes on top of it (I75).
 */
import type { Config } from '../config/types.ts'
import type { Abstention, Claim, ClassifiedPod, IdentityState, NodeSnapshot, PodFinding, Resolved } from '../model/index.ts'
import { isOffline, type KnobTable, type ReadonlyKnobTable } from '../model/index.ts'
import { burstClaims } from './burst.ts'
import { classify } from './classify.ts'
import { findingsOf } from './findings.ts'
import { identityClaims, identityState } from './identity.ts'
import { memoryLimits, memoryLimitsStand, quotaLimits } from './limits.ts'
import { merge, mergeOver } from './merge.ts'
import { isObserved, splitClaims } from './observed.ts'
import { ownClaims } from './own.ts'
import { placementClaims, placementFindings, type PlacementMemory } from './placement.ts'
import type { DecideWatch } from './watch.ts'

/**
 * What was worked out, and from what. Compared by reference: snapshots hand out the very objects of before for what was not read again. What
 * a calm tick reads of a pod is another object each time, so of pods the parts that count are compared: see isAlike().
 */
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
  /** What `table` would have of the knobs that rules claim which only observe. */
  readonly observed: ReadonlyKnobTable<Resolved>
  /** Memory limits in `table`; undefined while they depend on what the kernel holds, and on the time. */
  readonly limits?: readonly Claim[]
}

/** The pods with their classes, which follow from a pod's spec and the settings alone. */
export function classifyPods({ pods }: NodeSnapshot, known: Standing | undefined, config: Config): readonly ClassifiedPod[] {
  if (known?.config !== config) return pods.pods.map((reading) => classify(reading, config))
  if (known.readings === pods.pods) return known.pods
  return pods.pods.map((reading, index) => {
    const before = known.pods[index]
    if (before?.reading.spec !== reading.spec) return classify(reading, config)
    const { qosClass, because, askedMilli, askedBytes } = before
    return { reading, qosClass, because, askedMilli, askedBytes }
  })
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
    const standing = known.pods === pods ? known : { ...known, readings: snapshot.pods.pods, pods }
    if (known.limits !== undefined && memoryLimitsStand(snapshot, known.limits)) return { standing, moving: [] }
    // What a pod uses has a say in these, and that is read anew on a calm tick.
    if (known.limits === undefined && known.pods === pods)
      return { standing, moving: memoryLimits(snapshot, pods, config, abstentions).claims }
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
  const claims = [...placement, ...identities, ...bursts, ...quotas, ...(settled ? limits.claims : []), ...own]
  const { enforced, observed } = splitClaims(claims, config)
  const table = merge(enforced)
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
    identity: isObserved('identity', config) ? identityState(capabilities, withoutIdentity(config), topology) : identity,
    measured: pods.every((pod) => !isOffline(pod.qosClass) || !pod.reading.present || pod.reading.use !== undefined),
    table,
    observed: mergeOver(table, observed).top,
    ...(settled ? { limits: limits.claims } : {}),
  }
  return { standing, moving: settled ? [] : limits.claims }
}

/** A rule that only observes gives no pod an identity (I32). */
function withoutIdentity(config: Config): Config {
  return { ...config, identity: { ...config.identity, enabled: false } }
}

function isGround(
  known: Standing,
  snapshot: NodeSnapshot,
  { pods, placed }: { readonly pods: readonly ClassifiedPod[]; readonly placed: PlacementMemory },
  config: Config,
): boolean {
  return (
    known.config === config &&
    known.capabilities === snapshot.capabilities &&
    known.topology === snapshot.topology &&
    known.layout === snapshot.layout &&
    known.offlineRoot === snapshot.bestEffort.group &&
    known.ownGroups === snapshot.ownGroups &&
    known.assigned === placed.assigned &&
    known.usable === placed.usable &&
    (known.pods === pods || (known.pods.length === pods.length && pods.every((pod, index) => isAlike(pod, known.pods[index]))))
  )
}

/** Whether all that is worked out here is the same for both, with the same settings: it may not depend on anything else of a pod. */
function isAlike({ reading }: ClassifiedPod, other: ClassifiedPod | undefined): boolean {
  const before = other?.reading
  if (before === reading) return true
  return (
    before?.spec === reading.spec &&
    before.group === reading.group &&
    before.present === reading.present &&
    before.childGroups === reading.childGroups &&
    before.bandwidth === reading.bandwidth &&
    (before.use === undefined) === (reading.use === undefined)
  )
}
