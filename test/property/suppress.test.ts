/**
 * What always holds of suppression of CPU beyond the allowance (I34 to I47 of src/decide/SPEC.md), over random histories of a node: pressure,
 * steadiness, rungs. The ladder by itself is in ladder.test.ts, the arithmetic of single ticks in test/unit/decide.
 */
import { describe, expect, it } from 'vitest'
import { CpuSet } from '../../src/cpu/index.ts'
import { decide } from '../../src/decide/index.ts'
import { isOffline, isQuota, quotaMilliCpu } from '../../src/model/index.ts'
import { configFor, forLongHistories, type Lived } from '../support/histories.ts'
import { OFFLINE_ROOT, snapshotOf } from '../support/snapshots.ts'

/** The allowance before this tick, within today's bounds; undefined on the first tick of a life. */
function previousMilli({ before, decision }: Lived): number | undefined {
  const { suppression, placement } = decision
  if (suppression === undefined || before.suppress.allowance === undefined) return undefined
  const capMilli = placement.bestEffort.size * 1000
  return Math.min(capMilli, Math.max(Math.min(suppression.inputs.floorMilli, capMilli), before.suppress.allowance.milli))
}

describe('pressure', () => {
  it('cuts on young readings above the bound only, once in cutMs, by no more than cutPermyriad, never below the floor (I34)', () => {
    let cuts = 0
    forLongHistories((lived, history) => {
      const { cutMs, cutPermyriad } = configFor(history).pressure
      let cutAtMs = -Infinity
      for (const one of lived) {
        const { decision, memory, snapshot } = one
        if (Object.keys(one.before.suppress).length === 0) cutAtMs = -Infinity
        const now = decision.suppression
        const cut = memory.suppress.pressure?.cutAtMs
        if (now === undefined || cut !== snapshot.nowMs) continue
        cuts += 1
        expect(snapshot.nowMs - cutAtMs).toBeGreaterThanOrEqual(cutMs)
        cutAtMs = snapshot.nowMs
        expect(now.pressure?.is).toBe('cut')
        expect(now.pressure?.permyriad).toBeGreaterThan(now.pressure?.boundPermyriad ?? Infinity)
        const reading = snapshot.online.cpuPressure ?? snapshot.node.runQueue
        expect(snapshot.nowMs - (reading?.atMs ?? -Infinity)).toBeLessThanOrEqual(2000)
        const previous = previousMilli(one)
        if (now.bound !== 'pressure' || previous === undefined) continue
        const leastMilli = Math.min(now.inputs.floorMilli, decision.placement.bestEffort.size * 1000)
        expect(now.allowanceMilli).toBe(Math.max(leastMilli, Math.floor((previous * cutPermyriad) / 10_000)))
      }
    })
    expect(cuts).toBeGreaterThan(10)
  })

  it('lets nothing grow while online work waits or its source is silent, unless that has proved futile (I35)', () => {
    let held = 0
    forLongHistories((lived) => {
      for (const one of lived) {
        const now = one.decision.suppression
        const previous = previousMilli(one)
        if (now?.pressure === undefined || previous === undefined) continue
        if (now.pressure.is !== 'cut' && now.pressure.is !== 'hold') continue
        held += 1
        expect(now.allowanceMilli).toBeLessThanOrEqual(previous)
        const { otAllowance } = one.before.suppress
        const otFloor = Math.max(1, Math.floor(now.inputs.capacityMilli / 100))
        expect(now.otAllowanceMilli).toBeLessThanOrEqual(Math.max(otFloor, otAllowance?.milli ?? otFloor))
      }
    })
    expect(held).toBeGreaterThan(50)
  })

  it('decides nothing about CPU by the pressure of the whole node (I36)', () => {
    forLongHistories((lived, history) => {
      const last = lived.at(-1)
      if (last === undefined) return
      const snapshot = snapshotOf(last.literal)
      const cpuPressure = { value: { someUsPerSecond: 900_000 }, atMs: snapshot.nowMs, source: 'test' }
      const stalled = { ...snapshot, node: { ...snapshot.node, cpuPressure } }
      const again = decide(stalled, last.before, configFor(history)).decision
      expect(again.suppression).toEqual(last.decision.suppression)
    }, 60)
  })

  it('stands aside only after futileMs of waiting at the floor in all, and from no more than that waiting and the bound (I37)', () => {
    let times = 0
    forLongHistories((lived, history) => {
      const { futileMs } = configFor(history).pressure
      for (const [index, one] of lived.entries()) {
        const now = one.decision.suppression?.pressure
        if (now?.is !== 'futile') continue
        times += 1
        const exit = now.source === 'run queue' ? now.boundPermyriad / 2 : 1000
        expect(now.permyriad).toBeGreaterThanOrEqual(exit)
        // Of this life and source: from each tick that finds the floor and waiting to the next.
        let flooredMs = 0
        let most = 0
        let newerMs = one.snapshot.nowMs
        for (const { before, decision, snapshot } of lived.slice(0, index + 1).toReversed()) {
          const then = decision.suppression
          if (then?.pressure?.source === now.source && then.pressure.permyriad >= exit) {
            flooredMs += newerMs - snapshot.nowMs
            most = Math.max(most, then.pressure.permyriad)
          }
          newerMs = snapshot.nowMs
          if (Object.keys(before.suppress).length === 0) break
        }
        expect(flooredMs).toBeGreaterThanOrEqual(futileMs)
        expect(now.permyriad).toBeLessThanOrEqual(most + now.boundPermyriad)
      }
    })
    expect(times).toBeGreaterThan(0)
  })
})

describe('steadiness', () => {
  it('keeps the dwell time in force between what is configured and mostDwellMs, and says when it is longer (I38)', () => {
    let swings = 0
    forLongHistories((lived, history) => {
      const { suppressCpu, steady } = configFor(history)
      for (const { decision, memory } of lived) {
        if (decision.suppression === undefined) continue
        const { dwellMs, swings: says } = decision.suppression.steadiness
        expect(dwellMs).toBeGreaterThanOrEqual(suppressCpu.dwellMs)
        expect(dwellMs).toBeLessThanOrEqual(steady.mostDwellMs)
        expect(says).toBe(dwellMs > suppressCpu.dwellMs)
        expect(memory.suppress.steadiness?.turnedMs.length).toBeLessThan(steady.turns)
        swings += Number(says)
      }
    })
    expect(swings).toBeGreaterThan(0)
  })
})

describe('the rungs of CPU', () => {
  it('are climbed with the allowance at its floor only, by fresh readings that pass a threshold (I42, I43)', () => {
    const climbs = { cpuNarrow: 0, cpuFreeze: 0, cpuEvict: 0 }
    forLongHistories((lived, history) => {
      const config = configFor(history)
      for (const { decision, before, snapshot } of lived) {
        const now = decision.suppression
        if (now === undefined) continue
        const was = before.suppress.rungs?.ladder.inForce ?? []
        const silent = decision.abstentions.some(({ rule, code }) => rule === 'suppressCpu' && code === 'silent')
        const nodePermyriad = (now.inputs.nodeMilli * 10_000) / now.inputs.capacityMilli
        if (now.bound === 'stale') expect(now.ladder.inForce).toEqual(was)
        for (const name of now.ladder.inForce) {
          if (was.includes(name)) continue
          climbs[name] += 1
          expect(now.allowanceMilli).toBe(Math.min(now.inputs.floorMilli, decision.placement.bestEffort.size * 1000))
          const full = nodePermyriad >= config[name].enterPermyriad
          const waits = !silent && (now.pressure?.permyriad ?? 0) > (now.pressure?.boundPermyriad ?? Infinity)
          expect(full || waits).toBe(true)
          if (name === 'cpuEvict') expect(config.evict.enabled && snapshot.evictions.impossible === undefined).toBe(true)
        }
      }
    })
    expect(Math.min(...Object.values(climbs))).toBeGreaterThan(0)
  })

  it('narrow offline pods to CPUs that they may use, never to none, to the same ones while they stay, and nobody else (I44)', () => {
    let narrowed = 0
    forLongHistories((lived) => {
      for (const { decision, before, memory } of lived) {
        const { bestEffort, dedicated } = decision.placement
        const inForce = decision.suppression?.ladder.inForce.includes('cpuNarrow') === true
        const { narrowed: cpus } = memory.suppress.rungs ?? {}
        expect(cpus !== undefined).toBe(inForce || (decision.suppression === undefined && cpus !== undefined))
        const kept = before.suppress.rungs?.narrowed
        if (inForce && kept?.isSubsetOf(bestEffort) === true && !bestEffort.overlaps(dedicated)) expect(cpus).toEqual(kept)
        const offline = new Set(
          decision.pods
            .filter(({ qosClass, reading }) => isOffline(qosClass) && reading.present)
            .flatMap(({ reading }) => [reading.group, ...reading.childGroups]),
        )
        for (const [group, kind, { winner, losers }] of decision.desired.entries()) {
          for (const { rule, value } of kind === 'cpuset' ? [winner, ...losers] : []) {
            if (rule !== 'suppressCpu' || !(value instanceof CpuSet)) continue
            narrowed += 1
            expect([inForce, value.isEmpty, value.isSubsetOf(bestEffort), offline.has(group)]).toEqual([true, false, true, true])
            expect(winner.rule).toBe('suppressCpu')
          }
        }
      }
    })
    expect(narrowed).toBeGreaterThan(20)
  })

  it('freeze OT pods only, and only where the kernel can (I45)', () => {
    let frozen = 0
    forLongHistories((lived) => {
      for (const { decision, snapshot } of lived) {
        for (const [group, kind] of decision.desired.entries()) {
          if (kind !== 'freeze') continue
          frozen += 1
          expect(snapshot.capabilities.knobs.freeze.usable).toBe(true)
          expect(decision.suppression?.ladder.inForce).toContain('cpuFreeze')
          const pod = decision.pods.find(({ reading }) => reading.group === group)
          expect([pod?.qosClass, pod?.reading.present]).toEqual(['OT', true])
        }
      }
    })
    expect(frozen).toBeGreaterThan(10)
  })

  it('evict nobody while anything is sold beyond what is allocated, nor for CPU with more than the floor allowed (I46, I69)', () => {
    let wishes = 0
    forLongHistories((lived, history) => {
      const { exitPermyriad } = configFor(history).cpuEvict
      for (const { decision } of lived) {
        wishes += decision.evictions.length
        if (decision.evictions.length === 0) continue
        for (const { units, because } of decision.offers) expect(units).toBe(because.allocatedUnits)
        const now = decision.suppression
        if (now === undefined || decision.evictions.every(({ rung }) => rung !== 'cpuEvict')) continue
        expect(now.allowanceMilli).toBe(Math.min(now.inputs.floorMilli, decision.placement.bestEffort.size * 1000))
        const isFull = now.inputs.nodeMilli * 10_000 >= exitPermyriad * now.inputs.capacityMilli - now.inputs.capacityMilli
        expect(isFull || now.pressure?.is === 'cut' || now.pressure?.is === 'hold').toBe(true)
      }
    })
    expect(wishes).toBeGreaterThan(0)
  })
})

describe('a node that was never readable', () => {
  it('is at the floor past staleMs, and nothing is widened on it (I47)', () => {
    let blind = 0
    forLongHistories((lived) => {
      for (const { decision, memory, snapshot } of lived) {
        const { measured } = memory.suppress
        if (measured === undefined || measured.inputs !== undefined) continue
        const waitedMs = snapshot.nowMs - (measured.waitingSinceMs ?? snapshot.nowMs)
        const now = decision.suppression
        expect(now === undefined).toBe(waitedMs <= 5000)
        if (now === undefined) continue
        blind += 1
        const leastMilli = Math.min(now.inputs.floorMilli, decision.placement.bestEffort.size * 1000)
        expect(now.allowanceMilli).toBe(leastMilli)
        const [standing, claimed] = [
          snapshot.actual.get(OFFLINE_ROOT, 'quota')?.value,
          decision.desired.get(OFFLINE_ROOT, 'quota'),
        ]
        if (!isQuota(standing) || !isQuota(claimed?.setting.value)) continue
        // For online pods below it the root is no limit, and offline ones are held one by one (I79).
        if (claimed.winner.because.code === 'suppress.beside') continue
        expect(quotaMilliCpu(claimed.setting.value)).toBeLessThanOrEqual(Math.max(leastMilli, quotaMilliCpu(standing)))
      }
    })
    expect(blind).toBeGreaterThan(5)
  })
})
