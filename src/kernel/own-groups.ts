/**
 * The groups that this process runs in, by the controller cpu. Kernel: /proc/PID/cgroup shows paths from the root of the reader's cgroup
 * namespace: `/` is that root itself, whatever it is on the node, and `/../…` is outside of it; in both cases the group can't be told.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { childGroup, type Dialect, type GroupPath, isGroupName } from '../model/index.ts'

/** Outermost first, without `/`; empty where it can't be told. */
export function ownGroups(procPath: string, dialect: Dialect): readonly GroupPath[] {
  const names = ownPath(procPath, dialect)?.split('/').filter(Boolean) ?? []
  const groups: GroupPath[] = []
  for (const name of names) {
    if (!isGroupName(name)) return []
    groups.push(childGroup(groups.at(-1) ?? '/', name))
  }
  return groups
}

/** Lines are `ID:CONTROLLERS:PATH`; that of v2 has no controllers. A path may hold colons. */
function ownPath(procPath: string, dialect: Dialect): string | undefined {
  try {
    for (const line of readFileSync(join(procPath, 'self/cgroup'), 'utf8').split('\n')) {
      const [, controllers, path] = /^\d+:([^:]*):(\/.*)$/.exec(line) ?? []
      if (controllers === undefined) continue
      if (dialect === 'v2' ? controllers === '' : controllers.split(',').includes('cpu')) return path
    }
  } catch {
    // Without it the group can't be told.
  }
  return undefined
}
