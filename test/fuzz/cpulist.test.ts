/** Any text as a CPU list: a set within bounds that prints and reads as itself, or an error that says where the text goes wrong. */
import * as fc from 'fast-check'
import { describe, expect } from 'vitest'
import { CpuListError, CpuSet } from '../../src/cpu/index.ts'
import { announce, fuzz, texts } from './support.ts'

announce('cpulist')

const inputs = fc.tuple(
  texts('0-3,8', '0', '0-7:2/4', '0-31:1/2,64-127', 'all', 'N', '0-N:1/3', '1, 2\n3', '8191', '', '0-8191', '5-3'),
  fc.option(fc.constantFrom(0, 1, 63, 8191), { nil: undefined }),
)

describe('CPU lists', () => {
  fuzz('are a set that reads back as itself, or are refused with the place', inputs, ([text, lastCpu]) => {
    let set: CpuSet
    try {
      set = CpuSet.parse(text, { lastCpu })
    } catch (thrown) {
      expect(thrown).toBeInstanceOf(CpuListError)
      const { column, message } = thrown as CpuListError
      if (column < 1 || column > text.length + 1) throw new Error(`column ${column} is outside of the text`, { cause: thrown })
      if (message.length > 1500 || message.includes('\n')) throw new Error(`an odd message: ${message}`, { cause: thrown })
      return 'refused'
    }
    const most = lastCpu ?? 8191
    if ((set.last ?? 0) > most || set.size > most + 1) throw new Error(`CPUs above ${most}: ${set.toString()}`)
    if (!CpuSet.parse(set.toString()).equals(set)) throw new Error(`not itself: ${set.toString()}`)
    return 'taken'
  })

  fuzz(
    'of numbers: only whole numbers from 0 to 8191 are CPUs',
    fc.array(fc.oneof(fc.double(), fc.integer(), fc.nat(9000))),
    (ids) => {
      try {
        const set = CpuSet.from(ids)
        expect(set.size).toBe(new Set(ids.map((id) => id + 0)).size)
        return 'taken'
      } catch (thrown) {
        expect(thrown).toBeInstanceOf(CpuListError)
        return 'refused'
      }
    },
  )
})
