/** What the reaction bench makes of the lines of its watcher: which write counts, and which does not. */
import { describe, expect, it } from 'vitest'
import { QuotaLog } from '../../scripts/bench/quota-log.ts'
import { render, toJson, type Result } from '../../scripts/bench/result.ts'

const quotaMilli = (text: string): number => (text === '-1' ? Infinity : Number(text) / 100)

function logOf(...lines: readonly string[]): QuotaLog {
  const log = new QuotaLog({ quotaMilli }, 2)
  for (const line of lines) log.add(line)
  return log
}

describe('the log of quotas that were in force', () => {
  it('counts the first write after the spike that is low enough, not an earlier one and not a higher one', () => {
    const log = logOf('1000000 0 40000', '5000000 0 90000', '9000000 0 80000', '12000000 0 30000', '13000000 0 20000')
    expect(log.firstBelow(0, 4, 500)).toBe(12)
  })

  it('says Infinity when no write was low enough, so that a spike without a reaction is never counted as a fast one', () => {
    expect(logOf('5000000 0 90000').firstBelow(0, 1, 500)).toBe(Infinity)
    expect(logOf('5000000 0 90000').leastMilli(0, 6, 9)).toBeNaN()
  })

  it('keeps the files apart, and reads no limit as Infinity', () => {
    const log = logOf('1000000 0 -1', '2000000 1 10000')
    expect([log.latestMilli(0), log.latestMilli(1)]).toEqual([Infinity, 100])
    expect(log.firstBelow(0, 0, 500)).toBe(Infinity)
  })

  it('refuses what is not a line of the watcher', () => {
    expect(() => logOf('watch: no such file')).toThrow('not a line of the watcher')
    expect(() => logOf('1000000 7 100')).toThrow('not a line of the watcher')
  })
})

describe('the result of a bench', () => {
  const result: Result = {
    name: 'latency-hogs-share',
    value: 70,
    unit: '%',
    floor: 100,
    ratio: 0.7,
    goal: 80,
    ok: false,
    details: { spoiled: 3 },
    lines: ['more'],
  }

  it('shows value, floor, goal, and that the goal was missed', () => {
    expect(render(result)).toMatch(/^latency-hogs-share +70\.00 %.*floor +100\.00.*goal ≥ 80 % +MISSED\n {2}more$/)
  })

  it('has its details as keys of the JSON line', () => {
    expect(JSON.parse(toJson(result))).toEqual({
      name: 'latency-hogs-share',
      value: 70,
      unit: '%',
      floor: 100,
      ratio: 0.7,
      goal: 80,
      ok: false,
      spoiled: 3,
    })
  })
})
