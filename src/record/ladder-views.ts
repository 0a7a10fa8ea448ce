/** Changes of the ladders as text and fields, for journal and log; made when somebody reads them. */
import type { Rung } from '../model/index.ts'
import { podKey } from '../model/index.ts'
import type { ChangeView } from './journal.ts'
import type { LadderChange } from './ladder-changes.ts'
import { count } from './layout.ts'
import { observedNote } from './observed.ts'
import {
  renderEviction,
  renderIo,
  renderMemory,
  renderMissing,
  renderPressure,
  renderSteadiness,
  renderWaiting,
  renderWish,
  RUNG_DOES,
} from './render-ladder.ts'
import { ofAllCpu } from './render-squeeze.ts'
import { renderSalesStop } from './sales.ts'

type Change<Kind extends LadderChange['kind']> = Extract<LadderChange, { kind: Kind }>

/** The change as text and fields. */
export function ladderView(change: LadderChange): ChangeView {
  if (change.kind === 'eviction') return evictionView(change)
  const news = newsView(change)
  const view = change.observed === undefined ? news : { ...news, text: `${news.text} ${observedNote(change.observed)}` }
  if (change.passedOver === 0) return view
  return { ...view, text: `${view.text} (${count(change.passedOver, 'change')} before it not told: too many in a minute)` }
}

function newsView(change: Exclude<LadderChange, { kind: 'eviction' }>): ChangeView {
  switch (change.kind) {
    case 'rung':
      return rungView(change)
    case 'blockedRung': {
      const { waiting, ladder } = change
      const text =
        waiting === undefined ? `no rung of the ${ladder} ladder is out of reach any more` : renderWaiting(waiting, undefined)
      return { kind: change.kind, ...(waiting === undefined ? {} : { to: waiting.rung }), text }
    }
    case 'pressure':
      return { kind: change.kind, to: change.event, text: pressureText(change) }
    case 'swing':
      return { kind: change.kind, to: change.state.swings ? 'swings' : 'steady', text: swingText(change) }
    case 'sales': {
      const text = change.stop === undefined ? 'sales go on' : renderSalesStop(change.stop)
      return { kind: change.kind, to: change.stop === undefined ? 'open' : 'stopped', text }
    }
    case 'io':
      return { kind: change.kind, to: change.event, text: ioText(change) }
  }
}

function rungView(change: Change<'rung'>): ChangeView {
  const { inForce } = change.state.ladder
  const was: readonly Rung[] = change.was
  const climbed = inForce.filter((rung) => !was.includes(rung))
  const left = was.filter((rung) => !(inForce as readonly Rung[]).includes(rung))
  const parts = [...climbed.map((rung) => `rung ${rung} climbed: ${RUNG_DOES[rung]}`), ...left.map((rung) => `rung ${rung} left`)]
  return { kind: change.kind, from: named(was), to: named(inForce), text: `${parts.join('; ')}; ${rungReason(change)}` }
}

function named(rungs: readonly Rung[]): string {
  return rungs.length === 0 ? 'none' : rungs.join(', ')
}

/** The readings that the ladder went by. */
function rungReason(change: Change<'rung'>): string {
  if (change.ladder === 'memory') return renderMemory(change.state)
  const { inputs, pressure } = change.state
  const used = `the node uses ${ofAllCpu(Math.round((inputs.nodeMilli * 10_000) / Math.max(1, inputs.capacityMilli)))} of its CPU`
  return pressure === undefined ? used : `${used}, ${renderPressure(pressure)}`
}

function pressureText({ event, state }: Change<'pressure'>): string {
  if (event === 'over')
    return state === undefined ? 'the pressure guard is silent' : `the pressure guard is quiet again: ${renderPressure(state)}`
  return state === undefined ? 'the pressure guard is silent' : renderPressure({ ...state, is: event })
}

function swingText({ state }: Change<'swing'>): string {
  return state.swings ? renderSteadiness(state) : `the allowance no longer swings; ${renderSteadiness(state)}`
}

function ioText({ event, state }: Change<'io'>): string {
  if (state === undefined) return event === 'devices' ? 'no IO device is missing any more' : 'IO is no longer limited'
  if (event === 'over') return renderIo({ ...state, missingDevices: [] })
  if (event !== 'devices') return renderIo({ ...state, is: event, missingDevices: [] })
  return state.missingDevices.length === 0
    ? 'no IO device is missing any more'
    : `IO devices ${renderMissing(state.missingDevices)}`
}

function evictionView({ kind, wish, record }: Change<'eviction'>): ChangeView {
  const pod = podKey(wish)
  if (record === undefined) return { kind, pod, outcome: 'wished', text: renderWish(wish) }
  return { kind, pod, outcome: record.is, text: renderEviction(record) }
}
