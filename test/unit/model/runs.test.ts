/** The book of a part that is done again and again, and the clock of those that follow one another within a tick. */
import { describe, expect, it } from 'vitest'
import { isFailing, Run, RunClock } from '../../../src/model/index.ts'

describe('a run', () => {
  it('is neither well nor failing before it was done, and keeps its last error when it works again', () => {
    const run = new Run('memory')
    expect([isFailing(run), run.lastOkMs, run.tookMs]).toEqual([false, undefined, undefined])
    run.failed('EIO', 10)
    run.failed('EIO', 20, 5)
    expect(run).toMatchObject({ failures: 2, failuresInARow: 2, lastFailedMs: 20, lastError: 'EIO', tookMs: 5 })
    expect(isFailing(run)).toBe(true)
    run.ok(30, 1)
    expect(run).toMatchObject({ failures: 2, failuresInARow: 0, lastOkMs: 30, lastError: 'EIO', tookMs: 1 })
    run.off()
    expect([isFailing(run), run.lastOkMs, run.failures]).toEqual([false, undefined, 2])
  })

  it('keeps of an error one line of a bounded length, without what speaks to a terminal', () => {
    const run = new Run('events')
    run.failed(`403 \u001B[31m\nforged line ${'x'.repeat(5000)}`, 0)
    expect(run.lastError).toMatch(/^403 \[31m forged line x+$/)
    expect(run.lastError?.length).toBe(300)
  })
})

describe('a clock of runs', () => {
  function clockOf() {
    let nowMs = 0
    let reads = 0
    const clock = new RunClock(['a', 'b'], () => {
      reads += 1
      return nowMs
    })
    return { clock, pass: (ms: number) => (nowMs += ms), reads: () => reads }
  }

  it('gives each part the time until the next one begins, summed up over a tick', () => {
    const { clock, pass } = clockOf()
    for (const [first, second] of [
      [3, 4],
      [1, 2],
    ] as const) {
      clock.begin(true)
      clock.enter('a')
      pass(first)
      clock.enter('b')
      pass(10)
      clock.enter('a')
      pass(second)
      clock.end()
      pass(100)
      expect([clock.of('a').tookMs, clock.of('b').tookMs]).toEqual([first + second, 10])
    }
    clock.resume('b', true)
    pass(7)
    clock.end()
    expect([clock.of('a').tookMs, clock.of('b').tookMs]).toEqual([3, 17])
  })

  it('is not read at all on a tick that is not timed, and keeps what it knew', () => {
    const { clock, pass, reads } = clockOf()
    clock.begin(true)
    clock.enter('a')
    pass(5)
    clock.end()
    const before = reads()
    clock.begin(false)
    clock.enter('a')
    pass(5)
    clock.enter('b')
    clock.end()
    clock.enter('a')
    expect(reads()).toBe(before)
    expect([clock.of('a').tookMs, clock.of('b').tookMs]).toEqual([5, undefined])
  })

  it('blames what throws on the part that had begun, and on none after the last has ended', () => {
    const { clock } = clockOf()
    clock.begin(false)
    clock.enter('a')
    clock.enter('b')
    expect(clock.threw('boom', 9)).toBe(true)
    expect(clock.of('b')).toMatchObject({ failuresInARow: 1, lastError: 'boom', lastFailedMs: 9 })
    expect(clock.of('a').failures).toBe(0)
    clock.begin(false)
    clock.enter('a')
    clock.end()
    expect(clock.threw('later', 10)).toBe(false)
    expect(clock.of('a').failures).toBe(0)
  })
})
