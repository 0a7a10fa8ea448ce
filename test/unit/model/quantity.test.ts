import { describe, expect, it } from 'vitest'
import { AgentError, parseCpuQuantity, parseMemoryQuantity } from '../../../src/model/index.ts'

describe('parseCpuQuantity', () => {
  it.each<[string | number, number]>([
    ['100m', 100],
    ['2', 2000],
    ['1.5', 1500],
    ['0.1', 100],
    ['.5', 500],
    ['5.', 5000],
    ['+1', 1000],
    ['0', 0],
    ['-0', 0],
    ['1k', 1_000_000],
    ['1e3', 1_000_000],
    ['100u', 1],
    ['1n', 1],
    ['1001u', 2],
    ['1e-99', 1],
    ['1e-999999999', 1],
    ['0e999999999', 0],
    [2, 2000],
    [0.1, 100],
    [0.0005, 1],
    [1e-7, 1],
  ])('%s is %i milli-CPU', (text, milli) => {
    expect(parseCpuQuantity(text)).toBe(milli)
  })
})

describe('parseMemoryQuantity', () => {
  it.each<[string | number, number]>([
    ['512Mi', 536_870_912],
    ['1Gi', 1_073_741_824],
    ['1G', 1_000_000_000],
    ['100M', 100_000_000],
    ['128974848', 128_974_848],
    ['1e3', 1000],
    ['1E3', 1000],
    ['12e-1', 2],
    ['500k', 500_000],
    ['2Ti', 2_199_023_255_552],
    ['1.5Ki', 1536],
    ['0.1Ki', 103],
    ['1Pi', 1_125_899_906_842_624],
    ['128974848000m', 128_974_848],
    ['1m', 1],
    [134_217_728, 134_217_728],
  ])('%s is %i bytes', (text, bytes) => {
    expect(parseMemoryQuantity(text)).toBe(bytes)
  })

  it('keeps the largest safe integer apart from the one above it', () => {
    expect(parseMemoryQuantity('9007199254740991')).toBe(Number.MAX_SAFE_INTEGER)
    expect(() => parseMemoryQuantity('9007199254740992')).toThrow('quantity too large: "9007199254740992"')
  })

  it.each([
    '',
    ' ',
    '.',
    '+',
    'Mi',
    '1 Gi',
    '1gi',
    '1K',
    '1mi',
    '1e',
    '1e3Mi',
    '1,5',
    '0x10',
    '1_000',
    'NaN',
    'Infinity',
    '१',
    '1\n',
  ])('refuses %j and names it', (text) => {
    expect(() => parseMemoryQuantity(text)).toThrow(AgentError)
    expect(() => parseMemoryQuantity(text)).toThrow(`not a quantity: ${JSON.stringify(text)}`)
  })

  it.each(['-1', '-512Mi'])('refuses the negative %s', (text) => {
    expect(() => parseMemoryQuantity(text)).toThrow(`negative quantity: "${text}"`)
  })

  it.each(['1E', '1e99', '1e999999999', '9999Pi'])('refuses %s as too large', (text) => {
    expect(() => parseMemoryQuantity(text)).toThrow('quantity too large')
  })

  it('cuts a text of any length in its message', () => {
    expect(() => parseMemoryQuantity('9'.repeat(100_000))).toThrow(/^not a quantity: "9{64}…"/)
    expect(() => parseMemoryQuantity(NaN)).toThrow('not a quantity: "NaN"')
  })
})
