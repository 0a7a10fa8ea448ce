/**
 * The table of pages, and how a request finds the right one: path, method, form. No socket in sight, so the table below is all there is
 * to know about them. Texts are for people and not for parsing (KEP-4827 and KEP-4828 say the same of Kubernetes' own /statusz and /flagz); programs ask for
 * JSON.
 */
import { type Answer, refuse } from './answers.ts'
import { flagz } from './flags.ts'
import { landing, linkLines, uiAsset } from './landing.ts'
import { setLogLevel, showLogLevel } from './log-level.ts'
import { chooseFormat, type Format } from './negotiate.ts'
import { configz, explain, history, journal, livez, metrics, type PageContext, readyz, statusz } from './pages.ts'
import type { Request } from './request.ts'

interface Route {
  readonly path: string
  readonly about: string
  /** The forms it comes in, its favourite first. A page of one form is sent whatever the client would like: probes and scrapers ask oddly. */
  readonly forms: readonly [Format, ...Format[]]
  readonly get: (request: Request, context: PageContext) => Answer | Promise<Answer>
  readonly put?: (request: Request, context: PageContext) => Answer
  /** Answered however much is asked: what the kubelet asks, at next to no cost. */
  readonly isProbe?: true
}

/** In the order of the landing page. */
const ROUTES: readonly Route[] = [
  {
    path: '/',
    about: 'the status page; ?format=text for text',
    forms: ['html', 'text', 'json'],
    get: (request, context) => landing(request, context, ROUTES),
  },
  { path: '/metrics', about: 'metrics for Prometheus', forms: ['text'], get: metrics },
  { path: '/livez', about: 'whether the loop turns', forms: ['text'], get: livez, isProbe: true },
  { path: '/healthz', about: 'the older name of /livez, with the same answer', forms: ['text'], get: livez, isProbe: true },
  {
    path: '/readyz',
    about: 'whether the agent does its work; ?verbose lists the checks',
    forms: ['text', 'json'],
    get: readyz,
    isProbe: true,
  },
  {
    path: '/statusz',
    about: 'how agent and node stand; ?brief for one line, ?format=json for programs, with every pod',
    forms: ['text', 'json'],
    get: (request, context) => statusz(request, context, PATHS),
  },
  {
    path: '/configz',
    about: 'the effective configuration, and where each value comes from; ?format=json',
    forms: ['text', 'json'],
    get: configz,
  },
  {
    path: '/flagz',
    about: 'the command line that the agent was started with; ?format=json',
    forms: ['text', 'json'],
    get: flagz,
  },
  {
    path: '/journal',
    about: 'the last decisions: ?since=SEQ&pod=NAMESPACE/NAME&limit=N, &news without moves of the allowance; ?format=text',
    forms: ['json', 'text'],
    get: journal,
  },
  { path: '/history', about: 'the last ten minutes in numbers as JSON: ?since=NUMBER', forms: ['json'], get: history },
  {
    path: '/explain',
    about: 'why: ?subject=pod/NAMESPACE/NAME, cpu/N, resource/be-cpu, knob/PATH/FILE or group/PATH; ?format=json',
    forms: ['text', 'json'],
    get: explain,
  },
  {
    path: '/loglevel',
    about: 'the level of the log; PUT one to change it until the next reload, from this node only',
    forms: ['text', 'json'],
    get: (request, { logger }) => showLogLevel(request, logger),
    put: (request, { logger }) => setLogLevel(request, logger),
  },
]

const PATHS = ROUTES.map(({ path }) => path)

/** Whether a body is read at all. */
export function takesBody(method: string, path: string): boolean {
  return method === 'PUT' && ROUTES.some((route) => route.path === path && route.put !== undefined)
}

/** Whether it is a page that the kubelet asks for. */
export function isProbe(path: string): boolean {
  return ROUTES.some((route) => route.path === path && route.isProbe === true)
}

/**
 * Answers one request; with `inline` in its query always with 200, and with the status as the first line of the body: of a failure `kubectl get
 * --raw` shows the status and not the body. Throws only for a bug.
 */
export async function route(request: Omit<Request, 'format'>, context: PageContext): Promise<Answer> {
  const answer = await answerOf(request, context)
  return request.query.has('inline') ? { ...answer, status: 200, body: `${answer.status}\n${answer.body}` } : answer
}

async function answerOf(request: Omit<Request, 'format'>, context: PageContext): Promise<Answer> {
  const { method, path, query, accept } = request
  const isGet = method === 'GET' || method === 'HEAD'
  const asset = uiAsset(path)
  if (asset !== undefined && isGet) return asset
  const found = ROUTES.find((candidate) => candidate.path === path)
  if (found === undefined && asset === undefined)
    return refuse(404, { message: 'no such page; there are:', hint: linkLines(ROUTES).trimEnd() }, accept)
  const handler = isGet ? found?.get : method === 'PUT' ? found?.put : undefined
  if (found === undefined || handler === undefined) return methodRefused(path, found?.put !== undefined, accept)
  const { forms } = found
  const asked = query.get('format')
  if (asked !== null && !forms.some((form) => form === asked)) {
    const hint = `${path} comes as ${forms.map((form) => `?format=${form}`).join(' or ')}`
    return refuse(400, { message: `no format ${JSON.stringify(asked.slice(0, 40))} here`, hint }, accept)
  }
  const [only] = forms
  const format = (asked as Format | null) ?? (forms.length === 1 ? only : chooseFormat(accept, forms))
  if (format === undefined) {
    const hint = `${path} comes as ${forms.join(' or ')}: ask with ?format=${only}, or accept it`
    return refuse(406, { message: 'none of the forms of this page is accepted', hint }, accept)
  }
  return handler({ ...request, format }, context)
}

function methodRefused(path: string, canPut: boolean, accept: string): Answer {
  const allowed = canPut ? 'GET, HEAD, PUT' : 'GET, HEAD'
  return refuse(405, { message: `${path} takes ${allowed} only`, headers: { Allow: allowed } }, accept)
}
