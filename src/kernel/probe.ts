/**
 * Which knobs can be used here, as data. A knob is usable when its file stands in the group that holds the offline pods and may be
 * opened for writing; nothing is written to find out.
 */
import { accessSync, constants } from 'node:fs'
import { release } from 'node:os'
import { join } from 'node:path'
import type { Capabilities, Capability, CgroupDriver, GroupPath, KnobKind } from '../model/index.ts'
import { errnoOf, KNOB_KINDS } from '../model/index.ts'
import { DIALECTS, missingReason } from './dialect.ts'
import type { CgroupMounts } from './mounts.ts'

/** First kernel with the file, to tell "too old" from "not configured". */
const SINCE: Readonly<Partial<Record<KnobKind, string>>> = { idle: '5.15', burst: '5.14' }

/** Probes every knob in `group`, a group that is not the root of its hierarchy: the root lacks some files. */
export function probeCapabilities(mounts: CgroupMounts, driver: CgroupDriver, group: GroupPath): Capabilities {
  const knobs = Object.fromEntries(KNOB_KINDS.map((kind) => [kind, probeKnob(mounts, kind, group)]))
  return {
    dialect: mounts.dialect,
    driver,
    knobs: knobs as Record<KnobKind, Capability>,
    nestedQuota: mounts.dialect === 'v1',
    nestedCpuset: mounts.dialect === 'v1',
    kernelRelease: release(),
  }
}

function probeKnob(mounts: CgroupMounts, kind: KnobKind, group: GroupPath): Capability {
  const missing = missingReason(mounts.dialect, kind)
  const file = DIALECTS[mounts.dialect].knobs[kind]
  if (missing !== undefined || file === undefined) return { usable: false, reason: missing ?? 'unknown' }
  const tree = mounts.controllers[file.controller]
  if (tree === undefined) return { usable: false, reason: `controller ${file.controller} is not mounted` }
  const path = join(tree, group, file.name)
  try {
    accessSync(path, constants.R_OK | constants.W_OK)
    return { usable: true, file: file.name }
  } catch (thrown) {
    return { usable: false, reason: reasonFor(path, kind, errnoOf(thrown)) }
  }
}

function reasonFor(path: string, kind: KnobKind, errno: string | undefined): string {
  if (errno === 'EROFS') return `${path} is mounted read-only`
  if (errno === 'EACCES' || errno === 'EPERM') return `${path} may not be written by this user`
  const since = SINCE[kind]
  return `${path} does not exist${since === undefined ? '' : ` (kernel ${since} or later, this is ${release()})`}`
}
