/**
 * How long requests to an online server take beside offline work that wants every CPU, in one run, three settings in turns:
 *   burner  the server beside one process of the idle class on each CPU. This is the honest baseline: a server alone on a virtual
 *           machine is slower, since a virtual CPU without work is put to sleep by the host and must be woken for each request.
 *           Kernel: SCHED_IDLE alone does not make it yield. Outside of all groups a session is a group of full weight (sched_autogroup), and
 *           what counts is whether the *group* beside that of all pods is idle (find_matching_se), so the burners stand in one with cpu.idle.
 *   equal   the server beside hogs in a pod of its own weight, without an agent: a batch job as an ordinary pod.
 *   agent   the same hogs in a BE and an OT pod, and the bundle in `run --mode enforce`.
 * The settings of the agent are the defaults but for the watermark. 65 % of the node, the default, is a promise that the node is not
 * filled, so it takes CPU time from the hogs however well they yield; with 95 % both goals mean something: nearly all that is left is
 * theirs to use, and the quota still stands between them and the server.
 * Rounds in which somebody else used the CPUs are taken again while there is time, and said; if too few are left, so is that.
 */
import { closeSync, openSync, writeSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import type { GroupPath } from '../../src/model/index.ts'
import { Meter, percent } from './meter.ts'
import { BenchNode, offlinePod, onlinePod, type StartedPod } from './node.ts'
import { compile, type Program, requireProgram } from './program.ts'
import type { Result } from './result.ts'
import { freePort, writeServer } from './server.ts'
import { pause, until } from './stop.ts'
import { median } from './turns.ts'

const ROUNDS = 6
const LEAST_ROUNDS = 3
/** No round is begun after this. */
const BUDGET_MS = 150_000
const MEASURED_S = 4
/** Also the time in which the agent learns of the load: its peak of online use spans a second. */
const WARMUP_S = 2
const RATE = 3000
const CONNECTIONS = 64
const WATERMARK_PERMYRIAD = 9500
/** Of all CPUs, for foreign work and stolen time together. */
const MOST_FOREIGN = 0.02
const GOAL_RATIO = 1.15
const GOAL_SHARE = 0.8
const LINE_MS = 20_000
const QUOTA_MS = 15_000
const SERVER_MS = 500

const SETTINGS = ['burner', 'equal', 'agent'] as const
type Setting = (typeof SETTINGS)[number]

/** What http-client.c prints. */
interface Answers {
  readonly done: number
  readonly lost: number
  readonly seconds: number
  readonly p50Us: number
  readonly p99Us: number
  readonly p999Us: number
  readonly maxUs: number
  /** p99 of how long after its time a request was sent. */
  readonly lateP99Us: number
  readonly cpuUs: number
}

interface Taken {
  readonly answers: Answers
  /** CPU time of the hogs, of what all others left; 0 to 1. */
  readonly hogsShare: number
  readonly foreign: number
}

export async function latencyBench(): Promise<readonly Result[]> {
  requireProgram('nginx', 'nginx-light')
  requireProgram('setpriv', 'util-linux')
  const awake = keepAwake()
  const node = await BenchNode.open()
  try {
    const bed = new Bed(node, await freePort())
    return report(await takeRounds(bed), awake !== undefined)
  } finally {
    await node.close()
    if (awake !== undefined) closeSync(awake)
  }
}

/**
 * Keeps idle CPUs from being put to sleep for as long as the descriptor is open, in all three settings: where a quota leaves a CPU idle
 * for some ms, its way back from sleep would be counted as the agent's doing. Kernel: Documentation/power/pm_qos_interface.rst.
 */
function keepAwake(): number | undefined {
  try {
    const descriptor = openSync('/dev/cpu_dma_latency', 'w')
    writeSync(descriptor, new Uint8Array(4))
    return descriptor
  } catch {
    return undefined
  }
}

/** The server, the hogs and the burners, of which each setting lets some run. */
class Bed {
  readonly node: BenchNode
  readonly cpus = availableParallelism()
  readonly meter: Meter
  readonly #port: number
  readonly #client: string
  readonly #burners: readonly Program[]
  readonly #hogs: readonly Program[]
  readonly #offline: readonly StartedPod[]
  readonly #config: string

  constructor(node: BenchNode, port: number) {
    this.node = node
    this.#port = port
    this.#client = compile('http-client', node.directory)
    const load = compile('load', node.directory)
    // Asks for what the machine has: it is the allowance that limits, not the pods' own amounts.
    this.#offline = (['be', 'ot'] as const).map((kind, index) => node.startPod(offlinePod(index + 1, kind, this.cpus * 10)))
    this.#hogs = this.#offline.map(({ container }) =>
      node.start([load, 'burn', String(this.cpus)], { group: container, held: true }),
    )
    const idle = node.makeGroup('idle')
    node.sandbox.write(idle, 'idle', '1')
    this.#burners = Array.from({ length: this.cpus }, () => node.start([load, 'idle'], { group: idle, held: true }))
    const server = node.startPod(onlinePod(3, 1000))
    node.start(['nginx', '-p', node.directory, '-c', writeServer(node.directory, port)], {
      group: server.container,
      signal: 'SIGTERM',
    })
    this.#config = node.writeConfig({
      kubelet: { enabled: false },
      http: { enabled: false },
      onExit: 'release',
      suppressCpu: { watermarkPermyriad: WATERMARK_PERMYRIAD },
    })
    this.meter = new Meter(node.openKernel(), node.sandbox.root)
  }

  async take(setting: Setting): Promise<Taken> {
    if (setting === 'burner') return this.#with(this.#burners, () => this.#measure())
    if (setting === 'equal') return this.#equal()
    return this.#with(this.#hogs, async () => {
      const { program } = this.node.startAgent(this.#config)
      try {
        await until('the agent wrote a quota', () => this.node.isLimited || program.hasEnded, QUOTA_MS)
        const taken = await this.#measure()
        if (program.hasEnded || !this.node.isLimited) throw new Error('the agent was not at work all the time')
        return taken
      } finally {
        await program.end()
      }
    })
  }

  async #equal(): Promise<Taken> {
    const pod = this.node.startPod(onlinePod(4, 1000), { listed: false })
    const move = (to: readonly StartedPod[]): void => {
      for (const [index, hog] of this.#hogs.entries()) this.node.sandbox.attach((to[index] ?? pod).container, hog.pid)
    }
    move([])
    try {
      return await this.#with(this.#hogs, () => this.#measure([pod.group]))
    } finally {
      move(this.#offline)
      await this.node.sandbox.remove(pod.group)
    }
  }

  async #with<T>(programs: readonly Program[], work: () => Promise<T>): Promise<T> {
    for (const program of programs) program.go()
    try {
      return await work()
    } finally {
      for (const program of programs) program.hold()
    }
  }

  /** Runs the client once; `hogs` are the groups in which they run. */
  async #measure(hogs: readonly GroupPath[] = this.#offline.map(({ group }) => group)): Promise<Taken> {
    const words = [this.#port, RATE, MEASURED_S, WARMUP_S, CONNECTIONS, this.cpus - 1].map(String)
    const client = this.node.start([this.#client, ...words])
    await client.nextLine(LINE_MS)
    const before = this.meter.sample(hogs)
    const answers = JSON.parse(await client.nextLine(LINE_MS)) as Answers
    const stretch = this.meter.between(before, this.meter.sample(hogs))
    await client.end()
    const hogsUs = hogs.reduce((sum, group) => sum + stretch.groupUs(group), 0)
    const stolenUs = stretch.stealShare * stretch.capacityUs
    const leftUs = stretch.capacityUs - stolenUs - (stretch.busyUs - hogsUs)
    const foreignUs = Math.max(0, stretch.foreignShare * stretch.capacityUs - answers.cpuUs)
    return { answers, hogsShare: hogsUs / leftUs, foreign: (foreignUs + stolenUs) / stretch.capacityUs }
  }
}

interface Rounds {
  readonly clean: Readonly<Record<Setting, readonly Taken[]>>
  readonly spoiled: number
}

/** Rounds of all three settings until there are enough clean ones of each, or the time is up. */
async function takeRounds(bed: Bed): Promise<Rounds> {
  const clean: Record<Setting, Taken[]> = { burner: [], equal: [], agent: [] }
  let spoiled = 0
  const untilMs = performance.now() + BUDGET_MS
  await pause(SERVER_MS)
  while (performance.now() < untilMs && SETTINGS.some((setting) => clean[setting].length < ROUNDS)) {
    for (const setting of SETTINGS.filter((name) => clean[name].length < ROUNDS)) {
      const taken = await bed.take(setting)
      if (taken.foreign > MOST_FOREIGN) spoiled += 1
      else clean[setting].push(taken)
    }
  }
  const short = SETTINGS.find((setting) => clean[setting].length < LEAST_ROUNDS)
  if (short !== undefined) {
    throw new Error(
      `other load spoiled ${spoiled} rounds (more than ${percent(MOST_FOREIGN)} of the CPUs): only ${clean[short].length} of '${short}' are clean, ${LEAST_ROUNDS} are needed; try again on a quiet machine`,
    )
  }
  return { clean, spoiled }
}

/** Medians over the rounds. */
function summarise(taken: readonly Taken[]) {
  const at = (pick: (one: Taken) => number): number => median(taken.map(pick))
  return {
    rounds: taken.length,
    p50Us: at(({ answers }) => answers.p50Us),
    p99Us: at(({ answers }) => answers.p99Us),
    p999Us: at(({ answers }) => answers.p999Us),
    perSecond: at(({ answers }) => answers.done / answers.seconds),
    lost: taken.reduce((sum, { answers }) => sum + answers.lost, 0),
    sentLateP99Us: at(({ answers }) => answers.lateP99Us),
    hogsShare: at(({ hogsShare }) => hogsShare),
    foreignShare: at(({ foreign }) => foreign),
  }
}

function report({ clean, spoiled }: Rounds, awake: boolean): readonly Result[] {
  const burner = summarise(clean.burner)
  const equal = summarise(clean.equal)
  const agent = summarise(clean.agent)
  const ratio = agent.p99Us / burner.p99Us
  const timesWorse = equal.p99Us / burner.p99Us
  const line = (name: string, { p50Us, p99Us, perSecond, hogsShare, rounds, lost }: typeof burner): string =>
    `${name.padEnd(34)} p50 ${p50Us.toFixed(0).padStart(6)} µs  p99 ${p99Us.toFixed(0).padStart(6)} µs  ${perSecond.toFixed(0).padStart(6)} answers/s  hogs ${percent(hogsShare).padStart(7)} of what is left  (median of ${rounds}${lost > 0 ? `, ${lost} lost` : ''})`
  const details = {
    rateIntended: RATE,
    watermarkPermyriad: WATERMARK_PERMYRIAD,
    burner,
    equal,
    agent,
    timesWorse,
    spoiled,
    awake,
  }
  const lines = [
    line('beside an idle-class burner', burner),
    line('hogs of equal weight, no agent', equal),
    line('hogs in BE and OT pods, agent', agent),
    `without the agent p99 is ${timesWorse.toFixed(1)} times that beside the burner; ${RATE} requests/s, suppressCpu.watermarkPermyriad ${WATERMARK_PERMYRIAD}; ${spoiled} rounds spoiled by other load`,
    ...(awake ? [] : ['/dev/cpu_dma_latency could not be held: idle CPUs went to sleep, which makes the agent look worse']),
  ]
  const { hogsShare } = agent
  return [
    {
      name: 'latency-p99-ratio',
      value: ratio,
      unit: '×',
      floor: 1,
      ratio,
      goal: GOAL_RATIO,
      ok: ratio <= GOAL_RATIO,
      details,
      lines,
    },
    {
      name: 'latency-hogs-share',
      value: hogsShare * 100,
      unit: '%',
      floor: 100,
      ratio: hogsShare,
      goal: GOAL_SHARE * 100,
      ok: hogsShare >= GOAL_SHARE,
      details: { watermarkPermyriad: WATERMARK_PERMYRIAD },
    },
  ]
}
