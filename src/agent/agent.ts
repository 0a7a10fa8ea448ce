/**
 * The agent: one loop body, sense → decide → plan → actuate → record, and the rules for when it runs. It holds no timer and reads no
 * clock: the loop (loop.ts) or a simulated one calls it with the time. One tick at a time, synchronous, so it can't be re-entered.
 */
import type { AgentOptions, Writing } from './options.ts'
import { Advertiser } from './advertiser.ts'
import { Alarm } from './alarm.ts'
import { Pace } from './pace.ts'
import { PlanScope } from './plan-scope.ts'
import { decide, EMPTY_MEMORY, type Memory, unsharedGroups } from '../decide/index.ts'
import { DriftWatch, type ReleaseReport } from '../actuate/index.ts'
import type { Config } from '../config/index.ts'
import type {
  Decision,
  DriftView,
  Instant,
  Journaled,
  Mode,
  NodeSnapshot,
  Plan,
  RunState,
  StepResult,
  TickRecord,
} from '../model/index.ts'
import { KnobTable, messageOf, NO_EVICTIONS, regulatesCpu } from '../model/index.ts'
import { keepJournal } from './keep-journal.ts'
import { hasNothingOffline } from './offline-pods.ts'
import { diff } from '../plan/index.ts'
import { releaseNode } from './release-node.ts'
import { RuleRuns } from './rule-runs.ts'
import { type ReleaseAsk, StandDown } from './stand-down.ts'

/** Records of groups that are gone do no harm but take room: looking for them is a stat per group, so it is not done on every tick. */
const PRUNE_MS = 30_000

const NOTHING_JOURNALED: Journaled = new KnobTable()
const NOTHING_DESIRED = new KnobTable<never>()

export class Agent {
  readonly #rules: RuleRuns
  readonly #options: AgentOptions
  readonly #advertiser: Advertiser
  readonly #alarm = new Alarm()
  readonly #pace: Pace
  readonly #scope = new PlanScope()
  readonly #drift: DriftWatch | undefined
  readonly #standDown = new StandDown()
  #config: Config
  #memory: Memory = EMPTY_MEMORY
  #lastPruneMs = -Infinity
  #allowanceMilli = Infinity
  /** What the last decision took online services and the system to use. */
  #onlineMilli = Infinity
  /** What became of slow writes, until a tick has told of it. */
  #ended: readonly StepResult[] = []
  /** As the last calm tick saw it. */
  #nothingOffline = false
  #failures = 0
  #released = false
  #wanted = true

  constructor(options: AgentOptions) {
    this.#options = options
    this.#advertiser = new Advertiser(options.publisher)
    this.#config = options.config
    this.#pace = new Pace(options.config)
    this.#rules = new RuleRuns(options.stopwatch)
    const { kernel, mode, writing } = options
    if (mode === 'enforce' && writing !== undefined) this.#drift = new DriftWatch({ ...writing, kernel })
    this.reconfigure(options.config)
  }

  /** Puts another configuration in force from the next tick on. */
  reconfigure(config: Config): void {
    this.#config = config
    const { sensor } = this.#options
    // Costs a few reads for each online pod, so nobody pays who did not ask for the rule.
    sensor.pods.readsBandwidth = config.burst.enabled
    const { enabled, devices, onlineDevices, offlineDevices } = config.suppressIo
    sensor.deviceNames = enabled ? [...new Set([...devices, ...onlineDevices, ...offlineDevices])] : []
    sensor.pressureMs = config.pressure.cutMs
    this.#alarm.configure(config)
    this.#pace.configure(config)
  }

  /** How the sources that the loop reads go, and the rules. */
  get runs(): Readonly<Record<'source' | 'rule', Iterable<RunState>>> {
    return { source: this.#options.sensor.runs.runs, rule: this.#rules.runs }
  }

  /** Whether the node is in the hot pace at `nowMs`. */
  isHot(nowMs: number): boolean {
    return this.#pace.isHot(nowMs)
  }

  /** Asks for a tick on the next beat: a pod came, or a trigger fired. */
  wantTick(): void {
    this.#wanted = true
  }

  /** Asks an agent that may write to release the node on the next beat, and to write nothing more; see stand-down.ts. */
  askRelease(ask: ReleaseAsk): void {
    this.#standDown.ask(ask)
    this.wantTick()
  }

  /** As configured, until it was asked to release the node. */
  get #mode(): Mode {
    return this.#standDown.sinceWallMs === undefined ? this.#options.mode : 'observe'
  }

  /**
   * The guard beat: reads a few counters, and ticks when one is due, was asked for, or the node leaves its calm. `lateMs` is how long
   * after its due time the beat came. Returns the pause until the next one, in ms.
   */
  beat(at: Instant, lateMs: number): number {
    this.#answerAsks(at)
    const isUrgent = this.#guard(at)
    this.#options.sink.guardBeat(lateMs, lateMs > this.#config.loop.guardMs)
    if (isUrgent || this.#wanted || this.#pace.isDue(at.nowMs)) {
      this.#wanted = false
      this.tick(at, lateMs)
    }
    if (this.#standDown.isAsked) return this.#config.loop.guardMs
    return this.#pace.beatMs(at.nowMs, this.#nothingOffline || this.#alarm.rests)
  }

  #answerAsks(at: Instant): void {
    const { writing } = this.#options
    if (!this.#standDown.isAsked || writing === undefined) return
    this.#standDown.beat(at, { actuator: writing.actuator, release: () => this.#releaseBy(writing, at.nowMs) })
    // What others see is the last tick.
    this.#wanted = true
  }

  /**
   * Whether a tick is called for: the node leaves its calm, or online work rises above what the last decision knew of. Where no pod is below
   * the best-effort root there is nothing to suppress, and the beat reads nothing.
   */
  #guard(at: Instant): boolean {
    if (this.#nothingOffline) return false
    const { sensor, sink } = this.#options
    const heard = this.#alarm.listen(sensor, at.nowMs, {
      allowanceMilli: this.#allowanceMilli,
      onlineMilli: this.#onlineMilli,
      failed: (thrown) => sink.tickFailed(thrown, at),
    })
    if (heard === 'news') this.#pace.hasNews()
    if (heard === 'quiet' || (heard !== 'rises' && this.isHot(at.nowMs))) return false
    this.#pace.alarmed(at.nowMs)
    return true
  }

  /** The loop body. Never throws: a failing tick leaves the last values in force and is counted. */
  tick(at: Instant, lateMs: number): TickRecord | undefined {
    this.#pace.begin(at.nowMs)
    try {
      const record = this.#body(at, lateMs)
      this.#ended = []
      this.#failures = 0
      this.#released = false
      this.#options.sink.tick(record)
      return record
    } catch (thrown) {
      this.#failures += 1
      // Whose turn it was: a source's, a rule's, or neither's.
      if (!this.#options.sensor.runs.threw(messageOf(thrown), at.nowMs)) this.#rules.threw(messageOf(thrown), at.nowMs)
      this.#options.sink.tickFailed(thrown, at)
      this.#failSafe(at)
      return undefined
    }
  }

  #body(at: Instant, lateMs: number): TickRecord {
    const { sensor, writing, evictor, tape, stopwatch, cpuMs = stopwatch } = this.#options
    const started = stopwatch()
    const [mode, releasedWallMs] = [this.#mode, this.#standDown.sinceWallMs]
    const calm = this.#pace.isCalm(at.nowMs, sensor.podsChanged)
    const startedCpuMs = !calm && this.#pace.takesTime() ? cpuMs() : undefined
    const journaled = writing?.journal.entries ?? NOTHING_JOURNALED
    this.#takeEnded(at.nowMs)
    // What an agent before this one has written is in force: the first decision has to know it.
    if (this.#memory === EMPTY_MEMORY) sensor.refreshKnobs(NOTHING_DESIRED, journaled, at.nowMs, true)
    const snapshot = sensor.sense(at, calm ? 'calm' : 'hot', {
      inFlightUnits: this.#advertiser.inFlightUnits,
      evictions: evictor?.view() ?? NO_EVICTIONS,
    })
    tape?.sensed(snapshot, this.#memory, this.#config)
    const { decision, memory } = this.#rules.run(calm, (watch) => decide(snapshot, this.#memory, this.#config, watch))
    if (calm) this.#rules.judge(decision, this.#config, at.nowMs)
    if (calm) sensor.unsharedGroups = unsharedGroups(decision)
    sensor.refreshKnobs(decision.desired, journaled, at.nowMs, calm)
    const drift = mode === 'enforce' ? this.#noticeDrift(snapshot) : undefined
    // News may be that a knob was conceded, or taken up again.
    const everything = (drift?.news.length ?? 0) > 0
    const still = this.#scope.still(decision, { touched: sensor.knobs.takeTouched(), everything, nowMs: at.nowMs })
    const plan = diff({
      desired: decision.desired,
      actual: sensor.knobs.table,
      journaled,
      capabilities: snapshot.capabilities,
      online: snapshot.topology.online,
      settled: decision.complete,
      regulated: regulatesCpu(decision) ? [snapshot.bestEffort.group] : [],
      unlisted: snapshot.unlistedGroups,
      isConceded: (group, kind) => this.#drift?.isConceded(group, kind) === true,
      isLeft: (group, kind) => this.#drift?.isLeft(group, kind) === true,
      still,
    })
    this.#scope.planned(plan)
    const results = mode === 'enforce' && writing !== undefined ? this.#actuate(writing, plan, at.nowMs) : []
    if (mode === 'enforce') evictor?.evict(decision.evictions, at.nowMs)
    if (calm) {
      this.#settle(snapshot, decision)
      this.#nothingOffline = hasNothingOffline(snapshot)
    }
    if (mode === 'enforce') this.#advertiser.publish(decision, this.#config.capacity.enabled)
    this.#memory = memory
    this.#allowanceMilli = decision.suppression?.allowanceMilli ?? Infinity
    this.#onlineMilli = decision.suppression?.inputs.onlineMilli ?? Infinity
    this.#staysHot(decision, at.nowMs)
    const told = {
      ...(drift === undefined ? {} : { drift }),
      ...(writing === undefined ? {} : { journalHealth: writing.journal.health }),
      ...(releasedWallMs === undefined ? {} : { releasedWallMs }),
    }
    const tookMs = stopwatch() - started
    if (startedCpuMs !== undefined) this.#pace.hotTook(cpuMs() - startedCpuMs)
    return { mode, snapshot, decision, plan, results, journaled, ...told, tookMs, lateMs }
  }

  /** Before anything is planned: a knob that is conceded on this tick is not written on it. */
  #noticeDrift({ nowMs, topology, bestEffort, actual }: NodeSnapshot): DriftView | undefined {
    const changes = this.#options.sensor.knobs.takeChanges()
    const context = { nowMs, online: topology.online, bestEffort: bestEffort.group, actual, settings: this.#config.drift }
    return this.#drift?.notice(changes, context)
  }

  /** While a rung is in force the next one, or the way back, waits for times that are shorter than a calm pause. */
  #staysHot({ suppression, memory }: Decision, nowMs: number): void {
    const squeezes = memory !== undefined && memory.ladder.inForce.length > 0
    if (suppression?.hot !== true && !squeezes) return
    this.#pace.stayHot(nowMs)
  }

  /** Before anything is planned: what was written beside the loop is in the files now. */
  #takeEnded(nowMs: number): void {
    const ended = this.#options.writing?.actuator.finished(nowMs) ?? []
    if (ended.length === 0) return
    this.#ended = [...this.#ended, ...ended]
    this.#options.sensor.knobs.observe(ended, nowMs)
    this.#drift?.wrote(ended, nowMs)
  }

  #actuate(writing: Writing, plan: Plan, nowMs: number): StepResult[] {
    const { sensor } = this.#options
    const results = writing.actuator.apply(plan, { limited: true, nowMs })
    sensor.knobs.observe(results, nowMs)
    this.#drift?.wrote(results, nowMs)
    // A pod's set could not be narrowed: it has a container that was not there when they were listed.
    for (const { step, outcome } of results) if (outcome.is === 'busy' && step.kind === 'cpuset') sensor.pods.relist(step.group)
    if (sensor.pods.nested.heard(results, nowMs)) this.wantTick()
    return this.#ended.length === 0 ? results : [...this.#ended, ...results]
  }

  /** Tells what listed pods account for, and keeps the restore journal within its bounds. */
  #settle({ pods, nowMs }: NodeSnapshot, decision: Decision): void {
    this.#advertiser.settle(pods, this.#config.resources.fullNames)
    const { writing } = this.#options
    if (writing === undefined) return
    writing.journal.catchUp(nowMs)
    if (this.#mode !== 'enforce' || nowMs - this.#lastPruneMs < PRUNE_MS) return
    this.#lastPruneMs = nowMs
    keepJournal(writing.journal, decision, this.#options.sensor.knobs.table)
  }

  /** After failSafe.afterTicks failures in a row the node is put back, once: a bug in a rule must not keep it suppressed. */
  #failSafe(at: Instant): void {
    if (this.#failures < this.#config.failSafe.afterTicks || this.#released) return
    this.#released = true
    try {
      this.release(at.nowMs)
    } catch (thrown) {
      this.#options.sink.tickFailed(new Error(`release after failing ticks: ${messageOf(thrown)}`), at)
    }
  }

  /** Puts back everything that still holds what the agent wrote; undefined when it may not write. */
  release(nowMs: number): ReleaseReport | undefined {
    const { writing } = this.#options
    return writing === undefined ? undefined : this.#releaseBy(writing, nowMs)
  }

  #releaseBy(writing: Writing, nowMs: number): ReleaseReport {
    // Before the limits go: a pod that came now would run without any.
    this.#advertiser.withdraw()
    return releaseNode(this.#options.kernel, writing, nowMs)
  }
}
