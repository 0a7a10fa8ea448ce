/** Series of pods: none unless asked for, never more than asked for, gone with their pod; and the number of all series of a full node. */
import { performance } from 'node:perf_hooks'
import { describe, expect, it } from 'vitest'
import type { ClassifiedPod, TickRecord } from '../../../src/model/index.ts'
import { quotaOf } from '../../../src/model/index.ts'
import { CpuSet } from '../../../src/cpu/index.ts'
import { Metrics } from '../../../src/record/metrics/metrics.ts'
import { FLINK, pod, tick, WEB } from './fixtures.ts'

const metricsWith = (maxPodSeries: number): Metrics => new Metrics({ version: '0.1.0', startedWallMs: 1000, maxPodSeries })

async function series(metrics: Metrics): Promise<readonly string[]> {
  return (await metrics.text()).split('\n').filter((line) => /^\w/.test(line))
}

const podSeries = async (metrics: Metrics): Promise<readonly string[]> =>
  (await series(metrics)).filter((line) => /^kube_agent_pod_(?:cpu|memory)/.test(line))

/** A node of `count` pods, every tenth an OT and every third a BE pod, each with a quota and CPUs. */
function fullNode(count: number): TickRecord {
  const pods = Array.from({ length: count }, (_, index) =>
    pod(`p${index}`, index % 10 === 0 ? 'OT' : index % 3 === 0 ? 'BE' : 'LS'),
  )
  const actual = pods.flatMap(
    ({ reading }) =>
      [
        [reading.group, 'quota', quotaOf(1500)],
        [reading.group, 'cpuset', CpuSet.parse('2-3')],
      ] as const,
  )
  return tick({ pods, actual })
}

const ended = (of: ClassifiedPod): ClassifiedPod => ({
  ...of,
  reading: { ...of.reading, spec: { ...of.reading.spec, phase: 'Succeeded' } },
})

describe('series of pods', () => {
  it('are not there by default', async () => {
    const metrics = metricsWith(0)
    metrics.tick(fullNode(250), [])
    expect(await podSeries(metrics)).toEqual([])
    expect((await metrics.text()).includes('kube_agent_pod_series_omitted 0')).toBe(false)
  })

  it('tell use, limit and CPUs in base units, and nothing that is not known', async () => {
    const metrics = metricsWith(10)
    const labels = 'namespace="default",pod="flink",uid="uid-flink",class="BE"'
    metrics.tick(tick({ pods: [FLINK, WEB] }), [])
    expect(await podSeries(metrics)).toEqual([
      `kube_agent_pod_cpu_used_cores{${labels}} 0.7`,
      'kube_agent_pod_cpu_used_cores{namespace="default",pod="web",uid="uid-web",class="LS"} 0.7',
      `kube_agent_pod_cpu_quota_cores{${labels}} 0.6`,
      `kube_agent_pod_cpu_throttled_ratio{${labels}} 0.025`,
      'kube_agent_pod_cpu_throttled_ratio{namespace="default",pod="web",uid="uid-web",class="LS"} 0.025',
      `kube_agent_pod_cpuset_cpus{${labels}} 8`,
      `kube_agent_pod_memory_working_set_bytes{${labels}} 1073741824`,
    ])
  })

  it('go when their pod goes, ends or changes its class', async () => {
    const metrics = metricsWith(10)
    metrics.tick(tick({ pods: [FLINK, WEB] }), [])
    metrics.tick(tick({ seq: 2, pods: [ended(FLINK), { ...WEB, qosClass: 'LSR' }] }), [])
    const left = await podSeries(metrics)
    expect(left.length).toBeGreaterThan(0)
    expect(left.every((line) => line.includes('pod="web"') && line.includes('class="LSR"'))).toBe(true)
    metrics.tick(tick({ seq: 3, pods: [] }), [])
    expect(await podSeries(metrics)).toEqual([])
  })

  it('are of offline pods first where there are too many pods, of the same ones on every tick, and the others are counted', async () => {
    const metrics = metricsWith(40)
    const node = fullNode(100)
    metrics.tick(node, [])
    const first = await podSeries(metrics)
    metrics.tick({ ...node, decision: { ...node.decision, pods: node.decision.pods.toReversed() } }, [])
    expect((await podSeries(metrics)).toSorted()).toEqual(first.toSorted())
    // 10 OT and 30 BE pods.
    expect(first.filter((line) => line.startsWith('kube_agent_pod_cpu_used') && /class="(?:BE|OT)"/.test(line))).toHaveLength(40)
    expect(await metrics.text()).toContain('\nkube_agent_pod_series_omitted 60\n')
  })
})

describe('the number of series', () => {
  it('of a node with 250 pods is that of a node with three, and below 700', async () => {
    const [few, many] = [metricsWith(0), metricsWith(0)]
    few.tick(tick(), [])
    many.tick(fullNode(250), [])
    const [ofFew, ofMany] = [await series(few), await series(many)]
    expect(ofMany).toHaveLength(ofFew.length)
    expect(ofMany.length).toBeLessThan(700)
  })

  it('grows by five for each pod, and by no more than metrics.maxPods of them', async () => {
    const [none, some] = [metricsWith(0), metricsWith(250)]
    none.tick(fullNode(1000), [])
    some.tick(fullNode(1000), [])
    const grown = (await series(some)).length - (await series(none)).length
    expect(grown).toBeGreaterThan(250 * 4)
    expect(grown).toBeLessThanOrEqual(250 * 5 + 1)
  })

  it('does not make a tick or a scrape dear', async () => {
    const metrics = metricsWith(250)
    const node = fullNode(250)
    const times = { tick: [] as number[], scrape: [] as number[] }
    for (let round = 0; round < 15; round += 1) {
      const began = performance.now()
      metrics.tick(node, [])
      const ticked = performance.now()
      await metrics.text()
      times.tick.push(ticked - began)
      times.scrape.push(performance.now() - ticked)
    }
    const best = (all: readonly number[]): number => Math.min(...all)
    // A few milliseconds on a quiet machine; the bound is for a busy one.
    expect(best(times.tick), 'tick, ms').toBeLessThan(25)
    expect(best(times.scrape), 'scrape, ms').toBeLessThan(50)
  })
})
