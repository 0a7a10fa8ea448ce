/**
 * The loop body as a whole on the simulated node: slow writes beside it, when the guard calls for a tick, and what it hands to the evictor
 * and the sensor. Time is virtual; the real loop is in loop.test.ts.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Agent } from '../../../src/agent/index.ts'
import type { Config } from '../../../src/config/index.ts'
import type { EvictionsView, EvictionWish, Evictor, Outcome } from '../../../src/model/index.ts'
import { NO_EVICTIONS } from '../../../src/model/index.ts'
import { Sensor } from '../../../src/sense/index.ts'
import { ModelKernel, SimNode } from '../../../src/sim/index.ts'
import { configOf, DEFAULTS } from '../../support/config.ts'
import { MIB } from '../../support/settings.ts'
import { SimulatedAgent } from '../../support/simulated-agent.ts'
import { GIB, type PodLiteral, specOf, topologyOf } from '../../support/snapshots.ts'

const BE: PodLiteral = { uid: 'be', asks: { 'be-cpu': 60, 'be-memory': 8 } }
const OT: PodLiteral = { uid: 'ot', asks: { 'ot-cpu': 40, 'ot-memory': 8 } }
const LS: PodLiteral = { uid: 'ls', qos: 'Burstable', requestsMilli: 4000 }

let directory: string
let sim: SimulatedAgent | undefined

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'kube-agent-loop-'))
})

afterEach(() => {
  sim?.end()
  sim = undefined
  rmSync(directory, { recursive: true, force: true })
})

function begin(config: Config, evictor?: Evictor): SimulatedAgent {
  const begun = new SimulatedAgent({ dialect: 'v2', directory, config, ...(evictor === undefined ? {} : { evictor }) })
  sim = begun
  for (const pod of [BE, OT, LS]) begun.node.addPod(specOf(pod))
  begun.node.setDemand('be', 500, 3 * GIB)
  begun.node.setDemand('ot', 500, 3 * GIB)
  begun.node.setDemand('ls', 500)
  return begun
}

const outcomes = ({ records }: SimulatedAgent, kind: string): [uid: string, outcome: Outcome['is']][] =>
  records.flatMap(({ results }) =>
    results
      .filter(({ step }) => step.kind === kind)
      .map(({ step, outcome }): [string, Outcome['is']] => [step.group.slice(-2), outcome.is]),
  )

const shortOfMemory = (agent: SimulatedAgent, availablePermyriad: number): void => {
  const { totalBytes } = agent.kernel.memory
  agent.kernel.memory = { totalBytes, availableBytes: (totalBytes * availablePermyriad) / 10_000 }
}

describe('the loop beside a slow write', () => {
  it('goes on ticking, suppresses a spike of the CPU meanwhile, and tells of the write when it has ended', async () => {
    const agent = begin(DEFAULTS)
    await agent.runAsync(3000)
    agent.kernel.slow.hold = true
    shortOfMemory(agent, 1100)
    await agent.runAsync(4000)
    expect(agent.kernel.slow.waiting.map(({ setting }) => setting.kind)).toEqual(['memoryHigh'])
    expect(outcomes(agent, 'memoryHigh')).toEqual([['ot', 'begun']])
    agent.node.setDemand('ls', 6000)
    agent.node.setDemand('be', 8000)
    const from = agent.records.length
    const before = agent.rootMilli
    await agent.runAsync(2000)
    const times = agent.records.slice(from).map(({ snapshot }) => snapshot.nowMs)
    const gaps = times.slice(1).map((at, index) => at - (times[index] ?? 0))
    expect(Math.max(...gaps)).toBeLessThanOrEqual(DEFAULTS.loop.hotMs)
    expect(times.length).toBeGreaterThanOrEqual(2000 / DEFAULTS.loop.hotMs - 1)
    expect(agent.rootMilli).toBeLessThan(before)
    expect(agent.kernel.slow.waiting).toHaveLength(1)
    agent.kernel.slow.finish()
    await agent.runAsync(2 * DEFAULTS.loop.guardMs)
    expect(outcomes(agent, 'memoryHigh')).toEqual([
      ['ot', 'begun'],
      ['ot', 'applied'],
    ])
    expect(agent.failures).toEqual([])
  })

  it('does not lose what became of it to ticks that fail', async () => {
    const agent = begin(DEFAULTS)
    await agent.runAsync(3000)
    agent.kernel.slow.hold = true
    shortOfMemory(agent, 1100)
    await agent.runAsync(4000)
    agent.kernel.slow.finish()
    const { memory } = agent.kernel
    agent.kernel.readNodeMemory = () => {
      throw new Error('a bug in a sensor')
    }
    await agent.runAsync(100)
    expect(agent.failures.length).toBeGreaterThan(0)
    expect(outcomes(agent, 'memoryHigh')).toEqual([['ot', 'begun']])
    agent.kernel.readNodeMemory = () => memory
    await agent.runAsync(100)
    expect(outcomes(agent, 'memoryHigh')).toEqual([
      ['ot', 'begun'],
      ['ot', 'applied'],
    ])
  })
})

const ticksIn = (agent: SimulatedAgent, ms: number, onBeat?: () => void): number => {
  const from = agent.records.length
  agent.run(ms, onBeat)
  return agent.records.length - from
}

/** What the hot pace comes to in so long. */
const hotTicks = (ms: number): number => ms / DEFAULTS.loop.hotMs

describe('the guard', () => {
  it('calls for a tick on the first beat of a spike, in calm and while hot, and not on every beat of what lasts', () => {
    const agent = begin(DEFAULTS)
    const beatMs = DEFAULTS.loop.guardMs
    agent.run(10_000)
    while (ticksIn(agent, beatMs) === 0);
    expect(agent.isHot).toBe(false)
    // Less than the low watermark, and a quarter of the CPUs more than before.
    agent.node.setDemand('ls', 2500)
    expect([ticksIn(agent, beatMs), agent.isHot]).toEqual([1, true])
    expect(agent.records.at(-1)?.decision.suppression?.inputs.onlineMilli).toBeGreaterThan(2400)
    // The next tick is two beats away.
    while (ticksIn(agent, beatMs) === 0);
    agent.node.setDemand('ls', 5000)
    expect(ticksIn(agent, beatMs)).toBe(1)
    const { hotMs } = DEFAULTS.loop
    expect(ticksIn(agent, 500)).toBeLessThanOrEqual(500 / hotMs + 1)
  })

  it('finds a quiet node calm', () => {
    const agent = begin(DEFAULTS)
    agent.run(10_000)
    expect(ticksIn(agent, 5000)).toBe(5)
    expect(agent.isHot).toBe(false)
  })

  it('calls for a tick on the next beat when online work waits for CPU, and goes on at the hot pace, not at every beat', () => {
    const agent = begin(configOf({ cpuNarrow: { enabled: false } }))
    const stalls = { cpu: 0, memory: 0, io: 0 }
    agent.kernel.groupPressureUs = new Map([['/kubepods/burstable', stalls]])
    agent.run(10_000)
    while (ticksIn(agent, DEFAULTS.loop.guardMs) === 0);
    const stall = (): void => void (stalls.cpu += DEFAULTS.loop.guardMs * 1000 * 0.5)
    expect(ticksIn(agent, 500, stall)).toBeGreaterThan(1)
    const ticks = ticksIn(agent, 5000, stall)
    expect(ticks).toBeGreaterThanOrEqual(hotTicks(5000) - 1)
    expect(ticks).toBeLessThanOrEqual(hotTicks(5000) + 6)
  })

  it('does not look at pressure while the guard against it is off', () => {
    const agent = begin(configOf({ pressure: { enabled: false } }))
    const stalls = { cpu: 0, memory: 0, io: 0 }
    agent.kernel.groupPressureUs = new Map([['/kubepods/burstable', stalls]])
    agent.run(10_000)
    expect(ticksIn(agent, 5000, () => void (stalls.cpu += DEFAULTS.loop.guardMs * 500))).toBe(5)
  })

  it('calls for a tick when memory gets as short as the first rung, and stays hot for as long as a rung is in force', () => {
    const agent = begin(DEFAULTS)
    agent.run(10_000)
    shortOfMemory(agent, 1501)
    expect(ticksIn(agent, 3000)).toBe(3)
    shortOfMemory(agent, 1500)
    const ticks = ticksIn(agent, 5000)
    expect(ticks).toBeGreaterThanOrEqual(hotTicks(5000) - 3)
    expect(ticks).toBeLessThanOrEqual(hotTicks(5000) + 6)
    expect(agent.records.at(-1)?.decision.memory?.ladder.inForce).toContain('memoryHold')
    // Above the bound again: the way back is waited for, and nothing is to be taken.
    shortOfMemory(agent, 1600)
    expect(ticksIn(agent, 5000)).toBeGreaterThanOrEqual(hotTicks(5000) / 8 - 3)
    shortOfMemory(agent, 7000)
    agent.run(60_000)
    expect(agent.isHot).toBe(false)
    expect(ticksIn(agent, 5000)).toBe(5)
  })

  it('looks at the rungs that are switched on only, also after a reload', () => {
    const agent = begin(DEFAULTS)
    agent.run(10_000)
    agent.reconfigure(configOf({ suppressMemory: { enabled: false } }))
    shortOfMemory(agent, 1400)
    expect(ticksIn(agent, 3000)).toBe(3)
    agent.reconfigure(configOf({ memoryHold: { enabled: false } }))
    expect(ticksIn(agent, 3000)).toBe(3)
    shortOfMemory(agent, 1200)
    expect(ticksIn(agent, 3000)).toBeGreaterThanOrEqual(hotTicks(3000) - 3)
  })

  it('that fails is told of once, and ticks go on at their pace', () => {
    const agent = begin(DEFAULTS)
    agent.run(5000)
    const read = agent.kernel.readNodeCpuUs.bind(agent.kernel)
    let isBroken = true
    agent.kernel.readNodeCpuUs = () => {
      if (isBroken) throw new Error('a bug in a sensor')
      return read()
    }
    agent.run(900)
    const failures = agent.failures.length
    expect(failures).toBeGreaterThan(0)
    expect(failures).toBeLessThanOrEqual(3)
    isBroken = false
    agent.run(3000)
    expect(agent.failures).toHaveLength(failures)
    expect(agent.beats).toBeGreaterThan(0)
  })
})

describe('a node without offline pods', () => {
  const reads = (agent: SimulatedAgent, ms: number): number => {
    let count = 0
    const read = agent.kernel.readNodeCpuUs.bind(agent.kernel)
    agent.kernel.readNodeCpuUs = () => {
      count += 1
      return read()
    }
    agent.run(ms)
    agent.kernel.readNodeCpuUs = read
    return count
  }

  it('is looked at once a calm pause, on a tenth of the beats where an offline pod rests, and on every beat when it works', () => {
    const agent = new SimulatedAgent({ dialect: 'v2', directory, config: DEFAULTS })
    sim = agent
    agent.node.addPod(specOf(LS))
    agent.node.setDemand('ls', 500)
    agent.run(3000)
    expect(reads(agent, 5000)).toBeLessThanOrEqual(6)
    agent.node.setDemand('ls', 7500)
    expect(reads(agent, 2000)).toBeLessThanOrEqual(42)
    agent.node.addPod(specOf(BE))
    agent.run(100)
    agent.node.setDemand('ls', 500)
    agent.run(5000)
    const resting = reads(agent, 5000)
    expect(resting).toBeGreaterThanOrEqual(5000 / DEFAULTS.loop.guardMs / 10 - 1)
    expect(resting).toBeLessThanOrEqual(5000 / DEFAULTS.loop.guardMs / 10 + 10)
    agent.node.setDemand('be', 500)
    agent.run(1000)
    expect(reads(agent, 5000)).toBeGreaterThanOrEqual(5000 / DEFAULTS.loop.guardMs - 1)
  })
})

describe('evictions', () => {
  it('are handed over as they were decided, after the writes of the tick, and the view of them is in the snapshot', () => {
    const asked: { readonly wishes: readonly EvictionWish[]; readonly writes: number }[] = []
    const seen: EvictionsView = { recent: [], counts: { ...NO_EVICTIONS.counts, evicted: 7 } }
    const evictor: Evictor = {
      evict: (wishes) => asked.push({ wishes, writes: sim?.kernel.writes.length ?? 0 }),
      view: () => seen,
    }
    const agent = begin(configOf({ evict: { enabled: true } }), evictor)
    agent.run(3000)
    expect(agent.records.at(-1)?.snapshot.evictions).toBe(seen)
    expect(asked).toHaveLength(agent.records.length)
    expect(asked[0]?.writes).toBe(agent.records[0]?.results.length)
    expect(asked.every(({ wishes }, index) => wishes === agent.records[index]?.decision.evictions)).toBe(true)
    shortOfMemory(agent, 300)
    agent.run(60_000)
    expect(asked.flatMap(({ wishes }) => wishes.map(({ uid }) => uid))).toContain('ot')
  })

  it('without an evictor are said to be impossible', () => {
    const agent = begin(configOf({ evict: { enabled: true } }))
    agent.run(1000)
    expect(agent.records.at(-1)?.snapshot.evictions).toBe(NO_EVICTIONS)
  })
})

describe('the sensor', () => {
  it('is told which devices and which span of time the rules ask for, and again on a reload', () => {
    const kernel = new ModelKernel({ dialect: 'v2', topology: topologyOf('desktop') })
    const node = new SimNode(kernel)
    const sensor = new Sensor({ kernel, pods: node, layout: node.layout, windowMs: 100 })
    const config = configOf({
      suppressIo: { enabled: true, devices: ['sda'], onlineDevices: ['sdb'], offlineDevices: ['sdc'], readBps: 10 * MIB },
      pressure: { cutMs: 300 },
    })
    const agent = new Agent({
      kernel,
      sensor,
      config,
      mode: 'observe',
      sink: { tick: () => undefined, tickFailed: () => undefined, guardBeat: () => undefined },
      stopwatch: () => 0,
    })
    expect([...sensor.deviceNames].sort()).toEqual(['sda', 'sdb', 'sdc'])
    expect(sensor.pressureMs).toBe(300)
    agent.reconfigure(DEFAULTS)
    expect(sensor.deviceNames).toEqual([])
    expect(sensor.pressureMs).toBe(DEFAULTS.pressure.cutMs)
  })
})
