/** What OT gets beside BE of a steady load: a closed loop of 8 CPUs with a tick a second, in which OT takes all that it is let. */
import { describe, expect, it } from 'vitest'
import { decide, EMPTY_MEMORY, type Memory } from '../../../src/decide/index.ts'
import { isQuota, quotaMilliCpu } from '../../../src/model/index.ts'
import { DEFAULTS } from '../../support/config.ts'
import { OFFLINE_ROOT, snapshotOf } from '../../support/snapshots.ts'

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

describe('the quotas of OT pods', () => {
  /** Margin: 2.5 % of 8 CPUs. */
  const MARGIN_MILLI = 200
  const GROUPS = ['o1', 'o2'].map((uid) => `${OFFLINE_ROOT}/pod${uid}`)

  /** The quota of the root, OT's part, and the quotas of both OT pods, while online work uses so much in turn. */
  function follow(uses: readonly number[]) {
    let memory: Memory = EMPTY_MEMORY
    return uses.map((onlineMilli, index) => {
      const pods = [
        { uid: 'be', asks: { 'be-cpu': 60 }, usesMilli: 0 },
        { uid: 'o1', asks: { 'ot-cpu': 20 }, usesMilli: 10 },
        { uid: 'o2', asks: { 'ot-cpu': 40 }, usesMilli: 10 },
      ]
      const nowMs = 100_000 + index * 2000
      const offlineMilli = 20
      const snapshot = snapshotOf({ nowMs, pods, nodeMilli: onlineMilli + offlineMilli, offlineMilli })
      const { decision, memory: after } = decide(snapshot, memory, DEFAULTS)
      memory = after
      // No quota before the rule has its readings.
      const milliOf = (group: string): number => {
        const value = decision.desired.get(group, 'quota')?.setting.value
        return isQuota(value) ? quotaMilliCpu(value) : Number.NaN
      }
      const quotas = GROUPS.map(milliOf)
      const { otAllowanceMilli = NaN } = decision.suppression ?? {}
      return { root: milliOf(OFFLINE_ROOT), otAllowanceMilli, quotas, sum: quotas.reduce((sum, milli) => sum + milli, 0) }
    })
  }

  it('stay as they are while their part falls by no more than the margin; the quota of the root falls at once', () => {
    const steady = follow([1000, 1000, 1000, 1000, 1000 + MARGIN_MILLI / 2, 1000 + MARGIN_MILLI])
    const [before, half, whole] = steady.slice(-3)
    expect([half?.root, whole?.root]).toEqual([(before?.root ?? 0) - MARGIN_MILLI / 2, (before?.root ?? 0) - MARGIN_MILLI])
    expect([half?.quotas, whole?.quotas]).toEqual([before?.quotas, before?.quotas])
    expect(whole?.otAllowanceMilli).toBe((before?.otAllowanceMilli ?? 0) - MARGIN_MILLI)
  })

  it('follow when it has fallen by more, also in small steps', () => {
    const steps = Array.from({ length: 10 }, (_, step) => 1000 + step * 30)
    for (const { sum, otAllowanceMilli } of follow([1000, 1000, 1000, ...steps]).slice(3)) {
      expect(sum - otAllowanceMilli).toBeLessThanOrEqual(MARGIN_MILLI)
    }
    const last = follow([1000, 1000, 1000, 1000, 1000 + MARGIN_MILLI + 1]).at(-1)
    expect(last?.sum).toBeCloseTo(last?.otAllowanceMilli ?? NaN, -1)
  })

  it('go to the floor at once, however near they are to it', () => {
    const [before, after] = follow([1000, 1000, 1000, 4400, 4530]).slice(-2)
    expect(before?.sum).toBeGreaterThan(FLOOR_MILLI)
    expect((before?.sum ?? NaN) - FLOOR_MILLI).toBeLessThanOrEqual(MARGIN_MILLI)
    expect(after).toMatchObject({ otAllowanceMilli: FLOOR_MILLI })
    expect(after?.sum).toBeCloseTo(FLOOR_MILLI, -1)
  })
})
