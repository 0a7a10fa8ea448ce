/**
 * A CPU explained: whose it is, who else may run there, and the same of the threads it shares a core with; and the other way round, the
 * CPUs that one pod has for itself.
 */
import type { CpuSet, CpuTopology } from '../../cpu/index.ts'
import type { Decision, PlacementState, QosClass, TickRecord } from '../../model/index.ts'
import { AgentError, isExclusive, isOffline, podKey, QOS_CLASSES } from '../../model/index.ts'
import { count, spread } from '../layout.ts'

export interface CpuExplanation {
  readonly is: 'cpu'
  readonly cpu: number
  readonly core: number
  readonly socket: number
  readonly node: number
  readonly cache: number
  /** Whose it is, and who else may run there. */
  readonly owner: string
  /** Threads of the same core, this one included; a CPU list. */
  readonly siblings: string
  /** Whose the other threads of the core are. */
  readonly siblingOwners: readonly { readonly cpu: number; readonly owner: string }[]
  readonly cacheCpus: string
  readonly sets: readonly { readonly name: string; readonly contains: boolean; readonly cpus: string }[]
  /** Pods that no cpuset binds may run anywhere, whatever the sets say. */
  readonly classes: readonly {
    readonly qosClass: QosClass
    readonly may: boolean
    readonly pods: number
    readonly bound: number
  }[]
}

/** Throws AgentError E_NO_SUBJECT for a CPU that is not online. */
export function explainCpu(id: number, { snapshot, decision }: TickRecord): CpuExplanation {
  const { topology } = snapshot
  const cpu = topology.cpu(id)
  if (cpu === undefined) {
    throw new AgentError('E_NO_SUBJECT', `no CPU ${id} is online; online are ${topology.online.toString()}`)
  }
  const { placement } = decision
  const siblings = topology.siblingsOf(id)
  return {
    is: 'cpu',
    cpu: id,
    core: cpu.core,
    socket: cpu.socket,
    node: cpu.node,
    cache: cpu.cache,
    owner: ownerOf(id, decision),
    siblings: siblings.toString(),
    siblingOwners: [...siblings]
      .filter((other) => other !== id)
      .map((other) => ({ cpu: other, owner: ownerOf(other, decision) })),
    cacheCpus: topology.caches.find((cache) => cache.id === cpu.cache)?.cpus.toString() ?? '',
    sets: (
      [
        ['reserved', placement.reserved],
        ['online pool', placement.pool],
        ['dedicated', placement.dedicated],
        ['best effort', placement.bestEffort],
      ] as const
    ).map(([name, set]) => ({ name, contains: set.has(id), cpus: set.toString() })),
    classes: QOS_CLASSES.map((qosClass) => {
      const pods = decision.pods.filter((pod) => pod.qosClass === qosClass)
      const bound = pods.filter(({ reading }) => decision.desired.get(reading.group, 'cpuset') !== undefined)
      const own = placement.exclusive.filter((one) => one.qosClass === qosClass).length
      const onPool = isExclusive(qosClass) && pods.length > own && placement.pool.has(id)
      return { qosClass, may: onPool || mayUse(qosClass, id, placement), pods: pods.length, bound: bound.length }
    }),
  }
}

function mayUse(qosClass: QosClass, cpu: number, placement: PlacementState): boolean {
  if (isOffline(qosClass)) return placement.bestEffort.has(cpu)
  if (isExclusive(qosClass)) return placement.exclusive.some((one) => one.qosClass === qosClass && one.cpus.has(cpu))
  return placement.pool.has(cpu) || (qosClass === 'SYSTEM' && placement.reserved.has(cpu))
}

function ownerOf(cpu: number, { placement, pods }: Decision): string {
  const nameOf = (uid: string): string => {
    const pod = pods.find(({ reading }) => reading.spec.uid === uid)
    return pod === undefined ? uid : podKey(pod.reading.spec)
  }
  const own = placement.exclusive.find(({ cpus }) => cpus.has(cpu))
  const pin = placement.pinned.find(({ cpus }) => cpus.has(cpu))
  const offline = pin === undefined ? 'offline pods' : `offline pods, of BE only ${nameOf(pin.uid)}`
  const shared = placement.bestEffort.has(cpu)
  if (own !== undefined) {
    const others = own.shared.has(cpu) ? `${offline} may run there too` : 'nobody else runs there'
    return `${own.qosClass} pod ${nameOf(own.uid)}; ${others}`
  }
  if (placement.dedicated.has(cpu)) return `dedicated to ${offline}`
  if (placement.pool.has(cpu)) return `the online pool; ${shared ? `${offline} may run there too` : 'no offline pod runs there'}`
  return placement.reserved.has(cpu)
    ? 'reserved for the system; no offline pod runs there'
    : 'outside of what the group of all pods may use'
}

/** What a pod has for itself, and why it is there; undefined for a pod that shares the CPUs of its class. */
export function ownCpusText(uid: string, { snapshot, decision }: TickRecord): string | undefined {
  const { exclusive, pinned } = decision.placement
  const own = exclusive.find((one) => one.uid === uid)
  if (own === undefined) {
    const pin = pinned.find((one) => one.uid === uid)
    return pin === undefined
      ? undefined
      : `${spread(pin.cpus)} (${placeText(pin.cpus, snapshot.topology)}): no other BE pod runs there`
  }
  const others = own.shared.isEmpty ? 'nobody else runs there' : `offline pods may use ${spread(own.shared)} too`
  return (
    `${spread(own.cpus)} (${placeText(own.cpus, snapshot.topology)}): ${others}. They were the best that were free when the pod came ` +
    '(fewest sockets, NUMA nodes and caches), and it stays on them'
  )
}

function placeText(cpus: CpuSet, topology: CpuTopology): string {
  const nodes = topology.nodes.filter((node) => node.cpus.overlaps(cpus)).map(({ id }) => id)
  const cores = topology.cores.filter((core) => core.cpus.overlaps(cpus))
  const whole = cores.every((core) => core.cpus.isSubsetOf(cpus))
    ? count(cores.length, 'whole core')
    : `threads of ${count(cores.length, 'core')}`
  return `${whole} on NUMA node${nodes.length === 1 ? '' : 's'} ${nodes.join(', ')}`
}
