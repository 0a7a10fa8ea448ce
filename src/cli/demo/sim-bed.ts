/**
 * The demo's node where there are no cgroups to write: the simulated node with a virtual clock that runs a few times faster than real
 * time. The agent, the sensor, the plan, the restore journal and the stand-in kubelet's gRPC are the real ones.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { Actuator, RestoreJournal } from '../../actuate/index.ts'
import { Agent, type Publisher, type TickSink } from '../../agent/index.ts'
import type { Config } from '../../config/index.ts'
import { buildTopology } from '../../cpu/index.ts'
import type { Instant, KnobKind, KnobSetting, KnobValue } from '../../model/index.ts'
import { formatKnobValue, KNOB_KINDS } from '../../model/index.ts'
import { Sensor } from '../../sense/index.ts'
import { ModelKernel, SimNode } from '../../sim/index.ts'
import type { Bed, DemoPod } from './bed.ts'

/** Virtual milliseconds per real one. */
const SPEED = 8
const STEP_MS = 5
const SYSTEM_MILLI = 40

export class SimBed implements Bed {
  readonly kind = 'simulated'
  readonly description: string
  readonly cpus: number
  readonly settings: Readonly<Record<string, unknown>>
  readonly kubeletDirectory: string
  readonly #directory = mkdtempSync(join(tmpdir(), 'kube-agent-demo-'))
  readonly #kernel: ModelKernel
  readonly #node: SimNode
  readonly #photos = new Map<string, string>()
  readonly #startedWallMs = Date.now()
  #agent: Agent | undefined
  #guardMs = 25
  #nextGuardMs = 0
  #journal: RestoreJournal | undefined

  constructor(reason: string) {
    this.cpus = 2
    this.description = `a simulated node with 2 CPUs and a virtual clock (${SPEED} times real time), because ${reason}`
    this.kubeletDirectory = join(this.#directory, 'device-plugins')
    const cpu = (id: number) => ({ id, coreId: id, socketId: 0, threadSiblings: String(id), llcShared: '0-1' })
    const topology = buildTopology({ online: '0-1', cpus: [cpu(0), cpu(1)], nodes: [{ id: 0, cpus: '0-1' }] })
    this.#kernel = new ModelKernel({ dialect: 'v1', topology })
    this.#node = new SimNode(this.#kernel)
    this.#node.systemMilli = SYSTEM_MILLI
    this.#node.onChange(() => this.#agent?.wantTick())
    this.#photograph()
    this.settings = { 'paths.state': join(this.#directory, 'state') }
  }

  now(): Instant {
    return { nowMs: this.#node.nowMs, wallMs: this.#startedWallMs + this.#node.nowMs }
  }

  makeAgent(config: Config, sink: TickSink, publisher: Publisher): Agent {
    const journal = new RestoreJournal({
      stateDirectory: config.paths.state,
      bootId: 'simulated',
      maxBytes: config.journal.maxBytes,
      groupId: (group) => this.#kernel.groupId(group),
    })
    this.#journal = journal
    this.#guardMs = config.loop.guardMs
    this.#agent = new Agent({
      kernel: this.#kernel,
      sensor: new Sensor({
        kernel: this.#kernel,
        pods: this.#node,
        layout: this.#node.layout,
        windowMs: config.suppressCpu.windowMs,
      }),
      config,
      mode: 'enforce',
      writing: { journal, actuator: new Actuator(this.#kernel, journal) },
      publisher,
      sink,
      stopwatch: () => performance.now(),
    })
    return this.#agent
  }

  async runUntil(untilMs: number): Promise<void> {
    while (this.#node.nowMs < untilMs) {
      const realStart = performance.now()
      const chunkEndMs = Math.min(untilMs, this.#node.nowMs + this.#guardMs * SPEED)
      while (this.#node.nowMs < chunkEndMs) this.#step()
      // Real sockets need real time: the kubelet's side answers between two chunks.
      await sleep(Math.max(1, this.#guardMs - (performance.now() - realStart)))
    }
  }

  #step(): void {
    this.#node.advance(STEP_MS)
    const at = this.now()
    if (this.#agent === undefined || at.nowMs < this.#nextGuardMs) return
    this.#nextGuardMs = at.nowMs + this.#agent.beat(at, 0)
  }

  async startPod({ spec }: DemoPod): Promise<void> {
    this.#node.addPod(spec)
    this.#photograph()
    await Promise.resolve()
  }

  setDemand(uid: string, demandMilli: number): void {
    this.#node.setDemand(uid, demandMilli)
  }

  compare(): { same: number; different: readonly string[] } {
    const now = this.#knobs()
    const different = [...this.#photos].filter(([path, before]) => now.get(path) !== before)
    return {
      same: this.#photos.size - different.length,
      different: different.map(([path, before]) => `${path}: was ${before}, is ${now.get(path)}`),
    }
  }

  stopAgent(): void {
    this.#agent = undefined
  }

  async close(): Promise<void> {
    this.stopAgent()
    this.#journal?.end()
    this.#journal = undefined
    rmSync(this.#directory, { recursive: true, force: true })
    await Promise.resolve()
  }

  #photograph(): void {
    for (const [path, text] of this.#knobs()) if (!this.#photos.has(path)) this.#photos.set(path, text)
  }

  #knobs(): Map<string, string> {
    const all = new Map<string, string>()
    for (const group of this.#kernel.groups.values()) {
      const knobs: Readonly<Record<KnobKind, KnobValue>> = group.knobs
      for (const kind of KNOB_KINDS)
        all.set(`${group.path} ${kind}`, formatKnobValue({ kind, value: knobs[kind] } as KnobSetting))
    }
    return all
  }
}
