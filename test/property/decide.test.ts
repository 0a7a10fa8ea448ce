/**
 * What always holds of decide/, by the numbers of src/decide/SPEC.md, over random histories of a node (test/support/histories.ts). What
 * suppression adds is in suppress.test.ts.
 */
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Config } from '../../src/config/index.ts'
import { CpuSet } from '../../src/cpu/index.ts'
import { decide, EMPTY_MEMORY } from '../../src/decide/index.ts'
import { merge } from '../../src/decide/merge.ts'
import { type Clock, regulate, type Target } from '../../src/decide/suppress/regulator.ts'
import type { Claim, ClassifiedPod, Decision, KnobSetting, NodeSnapshot } from '../../src/model/index.ts'
import { isOffline, isQuota, KNOB_KINDS, OFFLINE_RESOURCES, quotaMilliCpu, RULES } from '../../src/model/index.ts'
import { compareWidth } from '../../src/plan/width.ts'
import { configOf } from '../support/config.ts'
import { configFor, forAllHistories } from '../support/histories.ts'
import { OFFLINE_ROOT, snapshotOf } from '../support/snapshots.ts'
import { PAIRS } from '../support/settings.ts'
import { rawTree, treeOf } from '../support/trees.ts'
import { rawWish, rawWishes, settingOf } from '../support/wishes.ts'

/** An online pod that runs below the offline root. */
const isBeside = ({ qosClass, reading: { spec, present } }: ClassifiedPod): boolean =>
  !isOffline(qosClass) && spec.kubeletQos === 'BestEffort' && present && !['Succeeded', 'Failed'].includes(spec.phase)

/** What BE and OT pods may use together: by the quota of the root, and by their own. */
function offlineMilli({ desired, pods }: Decision): number {
  const milliOf = (group: string): number => {
    const quota = desired.get(group, 'quota')?.setting.value
    return isQuota(quota) ? quotaMilliCpu(quota) : Infinity
  }
  const offline = pods.filter(({ qosClass, reading }) => isOffline(qosClass) && reading.present)
  return Math.min(
    milliOf(OFFLINE_ROOT),
    offline.reduce((sum, { reading }) => sum + milliOf(reading.group), 0),
  )
}

const withoutOrder = (decision: Decision): unknown => ({
  ...decision,
  desired: [...decision.desired.entries()].map(([group, kind, resolved]) => JSON.stringify([group, kind, resolved])).sort(),
  pods: decision.pods.map((one) => JSON.stringify(one)).sort(),
  findings: decision.findings.map((one) => JSON.stringify(one)).sort(),
  abstentions: decision.abstentions.map((one) => JSON.stringify(one)).sort(),
})

/** Whether CPU or memory is at a watermark, and whether both are below their low ones; undefined without readings. */
function heat({ node, topology, nowMs }: NodeSnapshot, config: Config): { above: boolean; below: boolean } | undefined {
  if (node.cpu === undefined || node.memory === undefined) return undefined
  if (!(nowMs - Math.min(node.cpu.atMs, node.memory.atMs) <= 2 * config.loop.calmMs)) return undefined
  if (!Number.isFinite(node.cpu.value.usedMilli)) return undefined
  const { totalBytes, availableBytes } = node.memory.value
  const cpu = Math.max(0, node.cpu.value.usedMilli) / (topology.online.size * 1000)
  const memory = (totalBytes - availableBytes) / totalBytes
  const { watermarkPermyriad, lowWatermarkPermyriad } = config.suppressCpu
  const { memoryWatermarkPermyriad, memoryLowWatermarkPermyriad } = config.nodeSignals
  return {
    above: cpu >= watermarkPermyriad / 10_000 || memory >= memoryWatermarkPermyriad / 10_000,
    below: cpu < lowWatermarkPermyriad / 10_000 && memory < memoryLowWatermarkPermyriad / 10_000,
  }
}

describe('decide', () => {
  it('gives equal answers to equal questions, in any order of pods, and writes to none of its inputs (I1)', () => {
    forAllHistories((lived, history) => {
      const config = configFor(history)
      for (const { literal, before, decision, memory } of lived) {
        const shuffled = snapshotOf({ ...literal, pods: [...(literal.pods ?? [])].reverse() })
        const again = decide(shuffled, before, config)
        expect(withoutOrder(again.decision)).toEqual(withoutOrder(decision))
        expect(again.memory.suppress).toEqual(memory.suppress)
        expect(again.memory.signals).toEqual(memory.signals)
        expect({ ...again.memory.capacity, bePods: undefined }).toEqual({ ...memory.capacity, bePods: undefined })
      }
    }, 200)
  })

  it('claims no empty cpuset, and none outside of the CPUs that are online (I3, I4)', () => {
    forAllHistories((lived) => {
      for (const { decision, snapshot } of lived) {
        for (const [, kind, { setting }] of decision.desired.entries()) {
          if (kind !== 'cpuset' || setting.kind !== 'cpuset') continue
          expect(setting.value.isEmpty).toBe(false)
          expect(setting.value.isSubsetOf(snapshot.topology.online)).toBe(true)
        }
      }
    })
  })

  it('gives no offline pod a reserved CPU while any other is online (I4)', () => {
    forAllHistories((lived, history) => {
      const reserved = configFor(history).placement.reservedCpus
      for (const { decision, snapshot } of lived) {
        if (snapshot.topology.online.isSubsetOf(reserved)) continue
        expect(decision.placement.bestEffort.overlaps(reserved)).toBe(false)
        for (const { reading, qosClass } of decision.pods) {
          const set = decision.desired.get(reading.group, 'cpuset')?.setting.value
          if (isOffline(qosClass) && set instanceof CpuSet) expect(set.overlaps(reserved)).toBe(false)
        }
      }
    })
  })

  it('writes whole, finite numbers only, whatever a sensor says', () => {
    forAllHistories((lived) => {
      for (const { decision } of lived) {
        for (const [group, kind, { setting }] of decision.desired.entries()) {
          const { value } = setting
          if (isQuota(value)) expect(Number.isSafeInteger(value.quotaUs), `${group} ${kind} ${value.quotaUs}`).toBe(true)
          else if (typeof value === 'number') expect(Number.isSafeInteger(value), `${group} ${kind} ${value}`).toBe(true)
        }
        for (const { units } of decision.offers) expect(Number.isSafeInteger(units)).toBe(true)
      }
    })
  })

  it('keeps the allowance between its floor and the CPUs of the best-effort set (I5)', () => {
    forAllHistories((lived) => {
      for (const { decision } of lived) {
        const { suppression, placement } = decision
        if (suppression === undefined) continue
        const capMilli = placement.bestEffort.size * 1000
        expect(suppression.inputs.floorMilli).toBeGreaterThan(0)
        expect(suppression.allowanceMilli).toBeGreaterThanOrEqual(Math.min(suppression.inputs.floorMilli, capMilli))
        expect(suppression.allowanceMilli).toBeLessThanOrEqual(capMilli)
      }
    })
  })

  it('shrinks the allowance to its target in one tick (I6)', () => {
    forAllHistories((lived) => {
      for (const { decision, snapshot } of lived) {
        const { suppression } = decision
        if (suppression === undefined || suppression.bound === 'stale' || snapshot.node.cpu === undefined) continue
        const { watermarkMilli, onlineMilli, marginMilli, floorMilli } = suppression.inputs
        expect(suppression.allowanceMilli).toBeLessThanOrEqual(
          Math.max(floorMilli, Math.floor(watermarkMilli - onlineMilli - marginMilli)),
        )
      }
    })
  })

  it('grows the allowance by at most growthPermyriad of the node a second, also over restarts and pauses (I7)', () => {
    forAllHistories((lived, history) => {
      const { dwellMs, growthPermyriad } = configFor(history).suppressCpu
      for (const [index, { decision, snapshot, unbounded }] of lived.entries()) {
        const now = decision.suppression
        if (now === undefined || unbounded) continue
        const stepMilli = Math.max(1, Math.floor((now.inputs.capacityMilli * growthPermyriad * dwellMs) / 10_000_000))
        for (let earlier = index - 1; earlier >= 0; earlier -= 1) {
          const then = lived[earlier]
          if (then === undefined || snapshot.nowMs - then.snapshot.nowMs >= dwellMs || then.unbounded) break
          if (then.decision.suppression === undefined) continue
          // The node may have been put below a floor that rose.
          if (now.allowanceMilli <= now.inputs.floorMilli) continue
          const grown = now.allowanceMilli - then.decision.suppression.allowanceMilli
          expect(grown, `${then.snapshot.nowMs} to ${snapshot.nowMs}`).toBeLessThanOrEqual(stepMilli)
        }
      }
    })
  })

  it('does not grow by what is too small to write, five times as much of it while offline work rests (I84)', () => {
    const milli = fc.integer({ min: 0, max: 20_000 })
    const seen = { rests: 0, works: 0 }
    fc.assert(
      fc.property(
        milli,
        milli,
        milli,
        fc.integer({ min: 0, max: 300 }),
        (fromMilli, wantedMilli, usedMilli, deadBandPermyriad) => {
          const clock: Clock = { nowMs: 10_000, capacityMilli: 20_000, dwellMs: 1000, usedMilli }
          const target: Target = { milli: wantedMilli, bound: 'watermark' }
          const { level } = regulate(
            target,
            { milli: fromMilli, changedMs: 0 },
            clock,
            configOf({ suppressCpu: { deadBandPermyriad } }),
          )
          const rests = usedMilli < fromMilli / 2
          const leastMilli = 2 * deadBandPermyriad * (rests ? 5 : 1)
          const isWorthIt = wantedMilli - fromMilli > leastMilli
          if (wantedMilli > fromMilli) seen[rests ? 'rests' : 'works'] += 1
          expect(level.milli > fromMilli).toBe(isWorthIt)
          expect(level.milli < fromMilli).toBe(wantedMilli < fromMilli)
        },
      ),
    )
    expect(Math.min(...Object.values(seen))).toBeGreaterThan(3)
  })

  it('gives OT no more than its floor and what BE leaves of the allowance (I8)', () => {
    forAllHistories((lived, history) => {
      const { otFloorPermyriad } = configFor(history).suppressCpu
      for (const { decision } of lived) {
        const { suppression } = decision
        if (suppression === undefined) continue
        const otFloorMilli = Math.max(1, Math.floor((suppression.inputs.capacityMilli * otFloorPermyriad) / 10_000))
        const left = suppression.allowanceMilli - suppression.beDemandMilli
        expect(suppression.otAllowanceMilli).toBeLessThanOrEqual(Math.max(otFloorMilli, left))
        expect(suppression.otAllowanceMilli).toBeGreaterThanOrEqual(otFloorMilli)
      }
    })
  })

  it('neither grows nor lets go of anything without a reading (I9)', () => {
    forAllHistories((lived) => {
      for (const { decision, snapshot, before } of lived) {
        const standing = snapshot.actual.get(OFFLINE_ROOT, 'quota')?.value
        if (snapshot.node.cpu !== undefined || !isQuota(standing)) continue
        const now = decision.desired.get(OFFLINE_ROOT, 'quota')?.setting.value
        if (!isQuota(now)) {
          expect(decision.complete, 'the quota is let go').toBe(false)
          continue
        }
        const least = decision.suppression?.inputs.floorMilli ?? 0
        const known = before.suppress.allowance
        const most = Math.max(known?.milli ?? quotaMilliCpu(standing), least)
        expect(decision.suppression?.allowanceMilli).toBeLessThanOrEqual(most)
        // Where online pods live below the root, it is offline pods that have the quotas.
        if (!decision.pods.some(isBeside)) expect(quotaMilliCpu(now)).toBeLessThanOrEqual(most)
        expect(offlineMilli(decision)).toBeLessThanOrEqual(most)
      }
    })
  })

  it('lets BE and OT together have no more than the allowance, whatever lives beside them, but for the least that a pod has (I79)', () => {
    const seen = { alone: 0, beside: 0 }
    forAllHistories((lived) => {
      for (const { decision } of lived) {
        const { suppression, pods } = decision
        const root = decision.desired.get(OFFLINE_ROOT, 'quota')?.setting.value
        if (suppression === undefined || !isQuota(root)) continue
        const offline = pods.filter(({ qosClass, reading }) => isOffline(qosClass) && reading.present)
        seen[pods.some(isBeside) ? 'beside' : 'alone'] += Number(offline.length > 0)
        const leastMilli = 10 * offline.length
        expect(offlineMilli(decision)).toBeLessThanOrEqual(Math.max(suppression.allowanceMilli, leastMilli) + 0.1)
      }
    })
    expect(Math.min(...Object.values(seen))).toBeGreaterThan(15)
  })

  it('leaves online pods below the offline root every CPU that there is, unless somebody is there whom no source lists (I80)', () => {
    let beside = 0
    forAllHistories((lived) => {
      for (const { decision } of lived) {
        const { suppression, pods } = decision
        const root = decision.desired.get(OFFLINE_ROOT, 'quota')?.setting.value
        if (suppression === undefined || !isQuota(root) || !pods.some(isBeside)) continue
        beside += 1
        expect(quotaMilliCpu(root) - offlineMilli(decision)).toBeGreaterThanOrEqual(suppression.inputs.capacityMilli - 100)
        for (const one of pods.filter(isBeside)) expect(decision.desired.get(one.reading.group, 'quota')).toBeUndefined()
      }
    })
    expect(beside).toBeGreaterThan(15)
  })

  it('offers at least what is allocated, and no more than maxUnits beyond that (I10)', () => {
    forAllHistories((lived, history) => {
      const { capacity } = configFor(history)
      const most = new Map<string, number>()
      for (const { decision, snapshot } of lived) {
        for (const { resource, units } of decision.offers) {
          const listed = snapshot.pods.pods
            .filter(({ spec, present }) => present && spec.phase !== 'Succeeded' && spec.phase !== 'Failed')
            .reduce((sum, { spec }) => sum + (spec.extended[`kube-agent.io/${resource}`] ?? 0), 0)
          const allocated = listed + (snapshot.inFlightUnits[resource] ?? 0)
          // On a hot tick the list of pods is that of the calm tick before; only what is in flight can be new.
          if (snapshot.pace === 'calm') expect(units).toBeGreaterThanOrEqual(allocated)
          expect(units).toBeGreaterThanOrEqual(snapshot.inFlightUnits[resource] ?? 0)
          // An offer stands while its readings are missing, also when what was allocated has gone.
          most.set(resource, Math.max(most.get(resource) ?? 0, allocated))
          expect(units).toBeLessThanOrEqual(Math.max(capacity.maxUnits, most.get(resource) ?? 0))
        }
      }
    })
  })

  it('gives a limited pod at most what it asked for (I11)', () => {
    forAllHistories((lived) => {
      for (const { decision } of lived) {
        for (const { reading, qosClass, askedMilli } of decision.pods) {
          const quota = decision.desired.get(reading.group, 'quota')?.setting.value
          if (!isOffline(qosClass) || askedMilli === 0 || !reading.present) continue
          expect(isQuota(quota) && quotaMilliCpu(quota)).toBeLessThanOrEqual(askedMilli)
        }
      }
    })
  })

  it('limits every pod under the offline root that was sold CPU to what it was sold, whatever its label (I11, I19)', () => {
    forAllHistories((lived, history) => {
      const { cpuUnitMilli } = configFor(history).resources
      for (const { decision } of lived) {
        for (const { reading, qosClass } of decision.pods) {
          const units = (kind: string): number => reading.spec.extended[`kube-agent.io/${kind}`] ?? 0
          if (reading.spec.kubeletQos !== 'BestEffort') continue
          if (OFFLINE_RESOURCES.some((resource) => units(resource) > 0)) expect(isOffline(qosClass)).toBe(true)
          if (units('ot-cpu') + units('ot-memory') > 0) expect(qosClass).toBe('OT')
          const soldMilli = (units('be-cpu') + units('ot-cpu')) * cpuUnitMilli
          const quota = decision.desired.get(reading.group, 'quota')?.setting.value
          if (soldMilli > 0 && reading.present) expect(isQuota(quota) && quotaMilliCpu(quota)).toBeLessThanOrEqual(soldMilli)
        }
      }
    })
  })

  it('calls the node hot, or no longer, only after the whole dwell time on one side of the watermarks (I15)', () => {
    forAllHistories((lived, history) => {
      const config = configFor(history)
      for (const [index, { decision, before }] of lived.entries()) {
        const was = before.signals.signals?.hot ?? false
        const hot = decision.signals?.hot ?? false
        if (was === hot || decision.signals === undefined) continue
        const side = hot ? 'above' : 'below'
        const dwellMs = hot ? config.nodeSignals.enterMs : config.nodeSignals.exitMs
        const now = lived[index]?.snapshot.nowMs ?? 0
        let sinceMs = now
        for (let earlier = index; earlier >= 0 && now - sinceMs < dwellMs; earlier -= 1) {
          const then = lived[earlier]
          if (then === undefined) break
          const felt = heat(then.snapshot, config)
          if (felt !== undefined) {
            expect(felt[side], `${side} at ${then.snapshot.nowMs}`).toBe(true)
            sinceMs = then.snapshot.nowMs
          }
          // What was before a restart is not remembered, and counts for nothing.
          if (then.before === EMPTY_MEMORY) break
        }
        expect(now - sinceMs).toBeGreaterThanOrEqual(dwellMs)
      }
    })
  })

  it('tells whole numbers within their bounds (I16), and nothing new without readings (I17)', () => {
    forAllHistories((lived, history) => {
      const config = configFor(history)
      for (const { decision, snapshot, before } of lived) {
        const { signals } = decision
        if (heat(snapshot, config) === undefined) {
          expect(signals).toEqual(before.signals.signals)
          continue
        }
        if (signals === undefined) throw new Error('nothing is told')
        const { score, cpuUsedPermyriad, memoryUsedPermyriad, headroomMilli, headroomBytes } = signals
        for (const amount of [score, cpuUsedPermyriad, memoryUsedPermyriad, headroomMilli, headroomBytes]) {
          expect(Number.isSafeInteger(amount), JSON.stringify(signals)).toBe(true)
          expect(amount).toBeGreaterThanOrEqual(0)
        }
        expect(score).toBeLessThanOrEqual(100)
        expect(Math.max(cpuUsedPermyriad, memoryUsedPermyriad)).toBeLessThanOrEqual(10_000)
        expect(signals.hot).toBe(signals.reason !== 'WithinWatermarks')
      }
    })
  })

  it('finds fault with listed pods that have not ended only, and with each that runs as other than its label says (I18)', () => {
    forAllHistories((lived) => {
      for (const { decision } of lived) {
        const running = decision.pods.filter(({ reading: { spec } }) => spec.phase !== 'Succeeded' && spec.phase !== 'Failed')
        const uids = new Set(running.map(({ reading }) => reading.spec.uid))
        for (const { uid } of decision.findings) expect(uids.has(uid)).toBe(true)
        expect(new Set(decision.findings.map((one) => JSON.stringify(one))).size).toBe(decision.findings.length)
        for (const { reading, qosClass } of running) {
          const label = reading.spec.labels['kube-agent.io/qos-class']
          const codes = decision.findings.filter(({ uid }) => uid === reading.spec.uid).map(({ code }) => code)
          if (label !== undefined && label !== qosClass) expect(codes, label).not.toEqual([])
        }
      }
    })
  })
})

const claims = fc
  .tuple(rawTree, rawWishes, fc.array(fc.constantFrom(...RULES), { minLength: 20, maxLength: 20 }))
  .map(([raw, wishes, rules]): Claim[] => {
    const tree = treeOf(raw)
    return wishes.map((wish, index) => ({
      ...settingOf(wish, tree.kernel),
      group: `/g${wish.group % 3}`,
      rule: rules[index] ?? 'limits',
      because: { code: 'identity.idle', qosClass: 'OT' },
    }))
  })

const shownClaim = (claim: Claim): string => JSON.stringify([claim.group, claim.kind, claim.value, claim.rule])

describe('merge', () => {
  it('keeps every claim, as winner or as loser, and has one value for a knob (I2)', () => {
    fc.assert(
      fc.property(claims, (all) => {
        const kept = [...merge(all).entries()].flatMap(([, , { winner, losers }]) => [winner, ...losers])
        expect(kept.map(shownClaim).sort()).toEqual(all.map(shownClaim).sort())
        for (const [group, kind, { winner, setting }] of merge(all).entries()) {
          expect([winner.group, winner.kind, setting.value]).toEqual([group, kind, winner.value])
        }
      }),
    )
  })

  it('resolves to the same value whatever the order of claims, but for equal claims of one rule (I1)', () => {
    fc.assert(
      fc.property(claims, fc.nat(), (all, turn) => {
        const turned = [...all.slice(turn % (all.length + 1)), ...all.slice(0, turn % (all.length + 1))].reverse()
        const other = merge(turned)
        for (const [group, kind, { winner }] of merge(all).entries()) {
          const against = other.get(group, kind)?.winner
          // One rule makes one claim on a knob; two of one rank are told apart by nothing.
          if (against?.rule === winner.rule) continue
          expect(against, `${group} ${kind}`).toEqual(winner)
        }
      }),
    )
  })

  it('takes the least quota and the least memory limit (I11)', () => {
    fc.assert(
      fc.property(claims, (all) => {
        for (const [, , { winner, losers }] of merge(all).entries()) {
          for (const loser of losers) {
            if (isQuota(winner.value) && isQuota(loser.value))
              expect(quotaMilliCpu(winner.value)).toBeLessThanOrEqual(quotaMilliCpu(loser.value))
            if (winner.kind === 'memoryMax' && loser.kind === 'memoryMax')
              expect(winner.value ?? 0).toBeLessThanOrEqual(loser.value ?? 0)
          }
        }
      }),
    )
  })

  it('orders claims totally: the winner of three is the winner against each of the others', () => {
    fc.assert(
      fc.property(claims, (all) => {
        for (const [, , { winner, losers }] of merge(all).entries()) {
          for (const loser of losers) {
            const [[, , pair] = []] = [...merge([loser, winner]).entries()]
            if (loser.rule !== winner.rule) expect(pair?.winner).toBe(winner)
          }
        }
      }),
    )
  })
})

describe('compareWidth', () => {
  it('is antisymmetric and transitive for every kind, and partial for cpusets only', () => {
    fc.assert(
      fc.property(
        rawTree,
        fc.tuple(rawWish, rawWish, rawWish),
        fc.constantFrom('quota', 'weight', 'memoryMax', 'cpuset', 'idle'),
        (raw, wishes, kind) => {
          const { kernel } = treeOf(raw)
          const [a, b, c] = wishes.map((wish) => settingOf({ ...wish, kind }, kernel)) as [KnobSetting, KnobSetting, KnobSetting]
          const sign = (x: KnobSetting, y: KnobSetting): number => Math.sign(compareWidth(x, y.value))
          if (kind !== 'cpuset') expect(sign(a, b)).not.toBeNaN()
          expect(sign(a, b)).toBe(-sign(b, a) + 0)
          expect(sign(a, a)).toBe(0)
          if (sign(a, b) > 0 && sign(b, c) > 0) expect(sign(a, c)).toBe(1)
        },
      ),
      { numRuns: 1000 },
    )
  })

  it('knows every kind of knob', () => {
    for (const kind of KNOB_KINDS) {
      const [setting] = PAIRS[kind]
      expect(setting).toMatchObject({ kind })
      if (setting !== undefined) expect(compareWidth(setting, setting.value)).toBe(0)
    }
  })
})
