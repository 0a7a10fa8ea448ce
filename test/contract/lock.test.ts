/**
 * The lock among processes that are slow, stopped and killed at any instant: never two that hold it, and no living one that has lost its name. A
 * starter that sleeps between finding a lock dead and removing it is what takes a careless scheme apart.
 */
import { buildSync } from 'esbuild'
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { lockOwner } from '../../src/actuate/index.ts'

let scratch: string
let program: string
let state: string
let takers: Taker[] = []

class Taker {
  readonly child: ChildProcess
  readonly ended: Promise<unknown>
  said = ''

  constructor(...words: readonly (string | number)[]) {
    this.child = spawn(process.execPath, [program, state, ...words.map(String)], { stdio: ['pipe', 'pipe', 'inherit'] })
    this.child.stdin?.on('error', () => undefined)
    this.child.stdout?.on('data', (data: Buffer) => (this.said += data.toString()))
    this.ended = once(this.child, 'close')
    takers.push(this)
  }

  get isGone(): boolean {
    return this.child.exitCode !== null || this.child.signalCode !== null
  }

  /** Whether it holds the lock now, as far as it knows. */
  get holds(): boolean {
    return /^HOLDS$/m.test(this.said) && !/^free$/m.test(this.said) && !this.isGone
  }

  async until(word: RegExp): Promise<void> {
    for (let tries = 0; tries < 1500 && !word.test(this.said); tries += 1) {
      if (this.isGone) await this.ended
      if (this.isGone && !word.test(this.said)) break
      await sleep(10)
    }
    expect(this.said).toMatch(word)
  }

  async kill(): Promise<void> {
    this.child.kill('SIGKILL')
    await this.ended
  }
}

const HOLDS = /^HOLDS$/m
const REMOVING = /^removing$/m

/** Leaves the lock of an agent that was killed. */
async function deadLock(): Promise<void> {
  const dead = new Taker()
  await dead.until(HOLDS)
  await dead.kill()
  expect(await lockOwner(state)).toBeUndefined()
}

beforeAll(() => {
  scratch = mkdtempSync(join(tmpdir(), 'kube-agent-takers-'))
  program = join(scratch, 'taker.mjs')
  const entry = fileURLToPath(new URL('../support/lock-taker.ts', import.meta.url))
  buildSync({ entryPoints: [entry], outfile: program, bundle: true, platform: 'node', format: 'esm', target: 'node20' })
})

beforeEach(() => {
  state = join(mkdtempSync(join(scratch, 'state-')), 's')
  mkdirSync(state, { mode: 0o700 })
})

afterEach(async () => {
  for (const taker of takers) await taker.kill()
  takers = []
})

afterAll(() => rmSync(scratch, { recursive: true, force: true }))

describe('the lock', () => {
  it('is never taken from its holder by a starter that found another one dead, and sleeps', async () => {
    await deadLock()
    const sleeper = new Taker(1200, 1200)
    await sleeper.until(REMOVING)
    const holder = new Taker()
    await holder.until(HOLDS)
    await sleep(1400)
    // While the sleeper has done whatever it does, and before it may have made up for it.
    const late = new Taker()
    for (const taker of [late, sleeper]) await taker.until(/HOLDS|agent/)
    expect(takers.filter(({ holds }) => holds)).toEqual([holder])
    for (const { said } of [late, sleeper]) expect(said).toContain(`another agent runs on this node: pid ${holder.child.pid}`)
    expect(await lockOwner(state)).toBe(holder.child.pid)
  })

  it('stays with its holder when such a starter is killed, and is given back by no other than its holder', async () => {
    await deadLock()
    const sleeper = new Taker(600, 60_000)
    await sleeper.until(REMOVING)
    const holder = new Taker()
    await holder.until(HOLDS)
    await sleep(900)
    await sleeper.kill()
    expect(await lockOwner(state)).toBe(holder.child.pid)
    const next = new Taker()
    await next.until(/HOLDS|agent/)
    expect(next.said).toContain(`pid ${holder.child.pid}`)
    holder.child.stdin?.write('unlock\n')
    await holder.ended
    // What the killed one had prepared is cleared away by a later agent.
    expect(readdirSync(state)).not.toContain('agent.lock')
    await new Taker().until(HOLDS)
  })

  it(
    'has one holder at most while starters that sleep anywhere come, give it back and are killed',
    { timeout: 90_000 },
    async () => {
      let [taken, killed, refused] = [0, 0, 0]
      const untilMs = performance.now() + 6000
      while (performance.now() < untilMs) {
        const alive = takers.filter(({ isGone }) => !isGone)
        if (alive.length < 5) alive.push(new Taker(100, 100, 'random'))
        await sleep(20 * Math.random())
        // What two have said may arrive in another order; but of two that do hold it neither leaves by itself.
        if (alive.filter(({ holds }) => holds).length > 1) await sleep(300)
        const holders = alive.filter(({ holds }) => holds)
        expect(holders.length).toBeLessThan(2)
        const any = alive[Math.floor(Math.random() * alive.length)]
        const [holder] = holders
        if (Math.random() < 0.08 && any !== undefined) {
          killed += 1
          await any.kill()
        } else if (Math.random() < 0.1 && holder !== undefined) {
          holder.child.stdin?.write('unlock\n')
          await sleep(20)
        }
      }
      taken = takers.filter(({ said }) => HOLDS.test(said)).length
      refused = takers.filter(({ said }) => said.includes('another agent runs')).length
      // Something has happened, or this has shown nothing.
      expect(Math.min(taken, killed, refused)).toBeGreaterThan(3)
      for (const taker of takers) await taker.kill()
      const last = new Taker()
      await last.until(HOLDS)
      expect(await lockOwner(state)).toBe(last.child.pid)
    },
  )
})
