/**
 * The agent as a process, killed with SIGKILL at random instants, under load, on the real kernel. After each kill every knob has its original
 * on record, and either the next agent goes on as if nothing had been, or a release puts every file back byte for byte.
 * KILLS=500 (npm run test:kill) is what the agent is shown by; the gate runs fewer. FAST_CHECK_SEED gives other instants.
 */
import * as fc from 'fast-check'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, it, type TestContext } from 'vitest'
import { type Instant, KillAgent, killAt, killRelease, runRelease, tearJournal } from '../support/kill-agent.ts'
import { examine, Homes, QuotaWatch } from '../support/kill-checks.ts'
import { KillNode, type KillPod } from '../support/kill-node.ts'
import { choose, randomFrom, type Random } from '../support/placement-churn-random.ts'
import { whyNotHere } from '../support/real-node.ts'

const KILLS = Number(process.env['KILLS'] ?? 100)
/** How often it is told to end, in each way. */
const STOPS = Math.min(20, Math.ceil(KILLS / 20))
const SEED = fc.readConfigureGlobal().seed ?? 1

const PODS: readonly KillPod[] = [
  { uid: 'web', qos: 'Burstable', requestsMilli: 100, does: 'pulse' },
  { uid: 'db', qos: 'Burstable', requestsMilli: 1000, qosClass: 'LSR' },
  { uid: 'flink', qos: 'BestEffort', asks: { 'be-cpu': 5, 'be-memory': 1 }, does: 'burn' },
  { uid: 'spark', qos: 'BestEffort', asks: { 'ot-cpu': 10, 'ot-memory': 1 } },
]
const CHURNED_MAX = 4
const MOST_INSTANT_MS = 700

let node: KillNode | undefined
let agents: KillAgent[] = []

afterEach(async () => {
  for (const agent of agents) await agent.end('SIGKILL')
  agents = []
  await node?.close()
  node = undefined
})

async function open(context: TestContext): Promise<KillNode> {
  const reason = whyNotHere('v1')
  if (reason !== undefined) return context.skip(reason)
  node = await KillNode.open()
  for (const pod of PODS) node.start(pod)
  return node
}

function start(node: KillNode): KillAgent {
  const agent = new KillAgent(node, agents.length)
  agents.push(agent)
  return agent
}

function instantOf(random: Random): Instant {
  const ms = Math.floor(random() * MOST_INSTANT_MS)
  const times = 1 + Math.floor(random() * 12)
  return choose(random, [
    { is: 'delay', ms },
    { is: 'journal', times },
    { is: 'journal', times },
    { is: 'running', ms: ms / 2 },
  ] as const)
}

/** A pod comes, or one that came goes, while the agent runs. Returns the pod's name when it is one whose coming or going moves others. */
class Churn {
  readonly #node: KillNode
  readonly #random: Random
  readonly #came: string[] = []
  changes = 0

  constructor(node: KillNode, random: Random) {
    this.#node = node
    this.#random = random
  }

  async change(): Promise<void> {
    await sleep(this.#random() * MOST_INSTANT_MS)
    this.changes += 1
    if (this.#came.length < CHURNED_MAX && (this.#came.length === 0 || this.#random() < 0.5)) {
      const kind = this.#random() < 0.5 ? 'be' : 'ot'
      const uid = `pod-${this.changes}`
      this.#node.start({ uid, qos: 'BestEffort', asks: { [`${kind}-cpu`]: 2, [`${kind}-memory`]: 1 } })
      this.#came.push(uid)
      return
    }
    const [uid = ''] = this.#came.splice(Math.floor(this.#random() * this.#came.length), 1)
    await this.#node.stop(uid, this.#random() < 0.5)
  }
}

const REFUSED = 'write refused'

/** What an agent has said that it may not say. */
function complaints(agent: KillAgent): string[] {
  return agent
    .lines()
    .filter(({ msg, level }) => msg === REFUSED || level === 'error' || level === 'fatal' || level === undefined)
    .map((line) => JSON.stringify(line))
}

interface Sums {
  kills: number
  came: number
  releases: number
  torn: number
  between: number
  beforeStart: number
  journaled: number
}

describe('the agent under load', () => {
  it(
    `is killed at ${KILLS} random instants, and nothing is lost`,
    { timeout: 60_000 + KILLS * 3000, retry: 0 },
    async (context) => {
      const node = await open(context)
      const random = randomFrom(SEED)
      const churn = new Churn(node, random)
      const homes = new Homes()
      const quotas = new QuotaWatch(node)
      const sums: Sums = { kills: 0, came: 0, releases: 0, torn: 0, between: 0, beforeStart: 0, journaled: 0 }
      const startMs = performance.now()
      let torn = false
      try {
        for (; sums.kills < KILLS; sums.kills += 1) {
          const instant = instantOf(random)
          const where = `seed ${SEED}, kill ${sums.kills}, ${JSON.stringify(instant)}`
          const agent = start(node)
          const changed = random() < 0.4 ? churn.change() : Promise.resolve()
          const { by, came } = await killAt(agent, node, instant)
          await changed
          expect(by, where).toBe('SIGKILL')
          sums.came += came ? 1 : 0
          expect(complaints(agent), where).toEqual([])
          const opened = agent.lines().find(({ msg }) => msg === 'journal opened')
          if (opened === undefined) sums.beforeStart += 1
          else expect(opened['damagedLines'], where).toBe(torn ? 1 : 0)
          const found = examine(node)
          expect(found.problems, where).toEqual([])
          expect(homes.look(node), where).toEqual([])
          expect(quotas.problems, where).toEqual([])
          sums.between += found.between > 0 ? 1 : 0
          sums.journaled += found.journaled
          torn = found.damagedLines > 0
          if (random() < 0.15 && node.journalBytes > 0 && !torn) {
            tearJournal(node, Math.floor(random() * 1000))
            torn = true
            sums.torn += 1
          }
          if (random() < 0.2) {
            quotas.forget()
            homes.forget()
            releaseAll(node, where, random() < 0.3 ? () => killRelease(node, instantOf(random)) : undefined)
            sums.releases += 1
            torn = false
          }
        }
        quotas.forget()
        releaseAll(node, `seed ${SEED}, the last`)
      } finally {
        quotas.stop()
      }
      const tookMs = Math.round(performance.now() - startMs)
      const report = { seed: SEED, ...sums, changes: churn.changes, kept: homes.kept, moves: quotas.moves, tookMs }
      process.stdout.write(`${JSON.stringify(report)}\n`)
      // That the test has been where it hurts.
      expect(sums.came).toBeGreaterThan(KILLS / 3)
      expect(sums.journaled).toBeGreaterThan(KILLS * 5)
      expect(sums.releases).toBeGreaterThan(0)
      expect(homes.kept).toBeGreaterThan(KILLS)
    },
  )
})

function releaseAll(node: KillNode, where: string): void {
  const ran = runRelease(node)
  expect(ran, where).toMatchObject({ code: 0, signal: null })
  expect(ran.output, where).toMatch(/ 0 left alone, 0 failed$/m)
  expect(node.unrestored(), where).toEqual([])
}
