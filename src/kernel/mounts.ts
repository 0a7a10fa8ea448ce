/**
 * Finds out what lies under the cgroup mount: v2 (one unified tree), v1 (a tree per controller, some mounted together, as in
 * `cpu,cpuacct`), or v1 with an extra v2 tree beside it ("hybrid"), which carries no controllers and is not used for knobs.
 * Looks at directories rather than at /proc/mounts: in a container the host's tree is mounted elsewhere.
 */
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import type { CgroupDriver, Dialect, GroupPath } from '../model/index.ts'
import { AgentError, messageOf, podsRoot } from '../model/index.ts'
import { CONTROLLERS, type Controller } from './dialect.ts'

export interface CgroupMounts {
  readonly dialect: Dialect
  /** Directory of each controller's tree; under v2 all are the same. */
  readonly controllers: Readonly<Partial<Record<Controller, string>>>
}

/** What the tree under `root` is. Throws E_NO_CGROUPS when it is neither. */
export function detectMounts(root: string): CgroupMounts {
  if (existsSync(join(root, 'cgroup.controllers'))) {
    return { dialect: 'v2', controllers: Object.fromEntries(CONTROLLERS.map((controller) => [controller, root])) }
  }
  const controllers: Partial<Record<Controller, string>> = {}
  for (const name of entries(root)) {
    for (const part of name.split(',')) {
      const controller = CONTROLLERS.find((known) => known === part)
      // A directory that is no mounted controller has no tasks file.
      if (controller !== undefined && existsSync(join(root, name, 'tasks'))) controllers[controller] ??= join(root, name)
    }
  }
  if (controllers.cpu === undefined || controllers.cpuacct === undefined) {
    throw new AgentError('E_NO_CGROUPS', `no cgroup tree at ${root}: neither cgroup v2 nor the v1 controllers cpu and cpuacct`)
  }
  return { dialect: 'v1', controllers }
}

function entries(root: string): string[] {
  try {
    return readdirSync(root).sort()
  } catch (thrown) {
    throw new AgentError('E_NO_CGROUPS', `no cgroup tree at ${root}: ${messageOf(thrown)}`, { cause: thrown })
  }
}

/**
 * Which driver named the kubelet's groups, judged by the directory that exists: the container runtime may override what the
 * kubelet's configuration says. Undefined while the kubelet has made neither.
 */
export function detectDriver(mounts: CgroupMounts, root: GroupPath): CgroupDriver | undefined {
  const tree = mounts.controllers.cpu
  if (tree === undefined) return undefined
  // systemd first: a driver that was changed may leave an empty kubepods behind.
  return (['systemd', 'cgroupfs'] as const).find((driver) => existsSync(join(tree, podsRoot({ root, driver }))))
}
