/**
 * What hot ticks take over from the tick before, in decide (standing.ts) and for the plan (plan-scope.ts): it saves work and changes nothing.
 * I75 and I76 of src/decide/SPEC.md.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { decide, EMPTY_MEMORY, type Memory } from '../../src/decide/index.ts'
import type { Decision, KnobSetting, KnobValue, NodeSnapshot, Reading, TickRecord } from '../../src/model/index.ts'
import { KnobTable } from '../../src/model/index.ts'
import { diff } from '../../src/plan/index.ts'
import { configOf } from '../support/config.ts'
import { SimulatedAgent } from '../support/simulated-agent.ts'
import { OFFLINE_ROOT, type PodLiteral, snapshotOf, specOf } from '../support/snapshots.ts'

const POD: fc.Arbitrary<Omit<PodLiteral, 'uid'>> = fc.record(
  {
    qos: fc.constantFrom('BestEffort', 'BestEffort', 'Burstable', 'Guaranteed'),
    asks: fc.record(
      { 'be-cpu': fc.nat(9), 'be-memory': fc.nat(4), 'ot-cpu': fc.nat(9), 'ot-memory': fc.nat(4) },
      { requiredKeys: [] },
    ),
    present: fc.constantFrom(true, true, false),
    usesMilli: fc.nat(3000),
    workingSetBytes: fc.nat(2 ** 32),
  },
  { requiredKeys: ['qos', 'asks'] },
)
const HISTORY = fc.record({
  dialect: fc.constantFrom('v1', 'v2'),
  pods: fc.array(POD, { maxLength: 6 }),
  ticks: fc.array(
    fc.record({
      dtMs: fc.constantFrom(25, 50, 50, 1000),
      pace: fc.constantFrom('hot', 'hot', 'hot', 'calm'),
      nodeMilli: fc.nat(8000),
      offlineMilli: fc.nat(2000),
      /** Whether what was decided came to stand in the kernel. */
      carried: fc.boolean(),
    }),
    { minLength: 2, maxLength: 20 },
  ),
})

/** Everything that a decision says, with its desired knobs as a sorted list. */
function said({ desired, ...rest }: Decision): object {
  const knobs = [...desired.entries()].map(([group, kind, resolved]) => ({ at: `${group} ${kind}`, resolved }))
  return { ...rest, knobs: knobs.sort((a, b) => (a.at < b.at ? -1 : 1)), size: desired.size, groups: new Set(desired.groups()) }
}

describe('decide', () => {
  it('decides the same with what it took over from the tick before as without (I75)', () => {
    let taken = 0
    fc.assert(
      fc.property(HISTORY, ({ dialect, pods, ticks }) => {
        const config = configOf({ cpuNarrow: { enterMs: 0 }, pressure: { enabled: false } })
        let memory: Memory = EMPTY_MEMORY
        let nowMs = 100_000
        const actual = new KnobTable<Reading<KnobValue>>()
        let last: NodeSnapshot | undefined
        for (const { dtMs, pace, nodeMilli, offlineMilli, carried } of ticks) {
          nowMs += dtMs
          const fresh = snapshotOf({
            nowMs,
            pace,
            dialect,
            nodeMilli,
            offlineMilli,
            pods: pods.map((pod, i) => ({ ...pod, uid: `p${i}` })),
          })
          const kept =
            pace === 'hot' && last !== undefined ? { pods: last.pods, ownGroups: last.ownGroups, layout: last.layout } : {}
          const snapshot: NodeSnapshot = { ...fresh, ...kept, actual }
          last = snapshot
          const { standing: _taken, ...bare } = memory
          const before = memory.standing
          const decided = decide(snapshot, memory, config)
          expect(said(decided.decision)).toEqual(said(decide(snapshot, bare, config).decision))
          if (decided.memory.standing === before) taken += 1
          memory = decided.memory
          if (!carried) continue
          decided.decision.desired.forEach((group, kind, { setting }) => {
            actual.set(group, kind, { value: setting.value, atMs: nowMs, source: kind })
          })
        }
      }),
    )
    expect(taken).toBeGreaterThan(0)
  })
})

const LOADS = fc.array(fc.record({ onlineMilli: fc.nat(8000), ms: fc.constantFrom(25, 100, 300, 1200) }), {
  minLength: 3,
  maxLength: 8,
})

/** The whole plan against what the kernel holds now. */
function leftToDo(agent: SimulatedAgent, { snapshot, decision, journaled }: TickRecord): readonly KnobSetting[] {
  const actual = new KnobTable<Reading<KnobValue>>()
  const read = (group: string, kind: KnobSetting['kind']): void => {
    const value = agent.kernel.readKnob(group, kind)
    if (value !== undefined) actual.set(group, kind, { value, atMs: snapshot.nowMs, source: kind })
  }
  snapshot.actual.forEach(read)
  decision.desired.forEach(read)
  return diff({
    desired: decision.desired,
    actual,
    journaled,
    capabilities: snapshot.capabilities,
    online: snapshot.topology.online,
    settled: decision.complete,
    regulated: [OFFLINE_ROOT],
    unlisted: snapshot.unlistedGroups,
  })
}

describe('the plan of a hot tick', () => {
  it('leaves nothing to do that a whole plan would have done (I76)', () => {
    let hot = 0
    fc.assert(
      fc.property(fc.constantFrom('v1', 'v2'), LOADS, (dialect, loads) => {
        const directory = mkdtempSync(join(tmpdir(), 'kube-agent-standing-'))
        const config = configOf({
          cpuNarrow: { enterMs: 100, exitMs: 200, coolDownMs: 0 },
          cpuFreeze: { enabled: true, enterMs: 100, exitMs: 200 },
        })
        const agent = new SimulatedAgent({ dialect, directory, config })
        try {
          agent.node.addPod(specOf({ uid: 'web', qos: 'Burstable', requestsMilli: 1000 }))
          for (const [uid, asks] of [
            ['be', { 'be-cpu': 40 }],
            ['ot', { 'ot-cpu': 20 }],
          ] as const) {
            agent.node.addPod(specOf({ uid, asks }))
            agent.node.setDemand(uid, 4000)
          }
          let seen = 0
          for (const { onlineMilli, ms } of loads) {
            agent.node.setDemand('web', onlineMilli)
            agent.run(ms, () => {
              const record = agent.records.at(-1)
              if (record === undefined || agent.records.length === seen) return
              seen = agent.records.length
              if (record.snapshot.pace === 'hot') hot += 1
              expect(leftToDo(agent, record)).toEqual([])
            })
          }
          expect(agent.failures).toEqual([])
        } finally {
          agent.end()
          rmSync(directory, { recursive: true, force: true })
        }
      }),
      { numRuns: 30 },
    )
    expect(hot).toBeGreaterThan(0)
  })
})
