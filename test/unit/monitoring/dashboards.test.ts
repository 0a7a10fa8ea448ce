/** The dashboards that are shipped: made by the script, asking only for what exists, and laid out without holes or overlaps. */
import { stringify } from 'yaml'
import { describe, expect, it } from 'vitest'
import { dashboardFiles } from '../../../scripts/dashboards/files.ts'
import { namesIn, selects, unknownIn } from './promql.ts'
import { ALERTS, DASHBOARDS, filledIn, needsPromtool, PANEL_QUERIES, promtool, seriesOf, troubledScrape } from './support.ts'

describe('the shipped dashboards', () => {
  it('are those that npm run dashboards writes', async () => {
    const made = await dashboardFiles()
    expect([...made.keys()].sort()).toEqual([...DASHBOARDS.keys()].sort())
    for (const [name, text] of made) expect(DASHBOARDS.get(name)?.text === text, `${name}: run npm run dashboards`).toBe(true)
  })

  it.each([...DASHBOARDS.keys()])('%s has panels with a title and a query each, none over another', (name) => {
    const { panels, title, uid } = DASHBOARDS.get(name)?.json ?? { panels: [], title: '', uid: '' }
    expect(title).not.toBe('')
    expect(uid).toMatch(/^[a-z-]{1,40}$/)
    const taken = new Set<string>()
    for (const { title: of, type, gridPos, targets = [] } of panels) {
      expect(of).not.toBe('')
      if (type !== 'row') expect(targets.length, of).toBeGreaterThan(0)
      expect(gridPos.x + gridPos.w, of).toBeLessThanOrEqual(24)
      for (let x = gridPos.x; x < gridPos.x + gridPos.w; x += 1)
        for (let y = gridPos.y; y < gridPos.y + gridPos.h; y += 1) {
          expect(taken.has(`${x},${y}`), `${of} lies over another panel`).toBe(false)
          taken.add(`${x},${y}`)
        }
    }
  })

  it('name in legends only labels that the series has', () => {
    for (const { title, expr, legend } of PANEL_QUERIES) {
      const labels = [...legend.matchAll(/\{\{(\w+)\}\}/g)].map(([, label = '']) => label)
      const metric = namesIn(filledIn(expr)).selectors[0]?.name ?? ''
      for (const label of labels) expect(unknownIn(`${metric}{${label}="x"}`), `${title}: ${legend}`).toEqual([])
    }
  })

  it('take only the agents where others have metrics of the same name', () => {
    const shared = PANEL_QUERIES.filter(({ expr }) => /\b(?:process|nodejs)_/.test(expr))
    expect(shared.length).toBeGreaterThan(3)
    for (const { title, expr } of shared)
      for (const { name, matchers } of namesIn(filledIn(expr)).selectors)
        expect({ name, job: matchers.some(({ label, value }) => label === 'job' && value === 'kube-agent') }, title).toEqual({
          name,
          job: true,
        })
  })

  it('ask in PromQL', (context) => {
    needsPromtool(context)
    const rules = PANEL_QUERIES.map(({ expr }, index) => ({ record: `panel:${index}`, expr: filledIn(expr) }))
    expect(promtool(['check', 'rules'], stringify({ groups: [{ name: 'panels', rules }] }))).toMatchObject({ code: 0 })
  })
})

const EXPRESSIONS = [
  ...PANEL_QUERIES.map(({ file, title, expr }) => ({ where: `${file}: ${title}`, expr: filledIn(expr) })),
  ...ALERTS.map(({ alert, expr }) => ({ where: alert, expr })),
]

describe('every expression of dashboards and alerts', () => {
  it('names only metrics and labels that the registry has', () => {
    expect(EXPRESSIONS.length).toBeGreaterThan(80)
    const unknown = EXPRESSIONS.flatMap(({ where, expr }) => unknownIn(expr).map((name) => `${where}: there is no ${name}`))
    expect(unknown).toEqual([])
  })

  it('selects series that an agent in trouble really has', async () => {
    const series = seriesOf(await troubledScrape())
    const nothing = EXPRESSIONS.flatMap(({ where, expr }) =>
      namesIn(expr)
        .selectors.filter((selector) => selector.name !== 'up' && !series.some((one) => selects(selector, one)))
        .map(({ name, matchers }) => `${where}: no series of ${name} matches ${JSON.stringify(matchers)}`),
    )
    expect(nothing).toEqual([])
  })

  it('would be caught if it named what is not there', () => {
    expect(unknownIn('rate(kube_agent_tick_total[5m])')).toEqual(['metric kube_agent_tick_total'])
    expect(unknownIn('sum by (pod) (kube_agent_pods{qos="BE"})')).toEqual(['label qos of kube_agent_pods', 'label pod'])
    expect(unknownIn('kube_agent_tick_duration_seconds')).toEqual(['metric kube_agent_tick_duration_seconds'])
    expect(unknownIn('histogram_quantile(0.9, rate(kube_agent_tick_duration_seconds_bucket{le="1"}[5m]))')).toEqual([])
  })
})
