/** For how long pods have to go for CPU, once the rung that evicts is in force. 8 CPUs; a tick every 500 ms, on which a pod may go. */
import { describe, expect, it } from 'vitest'
import { decide, EMPTY_MEMORY, type Memory } from '../../../src/decide/index.ts'
import type { Decision } from '../../../src/model/index.ts'
import { configOf } from '../../support/config.ts'
import { type PodLiteral, snapshotOf, type SnapshotLiteral } from '../../support/snapshots.ts'

const QUICK = { enterMs: 1000, exitMs: 60_000, coolDownMs: 0 }
const CONFIG = configOf({
  cpuNarrow: { enabled: false },
  cpuEvict: { ...QUICK, enabled: true },
  evict: { enabled: true, holdMs: 0, intervalMs: 1000 },
})
const PODS: readonly PodLiteral[] = Array.from({ length: 20 }, (_, index) => ({
  uid: `ot${index}`,
  asks: { 'ot-cpu': 1 },
  usesMilli: 10,
}))
const HOT: SnapshotLiteral = { nodeMilli: 7600, offlineMilli: 400 }
const CLIMB = Array.from({ length: 8 }, () => HOT)

function ticks(moments: readonly SnapshotLiteral[]): Decision[] {
  let memory: Memory = EMPTY_MEMORY
  return moments.map((moment, index) => {
    const evictions = { impossible: undefined } as unknown as { impossible?: string }
    const { decision, memory: after } = decide(
      snapshotOf({ nowMs: index * 500, pods: PODS, evictions, ...moment }),
      memory,
      CONFIG,
    )
    memory = after
    return decision
  })
}

/** Who has to go while things are as `later` for 10 s, after the rung has come into force. */
function goneDuring(later: SnapshotLiteral): { readonly wishes: number; readonly inForce: boolean; readonly milli: number } {
  const all = ticks([...CLIMB, ...Array.from({ length: 20 }, () => later)])
  expect(all[CLIMB.length - 1]?.suppression?.ladder.inForce).toEqual(['cpuEvict'])
  const { ladder, allowanceMilli } = all.at(-1)?.suppression ?? {}
  return {
    wishes: all.slice(CLIMB.length).reduce((sum, { evictions }) => sum + evictions.length, 0),
    inForce: ladder?.inForce.includes('cpuEvict') === true,
    milli: allowanceMilli ?? Number.NaN,
  }
}

describe('cpuEvict in force', () => {
  it('has one pod after the other go while the node stays full', () => {
    expect(goneDuring(HOT).wishes).toBeGreaterThan(5)
    expect(goneDuring({ ...HOT, nodeMilli: 6900 }).wishes).toBeGreaterThan(5)
  })

  it('has nobody go by readings that have stopped coming', () => {
    expect(goneDuring({ nodeMilli: null, offlineMilli: null })).toMatchObject({ wishes: 0, inForce: true })
    expect(goneDuring({ ...HOT, ageMs: 60_000 })).toMatchObject({ wishes: 0, inForce: true })
  })

  it('has nobody go once the node is less full than the rung is left at, though it stays in force for exitMs', () => {
    expect(goneDuring({ nodeMilli: 6000, offlineMilli: 160 })).toMatchObject({ wishes: 0, inForce: true })
  })

  it('has nobody go for what offline pods use of an allowance that has grown again', () => {
    // Offline pods alone keep the node above the exit: it is theirs to fill, up to the watermark and no further.
    const { wishes, milli } = goneDuring({ nodeMilli: 6900, offlineMilli: 5000 })
    expect([milli > 160, wishes <= 3]).toEqual([true, true])
  })
})
