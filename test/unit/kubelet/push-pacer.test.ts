import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { PushPacer } from '../../../src/kubelet/push-pacer.ts'

describe('PushPacer', () => {
  beforeEach(() => vi.useFakeTimers())
  afterEach(() => vi.useRealTimers())

  function makePacer() {
    const pushes: { atMs: number; healthy: number }[] = []
    const state = { healthy: 0, sent: 0 }
    const pacer: PushPacer = new PushPacer({
      pushMs: 10_000,
      now: () => performance.now(),
      push: () => {
        pushes.push({ atMs: Math.round(performance.now() - startMs), healthy: state.healthy })
        pacer.sent()
        state.sent = state.healthy
      },
    })
    const startMs = performance.now()
    const set = (healthy: number): void => {
      state.healthy = healthy
      pacer.changed(healthy < state.sent)
    }
    return { pacer, pushes, set }
  }

  it('pushes the first list at once, growth at most every 10 s, and the newest state only', () => {
    const { pushes, set } = makePacer()
    set(5)
    vi.advanceTimersByTime(1_000)
    set(6)
    set(7)
    vi.advanceTimersByTime(30_000)
    expect(pushes).toEqual([
      { atMs: 0, healthy: 5 },
      { atMs: 10_000, healthy: 7 },
    ])
  })

  it('pushes a shrink at once, with the growth that was waiting', () => {
    const { pushes, set } = makePacer()
    set(5)
    vi.advanceTimersByTime(1_000)
    set(6)
    vi.advanceTimersByTime(1_000)
    set(4)
    vi.advanceTimersByTime(60_000)
    expect(pushes).toEqual([
      { atMs: 0, healthy: 5 },
      { atMs: 2_000, healthy: 4 },
    ])
  })

  it('does not take the end of a growth that was never pushed for a shrink', () => {
    const { pushes, set } = makePacer()
    set(5)
    set(9)
    set(6)
    expect(pushes).toHaveLength(1)
    vi.advanceTimersByTime(10_000)
    expect(pushes.at(-1)).toEqual({ atMs: 10_000, healthy: 6 })
  })

  it('pushes capacity that falls unit by unit once a second', () => {
    const { pushes, set } = makePacer()
    for (let healthy = 50; healthy >= 20; healthy -= 1) {
      set(healthy)
      vi.advanceTimersByTime(100)
    }
    vi.advanceTimersByTime(60_000)
    expect(pushes).toEqual([
      { atMs: 0, healthy: 50 },
      { atMs: 100, healthy: 49 },
      { atMs: 1_100, healthy: 40 },
      { atMs: 2_100, healthy: 30 },
      { atMs: 3_100, healthy: 20 },
    ])
  })

  it('pushes capacity that goes up and down at most twice in 10 s', () => {
    const { pushes, set } = makePacer()
    for (let atMs = 0; atMs < 60_000; atMs += 500) {
      set(atMs % 1_000 === 0 ? 10 : 5)
      vi.advanceTimersByTime(500)
    }
    expect(pushes.length).toBeGreaterThan(6)
    expect(pushes.length).toBeLessThanOrEqual(2 * 7)
    for (const [at, push] of pushes.entries()) {
      const before = pushes[at - 1]
      if (before !== undefined && push.healthy > before.healthy) expect(push.atMs - before.atMs).toBeGreaterThanOrEqual(10_000)
    }
  })

  it('forgets a shrink that is over before its turn', () => {
    const { pushes, set } = makePacer()
    set(5)
    set(4)
    set(3)
    set(4)
    vi.advanceTimersByTime(9_999)
    expect(pushes.map(({ healthy }) => healthy)).toEqual([5, 4])
  })

  it('leaves no timer when stopped', () => {
    const { pacer, set } = makePacer()
    set(5)
    set(6)
    pacer.stop()
    expect(vi.getTimerCount()).toBe(0)
  })
})
