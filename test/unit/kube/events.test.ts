/** Events at a true API server double: their form, and that they stay few whatever happens. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { ApiError, type ApiCaller } from '../../../src/kube/api.ts'
import { EventWriter } from '../../../src/kube/events.ts'
import { aboutNode, type ClusterEvent, eventName } from '../../../src/kube/events-object.ts'
import { ApiServerDouble } from '../../support/api-server/index.ts'
import { PlainCaller } from '../../support/api-server/plain-caller.ts'
import { findingOf, HandClock, HOT, recordOf, rigOf, ScriptedCaller, signalsOf, WRITE_MS } from './reporter-support.ts'

const TEN_MINUTES = 10 * 60_000

let directory: string
let server: ApiServerDouble
let clock: HandClock

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'events-'))
  server = await ApiServerDouble.start({ directory })
})
afterAll(async () => {
  await server.stop()
  rmSync(directory, { recursive: true })
})
beforeEach(() => {
  for (const { metadata } of server.all('events')) server.remove('events', metadata.namespace ?? '', metadata.name)
  server.mend()
  server.requests.length = 0
  clock = new HandClock()
})

const writerOf = (api: ApiCaller = new PlainCaller(server), maxKeys?: number) =>
  new EventWriter({ api, node: 'n1', clock, ...(maxKeys === undefined ? {} : { maxKeys }) })

const eventOf = (name: string, changes: Partial<ClusterEvent> = {}): ClusterEvent => ({
  about: { kind: 'Pod', namespace: 'team-a', name, uid: `uid-of-${name}` },
  type: 'Warning',
  reason: 'Odd',
  message: 'the pod is odd',
  ...changes,
})

const written = () => server.requests.map(({ verb, status }) => `${verb} ${status}`)
const only = () => {
  const events = server.all('events')
  expect(events.length).toBe(1)
  return events[0] as NonNullable<(typeof events)[0]>
}

describe('an event', () => {
  it('about a pod lies in its namespace, under a name of the usual form', async () => {
    const writer = writerOf()
    writer.occurred(eventOf('p1'))
    await writer.flush()
    expect(only()).toMatchObject({
      metadata: { namespace: 'team-a', name: expect.stringMatching(/^p1\.[0-9a-f]{16}$/) },
      involvedObject: { apiVersion: 'v1', kind: 'Pod', namespace: 'team-a', name: 'p1', uid: 'uid-of-p1' },
      reason: 'Odd',
      message: 'the pod is odd',
      type: 'Warning',
      source: { component: 'kube-agent', host: 'n1' },
      reportingComponent: 'kube-agent',
      reportingInstance: 'n1',
      firstTimestamp: '2026-01-01T00:00:00Z',
      lastTimestamp: '2026-01-01T00:00:00Z',
      count: 1,
    })
  })

  it('about the node lies in default, and has the name of the node as its UID, as those of the kubelet do', async () => {
    const writer = writerOf()
    writer.occurred(eventOf('', { about: aboutNode('n1') }))
    await writer.flush()
    const event = only()
    expect(event.metadata.namespace).toBe('default')
    expect(event['involvedObject']).toEqual({ apiVersion: 'v1', kind: 'Node', name: 'n1', uid: 'n1' })
  })

  it('is within the limits of the API server, whatever was given', async () => {
    const writer = writerOf()
    const name = `${'a'.repeat(235)}.${'b'.repeat(17)}`
    writer.occurred(eventOf(name, { reason: 'R'.repeat(300), message: 'ä'.repeat(2000) }))
    await writer.flush()
    expect(written()).toEqual(['create 201'])
    expect(Buffer.byteLength(String(only()['message']))).toBeLessThanOrEqual(1024)
    expect(only()['message']).toMatch(/^ä+…$/)
    expect(eventName(eventOf(name))).toMatch(/^a+\.[0-9a-f]{16}$/)
  })
})

describe('the same event', () => {
  it('within ten minutes is kept, and then raises the count', async () => {
    const writer = writerOf()
    for (let index = 0; index < 5; index += 1) {
      writer.occurred(eventOf('p1'))
      await writer.flush()
      clock.nowMs += 60_000
    }
    expect(written()).toEqual(['create 201'])
    clock.nowMs += 5 * 60_000
    await writer.flush()
    expect(written()).toEqual(['create 201', 'patch 200'])
    expect(only()).toMatchObject({ count: 5, firstTimestamp: '2026-01-01T00:00:00Z', lastTimestamp: '2026-01-01T00:04:00Z' })
  })

  it('that merely stands counts once per write', async () => {
    const writer = writerOf()
    for (let minute = 0; minute <= 20; minute += 1) {
      writer.stands(eventOf('p1'))
      await writer.flush()
      clock.nowMs += 60_000
    }
    expect(only()).toMatchObject({ count: 3 })
    expect(written()).toEqual(['create 201', 'patch 200', 'patch 200'])
  })

  it('is created anew when the API server has forgotten it', async () => {
    const writer = writerOf()
    writer.occurred(eventOf('p1'))
    await writer.flush()
    server.remove('events', 'team-a', only().metadata.name)
    clock.nowMs += TEN_MINUTES
    writer.occurred(eventOf('p1'))
    await writer.flush()
    expect(written()).toEqual(['create 201', 'patch 404', 'create 201'])
    expect(only()).toMatchObject({ count: 1, firstTimestamp: '2026-01-01T00:10:00Z' })
  })

  it('of an agent that has restarted is found, and counted on', async () => {
    const before = writerOf()
    before.occurred(eventOf('p1'))
    before.occurred(eventOf('p1'))
    await before.flush()
    const after = writerOf()
    clock.nowMs += 1000
    after.occurred(eventOf('p1'))
    await after.flush()
    expect(only()).toMatchObject({ count: 2, lastTimestamp: '2026-01-01T00:00:01Z' })
    clock.nowMs += TEN_MINUTES
    after.occurred(eventOf('p1'))
    await after.flush()
    expect(only()).toMatchObject({ count: 3 })
  })

  it('about another pod of the same name is another event', () => {
    const [one, other] = [eventOf('p1'), eventOf('p1')]
    expect(eventName(one)).not.toBe(eventName({ ...other, about: { ...other.about, uid: 'another' } }))
  })
})

describe('a storm', () => {
  const flood = (writer: EventWriter, count: number) => {
    for (let index = 0; index < count; index += 1) writer.occurred(eventOf(`p${index}`))
  }

  it('is written as a burst and then one a second', async () => {
    const api = new ScriptedCaller(() => ({}))
    const writer = writerOf(api)
    flood(writer, 500)
    await writer.flush()
    expect(api.calls.length).toBe(25)
    for (let second = 0; second < 100; second += 1) {
      clock.nowMs += 1000
      await writer.flush()
    }
    expect(api.calls.length).toBe(125)
    expect(writer.waiting).toBe(375)
    expect(writer.dropped).toBe(0)
  })

  it('about one object is written once in ten seconds', async () => {
    const api = new ScriptedCaller(() => ({}))
    const writer = writerOf(api)
    for (let index = 0; index < 100; index += 1) writer.occurred(eventOf('p1', { message: `number ${index}` }))
    for (let second = 0; second < 60; second += 1) {
      await writer.flush()
      clock.nowMs += 1000
    }
    expect(api.calls.length).toBe(6)
  })

  it('is remembered up to a bound, and counted beyond', async () => {
    const api = new ScriptedCaller(() => ({}))
    const writer = writerOf(api, 100)
    flood(writer, 1000)
    expect(writer.waiting).toBe(100)
    expect(writer.dropped).toBe(900)
  })

  it('of what merely stands keeps nothing else out, and comes to rest', async () => {
    const api = new ScriptedCaller(() => ({}))
    const writer = writerOf(api, 50)
    const names = () => api.calls.map(({ body }) => (body as { involvedObject: { name: string } }).involvedObject.name)
    for (let second = 0; second < 600; second += 1) {
      for (let index = 0; index < 80; index += 1) writer.stands(eventOf(`p${index}`))
      if (second === 10) writer.occurred(eventOf('urgent'))
      if (second === 11) expect(names()).toContain('urgent')
      await writer.flush()
      clock.nowMs += 1000
    }
    // The one that was driven out by the urgent one came back, or another in its place.
    expect(api.calls.length).toBeLessThanOrEqual(52)
    expect(new Set(names()).size).toBeGreaterThanOrEqual(50)
    expect(writer.dropped).toBeGreaterThan(0)
  })

  it('that is over makes room', async () => {
    const api = new ScriptedCaller(() => ({}))
    const writer = writerOf(api, 10)
    for (let index = 0; index < 10; index += 1) writer.stands(eventOf(`old${index}`))
    await writer.flush()
    clock.nowMs += TEN_MINUTES
    for (let index = 0; index < 10; index += 1) writer.stands(eventOf(`new${index}`))
    await writer.flush()
    expect(api.calls.length).toBe(20)
    expect(writer.dropped).toBe(0)
  })
})

describe('an event that can’t be written', () => {
  it('because its namespace is going is dropped, and the others are written', async () => {
    const writer = writerOf()
    server.fail({ status: 403, verb: 'create', resource: 'events' })
    writer.occurred(eventOf('p1'))
    writer.occurred(eventOf('p2'))
    await writer.flush()
    expect(written()).toEqual(['create 403', 'create 201'])
    expect(writer.dropped).toBe(1)
    clock.nowMs += 60_000
    await writer.flush()
    expect(server.requests.length).toBe(2)
  })

  it('because the server is away waits and merges', async () => {
    const api = new ScriptedCaller(() => {
      throw new ApiError(503, 'ServiceUnavailable', 'etcd')
    })
    const { reporter, pass } = rigOf(api, {
      clock,
      switches: { condition: false, annotations: false, hotLabel: false, hotTaint: false },
    })
    for (let index = 0; index < 50; index += 1) reporter.event(eventOf('p1'))
    await pass(60_000)
    const plain = new PlainCaller(server)
    api.answer = ({ operation, ...request }) => plain.call(operation, request)
    server.put('nodes', { metadata: { name: 'n1' } })
    await pass(5 * 60_000)
    expect(only()).toMatchObject({ count: 50 })
    expect(reporter.stats().droppedEvents).toBe(0)
  })
})

describe('the reporter', () => {
  const rig = () => rigOf(new PlainCaller(server), { clock })
  const reasons = () => server.all('events').map((event) => String(event['reason']))

  beforeEach(() => {
    server.remove('nodes', '', 'n1')
    server.put('nodes', { metadata: { name: 'n1' }, spec: {}, status: {} })
  })

  it('tells when the node gets hot and when it cools down, and nothing in between', async () => {
    const { reporter, pass } = rig()
    for (const [signals, expected] of [
      [signalsOf(), []],
      [HOT, ['ColocationHot']],
      [HOT, ['ColocationHot']],
      [signalsOf(), ['ColocationCool', 'ColocationHot']],
    ] as const) {
      reporter.tick(recordOf(signals))
      await pass(2 * WRITE_MS)
      expect(reasons().sort((a, b) => a.localeCompare(b))).toEqual(expected)
    }
  })

  it('does not tell again, after a restart, what the condition already says', async () => {
    const first = rig()
    first.reporter.tick(recordOf(HOT))
    await first.pass(WRITE_MS)
    server.remove('events', 'default', only().metadata.name)
    const second = rig()
    second.reporter.tick(recordOf(HOT))
    await second.pass(WRITE_MS)
    expect(reasons()).toEqual([])
    second.reporter.tick(recordOf(signalsOf()))
    await second.pass(WRITE_MS)
    expect(reasons()).toEqual(['ColocationCool'])
  })

  it('tells of findings for as long as they stand', async () => {
    const { reporter, pass } = rig()
    for (let round = 0; round < 63; round += 1) {
      reporter.tick(recordOf(signalsOf(), [findingOf('p1'), findingOf('p2')]))
      await pass(WRITE_MS)
    }
    expect(server.all('events').map((event) => event['count'])).toEqual([2, 2])
    expect(server.all('events')[0]).toMatchObject({ reason: 'Odd', message: 'the pod is odd: halfAsked', type: 'Warning' })
    reporter.tick(recordOf(signalsOf()))
    await pass(2 * TEN_MINUTES)
    expect(server.all('events').map((event) => event['count'])).toEqual([2, 2])
  })

  it('takes events of others, unless events are off', async () => {
    const off = rigOf(new PlainCaller(server), { clock, switches: { events: false } })
    off.reporter.event(eventOf('p1'))
    off.reporter.tick(recordOf(HOT, [findingOf('p1')]))
    await off.pass(WRITE_MS)
    expect(reasons()).toEqual([])
    const on = rig()
    on.reporter.event(eventOf('p1', { reason: 'NoRoom' }))
    await on.pass(WRITE_MS)
    expect(reasons()).toEqual(['NoRoom'])
  })
})
