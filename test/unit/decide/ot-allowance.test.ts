/** What OT gets beside BE of a steady load: a closed loop of 8 CPUs with a tick a second, in which OT takes all that it is let. */
import { describe, expect, it } from 'vitest'
import { decide, EMPTY_MEMORY, type Memory } from '../../../src/decide/index.ts'
import { DEFAULTS } from '../../support/config.ts'
import { snapshotOf } from '../../support/snapshots.ts'

const ONLINE_MILLI = 100
const CAPACITY_MILLI = 8000
/** Defaults of suppressCpu on 8 CPUs: beHeadroomPermyriad and otFloorPermyriad. */
const HEADROOM_MILLI = 400
const FLOOR_MILLI = 80
/** suppressCpu.deadBandPermyriad: growth that is not worth a write. */
const DEAD_BAND_MILLI = 80

interface Allowances {
  readonly allowanceMilli: number
  readonly otMilli: number
}

/** BE wants `wantsMilli` from the second `fromS` on, and nothing before; the kernel lets it have what OT may not use. */
function live(wantsMilli: number, { fromS = 0, seconds = 60 } = {}): Allowances[] {
  let memory: Memory = EMPTY_MEMORY
  let [beMilli, otMilli] = [0, 0]
  const lived: Allowances[] = []
  for (let second = 0; second < seconds; second += 1) {
    const pods = [
      { uid: 'be', asks: { 'be-cpu': 60 }, usesMilli: beMilli },
      { uid: 'ot', asks: { 'ot-cpu': 60 }, usesMilli: otMilli },
    ]
    const offlineMilli = beMilli + otMilli
    const nodeMilli = ONLINE_MILLI + offlineMilli
    const { decision, memory: after } = decide(
      snapshotOf({ nowMs: second * 1000, pods, nodeMilli, offlineMilli }),
      memory,
      DEFAULTS,
    )
    memory = after
    const { allowanceMilli = CAPACITY_MILLI, otAllowanceMilli = FLOOR_MILLI } = decision.suppression ?? {}
    lived.push({ allowanceMilli, otMilli: otAllowanceMilli })
    beMilli = second < fromS ? 0 : Math.min(wantsMilli, allowanceMilli - otAllowanceMilli)
    otMilli = Math.min(otAllowanceMilli, allowanceMilli - beMilli)
  }
  return lived
}

describe('the allowance of OT beside a steady BE', () => {
  it.each([0, 300, 1000, 2000, 2400, 3000, 4000, 4400])(
    'of %dm stands still, at what BE and its headroom leave',
    (wantsMilli) => {
      const last = live(wantsMilli).slice(-30)
      const allowanceMilli = last[0]?.allowanceMilli ?? Number.NaN
      const left = Math.max(FLOOR_MILLI, allowanceMilli - wantsMilli - HEADROOM_MILLI)
      expect(last.map(({ otMilli }) => otMilli)).toEqual(last.map(() => left))
    },
  )

  it.each([2000, 4000, 4900])(
    'is given up at once for a BE that comes to want %dm, and grows again into what that leaves',
    (wantsMilli) => {
      const lived = live(wantsMilli, { fromS: 30 })
      expect(lived[30]?.otMilli).toBeGreaterThan(4000)
      expect(lived[31]?.otMilli).toBe(FLOOR_MILLI)
      const { allowanceMilli = 0, otMilli } = lived.at(-1) ?? {}
      const missingMilli = Math.max(FLOOR_MILLI, allowanceMilli - wantsMilli - HEADROOM_MILLI) - (otMilli ?? Number.NaN)
      expect([missingMilli >= 0, missingMilli <= DEAD_BAND_MILLI]).toEqual([true, true])
    },
  )
})
