/** Lines of a watch, however the connection cuts them. */
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { LineSplitter } from '../../../src/kube/watch-lines.ts'

function split(bytes: Buffer, cuts: readonly number[], maxBytes = 1000): string[] {
  const splitter = new LineSplitter(maxBytes)
  const places = [...cuts.map((cut) => cut % (bytes.length + 1)), 0, bytes.length].sort((a, b) => a - b)
  return places.slice(1).flatMap((end, index) => splitter.push(bytes.subarray(places[index], end)))
}

describe('lines', () => {
  it('come out whole wherever they are cut, within characters too', () => {
    const line = fc.string({ unit: 'binary', maxLength: 20 }).map((text) => text.replaceAll('\n', ''))
    fc.assert(
      fc.property(fc.array(line), fc.array(fc.nat()), (lines, cuts) => {
        const bytes = Buffer.from(lines.map((one) => `${one}\n`).join(''))
        expect(split(bytes, cuts)).toEqual(lines.filter((one) => one.trim() !== ''))
      }),
    )
  })

  it('are bounded, whole or not', () => {
    expect(split(Buffer.from(`${'x'.repeat(10)}\n`), [3], 10)).toEqual(['x'.repeat(10)])
    expect(() => split(Buffer.from(`${'x'.repeat(11)}\n`), [3], 10)).toThrow('longer than 10 bytes')
    expect(() => split(Buffer.from('x'.repeat(11)), [3], 10)).toThrow('longer than 10 bytes')
  })

  it('are known to be unfinished', () => {
    const splitter = new LineSplitter(10)
    splitter.push(Buffer.from('a\nb'))
    expect(splitter.withinLine).toBe(true)
    splitter.push(Buffer.from('\n'))
    expect(splitter.withinLine).toBe(false)
  })
})
