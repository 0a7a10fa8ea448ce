/**
 * A look at the whole of a node's kernel interfaces for people, as plain data: what is there, what is missing and why. Unlike openKernel it
 * goes on where something is missing, and it never throws, writes or makes anything.
 * Kernel: accounting/psi.rst, timers/timekeeping.rst, filesystems/proc.rst (swaps, meminfo), ABI/testing/sysfs-devices-system-cpu (smt).
 */
import { accessSync, constants, existsSync, readdirSync, readFileSync } from 'node:fs'
import { getPriority, release } from 'node:os'
import { join } from 'node:path'
import type { CpuTopology } from '../cpu/index.ts'
import type {
  Capabilities,
  Capability,
  CgroupDriver,
  Dialect,
  GroupLayout,
  GroupPath,
  MemoryUse,
  PressureResource,
} from '../model/index.ts'
import { errnoOf, messageOf, qosRoot } from '../model/index.ts'
import type { Controller } from './dialect.ts'
import { probeMarks } from './group-marks.ts'
import { type AssembledKernel, assembleKernel, heldFilesBound, type KernelSettings, openFilesLimit } from './open.ts'
import { hasCapability } from './own-capabilities.ts'
import { hidesProcesses } from './processes.ts'
import { readTopology } from './sysfs-topology.ts'

/** Something that could not be looked at, in words. */
interface Unknown {
  readonly problem: string
}

export interface CgroupSurvey {
  readonly dialect: Dialect
  /** cgroup v1 with a v2 tree beside it. */
  readonly hybrid: boolean
  readonly controllers: readonly Controller[]
  /** Of the kubelet's groups as they are in the tree; undefined while there are none. */
  readonly driverFound: CgroupDriver | undefined
  readonly layout: GroupLayout
  /** The group of all offline pods, as a path in the hierarchy. */
  readonly offlineRoot: GroupPath
  readonly offlineRootExists: boolean
  /** Errno of a try for the right to make changes in that group's directory; undefined where it may be done. */
  readonly forbidden: string | undefined
  /** Probed in that group: says nothing while it is not there. */
  readonly capabilities: Capabilities
  /** Whether groups of online work count stalls for CPU. */
  readonly groupPressure: boolean
  /** Whether the tasks of offline work can be counted. */
  readonly tasks: boolean
  /** Whether the processes of pods are out of sight, in another PID namespace. */
  readonly hidesProcesses: boolean
  /** Whether groups can bear a mark of the agent. */
  readonly marks: Capability
  /** The agent's own groups, outermost first; empty where that can't be told. */
  readonly ownGroups: readonly GroupPath[]
}

export interface KernelSurvey {
  /** `6.1.0-18-amd64` */
  readonly release: string
  readonly cgroups: CgroupSurvey | Unknown
  readonly topology: CpuTopology | Unknown
  /** Whether SMT can be switched: `on`, `off`, `forceoff`, `notsupported`, `notimplemented`; undefined where the kernel does not say. */
  readonly smtControl: string | undefined
  /** For which resources the node's own stalls can be read. */
  readonly nodePressure: readonly PressureResource[]
  readonly runQueue: boolean
  readonly memory: MemoryUse | undefined
  /** Size of all swap in use, in bytes; undefined where it can't be read. */
  readonly swapBytes: number | undefined
  readonly clock: { readonly current: string; readonly available: readonly string[] } | undefined
  /** Words of the kubelet's command line; undefined where no process of that name is in sight. */
  readonly kubeletCommand: readonly string[] | undefined
  readonly bootId: string | undefined
  readonly own: OwnProcess
}

export interface OwnProcess {
  readonly uid: number
  readonly nice: number
  readonly mayRaisePriority: boolean
  readonly mayTraceOthers: boolean
  /** RLIMIT_NOFILE. */
  readonly openFiles: number
  /** How many of them may be held open from one tick to the next. */
  readonly heldFiles: number
}

const RESOURCES: readonly PressureResource[] = ['cpu', 'memory', 'io']

/** Looks at everything once. Takes some milliseconds. */
export function surveyKernel(settings: KernelSettings): KernelSurvey {
  const assembled = attempt(() => assembleKernel(settings))
  const kernel = 'problem' in assembled ? undefined : assembled.kernel
  const { procPath, sysPath } = settings
  return {
    release: release(),
    cgroups: 'problem' in assembled ? assembled : surveyCgroups(assembled, settings),
    topology: attempt(() => readTopology(sysPath)),
    smtControl: textOf(join(sysPath, 'devices/system/cpu/smt/control')),
    nodePressure: RESOURCES.filter((resource) => kernel?.readNodePressureUs(resource) !== undefined),
    runQueue: kernel?.readRunnable() !== undefined,
    memory: kernel?.readNodeMemory(),
    swapBytes: swapBytes(procPath),
    clock: clockOf(sysPath),
    kubeletCommand: commandOf(procPath, 'kubelet'),
    bootId: textOf(join(procPath, 'sys/kernel/random/boot_id')),
    own: ownProcess(),
  }
}

function surveyCgroups(
  { kernel, layout, mounts, driverFound, offlineRoot }: AssembledKernel,
  { cgroupPath }: KernelSettings,
): CgroupSurvey {
  const tree = mounts.controllers.cpu ?? cgroupPath
  return {
    dialect: mounts.dialect,
    hybrid: mounts.dialect === 'v1' && existsSync(join(cgroupPath, 'unified/cgroup.controllers')),
    controllers: controllersOf(mounts.dialect, Object.keys(mounts.controllers) as Controller[], tree),
    driverFound,
    layout,
    offlineRoot,
    offlineRootExists: kernel.exists(offlineRoot),
    forbidden: whyNotWritable(join(tree, offlineRoot)),
    capabilities: kernel.capabilities,
    groupPressure: kernel.readGroupPressureUs(qosRoot(layout, 'Burstable'), 'cpu') !== undefined,
    tasks: kernel.readTasks(offlineRoot) !== undefined,
    hidesProcesses: hidesProcesses(tree),
    marks: probeMarks(tree),
    ownGroups: kernel.findOwnGroups(),
  }
}

/** Kernel: under v2 cgroup.controllers of the root lists what there is; cpuacct and freezer are parts of the core there. */
function controllersOf(dialect: Dialect, mounted: readonly Controller[], root: string): readonly Controller[] {
  if (dialect === 'v1') return mounted
  const listed = new Set((textOf(join(root, 'cgroup.controllers')) ?? '').split(/\s+/))
  return mounted.filter((name) => name === 'cpuacct' || name === 'freezer' || listed.has(name))
}

/** Errno of a write to a path of which nothing is written; undefined where it may be. */
function whyNotWritable(path: string): string | undefined {
  try {
    accessSync(path, constants.W_OK)
    return undefined
  } catch (thrown) {
    return errnoOf(thrown) ?? messageOf(thrown)
  }
}

/** Kernel: a line for each device, sizes in KiB: `Filename Type Size Used Priority`. */
function swapBytes(procPath: string): number | undefined {
  const lines = textOf(join(procPath, 'swaps'))?.split('\n').slice(1)
  return lines?.reduce((sum, line) => sum + Number(/\s(\d+)\s+\d+\s+-?\d+$/.exec(line)?.[1] ?? 0) * 1024, 0)
}

function clockOf(sysPath: string): KernelSurvey['clock'] {
  const folder = join(sysPath, 'devices/system/clocksource/clocksource0')
  const current = textOf(join(folder, 'current_clocksource'))
  if (current === undefined) return undefined
  return { current, available: (textOf(join(folder, 'available_clocksource')) ?? '').split(/\s+/).filter(Boolean) }
}

/** The words of the command line of the first process of this name. Kernel: comm is cut to 15 bytes; cmdline ends each word with a NUL. */
function commandOf(procPath: string, name: string): readonly string[] | undefined {
  for (const pid of entriesOf(procPath)) {
    if (!/^\d+$/.test(pid) || textOf(join(procPath, pid, 'comm')) !== name) continue
    const words =
      textOf(join(procPath, pid, 'cmdline'))
        ?.split('\0')
        .filter(Boolean) ?? []
    if (words.length > 0) return words
  }
  return undefined
}

function ownProcess(): OwnProcess {
  const openFiles = openFilesLimit()
  return {
    uid: process.geteuid?.() ?? 0,
    nice: getPriority(),
    mayRaisePriority: hasCapability('CAP_SYS_NICE'),
    mayTraceOthers: hasCapability('CAP_SYS_PTRACE'),
    openFiles,
    heldFiles: heldFilesBound(openFiles),
  }
}

function attempt<Result>(look: () => Result): Result | Unknown {
  try {
    return look()
  } catch (thrown) {
    return { problem: messageOf(thrown) }
  }
}

function entriesOf(folder: string): readonly string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}

function textOf(path: string): string | undefined {
  try {
    return readFileSync(path, 'latin1').trim()
  } catch {
    return undefined
  }
}
