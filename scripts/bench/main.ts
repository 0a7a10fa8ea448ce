/**
 * npm run bench [-- NAME…] [--json]: what the agent costs, each number beside a floor measured in the same run.
 *   sweep-N   reading 4 files of N containers; floor: the same preads in C; goal: ratio at most 1.5
 *   tick-250  a whole tick with 250 pods and nothing to write, at a 1 s pace; floor: C reading 4 files a pod; goal: at most 8 ms
 *   rss-250   resident memory of the bundle after 60 s of `run` with 250 pods and 2,000 registered devices of each resource; floor: bare
 *             node; goal: at most 80 MiB
 *   push-N    a list of N devices from the decision to the kubelet's end, decoded; floor: the same bytes as they are; goal: ratio at most 3
 *   allocate-p99-ms  an Allocate of 16 out of 2,000 devices; floor: an RPC that does nothing; goal: less than 1 ms in the handler
 *   replan-scratch-ms  the CPUs of 250 pods of all classes on 512 CPUs, with nothing remembered; floor: the choice of the kubelet's static
 *             policy for the pods with CPUs of their own; goal: at most 5 ms
 *   replan-one-ms  the same after one pod came or went; floor: that choice for one pod; goal: at most 1 ms
 *   start-to-registered-ms  from the start of the bundle to the fourth registration, 250 pods; floor: node -e 0; goal: at most 500 ms
 */
import { allocateBench, pushBench } from './kubelet.ts'
import { rssBench } from './rss.ts'
import { sweepBench, tickBench } from './reads.ts'
import { replanBench } from './replan.ts'
import { startBench } from './start.ts'

export interface Result {
  readonly name: string
  readonly value: number
  readonly unit: 'ms' | 'MiB'
  readonly floor: number
  readonly ratio: number
  readonly goal: number
  readonly ok: boolean
  /** p99 of the handler alone, of which the goal is. */
  readonly handlerMs?: number
}

const BENCHES: Readonly<Record<string, (name: string) => Promise<Result>>> = {
  'sweep-250': (name) => sweepBench(name, 250),
  'sweep-1000': (name) => sweepBench(name, 1000),
  'tick-250': (name) => tickBench(name, 250),
  'rss-250': (name) => rssBench(name, 250),
  'push-1000': (name) => pushBench(name, 1_000),
  'push-10000': (name) => pushBench(name, 10_000),
  'allocate-p99-ms': (name) => allocateBench(name),
  'replan-scratch-ms': (name) => replanBench(name, { scratch: true, goal: 5 }),
  'replan-one-ms': (name) => replanBench(name, { scratch: false, goal: 1 }),
  'start-to-registered-ms': (name) => startBench(name, 250),
}

const words = process.argv.slice(2)
const json = words.includes('--json')
const names = words.filter((word) => word !== '--json')
const unknown = names.find((name) => BENCHES[name] === undefined)
if (unknown !== undefined) {
  console.error(`unknown bench ${unknown}; there are ${Object.keys(BENCHES).join(', ')}`)
  process.exit(2)
}
if (process.getuid?.() !== 0) {
  console.error('the benchmarks make cgroups of their own and so need root')
  process.exit(4)
}
let failed = false
for (const [name, bench] of Object.entries(BENCHES)) {
  if (names.length > 0 && !names.includes(name)) continue
  const result = await bench(name)
  failed ||= !result.ok
  if (json) console.log(JSON.stringify(result))
  else console.log(render(result))
}
process.exit(failed ? 1 : 0)

function render({ name, value, unit, floor, ratio, goal, ok, handlerMs }: Result): string {
  const aim = /^(sweep|push)/.test(name) ? `ratio ≤ ${goal}` : `≤ ${goal} ${unit}`
  const handler = handlerMs === undefined ? '' : `  handler ${handlerMs.toFixed(3)} ms`
  return `${name.padEnd(22)} ${value.toFixed(2).padStart(8)} ${unit.padEnd(3)}  floor ${floor.toFixed(2).padStart(8)}  ratio ${ratio.toFixed(2).padStart(5)}  goal ${aim.padEnd(12)} ${ok ? 'ok' : 'MISSED'}${handler}`
}
