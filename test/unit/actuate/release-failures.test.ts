/** What a release can't put back is never passed over: it is told, and stays on record for the next one. */
import { describe, expect, it } from 'vitest'
import { type CookieHost, CoreCookies } from '../../../src/kernel/core-cookies.ts'
import { CoreScheduling } from '../../../src/kernel/core-scheduling.ts'
import type { KernelPort, KnobKind, KnobSetting, Step } from '../../../src/model/index.ts'
import { quotaOf } from '../../../src/model/index.ts'
import { ModelKernel } from '../../../src/sim/index.ts'
import { JournaledNode, withDirectory } from '../../support/journaled-node.ts'
import { topologyOf } from '../../support/snapshots.ts'

const POD = '/kubepods/besteffort/poda'
const because = { code: 'claim', rule: 'limits', because: { code: 'identity.idle', qosClass: 'BE' } } as const
const step = (setting: KnobSetting): Step => ({ ...setting, group: POD, from: undefined, phase: 'narrow', because })
const limits: readonly Step[] = [step({ kind: 'quota', value: quotaOf(500) }), step({ kind: 'memoryMax', value: 512 << 20 })]

function bed(body: (kernel: ModelKernel, start: (port?: KernelPort) => JournaledNode) => void): void {
  withDirectory((directory) => {
    const kernel = new ModelKernel({ dialect: 'v1', topology: topologyOf('desktop') })
    for (const group of ['/kubepods', '/kubepods/besteffort', POD]) kernel.makeGroup(group)
    body(kernel, (port = kernel) => new JournaledNode(kernel, { directory, port }))
  })
}

/** The kernel with some calls of another. */
function through(kernel: ModelKernel, calls: Partial<KernelPort>): KernelPort {
  return new Proxy<KernelPort>(kernel, {
    get: (target, key) => {
      const value: unknown = Reflect.get(calls, key) ?? Reflect.get(target, key, target)
      return typeof value === 'function' ? (value as (...args: unknown[]) => unknown).bind(target) : value
    },
  })
}

/** One whose files of a kind can't be read, as where their controller is not mounted. */
const blindTo = (kernel: ModelKernel, blind: KnobKind): KernelPort =>
  through(kernel, { readKnob: (group, kind) => (kind === blind ? undefined : kernel.readKnob(group, kind)) })

describe('a release that can not read a knob', () => {
  it('of a group that is there fails for it, keeps it on record, and puts back all others; one that can read it puts it back', () => {
    bed((kernel, start) => {
      const first = start()
      first.apply(limits)
      first.end()
      const node = start(blindTo(kernel, 'memoryMax'))
      expect(node.release()).toEqual({
        restored: 1,
        unchanged: 0,
        vanished: 0,
        foreign: [],
        oneWay: [],
        failed: [{ group: POD, kind: 'memoryMax', outcome: { is: 'unread' } }],
        unknown: [],
      })
      node.end()
      expect(kernel.readKnob(POD, 'memoryMax')).toBe(512 << 20)
      expect(start().release()).toMatchObject({ restored: 1, failed: [] })
      expect(kernel.readKnob(POD, 'memoryMax')).toBe(null)
    })
  })

  it('whose group ends meanwhile has nothing to put back', () => {
    bed((kernel, start) => {
      start().apply(limits)
      let reads = 0
      const port = through(kernel, {
        readKnob: (group, kind) => {
          reads += 1
          if (reads === 3) kernel.removeGroup(POD)
          return kernel.readKnob(group, kind)
        },
      })
      expect(start(port).release()).toMatchObject({ restored: 0, failed: [], foreign: [] })
      expect(reads).toBeGreaterThanOrEqual(3)
    })
  })
})

describe('a release of core-scheduling cookies', () => {
  /** The knob as a release finds it, on two tagged processes of which it sees and may ask what it is given. */
  function cookies(seen: readonly number[], mayAsk: boolean): { readonly knob: CoreCookies; readonly left: () => bigint[] } {
    const carried = new Map<number, bigint>([
      [101, 7n],
      [102, 7n],
    ])
    let errno = 0
    const scheduling = new CoreScheduling({
      errno: () => errno,
      prctl: (...[, command, pid, , into]) => {
        errno = pid === 0 || mayAsk ? 0 : 1
        if (errno !== 0) return -1
        if (into !== null) into[0] = carried.get(pid) ?? 0n
        if (command === 2) carried.set(pid, 0n)
        return 0
      },
    })
    const host: CookieHost = {
      coreScheduling: () => scheduling,
      processesOf: () => seen,
      offlineRoot: '/kubepods/besteffort',
      ownThreads: () => [1],
      ownPid: 1,
    }
    return { knob: new CoreCookies(host), left: () => [...carried.values()] }
  }

  function withCookies(kernel: ModelKernel, knob: CoreCookies, tasks: number): KernelPort {
    return through(kernel, {
      readTasks: () => tasks,
      readKnob: (group, kind) => (kind === 'coreCookie' ? knob.read(group) : kernel.readKnob(group, kind)),
      writeKnob: (group, setting) =>
        setting.kind === 'coreCookie' ? knob.write(group, setting.value) : kernel.writeKnob(group, setting),
    })
  }

  const tagged = (start: () => JournaledNode): void => {
    const { journal } = start()
    journal.saveOriginals([{ group: POD, kind: 'coreCookie', value: 0 }])
    journal.willWrite(POD, 'coreCookie', { value: 1, holds: 0 })
  }

  it.each<[string, readonly number[], boolean]>([
    ['sees no process of the node', [0, 0], true],
    ['may not ask what they carry', [101, 102], false],
  ])('fails where it %s, and keeps them on record for one that can', (_, seen, mayAsk) => {
    bed((kernel, start) => {
      tagged(start)
      const blind = cookies(seen, mayAsk)
      expect(start(withCookies(kernel, blind.knob, 2)).release()).toMatchObject({
        restored: 0,
        unchanged: 0,
        failed: [{ group: POD, kind: 'coreCookie', outcome: { is: 'forbidden', errno: 'EPERM' } }],
      })
      expect(blind.left()).toEqual([7n, 7n])
      const able = cookies([101, 102], true)
      expect(start(withCookies(kernel, able.knob, 2)).release()).toMatchObject({ restored: 1, failed: [] })
      expect(able.left()).toEqual([0n, 0n])
    })
  })

  it('has nothing to take back where the processes have ended', () => {
    bed((kernel, start) => {
      tagged(start)
      const node = start(withCookies(kernel, cookies([], true).knob, 0))
      expect(node.release()).toMatchObject({ restored: 0, vanished: 1, failed: [], foreign: [] })
      expect(node.journal.entries.size).toBe(0)
    })
  })

  it('fails where the kernel can not be asked at all', () => {
    bed((kernel, start) => {
      tagged(start)
      const port = through(blindAsPort(kernel), { readTasks: () => 2 })
      expect(start(port).release()).toMatchObject({ failed: [{ kind: 'coreCookie', outcome: { is: 'unread' } }] })
    })
  })

  const blindAsPort = (kernel: ModelKernel): ModelKernel => blindTo(kernel, 'coreCookie') as ModelKernel
})
