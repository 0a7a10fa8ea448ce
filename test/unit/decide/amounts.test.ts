/**
 * Amounts to the last digit: units to milli-CPU and bytes, those to quotas, limits and weights. The kubelet's published numbers are the
 * reference for weights.
 */
import { describe, expect, it } from 'vitest'
import { decide, EMPTY_MEMORY } from '../../../src/decide/index.ts'
import { weightFor } from '../../../src/decide/identity.ts'
import type { Decision, KnobKind, KnobValue } from '../../../src/model/index.ts'
import { configOf, DEFAULTS } from '../../support/config.ts'
import { GIB, OFFLINE_ROOT, type PodLiteral, snapshotOf } from '../../support/snapshots.ts'

const GROUP = `${OFFLINE_ROOT}/poda`

function decideFor(pod: Omit<PodLiteral, 'uid'>, settings: Readonly<Record<string, unknown>> = {}): Decision {
  const snapshot = snapshotOf({ pods: [{ uid: 'a', usesMilli: 0, ...pod }] })
  return decide(snapshot, EMPTY_MEMORY, configOf({ suppressCpu: { enabled: false }, ...settings })).decision
}

const valueOf = (decision: Decision, kind: KnobKind): KnobValue | undefined => decision.desired.get(GROUP, kind)?.setting.value

describe('weightFor', () => {
  it.each([
    [1000, 'v1', 1024],
    [1000, 'v2', 39],
    [0, 'v1', 2],
    [0, 'v2', 1],
    [2, 'v1', 2],
    [2, 'v2', 1],
    [100, 'v1', 102],
    [100, 'v2', 4],
    [500, 'v1', 512],
    [500, 'v2', 20],
    [4000, 'v1', 4096],
    [4000, 'v2', 157],
    [256_000, 'v1', 262_144],
    [256_000, 'v2', 10_000],
    [1_000_000, 'v1', 262_144],
    [1_000_000, 'v2', 10_000],
  ] as const)('%d milli-CPU under %s: %d, as the kubelet has it', (askedMilli, dialect, weight) => {
    expect(weightFor(askedMilli, dialect)).toBe(weight)
  })
})

describe('limits', () => {
  it.each([
    ['0.1', 1, 10_000],
    ['0.1', 3, 30_000],
    ['0.1', 7, 70_000],
    ['100m', 13, 130_000],
    ['0.001', 1, 1000],
    ['0.01', 1, 1000],
    ['1.5', 3, 450_000],
    ['1', 256, 25_600_000],
  ])('a unit of %s times %d is a quota of %d µs in 100 ms', (cpuUnit, units, quotaUs) => {
    const decision = decideFor({ asks: { 'be-cpu': units } }, { resources: { cpuUnit } })
    expect(valueOf(decision, 'quota')).toEqual({ quotaUs, periodUs: 100_000 })
  })

  it.each([
    ['512Mi', 1, 536_870_912],
    ['1G', 1, 999_948_288],
    ['100k', 1, 65_536],
  ])('a unit of %s times %d is a limit of %d bytes, whole pages', (memoryUnit, units, limit) => {
    expect(valueOf(decideFor({ asks: { 'be-memory': units } }, { resources: { memoryUnit } }), 'memoryMax')).toBe(limit)
  })

  it('sets no limit of 0 bytes, which would kill at once', () => {
    expect(valueOf(decideFor({ asks: { 'be-memory': 1 } }, { resources: { memoryUnit: '1Ki' } }), 'memoryMax')).not.toBe(0)
  })

  it('sets no limit below what the pod uses, and says so', () => {
    const decision = decideFor({ asks: { 'be-memory': 1 }, workingSetBytes: GIB })
    expect(valueOf(decision, 'memoryMax')).toBeUndefined()
    expect(decision.abstentions.map(({ rule }) => rule)).toEqual(['limits'])
  })

  it('sets no limit before it is known what the pod uses', () => {
    const snapshot = snapshotOf({ pods: [{ uid: 'a', asks: { 'be-memory': 1 } }] })
    expect(valueOf(decide(snapshot, EMPTY_MEMORY, DEFAULTS).decision, 'memoryMax')).toBeUndefined()
  })

  it('keeps a limit that is in force while the use is not known, as after a restart', () => {
    const actual = [{ group: GROUP, kind: 'memoryMax', value: 536_870_912 }] as const
    const snapshot = snapshotOf({ pods: [{ uid: 'a', asks: { 'be-memory': 1 } }], actual })
    expect(valueOf(decide(snapshot, EMPTY_MEMORY, DEFAULTS).decision, 'memoryMax')).toBe(536_870_912)
  })

  it('leaves a pod without amounts alone', () => {
    const decision = decideFor({ labels: { 'kube-agent.io/qos-class': 'BE' } })
    expect([...decision.desired.entries()]).toEqual([])
  })

  it('claims nothing of a pod whose group is not there', () => {
    expect([...decideFor({ asks: { 'be-cpu': 1, 'be-memory': 1 }, present: false }).desired.entries()]).toEqual([])
  })
})

describe('identity', () => {
  it('gives OT idle, and the least weight where the kernel has no idle', () => {
    const pods = [{ uid: 'a', asks: { 'ot-cpu': 5 } }]
    const { decision } = decide(snapshotOf({ pods }), EMPTY_MEMORY, DEFAULTS)
    expect([valueOf(decision, 'idle'), valueOf(decision, 'weight')]).toEqual([1, undefined])
    for (const [dialect, least] of [
      ['v1', 2],
      ['v2', 1],
    ] as const) {
      const without = decide(snapshotOf({ pods, dialect, missing: ['idle'] }), EMPTY_MEMORY, DEFAULTS).decision
      expect([valueOf(without, 'idle'), valueOf(without, 'weight')]).toEqual([undefined, least])
    }
  })

  it('no longer wants idle of a pod that has become BE', () => {
    const pods = [{ uid: 'a', asks: { 'ot-cpu': 5 }, labels: { 'kube-agent.io/qos-class': 'BE' } }]
    const { decision } = decide(snapshotOf({ pods }), EMPTY_MEMORY, DEFAULTS)
    expect(valueOf(decision, 'idle')).toBeUndefined()
  })
})
