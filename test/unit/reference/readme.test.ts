/** The generated parts of the README are what the code says now; and the generator refuses a README in which it can't find its place. */
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { configReference } from '../../../scripts/reference/config.ts'
import { metricsReference, registeredMetrics } from '../../../scripts/reference/metrics.ts'
import { fillReadme, README } from '../../../scripts/reference/readme.ts'
import { markdownTable } from '../../../scripts/reference/table.ts'
import { verbsReference } from '../../../scripts/reference/verbs.ts'
import { VERBS } from '../../../src/cli/main.ts'
import { SETTINGS } from '../../../src/config/settings.ts'

const NAMES = ['verbs', 'config', 'metrics', 'errors']
const empty = (names: readonly string[]): string =>
  names.map((name) => `<!-- reference:${name} -->\n<!-- /reference:${name} -->\n`).join('\n')

describe('the references in the README', () => {
  it('are what npm run reference writes', () => {
    const readme = readFileSync(README, 'utf8')
    expect(fillReadme(readme) === readme, 'README.md is behind the code: run npm run reference').toBe(true)
  })

  it('name every setting, metric and verb', () => {
    const rows = (table: string): number => table.split('\n').filter((line) => line.startsWith('| `')).length
    expect(rows(configReference())).toBe(SETTINGS.length)
    expect(rows(metricsReference())).toBe(registeredMetrics().length)
    expect(rows(verbsReference())).toBe(Object.keys(VERBS).length)
    const squeezed = (table: string): string => table.replaceAll(/ +/g, ' ')
    expect(squeezed(configReference())).toContain(
      '| `hotMs` | `50` | Pause between ticks while the node is hot and something calls for less; four times that without such news (ms, 10 to 1000) |',
    )
    expect(squeezed(metricsReference())).toContain('| `kube_agent_writes_total` | counter | `knob`, `outcome` |')
    expect(squeezed(metricsReference())).toContain('| `kube_agent_reaction_latency_seconds` | histogram | |')
  })

  it('fill what stands between the markers and leave the rest', () => {
    const filled = fillReadme(`# A\n\nbefore\n\n${empty(NAMES)}\nafter\n`)
    expect(filled).toMatch(/^# A\n\nbefore\n\n<!-- reference:verbs -->\n\n\| Usage/)
    expect(filled).toMatch(/<!-- \/reference:errors -->\n\nafter\n$/)
    expect(fillReadme(filled)).toBe(filled)
  })

  it('are refused by name where a marker is missing or stands twice', () => {
    expect(() => fillReadme(empty(NAMES.slice(1)))).toThrow('expected <!-- reference:verbs -->')
    expect(() => fillReadme(empty([...NAMES, 'config']))).toThrow('<!-- reference:config -->')
    expect(() => fillReadme(empty(NAMES).replace('<!-- /reference:metrics -->', ''))).toThrow('<!-- /reference:metrics -->')
  })
})

describe('a table', () => {
  it('keeps a bar within its cell', () => {
    expect(markdownTable(['A', 'B'], [['x|y', 'z']])).toBe('| A    | B   |\n| ---- | --- |\n| x\\|y | z   |\n')
  })
})
