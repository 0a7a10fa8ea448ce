/** Which lists are believed: none that steps back in time, and none of a node that does not exist. */
import { hostname } from 'node:os'
import { describe, expect, it, vi } from 'vitest'
import { ApiContentError, ApiError } from '../../../src/kube/api.ts'
import type { PodSource } from '../../../src/model/index.ts'
import { EMPTY, listOf, Scripted, scriptedPods } from './scripted.ts'
import { haveOpenssl, NODE, pod, podsOf, SOON, startDouble } from './support.ts'

const failing = (status: number, message = 'told to fail') => {
  return (): never => {
    throw new ApiError(status, '', message)
  }
}
const EXPIRED = failing(410, 'too old resource version')
const AHEAD = failing(504, 'Timeout: Too large resource version: 5, current: 3')
const LIST = () => listOf('5', [pod('a', { uid: 'u1' })])

const names = (source: PodSource): string[] => source.list().pods.map(({ name }) => name)
const fieldSelector = `spec.nodeName=${NODE}`
const FROM_CACHE = { fieldSelector, limit: '500', resourceVersion: '0' }
const SINCE_5 = { fieldSelector, resourceVersion: '5', resourceVersionMatch: 'NotOlderThan' }
const NEWEST = { fieldSelector, limit: '500' }

const listed = ({ asked }: Scripted) => asked.filter(({ operation }) => operation === 'listPods').map(({ query }) => query)
const untilLists = (api: Scripted, wanted: readonly unknown[]) => vi.waitFor(() => expect(listed(api)).toEqual(wanted), SOON)

describe('a list after a watch whose past is forgotten', () => {
  const IMPATIENT_AGAIN = { expiredPauseMs: 0 }

  it.each([
    ['forgotten too', EXPIRED],
    ['ahead of the server', AHEAD],
  ])('asks for what was seen, and for the newest only where that is %s', async (_what, refuse) => {
    const api = new Scripted([LIST, refuse, refuse, LIST], [EXPIRED, EXPIRED])
    scriptedPods(api, IMPATIENT_AGAIN)
    // Once it was had, the next is again one that the cache can give.
    await untilLists(api, [FROM_CACHE, SINCE_5, NEWEST, NEWEST, SINCE_5])
  })

  it.each([401, 429, 500, 503, 504])('asks for what was seen after %i too', async (status) => {
    const api = new Scripted([LIST, failing(status), failing(status), LIST], [EXPIRED])
    scriptedPods(api, IMPATIENT_AGAIN)
    await untilLists(api, [FROM_CACHE, SINCE_5, SINCE_5, SINCE_5])
  })

  it('asks for the newest, in small pages, where all at once is too large', async () => {
    const large = () => {
      throw new ApiContentError('too long', true)
    }
    const api = new Scripted([LIST, large, LIST], [EXPIRED])
    scriptedPods(api, IMPATIENT_AGAIN)
    await untilLists(api, [FROM_CACHE, SINCE_5, { fieldSelector, limit: '50' }])
  })

  it('is not taken when it is older than what was seen; the newest is asked for, and believed whatever its version', async () => {
    const two = () => listOf('10', [pod('a', { uid: 'u1' }), pod('b', { uid: 'u2' })])
    // As text, 9 would be newer than 10.
    const api = new Scripted([two, () => listOf('9'), failing(503), () => listOf('3', [pod('b', { uid: 'u2' })])], [EXPIRED])
    const source = scriptedPods(api, IMPATIENT_AGAIN)
    const seen: string[] = []
    source.onChange(() => seen.push(names(source).join()))
    await vi.waitFor(() => expect(names(source)).toEqual(['b']), SOON)
    expect(listed(api)).toEqual([FROM_CACHE, { ...SINCE_5, resourceVersion: '10' }, NEWEST, NEWEST])
    await vi.waitFor(() => expect(source.list().problems).toEqual([]), SOON)
    expect(seen).not.toContain('')
  })

  it('is believed where versions are no numbers', async () => {
    const api = new Scripted([() => listOf('b'), () => listOf('a', [pod('a', { uid: 'u1' })])], [EXPIRED])
    const source = scriptedPods(api, IMPATIENT_AGAIN)
    await vi.waitFor(() => expect(names(source)).toEqual(['a']), SOON)
  })
})

describe('a watch', () => {
  it('that a proxy ends with 504 is begun anew where it ended', async () => {
    const api = new Scripted([LIST], [failing(504), failing(504)])
    scriptedPods(api)
    await vi.waitFor(() => expect(api.asked).toHaveLength(4), SOON)
    expect(api.asked.map(({ operation }) => operation)).toEqual(['listPods', 'watchPods', 'watchPods', 'watchPods'])
    expect(api.asked.at(-1)?.query).toMatchObject({ resourceVersion: '5' })
  })

  it('from a version that the server does not know yet, or any more, is followed by a list', async () => {
    const api = new Scripted([LIST, AHEAD, LIST], [AHEAD])
    scriptedPods(api)
    await untilLists(api, [FROM_CACHE, SINCE_5, NEWEST])
  })
})

describe('the node', () => {
  const HOST = { hostName: 'host-7' }
  const MISSING = `s: lost since 1970-01-01T00:00:00.000Z: no node named ${NODE} at the API server; set node.name to its name in Kubernetes (this host is called host-7)`
  const NO_NODE = failing(404, 'nodes "node-1" not found')
  const options = { ...HOST, wallNow: () => 0 }

  it.each([
    ['without pods', EMPTY],
    ['with pods', LIST],
  ])('that does not exist makes a first list %s one that is not taken', async (_what, list) => {
    const api = new Scripted([list], [])
    api.node = NO_NODE
    const source = scriptedPods(api, options)
    await vi.waitFor(() => expect(listed(api).length).toBeGreaterThan(3), SOON)
    expect(source.list()).toMatchObject({ pods: [], everRead: false, revision: 0, problems: [MISSING] })
    for (const query of listed(api)) expect(query).toEqual(FROM_CACHE)
    api.node = () => ({})
    await vi.waitFor(() => expect(source.list()).toMatchObject({ everRead: true, problems: [] }), SOON)
  })

  it('that is gone makes a later list without pods one that is not taken, and one with pods is not questioned', async () => {
    const api = new Scripted([LIST, LIST, EMPTY], [() => void (api.node = NO_NODE), EXPIRED, EXPIRED])
    const source = scriptedPods(api, { ...options, expiredPauseMs: 0 })
    await vi.waitFor(() => expect(source.list().problems).toEqual([MISSING]), SOON)
    expect(source.list()).toMatchObject({ pods: [{ name: 'a' }], everRead: true })
    expect(listed(api).length).toBeGreaterThanOrEqual(3)
    api.node = () => ({})
    await vi.waitFor(() => expect(names(source)).toEqual([]), SOON)
    expect(source.list().problems).toEqual([])
  })

  it.each([
    ['403', failing(403)],
    ['503', failing(503)],
    ['no connection', () => Promise.reject(new Error('connect ECONNREFUSED'))],
  ])('that can not be asked for (%s) is taken to exist', async (_what, node) => {
    const api = new Scripted([EMPTY], [])
    api.node = node
    const source = scriptedPods(api, options)
    await vi.waitFor(() => expect(source.list().everRead).toBe(true), SOON)
    expect(source.list().problems).toEqual([])
  })

  it('is asked for by the name that lists are, at a true server too', async (context) => {
    if (!haveOpenssl()) context.skip('needs openssl')
    const api = await startDouble()
    api.put('pods', pod('a'))
    const source = podsOf(api, { nodeName: 'node-l' })
    const told = `no node named node-l at the API server; set node.name to its name in Kubernetes (this host is called ${hostname()})`
    await vi.waitFor(() => expect(source.list().problems).toEqual([expect.stringContaining(told)]), SOON)
    expect(source.list()).toMatchObject({ pods: [], everRead: false })
    api.put('nodes', { metadata: { name: 'node-l' } })
    await vi.waitFor(() => expect(source.list()).toMatchObject({ everRead: true, problems: [] }), SOON)
  })
})
