/**
 * Brings up the kernel port for a node: finds the cgroup trees, the driver and the kubelet's groups, probes the knobs. Each thing
 * that is missing is one clear error, and nothing has been written by then.
 */
import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { Capabilities, Capability, CgroupDriver, GroupLayout, GroupPath } from '../model/index.ts'
import { AgentError, podsRoot, qosRoot } from '../model/index.ts'
import { probeCoreScheduling } from './core-scheduling.ts'
import { LinuxKernel } from './linux-kernel.ts'
import { type CgroupMounts, detectDriver, detectMounts } from './mounts.ts'
import { probeCapabilities } from './probe.ts'
import { hidesProcesses } from './processes.ts'

export interface KernelSettings {
  readonly cgroupPath: string
  readonly procPath: string
  readonly sysPath: string
  readonly cgroupRoot: string
  readonly driver: 'auto' | 'cgroupfs' | 'systemd'
  /** Asks the kernel for core scheduling, which loads a native library; a journal that knows of cookies loads it too. @default false */
  readonly coreScheduling?: boolean
}

export interface OpenedKernel {
  readonly kernel: LinuxKernel
  readonly layout: GroupLayout
  /** Directory below which the kubelet's groups are, in the tree of the controller cpu, and its device and inode: the same from every mount. */
  readonly root: { readonly path: string; readonly id: string }
}

/** Descriptors left for sockets, logs and the rest. */
const SPARE_DESCRIPTORS = 512
const DEFAULT_NOFILE = 1024

export interface AssembledKernel extends OpenedKernel {
  readonly mounts: CgroupMounts
  /** Whose names the kubelet's groups have, whatever the configuration says; undefined while there are none. */
  readonly driverFound: CgroupDriver | undefined
  /** Where the group of all offline pods is, or would be. */
  readonly offlineRoot: GroupPath
}

/**
 * Opens the node's kernel interfaces. Throws E_NO_CGROUPS without a cgroup tree and E_NO_PODS_ROOT where the kubelet has made no
 * group for pods yet.
 */
export function openKernel(settings: KernelSettings): OpenedKernel {
  const { kernel, layout, root, mounts, offlineRoot } = assembleKernel(settings)
  if (!kernel.exists(offlineRoot)) {
    throw new AgentError(
      'E_NO_PODS_ROOT',
      `no group for best-effort pods at ${join(settings.cgroupPath, offlineRoot)} (looked for ${podsRoot(layout)}, cgroup ${mounts.dialect})`,
    )
  }
  return { kernel, layout, root }
}

/** The same for a look at a node that may not be ready: the kubelet's groups need not be there. Throws E_NO_CGROUPS. */
export function assembleKernel(settings: KernelSettings): AssembledKernel {
  const mounts = detectMounts(settings.cgroupPath)
  const driverFound = detectDriver(mounts, settings.cgroupRoot)
  const driver = settings.driver === 'auto' ? driverFound : settings.driver
  const layout: GroupLayout = { root: settings.cgroupRoot, driver: driver ?? 'cgroupfs' }
  const offlineRoot = qosRoot(layout, 'BestEffort')
  const probed = probeCapabilities(mounts, layout.driver, { group: offlineRoot, procPath: settings.procPath })
  const coreCookie: Capability =
    settings.coreScheduling === true
      ? coreSchedulingOf(mounts)
      : { usable: false, reason: 'not asked for at the start (identity.coreScheduling)' }
  const capabilities = { ...probed, knobs: { ...probed.knobs, coreCookie } }
  const kernel = new LinuxKernel({
    mounts,
    capabilities,
    paths: { proc: settings.procPath, sys: settings.sysPath },
    maxHeldFiles: heldFilesBound(openFilesLimit()),
    offlineRoot,
  })
  return { kernel, layout, root: rootOf(mounts, layout.root), mounts, driverFound, offlineRoot }
}

function rootOf({ controllers: { cpu = '/' } }: CgroupMounts, root: GroupPath): OpenedKernel['root'] {
  const path = join(cpu, root)
  // Kernel: inodes of cgroups have 64 bits. A root that is not there has no groups either, and nobody would agree on it.
  const stat = statSync(path, { bigint: true, throwIfNoEntry: false })
  return { path, id: stat === undefined ? path : `${stat.dev.toString(16)}:${stat.ino}` }
}

function coreSchedulingOf({ controllers: { cpu } }: CgroupMounts): Capability {
  if (cpu !== undefined && hidesProcesses(cpu))
    return { usable: false, reason: "the processes of pods can't be seen from this PID namespace: hostPID is needed" }
  return probeCoreScheduling()
}

/** Throws E_CGROUP_ACCESS unless the knobs that every rule needs can be written. */
export function requireWritable(capabilities: Capabilities): void {
  const quota = capabilities.knobs.quota
  if (!quota.usable) throw new AgentError('E_CGROUP_ACCESS', `cannot enforce: ${quota.reason}`)
}

/** How many descriptors may be held under a limit of open files; none under a low one, where every file is opened for its read. */
export function heldFilesBound(limit: number): number {
  return Math.max(0, limit - SPARE_DESCRIPTORS)
}

/** Kernel: RLIMIT_NOFILE, the soft limit, from the process's own limits file. */
export function openFilesLimit(): number {
  try {
    const line = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'latin1'))
    return Number(line?.[1] ?? DEFAULT_NOFILE)
  } catch {
    return DEFAULT_NOFILE
  }
}
