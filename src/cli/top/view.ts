/**
 * The live view as lines, from a status of the agent and a state of the keyboard. Pure. In a pipe the same lines without an end: every pod,
 * nothing cut, no keys.
 */
import { formatBytes, formatMilliCpu, formatPermyriad, milliCpuFormat, oneLine } from '../../model/index.ts'
import { briefStatus, type ClassStatus, count, formatDuration, type PodStatus, type Status } from '../../record/index.ts'
import type { Colours } from '../colour.ts'
import { bar, fit, sentence } from './cells.ts'
import { podTable } from './columns.ts'
import { listed, SORTS, type TopState } from './state.ts'

export interface TopView {
  /** Undefined before the first answer. */
  readonly status: Status | undefined
  /** How old the status is. */
  readonly sinceMs: number
  /** Why there is no newer one. */
  readonly trouble: string | undefined
  readonly state: TopState
  /** Infinity in a pipe. */
  readonly columns: number
  readonly rows: number
  /** Age from which the last tick of the agent is a matter of concern. */
  readonly staleMs: number
  readonly colours: Colours
}

const LABEL = 10
const LEAST_BAR = 10
const MOST_BAR = 60
/** Of a terminal's columns, for a bar; what it means stands beside it. */
const BAR_SHARE = 0.4
/** Title and state. */
const HEAD_LINES = 2
/** The selected pod is told of in so many lines. */
const DETAIL_LINES = 2
const KEYS_LINES = 1
const LEAST_POD_ROWS = 3

/** At most `rows` lines of at most `columns` columns. */
export function topLines(view: TopView): readonly string[] {
  const { status, state, rows, colours } = view
  const head = [titleLine(view), stateLine(view)]
  const keys = Number.isFinite(rows) ? [keysLine(view)] : []
  if (state.help) return filled([...head, '', ...helpLines(colours)], keys, rows)
  if (status === undefined) return [...head, ...keys].slice(0, rows)
  const { above, pageRows } = layoutOf(status, view)
  const pods = listed(status.pods ?? [], state)
  const page = pageOf(pods, state.selected, pageRows)
  const table = podTable(page.rows, pods, { ...state, columns: view.columns, colours })
  const none = pods.length === 0 ? [colours.dim(noneText(status, state))] : []
  const body = [...head, ...above, ...table, ...none]
  if (!Number.isFinite(rows)) return body
  const detail = detailLines(pods, page, view)
  return filled(body, [...detail, ...keys], rows)
}

/** The last lines at the bottom, whatever is left above them. */
function filled(body: readonly string[], last: readonly string[], rows: number): readonly string[] {
  if (!Number.isFinite(rows)) return [...body, ...last]
  const shown = body.slice(0, Math.max(0, rows - last.length))
  const blank = Math.max(0, rows - shown.length - last.length)
  return [...shown, ...Array.from({ length: blank }, () => ''), ...last].slice(0, rows)
}

/** How many pods such a view shows at once; at least 1. */
export function pageRowsOf(view: TopView): number {
  return view.status === undefined ? 1 : layoutOf(view.status, view).pageRows
}

/** What stands above the pods, as far as some pods still fit below it. */
function layoutOf(status: Status, view: TopView): { readonly above: readonly string[]; readonly pageRows: number } {
  const room = view.rows - HEAD_LINES - DETAIL_LINES - KEYS_LINES - 1
  const above: string[] = []
  for (const block of [gaugeLines(status, view), classLines(status, view)])
    if (room - above.length - block.length - 1 >= LEAST_POD_ROWS) above.push(...block, '')
  return { above, pageRows: Math.max(1, room - above.length) }
}

interface Page {
  readonly rows: readonly PodStatus[]
  readonly first: number
}

/** The page of the list that the selected pod is on. */
function pageOf(pods: readonly PodStatus[], selected: string | undefined, size: number): Page {
  if (!Number.isFinite(size)) return { rows: pods, first: 0 }
  const at = Math.max(
    0,
    pods.findIndex(({ uid }) => uid === selected),
  )
  const first = Math.floor(at / size) * size
  return { rows: pods.slice(first, first + size), first }
}

function titleLine({ status, sinceMs, state, colours, columns }: TopView): string {
  if (status === undefined) return colours.bold('kube-agent top')
  const { version, nodeName, mode, uptimeMs, lastTick } = status
  const tick =
    lastTick === undefined
      ? 'no tick yet'
      : `tick ${lastTick.seq}, ${formatDuration(lastTick.ageMs + sinceMs)} ago, ${lastTick.pace}`
  const text = sentence(
    `kube-agent ${version} on ${nodeName}, ${mode ?? 'mode not known yet'}, up ${formatDuration(uptimeMs + sinceMs)}, ${tick}`,
  )
  const paused = state.paused ? ` ${colours.inverse(' PAUSED ')}` : ''
  return `${colours.bold(Number.isFinite(columns) ? fit(text, Math.max(1, columns - (state.paused ? 9 : 0))).trimEnd() : text)}${paused}`
}

/** The worst there is to tell, in one line. */
function stateLine({ status, sinceMs, trouble, staleMs, colours, columns }: TopView): string {
  const cut = (text: string): string => (Number.isFinite(columns) ? fit(sentence(text), columns).trimEnd() : sentence(text))
  if (trouble !== undefined) {
    const shown = status === undefined ? '' : `, shown is what it said ${formatDuration(sinceMs)} ago`
    return colours.red(cut(`NO ANSWER${shown}: ${oneLine(trouble, 300)}`))
  }
  if (status === undefined) return 'asking the agent …'
  const tickAgeMs = (status.lastTick?.ageMs ?? 0) + sinceMs
  if (status.lastTick !== undefined && tickAgeMs > staleMs)
    return colours.red(cut(`STALE: the agent's last tick is ${formatDuration(tickAgeMs)} old, and so is all below`))
  const brief = briefStatus(status)
  const warning = status.problems.find(({ severity }) => severity === 'warning')
  if (!brief.startsWith('OK')) return colours.red(cut(brief))
  return warning === undefined ? colours.green(cut(brief)) : colours.yellow(cut(`${brief}: ${warning.text}`))
}

function barColumns(columns: number): number {
  return Number.isFinite(columns) ? Math.min(MOST_BAR, Math.max(LEAST_BAR, Math.floor(columns * BAR_SHARE))) : MOST_BAR / 2
}

/** The node's CPU and memory, and what presses. */
function gaugeLines(status: Status, view: TopView): readonly string[] {
  const { node, allowance, ladders } = status
  const { columns, colours } = view
  const lines: string[] = []
  const width = barColumns(columns)
  const add = (label: string, drawn: string, text: string): void => {
    lines.push(
      `${label.padEnd(LABEL)}${drawn} ${Number.isFinite(columns) ? fit(text, Math.max(1, columns - LABEL - width - 1)).trimEnd() : text}`,
    )
  }
  const scale = { columns: width, full: allowance?.capacityMilli ?? (node?.cpus ?? 1) * 1000, colours }
  const offline = { char: '▓', paint: colours.blue }
  if (allowance !== undefined) {
    const { nodeMilli, offlineMilli, capacityMilli, watermarkMilli } = allowance
    const online = { amount: Math.max(0, nodeMilli - offlineMilli), char: '█', paint: colours.green }
    const percent = (milli: number): string => formatPermyriad(Math.round((milli / Math.max(1, capacityMilli)) * 100) * 100)
    add(
      'CPU',
      bar([online, { ...offline, amount: offlineMilli }], { ...scale, mark: watermarkMilli }),
      `${percent(nodeMilli)} of ${formatMilliCpu(capacityMilli)}, watermark ${percent(watermarkMilli)}`,
    )
    const { allowanceMilli, otAllowanceMilli } = allowance
    const milli = milliCpuFormat([offlineMilli, allowanceMilli, otAllowanceMilli])
    add(
      'offline',
      bar([{ ...offline, amount: offlineMilli }], { ...scale, mark: allowanceMilli }),
      `${milli(offlineMilli)} of ${milli(allowanceMilli)} allowed, OT ${milli(otAllowanceMilli)}`,
    )
  } else if (node?.usedMilli !== undefined) {
    add(
      'CPU',
      bar([{ amount: node.usedMilli, char: '█', paint: colours.green }], scale),
      `${formatMilliCpu(node.usedMilli)} of ${count(node.cpus, 'CPU')}`,
    )
  }
  if (node?.memoryTotalBytes !== undefined && node.memoryAvailableBytes !== undefined) {
    const used = { amount: node.memoryTotalBytes - node.memoryAvailableBytes, char: '█', paint: colours.green }
    add(
      'memory',
      bar([used], { ...scale, full: node.memoryTotalBytes }),
      `${formatBytes(node.memoryAvailableBytes)} of ${formatBytes(node.memoryTotalBytes)} available`,
    )
  }
  for (const { label, text } of ladders?.lines ?? []) {
    if (!TOLD_LINES.has(label)) continue
    lines.push(
      `${label.padEnd(LABEL)}${Number.isFinite(columns) ? fit(sentence(text), columns - LABEL).trimEnd() : sentence(text)}`,
    )
  }
  return lines
}

/** Of the lines about suppression those that change from second to second; `status` has all. */
const TOLD_LINES: ReadonlySet<string> = new Set(['pressure'])

function classLines(status: Status, { columns, colours }: TopView): readonly string[] {
  const classes = (status.classes ?? []).filter(({ pods, allowedMilli }) => pods > 0 || allowedMilli !== undefined)
  const full = status.allowance?.capacityMilli ?? (status.node?.cpus ?? 1) * 1000
  const width = Number.isFinite(columns)
    ? Math.max(LEAST_BAR, Math.min(MOST_BAR, Math.floor(columns * BAR_SHARE) - 14))
    : MOST_BAR / 2
  const cpusWidth = Number.isFinite(columns) ? Math.max(6, Math.min(40, columns - width - 44)) : Infinity
  const widest = Math.max(4, ...classes.map(({ cpus }) => Math.min(cpus.length, cpusWidth)))
  const line = ({ qosClass, pods, usedMilli, allowedMilli, cpus, identity }: ClassStatus): string => {
    const paint = qosClass === 'BE' || qosClass === 'OT' ? colours.blue : colours.green
    const char = qosClass === 'BE' || qosClass === 'OT' ? '▓' : '█'
    return [
      fit(qosClass, 8),
      fit(String(pods), 4, 'right'),
      ` ${bar([{ amount: usedMilli, char, paint }], { columns: width, full, mark: allowedMilli, colours })}`,
      fit(formatMilliCpu(usedMilli), 8, 'right'),
      fit(allowedMilli === undefined ? '-' : formatMilliCpu(allowedMilli), 8, 'right'),
      ` ${fit(cpus === '' ? '-' : sentence(cpus), widest)}`,
      ` ${sentence(identity)}`,
    ].join(' ')
  }
  const heading = [
    'CLASS   ',
    'PODS',
    ` ${''.padEnd(width)}`,
    '     USE',
    ' ALLOWED',
    ` ${'CPUS'.padEnd(widest)}`,
    ' IDENTITY',
  ].join(' ')
  return [colours.bold(heading), ...classes.map(line)]
}

function noneText({ pods }: Status, { filter, qosClass }: TopState): string {
  if (pods === undefined) return '  this agent does not list its pods: it is of another version than this program'
  if (pods.length === 0) return '  no pods'
  return `  none of ${count(pods.length, 'pod')}${qosClass === undefined ? '' : ` is ${qosClass}`}${filter === '' ? '' : `${qosClass === undefined ? '' : ' and'} matches ${JSON.stringify(filter)}`}`
}

/** More of the selected pod, or how to see more. */
function detailLines(pods: readonly PodStatus[], { rows, first }: Page, { state, columns, colours }: TopView): readonly string[] {
  const where = `${pods.length === 0 ? 0 : first + 1}-${first + rows.length} of ${count(pods.length, 'pod')}`
  const pod = pods.find(({ uid }) => uid === state.selected)
  if (pod === undefined) return ['', colours.dim(fit(`${where}; ↑ ↓ to see why a pod has what it has`, columns).trimEnd())]
  const more = `${where}; kube-agent explain pod ${pod.pod}`
  return [fit(sentence(pod.why), columns).trimEnd(), colours.dim(fit(sentence(more), columns).trimEnd())]
}

function keysLine({ state, columns, colours }: TopView): string {
  const { sort, reversed, filter, editing, qosClass } = state
  const text = editing
    ? `filter: ${filter}_  (Enter keeps it, Esc clears it)`
    : [
        'q quit',
        `s sort: ${sort}${reversed ? ' ▲' : ''}`,
        'r reverse',
        `/ filter${filter === '' ? '' : `: ${filter}`}`,
        `c class: ${qosClass ?? 'all'}`,
        state.paused ? 'p go on' : 'p pause',
        '? help',
      ].join('  ')
  return colours.inverse(fit(sentence(text), columns))
}

function helpLines({ bold }: Colours): readonly string[] {
  return [
    bold('Keys'),
    '  q, Ctrl-C     quit',
    `  s, r          order of the pods (${SORTS.join(', ')}), and the reverse`,
    '  /             show only pods in whose name, class or reason a text occurs',
    '  c             show only one class',
    '  ↑ ↓ j k       select a pod: its reason stands below; Page Up, Page Down, Home, End too',
    '  Esc           no filter, no class, no selection',
    '  p, space      pause and go on',
    '  Ctrl-L        draw the screen anew; Ctrl-Z leaves it for a while',
    '',
    bold('What is shown'),
    '  █ online work and the system   ▓ offline work   │ the watermark, or what is allowed',
    '  LIMIT is the quota in force, ASKED what the pod asked for or requests, THROTTLED the share',
    '  of periods in which it ran into its quota. ! gets less than it asked for, ? is odd.',
    '',
    'Any key goes back.',
  ]
}
