/** The last minutes in numbers: what a second keeps, what is kept of the seconds, and what a client has to ask for. */
import { describe, expect, it } from 'vitest'
import { History, HISTORY_EVERY_MS, HISTORY_SAMPLES } from '../../../src/record/history.ts'
import type { SuppressionState } from '../../../src/model/index.ts'
import { reading, SUPPRESSION, tick } from './fixtures.ts'

const allowed = (allowanceMilli: number): SuppressionState => ({ ...SUPPRESSION, allowanceMilli })
const using = (usedMilli: number, nowMs: number) => ({ cpu: reading({ usedMilli, windowMs: 100 }, nowMs) })

describe('the history', () => {
  it('keeps the highest use and the lowest allowance of a second, however short they were', () => {
    const history = new History()
    for (const [nowMs, used, allowance] of [
      [10_000, 2000, 900],
      [10_050, 7900, 100],
      [10_900, 3000, 500],
    ] as const)
      history.take(tick({ nowMs, node: using(used, nowMs), suppression: allowed(allowance) }))
    const { numbers, series } = history.query()
    expect(numbers).toEqual([10])
    expect(series).toMatchObject({
      nodeMilli: [7900],
      // The group of offline pods uses 1500 all along.
      offlineMilli: [1500],
      onlineMilli: [6400],
      allowanceMilli: [100],
      watermarkMilli: [5200],
      capacityMilli: [8000],
    })
  })

  it('has null for what a tick did not know, and no sample for a second without a tick', () => {
    const history = new History()
    history.take(tick({ nowMs: 5000, node: {}, suppression: null }))
    history.take(tick({ nowMs: 9000 }))
    const { numbers, series } = history.query()
    expect(numbers).toEqual([5, 9])
    expect(series.nodeMilli).toEqual([null, 5900])
    expect(series.allowanceMilli).toEqual([null, 600])
    expect(series.cpuPressurePermyriad).toEqual([null, null])
    expect(series.memoryUsedPermyriad).toEqual([null, 6250])
  })

  it('tells waits as a share of time', () => {
    const history = new History()
    const online = { cpuPressure: reading({ someUsPerSecond: 200_000 }, 1000) }
    history.take(tick({ nowMs: 1000, online }))
    expect(history.query().series.cpuPressurePermyriad).toEqual([2000])
  })

  it('sends what is new, and the second that was still open once more', () => {
    const history = new History()
    for (let second = 10; second < 15; second += 1) history.take(tick({ nowMs: second * HISTORY_EVERY_MS }))
    const first = history.query()
    expect(first.numbers).toEqual([10, 11, 12, 13, 14])
    history.take(tick({ nowMs: 14_500, node: using(8000, 14_500) }))
    history.take(tick({ nowMs: 15_000 }))
    const second = history.query(first.next)
    expect(second.numbers).toEqual([14, 15])
    expect(second.series.nodeMilli).toEqual([8000, 5900])
  })

  it('sends everything to a client that remembers another run of the agent', () => {
    const history = new History()
    history.take(tick({ nowMs: 3000 }))
    expect(history.query(900_000).numbers).toEqual([3])
  })

  it('keeps ten minutes in the same 31,200 bytes, whatever comes', () => {
    const history = new History()
    const before = history.byteLength
    for (let second = 0; second < HISTORY_SAMPLES * 2 + 7; second += 1) history.take(tick({ nowMs: second * HISTORY_EVERY_MS }))
    const { numbers, wallMs } = history.query()
    expect(numbers).toHaveLength(HISTORY_SAMPLES)
    expect([numbers[0], numbers.at(-1)]).toEqual([HISTORY_SAMPLES + 7, HISTORY_SAMPLES * 2 + 6])
    expect(wallMs.every((ms, at) => at === 0 || ms - (wallMs[at - 1] ?? 0) === HISTORY_EVERY_MS)).toBe(true)
    expect(history.byteLength).toBe(before)
    expect(history.byteLength).toBe(HISTORY_SAMPLES * (2 * 8 + 9 * 4))
    // After a silence longer than what is kept, nothing of before it comes back.
    history.take(tick({ nowMs: 10 * HISTORY_SAMPLES * HISTORY_EVERY_MS }))
    expect(history.query().numbers).toEqual([10 * HISTORY_SAMPLES])
  })

  it('costs a tick next to nothing', () => {
    const history = new History()
    const record = tick()
    let best = Infinity
    for (let run = 0; run < 20; run += 1) {
      const from = performance.now()
      for (let count = 0; count < 1000; count += 1) history.take(record)
      best = Math.min(best, performance.now() - from)
    }
    // In ms for a thousand: some 0.3 µs each on the build machine.
    expect(best).toBeLessThan(10)
  })
})
