/**
 * The agent on a simulated node as a closed loop: a node of 8 CPUs with one online service and hungry offline pods, watched on every beat. What is
 * judged is what the node did, not what the agent says it did.
 */
import { expect } from 'vitest'
import type { Config } from '../../src/config/index.ts'
import type { Dialect } from '../../src/model/index.ts'
import { isQuota, isSuccess, quotaMilliCpu } from '../../src/model/index.ts'
import { DEFAULTS } from './config.ts'
import { withDirectory } from './journaled-node.ts'
import type { SimEvictor } from './sim-evictor.ts'
import { SimulatedAgent, type SimulatedAgentOptions } from './simulated-agent.ts'
import { OFFLINE_ROOT, type PodLiteral, specOf } from './snapshots.ts'
import { textOf } from './trees.ts'

export const DIALECTS: readonly Dialect[] = ['v1', 'v2']
export const CAPACITY_MILLI = 8000
/** Up to which offline work may fill the node, and what it keeps. */
export const WATERMARK_MILLI = (CAPACITY_MILLI * DEFAULTS.suppressCpu.watermarkPermyriad) / 10_000
export const FLOOR_MILLI = (CAPACITY_MILLI * DEFAULTS.suppressCpu.floorPermyriad) / 10_000
export const OT_FLOOR_MILLI = (CAPACITY_MILLI * DEFAULTS.suppressCpu.otFloorPermyriad) / 10_000

/** Asks for more than there is, so that what holds them back is suppression alone. */
export const BE: PodLiteral = { uid: 'be', asks: { 'be-cpu': 80 } }
export const OT: PodLiteral = { uid: 'ot', asks: { 'ot-cpu': 80 } }
export const LS: PodLiteral = { uid: 'ls', qos: 'Burstable', requestsMilli: 4000 }

export interface LoopLiteral extends Partial<SimulatedAgentOptions> {
  readonly dialect: Dialect
  readonly config?: Config
  readonly pods?: readonly PodLiteral[]
  readonly lsMilli?: number
  /** How long the node has been quiet when the body begins. @default 15 s */
  readonly quietMs?: number
}

/** What no scenario may bring about. */
export function expectSound(sim: SimulatedAgent): void {
  expect(sim.failures).toEqual([])
  const bad = sim.records.flatMap(({ results }) =>
    results.filter(({ outcome }) => !isSuccess(outcome) && outcome.is !== 'vanished' && outcome.is !== 'begun'),
  )
  expect(bad).toEqual([])
}

/** A node on which offline work has all there is, and then what `body` makes of it. Judges the sum of it at the end. */
export function onNode(literal: LoopLiteral, body: (sim: SimulatedAgent, watch: Watch) => void): void {
  const { pods = [BE, OT, LS], lsMilli = 1000, quietMs = 15_000, config = DEFAULTS } = literal
  withDirectory((directory) => {
    const sim = new SimulatedAgent({ directory, ...literal, config })
    for (const pod of pods) sim.node.addPod(specOf(pod))
    for (const { uid, qos } of pods) sim.node.setDemand(uid, qos === undefined ? CAPACITY_MILLI : lsMilli)
    const before = textOf(sim.kernel)
    const watch = new Watch(sim)
    try {
      sim.run(quietMs)
      body(sim, watch)
      expectSound(sim)
      expectReleased(sim, before)
    } finally {
      sim.end()
    }
  })
}

/** After release the tree is byte for byte as it was, as far as it is still there. */
export function expectReleased(sim: SimulatedAgent, before: Readonly<Record<string, string>>): void {
  const report = sim.release()
  expect([report?.failed, report?.foreign]).toEqual([[], []])
  const after = textOf(sim.kernel)
  const expected = Object.fromEntries(Object.entries(before).filter(([knob]) => knob in after))
  expect(after).toEqual(expected)
}

/** For how long nothing had been for sale without a break when the first pod was asked to go; Infinity if none was. In ms. */
export function salesStoppedMs({ records }: SimulatedAgent, { requests }: SimEvictor): number {
  const firstMs = requests[0]?.atMs
  if (firstMs === undefined) return Infinity
  const before = records.filter(({ snapshot }) => snapshot.nowMs <= firstMs)
  const sold = before.findLast(({ decision: { offers } }) => offers.some(({ because }) => because.bound !== 'hold'))
  return firstMs - (sold?.snapshot.nowMs ?? -Infinity)
}

/** How soon offline work has to have made way: what online work has used for so long without a break, offline work must have left to it. */
export const SETTLE_MS = 200

/** Sees every beat of a node. */
export class Watch {
  /** By how much offline work used more than it may beside what online work used all through the last SETTLE_MS; the most that was seen. */
  mostOverMilli = -Infinity
  /** Least quota of the offline root that was seen. */
  leastRootMilli = Infinity
  beats = 0
  readonly #sim: SimulatedAgent
  readonly #levels: number[] = []
  readonly #online: number[] = []
  #onlineSum = 0
  #allSum = 0

  constructor(sim: SimulatedAgent) {
    this.#sim = sim
  }

  /** Runs the agent on, calling `load` before every beat. */
  run(ms: number, load: (nowMs: number) => void = () => undefined): void {
    this.#sim.run(ms, (nowMs) => {
      this.see()
      load(nowMs)
    })
    this.see()
  }

  /** Use of the node on average since `reset`, in permyriad: with offline work, and of online work alone. */
  get use(): { readonly withOffline: number; readonly online: number } {
    const share = (sum: number): number => Math.round((sum / Math.max(1, this.beats) / CAPACITY_MILLI) * 10_000)
    return { withOffline: share(this.#allSum), online: share(this.#onlineSum) }
  }

  /** Changes of direction of the offline root's quota by more than the dead band, since `reset`. */
  get turns(): number {
    return turnsOf(this.#levels, (CAPACITY_MILLI * DEFAULTS.suppressCpu.deadBandPermyriad) / 10_000)
  }

  /** Quotas of the offline root since `reset`, one for each beat, in milli-CPU. */
  get levels(): readonly number[] {
    return this.#levels
  }

  reset(): void {
    this.beats = 0
    this.#onlineSum = 0
    this.#allSum = 0
    this.#levels.length = 0
    this.mostOverMilli = -Infinity
    this.leastRootMilli = Infinity
  }

  /** Takes in the step that has just passed. */
  see(): void {
    const { onlineMilli, offlineMilli } = this.#sim.node.usedMilli()
    this.#online.push(onlineMilli)
    const seen = SETTLE_MS / DEFAULTS.loop.guardMs
    if (this.#online.length > seen) this.#online.shift()
    const leftMilli = Math.max(FLOOR_MILLI, WATERMARK_MILLI - Math.min(...this.#online))
    if (this.#online.length === seen) this.mostOverMilli = Math.max(this.mostOverMilli, offlineMilli - leftMilli)
    const quota = this.#sim.kernel.readKnob(OFFLINE_ROOT, 'quota')
    if (isQuota(quota) && quota.quotaUs !== null) {
      this.leastRootMilli = Math.min(this.leastRootMilli, quotaMilliCpu(quota))
      this.#levels.push(quotaMilliCpu(quota))
    }
    this.beats += 1
    this.#onlineSum += onlineMilli
    this.#allSum += onlineMilli + offlineMilli
  }
}

/** How often a course turns round by at least `band`. */
export function turnsOf(levels: readonly number[], band: number): number {
  let turns = 0
  let heading = 0
  let furthest = levels[0] ?? 0
  for (const level of levels) {
    const moved = level - furthest
    if (heading === 0 || Math.sign(moved) === heading) {
      if (heading === 0 && Math.abs(moved) < band) continue
      if (heading === 0) heading = Math.sign(moved)
      furthest = level
    } else if (Math.abs(moved) >= band) {
      turns += 1
      heading = -heading
      furthest = level
    }
  }
  return turns
}
