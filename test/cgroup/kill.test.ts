/**
 * The agent as a process, killed with SIGKILL at random instants, under load, on the real kernel. After each kill every knob has its original
 * on record, and either the next agent goes on as if nothing had been, or a release puts every file back byte for byte.
 * KILLS=500 (npm run test:kill) is what the agent is shown by; the gate runs fewer. FAST_CHECK_SEED gives other instants.
 */
import * as fc from 'fast-check'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, it, type TestContext } from 'vitest'
import { type Instant, KillAgent, Killer, killRelease, runRelease, tearJournal } from '../support/kill-agent.ts'
import { examine, Held, QuotaWatch } from '../support/kill-checks.ts'
import { KillNode, type KillPod } from '../support/kill-node.ts'
import { marksOf } from '../support/real-marks.ts'
import { choose, type NonEmpty, randomFrom, type Random } from '../support/placement-churn-random.ts'
import { whyNotHere } from '../support/real-node.ts'

const KILLS = Number(process.env['KILLS'] ?? 30)
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
const LIFE_MS = 400

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

/** A write of the journal is the more likely to be the last one the earlier it comes; the first few are those of its rewriting. */
const TIMES_MAX = 16

function instantOf(random: Random): Instant {
  const instants: NonEmpty<Instant> = [
    { is: 'starting', share: random() * 1.5 },
    { is: 'journal', times: 1 + Math.floor(random() * TIMES_MAX) },
    { is: 'journal', times: 1 + Math.floor(random() * TIMES_MAX) },
    { is: 'running', ms: random() * LIFE_MS },
  ]
  return choose(random, instants)
}

/** Offline pods that come and go while an agent runs. */
class Churn {
  readonly #node: KillNode
  readonly #random: Random
  readonly #came: string[] = []
  changes = 0

  constructor(node: KillNode, random: Random) {
    this.#node = node
    this.#random = random
  }

  /** At some time within the life of an agent one comes, or one that came goes. */
  async change(): Promise<void> {
    await sleep(this.#random() * LIFE_MS)
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
      const killer = new Killer(node)
      const held = new Held()
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
          const { by, came } = await killer.killAt(agent, instant)
          await changed
          expect([by, agent.lines().slice(by === 'SIGKILL' ? Infinity : -5)], where).toEqual(['SIGKILL', []])
          sums.came += came ? 1 : 0
          expect(complaints(agent), where).toEqual([])
          const opened = agent.lines().find(({ msg }) => msg === 'journal opened')
          if (opened === undefined) sums.beforeStart += 1
          else expect(opened['damagedLines'], where).toBe(torn ? 1 : 0)
          const found = examine(node)
          expect(found.problems, where).toEqual([])
          expect(held.look(node), where).toEqual([])
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
            quotas.rest()
            held.forget()
            // That one may be killed as well.
            if (random() < 0.5) await killRelease(node, 1 + Math.floor(random() * TIMES_MAX))
            expect(examine(node).problems, where).toEqual([])
            release(node, where)
            quotas.goOn()
            sums.releases += 1
            torn = false
          }
        }
        quotas.rest()
        release(node, `seed ${SEED}, the last`)
      } finally {
        quotas.stop()
      }
      const tookMs = Math.round(performance.now() - startMs)
      const report = { seed: SEED, ...sums, changes: churn.changes, kept: held.kept, moves: quotas.moves, tookMs }
      process.stdout.write(`${JSON.stringify(report)}\n`)
      // That the test has been where it hurts.
      expect(sums.came).toBeGreaterThan(KILLS / 2)
      expect(sums.between).toBeGreaterThan(KILLS / 50)
      expect(sums.journaled).toBeGreaterThan(KILLS * 5)
      expect(sums.releases).toBeGreaterThan(0)
      expect(held.kept).toBeGreaterThan(KILLS)
    },
  )
})

function release(node: KillNode, where: string): void {
  const ran = runRelease(node)
  expect(ran, where).toMatchObject({ code: 0, signal: null })
  expect(ran.output, where).toMatch(/ 0 left alone, 0 failed$/m)
  expect(node.unrestored(), where).toEqual([])
  expect(marksOf(node.groups, node.all), where).toEqual([])
}

describe('a second agent', () => {
  it('is refused under load, and names the one that runs', { timeout: 60_000 }, async (context) => {
    const node = await open(context)
    const random = randomFrom(SEED)
    const first = start(node)
    await first.says('agent started')
    for (let attempt = 0; attempt < 3; attempt += 1) {
      await sleep(random() * 200)
      const second = start(node)
      expect(await second.ended(10_000)).toBe(4)
      expect(second.lines().map(({ msg }) => msg)).toContainEqual(
        expect.stringContaining(`another agent runs on this node: pid ${first.pid}`),
      )
      expect(first.hasEnded).toBe(false)
    }
    expect(examine(node).problems).toEqual([])
    expect(complaints(first)).toEqual([])
  })

  it('of two that start at once, over the lock of a killed one, exactly one runs', { timeout: 60_000 }, async (context) => {
    const node = await open(context)
    for (let attempt = 0; attempt < 5; attempt += 1) {
      const dead = start(node)
      await dead.says('agent started')
      await dead.end('SIGKILL')
      const both = [start(node), start(node)]
      const loser = await Promise.race(both.map(async (agent) => ({ agent, code: await agent.ended(10_000) })))
      expect(loser.code).toBe(4)
      const winner = both.find((agent) => agent !== loser.agent)
      await winner?.says('agent started')
      expect(loser.agent.lines().map(({ msg }) => msg)).toContainEqual(expect.stringContaining(`pid ${winner?.pid}`))
      expect(await winner?.end('SIGTERM')).toBe(0)
    }
    expect(examine(node).problems).toEqual([])
  })
})

describe('an agent that is told to end under load', () => {
  for (const onExit of ['hold', 'release'] as const) {
    it(
      `ends within five seconds, ${STOPS} times, with onExit: ${onExit}`,
      { timeout: 30_000 + STOPS * 6000 },
      async (context) => {
        const node = await open(context)
        node.writeConfig({ onExit })
        const random = randomFrom(SEED)
        const took: number[] = []
        for (let stop = 0; stop < STOPS; stop += 1) {
          const agent = start(node)
          await agent.says('journal opened')
          await sleep(random() * LIFE_MS)
          const startMs = performance.now()
          expect(await agent.end('SIGTERM')).toBe(0)
          took.push(performance.now() - startMs)
          expect(complaints(agent)).toEqual([])
          if (onExit === 'release') expect([...node.unrestored(), ...marksOf(node.groups, node.all)]).toEqual([])
          else expect(examine(node)).toMatchObject({ problems: [], between: 0, damagedLines: 0 })
        }
        process.stdout.write(`SIGTERM with ${onExit}: ${took.map((ms) => Math.round(ms)).join(' ')} ms\n`)
        expect(Math.max(...took)).toBeLessThan(5000)
        if (onExit === 'hold') release(node, 'after hold')
      },
    )
  }
})
