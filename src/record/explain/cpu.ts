/**
 * A CPU explained: whose it is, who else may run there, and the same of the threads it shares a core with; and the other way round, the
 * CPUs that one pod has for itself.
 */
import type { CpuSet, CpuTopology } from '../../cpu/index.ts'
import type { Decision, QosClass, TickRecord } from '../../model/index.ts'
import { AgentError, isExclusive, podKey, QOS_CLASSES } from '../../model/index.ts'
import { boundCpus, classCpus, cpusInForce, type CpusInForce, narrowedText } from '../cpus-in-force.ts'
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
  readonly sets: readonly CpuSetExplanation[]
  readonly classes: readonly CpuClassExplanation[]
}

export interface CpuSetExplanation {
  readonly name: string
  readonly contains: boolean
  readonly cpus: string
  /** What it was before cpuNarrow took CPUs from it. */
  readonly narrowedFrom?: string
}

/** Pods that no cpuset binds may run anywhere, whatever the sets say. */
export interface CpuClassExplanation {
  readonly qosClass: QosClass
  /** Whether the CPU is one of those of the class. */
  readonly may: boolean
  /** Pods of the class; those of them that may run on this CPU; those that are bound to any CPUs. */
  readonly pods: number
  readonly here: number
  readonly bound: number
}

/** Throws AgentError E_NO_SUBJECT for a CPU that is not online. */
export function explainCpu(id: number, { snapshot, decision }: TickRecord): CpuExplanation {
  const { topology } = snapshot
  const cpu = topology.cpu(id)
  if (cpu === undefined) {
    throw new AgentError('E_NO_SUBJECT', `no CPU ${id} is online; online are ${topology.online.toString()}`)
  }
  const siblings = topology.siblingsOf(id)
  const inForce = cpusInForce(decision)
  return {
    is: 'cpu',
    cpu: id,
    core: cpu.core,
    socket: cpu.socket,
    node: cpu.node,
    cache: cpu.cache,
    owner: ownerOf(id, decision, inForce),
    siblings: siblings.toString(),
    siblingOwners: [...siblings]
      .filter((other) => other !== id)
      .map((other) => ({ cpu: other, owner: ownerOf(other, decision, inForce) })),
    cacheCpus: topology.caches.find((cache) => cache.id === cpu.cache)?.cpus.toString() ?? '',
    sets: setsOf(id, decision, inForce),
    classes: QOS_CLASSES.map((qosClass) => classOf(qosClass, id, { decision, inForce })),
  }
}

function setsOf(cpu: number, { placement }: Decision, { bestEffort, narrowedFrom }: CpusInForce): readonly CpuSetExplanation[] {
  const explained = (name: string, set: CpuSet): CpuSetExplanation => {
    return { name, contains: set.has(cpu), cpus: set.toString() }
  }
  return [
    explained('reserved', placement.reserved),
    explained('online pool', placement.pool),
    explained('dedicated', placement.dedicated),
    {
      ...explained('best effort', bestEffort),
      ...(narrowedFrom === undefined ? {} : { narrowedFrom: narrowedFrom.toString() }),
    },
  ]
}

function classOf(
  qosClass: QosClass,
  cpu: number,
  { decision, inForce }: { readonly decision: Decision; readonly inForce: CpusInForce },
): CpuClassExplanation {
  const { placement } = decision
  const pods = decision.pods.filter((pod) => pod.qosClass === qosClass)
  const own = placement.exclusive.filter((one) => one.qosClass === qosClass).length
  const onPool = isExclusive(qosClass) && pods.length > own && placement.pool.has(cpu)
  const may = onPool || classCpus(qosClass, decision, inForce).has(cpu)
  const sets = pods.map(({ reading }) => boundCpus(decision, reading))
  const here = sets.filter((set) => set?.has(cpu) ?? true).length
  return { qosClass, may, pods: pods.length, here, bound: sets.filter((set) => set !== undefined).length }
}

function ownerOf(cpu: number, { placement, pods }: Decision, inForce: CpusInForce): string {
  const nameOf = (uid: string): string => {
    const pod = pods.find(({ reading }) => reading.spec.uid === uid)
    return pod === undefined ? uid : podKey(pod.reading.spec)
  }
  const own = placement.exclusive.find(({ cpus }) => cpus.has(cpu))
  const pin = placement.pinned.find(({ cpus }) => cpus.has(cpu))
  const narrowed = narrowedText(inForce)
  const note = narrowed === undefined ? '' : `, ${narrowed}`
  // A pod whose own CPUs the rung has taken shares those of others.
  const offline = pin === undefined || narrowed !== undefined ? 'offline pods' : `offline pods, of BE only ${nameOf(pin.uid)}`
  const isTaken = inForce.narrowedFrom?.has(cpu) === true && !inForce.bestEffort.has(cpu)
  const taken = isTaken ? `: offline pods are ${narrowed ?? ''}` : ''
  if (own !== undefined) {
    const others = own.shared.has(cpu) && !isTaken ? `${offline} may run there too${note}` : `nobody else runs there${taken}`
    return `${own.qosClass} pod ${nameOf(own.uid)}; ${others}`
  }
  if (placement.dedicated.has(cpu)) return `dedicated to ${offline}${note}`
  if (placement.pool.has(cpu)) {
    const may = inForce.bestEffort.has(cpu)
    return `the online pool; ${may ? `${offline} may run there too${note}` : `no offline pod runs there${taken}`}`
  }
  return placement.reserved.has(cpu)
    ? 'reserved for the system; no offline pod runs there'
    : 'outside of what the group of all pods may use'
}

/** What a pod has for itself, and why it is there; undefined for a pod that shares the CPUs of its class. */
export function ownCpusText(uid: string, { snapshot, decision }: TickRecord): string | undefined {
  const { exclusive, pinned } = decision.placement
  const inForce = cpusInForce(decision)
  const narrowed = narrowedText(inForce)
  const own = exclusive.find((one) => one.uid === uid)
  if (own === undefined) {
    const pin = pinned.find((one) => one.uid === uid)
    return pin === undefined
      ? undefined
      : `${spread(pin.cpus)} (${placeText(pin.cpus, snapshot.topology)}): ` +
          (narrowed === undefined ? 'no other BE pod runs there' : `no longer its own, while offline pods are ${narrowed}`)
  }
  const shared = own.shared.intersect(inForce.bestEffort)
  const others = shared.isEmpty ? 'nobody else runs there' : `offline pods may use ${spread(shared)} too`
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
