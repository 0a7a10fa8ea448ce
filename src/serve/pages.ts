/** The pages themselves, as functions from a request to an answer; which of them answers what is in routes.ts. */
import { AgentError, type Instant } from '../model/index.ts'
import {
  briefStatus,
  labelled,
  type Logger,
  METRICS_CONTENT_TYPE,
  type Recorder,
  renderExplanation,
  renderJournal,
  renderStatus,
} from '../record/index.ts'
import { type Answer, compactJson, json, refuse, text } from './answers.ts'
import type { FlagInForce } from './flags.ts'
import { MEDIA_TYPES } from './negotiate.ts'
import type { Request } from './request.ts'

export interface PageContext {
  readonly recorder: Recorder
  readonly now: () => Instant
  readonly liveMaxAgeMs: number
  readonly logger: Logger
  /** The effective configuration with the origin of each value; undefined where none is shown. */
  readonly configText?: (() => string) | undefined
  readonly configJson?: (() => string) | undefined
  /** Of the command line; undefined where it is not shown. */
  readonly flags?: readonly FlagInForce[] | undefined
}

/** More entries than this in one answer would hold up the loop; whoever wants them follows `next`. */
const MAX_JOURNAL_ENTRIES = 500

/** Where the values of the status begin. */
const PATHS_COLUMN = 14
const NOT_FOR_PARSING = 'For people and not for parsing: the form may change. ?format=json is for programs.'

export async function metrics(_request: Request, { recorder }: PageContext): Promise<Answer> {
  return { status: 200, type: METRICS_CONTENT_TYPE, body: await recorder.metricsText() }
}

export function livez(_request: Request, { recorder, now, liveMaxAgeMs }: PageContext): Answer {
  const { ok, detail } = recorder.live(now().nowMs, liveMaxAgeMs)
  return ok ? text(200, 'ok\n') : text(503, `not alive: ${detail}\n`)
}

export function readyz({ query, format }: Request, { recorder }: PageContext): Answer {
  const readiness = recorder.ready()
  const { ok, checks } = readiness
  const status = ok ? 200 : 503
  if (format === 'json') return json(status, readiness)
  if (query.has('verbose')) {
    const lines = checks.map((check) => `[${check.ok ? '+' : '-'}] ${check.name}: ${check.detail}\n`)
    return text(status, `${lines.join('')}${ok ? 'ready' : 'not ready'}\n`)
  }
  const failing = checks.filter((check) => !check.ok).map(({ name, detail }) => `${name}: ${detail}`)
  return text(status, ok ? 'ok\n' : `not ready: ${failing.join('; ')}\n`)
}

/** `paths` are those of all pages, which KEP-4827 wants to have named here. */
export function statusz({ query, format }: Request, { recorder, now }: PageContext, paths: readonly string[]): Answer {
  const isBrief = query.has('brief')
  const status = recorder.status(now().nowMs, { pods: format === 'json' && !isBrief })
  if (isBrief) return format === 'json' ? json(200, { brief: briefStatus(status) }) : text(200, `${briefStatus(status)}\n`)
  if (format === 'text') return text(200, `${renderStatus(status)}\n${foot(paths)}`)
  return query.has('compact') ? compactJson(status) : json(200, status)
}

function foot(paths: readonly string[]): string {
  const lines = [...labelled('paths', paths.join(' '), PATHS_COLUMN), NOT_FOR_PARSING]
  return lines.map((line) => `${line}\n`).join('')
}

export function configz({ format, accept }: Request, { configText, configJson }: PageContext): Answer {
  const show = format === 'json' ? configJson : configText
  if (show === undefined) return refuse(404, { message: `the configuration is not shown here as ${format}` }, accept)
  return { status: 200, type: MEDIA_TYPES[format], body: show() }
}

export function journal({ query, format, accept }: Request, { recorder }: PageContext): Answer {
  const since = wholeNumber(query, 'since')
  const limit = wholeNumber(query, 'limit')
  if (since === 'bad') return refuse(400, { message: 'since is not a whole number from 0' }, accept)
  if (limit === 'bad' || limit === 0) return refuse(400, { message: 'limit is not a whole number from 1' }, accept)
  const pod = query.get('pod')
  const asked = {
    ...(since === undefined ? {} : { since }),
    ...(pod === null ? {} : { pod }),
  }
  const page = recorder.journal({
    ...asked,
    ...(limit === undefined ? {} : { limit: Math.min(limit, MAX_JOURNAL_ENTRIES) }),
    news: query.has('news'),
  })
  return format === 'text' ? text(200, `${renderJournal(page, asked)}\n`) : json(200, page)
}

export function history({ query, accept }: Request, { recorder }: PageContext): Answer {
  const since = wholeNumber(query, 'since')
  if (since === 'bad') return refuse(400, { message: 'since is not a whole number from 0' }, accept)
  return compactJson(recorder.history(since))
}

/** Undefined when the query does not have it. */
function wholeNumber(query: URLSearchParams, name: string): number | 'bad' | undefined {
  const value = query.get(name)
  if (value === null) return undefined
  return /^\d{1,15}$/.test(value) ? Number(value) : 'bad'
}

export function explain({ query, format, accept }: Request, { recorder, now }: PageContext): Answer {
  const subject = query.get('subject') ?? ''
  if (subject === '') return refuse(400, { message: 'name a subject, as in /explain?subject=pod/NAMESPACE/NAME' }, accept)
  try {
    const explanation = recorder.explain(subject, now().nowMs)
    return format === 'json' ? json(200, explanation) : text(200, renderExplanation(explanation))
  } catch (thrown) {
    if (!(thrown instanceof AgentError) || thrown.code !== 'E_NO_SUBJECT') throw thrown
    const { code, message, hint } = thrown
    return format === 'json' ? json(404, { code, message, hint }) : text(404, `${message}\n${hint}\n`)
  }
}
