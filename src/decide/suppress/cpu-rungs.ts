/**
 * What comes once the allowance is at its floor and the node, or online work, still has no rest:
 *   cpuNarrow   offline pods keep to the CPUs dedicated to them, or to as few as the allowance needs: caches and siblings are given back
 *   cpuFreeze   OT pods stand still, but for those that are on their way out
 *   cpuEvict    pods go, one after the other, for as long as that is needed; which ones is decided in evict.ts
 * Leaving a rung is to claim nothing any more: the plan puts back what was there before.
 */
import { CpuSet, type CpuTopology, siblingsClosure, takeFromEnd } from '../../cpu/index.ts'
import type { Config } from '../../config/types.ts'
import type {
  Claim,
  ClassifiedPod,
  CpuRung,
  EvictingRung,
  LadderState,
  NodeSnapshot,
  PlacementState,
  PodReading,
} from '../../model/index.ts'
import { CPU_RUNGS, isOffline, sameValue } from '../../model/index.ts'
import { runsAgent } from '../own.ts'
import { cpusetGroups } from '../placement.ts'
import { climb, type LadderMemory, type RungView } from './ladder.ts'

/** What the rungs carry from tick to tick. */
export interface CpuRungMemory {
  readonly ladder: LadderMemory<CpuRung>
  /** The CPUs that cpuNarrow leaves to offline pods, chosen when it came into force. */
  readonly narrowed?: CpuSet
}

/** How things are on this tick. */
export interface CpuRungView {
  readonly snapshot: NodeSnapshot
  readonly pods: readonly ClassifiedPod[]
  readonly placement: PlacementState
  readonly allowanceMilli: number
  /** The regulator can do no more. */
  readonly atFloor: boolean
  /** CPU use of the node, of its capacity: the last that was read. */
  readonly nodePermyriad: number
  /** It was read lately. While it was not, nothing is climbed or left, and nobody has to go. */
  readonly fresh: boolean
  readonly pressure: { readonly over: boolean; readonly under: boolean }
}

/** What the rungs in force want. */
export interface CpuRungs {
  readonly claims: readonly Claim[]
  readonly state: LadderState<CpuRung>
  readonly memory: CpuRungMemory
  readonly evicts: readonly EvictingRung[]
}

/** Climbs or leaves rungs, and claims what those in force want. */
export function cpuRungs(view: CpuRungView, memory: CpuRungMemory | undefined, config: Config): CpuRungs {
  const before = memory?.ladder.inForce ?? []
  const kept = before.includes('cpuNarrow') ? memory?.narrowed : undefined
  const views = CPU_RUNGS.filter((name) => config[name].enabled).map((name): RungView<CpuRung> => {
    const top = before.at(-1) === name
    return rungView(name, view, { acted: top && hasActed(name, view, memory, config) }, config)
  })
  const climbed = climb(memory?.ladder, views, view.snapshot.nowMs)
  const { inForce } = climbed.memory
  const narrowed = inForce.includes('cpuNarrow') ? narrowTo(view, kept) : undefined
  const next: CpuRungMemory = { ladder: climbed.memory, ...(narrowed === undefined ? {} : { narrowed }) }
  return {
    claims: inForce.flatMap((name) => claimsOf(name, view, narrowed, config)),
    state: climbed.state,
    memory: next,
    evicts: views.some((rung) => rung.name === 'cpuEvict' && wantsToEvict(rung, inForce, view)) ? ['cpuEvict'] : [],
  }
}

function rungView(
  name: CpuRung,
  { snapshot, atFloor, fresh, nodePermyriad, pressure }: CpuRungView,
  { acted }: { readonly acted: boolean },
  config: Config,
): RungView<CpuRung> {
  const settings = config[name]
  const impossible = whyImpossible(name, snapshot, config)
  return {
    name,
    settings,
    over: fresh && atFloor && (nodePermyriad >= settings.enterPermyriad || pressure.over),
    under: fresh && nodePermyriad < settings.exitPermyriad && pressure.under,
    acted,
    ...(impossible === undefined ? {} : { impossible }),
  }
}

/**
 * In force, and not yet better than what it is left at: until exitMs is over it stays in force, but nobody has to go for that. Above its floor
 * the allowance has room to sink, and it may be offline work that fills the node.
 */
function wantsToEvict({ name, under }: RungView<CpuRung>, inForce: readonly CpuRung[], { atFloor, fresh }: CpuRungView): boolean {
  return inForce.includes(name) && fresh && atFloor && !under
}

function whyImpossible(name: CpuRung, { capabilities, evictions }: NodeSnapshot, config: Config): string | undefined {
  if (name === 'cpuEvict') return evictions.impossible ?? (config.evict.enabled ? undefined : 'evict.enabled is false')
  const knob = capabilities.knobs[name === 'cpuNarrow' ? 'cpuset' : 'freeze']
  return knob.usable ? undefined : knob.reason
}

/** Whether a value that the rung wants stands in the kernel, or a pod has gone, since it came into force. */
function hasActed(name: CpuRung, view: CpuRungView, memory: CpuRungMemory | undefined, config: Config): boolean {
  const { actual, evictions } = view.snapshot
  if (name !== 'cpuEvict') {
    const claims = claimsOf(name, view, memory?.narrowed, config)
    return claims.some(({ group, kind, value }) => sameValue(actual.get(group, kind)?.value, value))
  }
  const sinceMs = memory?.ladder.changedMs ?? Infinity
  return evictions.recent.some(
    ({ wish, is, atMs }) => wish.rung === name && (is === 'evicted' || is === 'forced') && atMs >= sinceMs,
  )
}

function claimsOf(name: CpuRung, view: CpuRungView, narrowed: CpuSet | undefined, config: Config): readonly Claim[] {
  // A knob may have gone since the rung came into force.
  if (name === 'cpuEvict' || whyImpossible(name, view.snapshot, config) !== undefined) return []
  if (name === 'cpuNarrow') return narrowed === undefined ? [] : narrowClaims(view, narrowed, config)
  return freezeClaims(view, config)
}

/** CPUs dedicated to offline pods, as far as they may use them now. */
function dedicatedOf({ bestEffort, dedicated }: PlacementState): CpuSet {
  return bestEffort.intersect(dedicated)
}

/** Stays as it was chosen while offline pods may use all of it: sets that move cost them their caches. */
function narrowTo(view: CpuRungView, kept: CpuSet | undefined): CpuSet {
  const { placement } = view
  const dedicated = dedicatedOf(placement)
  if (!dedicated.isEmpty) return dedicated
  return kept?.isSubsetOf(placement.bestEffort) === true ? kept : fewest(view)
}

/**
 * As few whole cores as the allowance needs. From the far end of the machine, as with all that offline pods share: CPU 0 and the CPUs of LSX
 * and LSR pods are at the near end. What LSR pods share comes last.
 */
function fewest({ placement, allowanceMilli, snapshot: { topology } }: CpuRungView): CpuSet {
  const { bestEffort, exclusive } = placement
  const count = Math.max(1, Math.ceil(allowanceMilli / 1000))
  const others = exclusive.reduce((left, { shared }) => left.minus(shared), bestEffort)
  const first = wholeFromEnd(topology, others, count)
  if (first.size >= count) return first
  return first.union(wholeFromEnd(topology, bestEffort.minus(first), count - first.size))
}

/** `count` CPUs of `within`, and the other threads of their cores as far as those are in it too: half a core would slow down whoever has the rest. */
function wholeFromEnd(topology: CpuTopology, within: CpuSet, count: number): CpuSet {
  return siblingsClosure(topology, takeFromEnd(topology, within, count)).intersect(within)
}

function narrowClaims(view: CpuRungView, narrowed: CpuSet, config: Config): Claim[] {
  const { snapshot, pods, placement } = view
  const because = {
    code: 'suppress.narrow',
    dedicated: dedicatedOf(placement).toString(),
    nodePermyriad: view.nodePermyriad,
    enterPermyriad: config.cpuNarrow.enterPermyriad,
  } as const
  const pinned = new Map(placement.pinned.map(({ uid, cpus }) => [uid, cpus]))
  return pods.flatMap((pod): Claim[] => {
    const { qosClass, reading } = pod
    if (!isOffline(qosClass) || !reading.present) return []
    const own = pinned.get(reading.spec.uid)?.intersect(narrowed) ?? CpuSet.EMPTY
    const value = own.isEmpty ? narrowed : own
    return cpusetGroups(snapshot, pod).map((group) => ({ group, kind: 'cpuset', value, rule: 'suppressCpu', because }))
  })
}

function freezeClaims({ snapshot, pods, nodePermyriad }: CpuRungView, config: Config): Claim[] {
  const because = { code: 'suppress.freeze', nodePermyriad, enterPermyriad: config.cpuFreeze.enterPermyriad } as const
  return pods.flatMap(({ qosClass, reading }): Claim[] =>
    qosClass === 'OT' && reading.present && mayStandStill(snapshot, reading)
      ? [{ group: reading.group, kind: 'freeze', value: 1, rule: 'suppressCpu', because }]
      : [],
  )
}

/**
 * Kernel: what is frozen handles no SIGTERM, and under v1 no SIGKILL either, so a pod that was deleted could not end. An eviction that was
 * granted is such a deletion, known before the pod is listed with it. And nobody would thaw the agent.
 */
export function mayStandStill(snapshot: NodeSnapshot, { spec, group }: PodReading): boolean {
  const is = snapshot.evictions.recent.find(({ wish }) => wish.uid === spec.uid)?.is
  return spec.isEnding !== true && is !== 'evicted' && is !== 'forced' && !runsAgent(snapshot, group)
}
