/**
 * What always holds of IO limits and weights, by the numbers of src/decide/SPEC.md, over random histories: any pods under both kernels, any
 * settings, stalls that rise and fall, sensors that are silent, old or lying.
 */
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Config } from '../../src/config/index.ts'
import { classify, isOnlineBelowOfflineRoot } from '../../src/decide/classify.ts'
import { type IoMemory, type IoSuppressed, suppressIo } from '../../src/decide/suppress/io.ts'
import { type ClassifiedPod, hasEnded, IoLimits, isOffline, type KnobSetting, type NodeSnapshot } from '../../src/model/index.ts'
import { configOf } from '../support/config.ts'
import { deepFreeze, OFFLINE_ROOT, type PodLiteral, snapshotOf } from '../support/snapshots.ts'

const FIELDS = ['readBps', 'writeBps', 'readIops', 'writeIops'] as const
type Field = (typeof FIELDS)[number]
const LEAST: Readonly<Record<Field, number>> = { readBps: 4096, writeBps: 4096, readIops: 1, writeIops: 1 }
const NUMBERS = new Map([
  ['sda', '8:0'],
  ['sda-again', '8:0'],
  ['sdb', '8:16'],
  ['sdc', '8:32'],
])
const names = fc.subarray(['sda', 'sda-again', 'sdb', 'sdc', 'missing'])

const settings = fc
  .record({
    lists: fc.tuple(names, names, names),
    rates: fc.record({
      readBps: fc.constantFrom(0, 65_536, 10_000_000, 2 ** 40, Number.MAX_SAFE_INTEGER),
      writeBps: fc.constantFrom(0, 65_537, 123_456_789),
      readIops: fc.constantFrom(0, 16, 17, 100_000),
      writeIops: fc.constantFrom(0, 23, 2 ** 32 - 1, 2 ** 32, 2 ** 40),
    }),
    regulation: fc.record({
      otSharePermyriad: fc.constantFrom(1, 3000, 5000, 10_000),
      onlineBps: fc.constantFrom(65_536, 1_048_576),
      cutPermyriad: fc.constantFrom(1, 5000, 9998, 9999),
      floorPermyriad: fc.constantFrom(1, 500, 4000, 10_000),
      growthPermyriad: fc.constantFrom(1, 500, 10_000),
    }),
  })
  // A name may stand in one list only.
  .map(({ lists: [devices, online, offline], rates, regulation }) => ({
    suppressIo: {
      enabled: true,
      ...rates,
      ...regulation,
      offlineDevices: offline,
      onlineDevices: online.filter((name) => !offline.includes(name)),
      devices: devices.filter((name) => !offline.includes(name) && !online.includes(name)),
    },
  }))

const pod: fc.Arbitrary<Omit<PodLiteral, 'uid'>> = fc.record(
  {
    qos: fc.constantFrom('BestEffort', 'BestEffort', 'BestEffort', 'Burstable', 'Guaranteed'),
    asks: fc.constantFrom({}, { 'be-cpu': 5 }, { 'be-cpu': 5 }, { 'ot-cpu': 5 }, { 'ot-cpu': 5 }),
    labels: fc.constantFrom({}, {}, {}, { 'kube-agent.io/qos-class': 'OT' }, { 'kube-agent.io/qos-class': 'SYSTEM' }),
    containers: fc.constantFrom(['a'], ['a', 'b'], []),
    present: fc.constantFrom(true, true, true, false),
    phase: fc.constantFrom('Running', 'Running', 'Running', 'Succeeded'),
  },
  { requiredKeys: ['qos', 'asks'] },
)

const permyriad = fc.oneof(
  { weight: 8, arbitrary: fc.constantFrom(0, 500, 999, 1000, 1500, 2000, 2001, 9000) },
  { weight: 1, arbitrary: fc.constantFrom(Number.NaN, -100, Infinity) },
)

const moment = fc.record({
  dtMs: fc.constantFrom(50, 50, 300, 1000, 1000, 1000, 7000, 60_000),
  online: fc.option(permyriad, { freq: 3, nil: undefined }),
  node: fc.option(permyriad, { freq: 3, nil: undefined }),
  ageMs: fc.constantFrom(0, 0, 0, 1500, 2001, Number.NaN),
  pods: fc.array(pod, { maxLength: 6 }),
})

const history = fc.record({
  settings,
  dialect: fc.constantFrom('v1' as const, 'v2' as const),
  missing: fc.constantFrom<readonly ('ioMax' | 'ioWeight')[]>([], [], [], ['ioMax'], ['ioWeight']),
  moments: fc.array(moment, { minLength: 1, maxLength: 25, size: 'max' }),
})
type History = typeof history extends fc.Arbitrary<infer T> ? T : never

interface Lived {
  readonly snapshot: NodeSnapshot
  readonly pods: readonly ClassifiedPod[]
  readonly before: IoMemory | undefined
  readonly result: IoSuppressed
}

/** Lives through a history; on the tick `restartAt` nothing is remembered. */
function live(given: History, config: Config, restartAt?: number): Lived[] {
  const lived: Lived[] = []
  let nowMs = 1_000_000
  let memory: IoMemory | undefined
  let actual: readonly (KnobSetting & { group: string })[] = []
  for (const [index, { dtMs, online, node, ageMs, pods }] of given.moments.entries()) {
    nowMs += dtMs
    if (index === restartAt) memory = undefined
    const plain = snapshotOf({
      nowMs,
      dialect: given.dialect,
      missing: given.missing,
      pods: pods.map((one, index) => ({ ...one, uid: `p${index}` })),
      actual,
    })
    const pressure = (value: number | undefined) =>
      value === undefined ? {} : { ioPressure: { value: { someUsPerSecond: value * 100 }, atMs: nowMs - ageMs, source: 'test' } }
    const snapshot = deepFreeze({
      ...plain,
      devices: NUMBERS,
      online: pressure(online),
      node: { ...plain.node, ...pressure(node) },
    })
    const classified = deepFreeze(snapshot.pods.pods.map((reading) => classify(reading, config)))
    const before = deepFreeze(memory)
    const result = suppressIo(snapshot, classified, { memory: before, abstentions: [] }, config)
    lived.push({ snapshot, pods: classified, before, result })
    memory = result.memory
    actual = result.claims
  }
  return lived
}

function forAll(check: (lived: readonly Lived[], config: Config) => void): void {
  fc.assert(
    fc.property(history, (given) => {
      const config = deepFreeze(configOf(given.settings))
      check(live(given, config), config)
    }),
    { numRuns: 150 },
  )
}

const isSpared = (pod: ClassifiedPod): boolean =>
  isOnlineBelowOfflineRoot(pod) && pod.reading.present && !hasEnded(pod.reading.spec)

describe('suppressIo', () => {
  it('claims groups of offline pods only, and the root only while no online pod lives below it (I58)', () => {
    forAll((lived) => {
      for (const { pods, result, snapshot } of lived) {
        const offline = pods.filter(({ qosClass, reading }) => isOffline(qosClass) && reading.present)
        const theirs = new Set(offline.flatMap(({ reading }) => [reading.group, ...reading.childGroups]))
        for (const { group, kind } of result.claims) {
          expect(snapshot.capabilities.knobs[kind].usable).toBe(true)
          if (group === OFFLINE_ROOT) expect([offline.length > 0, pods.some(isSpared)]).toEqual([true, false])
          else expect(theirs).toContain(group)
        }
      }
    })
  })

  it('gives offline pods together at most what is configured, or the least that the kernel and its users can do with (I59)', () => {
    forAll((lived, { suppressIo: io }) => {
      for (const { pods, result, snapshot } of lived) {
        const limits = result.claims.filter(({ kind }) => kind === 'ioMax')
        const wholeOf = (device: string, field: Field): number => {
          const reserved = io.onlineDevices.some((name) => NUMBERS.get(name) === device)
          if (reserved) return field.endsWith('Bps') ? io.onlineBps : 0
          return Math.floor((io[field] * (result.state?.sharePermyriad ?? Number.NaN)) / 10_000)
        }
        for (const device of new Set(NUMBERS.values())) {
          if (io.offlineDevices.some((name) => NUMBERS.get(name) === device)) continue
          for (const field of FIELDS) {
            const held = limits.flatMap(({ group, value }) => {
              const limit = value instanceof IoLimits ? value.of(device)[field] : null
              return limit === null ? [] : [{ group, limit }]
            })
            // A group that has the least there is may have it on top.
            const more = held.filter(({ limit }) => limit > LEAST[field])
            const sum = (of: typeof held) => of.reduce((total, { limit }) => total + limit, 0)
            const root = more.filter(({ group }) => group === OFFLINE_ROOT)
            expect(sum(root)).toBeLessThanOrEqual(wholeOf(device, field))
            expect(sum(more) - sum(root)).toBeLessThanOrEqual(wholeOf(device, field))
            for (const { limit } of held) expect(limit).toBeLessThanOrEqual(Math.max(io[field], io.onlineBps))
          }
        }
        const root = limits.filter(({ group }) => group === OFFLINE_ROOT)
        // Where the root does not hold them all, every offline pod with a container is limited itself.
        const isHeld = (group: string): boolean => limits.some((claim) => claim.group === group)
        if (limits.length === 0 || root.length > 0) continue
        for (const { reading, qosClass } of pods) {
          if (!isOffline(qosClass) || !reading.present) continue
          const groups = snapshot.capabilities.nestedIo ? [reading.group] : reading.childGroups
          expect(groups.filter(isHeld)).toEqual(groups)
        }
      }
    })
  })

  it('never limits a device that is given to offline pods, however much online work waits (I60)', () => {
    forAll((lived, { suppressIo: io }) => {
      const given = io.offlineDevices.flatMap((name) => NUMBERS.get(name) ?? [])
      for (const { result } of lived) {
        for (const { value } of result.claims) {
          if (!(value instanceof IoLimits)) continue
          for (const device of given) expect(Object.values(value.of(device))).toEqual([null, null, null, null])
        }
      }
    })
  })

  it('cuts and grows its share at most once a second, between floor and all, and not without fresh readings (I61)', () => {
    forAll((lived, { suppressIo: io }) => {
      let lastCutMs = -Infinity
      let lastChangeMs = -Infinity
      let share = 10_000
      for (const { result, snapshot, before } of lived) {
        const now = result.state?.sharePermyriad ?? Number.NaN
        expect(Number.isInteger(now)).toBe(true)
        expect(now).toBeGreaterThanOrEqual(io.floorPermyriad)
        expect(now).toBeLessThanOrEqual(10_000)
        // Without a memory it starts from what stands in the kernel.
        if (before !== undefined && now !== share) {
          expect(result.state?.is).not.toBe('unknown')
          if (now < share) {
            expect(now).toBeGreaterThanOrEqual(Math.floor((share * io.cutPermyriad) / 10_000))
            expect(snapshot.nowMs - lastCutMs).toBeGreaterThanOrEqual(1000)
            expect(result.state?.pressurePermyriad).toBeGreaterThan(io.pressurePermyriad)
            lastCutMs = snapshot.nowMs
          } else {
            expect(now - share).toBeLessThanOrEqual(io.growthPermyriad)
            expect(snapshot.nowMs - lastChangeMs).toBeGreaterThanOrEqual(1000)
          }
          lastChangeMs = snapshot.nowMs
        } else if (now !== share) {
          lastCutMs = snapshot.nowMs
          lastChangeMs = snapshot.nowMs
        }
        share = now
      }
    })
  })

  it('claims whole numbers that both kernels take: limits from 1, weights from 1 to 1000 (I62)', () => {
    forAll((lived) => {
      for (const { result } of lived) {
        for (const { kind, value } of result.claims) {
          const numbers =
            value instanceof IoLimits
              ? [...value.devices.values()].flatMap((limits) => Object.values(limits)).filter((limit) => limit !== null)
              : [Number(value)]
          for (const one of numbers) {
            expect(Number.isSafeInteger(one)).toBe(true)
            expect(one).toBeGreaterThanOrEqual(1)
            if (kind === 'ioWeight') expect(one).toBeLessThanOrEqual(1000)
          }
          for (const limits of value instanceof IoLimits ? value.devices.values() : [])
            expect(Math.max(limits.readIops ?? 0, limits.writeIops ?? 0)).toBeLessThan(2 ** 32 - 1)
        }
      }
    })
  })

  it('gives equal answers whatever the order of the pods (I1)', () => {
    forAll((lived, config) => {
      for (const { snapshot, pods, before, result } of lived) {
        const again = suppressIo(snapshot, [...pods].reverse(), { memory: before, abstentions: [] }, config)
        const shown = ({ claims, ...rest }: IoSuppressed) => ({
          ...rest,
          claims: claims.map((claim) => JSON.stringify({ ...claim, value: shownValue(claim) })).sort(),
        })
        expect(shown(again)).toEqual(shown(result))
      }
    })
  })

  it('claims other limits only when the share or the pods have changed', () => {
    fc.assert(
      fc.property(history, fc.array(pod, { minLength: 1, maxLength: 6 }), (given, pods) => {
        const config = deepFreeze(configOf(given.settings))
        const lived = live({ ...given, moments: given.moments.map((one) => ({ ...one, pods })) }, config)
        const shown = ({ claims }: IoSuppressed) =>
          claims.filter(({ kind }) => kind === 'ioMax').map(({ group, value }) => `${group} ${shownValue({ value })}`)
        for (const [index, { result }] of lived.entries()) {
          const before = lived[index - 1]?.result
          if (before?.state?.sharePermyriad === result.state?.sharePermyriad && before !== undefined)
            expect(shown(result)).toEqual(shown(before))
        }
      }),
      { numRuns: 150 },
    )
  })

  it('starts anew from the limits that an agent before it has left, never from more (I61)', () => {
    const offline = pod.filter(({ asks = {}, qos, present = true, containers = ['a'] }) => {
      return Object.keys(asks).length > 0 && qos === 'BestEffort' && present && containers.length > 0
    })
    const suppressIo = { enabled: true, devices: ['sda'], readBps: 2 ** 30, floorPermyriad: 1 }
    fc.assert(
      fc.property(history, fc.array(offline, { minLength: 1, maxLength: 6 }), fc.nat(24), (given, pods, restartAt) => {
        const moments = given.moments.map((one) => ({ ...one, pods }))
        const config = deepFreeze(configOf({ suppressIo }))
        const at = restartAt % moments.length
        const lived = live({ ...given, missing: [], moments }, config, at)
        const [before, after] = [lived[at - 1]?.result.state, lived[at]?.result.state]
        if (before === undefined || after === undefined) return
        expect(lived[at]?.before).toBeUndefined()
        expect(after.sharePermyriad).toBeLessThanOrEqual(before.sharePermyriad + 1)
        if (after.is !== 'cut') expect(after.sharePermyriad).toBeGreaterThanOrEqual(before.sharePermyriad - 1)
      }),
      { numRuns: 150 },
    )
  })
})

function shownValue({ value }: Pick<IoSuppressed['claims'][number], 'value'>): string {
  return value instanceof IoLimits ? value.toString() : JSON.stringify(value)
}
