/**
 * What a PromQL expression names: enough of a reader for the expressions that are shipped, to hold them to the metrics that exist. That
 * they are valid PromQL is promtool's to say.
 */
import { registeredMetrics, type MetricSpec } from '../../../scripts/reference/metrics.ts'

interface Matcher {
  readonly label: string
  readonly op: '=' | '!=' | '=~' | '!~'
  readonly value: string
}

/** A vector selector: `name{matchers}`. */
export interface Selector {
  readonly name: string
  readonly matchers: readonly Matcher[]
}

interface Named {
  readonly selectors: readonly Selector[]
  /** Labels that are grouped or matched by. */
  readonly grouping: readonly string[]
}

const TOKEN = /"(?:[^"\\]|\\.)*"|\$?[a-zA-Z_:][\w:]*|[\d.]+[a-z]*|[=!<>~]+|\S/g
const LABEL_LISTS = new Set(['by', 'without', 'on', 'ignoring', 'group_left', 'group_right'])
const KEYWORDS = new Set(['and', 'or', 'unless', 'bool', 'offset', 'inf', 'nan'])
const isWord = (token: string | undefined): token is string => token !== undefined && /^[a-zA-Z_:]/.test(token)

/** The selectors and labels of an expression. Throws on what it does not understand. */
export function namesIn(expr: string): Named {
  const tokens: readonly string[] = expr.match(TOKEN) ?? []
  const selectors: Selector[] = []
  const grouping: string[] = []
  for (let at = 0; at < tokens.length; at += 1) {
    const token = tokens[at] ?? ''
    if (token === '[') at = tokens.indexOf(']', at)
    else if (LABEL_LISTS.has(token)) {
      const end = tokens.indexOf(')', at)
      grouping.push(...tokens.slice(at + 2, end).filter(isWord))
      at = end
    } else if (isWord(token) && !KEYWORDS.has(token) && tokens[at + 1] !== '(' && !LABEL_LISTS.has(tokens[at + 1] ?? '')) {
      const end = tokens[at + 1] === '{' ? tokens.indexOf('}', at) : at
      selectors.push({ name: token, matchers: matchersIn(tokens.slice(at + 2, Math.max(at + 2, end))) })
      at = end
    }
  }
  return { selectors, grouping }
}

function matchersIn(tokens: readonly string[]): readonly Matcher[] {
  const matchers: Matcher[] = []
  for (let at = 0; at < tokens.length; at += 4) {
    const [label = '', op = '', value = ''] = tokens.slice(at, at + 3)
    if (!/^(?:=|!=|=~|!~)$/.test(op)) throw new Error(`not a matcher: ${tokens.slice(at, at + 3).join('')}`)
    matchers.push({ label, op: op as Matcher['op'], value: JSON.parse(value) as string })
  }
  return matchers
}

/** Labels that Prometheus gives every series of a target. */
const OF_TARGET = ['instance', 'job']
const BY_NAME = new Map(registeredMetrics().map((metric) => [metric.name, metric]))

/** The labels that a series of this name has; undefined when there is no such metric. */
export function labelsOf(name: string): readonly string[] | undefined {
  if (name === 'up') return OF_TARGET
  const labels = (metric: MetricSpec | undefined): readonly string[] | undefined => metric && [...OF_TARGET, ...metric.labelNames]
  const [, base = '', suffix] = /^(.*)_(bucket|sum|count)$/.exec(name) ?? []
  const histogram = BY_NAME.get(base)
  if (histogram?.type === 'histogram') return suffix === 'bucket' ? [...(labels(histogram) ?? []), 'le'] : labels(histogram)
  const metric = BY_NAME.get(name)
  return metric?.type === 'histogram' ? undefined : labels(metric)
}

/** What an expression names that does not exist; empty when all does. */
export function unknownIn(expr: string): readonly string[] {
  const { selectors, grouping } = namesIn(expr)
  const all = new Set(selectors.flatMap(({ name }) => labelsOf(name) ?? []))
  return [
    ...selectors.flatMap(({ name, matchers }) => {
      const labels = labelsOf(name)
      if (labels === undefined) return [`metric ${name}`]
      return matchers.filter(({ label }) => !labels.includes(label)).map(({ label }) => `label ${label} of ${name}`)
    }),
    ...grouping.filter((label) => !all.has(label)).map((label) => `label ${label}`),
  ]
}

/** Whether a series of a scrape is one that the selector is about, whatever target it is of. */
export function selects(
  { name, matchers }: Selector,
  series: { readonly name: string; readonly labels: ReadonlyMap<string, string> },
): boolean {
  if (series.name !== name) return false
  return matchers.every(({ label, op, value }) => {
    if (OF_TARGET.includes(label)) return true
    const has = series.labels.get(label) ?? ''
    const isSame = op.endsWith('~') ? new RegExp(`^(?:${value})$`).test(has) : has === value
    return op.startsWith('!') ? !isSame : isSame
  })
}
