/** Whose processes are in a group: those below it too, in no more than a bounded number of groups, and none of a group that is gone. */
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { hidesProcesses, ownThreads, processesBelow } from '../../../src/kernel/processes.ts'
import { planted } from '../../support/trees-on-disk.ts'

it('lists a group and all below it, and leaves out what has no list', () => {
  const root = planted({
    pod: { 'cgroup.procs': '12\n', main: { 'cgroup.procs': '30\n31\n', nested: { 'cgroup.procs': '40\n' } }, threaded: {} },
    empty: { 'cgroup.procs': '' },
  })
  expect(processesBelow(join(root, 'pod')).sort((a, b) => a - b)).toEqual([12, 30, 31, 40])
  expect(processesBelow(join(root, 'empty'))).toEqual([])
  expect(processesBelow(join(root, 'gone'))).toEqual([])
})

it('tells a process that can not be seen by its 0', () => {
  const root = planted({ hidden: { 'cgroup.procs': '0\n7\n' }, seen: { 'cgroup.procs': '7\n' }, empty: {} })
  expect(['hidden', 'seen', 'empty'].map((name) => hidesProcesses(join(root, name)))).toEqual([true, false, false])
})

it('knows the threads of this process, of which there are several', () => {
  const threads = ownThreads()
  expect(threads).toContain(process.pid)
  expect(threads.length).toBeGreaterThan(1)
})
