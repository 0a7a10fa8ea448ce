/**
 * How long after online load has appeared the quota of offline work is cut. A spike takes every CPU at an instant that is known to the
 * nanosecond (load.c); a watcher outside of the agent looks at the quota a thousand times a second (watch.c), both on CLOCK_MONOTONIC.
 *   calm  default thresholds; offline work uses less than a third of the node, so the agent is in its slow pace: one tick a second and a
 *         guard beat every 25 ms. It is the spike that makes every CPU busy, and the agent has to get on one of them to react.
 *   hot   watermark 100 % without a margin, so that hogs may keep every CPU busy before the spike; the agent ticks every 50 ms.
 * What counts is the first quota that takes something away: less than what offline work was using, by at least 5 % of the node. Told as well
 * is when the quota has come to within 5 % of the node of the least that it reaches in this spike.
 * The agent is the bundle in a group of its own with a high weight, as a DaemonSet would be; growth is made fast, swinging is not damped
 * and the floor is high, so that one spike can follow another soon; neither has a part in how soon a quota shrinks. The loop beside it (poller.ts) sees
 * the first spikes of the calm part.
 */
import { availableParallelism } from 'node:os'
import type { GroupPath, KernelPort } from '../../src/model/index.ts'
import { Meter, percent } from './meter.ts'
import { BenchNode, offlinePod, onlinePod } from './node.ts'
import { startPoller } from './poller.ts'
import { compile, type Program, requireProgram } from './program.ts'
import { QuotaLog } from './quota-log.ts'
import type { Result } from './result.ts'
import { pause, until } from './stop.ts'
import { median, percentile } from './turns.ts'

const TRIALS = 100
/** Spikes that the polling loop is measured on: it needs two seconds to forget the one before. */
const POLLED = 20
const LEAST_TRIALS = 50
const SPIKE_MS = 200
const GOAL_MS = 60
const WATCH_US = '1000'
const CALM_PERMILLE = '300'
/** No spike of a part is begun after this. */
const BUDGET_MS = { calm: 200_000, hot: 120_000 } as const
const START_MS = 15_000
const READY_MS = 6000
/** The agent gathers for two seconds before its first allowance; then the hot pace that came of its own start has to pass. */
const SETTLE_MS = 2000
const QUIET_MS = 50
const POLLER_MS = 2500
const JITTER_MS = 250
/** Lines of the watcher may be on their way for a moment. */
const LINES_MS = 50
const DWELL_MS = 300
/** Of the node. */
const NOTABLE = 0.05
/** Offline work below this part of its quota does not make the node hot (0.9 in the agent). */
const FREE = 0.85
/** What of the room for offline work is left by an agent and a watcher that are alone with it. */
const BUSY = 0.9
/** What of the CPUs a spike must have got for as long as it lasted. */
const FULL = 0.85
/** Of all CPUs, for foreign work and stolen time together, around one spike. */
const MOST_FOREIGN = 0.1

const PARTS = {
  calm: { watermarkPermyriad: 6500, marginPermyriad: 250, floorPermyriad: 1000 },
  hot: { watermarkPermyriad: 10_000, marginPermyriad: 0, floorPermyriad: 7000 },
} as const
type Part = keyof typeof PARTS

interface Trial {
  /** All in ms; Infinity when it did not come before the next spike. */
  readonly effectiveMs: number
  readonly settledMs: number
  /** Absent where the polling loop was not ready, or not waited for. */
  readonly pollerMs?: number
  /** How busy the node was just before. */
  readonly busyShare: number
}

export interface PartResult {
  readonly trials: readonly Trial[]
  readonly spoiled: number
}

export async function reactionBench(): Promise<readonly Result[]> {
  requireProgram('setpriv', 'util-linux')
  const node = await BenchNode.open()
  try {
    const bed = new Bed(node)
    const calm = await bed.run('calm')
    const hot = await bed.run('hot')
    return [report(calm, hot)]
  } finally {
    await node.close()
  }
}

class Bed {
  readonly #node: BenchNode
  readonly #cpus = availableParallelism()
  readonly #kernel: KernelPort
  readonly #quotas: QuotaLog
  readonly #meter: Meter
  readonly #watcher: Program
  readonly #spike: Program
  readonly #hogs: Readonly<Record<Part, readonly Program[]>>
  readonly #online: GroupPath
  readonly #shadow: GroupPath

  constructor(node: BenchNode) {
    this.#node = node
    this.#kernel = node.openKernel()
    const load = compile('load', node.directory)
    const offline = node.startPod(offlinePod(1, 'be', this.#cpus * 10))
    const online = node.startPod(onlinePod(2, 1000))
    this.#online = online.group
    this.#shadow = node.makeGroup('poller')
    this.#spike = node.start([load, 'spike', String(this.#cpus)], { group: online.container })
    const start = (...words: string[]): Program => node.start([load, ...words], { group: offline.container, held: true })
    this.#hogs = {
      calm: Array.from({ length: this.#cpus }, () => start('part', CALM_PERMILLE)),
      hot: [start('burn', String(this.#cpus))],
    }
    const files = [node.offlineRoot, this.#shadow].map((group) => node.quotaFile(group))
    this.#quotas = new QuotaLog(node, files.length)
    this.#watcher = node.start([compile('watch', node.directory), WATCH_US, ...files], {
      onLine: (line) => this.#quotas.add(line),
    })
    this.#meter = new Meter(this.#kernel, node.sandbox.root, [this.#watcher])
  }

  get #capacityMilli(): number {
    return this.#cpus * 1000
  }

  /** One part: an agent from its start to its end. */
  async run(part: Part): Promise<PartResult> {
    const { watermarkPermyriad, marginPermyriad, floorPermyriad } = PARTS[part]
    const config = this.#node.writeConfig({
      kubelet: { enabled: false },
      http: { enabled: false },
      onExit: 'release',
      suppressCpu: { ...PARTS[part], dwellMs: DWELL_MS, growthPermyriad: 10_000 },
      // One spike after another is swinging, and a longer dwell time only makes the next one wait.
      steady: { turns: 1000 },
    })
    for (const program of this.#hogs[part]) program.go()
    const { program: agent } = this.#node.startAgent(config)
    const roomPermyriad = watermarkPermyriad - marginPermyriad
    const stopPoller = startPoller({
      node: this.#node,
      kernel: this.#kernel,
      group: this.#shadow,
      cpus: this.#cpus,
      roomPermyriad,
      floorPermyriad,
    })
    try {
      await until('the agent wrote a quota', () => this.#node.isLimited || agent.hasEnded, START_MS)
      await pause(SETTLE_MS)
      const result = await this.#spikes(part)
      if (agent.hasEnded) throw new Error('the agent ended while it was measured')
      return result
    } finally {
      stopPoller()
      await agent.end()
      for (const program of this.#hogs[part]) program.hold()
    }
  }

  async #spikes(part: Part): Promise<PartResult> {
    const trials: Trial[] = []
    let spoiled = 0
    const untilMs = performance.now() + BUDGET_MS[part]
    while (trials.length < TRIALS && performance.now() < untilMs) {
      const trial = await this.#trial(part, part === 'calm' && trials.length < POLLED)
      if (trial === undefined) spoiled += 1
      else trials.push(trial)
    }
    if (trials.length < LEAST_TRIALS) {
      throw new Error(
        `${part}: only ${trials.length} of ${TRIALS} spikes in ${BUDGET_MS[part] / 1000} s, ${LEAST_TRIALS} are needed; ${spoiled} were spoiled by other load (more than ${percent(MOST_FOREIGN)} of the CPUs); try again on a quiet machine`,
      )
    }
    return { trials, spoiled }
  }

  /** One spike; undefined when others were at work, or kept the node from being ready for one. */
  async #trial(part: Part, polled: boolean): Promise<Trial | undefined> {
    const root = this.#node.offlineRoot
    const readyMs = performance.now() + READY_MS
    await pause(DWELL_MS + QUIET_MS)
    while (!this.#isReady(part, polled)) {
      if (this.#watcher.hasEnded) throw new Error('the watcher ended')
      if (performance.now() > readyMs) return undefined
      await pause(10)
    }
    const groups = [root, this.#online]
    const before = this.#meter.sample(groups)
    // Spikes must fall on every phase of the agent's beats and ticks.
    await pause(QUIET_MS + Math.random() * JITTER_MS)
    const atSpike = this.#meter.sample(groups)
    if (!this.#isReady(part, polled)) return undefined
    const calm = this.#meter.between(before, atSpike)
    const usedMilli = calm.groupUs(root) / (atSpike.atMs - before.atMs)
    const shadowMilli = this.#quotas.latestMilli(1)
    // Where others keep the hogs from what they want, there is too little that a cut could take away.
    const wantedMilli = part === 'hot' ? this.#capacityMilli : Number(CALM_PERMILLE) * this.#cpus
    if (usedMilli < FREE * wantedMilli) return undefined
    this.#spike.send(String(SPIKE_MS))
    const beganMs = Number(await this.#spike.nextLine(READY_MS)) / 1e6
    await pause(LINES_MS)
    const during = this.#meter.between(atSpike, this.#meter.sample(groups))
    if (during.foreignShare + during.stealShare > MOST_FOREIGN) return undefined
    // A spike that did not get the CPUs is not the one that the agent is judged by.
    if (during.groupUs(this.#online) < FULL * SPIKE_MS * 1000 * this.#cpus) return undefined
    const notable = NOTABLE * this.#capacityMilli
    const pollerMs = polled ? await this.#pollerMs(beganMs, shadowMilli - notable) : undefined
    const leastMilli = this.#quotas.leastMilli(0, beganMs, beganMs + SPIKE_MS)
    return {
      effectiveMs: this.#quotas.firstBelow(0, beganMs, usedMilli - notable) - beganMs,
      settledMs: this.#quotas.firstBelow(0, beganMs, leastMilli + notable) - beganMs,
      ...(pollerMs === undefined ? {} : { pollerMs }),
      busyShare: calm.busyShare,
    }
  }

  /** A spike is a fifth of what the polling loop averages over, so one of the two looks that see it must notice. */
  async #pollerMs(beganMs: number, milli: number): Promise<number> {
    const untilMs = performance.now() + POLLER_MS
    while (this.#quotas.firstBelow(1, beganMs, milli) === Infinity && performance.now() < untilMs) await pause(10)
    return this.#quotas.firstBelow(1, beganMs, milli) - beganMs
  }

  /** Whether offline work has what it needs: in calm with room to spare, else the agent would be hot. */
  #isReady(part: Part, polled: boolean): boolean {
    const milli = this.#quotas.latestMilli(0)
    if (part === 'hot') return milli >= BUSY * this.#capacityMilli
    if (milli < (Number(CALM_PERMILLE) * this.#cpus) / FREE) return false
    const { watermarkPermyriad, marginPermyriad } = PARTS[part]
    const roomMilli = (this.#capacityMilli * (watermarkPermyriad - marginPermyriad)) / 10_000
    return !polled || this.#quotas.latestMilli(1) >= BUSY * roomMilli
  }
}

/** Times of one kind over trials; what never came counts as Infinity, which JSON shows as null. */
function spread(values: readonly number[]) {
  return {
    p50: median(values),
    p99: percentile(values, 0.99),
    max: Math.max(...values),
    missed: values.filter((ms) => ms === Infinity).length,
  }
}

function report(calm: PartResult, hot: PartResult): Result {
  const times = (trials: readonly Trial[]) => ({
    spikes: trials.length,
    busyBefore: median(trials.map(({ busyShare }) => busyShare)),
    effectiveMs: spread(trials.map(({ effectiveMs }) => effectiveMs)),
    settledMs: spread(trials.map(({ settledMs }) => settledMs)),
  })
  const all = times([...calm.trials, ...hot.trials])
  const parts = { calm: times(calm.trials), hot: times(hot.trials) }
  const polled = calm.trials.map(({ pollerMs }) => pollerMs).filter((ms) => ms !== undefined)
  const poller = spread(polled)
  const text = ({ p50, p99, max, missed }: ReturnType<typeof spread>): string =>
    `p50 ${p50.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms, max ${max.toFixed(1)} ms${missed > 0 ? `, ${missed} never` : ''}`
  const lines = [
    ...Object.entries(parts).flatMap(([name, { spikes, busyBefore, effectiveMs, settledMs }]) => [
      `from ${name}: ${text(effectiveMs)} (${spikes} spikes, node ${percent(busyBefore)} busy before)`,
      `  to the final quota: ${text(settledMs)}`,
    ]),
    `a loop that polls every second: ${text(poller)} (${polled.length} spikes)`,
    `${calm.spoiled + hot.spoiled} spikes spoiled by other load and taken again`,
  ]
  const { p99: value } = all.effectiveMs
  return {
    name: 'reaction-p99-ms',
    value,
    unit: 'ms',
    floor: poller.p99,
    ratio: value / poller.p99,
    goal: GOAL_MS,
    ok: value <= GOAL_MS,
    details: { ...all, ...parts, poller, spoiled: calm.spoiled + hot.spoiled },
    lines,
  }
}
