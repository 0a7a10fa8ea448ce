/**
 * The readings behind an explanation, each with its age and source: a reason is worth as much as what it was made from, and a rule whose
 * reading is too old abstains.
 */
import type { Because, Claim, NodeSnapshot, PressureUse, Reading, RunQueueUse } from '../../model/index.ts'
import { formatBytes, formatMilliCpu, formatPermyriad } from '../../model/index.ts'
import { count } from '../layout.ts'

export interface InputExplanation {
  readonly name: string
  readonly value: string
  readonly ageMs: number
  readonly source: string
}

/** What a rule goes by. */
export type Need = 'pods' | 'cpu' | 'memory' | 'io'

/** What the rules behind these claims go by. */
export function needsOf(claims: readonly Claim[]): ReadonlySet<Need> {
  return new Set(claims.flatMap(({ because }) => NEEDS[familyOf(because.code)]))
}

type FamilyOf<Code extends string> = Code extends `${infer Name}.${string}` ? Name : Code
type Family = FamilyOf<Because['code']>

const NEEDS: Readonly<Record<Family, readonly Need[]>> = {
  limits: ['pods'],
  identity: ['pods'],
  placement: ['pods'],
  burst: ['pods'],
  suppress: ['cpu', 'pods'],
  memory: ['memory', 'pods'],
  io: ['io'],
  own: [],
}

function familyOf(code: Because['code']): Family {
  return code.split('.')[0] as Family
}

/** The readings at `nowMs`; one that is missing is left out, and the rule that wanted it says so. */
export function explainInputs(needs: ReadonlySet<Need>, snapshot: NodeSnapshot, nowMs: number): readonly InputExplanation[] {
  const { node, bestEffort, online, pods } = snapshot
  const inputs: InputExplanation[] = []
  const add = <T>(name: string, reading: Reading<T> | undefined, show: (value: T) => string): void => {
    if (reading === undefined) return
    const { value, atMs, source } = reading
    inputs.push({ name, value: show(value), ageMs: Math.max(0, nowMs - atMs), source })
  }
  if (needs.has('cpu')) {
    add('node CPU', node.cpu, ({ usedMilli }) => formatMilliCpu(usedMilli))
    add('offline CPU', bestEffort.cpu, ({ usedMilli }) => formatMilliCpu(usedMilli))
    add('CPU stalls', online.cpuPressure, ofTime)
    add('run queue', node.runQueue, runQueueText)
  }
  if (needs.has('memory')) {
    add(
      'node memory',
      node.memory,
      (memory) => `${formatBytes(memory.availableBytes)} of ${formatBytes(memory.totalBytes)} available`,
    )
    add('mem. stalls', node.memoryPressure, ofTime)
  }
  if (needs.has('io')) add('IO stalls', online.ioPressure ?? node.ioPressure, ofTime)
  if (needs.has('pods'))
    add('pods', { value: pods.pods.length, atMs: pods.atMs, source: pods.source }, (amount) => count(amount, 'pod'))
  return inputs
}

/** The count of an instant is whole; its mean is not, and more than one digit of it is noise. */
function runQueueText({ runnable, notOffline }: RunQueueUse): string {
  const others =
    notOffline === undefined
      ? 'how many of them are offline ones is not known'
      : `${notOffline.toFixed(1)} of them surely no offline ones`
  return `${runnable.toFixed(1)} tasks ready to run, ${others}`
}

/** 10000 µs of waiting in a second are a hundredth of the time. */
function ofTime({ someUsPerSecond }: PressureUse): string {
  return `${formatPermyriad(Math.min(10_000, someUsPerSecond / 100))} of the time`
}
