/** What a running agent makes of a request for a release: it waits for the agent to be there, and its answer tells all that is left to do. */
import { describe, expect, it, vi } from 'vitest'
import type { ReleaseReport, ReleaseRequest } from '../../src/actuate/index.ts'
import type { ReleaseAsk } from '../../src/agent/stand-down.ts'
import { withdrawalOf } from '../../src/cli/cluster.ts'
import { ReleaseDesk, type ReleaseParts } from '../../src/cli/release-desk.ts'
import { isReleaseOutcome } from '../../src/cli/release-report.ts'
import { NoEvictor } from '../../src/kube/index.ts'
import { configOf } from '../support/config.ts'

const REPORT: ReleaseReport = { restored: 2, unchanged: 1, vanished: 0, foreign: [], oneWay: [], failed: [], unknown: [] }

function desk({
  withdraw = () => Promise.resolve(undefined),
  left,
}: { withdraw?: ReleaseParts['withdraw']; left?: string } = {}) {
  const asks: ReleaseAsk[] = []
  const answers: string[] = []
  const wantTick = vi.fn<() => void>()
  const begin = vi.fn<() => void>()
  const request: ReleaseRequest = { isWanted: true, begin, answer: (text) => answers.push(text) }
  const journal = { marks: { left }, health: { damage: undefined } }
  const parts = {
    agent: { askRelease: (ask: ReleaseAsk) => asks.push(ask) },
    loop: { wantTick },
    writing: { journal },
    logger: { info: vi.fn(), warn: vi.fn() },
    withdraw,
  } as unknown as ReleaseParts
  return { desk: new ReleaseDesk(), parts, request, asks, answers, wantTick, begin }
}

async function answerOf(answers: readonly string[]) {
  await vi.waitFor(() => expect(answers).toHaveLength(1))
  const [text = ''] = answers
  expect(text).not.toContain('\n')
  const outcome: unknown = JSON.parse(text)
  if (!isReleaseOutcome(outcome)) throw new Error(`no report: ${text}`)
  return outcome
}

describe('the desk of a running agent', () => {
  it('keeps what comes while the agent starts, and hands it to the loop once it is there', async () => {
    const { desk: early, parts, request, asks, answers, wantTick, begin } = desk()
    early.take(request)
    expect(asks).toHaveLength(0)
    early.open(parts)
    expect([asks.length, wantTick.mock.calls.length]).toEqual([1, 1])
    asks[0]?.begin()
    expect(begin).toHaveBeenCalledOnce()
    asks[0]?.done(REPORT, 0)
    expect(await answerOf(answers)).toMatchObject({ isWhole: true, data: { restored: 2, unchanged: 1, failed: [] } })
  })

  it.each<[string, Parameters<typeof desk>[0], number, string]>([
    [
      'the cluster does not answer',
      { withdraw: () => Promise.reject(new Error('ECONNRESET')) },
      0,
      'not taken back in the cluster: ECONNRESET',
    ],
    ['groups are still marked', { left: 'EPERM' }, 0, 'groups are still marked: EPERM'],
    ['slow writes go on', {}, 2, 'not over: 2 writes of limits may take effect yet; run it again'],
  ])('says that it is not whole when %s', async (_what, options, underWay, line) => {
    const { desk: open, parts, request, asks, answers } = desk(options)
    open.open(parts)
    open.take(request)
    asks[0]?.done(REPORT, underWay)
    const outcome = await answerOf(answers)
    expect(outcome.isWhole).toBe(false)
    expect(outcome.text.split('\n')).toContain(line)
  })

  it('answers when the release fails', async () => {
    const { desk: open, parts, request, asks, answers } = desk()
    open.open(parts)
    open.take(request)
    asks[0]?.failed(new Error('EIO'))
    expect(await answerOf(answers)).toMatchObject({ isWhole: false, text: 'not released: EIO' })
  })
})

describe('what the cluster was told', () => {
  it('is taken back by who told it, once, and says why it could not', async () => {
    const reporter = { withdraw: vi.fn(() => Promise.resolve(false)), stats: () => ({ lastError: 'EHOSTUNREACH' }) }
    const parts = { reporter, evictor: new NoEvictor('none'), server: 'https://api' } as unknown as Parameters<
      typeof withdrawalOf
    >[0]
    const withdraw = withdrawalOf(parts, configOf({}))
    expect(await withdraw()).toBe('EHOSTUNREACH')
    // Then by a client of its own, where there is a server to ask.
    expect(await withdraw()).toBeUndefined()
    expect(reporter.withdraw).toHaveBeenCalledOnce()
  })
})
