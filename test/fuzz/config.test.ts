/** Any text and any structure as the configuration: it loads and prints as itself, or one error names every place. */
import * as fc from 'fast-check'
import { describe, expect } from 'vitest'
import { stringify } from 'yaml'
import { loadConfig, renderConfigJson } from '../../src/config/index.ts'
import { AgentError } from '../../src/model/index.ts'
import { announce, expectAmounts, fuzz, spoiltObjects, texts } from './support.ts'

announce('config')

const SAMPLE = {
  mode: 'enforce',
  node: { name: 'node-1', cgroupRoot: '/' },
  loop: { guardMs: 25, hotMs: 50, calmMs: 1000 },
  classes: { namespaces: { batch: 'BE' }, besteffort: 'UNTAGGED' },
  resources: { cpuUnit: '100m', memoryUnit: '512Mi' },
  placement: { reservedCpus: '0-1', dedicatedCpus: '4-5' },
  suppressCpu: { watermarkPermyriad: 6500, lowWatermarkPermyriad: 5000 },
  suppressIo: { devices: ['sda', '259:0'], writeBps: 1_000_000 },
}
const TEXT = stringify(SAMPLE)
const ALIASES = 'loop: &a {hotMs: 50}\nsuppressCpu: *a\n'

/** What is nested too deeply for the library to print is written as JSON, which is YAML too. */
function asText(value: unknown): string {
  const text = JSON.stringify(value) ?? 'null'
  return text.length > 4000 ? text : stringify(JSON.parse(text))
}

const inputs = fc.oneof(
  { arbitrary: texts(TEXT, ALIASES, '', 'mode: observe\n', '{mode: plan, loop: {hotMs: 60}}'), weight: 3 },
  { arbitrary: spoiltObjects(SAMPLE).map(asText), weight: 2 },
)

let taken = 0

/** Every line has its place, so nothing of the file got out of its quotes. */
const LINE = /^config(:\d+:\d+)?: \P{Cc}{1,2000}$|^and \d+ more$/u

describe('the configuration', () => {
  fuzz('loads and prints as itself, or says what is wrong where', inputs, (text) => {
    let loaded
    try {
      loaded = loadConfig({ text })
    } catch (thrown) {
      expect(thrown).toBeInstanceOf(AgentError)
      const { code, message } = thrown as AgentError
      expect(code).toBe('E_CONFIG')
      const lines = message.split('\n')
      for (const line of lines)
        if (!LINE.test(line)) throw new Error(`no place in ${JSON.stringify(line.slice(0, 300))}`, { cause: thrown })
      expect(lines.length).toBeLessThanOrEqual(101)
      return 'refused'
    }
    expectAmounts(loaded.config, (key) => key === 'nice')
    taken += 1
    // Printed are all settings there are, which takes ten times as long to read as what made them.
    if (taken % 20 !== 1) return 'taken'
    const printed = JSON.parse(renderConfigJson(loaded)) as { readonly config: unknown }
    expect(loadConfig({ text: JSON.stringify(printed.config) }).config).toEqual(loaded.config)
    return 'taken'
  })
})
