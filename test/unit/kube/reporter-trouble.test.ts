/** The reporter and an API server that is away, slow, overloaded or unwilling: nothing piles up, and the newest state is what is written in the end. */
import { afterEach, describe, expect, it, vi } from 'vitest'
import { ApiError } from '../../../src/kube/api.ts'
import { AgentError } from '../../../src/model/index.ts'
import { type Call, findingOf, HOT, recordOf, rigOf, ScriptedCaller, signalsOf, WRITE_MS } from './reporter-support.ts'

const NODE = { kind: 'Node', metadata: { name: 'n1', resourceVersion: '1' }, spec: {}, status: {} }

/** Takes everything, and shows none of it: enough where only the calls matter. */
const willing = (): ScriptedCaller => new ScriptedCaller(() => NODE)
const operations = (calls: readonly Call[]) => calls.map(({ operation }) => operation)
const away = () => {
  throw new Error('connect ECONNREFUSED')
}
const STATUS_ONLY = { switches: { events: false, annotations: false, hotLabel: false, hotTaint: false } }

afterEach(() => vi.useRealTimers())

describe('a server that hangs', () => {
  it('holds one call, however many ticks and beats pass; the newest state is written when it is back', async () => {
    let answer = (_node: unknown): void => {}
    const api = new ScriptedCaller(() => new Promise((resolve) => (answer = resolve)))
    const { reporter, clock } = rigOf(api, STATUS_ONLY)
    reporter.tick(recordOf(HOT))
    const round = reporter.pump()
    for (let index = 0; index < 1000; index += 1) {
      reporter.tick(recordOf(index === 999 ? signalsOf() : HOT))
      clock.nowMs += 1000
      void reporter.pump()
    }
    expect(operations(api.calls)).toEqual(['getNode'])
    api.answer = () => NODE
    answer(NODE)
    await round
    expect(operations(api.calls)).toEqual(['getNode', 'patchNodeStatus'])
    expect(JSON.stringify(api.calls[1]?.body)).toContain('"status":"False"')
  })

  it('is not waited for when the reporter is closed, and is not called again', async () => {
    let answer = (_node: unknown): void => {}
    const api = new ScriptedCaller(() => new Promise((resolve) => (answer = resolve)))
    const { reporter, clock } = rigOf(api)
    reporter.tick(recordOf(HOT))
    const round = reporter.pump()
    reporter.close()
    answer(NODE)
    await round
    clock.nowMs += WRITE_MS
    await reporter.pump()
    expect(api.calls.length).toBe(1)
  })
})

it('a burst of events ends where the reporter is closed', async () => {
  const api = willing()
  const { reporter, pass } = rigOf(api, { switches: { condition: false, annotations: false, hotLabel: false, hotTaint: false } })
  const findings = Array.from({ length: 20 }, (_, index) => findingOf(`p${index}`))
  api.answer = () => {
    if (api.calls.length === 5) reporter.close()
    return NODE
  }
  reporter.tick(recordOf(signalsOf(), findings))
  await pass(WRITE_MS)
  expect(api.calls.length).toBe(5)
})

describe('a server that is away', () => {
  it('is asked more and more seldom, at most once a minute on the whole, and gets the newest state', async () => {
    const api = new ScriptedCaller(away)
    const { reporter, clock } = rigOf(api, STATUS_ONLY)
    for (let second = 0; second < 3600; second += 1) {
      reporter.tick(recordOf(HOT))
      clock.nowMs += 1000
      await reporter.pump()
    }
    expect(api.calls.length).toBeLessThan(3600 / 30 + 20)
    expect(api.calls.length).toBeGreaterThan(20)
    expect(reporter.stats().lastError).toBe('getNode: connect ECONNREFUSED')
    api.answer = () => NODE
    clock.nowMs += 5 * 60_000
    reporter.tick(recordOf(signalsOf()))
    await reporter.pump()
    expect(JSON.stringify(api.calls.at(-1)?.body)).toContain('"status":"False"')
    expect(reporter.stats().lastOkWallMs).toBe(clock.wallMs())
  })

  it('that comes back is told everything soon', async () => {
    const api = willing()
    const { reporter, pass } = rigOf(api)
    reporter.tick(recordOf(signalsOf()))
    await pass(WRITE_MS)
    api.answer = away
    reporter.tick(recordOf(HOT))
    await pass(60 * 60_000)
    api.answer = () => NODE
    api.calls.length = 0
    // One pause of the server as a whole and a round; the pauses of the parts are longer, but were for the server's sake.
    await pass(60_000)
    expect(new Set(operations(api.calls))).toEqual(new Set(['getNode', 'patchNodeStatus', 'patchNode', 'createEvent']))
  })

  it('keeps the pauses of a cluster apart', async () => {
    const gaps = await Promise.all(
      [0, 0.99].map(async (draw) => {
        const api = new ScriptedCaller(away)
        const { reporter, clock } = rigOf(api, { ...STATUS_ONLY, random: () => draw })
        for (let second = 0; second < 1200; second += 1) {
          clock.nowMs += 1000
          await reporter.pump()
        }
        return api.calls.length
      }),
    )
    expect(gaps[0]).toBeGreaterThan(Number(gaps[1]))
  })
})

describe('a server that asks for patience', () => {
  it('gets it', async () => {
    const api = new ScriptedCaller(() => {
      throw new ApiError(429, 'TooManyRequests', 'slow down', { retryAfterMs: 45_000 })
    })
    const { reporter, clock } = rigOf(api)
    reporter.tick(recordOf(HOT))
    await reporter.pump()
    for (let second = 0; second < 44; second += 1) {
      clock.nowMs += 1000
      await reporter.pump()
    }
    expect(api.calls.length).toBe(1)
    clock.nowMs += 1000
    await reporter.pump()
    expect(api.calls.length).toBe(2)
  })

  it('but not for a day', async () => {
    const api = new ScriptedCaller(() => {
      throw new ApiError(429, 'TooManyRequests', 'slow down', { retryAfterMs: 86_400_000 })
    })
    const { reporter, clock } = rigOf(api)
    await reporter.pump()
    clock.nowMs += 10 * 60_000
    await reporter.pump()
    expect(api.calls.length).toBe(2)
  })
})

describe('a server that refuses', () => {
  const refusing = (refused: Call['operation'], error: Error) =>
    new ScriptedCaller(({ operation }) => {
      if (operation === refused) throw error
      return NODE
    })
  const forbidden = new ApiError(403, 'Forbidden', 'nodes "n1" is forbidden')

  it.each(['getNode', 'patchNodeStatus', 'patchNode'] as const)('%s alone is still told the rest', async (refused) => {
    const api = refusing(refused, forbidden)
    const { reporter, pass } = rigOf(api)
    reporter.tick(recordOf(HOT, [findingOf('p1')]))
    await pass(WRITE_MS)
    expect(operations(api.calls)).toContain('createEvent')
    expect(reporter.stats().writes[refused].ok).toBe(0)
    api.calls.length = 0
    await pass(60 * 60_000)
    expect(operations(api.calls).filter((operation) => operation === refused).length).toBeLessThan(60)
  })

  it('with a webhook that fails is not taken to be away', async () => {
    const api = refusing('patchNodeStatus', new ApiError(500, 'InternalError', 'failed calling webhook'))
    const { reporter, pass } = rigOf(api)
    reporter.tick(recordOf(HOT))
    await pass(WRITE_MS)
    expect(operations(api.calls)).toEqual(['getNode', 'patchNodeStatus', 'patchNode', 'getNode', 'patchNode', 'createEvent'])
  })

  it('one call by its deadline each time is still told the rest', async () => {
    const api = refusing('patchNodeStatus', new Error('no answer within 10000 ms'))
    const { reporter, pass } = rigOf(api)
    reporter.tick(recordOf(HOT))
    await pass(60_000)
    expect(operations(api.calls)).toContain('createEvent')
    expect(operations(api.calls)).toContain('patchNode')
  })
})

describe('an answer that makes no sense', () => {
  it.each([undefined, 'ok', {}, { kind: 'Status', metadata: {} }, { kind: 'Node', metadata: {} }])(
    '%j is not written on',
    async (answer) => {
      const api = new ScriptedCaller(() => answer)
      const { reporter, pass } = rigOf(api, { switches: { events: false } })
      reporter.tick(recordOf(HOT))
      await pass(60_000)
      expect(new Set(operations(api.calls))).toEqual(new Set(['getNode']))
      expect(reporter.stats().lastError).toContain('other than a Node')
    },
  )
})

it('a bug in a text, or in a path, is noted and holds up nothing else', async () => {
  const api = new ScriptedCaller(({ operation }) => {
    if (operation === 'patchNode') throw new AgentError('E_BUG', 'patchNode does not ask for that')
    return NODE
  })
  const { reporter, pass } = rigOf(api, {
    textOf: () => {
      throw new TypeError('no text')
    },
  })
  reporter.tick(recordOf(HOT, [findingOf('p1')]))
  await pass(WRITE_MS)
  expect(operations(api.calls)).toEqual(['getNode', 'patchNodeStatus', 'patchNode', 'getNode', 'patchNode'])
  expect(reporter.stats().lastError).toBe('no text')
})

it('by its own timer it writes within writeMs and a second, and no longer once it is closed', async () => {
  vi.useFakeTimers()
  const api = willing()
  const { reporter, clock } = rigOf(api, STATUS_ONLY)
  reporter.start()
  reporter.start()
  reporter.tick(recordOf(HOT))
  await vi.advanceTimersByTimeAsync(1000)
  expect(operations(api.calls)).toEqual(['getNode', 'patchNodeStatus'])
  reporter.close()
  clock.nowMs += 10 * WRITE_MS
  await vi.advanceTimersByTimeAsync(10 * WRITE_MS)
  expect(api.calls.length).toBe(2)
})
