import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { Listing } from '../../../src/kubelet/pod-resources.ts'
import { ReleaseWatch } from '../../../src/kubelet/release-watch.ts'

describe('ReleaseWatch', () => {
  beforeEach(() => vi.useFakeTimers())
  afterEach(() => vi.useRealTimers())

  function makeWatch() {
    const startMs = performance.now()
    const looksMs: number[] = []
    const world = { held: true, failing: false, ends: 0 }
    const watch = new ReleaseWatch({
      list: () => {
        looksMs.push(Math.round(performance.now() - startMs))
        const listing: Listing = { kubelet: 'k', askedAtMs: performance.now(), idsByResource: new Map(), containers: [] }
        return world.failing ? Promise.reject(new Error('rejected by rate limit')) : Promise.resolve(listing)
      },
      onListing: () => Promise.resolve(world.ends),
      needed: () => world.held,
      now: () => performance.now(),
      // The longest that jitter makes of a back-off.
      random: () => 1,
    })
    return { watch, world, looksMs }
  }

  const pass = (ms: number): Promise<unknown> => vi.advanceTimersByTimeAsync(ms)

  it('looks every 30 s while anything is held, and once in any case', async () => {
    const { watch, world, looksMs } = makeWatch()
    world.held = false
    watch.start()
    await pass(100_000)
    expect(looksMs).toEqual([30_000])
    world.held = true
    await pass(45_000)
    expect(looksMs).toEqual([30_000, 120_000])
    watch.stop()
    expect(vi.getTimerCount()).toBe(0)
  })

  it('looks within 5 s when asked to, and less often while nothing comes of it', async () => {
    const { watch, world, looksMs } = makeWatch()
    watch.start()
    for (let second = 0; second < 66; second += 1) {
      watch.soon()
      await pass(1_000)
    }
    expect(looksMs).toEqual([5_000, 15_000, 35_000, 65_000])
    world.ends = 1
    for (let second = 0; second < 40; second += 1) {
      watch.soon()
      await pass(1_000)
    }
    expect(looksMs.slice(4)).toEqual([95_000, 100_000, 105_000])
    watch.stop()
  })

  it('asks less often while there is no answer, and is given up after three in a row', async () => {
    const { watch, world, looksMs } = makeWatch()
    await watch.first(300)
    expect(watch.state()).toEqual({ available: true, lastAtMs: expect.any(Number) as number })
    world.failing = true
    watch.start()
    await pass(30_000)
    await pass(5_000)
    expect(watch.state()).toMatchObject({ available: true, lastError: 'rejected by rate limit' })
    await pass(10_000)
    expect(watch.state()).toMatchObject({ available: false, lastError: 'rejected by rate limit' })
    await pass(60_000)
    expect(looksMs).toEqual([0, 30_000, 35_000, 45_000, 65_000, 95_000])
    world.failing = false
    await pass(30_000)
    expect(watch.state()).toEqual({ available: true, lastAtMs: expect.any(Number) as number })
    watch.stop()
  })

  it('goes on when the first look fails', async () => {
    const { watch, world, looksMs } = makeWatch()
    world.failing = true
    expect(await watch.first(300)).toBeUndefined()
    world.held = false
    watch.start()
    await pass(20_000)
    expect(looksMs).toEqual([0, 5_000, 15_000])
    watch.stop()
  })
})
