/**
 * The memory ladder, tick by tick. Defaults: hold from 15 % (left above 20 %), memory.high of OT from 12 % (17 %) and of BE from 10 % (15 %),
 * eviction of OT from 7 % (12 %) and of BE from 5 % (10 %); every rung is left after 30 s.
 */
import { describe, expect, it } from 'vitest'
import { NO_EVICTIONS } from '../../../src/model/index.ts'
import { OFFLINE_ROOT } from '../../support/snapshots.ts'
import { BE, CAN_EVICT, decisionAt, evictionOf, MemoryNode, OT } from './suppress-memory-support.ts'

const HOLD = ['memoryHold']
const HIGH_OT = [...HOLD, 'memoryHighOt']
const HIGH_BE = [...HIGH_OT, 'memoryHighBe']
const EVICT_OT = [...HIGH_BE, 'memoryEvictOt']
const pods = [OT, BE]

describe('the memory ladder', () => {
  it('stands still on a node with enough memory, and tells what it sees', () => {
    const { inForce, claims, holds, evicts, state } = new MemoryNode().run(0, 60, { availablePermyriad: 1501, pods })
    expect({ inForce, claims, holds, evicts }).toEqual({ inForce: [], claims: [], holds: false, evicts: [] })
    expect(state).toMatchObject({ availablePermyriad: 1501, ageMs: 0, workingSetBytes: { OT: 10 * 2 ** 30, BE: 20 * 2 ** 30 } })
    expect(state?.pressurePermyriad).toBeUndefined()
  })

  it('climbs one rung after the other as memory gets short, each after its dwell time', () => {
    const node = new MemoryNode()
    expect(node.run(0, 0, { availablePermyriad: 1500, pods }).inForce).toEqual([])
    expect(node.run(1, 60, { availablePermyriad: 1500, pods }).inForce).toEqual(HOLD)
    expect(node.run(61, 61, { availablePermyriad: 1200, pods }).inForce).toEqual(HOLD)
    expect(node.run(62, 120, { availablePermyriad: 1200, pods }).inForce).toEqual(HIGH_OT)
    expect(node.run(121, 122, { availablePermyriad: 1000, pods }).inForce).toEqual(HIGH_OT)
    expect(node.run(123, 180, { availablePermyriad: 1000, pods }).inForce).toEqual(HIGH_BE)
    expect(node.run(181, 183, { availablePermyriad: 700, pods }).inForce).toEqual(HIGH_BE)
    const evicting = node.run(184, 240, { availablePermyriad: 700, pods })
    expect([evicting.inForce, evicting.evicts, evicting.holds]).toEqual([EVICT_OT, ['memoryEvictOt'], true])
    const last = node.run(241, 246, { availablePermyriad: 500, pods })
    expect([last.inForce, last.evicts]).toEqual([
      [...EVICT_OT, 'memoryEvictBe'],
      ['memoryEvictOt', 'memoryEvictBe'],
    ])
  })

  it('waits after a rung that did something, and not after one that found nothing to do', () => {
    const settings = {
      memoryHighOt: { enterMs: 0, coolDownMs: 20_000 },
      memoryHighBe: { enterMs: 0 },
      memoryHold: { coolDownMs: 0 },
    }
    const busy = new MemoryNode(settings)
    expect(busy.run(0, 21, { availablePermyriad: 900, pods }).inForce).toEqual(HIGH_OT)
    expect(busy.run(22, 22, { availablePermyriad: 900, pods }).inForce).toEqual(HIGH_OT)
    expect(busy.run(23, 23, { availablePermyriad: 900, pods }).inForce).toEqual(HIGH_BE)
    const withoutOt = new MemoryNode(settings)
    expect(withoutOt.run(0, 3, { availablePermyriad: 900, pods: [BE] }).inForce).toEqual(HIGH_BE)
    const unwritten = new MemoryNode(settings, false)
    expect(unwritten.run(0, 3, { availablePermyriad: 900, pods }).inForce).toEqual(HIGH_BE)
  })

  it('waits for the effect of an eviction on its own rung only, and not of one that was refused', () => {
    const settings = { memoryEvictOt: { enterMs: 0, coolDownMs: 20_000 }, memoryEvictBe: { enterMs: 0 } }
    const upTo = (is: 'evicted' | 'blocked' | 'asked' | 'dryRun', rung: 'memoryEvictOt' | 'memoryEvictBe' = 'memoryEvictOt') => {
      const node = new MemoryNode(settings)
      node.run(0, 59, { availablePermyriad: 700, pods })
      node.run(60, 61, { availablePermyriad: 450, pods, evictions: evictionOf(rung, 40_000, is) })
      return node.run(62, 62, { availablePermyriad: 450, pods, evictions: evictionOf(rung, 40_000, is) }).inForce.at(-1)
    }
    // The rung came into force some 20 s in; the record is of later.
    expect(upTo('evicted')).toBe('memoryEvictOt')
    for (const is of ['blocked', 'asked', 'dryRun'] as const) expect(upTo(is)).toBe('memoryEvictBe')
    expect(upTo('evicted', 'memoryEvictBe')).toBe('memoryEvictBe')
  })

  it('is left from the top, each rung after its exit time, and evicts nobody meanwhile', () => {
    const node = new MemoryNode()
    node.run(0, 100, { availablePermyriad: 700, pods })
    const better = node.tick({ nowMs: 101_000, availablePermyriad: 1201, pods })
    expect([better.inForce, better.evicts, better.holds]).toEqual([EVICT_OT, [], true])
    expect(node.run(102, 130, { availablePermyriad: 1201, pods }).inForce).toEqual(EVICT_OT)
    expect(node.run(131, 600, { availablePermyriad: 1201, pods }).inForce).toEqual(HIGH_BE)
    expect(node.run(601, 660, { availablePermyriad: 1600, pods }).inForce).toEqual(HIGH_OT)
    expect(node.run(661, 663, { availablePermyriad: 2100, pods }).holds).toBe(true)
    expect(node.run(664, 760, { availablePermyriad: 2100, pods })).toMatchObject({ inForce: [], holds: false, claims: [] })
  })

  it('neither climbs nor leaves between the thresholds', () => {
    const node = new MemoryNode()
    node.run(0, 10, { availablePermyriad: 1200, pods })
    expect(node.run(11, 1000, { availablePermyriad: 1600, pods }).inForce).toEqual(HIGH_OT)
  })

  it('does without the rungs that are switched off, and still holds sales on those above', () => {
    const node = new MemoryNode({ memoryHold: { enabled: false }, memoryHighOt: { enabled: false } })
    const { inForce, holds } = node.run(0, 20, { availablePermyriad: 900, pods })
    expect([inForce, holds]).toEqual([['memoryHighBe'], true])
    expect(new MemoryNode({ suppressMemory: { enabled: false } }).run(0, 60, { availablePermyriad: 0, pods })).toMatchObject({
      claims: [],
      holds: false,
      evicts: [],
    })
  })

  it('evicts only where that is switched on and possible, and says why not', () => {
    const off = new MemoryNode({ evict: { enabled: false } }).run(0, 60, { availablePermyriad: 100, pods })
    expect([off.inForce, off.evicts]).toEqual([HIGH_BE, []])
    expect(off.state?.ladder.waiting).toEqual({ rung: 'memoryEvictOt', for: 'impossible', detail: 'evict.enabled is false' })
    const alone = new MemoryNode().run(0, 60, { availablePermyriad: 100, pods, evictions: NO_EVICTIONS })
    expect(alone.state?.ladder.waiting).toMatchObject({ for: 'impossible', detail: NO_EVICTIONS.impossible })
  })

  it('is part of the decision, with claims of the rung', () => {
    const decision = decisionAt(
      { availablePermyriad: 900, pods, evictions: CAN_EVICT },
      { memoryHold: { enterMs: 0 }, memoryHighOt: { enterMs: 0 } },
    )
    expect(decision.memory?.ladder.inForce).toEqual(HOLD)
    expect(decision.desired.get(`${OFFLINE_ROOT}/podot`, 'memoryHigh')).toBeUndefined()
  })
})

describe('stalls for memory', () => {
  it('climb up to memoryHighBe while there is memory, and no further', () => {
    // Without a pod to hold back, so that no stall is of the ladder's own making.
    const node = new MemoryNode()
    const { inForce, evicts, state } = node.run(0, 29, { availablePermyriad: 6000, pressurePermyriad: 9000, pods: [] })
    expect([inForce, evicts, state?.pressurePermyriad]).toEqual([HIGH_BE, [], 9000])
  })

  it('up to the bound climb nothing, and above it keep a rung in force', () => {
    expect(new MemoryNode().run(0, 60, { pressurePermyriad: 2000 }).inForce).toEqual([])
    const node = new MemoryNode()
    node.run(0, 3, { pressurePermyriad: 2001 })
    expect(node.run(4, 120, { availablePermyriad: 1900, pressurePermyriad: 2001 }).holds).toBe(true)
    expect(node.run(121, 500, { pressurePermyriad: 2000 }).inForce).toEqual([])
  })

  it('that no rung has ended within pressure.futileMs count no more while there is memory, so that sales go on', () => {
    // What an online container at a limit of its own looks like: it stalls for ever, and nobody else can help it.
    const stalls = { availablePermyriad: 6000, pressurePermyriad: 9000 }
    const node = new MemoryNode()
    expect(node.run(0, 30, stalls).inForce).toEqual(HIGH_BE)
    expect(node.run(31, 58, stalls).inForce).toEqual(HIGH_BE)
    expect(node.run(59, 130, stalls)).toMatchObject({ inForce: [], holds: false, state: { stallsFutile: true } })
    expect(node.run(131, 3600, stalls)).toMatchObject({ inForce: [], holds: false })
  })

  it('that no rung has ended do not climb the ladder time and again with pods that are held back', () => {
    const node = new MemoryNode()
    const lived = Array.from({ length: 1200 }, (_, second) =>
      node.tick({ nowMs: second * 1000, availablePermyriad: 6000, pressurePermyriad: 9000, pods }),
    )
    const climbs = lived.filter(({ inForce }, index) => index > 0 && inForce.length > (lived[index - 1]?.inForce.length ?? 0))
    // One more would be of stalls that are the doing of memoryHighOt.
    expect(climbs.map(({ inForce }) => inForce)).toEqual([HOLD, HIGH_OT])
    expect(lived.at(-1)).toMatchObject({ inForce: [], holds: false, claims: [] })
  })

  it('that have proved futile count again once they have ended, and a shortage climbs as ever meanwhile', () => {
    const stalls = { availablePermyriad: 6000, pressurePermyriad: 9000 }
    const node = new MemoryNode()
    node.run(0, 200, stalls)
    expect(node.run(201, 230, { ...stalls, availablePermyriad: 1100, pods }).inForce).toEqual(HIGH_OT)
    node.run(231, 400, { ...stalls, pressurePermyriad: 0, pods })
    const again = node.run(401, 410, { ...stalls, pods })
    expect(again.holds).toBe(true)
    expect(again.state).not.toHaveProperty('stallsFutile')
  })

  it('that memory.high makes climb nothing and keep nothing in force', () => {
    const node = new MemoryNode()
    node.run(0, 4, { availablePermyriad: 1100, pods, pressurePermyriad: 9000 })
    const squeezed = node.run(5, 30, { availablePermyriad: 1100, pods, pressurePermyriad: 9000 })
    expect(squeezed.inForce).toEqual(HIGH_OT)
    expect(node.run(31, 60, { availablePermyriad: 5000, pods, pressurePermyriad: 9000 }).inForce).toEqual(HIGH_OT)
    expect(node.run(61, 61, { availablePermyriad: 5000, pods, pressurePermyriad: 9000 }).inForce).toEqual(HOLD)
  })

  it('do not keep a rung that evicts in force', () => {
    const node = new MemoryNode({}, false)
    node.run(0, 60, { availablePermyriad: 600, pods })
    const { inForce, evicts } = node.run(61, 100, { availablePermyriad: 1300, pressurePermyriad: 9000, pods })
    expect([inForce, evicts]).toEqual([HIGH_BE, []])
  })
})

describe('readings that are missing or old', () => {
  it('climb nothing, leave nothing and evict nobody, and it is said', () => {
    const node = new MemoryNode()
    node.run(0, 60, { availablePermyriad: 650, pods })
    const fresh = node.run(61, 61, { availablePermyriad: 650, memoryAgeMs: 10_000, pods })
    expect([fresh.evicts, fresh.abstentions]).toEqual([['memoryEvictOt'], []])
    for (const moment of [
      { availablePermyriad: 100, memoryAgeMs: 10_001 },
      { availablePermyriad: 9000, memoryAgeMs: 10_001 },
    ]) {
      const old = node.run(100, 200, { ...moment, pods })
      expect([old.inForce, old.evicts, old.holds]).toEqual([EVICT_OT, [], true])
      expect(old.abstentions).toEqual([{ code: 'silent', rule: 'suppressMemory' }])
      expect(old.claims).toHaveLength(2)
    }
    const gone = node.run(300, 300, { availablePermyriad: null, pods })
    expect(gone.inForce).toEqual(EVICT_OT)
    // The last reading that was good is told, with its age.
    expect(gone.state).toMatchObject({ availablePermyriad: 9000, ageMs: 300_000 - 200_000 + 10_001 })
  })

  it('begin a dwell time anew', () => {
    const node = new MemoryNode({ memoryHold: { enterMs: 10_000 } })
    node.run(0, 9, { availablePermyriad: 1000 })
    node.run(10, 10, { availablePermyriad: 1000, memoryAgeMs: 60_000 })
    expect(node.run(11, 20, { availablePermyriad: 1000 }).inForce).toEqual([])
    expect(node.run(21, 21, { availablePermyriad: 1000 }).inForce).toEqual(HOLD)
  })

  it('of stalls neither climb nor leave', () => {
    expect(new MemoryNode().run(0, 60, { pressurePermyriad: 9000, pressureAgeMs: 10_001 }).inForce).toEqual([])
    const node = new MemoryNode()
    node.run(0, 10, { pressurePermyriad: 9000 })
    const rungs = node.run(11, 200, { pressurePermyriad: 0, pressureAgeMs: 10_001 })
    expect([rungs.inForce, rungs.state?.pressurePermyriad]).toEqual([HIGH_BE, undefined])
  })

  it('before the first decide nothing', () => {
    const { state, abstentions, claims, holds } = new MemoryNode().run(0, 60, { availablePermyriad: null, pods })
    expect({ state, claims, holds }).toEqual({ state: undefined, claims: [], holds: false })
    expect(abstentions).toEqual([{ code: 'starting', rule: 'suppressMemory' }])
  })

  it.each([Number.NaN, Infinity, -Infinity])('that are no amount (%d) are none', (availablePermyriad) => {
    const { state, inForce } = new MemoryNode().run(0, 60, { availablePermyriad, pods })
    expect([state, inForce]).toEqual([undefined, []])
  })
})
