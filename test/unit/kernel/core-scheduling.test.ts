/** The one native call: what the kernel may answer, and that its absence, or that of koffi, is a reason and not an error. */
import { constants } from 'node:os'
import { describe, expect, it } from 'vitest'
import { probeCoreScheduling } from '../../../src/kernel/core-scheduling.ts'

const answering = (result: number, errno = 0) => probeCoreScheduling(() => ({ prctl: () => result, errno: () => errno }))

describe('probeCoreScheduling', () => {
  it('is usable where the kernel gives a cookie', () => {
    expect(answering(0)).toEqual({ usable: true, file: 'prctl(PR_SCHED_CORE)' })
  })

  it.each([
    [constants.errno.EINVAL, 'this kernel was built without core scheduling'],
    [constants.errno.ENODEV, 'no core of this machine has more than one thread online'],
    [constants.errno.EPERM, `prctl(PR_SCHED_CORE) fails with errno ${constants.errno.EPERM}`],
  ])('gives a reason for errno %d', (errno, reason) => {
    expect(answering(-1, errno)).toEqual({ usable: false, reason })
  })

  it('does not need koffi', () => {
    const missing = probeCoreScheduling(() => {
      throw Object.assign(new Error("Cannot find module 'koffi'"), { code: 'MODULE_NOT_FOUND' })
    })
    expect(missing).toMatchObject({ usable: false, reason: expect.stringContaining('koffi is not installed') as string })
    const broken = probeCoreScheduling(() => {
      throw new Error('not an ELF file')
    })
    expect(broken).toEqual({ usable: false, reason: 'the kernel could not be asked: not an ELF file' })
  })

  it('asks only for the cookie of this process, and gives none', () => {
    const calls: number[][] = []
    probeCoreScheduling(() => ({
      prctl: (option, command, pid, pidType) => {
        calls.push([option, command, pid, pidType])
        return 0
      },
      errno: () => 0,
    }))
    expect(calls).toEqual([[62, 0, 0, 0]])
  })

  it('gets an answer here, whatever it is', () => {
    const capability = probeCoreScheduling()
    if (!capability.usable) expect(capability.reason).toMatch(/core|koffi|asked|errno/)
  })
})
