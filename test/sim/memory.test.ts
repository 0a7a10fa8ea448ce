/**
 * Memory as a closed loop: offline pods that leak on a node of 64 GiB climb the ladder rung by rung, online work never pays for it, and when the
 * leak is over everything comes back. Writes that reclaim run beside the loop, so these lives are asynchronous.
 */
import * as fc from 'fast-check'
import { describe, expect, it, vi } from 'vitest'
import type { Config } from '../../src/config/index.ts'
import type { Dialect, MemoryRung } from '../../src/model/index.ts'
import { configOf, DEFAULTS } from '../support/config.ts'
import { DIALECTS, expectReleased, expectSound, salesStoppedMs } from '../support/closed-loop.ts'
import { withDirectoryAsync } from '../support/journaled-node.ts'
import { MIB } from '../support/settings.ts'
import { SimEvictor, type SimEvictorOptions } from '../support/sim-evictor.ts'
import { SimulatedAgent } from '../support/simulated-agent.ts'
import { GIB, type PodLiteral, specOf } from '../support/snapshots.ts'
import { textOf } from '../support/trees.ts'

// Whole lives: some seconds each, and many times that on a machine that is busy.
vi.setConfig({ testTimeout: 120_000 })

const TOTAL = 64 * GIB
/** Without a memory amount, so that nothing but the ladder holds them. */
const LEAKERS: readonly PodLiteral[] = [
  { uid: 'be', asks: { 'be-cpu': 20 } },
  { uid: 'be2', asks: { 'be-cpu': 20 } },
  { uid: 'ot', asks: { 'ot-cpu': 20 } },
]
const LS: PodLiteral = { uid: 'ls', qos: 'Burstable', requestsMilli: 4000 }
const ONLINE_BYTES = 30 * GIB

interface Setting {
  readonly dialect: Dialect
  readonly config?: Config
  readonly swapBytesPerSecond?: number
  readonly evictor?: SimEvictorOptions
}

async function shortOfMemory(setting: Setting, body: (sim: SimulatedAgent, evictor: SimEvictor) => Promise<void>): Promise<void> {
  const { dialect, config = DEFAULTS, swapBytesPerSecond = 512 * MIB } = setting
  await withDirectoryAsync(async (directory) => {
    const evictor = new SimEvictor(setting.evictor ?? { impossible: 'there is no API server to ask' })
    const sim = new SimulatedAgent({ dialect, directory, config, evictor })
    evictor.serve(sim.node)
    for (const pod of [...LEAKERS, LS]) sim.node.addPod(specOf(pod))
    sim.node.fitMemory({ totalBytes: TOTAL, systemBytes: 2 * GIB, swapBytesPerSecond })
    sim.node.setMemory('ls', { bytes: ONLINE_BYTES, cacheBytes: 2 * GIB })
    for (const { uid } of LEAKERS) sim.node.setMemory(uid, { bytes: 4 * GIB, cacheBytes: 4 * GIB })
    const before = textOf(sim.kernel)
    await sim.runAsync(5000)
    await body(sim, evictor)
    expect(sim.node.heldBytes('ls')).toBe(ONLINE_BYTES)
    expect(evictor.violations).toEqual([])
    expectSound(sim)
    expectReleased(sim, before)
    sim.end()
  })
}

const inForce = (sim: SimulatedAgent): readonly MemoryRung[] => sim.records.at(-1)?.decision.memory?.ladder.inForce ?? []
/** Rungs in the order in which they came into force. */
const climbed = (sim: SimulatedAgent): MemoryRung[] => [
  ...new Set(sim.records.flatMap(({ decision }) => decision.memory?.ladder.inForce ?? [])),
]
const leak = (sim: SimulatedAgent, uid: string, mibPerSecond: number): void =>
  sim.node.setMemory(uid, { bytes: sim.node.heldBytes(uid), leakBytesPerSecond: mibPerSecond * MIB })
const stop = (sim: SimulatedAgent): void => {
  for (const { uid } of LEAKERS) sim.node.setMemory(uid, { bytes: 4 * GIB })
}
const held = (sim: SimulatedAgent, uid: string): unknown =>
  sim.kernel.groups.get(`/kubepods/besteffort/pod${uid}`)?.knobs[
    sim.kernel.capabilities.dialect === 'v2' ? 'memoryHigh' : 'memorySoft'
  ]

describe.each(DIALECTS)('a leak in an offline pod, under %s,', (dialect) => {
  it('climbs the ladder up to reclaim from OT and then BE, never touches online work, and all comes back when it is over', async () => {
    await shortOfMemory({ dialect }, async (sim) => {
      expect(inForce(sim)).toEqual([])
      leak(sim, 'be', 400)
      await sim.runAsync(60_000)
      expect(climbed(sim)).toEqual(['memoryHold', 'memoryHighOt', 'memoryHighBe'])
      expect(sim.records.at(-1)?.decision.offers.every(({ because }) => because.bound === 'hold')).toBe(true)
      expect([held(sim, 'ot'), held(sim, 'be'), held(sim, 'be2')].every((bytes) => typeof bytes === 'number')).toBe(true)
      expect(sim.node.killed.byNode.every((uid) => uid !== 'ls')).toBe(true)
      // Where memory.high holds it back, the leak comes to a stand; a soft limit only says who is reclaimed from first.
      if (dialect === 'v2') expect(sim.kernel.memory.availableBytes).toBeGreaterThan(TOTAL * 0.05)
      stop(sim)
      await sim.runAsync(150_000)
      expect(inForce(sim)).toEqual([])
      expect([held(sim, 'ot'), held(sim, 'be'), held(sim, 'be2')]).toEqual([null, null, null])
      expect(sim.node.heldBytes('be2')).toBe(4 * GIB)
    })
  })

  it('evicts OT pods before BE pods, one at a time, each after the pause, and only after sales were stopped for holdMs', async () => {
    const config = configOf({ evict: { enabled: true } })
    // Without swap there is nothing to reclaim but page cache.
    const setting = { dialect, config, swapBytesPerSecond: 0, evictor: { answerMs: 400, graceMs: 3000 } }
    await shortOfMemory(setting, async (sim, evictor) => {
      sim.node.setMemory('ot', { bytes: 10 * GIB })
      await sim.runAsync(2000)
      sim.node.setMemory('be', { bytes: 14 * GIB })
      await sim.runAsync(60_000)
      expect(evictor.answers.map(({ wish, is }) => [wish.uid, wish.rung, is])).toEqual([['ot', 'memoryEvictOt', 'evicted']])
      expect(salesStoppedMs(sim, evictor)).toBeGreaterThanOrEqual(config.evict.holdMs)
      await sim.runAsync(110_000)
      expect(sim.node.has('ls')).toBe(true)
      expect(inForce(sim)).toEqual([])
    })
  })
})

describe.each(DIALECTS)('whatever offline pods do with memory, under %s,', (dialect) => {
  const life = fc.record({
    leaks: fc.array(
      fc.record({
        uid: fc.constantFrom('be', 'be2', 'ot'),
        mibPerSecond: fc.integer({ min: 0, max: 600 }),
        ms: fc.integer({ min: 2000, max: 30_000 }),
      }),
      { minLength: 1, maxLength: 4 },
    ),
    swapMib: fc.constantFrom(0, 256, 2048),
    graceMs: fc.constantFrom(0, 2000, 20_000),
    blocked: fc.constantFrom('', 'ot', 'be'),
    restartAt: fc.option(fc.nat(3)),
  })

  it('no online pod is killed or evicted, rungs come in order, rates are kept, and the node is as it was afterwards', async () => {
    const config = configOf({ evict: { enabled: true } })
    await fc.assert(
      fc.asyncProperty(life, async ({ leaks, swapMib, graceMs, blocked, restartAt }) => {
        const evictor = { answerMs: 300, graceMs, blocks: (uid: string) => uid === blocked }
        await shortOfMemory({ dialect, config, swapBytesPerSecond: swapMib * MIB, evictor }, async (sim, api) => {
          for (const [index, { uid, mibPerSecond, ms }] of leaks.entries()) {
            leak(sim, uid, mibPerSecond)
            await sim.runAsync(ms)
            if (index !== restartAt) continue
            api.forget()
            sim.restart()
          }
          stop(sim)
          await sim.runAsync(40_000)
          expect(sim.node.killed.byNode).not.toContain('ls')
          expect(sim.node.killed.atLimit).toEqual([])
          const order = climbed(sim)
          expect([...order].sort((a, b) => ORDER.indexOf(a) - ORDER.indexOf(b))).toEqual(order)
          const times = api.requests.filter(({ wish }) => wish.uid !== blocked).map(({ atMs }) => atMs)
          const gaps = times.slice(1).map((at, index) => at - (times[index] ?? 0))
          // A budget's no is not counted; a restart forgets when the last pod went, but has to stop sales for as long first.
          expect(Math.min(Infinity, ...gaps)).toBeGreaterThanOrEqual(restartAt === null ? config.evict.intervalMs : 1000)
        })
      }),
      { numRuns: 6 },
    )
  })
})

const ORDER: readonly MemoryRung[] = ['memoryHold', 'memoryHighOt', 'memoryHighBe', 'memoryEvictOt', 'memoryEvictBe']
