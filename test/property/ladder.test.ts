/**
 * What always holds of the ladder (I39 to I42), over random histories of rungs: thresholds that come and go, readings that are missing, rungs
 * that can't be climbed here or are switched off and on, deeds that are done or not, and pauses of any length.
 */
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { climb, type Climbed, type LadderMemory, type RungView } from '../../src/decide/suppress/ladder.ts'
import { MEMORY_RUNGS, type MemoryRung } from '../../src/model/index.ts'
import { deepFreeze } from '../support/snapshots.ts'

const ms = fc.constantFrom(0, 1, 50, 1000, 5000)
const settings = fc.record({ enterMs: ms, exitMs: ms, coolDownMs: ms })
const rarely = <T>(arbitrary: fc.Arbitrary<T>, weight: number): fc.Arbitrary<T | undefined> =>
  fc.oneof({ weight: weight - 1, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary })
const moment = fc.record({
  dtMs: fc.constantFrom(0, 1, 50, 50, 1000, 1000, 6000, 3_600_000),
  missing: fc.nat(7).map((one) => one === 0),
  /** How bad things are from now on: rung n is passed from n + 1 on, and left below n. */
  badness: rarely(fc.constantFrom(6, 6, 5, 4, 3, 2, 1, 0, -1), 4),
  acted: fc.boolean(),
  /** Bits of rungs that are impossible, or switched off, from now on. */
  impossible: rarely(fc.nat(31), 10),
  off: rarely(fc.nat(31), 10),
})
const histories = fc.record({
  settings: fc.array(settings, { minLength: 5, maxLength: 5 }),
  moments: fc.array(moment, { minLength: 40, maxLength: 80 }),
  impossible: fc.constantFrom<number>(0, 0, 1, 2, 4, 16, 24, 31),
  off: fc.constantFrom<number>(0, 0, 1, 4, 31),
  /** Whether what can be climbed changes at all on the way. */
  changes: fc.boolean(),
})
type History = typeof histories extends fc.Arbitrary<infer T> ? T : never

interface Lived {
  readonly nowMs: number
  readonly views: readonly RungView<MemoryRung>[]
  readonly missing: boolean
  readonly before: readonly MemoryRung[]
  readonly after: Climbed<MemoryRung>
  /** Rungs or their possibility are others than on the tick before. */
  readonly changed: boolean
}

function live({ settings: times, moments, changes, ...first }: History): Lived[] {
  let nowMs = 0
  let memory: LadderMemory<MemoryRung> | undefined
  let { impossible, off } = first
  let badness = 6
  return moments.map((one, index) => {
    nowMs += one.dtMs
    const [wasImpossible, wasOff] = [impossible, off]
    badness = one.badness ?? badness
    if (changes) [impossible, off] = [one.impossible ?? impossible, one.off ?? off]
    const views = MEMORY_RUNGS.flatMap((name, rank): RungView<MemoryRung>[] => {
      if ((off >> rank) % 2 === 1) return []
      return [
        {
          name,
          settings: times[rank] ?? { enterMs: 0, exitMs: 0, coolDownMs: 0 },
          over: !one.missing && badness > rank,
          under: !one.missing && badness < rank,
          acted: one.acted && memory?.inForce.at(-1) === name,
          ...((impossible >> rank) % 2 === 1 ? { impossible: 'not here' } : {}),
        },
      ]
    })
    const before = memory?.inForce ?? []
    const after = climb(deepFreeze(memory), deepFreeze(views), nowMs)
    memory = after.memory
    const changed = index === 0 || wasImpossible !== impossible || wasOff !== off
    return { nowMs, views, missing: one.missing, before, after, changed }
  })
}

function forAll(check: (lived: readonly Lived[]) => void): void {
  fc.assert(
    fc.property(histories, (history) => check(live(history))),
    { numRuns: 500 },
  )
}

/** The topmost rung in force that settings have left there. */
const topOf = ({ before, views }: Lived): MemoryRung | undefined =>
  before.filter((name) => views.some((view) => view.name === name)).at(-1)
const left = ({ before, after }: Lived): MemoryRung[] => before.filter((name) => !after.memory.inForce.includes(name))
const climbed = ({ before, after }: Lived): MemoryRung[] => after.memory.inForce.filter((name) => !before.includes(name))

describe('climb', () => {
  it('climbs or leaves one rung a tick, the topmost, and never both; only settings take more away (I39)', () => {
    let steps = 0
    forAll((lived) => {
      for (const one of lived) {
        const gone = left(one).filter((name) => one.views.some((view) => view.name === name))
        expect(climbed(one).length + gone.length).toBeLessThanOrEqual(1)
        const stillThere = one.before.filter((name) => one.views.some((view) => view.name === name))
        if (gone.length > 0) expect(gone).toEqual(stillThere.slice(-1))
        steps += climbed(one).length
      }
    })
    expect(steps).toBeGreaterThan(1000)
  })

  it('has in force the lowest of the rungs that can be climbed, in their order, while those stay the same (I39)', () => {
    forAll((lived) => {
      let steady = true
      for (const one of lived.slice(1)) {
        steady &&= !one.changed
        const names = one.views.map(({ name }) => name)
        const { inForce } = one.after.memory
        expect(inForce).toEqual(names.filter((name) => inForce.includes(name)))
        const possible = one.views.flatMap(({ name, impossible }) => (impossible === undefined ? [name] : []))
        if (steady) expect(inForce).toEqual(possible.slice(0, inForce.length))
      }
    })
  })

  it('climbs only past a threshold that was passed on every tick for enterMs, and no rung that is impossible (I40)', () => {
    forAll((lived) => {
      for (const [index, one] of lived.entries()) {
        for (const name of climbed(one)) {
          const view = one.views.find((other) => other.name === name)
          expect(view?.impossible).toBeUndefined()
          let sinceMs = one.nowMs
          for (let earlier = index; earlier >= 0; earlier -= 1) {
            const then = lived[earlier]
            if (then?.views.find((other) => other.name === name)?.over !== true) break
            sinceMs = then.nowMs
            // With the rung below in force: what was before does not count.
            if (left(then).length + climbed(then).length > 0 && earlier < index) break
          }
          expect(one.nowMs - sinceMs).toBeGreaterThanOrEqual(view?.settings.enterMs ?? Infinity)
        }
      }
    })
  })

  it('leaves only a rung whose exit was passed on every tick for exitMs (I40)', () => {
    let exits = 0
    forAll((lived) => {
      for (const [index, one] of lived.entries()) {
        for (const name of left(one)) {
          const view = one.views.find((other) => other.name === name)
          if (view === undefined) continue
          exits += 1
          let sinceMs = one.nowMs
          for (let earlier = index; earlier >= 0; earlier -= 1) {
            const then = lived[earlier]
            const was = then?.views.find((other) => other.name === name)
            if (then === undefined || was?.under !== true || topOf(then) !== name) break
            sinceMs = then.nowMs
          }
          expect(one.nowMs - sinceMs).toBeGreaterThanOrEqual(view.settings.exitMs)
        }
      }
    })
    expect(exits).toBeGreaterThan(50)
  })

  it('waits for the cool-down of the topmost rung from its first deed on, and for none without a deed (I41)', () => {
    const waits = { dwell: 0, coolDown: 0, impossible: 0 }
    forAll((lived) => {
      let deed: { readonly top: MemoryRung | undefined; readonly atMs: number } | undefined
      for (const one of lived) {
        const top = one.views.find(({ name }) => name === topOf(one))
        if (deed?.top !== top?.name) deed = undefined
        if (top?.acted === true) deed ??= { top: top.name, atMs: one.nowMs }
        const coolUntilMs = deed === undefined ? -Infinity : deed.atMs + (top?.settings.coolDownMs ?? 0)
        if (climbed(one).length > 0) expect(one.nowMs).toBeGreaterThanOrEqual(coolUntilMs)
        const waiting = one.after.state.waiting
        if (waiting?.for === 'coolDown') expect(one.nowMs).toBeLessThan(coolUntilMs)
        if (waiting !== undefined) waits[waiting.for] += 1
        if (climbed(one).length > 0 || one.after.memory.inForce.at(-1) !== deed?.top) deed = undefined
      }
    })
    expect(Math.min(...Object.values(waits))).toBeGreaterThan(10)
  })

  it('climbs and leaves nothing on a tick without readings (I42)', () => {
    forAll((lived) => {
      for (const one of lived) {
        if (!one.missing) continue
        expect(climbed(one)).toEqual([])
        expect(left(one).filter((name) => one.views.some((view) => view.name === name))).toEqual([])
        expect(one.after.state.waiting).toBeUndefined()
      }
    })
  })
})
