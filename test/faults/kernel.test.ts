/**
 * Faults of the kernel under the whole loop, on the simulated node: every errno of every operation, successes that are none, lists that lack
 * groups, groups that vanish between any two calls. The loop lives, no knob is widened for a fault, it is told of without a flood; when the
 * faults are over the node is as it would have been, and a release restores it to the byte.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { CpuSet } from '../../src/cpu/index.ts'
import { type Dialect, IoLimits, isQuota, KNOB_KINDS, type KnobValue, messageOf, quotaMilliCpu } from '../../src/model/index.ts'
import { createLogger, Recorder } from '../../src/record/index.ts'
import type { ModelKernel } from '../../src/sim/index.ts'
import { DEFAULTS } from '../support/config.ts'
import { ERRNOS, type Fault, Faults, faultyKernel, OPERATIONS } from '../support/faulty-kernel.ts'
import { MIB } from '../support/settings.ts'
import { SimulatedAgent } from '../support/simulated-agent.ts'
import { OFFLINE_ROOT, type PodLiteral, specOf } from '../support/snapshots.ts'

const PODS: readonly PodLiteral[] = [
  { uid: 'be', asks: { 'be-cpu': 20, 'be-memory': 8 } },
  { uid: 'ot', asks: { 'ot-cpu': 20, 'ot-memory': 8 } },
  { uid: 'ls', qos: 'Burstable', requestsMilli: 1000 },
]
const DIALECTS = ['v1', 'v2'] as const
const SETTLES_MS = 12_000
/** By then every knob is held that will be. */
const HOLDS_MS = 5000
/** A swinging allowance has made the dwell time longer, and every wait has to run out. */
const MENDS_MS = 60_000

interface Faulty {
  readonly sim: SimulatedAgent
  readonly faults: Faults
  /** What the groups held before the agent. */
  readonly before: ReadonlyMap<string, string>
}

function onFaultyNode(dialect: Dialect, body: (node: Faulty) => void, afterMs = SETTLES_MS): void {
  const directory = mkdtempSync(join(tmpdir(), 'kube-agent-faults-'))
  const faults = new Faults()
  const port = (kernel: ModelKernel) => faultyKernel(kernel, faults)
  const sim = new SimulatedAgent({ dialect, directory, config: DEFAULTS, port })
  try {
    for (const pod of PODS) sim.node.addPod(specOf(pod))
    for (const { uid } of PODS) sim.node.setDemand(uid, 500, 100 * MIB)
    const before = photograph(sim.kernel)
    sim.run(afterMs)
    body({ sim, faults, before })
  } finally {
    sim.end()
    rmSync(directory, { recursive: true, force: true })
  }
}

const textOf = (value: KnobValue): string =>
  value instanceof CpuSet || value instanceof IoLimits ? value.toString() : JSON.stringify(value)

/** Every knob of every group, but for those that only ever follow from others. */
function photograph(kernel: ModelKernel): ReadonlyMap<string, string> {
  const texts = new Map<string, string>()
  for (const { path, knobs } of kernel.groups.values())
    for (const kind of KNOB_KINDS) texts.set(`${path} ${kind}`, textOf(knobs[kind]))
  return texts
}

const differences = (a: ReadonlyMap<string, string>, b: ReadonlyMap<string, string>): string[] =>
  [...a].filter(([knob, text]) => b.get(knob) !== text).map(([knob, text]) => `${knob}: ${text} → ${b.get(knob)}`)

/** How much a group of offline pods may do by each of its knobs; more is wider. */
function widths({ kernel }: SimulatedAgent): Map<string, number> {
  const amounts = new Map<string, number>()
  for (const { path, knobs } of kernel.groups.values()) {
    if (!path.startsWith(OFFLINE_ROOT)) continue
    amounts.set(`${path} quota`, isQuota(knobs.quota) ? quotaMilliCpu(knobs.quota) : Infinity)
    amounts.set(`${path} memoryMax`, knobs.memoryMax ?? Infinity)
    amounts.set(`${path} cpuset`, knobs.cpuset.isEmpty ? Infinity : knobs.cpuset.size)
    if (knobs.idle !== 1) amounts.set(`${path} weight`, knobs.weight)
    amounts.set(`${path} idle`, 1 - knobs.idle)
  }
  return amounts
}

/** What is wider now; an idle group that is none any more has a weight again, which shows as idle. */
const widened = (before: ReadonlyMap<string, number>, now: ReadonlyMap<string, number>, slackMilli: number): string[] =>
  [...now].flatMap(([knob, amount]) => {
    const was = before.get(knob)
    const slack = knob.endsWith('quota') ? slackMilli : 0
    return was !== undefined && amount > was + slack ? [`${knob}: ${was} → ${amount}`] : []
  })

const fault: fc.Arbitrary<Fault> = fc.record(
  {
    operation: fc.constantFrom(...OPERATIONS),
    how: fc.constantFrom<Fault['how'][]>(...ERRNOS, 'lie'),
    kind: fc.constantFrom(...KNOB_KINDS),
    every: fc.constantFrom(1, 1, 2, 3, 7),
  },
  { requiredKeys: ['operation', 'how', 'every'] },
)
const spell = fc.record({
  faults: fc.array(fault, { minLength: 1, maxLength: 5 }),
  ms: fc.constantFrom(25, 200, 1500, 6000),
  afterMs: fc.constantFrom(0, 100, 2000),
  lsMilli: fc.nat(8000),
})

/** What anybody would be told of the ticks: the log, and the metrics. */
async function told(sim: SimulatedAgent): Promise<{ readonly lines: readonly string[]; readonly metrics: string }> {
  const lines: string[] = []
  const logger = createLogger('info', { write: (line) => void lines.push(line) })
  const recorder = new Recorder({ version: '0', nodeName: 'n', logger, maxDecisions: 100, startedWallMs: 0, startedMs: 0 })
  for (const record of sim.records) recorder.tick(record)
  return { lines, metrics: await recorder.metricsText() }
}

describe.each(DIALECTS)('with faults of the kernel, under %s,', (dialect) => {
  it.each(OPERATIONS)('nothing is widened on a node at rest, whatever the errno of %s', (operation) => {
    onFaultyNode(dialect, ({ sim, faults, before }) => {
      const settled = widths(sim)
      const held = photograph(sim.kernel)
      for (const how of [...ERRNOS, 'lie'] as const) {
        for (const every of [1, 3]) {
          faults.list = [{ operation, how, every }]
          const from = sim.records.length
          sim.run(3000, () => expect(widened(settled, widths(sim), 81)).toEqual([]))
          expect(sim.failures.map(messageOf)).toEqual([])
          expect(sim.records.length).toBeGreaterThanOrEqual(from + 2)
        }
      }
      faults.list = []
      sim.run(MENDS_MS)
      // The quotas follow from the allowance, which may settle within its dead band.
      expect(differences(held, photograph(sim.kernel)).filter((line) => !line.includes(' quota'))).toEqual([])
      expect(sim.release()).toMatchObject({ failed: [], foreign: [] })
      expect(differences(before, photograph(sim.kernel))).toEqual([])
    })
  })

  it('the loop lives through any history of them, nothing grows wider than it was on the quiet node, and all is well afterwards', () => {
    fc.assert(
      fc.property(fc.array(spell, { minLength: 1, maxLength: 4 }), (spells) =>
        onFaultyNode(dialect, ({ sim, faults, before }) => {
          const settled = widths(sim)
          const held = photograph(sim.kernel)
          for (const { faults: list, ms, afterMs, lsMilli } of spells) {
            faults.list = list
            sim.node.setDemand('ls', Math.max(500, lsMilli))
            const ticks = sim.records.length
            sim.run(ms, () => expect(widened(settled, widths(sim), 81)).toEqual([]))
            if (ms >= 1500) expect(sim.records.length).toBeGreaterThan(ticks)
            faults.list = []
            sim.run(afterMs)
          }
          sim.node.setDemand('ls', 500)
          sim.run(2 * MENDS_MS)
          expect(sim.failures.map(messageOf)).toEqual([])
          expect(differences(held, photograph(sim.kernel)).filter((line) => !line.includes(' quota'))).toEqual([])
          expect(sim.release()).toMatchObject({ failed: [], foreign: [] })
          expect(differences(before, photograph(sim.kernel))).toEqual([])
        }),
      ),
      { numRuns: 15 },
    )
  }, 120_000)

  it.each(ERRNOS)('a write that fails with %s on every tick is counted each time, and told of once', async (errno) => {
    let sim: SimulatedAgent | undefined
    let seen: Promise<Awaited<ReturnType<typeof told>>> | undefined
    onFaultyNode(dialect, (node) => {
      sim = node.sim
      node.faults.list = [{ operation: 'writeKnob', how: errno, kind: 'weight', every: 1 }]
      node.sim.node.addPod(specOf({ uid: 'late', asks: { 'be-cpu': 5, 'be-memory': 1 } }))
      node.sim.run(20_000)
      seen = told(node.sim)
    })
    const { lines, metrics } = (await seen) ?? { lines: [], metrics: '' }
    const tried =
      sim?.records
        .flatMap(({ results }) => results)
        .filter(({ step, outcome }) => step.kind === 'weight' && 'errno' in outcome) ?? []
    expect(tried.length).toBeGreaterThan(10)
    const outcome = tried[0]?.outcome.is ?? ''
    expect(metrics).toContain(`kube_agent_writes_total{knob="weight",outcome="${outcome}"} ${tried.length}`)
    const refusals = lines.filter((line) => line.includes('"write refused"') && line.includes('podlate'))
    // That a group has vanished is normal.
    expect(refusals).toHaveLength(outcome === 'vanished' ? 0 : 1)
    if (outcome !== 'vanished') expect(refusals[0]).toContain(errno)
  })

  it('a write of which a part is taken is told of, repaired, and goes back on a release even of an agent that was killed', () => {
    for (const kind of ['quota', 'weight', 'memoryMax'] as const) {
      onFaultyNode(dialect, ({ sim, faults, before }) => {
        faults.list = [{ operation: 'writeKnob', how: 'short', kind, every: 1 }]
        sim.node.addPod(specOf({ uid: 'late', asks: { 'be-cpu': 5, 'be-memory': 1 } }))
        sim.node.setDemand('ls', 5000)
        sim.run(4000)
        expect(faults.injected).toBeGreaterThan(2)
        expect(sim.failures.map(messageOf)).toEqual([])
        const outcomes = sim.records.flatMap(({ results }) => results).filter(({ outcome }) => outcome.is === 'failed')
        expect(outcomes.map(({ outcome }) => outcome)).toContainEqual({ is: 'failed', errno: 'EIO' })
        faults.list = []
        sim.restart()
        expect([kind, sim.release()]).toMatchObject([kind, { failed: [], foreign: [] }])
        const late = [...photograph(sim.kernel)].filter(([knob, text]) => before.has(knob) && before.get(knob) !== text)
        expect([kind, late]).toEqual([kind, []])
      })
    }
  })

  it('a write that says that it has succeeded, and reads back otherwise, is told of as what it is', async () => {
    let seen: ReturnType<typeof told> | undefined
    onFaultyNode(dialect, ({ sim, faults }) => {
      faults.list = [{ operation: 'writeKnob', how: 'lie', kind: 'memoryMax', every: 1 }]
      sim.node.addPod(specOf({ uid: 'late', asks: { 'be-cpu': 5, 'be-memory': 1 } }))
      sim.run(5000)
      seen = told(sim)
      expect(sim.records.at(-1)?.drift?.knobs.size).toBe(0)
    })
    const { lines, metrics } = (await seen) ?? { lines: [], metrics: '' }
    expect(metrics).toMatch(/writes_total\{knob="memoryMax",outcome="mismatch"\} [1-9]/)
    expect(lines.filter((line) => line.includes('"write refused"') && line.includes('podlate'))).toHaveLength(1)
  })
})

describe.each(DIALECTS)('a group that vanishes between any two calls of a tick, under %s,', (dialect) => {
  /** Runs the two ticks on which a pod that has come is limited, and takes `victim` away right before its `at`-th call. Answers how many calls there were. */
  const vanishing = (victim: string, at: number): number => {
    let calls = 0
    const body = ({ sim, faults, before }: Faulty): void => {
      const first = faults.calls
      sim.node.addPod(specOf({ uid: 'late', asks: { 'be-cpu': 5, 'be-memory': 1 } }))
      faults.onCall = ({ index }) => {
        if (index === first + at) sim.kernel.removeGroup(victim)
      }
      const ticks = sim.records.length
      while (sim.records.length < ticks + 2) sim.run(DEFAULTS.loop.guardMs)
      expect(sim.records.slice(ticks).flatMap(({ results }) => results).length).toBeGreaterThan(0)
      calls = faults.calls - first
      faults.onCall = () => undefined
      sim.run(1500)
      expect(sim.failures.map(messageOf)).toEqual([])
      expect(sim.release()).toMatchObject({ failed: [], foreign: [] })
      const left = new Map([...before].filter(([knob]) => !knob.startsWith(victim)))
      expect(differences(left, photograph(sim.kernel))).toEqual([])
    }
    onFaultyNode(dialect, body, HOLDS_MS)
    return calls
  }

  it.each(['podbe', 'podlate', 'podlate/main', 'podot/main'])(
    '%s',
    (name) => {
      const calls = vanishing(`${OFFLINE_ROOT}/${name}`, -1)
      expect(calls).toBeGreaterThan(50)
      for (let at = 0; at < calls; at += 1) vanishing(`${OFFLINE_ROOT}/${name}`, at)
    },
    300_000,
  )
})
