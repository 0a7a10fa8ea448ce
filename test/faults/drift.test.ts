/**
 * Somebody else who writes the agent's knobs, on the simulated node: what counts as his writing and what the kernel does by itself, that it is
 * repaired, conceded past the bound, tried again, and told of without a flood.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Config } from '../../src/config/index.ts'
import { CpuSet } from '../../src/cpu/index.ts'
import {
  type Dialect,
  type DriftNews,
  driftText,
  type GroupPath,
  isQuota,
  type KernelPort,
  type KnobKind,
  type KnobSetting,
  type Quota,
  quotaOf,
  type TickRecord,
} from '../../src/model/index.ts'
import { createLogger, Recorder } from '../../src/record/index.ts'
import type { ModelKernel } from '../../src/sim/index.ts'
import { renderExplanation } from '../../src/record/explain/text.ts'
import { configOf, DEFAULTS } from '../support/config.ts'
import { MIB } from '../support/settings.ts'
import { SimulatedAgent } from '../support/simulated-agent.ts'
import { OFFLINE_ROOT, type PodLiteral, specOf, topologyOf } from '../support/snapshots.ts'

const BE: PodLiteral = { uid: 'be', asks: { 'be-cpu': 20, 'be-memory': 8 } }
const OT: PodLiteral = { uid: 'ot', asks: { 'ot-cpu': 20, 'ot-memory': 8 } }
const POD = `${OFFLINE_ROOT}/podbe`
const { maxPerMinute, concedeMs } = DEFAULTS.drift

let directory: string
let sim: SimulatedAgent | undefined

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'kube-agent-drift-'))
})

afterEach(() => {
  sim?.end()
  sim = undefined
  rmSync(directory, { recursive: true, force: true })
})

function begin(dialect: Dialect, config: Config = DEFAULTS): SimulatedAgent {
  const begun = new SimulatedAgent({ dialect, directory, config, keep: 5000 })
  sim = begun
  for (const pod of [BE, OT]) begun.node.addPod(specOf(pod))
  begun.node.setDemand('be', 500, 100 * MIB)
  begun.node.setDemand('ot', 500, 100 * MIB)
  begun.run(8000)
  return begun
}

const news = ({ records }: SimulatedAgent): DriftNews[] => records.flatMap(({ drift }) => [...(drift?.news ?? [])])
const told = (agent: SimulatedAgent): string[] =>
  news(agent).map(({ is, drift }) => `${is} ${drift.kind} ${drift.group.slice(OFFLINE_ROOT.length)}`)
const counted = ({ records }: SimulatedAgent): Record<string, number> => {
  const sums: Record<string, number> = {}
  for (const { drift } of records)
    for (const [kind, times] of Object.entries(drift?.found ?? {})) sums[kind] = (sums[kind] ?? 0) + times
  return sums
}
const write = (agent: SimulatedAgent, group: GroupPath, setting: KnobSetting): void => {
  expect(agent.kernel.writeKnob(group, setting).is).toBe('applied')
}
const weight = (value: number): KnobSetting => ({ kind: 'weight', value })

describe.each(['v1', 'v2'] as const)('a knob that somebody else writes, under %s,', (dialect) => {
  it('is repaired on the next calm tick, and counted with what was found', () => {
    const agent = begin(dialect)
    const ours = agent.kernel.readKnob(POD, 'weight')
    write(agent, POD, weight(77))
    agent.run(1100)
    expect(agent.kernel.readKnob(POD, 'weight')).toBe(ours)
    expect(counted(agent)).toEqual({ weight: 1 })
    expect(agent.records.at(-1)?.drift?.knobs.get(POD, 'weight')).toMatchObject({ count: 1, found: 77, ours })
    expect(told(agent)).toEqual(['first weight /podbe'])
  })

  it('is counted also when it was put back to what it held before the agent', () => {
    const agent = begin(dialect)
    const original = agent.records.at(-1)?.journaled.get(POD, 'weight')?.original
    if (typeof original !== 'number') throw new Error('the weight was never written')
    write(agent, POD, weight(original))
    agent.run(1100)
    expect(counted(agent)).toEqual({ weight: 1 })
  })

  it('at the pace of the bound is repaired for ever, as for a kubelet that resets it every ten seconds', () => {
    const agent = begin(dialect)
    const ours = agent.kernel.readKnob(POD, 'weight')
    for (let times = 0; times < 30; times += 1) {
      write(agent, POD, weight(77))
      agent.run(60_000 / maxPerMinute)
      expect(agent.kernel.readKnob(POD, 'weight')).toBe(ours)
    }
    expect(counted(agent)).toEqual({ weight: 30 })
    expect(told(agent)).toEqual(['first weight /podbe'])
  })

  it('past the bound is left to him with his value, and taken up again after drift.concedeMs', () => {
    const agent = begin(dialect)
    const ours = agent.kernel.readKnob(POD, 'weight')
    for (let times = 0; times <= maxPerMinute; times += 1) {
      write(agent, POD, weight(70 + times))
      agent.run(1000)
    }
    const his = 70 + maxPerMinute
    expect(told(agent)).toEqual(['first weight /podbe', 'conceded weight /podbe'])
    expect(agent.kernel.readKnob(POD, 'weight')).toBe(his)
    const from = agent.records.length
    agent.run(concedeMs - 2000)
    expect(agent.kernel.readKnob(POD, 'weight')).toBe(his)
    expect(
      agent.records
        .slice(from)
        .flatMap(({ results }) => results.filter(({ step }) => step.kind === 'weight' && step.group === POD)),
    ).toEqual([])
    agent.run(3000)
    expect(agent.kernel.readKnob(POD, 'weight')).toBe(ours)
    expect(told(agent)).toEqual(['first weight /podbe', 'conceded weight /podbe', 'retried weight /podbe'])
    agent.release()
    // What he had written when it was taken up again is what was there before.
    expect(agent.kernel.readKnob(POD, 'weight')).toBe(his)
  })

  it('and that was conceded keeps his value on a release', () => {
    const agent = begin(dialect)
    for (let times = 0; times <= maxPerMinute; times += 1) {
      write(agent, POD, weight(70 + times))
      agent.run(1000)
    }
    expect(agent.release()).toMatchObject({ failed: [], foreign: [] })
    expect(agent.kernel.readKnob(POD, 'weight')).toBe(70 + maxPerMinute)
  })

  it('is only repaired while drift.enabled is off', () => {
    const agent = begin(dialect, configOf({ drift: { enabled: false } }))
    const ours = agent.kernel.readKnob(POD, 'weight')
    for (let times = 0; times <= 2 * maxPerMinute; times += 1) {
      write(agent, POD, weight(70 + times))
      agent.run(1000)
    }
    expect(agent.kernel.readKnob(POD, 'weight')).toBe(ours)
    expect(told(agent)).toEqual([])
  })

  it('that is the quota of the best-effort root is never conceded, but called contested', () => {
    const agent = begin(dialect)
    const wide: KnobSetting = { kind: 'quota', value: { ...quotaOf(1), quotaUs: null } }
    agent.node.setDemand('be', 8000)
    const before = agent.rootMilli
    agent.run(60_000, () => write(agent, OFFLINE_ROOT, wide))
    agent.run(2000)
    expect(agent.rootMilli).toBeLessThan(before + 8000)
    expect(Number.isFinite(agent.rootMilli)).toBe(true)
    expect(told(agent).filter((line) => line.includes('quota'))).toEqual(['first quota ', 'contested quota '])
    expect(agent.records.at(-1)?.drift?.knobs.get(OFFLINE_ROOT, 'quota')?.contested).toBe(true)
    agent.run(61_000)
    expect(agent.records.at(-1)?.drift?.knobs.get(OFFLINE_ROOT, 'quota')?.contested).toBeUndefined()
  })

  it('that is the quota of an offline pod is never conceded either: it may be what holds the pod to the allowance', () => {
    const agent = begin(dialect)
    const wide: KnobSetting = { kind: 'quota', value: { ...quotaOf(1), quotaUs: null } }
    agent.run(30_000, () => write(agent, POD, wide))
    agent.run(2000)
    const quota = agent.kernel.readKnob(POD, 'quota')
    expect(isQuota(quota) && quota.quotaUs !== null).toBe(true)
    expect(told(agent).filter((line) => line.includes('quota'))).toEqual(['first quota /podbe', 'contested quota /podbe'])
  })

  it('while no agent ran is told of by the next one', () => {
    const agent = begin(dialect)
    write(agent, POD, weight(77))
    agent.restart()
    agent.run(1100)
    expect(counted(agent)).toEqual({ weight: 1 })
  })

  it('of a pod that is made anew under its name is not conceded any more, and its own values are nobody else’s', () => {
    const agent = begin(dialect)
    for (let times = 0; times <= maxPerMinute; times += 1) {
      write(agent, POD, weight(70 + times))
      agent.run(1000)
    }
    const before = counted(agent)
    agent.node.removePod('be')
    agent.node.addPod(specOf(BE))
    agent.run(3000)
    expect(counted(agent)).toEqual(before)
    expect(agent.records.at(-1)?.drift?.knobs.get(POD, 'weight')).toBeUndefined()
    expect(agent.kernel.readKnob(POD, 'weight')).not.toBe(dialect === 'v1' ? 2 : 1)
  })
})

describe('what the kernel does by itself', () => {
  it.each(['v1', 'v2'] as const)('is nobody’s writing: nothing is counted in a quiet minute and a hot one (%s)', (dialect) => {
    const agent = begin(dialect, configOf({ cpuFreeze: { enabled: true } }))
    agent.run(60_000)
    agent.node.systemMilli = 8000
    agent.run(60_000)
    agent.node.systemMilli = 0
    agent.run(60_000)
    expect(counted(agent)).toEqual({})
  })

  it('sets that lose a CPU which goes offline under v1 are not drift', () => {
    const agent = begin('v1')
    const topology = agent.kernel.readTopology()
    const left = CpuSet.from([...topology.online].slice(0, -1))
    agent.kernel.hotplug({ ...topologyOf('desktop'), online: left })
    agent.run(3000)
    expect(counted(agent)).toEqual({})
  })
})

describe.each(['v1', 'v2'] as const)('a knob that does not keep what is written, under %s,', (dialect) => {
  /** A writer who is faster than the read after each write, or a kernel that makes of it what it likes. */
  function restless(kind: KnobKind, answer: (written: KnobSetting, times: number) => KnobSetting): SimulatedAgent {
    let times = 0
    const port = (kernel: ModelKernel): KernelPort =>
      new Proxy(kernel, {
        get: (target, key) => {
          if (key === 'writeKnob') {
            return (group: GroupPath, setting: KnobSetting) => {
              const outcome = target.writeKnob(group, setting)
              const isIt = setting.kind === kind && group === (kind === 'quota' ? OFFLINE_ROOT : POD)
              if (isIt && isOn) target.writeKnob(group, answer(setting, (times += 1)))
              return outcome
            }
          }
          const value: unknown = Reflect.get(target, key, target)
          return typeof value === 'function' ? (value as (...args: unknown[]) => unknown).bind(target) : value
        },
      })
    const begun = new SimulatedAgent({ dialect, directory, config: DEFAULTS, keep: 5000, port })
    sim = begun
    for (const pod of [BE, OT]) begun.node.addPod(specOf(pod))
    begun.node.setDemand('be', 500, 100 * MIB)
    return begun
  }
  let isOn = true

  beforeEach(() => {
    isOn = true
  })

  const writesOf = (agent: SimulatedAgent, from: number): number =>
    agent.records.slice(from).flatMap(({ results }) => results.filter(({ step }) => step.kind === 'weight' && step.group === POD))
      .length

  it('another value each time, is no drift, and is left alone past the bound; it is tried again, and released', () => {
    const agent = restless('weight', (_written, times) => weight(900 + times))
    const before = dialect === 'v1' ? 2 : 1
    agent.run(5000)
    const outcomes = agent.records
      .flatMap(({ results }) => results)
      .filter(({ step }) => step.kind === 'weight' && step.group === POD)
    expect(outcomes.length).toBeGreaterThan(2)
    expect(new Set(outcomes.map(({ outcome }) => outcome.is))).toEqual(new Set(['mismatch']))
    expect(told(agent)).toEqual([])
    agent.run(10_000)
    expect(told(agent)).toEqual(['conceded weight /podbe'])
    expect(counted(agent)).toEqual({})
    const [conceded] = news(agent)
    expect(conceded === undefined ? '' : driftText(conceded)).toContain('it does not keep what is written')
    const from = agent.records.length
    agent.run(concedeMs - 20_000)
    expect(writesOf(agent, from)).toBe(0)
    isOn = false
    agent.run(20_000)
    expect(told(agent)).toEqual(['conceded weight /podbe', 'retried weight /podbe'])
    const ours = agent.records.at(-1)?.decision.desired.get(POD, 'weight')?.setting.value
    expect(agent.kernel.readKnob(POD, 'weight')).toBe(ours)
    expect(agent.release()).toMatchObject({ failed: [], foreign: [] })
    expect(agent.kernel.readKnob(POD, 'weight')).toBe(before)
  })

  it('the quota of the best-effort root, is written again and again, and called contested', () => {
    const agent = restless('quota', (written) => ({
      kind: 'quota',
      value: { ...quotaOf(7777), periodUs: (written.value as Quota).periodUs },
    }))
    agent.node.setDemand('be', 8000)
    agent.run(30_000)
    expect(told(agent).filter((line) => line.startsWith('contested quota'))).toContain('contested quota ')
    expect(told(agent)).not.toContain('conceded quota ')
    const from = agent.records.length
    agent.run(10_000)
    const tries = agent.records.slice(from).flatMap(({ results }) => results.filter(({ step }) => step.group === OFFLINE_ROOT))
    expect(tries.length).toBeGreaterThan(5)
  })

  it('now and then, is written again and not told of', () => {
    const agent = restless('weight', (written, times) => (times % 3 === 0 ? weight(900) : written))
    agent.run(10_000)
    for (let minute = 0; minute < 3; minute += 1) {
      write(agent, POD, weight(77))
      agent.run(60_000)
    }
    expect(told(agent).filter((line) => line.startsWith('conceded'))).toEqual([])
  })
})

describe('what people see of it', () => {
  const lines: string[] = []
  const record = (records: readonly TickRecord[]): Recorder => {
    lines.length = 0
    const logger = createLogger('info', { write: (line) => void lines.push(line) })
    const recorder = new Recorder({ version: '0', nodeName: 'n', logger, maxDecisions: 20_000, startedWallMs: 0, startedMs: 0 })
    for (const each of records) recorder.tick(each)
    return recorder
  }

  it('the metric, the log, the journal, status and explain tell of a concession, with the value found', async () => {
    const agent = begin('v1')
    for (let times = 0; times <= maxPerMinute; times += 1) {
      write(agent, POD, weight(70 + times))
      agent.run(1000)
    }
    agent.run(2000)
    const recorder = record(agent.records)
    const text = await recorder.metricsText()
    expect(text).toContain(`kube_agent_drift_total{knob="weight"} ${maxPerMinute + 1}`)
    expect(text).toContain('kube_agent_knobs_conceded 1')
    const entries = recorder.journal({}).entries.filter(({ kind }) => kind === 'drift')
    expect(entries.map(({ outcome }) => outcome)).toEqual(['first', 'conceded'])
    expect(entries[1]?.text).toContain(`last ${70 + maxPerMinute} over`)
    const logged = lines
      .map((line) => JSON.parse(line) as { msg: string; level: string })
      .filter(({ msg }) => msg === 'knob written by others')
    expect(logged.map(({ level }) => level)).toEqual(['warn', 'warn'])
    const nowMs = agent.node.nowMs
    expect(
      recorder
        .status(nowMs)
        .problems.map((problem) => problem.text)
        .join('\n'),
    ).toMatch(/weight of .*podbe is conceded.*tried again in 9 min/)
    const explained = renderExplanation(recorder.explain(`group ${POD}`, nowMs)).replaceAll(/\s+/g, ' ')
    expect(explained).toMatch(
      /others written by somebody else 7 times, last .* ago: 76 over \d+; conceded: left alone for another 9 min/,
    )
  })

  it('a hundred knobs that are written at once on every tick are no flood: twelve entries a minute, the concessions first', () => {
    const agent = begin('v2')
    for (let pod = 0; pod < 100; pod += 1) agent.node.addPod(specOf({ uid: `p${pod}`, asks: { 'be-cpu': 1, 'be-memory': 1 } }))
    agent.run(4000)
    for (let times = 0; times < 30; times += 1) {
      for (let pod = 0; pod < 100; pod += 1) write(agent, `${OFFLINE_ROOT}/podp${pod}`, weight(900 + times))
      agent.run(1000)
    }
    expect(news(agent).filter(({ is }) => is === 'conceded')).toHaveLength(100)
    const recorder = record(agent.records)
    const entries = recorder.journal({ limit: 10_000 }).entries.filter(({ kind }) => kind === 'drift')
    expect(entries).toHaveLength(12)
  })
})
