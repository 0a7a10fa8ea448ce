/** Findings as a page for a terminal: grouped by area, a mark in words before each, what to do below it, and a line that sums up. */
import { oneLine } from '../../model/index.ts'
import { count, wrap } from '../../record/index.ts'
import type { Colours } from '../colour.ts'
import { AREAS, type Finding, type State } from './finding.ts'
import { countStates } from './judge.ts'

/** Told apart without colour: what stops the agent stands out in capitals. */
const MARKS: Readonly<Record<State, string>> = { ok: 'ok', note: 'note', warn: 'warn', fail: 'FAIL' }
const MARK_WIDTH = 4
/** What others have written may stand in a finding: names in files, words of a server. */
const MAX_CHARS = 2000

const PAINTS = { ok: 'green', note: 'dim', warn: 'yellow', fail: 'red' } as const satisfies Record<State, keyof Colours>

/** The whole page, ending in a newline. */
export function renderFindings(findings: readonly Finding[], colours: Colours): string {
  const idWidth = Math.max(0, ...findings.map(({ id }) => id.length))
  const lines = AREAS.flatMap((area) => {
    const own = findings.filter((finding) => finding.area === area)
    return own.length === 0 ? [] : [colours.bold(area), ...own.flatMap((finding) => rows(finding, idWidth, colours)), '']
  })
  return `${[...lines, ...summary(findings)].join('\n')}\n`
}

function rows(finding: Finding, idWidth: number, colours: Colours): readonly string[] {
  const { id, state, found, remedy } = finding
  const indent = 2 + MARK_WIDTH + 2 + idWidth + 2
  const [first = '', ...rest] = wrap(oneLine(found, MAX_CHARS), indent)
  const mark = colours[PAINTS[state]](MARKS[state].padEnd(MARK_WIDTH))
  const todo = remedy === undefined ? [] : wrap(`do: ${oneLine(remedy, MAX_CHARS)}`, indent)
  return [`  ${mark}  ${id.padEnd(idWidth)}  ${first.trimStart()}`, ...rest, ...todo]
}

function summary(findings: readonly Finding[]): readonly string[] {
  const { ok, note, warn, fail } = countStates(findings)
  const counted = `${ok} ok, ${count(note, 'note')}, ${count(warn, 'warning')}, ${count(fail, 'failure')}`
  const named = (state: State): string => findings.flatMap((finding) => (finding.state === state ? [finding.id] : [])).join(', ')
  if (fail > 0) return wrap(`The agent can't do its main job here (${named('fail')}): ${counted}`, 0)
  if (warn > 0) return wrap(`The agent can do its main job here, with a loss (${named('warn')}): ${counted}`, 0)
  return wrap(`The agent can do its main job here: ${counted}`, 0)
}
