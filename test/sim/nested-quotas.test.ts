/**
 * Quotas deep inside pods, under cgroup v1, where one of them makes the kernel refuse a smaller quota of every group above it: the whole loop
 * on a simulated node. Offline work yields all the same, a release puts everything back, and a pod with thousands of groups is looked at
 * within bounds and stopped.
 */
import * as fc from 'fast-check'
import { describe, expect, it, vi } from 'vitest'
import type { GroupPath, KernelPort, Outcome } from '../../src/model/index.ts'
import { childGroup, isSuccess, podGroup, quotaOf } from '../../src/model/index.ts'
import type { ModelKernel } from '../../src/sim/index.ts'
import { DEFAULTS } from '../support/config.ts'
import { withDirectory } from '../support/journaled-node.ts'
import { LAYOUT, type PodLiteral, specOf } from '../support/snapshots.ts'
import { SimulatedAgent } from '../support/simulated-agent.ts'
import { textOf } from '../support/trees.ts'

vi.setConfig({ testTimeout: 120_000 })

const BE: PodLiteral = { uid: 'be', asks: { 'be-cpu': 60, 'be-memory': 8 } }
const DIND: PodLiteral = { uid: 'dind', asks: { 'be-cpu': 60, 'be-memory': 8 } }
const UNTAGGED: PodLiteral = { uid: 'untagged' }
const LS: PodLiteral = { uid: 'ls', qos: 'Burstable', requestsMilli: 4000 }
const DIND_GROUP = podGroup(LAYOUT, 'BestEffort', 'dind')

interface Node {
  readonly sim: SimulatedAgent
  /** Makes groups one inside the other in a pod's container, and answers the innermost. */
  readonly nest: (uid: string, ...names: readonly string[]) => GroupPath
  readonly setQuota: (group: GroupPath, milli: number) => Outcome
  /** Every knob of every group, as text. */
  readonly photograph: () => Readonly<Record<string, string>>
}

function withNode(pods: readonly PodLiteral[], body: (node: Node) => void, port?: (kernel: ModelKernel) => KernelPort): void {
  withDirectory((directory) => {
    const sim = new SimulatedAgent({ dialect: 'v1', directory, config: DEFAULTS, ...(port === undefined ? {} : { port }) })
    for (const pod of pods) sim.node.addPod(specOf(pod))
    for (const pod of pods) sim.node.setDemand(pod.uid, pod === LS ? 1000 : 8000)
    const nest = (uid: string, ...names: readonly string[]): GroupPath => {
      const pod = podGroup(LAYOUT, 'BestEffort', uid)
      const [container = ''] = sim.kernel.listChildren(pod)
      return names.reduce(
        (parent, name) => {
          const group = childGroup(parent, name)
          if (!sim.kernel.exists(group)) sim.kernel.makeGroup(group)
          return group
        },
        childGroup(pod, container),
      )
    }
    const setQuota = (group: GroupPath, milli: number): Outcome =>
      sim.kernel.writeKnob(group, { kind: 'quota', value: quotaOf(milli) })
    const photograph = (): Readonly<Record<string, string>> => textOf(sim.kernel)
    body({ sim, nest, setQuota, photograph })
    expect(sim.failures).toEqual([])
    sim.end()
  })
}

const lastFailed = ({ records }: SimulatedAgent): unknown[] =>
  (records.at(-1)?.results ?? []).filter(({ outcome }) => !isSuccess(outcome))

describe('a quota deep inside a pod', () => {
  it.each([
    ['a BE pod', [BE, DIND, LS], 'dind'],
    ['an untagged pod', [BE, UNTAGGED, LS], 'untagged'],
  ])('of %s is moved out of the way within a few ticks of a spike, and a release puts it back', (_, pods, uid) => {
    withNode(pods, ({ sim, nest, setQuota, photograph }) => {
      const inner = nest(uid, 'docker', 'c1', 'd', 'e')
      expect(setQuota(inner, 5000)).toEqual({ is: 'applied' })
      expect(setQuota(nest(uid, 'docker', 'c2'), 50)).toEqual({ is: 'applied' })
      const before = photograph()
      sim.run(10_000)
      sim.node.setDemand('ls', 6000)
      sim.run(1000)
      expect(lastFailed(sim)).toEqual([])
      expect(sim.node.servedMilli('be') + (uid === 'dind' ? sim.node.servedMilli('dind') : 0)).toBeLessThanOrEqual(161)
      sim.node.setDemand('ls', 500)
      sim.run(20_000)
      expect(sim.records.at(-1)?.snapshot.unfollowed).toBeUndefined()
      sim.release()
      expect(photograph()).toEqual(before)
    })
  })

  it('that comes, is raised and goes while the node is hot is followed, and its owner’s last word is what stays', () => {
    withNode([BE, DIND, LS], ({ sim, nest, setQuota }) => {
      sim.run(6000)
      const inner = nest('dind', 'docker', 'c1')
      expect(setQuota(inner, 300)).toEqual({ is: 'applied' })
      sim.node.setDemand('ls', 8000)
      sim.run(1500)
      expect(lastFailed(sim)).toEqual([])
      expect(sim.rootMilli).toBe(160)
      sim.kernel.removeGroup(inner)
      sim.run(3000)
      nest('dind', 'docker', 'c1')
      expect(setQuota(inner, 20)).toEqual({ is: 'applied' })
      sim.node.setDemand('ls', 500)
      sim.run(20_000)
      expect(setQuota(inner, 800)).toEqual({ is: 'applied' })
      sim.node.setDemand('ls', 8000)
      sim.run(1500)
      expect(sim.rootMilli).toBe(160)
      sim.release()
      expect(sim.kernel.readKnob(inner, 'quota')).toEqual(quotaOf(800))
    })
  })

  it('is taken over by an agent that restarts, from its journal', () => {
    withNode([BE, DIND, LS], ({ sim, nest, setQuota, photograph }) => {
      setQuota(nest('dind', 'docker', 'c1'), 5000)
      const before = photograph()
      sim.node.setDemand('ls', 8000)
      sim.run(10_000)
      sim.restart()
      const from = sim.records.length
      sim.run(10_000)
      const failed = sim.records.slice(from).flatMap(({ results }) => results.filter(({ outcome }) => !isSuccess(outcome)))
      expect(failed).toEqual([])
      sim.release()
      expect(photograph()).toEqual(before)
    })
  })

  it('never keeps the root above the allowance for longer than a second, whatever groups a pod makes within the bounds', () => {
    const deed = fc.record({
      path: fc.array(fc.constantFrom('a', 'b', 'c'), { minLength: 1, maxLength: 6 }),
      milli: fc.nat(9000),
    })
    fc.assert(
      fc.property(fc.array(fc.array(deed, { maxLength: 12 }), { minLength: 1, maxLength: 5 }), (rounds) => {
        withNode([BE, DIND, LS], ({ sim, nest, setQuota }) => {
          for (const [index, deeds] of rounds.entries()) {
            sim.node.setDemand('ls', index % 2 === 0 ? 500 : 3000)
            sim.run(4000)
            for (const { path, milli } of deeds) setQuota(nest('dind', ...path), Math.max(10, milli))
            sim.node.setDemand('ls', 4000 + index * 500)
            sim.run(1000)
            expect(sim.rootMilli).toBeLessThanOrEqual(sim.allowanceMilli)
          }
        })
      }),
      { numRuns: 30 },
    )
  })
})

describe('a pod with thousands of groups, each with a quota of its own,', () => {
  /** Counts on each tick how many groups are listed and read. */
  function counted(kernel: ModelKernel, counts: { looks: number }): KernelPort {
    return new Proxy(kernel, {
      get: (target, key) => {
        const value: unknown = Reflect.get(target, key, target)
        if (typeof value !== 'function') return value
        const call = (value as (...args: unknown[]) => unknown).bind(target)
        return (...args: unknown[]): unknown => {
          if (String(args[0]).startsWith(`${DIND_GROUP}/`) && (key === 'listChildren' || key === 'readKnob')) counts.looks += 1
          return call(...args)
        }
      },
    })
  }

  it('costs a bounded number of looks on any tick, is told of, stopped, and let go when the node is calm', () => {
    const counts = { looks: 0 }
    withNode(
      [BE, DIND, LS],
      ({ sim, nest, setQuota, photograph }) => {
        for (let index = 0; index < 600; index += 1) setQuota(nest('dind', `g${index % 20}`, `h${index}`), 3000)
        const honest = nest('be', 'docker', 'c1')
        setQuota(honest, 3000)
        const before = photograph()
        sim.run(8000)
        sim.node.setDemand('ls', 8000)
        let most = 0
        counts.looks = 0
        sim.run(10_000, () => {
          most = Math.max(most, counts.looks)
          counts.looks = 0
        })
        // A look is a listing and two readings; what is kept is read again, for the plan and for a release.
        expect(most).toBeLessThan(3 * 128 + 4 * 256)
        expect(sim.records.at(-1)?.snapshot.unfollowed).toEqual({ groups: [DIND_GROUP], barsRoot: true })
        expect(sim.kernel.readKnob(DIND_GROUP, 'freeze')).toBe(1)
        expect(sim.kernel.readKnob(honest, 'quota')).toEqual({ ...quotaOf(1), quotaUs: null })
        expect(sim.node.servedMilli('be')).toBeLessThanOrEqual(161)
        expect(sim.records.at(-1)?.decision.findings.map(({ code, name }) => [code, name])).toEqual([['unfollowed', 'dind']])
        sim.node.setDemand('ls', 100)
        sim.run(60_000)
        expect(sim.records.at(-1)?.snapshot.unfollowed).toBeUndefined()
        expect(sim.kernel.readKnob(DIND_GROUP, 'freeze')).toBe(0)
        sim.release()
        expect(photograph()).toEqual(before)
      },
      (kernel) => counted(kernel, counts),
    )
  })
})
