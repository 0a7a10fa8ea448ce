/**
 * When a node counts as hot for the cluster, and what it tells about its room, tick by tick. 8 CPUs with a watermark of 65 % (5200) and
 * a low one of 55 % (4400); 64 GiB with 90 % and 85 %; 10 s to enter, 60 s to leave.
 */
import { describe, expect, it } from 'vitest'
import { decide, EMPTY_MEMORY, type Memory } from '../../../src/decide/index.ts'
import type { Decision, NodeSignals } from '../../../src/model/index.ts'
import { configOf, DEFAULTS } from '../../support/config.ts'
import { GIB, snapshotOf, type SnapshotLiteral } from '../../support/snapshots.ts'

function ticks(literals: readonly SnapshotLiteral[], config = DEFAULTS): Decision[] {
  let memory: Memory = EMPTY_MEMORY
  return literals.map((literal) => {
    const decided = decide(snapshotOf(literal), memory, config)
    memory = decided.memory
    return decided.decision
  })
}

const signalsOf = (literals: readonly SnapshotLiteral[], config = DEFAULTS): (NodeSignals | undefined)[] =>
  ticks(literals, config).map(({ signals }) => signals)
const hotness = (...literals: readonly SnapshotLiteral[]): (boolean | undefined)[] =>
  signalsOf(literals).map((signals) => signals?.hot)

const cpu = (seconds: number, nodeMilli: number | null): SnapshotLiteral => ({ nowMs: seconds * 1000, nodeMilli })
const memory = (seconds: number, usedGib: number): SnapshotLiteral => ({
  nowMs: seconds * 1000,
  memory: { totalBytes: 64 * GIB, availableBytes: (64 - usedGib) * GIB },
})

describe('hot', () => {
  it('is entered after enterMs at or above the watermark, and not before', () => {
    expect(hotness(cpu(0, 5200), cpu(9.999, 6000), cpu(10, 5200))).toEqual([false, false, true])
  })

  it('is not entered when use falls below the watermark in between, by however little', () => {
    expect(hotness(cpu(0, 6000), cpu(9, 5199), cpu(10, 6000), cpu(19, 6000), cpu(20, 6000))).toEqual([
      false,
      false,
      false,
      false,
      true,
    ])
  })

  it('is left after exitMs below the low watermark, which a moment in between begins anew', () => {
    const heat = [cpu(0, 6000), cpu(10, 6000)]
    expect(hotness(...heat, cpu(11, 4399), cpu(70, 4399), cpu(71, 0))).toEqual([false, true, true, true, false])
    expect(hotness(...heat, cpu(11, 4399), cpu(70, 4400), cpu(71, 0), cpu(130, 0), cpu(131, 0))).toEqual([
      false,
      true,
      true,
      true,
      true,
      true,
      false,
    ])
  })

  it('neither comes nor goes between the watermarks', () => {
    expect(hotness(cpu(0, 5000), cpu(1000, 5000))).toEqual([false, false])
    expect(hotness(cpu(0, 6000), cpu(10, 6000), cpu(11, 5000), cpu(1000, 5000))).toEqual([false, true, true, true])
  })

  it('follows memory too, and both have to cool down', () => {
    expect(hotness(memory(0, 57.6), memory(10, 57.6))).toEqual([false, true])
    expect(hotness(memory(0, 57.5), memory(10, 57.5))).toEqual([false, false])
    const both = { ...memory(11, 56), nodeMilli: 0 }
    expect(hotness(memory(0, 60), memory(10, 60), both, { ...both, nowMs: 100_000 }, memory(101, 10), memory(161, 10))).toEqual([
      false,
      true,
      true,
      true,
      true,
      false,
    ])
  })

  it('follows the watermarks of memory that are configured', () => {
    const config = configOf({ nodeSignals: { memoryWatermarkPermyriad: 5000, memoryLowWatermarkPermyriad: 2500 } })
    const hot = (...literals: readonly SnapshotLiteral[]) => signalsOf(literals, config).map((signals) => signals?.hot)
    expect(hot(memory(0, 32), memory(10, 32))).toEqual([false, true])
    expect(hot(memory(0, 31.9), memory(10, 31.9))).toEqual([false, false])
    expect(hot(memory(0, 32), memory(10, 32), memory(11, 16), memory(80, 16), memory(81, 15.9), memory(141, 15.9))).toEqual([
      false,
      true,
      true,
      true,
      true,
      false,
    ])
    const [signals] = signalsOf([memory(0, 8)], config)
    expect(signals).toMatchObject({ headroomBytes: 24 * GIB, score: 75 })
  })

  it('tells what made it so, until that has cooled down', () => {
    const reasons = signalsOf([
      cpu(0, 6000),
      { ...cpu(10, 6000) },
      { ...memory(11, 60), nodeMilli: 5000 },
      { ...memory(12, 60), nodeMilli: 1000 },
      { ...memory(13, 60), nodeMilli: 6000 },
      { ...memory(14, 10), nodeMilli: 6000 },
      cpu(15, 0),
      cpu(75, 0),
    ]).map((signals) => signals?.reason)
    expect(reasons).toEqual([
      'WithinWatermarks',
      'CpuAboveWatermark',
      'CpuAboveWatermark',
      'MemoryAboveWatermark',
      'MemoryAboveWatermark',
      'CpuAboveWatermark',
      'CpuAboveWatermark',
      'WithinWatermarks',
    ])
  })
})

describe('without readings', () => {
  it.each<[string, SnapshotLiteral]>([
    ['CPU is missing', { nodeMilli: null }],
    ['CPU is no amount', { nodeMilli: Number.NaN }],
    ['memory is missing', { memory: null }],
    ['memory has no size', { memory: { totalBytes: 0, availableBytes: 0 } }],
    ['both are old', { ageMs: 2001 }],
  ])('nothing is told at first, and what was told stands later: %s', (_, silent) => {
    const [first] = ticks([{ ...silent, nowMs: 0 }])
    expect(first?.signals).toBeUndefined()
    expect(first?.abstentions).toContainEqual({ code: 'starting', rule: 'nodeSignals' })
    const [before, after] = ticks([cpu(0, 3000), { nodeMilli: 8000, ...silent, nowMs: 1000 }])
    expect(after?.signals).toEqual(before?.signals)
    expect(after?.abstentions).toContainEqual({ code: 'silent', rule: 'nodeSignals' })
  })

  it('no dwell time begins anew', () => {
    expect(hotness(cpu(0, 6000), cpu(5, null), cpu(10, 6000))).toEqual([false, false, true])
    expect(hotness(cpu(0, 6000), cpu(5, null), cpu(15, null))).toEqual([false, false, false])
  })
})

describe('room', () => {
  it('is what suppression leaves to offline pods, and what the watermark leaves without it', () => {
    const off = configOf({ suppressCpu: { enabled: false } })
    expect(signalsOf([{ nodeMilli: 3000, offlineMilli: 1000 }], off)).toMatchObject([{ headroomMilli: 2200 }])
    expect(signalsOf([{ nodeMilli: 8000 }], off)).toMatchObject([{ headroomMilli: 0 }])
    const settled = [0, 1, 2, 3, 4].map((second) => ({ nowMs: second * 1000, nodeMilli: 3000, offlineMilli: 1000 }))
    // 5200 − 2000 online − 200 margin are allowed, of which 1000 are used.
    expect(signalsOf(settled).at(-1)).toMatchObject({ headroomMilli: 2000 })
  })

  it('of memory ends at its watermark', () => {
    expect(signalsOf([memory(0, 16)])).toMatchObject([{ headroomBytes: Math.floor(64 * GIB * 0.9) - 16 * GIB }])
    expect(signalsOf([memory(0, 60)])).toMatchObject([{ headroomBytes: 0 }])
  })

  it.each([
    [0, 0, 100],
    [2600, 0, 50],
    [5200, 0, 0],
    [8000, 0, 0],
    [2600, 57.6, 0],
    [520, 28.8, 50],
    [1e9, 0, 0],
  ])('scores %d milli-CPU and %d GiB as %d', (nodeMilli, usedGib, score) => {
    expect(signalsOf([{ ...memory(0, usedGib), nodeMilli }])).toMatchObject([{ score }])
  })

  it('is told of in whole shares, 100 % at most', () => {
    expect(signalsOf([{ ...memory(0, 8.0001), nodeMilli: 1e9 }])).toMatchObject([
      { cpuUsedPermyriad: 10_000, memoryUsedPermyriad: 1250 },
    ])
  })
})

it('says nothing when it is off, and begins anew when it is on again', () => {
  const off = configOf({ nodeSignals: { enabled: false } })
  const hot = decide(snapshotOf(cpu(10, 6000)), decide(snapshotOf(cpu(0, 6000)), EMPTY_MEMORY, DEFAULTS).memory, DEFAULTS)
  expect(hot.decision.signals?.hot).toBe(true)
  const silent = decide(snapshotOf(cpu(11, 6000)), hot.memory, off)
  expect(silent.decision.signals).toBeUndefined()
  expect(decide(snapshotOf(cpu(12, 6000)), silent.memory, DEFAULTS).decision.signals?.hot).toBe(false)
})
