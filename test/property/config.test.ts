/** Whatever stands in a file, loading ends in a configuration or in an AgentError; and what was loaded, printed, loads the same. */
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { stringify } from 'yaml'
import { loadConfig, renderConfig, renderConfigJson } from '../../src/config/index.ts'
import { AgentError } from '../../src/model/index.ts'

const keys = [...loadConfig().provenance.keys()]
const names = [...new Set(keys.flatMap((key) => key.split('.')))]

function loadsOrExplains(text: string): void {
  try {
    renderConfig(loadConfig({ text }))
  } catch (thrown) {
    expect(thrown).toBeInstanceOf(AgentError)
    expect(thrown).toMatchObject({ code: 'E_CONFIG' })
    // Every line of the message has a place, so nothing of the file got out of its quotes.
    for (const line of (thrown as AgentError).message.split('\n')) expect(line).toMatch(/^config(:\d+:\d+)?: |^and \d+ more$/)
  }
}

const YAML_MARKS = [
  ': ',
  ':\n',
  '\n',
  '  ',
  '    ',
  '\t',
  '- ',
  '? ',
  '{',
  '}',
  '[',
  ']',
  ', ',
  '"',
  "'",
  '#',
  '|\n',
  '>-\n',
  '&a ',
  '*a',
]
const YAML_WORDS = [
  '!!str ',
  '<<: ',
  '---\n',
  '...\n',
  '%YAML 1.1\n',
  '__proto__',
  '\uFEFF',
  '\0',
  '\r',
  '1e400',
  '.inf',
  'null',
  'true',
]
const VALUES = ['0', '-1', '50', '0-3', '512Mi', 'BE', 'plan']

const fragment = fc.constantFrom(...names, ...YAML_MARKS, ...YAML_WORDS, ...VALUES)

const junk: fc.Arbitrary<unknown> = fc
  .anything({ withNullPrototype: false, maxDepth: 3 })
  .map((value) => JSON.parse(JSON.stringify(value) ?? 'null'))

describe('any text', () => {
  it('loads or throws AgentError: characters', () => {
    fc.assert(fc.property(fc.string({ unit: 'binary', maxLength: 200 }), loadsOrExplains), { numRuns: 500 })
  })

  it('loads or throws AgentError: pieces of YAML', () => {
    fc.assert(
      fc.property(
        fc.array(fragment, { maxLength: 40 }).map((parts) => parts.join('')),
        loadsOrExplains,
      ),
      { numRuns: 2000 },
    )
  })

  it('loads or throws AgentError: known keys with any values', () => {
    const block = fc.oneof(junk, fc.dictionary(fc.constantFrom(...names), junk))
    const root = fc.dictionary(fc.constantFrom(...names, 'classes', 'resources'), block)
    fc.assert(
      fc.property(
        root.map((value) => stringify(value)),
        loadsOrExplains,
      ),
      { numRuns: 1000 },
    )
  })
})

const upTo = (min: number, max: number) => fc.integer({ min, max })
const onePath = fc.array(fc.stringMatching(/^[a-zA-Z0-9_ -]{1,8}$/), { maxLength: 3 }).map((parts) => `/${parts.join('/')}`)
const suffixed = fc
  .tuple(upTo(1, 999), fc.constantFrom('', 'm', 'k', 'M', 'Ki', 'Mi', 'Gi'))
  .map(([amount, suffix]) => `${amount}${suffix}`)
const namespace = fc.stringMatching(/^[a-z0-9]([-a-z0-9]{0,5}[a-z0-9])?$/)

/** Settings that keep clear of the impossible combinations by their ranges. */
const validInput = fc.record(
  {
    mode: fc.constantFrom('observe', 'plan', 'enforce'),
    node: fc.record({ name: fc.constantFrom('', 'node-1', '007'), cgroupRoot: onePath }, { requiredKeys: [] }),
    paths: fc.record({ proc: onePath, state: onePath }, { requiredKeys: [] }),
    loop: fc.record({ guardMs: upTo(5, 50), hotMs: upTo(50, 1000), calmMs: upTo(1000, 2500) }, { requiredKeys: [] }),
    classes: fc.record(
      {
        namespaces: fc.dictionary(namespace, fc.constantFrom('LSX', 'LSR', 'LS', 'BE', 'OT', 'SYSTEM')),
        besteffort: fc.constantFrom('UNTAGGED', 'BE'),
      },
      { requiredKeys: [] },
    ),
    resources: fc.record(
      { cpuUnit: fc.oneof(suffixed, upTo(1, 9), fc.constant(0.1)), memoryUnit: suffixed },
      { requiredKeys: [] },
    ),
    placement: fc.record(
      {
        enabled: fc.boolean(),
        reservedCpus: fc.oneof(fc.constantFrom('', '0-3', '1,3'), upTo(0, 9)),
        dedicatedCpus: fc.oneof(fc.constantFrom('', '10-13'), upTo(10, 99)),
      },
      { requiredKeys: [] },
    ),
    suppressCpu: fc.record(
      {
        watermarkPermyriad: upTo(6000, 10_000),
        lowWatermarkPermyriad: upTo(1, 5999),
        marginPermyriad: upTo(0, 1000),
        floorPermyriad: upTo(100, 4000),
        otFloorPermyriad: upTo(1, 100),
        windowMs: upTo(50, 10_000),
        staleMs: upTo(5000, 600_000),
      },
      { requiredKeys: [] },
    ),
    memoryHold: fc.record({ enterPermyriad: upTo(1200, 1999), exitPermyriad: upTo(2000, 10_000) }, { requiredKeys: [] }),
    suppressIo: fc.record(
      {
        enabled: fc.boolean(),
        devices: fc.uniqueArray(fc.constantFrom('sda', 'nvme0n1', '259:3', 'cciss!c0d0'), { maxLength: 4 }),
        onlineDevices: fc.constantFrom([], ['sdb']),
        offlineDevices: fc.constantFrom([], ['8:0', 'dm-1']),
        writeBps: fc.oneof(fc.constant(0), upTo(65_536, Number.MAX_SAFE_INTEGER)),
      },
      { requiredKeys: [] },
    ),
    own: fc.record({ nice: upTo(-20, 0) }, { requiredKeys: [] }),
    http: fc.record({ host: fc.constantFrom('0.0.0.0', '::1', 'localhost'), port: upTo(0, 65_535) }, { requiredKeys: [] }),
  },
  { requiredKeys: [] },
)

describe('any valid configuration', () => {
  it('printed as YAML and loaded again is equal', () => {
    fc.assert(
      fc.property(validInput, fc.constantFrom('block', 'flow', 'any'), (input, collectionStyle) => {
        const loaded = loadConfig({ text: stringify(input, { collectionStyle }) })
        const shown = JSON.parse(renderConfigJson(loaded)) as { config: object }
        const { mode = 'observe', loop = {}, http = {}, suppressIo = {}, own = {} } = input
        expect(loaded.config).toMatchObject({ mode, loop, http, suppressIo, own })
        for (const text of [stringify(shown.config), JSON.stringify(shown.config)])
          expect(loadConfig({ text }).config).toEqual(loaded.config)
      }),
      { numRuns: 300 },
    )
  })
})
