/**
 * Recorded days of real machines as the load of online work, with spikes between the recorded steps (test/support/traces.ts). Of each day some
 * minutes, chosen by the seed, are lived beat by beat under both dialects; one whole day is lived thirty times as fast as it was, at the same
 * beats, which is harder on the agent than the day itself. FAST_CHECK_SEED chooses others.
 */
import * as fc from 'fast-check'
import { describe, expect, it, vi } from 'vitest'
import { DEFAULTS } from '../support/config.ts'
import { CAPACITY_MILLI, DIALECTS, FLOOR_MILLI, onNode, WATERMARK_MILLI, type Watch } from '../support/closed-loop.ts'
import type { SimulatedAgent } from '../support/simulated-agent.ts'
import { randomOf, readTrace, spikesOf, TRACES, type Trace } from '../support/traces.ts'

// Whole lives: some seconds each, and many times that on a machine that is busy.
vi.setConfig({ testTimeout: 120_000 })

const SEED = fc.readConfigureGlobal().seed ?? 0
const MARGIN_MILLI = (CAPACITY_MILLI * DEFAULTS.suppressCpu.marginPermyriad) / 10_000
const MINUTES = 4

interface Lived {
  readonly trace: Trace
  readonly firstStep: number
  readonly stepMs: number
  readonly ms: number
  readonly seed: number
}

/** What of the room below the watermark was used by offline work, 0 to 1. */
function live(sim: SimulatedAgent, watch: Watch, { trace, firstStep, stepMs, ms, seed }: Lived): number {
  const spikes = spikesOf(seed)
  const fromMs = sim.node.nowMs
  const { totalBytes } = sim.kernel.memory
  let roomMilli = 0
  watch.reset()
  watch.run(ms, (nowMs) => {
    const step = (firstStep + Math.floor((nowMs - fromMs) / stepMs)) % trace.cpuPercent.length
    const recorded = (trace.cpuPercent[step] ?? 0) / 100
    const milli = Math.min(1, recorded + spikes(nowMs - fromMs)) * CAPACITY_MILLI
    roomMilli += Math.max(0, WATERMARK_MILLI - MARGIN_MILLI - milli)
    sim.node.setDemand('ls', milli)
    const free = 1 - (trace.memoryPercent?.[step] ?? 25) / 100
    if (stepMs === trace.stepMs) sim.kernel.memory = { totalBytes, availableBytes: totalBytes * free }
  })
  const { withOffline, online } = watch.use
  return ((withOffline - online) / 10_000) * CAPACITY_MILLI * (watch.beats / roomMilli)
}

function expectKept(sim: SimulatedAgent, watch: Watch): void {
  expect(watch.mostOverMilli, 'offline work, in milli-CPU, beyond what it may have').toBeLessThanOrEqual(1)
  expect(watch.leastRootMilli).toBeGreaterThanOrEqual(FLOOR_MILLI - 1)
  expect(sim.records.every(({ decision }) => decision.evictions.length === 0)).toBe(true)
}

function tell(what: string, watch: Watch, part: number): void {
  const { withOffline, online } = watch.use
  const percent = (share: number): string => `${Math.round(share * 1000) / 10} %`
  process.stdout.write(
    `${what}: node ${percent(withOffline / 10_000)} used, ${percent(online / 10_000)} by online work; ` +
      `offline work had ${percent(part)} of the room; ${watch.turns} turns\n`,
  )
}

describe.each(DIALECTS)('recorded load under %s', (dialect) => {
  it.each(TRACES)(
    '%s: offline work makes way in time, keeps its floor, and the room is used',
    (name) => {
      const trace = readTrace(name)
      const random = randomOf(SEED + TRACES.indexOf(name) * 2 + DIALECTS.indexOf(dialect))
      const firstStep = Math.floor(random() * trace.cpuPercent.length)
      const seed = Math.floor(random() * 2 ** 32)
      onNode({ dialect, quietMs: 6000, keep: 200 }, (sim, watch) => {
        const part = live(sim, watch, { trace, firstStep, stepMs: trace.stepMs, ms: MINUTES * 60_000, seed })
        tell(`${name} from step ${firstStep} under ${dialect}`, watch, part)
        expectKept(sim, watch)
        // Every spike costs the dwell time and the way back up.
        expect(part).toBeGreaterThan(0.6)
        expect(watch.turns).toBeLessThanOrEqual(MINUTES * 12)
      })
    },
    60_000,
  )
})

describe('a whole recorded day', () => {
  it('thirty times as fast, costs neither the bound nor the floor, and the room is still used', () => {
    const trace = readTrace('alibaba2018-cluster-day4-30s')
    onNode({ dialect: 'v2', quietMs: 6000, keep: 200 }, (sim, watch) => {
      const stepMs = trace.stepMs / 30
      const ms = trace.cpuPercent.length * stepMs
      const part = live(sim, watch, { trace, firstStep: 0, stepMs, ms, seed: SEED })
      tell('a whole day, thirty times as fast', watch, part)
      expectKept(sim, watch)
      expect(part).toBeGreaterThan(0.6)
      expect(watch.turns).toBeLessThanOrEqual((ms / 60_000) * 12)
    })
  })
})
