/**
 * Rules that only observe, as a closed loop: one that is told to while it is in force puts its values back and goes on deciding; told
 * otherwise again, it writes as before. What is judged is what the kernel holds.
 */
import { describe, expect, it, vi } from 'vitest'
import type { KnobKind, ObservableRule, TickRecord } from '../../src/model/index.ts'
import { configOf } from '../support/config.ts'
import { BE, DIALECTS, FLOOR_MILLI, onNode, OT, LS } from '../support/closed-loop.ts'
import { OFFLINE_ROOT } from '../support/snapshots.ts'
import type { SimulatedAgent } from '../support/simulated-agent.ts'

vi.setConfig({ testTimeout: 120_000 })

const SETTINGS = { placement: { reservedCpus: '0' }, suppressIo: { enabled: true }, burst: { enabled: true } }
const observing = (...observeRules: ObservableRule[]) => configOf({ ...SETTINGS, observeRules })

/** Knobs that a rule has the say of, now. */
function heldBy(sim: SimulatedAgent, rule: ObservableRule): readonly (readonly [string, KnobKind])[] {
  const { desired } = last(sim).decision
  return [...desired.entries()].flatMap(([group, kind, { winner }]) => (winner.rule === rule ? [[group, kind] as const] : []))
}

function last({ records }: SimulatedAgent): TickRecord {
  const record = records.at(-1)
  if (record === undefined) throw new Error('no tick has finished')
  return record
}

const read = (sim: SimulatedAgent, knobs: ReturnType<typeof heldBy>) =>
  knobs.map(([group, kind]) => sim.kernel.readKnob(group, kind))

describe.each(DIALECTS)('a rule that is told only to observe, under %s', (dialect) => {
  it.each(['identity', 'placement', 'limits', 'suppressCpu'] as const)(
    '%s puts back what it wrote, still tells what it would write, and writes it again when it may (I83)',
    (rule) => {
      // Apart from each other, so that a knob has one rule: what limits a pod is also what suppression takes from.
      const pods = rule === 'limits' ? [BE, LS] : [BE, OT, LS]
      onNode({ dialect, pods, config: observing() }, (sim) => {
        sim.node.setDemand('ls', 2000)
        sim.run(5000)
        const knobs = heldBy(sim, rule)
        expect(knobs.length).toBeGreaterThan(0)
        const enforced = read(sim, knobs)

        sim.reconfigure(observing(rule))
        sim.run(15_000)
        expect(heldBy(sim, rule)).toEqual([])
        for (const [group, kind] of knobs) expect(last(sim).decision.observed?.desired.get(group, kind)?.winner.rule).toBe(rule)
        const observed = read(sim, knobs)
        for (const [index, [group, kind]] of knobs.entries()) {
          const wanted = last(sim).decision.desired.get(group, kind)
          // Either its original, or what a rule wants that had lost.
          if (wanted === undefined) expect(last(sim).journaled.get(group, kind), `${kind} of ${group}`).toBeUndefined()
          else expect(observed[index]).toEqual(wanted.setting.value)
        }
        expect(observed).not.toEqual(enforced)

        sim.reconfigure(observing())
        sim.run(20_000)
        expect(read(sim, heldBy(sim, rule))).toEqual(enforced)
        expect(heldBy(sim, rule)).toEqual(knobs)
      })
    },
  )

  it('winds nothing up while online work waits for CPU and no cut shows: no rung, no proof, no swing', () => {
    const rungs = { enabled: true, enterMs: 0, coolDownMs: 0 }
    const config = configOf({
      cpuNarrow: rungs,
      cpuFreeze: rungs,
      cpuEvict: rungs,
      evict: { enabled: true, holdMs: 0 },
      pressure: { futileMs: 2000 },
      observeRules: ['suppressCpu'],
    })
    onNode({ dialect, config }, (sim) => {
      for (let minute = 0; minute < 4; minute += 1) {
        sim.node.setDemand('ls', minute % 2 === 0 ? 6000 : 1000)
        sim.run(10_000)
        const { decision, results } = last(sim)
        expect(results.filter(({ step }) => step.kind === 'quota' && step.group === OFFLINE_ROOT)).toEqual([])
        expect(decision.suppression).toMatchObject({ ladder: { inForce: [] }, steadiness: { swings: false, turns: 0 } })
        expect(decision.suppression?.pressure?.is).not.toBe('futile')
        expect(decision.evictions).toEqual([])
        expect(decision.suppression?.allowanceMilli).toBeGreaterThanOrEqual(FLOOR_MILLI)
      }
      expect(sim.rootMilli).toBe(Infinity)
    })
  })
})
