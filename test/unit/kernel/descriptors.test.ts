/**
 * A node where descriptors run out: what is held is given back before a group passes for vanished. In a process of its own, since the
 * limit is the process's, under a limit of 64 that the shell sets.
 */
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { heldFilesBound } from '../../../src/kernel/open.ts'
import { TOPOLOGIES } from '../../support/topologies.ts'
import { planted, PROC, sysfsOf, V2_GROUP, v2Tree } from '../../support/trees-on-disk.ts'

const CHILD = fileURLToPath(new URL('./descriptors-child.ts', import.meta.url))

function answersWith(maxHeldFiles: number): unknown {
  const cgroup = v2Tree('/pods', { ...V2_GROUP, pod1: V2_GROUP })
  const root = planted({ cgroup, proc: PROC, sys: sysfsOf(TOPOLOGIES.twoCpuVm) })
  const script = 'ulimit -n 64 && exec "$0" "$@"'
  const run = spawnSync('sh', ['-c', script, process.execPath, '--import', 'tsx', CHILD, root, String(maxHeldFiles)], {
    encoding: 'utf8',
    timeout: 20_000,
  })
  expect(run).toMatchObject({ status: 0, stderr: '' })
  return JSON.parse(run.stdout)
}

describe('when descriptors run out', () => {
  it('those that are held make room for reads, writes and lists', () => {
    expect(answersWith(1000)).toEqual([{ quotaUs: null, periodUs: 100_000 }, ['pod1'], 'applied', 300])
  })

  it('and none are held, nothing opens: the test does take them all', () => {
    expect(answersWith(0)).toEqual(['nothing', [], 'failed', 'nothing'])
  })
})

describe('heldFilesBound', () => {
  it.each([
    [64, 0],
    [512, 0],
    [600, 88],
    [1024, 512],
    [65_536, 65_024],
  ])('of %d open files lets %d be held', (limit, bound) => {
    expect(heldFilesBound(limit)).toBe(bound)
    if (limit < 1024) expect(bound).toBeLessThanOrEqual(limit / 2)
  })
})
