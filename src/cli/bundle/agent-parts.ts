/** What a running agent has to tell, page by page, asked over HTTP like every other verb does. */
import { AgentError, oneLine } from '../../model/index.ts'
import type { JournalEntry } from '../../record/index.ts'
import type { Answer } from '../client.ts'
import { MAX_PART_BYTES, type Part, type TextPart } from './part.ts'

/** Asks the agent for a path. Rejects with E_NO_AGENT when nothing answers in time. */
export type Get = (path: string) => Promise<Answer>

/** File in the bundle and page of the agent. */
const PAGES: readonly (readonly [file: string, page: string])[] = [
  ['status.txt', '/statusz?format=text'],
  ['status.json', '/statusz?format=json'],
  ['readyz.txt', '/readyz?verbose&format=text'],
  ['livez.txt', '/livez'],
  ['configz.txt', '/configz?format=text'],
  ['configz.json', '/configz?format=json'],
  ['metrics.txt', '/metrics'],
  ['history.json', '/history'],
  ['loglevel.txt', '/loglevel?format=text'],
  ['flagz.txt', '/flagz?format=text'],
]
/** They say that the agent is not well with this status, and say why. */
const MAY_FAIL: ReadonlySet<string> = new Set(['readyz.txt', 'livez.txt'])
const JOURNAL = { path: 'agent/journal.jsonl', source: 'the pages of /journal' } as const
const PODS = { path: 'agent/explain-pods.txt', source: '/explain, for each pod of status.json' } as const
const RESOURCES = { path: 'agent/explain-resources.txt', source: '/explain, for each resource that is sold' } as const

const PAGE_ENTRIES = 500
/** More than an agent keeps: for one that decides faster than it is asked. */
const MOST_PAGES = 100
const MOST_PODS = 1000
/** For the explanations of all pods: an agent gives no more than a share of its time to answers. */
const EXPLAIN_MS = 30_000
const MAX_REASON = 300

/** Why the agent can't be asked; undefined when one answers. */
export async function whyNoAgent(get: Get): Promise<string | undefined> {
  try {
    const { status, body } = await get('/statusz?brief&format=text')
    return status === 200 && /^(OK|error)\b/.test(body) ? undefined : `what answers is no kube-agent: HTTP ${status}`
  } catch (thrown) {
    return reasonOf(thrown)
  }
}

/** Every part of an agent that answers; `now` is a monotonic clock in milliseconds. */
export async function* agentParts(get: Get, now: () => number): AsyncGenerator<Part> {
  let status = ''
  for (const [file, page] of PAGES) {
    const part = await pagePart(get, file, page)
    if (file === 'status.json' && part.is === 'text') status = part.text
    yield part
  }
  yield await journalPart(get)
  yield* explainParts(get, status, now)
}

/** The same parts of an agent that does not answer. */
export function noAgentParts(reason: string): readonly Part[] {
  const named = [...PAGES.map(([file, page]) => ({ path: `agent/${file}`, source: page })), JOURNAL, PODS, RESOURCES]
  return named.map((part) => ({ is: 'missing', ...part, reason }))
}

async function pagePart(get: Get, file: string, page: string): Promise<Part> {
  const named = { path: `agent/${file}`, source: page }
  try {
    const { status, body } = await get(page)
    if (status === 200) return { is: 'text', ...named, text: body }
    if (MAY_FAIL.has(file) && status === 503) return { is: 'text', ...named, text: body, note: 'HTTP 503: the agent is not well' }
    return { is: 'missing', ...named, reason: `HTTP ${status}: ${oneLine(body.split('\n')[0] ?? '', MAX_REASON)}` }
  } catch (thrown) {
    return { is: 'missing', ...named, reason: reasonOf(thrown) }
  }
}

interface Page {
  readonly entries: readonly JournalEntry[]
  readonly next: number
  readonly oldest: number
}

/** All entries that the agent has kept, one a line, oldest first; of too many the newest. */
async function journalPart(get: Get): Promise<Part> {
  const read = async (query: string): Promise<Page> => {
    const { status, body } = await get(`/journal?${query}`)
    if (status !== 200) throw new AgentError('E_NO_AGENT', `HTTP ${status}: ${oneLine(body, MAX_REASON)}`)
    return JSON.parse(body) as Page
  }
  try {
    const lines: string[] = []
    let since = Math.max(0, (await read('limit=1')).oldest - 1)
    for (let page = 0; page < MOST_PAGES; page += 1) {
      const { entries, next } = await read(`since=${since}&limit=${PAGE_ENTRIES}`)
      lines.push(...entries.map((entry) => `${JSON.stringify(entry)}\n`))
      if (entries.length === 0 || next <= since) break
      since = next
    }
    return { is: 'text', ...JOURNAL, ...newest(lines, MAX_PART_BYTES) }
  } catch (thrown) {
    return { is: 'missing', ...JOURNAL, reason: reasonOf(thrown) }
  }
}

/** As many of the last lines as fit. */
function newest(lines: readonly string[], maxBytes: number): { readonly text: string; readonly note?: string } {
  let from = lines.length
  for (let bytes = 0; from > 0; from -= 1) {
    bytes += Buffer.byteLength(lines[from - 1] ?? '')
    if (bytes > maxBytes) break
  }
  const text = lines.slice(from).join('')
  return from === 0 ? { text } : { text, note: `${from} older of ${lines.length} entries left out` }
}

async function* explainParts(get: Get, status: string, now: () => number): AsyncGenerator<Part> {
  const known = parseStatus(status)
  if (known === undefined) {
    for (const part of [PODS, RESOURCES])
      yield { is: 'missing', ...part, reason: 'status.json, which names them, could not be had' }
    return
  }
  const untilMs = now() + EXPLAIN_MS
  yield await explained(get, PODS, { subjects: known.pods.map((pod) => `pod ${pod}`), isOver: () => now() > untilMs })
  yield await explained(get, RESOURCES, { subjects: known.resources.map((name) => `resource ${name}`), isOver: () => false })
}

interface Subjects {
  readonly subjects: readonly string[]
  readonly isOver: () => boolean
}

async function explained(get: Get, named: Pick<TextPart, 'path' | 'source'>, { subjects, isOver }: Subjects): Promise<Part> {
  const texts: string[] = []
  let bytes = 0
  for (const subject of subjects.slice(0, MOST_PODS)) {
    if (isOver() || bytes > MAX_PART_BYTES) break
    try {
      const { body } = await get(`/explain?subject=${encodeURIComponent(subject)}&format=text`)
      const text = `==== ${subject}\n${body}\n`
      texts.push(text)
      bytes += Buffer.byteLength(text)
    } catch (thrown) {
      if (texts.length === 0) return { is: 'missing', ...named, reason: reasonOf(thrown) }
      break
    }
  }
  const left = subjects.length - texts.length
  const note = left === 0 ? {} : { note: `${left} of ${subjects.length} left out` }
  return { is: 'text', ...named, text: texts.join(''), ...note }
}

function parseStatus(text: string): { readonly pods: readonly string[]; readonly resources: readonly string[] } | undefined {
  try {
    const { pods = [], resources = [] } = JSON.parse(text) as {
      readonly pods?: readonly { readonly pod: string }[]
      readonly resources?: readonly { readonly resource: string }[]
    }
    return { pods: [...new Set(pods.map(({ pod }) => pod))], resources: resources.map(({ resource }) => resource) }
  } catch {
    return undefined
  }
}

function reasonOf(thrown: unknown): string {
  if (!(thrown instanceof AgentError || thrown instanceof SyntaxError)) throw thrown
  return oneLine(thrown.message, MAX_REASON)
}
