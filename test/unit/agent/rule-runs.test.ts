/** How rules are said to be doing: by their abstentions, by the configuration, and by which of them had begun when a tick threw. */
import { expect, it } from 'vitest'
import { Agent } from '../../../src/agent/index.ts'
import { decide, EMPTY_MEMORY } from '../../../src/decide/index.ts'
import { type Abstention, isFailing, RULES, type RuleName } from '../../../src/model/index.ts'
import { RuleRuns } from '../../../src/agent/rule-runs.ts'
import { Sensor } from '../../../src/sense/index.ts'
import { ModelKernel, SimNode } from '../../../src/sim/index.ts'
import { configOf, DEFAULTS } from '../../support/config.ts'
import { snapshotOf, topologyOf } from '../../support/snapshots.ts'

const runsOf = (rules: RuleRuns) => new Map([...rules.runs].map((run) => [run.name, run]))

it('every rule says that it begins, so that none goes untimed or is blamed for another', () => {
  const begun: RuleName[] = []
  const rules = new RuleRuns(() => 0)
  rules.run(true, (watch) =>
    decide(snapshotOf(), EMPTY_MEMORY, DEFAULTS, {
      begins: (rule) => {
        begun.push(rule)
        watch.begins(rule)
      },
    }),
  )
  expect([...new Set(begun)].sort()).toEqual([...RULES].sort())
  expect([...rules.runs].every(({ tookMs }) => tookMs === 0)).toBe(true)
})

it('watching changes nothing of what is decided', () => {
  const watched = decide(snapshotOf(), EMPTY_MEMORY, DEFAULTS, { begins: () => undefined })
  expect(watched).toEqual(decide(snapshotOf(), EMPTY_MEMORY, DEFAULTS))
})

it('a rule without readings fails, one that starts can not tell yet, one that is off is neither, the others are well', () => {
  const rules = new RuleRuns(() => 0)
  const abstentions: Abstention[] = [
    { code: 'silent', rule: 'capacity' },
    { code: 'starting', rule: 'nodeSignals' },
  ]
  rules.judge({ abstentions }, configOf({ burst: { enabled: false } }), 700)
  const runs = runsOf(rules)
  expect([...rules.runs].filter(isFailing).map(({ name }) => name)).toEqual(['capacity'])
  expect(runs.get('capacity')?.lastError).toMatch(/a reading that it needs/)
  expect(runs.get('nodeSignals')?.lastOkMs).toBeUndefined()
  expect(runs.get('burst')?.lastOkMs).toBeUndefined()
  expect(runs.get('placement')?.lastOkMs).toBe(700)
  rules.judge({ abstentions: [] }, DEFAULTS, 800)
  expect([...rules.runs].filter(isFailing)).toEqual([])
})

it('a rule that throws is the one to blame', () => {
  const rules = new RuleRuns(() => 0)
  const snapshot = snapshotOf()
  const broken = { ...DEFAULTS, capacity: undefined } as unknown as typeof DEFAULTS
  expect(() => rules.run(false, (watch) => decide(snapshot, EMPTY_MEMORY, broken, watch))).toThrow()
  expect(rules.threw('no such block', 5)).toBe(true)
  expect(runsOf(rules).get('capacity')).toMatchObject({ lastError: 'no such block', failuresInARow: 1 })
})

it('a tick that a source or a rule makes throw is put down to it by the agent', () => {
  const kernel = new ModelKernel({ dialect: 'v2', topology: topologyOf('desktop') })
  const node = new SimNode(kernel)
  const sensor = new Sensor({ kernel, pods: node, layout: node.layout, windowMs: 100 })
  const failures: unknown[] = []
  const sink = { tick: () => undefined, tickFailed: (thrown: unknown) => failures.push(thrown), guardBeat: () => undefined }
  const agent = new Agent({ kernel, sensor, config: DEFAULTS, mode: 'observe', sink, stopwatch: () => 0 })
  const failing = () => [...agent.runs.source, ...agent.runs.rule].filter(isFailing).map(({ name }) => name)
  agent.tick({ nowMs: 1000, wallMs: 0 }, 0)
  expect(failing()).toEqual([])
  const readNodeMemory = kernel.readNodeMemory.bind(kernel)
  kernel.readNodeMemory = () => {
    throw new Error('EIO')
  }
  agent.tick({ nowMs: 2000, wallMs: 0 }, 0)
  expect(failing()).toEqual(['memory'])
  kernel.readNodeMemory = readNodeMemory
  agent.reconfigure({ ...DEFAULTS, nodeSignals: undefined } as unknown as typeof DEFAULTS)
  agent.tick({ nowMs: 3000, wallMs: 0 }, 0)
  expect(failing()).toEqual(['nodeSignals'])
  agent.reconfigure(DEFAULTS)
  agent.tick({ nowMs: 4000, wallMs: 0 }, 0)
  expect(failing()).toEqual([])
  expect(failures).toHaveLength(2)
})
