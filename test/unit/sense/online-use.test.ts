/** The use of online pods over one beat: the difference of two counters, and what must not make a jump of it. */
import { describe, expect, it } from 'vitest'
import type { KernelPort } from '../../../src/model/index.ts'
import { OnlineUse } from '../../../src/sense/online-use.ts'

const PODS = '/kubepods'
const OFFLINE = '/kubepods/besteffort'

/** Two counters in µs, sampled every 25 ms by a node of 4 CPUs. */
class Bed {
  nowMs = 0
  podsUs: number | undefined = 1_000_000
  offlineUs: number | undefined = 400_000
  /** What offline work uses between the two looks at its counter. */
  skewUs = 0
  readonly use = new OnlineUse(
    { readCpuUsageUs: (group: string) => (group === PODS ? this.podsUs : this.#offline()) } as KernelPort,
    { pods: PODS, offline: OFFLINE },
    100,
  )

  #offline(): number | undefined {
    return this.offlineUs === undefined ? undefined : this.offlineUs + this.skewUs
  }

  /** A beat after which online pods have used `onlineMilli`, and offline ones `offlineMilli`. */
  beat(onlineMilli: number, offlineMilli = 0, ms = 25): { usedMilli: number; latestMilli: number } | undefined {
    this.nowMs += ms
    if (this.podsUs !== undefined) this.podsUs += (onlineMilli + offlineMilli) * ms
    if (this.offlineUs !== undefined) this.offlineUs += offlineMilli * ms
    this.use.sample(this.nowMs, this.offlineUs, 4)
    const rates = this.use.ratesAt(this.nowMs)
    return rates === undefined ? undefined : { ...rates }
  }
}

describe('what online pods use', () => {
  it('shows a jump on the beat after it, where the average has a quarter of it', () => {
    const bed = new Bed()
    for (let beat = 0; beat < 8; beat += 1) bed.beat(1000, 2000)
    const seen = bed.beat(3000, 1000)
    expect(seen?.latestMilli).toBeCloseTo(3000)
    expect(seen?.usedMilli).toBeCloseTo(1500)
    expect(bed.use.reading(bed.nowMs)).toMatchObject({
      value: { windowMs: 100 },
      atMs: bed.nowMs,
      source: `${PODS} less ${OFFLINE}`,
    })
  })

  it('is not told over less than 20 ms, nor of another time than the last sample', () => {
    const bed = new Bed()
    expect(bed.beat(1000, 0, 10)).toBeUndefined()
    expect(bed.beat(1000, 0, 10)).toBeUndefined()
    expect(bed.beat(1000, 0, 10)?.latestMilli).toBeCloseTo(1000)
    expect(bed.use.ratesAt(bed.nowMs + 1)).toBeUndefined()
    expect(bed.use.reading(bed.nowMs + 1)).toBeUndefined()
  })

  it('is missing while a counter can not be read, and no jump when it is back', () => {
    const bed = new Bed()
    for (let beat = 0; beat < 8; beat += 1) bed.beat(1000)
    const known = bed.podsUs ?? 0
    bed.podsUs = undefined
    expect(bed.beat(0)).toBeUndefined()
    bed.podsUs = known + 25 * 1000
    expect(bed.beat(1000)?.latestMilli).toBeCloseTo(1000)
    bed.podsUs = Number.NaN
    expect(bed.beat(1000)).toBeUndefined()
  })

  it('takes no sample when offline work ran on between two reads: it would look like online work', () => {
    const bed = new Bed()
    for (let beat = 0; beat < 8; beat += 1) bed.beat(1000, 2000)
    bed.skewUs = 10_000
    expect(bed.beat(1000, 2000)).toBeUndefined()
    bed.skewUs = 0
    expect(bed.beat(1000, 2000)?.latestMilli).toBeCloseTo(1000)
  })

  it('starts anew when groups were made again, and is not thrown back by counters read a moment apart', () => {
    const bed = new Bed()
    for (let beat = 0; beat < 8; beat += 1) bed.beat(0, 2000)
    bed.skewUs = 100
    expect(bed.beat(0, 2000)?.latestMilli).toBe(0)
    bed.podsUs = 50_000
    bed.offlineUs = 20_000
    expect(bed.beat(3000)).toBeUndefined()
    expect(bed.beat(3000)?.latestMilli).toBeCloseTo(3000, -1)
  })
})
