/**
 * Which knobs can be used here, as data. A knob is usable when its file stands in the group that holds the offline pods and may be
 * opened for writing; nothing is written to find out.
 */
import { accessSync, constants, readFileSync } from 'node:fs'
import { release } from 'node:os'
import { basename, join } from 'node:path'
import type { Capabilities, Capability, CgroupDriver, Dialect, GroupPath, KnobKind } from '../model/index.ts'
import { errnoOf, KNOB_KINDS } from '../model/index.ts'
import { type Controller, filesOf, type KernelFile, missingReason } from './dialect.ts'
import type { CgroupMounts } from './mounts.ts'

/** First kernel with the file, to tell "too old" from "not configured". */
const SINCE: Readonly<Partial<Record<KnobKind, string>>> = { idle: '5.15', burst: '5.14' }
/** Kernel: build options without which a file is missing. */
const OPTIONS: Readonly<Partial<Record<KnobKind, Readonly<Record<Dialect, string>>>>> = {
  ioWeight: {
    v1: 'CONFIG_BFQ_GROUP_IOSCHED with the scheduler bfq loaded',
    v2: 'CONFIG_BLK_CGROUP_IOCOST, or CONFIG_BFQ_GROUP_IOSCHED with the scheduler bfq loaded',
  },
  ioMax: { v1: 'CONFIG_BLK_DEV_THROTTLING', v2: 'CONFIG_BLK_DEV_THROTTLING' },
}
/** Whose kernels have a file that mainline has not. */
const VENDOR: Readonly<Partial<Record<KnobKind, string>>> = {
  bvt: 'Anolis and Alibaba',
  qosLevel: 'openEuler',
  offline: 'TencentOS',
  btShares: 'TencentOS',
}
/** Kernel: switches of the whole feature. With the file there and the switch off, a write is refused or has no effect. */
const SWITCHES: Readonly<Partial<Record<KnobKind, string>>> = { bvt: 'kernel/sched_group_identity_enabled' }

/** Probes every knob in `group`, a group that is not the root of its hierarchy: the root lacks some files. */
export function probeCapabilities(
  mounts: CgroupMounts,
  driver: CgroupDriver,
  { group, procPath }: { readonly group: GroupPath; readonly procPath: string },
): Capabilities {
  const knobs = Object.fromEntries(
    KNOB_KINDS.map((kind) => [kind, switchedOff(kind, procPath) ?? probeKnob(mounts, kind, group)]),
  )
  return {
    dialect: mounts.dialect,
    driver,
    knobs: knobs as Record<KnobKind, Capability>,
    nestedQuota: mounts.dialect === 'v1',
    nestedCpuset: mounts.dialect === 'v1',
    nestedIo: mounts.dialect === 'v2',
    kernelRelease: release(),
  }
}

function probeKnob(mounts: CgroupMounts, kind: KnobKind, group: GroupPath): Capability {
  const missing = missingReason(mounts.dialect, kind)
  const files = filesOf(mounts.dialect, kind)
  if (missing !== undefined) return { usable: false, reason: missing }
  // Under v1 the limits of IO are four files, which come and go together.
  const reasons = files.map((file) => whyNotUsable(mounts, kind, group, file))
  const best = files.find((_, index) => reasons[index] === undefined)
  return best === undefined ? { usable: false, reason: reasons[0] ?? 'unknown' } : { usable: true, file: best.name }
}

function whyNotUsable(mounts: CgroupMounts, kind: KnobKind, group: GroupPath, file: KernelFile): string | undefined {
  const tree = mounts.controllers[file.controller]
  if (tree === undefined) return `controller ${file.controller} is not mounted`
  const path = join(tree, group, file.name)
  try {
    accessSync(path, constants.R_OK | constants.W_OK)
    return undefined
  } catch (thrown) {
    if (errnoOf(thrown) === 'ENOENT' && mounts.dialect === 'v2' && !hands(join(tree, group), file.controller))
      return `${path} does not exist: the group above hands out no controller ${file.controller}`
    return reasonFor(path, kind, errnoOf(thrown), mounts.dialect)
  }
}

/** Kernel: under v2 cgroup.controllers of a group lists what the group above hands out to it; freezing needs no controller. */
function hands(directory: string, controller: Controller): boolean {
  if (controller === 'freezer') return true
  try {
    return readFileSync(join(directory, 'cgroup.controllers'), 'latin1').trim().split(/\s+/).includes(controller)
  } catch {
    // Nothing can be said, so the file's own absence is all that is told.
    return true
  }
}

function switchedOff(kind: KnobKind, procPath: string): Capability | undefined {
  const name = SWITCHES[kind]
  if (name === undefined) return undefined
  try {
    const isOff = readFileSync(join(procPath, 'sys', name), 'latin1').trim() === '0'
    return isOff
      ? { usable: false, reason: `${name.replaceAll('/', '.')} is 0: the kernel has it and it is switched off` }
      : undefined
  } catch {
    // Kernels without the switch have the feature on whenever they have the file.
    return undefined
  }
}

function reasonFor(path: string, kind: KnobKind, errno: string | undefined, dialect: Dialect): string {
  if (errno === 'EROFS') return `${path} is mounted read-only`
  if (errno === 'EACCES' || errno === 'EPERM') return `${path} may not be written by this user`
  const vendor = VENDOR[kind]
  if (vendor !== undefined) return `no ${basename(path)} here: kernels of ${vendor} have it`
  const option = OPTIONS[kind]?.[dialect]
  if (option !== undefined) return `${path} does not exist: the kernel needs ${option}`
  const since = SINCE[kind]
  return `${path} does not exist${since === undefined ? '' : ` (kernel ${since} or later, this is ${release()})`}`
}
