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

const isSilent = ({ abstentions }: Decision): boolean => abstentions.some(({ rule }) => rule === 'suppressCpu')
const allowances = (decisions: readonly Decision[]): (number | undefined)[] =>
  decisions.map(({ suppression }) => suppression?.allowanceMilli)

function rootMilli(decision: Decision | undefined): number | undefined {
  const quota = decision?.desired.get(OFFLINE_ROOT, 'quota')?.setting.value
  return isQuota(quota) ? quotaMilliCpu(quota) : undefined
}

/** What a pod's quota comes to. */
function podMilli(decision: Decision | undefined, uid: string): number | undefined {
  const quota = decision?.desired.get(`${OFFLINE_ROOT}/pod${uid}`, 'quota')?.setting.value
  return isQuota(quota) ? quotaMilliCpu(quota) : undefined
}

/** What this rule wants it to be. */
function suppressed(decision: Decision | undefined, uid: string): number | undefined {
  const resolved = decision?.desired.get(`${OFFLINE_ROOT}/pod${uid}`, 'quota')
  const claims = resolved === undefined ? [] : [resolved.winner, ...resolved.losers]
  const value = claims.find(({ rule }) => rule === 'suppressCpu')?.value
  return isQuota(value) ? quotaMilliCpu(value) : undefined
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

  it('does not follow the jitter of a node on which offline work rests, and does as soon as that uses half of what it may (I84)', () => {
    const onlineMilli = (second: number): number => 1000 + ((second * 7) % 11) * 20
    const seen = (offlineMilli: number): Set<number | undefined> => {
      const at = (second: number): SnapshotLiteral => ({
        nowMs: 1000 * second,
        nodeMilli: onlineMilli(second) + offlineMilli,
        offlineMilli,
      })
      return new Set(allowances(ticks(...Array.from({ length: 120 }, (_, second) => at(second)))).slice(11))
    }
    expect(seen(1800)).toEqual(new Set([3800]))
    expect(seen(1900).size).toBeGreaterThan(1)
  })

  it('grows by more than five dead bands though offline work rests, and to where all its CPUs are its own (I84)', () => {
    const at = (nowMs: number, nodeMilli: number): SnapshotLiteral => ({ nowMs, nodeMilli, offlineMilli: 0 })
    const grown = (onlineMilli: number): unknown => {
      const [, decision] = ticks(at(0, 1401), at(2000, onlineMilli))
      return [decision?.suppression?.allowanceMilli, decision?.suppression?.bound]
    }
    expect(grown(1001)).toEqual([3599, 'unused'])
    expect(grown(1000)).toEqual([4000, 'watermark'])
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
    expect(decisions.map(isSilent)).toEqual([false, true, true, true, false])
    // A node on which nothing runs is idle.
    expect(allowances(ticks(first, standing(3000, 0)))).toEqual([1000, 1800])
  })

  it.each([
    ['more than the whole node does', 3000, 3801],
    ['more than all CPUs', 12_000, 8801],
  ])('takes offline work that seems to use %s for no reading, until the two counters agree', (_, nodeMilli, offlineMilli) => {
    const first = { nowMs: 0, nodeMilli: 4500, offlineMilli: 500 }
    const lie = (nowMs: number): SnapshotLiteral => ({ nowMs, nodeMilli, offlineMilli })
    const decisions = ticks(first, lie(1000), lie(6000), lie(6001), { nowMs: 7001, nodeMilli: 4500, offlineMilli: 500 })
    expect(allowances(decisions)).toEqual([1000, 1000, 1000, 160, 960])
    expect(decisions.map(isSilent)).toEqual([false, true, true, true, false])
  })

  it('bears with what a clock tick on each CPU may hide from the node: 10 ms of 100 ms on 8 CPUs', () => {
    const [decision] = ticks({ nodeMilli: 3000, offlineMilli: 3800 })
    expect(decision?.suppression?.inputs).toMatchObject({ onlineMilli: 0, offlineMilli: 3800 })
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

    it('holds BE pods to the floor one by one where online pods live beside them, and those to nothing', () => {
      const pods = [{ uid: 'untagged' }, { uid: 'be', asks: { 'be-cpu': 20 } }]
      const last = blind({ ...standing(3000), pods }).at(-1)
      expect([rootMilli(last), podMilli(last, 'be')]).toEqual([160 + 8000, 160])
      const gone = [
        { uid: 'untagged', present: false },
        { uid: 'be', asks: { 'be-cpu': 20 } },
      ]
      expect(rootMilli(blind({ ...standing(3000), pods: gone }).at(-1))).toBe(160)
    })

    it('widens nothing for groups that may be anybody’s', () => {
      const pods = [{ uid: 'untagged' }]
      const unlisted = [`${OFFLINE_ROOT}/podstranger`]
      expect(rootMilli(blind({ ...standing(300), pods, unlisted }).at(-1))).toBe(300)
      expect(rootMilli(blind({ ...standing(3000), pods, unlisted }).at(-1))).toBe(160 + 800)
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
    const allowed: (number | undefined)[] = []
    for (let life = 0; life < 5; life += 1) {
      const pods = [{ uid: 'a', usesMilli: 300 }]
      const actual = [{ group: OFFLINE_ROOT, kind: 'quota', value: quota } as const]
      const [decision] = ticks({ nodeMilli: 1300, offlineMilli: 300, pods, actual })
      allowed.push(decision?.suppression?.allowanceMilli)
      quota = quotaOf(rootMilli(decision) ?? Number.NaN)
    }
    // What the first one found does not say what of it the untagged pod had.
    expect(allowed).toEqual([900, 900, 900, 900, 900])
  })

  describe.each(['UNTAGGED', 'LS', 'SYSTEM'])('beside a BestEffort pod of class %s', (value) => {
    const online = { uid: 'a', usesMilli: 500, labels: { 'kube-agent.io/qos-class': value } }
    const be = { uid: 'be', asks: { 'be-cpu': 80 }, usesMilli: 1000 }
    const ot = { uid: 'ot', asks: { 'ot-cpu': 80 }, usesMilli: 0 }

    it('counts that as online, and holds BE and OT pods themselves to the allowance, and the root to more than there is', () => {
      const [decision] = ticks({ nodeMilli: 2000, offlineMilli: 1500, pods: [online, be] })
      expect(decision?.suppression?.inputs).toMatchObject({ offlineMilli: 1000, onlineMilli: 1000 })
      expect([rootMilli(decision), podMilli(decision, 'be'), podMilli(decision, 'a')]).toEqual([4000 + 8000, 4000, undefined])
    })

    it('takes what OT has from BE, and both together never have more than the allowance', () => {
      const [, decision] = ticks(
        { nowMs: 0, nodeMilli: 2000, offlineMilli: 1500, pods: [online, be, ot] },
        { nowMs: 50, nodeMilli: 6500, offlineMilli: 1500, pods: [online, be, ot] },
      )
      expect(decision?.suppression).toMatchObject({ allowanceMilli: 160, otAllowanceMilli: 80 })
      expect([podMilli(decision, 'be'), podMilli(decision, 'ot')]).toEqual([80, 80])
    })

    it('goes on from the allowance that stands after a restart, whatever the pod used of the root', () => {
      const actual = [{ group: OFFLINE_ROOT, kind: 'quota', value: quotaOf(600 + 8000) } as const]
      const [first, second] = ticks(
        { nowMs: 0, nodeMilli: 2000, offlineMilli: 1500, pods: [online, be], actual },
        { nowMs: 1000, nodeMilli: 2000, offlineMilli: 1500, pods: [online, be] },
      )
      expect(allowances([first, second].filter((one) => one !== undefined))).toEqual([600, 1400])
      expect(podMilli(first, 'be')).toBe(600)
    })

    it('holds that pod to its use and one growth step while somebody is there whom no source lists', () => {
      const unlisted = [`${OFFLINE_ROOT}/podstranger`]
      const [decision] = ticks({ nodeMilli: 2000, offlineMilli: 1500, pods: [online, be], unlisted })
      expect([rootMilli(decision), podMilli(decision, 'be')]).toEqual([4000 + 500 + 800, 4000])
      const elsewhere = ticks({ nodeMilli: 2000, offlineMilli: 1500, pods: [online, be], unlisted: ['/kubepods/burstable/podx'] })
      expect(elsewhere.map(rootMilli)).toEqual([4000 + 8000])
    })

    it('is back at one quota for all once the pod is gone, but not while its group may be among those that nobody lists', () => {
      const gone = (nowMs: number, unlisted: readonly string[]): SnapshotLiteral => ({
        nowMs,
        nodeMilli: 1500,
        offlineMilli: 1000,
        pods: [be],
        unlisted,
      })
      const [, ending, ended] = ticks(
        { nowMs: 0, nodeMilli: 2000, offlineMilli: 1500, pods: [online, be] },
        gone(1000, [`${OFFLINE_ROOT}/poda`]),
        gone(2000, []),
      )
      expect([rootMilli(ending), podMilli(ending, 'be')]).toEqual([4000 + 800, 4000])
      expect([rootMilli(ended), ended?.suppression?.allowanceMilli]).toEqual([4500, 4500])
      expect(suppressed(ended, 'be')).toBeUndefined()
    })

    it.each(['Succeeded', 'Failed'] as const)('has one quota for all when the pod has %s', (phase) => {
      const [decision] = ticks({ nodeMilli: 2000, offlineMilli: 1500, pods: [{ ...online, phase }, be] })
      expect(rootMilli(decision)).toBe(4000)
    })
  })

  it('gives no room under the root to a pod that does not live there', () => {
    const pods = [{ uid: 'a', qos: 'Guaranteed', usesMilli: 3000, labels: { 'kube-agent.io/qos-class': 'UNTAGGED' } }] as const
    const [decision] = ticks({ nodeMilli: 3500, offlineMilli: 500, pods })
    expect(decision?.suppression?.inputs).toMatchObject({ offlineMilli: 500, onlineMilli: 3000 })
    expect(rootMilli(decision)).toBe(2000)
  })

  it('splits the OT allowance by what OT pods asked for, beyond the least for each, and whole', () => {
    const pods = [
      { uid: 'a', asks: { 'ot-cpu': 10 } },
      { uid: 'b', asks: { 'ot-cpu': 30 } },
    ]
    const [decision] = ticks({ nodeMilli: 1000, pods })
    const milli = ['a', 'b'].map((uid) => suppressed(decision, uid))
    expect(milli).toEqual([1005, 2995])
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
