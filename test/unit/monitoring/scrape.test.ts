/** A scrape as promtool sees it: of an agent with every kind of series, and with one mistake of each kind that it should find. */
import { describe, expect, it } from 'vitest'
import { Metrics } from '../../../src/record/metrics/metrics.ts'
import { tick } from '../record/fixtures.ts'
import { needsPromtool, promtool, troubledScrape } from './support.ts'

describe('promtool check metrics', () => {
  it('finds nothing in the scrape of an agent in trouble', async (context) => {
    needsPromtool(context)
    expect(promtool(['check', 'metrics'], await troubledScrape(), 'input')).toEqual({ code: 0, output: '' })
  })

  it('finds nothing in series of single pods', async (context) => {
    needsPromtool(context)
    const metrics = new Metrics({ version: '0.1.0', startedWallMs: 1, maxPodSeries: 2 })
    metrics.tick(tick(), [])
    const text = await metrics.text()
    expect(text).toContain('kube_agent_pod_series_omitted 1')
    expect(promtool(['check', 'metrics'], text, 'input')).toEqual({ code: 0, output: '' })
  })

  it('would find a counter without _total and a metric without a help', (context) => {
    needsPromtool(context)
    const found = promtool(['check', 'metrics'], '# HELP a_b x\n# TYPE a_b counter\na_b 1\n# TYPE c_d gauge\nc_d 1\n', 'input')
    expect(found.code).not.toBe(0)
    expect(found.output).toMatch(/_total/)
    expect(found.output).toMatch(/help/)
  })
})
