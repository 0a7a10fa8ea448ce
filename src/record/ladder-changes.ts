/**
 * What is new about the ladders in a tick: rungs climbed and left, rungs that can't be climbed, the pressure guards, swinging, sales, IO
 * devices and evictions. Everything here may change on every tick, so each goes through a topic that bounds how often it is told.
 */
import type {
  CpuPressureState,
  CpuRung,
  Decision,
  EvictionOutcome,
  EvictionRecord,
  EvictionsView,
  EvictionWish,
  IoState,
  LadderState,
  MemoryRung,
  MemoryState,
  Rung,
  RuleName,
  SteadinessState,
  SuppressionState,
  TickRecord,
} from '../model/index.ts'
import { onlyObserves } from '../model/index.ts'
import { salesStop } from './sales.ts'
import { Series, Topic } from './topic.ts'

type LadderNews =
  | { readonly kind: 'rung'; readonly ladder: 'cpu'; readonly state: SuppressionState; readonly was: readonly CpuRung[] }
  | { readonly kind: 'rung'; readonly ladder: 'memory'; readonly state: MemoryState; readonly was: readonly MemoryRung[] }
  /** Undefined when the rung is no longer wanted, or can be climbed now. */
  | { readonly kind: 'blockedRung'; readonly ladder: 'cpu' | 'memory'; readonly waiting: LadderState<Rung>['waiting'] }
  | { readonly kind: 'pressure'; readonly event: 'cut' | 'futile' | 'over'; readonly state: CpuPressureState | undefined }
  | { readonly kind: 'swing'; readonly state: SteadinessState }
  | { readonly kind: 'sales'; readonly stop: ReturnType<typeof salesStop> }
  | { readonly kind: 'io'; readonly event: 'cut' | 'futile' | 'over' | 'devices'; readonly state: IoState | undefined }

/** `passedOver` is how many changes of the same topic were not told since the entry before; `observed` the rule behind it, if that only observes. */
export type LadderChange =
  | (LadderNews & { readonly passedOver: number; readonly observed?: RuleName })
  /** Undefined `record`: a pod is chosen, and nobody was asked yet. */
  | { readonly kind: 'eviction'; readonly wish: EvictionWish; readonly record?: EvictionRecord }

/** Takes changes; an array of them does. */
interface LadderSink {
  push(change: LadderChange): unknown
}

/** Entries of one topic in any minute, at most. */
export const TOPIC_PER_MINUTE = 12
/** Of all evictions together. */
export const EVICTIONS_PER_MINUTE = 30
/** Topics that the tracker has, beside evictions. */
export const LADDER_TOPICS = 9
/** A guard that cuts many times in a row is told once, until it has been quiet for so long. */
const SERIES_QUIET_MS = 10_000

type Blocked = NonNullable<LadderState<Rung>['waiting']>

interface LadderTopics {
  readonly rungs: Topic
  readonly blocked: Topic
  /** A threshold that is passed again and again keeps one rung out of reach, not a new one each time. */
  readonly blocks: Series<string>
  /** The rung of the series, and why. */
  waiting?: Blocked
}

export class LadderTracker {
  readonly #cpu = ladderTopics()
  readonly #memory = ladderTopics()
  readonly #pressure = new Topic('', TOPIC_PER_MINUTE)
  readonly #swing = new Topic('', TOPIC_PER_MINUTE)
  readonly #sales = new Topic('', TOPIC_PER_MINUTE)
  readonly #io = new Topic('', TOPIC_PER_MINUTE)
  readonly #devices = new Topic('', TOPIC_PER_MINUTE)
  readonly #cuts = new Series<'cut' | 'futile'>(SERIES_QUIET_MS)
  readonly #ioCuts = new Series<'cut' | 'futile'>(SERIES_QUIET_MS)
  readonly #evictions = new EvictionTold()
  #cpuRungs: readonly CpuRung[] = []
  #memoryRungs: readonly MemoryRung[] = []

  /** What is new since the tick before, added to `changes`. */
  next({ snapshot, decision }: TickRecord, changes: LadderSink): void {
    const { nowMs } = snapshot
    this.#compareCpu(decision, nowMs, sinkFor('suppressCpu', decision, changes))
    this.#compareMemory(decision, nowMs, sinkFor('suppressMemory', decision, changes))
    const stop = salesStop(decision)
    const passedOver = this.#sales.news(stop === undefined ? '' : 'stopped', nowMs)
    if (passedOver !== undefined) changes.push({ kind: 'sales', stop, passedOver })
    this.#compareIo(decision.io, nowMs, sinkFor('suppressIo', decision, changes))
    this.#evictions.next(snapshot.evictions, decision.evictions, { nowMs, changes })
  }

  #compareCpu({ suppression: state }: Decision, nowMs: number, changes: LadderSink): void {
    if (state === undefined) return
    const { inForce, waiting } = state.ladder
    const climbed = this.#cpu.rungs.news(inForce.join(), nowMs)
    if (climbed !== undefined) {
      changes.push({ kind: 'rung', ladder: 'cpu', state, was: this.#cpuRungs, passedOver: climbed })
      this.#cpuRungs = inForce
    }
    compareBlocked(this.#cpu, { ladder: 'cpu', waiting }, { nowMs, changes })
    const event = this.#cuts.next(told(state.pressure?.is), nowMs)
    const passedOver = this.#pressure.news(event ?? '', nowMs)
    if (passedOver !== undefined) changes.push({ kind: 'pressure', event: event ?? 'over', state: state.pressure, passedOver })
    const { swings, dwellMs } = state.steadiness
    const swung = this.#swing.news(swings ? String(dwellMs) : '', nowMs)
    if (swung !== undefined) changes.push({ kind: 'swing', state: state.steadiness, passedOver: swung })
  }

  #compareMemory({ memory: state }: Decision, nowMs: number, changes: LadderSink): void {
    if (state === undefined) return
    const { inForce, waiting } = state.ladder
    const passedOver = this.#memory.rungs.news(inForce.join(), nowMs)
    if (passedOver !== undefined) {
      changes.push({ kind: 'rung', ladder: 'memory', state, was: this.#memoryRungs, passedOver })
      this.#memoryRungs = inForce
    }
    compareBlocked(this.#memory, { ladder: 'memory', waiting }, { nowMs, changes })
  }

  #compareIo(state: IoState | undefined, nowMs: number, changes: LadderSink): void {
    const event = this.#ioCuts.next(told(state?.is), nowMs)
    const passedOver = this.#io.news(event ?? '', nowMs)
    if (passedOver !== undefined) changes.push({ kind: 'io', event: event ?? 'over', state, passedOver })
    const missing = this.#devices.news(state?.missingDevices.join() ?? '', nowMs)
    if (missing !== undefined) changes.push({ kind: 'io', event: 'devices', state, passedOver: missing })
  }
}

/** Changes of a rule that only observes are told as such. */
function sinkFor(rule: RuleName, decision: Decision, changes: LadderSink): LadderSink {
  if (!onlyObserves(decision, rule)) return changes
  return { push: (change) => changes.push(change.kind === 'eviction' ? change : { ...change, observed: rule }) }
}

function ladderTopics(): LadderTopics {
  const [rungs, blocked] = [new Topic('', TOPIC_PER_MINUTE), new Topic('', TOPIC_PER_MINUTE)]
  return { rungs, blocked, blocks: new Series(SERIES_QUIET_MS) }
}

/** A guard that holds, or can't tell, has not become quiet. */
function told(is: CpuPressureState['is'] | IoState['is'] | undefined): 'cut' | 'futile' | 'goesOn' | undefined {
  if (is === 'cut' || is === 'futile') return is
  return is === 'hold' || is === 'unknown' ? 'goesOn' : undefined
}

interface Telling {
  readonly nowMs: number
  readonly changes: LadderSink
}

function compareBlocked(
  topics: LadderTopics,
  { ladder, waiting }: { readonly ladder: 'cpu' | 'memory'; readonly waiting: LadderState<Rung>['waiting'] },
  { nowMs, changes }: Telling,
): void {
  const blocked = waiting?.for === 'impossible' ? waiting : undefined
  if (blocked !== undefined) topics.waiting = blocked
  const series = topics.blocks.next(blocked === undefined ? undefined : `${blocked.rung} ${blocked.detail ?? ''}`, nowMs)
  const passedOver = topics.blocked.news(series ?? '', nowMs)
  if (passedOver === undefined) return
  changes.push({ kind: 'blockedRung', ladder, waiting: series === undefined ? undefined : topics.waiting, passedOver })
}

const MINUTE_MS = 60_000

/** Which pods' evictions were told, and what had become of them. What there is no room for now is told later, as it is then. */
class EvictionTold {
  readonly #told = new Map<string, EvictionOutcome | 'wished'>()
  readonly #toldAtMs: number[] = []
  #view: EvictionsView | undefined
  #isBehind = false

  next(view: EvictionsView, wishes: readonly EvictionWish[], telling: Telling): void {
    // Nothing is gone through while nothing is new: most ticks of most nodes.
    if (view === this.#view && wishes.length === 0 && !this.#isBehind) return
    this.#view = view
    this.#isBehind = false
    this.#forget(view, wishes)
    for (const wish of wishes) {
      if (wish.dryRun || this.#told.has(wish.uid)) continue
      if (this.#tell(wish.uid, 'wished', telling.nowMs)) telling.changes.push({ kind: 'eviction', wish })
    }
    for (const record of view.recent.toReversed()) {
      const { wish, is } = record
      if (is === 'asked' || this.#told.get(wish.uid) === is) continue
      if (this.#tell(wish.uid, is, telling.nowMs)) telling.changes.push({ kind: 'eviction', wish, record })
    }
  }

  #tell(uid: string, is: EvictionOutcome | 'wished', nowMs: number): boolean {
    while (this.#toldAtMs[0] !== undefined && nowMs - this.#toldAtMs[0] >= MINUTE_MS) this.#toldAtMs.shift()
    if (this.#toldAtMs.length >= EVICTIONS_PER_MINUTE) {
      this.#isBehind = true
      return false
    }
    this.#toldAtMs.push(nowMs)
    this.#told.set(uid, is)
    return true
  }

  /** A pod that is neither wished away nor among the records of evictions has no more to tell. */
  #forget({ recent }: EvictionsView, wishes: readonly EvictionWish[]): void {
    if (this.#told.size === 0) return
    const known = new Set([...wishes.map(({ uid }) => uid), ...recent.map(({ wish }) => wish.uid)])
    for (const uid of this.#told.keys()) if (!known.has(uid)) this.#told.delete(uid)
  }
}
