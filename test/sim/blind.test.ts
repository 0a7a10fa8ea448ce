/**
 * The agent without its pods, or without its wits: what it does before the pods were ever read (an API server that is away at its start), with a
 * list that lacks a pod, with the rule capacity switched off under way, and when its ticks fail. It must neither sell nor lift anything then.
 */
import { describe, expect, it } from 'vitest'
import type { Publisher } from '../../src/agent/index.ts'
import { CpuSet } from '../../src/cpu/index.ts'
import { type Dialect, noUnits, type PodList } from '../../src/model/index.ts'
import { configOf, DEFAULTS } from '../support/config.ts'
import { withDirectory } from '../support/journaled-node.ts'
import { type PodLiteral, specOf } from '../support/snapshots.ts'
import { SimulatedAgent, type SimulatedAgentOptions } from '../support/simulated-agent.ts'

const BE: PodLiteral = { uid: 'be', asks: { 'be-cpu': 60 } }
const LSX: PodLiteral = { uid: 'lsx', qos: 'Guaranteed', requestsMilli: 2000, labels: { 'kube-agent.io/qos-class': 'LSX' } }
const LS: PodLiteral = { uid: 'ls', qos: 'Burstable', requestsMilli: 7000 }

class Shelf implements Publisher {
  readonly published: number[] = []
  readonly retained: number[] = []

  publish(units: Readonly<Record<string, number>>): void {
    this.published.push(units['be-cpu'] ?? 0)
  }

  allocatedUnits() {
    return noUnits()
  }

  retainAllocations(units: Readonly<Record<string, number>>): void {
    this.retained.push(units['be-cpu'] ?? 0)
  }
}

function withAgent(options: Partial<SimulatedAgentOptions>, body: (sim: SimulatedAgent) => void): void {
  withDirectory((directory) => {
    const sim = new SimulatedAgent({ dialect: 'v2', directory, config: DEFAULTS, ...options })
    for (const pod of [BE, LSX, LS]) sim.node.addPod(specOf(pod))
    sim.node.setDemand('be', 8000)
    sim.node.setDemand('lsx', 100)
    sim.node.setDemand('ls', 500)
    body(sim)
    sim.end()
  })
}

function lsxCpus(sim: SimulatedAgent): string {
  const cpus = sim.kernel.readKnob('/kubepods/podlsx', 'cpuset')
  return cpus instanceof CpuSet ? cpus.toString() : expect.fail('the group has no cpuset')
}

const unread = (list: PodList): PodList => ({ ...list, pods: [], everRead: false, revision: -1 })

describe.each(['v1', 'v2'] as const)('while the pods were never read, under %s', (dialect: Dialect) => {
  it('what an agent before has set stays, and suppression still follows the load both ways', () => {
    let blind = false
    withAgent({ dialect, told: (list) => (blind ? unread(list) : list) }, (sim) => {
      sim.run(20_000)
      const cpus = lsxCpus(sim)
      expect(CpuSet.parse(cpus).size).toBe(2)
      blind = true
      sim.restart()
      sim.run(5000)
      const calmMilli = sim.rootMilli
      sim.node.setDemand('ls', 7500)
      sim.run(5000)
      expect(sim.rootMilli).toBe(160)
      sim.node.setDemand('ls', 500)
      sim.run(30_000)
      expect(sim.rootMilli).toBeGreaterThan(calmMilli * 0.9)
      expect(lsxCpus(sim)).toBe(cpus)
      expect(sim.failures).toEqual([])
    })
  })

  it('nothing is sold, and no allocation is taken for released', () => {
    const shelf = new Shelf()
    let blind = true
    withAgent({ dialect, publisher: shelf, told: (list) => (blind ? unread(list) : list) }, (sim) => {
      sim.run(40_000)
      expect([shelf.published, shelf.retained]).toEqual([[], []])
      blind = false
      sim.run(5000)
      expect(shelf.published.at(-1)).toBe(60)
      expect(shelf.retained.at(-1)).toBe(60)
    })
  })
})

describe('a list that lacks a pod whose group lives', () => {
  it('takes nothing from it', () => {
    let short = false
    const told = (list: PodList): PodList =>
      short ? { ...list, pods: list.pods.filter(({ uid }) => uid !== 'lsx'), revision: -1 } : list
    withAgent({ told }, (sim) => {
      sim.run(20_000)
      const cpus = lsxCpus(sim)
      short = true
      sim.restart()
      sim.run(10_000)
      expect(lsxCpus(sim)).toBe(cpus)
    })
  })
})

describe('what is for sale', () => {
  it.each([
    ['is switched off', { capacity: { enabled: false } }],
    ['only observes', { capacity: { warmupMs: 0 }, observeRules: ['capacity'] }],
  ])('is withdrawn when the rule capacity %s', (_how, settings) => {
    const shelf = new Shelf()
    withAgent({ publisher: shelf, config: configOf({ capacity: { warmupMs: 0 } }) }, (sim) => {
      sim.run(5000)
      const sold = shelf.published.at(-1)
      expect(sold).toBeGreaterThan(0)
      sim.reconfigure(configOf(settings))
      sim.run(2000)
      expect(shelf.published.at(-1)).toBe(0)
      expect(sim.records.at(-1)?.decision.offers).toEqual([])
      sim.reconfigure(configOf({ capacity: { warmupMs: 0 } }))
      sim.run(5000)
      expect(shelf.published.at(-1)).toBe(sold)
    })
  })

  it('is withdrawn, and the node released, when ticks fail', () => {
    const shelf = new Shelf()
    let broken = false
    const told = (list: PodList): PodList => {
      if (broken) throw new Error('the source is broken')
      return list
    }
    withAgent({ publisher: shelf, told }, (sim) => {
      sim.run(20_000)
      expect(shelf.published.at(-1)).toBe(60)
      expect(sim.rootMilli).toBeLessThan(8000)
      broken = true
      sim.run(20_000)
      expect(sim.failures.length).toBeGreaterThanOrEqual(DEFAULTS.failSafe.afterTicks)
      expect(shelf.published.at(-1)).toBe(0)
      expect(sim.rootMilli).toBe(Infinity)
    })
  })
})
