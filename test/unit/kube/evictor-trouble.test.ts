/** The evictor and an API server in trouble: slow, away, overloaded, broken. It costs the loop nothing, and few requests. */
import * as fc from 'fast-check'
import { beforeEach, describe, expect, it } from 'vitest'
import { ApiError } from '../../../src/kube/api.ts'
import type { ApiEvictor } from '../../../src/kube/evictor.ts'
import { EVICTION_OUTCOMES, type EvictionWish } from '../../../src/model/index.ts'
import type { ApiServerDouble } from '../../support/api-server/index.ts'
import { evictorOf, type EvictorChanges, wishOf } from './evictor-support.ts'
import { type Call, HandClock, ScriptedCaller } from './reporter-support.ts'
import { clientOf, haveOpenssl, pod, SOON, startDouble } from './support.ts'

const openssl = haveOpenssl()
let server: ApiServerDouble
let wish: EvictionWish

beforeEach(async (context) => {
  if (!openssl) return context.skip('needs openssl')
  server = await startDouble()
  wish = wishOf(server.put('pods', pod('p')).metadata)
})

const evictorHere = (changes: EvictorChanges = {}, requestMs = 10_000): ApiEvictor =>
  evictorOf(clientOf(server, { requestMs }), changes)
const last = (evictor: ApiEvictor): string | undefined => evictor.view().recent[0]?.is
const settled = (evictor: ApiEvictor, is: string) => expect.poll(() => last(evictor), SOON).toBe(is)

/** Answers from a script; knows no trouble with credentials. */
class Script extends ScriptedCaller {
  readonly problems: readonly string[] = []
}

describe('a server that', () => {
  it('hangs keeps nobody waiting, and is given up at its deadlines', async () => {
    server.hang()
    const evictor = evictorHere({}, 400)
    const beganMs = performance.now()
    evictor.evict([wish], beganMs)
    // Nothing was awaited: the request has not even been sent.
    expect([last(evictor), server.requests.length]).toEqual(['asked', 0])
    await settled(evictor, 'failed')
    expect(performance.now() - beganMs).toBeGreaterThanOrEqual(4 * 390)
    expect(evictor.stats().writes.createEviction).toEqual({ ok: 0, failed: 4 })
    expect(server.requests.length).toBeGreaterThan(0)
    expect(evictor.view().recent[0]?.detail).toContain('no answer within 400 ms')
    expect(evictor.view().impossible).toBeUndefined()
  })

  it('fails for a while is asked again, with one and the same eviction', async () => {
    server.fail({ status: 500, times: 2 })
    server.fail({ status: 504, times: 1 })
    const evictor = evictorHere()
    evictor.evict([wish], performance.now())
    await settled(evictor, 'evicted')
    expect(server.requests.map(({ status }) => status)).toEqual([500, 500, 504, 201])
    expect(evictor.view().counts).toMatchObject({ asked: 1, evicted: 1, failed: 0 })
  })

  it('fails for good gets four requests a wish, and no more for a while', async () => {
    server.fail({ status: 500, times: Infinity })
    const evictor = evictorHere()
    const nowMs = performance.now()
    evictor.evict([wish], nowMs)
    await settled(evictor, 'failed')
    for (let beat = 0; beat < 100; beat += 1) evictor.evict([wish], performance.now())
    expect(last(evictor)).toBe('failed')
    expect(server.requests.length).toBe(4)
    server.mend()
    evictor.evict([wish], performance.now() + 10_000)
    await settled(evictor, 'evicted')
  })

  it('is overloaded is left in peace for as long as it asks', async () => {
    server.fail({ status: 429, message: 'too many requests, please try again later', retryAfterSeconds: 1 })
    const evictor = evictorHere()
    const beganMs = performance.now()
    evictor.evict([wish], beganMs)
    await settled(evictor, 'evicted')
    expect(performance.now() - beganMs).toBeGreaterThanOrEqual(990)
    expect(server.requests.map(({ status }) => status)).toEqual([429, 201])
  })

  it('asks for more patience than a wish is worth is not asked again', async () => {
    server.fail({ status: 429, message: 'too many requests', retryAfterSeconds: 60, times: Infinity })
    const evictor = evictorHere()
    evictor.evict([wish], performance.now())
    await settled(evictor, 'failed')
    expect(server.requests.length).toBe(1)
  })

  it('is away fails the wish, and evicts with a later one when it is back', async () => {
    const evictor = evictorHere()
    await server.stop()
    evictor.evict([wish], performance.now())
    await settled(evictor, 'failed')
    expect(evictor.view().recent[0]?.detail).toContain('ECONNREFUSED')
    expect(evictor.view().impossible).toBeUndefined()
    await server.rotateCa()
    evictor.evict([wish], performance.now() + 10_000)
    await settled(evictor, 'evicted')
  })

  it('says what only a newer one understands, or what a proxy says, is not asked again', async () => {
    const evictor = evictorHere()
    server.fail({ status: 404, message: 'the server could not find the requested resource' })
    evictor.evict([wish], performance.now())
    await settled(evictor, 'failed')
    const other = wishOf(server.put('pods', pod('q')).metadata)
    server.fail({ status: 200, html: '<h1>Please log in</h1>' })
    evictor.evict([other], performance.now())
    await expect.poll(() => evictor.view().counts.failed, SOON).toBe(2)
    expect(server.requests.length).toBe(2)
  })

  it('conflicts over something else than the identity of the pod is asked again', async () => {
    server.fail({ status: 409, message: 'Operation cannot be fulfilled on pods "p": the object has been modified' })
    const evictor = evictorHere()
    evictor.evict([wish], performance.now())
    await settled(evictor, 'evicted')
  })
})

it('a closed evictor asks for nothing any more, nor ends what waits for an answer', async () => {
  server.hang()
  const evictor = evictorHere()
  evictor.evict([wish, wishOf({ name: 'q' })], performance.now())
  await expect.poll(() => server.requests.length, SOON).toBe(1)
  evictor.close()
  server.resume()
  evictor.evict([wishOf({ name: 'r' })], performance.now())
  await expect.poll(() => server.requests[0]?.status, SOON).toBe(201)
  await new Promise((resolve) => setTimeout(resolve, 100))
  expect(server.requests.length).toBe(1)
})

it('more wishes than may wait fail at once, and are asked for later; never are there two requests at a time', async () => {
  let [running, most] = [0, 0]
  const api = new Script(async () => {
    running += 1
    most = Math.max(most, running)
    await new Promise((resolve) => setTimeout(resolve, 1))
    running -= 1
    return {}
  })
  const clock = new HandClock()
  const evictor = evictorOf(api, { clock })
  const wishes = Array.from({ length: 100 }, (_, index) => wishOf({ name: `p${index}` }))
  evictor.evict(wishes, clock.nowMs)
  const { counts, recent } = evictor.view()
  // One is under way.
  expect([counts.asked, counts.failed, recent.length]).toEqual([17, 83, 64])
  expect(recent.filter(({ is }) => is === 'asked').length).toBe(17)
  await expect.poll(() => evictor.view().counts.evicted, SOON).toBe(17)
  expect(most).toBe(1)
  clock.nowMs += 10_000
  evictor.evict(wishes.slice(50, 60), clock.nowMs)
  await expect.poll(() => evictor.view().counts.evicted, SOON).toBe(27)
})

it('a wish that has waited for longer than it is worth is not asked for', async () => {
  const clock = new HandClock()
  const api = new Script(() => {
    clock.nowMs += 31_000
    return {}
  })
  const evictor = evictorOf(api, { clock })
  evictor.evict([wishOf({ name: 'a' }), wishOf({ name: 'b' })], clock.nowMs)
  await settled(evictor, 'failed')
  expect(evictor.view().recent.map(({ wish: { name }, is }) => `${name} ${is}`)).toEqual(['b failed', 'a evicted'])
  expect(api.calls.length).toBe(1)
})

it('the view is the same object until something has changed', async () => {
  const evictor = evictorOf(new Script(() => ({})))
  const before = evictor.view()
  expect(evictor.view()).toBe(before)
  evictor.evict([wish], performance.now())
  const after = evictor.view()
  expect(after).not.toBe(before)
  expect(before.recent).toEqual([])
  await settled(evictor, 'evicted')
})

const CAUSES = { causes: [{ reason: 'DisruptionBudget', message: 'keep' }] }
const ANSWERS: Readonly<Record<string, () => unknown>> = {
  yes: () => ({}),
  gone: () => failing(new ApiError(404, 'NotFound', 'pods "p" not found')),
  replaced: () => failing(new ApiError(409, 'Conflict', 'the UID in the precondition (a) does not match the UID in record (b)')),
  budget: () => failing(new ApiError(429, 'TooManyRequests', 'no', CAUSES)),
  oldBudget: () => failing(new ApiError(429, '', "Cannot evict pod as it would violate the pod's disruption budget.")),
  overloaded: () => failing(new ApiError(429, '', 'slow down', { retryAfterMs: 2 })),
  broken: () => failing(new ApiError(500, '', 'etcd')),
  forbidden: () => failing(new ApiError(403, 'Forbidden', 'cannot create resource "pods/eviction"')),
  denied: () => failing(new ApiError(403, '', 'denied the request')),
  invalid: () => failing(new ApiError(422, 'Invalid', 'what')),
  away: () => failing(new Error('ECONNRESET')),
}

function failing(thrown: Error): never {
  throw thrown
}

it('whatever is wished and answered: no throw, one request at a time, each wish decided, no deletion too early', async () => {
  const step = fc.record({
    afterMs: fc.integer({ min: 0, max: 40_000 }),
    pods: fc.array(fc.integer({ min: 0, max: 3 }), { maxLength: 3 }),
    dryRun: fc.boolean(),
    answers: fc.array(fc.constantFrom(...Object.keys(ANSWERS)), { minLength: 1, maxLength: 6 }),
  })
  const history = fc.record({ force: fc.boolean(), steps: fc.array(step, { minLength: 1, maxLength: 12 }) })
  await fc.assert(
    fc.asyncProperty(history, async ({ force, steps }) => {
      const clock = new HandClock()
      const deletions: { readonly uid: string; readonly atMs: number }[] = []
      const firstAsked = new Map<string, number>()
      let [running, most, answers] = [0, 0, [] as string[]]
      const api = new Script(async (call: Call) => {
        running += 1
        most = Math.max(most, running)
        const { preconditions } = call.operation === 'deletePod' ? optionsIn(call.body) : optionsIn(call.body).deleteOptions
        if (call.operation === 'deletePod') deletions.push({ uid: preconditions.uid, atMs: clock.nowMs })
        else if (!firstAsked.has(preconditions.uid)) firstAsked.set(preconditions.uid, clock.nowMs)
        await Promise.resolve()
        running -= 1
        return ANSWERS[answers.length > 1 ? (answers.shift() ?? 'yes') : (answers[0] ?? 'yes')]?.()
      })
      const settings = { force, forceAfterMs: 30_000 }
      const evictor = evictorOf(api, { clock, settings, backoffMs: { firstMs: 0, maxMs: 0 }, random: () => 0 })
      for (const { afterMs, pods, dryRun, answers: next } of steps) {
        clock.nowMs += afterMs
        answers = [...next]
        evictor.evict(
          pods.map((index) => wishOf({ name: `p${index}` }, { dryRun })),
          clock.nowMs,
        )
        while (evictor.view().recent.some(({ is }) => is === 'asked')) await new Promise((resolve) => setTimeout(resolve, 1))
      }
      const { recent, counts } = evictor.view()
      expect(most).toBeLessThanOrEqual(1)
      expect(new Set(recent.map(({ wish: { uid } }) => uid)).size).toBe(recent.length)
      expect(recent.map(({ atMs }) => atMs)).toEqual(recent.map(({ atMs }) => atMs).sort((a, b) => b - a))
      const decided = EVICTION_OUTCOMES.filter((is) => is !== 'asked' && is !== 'dryRun')
      expect(decided.reduce((sum, is) => sum + counts[is], 0)).toBe(counts.asked)
      for (const { uid, atMs } of deletions) expect(atMs - (firstAsked.get(uid) ?? atMs)).toBeGreaterThanOrEqual(30_000)
      if (!force) expect(deletions).toEqual([])
      evictor.close()
    }),
    { numRuns: 150 },
  )
})

interface Options {
  readonly preconditions: { readonly uid: string }
}

const optionsIn = (body: unknown): Options & { readonly deleteOptions: Options } =>
  body as Options & { readonly deleteOptions: Options }
