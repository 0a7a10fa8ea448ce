/** Pods by list and watch from an API server that does everything that API servers do to their watchers. */
import { beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import { ApiContentError, ApiError, type WatchCalls } from '../../../src/kube/api.ts'
import { Cluster } from '../../../src/kube/index.ts'
import type { PodSource } from '../../../src/model/index.ts'
import { EMPTY, event, Scripted, scriptedPods } from './scripted.ts'
import { haveOpenssl, mirrorPod, NODE, pod, podsOf, SOON, startDouble } from './support.ts'

const openssl = haveOpenssl()
beforeEach((context) => {
  if (!openssl) context.skip('needs openssl')
})

const names = (source: PodSource): string[] => source.list().pods.map(({ name }) => name)

const until = (source: PodSource, wanted: readonly string[]) =>
  vi.waitFor(() => expect(names(source).sort()).toEqual([...wanted].sort()), SOON)

const untilWatched = (api: { readonly watching: number }) => vi.waitFor(() => expect(api.watching).toBe(1), SOON)

describe('a list and a watch', () => {
  it('has not been read before the first answer', async () => {
    const api = await startDouble()
    api.hang()
    const source = podsOf(api)
    await vi.waitFor(() => expect(api.requests).toHaveLength(1), SOON)
    expect(source.list()).toMatchObject({ pods: [], everRead: false, problems: [], source: api.url })
    api.resume()
    await vi.waitFor(() => expect(source.list().everRead).toBe(true), SOON)
    expect(source.list()).toMatchObject({ pods: [], problems: [] })
  })

  it('ask for the pods of this node, the list from the cache, the watch from the version of the list', async () => {
    const api = await startDouble()
    api.put('pods', pod('a'))
    api.put('pods', pod('elsewhere', { node: 'node-2' }))
    const version = api.all('pods').at(-1)?.metadata.resourceVersion
    const source = podsOf(api)
    await until(source, ['a'])
    await untilWatched(api)
    const fieldSelector = `spec.nodeName=${NODE}`
    expect(api.requests).toMatchObject([
      { verb: 'list', path: '/api/v1/pods', query: { fieldSelector, limit: '500', resourceVersion: '0' } },
      { verb: 'get', path: `/api/v1/nodes/${NODE}`, query: { resourceVersion: '0' } },
      { verb: 'watch', path: '/api/v1/pods', query: { fieldSelector, resourceVersion: version, allowWatchBookmarks: 'true' } },
    ])
    expect(source.list().pods[0]).toMatchObject({ origin: `${api.url}/api/v1/namespaces/default/pods/a` })
  })

  it('follow what is added, changed and removed, and call back', async () => {
    const api = await startDouble()
    api.put('pods', pod('a'))
    const source = podsOf(api)
    const changed = vi.fn()
    source.onChange(changed)
    await until(source, ['a'])
    await untilWatched(api)
    api.put('pods', pod('b'))
    await until(source, ['a', 'b'])
    const [a] = source.list().pods
    api.put('pods', pod('b', { phase: 'Succeeded' }))
    await vi.waitFor(() => expect(source.list().pods[1]?.phase).toBe('Succeeded'), SOON)
    expect(source.list().pods[0]).toBe(a)
    api.remove('pods', 'default', 'a')
    await until(source, ['b'])
    const { revision } = source.list()
    await vi.waitFor(() => expect(changed).toHaveBeenCalled(), SOON)
    expect(source.list().revision).toBe(revision)
  })

  it('call back once for changes that come together', async () => {
    const api = await startDouble()
    const source = podsOf(api)
    await untilWatched(api)
    const seen: number[] = []
    source.onChange(() => seen.push(source.list().pods.length))
    for (let index = 0; index < 200; index += 1) api.put('pods', pod(`p${index}`))
    await vi.waitFor(() => expect(seen.at(-1)).toBe(100), SOON)
    expect(seen.length).toBeLessThan(100)
  })

  it('keep a pod that is being deleted until it is gone, and tell it from its successor', async () => {
    const api = await startDouble()
    const first = pod('a', { uid: 'u1' })
    api.put('pods', first)
    const source = podsOf(api)
    await until(source, ['a'])
    await untilWatched(api)
    api.put('pods', {
      ...first,
      metadata: { ...first.metadata, deletionTimestamp: '2026-11-21T10:00:00Z' },
      status: { phase: 'Failed' },
    })
    await vi.waitFor(() => expect(source.list().pods[0]?.phase).toBe('Failed'), SOON)
    api.remove('pods', 'default', 'a')
    api.put('pods', pod('a', { uid: 'u2' }))
    await vi.waitFor(() => expect(source.list().pods.map(({ uid }) => uid)).toEqual(['u2']), SOON)
  })

  it('know a static pod by its hash', async () => {
    const api = await startDouble()
    api.put('pods', mirrorPod('etcd', { uid: 'mirror', hash: 'abc' }))
    const source = podsOf(api)
    await vi.waitFor(() => expect(source.list().pods).toMatchObject([{ uid: 'abc', objectUid: 'mirror' }]), SOON)
  })

  it('name a pod that can not be used, and keep its last good spec', async () => {
    const api = await startDouble()
    api.put('pods', pod('a'))
    const source = podsOf(api)
    await until(source, ['a'])
    await untilWatched(api)
    const { revision } = source.list()
    api.put('pods', {
      ...pod('a'),
      spec: { nodeName: NODE, containers: [{ name: 'c', resources: { limits: { cpu: 'much' } } }] },
    })
    await vi.waitFor(() => expect(source.list().problems).toEqual([expect.stringContaining('default/a')]), SOON)
    expect(source.list()).toMatchObject({ pods: [{ name: 'a' }], revision })
  })

  it('take pages one after the other when the cache is not asked', async () => {
    const api = await startDouble()
    for (let index = 0; index < 1201; index += 1) api.put('pods', pod(`p${index}`))
    api.fail({ status: 410 })
    const source = podsOf(api, { maxPods: 2000 })
    await vi.waitFor(() => expect(source.list().pods).toHaveLength(1201), SOON)
    const lists = api.requests.filter(({ verb }) => verb === 'list').map(({ query }) => query)
    expect(lists.map(({ resourceVersion, limit }) => [resourceVersion, limit])).toEqual([
      ['0', '500'],
      [undefined, '500'],
      [undefined, '500'],
      [undefined, '500'],
    ])
    expect(lists.map(({ continue: token }) => token !== undefined)).toEqual([false, false, true, true])
  })
})

describe('trouble', () => {
  it('of a watch that ends in order is none: the next one begins where it ended', async () => {
    const api = await startDouble()
    const source = podsOf(api)
    await untilWatched(api)
    for (let round = 0; round < 3; round += 1) {
      api.put('pods', pod(`a${round}`))
      await vi.waitFor(() => expect(names(source)).toHaveLength(2 * round + 1), SOON)
      api.dropWatches()
      api.put('pods', pod(`b${round}`))
      await vi.waitFor(() => expect(names(source)).toHaveLength(2 * round + 2), SOON)
      await untilWatched(api)
    }
    expect(api.requests.filter(({ verb }) => verb === 'list')).toHaveLength(1)
    expect(source.list().problems).toEqual([])
  })

  it('within a line loses and repeats nothing', async () => {
    const api = await startDouble()
    const source = podsOf(api)
    await untilWatched(api)
    api.put('pods', pod('a'))
    await until(source, ['a'])
    const [a] = source.list().pods
    api.dropWatches({ midLine: true })
    api.put('pods', pod('b'))
    await until(source, ['a', 'b'])
    expect(source.list().pods[0]).toBe(a)
    await vi.waitFor(() => expect(source.list().problems).toEqual([]), SOON)
    expect(api.requests.filter(({ verb }) => verb === 'list')).toHaveLength(1)
  })

  it.each(['http', 'event'] as const)(
    'of a forgotten past (%s) is met with a new list, not older than what was seen',
    async (as) => {
      const api = await startDouble()
      api.put('pods', pod('a'))
      api.put('pods', pod('b'))
      const source = podsOf(api)
      await until(source, ['a', 'b'])
      await untilWatched(api)
      const [a] = source.list().pods
      const seen = api.all('pods').at(-1)?.metadata.resourceVersion
      // What a watch would have told is gone with the past.
      api.dropWatches({ midLine: true })
      api.remove('pods', 'default', 'b')
      api.put('pods', pod('c'))
      api.expire(as)
      await until(source, ['a', 'c'])
      await untilWatched(api)
      expect(source.list().pods[0]).toBe(a)
      expect(source.list().problems).toEqual([])
      const lists = api.requests.filter(({ verb }) => verb === 'list')
      const fieldSelector = `spec.nodeName=${NODE}`
      expect(lists.map(({ query }) => query)).toEqual([
        { fieldSelector, limit: '500', resourceVersion: '0' },
        // Without a limit: pages would come from etcd.
        { fieldSelector, resourceVersion: seen, resourceVersionMatch: 'NotOlderThan' },
      ])
      api.put('pods', pod('d'))
      await until(source, ['a', 'c', 'd'])
    },
  )

  it('of a running watch whose past is forgotten is met with a new list, and is no loss', async () => {
    const api = await startDouble()
    const logger = { info: vi.fn(), warn: vi.fn() }
    const source = podsOf(api, { logger })
    await untilWatched(api)
    api.expire()
    await vi.waitFor(
      () => expect(api.requests.map(({ verb }) => verb)).toEqual(['list', 'get', 'watch', 'list', 'get', 'watch']),
      SOON,
    )
    await untilWatched(api)
    api.put('pods', pod('a'))
    await until(source, ['a'])
    expect(logger.warn).not.toHaveBeenCalled()
  })

  it('is spared by bookmarks: the next watch begins at the newest of them, and they prove life', async () => {
    const api = await startDouble()
    let nowMs = 0
    const source = podsOf(api, { now: () => nowMs })
    await untilWatched(api)
    const { metadata } = api.put('pods', pod('x', { node: 'node-2' }))
    nowMs = 5000
    api.bookmark()
    await vi.waitFor(() => expect(source.list().atMs).toBe(5000), SOON)
    api.dropWatches()
    await vi.waitFor(() => expect(api.requests).toHaveLength(4), SOON)
    expect(api.requests.at(-1)).toMatchObject({ verb: 'watch', query: { resourceVersion: metadata.resourceVersion } })
    expect(source.list()).toMatchObject({ pods: [], revision: 0 })
  })

  it('of the server leaves the list, which grows old, and tells since when and why, until it is back', async () => {
    const api = await startDouble()
    api.put('pods', pod('a'))
    let nowMs = 0
    const logger = { info: vi.fn(), warn: vi.fn() }
    const source = podsOf(api, { now: () => nowMs, wallNow: () => Date.UTC(2026, 10, 21, 10), logger })
    await until(source, ['a'])
    await untilWatched(api)
    const before = source.list()
    nowMs = 1000
    api.fail({ status: 503, times: Number.POSITIVE_INFINITY })
    api.dropWatches({ midLine: true })
    const told = expect.stringMatching(new RegExp(`^${api.url}: lost since 2026-11-21T10:00:00.000Z: .*503 ServiceUnavailable`))
    await vi.waitFor(() => expect(source.list().problems).toEqual([told]), SOON)
    await vi.waitFor(() => expect(api.requests.length).toBeGreaterThan(8), SOON)
    expect(source.list()).toMatchObject({ pods: before.pods, revision: before.revision, atMs: 0, everRead: true })
    // One line for the broken connection, one for the refusals that came after it.
    expect(logger.warn).toHaveBeenCalledTimes(2)
    nowMs = 2000
    api.mend()
    await vi.waitFor(() => expect(source.list()).toMatchObject({ problems: [], atMs: 2000 }), SOON)
    expect(logger.info).toHaveBeenCalledTimes(1)
    expect(api.requests.filter(({ verb }) => verb === 'list')).toHaveLength(1)
  })

  it.each([
    ['401', { status: 401, times: 3 }],
    ['429', { status: 429, times: 3, retryAfterSeconds: 0 }],
    ['500', { status: 500, times: 3 }],
    ['a proxy', { status: 502, times: 3, html: '<html>' }],
    ['410 for a list', { status: 410, times: 3, verb: 'list' }],
    ['504 for a watch', { status: 504, times: 3, verb: 'watch' }],
    ['504 for a list', { status: 504, times: 3, verb: 'list' }],
    ['404 for the node', { status: 404, times: 3, verb: 'get' }],
    ['500 for the node', { status: 500, times: 3, verb: 'get' }],
  ])('with %s is got over', async (_what, failure) => {
    const api = await startDouble()
    api.put('pods', pod('a'))
    api.fail(failure)
    const source = podsOf(api)
    await until(source, ['a'])
    await untilWatched(api)
    await vi.waitFor(() => expect(source.list().problems).toEqual([]), SOON)
  })

  it('with token and authority, which rotate together, is got over', async () => {
    const api = await startDouble()
    const source = podsOf(api)
    await untilWatched(api)
    await api.rotateCa()
    api.rotateToken()
    api.put('pods', pod('a'))
    await until(source, ['a'])
    expect(source.list().problems).toEqual([])
  })

  it('of rights names what to grant', async () => {
    const rules = [{ apiGroups: [''], resources: ['pods'], verbs: ['list'] }]
    const api = await startDouble({ rules })
    api.put('pods', pod('a'))
    const source = podsOf(api)
    await vi.waitFor(() => expect(source.list().problems[0]).toContain('Grant the verb "watch" on "pods"'), SOON)
    expect(names(source)).toEqual(['a'])
  })

  it('ends with close, whatever is under way', async () => {
    const api = await startDouble()
    const watching = podsOf(api)
    await untilWatched(api)
    watching.close()
    await vi.waitFor(() => expect(api.watching).toBe(0), SOON)
    api.hang()
    const hanging = podsOf(api)
    hanging.close()
    api.resume()
    api.fail({ status: 500, times: Number.POSITIVE_INFINITY })
    const waiting = podsOf(api)
    await vi.waitFor(() => expect(waiting.list().problems).not.toEqual([]), SOON)
    waiting.close()
    expect(api.watching).toBe(0)
  })
})

describe('against a script', () => {
  const waitsOf = async (api: Scripted, asked: number, random: () => number) => {
    const waits: number[] = []
    const original = setTimeout
    const spy = vi.spyOn(globalThis, 'setTimeout').mockImplementation(((run: () => void, ms: number) => {
      if (ms !== 20) waits.push(ms)
      return original(run, 0)
    }) as never)
    onTestFinished(() => spy.mockRestore())
    const source = scriptedPods(api, { random, backoffMs: { firstMs: 1000, maxMs: 60_000 } })
    await new Promise<void>((resolve) => {
      const look = (): void => void (api.asked.length >= asked ? resolve() : setImmediate(look))
      look()
    })
    source.close()
    spy.mockRestore()
    return waits.slice(0, asked - 1)
  }

  it('waits longer and longer, up to a minute, with full jitter', async () => {
    const refuse = () => {
      throw new ApiError(500, '', 'broken')
    }
    const bounds = [1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]
    expect(await waitsOf(new Scripted([refuse], []), 9, () => 0.5)).toEqual(bounds.map((bound) => bound / 2))
    expect(await waitsOf(new Scripted([refuse], []), 9, () => 0)).toEqual(bounds.map(() => 0))
  })

  it('waits at least as long as the server asks', async () => {
    const refuse = () => {
      throw new ApiError(429, '', 'slower', { retryAfterMs: 90_000 })
    }
    expect(await waitsOf(new Scripted([refuse], []), 4, () => 0.5)).toEqual([90_500, 91_000, 92_000])
  })

  it('forgets its patience once events come, and not before', async () => {
    const expire = () => {
      throw new ApiError(410, 'Expired', 'too old')
    }
    const live = (calls: WatchCalls) => {
      calls.onObject(event('BOOKMARK', '6'))
      throw new Error('broken')
    }
    // list, watch (410), list, watch (410), list, watch (event, broken), watch (event, broken), watch
    const api = new Scripted([EMPTY], [expire, expire, live, live])
    expect((await waitsOf(api, 8, () => 0.5)).slice(0, 4)).toEqual([2500, 2500, 500, 500])
    expect(api.asked.map(({ operation, query }) => [operation, query?.['resourceVersion']])).toEqual([
      ['listPods', '0'],
      ['watchPods', '5'],
      ['listPods', '5'],
      ['watchPods', '5'],
      ['listPods', '5'],
      ['watchPods', '5'],
      ['watchPods', '6'],
      ['watchPods', '6'],
    ])
  })

  it.each([
    ['a line that can not be used', () => new ApiContentError('too long', true), { limit: '50' }],
    ['an event without a version', (calls: WatchCalls) => calls.onObject({ type: 'ADDED', object: {} }), {}],
    ['an event of an unknown type', (calls: WatchCalls) => calls.onObject(event('RENAMED', '6')), {}],
    ['no event', (calls: WatchCalls) => calls.onObject('hello'), {}],
    ['an error of the server', (calls: WatchCalls) => calls.onObject({ type: 'ERROR', object: { code: 400 } }), {}],
  ])('lists anew after %s, which it would only get again', async (_what, act, limited) => {
    const api = new Scripted(
      [EMPTY],
      [
        (calls) => {
          const thrown: unknown = act(calls)
          if (thrown instanceof Error) throw thrown
        },
      ],
    )
    const source = scriptedPods(api)
    await vi.waitFor(
      () => expect(api.asked.map(({ operation }) => operation)).toEqual(['listPods', 'watchPods', 'listPods', 'watchPods']),
      SOON,
    )
    const from = { resourceVersion: '5', resourceVersionMatch: 'NotOlderThan' }
    expect(api.asked[2]?.query).toEqual({ fieldSelector: `spec.nodeName=${NODE}`, ...from, ...limited })
    expect(source.list().problems).toEqual([])
  })

  it.each([
    ['no list', () => ({ kind: 'Status' })],
    ['a list without a version', () => ({ items: [], metadata: {} })],
    ['nothing', () => null],
  ])('takes %s for a failure', async (_what, answer) => {
    const source = scriptedPods(new Scripted([answer], []))
    await vi.waitFor(() => expect(source.list().problems).toEqual([expect.stringContaining('no list of pods')]), SOON)
    expect(source.list().everRead).toBe(false)
  })

  it('does not follow pages for ever', async () => {
    const page = () => ({ items: [], metadata: { resourceVersion: '5', continue: 'more' } })
    const source = scriptedPods(new Scripted([page], []), { backoffMs: { firstMs: 60_000, maxMs: 60_000 } })
    await vi.waitFor(() => expect(source.list().problems).toEqual([expect.stringContaining('more than 1000 pages')]), SOON)
  })
})

describe('the front door', () => {
  it('makes a client and a source of plain values', async () => {
    const api = await startDouble()
    api.put('pods', pod('a'))
    const { url: server, tokenFile, caFile } = api
    const cluster = new Cluster({
      server,
      tokenFile,
      caFile,
      requestMs: 10_000,
      nodeName: NODE,
      version: '1',
      now: () => performance.now(),
    })
    onTestFinished(() => cluster.close())
    const source = cluster.pods(10)
    await until(source, ['a'])
    await untilWatched(api)
    source.close()
    cluster.close()
    await vi.waitFor(() => expect(api.watching).toBe(0), SOON)
  })
})
