/**
 * The arithmetic of suppression on single ticks: silence of sensors (I9), restarts, pods that live under the offline root without being
 * offline. What holds over any history is in test/property/decide.test.ts.
 */
import { describe, expect, it } from 'vitest'
import { decide, EMPTY_MEMORY, type Memory } from '../../../src/decide/index.ts'
import type { Decision } from '../../../src/model/index.ts'
import { isQuota, quotaMilliCpu, quotaOf } from '../../../src/model/index.ts'
import { configOf, DEFAULTS } from '../../support/config.ts'
import { OFFLINE_ROOT, snapshotOf, type SnapshotLiteral } from '../../support/snapshots.ts'

/** Longer than the agent gathers readings before its first decision. */
const SETTLING_MS = 3 * DEFAULTS.suppressCpu.dwellMs

/** Ticks one after the other, each with the memory of the one before; the agent has seen the first one's readings for long enough. */
function ticks(...literals: readonly SnapshotLiteral[]): Decision[] {
  const [first = {}] = literals
  const started = snapshotOf({ ...first, nowMs: (first.nowMs ?? 100_000) - SETTLING_MS })
  let { memory }: { memory: Memory } = decide(started, EMPTY_MEMORY, DEFAULTS)
  return literals.map((literal) => {
    const { decision, memory: after } = decide(snapshotOf(literal), memory, DEFAULTS)
    memory = after
    return decision
  })
}

const allowances = (decisions: readonly Decision[]): (number | undefined)[] =>
  decisions.map(({ suppression }) => suppression?.allowanceMilli)

function rootMilli(decision: Decision | undefined): number | undefined {
  const quota = decision?.desired.get(OFFLINE_ROOT, 'quota')?.setting.value
  return isQuota(quota) ? quotaMilliCpu(quota) : undefined
}

// 8 CPUs: watermark 5200, margin 200, floor 160, growth 800 a second.
describe('suppressCpu', () => {
  it('leaves to offline work what the watermark leaves', () => {
    expect(allowances(ticks({ nodeMilli: 3000, offlineMilli: 1000 }))).toEqual([3000])
  })

  it('falls all the way at once and comes back in steps of growthPermyriad a second', () => {
    const at = (nowMs: number, nodeMilli: number): SnapshotLiteral => ({ nowMs, nodeMilli, offlineMilli: 0 })
    const decisions = ticks(
      at(0, 1000),
      at(50, 4500),
      at(1000, 1000),
      at(2000, 1000),
      at(3000, 1000),
      at(3500, 1000),
      at(9000, 1000),
    )
    expect(allowances(decisions)).toEqual([4000, 500, 500, 1300, 2100, 2100, 2900])
  })

  it('falls also by less than the dead band (I6)', () => {
    expect(allowances(ticks({ nowMs: 0, nodeMilli: 1000 }, { nowMs: 50, nodeMilli: 1001 }))).toEqual([4000, 3999])
  })

  it('shrinks by a reading that was not renewed on this tick, and does not grow by it (I9)', () => {
    const old = (nowMs: number, nodeMilli: number): SnapshotLiteral => ({ nowMs, nodeMilli, offlineMilli: 0, ageMs: 100 })
    const fresh = { nowMs: 5000, nodeMilli: 1000, offlineMilli: 0 }
    const decisions = ticks({ nowMs: 0, nodeMilli: 1000 }, old(50, 4500), old(2000, 1000), old(4000, 1000), fresh)
    expect(allowances(decisions)).toEqual([4000, 500, 500, 500, 1300])
    expect(decisions[2]?.suppression?.bound).toBe('stale')
  })

  it('takes a counter of the node that stands still while offline work runs for no reading, until it moves', () => {
    const standing = (nowMs: number, offlineMilli: number): SnapshotLiteral => ({ nowMs, nodeMilli: 0, offlineMilli })
    const first = { nowMs: 0, nodeMilli: 4500, offlineMilli: 500 }
    const decisions = ticks(first, standing(1000, 800), standing(7000, 800), standing(8000, 160), {
      nowMs: 9000,
      nodeMilli: 1160,
      offlineMilli: 160,
    })
    expect(allowances(decisions)).toEqual([1000, 1000, 160, 160, 960])
    expect(decisions.map(({ abstentions }) => abstentions.some(({ rule }) => rule === 'suppressCpu'))).toEqual([
      false,
      true,
      true,
      true,
      false,
    ])
    // A node on which nothing runs is idle.
    expect(allowances(ticks(first, standing(3000, 0)))).toEqual([1000, 1800])
  })

  it('holds without a reading, and sinks to the floor past staleMs (I9)', () => {
    const silent = (nowMs: number): SnapshotLiteral => ({ nowMs, nodeMilli: null, offlineMilli: null })
    const decisions = ticks({ nowMs: 0, nodeMilli: 1000 }, silent(1000), silent(6000), silent(6001), silent(7000), {
      nowMs: 8000,
      nodeMilli: 1000,
    })
    expect(allowances(decisions)).toEqual([4000, 4000, 4000, 160, 160, 160 + 800])
    const abstained = decisions.map(({ abstentions }) => abstentions.filter(({ rule }) => rule === 'suppressCpu').length)
    expect(abstained).toEqual([0, 1, 1, 1, 1, 0])
  })

  it.each([Number.NaN, Infinity, -Infinity])('takes a use of %d for no reading at all (I9)', (nodeMilli) => {
    expect(allowances(ticks({ nowMs: 0, nodeMilli: 3000 }, { nowMs: 50, nodeMilli }, { nowMs: 2000, nodeMilli: 3000 }))).toEqual([
      2000, 2000, 2000,
    ])
  })

  it('takes a negative use for none', () => {
    expect(allowances(ticks({ nodeMilli: 1000, offlineMilli: -500 }))).toEqual([4000])
  })

  it("lets a former life's quota stand until it has readings enough, and grows from there (I7, I9)", () => {
    const actual = [{ group: OFFLINE_ROOT, kind: 'quota', value: quotaOf(600) }] as const
    const measured = Array.from({ length: 6 }, (_, second) => ({ nowMs: 1000 * (second + 1), nodeMilli: 1000, actual }))
    const decisions = ticks({ nowMs: 0, nodeMilli: null, offlineMilli: null, actual }, ...measured)
    for (const decision of decisions) expect(decision.complete).toBe(rootMilli(decision) !== undefined)
    expect(decisions[1]?.complete).toBe(false)
    expect(
      decisions
        .map(rootMilli)
        .filter((milli) => milli !== undefined)
        .slice(0, 3),
    ).toEqual([600, 1400, 2200])
  })

  it('claims nothing on a node without a quota before the first reading', () => {
    expect(ticks({ nodeMilli: null, offlineMilli: null }).map(rootMilli)).toEqual([undefined])
  })

  describe('on a node whose CPU was never readable since the start (I9, I47)', () => {
    const silent = (nowMs: number, more: SnapshotLiteral = {}): SnapshotLiteral => ({
      nowMs,
      nodeMilli: null,
      offlineMilli: null,
      ...more,
    })
    /** At 0, at staleMs, and past it. */
    const blind = (more: SnapshotLiteral): Decision[] => {
      let memory: Memory = EMPTY_MEMORY
      return [0, 5000, 5001].map((nowMs) => {
        const { decision, memory: after } = decide(snapshotOf(silent(nowMs, more)), memory, DEFAULTS)
        memory = after
        return decision
      })
    }
    const standing = (milli: number): SnapshotLiteral => ({
      actual: [{ group: OFFLINE_ROOT, kind: 'quota', value: quotaOf(milli) }],
    })

    it('sinks to the floor past staleMs, and says that it can not read', () => {
      const all = blind({ ...standing(3000), pods: [{ uid: 'ot', asks: { 'ot-cpu': 20 } }] })
      expect(all.map(rootMilli)).toEqual([undefined, undefined, 160])
      expect(all.map(({ abstentions }) => abstentions.find(({ rule }) => rule === 'suppressCpu')?.code)).toEqual([
        'starting',
        'starting',
        'silent',
      ])
      expect(all.at(-1)?.suppression).toMatchObject({ allowanceMilli: 160, otAllowanceMilli: 80, bound: 'stale', hot: false })
    })

    it('sinks to the floor too where nothing has limited offline work before', () => {
      expect(blind({}).map(rootMilli)).toEqual([undefined, undefined, 160])
    })

    it('leaves untagged pods a growth step of room, whose use it can not read either', () => {
      const pods = [{ uid: 'untagged' }]
      expect(
        blind({ ...standing(3000), pods })
          .map(rootMilli)
          .at(-1),
      ).toBe(160 + 800)
      expect(
        blind({ ...standing(3000), pods: [{ uid: 'untagged', present: false }] })
          .map(rootMilli)
          .at(-1),
      ).toBe(160)
    })

    it('widens nothing', () => {
      expect(
        blind({ ...standing(300), pods: [{ uid: 'untagged' }] })
          .map(rootMilli)
          .at(-1),
      ).toBe(300)
    })

    it('grows in steps from the floor once it can read', () => {
      let memory: Memory = EMPTY_MEMORY
      for (const nowMs of [0, 5001]) ({ memory } = decide(snapshotOf(silent(nowMs)), memory, DEFAULTS))
      const seen = [5500, 6001, 7001].map((nowMs) => {
        const { decision, memory: after } = decide(snapshotOf({ nowMs, nodeMilli: 1000 }), memory, DEFAULTS)
        memory = after
        return decision.suppression?.allowanceMilli
      })
      expect(seen).toEqual([160, 960, 1760])
    })
  })

  it('widens the dwell time while the allowance swings: rarer steps of the same size, and a peak over a longer time', () => {
    const config = configOf({ steady: { turns: 2 } })
    let memory = settled(1000)
    let last: Decision | undefined
    const tick = (nowMs: number, nodeMilli: number): number | undefined => {
      const decided = decide(snapshotOf({ nowMs, nodeMilli }), memory, config)
      memory = decided.memory
      last = decided.decision
      return last.suppression?.allowanceMilli
    }
    // Down, up and down again: two turns.
    expect([tick(50, 4500), tick(2000, 1000), tick(2050, 4500)]).toEqual([500, 1300, 500])
    expect(last?.suppression?.steadiness).toEqual({ turns: 2, dwellMs: 2000, swings: true })
    // The peak of 4500m counts as new in the wider window, for 2000 ms and a bucket; then a step of 800m is taken in 2000 ms.
    expect([tick(3100, 1000), tick(5000, 1000), tick(5400, 1000), tick(7300, 1000), tick(7500, 1000)]).toEqual([
      500, 500, 1300, 1300, 2100,
    ])
  })

  it('does not grow by restarting again and again beside an untagged pod (I7)', () => {
    let quota = quotaOf(2000)
    for (let life = 0; life < 5; life += 1) {
      const pods = [{ uid: 'a', usesMilli: 300 }]
      const [decision] = ticks({
        nodeMilli: 1300,
        offlineMilli: 300,
        pods,
        actual: [{ group: OFFLINE_ROOT, kind: 'quota', value: quota }],
      })
      quota = quotaOf(rootMilli(decision) ?? Number.NaN)
    }
    expect(quotaMilliCpu(quota)).toBe(2000)
  })

  it.each(['UNTAGGED', 'LS', 'SYSTEM'])(
    'counts a BestEffort pod of class %s as online and gives it room under the root',
    (value) => {
      const pods = [{ uid: 'a', usesMilli: 500, labels: { 'kube-agent.io/qos-class': value } }]
      const [decision] = ticks({ nodeMilli: 2000, offlineMilli: 1500, pods })
      expect(decision?.suppression?.inputs).toMatchObject({ offlineMilli: 1000, onlineMilli: 1000 })
      expect(rootMilli(decision)).toBe(4000 + 500 + 800)
    },
  )

  it('gives no room under the root to a pod that does not live there', () => {
    const pods = [{ uid: 'a', qos: 'Guaranteed', usesMilli: 3000, labels: { 'kube-agent.io/qos-class': 'UNTAGGED' } }] as const
    const [decision] = ticks({ nodeMilli: 3500, offlineMilli: 500, pods })
    expect(decision?.suppression?.inputs).toMatchObject({ offlineMilli: 500, onlineMilli: 3000 })
    expect(rootMilli(decision)).toBe(2000)
  })

  it('splits the OT allowance by what OT pods asked for, and whole', () => {
    const pods = [
      { uid: 'a', asks: { 'ot-cpu': 10 } },
      { uid: 'b', asks: { 'ot-cpu': 30 } },
    ]
    const [decision] = ticks({ nodeMilli: 1000, pods })
    const milli = ['a', 'b'].map((uid) => {
      const winner = decision?.desired.get(`${OFFLINE_ROOT}/pod${uid}`, 'quota')
      const all = winner === undefined ? [] : [winner.winner, ...winner.losers]
      const claim = all.find(({ rule }) => rule === 'suppressCpu')?.value
      return isQuota(claim) ? quotaMilliCpu(claim) : undefined
    })
    expect(milli).toEqual([1000, 3000])
  })

  it('stays within bounds when CPUs go away or the floor rises while sensors are silent (I5)', () => {
    const first = settled(0)
    const narrow = configOf({ placement: { lsSharePermyriad: 1250 } })
    const silent = decide(snapshotOf({ nowMs: 50, nodeMilli: null }), first, narrow).decision
    expect(silent.suppression?.allowanceMilli).toBe(1000)
    const raised = configOf({ suppressCpu: { floorPermyriad: 2000 } })
    expect(decide(snapshotOf({ nowMs: 60, nodeMilli: 8000 }), settled(8000), raised).decision.suppression?.allowanceMilli).toBe(
      1600,
    )
  })
})

/** What an agent remembers at 0 that has seen the node use so much for a while. */
function settled(nodeMilli: number): Memory {
  const before = decide(snapshotOf({ nowMs: -SETTLING_MS, nodeMilli }), EMPTY_MEMORY, DEFAULTS).memory
  return decide(snapshotOf({ nowMs: 0, nodeMilli }), before, DEFAULTS).memory
}
