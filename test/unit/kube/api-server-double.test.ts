/** The API-server double is as strict as a kube-apiserver in what the agent asks of it: else tests against it would prove nothing. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ask, watch } from '../../support/api-server/plain-caller.ts'
import { type ApiObject, ApiServerDouble, KubeletHttpsDouble } from '../../support/api-server/index.ts'

const MERGE = 'application/merge-patch+json'
const STRATEGIC = 'application/strategic-merge-patch+json'

let directory: string
let server: ApiServerDouble

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'api-server-'))
  server = await ApiServerDouble.start({ directory })
})
afterEach(async () => {
  await server.stop()
  rmSync(directory, { recursive: true })
})

const pod = (name: string, nodeName = 'n1', more: Record<string, unknown> = {}): ApiObject => ({
  metadata: { name, namespace: 'default', ...more },
  spec: { nodeName },
})
const get = (path: string) => ask(server, { method: 'GET', path })
const patch = (path: string, contentType: string, body: unknown) =>
  ask(server, { method: 'PATCH', path, contentType, body: JSON.stringify(body) })
const names = (list: Record<string, unknown>) => (list['items'] as ApiObject[]).map(({ metadata }) => metadata.name)
const versionOf = (list: Record<string, unknown>) => (list['metadata'] as { resourceVersion: string }).resourceVersion

describe('lists', () => {
  it('select by field, and their items carry neither kind nor apiVersion', async () => {
    server.put('pods', pod('a'))
    server.put('pods', pod('b', 'n2'))
    const { json } = await get('/api/v1/pods?fieldSelector=spec.nodeName%3Dn1')
    expect(json).toMatchObject({ kind: 'PodList', apiVersion: 'v1' })
    expect(names(json)).toEqual(['a'])
    expect((json['items'] as ApiObject[])[0]).not.toHaveProperty('kind')
    expect((await get('/api/v1/pods?fieldSelector=spec.what%3Dn1')).status).toBe(400)
  })

  it('come in pages of one version, also when the objects change in between', async () => {
    for (const name of ['a', 'b', 'c']) server.put('pods', pod(name))
    const first = (await get('/api/v1/pods?limit=2')).json
    server.remove('pods', 'default', 'c')
    server.put('pods', pod('d'))
    const token = (first['metadata'] as { continue: string }).continue
    const second = (await get(`/api/v1/pods?limit=2&continue=${token}`)).json
    expect([...names(first), ...names(second)]).toEqual(['a', 'b', 'c'])
    expect(versionOf(second)).toBe(versionOf(first))
    server.expire()
    expect((await get(`/api/v1/pods?limit=2&continue=${token}`)).json).toMatchObject({ code: 410, reason: 'Expired' })
  })

  it('keep the rules of resourceVersion and resourceVersionMatch', async () => {
    server.put('pods', pod('a'))
    const old = versionOf((await get('/api/v1/pods')).json)
    server.put('pods', pod('b'))
    expect(names((await get(`/api/v1/pods?resourceVersion=${old}&resourceVersionMatch=Exact`)).json)).toEqual(['a'])
    expect(names((await get(`/api/v1/pods?resourceVersion=${old}&resourceVersionMatch=NotOlderThan`)).json)).toEqual(['a', 'b'])
    expect(names((await get('/api/v1/pods?resourceVersion=0&limit=1')).json)).toEqual(['a', 'b'])
    expect((await get('/api/v1/pods?resourceVersionMatch=Exact')).status).toBe(422)
    expect((await get('/api/v1/pods?resourceVersion=x')).status).toBe(400)
    expect((await get('/api/v1/pods?resourceVersion=999999')).json).toMatchObject({ code: 504, reason: 'Timeout' })
  })
})

describe('watches', () => {
  const path = '/api/v1/pods?watch=true&fieldSelector=spec.nodeName%3Dn1&allowWatchBookmarks=true'

  it('replay what was since the version asked for, and never show pods of other nodes', async () => {
    server.put('pods', pod('a'))
    const from = versionOf((await get('/api/v1/pods')).json)
    server.put('pods', pod('other', 'n2'))
    server.put('pods', pod('b'))
    const lines = await watch(server, `${path}&resourceVersion=${from}`)
    expect(await lines.next()).toMatchObject({ type: 'ADDED', object: { kind: 'Pod', metadata: { name: 'b' } } })
    server.put('pods', pod('b', 'n1', { labels: { x: 'y' } }))
    expect((await lines.next()).type).toBe('MODIFIED')
    server.put('pods', pod('b', 'n2'))
    expect(await lines.next()).toMatchObject({ type: 'DELETED', object: { metadata: { name: 'b' }, spec: { nodeName: 'n1' } } })
    server.bookmark()
    const bookmark = await lines.next()
    expect(bookmark.type).toBe('BOOKMARK')
    expect(bookmark.object.metadata['resourceVersion']).toBe(versionOf((await get('/api/v1/pods')).json))
  })

  it('start with what is there when no version is asked for', async () => {
    server.put('pods', pod('a'))
    expect((await (await watch(server, path)).next()).type).toBe('ADDED')
  })

  it('from a compacted version get 410, as an answer or as an event', async () => {
    const from = versionOf((await get('/api/v1/pods')).json)
    const running = await watch(server, `${path}&resourceVersion=${from}`)
    server.expire()
    expect(await running.next()).toMatchObject({ type: 'ERROR', object: { kind: 'Status', code: 410, reason: 'Expired' } })
    expect(await running.ended).toMatchObject({ complete: true })
    const late = await watch(server, `${path}&resourceVersion=${from}`)
    expect(await late.next()).toMatchObject({ type: 'ERROR', object: { code: 410 } })
    server.expire('http')
    expect((await get(`${path}&resourceVersion=${from}`)).json).toMatchObject({ code: 410, reason: 'Expired' })
  })

  it('end by their timeout, and can be cut within a line', async () => {
    expect(await (await watch(server, `${path}&timeoutSeconds=1`)).ended).toEqual({ rest: '', complete: true })
    const running = await watch(server, path)
    server.dropWatches({ midLine: true })
    const { rest, complete } = await running.ended
    expect(rest).toMatch(/^\{"type"/)
    expect(complete).toBe(false)
  })
})

describe('patches', () => {
  const condition = (type: string, status: string) => ({ type, status })

  beforeEach(() => {
    server.put('nodes', {
      metadata: { name: 'n1', annotations: { a: '1', b: '2' } },
      spec: { taints: [{ key: 'theirs', effect: 'NoSchedule' }] },
      status: { conditions: [condition('Ready', 'True')] },
    })
  })

  it('of a status merge conditions by type and leave the spec alone; annotations go through', async () => {
    const body = {
      metadata: { annotations: { c: '3' } },
      spec: { taints: [] },
      status: { conditions: [condition('Hot', 'True')] },
    }
    expect((await patch('/api/v1/nodes/n1/status', STRATEGIC, body)).status).toBe(200)
    const after = server.get('nodes', '', 'n1')
    expect(after?.['status']).toEqual({ conditions: [condition('Ready', 'True'), condition('Hot', 'True')] })
    expect(after?.['spec']).toEqual({ taints: [{ key: 'theirs', effect: 'NoSchedule' }] })
    expect(after?.metadata.annotations).toEqual({ a: '1', b: '2', c: '3' })
  })

  it('of an object replace taints whole, delete by null and leave the status alone', async () => {
    const taints = [{ key: 'ours', effect: 'PreferNoSchedule' }]
    const body = { metadata: { annotations: { a: null } }, spec: { taints }, status: { conditions: [] } }
    expect((await patch('/api/v1/nodes/n1', STRATEGIC, body)).status).toBe(200)
    const after = server.get('nodes', '', 'n1')
    expect(after?.['spec']).toEqual({ taints })
    expect(after?.metadata.annotations).toEqual({ b: '2' })
    expect(after?.['status']).toEqual({ conditions: [condition('Ready', 'True')] })
  })

  it('that change nothing make no new version; from a stale version they conflict', async () => {
    const before = server.get('nodes', '', 'n1')?.metadata.resourceVersion
    await patch('/api/v1/nodes/n1', MERGE, { metadata: { annotations: { a: '1' } } })
    expect(server.get('nodes', '', 'n1')?.metadata.resourceVersion).toBe(before)
    await patch('/api/v1/nodes/n1', MERGE, { metadata: { annotations: { a: '2' } } })
    const stale = await patch('/api/v1/nodes/n1', MERGE, { metadata: { resourceVersion: before } })
    expect(stale.json).toMatchObject({ code: 409, reason: 'Conflict' })
  })

  it.each([
    ['a number as an annotation', { metadata: { annotations: { a: 1 } } }],
    ['an annotation key with two slashes', { metadata: { annotations: { 'a/b/c': '1' } } }],
    ['too much annotation', { metadata: { annotations: { a: 'x'.repeat(262_144) } } }],
    ['a label value with a blank', { metadata: { labels: { a: 'b c' } } }],
    ['an unknown effect', { spec: { taints: [{ key: 'a', effect: 'Never' }] } }],
    ['the same taint twice', { spec: { taints: ['1', '2'].map((value) => ({ key: 'a', value, effect: 'NoSchedule' })) } }],
    ['a condition with a time that is none', { status: { conditions: [{ type: 'Hot', lastTransitionTime: 'now' }] } }],
  ])('with %s are invalid', async (_what, body) => {
    expect((await patch('/api/v1/nodes/n1', STRATEGIC, body)).json).toMatchObject({ code: 422, reason: 'Invalid' })
  })

  it('of another type, object or resource are refused', async () => {
    expect((await patch('/api/v1/nodes/n1', 'application/json', {})).json).toMatchObject({
      code: 415,
      reason: 'UnsupportedMediaType',
    })
    expect((await patch('/api/v1/nodes/n2', MERGE, {})).json).toMatchObject({ code: 404, reason: 'NotFound' })
    expect((await patch('/apis/apps/v1/namespaces/a/deployments/x', MERGE, {})).status).toBe(404)
  })
})

describe('events', () => {
  const event = (changes: Record<string, unknown> = {}) => ({
    metadata: { name: 'n1.17', namespace: 'default' },
    involvedObject: { kind: 'Node', name: 'n1', uid: 'n1' },
    reason: 'Hot',
    message: 'hot',
    type: 'Normal',
    firstTimestamp: '2026-01-01T00:00:00Z',
    lastTimestamp: '2026-01-01T00:00:00Z',
    ...changes,
  })
  const create = (body: unknown) => {
    const text = JSON.stringify(body)
    return ask(server, { method: 'POST', path: '/api/v1/namespaces/default/events', contentType: 'application/json', body: text })
  }

  it('are created once', async () => {
    expect((await create(event())).status).toBe(201)
    expect((await create(event())).json).toMatchObject({ code: 409, reason: 'AlreadyExists' })
  })

  it.each([
    ['another namespace than the object', { involvedObject: { kind: 'Pod', name: 'p', namespace: 'other' } }, 422],
    ['another namespace than the path', { metadata: { name: 'a', namespace: 'other' } }, 400],
    ['no object', { involvedObject: undefined }, 422],
    ['a long reason', { reason: 'x'.repeat(129) }, 422],
    ['a long message', { message: 'ä'.repeat(513) }, 422],
    ['a type of its own', { type: 'Error' }, 422],
    ['a name in capitals', { metadata: { name: 'N1.17', namespace: 'default' } }, 422],
    ['no last timestamp', { lastTimestamp: undefined }, 422],
    ['a timestamp that is none', { firstTimestamp: '2026-01-01' }, 400],
  ])('with %s are refused', async (_what, changes, status) => {
    expect((await create(event(changes))).status).toBe(status)
  })
})

describe('evictions', () => {
  const POD = '/api/v1/namespaces/default/pods/a'
  const post = (body: unknown, path = POD) =>
    ask(server, { method: 'POST', path: `${path}/eviction`, contentType: 'application/json', body: JSON.stringify(body) })
  const remove = (body?: unknown) =>
    ask(server, { method: 'DELETE', path: POD, ...(body === undefined ? {} : { body: JSON.stringify(body) }) })
  const eviction = (deleteOptions: Record<string, unknown> = {}, more: Record<string, unknown> = {}) => ({
    apiVersion: 'policy/v1',
    kind: 'Eviction',
    metadata: { name: 'a', namespace: 'default' },
    deleteOptions,
    ...more,
  })
  const now = () => server.get('pods', 'default', 'a')
  const running = (more: Record<string, unknown> = {}) =>
    server.put('pods', { ...pod('a'), status: { phase: 'Running' }, ...more })

  it('mark the pod, show it to watchers, and take it away after its grace period', async () => {
    server.graceSecondMs = 1
    const { metadata } = running({ spec: { nodeName: 'n1', terminationGracePeriodSeconds: 50 } })
    const lines = await watch(server, `/api/v1/pods?watch=true&resourceVersion=${metadata.resourceVersion}`)
    expect((await post(eviction())).json).toEqual({
      kind: 'Status',
      apiVersion: 'v1',
      metadata: {},
      status: 'Success',
      code: 201,
    })
    const { type, object } = await lines.next()
    expect([type, object.metadata['deletionGracePeriodSeconds']]).toEqual(['MODIFIED', 50])
    expect(object).toMatchObject({ status: { conditions: [{ type: 'DisruptionTarget', status: 'True' }] } })
    expect((await lines.next()).type).toBe('DELETED')
    expect(now()).toBeUndefined()
  })

  it('go by the grace period in the options, which can only make a pod that ends already end sooner', async () => {
    running()
    await post(eviction({ gracePeriodSeconds: 20 }))
    const first = now()?.metadata
    expect(first).toMatchObject({ deletionGracePeriodSeconds: 20 })
    await post(eviction({ gracePeriodSeconds: 25 }))
    await post(eviction())
    expect(now()?.metadata).toEqual(first)
    await remove({ kind: 'DeleteOptions', gracePeriodSeconds: 5 })
    expect(now()?.metadata).toMatchObject({ deletionGracePeriodSeconds: 5 })
    await remove({ gracePeriodSeconds: 0 })
    expect(now()).toBeUndefined()
  })

  it('are refused by a disruption budget in the words of the real server, and use it up', async () => {
    running({ metadata: { name: 'a', namespace: 'default', labels: { app: 'x' } } })
    const budget = { name: 'b', namespace: 'default', desiredHealthy: 3, currentHealthy: 2 }
    const empty = server.protect({ ...budget, matchLabels: { app: 'x' }, disruptionsAllowed: 0 })
    server.protect({ ...budget, matchLabels: { app: 'y' }, disruptionsAllowed: 0 })
    const refused = await post(eviction())
    expect(refused.headers['retry-after']).toBeUndefined()
    expect(refused.json).toEqual({
      kind: 'Status',
      apiVersion: 'v1',
      metadata: {},
      status: 'Failure',
      message: "Cannot evict pod as it would violate the pod's disruption budget.",
      reason: 'TooManyRequests',
      details: {
        causes: [{ reason: 'DisruptionBudget', message: 'The disruption budget b needs 3 healthy pods and has 2 currently' }],
      },
      code: 429,
    })
    empty.disruptionsAllowed = 1
    expect((await post(eviction({ dryRun: ['All'] }))).status).toBe(201)
    expect([empty.disruptionsAllowed, now()?.metadata['deletionTimestamp']]).toEqual([1, undefined])
    expect((await post(eviction())).status).toBe(201)
    expect(empty.disruptionsAllowed).toBe(0)
    expect((await post(eviction())).status).toBe(201)
  })

  it('of a pod with two budgets are answered 201, with a failure in it', async () => {
    running()
    for (const name of ['b', 'c']) server.protect({ name, namespace: 'default', disruptionsAllowed: 1 })
    expect(await post(eviction())).toMatchObject({ status: 201, json: { status: 'Failure', code: 500 } })
    expect(now()?.metadata['deletionTimestamp']).toBeUndefined()
  })

  it('and deletions keep to the UID that they were made for', async () => {
    const { metadata } = running()
    const other = { preconditions: { uid: 'other' } }
    for (const answer of [await post(eviction(other)), await remove(other)])
      expect(answer.json).toMatchObject({ code: 409, message: expect.stringContaining('the UID in the precondition (other)') })
    expect(now()?.metadata).toEqual(metadata)
    expect((await remove({ preconditions: { uid: metadata.uid } })).status).toBe(200)
    expect(now()?.metadata['deletionTimestamp']).toBeDefined()
  })

  it.each([
    ['another kind', eviction({}, { kind: 'Pod' }), 400],
    ['an unknown version', eviction({}, { apiVersion: 'v1' }), 400],
    ['the name of another pod', eviction({}, { metadata: { name: 'b' } }), 400],
    ['another namespace', eviction({}, { metadata: { name: 'a', namespace: 'b' } }), 400],
    ['an unknown field', eviction({}, { reason: 'hot' }), 400],
    ['an unknown field in the options', eviction({ grace: 1 }), 400],
    ['an unknown precondition', eviction({ preconditions: { name: 'a' } }), 400],
    ['a grace period that is none', eviction({ gracePeriodSeconds: '30' }), 400],
    ['a UID that is none', eviction({ preconditions: { uid: 1 } }), 400],
    ['an unknown stage of a dry run', eviction({ dryRun: ['Some'] }), 422],
  ])('with %s are refused', async (_what, body, status) => {
    running()
    expect((await post(body)).status).toBe(status)
    expect(now()?.metadata['deletionTimestamp']).toBeUndefined()
  })

  it('of no pod, of other things and by other verbs are refused', async () => {
    expect((await post(eviction())).json).toMatchObject({ code: 404, message: 'pods "a" not found' })
    expect((await post(eviction(), '/api/v1/nodes/n1')).status).toBe(404)
    expect((await ask(server, { method: 'DELETE', path: '/api/v1/nodes/n1' })).status).toBe(405)
    expect((await get(`${POD}/eviction`)).status).toBe(404)
  })
})

describe('who may', () => {
  it('is asked before whether there is such a thing', async () => {
    const rules = [{ apiGroups: [''], resources: ['nodes/status'], verbs: ['patch'] }]
    const strict = await ApiServerDouble.start({ directory, rules })
    const { status, json } = await ask(strict, { method: 'PATCH', path: '/api/v1/nodes/n1', contentType: MERGE, body: '{}' })
    expect(status).toBe(403)
    expect(json['message']).toBe(
      'nodes "n1" is forbidden: User "system:serviceaccount:kube-agent:kube-agent" cannot patch resource "nodes" in API group "" at the cluster scope',
    )
    expect((await ask(strict, { method: 'GET', path: '/api/v1/namespaces/a/secrets' })).status).toBe(403)
    expect((await ask(strict, { method: 'PATCH', path: '/api/v1/nodes/n1/status', contentType: MERGE, body: '{}' })).status).toBe(
      404,
    )
    await strict.stop()
  })

  it('is known by the token: none is anonymous, an old one is unauthorised', async () => {
    expect((await ask(server, { method: 'GET', path: '/api/v1/pods', token: null })).status).toBe(403)
    expect((await ask(server, { method: 'GET', path: '/api/v1/pods', token: 'old' })).json).toMatchObject({
      code: 401,
      reason: 'Unauthorized',
    })
    server.rotateToken()
    expect((await get('/api/v1/pods')).status).toBe(200)
  })
})

describe('misbehaviour', () => {
  it('fails as told, as often as told', async () => {
    server.fail({ status: 429, retryAfterSeconds: 3, times: 2, verb: 'list' })
    const first = await get('/api/v1/pods')
    expect(first.headers['retry-after']).toBe('3')
    expect(first.json).toMatchObject({ code: 429, reason: 'TooManyRequests', details: { retryAfterSeconds: 3 } })
    expect((await get('/api/v1/pods')).status).toBe(429)
    expect((await get('/api/v1/pods')).status).toBe(200)
    expect(server.requests.map(({ verb, resource, status }) => `${verb} ${resource} ${status}`)).toEqual([
      'list pods 429',
      'list pods 429',
      'list pods 200',
    ])
  })

  it('hangs until resumed', async () => {
    server.hang()
    const answer = get('/api/v1/pods')
    await expect.poll(() => server.requests.length).toBe(1)
    expect(server.requests[0]?.status).toBe(0)
    server.resume()
    expect((await answer).status).toBe(200)
  })

  it('takes another authority on the same port', async () => {
    const { url } = server
    const { caFile, tokenFile } = server
    expect((await get('/version')).status).toBe(200)
    await server.rotateCa()
    expect(server.url).toBe(url)
    expect((await get('/version')).status).toBe(200)
    const other = await ApiServerDouble.start({ directory: mkdtempSync(join(directory, 'other-')) })
    await expect(ask({ url: other.url, caFile, tokenFile }, { method: 'GET', path: '/version' })).rejects.toThrow(
      /certificate|signature/,
    )
    await other.stop()
  })
})

it('the kubelet double gives a PodList to who has the token and the right', async () => {
  const kubelet = await KubeletHttpsDouble.start({ directory })
  kubelet.setPods([pod('a')])
  const { status, json } = await ask(kubelet, { method: 'GET', path: '/pods' })
  expect([status, json['kind'], names(json)]).toEqual([200, 'PodList', ['a']])
  expect((await ask(kubelet, { method: 'GET', path: '/pods', token: 'old' })).status).toBe(401)
  kubelet.allowed = false
  expect((await ask(kubelet, { method: 'GET', path: '/pods' })).status).toBe(403)
  await kubelet.stop()
})
