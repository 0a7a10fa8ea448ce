import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { fileIdentity, SocketWatch } from '../../../src/kubelet/socket-watch.ts'

let parent = ''
let directory = ''
beforeEach(() => {
  parent = mkdtempSync(join(tmpdir(), 'ka-'))
  directory = join(parent, 'plugins')
  mkdirSync(directory)
  // Only the poll is on a clock of the test's; the debounce and inotify are real.
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
})
afterEach(() => {
  vi.useRealTimers()
  rmSync(parent, { recursive: true, force: true })
})

describe('SocketWatch', () => {
  it('looks soon after a change, every five seconds, and at a directory that was replaced', async () => {
    let looks = 0
    const watch = new SocketWatch(directory, () => (looks += 1))
    const looksAgain = async (act: () => void): Promise<void> => {
      const before = looks
      act()
      await vi.waitFor(() => expect(looks).toBeGreaterThan(before))
    }
    watch.start()
    await looksAgain(() => writeFileSync(join(directory, 'a'), ''))
    await looksAgain(() => rmSync(directory, { recursive: true }))
    mkdirSync(directory)
    await looksAgain(() => vi.advanceTimersByTime(5_000))
    await looksAgain(() => writeFileSync(join(directory, 'b'), ''))
    watch.stop()
    expect(vi.getTimerCount()).toBe(0)
  })
})

describe('fileIdentity', () => {
  it('changes when a file is made anew at the same path', async () => {
    const path = join(directory, 'a')
    expect(fileIdentity(path)).toBeUndefined()
    const seen = new Set<string | undefined>()
    for (let round = 0; round < 5; round += 1) {
      writeFileSync(path, '')
      expect(fileIdentity(path)).toBe(fileIdentity(path))
      seen.add(fileIdentity(path))
      rmSync(path)
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
    expect(seen.size).toBe(5)
    expect(fileIdentity(join(directory, 'none', 'a'))).toBeUndefined()
  })
})
