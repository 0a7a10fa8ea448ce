/** Jumps of online use: what the last guard beat saw counts before the average shows it (I74). */
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { decide, EMPTY_MEMORY, leastJumpMilli } from '../../../src/decide/index.ts'
import type { NodeSnapshot } from '../../../src/model/index.ts'
import { configOf, DEFAULTS } from '../../support/config.ts'
import { snapshotOf } from '../../support/snapshots.ts'

const NOW_MS = 100_000

/** A node of 8 CPUs: 2 used by online work and 1 by offline work on average, and what online pods used lately. */
function jumping(latestMilli: number | undefined, atMs = NOW_MS, usedMilli = 2000): NodeSnapshot {
  const snapshot = snapshotOf({ nowMs: NOW_MS, nodeMilli: 3000, offlineMilli: 1000 })
  if (latestMilli === undefined) return snapshot
  return { ...snapshot, online: { cpu: { value: { usedMilli, latestMilli, windowMs: 100 }, atMs, source: 'test' } } }
}

function inputsOf(snapshot: NodeSnapshot, config = DEFAULTS) {
  const begun = decide(snapshotOf({ nowMs: NOW_MS - 4000, nodeMilli: 3000, offlineMilli: 1000 }), EMPTY_MEMORY, config)
  return decide(snapshot, begun.memory, config).decision.suppression
}

describe('a jump of online use', () => {
  it('counts at once, and the allowance sinks by it', () => {
    expect(inputsOf(jumping(undefined))).toMatchObject({ allowanceMilli: 3000, inputs: { onlineMilli: 2000 } })
    expect(inputsOf(jumping(4000))).toMatchObject({ allowanceMilli: 1000, inputs: { onlineMilli: 4000 } })
  })

  it('is more than one task that runs in bursts, however small the node is', () => {
    expect([1000, 2000, 8000, 64_000].map((capacityMilli) => leastJumpMilli(capacityMilli, 1500))).toEqual([
      1100, 1100, 1200, 9600,
    ])
    expect(leastJumpMilli(2000, 10_000)).toBe(Infinity)
  })

  it('does not count below jumpPermyriad of the capacity, nor where that is 10000', () => {
    expect(inputsOf(jumping(3199))?.inputs.onlineMilli).toBe(2000)
    expect(inputsOf(jumping(3200))?.inputs.onlineMilli).toBe(3200)
    expect(inputsOf(jumping(8000), configOf({ suppressCpu: { jumpPermyriad: 10_000 } }))?.inputs.onlineMilli).toBe(2000)
  })

  it('does not count when its reading is old or no number', () => {
    for (const snapshot of [
      jumping(8000, NOW_MS - 60),
      jumping(8000, Number.NaN),
      jumping(Number.NaN),
      jumping(8000, NOW_MS, Number.NaN),
    ])
      expect(inputsOf(snapshot)?.inputs.onlineMilli).toBe(2000)
  })

  it('stays known for the dwell time', () => {
    const begun = decide(snapshotOf({ nowMs: NOW_MS - 4000, nodeMilli: 3000, offlineMilli: 1000 }), EMPTY_MEMORY, DEFAULTS)
    const { memory } = decide(jumping(4000), begun.memory, DEFAULTS)
    const later = (nowMs: number) =>
      decide(snapshotOf({ nowMs, nodeMilli: 3000, offlineMilli: 1000 }), memory, DEFAULTS).decision.suppression
    expect(later(NOW_MS + 50)?.allowanceMilli).toBe(1000)
    expect(later(NOW_MS + 1200)?.inputs.onlineMilli).toBe(2000)
  })

  it('never raises the allowance, and adds no more than the CPUs there are (I74)', () => {
    fc.assert(
      fc.property(fc.double({ min: -10, max: 1e6 }), fc.double({ min: -10, max: 1e6 }), (latestMilli, usedMilli) => {
        const [without, withJump] = [inputsOf(jumping(undefined)), inputsOf(jumping(latestMilli, NOW_MS, usedMilli))]
        expect(withJump?.allowanceMilli).toBeLessThanOrEqual(without?.allowanceMilli ?? Number.NaN)
        expect(withJump?.inputs.onlineMilli).toBeLessThanOrEqual(2000 + 8000)
      }),
    )
  })
})
