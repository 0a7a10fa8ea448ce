/** The list of rules that only observe. */
import { describe, expect, it } from 'vitest'
import { configJsonSchema, loadConfig } from '../../../src/config/index.ts'
import { OBSERVABLE_RULES, RULES } from '../../../src/model/index.ts'
import { issuesOf } from './support.ts'

const of = (list: string): readonly string[] => loadConfig({ text: `observeRules: ${list}` }).config.observeRules
const what = '1:15: observeRules: expected a list of rules such as [identity, suppressIo]'

describe('observeRules', () => {
  it.each(['[]', '[identity]', '[suppressIo, identity]', `[${OBSERVABLE_RULES.join(', ')}]`])('may be %s', (list) => {
    expect(of(list)).toEqual(list.replaceAll(/[[\]]/g, '').split(', ').filter(Boolean))
  })

  it('is empty where nothing is said, or nothing is left of it', () => {
    expect(loadConfig({ text: '{}' }).config.observeRules).toEqual([])
    expect(of('')).toEqual([])
  })

  it.each([
    ['[identity, supressIo]', `${what}, got "supressIo" in it; did you mean suppressIo?`],
    ['[Identity]', `${what}, got "Identity" in it; did you mean identity?`],
    ['[42]', `${what}, got 42 in it; there are ${OBSERVABLE_RULES.join(', ')}`],
    ['[nodeSignals]', `${what}, got "nodeSignals" in it; there are ${OBSERVABLE_RULES.join(', ')}`],
    ['identity', `${what}, got "identity"`],
    ['{identity: true}', `${what}, got a mapping`],
    ['[burst, own, burst]', '1:15: observeRules: burst is listed twice'],
  ])('may not be %s', (list, issue) => {
    expect(issuesOf(`observeRules: ${list}`)).toEqual([issue])
  })

  it('may name every rule but the one that only tells', () => {
    expect(RULES.filter((rule) => !OBSERVABLE_RULES.some((name) => name === rule))).toEqual(['nodeSignals'])
  })

  it('is in the JSON Schema with the names that there are', () => {
    expect(configJsonSchema()['properties']).toMatchObject({
      observeRules: { type: ['array', 'null'], items: { enum: OBSERVABLE_RULES }, uniqueItems: true, default: [] },
    })
  })
})
