/** The verb `journal`: what the running agent decided, entry by entry, and how to read on. */
import { setTimeout as sleep } from 'node:timers/promises'
import { AgentError, EXIT, oneLine } from '../model/index.ts'
import { type JournalPage, renderJournal, renderJournalEntry } from '../record/index.ts'
import type { Config } from '../config/index.ts'
import { CONFIG_FLAGS, JSON_FLAG, textFlag, type Parsed } from './args.ts'
import { ADDRESS_FLAGS, ask } from './client.ts'
import { configOf } from './settings.ts'
import { stopSignal } from './teardown.ts'
import { print, type Verb } from './verb.ts'

const DEFAULT_LIMIT = 100
const MOST_LIMIT = 20_000
const FOLLOW_MS = 1000

export const journal: Verb = {
  usage: 'kube-agent journal [--since SEQ] [--pod NAMESPACE/NAME] [--limit N] [--follow] [--json]',
  summary: 'Show what the running agent decided: what, from what to what, and why.',
  details: `
Without --since the newest entries, oldest first. With it those after that number, so that one page leads
to the next; the last line says how to read on. The agent keeps its last journal.decisions entries of
either kind, moves of the allowance and all else, in memory. Times are UTC.`,
  flags: {
    ...CONFIG_FLAGS,
    ...ADDRESS_FLAGS,
    since: { type: 'string', value: 'SEQ', help: 'Only entries with a higher number, oldest first.' },
    pod: { type: 'string', value: 'NAMESPACE/NAME', completes: 'pod', help: 'Only entries about this pod.' },
    limit: { type: 'string', short: 'n', value: 'N', help: `At most so many entries. Default: ${DEFAULT_LIMIT}.` },
    follow: { type: 'boolean', short: 'f', help: 'Go on with new entries until Ctrl-C.' },
    ...JSON_FLAG,
  },
  maxOperands: 0,
  run: async (parsed) => {
    const { config } = configOf(parsed)
    const limit = numberFlag(parsed, 'limit', 1) ?? DEFAULT_LIMIT
    const pod = textFlag(parsed, 'pod')
    if (pod !== undefined && !/^[^/\s]+\/[^/\s]+$/.test(pod))
      throw new AgentError('E_USAGE', `--pod wants NAMESPACE/NAME, got ${JSON.stringify(pod)}`)
    const query: Query = { limit, ...(pod === undefined ? {} : { pod }) }
    const json = parsed.flags['json'] === true
    const since = numberFlag(parsed, 'since', 0)
    const page = await read(parsed, config, { ...query, ...(since === undefined ? {} : { since }) })
    if (parsed.flags['follow'] === true) return follow(parsed, config, { first: page, query })
    print(json ? JSON.stringify(page, undefined, 2) : renderJournal(page, { since, ...(pod === undefined ? {} : { pod }) }))
    return EXIT.ok
  },
}

interface Query {
  readonly since?: number
  readonly pod?: string
  readonly limit: number
}

function numberFlag(parsed: Parsed, name: string, least: number): number | undefined {
  const text = textFlag(parsed, name)
  if (text === undefined) return undefined
  const most = name === 'limit' ? MOST_LIMIT : Number.MAX_SAFE_INTEGER
  const value = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN
  if (!(value >= least && value <= most))
    throw new AgentError('E_USAGE', `--${name} wants a whole number from ${least} to ${most}, got ${JSON.stringify(text)}`)
  return value
}

async function read(parsed: Parsed, config: Config, { since, pod, limit }: Query): Promise<JournalPage> {
  const query = new URLSearchParams({ limit: String(limit) })
  if (since !== undefined) query.set('since', String(since))
  if (pod !== undefined) query.set('pod', pod)
  const { status, body } = await ask(parsed, config, `/journal?${query.toString()}`, 'application/json')
  const answer: unknown = status === 200 ? JSON.parse(body) : undefined
  if (!isPage(answer))
    throw new AgentError('E_NO_AGENT', `no journal came back (HTTP ${status}): ${oneLine(body, 200)}`, {
      hint: 'Is it a kube-agent that answers there? See --address.',
    })
  return answer
}

function isPage(answer: unknown): answer is JournalPage {
  return typeof answer === 'object' && answer !== null && 'entries' in answer && Array.isArray(answer.entries) && 'next' in answer
}

/** Prints the page and what comes after it. JSON is an entry a line then. Ends with the signal, or with the agent. */
async function follow(
  parsed: Parsed,
  config: Config,
  { first, query }: { readonly first: JournalPage; readonly query: Query },
): Promise<typeof EXIT.ok> {
  const stop = stopSignal()
  const show = ({ entries }: JournalPage): void => {
    for (const entry of entries) print(parsed.flags['json'] === true ? JSON.stringify(entry) : renderJournalEntry(entry))
  }
  show(first)
  for (let { next } = first; !stop.asked;) {
    await Promise.race([sleep(FOLLOW_MS), stop.promise])
    if (stop.asked) break
    const page = await read(parsed, config, { ...query, since: next })
    show(page)
    next = page.next
  }
  return EXIT.ok
}
