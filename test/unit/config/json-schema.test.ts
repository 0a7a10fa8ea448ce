/**
 * The JSON Schema of the configuration against the schema that the agent loads with: what one takes the other takes, for every setting;
 * and the files that are shipped are valid.
 */
import { readFileSync } from 'node:fs'
import { Ajv2020 } from 'ajv/dist/2020.js'
import * as fc from 'fast-check'
import * as v from 'valibot'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { configJsonSchema, loadConfig, renderConfigJson } from '../../../src/config/index.ts'
import { ConfigSchema } from '../../../src/config/schema.ts'
import { SETTINGS, type SettingSpec } from '../../../src/config/settings.ts'

const ajv = new Ajv2020({ strict: true, allowUnionTypes: true, allErrors: true })
const isValid = ajv.compile(configJsonSchema())

function problems(config: unknown): readonly string[] {
  isValid(config)
  return (isValid.errors ?? []).map(({ instancePath, message }) => `${instancePath} ${message ?? ''}`)
}

const only = ({ path: [block = '', name] }: SettingSpec, value: unknown): Record<string, unknown> =>
  name === undefined ? { [block]: value } : { [block]: { [name]: value } }

/** Values that some setting takes, and their like. */
const value = fc.oneof(
  fc.constantFrom(-21, -1, 0, 0.5, 1, 4, 5, 15, 16, 1.5, 2001, 9999, 10_000, 10_001, 65_535, 65_536, 2 ** 53, NaN),
  fc.integer({ min: -30, max: 200_000 }),
  fc.boolean(),
  fc.constantFrom(
    '',
    ' ',
    '/',
    '/a/',
    '/a//b',
    '/a/../b',
    'a',
    'A',
    'auto',
    'observe',
    'BE',
    'UNTAGGED',
    'example.com/x',
    'kubernetes.io',
  ),
  fc.constantFrom(
    'https://10.0.0.1:6443',
    'http://x',
    '0-3,8',
    '3-',
    '0-7:1/2',
    ' 1 , 2 ',
    '100m',
    '+1',
    '-1',
    '1.',
    '.5',
    '1e3',
    '512Mi',
    '1Q',
    '::1',
  ),
  fc.constantFrom(
    [],
    ['sda'],
    ['sda', 'sda'],
    ['/dev/sda'],
    ['259:3'],
    [1],
    Array.from({ length: 65 }, (_, n) => `8:${n}`),
  ),
  fc.constantFrom(
    {},
    { batch: 'BE' },
    { P0: 'LSX' },
    { P9: 'LSX' },
    { batch: 'X' },
    { constructor: 'BE' },
    { 'UPPER.case': 'LS' },
  ),
  fc.string({ maxLength: 12 }),
)

describe('the JSON Schema of the configuration', () => {
  it('is one of draft 2020-12 that says something of every setting', () => {
    expect(configJsonSchema()).toMatchObject({ $schema: 'https://json-schema.org/draft/2020-12/schema' })
    for (const { key, shape, description } of SETTINGS) {
      expect(Object.keys(shape), key).not.toEqual([])
      expect(description.length, key).toBeGreaterThan(10)
    }
  })

  it('finds the shipped example, the defaults and an empty file valid', () => {
    const example = readFileSync(new URL('../../../deploy/config.example.yaml', import.meta.url), 'utf8')
    const defaults = (JSON.parse(renderConfigJson(loadConfig())) as { config: unknown }).config
    expect(problems(parse(example))).toEqual([])
    expect(problems(defaults)).toEqual([])
    expect(problems({})).toEqual([])
    expect(problems({ loop: null })).toEqual([])
  })

  it.each([
    [{ loop: { hotMS: 50 } }, '/loop must NOT have additional properties'],
    [{ mod: 'plan' }, ' must NOT have additional properties'],
    [{ mode: 'enforced' }, '/mode must be equal to one of the allowed values'],
    [{ suppressCpu: { watermarkPermyriad: 65_000 } }, '/suppressCpu/watermarkPermyriad must be <= 10000'],
    [{ paths: { state: 'var' } }, '/paths/state must match pattern'],
  ])('refuses %j', (config, problem) => {
    expect(problems(config).join('\n')).toContain(problem)
  })

  it('takes what the agent takes, and of all but texts that are parsed further nothing else', () => {
    const isParsed = ({ shape }: SettingSpec): boolean =>
      Array.isArray(shape['type']) && (shape['type'] as string[]).includes('string')
    fc.assert(
      fc.property(fc.constantFrom(...SETTINGS), value, (setting, candidate) => {
        const config = only(setting, candidate)
        const agent = v.safeParse(ConfigSchema, config).success
        const schema = isValid(config)
        if (agent || !isParsed(setting)) expect(schema, `${setting.key}: ${JSON.stringify(candidate)}`).toBe(agent)
      }),
      { numRuns: 6000 },
    )
  })
})
