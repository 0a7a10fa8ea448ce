/**
 * The landing page: for browsers the status page, for terminals a list of links and the status as text. The page is one document that is
 * filled in once, so that it says how things stand without its script too; the script then keeps it up to date from /statusz, /history and
 * /journal. Every text of the node goes through `escape`, since pod names and errors come from elsewhere.
 */
import { briefStatus, renderStatus } from '../record/index.ts'
import { type AssetName, assetText } from '../web/index.ts'
import { type Answer, json, text } from './answers.ts'
import { MEDIA_TYPES } from './negotiate.ts'
import type { PageContext } from './pages.ts'
import type { Request } from './request.ts'

interface Link {
  readonly path: string
  readonly about: string
}

/** Nothing but what this server serves, nothing inline, nobody who frames it, no markup made from text (Trusted Types). */
const PAGE_POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
].join('; ')

/** `/` in the form that was asked for. */
export function landing({ format }: Request, { recorder, now, liveMaxAgeMs }: PageContext, links: readonly Link[]): Answer {
  if (format === 'json') return json(200, { pages: links.map(({ path, about }) => ({ path, about })) })
  const status = recorder.status(now().nowMs)
  const brief = briefStatus(status)
  const page = renderStatus(status)
  if (format === 'text') return text(200, `${brief}\n\n${linkLines(links)}\n${page}`)
  // Relative, so that the page works behind a proxy that serves it under a path of its own.
  const items = links.slice(1).map(({ path, about }) => `<li><a href="${path.slice(1)}">${path}</a> ${escape(about)}</li>`)
  const parts: Readonly<Record<string, string>> = {
    node: escape(status.nodeName),
    version: escape(status.version),
    brief: escape(brief),
    staleMs: String(liveMaxAgeMs),
    page: escape(page),
    links: items.join('\n'),
  }
  // One pass: what is filled in is not looked at again.
  const body = assetText('status.html').replaceAll(/\{\{(\w+)\}\}/g, (_all, name: string) => parts[name] ?? '')
  return { status: 200, type: MEDIA_TYPES.html, body, headers: { 'Content-Security-Policy': PAGE_POLICY } }
}

/** Scripts and style sheets of the page, by path. */
const UI: Readonly<Record<string, AssetName>> = {
  '/ui/status.js': 'status.js',
  '/ui/feed.js': 'feed.js',
  '/ui/dom.js': 'dom.js',
  '/ui/format.js': 'format.js',
  '/ui/map.js': 'map.js',
  '/ui/charts.js': 'charts.js',
  '/ui/tables.js': 'tables.js',
  '/ui/status.css': 'status.css',
  '/ui/uplot.js': 'uplot.js',
  '/ui/uplot.css': 'uplot.css',
}

/** Undefined for a path that is none of the page's files. */
export function uiAsset(path: string): Answer | undefined {
  const name = Object.hasOwn(UI, path) ? UI[path] : undefined
  if (name === undefined) return undefined
  const type = name.endsWith('.css') ? 'text/css; charset=utf-8' : 'text/javascript; charset=utf-8'
  return { status: 200, type, body: assetText(name) }
}

/** A line for each page, for terminals. */
export function linkLines(links: readonly Link[]): string {
  const width = Math.max(...links.map(({ path }) => path.length))
  return links.map(({ path, about }) => `  ${path.padEnd(width)}  ${about}\n`).join('')
}

function escape(words: string): string {
  return words
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll("'", '&#39;')
}
