/**
 * Which processes are in a group and in the groups below it. Kernel: cgroup.procs, under v1 and v2; a process outside the reader's PID
 * namespace reads as 0 there, and a group of threads (cgroup.type threaded) has no list: its domain has all of its processes.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { errnoOf } from '../model/index.ts'

/** What one knob may cost: a container that holds more is not read to the end. */
const PROCESSES_MAX = 16_384
const GROUPS_MAX = 1024
/** Kernel: PID_MAX_LIMIT is 2^22. A line that is none must not become the PID of another process, or of the caller. */
const PID = /^\d{1,7}$/

/** PIDs of the processes below the directory of a group; 0 for each that can't be seen from here. Throws when descriptors run out. */
export function processesBelow(directory: string): number[] {
  const pids: number[] = []
  const directories = [directory]
  for (let at = 0; at < directories.length && pids.length < PROCESSES_MAX; at += 1) {
    const path = directories[at] ?? ''
    try {
      for (const pid of processesIn(path)) pids.push(pid)
      for (const entry of readdirSync(path, { withFileTypes: true }))
        if (entry.isDirectory() && directories.length < GROUPS_MAX) directories.push(join(path, entry.name))
    } catch (thrown) {
      const errno = errnoOf(thrown)
      if (errno === 'EMFILE' || errno === 'ENFILE') throw thrown
    }
  }
  return pids.slice(0, PROCESSES_MAX)
}

/** Threads of this process, as itself sees them. */
export function ownThreads(): number[] {
  return readdirSync('/proc/self/task').map(Number)
}

/** Whether processes can't be seen from here. Kernel: the root group of a host has kernel threads, which read as 0 elsewhere too. */
export function hidesProcesses(root: string): boolean {
  try {
    return processesIn(root).includes(0)
  } catch {
    return false
  }
}

function processesIn(directory: string): number[] {
  const text = readFileSync(join(directory, 'cgroup.procs'), 'latin1')
  return text.split('\n', PROCESSES_MAX).flatMap((line) => (PID.test(line) ? Number(line) : []))
}
