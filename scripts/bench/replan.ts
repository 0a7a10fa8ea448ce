/**
 * The placement of 250 pods of all classes on a machine of 512 CPUs: decided with nothing remembered, and after one pod has come or gone.
 * Nothing but the rule runs, so no node is needed. The floor is what the kubelet's static policy takes to choose CPUs for the pods
 * that are placed.
 */
import { performance } from 'node:perf_hooks'
import { staticPolicyChoice, buildTopology } from '../../src/cpu/index.ts'
import { classify } from '../../src/decide/classify.ts'
import { placementClaims, type PlacementMemory, rememberPlacements } from '../../src/decide/placement.ts'
import type { NodeSnapshot } from '../../src/model/index.ts'
import { configOf } from '../../test/support/config.ts'
import { type PodLiteral, snapshotOf } from '../../test/support/snapshots.ts'
import { rawTopology } from '../../test/support/topologies.ts'
import type { Result } from './result.ts'
import { median } from './turns.ts'

const PODS = 250
const ROUNDS = 60
const MACHINE = rawTopology({ sockets: 2, nodesPerSocket: 4, cachesPerNode: 4, coresPerCache: 8, threads: 2 })
const TOPOLOGY = buildTopology(MACHINE)
const CONFIG = configOf({ placement: { reservedCpus: '0,256', lsSharePermyriad: 5000, bePinning: 'exclusive' } })
const LABEL = 'kube-agent.io/qos-class'

/** Of five pods one is LSX and two are LSR, one is LS and one BE: 150 pods want some 340 CPUs. */
function podOf(index: number): PodLiteral {
  const uid = `pod-${index}`
  const requestsMilli = 1000 * (1 + ((index * 7) % 4))
  switch (index % 5) {
    case 0:
      return { uid, qos: 'Guaranteed', requestsMilli, labels: { [LABEL]: 'LSX' } }
    case 1:
    case 2:
      return { uid, qos: 'Guaranteed', requestsMilli, labels: { [LABEL]: 'LSR' } }
    case 3:
      return { uid, qos: 'Burstable', requestsMilli }
    default:
      return { uid, asks: { 'be-cpu': 10 } }
  }
}

const pods = Array.from({ length: PODS }, (_, index) => podOf(index))
const ALL = snapshotOf({ topology: TOPOLOGY, pods })

/** The same node while one of the pods is not there. */
function without(index: number): NodeSnapshot {
  return { ...ALL, pods: { ...ALL.pods, pods: ALL.pods.pods.filter((_, other) => other !== index) } }
}

function replan(snapshot: NodeSnapshot, memory: PlacementMemory | undefined): { memory: PlacementMemory; tookMs: number } {
  const classified = snapshot.pods.pods.map((reading) => classify(reading, CONFIG))
  const started = performance.now()
  const next = rememberPlacements(snapshot, classified, memory === undefined ? {} : { wanted: memory }, CONFIG).wanted
  placementClaims(snapshot, classified, next, CONFIG)
  return { memory: next, tookMs: performance.now() - started }
}

function staticMs(counts: readonly number[]): number {
  let free = TOPOLOGY.online
  const started = performance.now()
  for (const count of counts) free = free.minus(staticPolicyChoice(TOPOLOGY, free, count) ?? free)
  return performance.now() - started
}

/** Everything anew, or one pod that goes and comes back, in turns with the floor. */
export async function replanBench(name: string, { scratch, goal }: { scratch: boolean; goal: number }): Promise<Result> {
  let { memory } = replan(ALL, undefined)
  const counts = [...memory.assigned.exclusive.values()].map(({ want }) => want.count)
  const ours: number[] = []
  const floors: number[] = []
  for (let round = 0; round < 2 * ROUNDS; round += 1) {
    const gone = (round * 3) % PODS
    const now = scratch || round % 2 === 1 ? ALL : without(gone - (gone % 5))
    const planned = replan(now, scratch ? undefined : memory)
    memory = planned.memory
    // The first half compiles code.
    if (round < ROUNDS) continue
    ours.push(planned.tookMs)
    floors.push(staticMs(scratch ? counts : counts.slice(0, 1)))
  }
  const [value, floor] = [median(ours), median(floors)]
  return { name, value, unit: 'ms', floor, ratio: value / floor, goal, ok: value <= goal }
}
