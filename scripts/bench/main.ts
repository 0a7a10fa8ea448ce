/**
 * npm run bench [-- NAME…] [--json]: what the agent costs, each number beside a floor measured in the same run.
 *   sweep-N   reading 4 files of N containers; floor: the same preads in C; goal: ratio at most 1.5
 *   tick-250  a whole tick with 250 pods and nothing to write, at a 1 s pace; floor: C reading 4 files a pod; goal: at most 8 ms
 *   rss-250   resident memory of the bundle after 60 s of `run` with 250 pods and 2,000 registered devices of each resource; floor: bare
 *             node; goal: at most 80 MiB
 *   record-250  what recording adds to a calm tick with 250 pods; floor: v8.serialize() of the pods; goal: at most 1 ms
 *   push-N    a list of N devices from the decision to the kubelet's end, decoded; floor: the same bytes as they are; goal: ratio at most 3
 *   allocate-p99-ms  an Allocate of 16 out of 2,000 devices; floor: an RPC that does nothing; goal: less than 1 ms in the handler
 *   replan-scratch-ms  the CPUs of 250 pods of all classes on 512 CPUs, with nothing remembered; floor: the choice of the kubelet's static
 *             policy for the pods with CPUs of their own; goal: at most 5 ms
 *   replan-one-ms  the same after one pod came or went; floor: that choice for one pod; goal: at most 1 ms
 *   start-to-registered-ms  from the start of the bundle to the fourth registration, 250 pods; floor: node -e 0; goal: at most 500 ms
 * and what it does for online work (see latency.ts, reaction.ts, cost.ts). A name before the colon runs all that stand after it:
 *   latency:  latency-p99-ratio   p99 of a web server beside hogs with the agent; floor: beside a burner of the idle class; goal: 1.15 times
 *             latency-hogs-share  CPU time of these hogs, of what the server and the system leave; goal: at least 80 %
 *   reaction: reaction-p99-ms     from a spike of online load to the quota in force; floor: a loop that polls once a second; goal: 60 ms
 *   cost:     cpu-calm, cpu-hot   CPU of the agent with 250 pods, of one core; floor: bare node; goals: 1 % and 3 %
 */
import { allocateBench, pushBench } from './kubelet.ts'
import { costBench } from './cost.ts'
import { latencyBench } from './latency.ts'
import { reactionBench } from './reaction.ts'
import { render, type Result, toJson } from './result.ts'
import { rssBench } from './rss.ts'
import { sweepBench, tickBench } from './reads.ts'
import { recordingBench } from './recording.ts'
import { replanBench } from './replan.ts'
import { startBench } from './start.ts'
import { stopping } from './stop.ts'

interface Bench {
  /** The benches that one run of it gives; without, the one of its own name. */
  readonly names?: readonly string[]
  readonly run: (name: string) => Promise<Result | readonly Result[]>
}

const BENCHES: Readonly<Record<string, Bench>> = {
  'sweep-250': { run: (name) => sweepBench(name, 250) },
  'sweep-1000': { run: (name) => sweepBench(name, 1000) },
  'tick-250': { run: (name) => tickBench(name, 250) },
  'rss-250': { run: (name) => rssBench(name, 250) },
  'record-250': { run: (name) => recordingBench(name, 250) },
  'push-1000': { run: (name) => pushBench(name, 1_000) },
  'push-10000': { run: (name) => pushBench(name, 10_000) },
  'allocate-p99-ms': { run: (name) => allocateBench(name) },
  'replan-scratch-ms': { run: (name) => replanBench(name, { scratch: true, goal: 5 }) },
  'replan-one-ms': { run: (name) => replanBench(name, { scratch: false, goal: 1 }) },
  'start-to-registered-ms': { run: (name) => startBench(name, 250) },
  latency: { names: ['latency-p99-ratio', 'latency-hogs-share'], run: () => latencyBench() },
  reaction: { names: ['reaction-p99-ms'], run: () => reactionBench() },
  cost: { names: ['cpu-calm', 'cpu-hot'], run: () => costBench(250) },
}

const words = process.argv.slice(2)
const json = words.includes('--json')
const asked = words.filter((word) => word !== '--json')
const known = Object.entries(BENCHES).flatMap(([key, { names = [] }]) => [key, ...names])
const unknown = asked.find((name) => !known.includes(name))
if (unknown !== undefined) {
  console.error(`unknown bench ${unknown}; there are ${known.join(', ')}`)
  process.exit(2)
}
if (process.getuid?.() !== 0) {
  console.error('the benchmarks make cgroups of their own and so need root')
  process.exit(4)
}
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => stopping.abort())
let failed = false
for (const [key, { names = [key], run }] of Object.entries(BENCHES)) {
  const wanted = asked.length === 0 || asked.includes(key) ? names : names.filter((name) => asked.includes(name))
  if (wanted.length === 0 || stopping.signal.aborted) continue
  try {
    for (const result of [await run(key)].flat()) {
      if (!wanted.includes(result.name)) continue
      failed ||= !result.ok
      console.log(json ? toJson(result) : render(result))
    }
  } catch (thrown) {
    if (stopping.signal.aborted) break
    failed = true
    console.error(`${wanted.join(', ')}: ${thrown instanceof Error ? thrown.message : String(thrown)}`)
  }
}
process.exit(stopping.signal.aborted ? 130 : failed ? 1 : 0)
