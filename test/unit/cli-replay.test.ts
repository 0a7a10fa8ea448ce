/** What a replay says: tables, first differences with both reasons, and a page that holds whatever a node may be called. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { createHash } from 'node:crypto'
import { beforeAll, describe, expect, it } from 'vitest'
import { recordedSink, recordingInto } from '../../src/cli/recording.ts'
import { Comparer, type Comparison } from '../../src/cli/replay/compare.ts'
import { chartsOf } from '../../src/cli/replay/course.ts'
import { comparisonPage } from '../../src/cli/replay/page.ts'
import { configsOf, emptyNotes, redecide } from '../../src/cli/replay/redecide.ts'
import { OPEN_LOOP, renderComparison, type ReplayAbout } from '../../src/cli/replay/text.ts'
import { type Config, fileSettings, knownSettings, loadConfig, type Override } from '../../src/config/index.ts'
import { DirectoryStore, readRecording, recordingFiles } from '../../src/record/index.ts'
import { configOf } from '../support/config.ts'
import { withDirectoryAsync } from '../support/journaled-node.ts'
import { SimulatedAgent } from '../support/simulated-agent.ts'
import { specOf } from '../support/snapshots.ts'

const override = (key: string, value: unknown): Override => ({ path: key.split('.'), value, origin: '--set' })

/** A minute of a node that gets hot in the middle, recorded and replayed. */
async function compare(overrides?: readonly Override[]): Promise<Comparison> {
  let comparison: Comparison | undefined
  await withDirectoryAsync(async (directory) => {
    const folder = join(directory, 'recording')
    mkdirSync(folder)
    const config = configOf()
    const recording = recordingInto(new DirectoryStore(folder, 1 << 26), config, {
      segmentBytes: Infinity,
      onChange: () => undefined,
    })
    const sim = new SimulatedAgent({
      dialect: 'v2',
      directory,
      config,
      tape: recording,
      watch: (sink) => recordedSink(sink, recording),
    })
    sim.wallOffsetMs = Date.UTC(2026, 10, 21)
    sim.node.addPod(specOf({ uid: 'web', qos: 'Burstable', requestsMilli: 3000 }))
    sim.node.addPod(specOf({ uid: 'flink', asks: { 'be-cpu': 30, 'be-memory': 2 } }))
    sim.node.addPod(specOf({ uid: 'train', asks: { 'ot-cpu': 20, 'ot-memory': 2 } }))
    for (const uid of ['flink', 'train']) sim.node.setDemand(uid, 3000)
    sim.run(30_000, (nowMs) => sim.node.setDemand('web', nowMs > 10_000 && nowMs < 20_000 ? 5000 : 1000))
    await recording.end()
    sim.end()
    const load = (settings: unknown, extra?: readonly Override[]): Config =>
      loadConfig({ file: 'recording', text: JSON.stringify(settings), overrides: extra }).config
    const comparer = new Comparer()
    const variant = overrides === undefined ? {} : { variantOf: (settings: unknown) => load(settings, overrides) }
    const segments = readRecording(await recordingFiles(folder), configsOf(load), [])
    for (const tick of redecide(segments, { ...variant, fromMs: -Infinity, toMs: Infinity }, emptyNotes())) comparer.take(tick)
    comparison = comparer.result()
  })
  if (comparison === undefined) throw new Error('nothing was compared')
  return comparison
}

function about(over: Partial<ReplayAbout> = {}): ReplayAbout {
  return {
    files: ['a.recording'],
    nodeName: 'node-a',
    versions: ['1.2.3'],
    version: '1.2.3',
    hasVariant: true,
    notes: emptyNotes(),
    problems: [],
    ...over,
  }
}

const row = ({ rows }: Comparison, name: string): Comparison['rows'][number] => {
  const found = rows.find((one) => one.name === name)
  if (found === undefined) throw new Error(`no row ${name}`)
  return found
}

let lower: Comparison
let same: Comparison

beforeAll(async () => {
  lower = await compare([override('suppressCpu.watermarkPermyriad', 6000)])
  same = await compare()
})

describe('a comparison', () => {
  it('shows what a lower watermark would have done: less allowance, by just that much while nothing else binds', () => {
    const { recorded, replayed, differing } = row(lower, 'BE+OT allowance')
    expect(lower.settings).toEqual([{ key: 'suppressCpu.watermarkPermyriad', recorded: 6500, replayed: 6000 }])
    // 5 % of 8 CPUs.
    expect((recorded.most ?? 0) - (replayed.most ?? 0)).toBe(400)
    expect(replayed.mean).toBeLessThan(recorded.mean ?? 0)
    expect(differing).toBeGreaterThan(0)
    expect(lower.differing).toBeGreaterThanOrEqual(differing)
    expect(row(lower, 'LS pool, CPUs').differing).toBe(0)
  })

  it('names the first difference of each thing with both values and both reasons', () => {
    const first = lower.differences.find(({ what }) => what === 'BE+OT allowance')
    expect(first?.recorded.because).toContain('watermark 65 %')
    expect(first?.replayed.because).toContain('watermark 60 %')
    expect(new Set(lower.differences.map(({ what }) => what)).size).toBe(lower.differences.length)
  })

  it('as text has a row per measure, and says what it can’t know', () => {
    const text = renderComparison(lower, about())
    expect(text).toMatch(/^ {2}suppressCpu\.watermarkPermyriad {2}6500 → 6000$/m)
    expect(text).toMatch(/^ {2}BE\+OT allowance( +\d+m){6} +\d+$/m)
    expect(text.replaceAll(/\s+/g, ' ')).toContain(OPEN_LOOP)
  })

  it('without other settings says that there is no difference', () => {
    expect(same.unlike).toEqual({ ticks: 0, in: [] })
    expect(renderComparison(same, about({ hasVariant: false }))).toMatch(
      /^No difference: .* all \d+ ticks are decided as the agent/m,
    )
  })

  it('says where this version decides otherwise than the one that recorded', () => {
    const unlike = { ...same, unlike: { ticks: 3, firstWallMs: 0, in: ['allowance', 'knob quota'] } }
    const text = renderComparison(unlike, about({ hasVariant: false, versions: ['0.9.0'] })).replaceAll(/\s+/g, ' ')
    expect(text).toContain('3 ticks of')
    expect(text).toContain(
      'decided otherwise than the agent decided, the first at 1970-01-01T00:00:00.000Z, in: allowance, knob quota.',
    )
    expect(text).toContain('It was recorded by another version, this is 1.2.3.')
  })
})

describe('the page', () => {
  it('takes no name of the node for markup, and refers to nothing outside of itself', () => {
    const evil = '</script><script>alert(1)</script><img src=x onerror=alert(1)>"\'&'
    const page = comparisonPage(lower, about({ nodeName: evil, problems: [evil] }))
    expect(page).not.toContain('<img')
    expect(page).not.toContain('alert(1)</script>')
    expect(page).toContain('&lt;img src=x onerror=alert(1)&gt;')
    expect(page).not.toMatch(/(?:src|href)=["']?(?:https?:)?\/\//)
    expect(page.match(/<script/g)?.length).toBe(2)
  })

  it('allows by its policy the very script and style that it carries', () => {
    const page = comparisonPage(lower, about())
    for (const element of ['style', 'script']) {
      const text = new RegExp(`<${element}>(.*?)</${element}>`, 's').exec(page)?.[1] ?? ''
      expect(text.length).toBeGreaterThan(1000)
      expect(page).toContain(`${element}-src 'sha256-${createHash('sha256').update(text).digest('base64')}'`)
    }
  })

  it('has everything in tables too, and few enough points however long the recording', () => {
    const page = comparisonPage(lower, about())
    expect(page).toContain('<th scope="row">BE+OT allowance</th>')
    expect(page).toContain('The course in numbers')
    const ticks = 100_000
    const filled = (value: number): number[] => Array.from({ length: ticks }, () => value)
    const course = { ...lower.course, wallMs: filled(1), nodeMilli: filled(500), allowanceRecorded: filled(400) }
    course.nodeMilli[77_777] = 7000
    course.allowanceRecorded[77_777] = 100
    const { wallMs, charts } = chartsOf(course, true)
    expect(wallMs.length).toBeLessThanOrEqual(1500)
    // One tick among so many: the most of what is used and the least of what is given are kept.
    expect(Math.max(...(charts.find(({ id }) => id === 'use')?.series[0]?.values.map(Number) ?? []))).toBe(7)
    expect(Math.min(...(charts.find(({ id }) => id === 'allowance')?.series[0]?.values.map(Number) ?? []))).toBe(0.1)
  })
})

describe('recorded settings', () => {
  it('make the configuration that they were made from', () => {
    const config = configOf({
      placement: { reservedCpus: '0-1', dedicatedCpus: '4' },
      resources: { domain: 'example.com', beCpu: 'cheap-cpu', cpuUnit: '250m', memoryUnit: '1Gi' },
      classes: { namespaces: { batch: 'BE', constructor: 'OT' } },
      suppressIo: { enabled: true, devices: ['sda'] },
    })
    expect(loadConfig({ file: 'x', text: JSON.stringify(fileSettings(config)) }).config).toEqual(config)
  })

  it('that this version does not know are left out by name', () => {
    const recorded = { ...fileSettings(configOf()), future: 1, loop: { hotMs: 60, warpMs: 7 } }
    const { settings, unknown } = knownSettings(recorded)
    expect(unknown.toSorted()).toEqual(['future', 'loop.warpMs'])
    expect(loadConfig({ file: 'x', text: JSON.stringify(settings) }).config.loop.hotMs).toBe(60)
  })
})
