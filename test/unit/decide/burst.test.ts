/** Who may burst, and how far: never beyond a part of the quota that is in force, nor of the one that a resize is about to bring. */
import { describe, expect, it } from 'vitest'
import * as fc from 'fast-check'
import { burstClaims } from '../../../src/decide/burst.ts'
import { classify } from '../../../src/decide/classify.ts'
import { type ContainerSpec, type GroupBandwidth, milliCpu, type PodReading } from '../../../src/model/index.ts'
import { configOf } from '../../support/config.ts'
import { readingOf, snapshotOf, type SnapshotLiteral } from '../../support/snapshots.ts'

const ID = 'a'.repeat(64)
const POD = '/kubepods/burstable/poda'
const CONTAINER = `${POD}/${ID}`

const band = (over: Partial<GroupBandwidth> = {}): GroupBandwidth => ({
  group: CONTAINER,
  quotaUs: 20_000,
  periodUs: 100_000,
  burstUs: 0,
  throttledPermyriad: 0,
  ...over,
})

const container = (cpuLimitMilli?: number): ContainerSpec => ({
  name: 'main',
  kind: 'main',
  extended: {},
  id: `containerd://${ID}`,
  ...(cpuLimitMilli === undefined ? {} : { cpuLimitMilli: milliCpu(cpuLimitMilli) }),
})

function online(bandwidth: readonly GroupBandwidth[], containers = [container()], labels = {}): PodReading {
  const reading = readingOf({ uid: 'a', qos: 'Burstable', labels }, 0)
  return { ...reading, spec: { ...reading.spec, containers }, bandwidth }
}

function claims(reading: PodReading, burst: Readonly<Record<string, unknown>> = {}, literal: SnapshotLiteral = {}): string[] {
  const config = configOf({ burst: { enabled: true, ...burst } })
  return burstClaims(snapshotOf(literal), [classify(reading, config)], config).map(
    ({ group, kind, value }) => `${group === POD ? 'pod' : 'container'} ${kind} ${JSON.stringify(value)}`,
  )
}

const THROTTLED = { throttledPermyriad: 300 }

describe('burst', () => {
  it('is given to a pod that was throttled, on each of its groups with a quota', () => {
    expect(claims(online([band({ group: POD, quotaUs: 30_000 }), band(THROTTLED)]))).toEqual([
      'pod burst 15000',
      'container burst 10000',
    ])
  })

  it('is not given to one that was not', () => {
    expect(claims(online([band()]))).toEqual([])
  })

  it('is kept by a pod that has it: with it the throttling is gone', () => {
    expect(claims(online([band({ burstUs: 10_000 })]))).toEqual(['container burst 10000'])
  })

  it('shrinks with the quota', () => {
    expect(claims(online([band({ burstUs: 10_000, quotaUs: 12_000 })]))).toEqual(['container burst 6000'])
  })

  it('shrinks as soon as the spec asks for less, before the kubelet writes the quota', () => {
    const shrunk = online([band({ ...THROTTLED, burstUs: 10_000 }), band({ group: POD })], [container(50)])
    expect(claims(shrunk)).toEqual(['container burst 2500', 'pod burst 2500'])
  })

  it('does not grow before the quota does', () => {
    expect(claims(online([band(THROTTLED)], [container(5000)]))).toEqual(['container burst 10000'])
  })

  it.each([
    ['off', { enabled: false }, {}],
    ['where the kernel has none', {}, { missing: ['burst'] }],
  ] as const)('is %s', (_, burst, literal) => {
    expect(claims(online([band(THROTTLED)]), burst, literal)).toEqual([])
  })

  it('is by default off: it changes how online pods are held', () => {
    expect(configOf({}).burst.enabled).toBe(false)
  })

  it.each([
    ['LSX', 1],
    ['LSR', 1],
    ['LS', 1],
    ['SYSTEM', 0],
  ])('is for %s: %d', (value, count) => {
    expect(claims(online([band(THROTTLED)], [container()], { 'kube-agent.io/qos-class': value }))).toHaveLength(count)
  })

  it('never exceeds its share of the quota in force (I33)', () => {
    const one = fc.record({
      quotaUs: fc.integer({ min: 1000, max: 10 ** 7 }),
      periodUs: fc.integer({ min: 1000, max: 1_000_000 }),
      burstUs: fc.nat(10 ** 7),
      throttledPermyriad: fc.nat(10_000),
    })
    fc.assert(
      fc.property(one, fc.option(fc.nat(100_000)), fc.integer({ min: 1, max: 10_000 }), (raw, limit, sharePermyriad) => {
        const reading = online([{ group: CONTAINER, ...raw }], [container(limit ?? undefined)])
        const config = configOf({ burst: { enabled: true, sharePermyriad } })
        for (const { value } of burstClaims(snapshotOf(), [classify(reading, config)], config)) {
          expect(Number.isSafeInteger(value)).toBe(true)
          expect(value).toBeGreaterThan(0)
          expect(value).toBeLessThanOrEqual((raw.quotaUs * sharePermyriad) / 10_000)
          if (limit !== null) expect(value).toBeLessThanOrEqual((limit * raw.periodUs * sharePermyriad) / 10_000_000)
        }
      }),
    )
  })
})
