/**
 * Random lives of a node under the whole loop, real rules and real sensor included: pods come, go and change their load, the agent is
 * killed, others write. Every write must be taken (I12), calm must be reached (I13), and release must leave the node as it was (I14).
 */
import * as fc from 'fast-check'
import { describe, expect, it, vi } from 'vitest'
import { isSuccess } from '../../src/model/index.ts'
import { configOf } from '../support/config.ts'
import { withDirectory } from '../support/journaled-node.ts'
import { SimulatedAgent } from '../support/simulated-agent.ts'
import { GIB, OFFLINE_ROOT, type PodLiteral, specOf } from '../support/snapshots.ts'
import { textOf } from '../support/trees.ts'

// Whole lives: some seconds each, and many times that on a machine that is busy.
vi.setConfig({ testTimeout: 120_000 })

const KINDS: readonly Omit<PodLiteral, 'uid'>[] = [
  { asks: { 'be-cpu': 20, 'be-memory': 2 } },
  { asks: { 'ot-cpu': 30 }, containers: ['a', 'b'] },
  { labels: { 'kube-agent.io/qos-class': 'BE' }, containers: ['a', 'b'] },
  {},
  { qos: 'Burstable', requestsMilli: 2000 },
  { qos: 'Guaranteed', requestsMilli: 1000, labels: { 'kube-agent.io/qos-class': 'SYSTEM' } },
  { qos: 'Guaranteed', requestsMilli: 2000, labels: { 'kube-agent.io/qos-class': 'LSX' }, containers: ['a', 'b'] },
  { qos: 'Burstable', requestsMilli: 1500, labels: { 'kube-agent.io/qos-class': 'LSR' } },
  { qos: 'Guaranteed', requestsMilli: 3000, labels: { 'kube-agent.io/qos-class': 'LSR' }, containers: ['a', 'b'] },
]

const action = fc.oneof(
  fc.record({ do: fc.constant('add' as const), pod: fc.nat(5), kind: fc.nat(KINDS.length - 1) }),
  fc.record({ do: fc.constant('remove' as const), pod: fc.nat(5) }),
  fc.record({ do: fc.constant('load' as const), pod: fc.nat(5), milli: fc.nat(8000), bytes: fc.nat(2 ** 30) }),
  fc.record({ do: fc.constant('wait' as const), ms: fc.integer({ min: 25, max: 6000 }) }),
  fc.record({ do: fc.constant('restart' as const) }),
  fc.record({ do: fc.constant('kubelet' as const) }),
)
type Action = typeof action extends fc.Arbitrary<infer T> ? T : never

function perform(sim: SimulatedAgent, listed: Set<string>, one: Action): void {
  const uid = 'pod' in one ? `p${one.pod}` : ''
  if (one.do === 'add' && !listed.has(uid)) {
    listed.add(uid)
    sim.node.addPod(specOf({ uid, ...KINDS[one.kind] }))
  } else if (one.do === 'remove' && listed.delete(uid)) sim.node.removePod(uid)
  else if (one.do === 'load') sim.node.setDemand(uid, one.milli, one.bytes)
  else if (one.do === 'restart') sim.restart()
  // What the kubelet does every minute.
  else if (one.do === 'kubelet') sim.kernel.writeKnob(OFFLINE_ROOT, { kind: 'weight', value: 2 })
  sim.run(one.do === 'wait' ? one.ms : 75)
}

describe.each(['v1', 'v2'] as const)('a life under %s', (dialect) => {
  it('meets no refusal, comes to rest, and is undone (I12, I13, I14)', () => {
    const placements = fc.record({
      reservedCpus: fc.constantFrom('', '0'),
      dedicatedCpus: fc.constantFrom('', '4-5'),
      lsSharePermyriad: fc.constantFrom(10_000, 4000),
      bePinning: fc.constantFrom('shared', 'exclusive'),
    })
    fc.assert(
      fc.property(placements, fc.array(action, { maxLength: 25 }), (placement, actions) =>
        withDirectory((directory) => {
          const sim = new SimulatedAgent({ dialect, directory, config: configOf({ placement }) })
          sim.kernel.writeKnob(OFFLINE_ROOT, { kind: 'weight', value: 2 })
          const listed = new Set<string>()
          const before = textOf(sim.kernel)
          for (const one of actions) perform(sim, listed, one)
          const refused = sim.records.flatMap(({ results }) =>
            results.filter(({ outcome }) => !isSuccess(outcome) && outcome.is !== 'vanished'),
          )
          expect(refused).toEqual([])
          expect(sim.failures).toEqual([])
          expect(sim.kernel.oomKills).toEqual([])
          for (const uid of listed) sim.node.setDemand(uid, 0)
          sim.run(30_000)
          const resting = sim.records.length
          sim.run(5000)
          expect(sim.records.slice(resting).flatMap(({ plan }) => plan)).toEqual([])
          for (const uid of listed) sim.node.removePod(uid)
          const report = sim.release()
          expect([report?.failed, report?.foreign]).toEqual([[], []])
          expect(textOf(sim.kernel)).toEqual(before)
          sim.end()
        }),
      ),
      { numRuns: 60 },
    )
  })

  it('leaves a node with running pods as it would be without an agent (I14)', () => {
    fc.assert(
      fc.property(fc.array(action, { maxLength: 25 }), (actions) =>
        withDirectory((directory) => {
          const config = configOf({ placement: { reservedCpus: '0', lsSharePermyriad: 4000 } })
          const [sim, alone] = ['agent', 'alone'].map(
            (name) => new SimulatedAgent({ dialect, directory: `${directory}/${name}`, config }),
          )
          const [listed, listedAlone] = [new Set<string>(), new Set<string>()]
          if (sim === undefined || alone === undefined) return
          for (const one of actions) {
            perform(sim, listed, one)
            // The twin's agent never beats.
            if (one.do === 'add' && !listedAlone.has(`p${one.pod}`))
              alone.node.addPod(specOf({ uid: `p${one.pod}`, ...KINDS[one.kind] }))
            if (one.do === 'add') listedAlone.add(`p${one.pod}`)
            if (one.do === 'remove' && listedAlone.delete(`p${one.pod}`)) alone.node.removePod(`p${one.pod}`)
            if (one.do === 'kubelet') alone.kernel.writeKnob(OFFLINE_ROOT, { kind: 'weight', value: 2 })
          }
          const report = sim.release()
          expect([report?.failed, report?.foreign]).toEqual([[], []])
          expect(textOf(sim.kernel)).toEqual(textOf(alone.kernel))
          sim.end()
          alone.end()
        }),
      ),
      { numRuns: 60 },
    )
  })
})

describe('a pod that grows past its limit before that is set', () => {
  it('is not killed by the limit', () => {
    withDirectory((directory) => {
      const sim = new SimulatedAgent({ dialect: 'v2', directory, config: configOf() })
      const uids = Array.from({ length: 5 }, (_, index) => `p${index}`)
      for (const uid of uids) sim.node.addPod(specOf({ uid, asks: { 'be-memory': 2 } }))
      sim.run(1000)
      for (const uid of uids) sim.node.setDemand(uid, 100, 2 * GIB)
      sim.run(10_000)
      expect(sim.kernel.oomKills).toEqual([])
      sim.end()
    })
  })
})
