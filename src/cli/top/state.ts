/**
 * What somebody has made of the live view by the keyboard: order, filters, selection. Pure: bytes become keys, a key and a state become the
 * next state, and the terminal is elsewhere (terminal.ts).
 */
import type { PodStatus } from '../../record/index.ts'
import { QOS_CLASSES, type QosClass } from '../../model/index.ts'

/** A key that means something here; a printable character is itself. */
export type Key =
  | { readonly is: 'char'; readonly char: string }
  | {
      readonly is:
        | 'up'
        | 'down'
        | 'pageUp'
        | 'pageDown'
        | 'home'
        | 'end'
        | 'enter'
        | 'escape'
        | 'backspace'
        | 'interrupt'
        | 'suspend'
        | 'redraw'
    }

const CONTROL_KEYS: Readonly<Partial<Record<string, Exclude<Key['is'], 'char'>>>> = {
  '\u0003': 'interrupt',
  '\u001a': 'suspend',
  '\u000c': 'redraw',
  '\r': 'enter',
  '\n': 'enter',
  '\u007f': 'backspace',
  '\b': 'backspace',
}

/** What terminals send for the keys without a character, after `ESC [` or `ESC O` (xterm ctlseqs, "PC-Style Function Keys"). */
const ESCAPE_KEYS: Readonly<Partial<Record<string, Exclude<Key['is'], 'char'>>>> = {
  A: 'up',
  B: 'down',
  H: 'home',
  F: 'end',
  '1~': 'home',
  '4~': 'end',
  '5~': 'pageUp',
  '6~': 'pageDown',
  '7~': 'home',
  '8~': 'end',
}

/** The keys in what a terminal has sent; sequences that mean nothing here are left out. */
export function keysOf(text: string): readonly Key[] {
  const keys: Key[] = []
  for (let at = 0; at < text.length;) {
    // eslint-disable-next-line no-control-regex
    const [sequence = '', name = ''] = /^\u001b(?:\[([\d;]*[ -/]*[@-~])|O([@-~]))/.exec(text.slice(at)) ?? []
    if (sequence !== '') {
      const is = ESCAPE_KEYS[name === '' ? (sequence.at(-1) ?? '') : name]
      if (is !== undefined) keys.push({ is })
      at += sequence.length
      continue
    }
    const char = String.fromCodePoint(text.codePointAt(at) ?? 0)
    at += char.length
    const is = char === '\u001b' ? 'escape' : CONTROL_KEYS[char]
    if (is !== undefined) keys.push({ is })
    else if (char >= ' ') keys.push({ is: 'char', char })
  }
  return keys
}

export const SORTS = ['use', 'limit', 'throttled', 'memory', 'asked', 'name', 'class'] as const
export type Sort = (typeof SORTS)[number]

export interface TopState {
  readonly sort: Sort
  readonly reversed: boolean
  /** Shown are pods in whose name, class or reason this occurs. */
  readonly filter: string
  /** Whether keys go into the filter. */
  readonly editing: boolean
  readonly qosClass: QosClass | undefined
  readonly paused: boolean
  readonly help: boolean
  /** UID of the pod that is told more of: it stays selected while the order changes. */
  readonly selected: string | undefined
}

export const START: TopState = {
  sort: 'use',
  reversed: false,
  filter: '',
  editing: false,
  qosClass: undefined,
  paused: false,
  help: false,
  selected: undefined,
}

/** What a key needs to know of the list on the screen. */
export interface Listing {
  /** All pods there are. */
  readonly pods: readonly PodStatus[]
  /** How many are on the screen at once. */
  readonly pageRows: number
}

/** The longest filter: more does not fit beside its label. */
const MAX_FILTER = 60

/** The state after a key; `quit`, `suspend` and `redraw` are for the terminal to do. */
export function press(state: TopState, key: Key, listing: Listing): TopState | 'quit' | 'suspend' | 'redraw' {
  if (key.is === 'interrupt') return 'quit'
  if (key.is === 'suspend') return 'suspend'
  if (key.is === 'redraw') return 'redraw'
  if (state.editing) return edit(state, key)
  if (state.help) return key.is === 'char' && key.char === 'q' ? 'quit' : { ...state, help: false }
  switch (key.is) {
    case 'char':
      return command(state, key.char, listing)
    case 'up':
      return moved(state, listing, -1)
    case 'down':
      return moved(state, listing, 1)
    case 'pageUp':
      return moved(state, listing, -listing.pageRows)
    case 'pageDown':
      return moved(state, listing, listing.pageRows)
    case 'home':
      return moved(state, listing, -Infinity)
    case 'end':
      return moved(state, listing, Infinity)
    case 'escape':
      return { ...state, filter: '', qosClass: undefined, selected: undefined }
    case 'enter':
    case 'backspace':
      return state
  }
}

function command(state: TopState, char: string, listing: Listing): TopState | 'quit' | 'suspend' | 'redraw' {
  switch (char) {
    case 'q':
      return 'quit'
    case 's':
      return { ...state, sort: after(SORTS, state.sort) }
    case 'r':
      return { ...state, reversed: !state.reversed }
    case '/':
      return { ...state, editing: true }
    case 'c':
      return { ...state, qosClass: nextClass(state.qosClass, listing.pods) }
    case 'p':
    case ' ':
      return { ...state, paused: !state.paused }
    case 'k':
      return moved(state, listing, -1)
    case 'j':
      return moved(state, listing, 1)
    case '?':
    case 'h':
      return { ...state, help: true }
    default:
      return state
  }
}

function edit(state: TopState, key: Key): TopState {
  switch (key.is) {
    case 'char':
      return { ...state, filter: `${state.filter}${key.char}`.slice(0, MAX_FILTER) }
    case 'backspace':
      return { ...state, filter: state.filter.slice(0, -1) }
    case 'enter':
      return { ...state, editing: false }
    case 'escape':
      return { ...state, editing: false, filter: '' }
    case 'up':
    case 'down':
    case 'pageUp':
    case 'pageDown':
    case 'home':
    case 'end':
    case 'interrupt':
    case 'suspend':
    case 'redraw':
      return state
  }
}

function after<T>(all: readonly T[], one: T): T {
  const next = (all.indexOf(one) + 1) % all.length
  // The type of an element, which may itself be undefined.
  return all[next] as T
}

/** All, then each class that has pods, in the order of the classes. */
function nextClass(qosClass: QosClass | undefined, pods: readonly PodStatus[]): QosClass | undefined {
  const present = QOS_CLASSES.filter((one) => pods.some((pod) => pod.qosClass === one))
  return after<QosClass | undefined>([undefined, ...present], qosClass)
}

function moved(state: TopState, { pods }: Listing, by: number): TopState {
  const rows = listed(pods, state)
  if (rows.length === 0) return state
  const at = rows.findIndex(({ uid }) => uid === state.selected)
  const from = at < 0 ? (by > 0 ? -1 : 0) : at
  const to = Math.min(rows.length - 1, Math.max(0, from + by))
  return { ...state, selected: rows[to]?.uid }
}

/** The pods to show, in their order. */
export function listed(pods: readonly PodStatus[], { filter, qosClass, sort, reversed }: TopState): readonly PodStatus[] {
  const wanted = filter.toLowerCase()
  const shown = pods.filter(
    (pod) =>
      (qosClass === undefined || pod.qosClass === qosClass) &&
      (wanted === '' || `${pod.pod} ${pod.qosClass} ${pod.why}`.toLowerCase().includes(wanted)),
  )
  // Of equal pods the one that comes first by name: rows that swap places at random can't be read.
  const sorted = shown.sort((a, b) => ORDERS[sort](a, b) || byName(a, b))
  return reversed ? sorted.reverse() : sorted
}

type Order = (a: PodStatus, b: PodStatus) => number

/** The largest first; a pod without a value comes after all that have one. */
const falling =
  (value: (pod: PodStatus) => number | undefined): Order =>
  (a, b) =>
    (value(b) ?? -1) - (value(a) ?? -1)

const byName: Order = (a, b) => (a.pod < b.pod ? -1 : Number(a.pod > b.pod))

const ORDERS: Readonly<Record<Sort, Order>> = {
  use: falling(({ usedMilli }) => usedMilli),
  limit: falling(({ limitMilli }) => limitMilli),
  throttled: falling(({ throttledPermyriad }) => throttledPermyriad),
  memory: falling(({ workingSetBytes }) => workingSetBytes),
  asked: falling(({ askedMilli }) => askedMilli),
  name: byName,
  class: (a, b) => QOS_CLASSES.indexOf(a.qosClass) - QOS_CLASSES.indexOf(b.qosClass),
}
