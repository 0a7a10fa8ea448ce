/**
 * What the agent costs in CPU time: the bundle in `run --mode enforce` with 250 pods, a stand-in kubelet and a scrape every ten seconds.
 *   cpu-calm  nothing happens on the node; one tick a second
 *   cpu-hot   the node is above its low watermark: an online pod uses a third of each CPU and offline work all that it is allowed, so that
 *             there are guard beats every 25 ms, ticks every 50 to 400, and quotas move
 * The time is that of the agent's group, the floor that of a bare node with a timer. How many ticks there were is asked of the agent and
 * checked: a number from the wrong pace is worse than none.
 */
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { KubeletStandIn } from '../../src/sim/index.ts'
import type { GroupPath } from '../../src/model/index.ts'
import { Meter, percent, type Stretch } from './meter.ts'
import { BenchNode, offlinePod, onlinePod, type StartedPod } from './node.ts'
import { compile, type Program, requireProgram } from './program.ts'
import type { Result } from './result.ts'
import { pause, until } from './stop.ts'

const PORT = 19_466
const SCRAPE_MS = 10_000
/** As for rss-250: a daemon runs for weeks, and until then V8 compiles what it will run. */
const WARMUP_MS = 60_000
const SETTLE_MS = 4000
const MEASURED_MS = 20_000
const UP_MS = 15_000
const GOALS = { calm: 1, hot: 3 } as const
/**
 * Ticks a second that a pace must come to: calm ticks come once a second and with each new list of pods, hot ones every 50 ms where there is news,
 * every 400 without, or, where they are dear, later.
 */
const TICKS = { calm: { least: 0.8, most: 2 }, hot: { least: 2.2, most: 21 } } as const
const ONLINE_PERMILLE = '333'
/** Of all CPUs, for foreign work and stolen time together: a cache that others use makes every read dearer. */
const MOST_FOREIGN = 0.05
const TRIES = 2

type Pace = keyof typeof GOALS

interface Running {
  readonly node: BenchNode
  readonly meter: Meter
  readonly agent: { readonly program: Program; readonly group: GroupPath }
  readonly bare: StartedPod
}

interface Cost {
  readonly agentPercent: number
  readonly barePercent: number
  readonly ticksPerSecond: number
  readonly lateBeats: number
  readonly beats: number
  readonly disturbed: number
  readonly busyShare: number
}

export async function costBench(pods: number): Promise<readonly Result[]> {
  requireProgram('setpriv', 'util-linux')
  const node = await BenchNode.open()
  const kubelet = new KubeletStandIn({
    directory: join(node.directory, 'dp'),
    podResourcesDirectory: join(node.directory, 'pr'),
    random: Math.random,
  })
  try {
    node.addPods(pods)
    await kubelet.start()
    return await costs(node)
  } finally {
    await node.close()
    await kubelet.stop()
  }
}

async function costs(node: BenchNode): Promise<readonly Result[]> {
  const bare = node.startPod(onlinePod(1000, 100), { listed: false })
  node.start([process.execPath, '-e', 'setInterval(() => {}, 1000)'], { group: bare.container })
  const { cpus, load } = { cpus: availableParallelism(), load: compile('load', node.directory) }
  const online = node.startPod(onlinePod(1001, 1000))
  const offline = node.startPod(offlinePod(1002, 'be', cpus * 10))
  const loads = [
    ...Array.from({ length: cpus }, () => node.start([load, 'part', ONLINE_PERMILLE], { group: online.container, held: true })),
    node.start([load, 'burn', String(cpus)], { group: offline.container, held: true }),
  ]
  const agent = node.startAgent(node.writeConfig({ http: { port: PORT } }))
  const running = { node, agent, bare, meter: new Meter(node.openKernel(), node.sandbox.root) }
  await until('the agent answered', () => scrape().then((text) => text !== ''), UP_MS)
  await pause(WARMUP_MS)
  const calm = await measure('calm', running)
  for (const program of loads) program.go()
  await pause(SETTLE_MS)
  const hot = await measure('hot', running)
  return [resultOf('calm', calm), resultOf('hot', hot)]
}

async function scrape(): Promise<string> {
  try {
    const answer = await fetch(`http://127.0.0.1:${PORT}/metrics`, { signal: AbortSignal.timeout(UP_MS) })
    return await answer.text()
  } catch {
    return ''
  }
}

/** Sum over all series of a counter. Throws when there is none: a bench must not take a renamed metric for zero. */
function counter(text: string, name: string): number {
  const values = [...text.matchAll(new RegExp(String.raw`^kube_agent_${name}(?:\{[^}]*\})? (\S+)$`, 'gm'))].map(([, value]) =>
    Number(value),
  )
  if (values.length === 0) throw new Error(`the agent shows no metric kube_agent_${name}`)
  return values.reduce((sum, value) => sum + value, 0)
}

/** Measures once more when others were at work; what the last try gives is told, with how far it was disturbed. */
async function measure(pace: Pace, running: Running): Promise<Cost> {
  let cost = await measureOnce(running)
  for (let tries = 1; tries < TRIES && (cost.disturbed > MOST_FOREIGN || !isPace(pace, cost)); tries += 1)
    cost = await measureOnce(running)
  if (!isPace(pace, cost)) {
    throw new Error(
      `cpu-${pace}: the agent made ${cost.ticksPerSecond.toFixed(1)} ticks a second, which is not its ${pace} pace; the node was ${percent(cost.busyShare)} busy, ${percent(cost.disturbed)} of it by others`,
    )
  }
  return cost
}

function isPace(pace: Pace, { ticksPerSecond }: Cost): boolean {
  return ticksPerSecond >= TICKS[pace].least && ticksPerSecond <= TICKS[pace].most
}

async function measureOnce({ agent, bare, meter }: Running): Promise<Cost> {
  const groups = [agent.group, bare.group]
  const textBefore = await scrape()
  const before = meter.sample(groups)
  for (let scraped = 0; scraped < MEASURED_MS / SCRAPE_MS; scraped += 1) {
    await pause(SCRAPE_MS)
    await scrape()
  }
  const after = meter.sample(groups)
  const text = await scrape()
  if (agent.program.hasEnded) throw new Error('the agent ended while it was measured')
  const stretch: Stretch = meter.between(before, after)
  const seconds = (after.atMs - before.atMs) / 1000
  const more = (name: string): number => counter(text, name) - counter(textBefore, name)
  return {
    agentPercent: stretch.groupUs(agent.group) / seconds / 1e4,
    barePercent: stretch.groupUs(bare.group) / seconds / 1e4,
    ticksPerSecond: more('ticks_total') / seconds,
    lateBeats: more('guard_beats_late_total'),
    beats: more('guard_beats_total'),
    disturbed: stretch.foreignShare + stretch.stealShare,
    busyShare: stretch.busyShare,
  }
}

function resultOf(pace: Pace, cost: Cost): Result {
  const { agentPercent: value, barePercent: floor, ticksPerSecond, lateBeats, beats, disturbed } = cost
  const spoiled = disturbed > MOST_FOREIGN
  const lines = [
    `${ticksPerSecond.toFixed(1)} ticks a second, ${lateBeats} of ${beats} guard beats late${spoiled ? `; DISTURBED: others used ${percent(disturbed)} of the CPUs` : ''}`,
  ]
  const details = { ticksPerSecond, lateBeats, beats, disturbed, spoiled }
  const goal = GOALS[pace]
  return { name: `cpu-${pace}`, value, unit: '%', floor, ratio: value / floor, goal, ok: value <= goal, details, lines }
}
