/** A ClusterReporter with hands on its clock, and finished ticks as far as it reads them. */
import { ClusterReporter, type ClusterReporterOptions } from '../../../src/kube/reporter.ts'
import type { ApiCaller, ApiRequest } from '../../../src/kube/api.ts'
import type { OperationName } from '../../../src/kube/operations.ts'
import type { NodeSignals, PodFinding, TickRecord } from '../../../src/model/index.ts'

export const DOMAIN = 'kube-agent.io'
export const WRITE_MS = 10_000
const GIB = 2 ** 30

export class HandClock {
  nowMs = 1_000_000
  readonly #wallStartMs = Date.parse('2026-01-01T00:00:00Z')
  readonly monotonicMs = (): number => this.nowMs
  readonly wallMs = (): number => this.#wallStartMs + this.nowMs - 1_000_000
}

export const signalsOf = (changes: Partial<NodeSignals> = {}): NodeSignals => ({
  hot: false,
  reason: 'WithinWatermarks',
  cpuUsedPermyriad: 2000,
  memoryUsedPermyriad: 3000,
  headroomMilli: 4000,
  headroomBytes: 32 * GIB,
  score: 60,
  ...changes,
})

export const HOT = signalsOf({ hot: true, reason: 'CpuAboveWatermark', headroomMilli: 0, score: 0 })

/** A node of 8 CPUs and 64 GiB. */
export function recordOf(signals: NodeSignals | undefined, findings: readonly PodFinding[] = []): TickRecord {
  const decision = { findings, abstentions: [], ...(signals === undefined ? {} : { signals }) }
  const snapshot = { topology: { online: { size: 8 } }, node: { memory: { value: { totalBytes: 64 * GIB } } } }
  return { decision, snapshot } as unknown as TickRecord
}

/** A tick without readings of the node: its rule says once more what it said last. */
export function silentRecordOf(signals: NodeSignals | undefined): TickRecord {
  const record = recordOf(signals)
  const abstentions = [{ code: 'silent', rule: 'nodeSignals' }] as const
  return { ...record, decision: { ...record.decision, abstentions } }
}

/** Knows the last tick that it was told of. */
class RememberingReporter extends ClusterReporter {
  last: TickRecord | undefined

  override tick(record: TickRecord): void {
    this.last = record
    super.tick(record)
  }
}

export interface Rig {
  readonly reporter: ClusterReporter
  readonly clock: HandClock
  /** Lets time pass in steps of a round, with a tick like the last one and a pump after each. */
  readonly pass: (ms: number) => Promise<void>
  /** The same without a tick, as when the loop is dead. */
  readonly passDead: (ms: number) => Promise<void>
}

const ALL_ON = { events: true, condition: true, annotations: true, hotLabel: true, hotTaint: true }

export interface RigOptions {
  readonly switches?: Partial<ClusterReporterOptions['switches']>
  readonly random?: () => number
  readonly clock?: HandClock
  readonly settleMs?: number
  readonly annotateMs?: number
  readonly textOf?: ClusterReporterOptions['textOf']
}

export function rigOf(api: ApiCaller, options: RigOptions = {}): Rig {
  const { clock = new HandClock(), random = () => 0 } = options
  const reporter = new RememberingReporter({
    api,
    node: 'n1',
    domain: DOMAIN,
    switches: { ...ALL_ON, ...options.switches },
    settleMs: options.settleMs ?? 0,
    writeMs: WRITE_MS,
    annotateMs: options.annotateMs ?? WRITE_MS,
    textOf: options.textOf ?? ((problem) => ({ reason: 'Odd', message: `the pod is odd: ${problem.code}` })),
    clock,
    random,
  })
  const step = async (ms: number, ticks: boolean): Promise<void> => {
    for (let left = ms; left > 0; left -= WRITE_MS) {
      clock.nowMs += Math.min(left, WRITE_MS)
      if (ticks && reporter.last !== undefined) reporter.tick(reporter.last)
      await reporter.pump()
    }
  }
  return { reporter, clock, pass: (ms) => step(ms, true), passDead: (ms) => step(ms, false) }
}

export interface Call extends ApiRequest {
  readonly operation: OperationName
}

/** Hands every call to `answer` and keeps it. */
export class ScriptedCaller implements ApiCaller {
  readonly calls: Call[] = []
  answer: (call: Call) => unknown

  constructor(answer: (call: Call) => unknown) {
    this.answer = answer
  }

  async call(operation: OperationName, request: ApiRequest): Promise<unknown> {
    const call = { operation, ...request }
    this.calls.push(call)
    return this.answer(call)
  }
}

export const findingOf = (name: string): PodFinding => ({
  namespace: 'team-a',
  name,
  uid: `uid-of-${name}`,
  code: 'halfAsked',
  has: 'be-cpu',
  lacks: 'be-memory',
})
