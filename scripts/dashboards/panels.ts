/**
 * Dashboards as data: rows of panels, each a question with the expressions that answer it. What Grafana wants beside that (places in its
 * grid of 24 columns, ids, references of targets) is worked out here, so that a dashboard reads like its screen.
 * Source: grafana.com/docs, "Dashboard JSON model".
 */

/** What `${datasource}` stands for in every panel: the Prometheus that the viewer has chosen. */
const DATASOURCE = { type: 'prometheus', uid: '${datasource}' }

type Unit = 'cores' | 'bytes' | 'percentunit' | 's' | 'short' | 'ops' | 'none'

/** An expression and what its series are called: `{{label}}` stands for the value of a label. */
export interface Query {
  readonly expr: string
  readonly legend: string
}

export interface Panel {
  readonly title: string
  /** What the panel answers and how to read it; shown when the title is pointed at. */
  readonly about: string
  /** label: the name of the series instead of its value. state: bands, of series that are 0 or 1. */
  readonly kind: 'timeseries' | 'stat' | 'label' | 'state' | 'table'
  readonly unit: Unit
  readonly queries: readonly Query[]
  /** Columns of 24. @default the row's columns shared evenly */
  readonly width?: number
  readonly stacked?: true
}

export interface Row {
  readonly title: string
  /** Of its panels, in Grafana's units of about 30 pixels. @default 8 */
  readonly height?: number
  readonly panels: readonly Panel[]
}

export interface Dashboard {
  readonly uid: string
  readonly title: string
  readonly about: string
  /** Whether the viewer picks nodes. */
  readonly picksInstance: boolean
  readonly rows: readonly Row[]
}

const COLUMNS = 24
/** Grafana has no unit for CPUs: a number with the word behind it. */
const UNITS: Readonly<Record<Unit, string>> = {
  cores: 'suffix: cores',
  bytes: 'bytes',
  percentunit: 'percentunit',
  s: 's',
  short: 'short',
  ops: 'ops',
  none: 'none',
}

/** The dashboard as Grafana imports it. */
export function grafanaJson({ uid, title, about, picksInstance, rows }: Dashboard): Readonly<Record<string, unknown>> {
  const panels: unknown[] = []
  let y = 0
  for (const row of rows) {
    const height = row.height ?? 8
    panels.push({
      id: panels.length + 1,
      type: 'row',
      title: row.title,
      collapsed: false,
      panels: [],
      gridPos: at(0, y, COLUMNS, 1),
    })
    y += 1
    let x = 0
    for (const panel of row.panels) {
      const width = panel.width ?? Math.floor(COLUMNS / row.panels.length)
      if (x + width > COLUMNS) {
        x = 0
        y += height
      }
      panels.push({ id: panels.length + 1, gridPos: at(x, y, width, height), ...panelJson(panel) })
      x += width
    }
    y += height
  }
  return {
    uid,
    title,
    description: about,
    tags: ['kube-agent'],
    schemaVersion: 39,
    editable: true,
    graphTooltip: 1,
    refresh: '30s',
    time: { from: 'now-1h', to: 'now' },
    templating: { list: [DATASOURCE_VARIABLE, ...(picksInstance ? [INSTANCE_VARIABLE] : [])] },
    panels,
  }
}

const DATASOURCE_VARIABLE = { name: 'datasource', label: 'Data source', type: 'datasource', query: 'prometheus' }
const INSTANCE_VARIABLE = {
  name: 'instance',
  label: 'Node',
  type: 'query',
  datasource: DATASOURCE,
  query: { query: 'label_values(kube_agent_build_info, instance)', refId: 'instance' },
  refresh: 2,
  sort: 1,
  multi: false,
  includeAll: false,
}

const at = (x: number, y: number, w: number, h: number) => ({ x, y, w, h })

function panelJson({ title, about, kind, unit, queries, stacked }: Panel): Readonly<Record<string, unknown>> {
  const isInstant = kind !== 'timeseries' && kind !== 'state'
  const targets = queries.map(({ expr, legend }, index) => ({
    refId: 'ABCDEFGHIJKLMNOP'.charAt(index),
    datasource: DATASOURCE,
    expr,
    legendFormat: legend,
    ...(isInstant ? { instant: true, range: false } : { range: true }),
    ...(kind === 'table' ? { format: 'table' } : {}),
  }))
  return { title, description: about, datasource: DATASOURCE, targets, ...LOOKS[kind](UNITS[unit], stacked === true) }
}

type Look = (unit: string, stacked: boolean) => Readonly<Record<string, unknown>>

const LOOKS: Readonly<Record<Panel['kind'], Look>> = {
  timeseries: (unit, stacked) => ({
    type: 'timeseries',
    fieldConfig: {
      defaults: {
        unit,
        min: 0,
        custom: {
          lineWidth: 1,
          fillOpacity: stacked ? 40 : 5,
          showPoints: 'never',
          stacking: { mode: stacked ? 'normal' : 'none' },
        },
      },
      overrides: [],
    },
    options: { legend: { displayMode: 'list', placement: 'bottom' }, tooltip: { mode: 'multi', sort: 'desc' } },
  }),
  stat: (unit) => statLook(unit, 'value'),
  label: (unit) => statLook(unit, 'name'),
  // Series of 0 and 1: a band where it is 1.
  state: () => ({
    type: 'state-timeline',
    fieldConfig: {
      defaults: {
        custom: { fillOpacity: 70, lineWidth: 0 },
        mappings: [
          { type: 'value', options: { 0: { text: ' ', color: 'transparent' }, 1: { text: 'in force', color: 'orange' } } },
        ],
      },
      overrides: [],
    },
    options: { mergeValues: true, showValue: 'never', rowHeight: 0.8, legend: { showLegend: false } },
  }),
  table: (unit) => ({
    type: 'table',
    fieldConfig: { defaults: { unit }, overrides: [] },
    options: { showHeader: true },
    transformations: [{ id: 'organize', options: { excludeByName: { Time: true, job: true, __name__: true } } }],
  }),
}

function statLook(unit: string, textMode: 'value' | 'name'): Readonly<Record<string, unknown>> {
  return {
    type: 'stat',
    fieldConfig: { defaults: { unit }, overrides: [] },
    options: { reduceOptions: { calcs: ['lastNotNull'] }, textMode, colorMode: 'none', graphMode: 'none' },
  }
}
