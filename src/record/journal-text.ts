/** The journal as text for people: the verb `journal` prints it, and /journal answers with it where text is asked for. */
import { oneLine } from '../model/index.ts'
import type { JournalEntry, JournalPage } from './journal.ts'
import { wrap } from './layout.ts'

const MAX_TEXT = 2000
/** Entries are indented below their head line. */
const INDENT = 4

/** A page of entries, and how to read on. `since` and `pod` are what was asked for. */
export function renderJournal(
  { entries, next, oldest }: JournalPage,
  { since, pod }: { readonly since?: number | undefined; readonly pod?: string },
): string {
  const lines: string[] = []
  const about = pod === undefined ? '' : line(pod)
  if (since !== undefined && oldest > since + 1) lines.push(`(entries ${since + 1} to ${oldest - 1} are no longer kept)`)
  lines.push(...entries.map(renderJournalEntry))
  if (entries.length === 0) lines.push(pod === undefined ? 'Nothing was decided.' : `Nothing was decided about ${about}.`)
  lines.push('', `Read on with: kube-agent journal --since ${next}${pod === undefined ? '' : ` --pod ${about}`}`)
  return lines.join('\n')
}

/** Time, number and kind; what changed from what to what; why. */
export function renderJournalEntry({ seq, wallMs, kind, pod, group, knob, from, to, outcome, text }: JournalEntry): string {
  const about = [pod, group, knob].filter((part) => part !== undefined).map((part) => oneLine(part, MAX_TEXT))
  const move = to === undefined && from === undefined ? [] : [`${line(from ?? 'unknown')} → ${line(to ?? 'nothing')}`]
  const told = outcome === undefined || outcome === 'applied' ? [] : [`(${line(outcome)})`]
  const head = [new Date(wallMs).toISOString(), `#${seq}`, kind, ...about, ...move, ...told].join('  ')
  return [head, ...wrap(line(text), INDENT)].join('\n')
}

function line(text: string): string {
  return oneLine(text, MAX_TEXT)
}
