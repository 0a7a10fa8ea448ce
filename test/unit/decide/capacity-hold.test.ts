/**
 * Sales that are stopped: while a rung of suppression holds them, every offer is exactly what is allocated. 8 CPUs and 64 GiB in units of
 * 100m and 512 MiB.
 */
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { capacity, type CapacityMemory } from '../../../src/decide/capacity.ts'
import { classify } from '../../../src/decide/classify.ts'
import { decide, EMPTY_MEMORY, type Memory } from '../../../src/decide/index.ts'
import type { Abstention, NodeSnapshot, Offer, OfflineResource, PlacementState } from '../../../src/model/index.ts'
import { hasEnded, OFFLINE_RESOURCES } from '../../../src/model/index.ts'
import { CpuSet } from '../../../src/cpu/index.ts'
import { configOf } from '../../support/config.ts'
import { deepFreeze, GIB, type PodLiteral, snapshotOf, type SnapshotLiteral } from '../../support/snapshots.ts'

const CPUS = CpuSet.parse('0-7')
const NONE = CpuSet.parse('')
const PLACEMENT: PlacementState = {
  reserved: NONE,
  pool: CPUS,
  dedicated: NONE,
  bestEffort: CPUS,
  exclusive: [],
  pinned: [],
  unpinned: CPUS,
}

/** Capacity tick by tick, with sales held or not. */
class Seller {
  memory: CapacityMemory = {}
  readonly #config

  constructor(settings: Readonly<Record<string, unknown>> = { capacity: { warmupMs: 0 } }) {
    this.#config = configOf(settings)
  }

  tick(literal: SnapshotLiteral, hold: boolean): readonly Offer[] {
    return this.tickOn(snapshotOf(literal), hold)
  }

  tickOn(snapshot: NodeSnapshot, hold: boolean): readonly Offer[] {
    const pods = snapshot.pods.pods.map((reading) => classify(reading, this.#config))
    const abstentions: Abstention[] = []
    const sold = capacity(
      deepFreeze(snapshot),
      pods,
      { placement: PLACEMENT, memory: this.memory, abstentions, hold },
      this.#config,
    )
    this.memory = sold.memory
    return sold.offers
  }
}

const unitsOf = (offers: readonly Offer[]): Record<string, number> =>
  Object.fromEntries(offers.map(({ resource, units }) => [resource, units]))
const boundsOf = (offers: readonly Offer[]): Set<string> => new Set(offers.map(({ because }) => because.bound))

const pod: PodLiteral = { uid: 'a', asks: { 'be-cpu': 7, 'be-memory': 3 }, usesMilli: 100, workingSetBytes: GIB }
const ot: PodLiteral = { uid: 'b', asks: { 'ot-cpu': 2, 'ot-memory': 1 }, usesMilli: 0 }

describe('counters that contradict each other', () => {
  it('are no reading: nothing is sold on their word, and what was offered stands', () => {
    const impossible = { nodeMilli: 3000, offlineMilli: 39_000 }
    const seller = new Seller()
    expect(seller.tick(impossible, false)).toEqual([])
    const offered = seller.tick({ nodeMilli: 3000, offlineMilli: 200 }, false)
    expect(unitsOf(offered)['be-cpu']).toBeGreaterThan(0)
    expect(unitsOf(seller.tick(impossible, false))).toEqual(unitsOf(offered))
  })
})

describe('sales that are stopped', () => {
  it('offer exactly what is allocated, of all four resources, and say so', () => {
    const offers = new Seller().tick({ pods: [pod, ot] }, true)
    expect(unitsOf(offers)).toEqual({ 'be-cpu': 7, 'be-memory': 3, 'ot-cpu': 2, 'ot-memory': 1 })
    expect(boundsOf(offers)).toEqual(new Set(['hold']))
    expect(unitsOf(new Seller().tick({}, true))).toEqual({ 'be-cpu': 0, 'be-memory': 0, 'ot-cpu': 0, 'ot-memory': 0 })
  })

  it('keep telling what the formula would give', () => {
    const free = new Seller().tick({ pods: [pod] }, false)
    const held = new Seller().tick({ pods: [pod] }, true)
    for (const [index, { because }] of held.entries()) {
      expect(because.terms).toEqual(free[index]?.because.terms)
      expect(because.amount).toBe(free[index]?.because.amount)
    }
  })

  it('follow what is allocated both ways, also what the kubelet is still admitting, at every pace', () => {
    const seller = new Seller()
    for (const pace of ['calm', 'hot'] as const) {
      expect(unitsOf(seller.tick({ pace, pods: [pod] }, true))).toMatchObject({ 'be-cpu': 7, 'ot-cpu': 0 })
      expect(unitsOf(seller.tick({ pace, pods: [pod], inFlight: { 'be-cpu': 4 } }, true))).toMatchObject({ 'be-cpu': 11 })
      expect(unitsOf(seller.tick({ pace, pods: [] }, true))).toMatchObject({ 'be-cpu': 0 })
    }
  })

  it('stop on the very tick, in the middle of the hot pace too', () => {
    const seller = new Seller()
    expect(unitsOf(seller.tick({ nowMs: 0, pods: [pod] }, false))['be-cpu']).toBeGreaterThan(7)
    expect(unitsOf(seller.tick({ nowMs: 50, pace: 'hot', pods: [pod] }, true))['be-cpu']).toBe(7)
  })

  it('begin again with the next calm tick, and not before it', () => {
    const seller = new Seller()
    const free = unitsOf(seller.tick({ nowMs: 0, pods: [pod] }, false))
    seller.tick({ nowMs: 1000, pods: [pod] }, true)
    expect(unitsOf(seller.tick({ nowMs: 1050, pace: 'hot', pods: [pod] }, false))['be-cpu']).toBe(7)
    const again = seller.tick({ nowMs: 2000, pods: [pod] }, false)
    expect(unitsOf(again)).toEqual(free)
    expect(boundsOf(again).has('hold')).toBe(false)
  })

  it('hold what stands while readings are missing, and offer nothing before the pods were read', () => {
    const seller = new Seller()
    seller.tick({ nowMs: 0, pods: [pod] }, false)
    expect(unitsOf(seller.tick({ nowMs: 1000, pods: [pod], nodeMilli: null, memory: null }, true))['be-cpu']).toBe(7)
    const unread = snapshotOf({ pods: [] })
    const young = new Seller()
    expect(young.tickOn({ ...unread, pods: { ...unread.pods, everRead: false } }, true)).toEqual([])
    expect(young.memory.offers).toBeUndefined()
  })

  it('follow from the memory ladder, and end with it', () => {
    const config = configOf({
      capacity: { warmupMs: 0 },
      memoryHold: { enterMs: 0, exitMs: 0 },
      suppressCpu: { enabled: false },
    })
    let memory: Memory = EMPTY_MEMORY
    const bounds = [0.1, 0.3].map((available, index) => {
      const memoryUse = { totalBytes: 64 * GIB, availableBytes: available * 64 * GIB }
      const decided = decide(snapshotOf({ nowMs: index * 1000, pods: [pod], memory: memoryUse }), memory, config)
      memory = decided.memory
      return boundsOf(decided.decision.offers).has('hold')
    })
    expect(bounds).toEqual([true, false])
  })

  it('equal what is allocated over any history, and never fall below it with sales going on (I10, I54)', () => {
    const amounts = fc.dictionary(fc.constantFrom<OfflineResource>(...OFFLINE_RESOURCES), fc.nat(60), { maxKeys: 3 })
    const one = fc.record({ asks: amounts, present: fc.boolean(), phase: fc.constantFrom('Running', 'Failed') })
    const moment = fc.record({
      hold: fc.boolean(),
      pace: fc.constantFrom('calm', 'hot'),
      dtMs: fc.constantFrom(50, 1000, 70_000),
      nodeMilli: fc.constantFrom(0, 3000, 9000, null),
      pods: fc.array(one, { maxLength: 4 }),
      inFlight: amounts,
    })
    let held = 0
    let free = 0
    fc.assert(
      fc.property(fc.array(moment, { minLength: 1, maxLength: 20 }), (moments) => {
        const seller = new Seller({ capacity: { warmupMs: 1000, maxUnits: 100 } })
        let nowMs = 0
        let pods: readonly PodLiteral[] = []
        for (const { hold, dtMs, pods: listed, ...rest } of moments) {
          nowMs += dtMs
          // Only calm ticks read the pods.
          if (rest.pace === 'calm') pods = listed.map((each, index) => ({ ...each, uid: `p${index}`, usesMilli: 0 }))
          const snapshot = snapshotOf({ ...rest, nowMs, pods })
          for (const { resource, units, because } of seller.tickOn(snapshot, hold)) {
            const promised = snapshot.pods.pods
              .filter(({ spec, present }) => present && !hasEnded(spec))
              .reduce((sum, { spec }) => sum + (spec.extended[`kube-agent.io/${resource}`] ?? 0), rest.inFlight[resource] ?? 0)
            if (hold) {
              expect(because.bound).toBe('hold')
              expect(units).toBe(promised)
              held += 1
            } else {
              expect(units).toBeGreaterThanOrEqual(promised)
              free += 1
            }
          }
        }
      }),
      { numRuns: 300 },
    )
    expect(Math.min(held, free)).toBeGreaterThan(500)
  })
})
