/** The files of deploy/monitoring as data, promtool where it is installed, and a scrape of an agent that has had all kinds of trouble. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'vitest'
import { parse } from 'yaml'
import { KnobTable, OFFLINE_RESOURCES, Run, RUN_KINDS } from '../../../src/model/index.ts'
import { IO, MEMORY, MEMORY_OFFER, OFFER, reading, recorder, REGISTERED, SIGNALS, SUPPRESSION, tick } from '../record/fixtures.ts'

const MONITORING = new URL('../../../deploy/monitoring/', import.meta.url)
export const RULES_FILE = new URL('alerts.yaml', MONITORING).pathname

export interface AlertRule {
  readonly alert: string
  readonly expr: string
  readonly for?: string
  readonly labels: Readonly<Record<string, string>>
  readonly annotations: { readonly summary: string; readonly description: string; readonly runbook_url: string }
}

/** Every alert that is shipped. */
export const ALERTS: readonly AlertRule[] = (
  parse(readFileSync(RULES_FILE, 'utf8')) as { readonly groups: readonly { readonly rules: readonly AlertRule[] }[] }
).groups.flatMap(({ rules }) => rules)

interface DashboardJson {
  readonly title: string
  readonly uid: string
  readonly panels: readonly {
    readonly title: string
    readonly type: string
    readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number }
    readonly targets?: readonly { readonly expr: string; readonly legendFormat: string }[]
  }[]
}

/** Every dashboard that is shipped, by its file name. */
export const DASHBOARDS: ReadonlyMap<string, { readonly text: string; readonly json: DashboardJson }> = new Map(
  readdirSync(new URL('dashboards/', MONITORING)).map((name) => {
    const text = readFileSync(new URL(`dashboards/${name}`, MONITORING), 'utf8')
    return [name, { text, json: JSON.parse(text) as DashboardJson }]
  }),
)

/** The expression as a data source gets it: with Grafana's variables filled in. */
export function filledIn(expr: string, instance = 'node-a'): string {
  return expr.replaceAll('$__rate_interval', '5m').replaceAll('$instance', instance)
}

/** All expressions that panels ask for. */
export const PANEL_QUERIES = [...DASHBOARDS].flatMap(([file, { json }]) =>
  json.panels.flatMap(({ title, targets = [] }) =>
    targets.map(({ expr, legendFormat }) => ({ file, title, expr, legend: legendFormat })),
  ),
)

/** Skips the test where Prometheus' tool is not installed. */
export function needsPromtool(context: TestContext): void {
  if (spawnSync('promtool', ['--version']).status !== 0) context.skip('needs promtool (Debian: prometheus)')
}

/** Runs promtool on a file of this text, given as its last word or as standard input. */
export function promtool(
  words: readonly string[],
  text: string,
  as: 'file' | 'input' = 'file',
): { code: number | null; output: string } {
  const directory = mkdtempSync(join(tmpdir(), 'kube-agent-promtool-'))
  try {
    const file = join(directory, 'given.yaml')
    writeFileSync(file, text)
    const run = spawnSync('promtool', as === 'file' ? [...words, file] : [...words], {
      encoding: 'utf8',
      timeout: 30_000,
      ...(as === 'input' ? { input: text } : {}),
    })
    return { code: run.status, output: `${run.stdout}${run.stderr}` }
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

/** Runs promtool's tests of rules, those of each rule in a file of their own, and resolves with what it says of each alert. */
export function testedRules(
  cases: readonly { readonly rule: AlertRule; readonly tests: readonly unknown[] }[],
): ReadonlyMap<string, string> {
  const directory = mkdtempSync(join(tmpdir(), 'kube-agent-promtool-'))
  try {
    const files = cases.map(({ rule, tests }) => {
      const [rules, file] = [join(directory, `${rule.alert}.rules.yaml`), join(directory, `${rule.alert}.test.yaml`)]
      writeFileSync(rules, JSON.stringify({ groups: [{ name: rule.alert, rules: [rule] }] }))
      writeFileSync(file, JSON.stringify({ rule_files: [rules], evaluation_interval: '1m', tests }))
      return file
    })
    const { stdout, stderr } = spawnSync('promtool', ['test', 'rules', ...files], { encoding: 'utf8', timeout: 50_000 })
    // It says which file it is at on standard output, and what is wrong, naming the alert, on standard error.
    const parts = stdout.split(/^Unit Testing: +/m).slice(1)
    const failures = stderr.split(/^(?= +alertname: )/m)
    return new Map(
      parts.map((part) => {
        const alert = /([^/]+)\.test\.yaml/.exec(part)?.[1] ?? ''
        const [failure] = failures.filter((text) => text.includes(`alertname: ${alert},`))
        return [alert, failure ?? part.split('\n').slice(1).join('\n').trim()]
      }),
    )
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

interface Series {
  readonly name: string
  readonly labels: ReadonlyMap<string, string>
}

/** The scrape of an agent whose rules are all on, hot, short of memory and cut off from the API server. */
export async function troubledScrape(): Promise<string> {
  const record = recorder()
  record.resources(OFFLINE_RESOURCES.map((resource) => ({ ...REGISTERED, resource })))
  record.allocations({ exact: true })
  record.cluster({ server: 's', writes: { createEvent: { ok: 1, failed: 1 } }, droppedEvents: 0, lastOkWallMs: 1 })
  record.guardBeat(1, false)
  for (const kind of RUN_KINDS) {
    const run = new Run('some')
    run.ok(1, 1)
    run.failed('EIO', 2)
    record.watch(kind, () => [run])
  }
  const online = { cpuPressure: reading({ someUsPerSecond: 1 }, 1), ioPressure: reading({ someUsPerSecond: 1 }, 1) }
  const pressure = { source: 'online groups', permyriad: 3100, boundPermyriad: 2000, is: 'futile' } as const
  record.tick({
    ...tick({
      suppression: { ...SUPPRESSION, pressure, ladder: { inForce: ['cpuNarrow'] } },
      memory: MEMORY,
      io: IO,
      signals: SIGNALS,
      evictions: {},
      offers: [OFFER, MEMORY_OFFER, { ...OFFER, resource: 'ot-cpu' }, { ...MEMORY_OFFER, resource: 'ot-memory' }],
      online,
    }),
    drift: { knobs: new KnobTable(), found: {}, news: [] },
  })
  return record.metricsText()
}

/** The series of a scrape. Values of labels here hold no quotes. */
export function seriesOf(text: string): readonly Series[] {
  return text
    .split('\n')
    .filter((line) => /^\w/.test(line))
    .map((line) => {
      const [, name = '', labels = ''] = /^(\w+)(?:\{(.*)\})? /.exec(line) ?? []
      const pairs = [...labels.matchAll(/(\w+)="([^"]*)"/g)].map(([, label = '', value = '']): [string, string] => [label, value])
      return { name, labels: new Map(pairs) }
    })
}
