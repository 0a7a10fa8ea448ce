/**
 * The part of the status about suppression beyond the allowance: pressure, both ladders, memory, IO, evictions. The states are there as
 * data for programs, and as one line each for people; a rule that is off or silent has its line too, since a guard that is not there
 * should not look like one with nothing to do.
 */
import type {
  CpuPressureState,
  CpuRung,
  Decision,
  EvictionOutcome,
  EvictionsView,
  IoState,
  LadderState,
  MemoryState,
  SteadinessState,
  TickRecord,
} from '../../model/index.ts'
import { podKey } from '../../model/index.ts'
import { formatDuration } from '../layout.ts'
import { toldOf } from '../observed.ts'
import {
  renderEviction,
  renderEvictions,
  renderIo,
  renderLadder,
  renderMemory,
  renderMissing,
  renderPressure,
  renderSteadiness,
  renderWaiting,
  renderWish,
} from '../render-ladder.ts'
import { renderSalesStop, salesStop } from '../sales.ts'

export interface EvictionStatus {
  /** Why pods can't be evicted from here; undefined when they can. */
  readonly impossible?: string
  /** Since the start. */
  readonly counts: Readonly<Record<EvictionOutcome, number>>
  /** What the last tick wishes. */
  readonly wished: readonly string[]
  /** The newest first; all that are kept are with `explain pod`. */
  readonly recent: readonly {
    readonly pod: string
    readonly outcome: EvictionOutcome
    readonly agoMs: number
    readonly text: string
  }[]
}

export interface LadderStatus {
  /** The next three are undefined while suppression of CPU is off or has no reading. */
  readonly pressure?: CpuPressureState
  readonly steadiness?: SteadinessState
  readonly cpu?: LadderState<CpuRung>
  readonly memory?: MemoryState
  readonly io?: IoState
  readonly salesStopped: boolean
  readonly evictions: EvictionStatus
  /** The same for people: a label of at most 13 characters and a sentence. */
  readonly lines: readonly { readonly label: string; readonly text: string }[]
}

/** Records that the page shows. */
const SHOWN_EVICTIONS = 5
/** A failed eviction is a problem for so long. */
const FAILED_MS = 600_000

/** How the ladders stand at `nowMs`. */
export function ladderStatus({ snapshot, decision }: TickRecord, nowMs: number): LadderStatus {
  const { suppression, memory, io } = decision
  const evictions = evictionStatus(snapshot.evictions, decision, nowMs)
  return {
    ...(suppression === undefined ? {} : { steadiness: suppression.steadiness, cpu: suppression.ladder }),
    ...(suppression?.pressure === undefined ? {} : { pressure: suppression.pressure }),
    ...(memory === undefined ? {} : { memory }),
    ...(io === undefined ? {} : { io }),
    salesStopped: salesStop(decision) !== undefined,
    evictions,
    lines: [
      ...cpuLines(decision, nowMs),
      ...memoryLines(decision, nowMs),
      { label: 'IO', text: ioText(decision) },
      { label: 'evictions', text: renderEvictions(snapshot.evictions) },
      ...evictions.wished.map((text) => ({ label: '', text })),
      ...evictions.recent.map(({ agoMs, text }) => ({ label: '', text: `${formatDuration(agoMs)} ago: ${text}` })),
    ],
  }
}

function ioText(decision: Decision): string {
  const { io } = decision
  return io === undefined ? 'not held back: the rule is off (suppressIo.enabled)' : toldOf('suppressIo', renderIo(io), decision)
}

function evictionStatus({ impossible, counts, recent }: EvictionsView, { evictions }: Decision, nowMs: number): EvictionStatus {
  return {
    ...(impossible === undefined ? {} : { impossible }),
    counts,
    wished: evictions.slice(0, SHOWN_EVICTIONS).map(renderWish),
    recent: recent.slice(0, SHOWN_EVICTIONS).map((record) => {
      const agoMs = Math.max(0, nowMs - record.atMs)
      return { pod: podKey(record.wish), outcome: record.is, agoMs, text: renderEviction(record) }
    }),
  }
}

type Line = LadderStatus['lines'][number]

function cpuLines(decision: Decision, nowMs: number): readonly Line[] {
  const { suppression } = decision
  if (suppression === undefined) return [{ label: 'CPU ladder', text: 'off or silent, like suppression (suppressCpu.enabled)' }]
  const { pressure, steadiness, ladder } = suppression
  const guard =
    pressure === undefined ? 'not guarded: the guard is off (pressure.enabled), or nothing can be read' : renderPressure(pressure)
  return [
    { label: 'pressure', text: toldOf('suppressCpu', guard, decision) },
    { label: 'allowance', text: renderSteadiness(steadiness) },
    { label: 'CPU ladder', text: toldOf('suppressCpu', renderLadder(ladder, nowMs), decision) },
  ]
}

function memoryLines(decision: Decision, nowMs: number): readonly Line[] {
  const { memory } = decision
  const stop = salesStop(decision)
  const sales = stop === undefined ? [] : [{ label: 'sales', text: renderSalesStop(stop) }]
  if (memory === undefined) {
    return [{ label: 'memory', text: 'not guarded: the rule is off (suppressMemory.enabled), or was never read' }, ...sales]
  }
  return [
    { label: 'memory', text: `${renderMemory(memory)}; read ${formatDuration(Math.max(0, memory.ageMs))} ago` },
    { label: 'memory ladder', text: toldOf('suppressMemory', renderLadder(memory.ladder, nowMs), decision) },
    ...sales,
  ]
}

/** What keeps the ladders from doing their work, or shows that they are in trouble. */
export function ladderProblems({ snapshot, decision }: TickRecord, nowMs: number): readonly string[] {
  const { suppression, memory, io } = decision
  const problems: string[] = []
  if (suppression?.pressure?.is === 'futile') problems.push(renderPressure(suppression.pressure))
  if (memory?.stallsFutile === true) problems.push(`memory: ${renderMemory(memory)}`)
  if (suppression?.steadiness.swings === true) problems.push(renderSteadiness(suppression.steadiness))
  for (const ladder of [suppression?.ladder, memory?.ladder]) {
    if (ladder?.waiting?.for === 'impossible') problems.push(renderWaiting(ladder.waiting, ladder.inForce.at(-1)))
  }
  if (io !== undefined && io.missingDevices.length > 0) problems.push(`IO devices ${renderMissing(io.missingDevices)}`)
  const failed = snapshot.evictions.recent.filter(({ is, atMs }) => is === 'failed' && nowMs - atMs < FAILED_MS)
  problems.push(...failed.slice(0, SHOWN_EVICTIONS).map(renderEviction))
  return problems
}
