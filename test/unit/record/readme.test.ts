/** The table of rungs in the README says what the settings are by default: people decide by it what to switch on. */
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { DEFAULTS } from '../../support/config.ts'
import { CPU_RUNGS, formatPermyriad, MEMORY_RUNGS } from '../../../src/model/index.ts'

const README = readFileSync(new URL('../../../README.md', import.meta.url), 'utf8')

/** The cells of the row of a rung. */
function rowOf(rung: string): readonly string[] {
  const row = README.split('\n').find((line) => line.startsWith(`| \`${rung}\``))
  return row?.split('|').map((cell) => cell.trim()) ?? []
}

describe('the table of rungs in the README', () => {
  it.each([...CPU_RUNGS, ...MEMORY_RUNGS])('has the thresholds of %s', (rung) => {
    const [, , enters = '', leaves = '', , byDefault] = rowOf(rung)
    const { enabled, enterPermyriad, exitPermyriad } = DEFAULTS[rung]
    expect(enters).toContain(formatPermyriad(enterPermyriad))
    expect(leaves).toContain(formatPermyriad(exitPermyriad))
    const needsEvict = rung.startsWith('memoryEvict')
    expect(byDefault).toBe(needsEvict && enabled && !DEFAULTS.evict.enabled ? 'with evict' : enabled ? 'on' : 'off')
  })
})
