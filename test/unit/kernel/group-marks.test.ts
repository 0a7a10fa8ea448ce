/** The mark as an attribute: where it goes, what it says of each knob, and that no answer of the kernel, nor the lack of koffi, is an error. */
import { describe, expect, it } from 'vitest'
import { openMarks, probeMarks } from '../../../src/kernel/group-marks.ts'
import { KNOB_KINDS, type MarkPort } from '../../../src/model/index.ts'
import { ModelKernel } from '../../../src/sim/index.ts'
import { MarkedGroups, mountsOf } from '../../support/marked-groups.ts'
import { topologyOf } from '../../support/snapshots.ts'

const GROUP = '/kubepods/besteffort'

function bed(dialect: 'v1' | 'v2' = 'v1'): { readonly groups: MarkedGroups; readonly port: MarkPort } {
  const kernel = new ModelKernel({ dialect, topology: topologyOf('desktop') })
  for (const group of ['/kubepods', GROUP]) kernel.makeGroup(group)
  const groups = new MarkedGroups(kernel)
  const opened = groups.options(true).open()
  if (!opened.usable) throw new Error(opened.reason)
  return { groups, port: opened.port }
}

describe('the probe of marks', () => {
  const kernel = new ModelKernel({ dialect: 'v1', topology: topologyOf('desktop') })
  const groups = new MarkedGroups(kernel)
  const answering = (errno: 'ENOTSUP' | 'ENODATA' | 'EACCES') => {
    groups.refuses = () => errno
    return probeMarks('/tree/cpu', () => groups.calls())
  }

  it('finds them usable where there is none to read yet, and sets none to find out', () => {
    expect(answering('ENODATA')).toEqual({ usable: true, file: 'user.kube-agent' })
    expect(groups.changes).toBe(0)
  })

  it.each([
    ['ENOTSUP', /^groups take no user\.\* attributes \(kernel 5\.7 or later does, this is .+\)$/],
    ['EACCES', /^user\.kube-agent of \/tree\/cpu can't be asked for \(EACCES\)$/],
  ] as const)('gives a reason for %s', (errno, reason) => {
    expect(answering(errno)).toEqual({ usable: false, reason: expect.stringMatching(reason) as string })
  })

  it('does not need koffi', () => {
    const missing = (): never => {
      throw Object.assign(new Error("Cannot find module 'koffi'"), { code: 'MODULE_NOT_FOUND' })
    }
    const reason = 'the optional package koffi is not installed'
    expect(probeMarks('/', missing)).toEqual({ usable: false, reason })
    expect(openMarks(mountsOf('v2'), kernel.capabilities, missing)).toEqual({ usable: false, reason })
    const broken = probeMarks('/', () => {
      throw new Error('not an ELF file')
    })
    expect(broken).toEqual({ usable: false, reason: "the kernel can't be called: not an ELF file" })
  })
})

describe('a mark', () => {
  it('goes where the file of the knob is, and has a name for every knob that the node has', () => {
    const { port: v1 } = bed('v1')
    expect(v1.placeOf('quota')).toEqual({ tree: '/tree/cpu', files: 'cpu.cfs_quota_us' })
    expect(v1.placeOf('cpuset')).toEqual({ tree: '/tree/cpuset', files: 'cpuset.cpus' })
    expect(v1.placeOf('ioMax')?.files.split(' ')).toHaveLength(4)
    expect(v1.placeOf('memoryHigh')).toBeUndefined()
    const { port: v2 } = bed('v2')
    expect(v2.placeOf('ioMax')).toEqual({ tree: '/tree', files: 'io.max' })
    expect(new Set(KNOB_KINDS.map((kind) => v2.placeOf(kind)?.tree))).toEqual(new Set(['/tree', undefined]))
    for (const port of [v1, v2])
      for (const kind of KNOB_KINDS) expect(port.placeOf(kind)?.files ?? 'none').toMatch(/^\S+( \S+)*$/)
  })

  it('is written, read and removed', () => {
    const { groups, port } = bed()
    expect(port.read(GROUP, '/tree/cpu')).toBeUndefined()
    expect(port.write(GROUP, '/tree/cpu', 'held: cpu.idle')).toEqual({ is: 'applied' })
    expect(groups.texts).toEqual(new Map([[`/tree/cpu${GROUP}`, 'held: cpu.idle']]))
    expect(port.read(GROUP, '/tree/cpu')).toBe('held: cpu.idle')
    expect(port.remove(GROUP, '/tree/cpu')).toEqual({ is: 'applied' })
    expect(port.remove(GROUP, '/tree/cpu')).toEqual({ is: 'unchanged' })
  })

  it.each([
    ['ENOENT', 'vanished'],
    ['EPERM', 'forbidden'],
    ['EROFS', 'forbidden'],
    ['ENOSPC', 'refused'],
    ['ENOTSUP', 'failed'],
  ] as const)('that meets %s is an outcome: %s', (errno, is) => {
    const { groups, port } = bed()
    groups.texts.set(`/tree/cpu${GROUP}`, 'held: cpu.idle')
    groups.refuses = () => errno
    expect(port.read(GROUP, '/tree/cpu')).toEqual({ is, errno })
    expect(port.write(GROUP, '/tree/cpu', 'held: cpu.weight')).toEqual({ is, errno })
    expect(port.remove(GROUP, '/tree/cpu')).toEqual({ is, errno })
  })

  it('that is longer than any of the agent is a text like no other', () => {
    const { groups, port } = bed()
    groups.texts.set(`/tree/cpu${GROUP}`, `held: ${'x'.repeat(2000)}`)
    expect(port.read(GROUP, '/tree/cpu')).toBe('(more than 1024 bytes)')
  })
})
