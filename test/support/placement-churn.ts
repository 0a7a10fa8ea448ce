/**
 * The real agent over a node whose pods come, go, grow, shrink and change their class under load, while somebody else writes their sets
 * and the agent is restarted and reconfigured. Time is virtual, kernel and processes are not. Everything follows from a seed; a failure
 * says which, and the number of the operation. For test/cgroup/placement.test.ts and scripts/vm/suite/placement.ts.
 */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { RestoreJournal } from '../../src/actuate/index.ts'
import type { Agent } from '../../src/agent.ts'
import { composeAgent, openNode, openWriting } from '../../src/compose.ts'
import { type Config, loadConfig } from '../../src/config/index.ts'
import { CpuSet } from '../../src/cpu/index.ts'
import type { GroupPath, TickRecord } from '../../src/model/index.ts'
import { childGroup, isExclusive, isOffline, messageOf } from '../../src/model/index.ts'
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
import { ChurnNode, type ChurnPod, type Processes } from './placement-churn-node.ts'
import { choose, type NonEmpty, randomFrom, type Random, randomPod, randomSettings, resized } from './placement-churn-random.ts'

export interface ChurnOptions {
  readonly seed: number
  readonly operations: number
  /** At most so many pods at a time. */
  readonly podsMax: number
  readonly processes: Processes
}

export interface ChurnReport {
  readonly seed: number
  readonly operations: Readonly<Record<string, number>>
  readonly ticks: number
  readonly rests: number
  /** Writes by outcome. */
  readonly writes: Readonly<Record<string, number>>
  /** Processes whose affinity was compared, over all ticks. */
  readonly affinities: number
  /** How many pods had CPUs of their own, summed over the ticks. */
  readonly homes: number
  readonly restored: number
}

/** Ticks after which a node without new operations must be at rest. */
const REST_TICKS_MAX = 60
/** Containers of a pod that is not young are listed anew once in ten calm ticks. */
const LOOK_TICKS = 11
/**
 * Kernel: under v1 a parent's quota can't go below that of a group that was removed a moment ago, some 25 ms and under load some 200: it
 * counts until an RCU grace period and a work queue have passed (tg_cfs_schedulable_down() over what sched_release_group() has yet to unlink).
 */
const DYING_MS = 1000
const OPERATIONS_BETWEEN_RESTS = 8

/** Lines of what was done last that a failure tells. */
const TRACED = 40

type Operation = (churn: Churn) => void | Promise<void>

const OPERATIONS: NonEmpty<readonly [name: string, weight: number, operation: Operation]> = [
  ['start', 14, (churn) => churn.start()],
  ['end', 8, (churn) => churn.end()],
  ['add container', 6, (churn) => churn.addContainer()],
  ['remove container', 4, (churn) => churn.removeContainer()],
  ['resize', 12, (churn) => churn.resize()],
  ['enter', 14, (churn) => churn.enter()],
  ['drift', 8, (churn) => churn.drift()],
  ['restart', 4, (churn) => churn.restart()],
  ['settings', 4, (churn) => churn.reconfigure()],
]
const CHOICES = OPERATIONS.flatMap((one) => Array.from({ length: one[1] }, () => one))

/** Applies the operations and releases the node. Throws with seed and operation where something does not hold. */
export async function churn(options: ChurnOptions): Promise<ChurnReport> {
  const run = new Churn(options, await ChurnNode.open(options.processes))
  let number = 0
  try {
    for (; number < options.operations; number += 1) {
      await run.operate()
      if (run.random() < 0.6) run.tick()
      if (number % OPERATIONS_BETWEEN_RESTS === OPERATIONS_BETWEEN_RESTS - 1) run.rest()
    }
    await sleep(DYING_MS)
    run.rest()
    run.release()
    return run.report()
  } catch (thrown) {
    throw new Error(`seed ${options.seed}, operation ${number}: ${messageOf(thrown)}\n${run.trace.slice(-TRACED).join('\n')}`, {
      cause: thrown,
    })
  } finally {
    await run.close()
  }
}

class Churn {
  readonly random: Random
  /** What was done lately. */
  readonly trace: string[] = []
  readonly #options: ChurnOptions
  readonly #node: ChurnNode
  #config: Config
  #agent: Agent
  #journal: RestoreJournal
  #nowMs = 100_000
  #count = 0
  #last: TickRecord | undefined
  #failure: unknown
  /** Undefined when the next tick may move everybody. */
  #homes: Homes | undefined
  #rested = false
  #looksAhead = 0
  #restored = 0
  /** Groups that somebody else wrote since the last rest, and those whose set is theirs now. */
  readonly #drifted = new Set<GroupPath>()
  readonly #foreign = new Set<GroupPath>()
  readonly #done: Record<string, number> = {}
  readonly #writes: Record<string, number> = {}
  readonly #sums = { ticks: 0, rests: 0, affinities: 0, homes: 0 }

  constructor(options: ChurnOptions, node: ChurnNode) {
    this.#options = options
    this.#node = node
    this.random = randomFrom(options.seed)
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

  async operate(): Promise<void> {
    const [name, , operation] = choose(this.random, CHOICES) ?? OPERATIONS[0]
    this.trace.push(name)
    await operation(this)
    this.#rested = false
    this.#done[name] = (this.#done[name] ?? 0) + 1
  }

  #note(text: string): void {
    this.trace[this.trace.length - 1] += ` ${text}`
  }

  #pick(): ChurnPod | undefined {
    return choose(this.random, this.#node.pods)
  }

  #pickMade(): ChurnPod | undefined {
    return choose(
      this.random,
      this.#node.pods.filter(({ made }) => made),
    )
  }

  #announce(): void {
    this.#node.announce()
  }

  /** Listed before its group is there, or after, or both at once. */
  start(): void {
    const waiting = this.#node.pods.find(({ made, listed }) => !made || !listed)
    const pod = waiting ?? (this.#node.pods.length < this.#options.podsMax ? this.#add() : undefined)
    if (pod === undefined) return
    const [first, second] = [this.random() < 0.7, this.random() < 0.7]
    if (!pod.made && (first || pod.listed)) this.#node.make(pod, Math.floor(this.random() * 100))
    if (!pod.listed && (second || !first)) pod.listed = true
    this.#note(
      `${pod.spec.uid} ${JSON.stringify(pod.spec.labels)} ${pod.spec.requests.cpuMilli}m made ${pod.made} listed ${pod.listed}`,
    )
    this.#announce()
  }

  #add(): ChurnPod {
    this.#count += 1
    return this.#node.add(randomPod(this.random, this.#count, this.#node.rootSet.size))
  }

  /** The group goes before the pod leaves the list, or after; now and then it is told first that the pod has ended. */
  async end(): Promise<void> {
    const pod = this.#pick()
    if (pod === undefined) return
    this.#note(pod.spec.uid)
    if (this.random() < 0.3) {
      pod.spec = { ...pod.spec, phase: 'Succeeded' }
      this.#announce()
      this.tick()
    }
    const steps: (() => void | Promise<unknown>)[] = [
      async () => pod.made && (await this.#node.remove(pod)),
      () => {
        pod.listed = false
        this.#announce()
      },
    ]
    for (const step of this.random() < 0.5 ? steps : steps.reverse()) {
      await step()
      if (this.random() < 0.3) this.tick()
    }
    this.#node.forget(pod)
    for (const group of [...this.#foreign, ...this.#drifted]) {
      if (!group.startsWith(pod.group)) continue
      this.#foreign.delete(group)
      this.#drifted.delete(group)
    }
  }

  addContainer(): void {
    const pod = this.#pickMade()
    if (pod === undefined || pod.containers.length > 3) return
    this.#count += 1
    const name = `c${this.#count}`
    this.#note(`${pod.spec.uid}/${name}`)
    this.#node.addContainer(pod, name)
    this.#node.enter(pod, name, Math.floor(this.random() * 100))
    if (this.#foreign.has(pod.group)) this.#foreign.add(childGroup(pod.group, name))
    this.#looksAhead = LOOK_TICKS
  }

  async removeContainer(): Promise<void> {
    const pod = this.#pickMade()
    const name = choose(this.random, pod?.containers.slice(1) ?? [])
    if (pod === undefined || name === undefined) return
    this.#note(`${pod.spec.uid}/${name}`)
    await this.#node.removeContainer(pod, name)
    this.#drifted.delete(childGroup(pod.group, name))
    this.#foreign.delete(childGroup(pod.group, name))
  }

  resize(): void {
    const pod = this.#pick()
    if (pod === undefined) return
    pod.spec = resized(this.random, pod.spec, this.#node.rootSet.size)
    this.#note(`${pod.spec.uid} ${JSON.stringify(pod.spec.labels)} ${pod.spec.requests.cpuMilli}m`)
    this.#announce()
  }

  enter(): void {
    const pod = this.#pickMade()
    const name = choose(this.random, pod?.containers ?? [])
    if (pod !== undefined && name !== undefined) this.#node.enter(pod, name, Math.floor(this.random() * 100))
  }

  /** Somebody else writes the set of a group that the agent has placed. */
  drift(): void {
    const pod = this.#pickMade()
    const group = pod === undefined ? undefined : choose(this.random, this.#node.groupsOf(pod))
    if (group === undefined || this.#last?.decision.desired.get(group, 'cpuset') === undefined) return
    let set = CpuSet.EMPTY
    this.#node.rootSet.forEach((cpu) => void (this.random() < 0.6 && (set = set.union(CpuSet.of(cpu)))))
    if (!set.isEmpty && this.#node.writeSet(group, set)) this.#drifted.add(group)
    this.#note(`${group} ${set.toString()}`)
  }

  restart(): void {
    if (this.random() < 0.5) this.rest()
    const roomless = this.#last?.decision.pods.filter(
      ({ qosClass, reading: { spec } }) => !isOffline(qosClass) && !(this.#homes?.has(spec.uid) === true),
    )
    // I25: a pod that has the whole pool to itself may be taken for one with CPUs of its own.
    if (roomless?.length === 1 && roomless.some(({ qosClass }) => isExclusive(qosClass))) this.#homes = undefined
    // Only what is as it was decided tells a new agent who has which CPUs.
    if (!this.#rested || this.#node.pods.some(({ made, listed }) => made !== listed)) this.#homes = undefined
    this.#journal.end()
    ;[this.#agent, this.#journal] = this.#open()
    this.tick()
  }

  reconfigure(): void {
    const settings = randomSettings(this.random, this.#node.rootSet.size)
    this.#note(JSON.stringify(settings))
    this.#config = this.#configOf(settings)
    this.#agent.reconfigure(this.#config)
    this.#homes = undefined
  }

  tick(ms = choose(this.random, [25, 50, 50, 1000, 1000, 3000]) ?? 50): TickRecord {
    this.#nowMs += ms
    this.#node.source.nowMs = this.#nowMs
    const record = this.#agent.tick({ nowMs: this.#nowMs, wallMs: Date.now() }, 0)
    if (record === undefined) throw new Error(`the tick failed: ${messageOf(this.#failure)}`)
    this.#last = record
    this.#sums.ticks += 1
    for (const { step, outcome } of record.results) {
      this.#writes[outcome.is] = (this.#writes[outcome.is] ?? 0) + 1
      if (step.kind === 'cpuset')
        this.trace.push(
          `  ${step.phase} ${step.group.slice(-14)} ${step.from instanceof CpuSet ? step.from.toString() : '?'} → ${step.value.toString()}: ${outcome.is}`,
        )
    }
    checkOutcomes(record, performance.now() < this.#node.removedMs + DYING_MS)
    checkSets(record)
    const homes = homesOf(record)
    this.#sums.homes += homes.size
    if (this.#homes !== undefined) checkHomes(this.#homes, homes, wantedOf(record))
    this.#homes = homes
    this.#sums.affinities += checkAffinities(this.#node, (pod) => this.#node.effectiveSetOf(pod.group))
    return record
  }

  /** Ticks until no set is planned any more, and looks at everything. */
  rest(): void {
    let quiet = -this.#looksAhead
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
    this.#looksAhead = 0
    this.#rested = true
    this.#sums.rests += 1
    this.#settleDrift(record)
    this.#sums.affinities += checkResting({ node: this.#node, record, foreign: this.#foreign })
  }

  /** What the agent did not want any more when somebody wrote it stays as it was written, with all that lies below. */
  #settleDrift({ decision }: TickRecord): void {
    for (const group of this.#drifted) {
      if (decision.desired.get(group, 'cpuset') !== undefined) continue
      const pod = this.#node.pods.find((one) => one.group === group)
      for (const theirs of pod === undefined ? [group] : this.#node.groupsOf(pod)) this.#foreign.add(theirs)
    }
    this.#drifted.clear()
  }

  release(): void {
    const report = this.#agent.release(this.#nowMs)
    assert.ok(report !== undefined)
    assert.deepEqual(report.failed, [])
    const theirs = report.foreign.filter(({ group }) => !this.#foreign.has(group))
    assert.deepEqual(theirs, [])
    this.#restored = report.restored
    const every = this.#node.rootSet
    const foreign = new Set([...this.#foreign].map((group) => this.#node.fileOfSet(group)))
    for (const [path, text] of this.#node.originals) {
      if (foreign.has(path) || path.endsWith('/cpuset.cpus')) continue
      assert.ok(this.#node.groups.sandbox.isRestored(path, text), `${path} was ${text}`)
    }
    // A container that came when its pod was narrow has the pod's set of that time for its original.
    for (const pod of this.#node.pods) {
      for (const group of this.#node.groupsOf(pod)) {
        if (this.#foreign.has(group)) continue
        assert.ok(
          this.#node.effectiveSetOf(group).equals(every),
          `${group} was left with ${this.#node.effectiveSetOf(group).toString()}`,
        )
      }
    }
  }

  report(): ChurnReport {
    const { seed } = this.#options
    return { seed, operations: this.#done, writes: this.#writes, restored: this.#restored, ...this.#sums }
  }

  async close(): Promise<void> {
    this.#journal.end()
    await this.#node.close()
  }
}
