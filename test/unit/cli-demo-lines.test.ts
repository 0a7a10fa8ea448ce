/** What the demo's pulse and live view say of rungs and of the pressure guard. */
import { describe, expect, it } from 'vitest'
import { plainLines, rungsOf } from '../../src/cli/demo/lines.ts'
import { MEMORY, SUPPRESSION, tick } from './record/fixtures.ts'

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
