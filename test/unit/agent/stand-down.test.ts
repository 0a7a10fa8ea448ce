/** Standing down: what was asked is done on a beat and once for all who asked, after slow writes or without those that do not end, and for nobody who left. */
import { describe, expect, it } from 'vitest'
import type { Actuator, ReleaseReport } from '../../../src/actuate/index.ts'
import { StandDown, type ReleaseAsk } from '../../../src/agent/stand-down.ts'

const REPORT: ReleaseReport = { restored: 3, unchanged: 0, vanished: 0, foreign: [], oneWay: [], failed: [], unknown: [] }

interface Heard extends ReleaseAsk {
  isWanted: boolean
  readonly said: string[]
}

function asking(): Heard {
  const said: string[] = []
  return {
    isWanted: true,
    said,
    begin: () => said.push('begin'),
    done: (report, underWay) => said.push(`done ${report.restored}, ${underWay} under way`),
    failed: (thrown) => said.push(String(thrown)),
  }
}

/** A node with so many slow writes under way. */
function node(underWay = 0) {
  const state = { underWay, drained: 0, releases: 0, broken: false }
  const actuator = {
    apply: () => {
      state.drained += 1
      return []
    },
    get underWay() {
      return state.underWay
    },
  } as Pick<Actuator, 'apply' | 'underWay'> as Actuator
  const release = (): ReleaseReport => {
    state.releases += 1
    if (state.broken) throw new Error('EIO')
    return REPORT
  }
  return { state, parts: { actuator, release } }
}

const at = (nowMs: number) => ({ nowMs, wallMs: 1_000_000 + nowMs })

describe('standing down', () => {
  it('releases once for all who asked since the last beat, and again for one who asks later', () => {
    const standDown = new StandDown()
    const { state, parts } = node()
    const [one, two, later] = [asking(), asking(), asking()]
    standDown.ask(one)
    standDown.ask(two)
    expect([standDown.isAsked, standDown.sinceWallMs]).toEqual([true, undefined])
    standDown.beat(at(10), parts)
    expect([one.said, two.said]).toEqual([
      ['begin', 'done 3, 0 under way'],
      ['begin', 'done 3, 0 under way'],
    ])
    expect([state.releases, standDown.isAsked, standDown.sinceWallMs]).toEqual([1, false, 1_000_010])
    standDown.ask(later)
    standDown.beat(at(5000), parts)
    expect(later.said).toEqual(['begin', 'done 3, 0 under way'])
    expect([state.releases, standDown.sinceWallMs]).toEqual([2, 1_000_010])
  })

  it('does nothing for one who has left before the beat', () => {
    const standDown = new StandDown()
    const { state, parts } = node()
    const gone = asking()
    standDown.ask(gone)
    gone.isWanted = false
    standDown.beat(at(10), parts)
    expect([gone.said, state.releases, standDown.isAsked, standDown.sinceWallMs]).toEqual([[], 0, false, undefined])
  })

  it('waits for slow writes, begins none, and finishes also for one who leaves meanwhile', () => {
    const standDown = new StandDown()
    const { state, parts } = node(1)
    const ask = asking()
    standDown.ask(ask)
    standDown.beat(at(0), parts)
    expect([ask.said, state.releases, state.drained]).toEqual([['begin'], 0, 1])
    ask.isWanted = false
    standDown.beat(at(1900), parts)
    expect([state.releases, standDown.isAsked]).toEqual([0, true])
    state.underWay = 0
    standDown.beat(at(1950), parts)
    expect([ask.said, state.releases]).toEqual([['begin', 'done 3, 0 under way'], 1])
  })

  it('tells how many slow writes go on that did not end within two seconds', () => {
    const standDown = new StandDown()
    const { state, parts } = node(2)
    const ask = asking()
    standDown.ask(ask)
    standDown.beat(at(0), parts)
    standDown.beat(at(2000), parts)
    expect([ask.said, state.releases]).toEqual([['begin', 'done 3, 2 under way'], 1])
  })

  it('answers when the release fails, stays down, and can be asked again', () => {
    const standDown = new StandDown()
    const { state, parts } = node()
    const [first, second] = [asking(), asking()]
    state.broken = true
    standDown.ask(first)
    standDown.beat(at(0), parts)
    expect(first.said).toEqual(['begin', 'Error: EIO'])
    expect([standDown.isAsked, standDown.sinceWallMs]).toEqual([false, 1_000_000])
    state.broken = false
    standDown.ask(second)
    standDown.beat(at(10), parts)
    expect(second.said).toEqual(['begin', 'done 3, 0 under way'])
  })
})
