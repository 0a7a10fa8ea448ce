/**
 * The real agent over a node whose pods come, go, grow, shrink and change their class under load, while somebody else writes their sets
 * and the agent is restarted and reconfigured. Time is virtual, kernel and processes are not. Everything follows from a seed; a failure
 * says which, and the number of the operation. For test/cgroup/placement.test.ts and scripts/vm/suite/placement.ts.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { CpuSet } from '../../src/cpu/index.ts'
import { childGroup, messageOf } from '../../src/model/index.ts'
import { ChurnAgent, DYING_MS } from './placement-churn-agent.ts'
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

/** Containers of a pod that is not young are listed anew once in ten calm ticks. */
const LOOK_TICKS = 11
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
      if (run.random() < 0.6) run.agent.tick()
      if (number % OPERATIONS_BETWEEN_RESTS === OPERATIONS_BETWEEN_RESTS - 1) run.agent.rest()
    }
    await sleep(DYING_MS)
    run.agent.rest()
    run.agent.release()
    return run.report()
  } catch (thrown) {
    throw new Error(
      `seed ${options.seed}, operation ${number}: ${messageOf(thrown)}\n${run.agent.trace.slice(-TRACED).join('\n')}`,
      {
        cause: thrown,
      },
    )
  } finally {
    await run.close()
  }
}

class Churn {
  readonly random: Random
  readonly agent: ChurnAgent
  readonly #options: ChurnOptions
  readonly #node: ChurnNode
  readonly #done: Record<string, number> = {}
  #count = 0

  constructor(options: ChurnOptions, node: ChurnNode) {
    this.#options = options
    this.#node = node
    this.random = randomFrom(options.seed)
    this.agent = new ChurnAgent(node, this.random)
  }

  async operate(): Promise<void> {
    const [name, , operation] = choose(this.random, CHOICES) ?? OPERATIONS[0]
    this.agent.trace.push(name)
    await operation(this)
    this.agent.rested = false
    this.#done[name] = (this.#done[name] ?? 0) + 1
  }

  #note(text: string): void {
    this.agent.trace[this.agent.trace.length - 1] += ` ${text}`
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
      this.agent.tick()
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
      if (this.random() < 0.3) this.agent.tick()
    }
    this.#node.forget(pod)
    for (const group of [...this.agent.foreign, ...this.agent.drifted]) {
      if (!group.startsWith(pod.group)) continue
      this.agent.foreign.delete(group)
      this.agent.drifted.delete(group)
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
    if (this.agent.foreign.has(pod.group)) this.agent.foreign.add(childGroup(pod.group, name))
    this.agent.looksAhead = LOOK_TICKS
  }

  async removeContainer(): Promise<void> {
    const pod = this.#pickMade()
    const name = choose(this.random, pod?.containers.slice(1) ?? [])
    if (pod === undefined || name === undefined) return
    this.#note(`${pod.spec.uid}/${name}`)
    await this.#node.removeContainer(pod, name)
    this.agent.drifted.delete(childGroup(pod.group, name))
    this.agent.foreign.delete(childGroup(pod.group, name))
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
    if (group === undefined || this.agent.last?.decision.desired.get(group, 'cpuset') === undefined) return
    let set = CpuSet.EMPTY
    this.#node.rootSet.forEach((cpu) => void (this.random() < 0.6 && (set = set.union(CpuSet.of(cpu)))))
    if (!set.isEmpty && this.#node.writeSet(group, set)) this.agent.drifted.add(group)
    this.#note(`${group} ${set.toString()}`)
  }

  restart(): void {
    this.agent.restart()
  }

  reconfigure(): void {
    const settings = randomSettings(this.random, this.#node.rootSet.size)
    this.#note(JSON.stringify(settings))
    this.agent.reconfigure(settings)
  }

  report(): ChurnReport {
    const { seed } = this.#options
    return { seed, operations: this.#done, writes: this.agent.writes, ...this.agent.sums }
  }

  async close(): Promise<void> {
    this.agent.end()
    await this.#node.close()
  }
}
