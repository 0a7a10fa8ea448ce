/** What the demo's pulse and live view say of rungs and of the pressure guard. */
import { describe, expect, it } from 'vitest'
import { plainLines, rungsOf, summaryTable } from '../../src/cli/demo/lines.ts'
import { PhaseLog } from '../../src/cli/demo/phase-log.ts'
import { MEMORY, ROOT_STEP, SUPPRESSION, tick, type TickParts } from './record/fixtures.ts'

const pressure = { source: 'online groups', permyriad: 3100, boundPermyriad: 2000, is: 'cut' } as const

describe('the demo', () => {
  it('names rungs in force and what the guard does', () => {
    const suppression = { ...SUPPRESSION, pressure, ladder: { inForce: ['cpuNarrow'] as const } }
    expect(rungsOf(tick({ suppression, memory: MEMORY }))).toBe(', cpuNarrow, memoryHold, memoryHighOt, online work waits: cut')
  })

  it('says nothing of them while all is quiet', () => {
    expect(rungsOf(tick())).toBe('')
    expect(rungsOf(tick({ suppression: null }))).toBe('')
    expect(rungsOf(tick({ suppression: { ...SUPPRESSION, pressure: { ...pressure, is: 'quiet' } } }))).toBe('')
  })

  it('has them in its pulse', () => {
    const lines: string[] = []
    plainLines((text) => void lines.push(text))({
      event: 'tick',
      atMs: 0,
      record: tick({ suppression: { ...SUPPRESSION, pressure } }),
    })
    expect(lines.at(-1)).toBe('[  0.0s]   use: LS 700m, BE 700m, OT 700m; allowance 600m (watermark), online work waits: cut\n')
  })
})

describe('the answer to the spike', () => {
  const narrowed: TickParts = { plan: [ROOT_STEP], outcomes: [{ is: 'applied' }] }
  const floored: TickParts = { suppression: { ...SUPPRESSION, bound: 'floor' } }

  function logOf(before: TickParts, during: TickParts, after: TickParts): PhaseLog {
    const log = new PhaseLog()
    log.begin('ot')
    log.tick(tick({ nowMs: 9000, ...before }))
    log.begin('spike')
    log.spikeStarted(10_000)
    log.tick(tick({ nowMs: 10_050, ...during }))
    log.begin('recovery')
    log.tick(tick({ nowMs: 21_000, ...after }))
    return log
  }

  const lineOf = (log: PhaseLog): string | undefined =>
    summaryTable({
      bed: 'real',
      phases: log.phases,
      reactionMs: log.reactionMs,
      spikeAtFloor: log.spikeAtFloor,
      knobsRestored: 0,
      filesSame: 0,
      filesDifferent: [],
      kubeletViolations: [],
    })
      .split('\n')
      .find((line) => line.includes('spike to first quota write'))
      ?.trim()

  it('is the first write of its own phase', () => {
    expect(logOf(narrowed, narrowed, narrowed).reactionMs).toBeGreaterThanOrEqual(50)
    expect(logOf(narrowed, narrowed, narrowed).reactionMs).toBeLessThan(100)
  })

  it('is not a write that came after the spike was over, for another reason', () => {
    expect(lineOf(logOf({}, {}, narrowed))).toBe('spike to first quota write  NONE')
  })

  it('is none where offline pods were at their floor when it came', () => {
    expect(lineOf(logOf(floored, floored, narrowed))).toBe(
      'spike to first quota write  none: offline pods were at their floor already',
    )
  })
})
