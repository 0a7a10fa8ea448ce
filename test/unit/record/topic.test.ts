/** What is told of something that may change on every tick: never too much, and always how it stands in the end. */
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Series, Topic } from '../../../src/record/topic.ts'

const MINUTE_MS = 60_000

const histories = fc.array(
  fc.record({ state: fc.constantFrom('', 'a', 'b', 'c'), afterMs: fc.integer({ min: 1, max: 20_000 }) }),
  {
    maxLength: 200,
  },
)

describe('a topic', () => {
  it('tells a change once, and the way back', () => {
    const topic = new Topic('', 10)
    expect(['', 'a', 'a', '', ''].map((state, at) => topic.news(state, at))).toEqual([undefined, 0, undefined, 0, undefined])
  })

  it('counts what it passed over, and tells it with the next entry', () => {
    const topic = new Topic('', 1)
    expect(topic.news('a', 0)).toBe(0)
    for (const [index, state] of ['b', 'c', 'b', 'd'].entries()) expect(topic.news(state, 1000 + index)).toBeUndefined()
    expect(topic.news('d', MINUTE_MS)).toBe(3)
  })

  it('never tells more than its bound in any minute', () => {
    fc.assert(
      fc.property(histories, fc.integer({ min: 1, max: 5 }), (history, perMinute) => {
        const topic = new Topic('', perMinute)
        const toldMs: number[] = []
        let nowMs = 0
        for (const { state, afterMs } of history) {
          nowMs += afterMs
          if (topic.news(state, nowMs) !== undefined) toldMs.push(nowMs)
        }
        for (const atMs of toldMs) {
          expect(toldMs.filter((other) => other >= atMs && other < atMs + MINUTE_MS).length).toBeLessThanOrEqual(perMinute)
        }
      }),
    )
  })

  it('has always told how things stand once they have stood so for a minute', () => {
    fc.assert(
      fc.property(histories, (history) => {
        const topic = new Topic('', 2)
        let told = ''
        let nowMs = 0
        let last = ''
        for (const { state, afterMs } of history) {
          nowMs += afterMs
          last = state
          if (topic.news(state, nowMs) !== undefined) told = state
        }
        if (topic.news(last, nowMs + MINUTE_MS) !== undefined) told = last
        expect(told).toBe(last)
      }),
    )
  })
})

describe('a series', () => {
  it('goes on over gaps, and is over only after a quiet time', () => {
    const series = new Series<'cut' | 'futile'>(10_000)
    const at = (occurs: 'cut' | 'futile' | undefined, nowMs: number) => series.next(occurs, nowMs)
    expect(at(undefined, 0)).toBeUndefined()
    expect(at('cut', 1000)).toBe('cut')
    expect(at(undefined, 10_999)).toBe('cut')
    expect(at('futile', 11_000)).toBe('futile')
    expect(at(undefined, 20_999)).toBe('futile')
    expect(at(undefined, 21_000)).toBeUndefined()
  })

  it('is neither begun nor ended by what only goes on', () => {
    const series = new Series<'cut'>(10_000)
    expect(series.next('goesOn', 0)).toBeUndefined()
    expect(series.next('cut', 1000)).toBe('cut')
    expect(series.next('goesOn', 10_000)).toBe('cut')
    expect(series.next(undefined, 19_999)).toBe('cut')
    expect(series.next(undefined, 20_000)).toBeUndefined()
  })
})
