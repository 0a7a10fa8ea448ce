/**
 * npm run bench [-- NAME…] [--json]: what the agent costs, each number beside a floor measured in the same run.
 *   sweep-N   reading 4 files of N containers; floor: the same preads in C; goal: ratio at most 1.5
 *   tick-250  a whole tick with 250 pods and nothing to write, at a 1 s pace; floor: C reading 4 files a pod; goal: at most 8 ms
 *   rss-250   resident memory of the bundle after 60 s of `run` with 250 pods; floor: bare node; goal: at most 80 MiB
 */
import { rssBench } from './rss.ts'
import { sweepBench, tickBench } from './reads.ts'

export interface Result {
  readonly name: string
  readonly value: number
  readonly unit: 'ms' | 'MiB'
  readonly floor: number
  readonly ratio: number
  readonly goal: number
  readonly ok: boolean
}

const BENCHES: Readonly<Record<string, (name: string) => Promise<Result>>> = {
  'sweep-250': (name) => sweepBench(name, 250),
  'sweep-1000': (name) => sweepBench(name, 1000),
  'tick-250': (name) => tickBench(name, 250),
  'rss-250': (name) => rssBench(name, 250),
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

function render({ name, value, unit, floor, ratio, goal, ok }: Result): string {
  const aim = name.startsWith('sweep') ? `ratio ≤ ${goal}` : `≤ ${goal} ${unit}`
  return `${name.padEnd(11)} ${value.toFixed(2).padStart(8)} ${unit.padEnd(3)}  floor ${floor.toFixed(2).padStart(8)}  ratio ${ratio.toFixed(2).padStart(5)}  goal ${aim.padEnd(12)} ${ok ? 'ok' : 'MISSED'}`
}
