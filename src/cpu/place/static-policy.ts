/**
 * What the kubelet's CPU manager with policy `static` and default options would choose: the yardstick that our placement must not
 * fall behind. Whole sockets and NUMA nodes first, then whole cores, then threads, always from the place with the fewest free CPUs.
 * Written from its documented behaviour. Kubernetes: takeByTopologyNUMAPacked, pkg/kubelet/cm/cpumanager/cpu_assignment.go.
 * "Whole" is meant exactly, as documented and as repaired after 1.36 (kubernetes#140495): up to 1.36 a core or socket is compared
 * with the average size, which on machines with uneven ones can even hand out CPUs that are in use.
 */
import { CpuSet } from '../cpuset.ts'
import type { CpuDomain, CpuTopology } from '../topology.ts'
import { machineOf } from './machine.ts'

/** Exactly `count` online CPUs of `free`; undefined if it has fewer. No CPU for a count below 1. */
export function staticPolicyChoice(topology: CpuTopology, free: CpuSet, count: number): CpuSet | undefined {
  const claim = new Claim(topology, free.intersect(topology.online), count)
  if (count > claim.left.size) return undefined
  claim.takeWhole(claim.outer())
  claim.takeWhole(claim.inner())
  claim.takeWhole(claim.cores())
  claim.takeThreads(claim.cores())
  return claim.taken
}

/** What has been claimed so far and what is left. The lists are in the order of claiming as things stand when they are asked for. */
class Claim {
  taken = CpuSet.EMPTY
  left: CpuSet
  private readonly topology: CpuTopology
  private readonly count: number
  /** Nodes are around sockets if there are no more of them than sockets, else within. */
  private readonly nodesOutside: boolean

  constructor(topology: CpuTopology, left: CpuSet, count: number) {
    this.topology = topology
    this.left = left
    this.count = count
    this.nodesOutside = topology.sockets.length >= topology.nodes.length
  }

  outer(): readonly CpuDomain[] {
    return this.fewestFirst(this.nodesOutside ? this.topology.nodes : this.topology.sockets)
  }

  inner(): readonly CpuDomain[] {
    const all = this.nodesOutside ? this.topology.sockets : this.topology.nodes
    // One that lies in two outer ones goes with the first of them.
    return [...new Set(this.outer().flatMap((outer) => this.fewestFirst(all.filter((one) => one.cpus.overlaps(outer.cpus)))))]
  }

  cores(): readonly CpuDomain[] {
    const { coresIn } = machineOf(this.topology)
    return [...new Set(this.inner().flatMap((domain) => this.fewestFirst(coresIn.get(domain) ?? [])))]
  }

  takeWhole(domains: readonly CpuDomain[]): void {
    for (const { cpus } of domains) {
      if (this.count - this.taken.size >= cpus.size && cpus.isSubsetOf(this.left)) this.take(cpus)
    }
  }

  takeThreads(cores: readonly CpuDomain[]): void {
    for (const { cpus } of cores) this.take(cpus.intersect(this.left).take(this.count - this.taken.size))
  }

  private take(cpus: CpuSet): void {
    this.taken = this.taken.union(cpus)
    this.left = this.left.minus(cpus)
  }

  /** Those with a free CPU: the fewest free CPUs first, then the lowest number. */
  private fewestFirst(domains: readonly CpuDomain[]): readonly CpuDomain[] {
    return domains
      .map((domain) => ({ domain, free: domain.cpus.overlapSize(this.left) }))
      .filter(({ free }) => free > 0)
      .sort((a, b) => a.free - b.free || a.domain.id - b.domain.id)
      .map(({ domain }) => domain)
  }
}
