/**
 * What ticks take over from the tick before, in decide (standing.ts) and for the plan (plan-scope.ts): it saves work and changes nothing.
 * I75 and I76 of src/decide/SPEC.md.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { decide, EMPTY_MEMORY, type Memory } from '../../src/decide/index.ts'
import type { Decision, KnobSetting, KnobValue, NodeSnapshot, PodReading, Reading, TickRecord } from '../../src/model/index.ts'
import { bytes, KnobTable, milliCpu } from '../../src/model/index.ts'
import { diff } from '../../src/plan/index.ts'
import { configOf } from '../support/config.ts'
import { SimulatedAgent } from '../support/simulated-agent.ts'
import { OFFLINE_ROOT, type PodLiteral, snapshotOf, specOf } from '../support/snapshots.ts'

const POD: fc.Arbitrary<Omit<PodLiteral, 'uid'>> = fc.record(
  {
    qos: fc.constantFrom('BestEffort', 'BestEffort', 'Burstable', 'Guaranteed'),
    asks: fc.oneof(
      fc.record(
        { 'be-cpu': fc.nat(9), 'be-memory': fc.nat(4), 'ot-cpu': fc.nat(9), 'ot-memory': fc.nat(4) },
        { requiredKeys: [] },
      ),
      // Nothing stands while a memory limit depends on what a pod uses.
      fc.record({ 'be-cpu': fc.nat(9), 'ot-cpu': fc.nat(9) }, { requiredKeys: [] }),
    ),
    present: fc.constantFrom(true, true, false),
    usesMilli: fc.nat(3000),
    workingSetBytes: fc.nat(2 ** 32),
  },
  { requiredKeys: ['qos', 'asks'] },
)
const HISTORY = fc.record({
  dialect: fc.constantFrom('v1', 'v2'),
  observeRules: fc.constantFrom([], [], ['identity', 'suppressCpu'], ['placement', 'limits']),
  pods: fc.array(POD, { maxLength: 6 }),
  ticks: fc.array(
    fc.record({
      dtMs: fc.constantFrom(25, 50, 50, 1000),
      pace: fc.constantFrom('hot', 'calm'),
      nodeMilli: fc.nat(8000),
      offlineMilli: fc.nat(2000),
      /** Whether what was decided came to stand in the kernel. */
      carried: fc.constantFrom(true, true, false),
      /** What pods use by then; undefined for one that was not measured. */
      uses: fc.array(fc.option(fc.nat(3000), { nil: undefined, freq: 40 }), { minLength: 6, maxLength: 6 }),
      /** What has changed of the pods when a calm tick reads them again. */
      change: fc.constantFrom('nothing', 'nothing', 'nothing', 'left', 'went', 'containers', 'asks'),
    }),
    { minLength: 2, maxLength: 20 },
  ),
})

/** The pods of before as a calm tick reads them again: the same objects but for what they use, and for one change. */
function readAgain(
  before: readonly PodReading[],
  { uses, change }: { readonly uses: readonly (number | undefined)[]; readonly change: string },
  nowMs: number,
): readonly PodReading[] {
  const readings = before.map(({ use: _before, ...kept }, index): PodReading => {
    const usesMilli = uses[index]
    if (usesMilli === undefined || !kept.present) return kept
    const workingSetBytes = bytes(usesMilli * 2 ** 20)
    const value = { cpuMilli: milliCpu(usesMilli), workingSetBytes, workingSetAtMs: nowMs, throttledPermyriad: 0 }
    return { ...kept, use: { value, atMs: nowMs, source: kept.group } }
  })
  const [first, ...rest] = readings
  if (first === undefined || change === 'nothing') return readings
  if (change === 'left') return rest
  if (change === 'went') return [{ spec: first.spec, group: first.group, childGroups: [], present: false }, ...rest]
  if (change === 'containers') return [{ ...first, childGroups: [`${first.group}/fresh`] }, ...rest]
  return [{ ...first, spec: { ...first.spec, extended: { 'kube-agent.io/be-cpu': 17 } } }, ...rest]
}

/** Everything that a decision says, with its desired knobs as a sorted list. */
function said({ desired, observed, ...rest }: Decision): object {
  const listed = (table: Decision['desired']): object => {
    const knobs = [...table.entries()].map(([group, kind, resolved]) => ({ at: `${group} ${kind}`, resolved }))
    return { knobs: knobs.sort((a, b) => (a.at < b.at ? -1 : 1)), size: table.size, groups: new Set(table.groups()) }
  }
  return { ...rest, ...listed(desired), observed: observed && { ...observed, desired: listed(observed.desired) } }
}

describe('decide', () => {
  it('decides the same with what it took over from the tick before as without (I75)', () => {
    let [taken, takenOnCalmTicks] = [0, 0]
    fc.assert(
      fc.property(HISTORY, ({ dialect, observeRules, pods, ticks }) => {
        // With sets for every class, so that pods and containers have some.
        const placement = { reservedCpus: '0', dedicatedCpus: '7' }
        const config = configOf({ cpuNarrow: { enterMs: 0 }, pressure: { enabled: false }, placement, observeRules })
        let memory: Memory = EMPTY_MEMORY
        let nowMs = 100_000
        const actual = new KnobTable<Reading<KnobValue>>()
        let last: NodeSnapshot | undefined
        for (const { dtMs, pace, nodeMilli, offlineMilli, carried, ...again } of ticks) {
          nowMs += dtMs
          const fresh = snapshotOf({
            nowMs,
            pace,
            dialect,
            nodeMilli,
            offlineMilli,
            pods: pods.map((pod, i) => ({ ...pod, uid: `p${i}` })),
          })
          const { capabilities, topology, layout, ownGroups } = last ?? fresh
          const read = last?.pods ?? fresh.pods
          const kept = {
            capabilities,
            topology,
            layout,
            ownGroups,
            pods: pace === 'hot' ? read : { ...read, pods: readAgain(read.pods, again, nowMs) },
          }
          const snapshot: NodeSnapshot = { ...fresh, ...kept, actual }
          last = snapshot
          const { standing: _taken, ...bare } = memory
          const before = memory.standing
          const decided = decide(snapshot, memory, config)
          expect(said(decided.decision)).toEqual(said(decide(snapshot, bare, config).decision))
          if (decided.memory.standing === before) taken += 1
          else if (decided.memory.standing?.table === before?.table) takenOnCalmTicks += 1
          memory = decided.memory
          if (!carried) continue
          decided.decision.desired.forEach((group, kind, { setting }) => {
            actual.set(group, kind, { value: setting.value, atMs: nowMs, source: kind })
          })
        }
      }),
    )
    expect(taken).toBeGreaterThan(0)
    expect(takenOnCalmTicks).toBeGreaterThan(100)
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

describe('the plan of a tick', () => {
  it('leaves nothing to do that a whole plan would have done (I76)', () => {
    let [hot, calm] = [0, 0]
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
              else calm += 1
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
    expect([hot > 0, calm > 0]).toEqual([true, true])
  })
})
