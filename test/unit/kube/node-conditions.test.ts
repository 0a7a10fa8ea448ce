/** The condition ColocationDegraded at a true API server double: written when it is news, seldom otherwise, and whatever the server does, once. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as fc from 'fast-check'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { conditionPatch, degradedCondition } from '../../../src/kube/node-conditions.ts'
import { type Trouble, TROUBLES } from '../../../src/model/index.ts'
import { ApiServerDouble } from '../../support/api-server/index.ts'
import { PlainCaller } from '../../support/api-server/plain-caller.ts'
import { recordOf, type Rig, rigOf, ScriptedCaller, signalsOf, WRITE_MS } from './reporter-support.ts'

const CONDITIONS_ONLY = { switches: { events: false, annotations: false, hotLabel: false, hotTaint: false } }
const SOURCES: Trouble = { reason: 'SourcesFailing', text: "1 source can't be read: memory (EIO)" }
const TICKS: Trouble = { reason: 'TicksFailing', text: 'Every tick fails: boom' }
const MINUTES = 60_000

let directory: string
let server: ApiServerDouble
let api: PlainCaller

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'conditions-'))
  server = await ApiServerDouble.start({ directory })
  api = new PlainCaller(server)
})
afterAll(async () => {
  await server.stop()
  rmSync(directory, { recursive: true })
})
beforeEach(() => {
  server.remove('nodes', '', 'n1')
  server.put('nodes', { metadata: { name: 'n1' }, spec: {}, status: { conditions: [{ type: 'Ready', status: 'True' }] } })
  server.mend()
  server.requests.length = 0
})

const conditions = () =>
  (server.get('nodes', '', 'n1') as unknown as { status: { conditions: Record<string, string>[] } }).status.conditions
const degraded = () => conditions().find(({ type }) => type === 'ColocationDegraded')
const patches = () => server.requests.filter(({ verb }) => verb === 'patch')

/** Says what is wrong, and lets `ms` pass. */
async function told(rig: Rig, troubles: readonly Trouble[] | undefined, ms = WRITE_MS): Promise<void> {
  rig.reporter.trouble(troubles)
  rig.reporter.tick(recordOf(signalsOf()))
  await rig.pass(ms)
}

describe('a node in permanent trouble', () => {
  it('says so with the worst reason and all of the text, and that it is over, each once', async () => {
    const rig = rigOf(api, CONDITIONS_ONLY)
    await told(rig, [])
    expect(degraded()).toMatchObject({ status: 'False', reason: 'AgentWorks' })
    const wasAt = degraded()?.['lastTransitionTime']
    await told(rig, [SOURCES, TICKS])
    expect(degraded()).toMatchObject({
      status: 'True',
      reason: 'TicksFailing',
      message: "Every tick fails: boom; SourcesFailing: 1 source can't be read: memory (EIO)",
    })
    expect(degraded()?.['lastTransitionTime']).not.toBe(wasAt)
    await told(rig, [SOURCES, TICKS], 2 * MINUTES)
    await told(rig, [])
    expect(degraded()).toMatchObject({ status: 'False', reason: 'AgentWorks' })
    expect(patches().map(({ resource, path }) => [resource, path])).toEqual(
      Array.from({ length: 3 }, () => ['nodes/status', '/api/v1/nodes/n1/status']),
    )
    // Other people's conditions are where they were.
    expect(conditions().find(({ type }) => type === 'Ready')).toEqual({ type: 'Ready', status: 'True' })
  })

  it('is told of at once when the reason changes, and of a text that moved alone with the next heartbeat', async () => {
    const rig = rigOf(api, CONDITIONS_ONLY)
    await told(rig, [SOURCES])
    await told(rig, [{ ...SOURCES, text: "2 sources can't be read" }], 4 * MINUTES)
    expect(degraded()?.['message']).toBe(SOURCES.text)
    await told(rig, [{ ...SOURCES, text: "3 sources can't be read" }], MINUTES)
    expect(degraded()?.['message']).toBe("3 sources can't be read")
    const transitionAt = degraded()?.['lastTransitionTime']
    await told(rig, [TICKS])
    expect(degraded()).toMatchObject({ reason: 'TicksFailing', lastTransitionTime: transitionAt })
  })

  it.each([0, 0.999])('beats no more often than every five minutes, and at least every six (spread %f)', async (draw) => {
    const rig = rigOf(api, { ...CONDITIONS_ONLY, random: () => draw })
    await told(rig, [], 60 * MINUTES)
    expect(patches().length).toBeGreaterThanOrEqual(10)
    expect(patches().length).toBeLessThanOrEqual(13)
  })

  it('is not told of before the agent can tell: what the one before has said stands over a restart', async () => {
    await told(rigOf(api, CONDITIONS_ONLY), [SOURCES])
    await told(rigOf(api, CONDITIONS_ONLY), undefined, MINUTES)
    expect(degraded()).toMatchObject({ status: 'True', reason: 'SourcesFailing' })
  })

  it('is told of though the loop is dead and there are no signals', async () => {
    const rig = rigOf(api, { ...CONDITIONS_ONLY, settleMs: 60 * MINUTES })
    rig.reporter.trouble([TICKS])
    await rig.passDead(2 * WRITE_MS)
    expect(degraded()).toMatchObject({ status: 'True', reason: 'TicksFailing' })
    expect(conditions().some(({ type }) => type === 'ColocationHot')).toBe(false)
  })

  it('becomes unknown when the agent goes, and is deleted when conditions are switched off', async () => {
    const rig = rigOf(api, CONDITIONS_ONLY)
    await told(rig, [SOURCES])
    expect(await rig.reporter.withdraw()).toBe(true)
    expect(degraded()).toMatchObject({ status: 'Unknown', reason: 'AgentStopped' })
    await told(rigOf(api, { switches: { ...CONDITIONS_ONLY.switches, condition: false } }), [SOURCES])
    expect(degraded()).toBeUndefined()
    expect(conditions().map(({ type }) => type)).toEqual(['Ready'])
  })
})

describe('a server that does not take the condition', () => {
  const runOf = ({ reporter }: Rig) => reporter.runs.find(({ name }) => name === 'node_conditions')

  it('for want of a right is asked less and less, the failures are counted, and it is told when it may be', async () => {
    server.fail({ status: 403, verb: 'patch', resource: 'nodes/status', times: Infinity })
    const rig = rigOf(api, CONDITIONS_ONLY)
    await told(rig, [SOURCES], 60 * MINUTES)
    // Pauses double from 4 s to 5 min.
    expect(patches().length).toBeGreaterThan(10)
    expect(patches().length).toBeLessThan(35)
    expect(rig.reporter.stats().writes.patchNodeStatus).toEqual({ ok: 0, failed: patches().length })
    expect(runOf(rig)).toMatchObject({ failuresInARow: patches().length, lastOkMs: undefined })
    expect(runOf(rig)?.lastError).toMatch(/403|told to fail: Forbidden/)
    server.mend()
    await told(rig, [SOURCES], 6 * MINUTES)
    expect(degraded()).toMatchObject({ status: 'True' })
    expect(runOf(rig)).toMatchObject({ failuresInARow: 0, lastOkMs: expect.any(Number) as number })
  })

  it('over a conflict is asked again, and the condition is there', async () => {
    server.fail({ status: 409, verb: 'patch', resource: 'nodes/status', times: 2 })
    const rig = rigOf(api, CONDITIONS_ONLY)
    await told(rig, [SOURCES], MINUTES)
    expect(degraded()).toMatchObject({ status: 'True' })
    expect(patches().map(({ status }) => status)).toEqual([409, 409, 200])
  })

  it('and hangs holds one call, however long, and gets the newest state', async () => {
    let answer = (_node: unknown): void => {}
    const node = { kind: 'Node', metadata: { name: 'n1', resourceVersion: '1' }, spec: {}, status: {} }
    const hanging = new ScriptedCaller(({ operation }) =>
      operation === 'getNode' ? node : new Promise((resolve) => (answer = resolve)),
    )
    const { reporter, clock } = rigOf(hanging, CONDITIONS_ONLY)
    reporter.trouble([SOURCES])
    const round = reporter.pump()
    for (let second = 0; second < 3600; second += 1) {
      clock.nowMs += 1000
      reporter.trouble(second < 3599 ? [SOURCES, TICKS] : [])
      void reporter.pump()
      if (second % 100 === 0) await new Promise((resolve) => setImmediate(resolve))
    }
    expect(hanging.calls.map(({ operation }) => operation)).toEqual(['getNode', 'patchNodeStatus'])
    answer(node)
    await round
    hanging.answer = () => node
    clock.nowMs += WRITE_MS
    await reporter.pump()
    expect(JSON.stringify(hanging.calls.at(-1)?.body)).toContain('AgentWorks')
  })
})

it('a patch is a strategic one of conditions alone, of bounded size, and none once it is shown: for any trouble', () => {
  const trouble = fc.record({ reason: fc.constantFrom(...TROUBLES), text: fc.string({ maxLength: 2000 }) })
  fc.assert(
    fc.property(fc.array(trouble, { maxLength: 12 }), (troubles) => {
      const wish = degradedCondition(troubles)
      const context = { wanted: true, heartbeatDue: true, wallMs: 0 }
      const patch = conditionPatch([wish], {}, context) as { status: { conditions: Record<string, string>[] } }
      const [condition, ...others] = patch.status.conditions
      expect([Object.keys(patch), Object.keys(patch.status), others]).toEqual([['status'], ['conditions'], []])
      expect(condition?.['status']).toBe(troubles.length > 0 ? 'True' : 'False')
      // Kubernetes: a reason is one CamelCase word.
      expect(condition?.['reason']).toMatch(/^[A-Z][A-Za-z]+$/)
      expect(condition?.['message']?.length).toBeLessThanOrEqual(1024)
      const shown = { ...wish, status: condition?.['status'] ?? '', transitionAt: '1970-01-01T00:00:00Z' }
      const again = conditionPatch([wish], { ColocationDegraded: shown }, { ...context, heartbeatDue: false })
      expect(again).toBeUndefined()
    }),
    { numRuns: 100 },
  )
})
