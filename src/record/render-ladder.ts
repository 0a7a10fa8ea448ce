/**
 * Where the ladders stand, as sentences: rungs, how online work waits, how steady the allowance is, memory, IO, and evictions. The same
 * texts stand in status, journal, log and explain.
 */
import type {
  CpuPressureState,
  EvictionOutcome,
  EvictionRecord,
  EvictionsView,
  EvictionWish,
  IoState,
  LadderState,
  MemoryState,
  Rung,
  SteadinessState,
} from '../model/index.ts'
import { EVICTION_OUTCOMES, formatBytes, formatMilliCpu, formatPermyriad, podKey } from '../model/index.ts'
import { count, formatDuration } from './layout.ts'

/** What a rung does while it is in force. */
export const RUNG_DOES: Readonly<Record<Rung, string>> = {
  cpuNarrow: 'offline pods keep to few CPUs',
  cpuFreeze: 'OT pods stand still',
  cpuEvict: 'offline pods are evicted for CPU',
  memoryHold: 'nothing more is sold',
  memoryHighOt: 'OT pods give memory back',
  memoryHighBe: 'BE pods give memory back',
  memoryEvictOt: 'OT pods are evicted for memory',
  memoryEvictBe: 'BE pods are evicted for memory',
}

/** Where a ladder stands at `nowMs`: its rungs, and what the next one waits for. */
export function renderLadder(state: LadderState<Rung>, nowMs: number): string {
  const { inForce, changedMs, waiting } = state
  const top = inForce.at(-1)
  const age = changedMs === undefined ? '' : ` (last step ${formatDuration(Math.max(0, nowMs - changedMs))} ago)`
  const stands =
    top === undefined ? `no rung in force${age}` : `${inForce.map((rung) => `${rung}: ${RUNG_DOES[rung]}`).join('; ')}${age}`
  return waiting === undefined ? stands : `${stands}; ${renderWaiting(waiting, top)}`
}

/** What the next rung waits for; `top` is the topmost one in force. */
export function renderWaiting(waiting: NonNullable<LadderState<Rung>['waiting']>, top: Rung | undefined): string {
  switch (waiting.for) {
    case 'dwell':
      return `${waiting.rung} is next, once its threshold has been passed for its enterMs`
    case 'coolDown':
      return `${waiting.rung} is next, after the cool-down of ${top ?? 'the rung below'}`
    case 'impossible':
      return `${waiting.rung} should be climbed and can't be: ${waiting.detail ?? 'no reason is known'}`
  }
}

/** How online work waits for CPU, and what the guard does about it. */
export function renderPressure(state: CpuPressureState): string {
  if (state.source === 'none') return 'this kernel tells neither how groups wait nor the run queue: use of the CPU alone decides'
  return `${waits(state)}${PRESSURE_DOES[state.is]}`
}

const PRESSURE_DOES: Readonly<Record<CpuPressureState['is'], string>> = {
  quiet: '',
  cut: ': the allowance is cut',
  hold: ': the allowance does not grow',
  futile: ': cutting did not help, so the guard stands aside until they wait less',
}

function waits({ source, permyriad, boundPermyriad }: CpuPressureState): string {
  if (source === 'run queue') {
    const perCpu = (amount: number): string => (amount / 10_000).toFixed(1)
    return `${perCpu(permyriad)} tasks for each CPU wait in the run queue, offline ones not counted (cut above ${perCpu(boundPermyriad)})`
  }
  const who = source === 'node' ? 'some task of the node' : 'some online task'
  return `${who} waits for CPU ${formatPermyriad(permyriad)} of the time (cut above ${formatPermyriad(boundPermyriad)})`
}

/** How steady the allowance is. */
export function renderSteadiness({ turns, dwellMs, swings }: SteadinessState): string {
  const turned = `${count(turns, 'change')} of direction within steady.windowMs`
  return swings
    ? `the allowance swings: dwell time widened to ${formatDuration(dwellMs)}; ${turned}`
    : `steady: ${turned}, dwell time ${formatDuration(dwellMs)}`
}

/** How much memory there is, who of the offline holds how much, and how tasks wait for it. */
export function renderMemory({ totalBytes, availableBytes, ...state }: MemoryState): string {
  const waiting =
    state.pressurePermyriad === undefined
      ? 'this kernel does not tell how tasks wait for it'
      : `some task waits for it ${formatPermyriad(state.pressurePermyriad)} of the time${state.stallsFutile === true ? STALLS_FUTILE : ''}`
  return (
    `${formatBytes(availableBytes)} of ${formatBytes(totalBytes)} available (${formatPermyriad(state.availablePermyriad)}), ${waiting}; ` +
    `working sets: BE ${formatBytes(state.workingSetBytes.BE)}, OT ${formatBytes(state.workingSetBytes.OT)}`
  )
}

const STALLS_FUTILE =
  ' (which offline work is not the reason for: its giving memory back did not help, so this counts no more until it has ended once)'

const IO_DOES: Readonly<Record<IoState['is'], string>> = {
  quiet: '',
  cut: ': cut, since online work waits for IO',
  hold: ': not growing while online work still waits for IO',
  futile: ': cutting did not help, so they grow back all the same',
  unknown: ': not growing, since it is not known how online work waits for IO',
}

/** What offline pods have of their IO limits. */
export function renderIo({ sharePermyriad, is, pressurePermyriad, missingDevices }: IoState): string {
  const waiting =
    pressurePermyriad === undefined ? '' : `; some task waits for IO ${formatPermyriad(pressurePermyriad)} of the time`
  return (
    `offline pods have ${formatPermyriad(sharePermyriad)} of their configured limits${IO_DOES[is]}${waiting}` +
    (missingDevices.length === 0 ? '' : `; ${renderMissing(missingDevices)}`)
  )
}

/** Devices of the configuration that are not there. */
export function renderMissing(devices: readonly string[]): string {
  return `not on this node, so not limited: ${devices.join(', ')}`
}

/** One eviction, and what became of it. */
export function renderEviction({ wish, is, detail }: Pick<EvictionRecord, 'wish' | 'is' | 'detail'>): string {
  const pod = podKey(wish)
  const words = detail === undefined ? '' : ` (${detail})`
  switch (is) {
    case 'asked':
      return `eviction of ${pod} is asked for, the API server has not answered yet; ${wishReason(wish)}`
    case 'evicted':
      return `${pod} was evicted${words}; ${wishReason(wish)}`
    case 'forced':
      return `${pod} was deleted past its disruption budget (evict.force)${words}; ${wishReason(wish)}`
    case 'blocked':
      return `a disruption budget keeps ${pod} for now${words}; ${wishReason(wish)}`
    case 'gone':
      return `${pod} had gone before it could be evicted${words}`
    case 'failed':
      return `eviction of ${pod} failed${words}; ${wishReason(wish)}`
    case 'dryRun':
      return `${pod} would be evicted (dry run)${words}; ${wishReason(wish)}`
  }
}

/** That a pod is chosen to go, and why. */
export function renderWish(wish: EvictionWish): string {
  return `${podKey(wish)} is chosen to be evicted${wish.dryRun ? ' (dry run)' : ''}; ${wishReason(wish)}`
}

function wishReason({ rung, qosClass, usesMilli, usesBytes, priority }: EvictionWish): string {
  return `rung ${rung}, class ${qosClass}, priority ${priority}, it used ${formatMilliCpu(usesMilli)} CPU and ${formatBytes(usesBytes)}`
}

const OUTCOME_WORDS: Readonly<Record<EvictionOutcome, string>> = {
  asked: 'asked for',
  evicted: 'evicted',
  forced: 'forced',
  blocked: 'blocked',
  gone: 'gone before',
  failed: 'failed',
  dryRun: 'dry run',
}

/** Whether pods can be evicted from here, and how often that was done since the start. */
export function renderEvictions({ impossible, counts }: Pick<EvictionsView, 'impossible' | 'counts'>): string {
  const told = EVICTION_OUTCOMES.filter((outcome) => counts[outcome] > 0).map(
    (outcome) => `${counts[outcome]} ${OUTCOME_WORDS[outcome]}`,
  )
  const sum = told.length === 0 ? 'none since the start' : `since the start ${told.join(', ')}`
  return impossible === undefined ? `possible; ${sum}` : `not possible: ${impossible}; ${sum}`
}
