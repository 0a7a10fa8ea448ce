/**
 * LSX and LSR pods on a simulated node under the whole loop: who ends up on which CPUs, that pods stay where they are when others come and
 * go, when the agent is killed and when CPUs are unplugged and come back, and that no write is ever refused.
 */
import * as fc from 'fast-check'
import { describe, expect, it, vi } from 'vitest'
import { CpuSet } from '../../src/cpu/index.ts'
import type { Dialect } from '../../src/model/index.ts'
import { isSuccess, podGroup } from '../../src/model/index.ts'
import { configOf } from '../support/config.ts'
import { withDirectory } from '../support/journaled-node.ts'
import { SimulatedAgent } from '../support/simulated-agent.ts'
import { LAYOUT, type PodLiteral, specOf, topologyOf, type TopologyName } from '../support/snapshots.ts'
import { textOf } from '../support/trees.ts'

// Whole lives: some seconds each, and many times that on a machine that is busy.
vi.setConfig({ testTimeout: 120_000 })

const label = (value: string) => ({ 'kube-agent.io/qos-class': value })
const LSX = (uid: string, requestsMilli = 2000): PodLiteral => ({
  uid,
  qos: 'Guaranteed',
  requestsMilli,
  labels: label('LSX'),
  containers: ['a', 'b'],
})
const LSR = (uid: string, requestsMilli = 2000): PodLiteral => ({ uid, qos: 'Guaranteed', requestsMilli, labels: label('LSR') })
const LS = (uid: string): PodLiteral => ({ uid, qos: 'Burstable', requestsMilli: 500, containers: ['a', 'b'] })
const BE = (uid: string): PodLiteral => ({ uid, asks: { 'be-cpu': 20 } })

interface Node {
  readonly sim: SimulatedAgent
  readonly cpusOf: (pod: PodLiteral) => string
}

function node(dialect: Dialect, body: (node: Node) => void, placement: Readonly<Record<string, unknown>> = {}): void {
  withDirectory((directory) => {
    const sim = new SimulatedAgent({ dialect, directory, config: configOf({ placement }) })
    const cpusOf = (pod: PodLiteral): string => {
      const { uid, kubeletQos, containers } = specOf(pod)
      const group = podGroup(LAYOUT, kubeletQos, uid)
      const setOf = (path: string): string => sim.kernel.groups.get(path)?.knobs.cpuset.toString() ?? 'none'
      const own = setOf(group)
      // Under v2 a container follows its pod, under v1 it has a copy.
      for (const { name } of containers) {
        expect(setOf(`${group}/${name}`)).toBe(dialect === 'v1' ? own : '')
      }
      return own
    }
    body({ sim, cpusOf })
    expect(sim.failures).toEqual([])
    expect(refused(sim)).toEqual([])
    sim.end()
  })
}

const refused = (sim: SimulatedAgent): unknown[] =>
  sim.records.flatMap(({ results }) => results.filter(({ outcome }) => !isSuccess(outcome) && outcome.is !== 'vanished'))

describe.each(['v1', 'v2'] as const)('pods with CPUs of their own under %s', (dialect) => {
  it('get them on the first tick, and the others keep off', () => {
    node(dialect, ({ sim, cpusOf }) => {
      for (const pod of [LS('ls'), BE('be'), LSX('x'), LSR('r')]) sim.node.addPod(specOf(pod))
      sim.run(25)
      expect([cpusOf(LSX('x')), cpusOf(LSR('r'))]).toEqual(['1,5', '2,6'])
      expect(cpusOf(LS('ls'))).toBe('0,3-4,7')
      // Half of what the LSR pod has is shared.
      expect(cpusOf(BE('be'))).toBe('0,3-4,6-7')
      sim.node.addPod(specOf(LS('new')))
      sim.run(1000)
      expect(cpusOf(LS('new'))).toBe('0,3-4,7')
    })
  })

  it('keep them when others come and go and when the agent is killed, and leave no trace', () => {
    node(
      dialect,
      ({ sim, cpusOf }) => {
        for (const pod of [LS('ls'), BE('be'), LSX('x'), LSR('r', 1000)]) sim.node.addPod(specOf(pod))
        const before = textOf(sim.kernel)
        sim.run(2000)
        const [x, r] = [cpusOf(LSX('x')), cpusOf(LSR('r'))]
        for (const pod of [LSR('large', 3000), LSX('second'), LSR('third', 1000)]) {
          sim.node.addPod(specOf(pod))
          sim.run(2000)
          if (pod.uid === 'second') sim.restart()
          sim.run(2000)
          expect([cpusOf(LSX('x')), cpusOf(LSR('r'))]).toEqual([x, r])
        }
        for (const uid of ['large', 'second', 'third']) {
          sim.node.removePod(uid)
          sim.run(2000)
          expect([cpusOf(LSX('x')), cpusOf(LSR('r'))]).toEqual([x, r])
        }
        sim.run(5000)
        const resting = sim.records.length
        sim.run(5000)
        expect(sim.records.slice(resting).flatMap(({ plan }) => plan)).toEqual([])
        expect(sim.release()?.failed).toEqual([])
        expect(textOf(sim.kernel)).toEqual(before)
      },
      { lsSharePermyriad: 5000, bePinning: 'exclusive' },
    )
  })

  it('grow, shrink and move without a refused write', () => {
    node(dialect, ({ sim, cpusOf }) => {
      sim.node.addPod(specOf(LS('ls')))
      sim.node.addPod(specOf(LSR('r', 1000)))
      sim.node.addPod(specOf(LSX('x', 1000)))
      sim.run(2000)
      // A resized pod is listed anew with its groups as they are.
      for (const milli of [4000, 2000, 6000, 1000]) {
        sim.node.resizePod(specOf(LSR('r', milli)))
        sim.run(2000)
        const size = milli === 6000 ? 0 : milli / 1000
        const now = CpuSet.parse(cpusOf(LSR('r')))
        // There is no room for 6 beside a core of an LSX pod and one CPU for the others.
        if (size > 0) expect(now.size).toBe(size)
        else expect(now.toString()).toBe(cpusOf(LS('ls')))
      }
      expect(cpusOf(LSX('x'))).toBe('1,5')
    })
  })

  it('stay on what is left when CPUs go, move from those that went, and do not move back', () => {
    node(dialect, ({ sim, cpusOf }) => {
      for (const pod of [LSX('x'), LSR('r', 1000), LS('ls'), BE('be')]) sim.node.addPod(specOf(pod))
      sim.run(3000)
      expect([cpusOf(LSX('x')), cpusOf(LSR('r'))]).toEqual(['1,5', '2'])
      sim.kernel.hotplug(topologyOf('smtOff'))
      sim.run(3000)
      expect([cpusOf(LSX('x')), cpusOf(LSR('r')), cpusOf(LS('ls'))]).toEqual(['1,3', '2', '0'])
      sim.kernel.hotplug(topologyOf('desktop'))
      sim.run(3000)
      expect(cpusOf(LSR('r'))).toBe('2')
      // Under v1 the kubelet's own groups lack what was unplugged, and so does everything below.
      expect(cpusOf(LSX('x'))).toBe(dialect === 'v1' ? '1,3' : '1,3,5,7')
      expect(cpusOf(LS('ls'))).toBe(dialect === 'v1' ? '0' : '0,4,6')
    })
  })

  it('follow CPUs that are back in the groups of the kubelet', () => {
    node(dialect, ({ sim, cpusOf }) => {
      for (const pod of [LSX('x'), LSR('r', 1000), LS('ls')]) sim.node.addPod(specOf(pod))
      sim.run(3000)
      sim.kernel.hotplug(topologyOf('smtOff'))
      sim.run(3000)
      sim.kernel.hotplug(topologyOf('desktop'))
      for (const root of ['/kubepods', '/kubepods/burstable', '/kubepods/besteffort'])
        sim.kernel.writeKnob(root, { kind: 'cpuset', value: CpuSet.range(0, 7) })
      sim.run(3000)
      expect([cpusOf(LSX('x')), cpusOf(LSR('r')), cpusOf(LS('ls'))]).toEqual(['1,3,5,7', '2', '0,4,6'])
    })
  })
})

const POOL: readonly PodLiteral[] = [LSX('a'), LSX('b', 3000), LSR('c', 1000), LSR('d', 3000), LS('e'), LS('f'), BE('g'), BE('h')]

const action = fc.oneof(
  fc.record({ do: fc.constant('toggle' as const), pod: fc.nat(POOL.length - 1) }),
  fc.record({ do: fc.constant('wait' as const), ms: fc.integer({ min: 25, max: 3000 }) }),
  fc.record({ do: fc.constant('plug' as const), to: fc.constantFrom<TopologyName>('desktop', 'smtOff') }),
  fc.record({ do: fc.constant('restart' as const) }),
)

describe.each(['v1', 'v2'] as const)('a life with hot-plug under %s', (dialect) => {
  it('meets no refusal, and comes to rest with nobody on the CPUs of others', () => {
    const placements = fc.record({
      reservedCpus: fc.constantFrom('', '0'),
      lsSharePermyriad: fc.constantFrom(10_000, 4000),
      bePinning: fc.constantFrom('shared', 'exclusive'),
      strategy: fc.constantFrom('pack', 'spread'),
    })
    fc.assert(
      fc.property(placements, fc.array(action, { maxLength: 20 }), (placement, actions) =>
        node(
          dialect,
          ({ sim, cpusOf }) => {
            const listed = new Set<PodLiteral>()
            for (const one of actions) {
              const pod = one.do === 'toggle' ? POOL[one.pod] : undefined
              if (pod !== undefined && listed.delete(pod)) sim.node.removePod(pod.uid)
              else if (pod !== undefined) {
                listed.add(pod)
                sim.node.addPod(specOf(pod))
              } else if (one.do === 'plug') sim.kernel.hotplug(topologyOf(one.to))
              else if (one.do === 'restart') sim.restart()
              sim.run(one.do === 'wait' ? one.ms : 50)
            }
            sim.run(20_000)
            const resting = sim.records.length
            sim.run(3000)
            expect(sim.records.slice(resting).flatMap(({ plan }) => plan)).toEqual([])
            const own = sim.records.at(-1)?.decision.placement.exclusive ?? []
            for (const { uid, qosClass, cpus } of own) {
              for (const pod of listed) {
                const set = CpuSet.parse(cpusOf(pod))
                if (pod.uid === uid) expect(set.toString()).toBe(cpus.toString())
                else if (pod.asks === undefined || qosClass === 'LSX')
                  expect(set.overlaps(cpus), `${pod.uid} on ${uid}`).toBe(false)
              }
            }
          },
          placement,
        ),
      ),
      { numRuns: 40 },
    )
  })
})
