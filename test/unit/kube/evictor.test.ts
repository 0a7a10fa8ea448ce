/** The evictor against an API server with real TLS that evicts as strictly as the real one: what it asks, and what it makes of each answer. */
import { rmSync } from 'node:fs'
import { beforeEach, describe, expect, it } from 'vitest'
import type { ApiEvictor } from '../../../src/kube/evictor.ts'
import type { ClusterEvent } from '../../../src/kube/events-object.ts'
import type { EvictionWish } from '../../../src/model/index.ts'
import { type ApiObject, type ApiServerDouble, type RbacRule } from '../../support/api-server/index.ts'
import { evictorOf, type EvictorChanges, wishOf } from './evictor-support.ts'
import { HandClock } from './reporter-support.ts'
import { clientOf, haveOpenssl, pod, SOON, startDouble } from './support.ts'

const openssl = haveOpenssl()
let server: ApiServerDouble
let clock: HandClock
let told: ClusterEvent[]

beforeEach(async (context) => {
  if (!openssl) return context.skip('needs openssl')
  server = await startDouble()
  clock = new HandClock()
  told = []
})

/** On a clock that only the test moves. */
const evictorHere = (changes: EvictorChanges = {}, requestMs = 10_000): ApiEvictor =>
  evictorOf(clientOf(server, { requestMs }), { clock, tell: (event) => told.push(event), ...changes })

const podHere = (name: string, more: { readonly phase?: string; readonly labels?: Record<string, string> } = {}): ApiObject => {
  const made = pod(name, more)
  const labels = more.labels === undefined ? {} : { labels: more.labels }
  return server.put('pods', { ...made, metadata: { ...made.metadata, ...labels } })
}
const wishFor = ({ metadata }: ApiObject, changes: Partial<EvictionWish> = {}): EvictionWish => wishOf(metadata, changes)

const outcomes = (evictor: ApiEvictor): readonly string[] => evictor.view().recent.map(({ wish, is }) => `${wish.name} ${is}`)
const detailOf = (evictor: ApiEvictor): string => evictor.view().recent[0]?.detail ?? ''
const asked = (): readonly string[] => server.requests.map(({ verb, resource, status }) => `${verb} ${resource} ${status}`)
const bodies = (): readonly unknown[] => server.requests.map(({ body }) => JSON.parse(body) as unknown)

async function carriedOut(evictor: ApiEvictor, ...wishes: EvictionWish[]): Promise<void> {
  evictor.evict(wishes, clock.nowMs)
  await expect.poll(() => outcomes(evictor).some((text) => text.endsWith(' asked')), SOON).toBe(false)
}

describe('a wish', () => {
  it('becomes one eviction of exactly this pod, which then ends in its own time', async () => {
    server.graceSecondMs = 5
    const victim = podHere('p')
    const evictor = evictorHere()
    await carriedOut(evictor, wishFor(victim))
    expect(outcomes(evictor)).toEqual(['p evicted'])
    expect(server.requests.map(({ path }) => path)).toEqual(['/api/v1/namespaces/default/pods/p/eviction'])
    expect(bodies()).toEqual([
      {
        apiVersion: 'policy/v1',
        kind: 'Eviction',
        metadata: { namespace: 'default', name: 'p' },
        deleteOptions: { preconditions: { uid: victim.metadata.uid } },
      },
    ])
    await expect.poll(() => server.get('pods', 'default', 'p'), SOON).toBeUndefined()
    expect(evictor.stats().writes.createEviction).toEqual({ ok: 1, failed: 0 })
  })

  it.each([
    { configured: 30, own: 30, sent: undefined },
    { configured: 30, own: 5, sent: undefined },
    { configured: 30, own: 3600, sent: 30 },
    { configured: 30, own: undefined, sent: undefined },
    { configured: 10, own: undefined, sent: 10 },
    { configured: 0, own: 30, sent: 1 },
    { configured: 0, own: 0, sent: undefined },
  ])('with $configured s for a pod with $own s of its own sends $sent', async ({ configured, own, sent }) => {
    const evictor = evictorHere({ settings: { gracePeriodSeconds: configured }, graceSecondsOf: () => own })
    await carriedOut(evictor, wishFor(podHere('p')))
    const [body] = bodies() as { readonly deleteOptions: { readonly gracePeriodSeconds?: number } }[]
    expect(body?.deleteOptions.gracePeriodSeconds).toBe(sent)
    expect(outcomes(evictor)).toEqual(['p evicted'])
  })

  it('made twice, or again while the answer is out or was a yes, is asked once', async () => {
    const wish = wishFor(podHere('p'))
    const evictor = evictorHere()
    server.slow(50)
    evictor.evict([wish, wish], clock.nowMs)
    evictor.evict([wish], clock.nowMs + 60_000)
    expect(outcomes(evictor)).toEqual(['p asked'])
    await carriedOut(evictor)
    clock.nowMs += 3_600_000
    await carriedOut(evictor, wish)
    expect(asked()).toEqual(['create pods/eviction 201'])
    expect(evictor.view().counts).toMatchObject({ asked: 1, evicted: 1 })
  })

  it('for a pod that is gone, or has a successor of its name, touches nothing', async () => {
    const successor = podHere('p')
    const evictor = evictorHere()
    await carriedOut(evictor, wishOf({ name: 'p', uid: 'of-the-one-before' }), wishOf({ name: 'nobody' }))
    expect(outcomes(evictor)).toEqual(['nobody gone', 'p gone'])
    expect(asked()).toEqual(['create pods/eviction 409', 'create pods/eviction 404'])
    expect(server.get('pods', 'default', 'p')).toEqual(successor)
    expect(told).toEqual([])
  })

  it('of a dry run is told and never asked for, and asked for as soon as the dry run ends', async () => {
    const victim = podHere('p')
    const evictor = evictorHere()
    await carriedOut(evictor, wishFor(victim, { dryRun: true }), wishFor(victim, { dryRun: true }))
    expect(outcomes(evictor)).toEqual(['p dryRun'])
    expect(evictor.view().counts.dryRun).toBe(1)
    expect(asked()).toEqual([])
    await carriedOut(evictor, wishFor(victim))
    expect(outcomes(evictor)).toEqual(['p evicted'])
    expect(told.map(({ reason }) => reason)).toEqual(['OfflinePodWouldBeEvicted', 'OfflinePodEvicted'])
  })

  it('with a name that leads elsewhere fails, and is not sent', async () => {
    const evictor = evictorHere()
    await carriedOut(evictor, wishOf({ name: '..' }), wishOf({ name: "o'k", namespace: 'a/b' }))
    expect(outcomes(evictor)).toEqual(["o'k failed", '.. failed'])
    expect(asked()).toEqual([])
  })

  it('after a restart finds a pod that ends already, and leaves it its time', async () => {
    const victim = podHere('p')
    await carriedOut(evictorHere(), wishFor(victim))
    const ending = server.get('pods', 'default', 'p')?.metadata
    const evictor = evictorHere()
    await carriedOut(evictor, wishFor(victim))
    expect(outcomes(evictor)).toEqual(['p evicted'])
    expect(server.get('pods', 'default', 'p')?.metadata).toMatchObject({
      deletionTimestamp: ending?.['deletionTimestamp'],
      deletionGracePeriodSeconds: 30,
    })
  })
})

describe('a disruption budget', () => {
  const NEEDS = 'The disruption budget keep needs 2 healthy pods and has 2 currently'
  const keep = (disruptionsAllowed: number) =>
    server.protect({ name: 'keep', namespace: 'default', disruptionsAllowed, desiredHealthy: 2, currentHealthy: 2 })

  it('blocks, and is asked again with a later wish, until it allows', async () => {
    const budget = keep(0)
    const wish = wishFor(podHere('p'))
    const evictor = evictorHere()
    await carriedOut(evictor, wish)
    expect(evictor.view().recent).toEqual([{ wish, is: 'blocked', atMs: clock.nowMs, detail: NEEDS }])
    clock.nowMs += 9_000
    await carriedOut(evictor, wish)
    expect(asked()).toEqual(['create pods/eviction 429'])
    budget.disruptionsAllowed = 1
    clock.nowMs += 1_000
    await carriedOut(evictor, wish)
    expect(outcomes(evictor)).toEqual(['p evicted'])
    expect(evictor.view().impossible).toBeUndefined()
    expect(evictor.view().counts).toEqual({ asked: 2, evicted: 1, forced: 0, blocked: 1, gone: 0, failed: 0, dryRun: 0 })
  })

  it('that the server still works on, or that is broken, blocks as well: neither is a missing right', async () => {
    const budget = keep(0)
    budget.beingProcessed = true
    const evictor = evictorHere()
    await carriedOut(evictor, wishFor(podHere('p')))
    budget.beingProcessed = false
    budget.disruptionsAllowed = -1
    await carriedOut(evictor, wishFor(podHere('q')))
    expect(outcomes(evictor)).toEqual(['q blocked', 'p blocked'])
    expect(asked()).toEqual(['create pods/eviction 429', 'create pods/eviction 403'])
    expect(evictor.view().impossible).toBeUndefined()
  })

  it('beside another one blocks, though the server answers 201', async () => {
    for (let count = 0; count < 2; count += 1) keep(5)
    const evictor = evictorHere()
    await carriedOut(evictor, wishFor(podHere('p')))
    expect(outcomes(evictor)).toEqual(['p blocked'])
    expect(detailOf(evictor)).toContain('more than one PodDisruptionBudget')
    expect(asked()).toEqual(['create pods/eviction 201'])
    expect(server.get('pods', 'default', 'p')?.metadata['deletionTimestamp']).toBeUndefined()
  })

  it('is overruled with force only, after it has refused for all of the time, and asked each time before', async () => {
    keep(0)
    const victim = podHere('p')
    const [meek, strong] = [evictorHere(), evictorHere({ settings: { force: true, forceAfterMs: 60_000 } })]
    for (let passed = 0; passed <= 60_000; passed += 20_000) {
      await carriedOut(meek, wishFor(victim))
      expect(outcomes(meek)).toEqual(['p blocked'])
      await carriedOut(strong, wishFor(victim))
      expect(outcomes(strong)).toEqual([passed < 60_000 ? 'p blocked' : 'p forced'])
      clock.nowMs += 20_000
    }
    expect(asked().filter((text) => text.startsWith('delete'))).toEqual(['delete pods 200'])
    expect(asked().filter((text) => text === 'create pods/eviction 429').length).toBe(8)
    expect(bodies().at(-1)).toEqual({
      apiVersion: 'v1',
      kind: 'DeleteOptions',
      preconditions: { uid: victim.metadata.uid },
    })
  })

  it('has all of its time anew when the pod was left in peace for long', async () => {
    keep(0)
    const wish = wishFor(podHere('p'))
    const evictor = evictorHere({ settings: { force: true, forceAfterMs: 60_000 } })
    await carriedOut(evictor, wish)
    clock.nowMs += 3_600_000
    await carriedOut(evictor, wish)
    expect(outcomes(evictor)).toEqual(['p blocked'])
    clock.nowMs += 60_000
    await carriedOut(evictor, wish)
    expect(outcomes(evictor)).toEqual(['p forced'])
  })

  it('that relents in time is not overruled', async () => {
    const budget = keep(0)
    const wish = wishFor(podHere('p'))
    const evictor = evictorHere({ settings: { force: true, forceAfterMs: 60_000 } })
    await carriedOut(evictor, wish)
    budget.disruptionsAllowed = 1
    clock.nowMs += 60_000
    await carriedOut(evictor, wish)
    expect(outcomes(evictor)).toEqual(['p evicted'])
  })

  it('is not overruled without the right to delete, which is said and leaves evictions possible', async () => {
    keep(0)
    server.grant([{ apiGroups: [''], resources: ['pods/eviction'], verbs: ['create'] }])
    const evictor = evictorHere({ settings: { force: true, forceAfterMs: 0 } })
    await carriedOut(evictor, wishFor(podHere('p')))
    expect(asked()).toEqual(['create pods/eviction 429', 'delete pods 403'])
    expect(outcomes(evictor)).toEqual(['p failed'])
    expect(detailOf(evictor)).toMatch(/disruption budget keep .*evict\.force: .*Grant the verb "delete" on "pods"/)
    expect(evictor.view().impossible).toBeUndefined()
  })

  it('does not protect a pod that has not begun', async () => {
    keep(0)
    const evictor = evictorHere()
    await carriedOut(evictor, wishFor(podHere('p', { phase: 'Pending' })))
    expect(outcomes(evictor)).toEqual(['p evicted'])
  })
})

describe('a missing right', () => {
  const EVICTIONS: readonly RbacRule[] = [{ apiGroups: [''], resources: ['pods/eviction'], verbs: ['create'] }]

  it('makes evictions impossible, and names the rule, until a dry run shows that it was granted', async () => {
    server.grant([])
    const victim = podHere('p')
    const evictor = evictorHere()
    await carriedOut(evictor, wishFor(victim))
    expect(outcomes(evictor)).toEqual(['p failed'])
    expect(evictor.view().impossible).toMatch(
      /403 Forbidden.*Grant the verb "create" on "pods\/eviction", as deploy\/rbac\.yaml does/,
    )
    expect(asked()).toEqual(['create pods/eviction 403'])
    clock.nowMs += 60_000
    evictor.evict([], clock.nowMs)
    await expect.poll(() => asked().length, SOON).toBe(2)
    evictor.evict([], clock.nowMs)
    expect(evictor.view().impossible).toBeDefined()
    // Neither an answer that may come from anywhere nor a wish that was never sent says anything of rights.
    server.fail({ status: 503, times: 4 })
    await carriedOut(evictor, wishOf({ name: 'q' }), wishOf({ name: '..' }))
    expect(evictor.view().impossible).toBeDefined()
    server.requests.length = 2
    server.grant(EVICTIONS)
    clock.nowMs += 60_000
    evictor.evict([], clock.nowMs)
    await expect.poll(() => evictor.view().impossible, SOON).toBeUndefined()
    expect(asked()).toEqual(['create pods/eviction 403', 'create pods/eviction 403', 'create pods/eviction 201'])
    expect(bodies().at(-1)).toMatchObject({ deleteOptions: { dryRun: ['All'] } })
    expect(server.get('pods', 'default', 'p')).toEqual(victim)
    expect(evictor.view().counts).toMatchObject({ asked: 3, failed: 3, evicted: 0 })
    evictor.evict([], clock.nowMs + 600_000)
    await carriedOut(evictor, wishFor(victim))
    expect(asked().length).toBe(4)
    expect(outcomes(evictor)[0]).toBe('p evicted')
  })

  it('is not what a webhook says of this one pod', async () => {
    const message = 'admission webhook "guard.example.com" denied the request: not this one'
    server.fail({ status: 403, message })
    const evictor = evictorHere()
    await carriedOut(evictor, wishFor(podHere('p')))
    expect(outcomes(evictor)).toEqual(['p failed'])
    expect(detailOf(evictor)).toContain(message)
    expect(evictor.view().impossible).toBeUndefined()
    expect(asked().length).toBe(1)
  })

  it('of the whole agent is said too: a token that is not taken, or that was never there', async () => {
    server.fail({ status: 401, times: Infinity })
    const evictor = evictorHere()
    await carriedOut(evictor, wishFor(podHere('p')))
    expect(evictor.view().impossible).toContain('Is the token in cluster.tokenFile one of this cluster?')
    server.mend()
    rmSync(server.tokenFile)
    const without = evictorHere()
    await carriedOut(without, wishFor(podHere('q')))
    expect(without.view().impossible).toContain(server.tokenFile)
    expect(outcomes(without)).toEqual(['q failed'])
    server.rotateToken()
    clock.nowMs += 60_000
    for (const each of [evictor, without]) {
      each.evict([], clock.nowMs)
      await expect.poll(() => each.view().impossible, SOON).toBeUndefined()
    }
  })
})

it('does nothing, and says why, where evictions are off', () => {
  const evictor = evictorHere({ settings: { enabled: false } })
  evictor.evict([wishFor(podHere('p')), wishFor(podHere('q'), { dryRun: true })], clock.nowMs)
  expect(evictor.view()).toMatchObject({ impossible: expect.stringContaining('evict.enabled'), recent: [] })
})

it('tells of the rung, the use and the watermark in events about the pod', async () => {
  server.protect({ name: 'keep', namespace: 'default', matchLabels: { app: 'kept' }, disruptionsAllowed: 0 })
  const evictor = evictorHere({ settings: { force: true, forceAfterMs: 20_000 } })
  const kept = wishFor(podHere('kept', { labels: { app: 'kept' } }), { rung: 'memoryEvictBe', qosClass: 'BE' })
  await carriedOut(evictor, wishFor(podHere('p'), { rung: 'cpuEvict' }), kept)
  clock.nowMs += 20_000
  await carriedOut(evictor, kept)
  const used = 'used 1500m of CPU and 512 MiB of memory'
  expect(told.map(({ about, type, reason, message }) => [about.name, type, reason, message])).toEqual([
    [
      'p',
      'Warning',
      'OfflinePodEvicted',
      `Evicted: online work runs short of CPU (cpuEvict: from 95 % of the node in use, or while it waits for CPU); the OT pod ${used}`,
    ],
    [
      'kept',
      'Warning',
      'OfflinePodEvictionBlocked',
      'Should be evicted, but a disruption budget forbids it: the node runs short of memory (memoryEvictBe: at 5 % available or less). ' +
        'The disruption budget keep needs 1 healthy pods and has 1 currently',
    ],
    [
      'kept',
      'Warning',
      'OfflinePodEvicted',
      `Deleted past its disruption budget: the node runs short of memory (memoryEvictBe: at 5 % available or less); the BE pod ${used}`,
    ],
  ])
  expect(told[0]?.about).toMatchObject({
    kind: 'Pod',
    namespace: 'default',
    uid: server.get('pods', 'default', 'p')?.metadata.uid,
  })
})
