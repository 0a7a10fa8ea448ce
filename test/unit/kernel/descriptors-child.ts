/**
 * Run by descriptors.test.ts as a process of its own under a low limit of open files: takes every descriptor that is left before each
 * call, and prints what the calls answer.
 */
import { closeSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { LinuxKernel } from '../../../src/kernel/linux-kernel.ts'
import { detectMounts } from '../../../src/kernel/mounts.ts'
import { probeCapabilities } from '../../../src/kernel/probe.ts'
import { KNOB_KINDS } from '../../../src/model/index.ts'

const root = process.argv[2] ?? ''
const maxHeldFiles = Number(process.argv[3])
const group = '/pods/pod1'
const mounts = detectMounts(join(root, 'cgroup'))
const kernel = new LinuxKernel({
  mounts,
  capabilities: probeCapabilities(mounts, 'cgroupfs', { group, procPath: '/proc' }),
  paths: { proc: join(root, 'proc'), sys: join(root, 'sys') },
  maxHeldFiles,
  offlineRoot: '/pods',
})

function withNoneLeft<T>(call: () => T): T {
  const taken: number[] = []
  try {
    for (;;) taken.push(openSync('/dev/null', 'r'))
  } catch {
    // Out of descriptors, as intended.
  }
  try {
    return call()
  } finally {
    for (const fd of taken) closeSync(fd)
  }
}

const holdSome = (): unknown => KNOB_KINDS.map((kind) => kernel.readKnob('/pods', kind))

const calls: readonly (() => unknown)[] = [
  () => kernel.readKnob(group, 'quota'),
  () => kernel.listChildren('/pods'),
  () => kernel.writeKnob(group, { kind: 'weight', value: 300 }).is,
  () => kernel.readKnob(group, 'weight'),
]
const answers = calls.map((call) => {
  holdSome()
  return withNoneLeft(call) ?? 'nothing'
})
process.stdout.write(JSON.stringify(answers))
