/** What the reporter makes of the Node object at a true API server double: condition, annotations, label, taint, and no more writes than that. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import type { PodFinding } from '../../../src/model/index.ts'
import { ApiServerDouble } from '../../support/api-server/index.ts'
import { PlainCaller } from '../../support/api-server/plain-caller.ts'
import {
  DOMAIN,
  HOT,
  recordOf,
  type Rig,
  rigOf,
  ScriptedCaller,
  signalsOf,
  silentRecordOf,
  WRITE_MS,
} from './reporter-support.ts'

const THEIRS = { key: 'theirs', value: 'x', effect: 'NoSchedule' }
const OURS = { key: `${DOMAIN}/hot`, effect: 'PreferNoSchedule' }
const NO_EVENTS = { switches: { events: false } }

let directory: string
let server: ApiServerDouble
let api: PlainCaller

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'reporter-'))
  server = await ApiServerDouble.start({ directory })
  api = new PlainCaller(server)
})
afterAll(async () => {
  await server.stop()
  rmSync(directory, { recursive: true })
})
beforeEach(() => {
  server.remove('nodes', '', 'n1')
  server.put('nodes', {
    metadata: { name: 'n1', labels: { zone: 'a' }, annotations: { note: 'theirs' } },
    spec: { taints: [THEIRS] },
    status: { conditions: [{ type: 'Ready', status: 'True' }] },
  })
  server.requests.length = 0
})

const node = () => server.get('nodes', '', 'n1') as NonNullable<ReturnType<ApiServerDouble['get']>>
const taints = () => (node()['spec'] as { taints?: unknown }).taints
const conditions = () => (node()['status'] as { conditions: Record<string, string>[] }).conditions
const condition = () => conditions().find(({ type }) => type === 'ColocationHot')
const writes = () => server.requests.filter(({ verb }) => verb !== 'get').map(({ verb, resource }) => `${verb} ${resource}`)

async function told(rig: Rig, signals = signalsOf()): Promise<void> {
  rig.reporter.tick(recordOf(signals))
  await rig.pass(WRITE_MS)
}

describe('a restart', () => {
  it('does not call a hot node cool before the rule can tell, and a hot one hot at once', async () => {
    const rig = rigOf(api, { ...NO_EVENTS, settleMs: 3 * WRITE_MS })
    await told(rig)
    expect(condition()).toBeUndefined()
    await told(rig, HOT)
    expect(condition()).toMatchObject({ status: 'True' })
    const cool = rigOf(api, { ...NO_EVENTS, settleMs: 3 * WRITE_MS })
    await told(cool)
    expect(condition()).toMatchObject({ status: 'True' })
    for (let round = 0; round < 3; round += 1) await told(cool)
    expect(condition()).toMatchObject({ status: 'False' })
  })
})

describe('a node without room for an exclusive pod', () => {
  const short = () => conditions().find(({ type }) => type === 'ExclusiveCpusShort')

  it('says so in a condition, which is only there once it has been true', async () => {
    const rig = rigOf(api, NO_EVENTS)
    const noRoom: PodFinding = {
      namespace: 'a',
      name: 'db',
      uid: 'u1',
      code: 'noExclusiveCpus',
      qosClass: 'LSX',
      wantedCpus: 8,
      freeCpus: 2,
    }
    await told(rig)
    expect(short()).toBeUndefined()
    rig.reporter.tick(recordOf(signalsOf(), [noRoom]))
    await rig.pass(WRITE_MS)
    expect(short()).toMatchObject({ status: 'True', reason: 'NoRoom' })
    expect(condition()).toMatchObject({ status: 'False' })
    await told(rig)
    expect(short()).toMatchObject({ status: 'False', reason: 'RoomForAll' })
    await rig.reporter.withdraw()
    expect([short()?.['status'], condition()?.['status']]).toEqual(['Unknown', 'Unknown'])
  })
})

describe('numbers that move', () => {
  it('are written once in annotateMs, unless the node becomes hot or cools down', async () => {
    const rig = rigOf(api, { ...NO_EVENTS, annotateMs: 3 * WRITE_MS })
    const scores: (string | undefined)[] = []
    for (const signals of [
      signalsOf(),
      { ...signalsOf(), score: 50 },
      { ...signalsOf(), score: 40 },
      { ...signalsOf(), score: 30 },
      HOT,
    ]) {
      await told(rig, signals)
      scores.push(node().metadata.annotations?.[`${DOMAIN}/score`])
    }
    const first = String(signalsOf().score)
    expect(scores).toEqual([first, first, first, '30', '0'])
  })
})

describe('a hot node', () => {
  it('gets condition, annotations, label and taint, and loses them again; what is not ours stays', async () => {
    const rig = rigOf(api, NO_EVENTS)
    await told(rig, HOT)
    expect(condition()).toMatchObject({ status: 'True', reason: 'CpuAboveWatermark', lastTransitionTime: '2026-01-01T00:00:10Z' })
    expect(node().metadata.labels).toEqual({ zone: 'a', [`${DOMAIN}/hot`]: 'true' })
    expect(node().metadata.annotations).toEqual({
      note: 'theirs',
      [`${DOMAIN}/score`]: '0',
      [`${DOMAIN}/headroom-cpu`]: '0m',
      [`${DOMAIN}/headroom-memory`]: '32768Mi',
      [`${DOMAIN}/signals-at`]: '2026-01-01T00:00:10Z',
    })
    expect(taints()).toEqual([THEIRS, OURS])
    await told(rig)
    expect(condition()).toMatchObject({ status: 'False', reason: 'WithinWatermarks', lastTransitionTime: '2026-01-01T00:00:20Z' })
    expect(node().metadata.labels).toEqual({ zone: 'a' })
    expect(taints()).toEqual([THEIRS])
    expect(conditions()[0]).toEqual({ type: 'Ready', status: 'True' })
    expect(rig.reporter.stats().writes).toMatchObject({ patchNodeStatus: { ok: 2, failed: 0 }, patchNode: { ok: 4, failed: 0 } })
  })

  it('with another cause keeps the time of its transition', async () => {
    const rig = rigOf(api, NO_EVENTS)
    await told(rig, HOT)
    await told(rig, { ...HOT, reason: 'MemoryAboveWatermark' })
    expect(condition()).toMatchObject({
      reason: 'MemoryAboveWatermark',
      lastHeartbeatTime: '2026-01-01T00:00:20Z',
      lastTransitionTime: '2026-01-01T00:00:10Z',
    })
  })

  it('is written as nothing that is switched off', async () => {
    await told(
      rigOf(api, { switches: { events: false, condition: false, annotations: false, hotLabel: false, hotTaint: false } }),
      HOT,
    )
    expect(writes()).toEqual([])
  })
})

describe('a node that hardly changes', () => {
  it('costs one heartbeat in five minutes', async () => {
    const rig = rigOf(api)
    await told(rig)
    expect(writes()).toEqual(['patch nodes/status', 'patch nodes'])
    server.requests.length = 0
    for (let index = 0; index < 29; index += 1)
      await told(rig, signalsOf({ score: 60 + (index % 2), headroomMilli: 4000 + index * 10 }))
    expect(server.requests).toEqual([])
    await told(rig)
    expect(server.requests.map(({ verb, resource }) => `${verb} ${resource}`)).toEqual(['patch nodes/status'])
    expect(condition()).toMatchObject({ lastHeartbeatTime: '2026-01-01T00:05:10Z', lastTransitionTime: '2026-01-01T00:00:10Z' })
  })

  it.each([
    ['score by 9', { score: 69 }, false],
    ['score by 10', { score: 50 }, true],
    ['CPU by less than 10 % of the node', { headroomMilli: 4799 }, false],
    ['CPU by 10 % of the node', { headroomMilli: 4800 }, true],
    ['CPU to nothing', { headroomMilli: 0 }, true],
    ['memory by less than 10 % of the node', { headroomBytes: 38 * 2 ** 30 }, false],
    ['memory by 10 % of the node', { headroomBytes: 25 * 2 ** 30 }, true],
  ])('is annotated anew when it moves enough: %s', async (_what, changes, written) => {
    const rig = rigOf(api, NO_EVENTS)
    await told(rig)
    server.requests.length = 0
    await told(rig, signalsOf(changes))
    expect(writes()).toEqual(written ? ['patch nodes'] : [])
  })

  it('is annotated anew at the first and the last bit of headroom', async () => {
    const rig = rigOf(api, NO_EVENTS)
    await told(rig, signalsOf({ headroomMilli: 0 }))
    server.requests.length = 0
    await told(rig, signalsOf({ headroomMilli: 1 }))
    await told(rig, signalsOf({ headroomMilli: 0 }))
    expect(writes()).toEqual(['patch nodes', 'patch nodes'])
  })
})

describe('a node of which nothing new is known', () => {
  const HOT_AND_SHORT: PodFinding = {
    namespace: 'a',
    name: 'db',
    uid: 'u1',
    code: 'noExclusiveCpus',
    qosClass: 'LSX',
    wantedCpus: 8,
    freeCpus: 2,
  }
  const shownTypes = () => conditions().map(({ type, status }) => `${type} ${status}`)
  const MINUTE_MS = 60_000

  it('is vouched for as long as ticks come', async () => {
    const rig = rigOf(api, NO_EVENTS)
    await told(rig, HOT)
    await rig.pass(10 * MINUTE_MS)
    expect(shownTypes()).toEqual(['Ready True', 'ColocationHot True'])
  })

  it('is no longer vouched for a minute after the last tick of a dead loop, in nothing', async () => {
    const rig = rigOf(api)
    rig.reporter.tick(recordOf(HOT, [HOT_AND_SHORT]))
    await rig.passDead(MINUTE_MS - WRITE_MS)
    expect(shownTypes()).toEqual(['Ready True', 'ColocationHot True', 'ExclusiveCpusShort True'])
    expect(taints()).toEqual([THEIRS, OURS])
    await rig.passDead(2 * WRITE_MS)
    expect(shownTypes()).toEqual(['Ready True', 'ColocationHot Unknown', 'ExclusiveCpusShort Unknown'])
    expect(condition()).toMatchObject({ reason: 'NoSignals' })
    expect(node().metadata).toMatchObject({ labels: { zone: 'a' }, annotations: { note: 'theirs' } })
    expect(node().metadata.labels).toEqual({ zone: 'a' })
    expect(node().metadata.annotations).toEqual({ note: 'theirs' })
    expect(taints()).toEqual([THEIRS])
    server.requests.length = 0
    // No heartbeat either, and no event about what the loop had found.
    await rig.passDead(9 * MINUTE_MS)
    expect(writes()).toEqual([])
    await told(rig, HOT)
    expect(condition()).toMatchObject({ status: 'True' })
    expect(taints()).toEqual([THEIRS, OURS])
  })

  it('since its readings are gone is no longer vouched for either, though ticks come; what they do find is told', async () => {
    const rig = rigOf(api, NO_EVENTS)
    await told(rig, HOT)
    const silent = silentRecordOf(HOT)
    rig.reporter.tick({ ...silent, decision: { ...silent.decision, findings: [HOT_AND_SHORT] } })
    await rig.pass(MINUTE_MS + WRITE_MS)
    expect(shownTypes()).toEqual(['Ready True', 'ColocationHot Unknown', 'ExclusiveCpusShort True'])
    expect(node().metadata.labels).toEqual({ zone: 'a' })
    expect(node().metadata.annotations).toEqual({ note: 'theirs' })
    expect(taints()).toEqual([THEIRS])
  })
})

describe('many ticks', () => {
  it('make one round, with the newest values', async () => {
    const rig = rigOf(api, NO_EVENTS)
    await told(rig)
    server.requests.length = 0
    for (let score = 0; score < 100; score += 1) {
      rig.reporter.tick(recordOf(signalsOf({ score })))
      rig.clock.nowMs += 50
      await rig.reporter.pump()
    }
    expect(server.requests).toEqual([])
    await rig.pass(WRITE_MS / 2)
    expect(writes()).toEqual(['patch nodes'])
    expect(node().metadata.annotations?.[`${DOMAIN}/score`]).toBe('99')
  })

  it('make no call by themselves, whatever they hold', () => {
    const silent = new ScriptedCaller(() => {
      throw new Error('called')
    })
    const { reporter } = rigOf(silent)
    for (let index = 0; index < 100; index += 1) reporter.tick(recordOf(index % 2 === 0 ? HOT : undefined))
    expect(silent.calls).toEqual([])
  })

  it('after a calm time the first change is written at once', async () => {
    const rig = rigOf(api, NO_EVENTS)
    await told(rig)
    await told(rig)
    rig.reporter.tick(recordOf(HOT))
    rig.clock.nowMs += 1
    await rig.reporter.pump()
    expect(condition()).toMatchObject({ status: 'True' })
  })
})

describe('leftovers', () => {
  const leave = () => {
    const before = node()
    server.put('nodes', {
      ...before,
      metadata: {
        ...before.metadata,
        labels: { zone: 'a', [`${DOMAIN}/hot`]: 'true' },
        annotations: { note: 'theirs', [`${DOMAIN}/score`]: '3', [`${DOMAIN}/other`]: 'not ours' },
      },
      spec: { taints: [OURS, THEIRS] },
      status: {
        conditions: [
          {
            type: 'ColocationHot',
            status: 'True',
            reason: 'CpuAboveWatermark',
            message: 'old',
            lastTransitionTime: '2025-12-31T00:00:00Z',
          },
        ],
      },
    })
  }

  it('of the agent before are brought to the present state', async () => {
    leave()
    await told(rigOf(api, NO_EVENTS))
    expect(condition()).toMatchObject({ status: 'False', lastTransitionTime: '2026-01-01T00:00:10Z' })
    expect(node().metadata.labels).toEqual({ zone: 'a' })
    expect(taints()).toEqual([THEIRS])
    expect(node().metadata.annotations?.[`${DOMAIN}/score`]).toBe('60')
  })

  it('that are still true keep their time', async () => {
    leave()
    await told(rigOf(api, NO_EVENTS), HOT)
    expect(condition()).toMatchObject({ status: 'True', lastTransitionTime: '2025-12-31T00:00:00Z' })
  })

  it('of what has been switched off since are taken away', async () => {
    leave()
    await told(
      rigOf(api, { switches: { events: false, condition: false, annotations: false, hotLabel: false, hotTaint: false } }),
      HOT,
    )
    expect(condition()).toBeUndefined()
    expect(node().metadata.labels).toEqual({ zone: 'a' })
    expect(node().metadata.annotations).toEqual({ note: 'theirs', [`${DOMAIN}/other`]: 'not ours' })
    expect(taints()).toEqual([THEIRS])
  })

  it('wait a minute for readings, and are then no longer vouched for', async () => {
    leave()
    const rig = rigOf(api, NO_EVENTS)
    rig.reporter.tick(recordOf(undefined))
    await rig.pass(60_000)
    expect(writes()).toEqual([])
    await rig.pass(WRITE_MS)
    expect(condition()).toMatchObject({ status: 'Unknown', reason: 'NoSignals' })
    expect(taints()).toEqual([THEIRS])
  })

  it('are none where nothing was: no readings make no condition', async () => {
    const rig = rigOf(api, NO_EVENTS)
    await rig.pass(120_000)
    expect(writes()).toEqual([])
  })

  it('that somebody takes away are put back', async () => {
    const rig = rigOf(api, NO_EVENTS)
    await told(rig, HOT)
    server.put('nodes', { ...node(), spec: { taints: [THEIRS] } })
    await rig.pass(6 * 60_000)
    expect(taints()).toEqual([THEIRS, OURS])
  })
})

describe('the taint', () => {
  it('is tried once more when somebody else was faster, and takes nobody else’s away', async () => {
    let raced = 0
    const racing = new ScriptedCaller(({ operation, ...request }) => {
      if (operation === 'patchNode' && JSON.stringify(request.body).includes('taints') && raced < 1) {
        raced += 1
        server.put('nodes', { ...node(), spec: { taints: [THEIRS, { key: 'new', effect: 'NoExecute' }] } })
      }
      return api.call(operation, request)
    })
    const rig = rigOf(racing, NO_EVENTS)
    await told(rig, HOT)
    expect(taints()).toEqual([THEIRS, { key: 'new', effect: 'NoExecute' }, OURS])
    await told(rig)
    expect(taints()).toEqual([THEIRS, { key: 'new', effect: 'NoExecute' }])
  })

  it('waits when it fails twice, and the rest goes on', async () => {
    const rig = rigOf(api, NO_EVENTS)
    await told(rig)
    server.fail({ status: 409, times: 3, verb: 'patch', resource: 'nodes' })
    await told(rig, HOT)
    expect(condition()).toMatchObject({ status: 'True' })
    expect(taints()).toEqual([THEIRS])
    await rig.pass(WRITE_MS)
    expect(taints()).toEqual([THEIRS, OURS])
    expect(node().metadata.labels).toHaveProperty([`${DOMAIN}/hot`])
  })

  it('of our key with another effect is not ours', async () => {
    const other = { ...OURS, effect: 'NoExecute' }
    server.put('nodes', { ...node(), spec: { taints: [other] } })
    await told(rigOf(api, NO_EVENTS))
    expect(taints()).toEqual([other])
  })
})

describe('withdrawing', () => {
  it('takes everything back and ends', async () => {
    const rig = rigOf(api, NO_EVENTS)
    await told(rig, HOT)
    expect(await rig.reporter.withdraw()).toBe(true)
    expect(condition()).toMatchObject({ status: 'Unknown', reason: 'AgentStopped' })
    expect(node().metadata.labels).toEqual({ zone: 'a' })
    expect(node().metadata.annotations).toEqual({ note: 'theirs' })
    expect(taints()).toEqual([THEIRS])
    server.requests.length = 0
    await told(rig, HOT)
    expect(server.requests).toEqual([])
  })

  it('takes back what an agent before this one has left, without a tick of its own, and says whether it could', async () => {
    await told(rigOf(api, NO_EVENTS), HOT)
    expect(condition()).toMatchObject({ status: 'True' })
    const late = rigOf(api, NO_EVENTS).reporter
    expect(await late.withdraw()).toBe(true)
    expect(condition()).toMatchObject({ status: 'Unknown', reason: 'AgentStopped' })
    expect(node().metadata.annotations).toEqual({ note: 'theirs' })
    const refused = rigOf(new ScriptedCaller(() => Promise.reject(new Error('no way'))), NO_EVENTS).reporter
    expect(await refused.withdraw()).toBe(false)
    expect(refused.stats().lastError).toContain('no way')
  })

  it('gives up on a server that hangs', async () => {
    const rig = rigOf(new ScriptedCaller(() => new Promise(() => {})))
    rig.reporter.tick(recordOf(HOT))
    void rig.reporter.pump()
    expect(await rig.reporter.withdraw(5)).toBe(false)
  })

  it.each([undefined, 60_000])(
    'waits for 2 s at the most, for the round that is running too (asked for: %s)',
    async (askedMs) => {
      vi.useFakeTimers()
      onTestFinished(() => void vi.useRealTimers())
      let answer = (): void => {}
      const hanging = new ScriptedCaller(() => new Promise((resolve) => (answer = () => resolve({}))))
      const rig = rigOf(hanging)
      rig.reporter.tick(recordOf(HOT))
      void rig.reporter.pump()
      const ended = vi.fn()
      const ending = rig.reporter.withdraw(askedMs).then(ended)
      await vi.advanceTimersByTimeAsync(1999)
      expect(ended).not.toHaveBeenCalled()
      await vi.advanceTimersByTimeAsync(1)
      expect(ended).toHaveBeenCalled()
      answer()
      await ending
      expect(hanging.calls).toHaveLength(1)
    },
  )
})
