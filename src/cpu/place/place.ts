/**
 * Chooses the CPUs of a pod that has some for itself. Goals in this order: fewest sockets, NUMA nodes, last-level caches, partly
 * used cores, split cores, then fit (pack: the tightest cache, node, socket; spread: the emptiest socket, node, cache), then CPU 0's
 * core last and low numbers first. DESIGN.md, "Classes and CPUs".
 *
 * Promised for every input: never more sockets, nodes, caches or partly used cores than the kubelet's static policy would use for as
 * many CPUs of the same free set. Since one count can be won at the price of another, the best placement may break this; then the
 * best that does not is taken. `cores` is not compared where the static policy itself would split a core: that is no choice for LSX.
 */
import { CpuSet } from '../cpuset.ts'
import type { CpuTopology } from '../topology.ts'
import { countsOf, countsWithin } from './counts.ts'
import { type Machine, machineOf } from './machine.ts'
import { type PlaceUnit, roomIn, wholeCoresSize } from './room.ts'
import { bestAnywhere, bestInOneLeaf, bestWithin, cpusOf, type PlaceStrategy } from './search.ts'
import { staticPolicyChoice } from './static-policy.ts'
import { countsOfWay, type Way } from './ways.ts'

export interface PlaceOptions {
  /** `cores`: whole physical cores, siblings included (LSX). `threads`: exactly as many threads as asked for (LSR). */
  readonly unit: PlaceUnit
  readonly strategy: PlaceStrategy
}

/**
 * CPUs out of the online ones of `free`: exactly `count`, or for `cores` as few more as make whole cores. Undefined if there is no
 * room; no CPU for a count of 0 or less; a fraction counts as a whole CPU.
 */
export function placeExclusive(topology: CpuTopology, free: CpuSet, count: number, options: PlaceOptions): CpuSet | undefined {
  const wanted = Math.ceil(count)
  if (!(wanted > 0)) return CpuSet.EMPTY
  if (wanted > free.size) return undefined
  const { unit, strategy } = options
  const machine = machineOf(topology)
  const room = roomIn(machine, free, { unit, most: wanted + (unit === 'cores' ? machine.largestCore : 0) })
  const usable = room.usable[machine.root.index] ?? 0
  const size = unit === 'cores' ? wholeCoresSize(room, wanted) : wanted
  if (size === undefined || size > usable) return undefined
  const search = { room, strategy, size }
  const best = bestInOneLeaf(search) ?? bestAnywhere(search)
  if (best !== undefined && isUnbeatable(machine, best)) return cpusOf(room, best)
  const rival = staticPolicyChoice(topology, free, size)
  const limit = rival === undefined ? undefined : countsOf(topology, rival)
  const chosen = best === undefined ? undefined : cpusOf(room, best)
  if (rival === undefined || limit === undefined || (unit === 'cores' && limit.partCores > 0)) return chosen
  if (chosen !== undefined && countsWithin(countsOf(topology, chosen), limit)) return chosen
  const within = bestWithin(search, limit)
  const bounded = within === undefined ? undefined : cpusOf(room, within)
  return bounded !== undefined && countsWithin(countsOf(topology, bounded), limit) ? bounded : rival
}

/** One of each, and no core partly used but what an odd number makes: nobody can do with less, so there is nothing to compare. */
function isUnbeatable(machine: Machine, way: Way): boolean {
  const { caches, nodes, sockets, partCores } = countsOfWay(machine, way)
  const least = way.size % machine.coreStep === 0 ? 0 : 1
  return machine.nests && sockets === 1 && nodes === 1 && caches === 1 && partCores <= least
}
