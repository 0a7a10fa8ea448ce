/**
 * The pages, as functions from a request to an answer: no socket in sight, so the table below is all there is to know about them.
 * Texts are for people and not for parsing (KEP-4827 says the same of Kubernetes' own /statusz); programs ask for JSON.
 */
import { AgentError, type Instant } from '../model/index.ts'
import { briefStatus, METRICS_CONTENT_TYPE, type Recorder, renderExplanation, renderStatus } from '../record/index.ts'
import { landingPage } from './landing.ts'

export interface RouteContext {
  readonly recorder: Recorder
  readonly now: () => Instant
  readonly liveMaxAgeMs: number
  readonly configText?: () => string
}

export interface Request {
  readonly path: string
  readonly query: URLSearchParams
  readonly accept: string
}

export interface Answer {
  readonly status: number
  readonly type: string
  readonly body: string
  readonly headers?: Readonly<Record<string, string>>
}

interface Route {
  readonly path: string
  readonly about: string
  readonly answer: (request: Request, context: RouteContext) => Answer | Promise<Answer>
}

/** In the order of the landing page. */
const ROUTES: readonly Route[] = [
  { path: '/', about: 'this page; ?format=text for text', answer: landing },
  { path: '/metrics', about: 'metrics for Prometheus', answer: metrics },
  { path: '/livez', about: 'whether the loop turns', answer: livez },
  { path: '/readyz', about: 'whether the agent does its work; ?verbose lists the checks', answer: readyz },
  { path: '/statusz', about: 'how agent and node stand; ?brief for one line, ?format=json for programs', answer: statusz },
  { path: '/configz', about: 'the effective configuration', answer: configz },
  { path: '/journal', about: 'the last decisions as JSON: ?since=SEQ&pod=NAMESPACE/NAME&limit=N', answer: journal },
  {
    path: '/explain',
    about: 'why: ?subject=pod/NAMESPACE/NAME, cpu/N, resource/be-cpu or group/PATH; ?format=json',
    answer: explain,
  },
]

/** Answers one request. Throws only for a bug. */
export async function route(request: Request, context: RouteContext): Promise<Answer> {
  const found = ROUTES.find(({ path }) => path === request.path)
  if (found !== undefined) return found.answer(request, context)
  return text(404, `no such page; there are:\n${routeList()}`)
}

/** A plain-text answer. */
export function text(status: number, body: string): Answer {
  return { status, type: 'text/plain; charset=utf-8', body }
}

function json(status: number, value: unknown): Answer {
  return { status, type: 'application/json; charset=utf-8', body: `${JSON.stringify(value, null, 2)}\n` }
}

function wantsJson({ query, accept }: Request): boolean {
  const format = query.get('format')
  return format === null ? accept.includes('application/json') : format === 'json'
}

function routeList(): string {
  const width = Math.max(...ROUTES.map(({ path }) => path.length))
  return ROUTES.map(({ path, about }) => `  ${path.padEnd(width)}  ${about}\n`).join('')
}

function landing({ query }: Request, { recorder, now }: RouteContext): Answer {
  const status = recorder.status(now().nowMs)
  const page = renderStatus(status)
  if (query.get('format') === 'text') return text(200, `${briefStatus(status)}\n\n${routeList()}\n${page}`)
  const body = landingPage({ title: `kube-agent on ${status.nodeName}`, brief: briefStatus(status), page, links: ROUTES })
  return { status: 200, type: 'text/html; charset=utf-8', body }
}

async function metrics(_request: Request, { recorder }: RouteContext): Promise<Answer> {
  return { status: 200, type: METRICS_CONTENT_TYPE, body: await recorder.metricsText() }
}

function livez(_request: Request, { recorder, now, liveMaxAgeMs }: RouteContext): Answer {
  const { ok, detail } = recorder.live(now().nowMs, liveMaxAgeMs)
  return ok ? text(200, 'ok\n') : text(503, `not alive: ${detail}\n`)
}

function readyz({ query }: Request, { recorder }: RouteContext): Answer {
  const { ok, checks } = recorder.ready()
  const status = ok ? 200 : 503
  if (query.has('verbose')) {
    const lines = checks.map((check) => `[${check.ok ? '+' : '-'}] ${check.name}: ${check.detail}\n`)
    return text(status, `${lines.join('')}${ok ? 'ready' : 'not ready'}\n`)
  }
  const failing = checks.filter((check) => !check.ok).map(({ name, detail }) => `${name}: ${detail}`)
  return text(status, ok ? 'ok\n' : `not ready: ${failing.join('; ')}\n`)
}

function statusz(request: Request, { recorder, now }: RouteContext): Answer {
  const status = recorder.status(now().nowMs)
  if (request.query.has('brief')) return text(200, `${briefStatus(status)}\n`)
  return wantsJson(request) ? json(200, status) : text(200, renderStatus(status))
}

function configz(_request: Request, { configText }: RouteContext): Answer {
  return configText === undefined ? text(404, 'the configuration is not shown here\n') : text(200, configText())
}

function journal({ query }: Request, { recorder }: RouteContext): Answer {
  const since = wholeNumber(query, 'since')
  const limit = wholeNumber(query, 'limit')
  if (since === 'bad') return text(400, 'since is not a whole number from 0\n')
  if (limit === 'bad' || limit === 0) return text(400, 'limit is not a whole number from 1\n')
  const pod = query.get('pod')
  return json(
    200,
    recorder.journal({
      ...(since === undefined ? {} : { since }),
      ...(limit === undefined ? {} : { limit }),
      ...(pod === null ? {} : { pod }),
    }),
  )
}

/** Undefined when the query does not have it. */
function wholeNumber(query: URLSearchParams, name: string): number | 'bad' | undefined {
  const value = query.get(name)
  if (value === null) return undefined
  return /^\d{1,15}$/.test(value) ? Number(value) : 'bad'
}

function explain(request: Request, { recorder, now }: RouteContext): Answer {
  const subject = request.query.get('subject') ?? ''
  if (subject === '') return text(400, 'name a subject, as in /explain?subject=pod/NAMESPACE/NAME\n')
  try {
    const explanation = recorder.explain(subject, now().nowMs)
    return wantsJson(request) ? json(200, explanation) : text(200, renderExplanation(explanation))
  } catch (thrown) {
    if (!(thrown instanceof AgentError) || thrown.code !== 'E_NO_SUBJECT') throw thrown
    const { code, message, hint } = thrown
    return wantsJson(request) ? json(404, { code, message, hint }) : text(404, `${message}\n${hint}\n`)
  }
}
