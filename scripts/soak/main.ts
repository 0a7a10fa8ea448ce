/**
 * `npm run soak [-- MINUTES]`: the bundle in mode enforce on real cgroups, with a stand-in kubelet and HTTP on, while five pods a second come
 * and go. Prints a line a minute, and fails when the agent grew. Everything it makes, it removes, on Ctrl-C as well.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { join } from 'node:path'
import { KubeletStandIn } from '../../src/sim/index.ts'
import { BenchNode } from '../bench/node.ts'
import { pause, stopping, until } from '../bench/stop.ts'
import { Churn } from './churn.ts'
import { judge, type Sample, SERIES_NAMES, type SeriesName, windowsOf } from './flat.ts'
import { AgentWatch } from './watch.ts'

const MINUTES = 10
const PORT = 19_468
const CHURN_MS = 200
const POPULATION = 40
/** Code is compiled and caches fill up meanwhile. */
const WARM_UP_MS = 60_000
/** Short runs have shorter windows: some are needed to see a trend. */
const LEAST_WINDOWS = 4
const LEAST_MINUTES = 3
const START_LIMIT_MS = 30_000

/** The bound that the journal is compacted at is low, so that ten minutes see it work. */
const SETTINGS = {
  http: { port: PORT },
  journal: { maxBytes: 131_072 },
  // So that there are devices to hand out on a busy machine too.
  capacity: { warmupMs: 0, reclaimCpuPermyriad: 10_000, reclaimMemoryPermyriad: 10_000 },
  log: { level: 'error' },
  own: { weight: false },
}

async function soak(minutes: number): Promise<boolean> {
  const node = await BenchNode.open()
  const kubelet = new KubeletStandIn({
    directory: join(node.directory, 'dp'),
    podResourcesDirectory: join(node.directory, 'pr'),
    random: Math.random,
  })
  try {
    await kubelet.start()
    const { program } = node.startAgent(node.writeConfig(SETTINGS))
    const answers = (): Promise<boolean> =>
      fetch(`http://127.0.0.1:${PORT}/readyz`).then(
        ({ ok }) => ok,
        () => false,
      )
    await until('the agent to be ready', answers, START_LIMIT_MS, 100)
    const churn = new Churn(node, kubelet)
    for (let count = 0; count < POPULATION; count += 1) await churn.start()
    const watch = new AgentWatch({ pid: program.pid, journal: join(node.directory, 'state/restore.journal'), port: PORT })
    const samples: Sample[] = []
    const over = new AbortController()
    const churning = keepChurning(churn, kubelet, over.signal)
    const windowMs = Math.min(60_000, (minutes * 60_000 - WARM_UP_MS) / LEAST_WINDOWS)
    try {
      const startMs = performance.now()
      for (let second = 0; second < minutes * 60; second += 1) {
        if (program.hasEnded) throw new Error('the agent has ended')
        samples.push(await watch.look(performance.now()))
        report(samples, churn, windowMs)
        await Promise.race([pause(Math.max(0, startMs + (second + 1) * 1000 - performance.now())), churning])
      }
    } finally {
      over.abort()
      await churning.catch(() => undefined)
    }
    await churning
    return verdict(samples, { churn, windowMs, failures: watch.failures, violations: kubelet.violations })
  } finally {
    await node.close()
    await kubelet.stop()
  }
}

/** Five starts and five stops a second, for as long as it takes. What is late is not made up for. */
async function keepChurning(churn: Churn, kubelet: KubeletStandIn, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const startMs = performance.now()
    await churn.start()
    await churn.stop()
    kubelet.tick(startMs)
    await sleep(Math.max(0, startMs + CHURN_MS - performance.now()))
  }
}

const WIDTH = 12
const row = (cells: readonly string[]): string => cells.map((cell) => cell.padStart(WIDTH)).join('')
const cellsOf = (values: Readonly<Record<SeriesName, number>>): string[] => SERIES_NAMES.map((name) => values[name].toFixed(1))
let told = 0

/** A line for each window that has filled up. */
function report(samples: readonly Sample[], churn: Churn, windowMs: number): void {
  if (told === 0 && samples.length === 1) console.log(row(['seconds', ...SERIES_NAMES, 'pods', 'started']))
  const windows = windowsOf(samples, windowMs)
  for (const { fromMs, values } of windows.slice(told)) {
    const seconds = Math.round((fromMs + windowMs - (samples[0]?.atMs ?? 0)) / 1000)
    console.log(row([String(seconds), ...cellsOf(values), String(churn.living), String(churn.counts.started)]))
  }
  told = windows.length
}

interface Run {
  readonly churn: Churn
  readonly windowMs: number
  readonly failures: number
  readonly violations: readonly string[]
}

function verdict(samples: readonly Sample[], { churn, windowMs, failures, violations }: Run): boolean {
  const warmMs = (samples[0]?.atMs ?? 0) + WARM_UP_MS
  const verdicts = judge(
    windowsOf(
      samples.filter(({ atMs }) => atMs >= warmMs),
      windowMs,
    ),
  )
  const problems = verdicts.flatMap(({ name, problem }) => (problem === undefined ? [] : [`${name} ${problem}`]))
  if (failures > samples.length / 100) problems.push(`${failures} of ${samples.length} scrapes failed`)
  problems.push(...violations.slice(0, 5))
  console.log(row(['growth', ...verdicts.map(({ growth }) => growth.toFixed(1))]))
  console.log(JSON.stringify({ ...churn.counts, samples: samples.length, failedScrapes: failures }))
  for (const problem of problems) console.error(`not flat: ${problem}`)
  if (problems.length === 0) console.log('flat')
  return problems.length === 0
}

const minutes = process.argv[2] === undefined ? MINUTES : Number(process.argv[2])
if (!(minutes >= LEAST_MINUTES && minutes <= 24 * 60) || process.argv.length > 3) {
  console.error(`npm run soak [-- MINUTES]: minutes from ${LEAST_MINUTES} to 1440`)
  process.exit(2)
}
if (process.getuid?.() !== 0) {
  console.error('the soak makes cgroups of its own and so needs root')
  process.exit(4)
}
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => stopping.abort())
try {
  const isFlat = await soak(minutes)
  process.exit(isFlat ? 0 : 1)
} catch (thrown) {
  if (stopping.signal.aborted) process.exit(130)
  console.error(thrown instanceof Error ? thrown.message : String(thrown))
  process.exit(1)
}
