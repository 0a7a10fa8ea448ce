/**
 * The agent's half of the churn: the real agent with its journal on disk, in virtual time, judged after each tick and looked at in full when it
 * is at rest. Which sets somebody else has written is kept here, since it says what a release may leave.
 */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import type { RestoreJournal } from '../../src/actuate/index.ts'
import type { Agent } from '../../src/agent/index.ts'
import { composeAgent, openNode, openWriting } from '../../src/compose.ts'
import { type Config, loadConfig } from '../../src/config/index.ts'
import { CpuSet } from '../../src/cpu/index.ts'
import type { GroupPath, TickRecord } from '../../src/model/index.ts'
import { isExclusive, isOffline, messageOf } from '../../src/model/index.ts'
import {
  checkAffinities,
  checkHomes,
  checkOutcomes,
  checkResting,
  checkSets,
  type Homes,
  homesOf,
  wantedOf,
} from './placement-churn-checks.ts'
import type { ChurnNode } from './placement-churn-node.ts'
import { choose, type Random } from './placement-churn-random.ts'

/** Ticks after which a node without new operations must be at rest. */
const REST_TICKS_MAX = 60
/**
 * Kernel: under v1 a parent's quota can't go below that of a group that was removed a moment ago, some 25 ms and under load some 200: it
 * counts until an RCU grace period and a work queue have passed (tg_cfs_schedulable_down() over what sched_release_group() has yet to unlink).
 */
export const DYING_MS = 1000

export class ChurnAgent {
  /** What was done lately. */
  readonly trace: string[] = []
  /** Groups that somebody else wrote since the last rest, and those whose set is theirs now. */
  readonly drifted = new Set<GroupPath>()
  readonly foreign = new Set<GroupPath>()
  /** Writes by outcome. */
  readonly writes: Record<string, number> = {}
  readonly sums = { ticks: 0, rests: 0, affinities: 0, homes: 0, restored: 0 }
  last: TickRecord | undefined
  /** Calm ticks that the agent may take to notice a change. */
  looksAhead = 0
  /** Nothing has happened since the last rest. */
  rested = false
  readonly #node: ChurnNode
  readonly #random: Random
  #config: Config
  #agent: Agent
  #journal: RestoreJournal
  #nowMs = 100_000
  #failure: unknown
  /** Undefined when the next tick may move everybody. */
  #homes: Homes | undefined

  constructor(node: ChurnNode, random: Random) {
    this.#node = node
    this.#random = random
    this.#config = this.#configOf({})
    ;[this.#agent, this.#journal] = this.#open()
  }

  #configOf(settings: Readonly<Record<string, unknown>>): Config {
    const all = {
      'node.cgroupRoot': this.#node.groups.root,
      'node.cgroupDriver': 'cgroupfs',
      'paths.state': join(this.#node.directory, 'state'),
      'kubelet.enabled': false,
      ...settings,
    }
    return loadConfig({
      overrides: Object.entries(all).map(([key, value]) => ({ path: key.split('.'), value, origin: 'test' })),
    }).config
  }

  #open(): [Agent, RestoreJournal] {
    const node = openNode(this.#config)
    const writing = openWriting(this.#config, node)
    const sink = {
      tick: () => undefined,
      tickFailed: (thrown: unknown) => void (this.#failure = thrown),
      guardBeat: () => undefined,
    }
    const parts = { config: this.#config, mode: 'enforce', node, sink, writing, pods: this.#node.source } as const
    return [composeAgent(parts).agent, writing.journal]
  }

  /** A new process on the same journal. */
  restart(): void {
    if (this.#random() < 0.5) this.rest()
    const roomless = this.last?.decision.pods.filter(
      ({ qosClass, reading: { spec } }) => !isOffline(qosClass) && !(this.#homes?.has(spec.uid) === true),
    )
    // I25: a pod that has the whole pool to itself may be taken for one with CPUs of its own.
    if (roomless?.length === 1 && roomless.some(({ qosClass }) => isExclusive(qosClass))) this.#homes = undefined
    // Only what is as it was decided tells a new agent who has which CPUs.
    if (!this.rested || this.#node.pods.some(({ made, listed }) => made !== listed)) this.#homes = undefined
    this.#journal.end()
    ;[this.#agent, this.#journal] = this.#open()
    this.tick()
  }

  reconfigure(settings: Readonly<Record<string, unknown>>): void {
    this.#config = this.#configOf(settings)
    this.#agent.reconfigure(this.#config)
    this.#homes = undefined
  }

  tick(ms = choose(this.#random, [25, 50, 50, 1000, 1000, 3000]) ?? 50): TickRecord {
    this.#nowMs += ms
    this.#node.source.nowMs = this.#nowMs
    const record = this.#agent.tick({ nowMs: this.#nowMs, wallMs: Date.now() }, 0)
    if (record === undefined) throw new Error(`the tick failed: ${messageOf(this.#failure)}`)
    this.last = record
    this.sums.ticks += 1
    for (const { step, outcome } of record.results) {
      this.writes[outcome.is] = (this.writes[outcome.is] ?? 0) + 1
      if (step.kind === 'cpuset')
        this.trace.push(
          `  ${step.phase} ${step.group.slice(-14)} ${step.from instanceof CpuSet ? step.from.toString() : '?'} → ${step.value.toString()}: ${outcome.is}`,
        )
    }
    checkOutcomes(record, performance.now() < this.#node.removedMs + DYING_MS)
    checkSets(record)
    const homes = homesOf(record)
    this.sums.homes += homes.size
    if (this.#homes !== undefined) checkHomes(this.#homes, homes, wantedOf(record))
    this.#homes = homes
    this.sums.affinities += checkAffinities(this.#node, (pod) => this.#node.effectiveSetOf(pod.group))
    return record
  }

  /** Ticks until no set is planned any more, and looks at everything. */
  rest(): void {
    let quiet = -this.looksAhead
    let record: TickRecord | undefined
    for (let ticks = 0; quiet < 2; ticks += 1) {
      assert.ok(
        ticks < REST_TICKS_MAX,
        `no rest: ${JSON.stringify(record?.results.filter(({ step }) => step.kind === 'cpuset'))}`,
      )
      record = this.tick(1000)
      const moves = record.plan.some(({ kind }) => kind === 'cpuset')
      quiet = moves || !record.decision.complete ? Math.min(quiet + 1, 0) : quiet + 1
    }
    assert.ok(record !== undefined)
    this.looksAhead = 0
    this.rested = true
    this.sums.rests += 1
    this.#settleDrift(record)
    this.sums.affinities += checkResting({ node: this.#node, record, foreign: this.foreign })
  }

  /** What the agent did not want any more when somebody wrote it stays as it was written, with all that lies below. */
  #settleDrift({ decision }: TickRecord): void {
    for (const group of this.drifted) {
      if (decision.desired.get(group, 'cpuset') !== undefined) continue
      const pod = this.#node.pods.find((one) => one.group === group)
      for (const theirs of pod === undefined ? [group] : this.#node.groupsOf(pod)) this.foreign.add(theirs)
    }
    this.drifted.clear()
  }

  release(): void {
    const report = this.#agent.release(this.#nowMs)
    assert.ok(report !== undefined)
    assert.deepEqual(report.failed, [])
    const theirs = report.foreign.filter(({ group }) => !this.foreign.has(group))
    assert.deepEqual(theirs, [])
    this.sums.restored = report.restored
    const every = this.#node.rootSet
    const foreign = new Set([...this.foreign].map((group) => this.#node.fileOfSet(group)))
    for (const [path, text] of this.#node.originals) {
      if (foreign.has(path) || path.endsWith('/cpuset.cpus')) continue
      assert.ok(this.#node.groups.sandbox.isRestored(path, text), `${path} was ${text}`)
    }
    // A container that came when its pod was narrow has the pod's set of that time for its original.
    for (const pod of this.#node.pods) {
      for (const group of this.#node.groupsOf(pod)) {
        if (this.foreign.has(group)) continue
        assert.ok(
          this.#node.effectiveSetOf(group).equals(every),
          `${group} was left with ${this.#node.effectiveSetOf(group).toString()}`,
        )
      }
    }
  }

  end(): void {
    this.#journal.end()
  }
}
