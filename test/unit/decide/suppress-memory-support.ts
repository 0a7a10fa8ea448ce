/** A node of 64 GiB that lives through readings of memory, with the memory rule alone and its claims carried out or not. */
import { decide, EMPTY_MEMORY } from '../../../src/decide/index.ts'
import { classify } from '../../../src/decide/classify.ts'
import { type MemoryLadderMemory, suppressMemory, type SuppressedMemory } from '../../../src/decide/suppress/memory.ts'
import type { Config } from '../../../src/config/index.ts'
import type {
  Abstention,
  Decision,
  EvictionRecord,
  EvictionsView,
  GroupPath,
  KnobSetting,
  NodeSnapshot,
} from '../../../src/model/index.ts'
import { bytes, NO_EVICTIONS } from '../../../src/model/index.ts'
import { configOf } from '../../support/config.ts'
import { GIB, type PodLiteral, snapshotOf, type SnapshotLiteral } from '../../support/snapshots.ts'

export const MIB = 2 ** 20
/** The API server can be asked, and nothing was. */
export const CAN_EVICT: EvictionsView = { recent: [], counts: NO_EVICTIONS.counts }

export interface MemoryPod extends PodLiteral {
  /** Of an online pod. */
  readonly memoryRequestBytes?: number
  readonly ageMs?: number
  /** Age of the reading of its working set. */
  readonly workingSetAgeMs?: number
}

export interface Moment extends Omit<SnapshotLiteral, 'pods' | 'memory' | 'evictions' | 'pressureAgeMs'> {
  /** Of 64 GiB, or null for no reading. */
  readonly availablePermyriad?: number | null
  readonly memoryAgeMs?: number
  readonly pressurePermyriad?: number
  readonly pressureAgeMs?: number
  readonly pods?: readonly MemoryPod[]
  readonly everRead?: boolean
  readonly evictions?: EvictionsView
  readonly root?: GroupPath
}

const TOTAL = 64 * GIB

/** The snapshot that a moment describes. */
export function momentOf(moment: Moment): NodeSnapshot {
  const { availablePermyriad = 5000, memoryAgeMs = 0, pressurePermyriad, pressureAgeMs = 0, pods = [], ...rest } = moment
  const base = snapshotOf({ ...rest, memory: null, pods })
  const { nowMs } = base
  const readings = base.pods.pods.map((reading, index) => {
    const { memoryRequestBytes = 0, ageMs, workingSetAgeMs = 0 } = pods[index] ?? {}
    const spec = {
      ...reading.spec,
      requests: { ...reading.spec.requests, memoryBytes: bytes(memoryRequestBytes) },
      ...(ageMs === undefined ? {} : { createdWallMs: base.wallMs - ageMs }),
    }
    if (reading.use === undefined) return { ...reading, spec }
    const value = { ...reading.use.value, workingSetAtMs: nowMs - workingSetAgeMs }
    return { ...reading, spec, use: { ...reading.use, value } }
  })
  const value = { totalBytes: TOTAL, availableBytes: Math.floor((TOTAL * (availablePermyriad ?? 0)) / 10_000) }
  const stalls = { someUsPerSecond: (pressurePermyriad ?? 0) * 100 }
  return {
    ...base,
    layout: { ...base.layout, root: moment.root ?? '/' },
    node: {
      ...base.node,
      ...(availablePermyriad === null ? {} : { memory: { value, atMs: nowMs - memoryAgeMs, source: '/proc/meminfo' } }),
      ...(pressurePermyriad === undefined
        ? {}
        : { memoryPressure: { value: stalls, atMs: nowMs - pressureAgeMs, source: '/proc/pressure/memory' } }),
    },
    pods: { ...base.pods, pods: readings, everRead: moment.everRead ?? true },
    evictions: moment.evictions ?? CAN_EVICT,
  }
}

export interface Tick extends SuppressedMemory {
  readonly snapshot: NodeSnapshot
  readonly abstentions: readonly Abstention[]
  readonly inForce: readonly string[]
}

type Written = readonly (KnobSetting & { readonly group: GroupPath })[]

/** A node that remembers; `writes` false leaves every claim undone. */
export class MemoryNode {
  readonly #config: Config
  readonly #writes: boolean
  memory: MemoryLadderMemory | undefined
  written: Written = []

  constructor(settings: Readonly<Record<string, unknown>> = {}, writes = true) {
    this.#config = configOf({ evict: { enabled: true }, ...settings })
    this.#writes = writes
  }

  tick(moment: Moment): Tick {
    const snapshot = momentOf({ actual: this.written, ...moment })
    const pods = snapshot.pods.pods.map((reading) => classify(reading, this.#config))
    const abstentions: Abstention[] = []
    const decided = suppressMemory(snapshot, pods, { memory: this.memory, abstentions }, this.#config)
    this.memory = decided.memory
    if (this.#writes) this.written = decided.claims
    return { ...decided, snapshot, abstentions, inForce: decided.memory?.ladder.inForce ?? [] }
  }

  /** One tick a second from `fromSecond` to `toSecond`; the last one. */
  run(fromSecond: number, toSecond: number, moment: Moment): Tick {
    let last: Tick | undefined
    for (let second = fromSecond; second <= toSecond; second += 1) last = this.tick({ ...moment, nowMs: second * 1000 })
    if (last === undefined) throw new RangeError('no tick was asked for')
    return last
  }
}

/** What the whole of decide makes of a moment, beginning with nothing. */
export function decisionAt(moment: Moment, settings: Readonly<Record<string, unknown>> = {}): Decision {
  return decide(momentOf(moment), EMPTY_MEMORY, configOf(settings)).decision
}

export const OT: MemoryPod = { uid: 'ot', asks: { 'ot-cpu': 1 }, usesMilli: 1, workingSetBytes: 10 * GIB }
export const BE: MemoryPod = { uid: 'be', asks: { 'be-cpu': 1 }, usesMilli: 1, workingSetBytes: 20 * GIB }
export const LS: MemoryPod = { uid: 'ls', qos: 'Burstable', usesMilli: 1, workingSetBytes: 4 * GIB, memoryRequestBytes: 8 * GIB }

export function evictionOf(rung: 'memoryEvictOt' | 'memoryEvictBe', atMs: number, is: EvictionRecord['is']): EvictionsView {
  const wish = {
    uid: 'x',
    namespace: 'default',
    name: 'x',
    rung,
    dryRun: false,
    usesMilli: 0,
    usesBytes: 0,
    priority: 0,
    qosClass: rung === 'memoryEvictOt' ? 'OT' : 'BE',
  } as const
  return { ...CAN_EVICT, recent: [{ wish, is, atMs }] }
}
