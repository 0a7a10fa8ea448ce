/**
 * Amounts to the last digit: units to milli-CPU and bytes, those to quotas, limits and weights. The kubelet's published numbers are the
 * reference for weights.
 */
import { describe, expect, it } from 'vitest'
import { decide, EMPTY_MEMORY } from '../../../src/decide/index.ts'
import { weightFor } from '../../../src/decide/identity.ts'
import type { Decision, KnobKind, KnobValue, OfflineResource } from '../../../src/model/index.ts'
import { quotaOf } from '../../../src/model/index.ts'
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

  it('limits nothing of a pod without amounts, which gets the least weight', () => {
    const decision = decideFor({ labels: { 'kube-agent.io/qos-class': 'BE' } })
    expect([...decision.desired.entries()].map(([, kind, { setting }]) => [kind, setting.value])).toEqual([['weight', 1]])
  })

  it('limits the half that was asked for: CPU without memory', () => {
    const decision = decideFor({ asks: { 'be-cpu': 5 }, workingSetBytes: GIB })
    expect([valueOf(decision, 'quota'), valueOf(decision, 'memoryMax')]).toEqual([quotaOf(500), undefined])
  })

  it.each([
    ['be-memory', 'weight', 1],
    ['ot-memory', 'idle', 1],
  ] as const)(
    'limits the half that was asked for: %s without CPU, which leaves the quota to the root',
    (resource, kind, value) => {
      const decision = decideFor({ asks: { [resource]: 2 } })
      expect([valueOf(decision, 'quota'), valueOf(decision, 'memoryMax'), valueOf(decision, kind)]).toEqual([
        undefined,
        GIB,
        value,
      ])
    },
  )

  it('limits a pod that asks for both kinds to both together', () => {
    const decision = decideFor({ asks: { 'be-cpu': 5, 'ot-cpu': 3, 'be-memory': 1, 'ot-memory': 1 } })
    expect([valueOf(decision, 'quota'), valueOf(decision, 'memoryMax'), valueOf(decision, 'idle')]).toEqual([
      quotaOf(800),
      GIB,
      1,
    ])
  })

  it('limits an OT pod without ot-cpu as if it had asked for a thousandth of a CPU, beside those that asked', () => {
    const pods = [
      { uid: 'a', asks: { 'ot-memory': 2 }, usesMilli: 0 },
      { uid: 'b', asks: { 'ot-cpu': 10 }, usesMilli: 0 },
    ]
    // The first tick only gathers readings.
    const { memory } = decide(snapshotOf({ nowMs: 0, pods }), EMPTY_MEMORY, DEFAULTS)
    const { decision } = decide(snapshotOf({ nowMs: 5000, pods }), memory, DEFAULTS)
    const { otAllowanceMilli = Number.NaN } = decision.suppression ?? {}
    // Each has the least that there is, 10m; a thousandth of a CPU of the rest comes on top.
    expect(valueOf(decision, 'quota')).toEqual(quotaOf(10 + (otAllowanceMilli - 20) / 1001))
  })

  it.each(['Succeeded', 'Failed'] as const)('claims nothing of a pod that has %s and whose group is gone', (phase) => {
    const pod = { asks: { 'ot-cpu': 1, 'be-memory': 1 }, phase, present: false } as const
    const decision = decideFor(pod, { placement: { reservedCpus: '0' }, suppressCpu: { enabled: true } })
    expect(decision.desired.ofGroup(GROUP)).toBeUndefined()
    expect(decision.findings).toEqual([])
  })

  it('keeps the limits of a pod that has ended until its group is gone: what is left of it may still run', () => {
    expect(valueOf(decideFor({ asks: { 'be-cpu': 5 }, phase: 'Failed' }), 'quota')).toEqual(quotaOf(500))
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
    const pods = [{ uid: 'a', asks: { 'be-cpu': 5 }, labels: { 'kube-agent.io/qos-class': 'BE' } }]
    const { decision } = decide(snapshotOf({ pods }), EMPTY_MEMORY, DEFAULTS)
    expect(valueOf(decision, 'idle')).toBeUndefined()
  })
})

describe('an offer while the history is short', () => {
  it.each([
    ['Running', 20],
    ['Succeeded', 42],
    ['Failed', 42],
  ] as const)('takes the requests of online pods for their peak, but not of one that is %s', (phase, units) => {
    const decision = decideFor({ qos: 'Burstable', requestsMilli: 3200, phase })
    expect(decision.offers.find(({ resource }) => resource === 'be-cpu')).toMatchObject({ units })
  })
})

describe('a unit that divides neither a CPU nor a GiB', () => {
  const offered = (decision: Decision, resource: OfflineResource) => decision.offers.find((offer) => offer.resource === resource)

  it.each([
    ['300m', 300, 14],
    ['900m', 900, 4],
    ['1500m', 1500, 2],
    ['9', 9000, 0],
  ])('is offered in whole units, rounded down: %s', (cpuUnit, unitMilli, units) => {
    // 8 CPUs, of which 65 % are reclaimable and 1000m are used: 4200m.
    const offer = offered(decideFor({}, { resources: { cpuUnit }, capacity: { warmupMs: 0 } }), 'be-cpu')
    expect(offer).toMatchObject({ units, because: { unitSize: unitMilli } })
    const left = (offer?.because.amount ?? 0) - units * unitMilli
    expect(left).toBeGreaterThanOrEqual(0)
    expect(left).toBeLessThan(unitMilli)
  })

  it.each(['300Mi', '700M', '3Gi'])('is offered in whole units of memory: %s', (memoryUnit) => {
    const decision = decideFor({}, { resources: { memoryUnit }, capacity: { warmupMs: 0 } })
    const { units = 0, because } = offered(decision, 'be-memory') ?? {}
    const { amount = 0, unitSize = 1 } = because ?? {}
    expect(units).toBe(Math.floor(amount / unitSize))
    expect(units).toBeGreaterThan(0)
  })

  it('limits a pod to its units exactly', () => {
    expect(valueOf(decideFor({ asks: { 'be-cpu': 7 } }, { resources: { cpuUnit: '300m' } }), 'quota')).toEqual(quotaOf(2100))
  })
})
