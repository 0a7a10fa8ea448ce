/**
 * An agent that is killed at any instant, between two writes as well, on a node where pods come and go, rungs are in force and pods are being
 * evicted. What is in force stays in force, nothing is let loose, the next one carries on, and release leaves the node as it was.
 */
import * as fc from 'fast-check'
import { describe, expect, it, vi } from 'vitest'
import type { KernelPort } from '../../src/model/index.ts'
import type { ModelKernel } from '../../src/sim/index.ts'
import { configOf, DEFAULTS } from '../support/config.ts'
import { BE, CAPACITY_MILLI, DIALECTS, FLOOR_MILLI, LS, onNode, OT } from '../support/closed-loop.ts'
import { Killed } from '../support/journaled-node.ts'
import { SimEvictor } from '../support/sim-evictor.ts'
import { specOf } from '../support/snapshots.ts'

// Whole lives: some seconds each, and many times that on a machine that is busy.
vi.setConfig({ testTimeout: 120_000 })

/** A kernel whose writer can be told to die at its n-th write from now. */
class Executioner {
  #left = Infinity

  dieAfter(writes: number): void {
    this.#left = writes
  }

  port(kernel: ModelKernel): KernelPort {
    const writeKnob: KernelPort['writeKnob'] = (group, setting) => {
      this.#left -= 1
      if (this.#left < 0) throw new Killed('killed')
      return kernel.writeKnob(group, setting)
    }
    return new Proxy(kernel, {
      get: (target, key) => {
        if (key === 'writeKnob') return writeKnob
        const value: unknown = Reflect.get(target, key, target)
        return typeof value === 'function' ? (value as (...args: unknown[]) => unknown).bind(target) : value
      },
    })
  }
}

const config = configOf({
  cpuNarrow: { enterMs: 500, exitMs: 1500, coolDownMs: 500 },
  cpuFreeze: { enabled: true, enterMs: 500, exitMs: 1500, coolDownMs: 500 },
  cpuEvict: { enabled: true, enterMs: 2000, exitMs: 2000, coolDownMs: 1000 },
  evict: { enabled: true, holdMs: 3000, intervalMs: 2000 },
  placement: { reservedCpus: '0', lsSharePermyriad: 6000 },
})

const act = fc.oneof(
  fc.record({ do: fc.constant('load' as const), lsMilli: fc.nat(CAPACITY_MILLI), ms: fc.integer({ min: 25, max: 6000 }) }),
  fc.record({
    do: fc.constant('pod' as const),
    uid: fc.constantFrom('p0', 'p1', 'p2'),
    kind: fc.nat(2),
    ms: fc.constantFrom(25, 1000),
  }),
  fc.record({
    do: fc.constant('kill' as const),
    writes: fc.nat(6),
    ms: fc.constantFrom(25, 500, 3000),
    lsMilli: fc.nat(CAPACITY_MILLI),
  }),
  fc.record({ do: fc.constant('restart' as const), ms: fc.constantFrom(25, 500, 4000) }),
)

const KINDS = [
  { asks: { 'be-cpu': 20 }, containers: ['a', 'b'] },
  { asks: { 'ot-cpu': 20 } },
  { qos: 'Burstable', requestsMilli: 500, containers: ['a', 'b'] },
] as const

describe.each(DIALECTS)('an agent that is killed under %s', (dialect) => {
  it('leaves what is in force, is carried on by the next, and what is left of the node is as it was after release (I14)', () => {
    fc.assert(
      fc.property(fc.array(act, { minLength: 1, maxLength: 12 }), (acts) => {
        const executioner = new Executioner()
        const evictor = new SimEvictor({ answerMs: 200, graceMs: 1500 })
        const port = (kernel: ModelKernel): KernelPort => executioner.port(kernel)
        onNode({ dialect, config, port, evictor, quietMs: 4000 }, (sim, watch) => {
          evictor.serve(sim.node)
          const again = (): void => {
            executioner.dieAfter(Infinity)
            evictor.forget()
            // What the dead one failed at is no failure of the next.
            sim.failures.splice(0, Infinity, ...sim.failures.filter((thrown) => !(thrown instanceof Killed)))
            sim.restart()
          }
          for (const one of acts) {
            if (one.do === 'load') sim.node.setDemand('ls', one.lsMilli)
            else if (one.do === 'pod' && sim.node.has(one.uid)) sim.node.removePod(one.uid)
            else if (one.do === 'pod') {
              sim.node.addPod(specOf({ uid: one.uid, ...KINDS[one.kind] }))
              sim.node.setDemand(one.uid, 1000)
            } else if (one.do === 'restart') again()
            else {
              // Some write of the ticks to come is the last one: a change of load sees to it that there are some.
              sim.node.setDemand('ls', one.lsMilli)
              executioner.dieAfter(one.writes)
              const failed = sim.failures.length
              for (let beat = 0; beat < 8 && sim.failures.length === failed; beat += 1) watch.run(DEFAULTS.loop.guardMs)
              const before = sim.rootMilli
              again()
              watch.run(1000)
              expect(sim.rootMilli).toBeLessThanOrEqual(Math.max(before, FLOOR_MILLI) + 1)
            }
            watch.run(one.ms)
          }
          expect(watch.leastRootMilli).toBeGreaterThanOrEqual(FLOOR_MILLI - 1)
          for (const uid of ['p0', 'p1', 'p2']) sim.node.removePod(uid)
          // Every life ends in calm, with the rungs left one after the other.
          sim.node.setDemand('ls', 500)
          sim.run(25_000)
          expect(sim.records.at(-1)?.decision.suppression?.ladder.inForce).toEqual([])
          expect(evictor.violations).toEqual([])
        })
      }),
      { numRuns: 15 },
    )
  })

  it('goes on growing from the quota that stands, in the same steps, instead of jumping to where it might be', () => {
    onNode({ dialect, lsMilli: 4500 }, (sim, watch) => {
      sim.node.setDemand('ls', 1000)
      sim.run(500)
      const before = sim.rootMilli
      expect(before).toBeLessThan(1000)
      sim.restart()
      // It looks for about 3 s before it decides anything, and then takes one step.
      watch.run(3500)
      expect(Math.max(...watch.levels)).toBeLessThanOrEqual(before + 800)
      watch.run(8000)
      expect(sim.rootMilli).toBeGreaterThan(4000 - 81)
    })
  })

  it('lets nothing loose in the heat: the quota that stands holds until the next one has seen for itself', () => {
    onNode({ dialect, pods: [BE, OT, LS], lsMilli: 4500 }, (sim, watch) => {
      for (let round = 0; round < 5; round += 1) {
        sim.restart()
        watch.run(700)
      }
      watch.run(3000)
      expect(watch.mostOverMilli).toBeLessThanOrEqual(1)
    })
  })
})
