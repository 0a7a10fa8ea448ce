/**
 * Tells the cluster how the node fares: a condition, annotations, at wish a label and a taint, and events. A tick only leaves its newest
 * values here; a timer of its own compares them with what the API server shows and writes the difference, one call at a time, at most one
 * round per cluster.writeMs. So a server that is slow, away or overloaded costs the node nothing and meets no queue when it is back.
 * Source: Kubernetes API conventions.
 */
import {
  driftEventText,
  type NodeSignals,
  type NodeSnapshot,
  type PodFinding,
  type PodProblem,
  type RunState,
  type TickRecord,
  type Trouble,
} from '../model/index.ts'
import type { ApiCaller } from './api.ts'
import { EventWriter } from './events.ts'
import { aboutNode, type ClusterEvent } from './events-object.ts'
import { type ConditionWish, degradedCondition, signalConditions } from './node-conditions.ts'
import { type NodeWish, SILENT_WISH, type Switches, WITHDRAWN_WISH, wishOf } from './node-patch.ts'
import type { OperationName } from './operations.ts'
import { CountingCaller, type ReporterClock, type WriteCount } from './reporter-calls.ts'
import { NodeWriter } from './reporter-node.ts'
import { ReporterParts } from './reporter-parts.ts'

/** How often it is looked whether there is something to write; looking costs no call. */
const PUMP_MS = 1000
/** How long what was said last is left to stand, by this agent or the one before, when no readings come any more. */
const SILENT_MS = 60_000
/** At the most, since the container is killed soon after. */
const WITHDRAW_MS = 2000

export interface ClusterReporterOptions {
  readonly api: ApiCaller
  /** Name of the node. */
  readonly node: string
  /** Of annotations, label and taint: resources.domain. */
  readonly domain: string
  readonly switches: Switches & { readonly events: boolean }
  /** Shortest time between two rounds of writes. */
  readonly writeMs: number
  /** How long an agent that has started can't tell that a node is not hot: nodeSignals.enterMs. */
  readonly settleMs: number
  /** Shortest time between two writes of numbers alone, in milliseconds: headroom and score. */
  readonly annotateMs: number
  /** How long what was said last stands when no readings come any more; must be longer than the pauses between ticks. @default 60 s */
  readonly silentMs?: number
  readonly textOf: (problem: PodProblem) => { readonly reason: string; readonly message: string }
  readonly clock: ReporterClock
  /** From 0 to 1, 1 excluded. @default Math.random */
  readonly random?: () => number
}

export interface ReporterStats {
  readonly writes: Readonly<Record<OperationName, Readonly<WriteCount>>>
  readonly droppedEvents: number
  /** What failed last, while something is still to be tried again. */
  readonly lastError?: string
  readonly lastOkWallMs?: number
}

export class ClusterReporter {
  readonly #options: ClusterReporterOptions
  readonly #calls: CountingCaller
  readonly #node: NodeWriter
  readonly #events: EventWriter
  readonly #parts: ReporterParts
  #signals: NodeSignals | undefined
  #topology: NodeSnapshot['topology'] | undefined
  #memory: NodeSnapshot['node']['memory']
  #findings: readonly PodFinding[] = []
  #troubles: readonly Trouble[] | undefined
  #findingsMs = -Infinity
  #tickMs = -Infinity
  /** When the last tick with readings of the node came. */
  #freshMs = -Infinity
  #saidHot: boolean | undefined
  #startedMs: number | undefined
  #nextRoundMs: number | undefined
  #round: Promise<void> | undefined
  #withdrawn = false
  readonly #silentMs: number
  #timer: NodeJS.Timeout | undefined

  constructor(options: ClusterReporterOptions) {
    const { api, node, domain, switches, clock, annotateMs, random = Math.random, silentMs = SILENT_MS } = options
    this.#options = options
    this.#silentMs = silentMs
    this.#calls = new CountingCaller(api, clock.wallMs)
    this.#node = new NodeWriter({ api: this.#calls, node, domain, switches, annotateMs, clock, random })
    this.#events = new EventWriter({ api: this.#calls, node, clock })
    const writes = {
      node_look: () => this.#node.look(),
      node_conditions: () => this.#node.writeConditions(this.#conditions()),
      node_metadata: () => this.#say((wish) => this.#node.writeMetadata(wish)),
      node_taint: () => this.#say((wish) => this.#node.writeTaint(wish)),
      events: () => this.#writeEvents(),
    }
    this.#parts = new ReporterParts(writes, { calls: this.#calls, clock, random })
  }

  /** How each part of what is told goes. */
  get runs(): readonly RunState[] {
    return this.#parts.runs
  }

  /** Takes what keeps the agent from its work now; undefined while it is too early to tell, and what was said before stands. */
  trouble(troubles: readonly Trouble[] | undefined): void {
    this.#troubles = troubles
  }

  /** Takes note of a finished tick. */
  tick({ decision, snapshot, drift }: TickRecord): void {
    for (const news of drift?.news ?? []) {
      const text = driftEventText(news)
      if (text !== undefined) this.event({ about: aboutNode(this.#options.node), type: 'Warning', ...text })
    }
    this.#tickMs = this.#options.clock.monotonicMs()
    // The rule says once more what it said last while it has no readings.
    const abstains = decision.abstentions.some(({ rule }) => rule === 'nodeSignals')
    if (decision.signals !== undefined && !abstains) this.#freshMs = this.#tickMs
    this.#signals = decision.signals
    this.#findings = decision.findings
    this.#topology = snapshot.topology
    this.#memory = snapshot.node.memory ?? this.#memory
  }

  /** Takes note of something that has happened. */
  event(event: ClusterEvent): void {
    if (this.#options.switches.events && !this.#calls.closed) this.#events.occurred(event)
  }

  /** Begins to write, by a timer that keeps no process alive. */
  start(): void {
    this.#timer ??= setInterval(() => void this.pump(), PUMP_MS).unref()
  }

  /** Writes what is due; resolves when the round that is running has ended. Never rejects. */
  pump(): Promise<void> {
    if (this.#round !== undefined) return this.#round
    const nowMs = this.#options.clock.monotonicMs()
    this.#startedMs ??= nowMs
    // Spread: the agents of a cluster are started together.
    this.#nextRoundMs ??= nowMs + (this.#options.random ?? Math.random)() * this.#options.writeMs
    if (this.#calls.closed || this.#withdrawn || nowMs < this.#nextRoundMs || !this.#parts.serverReady(nowMs))
      return Promise.resolve()
    this.#round = this.#runRound(nowMs).finally(() => (this.#round = undefined))
    return this.#round
  }

  async #runRound(nowMs: number): Promise<void> {
    const begun = this.#calls.begun
    for (const part of this.#parts.all) {
      if (this.#calls.closed || this.#withdrawn) return
      if (part.gate.ready(nowMs) && !(await this.#parts.try(part))) break
    }
    // A round that wrote nothing does not hold up the next change.
    if (this.#calls.begun > begun) this.#nextRoundMs = nowMs + this.#options.writeMs
  }

  /** The newest state, as late as possible. Undefined while it is too early to tell. */
  #wish(): NodeWish | undefined {
    if (this.#withdrawn) return WITHDRAWN_WISH
    const wish = this.#wishOfSignals()
    if (wish === undefined || !this.#ticks()) return wish
    return { ...wish, short: this.#findings.some(({ code }) => code === 'noExclusiveCpus') }
  }

  /** Whether the loop lives: what a dead one has left here is not told any more. */
  #ticks(): boolean {
    return this.#options.clock.monotonicMs() - this.#tickMs < this.#silentMs
  }

  #wishOfSignals(): NodeWish | undefined {
    const nowMs = this.#options.clock.monotonicMs()
    const startedMs = this.#startedMs ?? nowMs
    if (nowMs - Math.max(this.#freshMs, startedMs) >= this.#silentMs) return SILENT_WISH
    // The rule starts with a node that is not hot: said too early, a restart would call every hot node cool for a while.
    const early = nowMs - startedMs < this.#options.settleMs && this.#signals?.hot !== true
    if (this.#signals === undefined || early) return undefined
    return wishOf(this.#signals, {
      milliCpu: (this.#topology?.online.size ?? 0) * 1000,
      bytes: this.#memory?.value.totalBytes ?? 0,
    })
  }

  /** What is not among them stays as it is. */
  #conditions(): readonly ConditionWish[] {
    const wish = this.#wish()
    const troubles = this.#withdrawn ? 'stopped' : this.#troubles
    return [
      ...(wish === undefined ? [] : signalConditions(wish)),
      ...(troubles === undefined ? [] : [degradedCondition(troubles)]),
    ]
  }

  async #say(write: (wish: NodeWish) => Promise<void>): Promise<void> {
    const wish = this.#wish()
    if (wish !== undefined) await write(wish)
  }

  async #writeEvents(): Promise<string | undefined> {
    if (!this.#options.switches.events) return undefined
    const nowMs = this.#options.clock.monotonicMs()
    this.#noteTransition()
    if (nowMs - this.#findingsMs >= this.#options.writeMs) {
      this.#findingsMs = nowMs
      if (this.#ticks()) this.#noteFindings()
    }
    return this.#events.flush()
  }

  #noteTransition(): void {
    const wish = this.#wish()
    if (wish?.hot === undefined) return
    // What the agent before this one has said was told when it came about.
    this.#saidHot ??= this.#node.wasHot ?? false
    if (wish.hot === this.#saidHot) return
    this.#saidHot = wish.hot
    const reason = wish.hot ? 'ColocationHot' : 'ColocationCool'
    this.#events.occurred({ about: aboutNode(this.#options.node), type: 'Normal', reason, message: wish.message })
  }

  #noteFindings(): void {
    for (const finding of this.#findings) {
      const { namespace, name, uid } = finding
      const { reason, message } = this.#options.textOf(finding)
      this.#events.stands({ about: { kind: 'Pod', namespace, name, uid }, type: 'Warning', reason, message })
    }
  }

  /**
   * Takes back what the agent has said of the node: for an exit that releases it. Tries each part once and gives up after `withinMs`, which
   * WITHDRAW_MS bounds, whether or not the round that was running has ended by then; nothing is written any more after that. Resolves with
   * whether all of it was taken back, or nothing was there to be.
   */
  async withdraw(withinMs: number = WITHDRAW_MS): Promise<boolean> {
    this.#withdrawn = true
    let timer: NodeJS.Timeout | undefined
    const patience = new Promise<false>((resolve) => {
      timer = setTimeout(() => resolve(false), Math.min(withinMs, WITHDRAW_MS))
    })
    const { switches } = this.#options
    const anything = switches.condition || switches.annotations || switches.hotLabel || switches.hotTaint
    const isDone = await Promise.race([patience, anything ? this.#withdrawNode() : Promise.resolve(true)])
    clearTimeout(timer)
    this.close()
    return isDone
  }

  async #withdrawNode(): Promise<boolean> {
    await this.#round
    const parts = this.#parts.all.slice(0, -1)
    for (const part of parts) if (!this.#calls.closed) await this.#parts.try(part)
    return !parts.some(({ gate }) => gate.failing)
  }

  /** Writes nothing from now on; waits for nothing. */
  close(): void {
    this.#calls.closed = true
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  stats(): ReporterStats {
    const { counts, lastOkWallMs } = this.#calls
    const lastError = this.#parts.failing ? this.#calls.lastError : undefined
    return {
      writes: counts,
      droppedEvents: this.#events.dropped,
      ...(lastError === undefined ? {} : { lastError }),
      ...(lastOkWallMs === undefined ? {} : { lastOkWallMs }),
    }
  }
}
