/**
 * Whatever happens to pods and to the server, and in whatever order: once it is quiet the source lists the pods of this node as the server
 * has them, without a problem; and on the way equal revisions mean equal lists, and no UID is listed twice.
 */
import * as fc from 'fast-check'
import { expect, it, vi } from 'vitest'
import type { PodSpec } from '../../../src/model/index.ts'
import type { ApiServerDouble } from '../../support/api-server/index.ts'
import { haveOpenssl, NODE, pod, podsOf, startDouble } from './support.ts'

type Act = (api: ApiServerDouble) => void

const name = fc.integer({ min: 0, max: 4 }).map((index) => `p${index}`)
const put: fc.Arbitrary<Act> = fc
  .record({ name, phase: fc.constantFrom('Pending', 'Running', 'Succeeded'), node: fc.constantFrom(NODE, NODE, 'node-2') })
  .map(({ name, phase, node }) => (api) => {
    // The scheduler binds once: a pod that was on another node is another pod.
    const before = api.get('pods', 'default', name)
    if (before !== undefined && (before['spec'] as { nodeName: string }).nodeName !== node) api.remove('pods', 'default', name)
    api.put('pods', pod(name, { phase, node }))
  })
const broken: fc.Arbitrary<Act> = name.map((name) => (api) => {
  if (api.get('pods', 'default', name) === undefined) api.put('pods', { ...pod(name), spec: { nodeName: NODE, containers: [] } })
})
const remove: fc.Arbitrary<Act> = name.map((name) => (api) => api.remove('pods', 'default', name))
const replace: fc.Arbitrary<Act> = name.map((name) => (api) => {
  api.remove('pods', 'default', name)
  api.put('pods', pod(name))
})
const drop = fc.boolean().map((midLine): Act => {
  return (api) => api.dropWatches({ midLine })
})
const expire = fc.constantFrom('http' as const, 'event' as const).map((as): Act => {
  return (api) => {
    // The double goes on writing to a running watch that it has expired; api-pods.test.ts expires one in peace.
    api.dropWatches({ midLine: true })
    api.expire(as)
  }
})
const failing = fc.record({
  status: fc.constantFrom(401, 403, 410, 429, 500, 502, 503, 504),
  times: fc.integer({ min: 1, max: 3 }),
})
const fail = failing.map((failure): Act => {
  return (api) => api.fail(failure)
})
const slow = fc.integer({ min: 0, max: 10 }).map((ms): Act => {
  return (api) => api.slow(ms)
})
const trouble = fc.oneof(
  drop,
  expire,
  fail,
  slow,
  fc.constantFrom<Act>(
    (api) => api.rotateToken(),
    (api) => api.hang(),
    (api) => api.resume(),
    (api) => {
      // A bookmark of the double does not wait for the events that a hang holds back.
      api.resume()
      api.bookmark()
    },
  ),
)
/** Lets the two sides get on for a while. */
const rest = fc.integer({ min: 0, max: 12 })

const step = fc.oneof(
  { weight: 4, arbitrary: put },
  remove,
  replace,
  broken,
  { weight: 3, arbitrary: trouble },
  { weight: 4, arbitrary: rest },
)

function atServer(api: ApiServerDouble): string[] {
  return api
    .all('pods')
    .filter(
      ({ spec }) => (spec as { nodeName: string }).nodeName === NODE && (spec as { containers: unknown[] }).containers.length > 0,
    )
    .map(({ metadata, status }) => `${metadata.uid} ${(status as { phase: string }).phase}`)
    .sort()
}

/** Well below the time limit of the property: a run that is cut off by that counts as none. */
const AT_REST = { timeout: 10_000, interval: 2 }

it('at rest the list is what the server has', { timeout: 60_000 }, async (context) => {
  if (!haveOpenssl()) context.skip('needs openssl')
  const api = await startDouble()
  const property = fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 60 }), async (steps) => {
    for (const { metadata } of api.all('pods')) api.remove('pods', 'default', metadata.name)
    const source = podsOf(api)
    const lists = new Map<number, readonly PodSpec[]>()
    const look = (): void => {
      const { pods, revision } = source.list()
      expect(lists.get(revision) ?? pods).toEqual(pods)
      expect(new Set(pods.map(({ uid }) => uid)).size).toBe(pods.length)
      lists.set(revision, pods)
    }
    source.onChange(look)
    for (const one of steps) {
      if (typeof one === 'number') await new Promise((resolve) => setTimeout(resolve, one))
      else one(api)
      look()
    }
    api.mend()
    api.resume()
    api.slow(0)
    for (const { metadata, spec } of api.all('pods'))
      if ((spec as { containers: unknown[] }).containers.length === 0) api.remove('pods', 'default', metadata.name)
    await vi.waitFor(() => {
      const { pods, problems } = source.list()
      expect(pods.map(({ uid, phase }) => `${uid} ${phase}`).sort()).toEqual(atServer(api))
      expect(problems).toEqual([])
    }, AT_REST)
    look()
    source.close()
  })
  await fc.assert(property, { numRuns: 80, interruptAfterTimeLimit: 30_000, endOnFailure: true })
})
