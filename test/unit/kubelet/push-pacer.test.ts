import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { PushPacer } from '../../../src/kubelet/push-pacer.ts'

describe('PushPacer', () => {
  beforeEach(() => vi.useFakeTimers())
  afterEach(() => vi.useRealTimers())

  function makePacer() {
    const pushes: { atMs: number; healthy: number }[] = []
    const state = { healthy: 0 }
    const pacer: PushPacer = new PushPacer({
      pushMs: 10_000,
      now: () => performance.now(),
      push: () => {
        pushes.push({ atMs: Math.round(performance.now() - startMs), healthy: state.healthy })
        pacer.sent(state.healthy)
      },
    })
    const startMs = performance.now()
    const set = (healthy: number): void => {
      state.healthy = healthy
      pacer.changed(healthy)
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

  it('leaves no timer when stopped', () => {
    const { pacer, set } = makePacer()
    set(5)
    set(6)
    pacer.stop()
    expect(vi.getTimerCount()).toBe(0)
  })
})
