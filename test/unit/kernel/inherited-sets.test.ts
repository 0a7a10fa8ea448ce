/**
 * The empty cpuset under v2 on a copied tree, with the one answer of the kernel that plain files don't give: ENOSPC for emptying the set
 * of a group that has processes. On a real kernel: scripts/vm.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { CpuSet } from '../../../src/cpu/index.ts'
import { openKernel, type OpenedKernel } from '../../../src/kernel/index.ts'
import { outcomeOfErrno } from '../../../src/model/index.ts'
import { cpus } from '../../support/settings.ts'

const kernelState = vi.hoisted(() => ({ populated: true }))

vi.mock('node:fs', async (original) => {
  const real = await original<typeof import('node:fs')>()
  const writeSync = (fd: number, text: string): number => {
    if (text === '\n' && kernelState.populated) throw Object.assign(new Error('ENOSPC'), { code: 'ENOSPC' })
    // A file of the kernel holds the last write, a plain one what is left of the one before.
    real.ftruncateSync(fd)
    return real.writeSync(fd, text)
  }
  return { ...real, writeSync }
})

let directory: string
let file: string
let kernel: OpenedKernel['kernel']

const GROUP = '/kubepods/besteffort'

beforeEach(() => {
  kernelState.populated = true
  directory = mkdtempSync(join(tmpdir(), 'kube-agent-unit-'))
  const cgroups = join(directory, 'cgroup')
  mkdirSync(join(cgroups, GROUP), { recursive: true })
  writeFileSync(join(cgroups, 'cgroup.controllers'), 'cpuset\n')
  file = join(cgroups, GROUP, 'cpuset.cpus')
  writeFileSync(file, '3\n')
  mkdirSync(join(directory, 'devices/system/cpu'), { recursive: true })
  writeFileSync(join(directory, 'devices/system/cpu/possible'), '0-7\n')
  kernel = openKernel({ cgroupPath: cgroups, procPath: '/proc', sysPath: directory, cgroupRoot: '/', driver: 'cgroupfs' }).kernel
})

afterEach(() => rmSync(directory, { recursive: true, force: true }))

const read = (): string => (kernel.readKnob(GROUP, 'cpuset') as CpuSet).toString()
const text = (): string => readFileSync(file, 'latin1').trim()

describe('an empty set under v2', () => {
  it('is written as one of all possible CPUs where it is refused, and read as empty', () => {
    expect(kernel.writeKnob(GROUP, cpus(''))).toEqual({ is: 'applied' })
    expect([text(), read()]).toEqual(['0-7', ''])
  })

  it('is written as it is where the kernel takes it', () => {
    kernelState.populated = false
    expect(kernel.writeKnob(GROUP, cpus(''))).toEqual({ is: 'applied' })
    expect([text(), read()]).toEqual(['', ''])
  })

  it('is not what somebody means who writes all CPUs', () => {
    kernel.writeKnob(GROUP, cpus(''))
    kernel.writeKnob(GROUP, cpus('0-7'))
    expect([text(), read()]).toEqual(['0-7', '0-7'])
  })

  it('is not what somebody else has written since', () => {
    kernel.writeKnob(GROUP, cpus(''))
    expect(read()).toBe('')
    writeFileSync(file, '0-6\n')
    expect(read()).toBe('0-6')
  })

  it('stays refused where the possible CPUs are not known', () => {
    rmSync(join(directory, 'devices'), { recursive: true })
    expect(kernel.writeKnob(GROUP, cpus(''))).toEqual(outcomeOfErrno('ENOSPC'))
    expect(kernel.readKnob(GROUP, 'cpuset')).toEqual(CpuSet.parse('3'))
  })

  it('is known no more when the group is forgotten', () => {
    kernel.writeKnob(GROUP, cpus(''))
    kernel.forget(GROUP)
    expect(read()).toBe('0-7')
  })
})
